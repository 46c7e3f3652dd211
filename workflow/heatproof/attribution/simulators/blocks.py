"""Layers of the simulators: convolutions whose kernels depend on the scan and on the option."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from heatproof.models.blocks import CONVOLUTION

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}

KERNEL = 3
LEAK = 0.2
CHANNELS_PER_GROUP = 4


class PlainConvolution(nn.Module):
    """A convolution that takes the option and does not look at it.

    Parameters
    ----------
    axes, channels_in, channels_out : int
        Space axes; channels of the input and of the output.
    stride : int
        1 keeps the grid, 2 halves it (rounded up).
    bias : bool
        Add a constant to every channel; of no use before a normalisation.
    """

    def __init__(self, axes: int, channels_in: int, channels_out: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        layer = CONVOLUTION[axes]
        self.convolution = layer(channels_in, channels_out, KERNEL, stride=stride, padding=KERNEL // 2, bias=bias)

    def forward(self, features: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return the convolved features, shape (B, channels_out, *S)."""
        return self.convolution(features)

    def silence(self) -> None:
        """Set the weights to zero, so that the output is zero until the first step of a fit."""
        for parameter in self.convolution.parameters():
            nn.init.zeros_(parameter)


class ConditionalConvolution(nn.Module):
    """A convolution whose kernel each scan mixes from several, by its features and the option.

    Weights of the mixture are sigmoids of a linear map of the features' means and the option (Yang et al.,
    NeurIPS 2019, "CondConv"). Scans stand side by side as groups of one convolution, so that a layer costs
    no more than a plain one.

    Parameters
    ----------
    axes, channels_in, channels_out : int
        Space axes; channels of the input and of the output.
    n_experts : int
        Kernels to mix.
    stride : int
        1 keeps the grid, 2 halves it (rounded up).
    bias : bool
        Add a constant to every channel; of no use before a normalisation.
    """

    def __init__(
        self, axes: int, channels_in: int, channels_out: int, n_experts: int, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.axes, self.stride = axes, stride
        self.weight = nn.Parameter(torch.empty(n_experts, channels_out, channels_in, *[KERNEL] * axes))
        self.bias = nn.Parameter(torch.zeros(n_experts, channels_out)) if bias else None
        self.routing = nn.Linear(channels_in + 1, n_experts)
        for kernel in self.weight:
            nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))

    def forward(self, features: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return the convolved features.

        Parameters
        ----------
        features : Tensor, shape (B, channels_in, *S)
        option : Tensor, shape (B,)

        Returns
        -------
        Tensor, shape (B, channels_out, *S)
        """
        count, space = len(features), features.shape[2:]
        means = torch.cat([features.flatten(2).mean(dim=2), option[:, None].to(features)], dim=1)
        shares = torch.sigmoid(self.routing(means))
        kernels = (shares @ self.weight.flatten(1)).reshape(-1, *self.weight.shape[2:])
        biases = None if self.bias is None else (shares @ self.bias).reshape(-1)
        side_by_side = features.reshape(1, -1, *space)
        convolved = CONVOLVE[self.axes](side_by_side, kernels, biases, self.stride, KERNEL // 2, groups=count)
        return convolved.reshape(count, -1, *convolved.shape[2:])

    def silence(self) -> None:
        """Set the kernels to zero, so that the output is zero until the first step of a fit."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Block(nn.Module):
    """Convolution, group normalisation and leaky ReLU; nothing that depends on the other scans of a batch.

    Parameters
    ----------
    convolution : PlainConvolution or ConditionalConvolution
    channels : int
        Channels of its output.
    """

    def __init__(self, convolution: PlainConvolution | ConditionalConvolution, channels: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.normalisation = nn.GroupNorm(math.gcd(channels, max(1, channels // CHANNELS_PER_GROUP)), channels)

    def forward(self, features: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return the block's features, shape (B, channels, *S)."""
        return functional.leaky_relu(self.normalisation(self.convolution(features, option)), LEAK)


class Bottleneck(nn.Module):
    """The dense middle of the U-Net: all features and the option in, all features out.

    Parameters
    ----------
    n_features : int
        Features of a scan at the coarsest level.
    n_hidden : int
        Hidden units, to which the option is added as one more.
    """

    def __init__(self, n_features: int, n_hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n_features, n_hidden)
        self.outer = nn.Linear(n_hidden + 1, n_features)

    def forward(self, features: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return features of the same shape, (B, C, *S)."""
        hidden = functional.leaky_relu(self.inner(features.flatten(1)), LEAK)
        mixed = self.outer(torch.cat([hidden, option[:, None].to(hidden)], dim=1))
        return functional.leaky_relu(mixed, LEAK).reshape(features.shape)
