"""VGG-16 and VGG-19: chains of convolutions of 3 voxels, over one to three axes."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial

from torch import nn

from heatproof.errors import ConfigError
from heatproof.models.blocks import POOL
from heatproof.models.convolutions import convolution, grid_left, initialised, pooled_head, share_of
from heatproof.models.registry import register

CITATION = "Simonyan & Zisserman (2015). ICLR, arXiv 1409.1556"
CHANNELS = (64, 128, 256, 512, 512)
# Units of each hidden layer of the published head.
HIDDEN = 4096
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def vgg(
    layers: tuple[int, ...],
    name: str,
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width_share: float = 1.0,
    head: str = "pooled",
    dropout: float = 0.5,
) -> nn.Module:
    """Return a VGG network: five chains of convolutions, each behind it a maximum over 2 voxels.

    Parameters
    ----------
    layers : tuple of int, length 5
        Convolutions of every chain.
    name : str
        Name for messages.
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input, 32 voxels or more each.
    width_share : float
        Channels of every layer as a share of the published ones.
    head : {"pooled", "published"}
        Global average pooling and one dense layer, or two hidden layers of 4,096 units on the whole grid.
    dropout : float
        Share of units dropped in training before every dense layer that follows a hidden one; in the pooled
        head, before the only one.

    Raises
    ------
    ConfigError
        If the grid is too small, or the head is not known.
    """
    axes, space = len(shape), grid_left(name, shape, [(2, 2)] * len(layers))
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for index, (depth, published) in enumerate(zip(layers, CHANNELS, strict=True), 1):
        chain: list[nn.Module] = []
        for _ in range(depth):
            wider = share_of(published, width_share)
            chain += [convolution(axes, (channels, wider), 3, bias=True), nn.ReLU()]
            channels = wider
        blocks[f"block{index}"] = nn.Sequential(*chain, POOL[axes](2))
    if head == "pooled":
        blocks["head"] = pooled_head(axes, channels, n_classes, dropout)
    elif head == "published":
        hidden = share_of(HIDDEN, width_share)
        blocks["head"] = _published_head(channels * math.prod(space), hidden, n_classes, dropout)
    else:
        raise ConfigError(f"'{head}' is no head of '{name}'.", field="head", remedy="use pooled or published.")
    return initialised(nn.Sequential(blocks))


for _name, _layers in DEPTHS.items():
    register(_name, CITATION)(partial(vgg, _layers, _name))


def _published_head(features: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )
