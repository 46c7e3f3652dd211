"""Smooth random fields and diffeomorphic warps of any number of axes.

A warp is a displacement field in voxels, shape (axes, *space), in pull-back form: the warped image at
voxel x shows the image at x + displacement(x). Warps are exponentials of stationary velocity fields
(Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113), so they are smooth, invertible, and never fold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# A scaled velocity below a quarter of a voxel is its own exponential to about a hundredth of a voxel.
LARGEST_FIRST_STEP = 0.25
# Coarse grids carry this many nodes per smoothing width, so that linear interpolation between them is exact
# to about two per cent of the field.
NODES_PER_SCALE = 2.0


def identity(shape: Sequence[int]) -> np.ndarray:
    """Return the voxel index of every voxel, shape (axes, *shape), float32."""
    return np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))


def sample(image: np.ndarray, points: np.ndarray, order: int = 1) -> np.ndarray:
    """Return an image at fractional voxel positions; the nearest edge voxel continues outside.

    Parameters
    ----------
    image : ndarray, shape (*space,)
        Values (any type; labels with ``order=0``).
    points : ndarray, shape (axes, ...)
        Positions in voxels.
    order : {0, 1, 3}
        Nearest neighbour, linear or cubic.
    """
    output = image.dtype if order == 0 else np.dtype(np.float32)
    return ndimage.map_coordinates(image, points, order=order, mode="nearest", output=output)


def warp(image: np.ndarray, displacement: np.ndarray, order: int = 1) -> np.ndarray:
    """Return ``image`` pulled back through a displacement in voxels, shape (axes, *space)."""
    return sample(image, identity(image.shape) + displacement, order)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the displacement of x -> outer(inner(x)), all of shape (axes, *space) in voxels.

    Warping an image by the result equals warping it by `outer` first and the outcome by `inner`.
    """
    points = identity(inner.shape[1:]) + inner
    return inner + np.stack([sample(component, points) for component in outer])


def exponential(velocity: np.ndarray) -> np.ndarray:
    """Return the diffeomorphism of a stationary velocity field by scaling and squaring.

    Parameters
    ----------
    velocity : ndarray, shape (axes, *space)
        Velocity in voxels per unit time.

    Returns
    -------
    ndarray, shape (axes, *space)
        Displacement in voxels at time one. ``exponential(-velocity)`` is its inverse.
    """
    largest = float(np.sqrt((velocity**2).sum(axis=0)).max())
    steps = max(0, math.ceil(math.log2(largest / LARGEST_FIRST_STEP))) if largest > 0 else 0
    displacement = (velocity / 2**steps).astype(np.float32)
    for _ in range(steps):
        displacement = compose(displacement, displacement)
    return displacement


def jacobian_determinant(displacement: np.ndarray) -> np.ndarray:
    """Return the local volume ratio of x -> x + displacement(x), shape (*space,); positive without folds."""
    axes = displacement.shape[0]
    gradients = np.stack([np.stack(np.gradient(component)) for component in displacement.astype(np.float64)])
    if axes == 1:
        gradients = gradients.reshape(1, 1, *displacement.shape[1:])
    matrices = np.moveaxis(gradients.reshape(axes, axes, -1), -1, 0) + np.eye(axes)
    return np.linalg.det(matrices).reshape(displacement.shape[1:])


def random_field(
    shape: Sequence[int],
    spacing: Sequence[float],
    scale: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Return smooth Gaussian noise of mean zero and unit standard deviation.

    Parameters
    ----------
    shape : sequence of int
        Shape of the field.
    spacing : sequence of float
        Voxel size, in mm (or the grid's unit).
    scale : float
        Standard deviation of the Gaussian that smooths the noise, same unit: the size of its bumps.
    random : numpy Generator
        Source of the noise.
    """
    steps = _coarse_steps(shape, spacing, scale)
    return _refine(_coarse_field(shape, spacing, scale, steps, random), shape, steps)


def random_warp(
    shape: Sequence[int],
    spacing: Sequence[float],
    scale: float,
    amplitude: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Return a random smooth diffeomorphic displacement in voxels, shape (axes, *shape).

    Parameters
    ----------
    shape, spacing : sequences
        Grid, as in `random_field`.
    scale : float
        Smoothness in mm (standard deviation of the Gaussian).
    amplitude : float
        Standard deviation of the velocity along each axis, in mm.
    random : numpy Generator
        Source of the noise.
    """
    # The field is integrated on a coarse grid: it holds nothing finer, and costs a hundredth.
    steps = _coarse_steps(shape, spacing, scale)
    velocity = np.stack(
        [
            _coarse_field(shape, spacing, scale, steps, random) * (amplitude / (size * step))
            for size, step in zip(spacing, steps, strict=True)
        ]
    )
    coarse = exponential(velocity)
    return np.stack([_refine(part, shape, steps) * step for part, step in zip(coarse, steps, strict=True)])


def scaling(shape: Sequence[int], factor: float, centre: Sequence[float]) -> np.ndarray:
    """Return the displacement that makes an object `factor` times as large about `centre` (voxels)."""
    middle = np.asarray(centre, dtype=np.float32).reshape(-1, *[1] * len(shape))
    return (identity(shape) - middle) * np.float32(1.0 / factor - 1.0)


def _coarse_steps(shape: Sequence[int], spacing: Sequence[float], scale: float) -> tuple[int, ...]:
    """Return how many voxels lie between the nodes of the coarse grid, per axis."""
    wanted = [max(1, int(scale / NODES_PER_SCALE / size)) for size in spacing]
    return tuple(min(step, max(1, length - 1)) for step, length in zip(wanted, shape, strict=True))


def _coarse_field(
    shape: Sequence[int],
    spacing: Sequence[float],
    scale: float,
    steps: Sequence[int],
    random: np.random.Generator,
) -> np.ndarray:
    """Return unit-variance smooth noise on the coarse grid that covers `shape`."""
    sigmas = [scale / (size * step) for size, step in zip(spacing, steps, strict=True)]
    nodes = [(length - 1) // step + 2 for length, step in zip(shape, steps, strict=True)]
    # Smoothing in a wider frame keeps the variance the same up to the edge.
    margins = [math.ceil(3 * sigma) for sigma in sigmas]
    noise = random.standard_normal([n + 2 * m for n, m in zip(nodes, margins, strict=True)], dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, sigmas, mode="constant", truncate=3.0)
    deviation = 1.0
    for sigma, margin in zip(sigmas, margins, strict=True):
        impulse = np.zeros(2 * margin + 1)
        impulse[margin] = 1.0
        kernel = ndimage.gaussian_filter1d(impulse, sigma, mode="constant", truncate=3.0)
        deviation *= float(np.sqrt((kernel**2).sum()))
    inner = tuple(slice(m, m + n) for n, m in zip(nodes, margins, strict=True))
    return smooth[inner] / np.float32(deviation)


def _refine(coarse: np.ndarray, shape: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    """Interpolate linearly from the coarse nodes to every voxel, one axis after the other."""
    field = coarse
    for axis, (length, step) in enumerate(zip(shape, steps, strict=True)):
        position = np.arange(length) / step
        lower = position.astype(np.int64)
        share = (position - lower).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(field.ndim)])
        field = field.take(lower, axis) * (1 - share) + field.take(lower + 1, axis) * share
    return field
