"""Gradients of noisy copies of a scan: their mean, mean square and variance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import ConfigError
from .batches import pairs
from .passes import column, input_gradient, of_scans
from .registry import register, whole_number
from .streams import normal_of_copies

# One name for the noise of all three methods: they differ in what they make of the same gradients.
NOISE = "smoothgrad"


def checked_samples(n_samples: int, noise_level: float) -> None:
    """Check the number of noisy copies and the share of noise.

    Raises
    ------
    ConfigError
        Fewer than one copy, or less than no noise.
    """
    whole_number(n_samples, 1, "n_samples")
    if not noise_level >= 0:
        raise ConfigError(f"The noise level is {noise_level}.", field="noise_level", remedy="Use 0 or more.")


def noise_deviation(inputs: torch.Tensor, noise_level: float) -> torch.Tensor:
    """Return the standard deviation of each scan's noise, shape (B,): a share of its largest minus its least value."""
    flat = inputs.flatten(1)
    return noise_level * (flat.amax(1) - flat.amin(1))


def gradient_moments(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int,
    noise_level: float,
    start: str,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and mean square of the gradients of noisy copies, both (B, C, *S), in double precision.

    Double precision, because the variance is a small difference of the two.
    """
    checked_samples(n_samples, noise_level)
    deviation = noise_deviation(inputs, noise_level)
    mean, square = (torch.zeros_like(inputs, dtype=torch.float64) for _ in range(2))
    for scans, samples in pairs(len(inputs), n_samples, batch_size):
        noise = normal_of_copies(inputs, seed, NOISE, scan_keys, scans, samples)
        points = inputs[scans] + column(deviation[scans], inputs) * noise
        gradient = input_gradient(model, points, of_scans(target, scans), start).double()
        rows = scans.to(inputs.device)
        mean.index_add_(0, rows, gradient, alpha=1 / n_samples)
        square.index_add_(0, rows, gradient.square_(), alpha=1 / n_samples)
    return mean, square


@register(
    "smoothgrad",
    family="sampling",
    cost="n_samples forward and backward",
    citation="Smilkov et al. 2017, arXiv 1706.03825",
)
def smoothgrad(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int = 25,
    noise_level: float = 0.1,
    start: str = "logit",
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> torch.Tensor:
    """Return the mean gradient of noisy copies of the scan, with its sign, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    n_samples : int
        Noisy copies.
    noise_level : float
        Standard deviation of the noise as a share of the scan's largest minus its least value.
    start : {"logit", "probability", "value"}
        What is differentiated.
    seed, scan_keys
        Keys of the random streams: every copy of every scan has its own.
    batch_size : int
        Copies in one pass.
    """
    return gradient_moments(
        model,
        inputs,
        target,
        n_samples=n_samples,
        noise_level=noise_level,
        start=start,
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
    )[0]


@register(
    "smoothgrad_squared",
    family="sampling",
    cost="n_samples forward and backward",
    citation="Hooker, Erhan, Kindermans and Kim 2019, arXiv 1806.10758",
)
def smoothgrad_squared(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int = 25,
    noise_level: float = 0.1,
    start: str = "logit",
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> torch.Tensor:
    """Return the mean square of the gradients of noisy copies of the scan, shape (B, C, *S).

    Parameters are those of `smoothgrad`. Not negative.
    """
    return gradient_moments(
        model,
        inputs,
        target,
        n_samples=n_samples,
        noise_level=noise_level,
        start=start,
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
    )[1]


@register(
    "vargrad",
    family="sampling",
    cost="n_samples forward and backward",
    citation="Adebayo et al. 2018, arXiv 1810.03307",
)
def vargrad(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    n_samples: int = 25,
    noise_level: float = 0.1,
    start: str = "logit",
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> torch.Tensor:
    """Return the variance (divided by n) of the gradients of noisy copies of the scan, shape (B, C, *S).

    Parameters are those of `smoothgrad`. Not negative.
    """
    mean, square = gradient_moments(
        model,
        inputs,
        target,
        n_samples=n_samples,
        noise_level=noise_level,
        start=start,
        seed=seed,
        scan_keys=scan_keys,
        batch_size=batch_size,
    )
    return (square - mean.square()).clamp(min=0)
