"""What class-activation methods take from a network: a layer's output, its gradient, the way onto the scan's grid."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...errors import UnsupportedModelError
from ..isolation import channels_last, run
from ..shared import Pass, recorded, the_map
from ..tracing import deepest_convolution, is_rectification, last_convolution

LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def activations_and_gradients(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    layer: str,
    start: str,
    shared: Pass | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output and the gradient of the explained number with respect to it, both (B, K, *T).

    Raises
    ------
    UnsupportedModelError
        The layer is not called exactly once, or its output is not a map.
    """
    if shared is None:
        shared = Pass(model, inputs, target, start, layers=[layer], to_input=False)
    features, gradient = shared.layer(layer)
    return features.to(inputs), gradient.to(inputs)


def features_and_output(model: nn.Module, inputs: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's output (B, K, *T) and the network's, of one forward pass without gradients.

    Raises
    ------
    UnsupportedModelError
        The layer is not called exactly once, or its output is not a map.
    """
    seen: dict[str, list[object]] = {layer: []}
    with torch.no_grad(), recorded(model, seen, connected=True):
        outputs = run(model, channels_last(model, inputs))
    return the_map(seen[layer], inputs.ndim, layer).to(inputs), outputs


def chosen_layer(model: nn.Module, layer: str | None) -> str:
    """Return the name of the layer: the one that was asked for, else the deepest convolution.

    Raises
    ------
    UnsupportedModelError
        None was asked for, and the network has no convolution or no graph.
    """
    return last_convolution(model) if layer is None else layer


def rectified_layer(model: nn.Module, layer: str | None) -> str:
    """Return the name of the layer: the one that was asked for, else the rectifier after the deepest convolution.

    Only operations on the way that have no other follower (a normalisation, the sum with a shortcut) may lie
    between the two.

    Raises
    ------
    UnsupportedModelError
        None was asked for, and there is no such rectifier that is a layer of its own.
    """
    if layer is not None:
        return layer
    convolution = deepest_convolution(model)
    called = [node.target for node in convolution.graph.nodes if node.op == "call_module"]
    nodes = [convolution] if called.count(convolution.target) == 1 else []
    while len(nodes) == 1 and not is_rectification(model, nodes[0]):
        nodes = list(nodes[0].users)
    if len(nodes) == 1 and called.count(nodes[0].target) == 1:
        return str(nodes[0].target)
    raise UnsupportedModelError(
        "No rectifier that is a layer of its own follows the deepest convolution.",
        field=str(convolution.target),
        remedy="Name a layer whose output is nowhere negative as `layer`; "
        "heatproof.attribution.separate_activations(model) returns the network with a layer for each rectification.",
    )


def weighted_sum(weights: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return the sum over channels of features (B, K, *T) times weights (B, K), shape (B, 1, *T)."""
    return (weights.reshape(*weights.shape, *[1] * (features.ndim - 2)) * features).sum(1, keepdim=True)


def channel_map(weights: torch.Tensor, features: torch.Tensor, size: torch.Size, rectified: bool) -> torch.Tensor:
    """Return features (B, K, *T) weighted by channel (B, K) and summed, on a grid, shape (B, 1, *S).

    Rectified is what speaks for a class. Of a number that may rise or fall, what makes it fall is an explanation too.
    """
    summed = weighted_sum(weights, features)
    return on_grid(summed.relu() if rectified else summed, size)


def on_grid(coarse: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Return maps (N, C, *T) interpolated (multi)linearly onto a grid, voxel centres to voxel centres."""
    return functional.interpolate(coarse, size=tuple(size), mode=LINEAR_MODES[len(size)], align_corners=False)
