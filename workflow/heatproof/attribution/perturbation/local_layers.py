"""Which steps of a network's graph look at a neighbourhood only, and how far they see."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ...errors import UnsupportedModelError
from ..linear_maps import CONVOLVE
from ..tracing import CONVOLUTIONS, NORMALISATIONS, overwrites

AXES_OF_MAXIMA: dict[type, int] = {nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3}
AXES_OF_AVERAGES: dict[type, int] = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}
MAXIMA: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
POINTWISE_LAYERS = (
    (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish)
    + (nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid)
    + (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
)
POINTWISE_FUNCTIONS = (
    (operator.add, operator.iadd, operator.sub, operator.mul, torch.add, torch.sub, torch.mul, torch.relu)
    + (torch.sigmoid, torch.tanh, functional.relu, functional.leaky_relu, functional.elu, functional.selu)
    + (functional.gelu, functional.silu, functional.softplus, functional.hardtanh, functional.relu6)
)
POINTWISE_METHODS = ("add", "sub", "mul", "relu", "sigmoid", "tanh", "clone", "contiguous")
CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    torch.relu_: torch.relu,
    functional.relu_: functional.relu,
}


@dataclass(frozen=True)
class Sliding:
    """A step whose output at a place is a function of a window of its input.

    Attributes
    ----------
    kernel, stride, dilation, before : tuple of int
        One per axis; `before` is the padding in front.
    filling : float
        What is padded with.
    apply : callable
        (patches (N, C, *K)) -> outputs, without padding.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    filling: float
    apply: Callable[[torch.Tensor], torch.Tensor]

    def touched(
        self, starts: torch.Tensor, lengths: tuple[int, ...], sizes: tuple[int, ...]
    ) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Return the boxes of the output that boxes of the input change: starts (W, A), and one length per axis.

        Parameters
        ----------
        starts : Tensor of int, shape (W, A)
        lengths : tuple of int
            The same for all boxes.
        sizes : tuple of int
            Of the output. A box at its end begins earlier than it has to, so that all are of one length.
        """
        firsts, counts = [], []
        for axis, size in enumerate(sizes):
            padded = starts[:, axis] + self.before[axis]
            reach = self.dilation[axis] * (self.kernel[axis] - 1)
            first = (-((reach - padded) // self.stride[axis])).clamp(min=0)
            last = ((padded + lengths[axis] - 1) // self.stride[axis]).clamp(max=size - 1)
            count = max(1, int((last - first).max()) + 1)
            firsts.append(first.clamp(max=size - count))
            counts.append(count)
        return torch.stack(firsts, 1), tuple(counts)

    def seen(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many inputs some outputs in a row see, per axis."""
        return tuple(
            (count - 1) * stride + dilation * (kernel - 1) + 1
            for count, stride, dilation, kernel in zip(counts, self.stride, self.dilation, self.kernel, strict=True)
        )


def each_axis(value: int | tuple[int, ...], n_axes: int) -> tuple[int, ...]:
    """Return one number per axis."""
    return (value,) * n_axes if isinstance(value, int) else tuple(value)


def sliding(layer: Any) -> Sliding | None:
    """Return a layer as a sliding window, or None where it is none, or pads with anything but a constant."""
    kind = type(layer)
    if kind in CONVOLUTIONS and layer.padding_mode == "zeros":
        convolve = CONVOLVE[layer.weight.ndim - 2]
        weight, bias, stride, dilation, groups = layer.weight, layer.bias, layer.stride, layer.dilation, layer.groups
        before = tuple(reversed(layer._reversed_padding_repeated_twice[::2]))
        return Sliding(
            tuple(weight.shape[2:]),
            stride,
            dilation,
            before,
            0.0,
            lambda patches: convolve(patches, weight, bias, stride, (0,) * len(stride), dilation, groups),
        )
    n_axes = {**AXES_OF_MAXIMA, **AXES_OF_AVERAGES}.get(kind, 0)
    if kind in AXES_OF_MAXIMA and not layer.return_indices:
        kernel, stride, dilation, before = (
            each_axis(each, n_axes) for each in (layer.kernel_size, layer.stride, layer.dilation, layer.padding)
        )
        pool = MAXIMA[n_axes]
        return Sliding(
            kernel, stride, dilation, before, -torch.inf, lambda patches: pool(patches, kernel, stride, 0, dilation)
        )
    if kind in AXES_OF_AVERAGES and not layer.ceil_mode and not any(each_axis(layer.padding, n_axes)):
        kernel, stride = each_axis(layer.kernel_size, n_axes), each_axis(layer.stride, n_axes)
        return Sliding(kernel, stride, (1,) * n_axes, (0,) * n_axes, 0.0, layer)
    return None


def is_pointwise(model: nn.Module, node: fx.Node) -> bool:
    """Return whether a step's output at a place is a function of its inputs at that place alone."""
    if node.op == "call_module":
        layer: Any = model.get_submodule(str(node.target))
        return type(layer) in (*POINTWISE_LAYERS, *NORMALISATIONS)
    if node.op == "call_method":
        return node.target in POINTWISE_METHODS
    if node.op == "call_function" and node.target in CONCATENATIONS:
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        return bool(axis == 1)
    return node.op == "call_function" and node.target in POINTWISE_FUNCTIONS


def without_overwriting(graph: fx.Graph) -> list[fx.Node]:
    """Return the steps of a graph, of which none works in place.

    Raises
    ------
    UnsupportedModelError
        A step works in place on something that another one uses too, so that their order matters.
    """
    for node in graph.nodes:
        if not overwrites(node):
            continue
        if any(len(source.users) > 1 or may_be_view(source) for source in node.all_input_nodes[:1]):
            raise UnsupportedModelError("A step overwrites what another one may use.", field=node.name)
        node.args = tuple(False if each is True else each for each in node.args)
        node.kwargs = {**node.kwargs, "inplace": False} if "inplace" in node.kwargs else node.kwargs
        node.target = OUT_OF_PLACE.get(node.target, node.target)
        if node.op == "call_method" and str(node.target).removesuffix("_") in POINTWISE_METHODS:
            node.target = str(node.target).removesuffix("_")
    return list(graph.nodes)


def may_be_view(node: fx.Node) -> bool:
    """Return whether a step's result may share memory with another one's: whatever is no layer and not pointwise."""
    if node.op == "placeholder":
        return False
    return node.op != "call_module" and node.target not in POINTWISE_FUNCTIONS and node.target not in POINTWISE_METHODS
