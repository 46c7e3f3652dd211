"""Inception-v3 and Inception-ResNet-v2: branches of factorised convolutions, over one to three axes.

On images a convolution of 7 x 7 voxels is factorised into 1 x 7 and 7 x 1. Over any number of axes it becomes one
convolution of 7 voxels along each axis, one after the other; over one axis a single one is left. Where
Inception-v3 spreads into 1 x 3 and 3 x 1 side by side, there is one branch for each axis, so the number of features
behind it depends on the number of axes.
"""

from __future__ import annotations

from torch import nn

from heatproof.models.convolutions import initialised, pooled_head
from heatproof.models.inception_blocks import Trunk
from heatproof.models.registry import register

# Channels behind the pooling branch of the three blocks on the finest grid, and inside the four on the next one.
FINEST = (32, 64, 64)
FACTORISED = (128, 160, 160, 192)


@register("inception_v3", "Szegedy et al. (2016). CVPR 2818-2826, arXiv 1512.00567")
def inception_v3(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Return Inception-v3 without its auxiliary classifier.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input, 75 voxels or more each.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training before the dense layer.

    Raises
    ------
    ConfigError
        If the grid is too small.
    """
    trunk = Trunk("inception_v3", in_channels, shape, width_share)
    down, up = trunk.from_last_axis(7), trunk.from_first_axis(7)
    for pooled in FINEST:
        trunk.mix([[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]], pooled)
    trunk.halve([[(384, 3)], [(64, 1), (96, 3), (96, 3)]])
    for inner in FACTORISED:
        once = [(inner, 1), *trunk.factorised(inner, 192, down)]
        twice = [(inner, 1), *trunk.factorised(inner, 192, up + up)]
        trunk.mix([[(192, 1)], once, twice], 192)
    trunk.halve([[(192, 1), (320, 3)], [(192, 1), *trunk.factorised(192, 192, down), (192, 3)]])
    for _ in range(2):
        spread = (384, trunk.from_last_axis(3))
        trunk.mix([[(320, 1)], [(384, 1), spread], [(448, 1), (384, 3), spread]], 192)
    trunk.layers["head"] = pooled_head(trunk.axes, trunk.channels, n_classes, dropout)
    return initialised(nn.Sequential(trunk.layers))


@register("inception_resnet_v2", "Szegedy et al. (2017). AAAI 4278-4284, arXiv 1602.07261; layers of Keras")
def inception_resnet_v2(
    *, in_channels: int, n_classes: int, shape: tuple[int, ...], width_share: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Return Inception-ResNet-v2, with the stem and the scales of Keras and of the authors' released code.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input and outputs.
    shape : tuple of int
        Space axes of the input, 75 voxels or more each.
    width_share : float
        Channels of every layer as a share of the published ones.
    dropout : float
        Share of features dropped in training before the dense layer.

    Raises
    ------
    ConfigError
        If the grid is too small.
    """
    trunk = Trunk("inception_resnet_v2", in_channels, shape, width_share)
    sevens = trunk.factorised(160, 192, trunk.from_last_axis(7))
    threes = trunk.factorised(224, 256, trunk.from_last_axis(3))
    trunk.mix([[(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]], 64)
    trunk.add([[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]], n_blocks=10, scale=0.17)
    trunk.halve([[(384, 3)], [(256, 1), (256, 3), (384, 3)]])
    trunk.add([[(192, 1)], [(128, 1), *sevens]], n_blocks=20, scale=0.1)
    trunk.halve([[(256, 1), (384, 3)], [(256, 1), (288, 3)], [(256, 1), (288, 3), (320, 3)]])
    trunk.add([[(192, 1)], [(192, 1), *threes]], n_blocks=9, scale=0.2)
    trunk.add([[(192, 1)], [(192, 1), *threes]], n_blocks=1, scale=1.0, rectifies=False)
    trunk.append("last", trunk.chain([(1536, 1)]))
    trunk.layers["head"] = pooled_head(trunk.axes, trunk.channels, n_classes, dropout)
    return initialised(nn.Sequential(trunk.layers))
