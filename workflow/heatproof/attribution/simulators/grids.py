"""Interpolation between grids whose corners coincide: one matrix per axis, so its gradient is a product, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch


def resize(field: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return a field on another grid with the same corners, linearly interpolated.

    Parameters
    ----------
    field : Tensor, shape (B, C, *G)
    shape : sequence of int
        Voxels per axis.

    Returns
    -------
    Tensor, shape (B, C, *shape)
    """
    return _along_every_axis(field, shape, linear_matrix)


def refine(coarse: torch.Tensor, shape: Sequence[int], through: bool = False) -> torch.Tensor:
    """Return a field on every voxel from its values on a control grid: the cubic B-spline.

    The spline is C2, so its Jacobian has no jumps (linear interpolation would jump at every node). It is a
    mean of the control values with weights of at least zero, so the field is never larger nor steeper than they
    are. Beyond the border the grid goes on in a straight line: linear fields are kept exactly.

    Parameters
    ----------
    coarse : Tensor, shape (B, C, *G)
        Control values; the outer nodes lie on the corner voxels.
    shape : sequence of int
        Voxels per axis.
    through : bool
        Interpolate: the spline goes through the values, at the price of small overshoots.

    Returns
    -------
    Tensor, shape (B, C, *shape)
    """
    return _along_every_axis(coarse, shape, through_matrix if through else spline_matrix)


def _along_every_axis(
    field: torch.Tensor, shape: Sequence[int], matrix_of: Callable[[int, int], np.ndarray]
) -> torch.Tensor:
    # Axis after axis, as a product with the axis in the middle: nothing is transposed.
    for axis, length in enumerate(shape, start=2):
        sizes = field.shape
        matrix = torch.from_numpy(matrix_of(sizes[axis], int(length))).to(field)
        behind = field.shape[axis + 1 :].numel()
        middle = field.reshape(-1, sizes[axis], behind) if behind > 1 else field.reshape(-1, sizes[axis])
        spread = matrix @ middle if behind > 1 else middle @ matrix.T
        field = spread.reshape(*sizes[:axis], int(length), *sizes[axis + 1 :])
    return field


@lru_cache(maxsize=64)
def linear_matrix(nodes: int, length: int) -> np.ndarray:
    """Return the weights of linear interpolation along an axis, shape (length, nodes)."""
    points = np.linspace(0.0, nodes - 1.0, length)
    return np.maximum(0.0, 1.0 - np.abs(points[:, None] - np.arange(nodes)))


@lru_cache(maxsize=64)
def spline_matrix(nodes: int, length: int) -> np.ndarray:
    """Return the weights of the cubic B-spline along an axis, shape (length, nodes)."""
    return _basis(nodes, np.linspace(0.0, nodes - 1.0, length))


@lru_cache(maxsize=64)
def through_matrix(nodes: int, length: int) -> np.ndarray:
    """Return the weights of the cubic spline that goes through its values, shape (length, nodes)."""
    return spline_matrix(nodes, length) @ np.linalg.inv(_basis(nodes, np.arange(nodes, dtype=np.float64)))


def _basis(nodes: int, points: np.ndarray) -> np.ndarray:
    # Weights (points, nodes) of the cubic B-spline; positions in nodes.
    if nodes == 1:
        return np.ones((len(points), 1))
    cell = np.clip(np.floor(points), 0, nodes - 2).astype(int)
    t = points - cell
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    padded = np.zeros((len(points), nodes + 2))
    for offset, weight in enumerate(weights):
        padded[np.arange(len(points)), cell + offset] += weight
    matrix = padded[:, 1:-1].copy()
    # The node before the first is 2 first - second, and likewise behind the last.
    for outside, edge, inside in ((padded[:, 0], 0, 1), (padded[:, -1], -1, -2)):
        matrix[:, edge] += 2 * outside
        matrix[:, inside] -= outside
    return matrix
