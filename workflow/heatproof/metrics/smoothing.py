"""Gaussian smoothing by its full width at half maximum, on any grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.errors import ConfigError

# Width at half maximum of a Gaussian with standard deviation one.
FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))


def smooth(maps: np.ndarray, fwhm: float, spacing: Sequence[float]) -> np.ndarray:
    """Return maps smoothed over their last axes.

    Parameters
    ----------
    maps : ndarray, shape (..., *space)
        One map or several.
    fwhm : float
        Full width at half maximum, in the unit of `spacing` (mm for volumes); 0 leaves the map as it is.
    spacing : sequence of float
        Step along each space axis: unequal steps give an unequal width in voxels, equal in mm.

    Returns
    -------
    ndarray, same shape, floating
        Beyond the border of the grid the map counts as zero.

    Raises
    ------
    ConfigError
        If the width is negative or not finite.
    """
    if not np.isfinite(fwhm) or fwhm < 0:
        raise ConfigError(f"a width of {fwhm} cannot be smoothed with.", field="smoothing_mm", remedy="use 0 or more.")
    if fwhm == 0:
        return maps
    from scipy.ndimage import gaussian_filter

    sigma = [fwhm / FWHM_PER_SIGMA / step for step in spacing]
    axes = tuple(range(maps.ndim - len(sigma), maps.ndim))
    floating = maps if np.issubdtype(maps.dtype, np.floating) else maps.astype(np.float64)
    return gaussian_filter(floating, sigma, mode="constant", axes=axes)
