"""The perturbation metric as published and put right, waves, and relative change, against explicit loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness import (
    corrected_curves,
    interpolated,
    noisy_linear,
    published_curves,
    relative_change,
    removal_curves,
    road,
    wave_curves,
)
from heatproof.metrics.faithfulness.perturbation import PerturbationCurves, spread_counts
from heatproof.randomness import generator

LEADS, SAMPLES = 3, 20
SHAPE = (1, LEADS, SAMPLES)


def example(seed: int = 0, n_maps: int = 3):
    random = np.random.default_rng(seed)
    return random.normal(size=SHAPE), np.abs(random.normal(size=(n_maps, LEADS, SAMPLES)))


def estimate(batch):
    """A network that is not linear, with one answer."""
    weights = np.random.default_rng(5).normal(size=(2, LEADS * SAMPLES))
    hidden = np.tanh(np.asarray(batch).reshape(len(batch), -1) @ weights.T)
    return 3.0 + hidden.sum(axis=1, keepdims=True)


def descending(heatmap):
    """Places from the largest value to the smallest."""
    return sorted(np.ndindex(heatmap.shape), key=lambda place: -heatmap[place])


def straight(row, removed):
    """Fill one row by straight lines between known neighbours, point by point."""
    if removed.all():
        return np.full(row.shape, row.mean())
    known = [place for place in range(len(row)) if not removed[place]]
    filled = row.copy()
    for place in np.flatnonzero(removed):
        left = [one for one in known if one < place]
        right = [one for one in known if one > place]
        if left and right:
            low, high = left[-1], right[0]
            filled[place] = row[low] + (row[high] - row[low]) * (place - low) / (high - low)
        else:
            filled[place] = row[left[-1]] if left else row[right[0]]
    return filled


# Filling within a lead


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_interpolation_equals_lines_drawn_point_by_point_and_noiseless_imputation(share):
    image, _ = example()
    removed = np.random.default_rng(1).random((LEADS, SAMPLES)) < share
    removed[1, 4:] = removed[2, :6] = share > 0
    found = interpolated(image, removed)
    expected = np.stack([straight(row, gone) for row, gone in zip(image[0], removed, strict=True)])[None]
    np.testing.assert_allclose(found, expected)
    for lead in range(LEADS):
        np.testing.assert_allclose(found[:, lead], noisy_linear(image[:, lead], removed[lead]), atol=1e-9)


@pytest.mark.parametrize("fill", ["zero", "mean", "blur", "noisy_linear"])
def test_leads_are_filled_each_from_itself(fill):
    image, maps = example()
    seen = []

    def watch(batch):
        seen.extend(batch)
        return estimate(batch)

    settings = {"fill": fill, "shares": [0, 0.5], "seed": 2, "noise": 0.0, "blur_sigma": 2.0}
    removal_curves(image, maps[:1], watch, 0, leads=True, **settings)
    together = np.array(seen[-1])
    for lead in range(LEADS):
        # The removal of the whole scan, cut to this lead, must be that of the lead alone.
        removed = np.zeros(SAMPLES, bool)
        for place in descending(maps[0])[:30]:
            if place[0] == lead:
                removed[place[1]] = True
        alone = np.where(removed, 0.0, image[:, lead])
        if fill != "zero":
            order = np.where(removed, 1.0, 0.0)[None]
            seen.clear()
            share = removed.mean()
            removal_curves(
                image[:, lead], order, lambda batch: (seen.extend(batch), np.zeros((len(batch), 1)))[1], 0,
                **{**settings, "shares": [0, share]},
            )  # fmt: skip
            alone = np.array(seen[-1])
        np.testing.assert_allclose(together[:, lead], alone, atol=1e-9)


def test_leads_make_a_difference_where_neighbours_count():
    image, maps = example()
    for fill in ("mean", "blur", "noisy_linear"):
        both = [removal_curves(image, maps, estimate, 0, fill=fill, seed=1, leads=leads).auc for leads in (True, False)]
        assert not np.allclose(*both), fill
    assert not np.allclose(
        road(image, maps, estimate, 0, seed=1, leads=True).morf, road(image, maps, estimate, 0, seed=1).morf
    )


# As published


def test_published_curve_equals_the_loop_of_the_paper():
    image, maps = example()
    measured = 2.5
    found = published_curves(image, maps, estimate, measured, n_points=6, seed=7, keys=["a", "b", "c"], batch_size=4)
    for index, key in enumerate("abc"):
        noise = generator(7, "faithfulness", "perturbation", "published", key).standard_normal(SHAPE)
        perturbed, heights = image.copy(), []
        for place in [None, *descending(maps[index])[:6]]:
            if place is not None:
                perturbed[(0, *place)] += 0.2 * (image.max() - image.min()) * noise[(0, *place)]
            heights.append(abs(measured - estimate(perturbed[None])[0, 0]) / measured)
        np.testing.assert_allclose(found.changes[index], heights, atol=1e-6)
        areas = [sum((heights[step] + heights[step + 1]) / 2 for step in range(last)) for last in (3, 6)]
        assert [found.area(3)[index], found.area(6)[index]] == pytest.approx(areas, abs=1e-6)


def test_published_scores_of_one_map_differ_by_name_and_turn_with_the_sign_of_what_was_measured():
    image, maps = example()
    same = np.repeat(maps[:1], 3, axis=0)
    found = published_curves(image, same, estimate, 2.5, seed=7, n_points=10, keys=["a", "b", "a"]).area(10)
    assert found[0] == found[2] != found[1]
    turned = published_curves(image, same, estimate, -2.5, seed=7, n_points=10, keys=["a", "b", "a"])
    assert (turned.changes <= 0).all(), "the flaw that is kept"


# Put right


@pytest.mark.parametrize("fill", ["noise", "mean", "interpolation"])
def test_corrected_curves_equal_a_loop_over_points_and_draws(fill):
    image, maps = example()
    most = [5, 30]
    found = corrected_curves(image, maps, estimate, fill=fill, most=most, n_draws=2, leads=True, seed=3, batch_size=7)
    assert set(most) <= set(found.points.tolist()) and found.points[0] == 0
    untouched = estimate(image[None])[0, 0]
    for index, heatmap in enumerate(maps):
        for column, count in enumerate(found.points):
            removed = np.zeros((LEADS, SAMPLES), bool)
            for place in descending(heatmap)[:count]:
                removed[place] = True
            changes = []
            for draw in range(2 if fill == "noise" else 1):
                noise = generator(3, "faithfulness", "perturbation", "shared", draw).standard_normal(SHAPE)
                shown = {
                    "noise": image + 0.2 * np.ptp(image) * noise,
                    "mean": np.repeat(image.mean(axis=2, keepdims=True), SAMPLES, axis=2),
                    "interpolation": np.stack([straight(*pair) for pair in zip(image[0], removed, strict=True)])[None],
                }[fill]
                changes.append(abs(estimate(np.where(removed, shown, image)[None])[0, 0] - untouched))
            assert found.changes[index, column] == pytest.approx(np.mean(changes), abs=1e-6)
    np.testing.assert_allclose(
        found.height(30), np.trapezoid(found.changes, found.points, axis=1) / 30, rtol=1e-6
    )  # fmt: skip


def test_corrected_scores_do_not_depend_on_who_a_map_is_of_nor_on_the_others_nor_on_batches():
    image, maps = example()
    whole = corrected_curves(image, np.concatenate([maps, maps[:1]]), estimate, most=[20], seed=3, batch_size=1)
    alone = corrected_curves(image, maps[:1], estimate, most=[20], seed=3, batch_size=64)
    np.testing.assert_allclose(whole.changes[0], whole.changes[-1], atol=0)
    np.testing.assert_allclose(whole.changes[0], alone.changes[0], atol=1e-12)


def test_the_map_that_names_what_a_linear_network_uses_moves_it_most():
    image, _ = example()
    weights = np.zeros((LEADS, SAMPLES))
    weights[1, 5:9] = (3.0, 2.0, 2.5, 3.5)
    image[0, 1, 5:9] += 4
    maps = np.stack([np.abs(weights), *np.random.default_rng(1).random((9, LEADS, SAMPLES))])

    def linear(batch):
        return (np.asarray(batch)[:, 0] * weights).sum(axis=(1, 2))[:, None]

    for fill in ("noise", "mean", "interpolation"):
        height = corrected_curves(image, maps, linear, fill=fill, most=[4], n_draws=20, leads=True, seed=0).height(4)
        assert (height[0] > height[1:]).all(), fill


def test_a_map_that_is_not_finite_has_no_score_and_a_constant_network_none_above_zero():
    image, maps = example()
    maps[1, 0, 0] = np.nan
    labels = np.repeat(np.arange(LEADS * 2).reshape(LEADS, 2) + 1, SAMPLES // 2, axis=1)
    for curves in (
        corrected_curves(image, maps, estimate, most=[5], seed=0),
        published_curves(image, maps, estimate, 1.0, n_points=5, seed=0),
        wave_curves(image, maps, estimate, labels, seed=0),
    ):
        most = float(np.nanmax(curves.points))
        assert np.isnan(curves.height(most)).tolist() == [False, True, False]
    constant = corrected_curves(image, maps[:1], lambda batch: np.ones((len(batch), 1)), most=[5], seed=0)
    assert (constant.changes == 0).all()


def test_counts_lie_closer_where_the_curve_begins():
    assert spread_counts(16).tolist() == [0, 1, 2, 3, 4, 6, 8, 11, 16]
    assert spread_counts(1).tolist() == [0, 1] and spread_counts(7).tolist() == [0, 1, 2, 3, 4, 6, 7]


def test_height_is_the_mean_of_the_curve_up_to_a_point_between_two_others():
    curves = PerturbationCurves(np.array([0, 2, 6]), np.array([[0.0, 4.0, 0.0]]))
    assert curves.height(2) == pytest.approx(2) and curves.area(6) == pytest.approx(12)
    assert curves.height(4) == pytest.approx((4 + (4 + 2) / 2 * 2) / 4)
    with pytest.raises(ConfigError, match="do not reach 7"):
        curves.height(7)


def test_perturbations_that_are_none_are_refused():
    image, maps = example()
    for settings in ({"most": [LEADS * SAMPLES + 1]}, {"most": [5], "noise_level": 0.0}, {"most": [5], "n_draws": 0},
                     {"most": [5], "fill": "spikes"}):  # fmt: skip
        with pytest.raises(ConfigError):
            corrected_curves(image, maps, estimate, seed=0, **settings)
    with pytest.raises(GeometryError, match="labels"):
        wave_curves(image, maps, estimate, np.ones((LEADS, SAMPLES + 1), int), seed=0)
    with pytest.raises(GeometryError, match="no point belongs"):
        wave_curves(image, maps, estimate, np.zeros((LEADS, SAMPLES), int), seed=0)
    with pytest.raises(ConfigError, match="rank|'median'"):
        wave_curves(image, maps, estimate, np.ones((LEADS, SAMPLES), int), rank="median", seed=0)


# Waves


def waves():
    """Waves of different length in every lead, and points without one."""
    labels = np.zeros((LEADS, SAMPLES), int)
    for lead in range(LEADS):
        for wave, (start, stop) in enumerate([(1, 3), (3, 10), (12, 17)]):
            labels[lead, start:stop] = 1 + 3 * lead + wave
    return labels


@pytest.mark.parametrize("rank", ["mean", "sum"])
@pytest.mark.parametrize("most", [0.4, 1.0])
def test_whole_waves_go_in_the_order_of_their_relevance(rank, most):
    image, maps = example()
    labels = waves()
    found = wave_curves(image, maps, estimate, labels, rank=rank, most=most, seed=0, batch_size=5)
    untouched = estimate(image[None])[0, 0]
    for index, heatmap in enumerate(maps):
        relevance = {label: getattr(np, rank)(heatmap[labels == label]) for label in range(1, 10)}
        order = sorted(relevance, key=lambda label: -relevance[label])
        shares, changes = [0.0], [0.0]
        for count in range(1, 10):
            removed = np.isin(labels, order[:count])
            shown = np.stack([straight(*pair) for pair in zip(image[0], removed, strict=True)])[None]
            shares.append(removed.sum() / (labels > 0).sum())
            changes.append(abs(estimate(shown[None])[0, 0] - untouched))
            if shares[-1] >= most - 1e-9:
                break
        asked = spread_counts(len(shares) - 1).tolist()
        points, heights = [shares[count] for count in asked], [changes[count] for count in asked]
        np.testing.assert_allclose(found.points[index, : len(asked)], points)
        np.testing.assert_allclose(found.changes[index, : len(asked)], heights, atol=1e-6)
        # The area ends at `most`, between the last two points.
        fine = np.linspace(0, most, 20001)
        assert found.height(most)[index] == pytest.approx(np.interp(fine, points, heights).mean(), abs=1e-3)


def test_long_waves_come_first_by_sum_and_not_by_mean():
    image, _ = example()
    labels = waves()
    heatmap = np.ones((LEADS, SAMPLES))
    heatmap[labels == 1] = 1.5
    by = {}
    for rank in ("mean", "sum"):
        by[rank] = wave_curves(image, heatmap[None], estimate, labels, rank=rank, seed=0).points[0, 1]
    assert by["mean"] == pytest.approx(2 / 42) and by["sum"] == pytest.approx(7 / 42)


# Relative change of both orders


def test_relative_change_of_a_class_equals_the_definition():
    image, maps = example()
    shares = (0.0, 0.2, 0.5, 1.0)

    def probability(batch):
        return 1 / (1 + np.exp(-estimate(batch)))

    found = relative_change(image, maps, probability, shares=shares[1:-1], fill="mean", seed=4, leads=True)
    means = np.repeat(image.mean(axis=2, keepdims=True), SAMPLES, axis=2)
    for index, heatmap in enumerate(maps):
        areas = []
        for order in (descending(heatmap), descending(heatmap)[::-1]):
            lost = []
            for share in shares:
                shown = image.copy()
                for place in order[: round(share * LEADS * SAMPLES)]:
                    shown[(0, *place)] = means[(0, *place)]
                lost.append(
                    (probability(image[None]) - probability(shown[None]))[0, 0] / probability(image[None])[0, 0]
                )
            areas.append(np.trapezoid(lost, shares))
        assert (found.top[index], found.bottom[index]) == pytest.approx(tuple(areas), abs=1e-6)
        assert found.f[index] == pytest.approx(areas[0] * (1 - areas[1]) / (areas[0] + 1 - areas[1]), abs=1e-6)


def test_relative_change_of_a_number_lies_between_0_and_1_and_half_is_its_best():
    weights = np.zeros((LEADS, SAMPLES))
    weights[0, :3] = 50.0
    image = np.zeros(SHAPE)
    image[0, 0, :3] = 1.0

    def linear(batch):
        return (np.asarray(batch)[:, 0] * weights).sum(axis=(1, 2))[:, None]

    maps = np.stack([weights, -weights, *np.random.default_rng(0).random((4, LEADS, SAMPLES))])
    shares = np.linspace(0, 1, 61)
    found = relative_change(image, maps, linear, values=True, fill="zero", shares=shares, seed=0)
    for area in (found.top, found.bottom):
        assert ((area >= 0) & (area <= 1)).all()
    # All is lost after three of sixty points, and nothing before the last three.
    assert found.top[0] == pytest.approx(1 - 1.5 / 60) and found.bottom[0] == pytest.approx(1.5 / 60)
    assert found.f[0] == pytest.approx((1 - 1.5 / 60) / 2) and found.f[1] == pytest.approx(1.5 / 120)
    assert (found.f[0] > found.f[2:]).all() and (found.f[1] < found.f[2:]).all()
    # A constant added to the answer changes nothing, as it would relative to the answer itself.
    moved = relative_change(image, maps, lambda b: linear(b) + 1e3, values=True, fill="zero", shares=shares, seed=0)
    np.testing.assert_allclose(moved.f, found.f)


def test_a_change_beyond_that_of_the_full_removal_counts_as_all_of_it():
    weights = np.zeros((LEADS, SAMPLES))
    weights[0, :2] = (4.0, -3.0)
    image = np.zeros(SHAPE)
    image[0, 0, :2] = 1.0

    def linear(batch):
        return (np.asarray(batch)[:, 0] * weights).sum(axis=(1, 2))[:, None]

    # The first point moves the answer by 4, both by 1.
    heatmap = np.zeros((LEADS, SAMPLES))
    heatmap[0, :2] = (2.0, 1.0)
    shares = [0, 1 / 60, 2 / 60, 1]
    found = relative_change(image, heatmap[None], linear, values=True, fill="zero", shares=shares, seed=0)
    assert found.top[0] == pytest.approx(1 - 0.5 / 60)


def test_a_scan_whose_answer_does_not_need_it_is_left_out():
    image, maps = example()
    found = relative_change(image, maps, lambda b: np.full((len(b), 1), 2.0), values=True, seed=0)
    assert found.excluded and np.isnan(found.top).all() and np.isnan(found.f).all()
    assert not relative_change(image, maps, lambda b: np.full((len(b), 1), 0.7), seed=0).f.any()


def test_tensors_are_asked_as_tensors():
    image, maps = example()

    def tensors(batch):
        assert isinstance(batch, torch.Tensor)
        return torch.from_numpy(estimate(batch.numpy()))

    labels = waves()
    for ask in (
        lambda i, m, p: published_curves(i, m, p, 2.0, n_points=4, seed=0).changes,
        lambda i, m, p: corrected_curves(i, m, p, most=[4], seed=0).changes,
        lambda i, m, p: wave_curves(i, m, p, labels, seed=0).changes,
    ):
        np.testing.assert_allclose(
            ask(torch.from_numpy(image), torch.from_numpy(maps), tensors), ask(image, maps, estimate), atol=1e-9
        )
