"""SmoothGrad of integrated gradients: the mean of the maps of noisy copies of a scan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..baselines import baseline_scans
from ..passes import column
from ..registry import Attribution, register
from ..sampling import checked_samples, noise_deviation
from ..streams import normal
from .straight import integrated_gradients


@register(
    "smoothgrad_ig",
    family="paths",
    cost="n_samples times integrated gradients",
    citation="Smilkov et al. 2017, arXiv 1706.03825, on Sundararajan et al. 2017, arXiv 1703.01365",
)
def smoothgrad_ig(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int = 25,
    noise_level: float = 0.1,
    n_steps: int = 25,
    rule: str = "left",
    baseline: str | torch.Tensor = "zero",
    blur_sigma: float = 4.0,
    start: str = "logit",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> Attribution:
    """Return the mean integrated gradients of noisy copies of the scan.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    n_samples : int
        Noisy copies.
    noise_level : float
        Standard deviation of the noise as a share of the scan's largest minus its least value.
    n_steps, rule, baseline, blur_sigma, start, control_mean, zero_intensity, batch_size
        See `paths.straight.integrated_gradients`. The baseline itself has no noise.
    seed, scan_keys
        Keys of the random streams.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = mean over the copies of sum of the map - (f(copy) - f(baseline)).
    """
    checked_samples(n_samples, noise_level)
    deviation = column(noise_deviation(inputs, noise_level), inputs)
    begin = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    maps = torch.zeros_like(inputs)
    residual = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    for sample in range(n_samples):
        one = integrated_gradients(
            model,
            inputs + deviation * normal(inputs, seed, "smoothgrad_ig", scan_keys, sample),
            target,
            baseline="zero",
            zero_intensity=begin,
            rule=rule,
            n_steps=n_steps,
            start=start,
            batch_size=batch_size,
        )
        maps.add_(one.maps, alpha=1 / n_samples)
        residual.add_(one.residual.to(residual), alpha=1 / n_samples)
    return Attribution(maps, residual)
