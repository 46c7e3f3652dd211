"""XRAI: whole segments of a scan, ranked by the attribution they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...errors import ConfigError, UnsupportedModelError
from ..baselines import BASELINES
from ..passes import column
from ..paths.straight import integrated_gradients
from ..registry import Attribution, choice, register
from .growing import grown_by_gain, grown_in_order
from .segments import scan_segments
from .settings import Settings, checked_settings

BLACK_AND_WHITE = "black_and_white"


@register(
    "xrai",
    family="regions",
    cost="n_steps forward and backward (black_and_white: twice), and 2 forward; segmentation and ranking of segments",
    citation="Kapishnikov, Bolukbasi, Viegas and Terry 2019, arXiv 1906.02825",
)
def xrai(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    baseline: str | torch.Tensor = BLACK_AND_WHITE,
    blur_sigma: float = 4.0,
    n_steps: int = 100,
    base: torch.Tensor | None = None,
    channels: str | None = None,
    segmentation: str | None = None,
    levels: Sequence[float] | None = None,
    dilation_radius: int | None = None,
    algorithm: str = "full",
    area_threshold: float = 1.0,
    min_pixel_diff: int | None = None,
    start: str = "logit",
    control_mean: torch.Tensor | None = None,
    zero_intensity: torch.Tensor | None = None,
    batch_size: int = 1,
) -> Attribution:
    """Return the density of integrated gradients in the segments of the scan, taken one by one, densest first.

    Segments are signed: one that speaks against the class is negative. Where a default is null, images (two
    axes) have the numbers of the reference implementation (PAIR saliency 0.2.1) and signals and volumes their
    own. Nothing is random.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    baseline : {"black_and_white", "zero", "control_mean", "blurred"} or Tensor (C, *S) or (1, C, *S)
        Where the ways of integrated gradients begin. Black and white is the mean of two maps, from the scan's
        least and from its largest value everywhere; the others are those of integrated gradients.
    blur_sigma : float
        Standard deviation in voxels of the Gaussian that makes the blurred baseline.
    n_steps : int
        Gradients on each way (middle rule).
    base : Tensor, shape (B, C, *S), (B, 1, *S), (1, C, *S) or (1, 1, *S), optional
        The map to rank segments by, in place of integrated gradients; one per scan of the batch or one for all.
    channels : {"maximum", "sum"}, optional
        How a voxel's attribution follows from its channels. The maximum forgets what speaks against the class
        in one channel where another speaks for it. By default maximum in images, sum elsewhere.
    segmentation : {"felzenszwalb", "slic"}, optional
        Graph-based segments (of images at 224 x 224) or supervoxels, after smoothing by .8 voxels. By default
        slic in volumes, where graph-based segments leak (one holds most of a brain), else felzenszwalb. All
        channels are features. Their values, over all channels together, are first brought to one range, so that
        a normalised (z-scored) scan has the segments of the raw one.
    levels : list of numbers, optional
        Scales of felzenszwalb (50, 100, 150, 250, 500, 1200; in signals 5, 15, 50, 150, 500, 1200) or numbers of
        supervoxels (50, 100, 200, 400, 800). Segments of all levels compete.
    dilation_radius : int, optional
        How far segments reach beyond their edge, in voxels; 5 in images, else 1.
    algorithm : {"full", "fast"}
        Take segments by the density of what they add to those before, or in the order of their own density.
    area_threshold : float
        Share of the scan after which no more segments are taken; the rest has its mean. Full only.
    min_pixel_diff : int, optional
        Segments that add fewer voxels are dropped; 50 in images, else one in 3000 of the grid (at least 1).
    start : {"logit", "probability", "value"}
        What is differentiated.
    control_mean : Tensor, shape (C, *S), optional
        Mean training scan of the controls, for ``baseline="control_mean"``.
    zero_intensity : Tensor, shape (B, C, *S), optional
        What the intensity zero became in each normalised scan, for ``baseline="zero"``.
    batch_size : int
        Points of any scan and step in one pass.

    Returns
    -------
    Attribution
        Maps (B, 1, *S); residual = sum of the map - (f(scan) - f(baseline)), the mean of both baselines, or
        minus the sum of `base`; NaN where several channels were reduced to their maximum.

    Raises
    ------
    ConfigError
        A parameter out of its range, or a base map on another grid.
    UnsupportedModelError
        The network's gradients are not finite.
    """
    settings = checked_settings(
        inputs.ndim - 2,
        inputs[0, 0].numel(),
        channels,
        segmentation,
        levels,
        dilation_radius,
        algorithm,
        area_threshold,
        min_pixel_diff,
    )
    if base is None:
        options = {"blur_sigma": blur_sigma, "n_steps": n_steps, "start": start, "batch_size": batch_size}
        attribution = path_maps(model, inputs, target, baseline, control_mean, zero_intensity, options)
        if not bool(torch.isfinite(attribution.maps).all()):
            raise UnsupportedModelError(
                "The integrated gradients of a scan are not finite, so segments have no order.",
                field=type(model).__name__,
                remedy="Look for divisions, logarithms or overflow in the network.",
            )
    else:
        attribution = Attribution(checked_base(base, inputs), torch.zeros(len(inputs)))
    maps = torch.stack(
        [region_map(scan, one, settings) for scan, one in zip(inputs, attribution.maps, strict=True)]
    ).to(attribution.maps.device)
    promised = attribution.maps.double().flatten(1).sum(1) - attribution.residual.to(maps)
    residual = maps.flatten(1).sum(1) - promised
    if settings.channels == "maximum" and attribution.maps.shape[1] > 1:
        residual = torch.full_like(residual, torch.nan)
    return Attribution(maps, residual)


def path_maps(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    baseline: str | torch.Tensor,
    control_mean: torch.Tensor | None,
    zero_intensity: torch.Tensor | None,
    options: Mapping[str, Any],
) -> Attribution:
    """Return integrated gradients, or for black and white the mean of two, with the mean residual."""
    zeros = [zero_intensity]
    if isinstance(baseline, str) and choice(baseline, (BLACK_AND_WHITE, *BASELINES), "baseline") == BLACK_AND_WHITE:
        flat = inputs.flatten(1)
        # the one baseline that may differ between scans is what the intensity zero became in each
        baseline, zeros = "zero", [column(end, inputs).expand_as(inputs) for end in (flat.amin(1), flat.amax(1))]
    ways = [
        integrated_gradients(
            model,
            inputs,
            target,
            baseline=baseline,
            rule="middle",
            control_mean=control_mean,
            zero_intensity=zero,
            **options,
        )
        for zero in zeros
    ]
    return Attribution(
        torch.stack([way.maps for way in ways]).mean(0), torch.stack([way.residual for way in ways]).mean(0)
    )


def checked_base(base: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return one map per scan, shape (B, C or 1, *S).

    Raises
    ------
    ConfigError
        The maps are on another grid, not as many as the scans, or not finite.
    """
    if (
        not isinstance(base, torch.Tensor)
        or base.ndim != inputs.ndim
        or base.shape[2:] != inputs.shape[2:]
        or base.shape[0] not in (1, len(inputs))
        or base.shape[1] not in (1, inputs.shape[1])
        or not bool(torch.isfinite(base).all())
    ):
        shape = tuple(base.shape) if isinstance(base, torch.Tensor) else type(base).__name__
        raise ConfigError(
            f"The base map is {shape}, the scans of this batch are {tuple(inputs.shape)}.",
            field="base",
            remedy="Pass finite maps on the scans' grid, one for all scans, or one per scan and the number of scans "
            "as batch_size.",
        )
    return base.detach().to(inputs.device).expand(len(inputs), *base.shape[1:])


def region_map(scan: torch.Tensor, base: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Return the map of one scan in double precision, shape (1, *S), computed on the CPU.

    Parameters
    ----------
    scan : Tensor, shape (C, *S)
    base : Tensor, shape (C, *S) or (1, *S)
        The attribution that segments are ranked by.
    settings : Settings
    """
    values = base.double().cpu()
    values = values.amax(0) if settings.channels == "maximum" else values.sum(0)
    # segments are those of the scan as it is: in double precision edges of one cost would come in another order
    plain = scan if scan.dtype in (torch.float32, torch.float64) else scan.float()
    segments = scan_segments(plain.cpu().numpy(), settings.segmentation, settings.levels, settings.dilation_radius)
    attribution = values.flatten().numpy()
    if settings.algorithm == "full":
        grown = grown_by_gain(attribution, segments, settings.min_pixel_diff, settings.area_threshold)
    else:
        grown = grown_in_order(attribution, segments, settings.min_pixel_diff)
    return torch.from_numpy(grown).reshape(1, *scan.shape[1:])
