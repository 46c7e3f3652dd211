"""Baselines: the scan without the evidence, where a path begins and what an occluded voxel is set to."""

from __future__ import annotations

import torch

from ..errors import ConfigError
from .registry import choice
from .smoothing import gaussian_smooth

BASELINES = ("zero", "control_mean", "blurred")


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
        An unknown baseline, a control mean that was not passed, an array on another grid, or no blur.
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
        if not 0 < blur_sigma < float("inf"):
            raise ConfigError(f"blur_sigma is {blur_sigma}.", field="blur_sigma", remedy="Use a number above 0.")
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


def background_scans(inputs: torch.Tensor, background: torch.Tensor | None) -> torch.Tensor:
    """Return the training scans that stand for the absence of evidence, shape (N, C, *S).

    Raises
    ------
    ConfigError
        None were passed, or they are on another grid.
    """
    if background is None:
        raise ConfigError(
            "The baseline training needs some training scans.",
            field="baseline",
            remedy="Pass background=, shape (N, C, *S).",
        )
    if background.ndim != inputs.ndim or background.shape[1:] != inputs.shape[1:] or not len(background):
        raise ConfigError(
            f"The background has shape {tuple(background.shape)}, the scans {tuple(inputs.shape)}.",
            field="background",
            remedy="Pass at least one training scan, on the scans' grid.",
        )
    return background.detach().to(inputs)
