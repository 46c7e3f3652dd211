"""Maps of a linear classifier: its weights, and the activation pattern that belongs to them."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import UnsupportedModelError
from .registry import register


def linear_map(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, name: str, output: str
) -> torch.Tensor:
    """Return one array of a linear model for each scan, shape of the scans, signed towards the scan's class.

    Raises
    ------
    UnsupportedModelError
        The model has no such array on the scans' grid.
    """
    array = getattr(model, name, None)
    shape = tuple(inputs.shape[1:])
    if not isinstance(array, torch.Tensor) or tuple(array.shape) != shape:
        found = tuple(array.shape) if isinstance(array, torch.Tensor) else "none"
        raise UnsupportedModelError(
            f"The model's {name} has shape {found}, a scan {shape}.",
            field=type(model).__name__,
            remedy="Explain a linear SVM of this grid (heatproof.models), or use a method for networks.",
        )
    sign = torch.ones(len(inputs), dtype=inputs.dtype, device=inputs.device)
    if target is not None and output == "class":
        sign = torch.where(target == 1, sign, -sign)
    return sign.reshape(-1, *[1] * len(shape)) * array.to(inputs)


@register(
    "svm_weights",
    family="patterns",
    cost="none",
    citation="Kloppel et al. 2008, doi 10.1093/brain/awm319; Wang et al., arXiv 2207.11352",
)
def svm_weights(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, output: str) -> torch.Tensor:
    """Return the weights of a linear classifier, the same for every scan, shape (B, C, *S).

    Positive voxels speak for the target: the weights for class 1, their negative for class 0.

    Parameters
    ----------
    model : nn.Module
        With an array ``weight`` of shape (C, *S).
    inputs, target, output
        See `heatproof.attribution.attribute`.

    Raises
    ------
    UnsupportedModelError
        The model is not linear.
    """
    return linear_map(model, inputs, target, "weight", output)


@register(
    "svm_pattern",
    family="patterns",
    cost="none",
    citation="Haufe et al. 2014, doi 10.1016/j.neuroimage.2013.10.067, eq. 6",
)
def svm_pattern(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, output: str) -> torch.Tensor:
    """Return the activation pattern of a linear classifier, the same for every scan, shape (B, C, *S).

    The pattern of voxel v is cov(x_v, s) / var(s) over the training scans, s being the decision value: where
    the signal is, while a weight may only cancel noise.

    Parameters
    ----------
    model : nn.Module
        With an array ``pattern`` of shape (C, *S).
    inputs, target, output
        See `heatproof.attribution.attribute`.

    Raises
    ------
    UnsupportedModelError
        The model is not linear.
    """
    return linear_map(model, inputs, target, "pattern", output)
