"""Expected gradients and Gradient SHAP: gradients at random points between a scan and its baselines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..baselines import background_scans, baseline_scans
from ..batches import pairs
from ..passes import column, input_gradient, of_scans, scores
from ..registry import Attribution, choice, register
from ..sampling import checked_samples, noise_deviation
from ..streams import normal_of_copies, stream

BASELINES = ("training", "zero", "control_mean", "blurred")
POSITIONS = ("stratified", "random")


@register(
    "expected_gradients",
    family="sampling",
    cost="n_samples forward and backward, and forward passes of the scan and its baselines for the residual",
    citation="Erion et al. 2021, doi 10.1038/s42256-021-00343-w; Lundberg and Lee 2017, arXiv 1705.07874",
)
def expected_gradients(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str = "training",
    blur_sigma: float = 4.0,
    n_samples: int = 50,
    noise_level: float = 0.0,
    positions: str = "stratified",
    start: str = "logit",
    background: torch.Tensor | None = None,
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    seed: int,
    scan_keys: Sequence[object],
    batch_size: int,
) -> Attribution:
    """Return the mean of (scan - baseline) times the gradient at a random point between the two.

    With training scans as baselines these are expected gradients; with noise on the scan, Gradient SHAP.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"training", "zero", "control_mean", "blurred"}
        Where the way begins: at a training scan drawn anew for every sample, or at the baseline that
        integrated gradients know.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    n_samples : int
        Random points.
    noise_level : float
        Standard deviation of noise on the scan, as a share of its largest minus its least value.
    positions : {"stratified", "random"}
        One random point in each of `n_samples` equal parts of the way, which leaves the mean as it is and lowers its
        variance, or each anywhere on it, as published.
    start : {"logit", "probability", "value"}
        What is differentiated.
    background : Tensor, shape (N, C, *S), optional
        Training scans, for ``baseline="training"``.
    control_mean, zero_intensity
        See `paths.straight.integrated_gradients`.
    seed, scan_keys
        Keys of the random streams.
    batch_size : int
        Points in one pass.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - mean f(baseline) over those drawn).

    Raises
    ------
    ConfigError
        An unknown baseline or kind of positions, or a baseline whose arrays were not passed.
    """
    checked_samples(n_samples, noise_level)
    from_training = choice(baseline, BASELINES, "baseline") == "training"
    if from_training:
        begin = background_scans(inputs, background)
    else:
        begin = baseline_scans(inputs, baseline, control_mean, zero_intensity, blur_sigma)
    drawn, places = random_points(len(begin), n_samples, choice(positions, POSITIONS, "positions"), seed, scan_keys)
    if not from_training:
        drawn = torch.arange(len(inputs))[:, None].expand(-1, n_samples)
    deviation = noise_deviation(inputs, noise_level)
    maps = torch.zeros_like(inputs)
    for scans, samples in pairs(len(inputs), n_samples, batch_size):
        ends = inputs[scans]
        if noise_level:
            noise = normal_of_copies(inputs, seed, "expected_gradients", scan_keys, scans, samples)
            ends = ends + column(deviation[scans], inputs) * noise
        begins = begin[drawn[scans, samples]]
        points = begins + column(places[scans, samples], inputs) * (ends - begins)
        gradient = input_gradient(model, points, of_scans(target, scans), start)
        maps.index_add_(0, scans.to(inputs.device), gradient.mul_(ends - begins), alpha=1 / n_samples)
    return Attribution.promising(maps, rise(model, inputs, begin, drawn, target, start, batch_size))


def random_points(
    n_background: int, n_samples: int, positions: str, seed: int, scan_keys: Sequence[object]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each scan and sample a baseline's index and a position on the way, both (B, n_samples)."""
    drawn, places = [], []
    for key in scan_keys:
        random = stream(seed, "expected_gradients", key)
        drawn.append(torch.randint(n_background, (n_samples,), generator=random))
        inside = torch.rand(n_samples, generator=random, dtype=torch.float64)
        places.append((torch.arange(n_samples) + inside) / n_samples if positions == "stratified" else inside)
    return torch.stack(drawn), torch.stack(places)


def rise(
    model: nn.Module,
    inputs: torch.Tensor,
    begin: torch.Tensor,
    drawn: torch.Tensor,
    target: torch.Tensor | None,
    start: str,
    batch_size: int,
) -> torch.Tensor:
    """Return the explained number of each scan minus its mean over the scan's drawn baselines, shape (B,)."""
    at_scans = scores(model, inputs, target, start, batch_size).double()
    at_baselines = torch.zeros_like(at_scans)
    for scan in range(len(inputs)):
        used, counts = drawn[scan].unique(return_counts=True)
        classes = None if target is None else target[scan].expand(len(used))
        values = scores(model, begin[used], classes, start, batch_size).double()
        at_baselines[scan] = (values * counts.to(values)).sum() / counts.sum()
    return at_scans - at_baselines
