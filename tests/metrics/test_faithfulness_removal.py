from __future__ import annotations

import numpy as np
import pytest
import torch

from heatproof.errors import ConfigError, GeometryError, UnsupportedModelError
from heatproof.metrics.faithfulness import FILLS, noisy_linear, removal_curves, road
from heatproof.metrics.faithfulness.ranking import RankedScan
from heatproof.randomness import generator

GRIDS = [(40,), (9, 11), (6, 7, 5)]
SHARES = (0.0, 0.1, 0.35, 0.8, 1.0)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def network(shape, n_channels=2, seed=0):
    """A small network that is not linear, from NumPy to NumPy."""
    weights = np.random.default_rng(seed).normal(size=(3, n_channels * int(np.prod(shape)))) / 3

    def predict(batch):
        return softmax(np.tanh(batch.reshape(len(batch), -1)) @ weights.T)

    return predict


def example(shape, n_maps=3, n_channels=2, seed=0):
    random = np.random.default_rng(seed)
    mask = random.random(shape) < 0.8
    mask.flat[:3] = True
    return random.normal(size=(n_channels, *shape)), random.normal(size=(n_maps, *shape)), mask


def content(fill, image, mask, reference, removed):
    """What stands in the removed voxels, written down separately for every fill."""
    if fill == "zero":
        return np.zeros_like(image)
    if fill == "mean":
        return np.stack([np.full(mask.shape, channel[mask].mean()) for channel in image])
    if fill == "control_mean":
        return reference
    if fill == "blur":
        from scipy.ndimage import gaussian_filter

        return np.stack([gaussian_filter(channel, 1.5, mode="nearest", truncate=4.0) for channel in image])
    standard = generator(7, "faithfulness", "imputation").standard_normal(image.shape)
    return noisy_linear(image, removed, 0.05, standard)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("mode", ["delete", "insert"])
@pytest.mark.parametrize("order", ["most_relevant_first", "least_relevant_first"])
def test_curves_equal_a_loop_over_maps_and_shares(shape, fill, mode, order):
    image, maps, mask = example(shape)
    reference = np.random.default_rng(3).normal(size=image.shape)
    predict = network(shape)
    curves = removal_curves(
        image, maps, predict, 1, order=order, fill=fill, shares=SHARES, mode=mode, mask=mask, seed=7, batch_size=4,
        reference=reference if fill == "control_mean" else None, blur_sigma=1.5, noise=0.05,
    )  # fmt: skip
    voxels = [tuple(place) for place in np.argwhere(mask)]
    for column, heatmap in enumerate(maps):
        ranked = sorted(voxels, key=lambda place: heatmap[place], reverse=order == "most_relevant_first")
        heights = []
        for share in SHARES:
            n_moved = round(share * len(voxels))
            removed = np.zeros(shape, bool)
            for place in ranked[:n_moved] if mode == "delete" else ranked[n_moved:]:
                removed[place] = True
            filled, stands = image.copy(), content(fill, image, mask, reference, removed)
            for place in np.argwhere(removed):
                at = (slice(None), *place)
                filled[at] = stands[at]
            heights.append(predict(filled[None])[0, 1])
        np.testing.assert_allclose(curves.probability[:, column], heights, atol=1e-6)
        steps = zip(curves.shares[:-1], curves.shares[1:], heights[:-1], heights[1:], strict=True)
        area = sum((right - left) * (low + high) / 2 for left, right, low, high in steps)
        assert curves.auc[column] == pytest.approx(area / (curves.shares[-1] - curves.shares[0]), abs=1e-6)


def test_ends_are_the_scan_and_its_fill_for_every_map():
    image, maps, mask = example((9, 11))
    predict = network((9, 11))
    deleted = removal_curves(image, maps, predict, 0, shares=(0, 1), mask=mask, seed=0).probability
    inserted = removal_curves(image, maps, predict, 0, shares=(0, 1), mask=mask, seed=0, mode="insert").probability
    whole, empty = predict(image[None])[0, 0], predict(np.where(mask, 0, image)[None])[0, 0]
    np.testing.assert_allclose(deleted, [[whole] * 3, [empty] * 3])
    np.testing.assert_allclose(inserted, [[empty] * 3, [whole] * 3])


def test_deletion_read_backwards_is_insertion_of_the_other_order():
    image, maps, mask = example((6, 7, 5))
    shares = np.array([0, 0.25, 0.5, 0.75, 1])
    settings = {"shares": shares, "mask": np.ones((6, 7, 5)), "seed": 0, "fill": "mean"}
    deleted = removal_curves(image, np.round(maps), network((6, 7, 5)), 2, **settings)
    counts = np.rint(shares * 210)
    inserted = removal_curves(
        image, np.round(maps), network((6, 7, 5)), 2, mode="insert", order="least_relevant_first",
        **settings | {"shares": 1 - counts[::-1] / 210},
    )  # fmt: skip
    np.testing.assert_allclose(inserted.probability, deleted.probability[::-1], atol=1e-12)


