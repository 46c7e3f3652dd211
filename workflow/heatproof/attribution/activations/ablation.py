"""Class activation from what the score loses when a channel is set to zero."""

from __future__ import annotations

import torch
from torch import nn

from ..isolation import arithmetic
from ..linear_maps import fast_order
from ..registry import register
from ..targets import start_values
from .layers import channel_map, chosen_layer
from .tail import Tail, network_after


@register(
    "ablationcam",
    family="activations",
    cost="1 or 2 forward, then the network after the layer once per channel",
    citation="Desai and Ramaswamy 2020, doi 10.1109/WACV45572.2020.9093360",
)
def ablationcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    rectified: bool = True,
    start: str = "logit",
    batch_size: int,
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by the share of the score that is lost without them.

    The weight of channel k is (y - y_k) / |y|, y being the score and y_k that with channel k of the layer's
    output set to zero. The paper divides by y, which it takes to be positive: for a negative score that would
    turn the sign of the map, so that it showed what speaks against the class. A score of exactly zero divides
    nothing. The weight of channel k for a value is y - y_k, in its unit: no share of a number whose zero is a
    convention means anything.

    Only the part of the network after the layer runs for each channel (see `tail`). Always at the precision of
    the scans: the loss of one channel is smaller than the steps of bfloat16.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the deepest convolution.
    rectified : bool
        Whether what lowers the explained number is left out, as published; else the map is signed.
    start : {"logit", "probability", "value"}
        The score, or a value.
    batch_size : int
        Most scans in one pass; as many ablated feature maps as have no more values than these.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative if rectified; larger is more for the class. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`.
    """
    layer = chosen_layer(model, layer)
    with torch.no_grad(), arithmetic("float32"):
        tail = network_after(model, inputs, layer)
        complete = start_values(tail.output, target, start)
        lost = complete[:, None] - ablated_scores(tail, target, start, batch_size)
    undivided = (complete == 0) | (start == "value")
    scale = torch.where(undivided, 1.0, complete.abs())
    return channel_map(lost / scale[:, None], tail.features, inputs.shape[2:], rectified)


def ablated_scores(tail: Tail, target: torch.Tensor | None, start: str, batch_size: int) -> torch.Tensor:
    """Return the score of each scan with each channel of the layer set to zero, shape (B, K)."""
    n_scans, n_channels = tail.features.shape[:2]
    found = []
    for channels in torch.arange(n_channels).split(tail.copies(batch_size)):
        ablated = torch.stack([tail.features] * len(channels))
        for copy, channel in zip(ablated, channels.tolist(), strict=True):
            copy[:, channel] = 0
        classes = None if target is None else target.repeat(len(channels))
        logits = tail.run(fast_order(ablated.flatten(0, 1)))
        found.append(start_values(logits, classes, start).reshape(len(channels), n_scans))
    return torch.cat(found).T
