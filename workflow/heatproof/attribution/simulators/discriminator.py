"""The optional adversary of a simulator: does a changed scan look like a scan of the other group?"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from heatproof.models.blocks import CONVOLUTION

from .blocks import LEAK

COARSEST = 4


class Discriminator(nn.Module):
    """A small chain of strided convolutions that scores patches of a scan: high for real ones.

    Parameters
    ----------
    shape : sequence of int
        Channels and space axes of a scan, (C, *S).
    width : int
        Channels of the first layer; the second has twice as many, all others four times.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 16) -> None:
        super().__init__()
        space = shape[1:]
        layer = CONVOLUTION[len(space)]
        depth = max(1, math.ceil(math.log2(max(space) / COARSEST)))
        channels = [int(shape[0]), *(width * 2 ** min(level, 2) for level in range(depth))]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for level in range(depth):
            # Spectral norm bounds the slope, without which the hinge loss runs away (Miyato et al., ICLR 2018).
            convolution = layer(channels[level], channels[level + 1], 3, stride=2, padding=1)
            layers[f"convolution{level + 1}"] = nn.utils.parametrizations.spectral_norm(convolution)
            layers[f"activation{level + 1}"] = nn.LeakyReLU(LEAK)
        layers["output"] = nn.utils.parametrizations.spectral_norm(layer(channels[-1], 1, 1))
        self.layers = nn.Sequential(layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the score of each scan, the mean over its patches, shape (B,)."""
        return self.layers(inputs).flatten(1).mean(dim=1)


def discriminator_loss(real: torch.Tensor, simulated: torch.Tensor) -> torch.Tensor:
    """Return the hinge loss of a discriminator: real scans above 1, simulated ones below -1.

    Parameters
    ----------
    real, simulated : Tensor, shape (B,)
        Scores. Their numbers may differ.
    """
    return functional.relu(1 - real).mean() + functional.relu(1 + simulated).mean()


def realism_loss(simulated: torch.Tensor) -> torch.Tensor:
    """Return the adversarial loss of a simulator: minus the mean score of its scans."""
    return -simulated.mean()