@pytest.mark.parametrize("fill", FILLS)
def test_batches_and_other_maps_change_nothing(fill):
    image, maps, mask = example((9, 11), n_maps=5)
    settings = {"fill": fill, "mask": mask, "seed": 1, "reference": image[::-1] if fill == "control_mean" else None}
    predict = network((9, 11))
    together = removal_curves(image, maps, predict, 1, batch_size=64, **settings).probability
    single = removal_curves(image, maps, predict, 1, batch_size=1, **settings).probability
    alone = removal_curves(image, maps[3:4], predict, 1, batch_size=7, **settings).probability
    np.testing.assert_allclose(single, together, atol=1e-12)
    np.testing.assert_allclose(alone[:, 0], together[:, 3], atol=1e-12)


def test_memory_holds_one_batch():
    image, maps, _ = example((9, 11), n_maps=30)
    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        return network((9, 11))(batch)

    removal_curves(image, maps, predict, 1, seed=0, batch_size=8)
    # The scan and its fill are asked once, not once a map.
    assert max(sizes) == 8 and sum(sizes) == 2 + 30 * 19


def test_ties_stand_in_one_random_order_for_every_map():
    image, _, mask = example((9, 11))
    maps = np.stack([np.zeros((9, 11)), np.full((9, 11), 5.0), np.where(np.indices((9, 11))[0] > 4, 1.0, 0)])
    scan = RankedScan.of(image, maps, mask, seed=3)
    np.testing.assert_array_equal(scan.order(0), scan.order(1))
    step = np.flatnonzero((maps[2] > 0) & mask)
    first = scan.order(2)[: step.size]
    assert set(first) == set(step)
    np.testing.assert_array_equal(first, [voxel for voxel in scan.order(0) if voxel in set(step)])
    other = RankedScan.of(image, maps, mask, seed=4)
    assert (other.order(0) != scan.order(0)).any()
    # Not in the order of the grid, which would favour one corner.
    assert abs(np.corrcoef(scan.order(0), np.arange(scan.places.size))[0, 1]) < 0.4


def test_what_lies_outside_the_mask_is_neither_ranked_nor_touched():
    image, maps, mask = example((9, 11))
    seen = []

    def predict(batch):
        seen.append(batch.copy())
        return network((9, 11))(batch)

    spoiled = np.where(mask, maps, np.nan)
    curves = removal_curves(image, spoiled, predict, 1, mask=mask, seed=0)
    np.testing.assert_array_equal(
        curves.probability, removal_curves(image, maps, predict, 1, mask=mask, seed=0).probability
    )
    for batch in seen:
        np.testing.assert_array_equal(
            batch[:, :, ~mask], np.broadcast_to(image[:, ~mask], (len(batch), 2, (~mask).sum()))
        )


def test_a_map_that_is_not_finite_is_nan_and_spoils_no_other():
    image, maps, mask = example((9, 11))
    spoiled = maps.copy()
    spoiled[1].flat[0] = np.inf
    predict = network((9, 11))
    curves = removal_curves(image, spoiled, predict, 1, mask=mask, seed=0)
    assert np.isnan(curves.auc[1]) and np.isnan(curves.probability[:, 1]).all()
    whole = removal_curves(image, maps, predict, 1, mask=mask, seed=0)
    np.testing.assert_allclose(curves.auc[[0, 2]], whole.auc[[0, 2]])
    assert np.isnan(removal_curves(image, spoiled[1:2], predict, 1, mask=mask, seed=0).auc).all()


def test_tensors_and_arrays_give_the_same_numbers():
    image, maps, _ = example((9, 11))
    predict = network((9, 11))
    kinds = []

    def torch_predict(batch):
        kinds.append((batch.dtype, torch.is_grad_enabled()))
        return torch.from_numpy(predict(batch.numpy()))

    theirs = removal_curves(torch.from_numpy(image), torch.from_numpy(maps), torch_predict, 1, seed=0)
    np.testing.assert_allclose(theirs.probability, removal_curves(image, maps, predict, 1, seed=0).probability)
    assert set(kinds) == {(torch.float64, False)}


def test_zero_can_be_what_zero_became_in_a_normalised_scan():
    image, maps, _ = example((9, 11))
    black = np.stack([np.full((9, 11), -1.2), np.full((9, 11), 0.4)])
    predict = network((9, 11))
    zero = removal_curves(image, maps, predict, 0, shares=(0, 1), seed=0, reference=black)
    assert zero.probability[1] == pytest.approx(predict(black[None])[0, 0])


