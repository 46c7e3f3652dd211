"""Integrated gradients: gradients summed along the straight way from a baseline to the scan."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import ConfigError
from ..baselines import baseline_scans
from ..batches import pairs
from ..isolation import channels_last
from ..passes import column, input_gradient, of_scans, scores, scores_and_gradient
from ..registry import Attribution, choice, register, whole_number
from .steps import RULES, Refinement, allotted_points, path_points

STEPS = ("uniform", "nonuniform", "adaptive")
# Equal intervals on which the change of the explained number is looked at before steps are allotted.
N_INTERVALS = 8
# Points that an adaptive sum begins with.
N_BEGIN = 5


@register(
    "integrated_gradients",
    family="paths",
    cost="n_steps forward and backward (adaptive: at most), 2 forward for the residual; nonuniform: 9 more forward",
    citation="Sundararajan, Taly and Yan 2017, arXiv 1703.01365",
)
def integrated_gradients(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    steps: str = "uniform",
    rule: str = "left",
    n_steps: int = 100,
    tolerance: float = 0.01,
    start: str = "logit",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    batch_size: int = 1,
) -> Attribution:
    """Return the scan minus its baseline, times the mean gradient on the straight way between them.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        Where the way begins. Zero is `zero_intensity`, absent tissue, or else the number zero; the control
        mean is a healthy head.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    steps : {"uniform", "nonuniform", "adaptive"}
        Even steps; more of them where the explained number changes more (Bhat and Raychowdhury 2023, arXiv
        2302.11107); or a trapezoid sum that is refined where it misses the rise of the explained number, until
        the misses together are below `tolerance` or `n_steps` gradients were taken. Adaptive steps keep the
        gradients of one scan in memory.
    rule : {"left", "right", "middle", "trapezoid", "gauss_legendre"}
        Riemann sum of uniform and nonuniform steps, which the published studies take on the left, or the points and
        weights of Gauss and Legendre.
    n_steps : int
        Gradients on the way.
    tolerance : float
        Largest miss of adaptive steps, as a share of f(scan) - f(baseline).
    start : {"logit", "probability", "value"}
        What is differentiated.
    control_mean : Tensor, shape (C, *S), optional
        Mean training scan of the controls, for ``baseline="control_mean"``.
    zero_intensity : Tensor, shape (B, C, *S), optional
        What the intensity zero became in each normalised scan, for ``baseline="zero"``.
    batch_size : int
        Points of any scan and step in one pass; memory does not grow with uniform and nonuniform steps.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)).

    Raises
    ------
    ConfigError
        An unknown baseline, kind of steps or rule, or too few steps.
    """
    choice(rule, RULES, "rule")
    if not tolerance > 0:
        raise ConfigError(f"The tolerance is {tolerance}.", field="tolerance", remedy="Use a number above 0.")
    begin = channels_last(model, baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma))
    difference = channels_last(model, inputs) - begin
    if choice(steps, STEPS, "steps") == "adaptive":
        whole_number(n_steps, N_BEGIN, "n_steps")
        return adaptive(model, begin, difference, target, start, n_steps, tolerance, batch_size)
    if steps == "uniform":
        points, weights = (each.expand(len(inputs), -1) for each in path_points(n_steps, rule))
    else:
        whole_number(n_steps, N_INTERVALS * (2 if rule == "trapezoid" else 1), "n_steps")
        points, weights = nonuniform_points(model, begin, difference, target, start, n_steps, rule, batch_size)
    maps = gradient_sum(model, begin, difference, target, start, points, weights, batch_size).mul_(difference)
    rise = scores(model, begin + difference, target, start, batch_size).double()
    rise -= scores(model, begin, target, start, batch_size).double()
    return Attribution.promising(maps, rise)


def gradient_sum(
    model: nn.Module,
    begin: torch.Tensor,
    difference: torch.Tensor,
    target: torch.Tensor | None,
    start: str,
    points: torch.Tensor,
    weights: torch.Tensor,
    batch_size: int,
) -> torch.Tensor:
    """Return the weighted sum of the gradients on each scan's way, shape (B, C, *S).

    Parameters
    ----------
    begin, difference : Tensor, shape (B, C, *S)
        Baseline, and scan minus baseline.
    points, weights : Tensor, shape (B, n_steps)
        Positions on the way and what each gradient counts.
    """
    total = torch.zeros_like(difference)
    for scans, steps in pairs(len(begin), points.shape[1], batch_size):
        places = begin[scans] + column(points[scans, steps], begin) * difference[scans]
        gradient = input_gradient(model, places, of_scans(target, scans), start)
        gradient *= column(weights[scans, steps], begin)
        total.index_add_(0, scans.to(begin.device), gradient)
    return total


def nonuniform_points(
    model: nn.Module,
    begin: torch.Tensor,
    difference: torch.Tensor,
    target: torch.Tensor | None,
    start: str,
    n_steps: int,
    rule: str,
    batch_size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions and weights of each scan's steps, both (B, n_steps), after a look along the way."""
    looks = torch.linspace(0, 1, N_INTERVALS + 1, dtype=torch.float64)
    values = torch.empty(len(begin), len(looks), dtype=torch.float64)
    for scans, steps in pairs(len(begin), len(looks), batch_size):
        places = begin[scans] + column(looks[steps], begin) * difference[scans]
        values[scans, steps] = scores(model, places, of_scans(target, scans), start, batch_size).double().cpu()
    allotted = [allotted_points(row, n_steps, rule) for row in values]
    return torch.stack([points for points, _ in allotted]), torch.stack([weights for _, weights in allotted])


def adaptive(
    model: nn.Module,
    begin: torch.Tensor,
    difference: torch.Tensor,
    target: torch.Tensor | None,
    start: str,
    n_steps: int,
    tolerance: float,
    batch_size: int,
) -> Attribution:
    """Return the maps of adaptive steps, scan by scan."""
    maps, residuals = torch.empty_like(difference), []
    for scan in range(len(begin)):
        refinement = Refinement(N_BEGIN)
        gradients: list[torch.Tensor] = []
        while True:
            told = []
            for points in refinement.new.split(batch_size):
                places = begin[scan] + column(points, begin) * difference[scan]
                classes = None if target is None else target[scan].expand(len(points))
                values, gradient = scores_and_gradient(model, places, classes, start)
                slopes = (gradient.double() * difference[scan]).flatten(1).sum(1)
                told.append(torch.stack([values.double().cpu(), slopes.cpu()]))
                gradients += gradient.unbind()
            order = refinement.tell(*torch.cat(told, 1))
            gradients = [gradients[position] for position in order.tolist()]
            if not refinement.refine(n_steps - len(gradients), tolerance):
                break
        total = torch.zeros_like(difference[scan])
        for weight, one in zip(refinement.weights().tolist(), gradients, strict=True):
            total.add_(one, alpha=weight)
        maps[scan] = total * difference[scan]
        residuals.append(maps[scan].double().sum().cpu() - (refinement.values[-1] - refinement.values[0]))
    return Attribution(maps, torch.stack(residuals))
