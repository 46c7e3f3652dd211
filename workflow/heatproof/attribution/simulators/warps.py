"""Warps that a network can learn: differentiable, of one, two or three axes, and free of folds.

A warp is a displacement field in voxels, shape (B, axes, *S), in pull-back form, as in
`heatproof.cohorts.deformations`: the warped image at voxel x shows the image at x + displacement(x).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from .grids import refine

# Determinants above zero count as this much at least, so that a voxel next to a fold does not outshine all others.
FLOOR = 1e-3
# Steps of the fixed-point iteration that inverts a warp; each halves what is missing where slopes are below a half.
INVERSION_STEPS = 20
# Largest difference of a velocity between neighbours, summed over the axes, in voxels per voxel. Up to here an
# axis gains or loses a factor exp(1.5) of tissue; from about 2 on, warps outrun the grid that carries them.
STEEPEST = 1.5
# What the first step of an exponential stays below along every axis, in voxels.
FIRST_STEP = 0.5
# Steps per control point on the grid on which a velocity is exponentiated. The field holds nothing finer than
# its control grid, so this costs one per cent of the displacement and spares most of the samples.
STEPS_PER_NODE = 3


def warp(images: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Return images pulled back through a warp; linear, and the edge voxel continues outside.

    Parameters
    ----------
    images : Tensor, shape (B, C, *S)
        Images or any other field.
    displacement : Tensor, shape (B, axes, *S)
        Displacement in voxels.

    Returns
    -------
    Tensor, shape (B, C, *S)
        At x the image at x + displacement(x). Differentiable in both.
    """
    if displacement.shape[1] == 1:
        return _warp_signals(images, displacement[:, 0])
    shape = displacement.shape[2:]
    points = []
    for axis in reversed(range(len(shape))):  # grid_sample names the last axis first
        index = torch.linspace(-1.0, 1.0, shape[axis], dtype=displacement.dtype, device=displacement.device)
        scale = 2.0 / max(1, shape[axis] - 1)
        points.append(
            displacement[:, axis] * scale + index.reshape([-1 if k == axis else 1 for k in range(len(shape))])
        )
    return functional.grid_sample(images, torch.stack(points, dim=-1), "bilinear", "border", align_corners=True)


