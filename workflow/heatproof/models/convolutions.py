"""What the published image networks are built from: convolutions, normalisations, heads, over any number of axes.

Their layers, biases, numbers of features, epsilons and initial weights are those of Keras' applications. Two
things differ on purpose: a strided layer pads both sides alike (Keras pads an even axis after its end only, which
shifts the grid by half a voxel), and a maximum never sees its margin (Keras' ResNet50V2 pads with zeros).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from heatproof.errors import ConfigError
from heatproof.models.blocks import CONVOLUTION, NORMALISATION, POOL
from heatproof.models.joins import MeanOfPair

AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GLOBAL_AVERAGE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def share_of(channels: int, width_share: float) -> int:
    """Return a published number of channels times the share that is kept, rounded; at least one."""
    if not width_share > 0:
        raise ConfigError(
            f"a network cannot have {width_share} times its published channels.",
            field="width_share",
            remedy="use 1 for the published network, or a share above 0.",
        )
    return max(1, round(channels * width_share))


def convolution(
    axes: int,
    channels: tuple[int, int],
    kernel: int | tuple[int, ...] = 1,
    *,
    stride: int = 1,
    pad: bool = True,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """Return a convolution; `pad` keeps the grid (divided by the stride), or else only whole windows count.

    Parameters
    ----------
    axes : int
        Number of space axes.
    channels : tuple of int, length 2
        Channels that come in and go out.
    kernel : int or tuple of int, length axes
        Odd, in voxels.
    stride : int
        Step in voxels, the same along every axis.
    pad : bool
        Whether zeros are added on both sides, half a kernel each.
    groups : int
        As many as channels: a depthwise convolution.
    bias : bool
        Whether each output has a constant of its own.
    """
    lengths = kernel if isinstance(kernel, tuple) else (kernel,) * axes
    margins = tuple(length // 2 if pad else 0 for length in lengths)
    layer: Callable[..., nn.Module] = CONVOLUTION[axes]
    return layer(*channels, lengths, stride, margins, groups=groups, bias=bias)


def normalisation(axes: int, channels: int, *, epsilon: float = 1e-3, scales: bool = True) -> nn.Module:
    """Return a batch normalisation; `scales` False keeps its factor at one, untrained, as in the Inception networks."""
    layer = NORMALISATION[axes](channels, eps=epsilon)
    if not scales:
        layer.weight.requires_grad_(False)
    return layer


def along(axis: int, axes: int, length: int) -> tuple[int, ...]:
    """Return a kernel that is `length` voxels long along one axis and one voxel along the others."""
    return tuple(length if each == axis else 1 for each in range(axes))


def separable(axes: int, channels: tuple[int, int]) -> nn.Sequential:
    """Return a depthwise convolution of 3 voxels and a pointwise one (Chollet 2017, section 1.2), without biases."""
    return nn.Sequential(
        convolution(axes, (channels[0], channels[0]), 3, groups=channels[0]),
        convolution(axes, channels),
    )


def strided_pool(axes: int, *, pad: bool = True) -> nn.Module:
    """Return a maximum over 3 voxels in steps of 2."""
    return POOL[axes](3, 2, 1 if pad else 0)


def neighbourhood_mean(space: tuple[int, ...]) -> nn.Sequential:
    """Return the mean over 3 voxels along each axis, of those that lie inside a grid.

    A mean over a box is one along each axis, one after the other. PyTorch's mean over volumes refuses axes that
    are shorter than its window; these have their own.
    """
    lengths = tuple(3 if length > 2 else 1 for length in space)
    margins = tuple(length // 2 for length in lengths)
    pairs = [MeanOfPair(axis + 2) for axis, length in enumerate(space) if length == 2]
    return nn.Sequential(*pairs, AVERAGE[len(space)](lengths, 1, margins, count_include_pad=False))


def pooled_head(axes: int, channels: int, n_classes: int, dropout: float = 0.0) -> nn.Sequential:
    """Return global average pooling, dropout and one dense layer."""
    return nn.Sequential(
        GLOBAL_AVERAGE[axes](1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(channels, n_classes),
    )


def initialised(network: nn.Module) -> nn.Module:
    """Return the network with Keras' initial weights: Glorot's uniform ones, and biases of zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def grid_left(name: str, shape: tuple[int, ...], windows: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the grid behind a chain of layers that only count whole windows.

    Parameters
    ----------
    name : str
        Name of the network, for messages.
    shape : tuple of int
        Space axes of the input.
    windows : sequence of tuple of int, length 2
        Window and step of each layer, in voxels.

    Raises
    ------
    ConfigError
        Nothing is left; the message has the smallest grid that is enough.
    """
    space = shape
    for window, step in windows:
        space = tuple((length - window) // step + 1 for length in space)
    if min(space) < 1:
        least = 1
        for window, step in reversed(windows):
            least = (least - 1) * step + window
        raise too_small(name, shape, least)
    return space


def too_small(name: str, shape: tuple[int, ...], least: int) -> ConfigError:
    """Return the error for a grid of which a network leaves nothing."""
    return ConfigError(
        f"the network '{name}' cannot take a grid of {' x '.join(map(str, shape))}: nothing is left of it.",
        field="network",
        remedy=f"use another network, or a grid of at least {least} voxels along every axis.",
    )
