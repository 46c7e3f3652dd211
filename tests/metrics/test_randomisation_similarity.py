"""How alike two maps are: against SciPy, scikit-image and loops; and the tests that compare maps of two trainings."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.randomisation import KINDS, data_randomisation, retraining_agreement, similarity

SHAPES = {1: (40,), 2: (17, 14), 3: (13, 12, 14)}


def two_maps(n_axes: int, seed: int = 0, relation: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, noise = rng.normal(size=(2, *SHAPES[n_axes]))
    return first, relation * first + noise


@pytest.mark.parametrize("n_axes", SHAPES)
def test_correlations_equal_scipy_with_and_without_ties(n_axes):
    from scipy.stats import pearsonr, spearmanr

    first, second = two_maps(n_axes)
    for one, two in ((first, second), (first.round(), second.round())):
        assert similarity(one, two) == pytest.approx(spearmanr(one.ravel(), two.ravel())[0], abs=1e-12)
        expected = spearmanr(np.abs(one).ravel(), np.abs(two).ravel())[0]
        assert similarity(one, two, "absolute_spearman") == pytest.approx(expected, abs=1e-12)
        assert similarity(one, two, "pearson") == pytest.approx(pearsonr(one.ravel(), two.ravel())[0], abs=1e-12)


@pytest.mark.parametrize("n_axes", SHAPES)
def test_structural_similarity_equals_scikit_image(n_axes):
    from skimage.metrics import structural_similarity

    first, second = two_maps(n_axes, 1)
    expected = structural_similarity(
        first / np.abs(first).max(), second / np.abs(second).max(),
        data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert similarity(first, second, "ssim") == pytest.approx(expected, abs=1e-12)


def test_structural_similarity_of_a_signal_equals_loops_over_windows():
    first, second = two_maps(1, 2)
    one, two = first / np.abs(first).max(), second / np.abs(second).max()
    offsets = np.arange(-5, 6)
    weights = np.exp(-0.5 * (offsets / 1.5) ** 2)
    weights /= weights.sum()
    values = []
    for centre in range(5, len(one) - 5):
        x, y = one[centre + offsets], two[centre + offsets]
        mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
        var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
        both = (weights * (x - mean_x) * (y - mean_y)).sum()
        # Constants (0.01 L)^2 and (0.03 L)^2 for values that span L = 2.
        luminance = (2 * mean_x * mean_y + 0.0004) / (mean_x**2 + mean_y**2 + 0.0004)
        values.append(luminance * (2 * both + 0.0036) / (var_x + var_y + 0.0036))
    assert similarity(first, second, "ssim") == pytest.approx(np.mean(values), abs=1e-12)
    # A mask with both largest values inside leaves the scale and picks windows by their centre.
    mask = np.isin(np.arange(40), [np.abs(first).argmax(), np.abs(second).argmax(), 10, 11, 30])
    picked = [value for centre, value in enumerate(values, start=5) if mask[centre]]
    assert similarity(first, second, "ssim", mask) == pytest.approx(np.mean(picked), abs=1e-12)


@pytest.mark.parametrize(("n_axes", "kind"), product(SHAPES, KINDS))
def test_a_map_is_like_itself_whatever_its_scale_and_tensors_are_maps_too(n_axes, kind):
    first, second = two_maps(n_axes)
    assert similarity(first, 7.5 * first, kind) == pytest.approx(1, abs=1e-12)
    tensors = torch.from_numpy(first), torch.from_numpy(second).requires_grad_()
    assert similarity(*tensors, kind) == similarity(first, second, kind)
    assert similarity(second, first, kind) == pytest.approx(similarity(first, second, kind), abs=1e-12)


def test_signs_matter_unless_they_are_dropped():
    first, _ = two_maps(2)
    assert similarity(first, -first) == pytest.approx(-1)
    assert similarity(first, -first, "absolute_spearman") == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_only_voxels_inside_the_mask_count(kind):
    first, second = two_maps(2)
    mask = np.zeros(first.shape, bool)
    mask[:, :6] = True
    far, other = first.copy(), second.copy()
    # Beyond the reach of the window, for structural similarity.
    far[:, 12:], other[:, 12:] = 1e3, -1e3
    assert similarity(far, other, kind, mask) == pytest.approx(similarity(first, second, kind, mask), abs=1e-12)
    if kind != "ssim":
        assert similarity(first, second, kind, mask) == pytest.approx(similarity(first[:, :6], second[:, :6], kind))


def test_channels_are_not_an_axis_of_the_window():
    leads = np.random.default_rng(3).normal(size=(2, 3, 30))
    leads[0] /= np.abs(leads[0]).max()
    leads[1] /= np.abs(leads[1]).max()
    whole = similarity(*leads, "ssim", n_axes=1)
    assert whole == similarity(*leads, "ssim", mask=np.ones(30, bool))
    # Each lead alone, on the scale of the whole map: an extreme value is added far from what is counted.
    counted = np.zeros(60, bool)
    counted[5:25] = True
    extended = np.concatenate([leads, np.zeros((2, 3, 30))], axis=2)
    extended[..., -1] = 1.0
    parts = [similarity(a, b, "ssim", counted | (np.arange(60) == 59)) for a, b in zip(*extended, strict=True)]
    assert whole == pytest.approx(np.mean(parts), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_map_has_no_similarity_with_anything(kind):
    first, _ = two_maps(2)
    # The mean of these equal values is not quite their value.
    constant = np.full(first.shape, 0.3)
    assert (constant - constant.mean()).any()
    pairs = [(first, constant), (constant, first), (constant, 0 * constant), (0 * constant, 0 * constant)]
    assert np.isnan([similarity(one, two, kind) for one, two in pairs]).all()
    # what lies outside the mask is not compared
    mask = np.zeros(first.shape, bool)
    mask[:, :6] = True
    assert np.isnan(similarity(first, np.where(mask, 0.3, first), kind, mask))
    assert np.isfinite(similarity(first, np.where(mask, first, 0.3), kind, mask))
    # signs are no order where they are dropped
    assert np.isnan(similarity(first, np.sign(first), kind)) == (kind == "absolute_spearman")


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_is_not_finite_has_no_similarity(kind):
    first, second = two_maps(2)
    second[3, 3] = np.inf
    assert np.isnan(similarity(first, second, kind))


def test_what_cannot_be_compared_is_refused():
    first, second = two_maps(2)
    with pytest.raises(ConfigError, match="kendall"):
        similarity(first, second, "kendall")
    with pytest.raises(GeometryError, match="shape"):
        similarity(first, second[1:])
    with pytest.raises(GeometryError, match="mask"):
        similarity(first, second, mask=np.ones((3, 3), bool))
    with pytest.raises(GeometryError, match="mask"):
        similarity(first, second, mask=np.zeros(first.shape, bool))
    with pytest.raises(GeometryError, match="window"):
        similarity(first[:, :10], second[:, :10], "ssim")


@pytest.mark.parametrize("n_axes", SHAPES)
def test_data_randomisation_compares_scan_with_scan(n_axes):
    rng = np.random.default_rng(4)
    maps, twins = rng.normal(size=(2, 3, 1, *SHAPES[n_axes]))
    twins[1] = 2 * maps[1]
    found = data_randomisation(maps, twins)
    np.testing.assert_allclose(found, [similarity(maps[i], twins[i]) for i in range(3)])
    assert found[1] == 1 and abs(found[[0, 2]]).max() < 0.6
    with pytest.raises(GeometryError, match="3 maps are compared with 2"):
        data_randomisation(maps, twins[:2])


def test_retraining_agreement_is_the_mean_over_all_pairs_of_runs():
    rng = np.random.default_rng(5)
    signal = rng.normal(size=(4, 12, 13))
    runs = np.stack([signal + strength * rng.normal(size=signal.shape) for strength in (0.2, 0.5, 1.0)])
    slow = [np.mean([similarity(runs[a, i], runs[b, i]) for a, b in ((0, 1), (0, 2), (1, 2))]) for i in range(4)]
    np.testing.assert_allclose(retraining_agreement(runs), slow)
    np.testing.assert_allclose(retraining_agreement(list(torch.from_numpy(runs))), slow)
    np.testing.assert_allclose(retraining_agreement(np.stack([signal, signal])), 1)
    with pytest.raises(ConfigError, match="two seeds"):
        retraining_agreement(runs[:1])


def test_a_scan_with_a_constant_map_has_neither_agreement_nor_a_twin():
    runs = np.random.default_rng(6).normal(size=(3, 4, 12, 13))
    whole = retraining_agreement(runs)
    dead = runs.copy()
    dead[1, 2], dead[:, 3] = 0, 0
    found = retraining_agreement(dead)
    np.testing.assert_array_equal(found[:2], whole[:2])
    assert np.isnan(found[2:]).all()
    for one, two in ((dead[0], dead[1]), (dead[1], dead[0])):
        assert np.isnan(data_randomisation(one, two)).tolist() == [False, False, True, True]
