"""Class activation from one weight per channel and voxel of the feature maps."""

from __future__ import annotations

import torch
from torch import nn

from ..registry import register
from ..shared import Pass
from .layers import activations_and_gradients, chosen_layer, on_grid


@register(
    "hirescam",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Draelos and Carin 2020, arXiv 2011.08891",
    shares=("layer",),
)
def hirescam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return a layer's feature maps times their gradients, summed over channels, on the scan's grid.

    The sign is kept, as in the authors' code: where the network is linear after the layer, a voxel of the layer
    holds what its features add to the score.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the deepest convolution.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Positive for the class, negative against it. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`.
    """
    layer = chosen_layer(model, layer)
    features, gradient = activations_and_gradients(model, inputs, target, layer, start, shared)
    return on_grid((features * gradient).sum(1, keepdim=True), inputs.shape[2:])


@register(
    "layercam",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Jiang, Zhang, Hou, Cheng and Wei 2021, doi 10.1109/TIP.2021.3089943",
    shares=("layer",),
)
def layercam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return a layer's feature maps times their positive gradients, summed over channels and rectified.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the deepest convolution. The paper's point is that shallow ones serve too.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative; larger is more for the class. Interpolated (multi)linearly, without the paper's scaling
        by tanh, which only serves to add up the maps of several layers.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`.
    """
    layer = chosen_layer(model, layer)
    features, gradient = activations_and_gradients(model, inputs, target, layer, start, shared)
    return on_grid((features * gradient.relu()).sum(1, keepdim=True).relu(), inputs.shape[2:])
