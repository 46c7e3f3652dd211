"""ResNet-50 and its pre-activation form: bottlenecks of three convolutions, over one to three axes."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from heatproof.models.blocks import POOL
from heatproof.models.convolutions import (
    convolution,
    initialised,
    normalisation,
    pooled_head,
    share_of,
    strided_pool,
)
from heatproof.models.joins import Residual
from heatproof.models.registry import register

# Channels inside the bottlenecks of each stage and number of its blocks; a block returns four times as many.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
EXPANSION = 4
EPSILON = 1.001e-5


@register("resnet50", "He et al. (2016). CVPR 770-778; layers of Keras' ResNet50")
def resnet50(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.0
) -> nn.Module:
    """Return ResNet-50; the first convolution of a stage's first block halves the grid, as published.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input; only their number matters.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training before the dense layer (published: 0).
    """
    axes = len(shape)
    channels = share_of(STAGES[0][0], width_share)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(
        convolution(axes, (in_channels, channels), 7, stride=2, bias=True),
        normalisation(axes, channels, epsilon=EPSILON),
        nn.ReLU(),
        strided_pool(axes),
    )
    for stage, (published, n_blocks) in enumerate(STAGES, 1):
        inner = share_of(published, width_share)
        for block in range(n_blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            residual = _block(axes, channels, inner, stride, projects=block == 0)
            layers[f"stage{stage}_block{block + 1}"] = nn.Sequential(residual, nn.ReLU())
            channels = inner * EXPANSION
    layers["head"] = pooled_head(axes, channels, n_classes, dropout)
    return initialised(nn.Sequential(layers))


@register("resnet50_v2", "He et al. (2016). ECCV 630-645, arXiv 1603.05027; layers of Keras' ResNet50V2")
def resnet50_v2(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.0
) -> nn.Module:
    """Return ResNet-50 with normalisation and rectifier before each convolution.

    As in Keras, the last block of a stage halves the grid, and its shortcut takes every second voxel.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input; only their number matters.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training before the dense layer (published: 0).
    """
    axes = len(shape)
    channels = share_of(STAGES[0][0], width_share)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(
        convolution(axes, (in_channels, channels), 7, stride=2, bias=True),
        strided_pool(axes),
    )
    for stage, (published, n_blocks) in enumerate(STAGES, 1):
        inner = share_of(published, width_share)
        for block in range(n_blocks):
            stride = 2 if block == n_blocks - 1 and stage < len(STAGES) else 1
            bottleneck = _preactivated_block(axes, channels, inner, stride, projects=block == 0)
            layers[f"stage{stage}_block{block + 1}"] = bottleneck
            channels = inner * EXPANSION
    layers["last"] = nn.Sequential(normalisation(axes, channels, epsilon=EPSILON), nn.ReLU())
    layers["head"] = pooled_head(axes, channels, n_classes, dropout)
    return initialised(nn.Sequential(layers))


def _block(axes: int, channels: int, inner: int, stride: int, *, projects: bool) -> Residual:
    """Return a bottleneck without the rectifier behind its sum."""
    outer = inner * EXPANSION
    body = nn.Sequential(
        convolution(axes, (channels, inner), stride=stride, bias=True),
        normalisation(axes, inner, epsilon=EPSILON),
        nn.ReLU(),
        convolution(axes, (inner, inner), 3, bias=True),
        normalisation(axes, inner, epsilon=EPSILON),
        nn.ReLU(),
        convolution(axes, (inner, outer), bias=True),
        normalisation(axes, outer, epsilon=EPSILON),
    )
    if not projects:
        return Residual(body)
    shortcut = nn.Sequential(
        convolution(axes, (channels, outer), stride=stride, bias=True),
        normalisation(axes, outer, epsilon=EPSILON),
    )
    return Residual(body, shortcut)


def _preactivated_block(axes: int, channels: int, inner: int, stride: int, *, projects: bool) -> nn.Module:
    """Return a bottleneck whose projection, if it has one, reads what the first rectifier returns."""
    outer = inner * EXPANSION
    activation = [normalisation(axes, channels, epsilon=EPSILON), nn.ReLU()]
    body = [
        convolution(axes, (channels, inner)),
        normalisation(axes, inner, epsilon=EPSILON),
        nn.ReLU(),
        convolution(axes, (inner, inner), 3, stride=stride),
        normalisation(axes, inner, epsilon=EPSILON),
        nn.ReLU(),
        convolution(axes, (inner, outer), bias=True),
    ]
    if projects:
        shortcut = convolution(axes, (channels, outer), stride=stride, bias=True)
        return nn.Sequential(*activation, Residual(nn.Sequential(*body), shortcut))
    return Residual(nn.Sequential(*activation, *body), POOL[axes](1, stride) if stride > 1 else None)
