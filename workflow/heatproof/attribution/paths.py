"""Path methods: gradients summed along the way from a baseline to the scan."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import ConfigError
from .gradients import input_gradient
from .isolation import channels_last, run
from .registry import Attribution, choice, register
from .smoothing import gaussian_smooth
from .targets import start_values

RULES = ("left", "right", "middle", "trapezoid")
BASELINES = ("zero", "control_mean", "blurred")


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


def baseline_scans(
    inputs: torch.Tensor,
    baseline: str | torch.Tensor,
    control_mean: torch.Tensor | None,
    zero_intensity: torch.Tensor | None,
    blur_sigma: float,
) -> torch.Tensor:
    """Return the baseline of each scan, shape of the scans.

    Raises
    ------
    ConfigError
        An unknown baseline, a control mean that was not passed, or an array on another grid.
    """
    if isinstance(baseline, str) and choice(baseline, BASELINES, "baseline") == "control_mean":
        if control_mean is None:
            raise ConfigError(
                "The baseline control_mean needs the mean training scan of the controls.",
                field="baseline",
                remedy="Pass control_mean=, shape (C, *S).",
            )
        baseline = control_mean
    if isinstance(baseline, torch.Tensor):
        shape = tuple(inputs.shape[1:])
        if tuple(baseline.shape) not in (shape, (1, *shape)):
            raise ConfigError(
                f"The baseline has shape {tuple(baseline.shape)}, a scan {shape}.",
                field="baseline",
                remedy="Bring the baseline onto the scans' grid.",
            )
        return baseline.detach().to(inputs).expand_as(inputs)
    if baseline == "blurred":
        return gaussian_smooth(inputs, blur_sigma)
    if zero_intensity is None:
        return torch.zeros_like(inputs)
    if zero_intensity.shape != inputs.shape:
        raise ConfigError(
            f"The zero intensity has shape {tuple(zero_intensity.shape)}, the scans {tuple(inputs.shape)}.",
            field="zero_intensity",
            remedy="Pass one per scan, on the scans' grid.",
        )
    return zero_intensity.detach().to(inputs)


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
    pairs = torch.cartesian_prod(torch.arange(len(inputs)), torch.arange(n_steps))
    for scans, steps in (chunk.unbind(1) for chunk in pairs.split(batch_size)):
        column = (-1, *[1] * (inputs.ndim - 1))
        points = begin[scans] + positions[steps].to(inputs).reshape(column) * difference[scans]
        gradient = input_gradient(model, points, None if target is None else target[scans], start)
        gradient *= weights[steps].to(inputs).reshape(column)
        mean_gradient.index_add_(0, scans.to(inputs.device), gradient)
    maps = mean_gradient.mul_(difference)
    with torch.no_grad():
        rise = [
            start_values(run(model, ends), classes, start)
            for points in (begin + difference, begin)
            for ends, classes in split_with_target(points, target, batch_size)
        ]
    at_scan, at_baseline = torch.cat(rise).double().chunk(2)
    return Attribution(maps, maps.double().flatten(1).sum(1) - (at_scan - at_baseline))


def split_with_target(
    points: torch.Tensor, target: torch.Tensor | None, batch_size: int
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Return consecutive batches of points, each with its class indices."""
    parts = points.split(batch_size)
    if target is None:
        return [(part, None) for part in parts]
    return list(zip(parts, target.split(batch_size), strict=True))
