"""Catches every nonlinear call of a forward pass, layer or not, and knows what is linear.

Functions are caught where PyTorch dispatches them, so it does not matter whether a rectifier is a layer, a
function, a tensor method, in place, or used twice: each call is compared with the same call of the other pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...errors import UnsupportedModelError
from ..isolation import SingleChannelConvolution
from ..rectifiers import HIDDEN, OTHER, backward_functions
from .rules import Rescaled, RescaledMaximum, Tape


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# All names are those of PyTorch's functions without underscores: add, add_, __add__ and __iadd__ are one.
# Functions of each element.
ACTIVATIONS = words(
    "relu relu6 leaky_relu prelu rrelu elu selu hardtanh hardsigmoid hardshrink softshrink threshold clamp clamp_min "
    "clamp_max clip abs celu gelu silu mish hardswish sigmoid tanh softplus softsign logsigmoid log_sigmoid"
)
MAXIMA: dict[str, Callable[..., Any]] = {
    "max_pool1d": functional.max_pool1d_with_indices,
    "max_pool2d": functional.max_pool2d_with_indices,
    "max_pool3d": functional.max_pool3d_with_indices,
    "adaptive_max_pool1d": functional.adaptive_max_pool1d_with_indices,
    "adaptive_max_pool2d": functional.adaptive_max_pool2d_with_indices,
    "adaptive_max_pool3d": functional.adaptive_max_pool3d_with_indices,
}
# Linear in one operand: refused when two of them depend on the scan.
PRODUCTS = words(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear batch_norm mul imul rmul multiply "
    "div idiv truediv itruediv divide matmul mm bmm mv einsum addmm"
)
# Linear in all operands together, or a change of shape, order or type.
LINEAR = PRODUCTS | words(
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d dropout dropout1d "
    "dropout2d dropout3d alpha_dropout feature_alpha_dropout pad interpolate upsample add iadd radd sub isub rsub "
    "subtract neg cat concat concatenate stack sum mean view view_as reshape reshape_as flatten unflatten ravel "
    "permute transpose swapaxes t movedim moveaxis squeeze unsqueeze expand expand_as broadcast_to chunk split "
    "tensor_split unbind getitem setitem select narrow index_select gather take_along_dim contiguous clone copy to "
    "type_as float double half bfloat16 repeat tile roll flip where masked_fill pixel_shuffle pixel_unshuffle"
)
# What a tensor tells without its values.
ABOUT = words(
    "get size dim ndimension numel stride storage_offset is_contiguous is_floating_point is_complex get_device len "
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty"
)
# Backward functions of what no Python call shows: scripted code.
UNSEEN = (
    *HIDDEN,
    *OTHER,
    "MaxPool",
    "AdaptiveMaxPool",
    "Sigmoid",
    "Tanh",
    "Softmax",
    "LogSoftmax",
    "Exp",
    "Pow",
    "NativeLayerNorm",
    "NativeGroupNorm",
)
REMEDY = "Use integrated_gradients or expected_gradients, which need no rule for it."


def bare_name(function: Callable[..., Any]) -> str:
    """Return the name of a PyTorch function without underscores around it."""
    return str(getattr(function, "__name__", function)).strip("_")


def without_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return a call's first operand, and its other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs["input"], (), {key: value for key, value in kwargs.items() if key != "input"}


def writes_into_its_input(function: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
    """Return whether a call is in place."""
    name = str(getattr(function, "__name__", ""))
    return bool(kwargs.get("inplace")) or (name.endswith("_") and not name.startswith("__"))


class Caught(TorchFunctionMode):
    """Hands every call of a nonlinear function on to a subclass."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a torch function, or what stands for it."""
        name, kwargs = bare_name(function), kwargs or {}
        if name not in ACTIVATIONS and name not in MAXIMA:
            return self.other(name, function, args, kwargs)
        values, args, kwargs = without_input(args, kwargs)
        if next(dependents([*args, *kwargs.values()]), None) is not None or kwargs.get("out") is not None:
            self.refuse(name, "depends on the scan by more than its first operand")
        if name in MAXIMA:
            if kwargs.pop("return_indices", False):
                self.refuse(name, "returns the places of its maxima")
            return self.maximum(values, lambda points: MAXIMA[name](points, *args, **kwargs))
        if is_random(name, args, kwargs):
            self.refuse(name, "draws random numbers")
        if not writes_into_its_input(function, kwargs):
            return self.elementwise(values, lambda points: function(points, *args, **kwargs), name)
        return values.copy_(self.elementwise(values, lambda points: function(points.clone(), *args, **kwargs), name))

    def other(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return the result of any other function."""
        return function(*args, **kwargs)

    def elementwise(self, values: torch.Tensor, function: Callable[..., Any], name: str) -> torch.Tensor:
        """Return f(x)."""
        raise NotImplementedError

    def maximum(self, values: torch.Tensor, pool: Callable[..., Any]) -> torch.Tensor:
        """Return the maxima."""
        raise NotImplementedError

    def refuse(self, name: str, problem: str) -> None:
        """Raise an error that names a function."""
        raise UnsupportedModelError(f"The network calls {name}, which {problem}.", field=name, remedy=REMEDY)


class Recording(Caught):
    """Writes down what the nonlinear calls of a pass see."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def elementwise(self, values: torch.Tensor, function: Callable[..., Any], name: str) -> torch.Tensor:
        """Return f(x), and keep x."""
        self.tape.calls.append((values.clone(),))  # whatever follows may write into it
        return function(values)

    def maximum(self, values: torch.Tensor, pool: Callable[..., Any]) -> torch.Tensor:
        """Return the maxima, and keep the inputs, the maxima and their places."""
        outputs, places = pool(values)
        self.tape.calls.append((values.clone(), outputs.clone(), places))
        return outputs


class Linearising(Caught):
    """Builds a graph in which every nonlinear call follows the rescale rule, and refuses what has no rule.

    Parameters
    ----------
    model : nn.Module
    tape : Tape
        What the other pass will have seen by the time of the backward pass.
    layers : list of str
        Names of the layers that are being called, the innermost last.
    """

    def __init__(self, model: nn.Module, tape: Tape, layers: list[str]) -> None:
        super().__init__()
        self.model, self.tape, self.layers, self.n_calls = model, tape, layers, 0

    def elementwise(self, values: torch.Tensor, function: Callable[..., Any], name: str) -> torch.Tensor:
        """Return f(x), linked to its input by its difference quotient."""
        self.n_calls += 1
        return Rescaled.apply(values.clone(), function, self.tape, self.n_calls - 1)

    def maximum(self, values: torch.Tensor, pool: Callable[..., Any]) -> torch.Tensor:
        """Return the maxima, linked to their inputs."""
        self.n_calls += 1
        return RescaledMaximum.apply(values, pool, self.tape, self.n_calls - 1)

    def other(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return the result of a function that is linear in what depends on the scan, or refuse it."""
        dependent = list(dependents([*args, *kwargs.values()]))
        if not dependent:
            return function(*args, **kwargs)
        if name in PRODUCTS and len(dependent) > 1:
            self.refuse(name, "multiplies two things that both depend on the scan")
        if name in ("div", "truediv", "divide") and args[0] is not dependent[0]:
            self.refuse(name, "divides by something that depends on the scan")
        if is_random(name, args[1:], kwargs):
            self.refuse(name, "is still in training mode")
        if not torch.is_grad_enabled() and "forward" not in vars(self.model.get_submodule(self.layers[-1])):
            self.refuse(name, "is called without gradients")  # but for the convolutions that `channels_last` replaces
        result = function(*args, **kwargs)
        is_value = isinstance(result, (bool, int, float, complex))  # float(x)
        is_cut = name == "get" and isinstance(result, torch.Tensor) and not result.requires_grad  # x.data
        if (name not in LINEAR or is_value) and (name not in ABOUT or is_cut):
            self.refuse(name, "has no rescale rule")
        return result

    def refuse(self, name: str, problem: str) -> None:
        """Raise an error that names the layer and the function."""
        layer = next((layer for layer in reversed(self.layers) if layer), name)
        raise UnsupportedModelError(f"The network calls {name}, which {problem}.", field=layer, remedy=REMEDY)


def is_random(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a dropout, normalisation or random rectifier is called as in training.

    Parameters
    ----------
    name : str
    args, kwargs
        Without the first operand.
    """
    flag = {"dropout": 1, "alpha_dropout": 1, "feature_alpha_dropout": 1, "batch_norm": 4, "rrelu": 2}
    if "training" in kwargs or "train" in kwargs:
        return bool(kwargs.get("training", kwargs.get("train")))
    return name in flag and len(args) > flag[name] and bool(args[flag[name]])


def dependents(arguments: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in some arguments that depend on the scan; weights of a private network do not."""
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            if argument.requires_grad:
                yield argument
        elif isinstance(argument, (list, tuple)):
            yield from dependents(argument)


@contextmanager
def named_calls(model: nn.Module) -> Iterator[list[str]]:
    """Give the names of the layers that are being called, the innermost last, in the passes inside the block."""
    layers: list[str] = []

    def leave(*_: Any) -> None:
        layers.pop()

    with ExitStack() as handles:
        for name, module in model.named_modules():
            enter = lambda *_, name=name: layers.append(name)  # noqa: E731
            handles.callback(module.register_forward_pre_hook(enter).remove)
            handles.callback(module.register_forward_hook(leave).remove)
        yield layers


def refuse_unseen(outputs: torch.Tensor) -> None:
    """Check that nothing nonlinear went past the calls that are caught.

    Raises
    ------
    UnsupportedModelError
        An autograd function of the network's own, whose forward pass is not looked into, or scripted code.
    """
    ours = (Rescaled, RescaledMaximum, SingleChannelConvolution)
    for function in backward_functions(outputs):
        own = getattr(function, "_forward_cls", None)
        if (own is not None and own not in ours) or function.name().lstrip("_").startswith(UNSEEN):
            raise UnsupportedModelError(
                f"The network computes {function.name()} by scripted code or an autograd function of its own.",
                field=function.name(),
                remedy=f"Write it with PyTorch's functions. {REMEDY}",
            )
