"""Class activation from scans that are masked by their own feature maps."""

from __future__ import annotations

import torch
from torch import nn

from ..batches import pairs
from ..passes import of_scans, scores
from ..registry import register
from .layers import channel_map, chosen_layer, features_and_output, on_grid

# Feature maps that vary by less than this many rounding errors of their largest value are constant.
ROUNDING = 8


@register(
    "scorecam",
    family="activations",
    cost="1 forward, then 1 forward per channel of the layer",
    citation="Wang et al. 2020, doi 10.1109/CVPRW50498.2020.00020; arXiv 1910.01279, algorithm 1",
)
def scorecam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    rectified: bool = True,
    start: str = "logit",
    batch_size: int,
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by what the scan scores when only they show through.

    Algorithm 1 of the paper: each feature map is interpolated onto the scan's grid, scaled to 0..1 there and
    multiplied with the scan; a softmax over the channels of the scores of these scans gives the weights of the
    feature maps, whose sum is rectified. The score of the baseline, which the paper subtracts, is the same for
    all channels and falls out of the softmax. (The authors' code differs from their paper: it has no softmax
    over channels and weighs by the class probability.) A constant feature map cannot be scaled to 0..1; it is
    left out, as in the authors' code.

    The weight of a value's channel is definition 4 of the paper as it stands, without the softmax: by how much the
    value of the scan seen through the channel is above that of an empty scan. A softmax of numbers with a unit
    would give all weight to one channel in milliseconds and the same to each in seconds.

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
        Most masked scans in one pass.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative if rectified; larger is more for the class; zero when every feature map is constant. Interpolated
        (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`.
    """
    features, _ = features_and_output(model, inputs, chosen_layer(model, layer))
    confidence = torch.full_like(features.flatten(2)[..., 0], -torch.inf)
    for scans, channels in pairs(features.shape[0], features.shape[1], batch_size):
        masks, varies = unit_masks(features[scans, channels][:, None], inputs.shape[2:])
        if bool(varies.any()):
            scans, channels = scans[varies.cpu()], channels[varies.cpu()]
            masked = inputs[scans] * masks[varies]
            found = scores(model, masked, of_scans(target, scans), start, batch_size)
            confidence[scans, channels] = found.to(confidence)
    usable = confidence > -torch.inf
    if start == "value":
        empty = scores(model, torch.zeros_like(inputs), target, start, batch_size).to(confidence)
        weights = torch.where(usable, confidence - empty[:, None], 0.0)
    else:
        weights = torch.where(usable.any(1, keepdim=True), confidence.softmax(1), 0.0)
    return channel_map(weights, features, inputs.shape[2:], rectified)


def unit_masks(features: torch.Tensor, size: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Return feature maps (N, 1, *T) on a grid, each scaled to 0..1, and whether it is not constant, (N,)."""
    fine = on_grid(features, size)
    flat = fine.flatten(1)
    least, most = flat.amin(1), flat.amax(1)
    spread = most - least
    varies = spread > ROUNDING * torch.finfo(flat.dtype).eps * torch.maximum(least.abs(), most.abs())
    shape = (-1, *[1] * (fine.ndim - 1))
    return (fine - least.reshape(shape)) / spread.reshape(shape), varies
