"""Xception: residual blocks of depthwise separable convolutions, over one to three axes."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from heatproof.models.convolutions import (
    convolution,
    grid_left,
    initialised,
    normalisation,
    pooled_head,
    separable,
    share_of,
    strided_pool,
)
from heatproof.models.joins import Residual
from heatproof.models.registry import register

# Channels of both convolutions of the blocks that halve the grid, before and after the middle.
ENTRY = ((128, 128), (256, 256), (728, 728))
EXIT = (728, 1024)
N_MIDDLE = 8
LAST = (1536, 2048)


@register("xception", "Chollet (2017). CVPR 1251-1258, arXiv 1610.02357")
def xception(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.5
) -> nn.Module:
    """Return Xception.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input, 7 voxels or more each.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training before the dense layer.

    Raises
    ------
    ConfigError
        If the grid is too small.
    """
    axes = len(shape)
    grid_left("xception", shape, [(3, 2), (3, 1)])
    channels = share_of(64, width_share)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = _stem(axes, in_channels, share_of(32, width_share), channels)
    for index, published in enumerate((*ENTRY, EXIT), 1):
        is_exit = index > len(ENTRY)
        if is_exit:
            layers |= {f"middle{block}": _middle(axes, channels) for block in range(1, N_MIDDLE + 1)}
        inner, outer = (share_of(number, width_share) for number in published)
        # The stem ends in a rectifier already.
        halving = _halving(axes, (channels, inner, outer), rectifies=index > 1)
        layers["exit" if is_exit else f"entry{index}"] = halving
        channels = outer
    wide, last = (share_of(number, width_share) for number in LAST)
    layers["last"] = nn.Sequential(
        separable(axes, (channels, wide)),
        normalisation(axes, wide),
        nn.ReLU(),
        separable(axes, (wide, last)),
        normalisation(axes, last),
        nn.ReLU(),
    )
    layers["head"] = pooled_head(axes, last, n_classes, dropout)
    return initialised(nn.Sequential(layers))


def _stem(axes: int, in_channels: int, inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(axes, (in_channels, inner), 3, stride=2, pad=False),
        normalisation(axes, inner),
        nn.ReLU(),
        convolution(axes, (inner, outer), 3, pad=False),
        normalisation(axes, outer),
        nn.ReLU(),
    )


def _halving(axes: int, channels: tuple[int, int, int], *, rectifies: bool) -> Residual:
    """Return a block of two separable convolutions that halves the grid."""
    before, inner, outer = channels
    body = [
        *([nn.ReLU()] if rectifies else []),
        separable(axes, (before, inner)),
        normalisation(axes, inner),
        nn.ReLU(),
        separable(axes, (inner, outer)),
        normalisation(axes, outer),
        strided_pool(axes),
    ]
    shortcut = nn.Sequential(convolution(axes, (before, outer), stride=2), normalisation(axes, outer))
    return Residual(nn.Sequential(*body), shortcut)


def _middle(axes: int, channels: int) -> Residual:
    """Return a block of three separable convolutions that keeps the grid."""
    body: list[nn.Module] = []
    for _ in range(3):
        body += [nn.ReLU(), separable(axes, (channels, channels)), normalisation(axes, channels)]
    return Residual(nn.Sequential(*body))
