"""Boxes that slide over a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch

from ...errors import ConfigError


def per_axis(value: int | Sequence[int] | None, default: list[int], field: str) -> tuple[int, ...]:
    """Return one positive number per axis.

    Raises
    ------
    ConfigError
        There are not as many as axes, or one is no positive integer.
    """
    several = value if isinstance(value, (list, tuple)) else [value] * len(default)
    numbers = default if value is None else list(several)
    if len(numbers) != len(default) or any(
        isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in numbers
    ):
        raise ConfigError(
            f"{value!r} does not fit a grid of {len(default)} axes.",
            field=field,
            remedy="Use one whole number of voxels of 1 or more, or one per axis.",
        )
    return tuple(numbers)


def check_windows(sizes: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> None:
    """Check that windows lie on the grid and leave no voxel out.

    Raises
    ------
    ConfigError
        They do not.
    """
    if any(length > size for length, size in zip(window, sizes, strict=True)):
        raise ConfigError(
            f"A window of {tuple(window)} voxels is larger than the grid {tuple(sizes)}.",
            field="window",
            remedy="Use at most the size of each axis.",
        )
    if any(step > length < size for step, length, size in zip(stride, window, sizes, strict=True)):
        raise ConfigError(
            f"Steps of {tuple(stride)} leave voxels between windows of {tuple(window)} out.",
            field="stride",
            remedy="Use at most the window's size.",
        )


def window_corners(sizes: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the first voxel of each window."""
    axes = zip(sizes, window, stride, strict=True)
    counts = [math.ceil((size - length) / step) + 1 for size, length, step in axes]
    for place in itertools.product(*map(range, counts)):
        yield tuple(number * step for number, step in zip(place, stride, strict=True))


def box(corner: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of a window along the space axes."""
    return tuple(slice(first, first + length) for first, length in zip(corner, window, strict=True))


def covering_mean(
    falls: torch.Tensor, corners: torch.Tensor, window: Sequence[int], sizes: tuple[int, ...]
) -> torch.Tensor:
    """Return the mean fall of the windows that cover each voxel.

    Parameters
    ----------
    falls : Tensor, shape (B, W)
    corners : Tensor of int, shape (W, A)
    window, sizes : sequence of int, length A

    Returns
    -------
    Tensor, shape (B, 1, *S)
    """
    total, count = falls.new_zeros(len(falls), 1, *sizes), falls.new_zeros(sizes)
    for number, corner in enumerate(corners.tolist()):
        place = box(corner, window)
        total[(slice(None), slice(None), *place)] += falls[:, number].reshape(-1, 1, *[1] * len(sizes))
        count[place] += 1
    return total / count
