"""Find the layer that stands for each node of a traced network, or refuse."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ...errors import UnsupportedModelError
from ..linear_maps import Average, Convolution, Dense, Scaling
from ..tracing import CONVOLUTIONS, NORMALISATIONS
from .layers import Addition, Concatenation, Layer, Linear, MaxPool, Normalisation, PassThrough, Reshape

ADAPTIVE_AVERAGES = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, *ADAPTIVE_AVERAGES)
ADAPTIVE_MAXIMA = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, *ADAPTIVE_MAXIMA)
# One input per output, and zero stays zero: the relevance of the output is that of the input.
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU)
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
RESHAPES = (nn.Flatten, nn.Unflatten)
ADDITIONS = (operator.add, operator.iadd, torch.add)
PRODUCTS = (operator.mul, torch.mul)
RECTIFIERS = (torch.relu, torch.relu_, functional.relu, functional.relu_)
DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
FUNCTION_RESHAPES = (torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze)
FUNCTION_AVERAGES = (
    functional.avg_pool1d,
    functional.avg_pool2d,
    functional.avg_pool3d,
    functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_avg_pool3d,
)
FUNCTION_MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
# What turns logits into probabilities; at the end of a network it is asked to leave.
PROBABILITIES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)
PROBABILITY_NAMES = ("softmax", "log_softmax", "sigmoid", "logsigmoid", "expit")
METHOD_RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous")
SHAPE_METHODS = ("size", "dim", "numel")

REMEDY = (
    "Layers with a rule: Conv1d-3d, Linear, MaxPool, AvgPool and their adaptive forms, BatchNorm, ReLU and "
    "its leaky kin, Dropout, Flatten, Identity, the mean over space, addition of two branches, concatenation. "
    "Build the network from these as modules, or use integrated_gradients."
)
RETURN_LOGITS = (
    "Let the network return the logits: without its last layer relevance can pass, and start: probability "
    "explains the softmax of the logits. Or use integrated_gradients."
)


def refusal(problem: str, name: str, remedy: str = REMEDY) -> UnsupportedModelError:
    """Return the error for a layer that relevance cannot pass."""
    return UnsupportedModelError(problem, field=name, remedy=remedy)


def is_plain_value(node: fx.Node) -> bool:
    """Return whether a node computes a number or a shape, which carries no relevance."""
    if node.op == "call_method":
        return node.target in SHAPE_METHODS
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    sources = node.all_input_nodes
    return node.op == "call_function" and bool(sources) and all(is_plain_value(source) for source in sources)


def scaling_of(layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> Scaling:
    """Return a batch normalisation in evaluation mode as a scaling per channel."""
    # `isolation` refuses those without
    assert layer.running_mean is not None and layer.running_var is not None
    scale = (layer.running_var + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -layer.running_mean * scale
    return Scaling(scale, shift if layer.bias is None else shift + layer.bias)


def module_layer(layer: nn.Module, name: str, normalisation_is_identity: bool) -> Layer:
    """Return what stands for a module.

    Raises
    ------
    UnsupportedModelError
        There is no rule for it.
    """
    if type(layer) in CONVOLUTIONS:
        return Linear(Convolution(layer))  # type: ignore[arg-type]
    if type(layer) is nn.Linear:
        return Linear(Dense(layer.weight, layer.bias))
    if isinstance(layer, NORMALISATIONS):
        return Normalisation(scaling_of(layer), normalisation_is_identity)
    if isinstance(layer, MAXIMA):
        layer.return_indices = True
        return MaxPool(layer)
    if isinstance(layer, AVERAGES):
        return Linear(Average(layer))
    if isinstance(layer, (*ACTIVATIONS, *IDENTITIES)):
        return PassThrough(layer)
    if isinstance(layer, RESHAPES):
        return Reshape(layer)
    raise refusal(f"There is no relevance rule for the layer {type(layer).__name__}.", name)


def node_layer(model: nn.Module, node: fx.Node, normalisation_is_identity: bool) -> Layer:
    """Return what stands for a node of the graph; its other arguments are bound by `graph.Network`.

    Raises
    ------
    UnsupportedModelError
        There is no rule for it.
    """
    is_last = all(user.op == "output" for user in node.users)
    if node.op == "call_module":
        name = str(node.target)
        layer = model.get_submodule(name)
        if is_last and isinstance(layer, PROBABILITIES):
            raise refusal(f"The network ends in a {type(layer).__name__}.", name, RETURN_LOGITS)
        return module_layer(layer, name, normalisation_is_identity)
    name = getattr(node.target, "__name__", str(node.target))
    if is_last and name in PROBABILITY_NAMES:
        raise refusal(f"The network ends in a {name}.", node.name, RETURN_LOGITS)
    found = function_layer(node) if node.op == "call_function" else method_layer(node)
    if found is None:
        raise refusal(f"There is no relevance rule for the operation {name}.", node.name)
    return found


def method_layer(node: fx.Node) -> Layer | None:
    """Return what stands for a call of a tensor's method, or None."""
    if node.target == "mean":
        return space_mean(node)
    return PassThrough(torch.relu) if node.target in ("relu", "relu_") else None


def function_layer(node: fx.Node) -> Layer | None:
    """Return what stands for a function call, or None."""
    target: Any = node.target
    if target in ADDITIONS:
        plain = len(node.args) == 2 and all(isinstance(each, fx.Node) for each in node.args) and not node.kwargs
        return Addition() if plain else None
    if target is torch.cat:
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        return Concatenation(int(axis))  # type: ignore[arg-type]
    if target in RECTIFIERS:
        return PassThrough(torch.relu)
    if target in DROPOUTS:
        return PassThrough(lambda values: values)
    if target is torch.mean:
        return space_mean(node)
    if target in PRODUCTS:
        return multiple(node)
    rest, keywords = node.args[1:], dict(node.kwargs)
    if len(node.all_input_nodes) > 1 or not node.args:
        return None  # an argument that another node computes
    if target in FUNCTION_AVERAGES:
        return Linear(Average(lambda values: target(values, *rest, **keywords)))
    if target in FUNCTION_MAXIMA:
        keywords["return_indices"] = True
        return MaxPool(lambda values: target(values, *rest, **keywords))
    return None


def multiple(node: fx.Node) -> Layer | None:
    """Return what stands for a product with a plain number, or None: two factors of the scan have no rule."""
    factors = [each for each in node.args if isinstance(each, (int, float))]
    if len(node.args) != 2 or len(factors) != 1 or node.kwargs:
        return None
    return PassThrough(lambda values: values * factors[0])


def space_mean(node: fx.Node) -> Layer | None:
    """Return what stands for a mean over some axes, as a function or a method; None where it is no plain call."""
    options = dict(zip(("dim", "keepdim"), node.args[1:], strict=False)) | dict(node.kwargs)
    if len(node.all_input_nodes) > 1 or not node.args or set(options) - {"dim", "keepdim"}:
        return None
    dim, keep = options.get("dim"), bool(options.get("keepdim", False))
    axes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)

    def mean(values: torch.Tensor) -> torch.Tensor:
        if any(not isinstance(axis, int) or axis % values.ndim == 0 for axis in axes):
            raise refusal(
                f"A mean over the axes {dim} joins the scans of a batch.", node.name, "Name the axes of space."
            )
        return values.mean(axes, keep)

    return Linear(Average(mean))


def is_reshape(node: fx.Node) -> bool:
    """Return whether a node changes the shape only."""
    if node.op == "call_method":
        return node.target in METHOD_RESHAPES
    return node.op == "call_function" and node.target in FUNCTION_RESHAPES
