"""Class activation from one weight per channel, made of the gradients of its feature map."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import UnsupportedModelError
from ..gradients import guided_backprop
from ..registry import register
from ..shared import Pass
from .layers import activations_and_gradients, channel_map, chosen_layer, rectified_layer


@register(
    "gradcam",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Selvaraju et al. 2017, doi 10.1109/ICCV.2017.74; arXiv 1610.02391, eqs. 1-2",
    shares=("layer",),
)
def gradcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    rectified: bool = True,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by their mean gradients and summed, on the scan's grid.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the deepest convolution.
    rectified : bool
        Whether what lowers the explained number is left out, as published; else the map is signed.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative if rectified; larger is more for the class. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        The network has no convolution or no such layer, or the layer's output is no map.
    """
    layer = chosen_layer(model, layer)
    features, gradient = activations_and_gradients(model, inputs, target, layer, start, shared)
    return channel_map(gradient.flatten(2).mean(2), features, inputs.shape[2:], rectified)


@register(
    "guided_gradcam",
    family="activations",
    cost="1 forward, 2 backward",
    citation="Selvaraju et al. 2017, doi 10.1109/ICCV.2017.74; arXiv 1610.02391, section 3.2",
    shares=("input", "layer", "rectifiers"),
)
def guided_gradcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return guided backpropagation times Grad-CAM, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer of Grad-CAM; by default the deepest convolution.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Raises
    ------
    UnsupportedModelError
        As `gradcam` and `guided_backprop`.
    """
    layer = chosen_layer(model, layer)
    if shared is None:
        shared = Pass(model, inputs, target, start, layers=[layer], rectifiers=True, several=True)
    cam = gradcam(model, inputs, target, layer=layer, start=start, shared=shared)
    return cam * guided_backprop(model, inputs, target, start=start, shared=shared)


@register(
    "gradcam_plus_plus",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Chattopadhay, Sarkar, Howlader and Balasubramanian 2018, doi 10.1109/WACV.2018.00097; "
    "arXiv 1710.11063, eq. 19",
    shares=("rectified_layer",),
)
def gradcam_plus_plus(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by their positive gradients, each divided by 2 + g sum(A).

    The paper explains Y = exp(S), S being the score, and calls for its second and third derivatives. Where S is
    piecewise linear in the layer's output A, those of the exponential are exp(S) times powers of the gradient g
    of S, so that alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + g sum(A)): no higher derivative is taken, and
    nothing has to keep g^2 away from zero. The factor exp(S), one per scan, is left out of the weights, as is
    the normalisation of alpha in the authors' code, of which the paper says nothing.

    A value is explained as Y = S, the limit of exp(tS) / t for small t, in which alpha is 1/2 everywhere: how steep
    the exponential is would depend on the value's unit.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the rectifier after the deepest convolution.
    start : {"logit", "probability", "value"}
        The score S, or a value Y.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative; larger is more for the class. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`; no rectifier follows the deepest convolution; of a score, the layer's output is negative to the
        point that 2 + g sum(A) is, which turns the sign of weights: the formula is made for rectified feature maps.
    """
    layer = rectified_layer(model, layer)
    features, gradient = activations_and_gradients(model, inputs, target, layer, start, shared)
    positive = gradient.relu()
    steepness = 0.0 if start == "value" else 1.0
    sums = features.flatten(2).sum(2).reshape(*features.shape[:2], *[1] * (features.ndim - 2))
    denominator = 2 + steepness * positive * sums
    if bool((denominator <= 0).any()):
        raise not_rectified("Grad-CAM++", layer)
    return channel_map((positive / denominator).flatten(2).sum(2), features, inputs.shape[2:], rectified=True)


@register(
    "xgradcam",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Fu, Hu, Dong, Guo, Gao and Li 2020, arXiv 2008.02312",
    shares=("rectified_layer",),
)
def xgradcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    rectified: bool = True,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by their gradients' mean under the activations, and summed.

    The weight of a channel is sum(A g) / sum(A), so that the map, before it is rectified, sums to the score of
    a network that is linear after the layer (the paper's conservation). Rectified as in the authors' code. A
    channel that is zero everywhere has weight zero.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the rectifier after the deepest convolution.
    rectified : bool
        Whether what lowers the explained number is left out, as published; else the map is signed.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative if rectified; larger is more for the class. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        As `gradcam`; no rectifier follows the deepest convolution; a feature map sums to a negative number, which
        turns the sign of its weight, or to zero without being zero: the formula is made for rectified feature
        maps.
    """
    layer = rectified_layer(model, layer)
    features, gradient = activations_and_gradients(model, inputs, target, layer, start, shared)
    flat = features.flatten(2)
    total, is_empty = flat.sum(2), (flat == 0).all(2)
    if bool(((total <= 0) & ~is_empty).any()):
        raise not_rectified("XGrad-CAM", layer)
    weights = torch.where(is_empty, 0.0, (flat * gradient.flatten(2)).sum(2) / total)
    return channel_map(weights, features, inputs.shape[2:], rectified)


def not_rectified(method: str, layer: str) -> UnsupportedModelError:
    """Return the error for a layer whose output is too negative for a method."""
    return UnsupportedModelError(
        f"{method} divides by sums of feature maps, and those of the layer are negative.",
        field=layer,
        remedy="Name the rectifier after the layer as `layer`: the method is made for rectified feature maps.",
    )
