"""The linear layers as maps that can be applied and transposed: dense, convolution, average, sum, scaling."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ..errors import UnsupportedModelError

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def fast_order(values: torch.Tensor) -> torch.Tensor:
    """Return values in channels-last order on the CPU, where convolutions run 1.5 to 4 times faster so."""
    if values.device.type != "cpu" or values.shape[1] == 1:
        return values
    if values.ndim == 3:
        return values.transpose(1, 2).contiguous().transpose(1, 2)
    if values.ndim not in CHANNELS_LAST:
        return values
    return values.contiguous(memory_format=CHANNELS_LAST[values.ndim])


def convolve_lines(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> torch.Tensor:
    """Return a convolution along one axis, as one of images of one row: PyTorch has the fast order for those only.

    Parameters are those of `torch.nn.functional.conv1d`, each a tuple of one number.
    """
    rows, kernels = (fast_order(each)[:, :, None] for each in (values, weight))
    return functional.conv2d(rows, kernels, bias, (1, *stride), (0, *padding), (1, *dilation), groups)[:, :, 0]


def transpose_lines(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    missing: tuple[int, ...],
    groups: int,
    dilation: tuple[int, ...],
) -> torch.Tensor:
    """Return a transposed convolution along one axis; see `convolve_lines`."""
    rows, kernels = (fast_order(each)[:, :, None] for each in (values, weight))
    outputs = functional.conv_transpose2d(
        rows, kernels, bias, (1, *stride), (0, *padding), (0, *missing), groups, (1, *dilation)
    )
    return outputs[:, :, 0]


CONVOLVE: dict[int, Callable[..., torch.Tensor]] = {1: convolve_lines, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSE: dict[int, Callable[..., torch.Tensor]] = {
    1: transpose_lines,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def pulled_back(
    function: Callable[[torch.Tensor], torch.Tensor], outputs: torch.Tensor, like: torch.Tensor
) -> torch.Tensor:
    """Return the transposed linear function of some outputs, by differentiating it anywhere."""
    with torch.enable_grad():
        point = torch.zeros_like(like).requires_grad_()
        return torch.autograd.grad(function(point), point, outputs)[0]


class Dense:
    """y = x W^T + b over the last axis."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias, self.is_scaled = weight, bias, False

    def scaled(self, scale: torch.Tensor, shift: torch.Tensor) -> Dense:
        """Return this map followed by y -> scale y + shift."""
        twin = Dense(self.weight * scale[:, None], shift if self.bias is None else self.bias * scale + shift)
        twin.is_scaled = True
        return twin

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return x W^T.

        Raises
        ------
        UnsupportedModelError
            A normalisation was folded in and the last axis is not that of the channels.
        """
        if self.is_scaled and values.ndim != 2:
            raise UnsupportedModelError(
                f"A batch normalisation follows a linear layer on inputs of {values.ndim} axes.",
                field="Linear",
                remedy="Flatten the linear layer's input to (batch, features), or set batch_norm: identity.",
            )
        return functional.linear(values, weight)

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return y W."""
        return outputs @ weight

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the bias as it is: it belongs to the last axis."""
        return bias


class Convolution:
    """A convolution with any stride, padding, dilation and groups, over one to three axes."""

    def __init__(self, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
        self.weight, self.bias = fast_order(layer.weight), layer.bias
        self.n_axes = layer.weight.ndim - 2
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        # (before, after) per axis from the last to the first, as functional.pad wants it
        self.margins = list(layer._reversed_padding_repeated_twice)
        if not isinstance(layer.padding, str):
            self.margins = [margin for margin in reversed(layer.padding) for _ in range(2)]
        self.mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        even = self.margins[::2] == self.margins[1::2]
        self.is_plain = even and self.mode == "constant"

    def scaled(self, scale: torch.Tensor, shift: torch.Tensor) -> Convolution:
        """Return this map followed by y -> scale y + shift per channel."""
        twin = copy.copy(self)
        twin.weight = self.weight * scale.reshape(-1, *[1] * (self.n_axes + 1))
        twin.bias = shift if self.bias is None else self.bias * scale + shift
        return twin

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the convolution without bias."""
        padding = self.margins[::-2] if self.is_plain else [0] * self.n_axes
        if not self.is_plain:
            values = functional.pad(values, self.margins, mode=self.mode)
        return CONVOLVE[self.n_axes](fast_order(values), weight, None, self.stride, padding, self.dilation, self.groups)

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return the transposed convolution, in the shape of `like`."""
        if self.mode != "constant":
            return pulled_back(lambda values: self.apply(values, weight), outputs, like)
        # margins that differ ("same" for an even kernel): the smaller one on both sides, then what is too much is cut
        after, before = self.margins[::-2], self.margins[-2::-2]
        padding = [min(pair) for pair in zip(before, after, strict=True)]
        missing = [
            max(0, first + size - ((out - 1) * stride - margin + dilation * (kernel - 1) + 1))
            for first, size, out, stride, margin, dilation, kernel in zip(
                before,
                like.shape[2:],
                outputs.shape[2:],
                self.stride,
                padding,
                self.dilation,
                weight.shape[2:],
                strict=True,
            )
        ]
        inputs = TRANSPOSE[self.n_axes](
            fast_order(outputs), weight, None, self.stride, padding, missing, self.groups, self.dilation
        )
        for axis, (first, margin, size) in enumerate(zip(before, padding, like.shape[2:], strict=True), 2):
            inputs = inputs.narrow(axis, first - margin, size)
        return inputs

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the bias with one axis per space axis."""
        return bias.reshape(-1, *[1] * self.n_axes)


class Average:
    """Average pooling, windowed or adaptive: every input of a window has the same weight."""

    bias: torch.Tensor | None = None

    def __init__(self, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.pool = pool
        self.weight = torch.ones((), dtype=torch.float64)  # a number: the outputs keep their type

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the averages times the weight."""
        outputs = self.pool(values)
        return outputs if weight is self.weight else outputs * weight

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return each average's value at its inputs, times their weight."""
        return pulled_back(self.pool, outputs if weight is self.weight else outputs * weight, like)

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the bias; a pooling has none."""
        return bias


class Sum:
    """The sum of several tensors, stacked on a new first axis."""

    bias: torch.Tensor | None = None

    def __init__(self) -> None:
        self.weight = torch.ones((), dtype=torch.float64)

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the sum over the first axis, times the weight."""
        outputs = values.sum(0)
        return outputs if weight is self.weight else outputs * weight

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return the outputs once for each summand, times the weight."""
        return (outputs if weight is self.weight else outputs * weight).expand_as(like)

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the bias; a sum has none."""
        return bias


class Scaling:
    """y = a x + c per channel: a batch normalisation in evaluation mode."""

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        self.weight = scale
        self.bias: torch.Tensor | None = shift

    def apply(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return a x."""
        return values * self.spread_bias(weight, values)

    def transpose(self, outputs: torch.Tensor, weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return a y."""
        return outputs * self.spread_bias(weight, outputs)

    def spread_bias(self, bias: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return a vector over channels so that it broadcasts over batch and space."""
        return bias.reshape(-1, *[1] * (outputs.ndim - 2))
