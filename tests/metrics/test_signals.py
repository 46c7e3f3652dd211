"""Metrics over leads and time, and spaces one of whose axes has no neighbours, against loops and installed peers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import wasserstein_distance

from heatproof.errors import GeometryError
from heatproof.metrics import METRICS
from heatproof.metrics.information import null_maps
from heatproof.metrics.nulls import autocorrelation, surrogates_of
from heatproof.metrics.overlap import mass_accuracy
from heatproof.metrics.signals import (
    ISMAIL_SHARES,
    lead_accuracy,
    lead_overlap,
    saliency_weighted,
    signed_cosine,
    time_distance,
    weighted_precision,
    weighted_recall,
)
from heatproof.metrics.smoothing import FWHM_PER_SIGMA, smooth
from heatproof.metrics.space import RankedMap, Space, Truth
from heatproof.metrics.transport import earth_movers_distance

LEADS, SAMPLES, STEP = 5, 40, 2.0


def space_of(mask: np.ndarray | None = None, **settings: float) -> Space:
    mask = np.ones((LEADS, SAMPLES), bool) if mask is None else mask
    return Space(mask, (math.inf, STEP), **settings)


def example(seed: int = 0):
    random = np.random.default_rng(seed)
    effect = np.zeros((LEADS, SAMPLES))
    effect[1, 10:18], effect[3, 12:15] = 2.0, -1.0
    return random.normal(size=(LEADS, SAMPLES)) + effect, effect


# Saliency-weighted precision and recall


def slow_ismail(heatmap: np.ndarray, inside: np.ndarray, share: float) -> tuple[float, float]:
    """Take the largest values one by one until they hold the share; then count by their own weight."""
    values = [max(value, 0.0) for value in heatmap.ravel()]
    order = sorted(range(len(values)), key=lambda place: -values[place])
    kept, held = [], 0.0
    while held < share * sum(values) - 1e-9:
        kept.append(order[len(kept)])
        held += values[kept[-1]]
    right = sum(values[place] for place in kept if inside.ravel()[place])
    wrong = sum(values[place] for place in kept if not inside.ravel()[place])
    missed = sum(value for place, value in enumerate(values) if inside.ravel()[place] and place not in kept)
    return right / (right + wrong), right / (right + missed)


@pytest.mark.parametrize("share", ISMAIL_SHARES)
def test_weighted_precision_and_recall_equal_a_loop_over_the_largest_values(share):
    heatmap, effect = example()
    space = Space.of(heatmap)
    precision, recall = saliency_weighted(RankedMap.of(heatmap, space), Truth.of(effect, space), (share,))
    assert (precision[0], recall[0]) == pytest.approx(slow_ismail(heatmap, effect != 0, share))


def test_ties_are_settled_in_expectation_over_their_order():
    heatmap = np.array([3.0, 1, 1, 1, 1, 1, 0, 0])
    truth = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    space = Space.of(heatmap)
    found = saliency_weighted(RankedMap.of(heatmap, space), Truth.of(truth, space), (0.6,))
    # Of eight two of the five equal ones are taken beside the three: each lies in the truth in two of five cases.
    random, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.append(0, 1 + random.permutation(5))[:3]
        right = (heatmap * truth)[order].sum()
        drawn.append((right / heatmap[order].sum(), right / (heatmap * truth).sum()))
    np.testing.assert_allclose([found[0][0], found[1][0]], np.mean(drawn, axis=0), atol=0.01)


def test_all_relevance_has_the_precision_of_its_mass_and_full_recall():
    heatmap, effect = example(1)
    space = Space.of(heatmap)
    ranked, truth = RankedMap.of(heatmap, space), Truth.of(effect, space)
    precision, recall = saliency_weighted(ranked, truth, (1.0,))
    assert precision[0] == pytest.approx(mass_accuracy(ranked, truth)) and recall[0] == pytest.approx(1)


def test_the_truth_is_precise_and_a_map_without_order_scores_chance():
    _, effect = example()
    space = Space.of(effect)
    truth = Truth.of(effect, space)
    assert weighted_precision(RankedMap.of(np.abs(effect), space), truth) == 1
    flat = RankedMap.of(np.zeros_like(effect), space)
    assert weighted_precision(flat, truth) == pytest.approx(truth.share)
    assert weighted_recall(flat, truth) == pytest.approx(0.5, abs=0.01)
    outside = RankedMap.of(1.0 * (effect == 0), space)
    assert weighted_precision(outside, truth) == weighted_recall(outside, truth) == 0
    assert math.isnan(weighted_precision(RankedMap.of(np.full_like(effect, np.nan), space), truth))


# Time


def test_time_distance_equals_scipy_and_the_transport_of_the_pooled_mass():
    ot = pytest.importorskip("ot")
    for seed in range(5):
        heatmap, effect = example(seed)
        mask = np.ones(heatmap.shape, bool)
        mask[:, 33:] = mask[0, :5] = False
        space = space_of(mask)
        ranked, truth = RankedMap.of(heatmap, space), Truth.of(effect, space)
        here = np.where(mask, np.maximum(heatmap, 0), 0).sum(axis=0)
        there = np.abs(effect).sum(axis=0)
        times = STEP * np.arange(SAMPLES)
        found = time_distance(ranked, truth, space)
        assert found == pytest.approx(wasserstein_distance(times, times, here, there))
        assert found == pytest.approx(
            ot.emd2_1d(times, times, here / here.sum(), there / there.sum(), metric="minkowski")
        )


def test_time_distance_is_the_shift_whatever_the_lead_and_zero_for_the_truth():
    _, effect = example()
    space, strength = space_of(), np.abs(effect)
    truth = Truth.of(effect, space)
    for shift in (0, 3, 7):
        moved = np.roll(np.roll(strength, shift, axis=1), 2, axis=0)
        assert time_distance(RankedMap.of(moved, space), truth, space) == pytest.approx(shift * STEP)
    # One coarse cell per sample gives the same through the solver for any grid.
    cells = space_of(cell=STEP)
    moved = RankedMap.of(np.roll(strength, 3, axis=1), cells)
    assert earth_movers_distance(moved, Truth.of(effect, cells), cells) == pytest.approx(3 * STEP)


# Leads


def test_leads_count_by_their_mass():
    space = space_of()
    effect = np.zeros((LEADS, SAMPLES))
    effect[1, 5:9], effect[3, 5:7] = 1.0, -1.0
    truth = Truth.of(effect, space)
    heatmap = np.zeros_like(effect)
    heatmap[1, 30:35], heatmap[2, 8] = 1.0, 5.0 / 3
    # The right lead at a wrong time: three quarters of the mass lie in lead 1, which has two thirds of the truth.
    assert lead_accuracy(RankedMap.of(heatmap, space), truth, space) == 1
    assert lead_overlap(RankedMap.of(heatmap, space), truth, space) == pytest.approx(2 / 3)
    heatmap[2, 8] = 4.9
    assert lead_accuracy(RankedMap.of(heatmap, space), truth, space) == 1, "five against 4.9"
    heatmap[2, 8] = 5.0
    assert lead_accuracy(RankedMap.of(heatmap, space), truth, space) == pytest.approx(0.5), "leads 1 and 2 are level"
    assert lead_overlap(RankedMap.of(heatmap, space), truth, space) == pytest.approx(0.5)
    assert lead_overlap(RankedMap.of(np.abs(effect), space), truth, space) == pytest.approx(1)


def test_without_leads_or_signs_these_metrics_say_nothing():
    heatmap, effect = example()
    flat = Space.of(heatmap)
    for name in ("time_distance", "lead_accuracy", "lead_overlap"):
        assert math.isnan(METRICS[name].function(RankedMap.of(heatmap, flat), Truth.of(effect, flat), flat))
    signed = Truth.of_effect(effect, flat, 0.05, effect)
    assert math.isnan(signed_cosine(RankedMap.of(heatmap, flat), signed))
    assert math.isnan(signed_cosine(RankedMap.of(heatmap, flat, heatmap), Truth.of_effect(effect, flat, 0.05)))


def test_chance_is_what_a_flat_map_scores():
    _, effect = example()
    space = space_of()
    truth = Truth.of_effect(effect, space, 0.05, effect)
    flat = RankedMap.of(np.ones_like(effect), space)
    for name in ("time_distance", "lead_accuracy", "lead_overlap", "weighted_precision"):
        metric = METRICS[name]
        assert metric.function(flat, truth, space) == pytest.approx(metric.chance_level(truth, space)), name


# Signs


def test_signed_cosine_is_that_of_the_vectors_and_turns_with_the_sign():
    heatmap, effect = example()
    mask = np.random.default_rng(3).random(heatmap.shape) < 0.7
    space = space_of(mask)
    truth = Truth.of_effect(effect, space, 0.05, effect)

    def cosine(values):
        return signed_cosine(RankedMap.of(np.abs(values), space, values), truth)

    dot = sum(heatmap[place] * effect[place] for place in zip(*np.nonzero(mask), strict=True))
    lengths = [math.sqrt(sum(array[place] ** 2 for place in zip(*np.nonzero(mask), strict=True)))
               for array in (heatmap, effect)]  # fmt: skip
    assert cosine(heatmap) == pytest.approx(dot / (lengths[0] * lengths[1]))
    assert cosine(-heatmap) == pytest.approx(-cosine(heatmap)) == pytest.approx(-cosine(7e200 * heatmap))
    assert cosine(3 * effect) == pytest.approx(1) and cosine(0 * effect) == 0
    assert cosine(np.abs(effect)) < 1, "the absolute effect has the wrong sign in one lead"


# Spaces with an axis without neighbours


def test_the_edge_is_sought_within_each_lead():
    mask = np.ones((3, 12), bool)
    mask[1, :4] = False
    found = np.zeros(mask.shape, bool)
    found[mask] = Space(mask, (math.inf, 2.0), edge=4.0).shell
    # Two samples of 2 ms at either end of what each lead has; the hole in lead 1 is no edge of its neighbours.
    expected = np.zeros(mask.shape, bool)
    expected[:, -2:] = expected[0, :2] = expected[2, :2] = expected[1, 4:6] = True
    np.testing.assert_array_equal(found, expected)
    for lead in range(3):
        alone = np.zeros(12, bool)
        alone[mask[lead]] = Space(mask[lead], (2.0,), edge=4.0).shell
        np.testing.assert_array_equal(found[lead], alone)


def test_cells_pool_the_leads_and_their_distances_are_finite():
    space = space_of(cell=8.0)
    index, centres = space.cells
    assert centres.shape == (10, 1) and np.isfinite(space.cell_distances).all()
    by_lead = index.reshape(LEADS, SAMPLES)
    assert (by_lead == by_lead[0]).all()


def test_a_space_without_neighbours_is_refused():
    with pytest.raises(GeometryError, match="no axis has neighbours"):
        Space(np.ones((3, 4), bool), (math.inf, math.inf))


def test_nothing_is_smoothed_across_leads():
    heatmap, _ = example()
    smoothed = smooth(heatmap, 10.0, (math.inf, STEP))
    sigma = 10.0 / FWHM_PER_SIGMA / STEP
    for lead in range(LEADS):
        np.testing.assert_allclose(smoothed[lead], gaussian_filter1d(heatmap[lead], sigma, mode="constant"))


# Surrogates of maps with leads


def signal_map(mixing: np.ndarray, seed: int = 0, samples: int = 3000) -> np.ndarray:
    random = np.random.default_rng(seed)
    fields = gaussian_filter1d(random.normal(size=(len(mixing), samples)), 6.0, axis=1)
    return np.exp(3 * mixing @ fields)


def between_leads(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    covariance = centred @ centred.T / values.shape[1]
    return covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))


def test_autocorrelation_within_leads_equals_a_loop_over_pairs_of_samples():
    random = np.random.default_rng(0)
    mask = random.random((4, 15)) < 0.8
    values = random.normal(size=mask.shape)
    found = autocorrelation(values[mask], mask, (0,))
    centred = values - values[mask].mean()
    covariances = []
    for lag in (0, 1, 3, 7):
        pairs = [(lead, t) for lead in range(4) for t in range(15 - lag) if mask[lead, t] and mask[lead, t + lag]]
        covariances.append(np.mean([centred[lead, t] * centred[lead, t + lag] for lead, t in pairs]))
    np.testing.assert_allclose(found[[0, 1, 3, 7]], np.array(covariances) / covariances[0])


@pytest.mark.parametrize("kind", ["independent", "correlated", "equal"])
def test_surrogates_are_smooth_in_time_and_keep_what_leads_have_in_common(kind):
    mixing = {"independent": np.eye(4), "equal": np.ones((4, 1)) @ np.eye(4)[:1],
              "correlated": np.linalg.cholesky(0.4 * np.eye(4) + 0.6)}[kind]  # fmt: skip
    heatmap = signal_map(mixing)
    if kind == "equal":
        heatmap = np.repeat(heatmap[:1], 4, axis=0)
    space = Space(np.ones(heatmap.shape, bool), (math.inf, 2.0))
    ranked = RankedMap.of(heatmap, space)
    drawn = [
        one.values.reshape(heatmap.shape) for one in surrogates_of(ranked, space).draw(8, np.random.default_rng(1))
    ]
    observed = autocorrelation(ranked.values, space.mask, (0,))
    mean = np.mean([autocorrelation(one.ravel(), space.mask, (0,)) for one in drawn], axis=0)
    np.testing.assert_allclose(mean[[1, 3, 6, 12]], observed[[1, 3, 6, 12]], atol=0.1)
    np.testing.assert_allclose(
        np.mean([between_leads(one) for one in drawn], axis=0), between_leads(heatmap), atol=0.12
    )
    for one in drawn:
        np.testing.assert_array_equal(np.sort(one.ravel()), np.sort(heatmap.ravel()))
        # In which place a value lies is new.
        assert abs(np.corrcoef(one.ravel(), heatmap.ravel())[0, 1]) < 0.25


def test_a_map_is_turned_in_time_and_every_lead_stays():
    heatmap = np.random.default_rng(0).normal(size=(3, 9))
    mask = np.ones(heatmap.shape, bool)
    found = null_maps(heatmap, np.random.default_rng(1), ["turned"], mask=mask, spacing=(math.inf, 2.0))
    np.testing.assert_array_equal(found["turned"], heatmap[:, ::-1])
    both = null_maps(heatmap, np.random.default_rng(1), ["turned"], mask=mask, spacing=(1.0, 2.0))
    np.testing.assert_array_equal(both["turned"], heatmap[::-1, ::-1])
