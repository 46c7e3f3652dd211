"""Losses of a simulator on fields and answers for which they are known, and its adversary."""

from __future__ import annotations

import pytest
import torch

from heatproof.attribution.simulators import losses
from heatproof.attribution.simulators.discriminator import Discriminator, discriminator_loss, realism_loss

SHAPES = [(9,), (6, 7), (5, 6, 7)]


def positions(shape):
    return torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"))


def test_answers_that_have_moved_by_the_margin_cost_nothing():
    before, option = torch.tensor([1.0, -2.0, 0.0, 0.0]), torch.tensor([-1.0, 1.0, 1.0, -1.0])
    assert losses.margin_loss(before, before + 3 * option, option, 3.0) == 0
    assert losses.margin_loss(before, before, option, 3.0) == 3
    assert losses.margin_loss(before, before - option, option, 3.0) == 4
    assert losses.margin_loss(before, before + option, option, torch.tensor([1.0, 2.0, 3.0, 0.5])) == 0.75


def test_a_scan_that_comes_back_costs_nothing():
    scans = torch.rand(2, 1, 4, 4)
    assert losses.cycle_loss(scans, scans) == 0
    assert losses.cycle_loss(scans, scans + 0.5) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_field_has_no_gradient_and_a_linear_one_its_slopes(shape):
    axes = len(shape)
    assert losses.gradient_loss(torch.full((2, axes, *shape), 3.0)) == 0
    linear = (positions(shape) * -0.5)[None]
    # One derivative in `axes` is the slope, all others are zero.
    assert losses.gradient_loss(linear) == pytest.approx(0.5 / axes)
    assert losses.gradient_loss(linear, power=2) == pytest.approx(0.25 / axes)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_field_does_not_bend_and_a_square_one_does(shape):
    axes = len(shape)
    matrix = torch.randn(axes, axes, generator=torch.Generator().manual_seed(1))
    linear = torch.einsum("ij,j...->i...", matrix, positions(shape))[None]
    assert losses.bending_loss(linear) < 1e-9
    square = positions(shape).square()[None]
    # One second derivative of each component is 2.
    assert losses.bending_loss(square) == pytest.approx(4.0)


def test_a_mixed_derivative_counts_twice():
    x, y = positions((6, 7))
    assert losses.bending_loss((x * y)[None, None]) == pytest.approx(2.0)


def test_axes_too_short_to_bend_do_not_count():
    assert losses.bending_loss(torch.rand(1, 2, 1, 2)) == 0
    assert losses.gradient_loss(torch.rand(1, 2, 1, 2)).isfinite()


@pytest.mark.parametrize("shape", [(12, 50), (1, 18, 20), (1, 9, 10, 9)])
def test_the_adversary_tells_two_groups_apart(shape):
    torch.manual_seed(2)
    adversary = Discriminator(shape, width=4)
    real, simulated = torch.randn(6, *shape) + 1, torch.randn(4, *shape) - 1
    optimiser = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    first = discriminator_loss(adversary(real), adversary(simulated))
    for _ in range(40):
        loss = discriminator_loss(adversary(real), adversary(simulated))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert adversary(real).shape == (6,)
    assert loss < 0.6 * first
    assert realism_loss(adversary(simulated)) > realism_loss(adversary(real))


def test_the_hinge_stops_at_one():
    assert discriminator_loss(torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -5.0])) == 0
    assert discriminator_loss(torch.zeros(2), torch.zeros(3)) == 2
