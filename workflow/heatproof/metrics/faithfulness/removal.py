"""Deletion and insertion: what the network says while voxels go, or come back, in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.faithfulness.asking import Predict, answers
from heatproof.metrics.faithfulness.fills import Fill, filler
from heatproof.metrics.faithfulness.ranking import RankedScan

ORDERS = ("most_relevant_first", "least_relevant_first")
MODES = ("delete", "insert")
SHARES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class RemovalCurves:
    """What a network says along the removal, for every map.

    Attributes
    ----------
    shares : ndarray, shape (n,)
        Share of the mask's voxels that was removed (or put back), after rounding to whole voxels.
    probability : ndarray, shape (n, M)
        Answer for the target class; NaN for a map that is not finite inside the mask.
    auc : ndarray, shape (M,)
        Area under each curve divided by its width: the mean height, in the unit of the answer.
    """

    shares: np.ndarray
    probability: np.ndarray
    auc: np.ndarray


def removal_curves(
    image: Any,
    maps: Any,
    predict: Predict,
    target: int,
    *,
    order: str = "most_relevant_first",
    fill: str = "zero",
    shares: Sequence[float] = SHARES,
    mode: str = "delete",
    mask: Any = None,
    seed: int,
    batch_size: int = 32,
    reference: Any = None,
    blur_sigma: float = 4.0,
    noise: float = 0.01,
    leads: bool = False,
) -> RemovalCurves:
    """Return the curves of deletion or insertion (Petsiuk, Das and Saenko, BMVC 2018, arXiv 1806.07421, section 3.3).

    With the most relevant voxels first a faithful map has a low area in deletion and a high one in insertion. The
    fill decides what is measured: with zero a removed voxel can look like disease itself, so that the answer rises.
    With noisy_linear, insertion favours scattered voxels, as they tell the imputation more than as many in one place.

    Parameters
    ----------
    image : ndarray or Tensor, shape (C, *S)
    maps : ndarray or Tensor, shape (M, *S)
        Larger is more relevant, by sign: take absolute values first where signs do not matter.
    predict : callable
        From (B, C, *S), of the kind of `image`, to probabilities (B, K).
    target : int
        Class that is followed.
    order : {"most_relevant_first", "least_relevant_first"}
    fill, reference, blur_sigma, noise
        What stands where voxels were removed, see `fills.filler`.
    shares : sequence of float
        Shares of the mask's voxels, between 0 and 1, ascending.
    mode : {"delete", "insert"}
        From the scan to the fill, or from the fill to the scan.
    mask : array_like of bool, shape (*S,), optional
        Only its voxels are ranked; those outside always keep their value.
    seed : int
        Draws the order of ties and the noise of a fill, the same for every map.
    batch_size : int
        Scans in one call of `predict`; memory does not grow with maps or shares.
    leads : bool
        Whether the first space axis holds leads, see `fills.filler`.

    Raises
    ------
    ConfigError
        An unknown order, mode or fill, shares that do not ascend between 0 and 1, a target that is no class.
    GeometryError
        Scan, maps, mask and reference are not on one grid, or the mask is empty.
    UnsupportedModelError
        `predict` does not return (batch, classes).
    """
    for name, value, known in (("order", order, ORDERS), ("mode", mode, MODES)):
        if value not in known:
            raise ConfigError(f"'{value}' is no {name}.", field=name, remedy=f"use {' or '.join(known)}.")
    scan = RankedScan.of(image, maps, mask, seed)
    counts = voxel_counts(shares, scan.places.size)
    filled = filler(
        scan.image, scan.mask, fill, reference=reference, blur_sigma=blur_sigma, noise=noise, seed=seed, leads=leads
    )  # fmt: skip
    # An empty and a full removal are the same scan for every map: they are asked once.
    ends = (counts == 0) | (counts == scan.places.size)
    columns = np.flatnonzero(scan.valid)
    probability = np.full((len(counts), len(scan.maps)), np.nan)
    if columns.size:
        scans = _scans(scan, filled, counts, ends, order == ORDERS[0], mode == MODES[0])
        found = answers(predict, scans, image, target, batch_size)[:, target]
        shared, own = np.split(found, [int(ends.sum())])
        probability[np.ix_(ends, columns)] = shared[:, None]
        probability[np.ix_(~ends, columns)] = own.reshape(columns.size, -1).T
    realised = counts / scan.places.size
    return RemovalCurves(realised, probability, mean_height(realised, probability))


def _scans(
    scan: RankedScan, filled: Fill, counts: np.ndarray, ends: np.ndarray, falling: bool, deleted: bool
) -> Iterator[np.ndarray]:
    """Yield the altered scans: those that all maps share, then those of each valid map."""

    def altered(order: np.ndarray, count: int) -> np.ndarray:
        return filled(scan.removed(order[:count] if deleted else order[count:]))

    yield from (altered(scan.places, count) for count in counts[ends])
    for index in np.flatnonzero(scan.valid).tolist():
        order = scan.order(index)[:: 1 if falling else -1]
        yield from (altered(order, count) for count in counts[~ends])


def voxel_counts(shares: Sequence[float], n_voxels: int) -> np.ndarray:
    """Return how many voxels each share is, rounded.

    Raises
    ------
    ConfigError
        No share, or they do not ascend from 0 to 1.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if not wanted.size or not wanted[0] >= 0 or not wanted[-1] <= 1 or not (np.diff(wanted) > 0).all():
        raise ConfigError(
            f"the shares {list(shares)} make no curve.", field="shares", remedy="use shares from 0 to 1, ascending."
        )
    return np.rint(wanted * n_voxels).astype(np.int64)


def mean_height(positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the area under curves (n, M) by the trapezoidal rule, divided by their width, shape (M,).

    A curve without width has its mean.
    """
    width = positions[-1] - positions[0]
    if width == 0:
        return values.mean(axis=0)
    return (np.diff(positions)[:, None] * (values[1:] + values[:-1]) / 2).sum(axis=0) / width
