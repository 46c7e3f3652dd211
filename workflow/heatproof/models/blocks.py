"""Chains of convolution blocks: the networks of Wang et al. (2023), Böhle et al. (2019) and Liu et al. (2021).

Every layer is a module of its own that is used once, in a plain sequence, so that relevance propagation,
hooks and graph tracing see the whole computation.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial

from torch import nn

from heatproof.errors import ConfigError
from heatproof.models.registry import register

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMALISATION = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}

WANG = "Wang et al. (2023). NeuroImage 269:119929"
BOEHLE = "Böhle et al. (2019). Front Aging Neurosci 11:194"
LIU = "Liu et al. (2021). IPMI; arXiv 2102.08239"

# Kernel and pool of every block; the same width throughout.
WANG_FAMILIES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "wang_a": ((7, 5, 5, 3, 3), (2, 2, 2, 2, 2)),
    "wang_b": ((3, 3, 3, 3, 3), (2, 2, 2, 2, 2)),
    "wang_c": ((5, 5, 5, 5), (3, 2, 2, 2)),
    "wang_d": ((7, 7, 7), (3, 3, 3)),
}


def wang(
    kernels: tuple[int, ...],
    pools: tuple[int, ...],
    name: str,
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width: int = 44,
    n_blocks: int | None = None,
    dropout: float = 0.5,
) -> nn.Module:
    """Return one of Wang's networks: blocks of one width, then Linear 64 - ReLU - Dropout - Linear.

    Parameters
    ----------
    kernels, pools : tuple of int
        Kernel and pool length of every published block.
    name : str
        Name for messages.
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input.
    width : int
        Channels of every block (published: 24 to 52).
    n_blocks : int, optional
        How many of the blocks to keep, for coarse grids; all by default.
    dropout : float
        Share of hidden units dropped in training.
    """
    features, space = _blocks(name, in_channels, [width] * len(kernels), kernels, pools, shape, n_blocks)
    classifier = OrderedDict(
        flatten=nn.Flatten(),
        hidden=nn.Linear(width * math.prod(space), 64),
        activation=nn.ReLU(),
        dropout=nn.Dropout(dropout),
        output=nn.Linear(64, n_classes),
    )
    return nn.Sequential(OrderedDict(features=features, classifier=nn.Sequential(classifier)))


for _name, (_kernels, _pools) in WANG_FAMILIES.items():
    register(_name, WANG)(partial(wang, _kernels, _pools, _name))


@register("boehle", BOEHLE)
def boehle(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    n_blocks: int | None = None,
    dropout: float = 0.4,
) -> nn.Module:
    """Return Böhle's network: widths 8-16-32-64, then Dropout - Linear 128 - ReLU - Dropout - Linear.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input.
    n_blocks : int, optional
        How many of the four blocks to keep, for coarse grids; all by default.
    dropout : float
        Share of units dropped in training, before and after the hidden layer.
    """
    widths = [8, 16, 32, 64]
    features, space = _blocks("boehle", in_channels, widths, (3, 3, 3, 3), (2, 3, 2, 3), shape, n_blocks)
    classifier = OrderedDict(
        flatten=nn.Flatten(),
        dropout_input=nn.Dropout(dropout),
        hidden=nn.Linear(widths[len(features) - 1] * math.prod(space), 128),
        activation=nn.ReLU(),
        dropout=nn.Dropout(dropout),
        output=nn.Linear(128, n_classes),
    )
    return nn.Sequential(OrderedDict(features=features, classifier=nn.Sequential(classifier)))


@register("liu", LIU)
def liu(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width: int = 16,
    n_blocks: int | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """Return the classifier that Liu's simulators explain: widths 16-32-64-16, then Linear 64 - ReLU - Linear.

    On the published grid of 64 x 64 x 64 voxels 1,024 features reach the hidden layer.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input.
    width : int
        Channels of the first and the last block; the second has twice, the third four times as many.
    n_blocks : int, optional
        How many of the four blocks to keep, for coarse grids; all by default.
    dropout : float
        Share of hidden units dropped in training; none was published.
    """
    widths = [width, 2 * width, 4 * width, width]
    features, space = _blocks("liu", in_channels, widths, (3,) * 4, (2,) * 4, shape, n_blocks, pad=True)
    classifier = OrderedDict(
        flatten=nn.Flatten(),
        hidden=nn.Linear(widths[len(features) - 1] * math.prod(space), 64),
        activation=nn.ReLU(),
        dropout=nn.Dropout(dropout),
        output=nn.Linear(64, n_classes),
    )
    return nn.Sequential(OrderedDict(features=features, classifier=nn.Sequential(classifier)))


def _blocks(
    name: str,
    in_channels: int,
    widths: list[int],
    kernels: tuple[int, ...],
    pools: tuple[int, ...],
    shape: tuple[int, ...],
    n_blocks: int | None,
    *,
    pad: bool = False,
) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return the blocks Conv (`pad`: with zeros around it) - BatchNorm - ReLU - MaxPool and the space that is left."""
    count = len(kernels) if n_blocks is None else int(n_blocks)
    if not 1 <= count <= len(kernels):
        raise ConfigError(
            f"the network '{name}' cannot have {count} blocks.",
            field="n_blocks",
            remedy=f"use 1 to {len(kernels)}, or leave it out.",
        )
    axes, space, channels = len(shape), shape, in_channels
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(count):
        lost = 0 if pad else kernels[index] - 1
        space = tuple((length - lost) // pools[index] for length in space)
        if min(space) < 1:
            raise ConfigError(
                f"the network '{name}' cannot take a grid of {' x '.join(map(str, shape))}: "
                f"nothing is left after block {index + 1}.",
                field="n_blocks",
                remedy=f"set n_blocks to {index}, use another network, or a finer grid."
                if index
                else "use another network or a finer grid.",
            )
        layers = OrderedDict(
            convolution=CONVOLUTION[axes](
                channels, widths[index], kernels[index], padding=kernels[index] // 2 if pad else 0
            ),
            normalisation=NORMALISATION[axes](widths[index]),
            activation=nn.ReLU(),
            pool=POOL[axes](pools[index]),
        )
        blocks[f"block{index + 1}"] = nn.Sequential(layers)
        channels = widths[index]
    return nn.Sequential(blocks), space
