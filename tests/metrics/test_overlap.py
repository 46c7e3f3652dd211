from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics import METRICS
from heatproof.metrics.evaluate import Evaluator
from heatproof.metrics.overlap import (
    auroc,
    average_precision,
    correlation,
    dice_at_size,
    dice_curve,
    dice_sweep,
    iou_at_size,
    mass_accuracy,
    max_dice,
    max_iou,
    pointing_game,
    rank_accuracy,
    spearman,
)
from heatproof.metrics.space import RankedMap, Space, Truth

OVERLAP = {
    "max_dice": max_dice,
    "dice_at_size": dice_at_size,
    "max_iou": max_iou,
    "iou_at_size": iou_at_size,
    "rank_accuracy": rank_accuracy,
    "mass_accuracy": mass_accuracy,
    "pointing_game": pointing_game,
    "auroc": auroc,
    "average_precision": average_precision,
    "spearman": spearman,
    "correlation": correlation,
}
SHAPES = [(60,), (9, 11), (6, 7, 5)]


def prepared(heatmap, truth, mask=None):
    space = Space.of(heatmap, mask)
    return RankedMap.of(heatmap, space), Truth.of(truth, space)


def example(shape, seed=0, levels=0):
    rng = np.random.default_rng(seed)
    heatmap = rng.normal(size=shape)
    if levels:
        heatmap = np.round(heatmap * levels) / levels
    truth = rng.random(shape) < 0.2
    mask = rng.random(shape) < 0.8
    mask.flat[:4] = True
    truth.flat[:4] = [True, False, True, False]
    return heatmap, truth, mask


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 2])
def test_dice_sweep_equals_a_loop_over_thresholds(shape, levels):
    heatmap, truth, mask = example(shape, levels=levels)
    thresholds, dice = dice_sweep(heatmap, truth, mask, n_thresholds=50)
    inside = np.abs(heatmap[mask])
    expected = np.linspace(inside.min(), inside.max(), 50)
    slow = []
    for threshold in expected:
        kept = (np.abs(heatmap) > threshold) & mask
        slow.append(2 * (kept & truth).sum() / (kept.sum() + (truth & mask).sum()))
    np.testing.assert_array_equal(thresholds, expected)
    np.testing.assert_allclose(dice, slow, rtol=1e-12)


def test_dice_sweep_does_not_see_outside_the_mask():
    heatmap, truth, mask = example((9, 11))
    other = np.where(mask, heatmap, 1e6)
    np.testing.assert_array_equal(dice_sweep(heatmap, truth, mask)[1], dice_sweep(other, truth, mask)[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_auroc_and_average_precision_equal_scikit_learn(shape, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    heatmap, truth, mask = example(shape, seed=3, levels=levels)
    ranked, known = prepared(heatmap, truth, mask)
    assert auroc(ranked, known) == pytest.approx(metrics.roc_auc_score(truth[mask], heatmap[mask]), abs=1e-12)
    expected = metrics.average_precision_score(truth[mask], heatmap[mask])
    assert average_precision(ranked, known) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [0, 2])
def test_spearman_equals_scipy(levels):
    from scipy.stats import spearmanr

    heatmap, _, mask = example((6, 7, 5), seed=4, levels=levels)
    strength = np.round(np.abs(np.random.default_rng(9).normal(size=heatmap.shape)), 1)
    ranked, known = prepared(heatmap, strength, mask)
    assert spearman(ranked, known) == pytest.approx(spearmanr(heatmap[mask], strength[mask])[0], abs=1e-12)


def test_correlation_asks_for_amounts_and_spearman_for_the_order():
    heatmap, _, mask = example((6, 7, 5), seed=4)
    strength = np.abs(np.random.default_rng(9).normal(size=heatmap.shape))
    ranked, known = prepared(heatmap, strength, mask)
    assert correlation(ranked, known) == pytest.approx(np.corrcoef(heatmap[mask], strength[mask])[0, 1], abs=1e-12)
    stretched = prepared(3 * strength + 2, strength, mask)
    assert correlation(*stretched) == pytest.approx(1) and spearman(*stretched) == pytest.approx(1)
    bent = prepared(np.exp(5 * strength), strength, mask)
    assert correlation(*bent) < 0.9 and spearman(*bent) == pytest.approx(1)


def test_ties_at_the_cut_count_as_the_mean_over_random_tie_breaking():
    rng = np.random.default_rng(5)
    heatmap = np.array([3.0, 2, 2, 2, 2, 2, 1, 0])
    truth = np.array([1, 1, 0, 0, 0, 1, 1, 0], bool)
    drawn = []
    for _ in range(20000):
        order = np.lexsort((rng.random(8), -heatmap))
        drawn.append(truth[order[:4]].mean())
    assert dice_at_size(*prepared(heatmap, truth)) == pytest.approx(np.mean(drawn), abs=0.01)
    assert dice_at_size(*prepared(heatmap, truth)) == pytest.approx((1 + 3 * 2 / 5) / 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_iou_equals_the_sets_counted_over_every_way_to_break_a_tie(shape, levels):
    heatmap, truth, mask = example(shape, seed=8, levels=levels)
    size = int((truth & mask).sum())
    voxels = [tuple(place) for place in np.argwhere(mask)]
    cut = sorted((heatmap[voxel] for voxel in voxels), reverse=True)[size - 1]
    sure = [voxel for voxel in voxels if heatmap[voxel] > cut]
    tied = [voxel for voxel in voxels if heatmap[voxel] == cut]
    n_open = size - len(sure)
    inside = sum(bool(truth[voxel]) for voxel in tied)
    expected, n_ways = 0.0, math.comb(len(tied), n_open)
    for hits in range(min(inside, n_open) + 1):
        ways = math.comb(inside, hits) * math.comb(len(tied) - inside, n_open - hits)
        shared = sum(bool(truth[voxel]) for voxel in sure) + hits
        expected += ways / n_ways * shared / (2 * size - shared)
    assert iou_at_size(*prepared(heatmap, truth, mask)) == pytest.approx(expected, rel=1e-9)


def test_iou_of_a_tie_is_the_mean_over_random_tie_breaking():
    rng = np.random.default_rng(5)
    heatmap = np.array([3.0, 2, 2, 2, 2, 2, 1, 0])
    truth = np.array([1, 1, 0, 0, 0, 1, 1, 0], bool)
    drawn = []
    for _ in range(20000):
        kept = np.zeros(8, bool)
        kept[np.lexsort((rng.random(8), -heatmap))[:4]] = True
        drawn.append((kept & truth).sum() / (kept | truth).sum())
    assert iou_at_size(*prepared(heatmap, truth)) == pytest.approx(np.mean(drawn), abs=0.01)


@pytest.mark.parametrize("levels", [0, 2])
def test_max_iou_equals_a_loop_over_thresholds_and_follows_their_number(levels):
    heatmap, truth, mask = example((9, 11), levels=levels)
    inside = heatmap[mask]
    for n_thresholds in (2, 7, 50):
        slow = []
        for threshold in np.linspace(inside.min(), inside.max(), n_thresholds):
            kept = (heatmap > threshold) & mask
            slow.append((kept & truth).sum() / (kept | (truth & mask)).sum())
        ranked, known = prepared(heatmap, truth, mask)
        assert max_iou(ranked, known, n_thresholds=n_thresholds) == pytest.approx(max(slow), rel=1e-12)
        by_name = Evaluator(Space.of(heatmap, mask), ("max_iou",), n_thresholds)
        assert by_name.value("max_iou", ranked, known) == pytest.approx(max(slow), rel=1e-12)


def test_without_ties_the_iou_is_the_dice_on_another_scale():
    heatmap, truth, mask = example((6, 7, 5))
    ranked, known = prepared(heatmap, truth, mask)
    for dice, iou in ((dice_at_size, iou_at_size), (max_dice, max_iou)):
        assert iou(ranked, known) == pytest.approx(dice(ranked, known) / (2 - dice(ranked, known)))


def test_pointing_game_shares_a_tie():
    heatmap = np.array([1.0, 5, 5, 5, 0])
    assert pointing_game(*prepared(heatmap, np.array([0, 1, 0, 0, 1]))) == pytest.approx(1 / 3)
    assert pointing_game(*prepared(heatmap, np.array([0, 1, 1, 1, 0]))) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OVERLAP)
def test_the_truth_as_map_scores_the_maximum(name, shape):
    _, truth, mask = example(shape)
    strength = np.where(truth, 1.5, 0.0)
    assert OVERLAP[name](*prepared(strength, strength, mask)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in OVERLAP if name not in ("max_dice", "max_iou")])
def test_random_maps_score_chance(name):
    rng = np.random.default_rng(6)
    truth = np.zeros((20, 20))
    truth[3:10, 4:12] = 1
    space = Space.of(truth)
    known = Truth.of(truth, space)
    values = [OVERLAP[name](RankedMap.of(rng.random(truth.shape), space), known) for _ in range(400)]
    error = np.std(values) / np.sqrt(len(values))
    # The mean precision of a short list lies a little above the share of the truth.
    bias = 0.02 if name == "average_precision" else 0
    assert abs(np.mean(values) - METRICS[name].chance_level(known, space)) < 4 * error + bias


@pytest.mark.parametrize("name", ["max_dice", "max_iou"])
def test_a_random_map_reaches_the_chance_of_a_sweep_by_keeping_nearly_all(name):
    rng = np.random.default_rng(7)
    truth = np.zeros(4000)
    truth[:400] = 1
    space = Space.of(truth)
    known = Truth.of(truth, space)
    value = OVERLAP[name](RankedMap.of(rng.random(4000), space), known)
    assert value == pytest.approx(METRICS[name].chance_level(known, space), abs=0.02)


@pytest.mark.parametrize("name", OVERLAP)
@pytest.mark.parametrize("level", [0.0, 2.5, -3.0])
def test_a_constant_map_scores_chance_and_never_ranks(name, level):
    truth = np.zeros((8, 9))
    truth[2:4, 3:6] = 1
    ranked, known = prepared(np.full(truth.shape, level), truth)
    value = OVERLAP[name](ranked, known)
    if name in ("max_dice", "max_iou"):
        assert value == 0
    else:
        assert value == pytest.approx(METRICS[name].chance_level(known, Space.of(truth)))


@pytest.mark.parametrize("name", OVERLAP)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_gives_nan(name, broken):
    heatmap, truth, _ = example((9, 11))
    heatmap[4, 4] = broken
    assert math.isnan(OVERLAP[name](*prepared(heatmap, truth)))
    assert np.isnan(dice_sweep(heatmap, truth)[1]).all()


@pytest.mark.parametrize("name", OVERLAP)
def test_nan_outside_the_mask_does_no_harm(name):
    heatmap, truth, mask = example((9, 11))
    spoiled = np.where(mask, heatmap, np.nan)
    assert OVERLAP[name](*prepared(spoiled, truth, mask)) == OVERLAP[name](*prepared(heatmap, truth, mask))


@pytest.mark.parametrize("name", OVERLAP)
def test_an_empty_truth_gives_nan(name):
    heatmap, truth, _ = example((9, 11))
    assert math.isnan(OVERLAP[name](*prepared(heatmap, np.zeros_like(truth))))
    assert not dice_sweep(heatmap, np.zeros_like(truth))[1].any()


def test_a_full_truth_is_known():
    heatmap, _, _ = example((9, 11))
    ranked, known = prepared(heatmap, np.ones(heatmap.shape))
    assert math.isnan(auroc(ranked, known))
    assert math.isnan(spearman(ranked, known)) and math.isnan(correlation(ranked, known))
    for metric in (dice_at_size, iou_at_size, average_precision, pointing_game, mass_accuracy):
        assert metric(ranked, known) == pytest.approx(1)


def test_an_all_negative_map_has_no_mass_but_keeps_its_order():
    heatmap = np.array([-1.0, -2, -3, -4])
    truth = np.array([1, 0, 0, 0])
    ranked, known = prepared(heatmap, truth)
    assert mass_accuracy(ranked, known) == pytest.approx(0.25)
    assert auroc(ranked, known) == 1
    assert dice_sweep(heatmap, np.array([0, 0, 0, 1]))[1].max() == pytest.approx(1)


def test_mass_accuracy_counts_positive_relevance_only():
    assert mass_accuracy(*prepared(np.array([3.0, 1, -7, 0]), np.array([1, 0, 1, 0]))) == pytest.approx(0.75)


def test_rank_accuracy_is_dice_at_the_size_of_the_truth():
    heatmap, truth, mask = example((6, 7, 5), levels=2)
    ranked, known = prepared(heatmap, truth, mask)
    assert rank_accuracy(ranked, known) == dice_at_size(ranked, known)
    assert METRICS["rank_accuracy"].same_as == "dice_at_size"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=4, max_size=40), st.integers(0, 2**31))
