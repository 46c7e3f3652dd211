"""Noisy linear imputation (Rong et al., ICML 2022, arXiv 2202.00449, section 4.2) on a grid of any number of axes.

Every removed voxel is set to the weighted mean of its neighbours, known and removed alike, which gives one linear
equation per removed voxel; noise is added so that a network cannot recognise the smooth filling.

Weights. In two dimensions the paper gives the four direct neighbours 1/6 each and the four diagonal ones 1/12. These
are the weights of the binomial kernel [1 2 1] x [1 2 1] without its centre, and so they are taken in any number of
axes: every further axis along which a neighbour differs halves its weight. One axis: 1/2 and 1/2. Three axes: 1/14 for
the 6 neighbours that share a face, 1/28 for the 12 that share an edge, 1/56 for the 8 that share a corner. At the
border of the grid the weights of the neighbours that exist are scaled up to a sum of one, as in the paper's code.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness.systems import Equations, solve

KNOWN, BEYOND = -1, -2


def neighbour_weights(n_axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of a voxel and its neighbours, shape (3**n, n), and their weights, shape (3**n,).

    The offsets are in the order of the flattened grid; the voxel itself has weight 0, the others sum to one.
    """
    offsets = np.array(list(product((-1, 0, 1), repeat=n_axes)))
    weights = 0.5 ** np.abs(offsets).sum(axis=1)
    weights[len(weights) // 2] = 0
    return offsets, weights / weights.sum()


def noisy_linear(image: Any, removed: Any, noise: float = 0.0, standard: Any = None) -> np.ndarray:
    """Return a scan whose removed voxels are imputed from their surroundings, shape (C, *S).

    Parameters
    ----------
    image : array_like, shape (C, *S)
    removed : array_like of bool, shape (*S,)
        Voxels to impute, the same in every channel.
    noise : float
        Standard deviation of the noise on imputed voxels, in the unit of the scan (the paper's code: 0.01).
    standard : array_like, shape (C, *S), optional
        Standard normal noise; needed where `noise` is above 0.

    Returns
    -------
    ndarray, double precision
        Known voxels keep their value. Where every voxel of the grid is removed the equations leave the level open;
        each channel then has its mean.

    Raises
    ------
    GeometryError
        Scan and mask are not on one grid.
    ConfigError
        A noise below 0, or noise without numbers to draw it from.
    """
    image = np.asarray(image, dtype=np.float64)
    removed = np.asarray(removed).astype(bool)
    if image.shape[1:] != removed.shape:
        raise GeometryError(
            f"a scan of shape {image.shape} does not fit removed voxels of shape {removed.shape}.",
            field="removed",
            remedy="pass (C, *S) and (*S).",
        )
    check_noise(noise)
    if noise and standard is None:
        raise ConfigError("noise needs numbers.", field="standard", remedy="pass standard normal noise, (C, *S).")
    filled = image.copy()
    if not removed.any():
        return filled
    if removed.all():
        filled[:] = image.mean(axis=tuple(range(1, image.ndim)), keepdims=True)
    else:
        filled[:, removed] = solve(equations(image, removed)).T
    if noise:
        filled[:, removed] += noise * np.asarray(standard, dtype=np.float64)[:, removed]
    return filled


def interpolated(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Return a scan whose removed places are interpolated along the last axis, row by row, same shape.

    Where the last axis is the only one with neighbours this is `noisy_linear` without noise.

    Parameters
    ----------
    image : ndarray, shape (C, *S)
    removed : ndarray of bool, shape (*S,)
        The same in every channel.

    Returns
    -------
    ndarray, double precision
        A straight line between the nearest known places of the row; before the first and after the last of them
        their value. A row without any has its mean.
    """
    length = removed.shape[-1]
    place = np.arange(length)
    before = np.maximum.accumulate(np.where(removed, -1, place), axis=-1)
    after = np.minimum.accumulate(np.where(removed, length, place)[..., ::-1], axis=-1)[..., ::-1]
    first, last = before < 0, after >= length
    start = np.where(first, np.where(last, 0, after), before)
    stop = np.where(last, np.where(first, 0, before), after)
    values = np.asarray(image, dtype=np.float64)
    low, high = (np.take_along_axis(values, np.broadcast_to(at, values.shape), axis=-1) for at in (start, stop))
    weight = (place - start) / np.maximum(stop - start, 1)
    filled = np.where(removed, low + weight * (high - low), values)
    return np.where(removed.all(axis=-1, keepdims=True), values.mean(axis=-1, keepdims=True), filled)


def check_noise(noise: float) -> None:
    """Check a standard deviation of noise.

    Raises
    ------
    ConfigError
        It is below 0 or not finite.
    """
    if not 0 <= noise < np.inf:
        raise ConfigError(f"noise is {noise}.", field="noise", remedy="use 0 or more.")


def equations(image: np.ndarray, removed: np.ndarray) -> Equations:
    """Return one equation per removed voxel: what its neighbours weigh times itself equals their weighted sum."""
    from scipy.sparse import csr_array

    offsets, weights = neighbour_weights(removed.ndim)
    n_unknown = int(removed.sum())
    padded = np.pad(np.full(removed.shape, KNOWN, np.int32), 1, constant_values=BEYOND)
    padded[(slice(1, -1),) * removed.ndim][removed] = np.arange(n_unknown, dtype=np.int32)
    flat, places = padded.reshape(-1), np.flatnonzero(padded >= 0)
    strides = np.array(padded.strides) // padded.itemsize
    scans = np.stack([np.pad(channel, 1).reshape(-1) for channel in image])
    # The unknowns are numbered in the order of the grid, so that the columns of a row ascend already.
    columns = np.empty((n_unknown, len(offsets)), np.int32)
    known = np.zeros((n_unknown, len(image)))
    for column, (step, weight) in enumerate(zip(offsets @ strides, weights, strict=True)):
        columns[:, column] = flat[places + step]
        given = np.flatnonzero(columns[:, column] == KNOWN)
        known[given] += weight * scans[:, places[given] + step].T
    values = np.empty(columns.shape)
    values[:] = -weights
    values[:, len(offsets) // 2] = weight_of_neighbours(removed.shape)[removed]
    unknown = columns >= 0
    rows = np.append(0, np.count_nonzero(unknown, axis=1).cumsum(dtype=np.int32)).astype(np.int32)
    matrix = csr_array((values[unknown], columns[unknown], rows), shape=(n_unknown, n_unknown))
    return Equations(matrix, known, np.argwhere(removed))


def weight_of_neighbours(sizes: tuple[int, ...]) -> np.ndarray:
    """Return the sum of the weights of the neighbours that each voxel of a grid has, 1 away from the border."""
    total = np.ones(sizes)
    for axis, size in enumerate(sizes):
        along = np.full(size, 2.0)
        # Half a voxel's weight is missing at either end.
        along[0] -= 0.5
        along[-1] -= 0.5
        total *= along.reshape([-1 if axis == other else 1 for other in range(len(sizes))])
    return (total - 1) / (2 ** len(sizes) - 1)
