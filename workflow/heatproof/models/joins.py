"""Where branches of a network meet: residual sums, concatenations and gates.

Nothing works in place and every layer is called once, so that hooks, relevance and graph tracing see it all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """The sum of a body and a shortcut (He et al. 2016, CVPR 770-778, eq. 1 and 2).

    Parameters
    ----------
    body : nn.Module
        What is learned.
    shortcut : nn.Module, optional
        What the input goes through; nothing by default.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return body(inputs) + shortcut(inputs)."""
        return self.body(inputs) + self.shortcut(inputs)


class ScaledResidual(nn.Module):
    """The input plus a share of a body (Szegedy et al. 2017, AAAI 4278-4284, section on scaling of the residuals).

    Parameters
    ----------
    body : nn.Module
        What is learned.
    scale : float
        Factor of the body.
    """

    def __init__(self, body: nn.Module, scale: float) -> None:
        super().__init__()
        self.body, self.scale = body, scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs + scale body(inputs)."""
        return inputs + self.body(inputs) * self.scale


class Branches(nn.Module):
    """Branches that read the same input, side by side along the channels.

    Parameters
    ----------
    branches : sequence of nn.Module
        Their outputs have the same grid.
    """

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of all branches, joined."""
        return torch.cat([branch(inputs) for branch in self.branches], 1)


class Gated(nn.Module):
    """The input times a gate that is computed from it (Hu et al. 2018, CVPR 7132-7141, eq. 2 to 4).

    Parameters
    ----------
    gate : nn.Module
        From (batch, channels, *space) to (batch, channels, 1 ...).
    """

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, inputs: Tensor) -> Tensor:
        """Return gate(inputs) inputs."""
        return self.gate(inputs) * inputs


class StochasticDepth(nn.Module):
    """Drops the whole scan in training, with a probability; what is kept grows so that the mean stays.

    Huang et al. (2016), ECCV 646-661, in the form of Tan & Le (2019): the factor is drawn for each scan.

    Parameters
    ----------
    probability : float
        Share of scans that are dropped.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(probability)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the input, in training with some scans set to zero."""
        if not self.training:
            return inputs
        one_of_each = inputs.mean(tuple(range(2, inputs.ndim)), keepdim=True)[:, :1]
        return inputs * self.dropout(torch.ones_like(one_of_each))


class MeanOfPair(nn.Module):
    """The mean of the two voxels of an axis that has only two, in both places.

    Parameters
    ----------
    axis : int
        Axis of the tensor.
    """

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the mean along the axis, twice."""
        mean = inputs.mean(self.axis, keepdim=True)
        return torch.cat([mean, mean], self.axis)
