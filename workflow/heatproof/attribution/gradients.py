"""Gradient methods: one forward and one backward pass."""

from __future__ import annotations

import torch
from torch import nn

from .registry import register
from .shared import Pass


@register(
    "saliency",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Simonyan, Vedaldi and Zisserman 2014, arXiv 1312.6034",
    shares=("input",),
)
def saliency(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return the signed gradient of the explained number.

    The sign is kept (the original takes the absolute value): whether to rectify, and before or after
    averaging, is a factor of the study and not of the method.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, C, *S)
    """
    return (shared or Pass(model, inputs, target, start)).gradient()


@register(
    "input_x_gradient",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Shrikumar, Greenside, Shcherbina and Kundaje 2016, arXiv 1605.01713",
    shares=("input",),
)
def input_x_gradient(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return the scan times the gradient of the explained number, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.
    """
    return inputs * (shared or Pass(model, inputs, target, start)).gradient()


@register(
    "guided_backprop",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv 1412.6806",
    shares=("input", "rectifiers"),
)
def guided_backprop(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return the gradient that passes a rectifier only where both its input and the gradient are positive.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, C, *S)

    Raises
    ------
    UnsupportedModelError
        The network has no `nn.ReLU`, calls one more than once, or rectifies by a function, which a rule for
        layers would silently miss.
    """
    return (shared or Pass(model, inputs, target, start, rectifiers=True)).gradient("guided")


@register(
    "deconvolution",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Zeiler and Fergus 2014, arXiv 1311.2901",
    shares=("input", "rectifiers"),
)
def deconvolution(
    model: nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor | None,
    *,
    start: str = "logit",
    shared: Pass | None = None,
) -> torch.Tensor:
    """Return the gradient that passes a rectifier wherever it is positive, active or not.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability", "value"}
        What is differentiated.
    shared : Pass, optional
        A forward pass that other methods use too.

    Returns
    -------
    Tensor, shape (B, C, *S)

    Raises
    ------
    UnsupportedModelError
        As `guided_backprop`.
    """
    return (shared or Pass(model, inputs, target, start, rectifiers=True)).gradient("deconvolution")
