"""Mode pair against the installed `saliency` of PAIR, whose calls into NumPy 1 are mended inside the peer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from heatproof.metrics.information import (
    THRESHOLDS,
    Setting,
    aggregated,
    constant_model_spread,
    information_curves,
    information_scores,
)

pic = pytest.importorskip("saliency.metrics.pic")
SIZE = (48, 56)


@pytest.fixture(autouse=True)
def mended(monkeypatch):
    """Give the peer the functions that NumPy 2.4 no longer has."""
    names = {name: getattr(np, name) for name in dir(np) if not name.startswith("__")}
    monkeypatch.setattr(pic, "np", SimpleNamespace(**{**names, "trapz": np.trapezoid}))


def picture(channels: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(channels, *SIZE)), (0, 3, 3))
    noisy = smooth / smooth.std() + 0.3 * random.normal(size=smooth.shape)
    return np.clip(128 + 40 * noisy, 0, 255).astype(np.uint8)


def maps() -> np.ndarray:
    random = np.random.default_rng(5)
    noise = random.normal(size=SIZE)
    smooth = ndimage.gaussian_filter(noise, 3)
    rows, columns = np.indices(SIZE)
    disc = -((rows - 24.0) ** 2 + (columns - 30.0) ** 2)
    return np.stack([noise, smooth, disc, np.sign(smooth), np.round(2 * smooth / smooth.std())])


def model_of(image: np.ndarray, sharp: float):
    """Return probabilities (B, 2): the surer of class 1 the more an image looks like the given one."""

    def predict(images):
        apart = ((images.astype(float) - image) ** 2).mean(axis=tuple(range(1, images.ndim))) / 400
        right = 1 / (1 + np.exp(-sharp * (0.5 - apart)))
        return np.stack([1 - right, right], axis=1)

    return predict


def peer_of(image: np.ndarray, start: np.ndarray, predict, heatmap: np.ndarray, score: str, least: float = 0.8):
    """Return the peer's result for one map, or the text of its error."""
    grey = len(image) == 1
    given = image[0] if grey else np.moveaxis(image, 0, -1)

    def answer(images):
        found = predict(images[:, None] if grey else np.moveaxis(images, -1, 1))
        return found[:, 1] if score == "sic" else (found.argmax(axis=1) == 1).astype(float)

    try:
        return pic.compute_pic_metric(given, heatmap, start, answer, list(THRESHOLDS), min_pred_value=least)
    except pic.ComputePicMetricError as error:
        return str(error)


@pytest.mark.parametrize(("channels", "sharp"), [(1, 3.0), (1, 12.0), (3, 6.0)])
def test_curves_and_areas_equal_the_peer(channels, sharp):
    image, predict = picture(channels), model_of(picture(channels), sharp)
    start = np.random.default_rng(9).random(SIZE) < 0.01
    curves = information_curves(image, maps(), predict, 1, mode="pair", start=start)
    assert not curves.excluded and np.ptp(curves.sic_auc) > 0.01
    for row, heatmap in enumerate(maps()):
        for score in ("aic", "sic"):
            if channels == 3 and row in (0, 4):
                continue  # grey has them, and the peer is slow
            if row == 3 and channels == 1:
                continue  # equal values reveal the whole image, on which the peer crashes if it is grey
            peer = peer_of(image, start, predict, heatmap, score)
            assert np.array_equal(curves.x, peer.curve_x)
            np.testing.assert_allclose(getattr(curves, score)[row], peer.curve_y, rtol=0, atol=1e-12)
            assert getattr(curves, f"{score}_auc")[row] == pytest.approx(peer.auc, abs=1e-12)
            if score == "sic":
                np.testing.assert_allclose(curves.answers.probability[row], peer.predictions[1:-1], rtol=0, atol=0)


def test_images_are_left_out_where_the_peer_raises():
    image, heatmap = picture(1), maps()[:1]
    start = np.random.default_rng(9).random(SIZE) < 0.01
    everywhere = np.ones(SIZE, bool)
    everywhere[3, 3] = False
    cases = [
        (image, start, lambda images: np.tile([0.4, 0.6], (len(images), 1))),
        (image, start, lambda images: np.tile([0.6, 0.4], (len(images), 1))),
        (image, start, lambda images: np.tile([0.1, 0.9], (len(images), 1))),
        (np.full((1, *SIZE), 50, np.uint8), start, lambda images: np.tile([0.1, 0.9], (len(images), 1))),
        (image, start, model_of(image, 2.0)),
        (image, start, model_of(image, 6.0)),
    ]
    texts = {"lower than `min_pred_value`": "least probability", "entropy": "information", "not lower": "not above"}
    met = set()
    for picture_, mask, predict in cases:
        curves = information_curves(picture_, heatmap, predict, 1, mode="pair", start=mask)
        for score in ("aic", "sic"):
            peer, reason = peer_of(picture_, mask, predict, heatmap[0], score), getattr(curves, f"{score}_excluded")
            assert isinstance(peer, str) == bool(reason) == bool(np.isnan(getattr(curves, f"{score}_auc")[0]))
            if reason:
                (mine,) = {ours for theirs, ours in texts.items() if theirs in peer} & {
                    ours for ours in texts.values() if ours in reason
                }
                met.add(mine)
    assert met == set(texts.values())