def test_zero_can_raise_what_deletion_should_lower():
    """Claim X2 in small: disease is a dark hippocampus, and black is darker than any."""
    shape, region = (12, 12), np.zeros((12, 12), bool)
    region[4:8, 5:9] = True
    # Normalised intensities: controls about 0, the patient darker in the region, black at -3.
    image = np.where(region, -1.0, 0.0)[None]

    def predict(batch):
        evidence = -(batch[:, 0] * region).sum(axis=(1, 2)) / region.sum()
        diseased = 1 / (1 + np.exp(-4 * (evidence - 0.5)))
        return np.stack([1 - diseased, diseased], axis=1)

    relevant = np.where(region, 1.0, 0.0)[None]
    settings = {"shares": (0, 16 / 144), "seed": 0}
    zero = removal_curves(image, relevant, predict, 1, reference=np.full((1, *shape), -3.0), **settings)
    control = removal_curves(
        image, relevant, predict, 1, fill="control_mean", reference=np.zeros((1, *shape)), **settings
    )
    imputed = removal_curves(image, relevant, predict, 1, fill="noisy_linear", noise=0.0, **settings)
    before = predict(image[None])[0, 1]
    assert zero.probability[-1, 0] > 0.99 > before > 0.85
    assert control.probability[-1, 0] < 0.15 and imputed.probability[-1, 0] < 0.15


@pytest.mark.parametrize("shape", GRIDS)
def test_road_is_the_mean_of_both_removals(shape):
    image, maps, mask = example(shape)
    settings = {"mask": mask, "seed": 2, "noise": 0.02}
    scores = road(image, maps, network(shape), 1, shares=(0.2, 0.5, 0.7), **settings)
    for order, values in (("most_relevant_first", scores.morf), ("least_relevant_first", scores.lerf)):
        curves = removal_curves(
            image, maps, network(shape), 1, order=order, fill="noisy_linear", shares=(0.2, 0.5, 0.7), **settings
        )
        np.testing.assert_allclose(values, curves.probability.mean(axis=0))
    np.testing.assert_allclose(scores.combined, scores.lerf - scores.morf)
    np.testing.assert_allclose(road(image, -maps, network(shape), 1, shares=(0.5,), **settings).morf,
                               road(image, maps, network(shape), 1, shares=(0.5,), **settings).lerf)  # fmt: skip


def test_road_agrees_with_pytorch_grad_cam(monkeypatch):
    library = pytest.importorskip("pytorch_grad_cam.metrics.road")
    # Its scores leave no way to ask for an imputation without noise but the default.
    monkeypatch.setattr(library.NoisyLinearImputer.__init__, "__defaults__", (0.0, library.neighbors_weights))
    image, maps, _ = example((20, 20), n_maps=2, n_channels=3)
    # The peer ranks 1 - map for the least relevant, so its maps lie between 0 and 1.
    maps = (maps - maps.min()) / (maps.max() - maps.min())
    predict = network((20, 20), n_channels=3)

    def model(batch):
        return torch.from_numpy(predict(batch.numpy().astype(np.float64)))

    ours = road(image, maps, predict, 1, noise=0.0, seed=0)
    batch = torch.from_numpy(np.stack([image, image]).astype(np.float32))
    theirs = library.ROADCombined()(batch, maps.astype(np.float32), [lambda output: output[1]] * 2, model)
    np.testing.assert_allclose(ours.combined / 2, theirs, atol=2e-5)


def test_what_makes_no_sense_is_refused():
    image, maps, mask = example((9, 11))
    predict = network((9, 11))
    wrong = [
        (ConfigError, "order", {"order": "random"}),
        (ConfigError, "mode", {"mode": "keep"}),
        (ConfigError, "fill", {"fill": "grey"}),
        (ConfigError, "shares", {"shares": (0.5, 0.2)}),
        (ConfigError, "shares", {"shares": (0.5, 1.2)}),
        (ConfigError, "shares", {"shares": ()}),
        (ConfigError, "reference", {"fill": "control_mean"}),
        (ConfigError, "reference", {"fill": "blur", "reference": image}),
        (ConfigError, "reference", {"fill": "noisy_linear", "reference": image}),
        (GeometryError, "reference", {"reference": image[:, 1:]}),
        (ConfigError, "blur_sigma", {"fill": "blur", "blur_sigma": 0}),
        (ConfigError, "noise", {"fill": "noisy_linear", "noise": -1}),
        (ConfigError, "batch_size", {"batch_size": 0}),
        (GeometryError, "mask", {"mask": mask[1:]}),
        (GeometryError, "mask", {"mask": np.zeros((9, 11))}),
    ]
    for error, field, setting in wrong:
        with pytest.raises(error, match=field):
            removal_curves(image, maps, predict, 1, **{"mask": mask, "seed": 0} | setting)
    with pytest.raises(GeometryError, match="maps"):
        removal_curves(image, maps[:, 1:], predict, 1, seed=0)
    with pytest.raises(ConfigError, match="target"):
        removal_curves(image, maps, predict, 3, seed=0)
    with pytest.raises(UnsupportedModelError, match="predict"):
        removal_curves(image, maps, lambda batch: batch.sum(axis=(1, 2, 3)), 0, seed=0)
