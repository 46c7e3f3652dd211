"""Controls: maps made without looking at the network (see `network_controls` for the others).

A method whose maps score no better than these has shown nothing about the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import ConfigError
from .registry import register
from .smoothing import FWHM_PER_SIGMA, smooth_periodic
from .streams import normal

OURS = "control of this project"


@register("random_noise", family="controls", cost="none", citation=OURS, is_control=True)
def random_noise(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    seed: int,
    scan_keys: Sequence[object],
) -> torch.Tensor:
    """Return white noise, standard normal in every voxel, shape (B, C, *S)."""
    return normal(inputs, seed, "random_noise", scan_keys)


@register("smooth_noise", family="controls", cost="none", citation=OURS, is_control=True)
def smooth_noise(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    fwhm: float = 4.0,
    seed: int,
    scan_keys: Sequence[object],
) -> torch.Tensor:
    """Return smooth noise of unit variance, shape (B, C, *S): smoothness alone raises an overlap.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    fwhm : float
        Full width at half maximum of the Gaussian in voxels.
    seed, scan_keys
        Keys of the random streams.
    """
    smooth = smooth_periodic(normal(inputs, seed, "smooth_noise", scan_keys), fwhm / FWHM_PER_SIGMA)
    axes = tuple(range(2, inputs.ndim))
    return smooth / smooth.std(dim=axes, keepdim=True).clamp(min=torch.finfo(smooth.dtype).tiny)


@register("input_magnitude", family="controls", cost="none", citation=OURS, is_control=True)
def input_magnitude(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    """Return the absolute value of the scan, shape (B, C, *S)."""
    return inputs.abs()


@register(
    "edges",
    family="controls",
    cost="none",
    citation="Adebayo et al. 2018, arXiv 1810.03292 (edge detector as control)",
    is_control=True,
)
def edges(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
    """Return the length of the scan's Sobel gradient, shape (B, C, *S), per voxel."""
    squares = torch.zeros_like(inputs)
    axes = range(2, inputs.ndim)
    for axis in axes:
        slope = neighbour(inputs, axis, 1) - neighbour(inputs, axis, -1)
        for other in axes:
            if other != axis:
                slope = (neighbour(slope, other, 1) + 2 * slope + neighbour(slope, other, -1)) / 4
        squares += (slope / 2) ** 2
    return squares.sqrt()


def neighbour(scans: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """Return each voxel's neighbour along an axis; beyond the grid the edge voxel itself."""
    size = scans.shape[axis]
    positions = (torch.arange(size, device=scans.device) + step).clamp(0, size - 1)
    return scans.index_select(axis, positions)


@register(
    "centre_prior",
    family="controls",
    cost="none",
    citation="control of this project: the middle of the picture, with no image and no network",
    is_control=True,
)
def centre_prior(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, fwhm_share: float = 0.5
) -> torch.Tensor:
    """Return a Gaussian at the grid's centre, the same for every scan, shape (B, C, *S), 1 at the centre.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    fwhm_share : float
        Full width at half maximum along each axis, as a share of its length.

    Raises
    ------
    ConfigError
        The width is not above 0.
    """
    if not fwhm_share > 0:
        raise ConfigError(f"The width is {fwhm_share}.", field="fwhm_share", remedy="Use a share above 0.")
    centred = torch.ones_like(inputs)
    for axis in range(2, inputs.ndim):
        size = inputs.shape[axis]
        offsets = torch.arange(size, dtype=inputs.dtype, device=inputs.device) - (size - 1) / 2
        line = torch.exp(-0.5 * (offsets / (fwhm_share * size / FWHM_PER_SIGMA)) ** 2)
        centred *= line.reshape(-1, *[1] * (inputs.ndim - 1 - axis))
    return centred


@register(
    "anatomical_prior",
    family="controls",
    cost="none",
    citation="control of this project: where the disease is known to be, with no image and no network",
    is_control=True,
)
def anatomical_prior(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, prior: torch.Tensor
) -> torch.Tensor:
    """Return the same prior map for every scan, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    prior : Tensor, shape (*S)

    Raises
    ------
    ConfigError
        The prior is on another grid.
    """
    prior = torch.as_tensor(prior)
    if tuple(prior.shape) != tuple(inputs.shape[2:]):
        raise ConfigError(
            f"The prior has shape {tuple(prior.shape)}, the scans {tuple(inputs.shape[2:])}.",
            field="prior",
            remedy="Resample the prior onto the cohort's grid.",
        )
    return prior.to(inputs).expand(inputs.shape)
