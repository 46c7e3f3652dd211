"""Guided rectifiers: the backward pass of a ReLU that lets only positive gradients through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..errors import UnsupportedModelError

# Names of the autograd functions of a rectification that went past the guided layers.
HIDDEN = ("ReluBackward", "Clamp", "ThresholdBackward", "HardtanhBackward", "MaximumBackward")
# Smooth or leaky relatives of a ReLU, for which no guided rule exists.
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


class GuidedRectifier(torch.autograd.Function):
    """max(x, 0) whose gradient is passed on only where the gradient and x are both positive."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, values: torch.Tensor) -> torch.Tensor:
        """Return max(x, 0)."""
        rectified = values.clamp(min=0)
        context.save_for_backward(rectified)
        return rectified

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the positive part of the gradient where the rectifier was active."""
        (rectified,) = context.saved_tensors  # type: ignore[attr-defined]
        return gradients[0].clamp(min=0) * (rectified > 0)


@contextmanager
def guided_rectifiers(model: nn.Module) -> Iterator[None]:
    """Make every `nn.ReLU` of a private network guided for the forward passes inside the block.

    Raises
    ------
    UnsupportedModelError
        There is no `nn.ReLU`, or one of them was called more than once in the block.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.ReLU)}
    if not layers:
        raise UnsupportedModelError(
            "The network has no nn.ReLU layer, so guided backpropagation is the plain gradient.",
            field=type(model).__name__,
            remedy=f"Use saliency. If it rectifies by a function: {REMEDY}",
        )
    calls: Counter[str] = Counter()

    def guided(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(values: torch.Tensor) -> torch.Tensor:
            calls[name] += 1
            return GuidedRectifier.apply(values)

        return forward

    for name, layer in layers.items():
        layer.forward = guided(name)  # type: ignore[assignment]
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
    """Check that no rectification went past the guided layers, and that none is other than a ReLU.

    The backward graph of the output shows every one, however it was written: ``torch.relu``, a tensor method,
    in place, or a clamp.

    Raises
    ------
    UnsupportedModelError
        One did.
    """
    waiting, seen = [explained.grad_fn], set()
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if function.name().startswith(OTHER):
            raise UnsupportedModelError(
                f"The network rectifies by other than a ReLU ({function.name().split('Backward')[0]}).",
                field=type(model).__name__,
                remedy="Guided backpropagation is defined for ReLU only: use saliency or another method.",
            )
        if function.name().startswith(HIDDEN):
            raise UnsupportedModelError(
                f"The network rectifies by a function ({function.name()}), not by an nn.ReLU.",
                field=type(model).__name__,
                remedy=REMEDY,
            )
        waiting.extend(parent for parent, _ in function.next_functions)
