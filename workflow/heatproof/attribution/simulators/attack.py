"""The adversarial attack that stands beside the simulators: the scan itself climbs the network's gradient.

It moves the answer as far as a simulator does, without having to look like a scan of the other group. Basic
iterative method of Kurakin et al. (2017, arXiv 1607.02533), stopped scan by scan where the margin is reached.
"""

from __future__ import annotations

import torch
from torch import nn

from .answers import answer
from .settings import AttackSettings

# Keeps a scan without any contrast, or a network without a gradient, from a division by zero.
SMALL = 1e-12


def attack(
    network: nn.Module,
    inputs: torch.Tensor,
    option: torch.Tensor,
    target: torch.Tensor | int | None,
    settings: AttackSettings,
    margin: float,
    output: str = "class",
) -> torch.Tensor:
    """Return scans changed until the network's answer has moved far enough.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; its weights need no gradient.
    inputs : Tensor, shape (B, C, *S)
    option : Tensor, shape (B,)
        Up (above 0) or down, and how much of the margin.
    target, output
        See `answers.answer`.
    settings : AttackSettings
    margin : float
        How far the answer has to move for an option of 1 or -1, in its own unit.

    Returns
    -------
    Tensor, shape (B, C, *S)
        No scan depends on its neighbours in the batch. A scan whose margin is not reached within the steps is
        returned as far as it came.
    """
    inputs = inputs.detach()
    size = settings.step * _per_scan(inputs.flatten(1).std(1), inputs)
    changed = inputs.clone()
    with torch.no_grad():
        before = answer(network, inputs, target, output)
    for _ in range(settings.steps):
        with torch.enable_grad():
            points = changed.requires_grad_(True)
            answers = answer(network, points, target, output)
            (gradient,) = torch.autograd.grad(answers.sum(), points)
        is_short = (answers.detach() - before) * option.sign() < margin * option.abs()
        if not bool(is_short.any()):
            break
        along = _per_scan(option.sign() * is_short, inputs) * _direction(gradient, settings.norm)
        changed = (changed + size * along).detach()
    return changed.detach()


def _direction(gradient: torch.Tensor, norm: str) -> torch.Tensor:
    """Return the step along a gradient (B, C, *S) whose root mean square is 1."""
    if norm == "linf":
        return gradient.sign()
    return gradient / _per_scan(gradient.flatten(1).square().mean(1).sqrt() + SMALL, gradient)


def _per_scan(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one number per scan, shape (B,), as (B, 1, ...) to be spread over the scans."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
