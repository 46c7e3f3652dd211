"""Gradient methods: one forward and one backward pass."""

from __future__ import annotations

import torch
from torch import nn

from .isolation import channels_last, run
from .passes import input_gradient
from .rectifiers import guided_rectifiers, refuse_hidden_rectifiers
from .registry import register
from .targets import start_values


@register(
    "saliency",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Simonyan, Vedaldi and Zisserman 2014, arXiv 1312.6034",
)
def saliency(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, start: str = "logit"
) -> torch.Tensor:
    """Return the signed gradient of the explained number.

    The sign is kept (the original takes the absolute value): whether to rectify, and before or after
    averaging, is a factor of the study and not of the method.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability"}
        What is differentiated.

    Returns
    -------
    Tensor, shape (B, C, *S)
    """
    return input_gradient(model, inputs, target, start)


@register(
    "input_x_gradient",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Shrikumar, Greenside, Shcherbina and Kundaje 2016, arXiv 1605.01713",
)
def input_x_gradient(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, start: str = "logit"
) -> torch.Tensor:
    """Return the scan times the gradient of the explained number, shape (B, C, *S).

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability"}
        What is differentiated.
    """
    return inputs * input_gradient(model, inputs, target, start)


@register(
    "guided_backprop",
    family="gradients",
    cost="1 forward, 1 backward",
    citation="Springenberg, Dosovitskiy, Brox and Riedmiller 2015, arXiv 1412.6806",
)
def guided_backprop(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, *, start: str = "logit"
) -> torch.Tensor:
    """Return the gradient that passes a rectifier only where both its input and the gradient are positive.

    Parameters
    ----------
    model, inputs, target
        See `heatproof.attribution.attribute`.
    start : {"logit", "probability"}
        What is differentiated.

    Returns
    -------
    Tensor, shape (B, C, *S)

    Raises
    ------
    UnsupportedModelError
        The network has no `nn.ReLU`, calls one more than once, or rectifies by a function, which a rule for
        layers would silently miss.
    """
    points = channels_last(model, inputs).detach().requires_grad_()
    with torch.enable_grad(), guided_rectifiers(model):
        explained = start_values(run(model, points), target, start).sum()
    refuse_hidden_rectifiers(explained, model)
    return torch.autograd.grad(explained, points)[0]
