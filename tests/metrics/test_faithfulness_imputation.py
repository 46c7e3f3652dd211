from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness.imputation import equations, neighbour_weights, noisy_linear
from heatproof.metrics.faithfulness.systems import conjugate_gradients, factorised, solve, two_level

GRIDS = [(23,), (9, 11), (6, 7, 5)]


def example(shape, n_channels=2, share=0.4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n_channels, *shape)), random.random(shape) < share


def dense_solution(image, removed):
    """Every removed voxel is the weighted mean of its neighbours: written down voxel by voxel, solved densely."""
    unknowns = [tuple(place) for place in np.argwhere(removed)]
    number = {place: row for row, place in enumerate(unknowns)}
    matrix, known = np.zeros((len(unknowns), len(unknowns))), np.zeros((len(unknowns), len(image)))
    for row, place in enumerate(unknowns):
        for offset in product((-1, 0, 1), repeat=removed.ndim):
            n_differing = sum(step != 0 for step in offset)
            neighbour = tuple(np.add(place, offset))
            if not n_differing or any(not 0 <= at < size for at, size in zip(neighbour, removed.shape, strict=True)):
                continue
            weight = {1: 1.0, 2: 0.5, 3: 0.25}[n_differing]
            matrix[row, row] += weight
            if neighbour in number:
                matrix[row, number[neighbour]] -= weight
            else:
                known[row] += weight * image[(slice(None), *neighbour)]
    filled = image.copy()
    filled[:, removed] = np.linalg.solve(matrix, known).T
    return filled


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_imputation_equals_the_dense_solution_of_its_equations(shape, share):
    image, removed = example(shape, share=share, seed=1)
    np.testing.assert_allclose(noisy_linear(image, removed), dense_solution(image, removed), atol=1e-6)


def test_the_weights_are_the_papers_in_two_dimensions_and_sum_to_one_in_any():
    offsets, weights = neighbour_weights(2)
    expected = {0: 0, 1: 1 / 6, 2: 1 / 12}
    assert [expected[np.abs(offset).sum()] for offset in offsets] == pytest.approx(weights.tolist())
    one, three = neighbour_weights(1)[1], neighbour_weights(3)[1]
    np.testing.assert_allclose(one, [1 / 2, 0, 1 / 2])
    assert sorted(set(np.round(56 * three, 9))) == [0, 1, 2, 4]
    assert three.sum() == pytest.approx(1)


def test_the_weights_are_the_binomial_kernel_without_its_centre():
    for n_axes in (1, 2, 3):
        kernel = np.ones(1)
        for _ in range(n_axes):
            kernel = np.outer(kernel, [1, 2, 1]).ravel()
        kernel[kernel.size // 2] = 0
        np.testing.assert_allclose(neighbour_weights(n_axes)[1], kernel / kernel.sum())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_two_dimensions_agree_with_pytorch_grad_cam(share):
    torch = pytest.importorskip("torch")
    imputer = pytest.importorskip("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0.0)
    image, removed = example((24, 31), n_channels=3, share=share, seed=2)
    kept = torch.from_numpy((~removed).astype(np.float32))
    theirs = imputer(torch.from_numpy(image.astype(np.float32)), kept).numpy()
    np.testing.assert_allclose(noisy_linear(image, removed), theirs, atol=2e-6)


@pytest.mark.parametrize("shape", GRIDS)
def test_nothing_removed_leaves_the_scan(shape):
    image, _ = example(shape)
    np.testing.assert_array_equal(noisy_linear(image, np.zeros(shape, bool)), image)


@pytest.mark.parametrize("shape", GRIDS)
def test_all_removed_leaves_the_mean_of_each_channel(shape):
    image, _ = example(shape)
    filled = noisy_linear(image, np.ones(shape, bool))
    for channel, values in zip(image, filled, strict=True):
        np.testing.assert_allclose(values, channel.mean())


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("level", [0.0, -2.5])
def test_a_constant_scan_stays_constant(shape, level):
    _, removed = example(shape, share=0.8)
    np.testing.assert_allclose(noisy_linear(np.full((2, *shape), level), removed), level, atol=1e-7)


@pytest.mark.parametrize("shape", GRIDS)
def test_known_voxels_keep_their_value_and_imputed_ones_stay_within_their_range(shape):
    image, removed = example(shape, share=0.6, seed=5)
    filled = noisy_linear(image, removed)
    np.testing.assert_array_equal(filled[:, ~removed], image[:, ~removed])
    for channel, values in zip(image, filled, strict=True):
        known = channel[~removed]
        assert known.min() - 1e-6 <= values.min() and values.max() <= known.max() + 1e-6


@pytest.mark.parametrize("shape", GRIDS)
def test_a_slope_is_continued_away_from_the_border(shape):
    slope = np.indices(shape).sum(axis=0, dtype=float)[None]
    removed = np.zeros(shape, bool)
    removed[tuple(slice(2, -2) for _ in shape)] = True
    np.testing.assert_allclose(noisy_linear(slope, removed), slope, atol=1e-6)


def test_noise_is_added_to_imputed_voxels_only():
    image, removed = example((30, 30))
    standard = np.random.default_rng(0).normal(size=image.shape)
    noisy = noisy_linear(image, removed, 0.3, standard)
    difference = noisy - noisy_linear(image, removed)
    np.testing.assert_allclose(difference, np.where(removed, 0.3 * standard, 0), atol=1e-12)


@pytest.mark.parametrize("shape", GRIDS)
def test_iterating_equals_elimination_on_every_number_of_axes(shape):
    image, removed = example(shape, n_channels=3, share=0.9)
    image[1] = 0
    system = equations(image, removed)
    assert abs(system.matrix - system.matrix.T).max() < 1e-15
    assert np.linalg.eigvalsh(system.matrix.toarray()).min() > 0
    exact = factorised(system.matrix)(system.known)
    for known, solution in zip(system.known.T, exact.T, strict=True):
        np.testing.assert_allclose(conjugate_gradients(system.matrix, known, two_level(system)), solution, atol=1e-7)
    np.testing.assert_allclose(solve(system), exact, atol=1e-7)


def test_a_wide_hole_needs_few_rounds():
    removed = np.zeros((30, 30, 30), bool)
    removed[2:28, 2:28, 2:28] = True
    system = equations(np.random.default_rng(0).normal(size=(1, 30, 30, 30)), removed)
    rounds = {"two levels": 0, "one level": 0}

    def counted(name, precondition):
        def call(residual):
            rounds[name] += 1
            return precondition(residual)

        return call

    diagonal, known = system.matrix.diagonal(), system.known[:, 0]
    conjugate_gradients(system.matrix, known, counted("two levels", two_level(system)))
    conjugate_gradients(system.matrix, known, counted("one level", lambda residual: residual / diagonal))
    assert rounds["two levels"] < 0.8 * rounds["one level"]


def test_wrong_shapes_and_noise_are_refused():
    image, removed = example((9, 11))
    with pytest.raises(GeometryError, match="removed"):
        noisy_linear(image, removed[:-1])
    with pytest.raises(ConfigError, match="noise"):
        noisy_linear(image, removed, -1.0)
    with pytest.raises(ConfigError, match="standard"):
        noisy_linear(image, removed, 0.1)
