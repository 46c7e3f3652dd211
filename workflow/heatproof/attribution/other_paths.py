"""Path methods that depart from integrated gradients: importance by the rise of each step, and a path of blurs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ..errors import ConfigError
from .baselines import baseline_scans
from .batches import pairs
from .isolation import channels_last
from .passes import column, of_scans, scores, scores_and_gradient
from .path_steps import check_steps
from .registry import Attribution, choice, register
from .smoothing import gaussian_smooth

SPACINGS = ("linear", "square_root")


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
        See `paths.integrated_gradients`.
    n_steps : int
        Steps on the way.
    start : {"logit", "probability"}
        What is differentiated; the paper explains the probability.
    batch_size : int
        Points in one pass.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(baseline)); a step with no gradient at its
        beginning hands out nothing.
    """
    check_steps(n_steps, 1)
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
    return Attribution(maps, maps.double().flatten(1).sum(1) - rise)


def squared_shares(gradient: torch.Tensor) -> torch.Tensor:
    """Return each voxel's share in the squared length of a gradient, shape (B, C, *S); zero where there is none."""
    # Scaled first, as squares of small gradients would vanish in single precision.
    largest = gradient.flatten(1).abs().amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
    squares = (gradient / column(largest, gradient)).square_()
    return squares / column(squares.flatten(1).sum(1).clamp(min=torch.finfo(squares.dtype).tiny), squares)


@register(
    "blur_ig",
    family="paths",
    cost="n_steps forward and backward, 2 forward for the residual",
    citation="Xu, Venugopalan and Sundararajan 2020, arXiv 2004.03383",
)
def blur_ig(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    max_sigma: float | None = None,
    n_steps: int = 50,
    spacing: str = "linear",
    start: str = "logit",
    batch_size: int = 1,
) -> Attribution:
    """Return the gradients along the way from a blurred scan to the sharp one.

    Each step goes from a blur to the next sharper one; its gradient is taken in the middle between the two.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    max_sigma : float, optional
        Standard deviation in voxels of the strongest blur; by default a quarter of the longest axis (the paper
        uses 50 pixels for images of 224). Outside the grid the edge value continues.
    n_steps : int
        Steps on the way.
    spacing : {"linear", "square_root"}
        Even steps of the standard deviation, or of the variance.
    start : {"logit", "probability"}
        What is differentiated.
    batch_size : int
        Points in one pass; memory does not grow with `n_steps`.

    Returns
    -------
    Attribution
        Maps (B, C, *S); residual = sum of the map - (f(scan) - f(strongest blur)).

    Raises
    ------
    ConfigError
        Too few steps, an unknown spacing, or no blur.
    """
    check_steps(n_steps, 1)
    strongest = max(inputs.shape[2:]) / 4 if max_sigma is None else max_sigma
    if not strongest > 0:
        raise ConfigError(f"The strongest blur is {strongest}.", field="max_sigma", remedy="Use a number above 0.")
    places = torch.arange(n_steps, -1, -1, dtype=torch.float64) / n_steps
    sigmas = strongest * (places if choice(spacing, SPACINGS, "spacing") == "linear" else places.sqrt())
    maps = torch.zeros_like(inputs)
    for scans, middles, chords in blur_steps(inputs, sigmas.tolist(), batch_size):
        gradient = scores_and_gradient(model, middles, of_scans(target, scans), start)[1]
        maps.index_add_(0, scans.to(inputs.device), gradient * chords)
    rise = scores(model, inputs, target, start, batch_size).double()
    rise -= scores(model, gaussian_smooth(inputs, strongest), target, start, batch_size).double()
    return Attribution(maps, maps.double().flatten(1).sum(1) - rise)


def blur_steps(
    inputs: torch.Tensor, sigmas: list[float], batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield batches of steps from blur to blur: which scan, its middle and its chord, (b,), (b, C, *S) twice.

    Parameters
    ----------
    inputs : Tensor, shape (B, C, *S)
    sigmas : list of float
        Standard deviations of the blurs, falling to 0.
    batch_size : int
        Most steps in a batch.
    """
    owners: list[int] = []
    middles: list[torch.Tensor] = []
    chords: list[torch.Tensor] = []
    for scan in range(len(inputs)):
        blurred = gaussian_smooth(inputs[scan : scan + 1], sigmas[0])
        for sigma in sigmas[1:]:
            sharper = gaussian_smooth(inputs[scan : scan + 1], sigma)
            owners.append(scan)
            middles.append((blurred + sharper) / 2)
            chords.append(sharper - blurred)
            blurred = sharper
            if len(owners) == batch_size:
                yield torch.tensor(owners), torch.cat(middles), torch.cat(chords)
                owners, middles, chords = [], [], []
    if owners:
        yield torch.tensor(owners), torch.cat(middles), torch.cat(chords)
