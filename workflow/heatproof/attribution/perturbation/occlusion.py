"""Occlusion: how far the explained number falls when a part of the scan is replaced by its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ...errors import ConfigError, UnsupportedModelError
from ..baselines import baseline_scans
from ..batches import pairs
from ..isolation import arithmetic
from ..passes import of_scans, scores
from ..registry import choice, register
from ..targets import start_values
from .incremental import Boxes, IncrementalNetwork, as_maps, as_rows
from .windows import box, check_windows, covering_mean, per_axis, window_corners

PARTS = ("window", "region")
CHANNELS = ("together", "apart")
# The effort of an incremental pass, as a share of a whole one, from which on patches are not worth their cutting.
LARGEST_EFFORT = 0.6


@register(
    "occlusion",
    family="perturbation",
    cost="1 forward per window (a product over the axes of about (size - window) / stride + 1) or region; far less "
    "where only what a window touches is recomputed",
    citation="Zeiler and Fergus 2014, arXiv 1311.2901, section 4.2",
)
def occlusion(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    by: str = "window",
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    channels: str = "together",
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    start: str = "logit",
    regions: torch.Tensor | None = None,
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    batch_size: int = 1,
) -> torch.Tensor:
    """Return how far the explained number falls when a window or a region takes the values of a baseline.

    A voxel gets the mean fall of the windows that cover it, or the fall of its region. In networks whose graph is
    known, only what a window touches is recomputed (`incremental`), which changes nothing but rounding.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    by : {"window", "region"}
        What is replaced at once: a box that slides over the grid, or the voxels of one label.
    window : int or sequence of int, optional
        Size of the box in voxels, for all axes or each; by default a tenth of each axis, at least 1.
    stride : int or sequence of int, optional
        Voxels from one box to the next; by default half the window, at least 1. The first box begins at the
        first voxel; the last may reach beyond the grid.
    channels : {"together", "apart"}
        Whether a window or region is replaced in all channels at once, or in one after the other: where channels are
        places of their own, as the leads of an electrocardiogram.
    baseline : {"zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        What is put there, see `paths.straight.integrated_gradients`.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    start : {"logit", "probability", "value"}
        What falls.
    regions : Tensor of int, shape (*S)
        Labels, for ``by="region"``; 0 is no region and stays 0 in the map.
    control_mean, zero_intensity
        See `paths.straight.integrated_gradients`.
    batch_size : int
        Scans in one pass.

    Returns
    -------
    Tensor, shape (B, 1, *S), or (B, C, *S) with channels apart

    Raises
    ------
    ConfigError
        A window that is larger than the grid, a stride that leaves voxels out, or labels that do not fit.
    """
    fill = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    fills = [fill] if choice(channels, CHANNELS, "channels") == "together" else list(channel_fills(inputs, fill))
    if choice(by, PARTS, "by") == "region":
        labels = checked_regions(regions, inputs)
        with arithmetic("float32"):
            maps = [occluded_regions(model, inputs, target, each, labels, start, batch_size) for each in fills]
        return torch.cat(maps, 1)
    sizes = tuple(inputs.shape[2:])
    window = per_axis(window, [max(1, size // 10) for size in sizes], "window")
    stride = per_axis(stride, [max(1, each // 2) for each in window], "stride")
    check_windows(sizes, window, stride)
    corners = torch.tensor(list(window_corners(sizes, window, stride)), device=inputs.device)
    with arithmetic("float32"):  # the fall of one window is smaller than the steps of bfloat16
        falls = [window_falls(model, inputs, target, each, corners, window, start, batch_size) for each in fills]
    return torch.cat([covering_mean(each, corners, window, sizes) for each in falls], 1).to(inputs)


def channel_fills(inputs: torch.Tensor, fill: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield for each channel the scans with that channel alone taken from the baseline, shape (B, C, *S)."""
    for channel in range(inputs.shape[1]):
        replaced = inputs.clone()
        replaced[:, channel] = fill[:, channel]
        yield replaced


def window_falls(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    fill: torch.Tensor,
    corners: torch.Tensor,
    window: Sequence[int],
    start: str,
    batch_size: int,
) -> torch.Tensor:
    """Return the explained number of each scan minus that with each window occluded, shape (B, W)."""
    at_scans = scores(model, inputs, target, start, batch_size).double()
    try:
        occluded = incremental_scores(model, inputs, target, fill, corners, window, start, batch_size)
    except UnsupportedModelError:  # no graph: whole passes need none
        occluded = None
    if occluded is None:
        occluded = whole_scores(model, inputs, target, fill, corners, window, start, batch_size)
    return at_scans[:, None] - occluded


def whole_scores(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    fill: torch.Tensor,
    corners: torch.Tensor,
    window: Sequence[int],
    start: str,
    batch_size: int,
) -> torch.Tensor:
    """Return the explained number with each window occluded by whole forward passes, shape (B, W)."""
    places = [box(corner, window) for corner in corners.tolist()]
    found = torch.empty(len(inputs), len(places), dtype=torch.float64, device=inputs.device)
    for scans, numbers in pairs(len(inputs), len(places), batch_size):
        occluded = inputs[scans]
        for position, (scan, number) in enumerate(zip(scans.tolist(), numbers.tolist(), strict=True)):
            place = (slice(None), *places[number])
            occluded[position][place] = fill[scan][place]
        found[scans, numbers] = scores(model, occluded, of_scans(target, scans), start, batch_size).double()
    return found


def incremental_scores(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    fill: torch.Tensor,
    corners: torch.Tensor,
    window: Sequence[int],
    start: str,
    batch_size: int,
) -> torch.Tensor | None:
    """Return the explained number with each window occluded by incremental passes, shape (B, W).

    None where a window touches most of the network's maps.

    Raises
    ------
    UnsupportedModelError
        The network has no graph.
    """
    sizes = tuple(inputs.shape[2:])
    # a window that reaches beyond the grid begins earlier and is left as it is in front
    latest = torch.tensor(sizes, device=corners.device) - torch.tensor(tuple(window), device=corners.device)
    boxes = Boxes(torch.minimum(corners, latest), tuple(window))
    network = IncrementalNetwork(model, boxes)
    found = torch.empty(len(inputs), len(corners), dtype=torch.float64, device=inputs.device)
    with torch.no_grad():
        for scan in range(len(inputs)):
            network.remember(inputs[scan : scan + 1])
            effort = network.effort()
            if effort > LARGEST_EFFORT:
                return None
            rows = [as_rows(each[scan : scan + 1]) for each in (inputs, fill)]
            for numbers in torch.arange(len(corners), device=corners.device).split(int(batch_size / effort)):
                replaced, _ = Boxes(corners, tuple(window)).find(boxes, numbers)
                places = boxes.rows(numbers, sizes).flatten()
                old, new = (each.index_select(0, places) for each in rows)
                patches = as_maps(torch.where(replaced.reshape(-1, 1), new, old), len(numbers), tuple(window))
                classes = None if target is None else target[scan].expand(len(numbers))
                found[scan, numbers] = start_values(network.outputs(numbers, patches), classes, start).double()
    return found


def checked_regions(regions: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    """Return the labels on the device of the scans.

    Raises
    ------
    ConfigError
        There are none, they are no integers, or on another grid.
    """
    shape = tuple(inputs.shape[2:])
    if (
        regions is None
        or tuple(regions.shape) != shape
        or regions.is_floating_point()
        or not bool((regions != 0).any())
    ):
        found = None if regions is None else f"{tuple(regions.shape)} of {regions.dtype}"
        raise ConfigError(
            f"Occlusion by region needs labels on the grid {shape}, not {found}.",
            field="regions",
            remedy="Pass regions=, whole numbers of shape (*S) with at least one label other than 0.",
        )
    return regions.to(inputs.device)


def occluded_regions(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    fill: torch.Tensor,
    regions: torch.Tensor,
    start: str,
    batch_size: int,
) -> torch.Tensor:
    """Return in every voxel how far the explained number falls when its region is occluded, shape (B, 1, *S)."""
    labels = regions[regions != 0].unique()
    at_scans = scores(model, inputs, target, start, batch_size).double()
    falls = torch.empty(len(inputs), len(labels), dtype=torch.float64, device=inputs.device)
    for scans, numbers in pairs(len(inputs), len(labels), batch_size):
        chosen = torch.stack([regions == labels[number] for number in numbers])[:, None]
        occluded = torch.where(chosen, fill[scans], inputs[scans])
        values = scores(model, occluded, of_scans(target, scans), start, batch_size).double()
        falls[scans, numbers] = at_scans[scans] - values
    # label 0 takes the extra column of zeros
    positions = torch.where(regions == 0, len(labels), torch.searchsorted(labels, regions).clamp(max=len(labels) - 1))
    padded = torch.cat([falls, falls.new_zeros(len(falls), 1)], 1)
    return padded[:, positions.flatten()].reshape(len(inputs), 1, *regions.shape).to(inputs)
