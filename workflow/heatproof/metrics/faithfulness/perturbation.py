"""Perturbation of the most relevant points of a signal: as published for ECG networks, and put right.

Storås et al., JAMIA 2025;32:79 (ocae280) add noise to the points of a signal in the order of a map and record how far
the network's answer comes from what was measured. Their noise is drawn anew for every method, 25 points of 7,200 are
moved, and the answer's error is divided by the measured value with its sign. `published_curves` does that. What
`corrected_curves` and `waves.wave_curves` do differently: all maps share the same random numbers, the change of the
answer is counted from the untouched answer and never signed, larger parts are removed, and what stands there can be a
value that the signal could have had.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.faithfulness.asking import Predict, answers
from heatproof.metrics.faithfulness.fills import Fill, filler
from heatproof.metrics.faithfulness.imputation import interpolated
from heatproof.metrics.faithfulness.ranking import RankedScan
from heatproof.metrics.faithfulness.removal import mean_height
from heatproof.randomness import generator

PERTURBATION_FILLS = ("noise", "mean", "interpolation")
# Standard deviation of the noise as a share of the signal's range.
NOISE_LEVEL = 0.2
KEY = ("faithfulness", "perturbation")


@dataclass(frozen=True)
class PerturbationCurves:
    """How far the answer moves along the perturbation, for every map.

    Attributes
    ----------
    points : ndarray, shape (n,) or (M, n)
        Points that were perturbed (or the share of them, for waves), ascending from 0.
    changes : ndarray, shape (M, n)
        NaN for a map that is not finite.
    """

    points: np.ndarray
    changes: np.ndarray

    def area(self, most: float) -> np.ndarray:
        """Return the area under each curve from no point to `most` by the trapezoidal rule, shape (M,)."""
        return self.height(most) * most

    def height(self, most: float) -> np.ndarray:
        """Return the mean height of each curve from no point to `most`, shape (M,).

        Raises
        ------
        ConfigError
            The curves end before.
        """
        positions = np.broadcast_to(np.asarray(self.points, float), self.changes.shape)
        if not 0 < most <= positions[:, -1].min(initial=np.inf):
            raise ConfigError(f"the curves do not reach {most} points.", field="points", remedy="ask for fewer.")
        found = np.empty(len(positions))
        for row, (x, y) in enumerate(zip(positions, self.changes, strict=True)):
            kept = x < most
            ends = np.append(x[kept], most), np.append(y[kept], np.interp(most, x, y))
            found[row] = mean_height(ends[0], ends[1][:, None])[0]
        return found


def published_curves(
    image: Any,
    maps: Any,
    predict: Predict,
    measured: float,
    *,
    n_points: int = 25,
    noise_level: float = NOISE_LEVEL,
    mask: Any = None,
    keys: Sequence[Hashable] | None = None,
    seed: int,
    batch_size: int = 32,
) -> PerturbationCurves:
    """Return the perturbation curves of Storås et al. 2025, with their flaws.

    One point a step, in the order of the map, gets normal noise; points that have it keep it. The height is
    ``|measured - answer| / measured`` with the sign of the measured value. The curve begins at the untouched scan.
    `PerturbationCurves.area` up to 5, 10, 15 and 25 points is the published metric.

    Parameters
    ----------
    image : ndarray or Tensor, shape (C, *S)
        A point is a place of `S`; for lead-by-lead perturbation pass a signal as (1, leads, time).
    maps : ndarray or Tensor, shape (M, *S)
        Larger is more relevant, so absolute values as published.
    predict : callable
        From (B, C, *S), of the kind of `image`, to answers (B, 1) in the unit of `measured`.
    measured : float
    n_points : int
    noise_level : float
        Standard deviation of the noise as a share of the scan's largest minus its least value.
    mask : array_like of bool, shape (*S,), optional
        Points that are ranked.
    keys : sequence, length M, optional
        Who each map is of: every one has noise of its own, as published. By default its position.
    seed : int
    batch_size : int
        Never changes a result.

    Raises
    ------
    ConfigError
        No point, more points than there are, or a noise that is none.
    GeometryError
        Scan, maps and mask are not on one grid.
    UnsupportedModelError
        `predict` does not return (batch, outputs).
    """
    scan = RankedScan.of(image, maps, mask, seed)
    counts = _checked_counts(np.arange(n_points + 1), scan, noise_level)
    who = range(len(scan.maps)) if keys is None else keys

    def fills(index: int) -> list[Fill]:
        return [_noisy(scan.image, noise_level, generator(seed, *KEY, "published", who[index]))]

    found = _followed(scan, image, predict, counts, fills, batch_size)
    return PerturbationCurves(counts, np.abs(measured - found[:, 0]) / measured)


def corrected_curves(
    image: Any,
    maps: Any,
    predict: Predict,
    *,
    fill: str = "noise",
    most: Sequence[int],
    n_draws: int = 3,
    noise_level: float = NOISE_LEVEL,
    mask: Any = None,
    leads: bool = False,
    seed: int,
    batch_size: int = 32,
) -> PerturbationCurves:
    """Return how far the answer moves from the untouched one while the most relevant points are perturbed.

    Parameters
    ----------
    image, maps, mask, batch_size
        See `published_curves`.
    predict : callable
        From (B, C, *S) to answers (B, 1), in standard deviations of the target say: the height is their absolute
        change.
    fill : {"noise", "mean", "interpolation"}
        Noise is added, the mean over `n_draws` is taken, and the noise of a point is the same for every map;
        ``mean`` is that of the channel or lead; ``interpolation`` draws straight lines along the last axis.
    most : sequence of int
        Numbers of points up to which areas are wanted; between them the curve has points that lie closer where it
        begins.
    leads : bool
        Whether the first space axis holds leads, each filled from itself alone.
    seed : int

    Raises
    ------
    ConfigError, GeometryError, UnsupportedModelError
        As `published_curves`; an unknown fill, or no draw.
    """
    if fill not in PERTURBATION_FILLS or n_draws < 1:
        raise ConfigError(
            f"'{fill}' with {n_draws} draws perturbs nothing.",
            field="fill" if n_draws > 0 else "n_draws",
            remedy=f"use {', '.join(PERTURBATION_FILLS)} and 1 draw or more.",
        )
    scan = RankedScan.of(image, maps, mask, seed)
    counts = _checked_counts(np.union1d(most, spread_counts(max(most))), scan, noise_level)
    if fill == "noise":
        shared = [_noisy(scan.image, noise_level, generator(seed, *KEY, "shared", draw)) for draw in range(n_draws)]
    elif fill == "mean":
        shared = [filler(scan.image, scan.mask, "mean", leads=leads)]
    else:
        shared = [lambda removed: interpolated(scan.image, removed)]
    found = _followed(scan, image, predict, counts, lambda index: shared, batch_size)
    return PerturbationCurves(counts, np.abs(found - found[:, :, :1]).mean(axis=1))


def spread_counts(most: int) -> np.ndarray:
    """Return whole numbers from 0 to `most` that lie closer where they begin: about two for every doubling."""
    powers = np.rint(2 ** (np.arange(2 * np.log2(max(most, 1)) + 1) / 2)).astype(np.int64)
    return np.unique(np.concatenate([[0], powers[powers <= most], [most]]))


def _noisy(image: np.ndarray, noise_level: float, random: np.random.Generator) -> Fill:
    """Return a function that adds noise to chosen points; each point has one value of it."""
    noisy = image + noise_level * np.ptp(image) * random.standard_normal(image.shape)
    return lambda removed: np.where(removed, noisy, image)


def _followed(
    scan: RankedScan,
    like: Any,
    predict: Predict,
    counts: np.ndarray,
    fills: Callable[[int], list[Fill]],
    batch_size: int,
) -> np.ndarray:
    """Return the answers while more and more points are perturbed, shape (M, n_fills, n_counts).

    `fills` gives the fills of a map by its position; the first count is 0 and asked once for all.
    """

    def altered() -> Iterator[np.ndarray]:
        yield scan.image
        for index in np.flatnonzero(scan.valid).tolist():
            order = scan.order(index)
            for fill in fills(index):
                yield from (fill(scan.removed(order[:count])) for count in counts[1:])

    n_fills = len(fills(0)) if len(scan.maps) else 1
    found = np.full((len(scan.maps), n_fills, len(counts)), np.nan)
    if scan.valid.any():
        asked = answers(predict, altered(), like, 0, batch_size)[:, 0]
        found[scan.valid, :, 0] = asked[0]
        found[scan.valid, :, 1:] = asked[1:].reshape(int(scan.valid.sum()), n_fills, -1)
    return found


def _checked_counts(counts: np.ndarray, scan: RankedScan, noise_level: float) -> np.ndarray:
    """Return numbers of points.

    Raises
    ------
    ConfigError
        There are not as many, or the noise is none.
    """
    if len(counts) < 2 or counts[0] != 0 or counts[-1] > scan.places.size or not 0 < noise_level < np.inf:
        raise ConfigError(
            f"{counts[-1]} points of {scan.places.size} with a noise of {noise_level} cannot be perturbed.",
            field="noise_level" if not 0 < noise_level < np.inf else "points",
            remedy="use from 1 point to as many as the mask has, and a noise above 0.",
        )
    return counts.astype(np.int64)
