"""Blur integrated gradients: the way from a blurred scan to the sharp one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ...errors import ConfigError
from ..passes import of_scans, scores, scores_and_gradient
from ..registry import Attribution, choice, register, whole_number
from ..smoothing import gaussian_smooth

SPACINGS = ("linear", "square_root")


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
    start : {"logit", "probability", "value"}
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
    whole_number(n_steps, 1, "n_steps")
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
    return Attribution.promising(maps, rise)


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
