"""Forward and backward passes of a private network, in the memory order that is fastest."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from .isolation import channels_last, run
from .targets import start_values


def input_gradient(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, start: str) -> torch.Tensor:
    """Return the gradient of the explained number with respect to each scan, shape of the scans."""
    return scores_and_gradient(model, inputs, target, start)[1]


def scores_and_gradient(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, start: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the explained number of each scan, shape (B,), and its gradient, shape of the scans."""
    points = channels_last(model, inputs).detach().requires_grad_()
    with torch.enable_grad():
        explained = start_values(run(model, points), target, start)
        return explained.detach(), torch.autograd.grad(explained.sum(), points)[0]


def scores(
    model: nn.Module, inputs: torch.Tensor, target: torch.Tensor | None, start: str, batch_size: int
) -> torch.Tensor:
    """Return the explained number of each scan without gradients, shape (B,)."""
    with torch.no_grad():
        return torch.cat(
            [
                start_values(run(model, channels_last(model, part)), classes, start)
                for part, classes in split_with_target(inputs, target, batch_size)
            ]
        )


def split_with_target(
    points: torch.Tensor, target: torch.Tensor | None, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Yield consecutive batches of points, each with its class indices."""
    for first in range(0, len(points), batch_size):
        part = slice(first, first + batch_size)
        yield points[part], None if target is None else target[part]


def of_scans(target: torch.Tensor | None, scans: torch.Tensor) -> torch.Tensor | None:
    """Return the class indices of some scans."""
    return None if target is None else target[scans.to(target.device)]


def column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one number per scan, shape (B,), so that it broadcasts over scans like (B, C, *S)."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
