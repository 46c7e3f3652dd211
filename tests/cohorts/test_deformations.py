from __future__ import annotations

import numpy as np
import pytest

from heatproof.cohorts.deformations import (
    compose,
    exponential,
    identity,
    jacobian_determinant,
    random_field,
    random_warp,
    scaling,
    warp,
)
from heatproof.randomness import generator

SHAPES = [(64,), (40, 44), (20, 24, 18)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_strong_random_warp_never_folds(shape):
    displacement = random_warp(shape, [4.0] * len(shape), 16.0, 12.0, generator(1, shape))
    assert displacement.shape == (len(shape), *shape)
    assert np.abs(displacement).max() > 1
    assert jacobian_determinant(displacement).min() > 0


def test_the_determinant_sees_a_fold():
    x = np.arange(30, dtype=float)
    assert jacobian_determinant((-1.5 * x)[None]).max() < 0
    np.testing.assert_allclose(jacobian_determinant(np.zeros((3, 5, 6, 7))), 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exponential_of_the_negative_velocity_is_the_inverse(shape):
    random = generator(2, shape)
    velocity = np.stack([random_field(shape, [1.0] * len(shape), 5.0, random) for _ in shape])
    round_trip = compose(exponential(velocity), exponential(-velocity))
    inner = (slice(None), *[slice(5, -5)] * len(shape))
    # What is left is the error of linear interpolation: a twentieth of the way out.
    assert np.abs(round_trip[inner]).max() < 0.05 * np.abs(exponential(velocity)).max()


def test_the_exponential_equals_slow_integration():
    x = np.arange(80, dtype=float)
    velocity = 3.0 * np.sin(2 * np.pi * x / 80)
    position = x.copy()
    for _ in range(2000):
        position += 3.0 * np.sin(2 * np.pi * position / 80) / 2000
    np.testing.assert_allclose(exponential(velocity[None])[0], position - x, atol=0.02)


def test_no_velocity_moves_nothing_and_a_constant_one_translates():
    image = generator(3).random((9, 10)).astype(np.float32)
    np.testing.assert_array_equal(warp(image, exponential(np.zeros((2, 9, 10)))), image)
    constant = np.stack([np.full((9, 10), 2.0), np.zeros((9, 10))])
    np.testing.assert_allclose(exponential(constant), constant, atol=1e-6)
    np.testing.assert_allclose(warp(image, constant)[:-2], image[2:], atol=1e-6)


def test_composition_is_warping_twice():
    smooth = random_field((40, 40), [1.0, 1.0], 6.0, generator(4))
    first = random_warp((40, 40), [1.0, 1.0], 8.0, 1.5, generator(5))
    second = random_warp((40, 40), [1.0, 1.0], 8.0, 1.5, generator(6))
    twice = warp(warp(smooth, first), second)
    difference = np.abs(warp(smooth, compose(first, second)) - twice)[4:-4, 4:-4]
    # An image warped twice is blurred twice; the displacement itself is not.
    assert difference.mean() < 0.01
    assert difference.mean() < 0.1 * np.abs(warp(smooth, compose(second, first)) - twice)[4:-4, 4:-4].mean()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_scaling_multiplies_the_content_by_the_power_of_the_axes(axes):
    shape = (41,) * axes
    ball = (np.linalg.norm(identity(shape) - 20, axis=0) < 9).astype(np.float32)
    grown = warp(ball, scaling(shape, 1.2, [20] * axes))
    assert grown.sum() / ball.sum() == pytest.approx(1.2**axes, rel=0.06)


@pytest.mark.parametrize("shape", [(4000,), (160, 160), (48, 48, 48)])
def test_random_fields_have_unit_variance_up_to_the_edge_and_the_size_asked_for(shape):
    draws = [random_field(shape, [2.0] * len(shape), 8.0, generator(seed, shape)) for seed in range(24)]
    assert np.std(draws) == pytest.approx(1, abs=0.08)
    assert np.std([draw[0] for draw in draws]) == pytest.approx(1, abs=0.25)
    neighbour = np.mean([np.mean(draw[:-1] * draw[1:]) for draw in draws])
    # White noise smoothed with a Gaussian of width s has the autocorrelation exp(-d^2 / 4 s^2).
    assert neighbour == pytest.approx(np.exp(-(2.0**2) / (4 * 8.0**2)), abs=0.1)


def test_a_warp_depends_on_its_generator_only():
    make = lambda seed: random_warp((12, 13, 14), (4.0, 4.0, 4.0), 16.0, 2.0, generator(seed, "person"))  # noqa: E731
    np.testing.assert_array_equal(make(1), make(1))
    assert np.abs(make(1) - make(2)).max() > 0.1


def test_millimetres_count_on_a_grid_of_unequal_steps():
    shape, spacing = (40, 20), (1.0, 2.0)
    draws = [random_warp(shape, spacing, 10.0, 1.0, generator(seed, "steps")) for seed in range(20)]
    along_first, along_second = np.std(draws, axis=(0, 2, 3)) * np.array(spacing)
    assert along_first == pytest.approx(1.0, abs=0.25)
    assert along_second == pytest.approx(1.0, abs=0.25)
