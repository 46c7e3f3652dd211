"""Read the graph of a network: which layers are called, in which order, on what."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn

from ..errors import UnsupportedModelError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# What always works in place, and what may be told to by its last argument.
WRITING = (operator.iadd, operator.isub, operator.imul, operator.setitem)
WITH_INPLACE = (
    nn.functional.relu,
    nn.functional.relu6,
    nn.functional.leaky_relu,
    nn.functional.elu,
    nn.functional.selu,
    nn.functional.silu,
    nn.functional.hardtanh,
)


def traced(model: nn.Module) -> fx.Graph:
    """Return the graph of a network's forward pass, one node per layer call or operation.

    Raises
    ------
    UnsupportedModelError
        The forward pass branches on the values of a tensor, so it has no single graph.
    """
    try:
        return fx.Tracer().trace(model)
    except Exception as error:  # fx raises many kinds of errors; each means that there is no graph
        raise UnsupportedModelError(
            f"The forward pass cannot be traced: {error}",
            field=type(model).__name__,
            remedy="Write it without branches or loops that depend on a tensor's values, or use a method "
            "that needs no graph (integrated_gradients, saliency, class activation with a named layer).",
        ) from error


def last_convolution(model: nn.Module) -> str:
    """Return the name of the deepest convolution; see `deepest_convolution`."""
    return str(deepest_convolution(model).target)


def deepest_convolution(model: nn.Module) -> fx.Node:
    """Return the call of the convolution with the most convolutions on the way to it; the last one of equals.

    In a residual network the shortcut's convolution also runs last, but is only one step from the block's
    input: depth finds the convolution that the network's deepest features come from.

    Raises
    ------
    UnsupportedModelError
        There is no convolution, or no graph.
    """
    depth: dict[fx.Node, int] = {}
    deepest: fx.Node | None = None
    if any(isinstance(module, CONVOLUTIONS) for module in model.modules()):
        for node in traced(model).nodes:
            depth[node] = max((depth[source] for source in node.all_input_nodes), default=0)
            if node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), CONVOLUTIONS):
                depth[node] += 1
                if deepest is None or depth[node] >= depth[deepest]:
                    deepest = node
    if deepest is None:
        raise UnsupportedModelError(
            "The network has no convolution, so it has no class-activation map.",
            field=type(model).__name__,
            remedy="Use a gradient, path or relevance method.",
        )
    return deepest


def submodule(model: nn.Module, layer: str) -> nn.Module:
    """Return the layer of a name.

    Raises
    ------
    UnsupportedModelError
        There is no such layer; the message lists the convolutions.
    """
    try:
        return model.get_submodule(layer)
    except AttributeError as error:
        names = [name for name, module in model.named_modules() if isinstance(module, CONVOLUTIONS)]
        raise UnsupportedModelError(
            f"The network has no layer {layer!r}.",
            field="layer",
            remedy=f"Convolutions of this network: {', '.join(names) or 'none'}.",
        ) from error


def separate_activations(model: nn.Module) -> nn.Module:
    """Return the same network with an own `nn.ReLU` for every rectification, sharing its weights.

    Networks that call one rectifier twice (MONAI's ResNet) or use ``torch.relu`` are refused by guided
    backpropagation; the returned network computes the same numbers, has the same state and is accepted. It is made
    for evaluation: a dropout that the network applies as a function is off in it for good.

    Raises
    ------
    UnsupportedModelError
        The forward pass cannot be traced.
    """
    modes = {module: module.training for module in model.modules()}
    own = set(vars(model))
    try:
        graph = traced(model.eval())
    finally:
        for module, mode in modes.items():
            module.training = mode
        # constants that tracing has put onto the network
        constants = {name: vars(model).pop(name) for name in set(vars(model)) - own}
    root = nn.Module()
    for name, child in model.named_children():
        root.add_module(name, child)
    for name, parameter in model.named_parameters(recurse=False):
        root.register_parameter(name, parameter)
    for name, buffer in model.named_buffers(recurse=False):
        root.register_buffer(name, buffer)
    for name, constant in constants.items():
        setattr(root, name, constant)
    count = 0
    for node in graph.nodes:
        if is_rectification(model, node):
            name = f"rectifier_{count}"
            root.add_module(name, nn.ReLU())
            node.op, node.target = "call_module", name
            node.args, node.kwargs = (node.all_input_nodes[0],), {}
            count += 1
    separated = fx.GraphModule(root, graph)
    separated.train(model.training)
    return separated


def is_rectification(model: nn.Module, node: fx.Node) -> bool:
    """Return whether a node applies max(x, 0), as a layer, a function or a tensor method."""
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), nn.ReLU)
    if node.op == "call_function":
        return node.target in (torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_)
    return node.op == "call_method" and node.target in ("relu", "relu_")


def overwrites(node: fx.Node) -> bool:
    """Return whether an operation works in place (layers of a private network never do)."""
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_flagged = node.kwargs.get("inplace", False) is True
    is_flagged = is_flagged or (node.target in WITH_INPLACE and any(each is True for each in node.args))
    return is_flagged or node.target in WRITING or (name.endswith("_") and not name.startswith("__"))


def hooked_layers(model: nn.Module) -> list[str]:
    """Return the names of the layers with forward hooks, which do what no graph shows."""
    return [name for name, each in model.named_modules() if each._forward_hooks or each._forward_pre_hooks]
