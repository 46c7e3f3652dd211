"""The blocks that the Inception networks are chains of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from torch import nn

from heatproof.models.convolutions import (
    along,
    convolution,
    grid_left,
    neighbourhood_mean,
    normalisation,
    share_of,
    strided_pool,
)
from heatproof.models.joins import Branches, ScaledResidual

# Window and step of the stem's layers that only count whole windows, and of the two reductions.
STEM = ((3, 2), (3, 1), (3, 2), (3, 1), (3, 2))
REDUCTION = (3, 2)

Kernel: TypeAlias = int | tuple[int, ...]
Step: TypeAlias = tuple[int, Kernel | list[tuple[int, ...]]]
"""Published channels of a convolution and its kernel; several kernels stand side by side."""
Steps: TypeAlias = Sequence[Step]


class Trunk:
    """A network that grows block by block behind the common stem.

    Parameters
    ----------
    name : str
        Name for messages.
    in_channels : int
        Channels of the input.
    shape : tuple of int
        Space axes of the input.
    width_share : float
        Channels of every layer as a share of the published ones.

    Attributes
    ----------
    layers : OrderedDict of str to nn.Module
        The blocks so far.
    axes : int
        Number of space axes.
    space : tuple of int
        Grid behind the last block.
    channels : int
        Channels behind the last block.

    Raises
    ------
    ConfigError
        If the grid is too small for the stem and two reductions.
    """

    def __init__(self, name: str, in_channels: int, shape: tuple[int, ...], width_share: float) -> None:
        grid_left(name, shape, [*STEM, REDUCTION, REDUCTION])
        self.name, self.width_share, self.axes, self.n_mixed = name, width_share, len(shape), 0
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()
        self.space, self.channels = grid_left(name, shape, STEM), in_channels
        layers, channels = self._unit(in_channels, 32, 3, stride=2, pads=False)
        for published, kernel, pads in ((32, 3, False), (64, 3, True), (80, 1, True), (192, 3, False)):
            unit, channels = self._unit(channels, published, kernel, pads=pads)
            layers += unit
            if published in (64, 192):
                layers.append(strided_pool(self.axes, pad=False))
        self.append("stem", (nn.Sequential(*layers), channels))

    def append(self, name: str, block: tuple[nn.Module, int]) -> None:
        """Add a block with the number of its channels."""
        self.layers[name], self.channels = block

    def mix(self, branches: Sequence[Steps], pooled: int) -> None:
        """Add a block of branches, and one of a mean over 3 voxels and a pointwise unit of `pooled` channels."""
        unit, channels = self._unit(self.channels, pooled)
        mean = nn.Sequential(neighbourhood_mean(self.space), *unit)
        self._join([*map(self.chain, branches), (mean, channels)])

    def halve(self, branches: Sequence[Steps]) -> None:
        """Add a reduction: branches whose last convolution steps by 2, and a maximum."""
        chains = [self.chain(steps, halves=True) for steps in branches]
        self._join([*chains, (strided_pool(self.axes, pad=False), self.channels)])
        self.space = grid_left(self.name, self.space, [REDUCTION])

    def add(self, branches: Sequence[Steps], *, n_blocks: int, scale: float, rectifies: bool = True) -> None:
        """Add residual blocks: the input plus `scale` times what a pointwise convolution makes of the branches."""
        for _ in range(n_blocks):
            chains = [self.chain(steps) for steps in branches]
            joined = sum(channels for _, channels in chains)
            body = nn.Sequential(
                Branches([chain for chain, _ in chains]),
                convolution(self.axes, (joined, self.channels), bias=True),
            )
            activation = [nn.ReLU()] if rectifies else []
            block = nn.Sequential(ScaledResidual(body, scale), *activation)
            self.append(f"residual{len(self.layers)}", (block, self.channels))

    def chain(self, steps: Steps, *, halves: bool = False) -> tuple[nn.Sequential, int]:
        """Return units one after the other and the channels behind them; the last may halve the grid."""
        layers: list[nn.Module] = []
        channels = self.channels
        for index, (published, kernel) in enumerate(steps):
            if isinstance(kernel, list):
                spread = [self._unit(channels, published, each) for each in kernel]
                layers.append(Branches([nn.Sequential(*unit) for unit, _ in spread]))
                channels = sum(count for _, count in spread)
                continue
            last = halves and index == len(steps) - 1
            unit, channels = self._unit(channels, published, kernel, stride=2 if last else 1, pads=not last)
            layers += unit
        return nn.Sequential(*layers), channels

    def from_first_axis(self, length: int) -> list[tuple[int, ...]]:
        """Return a kernel along each axis, from the first to the last."""
        return [along(axis, self.axes, length) for axis in range(self.axes)]

    def from_last_axis(self, length: int) -> list[tuple[int, ...]]:
        """Return a kernel along each axis, from the last to the first."""
        return self.from_first_axis(length)[::-1]

    @staticmethod
    def factorised(inner: int, last: int, kernels: Sequence[tuple[int, ...]]) -> list[Step]:
        """Return the steps of some kernels one after the other; all but the last give `inner` channels."""
        return [*((inner, kernel) for kernel in kernels[:-1]), (last, kernels[-1])]

    def _join(self, chains: Sequence[tuple[nn.Module, int]]) -> None:
        block = Branches([chain for chain, _ in chains])
        self.append(f"mixed{self.n_mixed}", (block, sum(channels for _, channels in chains)))
        self.n_mixed += 1

    def _unit(
        self, before: int, published: int, kernel: Kernel = 1, *, stride: int = 1, pads: bool = True
    ) -> tuple[list[nn.Module], int]:
        """Return convolution, normalisation and rectifier, and the channels behind them."""
        after = share_of(published, self.width_share)
        layer = convolution(self.axes, (before, after), kernel, stride=stride, pad=pads)
        return [layer, normalisation(self.axes, after, scales=False), nn.ReLU()], after
