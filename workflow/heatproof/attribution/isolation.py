"""A private copy of a network, so that no method can leave a trace on the one it explains.

Hooks, patched rectifiers, memory formats and gradients all go onto the copy. The caller's network is never
written to, so there is nothing to restore, also not after an exception.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..errors import UnsupportedModelError
from .linear_maps import CHANNELS_LAST, Convolution, convolve_lines, fast_order
from .tracing import NORMALISATIONS

PRECISIONS = ("float32", "bfloat16")
_precision: ContextVar[str] = ContextVar("precision", default="float32")


def isolated(model: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode that computes no gradients of its weights.

    In-place activations become out-of-place in the copy: they would overwrite what a hook has recorded.

    Raises
    ------
    UnsupportedModelError
        The network cannot be copied (it holds tensors that are the result of a computation), or a batch
        normalisation has no statistics of its own, so that a scan's map would depend on its neighbours.
    """
    for name, module in model.named_modules():
        if isinstance(module, NORMALISATIONS) and (module.running_mean is None or module.running_var is None):
            raise UnsupportedModelError(
                "The batch normalisation keeps no running statistics, so a scan's output depends on its batch.",
                field=name,
                remedy="Use track_running_stats=True and train again.",
            )
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedModelError(
            f"The network cannot be copied: {error}",
            field=type(model).__name__,
            remedy="Detach the tensors that it keeps as attributes and remove weight normalisation "
            "(torch.nn.utils.remove_weight_norm) before attribution.",
        ) from error
    twin.eval()
    twin.requires_grad_(False)
    for parameter in twin.parameters():
        parameter.grad = None
    for module in twin.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return twin


def refuse_side_effects(model: nn.Module, twin: nn.Module, scan: torch.Tensor) -> None:
    """Check that a network computes the same when its activations stop working in place.

    Parameters
    ----------
    model : nn.Module
        The caller's network.
    twin : nn.Module
        Its private copy.
    scan : Tensor, shape (1, C, *S)

    Raises
    ------
    UnsupportedModelError
        It reads again what an activation has overwritten: its private copy would be another network.
    """
    acting = [name for name, module in model.named_modules() if getattr(module, "inplace", False) is True]
    if not acting:
        return
    with torch.no_grad():
        as_written = copy.deepcopy(model).eval()(scan.clone())
        as_copied = twin(scan)
    if not torch.allclose(as_written, as_copied, rtol=1e-3, atol=1e-4 * float(as_written.abs().max()) + 1e-12):
        raise UnsupportedModelError(
            "The network reads a tensor again after an activation has overwritten it.",
            field=", ".join(acting),
            remedy="Set inplace=False where the tensor before the activation is used too, and train again.",
        )


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a network lives on (the CPU when it has neither parameters nor buffers)."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def channels_last(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Put a private network and its inputs into channels-last order where that is faster; return the inputs.

    On the CPU the convolutions of images run 1.2 to 1.8 times faster so, those of volumes 1.4 to 4 times, those of
    signals 1.6 to 1.8 times; elsewhere nothing is changed.
    """
    if inputs.ndim == 3 and inputs.device.type == "cpu":
        lines_in_order(model)
        return fast_order(inputs)
    if inputs.ndim not in CHANNELS_LAST or inputs.device.type != "cpu":
        return inputs
    order = CHANNELS_LAST[inputs.ndim]
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            module.weight.data = module.weight.data.contiguous(memory_format=order)
            is_plain = type(module).forward is nn.Conv3d.forward and "forward" not in vars(module)
            if module.in_channels == 1 and is_plain:
                module.forward = types.MethodType(single_channel_forward, module)  # type: ignore[method-assign]
    return inputs.contiguous(memory_format=order)


def lines_in_order(model: nn.Module) -> None:
    """Let the convolutions along one axis of a private network compute in channels-last order."""
    for module in model.modules():
        if not isinstance(module, nn.Conv1d) or module.padding_mode != "zeros":
            continue
        if type(module).forward is nn.Conv1d.forward and "forward" not in vars(module):
            module.weight.data = fast_order(module.weight.data)
            module.forward = types.MethodType(line_forward, module)  # type: ignore[method-assign]


def line_forward(layer: nn.Conv1d, values: torch.Tensor) -> torch.Tensor:
    """Return what a convolution along one axis returns, in channels-last order.

    With margins that differ, as an even kernel has that keeps the length, PyTorch's own way takes nearly twice as long.
    """
    if values.ndim != 3 or values.dtype != layer.weight.dtype:
        return nn.Conv1d.forward(layer, values)
    before, after = layer._reversed_padding_repeated_twice
    padded = functional.pad(values, (before, after)) if before != after else values
    margin = (0 if before != after else before,)
    return convolve_lines(padded, layer.weight, layer.bias, layer.stride, margin, layer.dilation, layer.groups)


class SingleChannelConvolution(torch.autograd.Function):
    """A convolution of one volume of one channel that hands channels-last on, and takes it back.

    One scan of one channel has no order of its own, so PyTorch would run the whole network in the slow one (a
    fifth more time at 2 mm). Several scans have one.
    """

    @staticmethod
    def forward(context: Any, values: torch.Tensor, convolution: Convolution) -> torch.Tensor:
        """Return the convolution with bias."""
        context.save_for_backward(values)
        context.convolution = convolution
        outputs = convolution.apply(values, convolution.weight)
        if convolution.bias is not None:
            outputs += convolution.spread_bias(convolution.bias, outputs)
        return fast_order(outputs)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient with respect to the input."""
        (values,) = context.saved_tensors
        return context.convolution.transpose(gradients[0], context.convolution.weight, values), None


def single_channel_forward(layer: nn.Conv3d, values: torch.Tensor) -> torch.Tensor:
    """Return what a convolution of one channel returns, in channels-last order."""
    if len(values) > 1:
        return nn.Conv3d.forward(layer, values)
    return SingleChannelConvolution.apply(values, Convolution(layer))


def current_precision() -> str:
    """Return the arithmetic of the network's passes: "float32" or "bfloat16"."""
    return _precision.get()


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Let the passes that `run` makes inside the block compute in a precision; a method's own sums do not change."""
    before = _precision.set(precision)
    try:
        yield
    finally:
        _precision.reset(before)


class ViewsAreReshapes(TorchFunctionMode):
    """Lets ``tensor.view(shape)`` copy where the memory order asks for it, which a plain view refuses."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a torch function, with views of a shape turned into reshapes."""
        if function is torch.Tensor.view and len(args) > 1 and not isinstance(args[1], torch.dtype):
            function = torch.Tensor.reshape
        return function(*args, **(kwargs or {}))


def run(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the output of a private network for inputs in any memory order, in the inputs' type."""
    reduced = _precision.get() == "bfloat16"
    with ViewsAreReshapes(), torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=reduced):
        outputs = model(inputs)
    return outputs.to(inputs.dtype) if reduced and isinstance(outputs, torch.Tensor) else outputs
