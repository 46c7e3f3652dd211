"""The network of Storås et al. (2025) for electrocardiograms: wide residual kernels, a global average, one output."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from heatproof.errors import ConfigError
from heatproof.models.blocks import CONVOLUTION, NORMALISATION
from heatproof.models.convolutions import AVERAGE, grid_left, pooled_head
from heatproof.models.joins import Residual
from heatproof.models.registry import register

# Kernel of the second convolution.
SECOND_KERNEL = 3


@register("ecg_resnet", "Storås et al. (2025). JAMIA 32(1):79-88")
def ecg_resnet(
    *,
    in_channels: int,
    n_classes: int,
    shape: tuple[int, ...],
    width: int = 32,
    n_blocks: int = 8,
    kernel: int = 50,
    stem_kernel: int = 8,
    pool: int = 2,
) -> nn.Module:
    """Return a residual network whose blocks keep their length and rectify before the sum.

    Two convolutions to twice `width` and `width` channels, an average over `pool` points, then blocks of two
    convolutions to twice `width` and back, a global average and one linear layer. Every convolution has a bias and is
    followed by a batch normalisation and a rectifier; with the published settings, 12 leads and one output these are
    the published 1,653,313 parameters, and no other choice of biases and normalisations gives that number.

    Parameters
    ----------
    in_channels, n_classes : int
        Channels of the input (leads) and outputs.
    shape : tuple of int
        Space axes of the input, `pool` points or more each.
    width : int
        Channels between blocks (published: 32).
    n_blocks : int
        Residual blocks (published: 8).
    kernel : int
        Points of every kernel in the blocks (published: 50). Zeros keep the length; of an even kernel, half a kernel
        follows the record and one zero less precedes it.
    stem_kernel : int
        Points of the first kernel (published: 8).
    pool : int
        Points that are averaged before the blocks (published: 2).

    Raises
    ------
    ConfigError
        If a setting is below one, or the record is shorter than `pool`.
    """
    settings = {"width": width, "n_blocks": n_blocks, "kernel": kernel, "stem_kernel": stem_kernel, "pool": pool}
    for key, value in settings.items():
        if value < 1:
            raise ConfigError(f"an ecg_resnet cannot have {value}.", field=key, remedy="use 1 or more.")
    grid_left("ecg_resnet", shape, [(pool, pool)])
    axes = len(shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(
        *_rectified(axes, (in_channels, 2 * width), stem_kernel), *_rectified(axes, (2 * width, width), SECOND_KERNEL)
    )
    layers["pool"] = AVERAGE[axes](pool)
    for block in range(1, n_blocks + 1):
        layers[f"block{block}"] = Residual(
            nn.Sequential(*_rectified(axes, (width, 2 * width), kernel), *_rectified(axes, (2 * width, width), kernel))
        )
    layers["head"] = pooled_head(axes, width, n_classes)
    return nn.Sequential(layers)


def _rectified(axes: int, channels: tuple[int, int], kernel: int) -> list[nn.Module]:
    """Return a convolution that keeps the grid, its normalisation and its rectifier."""
    return [CONVOLUTION[axes](*channels, kernel, padding="same"), NORMALISATION[axes](channels[1]), nn.ReLU()]
