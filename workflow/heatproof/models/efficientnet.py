"""EfficientNet-B0: inverted bottlenecks with squeeze and excitation, over one to three axes.

MONAI's network is not used: its swish is an autograd function of its own that works in place and is called
many times, which neither hooks nor a graph can see through.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from heatproof.models.convolutions import (
    GLOBAL_AVERAGE,
    convolution,
    normalisation,
    pooled_head,
    share_of,
)
from heatproof.models.joins import Gated, Residual, StochasticDepth
from heatproof.models.registry import register

CITATION = "Tan & Le (2019). ICML 6105-6114, arXiv 1905.11946; Tan et al. (2019). CVPR 2820-2828"
DIVISOR = 8
STEM, LAST = 32, 1280
# A normal distribution that is cut at two standard deviations has this one.
CUT_DEVIATION = 0.87962566103423978


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind; the first of them steps by `stride` (Tan & Le 2019, table 1)."""

    expansion: int
    channels: int
    n_blocks: int
    kernel: int
    stride: int


B0 = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)


@register("efficientnet_b0", CITATION)
def efficientnet_b0(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width_share: float = 1.0,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
) -> nn.Module:
    """Return EfficientNet-B0.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input; only their number matters.
    width_share : float
        Channels of every layer as a share of the published ones, rounded to multiples of 8 as in the publication.
    dropout : float
        Share of features dropped in training before the dense layer.
    stochastic_depth : float
        Share of scans for which a residual block is skipped in training; it rises from 0 at the first block to
        this at the end.
    """
    axes = len(shape)
    channels = rounded_share(STEM, width_share)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(*_unit(axes, (in_channels, channels), kernel=3, stride=2))
    n_blocks, done = sum(stage.n_blocks for stage in B0), 0
    for index, stage in enumerate(B0, 1):
        wider = rounded_share(stage.channels, width_share)
        for block in range(1, stage.n_blocks + 1):
            stride = stage.stride if block == 1 else 1
            skipped = stochastic_depth * done / n_blocks
            layers[f"stage{index}_block{block}"] = _block(axes, (channels, wider), stage, stride, skipped)
            channels, done = wider, done + 1
    last = rounded_share(LAST, width_share)
    layers["last"] = nn.Sequential(*_unit(axes, (channels, last)))
    layers["head"] = pooled_head(axes, last, n_classes, dropout)
    return _initialised(nn.Sequential(layers))


def rounded_share(channels: int, width_share: float) -> int:
    """Return a share of a number of channels as a multiple of 8 that is at most a tenth below it."""
    exact = channels * width_share
    multiple = max(DIVISOR, int(share_of(channels, width_share) + DIVISOR / 2) // DIVISOR * DIVISOR)
    return multiple + DIVISOR if multiple < 0.9 * exact else multiple


def _unit(
    axes: int, channels: tuple[int, int], kernel: int = 1, stride: int = 1, *, depthwise: bool = False
) -> list[nn.Module]:
    """Return convolution, normalisation and swish."""
    groups = channels[0] if depthwise else 1
    return [
        convolution(axes, channels, kernel, stride=stride, groups=groups),
        normalisation(axes, channels[1]),
        nn.SiLU(),
    ]


def _block(axes: int, channels: tuple[int, int], stage: Stage, stride: int, skipped: float) -> nn.Module:
    """Return one inverted bottleneck; with a residual sum where input and output are alike."""
    before, after = channels
    inner = before * stage.expansion
    layers: list[nn.Module] = _unit(axes, (before, inner)) if stage.expansion > 1 else []
    layers += _unit(axes, (inner, inner), stage.kernel, stride, depthwise=True)
    layers += [
        _squeeze_and_excitation(axes, inner, max(1, before // 4)),
        convolution(axes, (inner, after)),
        normalisation(axes, after),
    ]
    if stride > 1 or before != after:
        return nn.Sequential(*layers)
    return Residual(nn.Sequential(*layers, StochasticDepth(skipped)))


def _squeeze_and_excitation(axes: int, channels: int, squeezed: int) -> Gated:
    gate = nn.Sequential(
        GLOBAL_AVERAGE[axes](1),
        convolution(axes, (channels, squeezed), bias=True),
        nn.SiLU(),
        convolution(axes, (squeezed, channels), bias=True),
        nn.Sigmoid(),
    )
    return Gated(gate)


def _initialised(network: nn.Module) -> nn.Module:
    """Return the network with its published initial weights.

    Convolutions: a cut normal distribution of variance 2 / (kernel x outputs of a group); the dense layer: a uniform
    one within 1 / sqrt(classes).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            outputs = module.weight[:, 0].numel() // module.groups
            deviation = math.sqrt(2 / outputs) / CUT_DEVIATION
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            limit = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -limit, limit)
            nn.init.zeros_(module.bias)
    return network
