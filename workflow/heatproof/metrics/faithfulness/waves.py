"""Waves of a signal interpolated away, whole and one after another, in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, GeometryError
from heatproof.metrics.faithfulness.asking import Predict, answers
from heatproof.metrics.faithfulness.imputation import interpolated
from heatproof.metrics.faithfulness.perturbation import KEY, PerturbationCurves, spread_counts
from heatproof.metrics.faithfulness.ranking import RankedScan, check_grid
from heatproof.randomness import generator

WAVE_RANKS = ("mean", "sum")


def wave_curves(
    image: Any,
    maps: Any,
    predict: Predict,
    labels: np.ndarray,
    *,
    rank: str = "mean",
    most: float = 1.0,
    mask: Any = None,
    seed: int,
    batch_size: int = 32,
) -> PerturbationCurves:
    """Return how far the answer moves from the untouched one while the most relevant waves are interpolated away.

    Nothing unlike a signal is shown: a whole wave of one lead gives way to a straight line, and the next follows. The
    axis is the share of the points that are gone, so that a long wave costs more than a short one.

    Parameters
    ----------
    image, maps, predict, mask, batch_size
        See `perturbation.corrected_curves`.
    labels : ndarray of int, shape (*S,)
        Wave of each point, 0 for none; points without a wave are never removed.
    rank : {"mean", "sum"}
        What orders the waves: the mean of the map in each, or the sum.
    most : float
        Share of the points in waves at which the curves end; one more wave may be needed to get there.
    seed : int
        Settles ties.

    Raises
    ------
    ConfigError, GeometryError, UnsupportedModelError
        As `perturbation.corrected_curves`; an unknown rank, a share that is none, or no wave inside the mask.
    """
    if rank not in WAVE_RANKS or not 0 < most <= 1:
        raise ConfigError(
            f"waves by '{rank}' up to a share of {most} make no curve.",
            field="rank" if 0 < most <= 1 else "most",
            remedy=f"use {' or '.join(WAVE_RANKS)} and a share above 0 and up to 1.",
        )
    scan = RankedScan.of(image, maps, mask, seed)
    waves = _Waves.of(scan, np.asarray(labels))
    orders = [waves.order(scan.maps[index], rank, seed) for index in np.flatnonzero(scan.valid)]
    plans = [waves.stops(order, most) for order in orders]

    def altered() -> Iterator[np.ndarray]:
        yield scan.image
        for order, (stops, _) in zip(orders, plans, strict=True):
            for count in stops[1:]:
                yield interpolated(scan.image, waves.inside(order[:count]))

    changes = np.full((len(scan.maps), max((len(stops) for stops, _ in plans), default=1)), np.nan)
    points = np.broadcast_to(np.linspace(0, most, changes.shape[1]), changes.shape).copy()
    if plans:
        found = answers(predict, altered(), image, 0, batch_size)[:, 0]
        own = np.split(found[1:], np.cumsum([len(stops) - 1 for stops, _ in plans])[:-1])
        for row, heights, (_, shares) in zip(np.flatnonzero(scan.valid), own, plans, strict=True):
            # A curve that needs fewer stops holds its end, which lies at or beyond `most`.
            missing = changes.shape[1] - len(shares)
            points[row] = np.append(shares, np.full(missing, shares[-1]))
            heights = np.append(0.0, np.abs(heights - found[0]))
            changes[row] = np.append(heights, np.full(missing, heights[-1]))
    return PerturbationCurves(points, changes)


@dataclass(frozen=True)
class _Waves:
    """The waves of one scan.

    Attributes
    ----------
    labels : ndarray of int, shape (*S,)
        0 outside the mask.
    names : ndarray of int, shape (k,)
        Labels that occur.
    sizes : ndarray of int, shape (k,)
        Their points.
    """

    labels: np.ndarray
    names: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, scan: RankedScan, labels: np.ndarray) -> _Waves:
        check_grid(scan.image, labels[None], "labels")
        inside = np.where(scan.mask, labels, 0)
        names, sizes = np.unique(inside[inside != 0], return_counts=True)
        if not names.size:
            raise GeometryError("no point belongs to a wave.", field="labels", remedy="give the waves of each lead.")
        return cls(inside, names, sizes)

    def order(self, heatmap: np.ndarray, rank: str, seed: int) -> np.ndarray:
        """Return the waves from the most to the least relevant one, as positions in `names`."""
        values = np.bincount(self.labels.ravel(), heatmap.ravel(), minlength=int(self.names[-1]) + 1)[self.names]
        if rank == "mean":
            values = values / self.sizes
        shuffled = generator(seed, *KEY, "wave ties").permutation(len(values))
        return shuffled[np.argsort(-values[shuffled], kind="stable")]

    def stops(self, order: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
        """Return after how many waves the network is asked, from 0, and the share of the points that is gone then."""
        gone = np.append(0.0, np.cumsum(self.sizes[order]) / self.sizes.sum())
        last = int(np.searchsorted(gone, most * (1 - 1e-12)))
        stops = spread_counts(last)
        return stops, gone[stops]

    def inside(self, waves: np.ndarray) -> np.ndarray:
        """Return the points of some waves, shape (*S,)."""
        return np.isin(self.labels, self.names[waves])