def test_aggregates_equal_the_peer():
    images = [picture(1, seed) for seed in range(3)]
    start = np.random.default_rng(9).random(SIZE) < 0.01
    pairs = [(image, model_of(image, 6.0)) for image in images]
    curves = [information_curves(image, maps()[:1], model, 1, mode="pair", start=start) for image, model in pairs]
    peers = [peer_of(image, start, model, maps()[0], "sic") for image, model in pairs]
    for statistic in ("median", "mean"):
        peer = pic.aggregate_individual_pic_results(peers, statistic)
        ours = aggregated(curves, statistic)
        np.testing.assert_allclose(ours["sic"][0], peer.curve_y, atol=1e-12)
        assert ours["sic_auc"][0] == pytest.approx(peer.auc, abs=1e-12)


def test_the_published_accuracy_curve_ranks_maps_for_a_model_that_is_always_right():
    # Flaw: without the peer's checks (the paper's code only prints them), 0/0 counts nothing, and the area that is
    # left is the triangle between the last threshold and the original, which depends on the map's geometry alone.
    image = picture(1)

    def always_right(images):
        return np.tile([0.1, 0.9], (len(images), 1))

    unchecked = Setting("pair", checks=False)
    curves, checked = information_scores(image, maps(), always_right, 1, [unchecked, Setting("pair")])
    information, (low, *_), (high, *_) = curves.answers.information, curves.answers.blurred, curves.answers.original
    last = np.clip((information - low) / (high - low), 0, 1).max(axis=1)
    assert not curves.excluded and np.ptp(curves.aic_auc) > 0.005
    np.testing.assert_allclose(curves.aic_auc, (1 - last) / 2, atol=1e-3)
    assert constant_model_spread(image, maps(), unchecked)["right"]["aic"] == pytest.approx(np.ptp(curves.aic_auc))
    # with the checks no constant model is counted, so none tells maps apart or not
    for spread in (curves.constant_spread(), constant_model_spread(image, maps(), unchecked)):
        assert np.isfinite([value for found in spread.values() for value in found.values()]).all()
    for spread in (checked.constant_spread(), constant_model_spread(image, maps(), Setting("pair"))):
        assert np.isnan([value for found in spread.values() for value in found.values()]).all()
    # the peer leaves the image out, but a model that answers only to the original passes its checks
    assert "not above" in checked.excluded

    def only_the_original(images):
        return np.stack([np.array([0.1, 0.9]) if np.array_equal(each, image) else [0.9, 0.1] for each in images])

    ranked = information_curves(image, maps(), only_the_original, 1, mode="pair")
    assert not ranked.excluded and np.ptp(ranked.aic_auc) > 0.005


def test_the_three_entropies_of_the_paper_share_their_images():
    image, shown = picture(1), []

    def predict(images):
        shown.extend(images)
        return model_of(image, 6.0)(images)

    settings = [Setting("pair", entropy=kind) for kind in ("webp", "shannon", "mean")]
    webp, shannon, mean = information_scores(image, maps()[:2], predict, 1, settings)
    assert len(shown) <= 2 + 2 * len(THRESHOLDS)
    np.testing.assert_allclose(mean.answers.information, (webp.answers.information + shannon.answers.information) / 2)
    # Shannon's entropy by its definition, from the images that were shown
    bits = {}
    for each in shown:
        counts = np.histogram(each, bins=256, range=(each.min(), each.max()))[0]
        shares = counts[counts > 0] / counts.sum()
        bits[float(model_of(image, 6.0)(each[None])[0, 1])] = -(shares * np.log2(shares)).sum()
    for probability, value in zip(shannon.answers.probability.flat, shannon.answers.information.flat, strict=True):
        assert value == pytest.approx(bits[probability], abs=1e-12)


def test_other_images_are_cut_into_bytes_and_shown_as_what_they_are():
    image = (picture(1).astype(np.float32) - 100) / 50
    low, high = -2.0, 3.1
    grey = np.rint(np.clip((image - low) / (high - low) * 255, 0, 255)).astype(np.uint8)

    def predict(images):
        assert images.dtype == np.float32
        return model_of(grey, 6.0)(np.rint((images - low) / (high - low) * 255))

    floats = information_curves(image, maps(), predict, 1, mode="pair", window=(low, high), seed=2)
    levels = information_curves(grey, maps(), model_of(grey, 6.0), 1, mode="pair", seed=2)
    np.testing.assert_allclose(floats.sic_auc, levels.sic_auc, atol=1e-6)
