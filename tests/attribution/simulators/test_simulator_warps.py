"""Warps in PyTorch: against the cohort's NumPy warps, MONAI's layers and fields that are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from heatproof.attribution.simulators import warps
from heatproof.cohorts import deformations

SHAPES = [(40,), (22, 27), (15, 13, 14)]


def smooth(shape, amplitude, count=2, seed=1):
    """Return smooth random fields of `count` scans, shape (count, axes, *shape)."""
    coarse = torch.randn(
        count, len(shape), *[4] * len(shape), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return warps.refine(coarse * amplitude, shape)


def images(shape, channels=2):
    return torch.rand(2, channels, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def disc(shape, radius):
    grid = deformations.identity(shape)
    middle = (np.asarray(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    return torch.from_numpy(grid - middle).double(), torch.from_numpy(((grid - middle) ** 2).sum(0) < radius**2)


@pytest.mark.parametrize("shape", SHAPES)
def test_warps_compositions_and_determinants_equal_those_of_the_cohorts(shape):
    scans, first, second = images(shape), smooth(shape, 2.0), smooth(shape, 1.0, seed=3)
    for index in range(2):
        expected = [deformations.warp(channel, first[index].numpy()) for channel in scans[index].numpy()]
        np.testing.assert_allclose(warps.warp(scans, first)[index], np.stack(expected), atol=1e-5)
        composed = deformations.compose(first[index].numpy(), second[index].numpy())
        np.testing.assert_allclose(warps.compose(first, second)[index], composed, atol=1e-5)
        determinant = deformations.jacobian_determinant(first[index].numpy())
        np.testing.assert_allclose(warps.jacobian_determinant(first)[index], determinant, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exponential_equals_that_of_the_cohorts_and_minus_the_velocity_is_the_way_back(shape):
    velocity = smooth(shape, 1.5)
    found = warps.exponential(velocity)
    expected = np.stack([deformations.exponential(field) for field in velocity.numpy()])
    assert abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=0.07)
    inner = (..., *[slice(4, -4)] * len(shape))
    left = warps.compose(found, warps.exponential(-velocity))[inner]
    assert left.abs().max() < 0.12 and left.square().mean().sqrt() < 0.02


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_monais_layers_agree(shape):
    blocks = pytest.importorskip("monai.networks.blocks")
    scans, velocity = images(shape).float(), smooth(shape, 1.5).float()
    torch.testing.assert_close(warps.warp(scans, velocity), blocks.Warp()(scans, velocity), rtol=0, atol=1e-5)
    theirs = blocks.DVF2DDF(num_steps=7, padding_mode="border")(velocity)
    torch.testing.assert_close(warps.exponential(velocity), theirs, rtol=0, atol=0.08)


def test_a_constant_velocity_is_a_shift_and_a_linear_one_in_a_signal_grows_exponentially():
    constant = torch.full((1, 2, 9, 9), 1.3, dtype=torch.float64)
    torch.testing.assert_close(warps.exponential(constant), constant)
    position = torch.arange(81, dtype=torch.float64) - 40
    velocity = (0.5 * position)[None, None]
    expected = (math.exp(0.5) - 1) * position
    # From here nothing leaves the signal on the way.
    inner = slice(18, -18)
    torch.testing.assert_close(warps.exponential(velocity)[0, 0, inner], expected[inner], rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("shape", [(61,), (41, 41), (21, 21, 21)])
def test_an_object_that_contracts_loses_tissue_and_its_log_jacobian_is_negative(shape):
    offset, inside = disc(shape, 8)
    contraction = (offset * torch.exp(-(offset**2).sum(0) / 200) * 0.4)[None]
    image = inside.double()[None, None]
    for velocity, sign in ((contraction, -1), (-contraction, 1)):
        displacement = warps.exponential(velocity)
        size_change = (warps.warp(image, displacement) - image).sum()
        log_jacobian = warps.log_jacobian(displacement)[0]
        assert size_change * sign > 0
        assert log_jacobian[inside].mean() * sign > 0.1
        # In the middle: the exponential of the velocity's divergence.
        middle = tuple(length // 2 for length in shape)
        assert log_jacobian[middle] == pytest.approx(sign * 0.4 * len(shape), rel=0.05)


@pytest.mark.parametrize("shape", [(60,), (30, 32), (16, 18, 16)])
def test_what_is_known_of_warped_tissue_is_carried_back_to_where_the_tissue_was(shape):
    scan = smooth(shape, 1.0, count=1)[:, :1]
    displacement = warps.exponential(0.5 * smooth(shape, 1.0, count=1))
    returned = warps.carried_back(warps.warp(scan, displacement), displacement)
    inner = (0, 0, *[slice(4, -4)] * len(shape))
    left, moved = returned - scan, warps.warp(scan, displacement) - scan
    # Two linear interpolations take off what is as fine as a voxel.
    assert left[inner].square().mean() < 0.4 * moved[inner].square().mean()
    # Seen from where the tissue was, the log-Jacobian is that of the inverse warp with the other sign.
    seen = warps.carried_back(warps.log_jacobian(displacement)[:, None], displacement)[:, 0]
    inverse = -warps.log_jacobian(warps.exponential(-0.5 * smooth(shape, 1.0, count=1)))
    assert (seen - inverse)[inner[1:]].abs().max() < 0.1 * inverse.abs().max() + 0.02


def test_a_fold_is_counted_and_its_logarithm_is_finite():
    displacement = torch.zeros(2, 1, 30)
    displacement[1] = -1.5 * torch.arange(30.0)
    assert warps.folded(displacement).tolist() == [0, 1]
    log_jacobian = warps.log_jacobian(displacement)
    assert log_jacobian[0].abs().max() == 0
    # A fold is no gain of tissue, however large.
    assert log_jacobian[1].abs().max() == 0
    crowded = torch.zeros(1, 1, 30) - 0.99995 * torch.arange(30.0)
    torch.testing.assert_close(warps.log_jacobian(crowded), torch.full((1, 30), -math.log(warps.FLOOR)))


@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 3)])
def test_gradients_are_right(shape):
    velocity = (smooth(shape, 0.6, count=1) + 0.137).requires_grad_()
    scan = images(shape)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda field, image: warps.warp(image, warps.exponential(field)), (velocity, scan))
    assert torch.autograd.gradcheck(warps.log_jacobian, (velocity / 4,))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_control_grid_keeps_linear_fields_and_is_never_larger_nor_steeper_than_its_values(shape):
    nodes = torch.from_numpy(deformations.identity([4] * len(shape))).double()[None]
    fine = torch.from_numpy(deformations.identity(shape)).double()[None]
    lengths = torch.tensor(shape, dtype=torch.float64).reshape(1, -1, *[1] * len(shape)) - 1
    torch.testing.assert_close(warps.refine(nodes / 3, shape), fine / lengths)
    wild = torch.randn(3, 2, *[4] * len(shape), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    field = warps.refine(wild, shape)
    assert field.abs().max() <= wild.abs().max()
    for axis, length in enumerate(shape, start=2):
        spacing = (length - 1) / 3
        assert field.diff(dim=axis).abs().max() <= wild.diff(dim=axis).abs().max() / spacing + 1e-12


def test_a_control_grid_has_no_kinks_and_can_go_through_its_values():
    values = torch.randn(1, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    slopes = warps.refine(values, (701,)).diff()
    assert slopes.diff().abs().max() < 0.05 * slopes.abs().max()
    through = warps.refine(values, (71,), through=True)
    torch.testing.assert_close(through[..., ::10], values)
    torch.testing.assert_close(warps.refine(values[..., :1], (5,)), values[..., :1].expand(1, 1, 5))


@pytest.mark.parametrize("strength", [0.5, 5.0, 500.0])
@pytest.mark.parametrize(
    ("shape", "grid"), [((60,), 8), ((48, 40), 8), ((48, 40), None), ((20, 24, 18), 5), ((9, 1), 4)]
)
def test_a_flow_never_folds_however_wild_the_velocity(shape, grid, strength):
    nodes = shape if grid is None else [min(grid, length) for length in shape]
    random = torch.Generator().manual_seed(6)
    coarse = (torch.randn(6, len(shape), *nodes, generator=random) * strength).requires_grad_()
    displacement, used = warps.flow(coarse, shape)
    assert displacement.shape == (6, len(shape), *shape)
    assert warps.jacobian_determinant(displacement).min() > 0
    displacement.square().sum().backward()
    assert torch.isfinite(coarse.grad).all() and coarse.grad.abs().max() > 0
    assert (used.abs() <= coarse.abs()).all()


def test_where_the_limit_does_not_prevent_a_fold_the_velocity_is_halved_until_it_is_gone(monkeypatch):
    monkeypatch.setattr(warps, "STEEPEST", 40.0)
    coarse = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(7)) * 20
    coarse[0] /= 40
    assert (warps.folded(warps.exponential(warps.refine(coarse, (48, 48)))) > 0).tolist() == [False, True, True, True]
    displacement, used = warps.flow(coarse, (48, 48))
    assert warps.folded(displacement).max() == 0
    shares = (used / coarse).flatten(1).mean(dim=1)
    assert shares[0] == 1 and shares[1:].max() <= 0.5


def test_a_flow_equals_the_exponential_on_the_full_grid_and_does_not_depend_on_the_batch():
    coarse = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(8)) * 2
    coarse *= torch.tensor([0.01, 0.1, 0.5, 1.0, 1.5]).reshape(-1, 1, 1, 1)
    displacement, used = warps.flow(coarse, (48, 48))
    full = warps.exponential(warps.refine(used, (48, 48)))
    assert full.abs().max() > 2
    assert (displacement - full).square().mean().sqrt() < 0.01 * full.abs().max()
    for index in range(5):
        alone, _ = warps.flow(coarse[index : index + 1], (48, 48))
        torch.testing.assert_close(alone[0], displacement[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(20,), (12, 12)])
def test_what_is_not_finite_goes_through_to_the_loss_of_its_own_scan(shape):
    coarse = torch.zeros(2, len(shape), *[4] * len(shape))
    coarse[1] = float("nan")
    displacement, _ = warps.flow(coarse, shape)
    assert displacement[0].abs().max() == 0
    assert displacement[1].isnan().any()