def _warp_signals(images: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    # grid_sample knows images and volumes only, so signals are gathered.
    length = images.shape[-1]
    index = torch.arange(length, dtype=displacement.dtype, device=displacement.device)
    points = (index + displacement).clamp(0, length - 1)
    lower = points.detach().nan_to_num().floor().clamp(0, max(0, length - 2))
    share = (points - lower)[:, None]
    first = lower.long()[:, None].expand(-1, images.shape[1], -1)
    second = (first + 1).clamp(max=length - 1)
    return torch.lerp(images.gather(-1, first), images.gather(-1, second), share)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Return the displacement of x -> outer(inner(x)), all of shape (B, axes, *S) in voxels.

    Warping an image by the result equals warping it by `outer` first and the outcome by `inner`.
    """
    return inner + warp(outer, inner)


def exponential(velocity: torch.Tensor) -> torch.Tensor:
    """Return the diffeomorphisms of stationary velocity fields by scaling and squaring.

    The first step is shorter than half a voxel, so that no two neighbours along an axis swap places, and it is a
    midpoint step: of second order, so that such a step is short enough. The number of squarings is each field's
    own, so a scan's warp does not depend on its batch (Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113).

    Parameters
    ----------
    velocity : Tensor, shape (B, axes, *S)
        Velocity in voxels per unit time.

    Returns
    -------
    Tensor, shape (B, axes, *S)
        Displacement in voxels at time one. ``exponential(-velocity)`` is its inverse.
    """
    axes = velocity.shape[1]
    # A fit that has failed is for its loss to report, so what is not finite goes through.
    largest = velocity.detach().abs().flatten(1).amax(dim=1).nan_to_num(0.0, posinf=0.0)
    squarings = (largest / FIRST_STEP).log2().floor().add(1).clamp(min=0)
    shares = torch.exp2(-squarings).reshape(-1, *[1] * (axes + 1))
    step = velocity * shares
    displacement = warp(step, step / 2)
    for done in range(int(squarings.max())):
        doubled = compose(displacement, displacement)
        if bool((squarings > done).all()):
            displacement = doubled
        else:
            displacement = torch.where(squarings.gt(done).reshape(shares.shape), doubled, displacement)
    return displacement


def flow(coarse: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the warps of velocities on a control grid, none of which folds anywhere on the full grid.

    Velocities steeper than `STEEPEST` are scaled down to it (differentiably). The rare warp that folds
    nonetheless is made again with half its velocity until it does not. That ends: with M the largest differences
    of a velocity between neighbours (axes x axes), those of the displacement after every squaring are at most
    exp(M) - 1, so once the rows of M sum to less than log 2 the Jacobian is diagonally dominant everywhere.

    Parameters
    ----------
    coarse : Tensor, shape (B, axes, *G)
        Velocity at the control points in voxels per unit time, or at every voxel if G is `shape`.
    shape : sequence of int
        Voxels per axis.

    Returns
    -------
    displacement : Tensor, shape (B, axes, *shape)
        Displacement in voxels at time one.
    coarse : Tensor, shape (B, axes, *G)
        The velocity that was used.
    """
    grid, shape = tuple(coarse.shape[2:]), tuple(shape)
    nodes = tuple(min(length, STEPS_PER_NODE * (points - 1) + 1) for points, length in zip(grid, shape, strict=True))
    spacing = [(length - 1) / max(1, count - 1) for length, count in zip(shape, nodes, strict=True)]
    unit = coarse.new_tensor(spacing).clamp(min=1.0).reshape(1, -1, *[1] * len(shape))
    velocity = (coarse if grid == nodes else refine(coarse, nodes)) / unit
    shares = (STEEPEST / steepness(velocity).clamp(min=STEEPEST)).reshape(-1, *[1] * (len(shape) + 1))
    while True:
        displacement = exponential(velocity * shares) * unit
        if nodes != shape:
            displacement = refine(displacement, shape, through=True)
        folds = folded(displacement.detach()) > 0
        if not bool(folds.any()):
            return displacement, coarse * shares
        shares = torch.where(folds.reshape(shares.shape), shares / 2, shares)


def differences(field: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the derivative along an axis of the space: central inside, one-sided at the border (as NumPy's).

    Parameters
    ----------
    field : Tensor, shape (B, C, *S)
    axis : int
        0 to the number of space axes less one.

    Returns
    -------
    Tensor, shape (B, C, *S)
        Zero along an axis of one voxel.
    """
    dimension = axis + 2
    length = field.shape[dimension]
    if length == 1:
        return torch.zeros_like(field)
    steps = field.diff(dim=dimension)
    inside = (steps.narrow(dimension, 1, length - 2) + steps.narrow(dimension, 0, length - 2)) / 2
    return torch.cat([steps.narrow(dimension, 0, 1), inside, steps.narrow(dimension, length - 2, 1)], dim=dimension)


def steepness(velocity: torch.Tensor) -> torch.Tensor:
    """Return each field's largest derivative: that of a component, summed over the axes. Shape (B,)."""
    slopes = torch.stack([differences(velocity, axis).abs() for axis in range(velocity.shape[1])])
    return slopes.sum(dim=0).flatten(1).amax(dim=1)


def jacobian_determinant(displacement: torch.Tensor) -> torch.Tensor:
    """Return det of the Jacobian of x -> x + displacement(x), shape (B, *S); positive without folds.

    Parameters
    ----------
    displacement : Tensor, shape (B, axes, *S)
        Displacement in voxels, of one to three axes.
    """
    axes = displacement.shape[1]
    columns = [list(differences(displacement, axis).unbind(dim=1)) for axis in range(axes)]
    for axis in range(axes):
        columns[axis][axis] = columns[axis][axis] + 1
    if axes == 1:
        return columns[0][0]
    if axes == 2:
        return columns[0][0] * columns[1][1] - columns[0][1] * columns[1][0]
    a, b, c = columns
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def log_jacobian(displacement: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of how much tissue a voxel of the warped image has gained; loss is negative.

    A warp pulls back: where it shrinks an object it looks further out, and its determinant is above one. So this
    is minus the logarithm of the determinant, which counts as `FLOOR` at least. Where a warp folds there is no
    logarithm, and nothing is said: 0. Shape (B, *S).
    """
    determinant = jacobian_determinant(displacement)
    return torch.where(determinant > 0, -determinant.clamp(min=FLOOR).log(), 0.0)


def carried_back(values: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Return what is known at each voxel of a warped image at the place where its tissue was before.

    A map of the tissue that a warp moves can thus be held against maps and truths of the scan as it is.

    Parameters
    ----------
    values : Tensor, shape (B, C, *S)
        On the grid of the warped image.
    displacement : Tensor, shape (B, axes, *S)
        The warp, in voxels; where it folds, the tissue of a place is not one.

    Returns
    -------
    Tensor, shape (B, C, *S)
    """
    inverse = torch.zeros_like(displacement)
    for _ in range(INVERSION_STEPS):
        inverse = -warp(displacement, inverse)
    return warp(values, inverse)


def folded(displacement: torch.Tensor) -> torch.Tensor:
    """Return the share of voxels at which each warp folds (its determinant is zero or less), shape (B,)."""
    return jacobian_determinant(displacement).le(0).flatten(1).float().mean(dim=1)
