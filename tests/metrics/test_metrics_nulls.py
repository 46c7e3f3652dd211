from __future__ import annotations

import math

import numpy as np
import pytest

from heatproof.metrics.nulls import autocorrelation, compare, null_scores, surrogates_of
from heatproof.metrics.overlap import auroc
from heatproof.metrics.smoothing import smooth
from heatproof.metrics.space import RankedMap, Space, Truth


def field(shape, fwhm, seed=0):
    rng = np.random.default_rng(seed)
    axes = np.indices(shape)
    mask = sum(((a - (n - 1) / 2) / (n / 2)) ** 2 for a, n in zip(axes, shape, strict=True)) <= 1
    # A skewed map with many small values, as heatmaps are.
    return np.exp(3 * smooth(rng.normal(size=shape), fwhm, (1.0,) * len(shape))), mask


@pytest.mark.parametrize("shape, fwhm", [((4000,), 6.0), ((90, 80), 5.0), ((30, 34, 28), 4.0)])
def test_surrogates_keep_the_values_and_the_autocorrelation(shape, fwhm):
    heatmap, mask = field(shape, fwhm)
    space = Space.of(heatmap, mask)
    ranked = RankedMap.of(heatmap, space)
    drawn = list(surrogates_of(ranked, space).draw(20, np.random.default_rng(1)))
    observed = autocorrelation(ranked.values, mask)
    mean = np.mean([autocorrelation(one.values, mask) for one in drawn], axis=0)
    for axis in range(len(shape)):
        for lag in (1, 2, 4, 8):
            at = tuple(lag if a == axis else 0 for a in range(len(shape)))
            assert mean[at] == pytest.approx(observed[at], abs=0.1)
    for one in drawn:
        np.testing.assert_array_equal(np.sort(one.values), np.sort(ranked.values))
    assert abs(np.corrcoef([one.values for one in drawn])[np.triu_indices(20, 1)].mean()) < 0.05


def test_white_noise_has_white_surrogates():
    rng = np.random.default_rng(2)
    heatmap = rng.normal(size=(40, 40))
    space = Space.of(heatmap)
    drawn = list(surrogates_of(RankedMap.of(heatmap, space), space).draw(10, rng))
    lag = np.mean([autocorrelation(one.values, space.mask)[1, 0] for one in drawn])
    assert abs(lag) < 0.08


def test_smooth_nulls_are_wider_than_a_permutation_and_calibrated():
    shape = (40, 40)
    truth = np.zeros(shape)
    truth[8:16, 10:20] = 1
    space = Space.of(truth)
    known = Truth.of(truth, space)
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(100 + seed)
        ranked = RankedMap.of(smooth(rng.normal(size=shape), 8.0, (1.0, 1.0)), space)
        null = null_scores(ranked, space, {"auroc": lambda one: auroc(one, known)}, 39, rng)["auroc"]
        p_values.append(compare(auroc(ranked, known), null).p_value)
        # The standard error of an AUROC of independent voxels.
        assert null.std() > 2 * math.sqrt(1 / (12 * known.n))
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(np.array(p_values) <= 0.1) <= 0.25


def test_the_truth_stands_out_and_a_constant_map_does_not():
    truth = np.zeros((30, 30))
    truth[4:12, 6:15] = 1
    space = Space.of(truth)
    known = Truth.of(truth, space)
    rng = np.random.default_rng(3)
    for heatmap, expected in ((smooth(truth, 3, (1.0, 1.0)), 1 / 100), (np.ones((30, 30)), 1.0)):
        ranked = RankedMap.of(heatmap, space)
        null = null_scores(ranked, space, {"a": lambda one: auroc(one, known)}, 99, rng)["a"]
        assert compare(auroc(ranked, known), null).p_value == pytest.approx(expected)


def test_p_values_count_ties_and_follow_the_direction():
    null = np.array([1.0, 2, 3, 4])
    assert compare(4.0, null).p_value == pytest.approx(2 / 5)
    assert compare(1.0, null, larger_is_better=False).p_value == pytest.approx(2 / 5)
    assert compare(0.0, null, larger_is_better=False).p_value == pytest.approx(1 / 5)
    assert compare(0.0, null, larger_is_better=False).null_95 < compare(0.0, null).null_95
    assert math.isnan(compare(float("nan"), null).p_value)


def test_the_same_generator_gives_the_same_surrogates():
    heatmap, mask = field((25, 25), 4.0)
    space = Space.of(heatmap, mask)
    source = surrogates_of(RankedMap.of(heatmap, space), space)
    first, again = (list(source.draw(n, np.random.default_rng(5))) for n in (3, 4))
    for one, other in zip(first, again, strict=False):
        np.testing.assert_array_equal(one.values, other.values)
