"""RISE: which random masks leave the explained number high."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ...errors import ConfigError
from ..baselines import baseline_scans
from ..batches import pairs
from ..passes import column, of_scans, scores
from ..registry import register, whole_number
from ..streams import stream


@register(
    "rise",
    family="perturbation",
    cost="n_samples forward",
    citation="Petsiuk, Das and Saenko 2018, arXiv 1806.07421, eq. 6 and section 3.2",
)
def rise(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int = 4000,
    cells: int = 7,
    probability: float = 0.5,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    start: str = "probability",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> torch.Tensor:
    """Return the mean of random masks, each weighted by the explained number of the scan seen through it.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    n_samples : int
        Masks.
    cells : int
        Cells of a mask's coarse grid along each axis.
    probability : float
        Of a cell to be kept, above 0 and up to 1.
    baseline : {"zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        What a masked voxel is set to, see `paths.straight.integrated_gradients`; zero is the published one.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    start : {"logit", "probability", "value"}
        What weights a mask; the probability is the published one. A value weighs by how much it is above that of
        the fully masked scan, which for probabilities near zero there is the published weight: its offset would
        drown the map in the sum of the masks.
    control_mean, zero_intensity
        See `paths.straight.integrated_gradients`.
    seed, scan_keys
        Keys of the random streams: one per scan and mask.
    batch_size : int
        Masked scans in one pass.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Sum of weight x mask, over n_samples x probability (eq. 6). Not centred: a voxel that does not matter has
        about the mean weight, not 0.

    Raises
    ------
    ConfigError
        No mask, no cell, or a probability that leaves nothing.
    """
    check_masks(n_samples, cells, probability)
    fill = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    begin = inputs.new_zeros(len(inputs))
    if start == "value":
        begin = scores(model, fill, target, start, batch_size).to(begin)
    maps = torch.zeros_like(inputs[:, :1])
    for scans, samples in pairs(len(inputs), n_samples, batch_size):
        masks = torch.stack(
            [
                random_mask(tuple(inputs.shape[2:]), cells, probability, stream(seed, "rise", scan_keys[scan], sample))
                for scan, sample in zip(scans.tolist(), samples.tolist(), strict=True)
            ]
        ).to(inputs)[:, None]
        seen = torch.lerp(fill[scans], inputs[scans], masks)
        found = scores(model, seen, of_scans(target, scans), start, batch_size) - begin[scans]
        maps.index_add_(0, scans.to(inputs.device), masks.mul_(column(found, masks)), alpha=1 / n_samples / probability)
    return maps


def check_masks(n_samples: int, cells: int, probability: float) -> None:
    """Check the parameters of the masks.

    Raises
    ------
    ConfigError
        They are out of range.
    """
    whole_number(n_samples, 1, "n_samples")
    whole_number(cells, 1, "cells")
    if not 0 < probability <= 1:
        raise ConfigError(
            f"The probability is {probability}.", field="probability", remedy="Use a number above 0 and up to 1."
        )


def random_mask(sizes: tuple[int, ...], cells: int, probability: float, random: torch.Generator) -> torch.Tensor:
    """Return a mask between 0 and 1 on the grid, shape (*S), in single precision.

    Coarse cells are kept at random, interpolated (multi)linearly to one cell more than the grid in each axis, and
    cut out at a random place. Drawn on the CPU, so that the device changes no mask.

    Parameters
    ----------
    sizes : tuple of int
    cells : int
        Along each axis.
    probability : float
        Of a cell to be kept.
    random : torch.Generator
    """
    mask = (torch.rand([cells] * len(sizes), generator=random) < probability).float()
    for axis, size in enumerate(sizes):
        extent = math.ceil(size / cells)
        shift = int(torch.randint(extent, (), generator=random))
        weights = interpolation(cells, (cells + 1) * extent)[shift : shift + size]
        mask = torch.tensordot(weights, mask.movedim(axis, 0), 1).movedim(0, axis)
    return mask


def interpolation(n_from: int, n_to: int) -> torch.Tensor:
    """Return the weights of linear interpolation from some cells to more, shape (n_to, n_from).

    A cell's value is that of its centre; the outer half of an outermost cell has its own value.
    """
    places = ((torch.arange(n_to) + 0.5) * (n_from / n_to) - 0.5).clamp(0, n_from - 1)
    return (1 - (places[:, None] - torch.arange(n_from)).abs()).clamp(min=0)
