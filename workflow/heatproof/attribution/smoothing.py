"""Gaussian smoothing of arrays (batch, channel, *space) along any number of space axes."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

# Full width at half maximum of a Gaussian in units of its standard deviation.
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def gaussian_smooth(scans: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return scans smoothed along every space axis; outside the grid the edge value continues.

    Parameters
    ----------
    scans : Tensor, shape (B, C, *S)
    sigma : float
        Standard deviation in voxels; 0 returns the scans.
    """
    if sigma <= 0:
        return scans
    radius = int(4 * sigma + 0.5)  # as scipy truncates
    offsets = torch.arange(-radius, radius + 1, dtype=scans.dtype, device=scans.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    smooth = scans
    for axis in range(2, scans.ndim):
        moved = smooth.movedim(axis, -1)
        lines = moved.reshape(-1, 1, moved.shape[-1])
        padded = functional.pad(lines, (radius, radius), mode="replicate")
        smooth = functional.conv1d(padded, kernel).reshape(moved.shape).movedim(-1, axis)
    return smooth


def smooth_periodic(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return noise smoothed on a grid whose opposite edges touch: its variance is the same everywhere.

    Parameters
    ----------
    noise : Tensor, shape (B, C, *S)
    sigma : float
        Standard deviation in voxels.
    """
    axes = tuple(range(2, noise.ndim))
    transfer = torch.ones((), dtype=noise.dtype, device=noise.device)
    for axis in axes:
        frequency = torch.fft.fftfreq(noise.shape[axis], dtype=noise.dtype, device=noise.device)
        response = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)
        transfer = transfer * response.reshape([-1 if a == axis else 1 for a in axes])
    return torch.fft.ifftn(torch.fft.fftn(noise, dim=axes) * transfer, dim=axes).real
