"""What stands where an image is not revealed, for any number of space axes.

- ``push_pull``: a pyramid. Known voxels are averaged level by level until every cell knows something, and unknown
  voxels are interpolated from the next coarser level (Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4).
- ``linear``: linear interpolation in a Delaunay triangulation of all known voxels (scipy's ``griddata``).
- ``overlay``: linear interpolation of the start alone, once for all maps and shares; what is revealed lies on top
  and tells nothing about its neighbours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from heatproof.errors import GeometryError

from .revealing import corners

POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
# Voxels that go through the pyramid at once; more of them fall out of the cache.
PIECE = 2**16


def push_pull(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return copies of an image with the unknown voxels filled by a push-pull pyramid.

    Parameters
    ----------
    image : ndarray, shape (C, *S)
        One to three space axes.
    known : ndarray of bool, shape (B, *S)
        What each copy knows, at least one voxel.

    Returns
    -------
    ndarray, shape (B, C, *S), in the dtype of the image
        Known voxels are those of the image, bit by bit; integers are rounded.
    """
    working = torch.float64 if image.dtype == np.float64 else torch.float32
    source = torch.from_numpy(np.array(image, order="C")).to(working)
    step = max(1, PIECE // image.size)
    filled = np.empty((len(known), *image.shape), image.dtype)
    for first in range(0, len(known), step):
        piece = slice(first, first + step)
        weight = torch.from_numpy(known[piece]).to(working)[:, None]
        smooth = _filled(torch.cat([source * weight, weight], dim=1)).numpy()
        filled[piece] = composed(image, known[piece], smooth)
    return filled


def _filled(level: torch.Tensor) -> torch.Tensor:
    """Return values at every cell of a level, shape (B, C, *S).

    Parameters
    ----------
    level : Tensor, shape (B, C + 1, *S)
        Values times weight, and the weight (at most 1) as last channel.
    """
    values, weight = level[:, :-1], level[:, -1:]
    shape = level.shape[2:]
    if max(shape) == 1:
        return values / weight
    odd = [length % 2 if length > 1 else 0 for length in shape]
    if any(odd):
        level = functional.pad(level, [side for axis in reversed(odd) for side in (0, axis)])
    size = level.shape[2:]
    window = [min(2, length) for length in size]
    # The last argument makes the pool a sum.
    pooled = POOLS[len(shape)](level, window) * float(np.prod(window))
    # A cell that knows more than one voxel knows no more than all (saturation).
    coarse = _filled(pooled / pooled[:, -1:].clamp(min=1))
    smooth = functional.interpolate(coarse, size=size, mode=MODES[len(shape)], align_corners=False)
    for axis, length in enumerate(shape, start=2):
        smooth = smooth.narrow(axis, 0, length)
    return values + (1 - weight) * smooth


def composed(image: np.ndarray, known: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Return the image where known and the smooth values elsewhere, shape (B, C, *S), in the dtype of the image."""
    if np.issubdtype(image.dtype, np.integer):
        smooth = np.rint(smooth)
    return np.where(known[:, None], image, smooth.astype(image.dtype, copy=False))


def linear(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return copies of an image with the unknown voxels interpolated linearly between known ones.

    Known voxels all of whose neighbours are known are left out of the triangulation: no simplex that holds an
    unknown voxel touches them. Where known voxels lie on one sphere the triangulation is a matter of choice, here
    as in `griddata`.

    Parameters
    ----------
    image : ndarray, shape (C, *S)
    known : ndarray of bool, shape (B, *S)
        The corners of the grid are taken as known.

    Returns
    -------
    ndarray, shape (B, C, *S), in the dtype of the image
    """
    from scipy.ndimage import minimum_filter

    ends = corners(image.shape[1:])
    filled = np.empty((len(known), *image.shape), image.dtype)
    for row, shown in enumerate(known):
        shown = shown | ends
        surrounded = minimum_filter(shown, size=3, mode="constant", cval=True)
        smooth = interpolated(image, shown, shown & ~surrounded | ends)
        filled[row] = composed(image, shown[None], smooth[None])[0]
    return filled


def overlay(image: np.ndarray, blurred: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return copies of an image that lie on a blurred one, shape (1, C, *S), where they are not known."""
    return composed(image, known, blurred)


def interpolated(image: np.ndarray, shown: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the image with the voxels that are not shown interpolated between points, shape (C, *S), float64.

    Parameters
    ----------
    image : ndarray, shape (C, *S)
    shown, points : ndarray of bool, shape (*S,)
        Voxels that keep their value, and those between which is interpolated.

    Raises
    ------
    GeometryError
        Without a corner of the grid among the points, some voxels lie between none.
    """
    smooth = image.astype(np.float64)
    if shown.all():
        return smooth
    wanted, given = np.argwhere(~shown), np.argwhere(points)
    values = image[:, points].T.astype(np.float64)
    if shown.ndim == 1:
        found = np.stack([np.interp(wanted[:, 0], given[:, 0], column) for column in values.T], axis=1)
    else:
        found = _barycentric(given, values, wanted)
    missing = np.isnan(found).any(axis=1)
    if missing.any() and not points[(0,) * shown.ndim]:
        raise GeometryError("voxels lie outside all points.", field="points", remedy="include the grid's corners.")
    # Rounding can put a voxel of the border outside; PAIR gives it the mean of the channel.
    found[missing] = smooth.reshape(len(image), -1).mean(axis=1)
    smooth[:, ~shown] = found.T
    return smooth


def _barycentric(given: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return values at the wanted places, shape (n_wanted, C): one triangulation for all channels."""
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import Delaunay

    return LinearNDInterpolator(Delaunay(given.astype(np.float64)), values)(wanted.astype(np.float64))
