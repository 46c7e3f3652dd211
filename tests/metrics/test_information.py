"""Information curves for any number of axes: the definition by loops, and what must never rank maps."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.information import (
    AXES,
    INFILLS,
    THRESHOLDS,
    Setting,
    aggregated,
    constant_model_spread,
    information_curves,
    information_scores,
    null_maps,
)
from heatproof.metrics.information.entropies import lorenzo_information, quantised

SHAPES = {1: (300,), 2: (30, 34), 3: (12, 11, 13)}
EVERY = [Setting("nd", infill=infill, axis=axis) for infill in INFILLS for axis in AXES]


def scan_of(n_axes: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Return a smooth scan with some noise, shape (C, *S), float32."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(channels, *SHAPES[n_axes])), (0, *[2] * n_axes))
    return (smooth / smooth.std() + 0.2 * random.normal(size=smooth.shape)).astype(np.float32)


def maps_of(n_axes: int) -> np.ndarray:
    """Return maps of very different geometry: scattered, smooth, a blob, an edge of the grid, few distinct values."""
    random, shape = np.random.default_rng(7), SHAPES[n_axes]
    noise = random.normal(size=shape)
    distance = sum((np.indices(shape)[axis] - shape[axis] / 2) ** 2 for axis in range(n_axes))
    smooth = ndimage.gaussian_filter(noise, 3)
    return np.stack([noise, smooth, -distance, np.indices(shape)[0].astype(float), np.sign(smooth)])


def saying(probability):
    """Return a two-class model whose probability of class 1 is a function of each image."""

    def predict(images):
        right = np.array([probability(image) for image in np.asarray(images)], dtype=float)
        return np.stack([1 - right, right], axis=1)

    return predict


def right_from_the_second_on():
    """Return a model that is wrong on the first image that it sees, the fully blurred one."""
    left = iter([0.1] + [0.9] * 999)
    return saying(lambda image: next(left))


def likeness(scan: np.ndarray, sharp: float = 4.0):
    """Return a model that is the surer of class 1 the more the image looks like the scan, above 1/2 near it."""
    spread = float(((scan - scan.mean()) ** 2).mean())
    return saying(lambda image: 1 / (1 + np.exp(-sharp * (0.5 - ((image - scan) ** 2).mean() / spread))))


# ------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_areas_and_curves_equal_the_definition_by_loops(n_axes, axis):
    scan, window = scan_of(n_axes, channels=2), (-3.0, 3.0)
    shown: list[np.ndarray] = []
    model = likeness(scan)

    def predict(images):
        shown.extend(images)
        return model(images)

    curves = information_curves(scan, maps_of(n_axes), predict, 1, axis=axis, window=window)
    assert not curves.excluded

    # What the model was shown tells everything: the image revealed by a map is the one that knows most of its voxels.
    order = {round(float(model(image[None])[0, 1]), 12): image for image in shown}
    bits = {p: float(lorenzo_information(quantised(image[None], window))[0]) for p, image in order.items()}
    low, high = curves.answers.blurred[0], curves.answers.original[0]
    for row in range(len(curves.aic_auc)):
        points = [(0.0, *curves.answers.blurred[1:]), (1.0, *curves.answers.original[1:])]
        for place, share in enumerate(curves.thresholds):
            p = curves.answers.probability[row, place]
            if axis == "information":
                assert curves.answers.information[row, place] == bits[round(p, 12)]
            x = share if axis == "fraction" else (bits[round(p, 12)] - low) / (high - low)
            points.append((min(max(x, 0.0), 1.0), p, float(p > 0.5)))
        for name, column in (("aic", 2), ("sic", 1)):
            top = curves.answers.original[column]

            def best(x, points=points, column=column, top=top):
                return max(min(point[column] / top, 1.0) for point in points if point[0] <= x)

            places = sorted({point[0] for point in points})
            area = sum((after - before) * best(before) for before, after in pairwise(places))
            assert getattr(curves, f"{name}_auc")[row] == pytest.approx(area, abs=1e-12)
            np.testing.assert_allclose(getattr(curves, name)[row], [best(x) for x in curves.x], atol=1e-12)


@pytest.mark.parametrize("infill", INFILLS)
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_each_share_reveals_exactly_the_most_relevant_hidden_voxels(n_axes, infill):
    scan = scan_of(n_axes)
    heatmap = np.random.default_rng(3).permutation(scan[0].size).reshape(scan[0].shape).astype(float)
    shown: list[np.ndarray] = []

    def predict(images):
        shown.extend(images)
        return likeness(scan)(images)

    # Values of the scan are all different, so a voxel that equals the scan's was revealed (or hit by chance: never).
    information_curves(scan, heatmap[None], predict, 1, infill=infill, thresholds=[0.1, 0.4, 1])
    known = [(image == scan)[0] for image in sorted(shown, key=lambda image: (image == scan).sum())]
    assert [mask.all() for mask in known] == [False, False, False, True] and len(shown) == 4
    hidden = np.flatnonzero(~known[0])
    ranked = hidden[np.argsort(-heatmap.reshape(-1)[hidden])]
    for mask, share in zip(known[1:3], (0.1, 0.4), strict=True):
        assert set(np.flatnonzero(mask & ~known[0])) == set(ranked[: round(share * hidden.size)])
    # 1 % and the corners, spread evenly
    assert 0.005 <= (known[0].sum() - 2**n_axes) / known[0].size <= 0.02 and known[0][(0,) * n_axes]


def test_outside_the_mask_everything_is_shown_and_nothing_is_ranked():
    scan, heatmap = scan_of(2), np.zeros(SHAPES[2])
    mask = np.zeros(SHAPES[2], bool)
    mask[5:25, 5:25] = True
    heatmap[~mask] = 9.0
    heatmap[mask] = np.arange(mask.sum())
    shown: list[np.ndarray] = []

    def predict(images):
        shown.extend(images)
        return likeness(scan)(images)

    elsewhere = np.where(mask, heatmap, np.random.default_rng(0).normal(size=heatmap.shape))
    curves = information_curves(scan, np.stack([heatmap, elsewhere]), predict, 1, mask=mask)
    assert all((image == scan)[0][~mask].all() for image in shown)
    assert np.array_equal(*curves.answers.probability) and len(shown) == len(THRESHOLDS) + 2


def test_a_map_of_what_the_model_reads_comes_first():
    scan = scan_of(2)
    region = np.zeros(SHAPES[2], bool)
    region[8:14, 20:27] = True
    model = saying(lambda image: 1 / (1 + np.exp(8 * (((image - scan)[0][region] ** 2).mean() - 0.2))))
    there = region + 0.01 * np.random.default_rng(0).random(SHAPES[2])
    others = maps_of(2)
    for setting in EVERY:
        curves = information_scores(scan, np.stack([there, *others]), model, 1, [setting])[0]
        assert not curves.excluded
        assert curves.sic_auc[0] > curves.sic_auc[1:].max() + 0.05
        assert curves.aic_auc[0] > curves.aic_auc[1:].max() + 0.05


# ------------------------------------------------------------------------------- what must never rank maps


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.name)
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_a_constant_model_never_ranks_maps(n_axes, setting):
    scan, maps = scan_of(n_axes), maps_of(n_axes)
    for probability, reason in ((0.8, "already"), (0.2, "does not give the original")):
        curves = information_scores(scan, maps, saying(lambda image, p=probability: p), 1, [setting])[0]
        assert reason in curves.excluded
        assert np.isnan(curves.aic_auc).all() and np.isnan(curves.sic_auc).all() and np.isnan(curves.aic).all()
    # nor would it if the scan stayed in
    assert constant_model_spread(scan, maps, setting) == {
        "right": {"aic": 0.0, "sic": 0.0},
        "wrong": {"aic": 0.0, "sic": 0.0},
    }


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.name)
def test_a_model_that_answers_only_to_the_complete_scan_never_ranks_maps(setting):
    scan = scan_of(2)
    curves = information_scores(
        scan, maps_of(2), saying(lambda image: 0.9 if np.array_equal(image, scan) else 0.3), 1, [setting]
    )[0]
    assert np.array_equal(curves.aic_auc, np.zeros(5))
    np.testing.assert_allclose(curves.sic_auc, 1 / 3, atol=1e-12)


def test_a_model_that_reacts_to_how_much_is_shown_never_ranks_maps_by_fraction():
    scan, maps = scan_of(2), maps_of(2)
    model = saying(lambda image: 0.1 + 0.8 * (image == scan).mean())
    by_information, by_fraction = information_scores(scan, maps, model, 1, [Setting(axis=axis) for axis in AXES])
    assert np.ptp(by_fraction.aic_auc) == 0 and np.ptp(by_fraction.sic_auc) < 1e-12 and by_fraction.sic_auc[0] > 0.1
    # by information it does: that map is ahead whose voxels tell least (documented in `curves`)
    assert np.ptp(by_information.sic_auc) > 0.02


def test_reasons_depend_on_the_scan_and_the_model_alone():
    scan = scan_of(2)
    flat = np.zeros_like(scan)
    cases = [
        (scan, saying(lambda image: 0.4), "does not give the original"),
        (scan, saying(lambda image: 0.6), "already"),
        (flat, right_from_the_second_on(), "no more information"),
    ]
    for image, model, reason in cases:
        curves = information_curves(image, maps_of(2), model, 1)
        assert reason in curves.excluded
    # without an information axis there is nothing to divide by
    by_share = information_curves(flat, maps_of(2), right_from_the_second_on(), 1, axis="fraction")
    assert not by_share.excluded


# ------------------------------------------------------------------------------- what changes nothing


def test_batches_settings_order_and_company_change_nothing():
    scan, maps, model = scan_of(2), maps_of(2), likeness(scan_of(2))
    together = information_scores(scan, maps, model, 1, EVERY, seed=3)
    for size in (1, 4):
        for one, other in zip(
            together, information_scores(scan, maps, model, 1, EVERY, seed=3, batch_size=size), strict=True
        ):
            assert np.array_equal(one.aic, other.aic) and np.array_equal(one.sic_auc, other.sic_auc)
    for setting, one in zip(EVERY, together, strict=True):
        (alone,) = information_scores(scan, maps[[3, 1]], model, 1, [setting], seed=3)
        assert np.array_equal(alone.sic_auc, one.sic_auc[[3, 1]])
    ranks = np.stack([np.argsort(np.argsort(each.reshape(-1), kind="stable")).reshape(each.shape) for each in maps[:2]])
    again = information_scores(scan, ranks, model, 1, EVERY, seed=3)
    assert np.array_equal(again[0].sic_auc, together[0].sic_auc[:2])
    assert not np.array_equal(information_scores(scan, maps, model, 1, EVERY, seed=4)[0].sic_auc, together[0].sic_auc)


def test_an_image_is_shown_once_however_many_maps_and_settings_lead_to_it():
    scan, maps = scan_of(2), maps_of(2)
    shown = []

    def predict(images):
        shown.extend(images)
        assert images.dtype == np.float32 and len(images) <= 8
        return likeness(scan)(images)

    settings = [Setting(axis=axis) for axis in AXES]
    information_scores(
        scan, np.concatenate([maps, 2 * maps]), predict, 1, settings, batch_size=8, thresholds=[0.2, 0.6, 1]
    )
    assert len(shown) == 2 + 2 * len(maps)


def test_tensors_come_as_tensors_and_tell_the_same():
    scan, maps, model = scan_of(3), maps_of(3), likeness(scan_of(3))

    def predict(images):
        assert isinstance(images, torch.Tensor) and images.dtype == torch.float32
        return torch.from_numpy(model(images.numpy()))

    given = information_curves(torch.from_numpy(scan), torch.from_numpy(maps), predict, 1)
    assert np.array_equal(given.sic_auc, information_curves(scan, maps, model, 1).sic_auc)


def test_equal_values_follow_in_one_random_order_for_all_maps():
    scan, model = scan_of(2), likeness(scan_of(2))
    flat = np.stack([np.zeros(SHAPES[2]), np.ones(SHAPES[2])])
    curves = information_curves(scan, flat, model, 1)
    assert curves.sic_auc[0] == curves.sic_auc[1]
    # scattered, not row by row: as a random map
    random = np.random.default_rng(1).normal(size=(20, *SHAPES[2]))
    scattered = information_curves(scan, random, model, 1).sic_auc
    rows = information_curves(scan, np.broadcast_to(-np.arange(30.0)[:, None], SHAPES[2])[None], model, 1).sic_auc
    assert scattered.min() - 0.02 < curves.sic_auc[0] < scattered.max() + 0.02
    assert not scattered.min() - 0.02 < rows[0] < scattered.max() + 0.02


def test_a_map_that_is_not_finite_has_no_area_and_takes_no_other_with_it():
    scan, maps, model = scan_of(2), maps_of(2), likeness(scan_of(2))
    broken = maps.copy()
    broken[1, 0, 0] = np.nan
    whole, curves = (information_curves(scan, each, model, 1) for each in (maps, broken))
    assert np.isnan(curves.sic_auc[1]) and np.isnan(curves.aic[1]).all() and not curves.valid[1]
    assert np.array_equal(curves.sic_auc[[0, 2, 3, 4]], whole.sic_auc[[0, 2, 3, 4]]) and not curves.excluded


# ------------------------------------------------------------------------------- several scans, nulls, refusals


def test_the_mean_over_scans_counts_those_that_are_not_left_out():
    scans = [scan_of(2, seed) for seed in range(4)]
    curves = [information_curves(scan, maps_of(2), likeness(scan), 1) for scan in scans]
    curves.append(information_curves(scans[0], maps_of(2), saying(lambda image: 0.9), 1))
    pooled = aggregated(curves)
    assert pooled["sic_scans"].tolist() == [4] * 5
    np.testing.assert_allclose(pooled["sic"], sum(curve.sic for curve in curves[:4]) / 4)
    # the grid's trapezoids are within a step of the exact areas
    np.testing.assert_allclose(pooled["sic_auc"], np.mean([curve.sic_auc for curve in curves[:4]], axis=0), atol=1e-3)
    assert set(np.unique(aggregated(curves[:3], "median")["aic"])) <= {0.0, 1.0}
    assert np.isnan(aggregated(curves[4:])["aic_auc"]).all()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_nulls_keep_the_values_of_a_map_and_lie_elsewhere(n_axes):
    heatmap = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=SHAPES[n_axes]), 0.8)
    nulls = null_maps(heatmap, np.random.default_rng(0), ("turned", "phase"))
    assert list(nulls) == ["turned", "phase"]
    where = np.argwhere(np.ones(heatmap.shape))
    for place in where[:: max(1, len(where) // 20)]:
        assert nulls["turned"][tuple(place)] == heatmap[tuple(-1 - place)]
    for null in nulls.values():
        np.testing.assert_allclose(np.sort(null, axis=None), np.sort(heatmap, axis=None))
        assert not np.allclose(null, heatmap)

    def neighbours(field):
        return np.corrcoef(field[1:].reshape(-1), field[:-1].reshape(-1))[0, 1]

    drawn = [null_maps(heatmap, np.random.default_rng(seed), ["phase"])["phase"] for seed in range(8)]
    assert abs(np.mean([neighbours(each) for each in drawn]) - neighbours(heatmap)) < 0.08
    with pytest.raises(ConfigError, match="unknown"):
        null_maps(heatmap, np.random.default_rng(0), ["shuffled"])


def lopsided(n_axes: int) -> np.ndarray:
    """Return a mask that is symmetric along its second axis only."""
    mask = np.zeros(SHAPES[n_axes], bool)
    mask[(slice(3, -60 if n_axes == 1 else -5), slice(2, -2), slice(0, -4))[:n_axes]] = True
    return mask


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_a_turned_map_has_its_own_values_inside_a_mask_whatever_the_masks_form(n_axes):
    random, mask = np.random.default_rng(1), lopsided(n_axes)
    heatmap = ndimage.gaussian_filter(random.normal(size=mask.shape), 2) + 3
    heatmap[random.random(mask.shape) < 0.3] = 0
    inside = {tuple(place) for place in np.argwhere(mask).tolist()}
    partner = {place: tuple(length - 1 - p for p, length in zip(place, mask.shape, strict=True)) for place in inside}
    partners = {place: there for place, there in partner.items() if there in inside}
    assert len(partners) < 0.95 * len(inside)
    null = null_maps(heatmap, np.random.default_rng(0), ["turned"], mask)["turned"]
    assert not null[~mask].any()
    np.testing.assert_array_equal(np.sort(null[mask]), np.sort(heatmap[mask]))
    # the order of the flipped map is kept wherever there is a partner
    placed = sorted((heatmap[there], null[here]) for here, there in partners.items())
    assert all(one[1] <= other[1] for one, other in pairwise(placed) if one[0] < other[0])


def test_voxels_without_a_partner_are_spread_over_the_order_and_equal_values_over_the_mask():
    mask = np.zeros(4000, bool)
    mask[:3200] = True
    heatmap = np.where(np.arange(4000) < 2000, np.arange(4000) + 1.0, 0.0)
    null, again, other = (null_maps(heatmap, np.random.default_rng(seed), ["turned"], mask)["turned"]
                          for seed in (0, 0, 1))  # fmt: skip
    assert np.array_equal(null, again) and not np.array_equal(null, other)
    # 800 voxels have no partner: a quarter of all values, high and low alike
    assert (null[:800] == 0).mean() == pytest.approx(1200 / 3200, abs=0.06)
    assert np.mean(null[:800]) == pytest.approx(heatmap[mask].mean(), rel=0.1)
    # a quarter of the zeros is theirs; which of the 1,200 equal voxels do without is random, not a matter of place
    zero = null[800:2000] == 0
    assert zero.mean() == pytest.approx(0.75, abs=0.06)
    assert abs(np.corrcoef(zero, np.arange(zero.size))[0, 1]) < 0.1
    # and the surrogate is none of its concern
    alone = null_maps(heatmap, np.random.default_rng(0), ["phase"], mask)["phase"]
    assert np.array_equal(alone, null_maps(heatmap, np.random.default_rng(0), mask=mask)["phase"])


def test_a_symmetric_mask_turns_the_map_itself():
    square = np.zeros((20, 20), bool)
    square[2:-2, 2:-2] = True
    heatmap = np.random.default_rng(0).normal(size=square.shape)
    full = null_maps(heatmap, np.random.default_rng(0), ["turned"], square)["turned"]
    np.testing.assert_array_equal(full[square], heatmap[::-1, ::-1][square])


# ------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_single_precision_maps_tell_what_they_tell_in_double_precision(dtype):
    maps = maps_of(2).astype(dtype)
    for setting in [*EVERY, Setting("pair")]:
        scan = scan_of(2)
        one, two = (
            information_scores(scan, given, likeness(scan), 1, [setting], thresholds=[0.1, 0.5])[0]
            for given in (maps, maps.astype(np.float64))
        )
        assert np.array_equal(one.answers.probability, two.answers.probability)
        np.testing.assert_allclose(one.sic_auc, two.sic_auc, rtol=0, atol=1e-6)


def test_more_maps_take_no_more_memory_than_they_hold_themselves():
    scan = np.random.default_rng(0).normal(size=(1, 40, 40, 40)).astype(np.float32)
    many = np.random.default_rng(1).normal(size=(16, 40, 40, 40)).astype(np.float32)
    many[3, 0, 0, 0] = np.nan

    def peak(maps):
        tracemalloc.start()
        information_curves(scan, maps, saying(lambda image: 0.6), 1, thresholds=[0.1, 0.5], batch_size=1)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(many[:1])
    # fourteen maps more: 3.6 MB in their own dtype, 7.2 MB in double precision, as much for their orders
    assert peak(many) - peak(many[:2]) < many[0].nbytes


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"maps": np.zeros((2, 5, 5))}, GeometryError, "maps"),
        ({"mask": np.ones(4, bool)}, GeometryError, "mask"),
        ({"mask": np.zeros(SHAPES[2], bool)}, GeometryError, "start"),
        ({"image": np.zeros(30)}, GeometryError, "image"),
        ({"image": np.full((1, *SHAPES[2]), np.nan)}, ConfigError, "window"),
        ({"window": (1.0, 1.0)}, ConfigError, "window"),
        ({"thresholds": [0.2, 0.1]}, ConfigError, "thresholds"),
        ({"thresholds": [0.0, 0.1]}, ConfigError, "thresholds"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        ({"settings": []}, ConfigError, "settings"),
        ({"target": 2}, ConfigError, "predict"),
        ({"predict": lambda images: np.ones((len(images), 1))}, ConfigError, "predict"),
        ({"predict": lambda images: np.full((len(images), 2), np.nan)}, ConfigError, "predict"),
        ({"settings": [Setting("pair")], "image": np.zeros((2, *SHAPES[2]))}, GeometryError, "mode"),
    ],
)
def test_what_makes_no_sense_is_refused(change, error, field):
    given = {"image": scan_of(2), "maps": maps_of(2), "predict": saying(len), "target": 1, "settings": [Setting()]}
    given |= change
    first = [given.pop(name) for name in ("image", "maps", "predict", "target", "settings")]
    with pytest.raises(error) as caught:
        information_scores(*first, **given)
    assert caught.value.field == field


def test_settings_have_names_and_refuse_what_they_cannot():
    for name in ("nd push_pull information", "nd linear fraction", "nd overlay fraction", "pair webp", "pair mean"):
        assert Setting.of(name).name == name and Setting.of(name).checks
    assert Setting.of("pair mean unchecked").name == "pair mean unchecked"
    assert not Setting.of("pair mean unchecked").checks
    assert Setting("pair").infill == "linear" and Setting().infill == "push_pull"
    for wrong in ({"mode": "2d"}, {"infill": "zero"}, {"axis": "time"}, {"mode": "pair", "infill": "push_pull"}):
        with pytest.raises(ConfigError):
            Setting(**wrong)
    for name in ("nd push_pull", "pair", "other webp", "nd nothing fraction", "pair webp all"):
        with pytest.raises(ConfigError):
            Setting.of(name)
