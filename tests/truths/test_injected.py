from __future__ import annotations

import numpy as np
import pytest

from heatproof.cohorts.deformations import exponential, jacobian_determinant, warp
from heatproof.errors import TruthError
from heatproof.randomness import generator
from heatproof.truths.injected import (
    Effect,
    contraction_velocity,
    draw_strengths,
    exact_truth,
    group_truth,
    lose_tissue,
    strength_map,
    truth_mask,
)

REGIONS = {"a": (1, 2), "b": (3, 4), "c": (5, 6)}


def effect(**changes):
    settings = {
        "regions": REGIONS,
        "region_probability": 0.6,
        "loss": 0.5,
        "contraction_mm": 2.0,
        "smoothing_mm": 4.0,
        "asymmetry": 0.3,
    }
    return Effect(**{**settings, **changes})


def test_strengths_are_reproducible_linear_in_severity_and_within_bounds():
    full = draw_strengths(effect(), 1.0, generator(1, "p"))
    half = draw_strengths(effect(), 0.5, generator(1, "p"))
    assert full == draw_strengths(effect(), 1.0, generator(1, "p"))
    assert half == pytest.approx({label: value / 2 for label, value in full.items()})
    assert all(0.35 <= value <= 1 for value in full.values())


def test_patients_differ_and_regions_are_hit_as_often_as_asked():
    drawn = [draw_strengths(effect(), 1.0, generator(person, "p")) for person in range(400)]
    assert np.mean([1 in strengths for strengths in drawn]) == pytest.approx(0.6, abs=0.12)
    assert len({tuple(sorted(strengths)) for strengths in drawn}) == 7
    assert all((1 in strengths) == (2 in strengths) for strengths in drawn)


def test_a_patient_always_has_a_region():
    strengths = draw_strengths(effect(region_probability=0.0), 1.0, generator(3, "p"))
    assert len(strengths) == 2


def test_without_asymmetry_both_sides_are_equal():
    strengths = draw_strengths(effect(region_probability=1.0, asymmetry=0.0), 1.0, generator(4, "p"))
    assert [strengths[label] for label in (1, 3, 5)] == [strengths[label] for label in (2, 4, 6)]


@pytest.mark.parametrize("regions", [{}, {"a": ()}])
def test_an_effect_without_region_is_refused(regions):
    with pytest.raises(TruthError, match="regions"):
        effect(regions=regions)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_strength_lies_on_the_area_and_ends_at_a_finite_distance(axes):
    labels = np.zeros((31,) * axes, dtype=np.int32)
    labels[(slice(10, 21),) * axes] = 4
    strength = strength_map(labels, {4: 0.8}, [2.0] * axes, 4.0)
    assert strength[(15,) * axes] == pytest.approx(0.8, abs=0.02)
    assert strength[(0,) * axes] == 0
    assert strength.min() >= 0


def test_an_affected_area_that_does_not_occur_is_an_error():
    with pytest.raises(TruthError, match="area 7"):
        strength_map(np.ones((5, 5), dtype=np.int32), {1: 0.5, 7: 0.5}, [1.0, 1.0], 2.0)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_contraction_shrinks_the_area_without_folding_and_leaves_the_rest_alone(axes):
    labels = np.zeros((41,) * axes, dtype=np.int32)
    labels[(slice(14, 27),) * axes] = 1
    strength = strength_map(labels, {1: 1.0}, [1.0] * axes, 5.0)
    velocity = contraction_velocity(strength, [1.0] * axes, 5.0, 2.0)
    assert 1.0 < np.abs(velocity).max() <= 2.0
    displacement = exponential(velocity)
    assert jacobian_determinant(displacement).min() > 0
    shrunk = warp(labels.astype(np.float32), displacement)
    assert shrunk.sum() < 0.9 * labels.sum()
    assert not displacement[(slice(None), *[0] * axes)].any()
    grown = warp(labels.astype(np.float32), exponential(-velocity))
    assert grown.sum() > 1.05 * labels.sum()


def test_contraction_in_millimetres_does_not_depend_on_the_voxel_size():
    fine = np.repeat(np.array([0, 1, 0], dtype=np.int32), 40)
    coarse = fine[::2]
    moved = []
    for labels, step in ((fine, 1.0), (coarse, 2.0)):
        strength = strength_map(labels, {1: 1.0}, [step], 10.0)
        moved.append(np.abs(contraction_velocity(strength, [step], 10.0, 2.0)).max() * step)
    assert moved[0] == pytest.approx(moved[1], rel=0.05)
    assert moved[0] == pytest.approx(0.94 * 2.0, rel=0.05)


def test_lost_grey_matter_turns_into_fluid_and_nothing_else_changes():
    intensity = np.array([0.6, 0.9, 0.1, 0.6])
    grey_matter = np.array([1.0, 0.0, 1.0, 0.5])
    np.testing.assert_allclose(lose_tissue(intensity, grey_matter, 1.0, 0.2), [0.2, 0.9, 0.1, 0.4])
    np.testing.assert_array_equal(lose_tissue(intensity, grey_matter, 0.0, 0.2), intensity)


def test_the_group_truth_is_the_mean_over_patients_and_needs_one():
    truths = [exact_truth(np.full((2, 3), value), np.zeros((2, 3))) for value in (1.0, -2.0, 6.0)]
    np.testing.assert_allclose(group_truth(iter(truths)), 3.0)
    with pytest.raises(TruthError, match="injected effect"):
        group_truth([])


def test_the_mask_holds_more_than_five_per_cent_of_the_maximum_and_is_empty_without_effect():
    np.testing.assert_array_equal(truth_mask(np.array([0.0, 0.05, 0.06, 1.0])), [False, False, True, True])
    assert not truth_mask(np.zeros(4)).any()
