"""Class-activation methods: which feature maps of a convolution speak for the class, and where."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..errors import UnsupportedModelError
from .gradients import guided_backprop
from .isolation import channels_last, run
from .registry import register
from .targets import start_values
from .tracing import last_convolution, submodule

LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def activations_and_gradients(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, layer: str, start: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output and the gradient of the explained number with respect to it, both (B, K, *T).

    Raises
    ------
    UnsupportedModelError
        The layer is not called exactly once, or its output is not a map.
    """
    seen: list[torch.Tensor] = []

    def keep(_module: nn.Module, _arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        kept = output.detach().requires_grad_()
        seen.append(kept)
        return kept.clone()  # whatever follows may write into its input; what is kept must stay

    handle = submodule(model, layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            explained = start_values(run(model, channels_last(model, inputs)), target, start).sum()
            if len(seen) != 1 or seen[0].ndim != inputs.ndim:
                raise UnsupportedModelError(
                    f"The layer gave {len(seen)} outputs, of shapes {[tuple(each.shape) for each in seen]}.",
                    field=layer,
                    remedy="Choose a convolution that is called once and whose output is a map.",
                )
            (gradient,) = torch.autograd.grad(explained, seen)
    finally:
        handle.remove()
    return seen[0].detach(), gradient


@register(
    "gradcam",
    family="activations",
    cost="1 forward, 1 backward down to the layer",
    citation="Selvaraju et al. 2017, doi 10.1109/ICCV.2017.74; arXiv 1610.02391, eqs. 1-2",
)
def gradcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
) -> torch.Tensor:
    """Return a layer's feature maps, weighted by their mean gradients and summed, on the scan's grid.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer; by default the deepest convolution.
    start : {"logit", "probability"}
        What is differentiated.

    Returns
    -------
    Tensor, shape (B, 1, *S)
        Not negative; larger is more for the class. Interpolated (multi)linearly.

    Raises
    ------
    UnsupportedModelError
        The network has no convolution or no such layer.
    """
    layer = last_convolution(model) if layer is None else layer
    features, gradient = activations_and_gradients(model, inputs, target, layer, start)
    weights = gradient.flatten(2).mean(2)
    coarse = torch.einsum("bk,bk...->b...", weights, features)[:, None].relu()
    size = tuple(inputs.shape[2:])
    return functional.interpolate(coarse, size=size, mode=LINEAR_MODES[len(size)], align_corners=False)


@register(
    "guided_gradcam",
    family="activations",
    cost="2 forward, 2 backward",
    citation="Selvaraju et al. 2017, doi 10.1109/ICCV.2017.74; arXiv 1610.02391, section 3.2",
)
def guided_gradcam(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    layer: str | None = None,
    start: str = "logit",
) -> torch.Tensor:
    """Return guided backpropagation times Grad-CAM, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    layer : str, optional
        Name of the layer of Grad-CAM; by default the deepest convolution.
    start : {"logit", "probability"}
        What is differentiated.

    Raises
    ------
    UnsupportedModelError
        As `gradcam` and `guided_backprop`.
    """
    return gradcam(model, inputs, target, layer=layer, start=start) * guided_backprop(
        model, inputs, target, start=start
    )
