"""The simulators' networks: a scan and an option in, a warp or another change of the scan out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from heatproof.errors import ConfigError, GeometryError

from .blocks import Block, Bottleneck, ConditionalConvolution, PlainConvolution
from .grids import refine, resize
from .settings import CHOICES
from .warps import flow, warp

# As published, volumes of 64 voxels are halved four times, to four voxels per axis, and the dense middle has
# half as many hidden units as it has features, 512.
COARSEST = 4
MOST_HIDDEN = 512


@dataclass
class Simulation:
    """What a simulator makes of a batch of scans.

    Attributes
    ----------
    warped : Tensor, shape (B, C, *S)
        The scans after the change (warp and amplitude).
    change : Tensor, shape (B, C, *S)
        ``warped`` less the scans.
    displacement : Tensor, shape (B, axes, *S), optional
        The warp in voxels; None without a field.
    """

    warped: torch.Tensor
    change: torch.Tensor
    displacement: torch.Tensor | None = None


class SimulatorNetwork(nn.Module):
    """A U-Net that proposes how a scan changes when a pattern is injected or removed.

    After Liu et al., IPMI 2021 (arXiv 2102.08239), for signals, images and volumes of any size. Its last layer
    starts at zero, so that before the first step of a fit nothing changes.

    Parameters
    ----------
    shape : sequence of int
        Channels and space axes of a scan, (C, *S).
    field : {"velocity", "displacement", "none"}
        What the warp is: the exponential of a velocity (never folds), a displacement (may fold), or no warp.
    grid : int, optional
        Control points per axis, between which fields are cubic B-splines; None for a value at every voxel.
    amplitude : {"none", "gain", "additive"}
        A change of intensity after the warp: a factor exp(gain) or a summand, on the same grid.
    conditioning : {"conditional", "separate"}
        One network whose kernels depend on the option, or one network per sign of the option, whose output the
        option's size scales.
    n_experts : int
        Kernels that a conditional convolution mixes.
    width : int
        Channels of the first level.
    depth : int, optional
        How often the grid is halved; by default as often as leaves `COARSEST` voxels or more on its longest axis, and
        once at least.
    bottleneck : int, optional
        Hidden units of the dense middle; by default half its features, and 512 at most.

    Raises
    ------
    ConfigError
        A choice does not exist, or nothing could change.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        field: str = "velocity",
        grid: int | None = 8,
        amplitude: str = "none",
        conditioning: str = "conditional",
        n_experts: int = 3,
        width: int = 16,
        depth: int | None = None,
        bottleneck: int | None = None,
    ) -> None:
        super().__init__()
        _check_choices(field, amplitude, conditioning)
        self.channels, self.space = int(shape[0]), tuple(int(length) for length in shape[1:])
        self.field, self.amplitude, self.conditioning = field, amplitude, conditioning
        self.grid = self.space if grid is None else tuple(min(int(grid), length) for length in self.space)
        self.n_components = 0 if field == "none" else len(self.space)
        self.n_outputs = self.n_components + (0 if amplitude == "none" else self.channels)
        names = ("both",) if conditioning == "conditional" else ("inject", "remove")
        experts = n_experts if conditioning == "conditional" else None
        self.networks = nn.ModuleDict(
            {
                name: UNet(
                    (self.channels, *self.space),
                    self.n_outputs,
                    self.grid,
                    n_experts=experts,
                    width=width,
                    depth=depth,
                    bottleneck=bottleneck,
                )
                for name in names
            }
        )

    def forward(self, inputs: torch.Tensor, option: torch.Tensor) -> Simulation:
        """Return the changed scans.

        Parameters
        ----------
        inputs : Tensor, shape (B, C, *S)
            Scans.
        option : Tensor, shape (B,)
            1 injects the pattern, -1 removes it; between them, a part of it.

        Returns
        -------
        Simulation

        Raises
        ------
        GeometryError
            The scans are not of the shape the network was built for.
        """
        if tuple(inputs.shape[1:]) != (self.channels, *self.space):
            raise GeometryError(
                f"a simulator for scans of shape {(self.channels, *self.space)} got {tuple(inputs.shape[1:])}.",
                field="inputs",
                remedy="fit a simulator on scans of this shape.",
            )
        proposal = self.propose(inputs, option)
        # Positions need more digits than half precision has.
        with torch.autocast(inputs.device.type, enabled=False):
            return self.apply_change(inputs, proposal.to(inputs.dtype))

    def propose(self, inputs: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return the fields on the control grid, shape (B, components + channels of the amplitude, *G)."""
        if self.conditioning == "conditional":
            return self.networks["both"](inputs, option)
        proposal = inputs.new_zeros(len(inputs), self.n_outputs, *self.grid)
        for sign, name in ((1.0, "inject"), (-1.0, "remove")):
            chosen = (option * sign > 0).nonzero()[:, 0]
            if len(chosen):
                part = self.networks[name](inputs[chosen], option[chosen].sign())
                proposal = proposal.index_copy(0, chosen, part.to(proposal.dtype))
        return proposal * option.abs().to(proposal.dtype).reshape(-1, *[1] * (proposal.dim() - 1))

    def apply_change(self, inputs: torch.Tensor, proposal: torch.Tensor) -> Simulation:
        """Return the scans changed by the fields of `propose`."""
        fields, intensities = proposal.split([self.n_components, self.n_outputs - self.n_components], dim=1)
        displacement, warped = None, inputs
        if self.field == "velocity":
            displacement, _ = flow(fields, self.space)
        elif self.field == "displacement":
            displacement = self._everywhere(fields)
        if displacement is not None:
            warped = warp(inputs, displacement)
        if self.amplitude == "gain":
            warped = warped * self._everywhere(intensities).exp()
        elif self.amplitude == "additive":
            warped = warped + self._everywhere(intensities)
        return Simulation(warped, warped - inputs, displacement)

    def _everywhere(self, values: torch.Tensor) -> torch.Tensor:
        return refine(values, self.space) if self.grid != self.space else values


class UNet(nn.Module):
    """Encoder, dense middle and decoder with additive skips, up to the grid that is wanted and no further.

    Parameters
    ----------
    shape : tuple of int
        Channels and space axes of a scan.
    n_outputs : int
        Channels of the output.
    grid : tuple of int
        Space axes of the output; its corners are the scan's corners.
    n_experts : int, optional
        Kernels per convolution; None for plain convolutions.
    width, depth, bottleneck
        See `SimulatorNetwork`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_outputs: int,
        grid: tuple[int, ...],
        *,
        n_experts: int | None,
        width: int,
        depth: int | None,
        bottleneck: int | None,
    ) -> None:
        super().__init__()
        self.grid, space = grid, shape[1:]
        depth = _default_depth(space) if depth is None else depth
        sizes = [tuple(math.ceil(length / 2**level) for length in space) for level in range(depth + 1)]
        enough = [all(a >= b for a, b in zip(size, grid, strict=True)) for size in sizes]
        self.finest = sum(enough) - 1
        # As published for a depth of four: 1, 2, 4 and 1 times the width. The first is the full grid's own.
        channels = [width] + [width * 2 ** min(level, 2) for level in range(depth - 1)] + [width]

        def convolution(
            channels_in: int, channels_out: int, stride: int, bias: bool
        ) -> PlainConvolution | ConditionalConvolution:
            if n_experts is None:
                return PlainConvolution(len(space), channels_in, channels_out, stride, bias)
            return ConditionalConvolution(len(space), channels_in, channels_out, n_experts, stride, bias)

        def block(channels_in: int, channels_out: int, stride: int = 1) -> Block:
            return Block(convolution(channels_in, channels_out, stride, bias=False), channels_out)

        # The full grid is looked at in strides unless the output needs it: it is most of the work.
        self.full = block(shape[0], width) if self.finest == 0 else None
        inner = [shape[0] if self.full is None else width, *channels[1:]]
        self.encoder = nn.ModuleList([block(inner[k], inner[k + 1], stride=2) for k in range(depth)])
        n_features = width * math.prod(sizes[-1])
        self.middle = Bottleneck(n_features, bottleneck or min(MOST_HIDDEN, max(1, n_features // 2)))
        levels = range(depth, self.finest, -1)
        self.decoder = nn.ModuleList([block(channels[level], channels[level - 1]) for level in levels])
        # A control grid lies between two levels, so its features are looked at once more.
        between = sizes[self.finest] != grid
        self.head = block(channels[self.finest], width) if between else None
        self.output = convolution(width if between else channels[self.finest], n_outputs, stride=1, bias=True)
        self.output.silence()

    def forward(self, inputs: torch.Tensor, option: torch.Tensor) -> torch.Tensor:
        """Return the output on the grid, shape (B, n_outputs, *grid)."""
        features = inputs if self.full is None else self.full(inputs, option)
        skips = [features]
        for block in self.encoder:
            features = block(features, option)
            skips.append(features)
        features = self.middle(skips.pop(), option)
        for block in self.decoder:
            skip = skips.pop()
            features = resize(block(features, option), skip.shape[2:]) + skip
        if self.head is not None:
            features = self.head(resize(features, self.grid), option)
        return self.output(features, option)


def _default_depth(space: tuple[int, ...]) -> int:
    return max(1, math.floor(math.log2(max(space) / COARSEST)))


def _check_choices(field: str, amplitude: str, conditioning: str) -> None:
    for name, choice in (("field", field), ("amplitude", amplitude), ("conditioning", conditioning)):
        if choice not in CHOICES[name]:
            raise ConfigError(
                f"a simulator has no {name} '{choice}'.", field=name, remedy=f"use one of {', '.join(CHOICES[name])}."
            )
    if field == amplitude == "none":
        raise ConfigError(
            "a simulator with neither a field nor an amplitude changes nothing.",
            field="field",
            remedy="set field to velocity, or amplitude to additive.",
        )
