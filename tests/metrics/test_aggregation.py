from __future__ import annotations

import numpy as np
import pytest

from heatproof.errors import ConfigError
from heatproof.metrics.aggregation import GroupMeans, mean_of_folds, rectified

MAPS = np.random.default_rng(0).normal(size=(6, 4, 5))
TARGET = [0, 1, 1, 0, 1, 2]
PREDICTED = [0, 1, 0, 1, 1, 1]
WHO = {"all": range(6), "patients": [1, 2, 4, 5], "controls": [0, 3], "true_positives": [1, 4]}


def filled() -> GroupMeans:
    means = GroupMeans(WHO)
    for heatmap, target, predicted in zip(MAPS, TARGET, PREDICTED, strict=True):
        means.add(heatmap, target, predicted)
    return means


@pytest.mark.parametrize("population", WHO)
def test_streamed_means_equal_means_of_the_stack(population):
    group = filled().groups[population]
    chosen = MAPS[list(WHO[population])]
    assert group.n == len(chosen)
    np.testing.assert_allclose(group.signed, chosen.mean(axis=0))
    np.testing.assert_allclose(group.absolute, np.abs(chosen).mean(axis=0))


def test_absolute_value_before_or_after_the_mean():
    group = filled().groups["all"]
    np.testing.assert_allclose(rectified(group.signed, group.absolute, "abs_after"), np.abs(MAPS.mean(axis=0)))
    np.testing.assert_allclose(rectified(group.signed, group.absolute, "abs_before"), np.abs(MAPS).mean(axis=0))
    np.testing.assert_allclose(rectified(group.signed, group.absolute, "signed"), MAPS.mean(axis=0))


def test_the_pooled_map_is_the_mean_of_fold_means_not_of_scans():
    one, two = np.full((2, 2), 1.0), np.full((2, 2), -3.0)
    pooled = mean_of_folds([{"all": (one, np.abs(one))}, {"all": (two, np.abs(two)), "patients": (two, two)}])
    np.testing.assert_array_equal(pooled["all"].signed, np.full((2, 2), -1.0))
    np.testing.assert_array_equal(pooled["all"].absolute, np.full((2, 2), 2.0))
    assert pooled["patients"].n == 1


def test_unknown_choices_are_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match="true_positives"):
        GroupMeans(["everyone"]).add(MAPS[0], 0, 0)
    with pytest.raises(ConfigError, match="abs_after"):
        rectified(MAPS[0], MAPS[0], "squared")


def test_without_controls_everybody_is_a_patient():
    means = GroupMeans(WHO, has_controls=False)
    for heatmap, target, predicted in zip(MAPS, TARGET, PREDICTED, strict=True):
        means.add(heatmap, target, predicted)
    right = [i for i in range(6) if TARGET[i] == PREDICTED[i]]
    assert right == [0, 1, 4]
    for population, chosen in {"all": range(6), "patients": range(6), "true_positives": right}.items():
        np.testing.assert_allclose(means.groups[population].signed, MAPS[list(chosen)].mean(axis=0))
    assert means.groups["controls"].n == 0
