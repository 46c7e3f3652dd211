"""IDGI: the rise of every step, shared out by the squared gradient (important direction gradient integration)."""

from __future__ import annotations

import torch
from torch import nn

from ..baselines import baseline_scans
from ..batches import pairs
from ..isolation import channels_last
from ..passes import column, of_scans, scores_and_gradient
from ..registry import Attribution, register, whole_number


@register(
    "idgi",
    family="paths",
    cost="n_steps + 1 forward and backward",
    citation="Yang, Wang and Bilgic 2023, arXiv 2303.14242",
)
def idgi(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    n_steps: int = 50,
    start: str = "probability",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    batch_size: int = 1,
) -> Attribution:
    """Return the rise of every step on the straight way, shared out by the squared gradient at its beginning.

    Voxel v gets the sum over the steps of g_v^2 / (g . g) times the rise of the explained number: only the
    direction of the gradient counts, so the map sums to f(scan) - f(baseline) with any number of steps.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline, blur_sigma, control_mean, zero_intensity
        See `paths.straight.integrated_gradients`.
    n_steps : int
        Steps on the way.
    start : {"logit", "probability", "value"}
        What is differentiated; the paper explains the probability.
    batch_size : int
        Points in one pass.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)); a step with no gradient at its
        beginning hands out nothing.
    """
    whole_number(n_steps, 1, "n_steps")
    begin = channels_last(model, baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma))
    difference = channels_last(model, inputs) - begin
    positions = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    maps = torch.zeros_like(difference)
    rise = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    # The last point of a batch waits for the next one: a step needs the explained number at both its ends.
    values, shares, owners = difference.new_empty(0), difference[:0], torch.empty(0, dtype=torch.long)
    for scans, steps in pairs(len(inputs), n_steps + 1, batch_size):
        places = begin[scans] + column(positions[steps], inputs) * difference[scans]
        more_values, gradient = scores_and_gradient(model, places, of_scans(target, scans), start)
        values, owners = torch.cat([values, more_values]), torch.cat([owners, scans])
        shares = torch.cat([shares, squared_shares(gradient)])
        is_step = (owners[1:] == owners[:-1]).to(values.device)  # the end of a scan's way begins no step
        rows, rises = owners[:-1].to(inputs.device), values.double().diff() * is_step
        maps.index_add_(0, rows, shares[:-1] * column(rises, shares))
        rise.index_add_(0, rows, rises)
        values, shares, owners = values[-1:], shares[-1:], owners[-1:]
    return Attribution.promising(maps, rise)


def squared_shares(gradient: torch.Tensor) -> torch.Tensor:
    """Return each voxel's share in the squared length of a gradient, shape (B, C, *S); zero where there is none."""
    # Scaled first, as squares of small gradients would vanish in single precision.
    largest = gradient.flatten(1).abs().amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
    squares = (gradient / column(largest, gradient)).square_()
    return squares / column(squares.flatten(1).sum(1).clamp(min=torch.finfo(squares.dtype).tiny), squares)
