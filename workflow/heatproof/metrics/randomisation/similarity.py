"""How alike two maps of one scan are, whatever their scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.space import average_ranks, standardised

KINDS = ("spearman", "absolute_spearman", "pearson", "ssim")

# The window of Wang et al. (2004): a Gaussian of 1.5 voxels, cut where it no longer counts.
SIGMA = 1.5
RADIUS = 5
# Maps are divided by their largest absolute value, so values span -1 to 1.
SPAN = 2.0
LUMINANCE, CONTRAST = (0.01 * SPAN) ** 2, (0.03 * SPAN) ** 2


def similarity(
    first: Any, second: Any, kind: str = "spearman", mask: np.ndarray | None = None, n_axes: int | None = None
) -> float:
    """Return the similarity of two maps of one scan.

    Parameters
    ----------
    first, second : array_like or Tensor, shape (*space,) or (C, *space)
        The maps.
    kind : {"spearman", "absolute_spearman", "pearson", "ssim"}
        Rank correlation (equal values share the mean of their ranks) with or without the sign of the maps, linear
        correlation, or structural similarity with a Gaussian window along all space axes (Wang et al., IEEE Trans
        Image Process 2004;13:600) after each map was divided by its largest absolute value (Adebayo et al. 2018).
    mask : ndarray of bool, shape (*space,), optional
        Where to compare; everywhere by default.
    n_axes : int, optional
        How many of the last axes are space, for ``ssim``; by default as many as the mask has, else all axes longer
        than one.

    Returns
    -------
    float
        1 for equal maps. NaN where a map is not finite, or constant as far as it is compared: such a map (a dead
        Grad-CAM) says nothing, so it is neither like nor unlike any other, a constant one included.

    Raises
    ------
    ConfigError
        An unknown kind.
    GeometryError
        Two shapes, a mask of another shape or without a voxel, or a space axis shorter than the window.
    """
    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is no similarity.", field="similarity", remedy=f"use one of {', '.join(KINDS)}.")
    one, two = as_array(first), as_array(second)
    inside = _checked_mask(one, two, mask)
    values, others = compared(one, inside), compared(two, inside)
    axes = _space_axes(one, mask, n_axes) if kind == "ssim" else ()
    if not (_varies(values, kind) and _varies(others, kind)):
        return float("nan")
    if kind == "ssim":
        return _structural(_scaled(one, values), _scaled(two, others), inside, axes)
    if kind == "absolute_spearman":
        values, others = np.abs(values), np.abs(others)
    return _correlation(values, others, ranked=kind != "pearson")


def constant(maps: Any, kind: str, mask: np.ndarray | None) -> np.ndarray:
    """Return which maps are finite but constant, as far as `similarity` compares them, shape (n_scans,)."""
    taken = [compared(heatmap, mask) for heatmap in maps]
    return np.array([bool(np.isfinite(values).all()) and not _varies(values, kind) for values in taken], bool)


def compared(heatmap: Any, mask: np.ndarray | None) -> np.ndarray:
    """Return the values of a map inside a mask of its last axes, of every channel; all values without a mask."""
    whole = as_array(heatmap)
    return whole.ravel() if mask is None else whole[..., np.asarray(mask).astype(bool)].ravel()


def as_array(maps: Any) -> np.ndarray:
    """Return maps as an array in double precision; a tensor is taken from its device."""
    return np.asarray(maps.detach().cpu() if hasattr(maps, "detach") else maps, dtype=np.float64)


def paired(first: Any, second: Any, kind: str, mask: np.ndarray | None) -> np.ndarray:
    """Return the `similarity` of the two maps of each scan, shape (n_scans,).

    Raises
    ------
    GeometryError
        Not as many maps on one side as on the other.
    """
    if len(first) != len(second):
        raise GeometryError(
            f"{len(first)} maps are compared with {len(second)}.",
            field="maps",
            remedy="give one map per scan on both sides, in one order.",
        )
    return np.array([similarity(one, two, kind, mask) for one, two in zip(first, second, strict=True)], dtype=float)


def _checked_mask(one: np.ndarray, two: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the mask of the compared voxels."""
    if one.shape != two.shape:
        raise GeometryError(
            f"a map of shape {one.shape} is compared with one of shape {two.shape}.",
            field="maps",
            remedy="explain both on the same grid.",
        )
    inside = np.ones(one.shape, bool) if mask is None else np.asarray(mask).astype(bool)
    if one.shape[one.ndim - inside.ndim :] != inside.shape or not inside.any():
        raise GeometryError(
            f"a mask of shape {inside.shape} with {int(inside.sum())} voxels does not fit maps of shape {one.shape}.",
            field="mask",
            remedy="give the mask of the maps' own grid.",
        )
    return inside


def _varies(values: np.ndarray, kind: str) -> bool:
    """Return whether compared values are finite and not all equal."""
    # Not by their variance: equal values are centred to rounding errors, which would pass as an order.
    seen = np.abs(values) if kind == "absolute_spearman" else values
    return bool(np.isfinite(seen).all() and seen.max() > seen.min())


def _correlation(values: np.ndarray, others: np.ndarray, ranked: bool) -> float:
    one, two = (standardised(average_ranks(array) if ranked else array) for array in (values, others))
    if one is None or two is None:
        # So small that their squares are zero.
        return float("nan")
    # Summed without BLAS, whose order of adding depends on the number of threads.
    return float(np.clip((one * two).sum(), -1, 1))


def _scaled(whole: np.ndarray, values: np.ndarray) -> np.ndarray:
    return whole / np.abs(values).max()


def _space_axes(whole: np.ndarray, mask: np.ndarray | None, n_axes: int | None) -> tuple[int, ...]:
    """Return the axes along which the window reaches."""
    if n_axes is None and mask is not None:
        n_axes = mask.ndim
    if n_axes is None:
        axes = tuple(axis for axis, length in enumerate(whole.shape) if length > 1)
    else:
        axes = tuple(range(whole.ndim - n_axes, whole.ndim))
    short = [whole.shape[axis] for axis in axes if whole.shape[axis] <= 2 * RADIUS]
    if short or not axes:
        raise GeometryError(
            f"axes of length {', '.join(map(str, short)) or 'one'} are shorter than the window of {2 * RADIUS + 1}.",
            field="similarity",
            remedy="use spearman or pearson on grids as coarse as this.",
        )
    return axes


def _structural(one: np.ndarray, two: np.ndarray, inside: np.ndarray, axes: tuple[int, ...]) -> float:
    """Return the mean structural similarity over the voxels inside whose whole window lies on the grid."""
    from scipy.ndimage import gaussian_filter

    def mean(array: np.ndarray) -> np.ndarray:
        return gaussian_filter(array, SIGMA, mode="reflect", radius=RADIUS, axes=axes)

    mean_one, mean_two = mean(one), mean(two)
    variances = mean(one * one) - mean_one**2 + mean(two * two) - mean_two**2
    covariance = mean(one * two) - mean_one * mean_two
    local = (2 * mean_one * mean_two + LUMINANCE) * (2 * covariance + CONTRAST)
    local /= (mean_one**2 + mean_two**2 + LUMINANCE) * (variances + CONTRAST)
    whole = np.zeros(one.shape, bool)
    whole[tuple(slice(RADIUS, -RADIUS) if axis in axes else slice(None) for axis in range(one.ndim))] = True
    counted = whole & inside
    return float(local[counted].mean()) if counted.any() else float("nan")
