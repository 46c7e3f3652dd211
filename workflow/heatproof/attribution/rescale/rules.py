"""The rescale rule of DeepLIFT: difference quotients between two passes stand for slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Tape:
    """What the nonlinear calls of the second pass saw, in order: (inputs,) or (inputs, maxima, their places)."""

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Tensor, ...]] = []


def quotient(
    function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor, others: torch.Tensor
) -> torch.Tensor:
    """Return (f(x) - f(x')) / (x - x') of a function that is applied to each element.

    Where the two inputs are so near that the quotient is rounding noise (below the square root of the type's
    precision), it is kept between the slopes at both, where the mean value theorem puts it; for equal inputs it
    is the slope.

    Parameters
    ----------
    function : callable
    values, others : Tensor
        x and x', in shapes that broadcast.
    """
    values, others = (each.to(torch.promote_types(each.dtype, torch.float32)) for each in (values, others))
    difference = values - others
    room = torch.finfo(values.dtype).eps ** 0.5
    near = difference.abs() <= room * torch.maximum(values.abs(), others.abs()).clamp(min=1)
    found = (function(values) - function(others)).div_(difference)
    if not bool(near.any()):
        return found
    first, second = slope(function, values), slope(function, others)
    between = found.clamp(torch.minimum(first, second), torch.maximum(first, second))
    between = torch.where(difference == 0, first, between)
    return torch.where(near, between, found)


def slope(function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """Return the derivative of a function that is applied to each element."""
    with torch.enable_grad():
        points = values.detach().requires_grad_()
        return torch.autograd.grad(function(points).sum(), points)[0]


class Rescaled(torch.autograd.Function):
    """A function of each element whose backward pass multiplies by its difference quotient."""

    @staticmethod
    def forward(
        context: Any,
        values: torch.Tensor,
        function: Callable[[torch.Tensor], torch.Tensor],
        tape: Tape,
        call: int,
    ) -> torch.Tensor:
        """Return f(x)."""
        context.save_for_backward(values)
        context.rest = (function, tape, call)
        return function(values)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the multiplier of the inputs (Shrikumar et al. 2017, eqs. 7 and 9)."""
        (values,) = context.saved_tensors
        function, tape, call = context.rest
        factor = quotient(function, values, tape.calls[call][0])
        return gradients[0] * factor, None, None, None


class RescaledMaximum(torch.autograd.Function):
    """A maximum pooling whose rise is given to the place of the larger of the two maxima."""

    @staticmethod
    def forward(
        context: Any,
        values: torch.Tensor,
        pool: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        tape: Tape,
        call: int,
    ) -> torch.Tensor:
        """Return the maxima."""
        outputs, places = pool(values)
        context.save_for_backward(values, outputs, places)
        context.tape, context.call = tape, call
        return outputs

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the multiplier of the inputs.

        A window's maximum can only have risen from y' to y if the input at the place of y rose by at least as
        much, and only have fallen if the one at the place of y' did: the whole change is theirs, and their
        multiplier is between 0 and 1. Where an input is the same in both passes it has no contribution, and its
        multiplier is the mean of the two gradients.
        """
        values, outputs, places = context.saved_tensors
        others, other_outputs, other_places = context.tape.calls[context.call]
        (gradient,) = gradients
        rise = outputs - other_outputs
        shares = spread(gradient * rise.clamp(min=0), places, values)
        shares += spread(gradient * rise.clamp(max=0), other_places, values)
        difference = values - others
        shares.div_(difference)
        equal = difference == 0
        if bool(equal.any()):
            mean = (spread(gradient, places, values) + spread(gradient, other_places, values)) / 2
            shares = torch.where(equal, mean, shares)
        return shares, None, None, None


def spread(outputs: torch.Tensor, places: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the sum of the outputs at the places they came from, in the shape of `like`."""
    places = places.expand_as(outputs).flatten(2)
    total = outputs.new_zeros(*like.shape[:2], like[0, 0].numel())
    return total.scatter_add_(2, places, outputs.flatten(2)).reshape(like.shape)
