"""What the inputs of a linear map contribute to its outputs, by sign: the parts that rules are made of."""

from __future__ import annotations

from typing import Protocol

import torch

# A part of the inputs and the part of the weights that it meets; None for a part that is zero everywhere.
Pair = tuple[torch.Tensor | None, torch.Tensor | None]


class LinearMap(Protocol):
    """A map that is linear in its input and in its weight (maps without one hold the weight 1)."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the outputs for some inputs, without bias."""

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return the transposed map of some outputs, in the shape of the inputs `like`."""

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return a bias so that it broadcasts against the outputs."""


def halves(values: torch.Tensor) -> list[torch.Tensor | None]:
    """Return the positive and the negative part of a tensor; None for a part that is zero everywhere."""
    least, most = torch.aminmax(values)
    positive = None if most <= 0 else values if least >= 0 else values.clamp(min=0)
    negative = None if least >= 0 else values if most <= 0 else values.clamp(max=0)
    return [positive, negative]


def pairs_by_sign(values: torch.Tensor, weight: torch.Tensor) -> dict[int, list[Pair]]:
    """Return the parts of inputs and weights whose products are positive (1) and negative (-1)."""
    positive, negative = halves(values)
    excitatory, inhibitory = halves(weight)
    return {
        1: [(positive, excitatory), (negative, inhibitory)],
        -1: [(positive, inhibitory), (negative, excitatory)],
    }


def branch_sum(
    linear: LinearMap, values: torch.Tensor, pairs: list[Pair], bias: torch.Tensor | None
) -> torch.Tensor | None:
    """Return the sum of the contributions of one sign; None when there cannot be any."""
    total = None
    for half, weight in pairs:
        if half is not None and weight is not None:
            outputs = linear.apply(half, weight)
            total = outputs if total is None else total.add_(outputs)
    if bias is not None and (total is not None or bool(bias.any())):
        if total is None:
            # no input speaks with this sign, in this batch: the bias alone takes its share
            total = linear.apply(values, torch.zeros_like(linear.weight))
        add_bias(linear, total, bias)
    return total


def add_bias(linear: LinearMap, outputs: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Add a bias to the outputs of a map, in place."""
    if bias is not None:
        outputs += linear.spread_bias(bias, outputs)


def least_divisor(dtype: torch.dtype) -> float:
    """Return the least denominator by which relevance is divided: below it a quotient could overflow."""
    limits = torch.finfo(dtype)
    return min(limits.tiny * 1e10, limits.eps**2)


def divided(relevance: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Return relevance per unit of contribution; 0 where nothing contributes. Overwrites the total."""
    lacking = total.abs() < least_divisor(total.dtype)
    return relevance / total.masked_fill_(lacking, torch.inf)
