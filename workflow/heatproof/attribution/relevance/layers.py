"""What each kind of layer does in the forward pass, and how it hands relevance back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch

from ...errors import UnsupportedModelError
from ..linear_maps import Convolution, Dense, Scaling, Sum
from .contributions import LinearMap
from .rules import Rule

Saved = object


class Layer(Protocol):
    """One step of the network.

    Attributes
    ----------
    kind : str or None
        Which of the plan's rules it takes (see `settings.KINDS`); None for a layer that needs none.
    makes_new_tensor : bool
        Whether nobody else holds its output, so that it may be overwritten.
    """

    kind: str | None
    makes_new_tensor: bool

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the output and what `backward` will need."""

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance of each input."""


class Linear:
    """A linear map: the rule splits the relevance among its inputs."""

    makes_new_tensor = True

    def __init__(self, linear: LinearMap) -> None:
        self.linear = linear
        self.kind: str | None = "convolution" if isinstance(linear, Convolution) else "merging"
        if isinstance(linear, Dense):
            self.kind = "dense"

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the outputs with bias; the inputs are kept."""
        outputs = self.linear.apply(values[0], self.linear.weight)
        if self.linear.bias is not None:
            outputs += self.linear.spread_bias(self.linear.bias, outputs)
        return outputs, values[0]

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance of the inputs."""
        assert isinstance(saved, torch.Tensor) and rule is not None
        return [rule.split(self.linear, saved, relevance)]

    def lowered(self, numbers: torch.Tensor) -> Linear:
        """Return this map with less of a bias, one number per output."""
        twin = copy.copy(self.linear)
        twin.bias = -numbers if self.linear.bias is None else self.linear.bias - numbers
        return Linear(twin)

    def folded(self, normalisation: Scaling) -> Linear:
        """Return this map followed by a scaling per channel, as one map."""
        assert isinstance(self.linear, (Convolution, Dense)) and normalisation.bias is not None
        return Linear(self.linear.scaled(normalisation.weight, normalisation.bias))


class PassThrough:
    """An activation, a dropout or an identity: each output hands all its relevance to its one input."""

    kind: str | None = None
    makes_new_tensor = False

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the function of the input."""
        return self.function(values[0]), None

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance as it is."""
        return [relevance]


class Reshape:
    """A change of shape."""

    kind: str | None = None
    makes_new_tensor = False

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the reshaped input; its shape is kept."""
        return self.function(values[0].contiguous()), values[0].shape

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance in the shape of the input."""
        assert isinstance(saved, torch.Size)
        return [relevance.reshape(saved)]


class Normalisation:
    """A batch normalisation that follows no convolution: a scaling per channel.

    Where biases are ignored, the published treatment is asked for, or the plan has no rule for it, it has one
    input per output and passes relevance on as it is. Where biases absorb relevance, the shift takes its share.
    """

    kind: str | None = "normalisation"
    makes_new_tensor = True

    def __init__(self, scaling: Scaling, is_identity: bool) -> None:
        self.scaling, self.is_identity = scaling, is_identity

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the scaled input; the input is kept."""
        assert self.scaling.bias is not None
        outputs = self.scaling.apply(values[0], self.scaling.weight)
        outputs += self.scaling.spread_bias(self.scaling.bias, outputs)
        return outputs, None if self.is_identity else values[0]

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance of the input."""
        if not isinstance(saved, torch.Tensor):
            return [relevance]
        assert rule is not None
        return [rule.split(self.scaling, saved, relevance)]


class MaxPool:
    """A maximum over windows: the winner takes all."""

    kind: str | None = None
    makes_new_tensor = True

    def __init__(self, pool: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.pool = pool

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the maxima; their positions are kept."""
        outputs, winners = self.pool(values[0])
        return outputs, (winners, values[0].shape)

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance at the winners; one that wins several windows receives from each."""
        assert isinstance(saved, tuple)
        winners, shape = saved
        positions, parts = winners.flatten(2), relevance.flatten(2)
        if winners.stride(1) != 1:
            spread = relevance.new_zeros(*shape[:2], shape[2:].numel())
            return [spread.scatter_add_(2, positions, parts).reshape(shape)]
        # channels last, and so the result
        spread = relevance.new_zeros(shape[0], shape[2:].numel(), shape[1])
        spread.scatter_add_(1, positions.transpose(1, 2), parts.transpose(1, 2))
        return [spread.transpose(1, 2).reshape(shape)]


class Addition:
    """A sum of two branches, as at the end of a residual block: each receives its share under the rule."""

    kind: str | None = "merging"
    makes_new_tensor = True

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the sum; the summands are kept."""
        if values[0].shape != values[1].shape:
            raise UnsupportedModelError(
                f"An addition joins shapes {tuple(values[0].shape)} and {tuple(values[1].shape)}.",
                field="add",
                remedy="Bring both branches to one shape before they are added.",
            )
        return values[0] + values[1], values

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the relevance of each summand."""
        assert isinstance(saved, tuple) and rule is not None
        return list(rule.split(Sum(), torch.stack(saved), relevance))


class Concatenation:
    """Branches side by side: each receives the relevance of its part."""

    kind: str | None = None
    makes_new_tensor = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """Return the joined branches; their sizes are kept."""
        return torch.cat(values, self.axis), [branch.shape[self.axis] for branch in values]

    def backward(self, relevance: torch.Tensor, saved: Saved, rule: Rule | None) -> list[torch.Tensor]:
        """Return the part of each branch."""
        assert isinstance(saved, list)
        return list(relevance.split(saved, self.axis))
