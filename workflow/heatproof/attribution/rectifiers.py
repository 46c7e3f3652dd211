"""Rectifiers whose backward pass follows another rule than the gradient's: guided, deconvolution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UnsupportedModelError

# Names of the autograd functions of a rectification that went past the switched layers.
HIDDEN = ("ReluBackward", "Clamp", "ThresholdBackward", "HardtanhBackward", "MaximumBackward")
# Smooth or leaky relatives of a ReLU, for which no such rule exists.
OTHER = (
    "LeakyReluBackward",
    "PreluKernelBackward",
    "RreluWithNoiseBackward",
    "EluBackward",
    "CeluBackward",
    "GeluBackward",
    "SiluBackward",
    "MishBackward",
    "HardswishBackward",
    "SoftplusBackward",
)
REMEDY = (
    "Give every rectification its own nn.ReLU layer; "
    "heatproof.attribution.separate_activations(model) returns such a network with the same weights."
)


@dataclass
class Switch:
    """How rectifiers treat a gradient in the next backward pass.

    Attributes
    ----------
    rule : {"gradient", "guided", "deconvolution"}
        Pass it on where the rectifier was active; of that, the positive part; the positive part everywhere.
    """

    rule: str = "gradient"


class SwitchedRectifier(torch.autograd.Function):
    """max(x, 0) whose backward pass follows a switch, so that one forward pass serves several rules."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, switch: Switch) -> torch.Tensor:
        """Return max(x, 0)."""
        rectified = values.clamp(min=0)
        context.save_for_backward(rectified)
        context.switch = switch
        return rectified

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient of the input under the rule that is set now."""
        (gradient,), (rectified,) = gradients, context.saved_tensors
        if context.switch.rule != "gradient":
            gradient = gradient.clamp(min=0)
        return gradient if context.switch.rule == "deconvolution" else gradient * (rectified > 0), None


@contextmanager
def switched_rectifiers(model: nn.Module, switch: Switch) -> Iterator[None]:
    """Make every `nn.ReLU` of a private network follow a switch in the forward passes inside the block.

    Raises
    ------
    UnsupportedModelError
        There is no `nn.ReLU`, or one of them was called more than once in the block.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.ReLU)}
    if not layers:
        raise UnsupportedModelError(
            "The network has no nn.ReLU layer, so a rule for rectifiers is the plain gradient.",
            field=type(model).__name__,
            remedy=f"Use saliency. If it rectifies by a function: {REMEDY}",
        )
    calls: Counter[str] = Counter()

    def switched(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(values: torch.Tensor) -> torch.Tensor:
            calls[name] += 1
            return SwitchedRectifier.apply(values, switch)

        return forward

    for name, layer in layers.items():
        layer.forward = switched(name)  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers.values():
            del layer.forward
    reused = [name for name, count in calls.items() if count > 1]
    if reused:
        raise UnsupportedModelError(
            f"The rectifier is called {calls[reused[0]]} times in one pass.", field=reused[0], remedy=REMEDY
        )


def refuse_hidden_rectifiers(explained: torch.Tensor, model: nn.Module) -> None:
    """Check that no rectification went past the switched layers, and that none is other than a ReLU.

    The backward graph of the output shows every one, however it was written: ``torch.relu``, a tensor method,
    in place, or a clamp.

    Raises
    ------
    UnsupportedModelError
        One did.
    """
    for function in backward_functions(explained):
        if function.name().startswith(OTHER):
            raise UnsupportedModelError(
                f"The network rectifies by other than a ReLU ({function.name().split('Backward')[0]}).",
                field=type(model).__name__,
                remedy="Guided backpropagation and deconvolution are for ReLU only: use saliency or another method.",
            )
        if function.name().startswith(HIDDEN):
            raise UnsupportedModelError(
                f"The network rectifies by a function ({function.name()}), not by an nn.ReLU.",
                field=type(model).__name__,
                remedy=REMEDY,
            )


def backward_functions(outputs: torch.Tensor) -> Iterator[Any]:
    """Yield each function of the backward graph of some outputs once."""
    waiting, seen = [outputs.grad_fn], set()
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        yield function
        waiting.extend(parent for parent, _ in function.next_functions)
