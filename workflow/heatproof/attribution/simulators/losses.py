"""What a simulator is fitted to: the network's answer moves, the way back exists, and the warp is smooth."""

from __future__ import annotations

import torch
from torch.nn import functional

from .warps import differences


def margin_loss(
    before: torch.Tensor, after: torch.Tensor, option: torch.Tensor, margin: torch.Tensor | float
) -> torch.Tensor:
    """Return how far the network's answers fall short of the margin, on average.

    As published, the mean of relu((before - after) * option + margin): zero once every answer has moved by the
    margin in the direction of its option.

    Parameters
    ----------
    before, after : Tensor, shape (B,)
        Answers of the network to the scans and to the changed scans.
    option : Tensor, shape (B,)
        1 injects the pattern, -1 removes it. A dose between scales the move, so give the sign here and scale
        the margin where a dose asks for less of it.
    margin : float or Tensor, shape (B,)
        The least move, in the unit of the answers.
    """
    return functional.relu((before - after) * option + margin).mean()


def cycle_loss(inputs: torch.Tensor, returned: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference between scans and the scans that were changed and changed back."""
    return functional.mse_loss(returned, inputs)


def gradient_loss(displacement: torch.Tensor, power: int = 1) -> torch.Tensor:
    """Return the mean of |derivative|^power over components, axes and neighbouring voxels.

    Parameters
    ----------
    displacement : Tensor, shape (B, axes, *S)
        A warp, or any field (B, C, *S).
    power : {1, 2}
        As published 1; 2 shuns large steps more.
    """
    steps = [field.abs().pow(power).mean() for field in _steps(displacement)]
    return torch.stack(steps).mean()


def bending_loss(displacement: torch.Tensor) -> torch.Tensor:
    """Return the mean bending energy: all squared second derivatives, the mixed ones twice (Rueckert et al. 1999).

    Zero for a linear field: scaling, rotating and shearing cost nothing.

    Parameters
    ----------
    displacement : Tensor, shape (B, axes, *S)
        A warp, or any field (B, C, *S). Axes of fewer than three voxels do not bend.
    """
    axes = displacement.dim() - 2
    energy = displacement.new_zeros(())
    for first in range(axes):
        if displacement.shape[first + 2] >= 3:
            energy = energy + displacement.diff(n=2, dim=first + 2).square().mean()
        for second in range(first + 1, axes):
            mixed = differences(differences(displacement, first), second)
            energy = energy + 2 * mixed.square().mean()
    return energy


def _steps(field: torch.Tensor) -> list[torch.Tensor]:
    return [field.diff(dim=axis) for axis in range(2, field.dim()) if field.shape[axis] > 1]