def test_rank_metrics_do_not_change_under_a_rising_function(values, seed):
    heatmap = np.array(values, float)
    truth = np.random.default_rng(seed).random(heatmap.size) < 0.4
    for metric in (auroc, average_precision, dice_at_size, iou_at_size, pointing_game, spearman):
        before = metric(*prepared(heatmap, truth))
        after = metric(*prepared(np.exp(heatmap) * 7 - 2, truth))
        np.testing.assert_allclose(before, after, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=40), st.integers(0, 2**31))
def test_the_order_of_voxels_does_not_matter(values, seed):
    heatmap = np.array(values)
    rng = np.random.default_rng(seed)
    truth = rng.random(heatmap.size) < 0.4
    order = rng.permutation(heatmap.size)
    for metric in OVERLAP.values():
        np.testing.assert_allclose(
            metric(*prepared(heatmap, truth)), metric(*prepared(heatmap[order], truth[order])), atol=1e-9
        )


def test_shapes_that_differ_are_refused():
    with pytest.raises(GeometryError, match="does not fit"):
        dice_sweep(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(GeometryError, match="no voxel"):
        dice_sweep(np.ones(4), np.ones(4), np.zeros(4))


def test_one_threshold_is_refused():
    with pytest.raises(ConfigError, match="n_thresholds"):
        dice_curve(*prepared(np.arange(4.0), np.array([0, 0, 1, 1])), n_thresholds=1)
