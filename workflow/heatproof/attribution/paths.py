"""Path methods: gradients summed along the way from a baseline to the scan."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import ConfigError
from .baselines import baseline_scans
from .batches import pairs
from .isolation import channels_last
from .passes import column, input_gradient, of_scans, scores
from .registry import Attribution, choice, register

RULES = ("left", "right", "middle", "trapezoid")


def path_points(n_steps: int, rule: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where on the path (0 baseline, 1 scan) gradients are taken, and their weights, both (n_steps,).

    The weights sum to one. (Captum 0.9 weights its trapezoid by 1/n, which sums to (n - 1)/n.)

    Raises
    ------
    ConfigError
        Fewer steps than the rule needs.
    """
    least = 2 if rule == "trapezoid" else 1
    if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < least:
        raise ConfigError(f"{n_steps!r} steps are too few.", field="n_steps", remedy=f"Use {least} or more.")
    steps = torch.arange(n_steps, dtype=torch.float64)
    weights = torch.full((n_steps,), 1 / n_steps, dtype=torch.float64)
    if rule == "trapezoid":
        weights = torch.full((n_steps,), 1 / (n_steps - 1), dtype=torch.float64)
        weights[[0, -1]] /= 2
        return steps / (n_steps - 1), weights
    offset = {"left": 0.0, "middle": 0.5, "right": 1.0}[rule]
    return (steps + offset) / n_steps, weights


@register(
    "integrated_gradients",
    family="paths",
    cost="n_steps forward and backward, 2 forward for the residual",
    citation="Sundararajan, Taly and Yan 2017, arXiv 1703.01365",
)
def integrated_gradients(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    rule: str = "left",
    n_steps: int = 100,
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
    rule : {"left", "right", "middle", "trapezoid"}
        Riemann sum; the published studies use left.
    n_steps : int
        Gradients on the way.
    start : {"logit", "probability"}
        What is differentiated.
    control_mean : Tensor, shape (C, *S), optional
        Mean training scan of the controls, for ``baseline="control_mean"``.
    zero_intensity : Tensor, shape (B, C, *S), optional
        What the intensity zero became in each normalised scan, for ``baseline="zero"``.
    batch_size : int
        Points of any scan and step in one pass; memory does not grow with `n_steps`.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)).

    Raises
    ------
    ConfigError
        An unknown baseline or rule, or too few steps.
    """
    positions, weights = path_points(n_steps, choice(rule, RULES, "rule"))
    begin = channels_last(model, baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma))
    difference = channels_last(model, inputs) - begin
    mean_gradient = torch.zeros_like(difference)
    for scans, steps in pairs(len(inputs), n_steps, batch_size):
        points = begin[scans] + column(positions[steps], inputs) * difference[scans]
        gradient = input_gradient(model, points, of_scans(target, scans), start)
        gradient *= column(weights[steps], inputs)
        mean_gradient.index_add_(0, scans.to(inputs.device), gradient)
    maps = mean_gradient.mul_(difference)
    rise = scores(model, begin + difference, target, start, batch_size).double()
    rise -= scores(model, begin, target, start, batch_size).double()
    return Attribution(maps, maps.double().flatten(1).sum(1) - rise)
