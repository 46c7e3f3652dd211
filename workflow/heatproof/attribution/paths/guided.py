"""Guided integrated gradients: a path that moves the voxels with the smallest gradients first."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ...errors import ConfigError
from ..baselines import baseline_scans
from ..passes import scores, scores_and_gradient, split_with_target
from ..registry import Attribution, register, whole_number

# Share of the whole way that may be missing after a step, as in the reference implementation.
CLOSE = 1e-9


@register(
    "guided_ig",
    family="paths",
    cost="n_steps forward and backward, 1 forward for the residual",
    citation="Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi 2021, arXiv 2106.09788",
)
def guided_ig(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    n_steps: int = 200,
    fraction: float = 0.25,
    max_distance: float = 0.02,
    start: str = "logit",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    batch_size: int = 1,
) -> Attribution:
    """Return the gradients summed along a path that leaves voxels with large gradients for last.

    Every step brings the scan nearer by the same L1 distance, but moves only those voxels whose gradients are
    smallest, each within a band around the straight way. Several scans go their own paths side by side.

    On a network with kinks (rectifiers, maxima) the path may run along a kink, from one side to the other, and
    the residual then does not vanish with more steps; the wider the band, the more. Read the residual.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        Where the path begins; as in `integrated_gradients`.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    n_steps : int
        Steps of the path, one gradient each.
    fraction : float
        Share of all values, above 0, that is moved at once: those with the smallest gradients.
    max_distance : float
        How far a value may be ahead of or behind the straight way, as a share of its own way; 0 is integrated
        gradients with left sums, 1 leaves the path free.
    start : {"logit", "probability", "value"}
        What is differentiated.
    control_mean : Tensor, shape (C, *S), optional
        Mean training scan of the controls, for ``baseline="control_mean"``.
    zero_intensity : Tensor, shape (B, C, *S), optional
        What the intensity zero became in each normalised scan, for ``baseline="zero"``.
    batch_size : int
        Scans in one pass.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)).

    Raises
    ------
    ConfigError
        An unknown baseline, too few steps, or a fraction or distance out of its range.
    """
    check(n_steps, fraction, max_distance)
    begin = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    difference = inputs - begin
    paths = Paths(difference.flatten(1).abs(), fraction, max_distance)
    total = torch.zeros_like(paths.positions)
    lowest = torch.empty(0)
    for step in range(n_steps):
        points = torch.addcmul(begin, difference, paths.positions.view_as(begin).to(begin))
        values, gradient = all_gradients(model, points, target, start, batch_size)
        lowest = values if step == 0 else lowest
        slopes = gradient.flatten(1).to(total)
        total.addcmul_(slopes, paths.moved(slopes.abs(), (step + 1) / n_steps))
    maps = difference * total.view_as(difference)
    rise = scores(model, inputs, target, start, batch_size).double() - lowest.double()
    return Attribution.promising(maps, rise)


class Paths:
    """Where each value of each scan stands on its way from the baseline, 0, to the scan, 1.

    Parameters
    ----------
    lengths : Tensor, shape (B, n)
        How far each value has to go.
    fraction, max_distance
        See `guided_ig`.

    Attributes
    ----------
    positions : Tensor, shape (B, n)
    """

    def __init__(self, lengths: torch.Tensor, fraction: float, max_distance: float) -> None:
        self.lengths = lengths if lengths.dtype == torch.float64 else lengths.float()
        self.whole = self.lengths.double().sum(1)
        self.max_distance = max_distance
        self.rank = math.floor((lengths.shape[1] - 1) * fraction) + 1
        # what is already there is never moved
        self.positions = (self.lengths == 0).to(self.lengths)

    def moved(self, slopes: torch.Tensor, goal: float) -> torch.Tensor:
        """Take one step and return by how much each position changed, shape (B, n).

        Parameters
        ----------
        slopes : Tensor, shape (B, n)
            Absolute gradients.
        goal : float
            Share of the way, in L1 distance, that each scan has gone after the step.
        """
        before = self.positions.clone()
        self.positions.clamp_(min=max(goal - self.max_distance, 0.0))
        farthest = self.positions.new_tensor(min(goal + self.max_distance, 1.0))
        missing = goal * self.whole - torch.linalg.vecdot(self.lengths, self.positions).double()
        rows = torch.nonzero(missing > CLOSE * self.whole)[:, 0]
        while len(rows):
            gone, is_all = self.advance(rows, slopes[rows], missing[rows], farthest)
            missing[rows] -= gone
            rows = rows[is_all & (missing[rows] > CLOSE * self.whole[rows])]
        return self.positions - before

    def advance(
        self, rows: torch.Tensor, slopes: torch.Tensor, missing: torch.Tensor, farthest: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move the values of smallest gradient among those that may move, as far as they may or need to.

        Returns
        -------
        gone : Tensor, shape (len(rows),)
            The L1 distance by which each scan came nearer.
        is_all : Tensor of bool, shape (len(rows),)
            Whether the values went as far as they may, so that others have to follow.
        """
        positions = self.positions[rows]
        may_move = positions < farthest
        # the others go to the end of the order (arithmetic: a choice by mask takes ten times as long on a CPU)
        barred = (positions >= farthest).to(slopes) * torch.finfo(slopes.dtype).max
        limits = ranked(torch.maximum(slopes, barred), self.rank)
        chosen = (slopes <= limits) & may_move
        room = torch.linalg.vecdot(self.lengths[rows], (farthest - positions) * chosen).double()
        share = (missing / room).clamp(max=1)
        self.positions[rows] = torch.lerp(positions, farthest, chosen * share[:, None].to(positions))
        return room * share, (share == 1) & (room > 0)


def ranked(values: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the value of some rank, from 1, in each row, shape (B, 1)."""
    if values.device.type == "cpu":  # NumPy takes half as long
        return torch.from_numpy(np.partition(values.numpy(), rank - 1, axis=1)[:, rank - 1 : rank])
    return torch.kthvalue(values, rank, dim=1, keepdim=True).values


def all_gradients(
    model: nn.Module, points: torch.Tensor, target: torch.Tensor | None, start: str, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the explained number of each point, shape (B,), and its gradient, shape of the points."""
    parts = split_with_target(points, target, batch_size)
    values, gradients = zip(*(scores_and_gradient(model, part, classes, start) for part, classes in parts), strict=True)
    return torch.cat(values), torch.cat(gradients)


def check(n_steps: int, fraction: float, max_distance: float) -> None:
    """Check the number of steps, the fraction and the distance.

    Raises
    ------
    ConfigError
        One of them is out of its range.
    """
    whole_number(n_steps, 1, "n_steps")
    if not 0 < fraction <= 1:
        raise ConfigError(f"The fraction is {fraction}.", field="fraction", remedy="Use a share above 0, up to 1.")
    if not 0 <= max_distance <= 1:
        raise ConfigError(f"The distance is {max_distance}.", field="max_distance", remedy="Use a share, from 0 to 1.")
