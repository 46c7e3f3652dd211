"""Region growing: segments are taken by how dense the attribution is in what they add."""

from __future__ import annotations

import numpy as np

from .segments import Segments

# Densities this close, relative to the largest attribution, are compared again by their exact sums.
ROUNDING = 1e-9


def grown_by_gain(
    attribution: np.ndarray, segments: Segments, min_pixel_diff: int, area_threshold: float
) -> np.ndarray:
    """Return the density of what each segment adds, where at every turn the densest addition is taken.

    Algorithm 1 of Kapishnikov et al. 2019 (arXiv 1906.02825), with the density of the addition as gain. When a
    segment is taken, sums and sizes of the others change by the voxels newly covered alone.

    Parameters
    ----------
    attribution : array of float64, shape (n_voxels,)
    segments : Segments
    min_pixel_diff : int
        Segments that add fewer voxels are dropped.
    area_threshold : float
        Share of the grid; once more of it is covered no further segment is taken.

    Returns
    -------
    array, shape (n_voxels,)
        Voxels that no segment covered have their mean attribution, so that the sum stays that of `attribution`.
    """
    growth = Growth(attribution, segments)
    while growth.n_covered / segments.n_voxels <= area_threshold:
        growth.is_open &= growth.sizes >= min_pixel_diff
        if not growth.is_open.any():
            break
        growth.take(growth.densest())
    return growth.finished()


def grown_in_order(attribution: np.ndarray, segments: Segments, min_pixel_diff: int) -> np.ndarray:
    """Return the density of what each segment adds, taken in the order of their own densities.

    The fast variant of the reference implementation: overlaps do not change the order. Parameters and result as
    in `grown_by_gain`.
    """
    growth = Growth(attribution, segments)
    densities = np.array([attribution[segments.voxels(segment)].mean() for segment in range(len(segments))])
    for segment in np.argsort(-densities, kind="stable"):
        added = growth.added(segment)
        if len(added) >= min_pixel_diff:
            growth.cover(added)
    return growth.finished()


class Growth:
    """What is covered so far, and what each open segment would add.

    Parameters
    ----------
    attribution, segments
        See `grown_by_gain`.

    Attributes
    ----------
    n_covered : int
        Voxels covered.
    is_open : array of bool, shape (n_segments,)
        Which segments may still be taken.
    sizes, sums : array, shape (n_segments,)
        Number of voxels that each segment would add, and their attribution.
    """

    def __init__(self, attribution: np.ndarray, segments: Segments) -> None:
        self.attribution, self.segments = attribution, segments
        self.values = np.zeros_like(attribution)
        self.is_covered = np.zeros(len(attribution), bool)
        self.n_covered = 0
        self.is_open = np.ones(len(segments), bool)
        self.sizes = np.diff(segments.bounds)
        self.sums = np.add.reduceat(attribution[segments.members], segments.bounds[:-1])
        self.tolerance = ROUNDING * np.abs(attribution).max()
        self.exact = np.full(len(segments), np.nan)

    def added(self, segment: int) -> np.ndarray:
        """Return the voxels that a segment would add."""
        voxels = self.segments.voxels(segment)
        return voxels[~self.is_covered[voxels]]

    def cover(self, added: np.ndarray) -> None:
        """Cover some voxels with their mean attribution."""
        self.values[added] = self.attribution[added].mean()
        self.is_covered[added] = True
        self.n_covered += len(added)

    def densest(self) -> int:
        """Return the open segment whose addition is densest; the first of equals.

        The sums that are kept up to date find the few candidates, the sums of their voxels decide.
        """
        candidates = np.flatnonzero(self.is_open)
        densities = self.sums[candidates] / self.sizes[candidates]
        candidates = candidates[densities >= densities.max() - self.tolerance]
        if len(candidates) > 1:
            for segment in candidates[np.isnan(self.exact[candidates])]:
                self.exact[segment] = self.attribution[self.added(segment)].mean()
            candidates = candidates[np.argmax(self.exact[candidates])][None]
        return int(candidates[0])

    def take(self, segment: int) -> None:
        """Cover what a segment adds, and take it off what the others would add."""
        added = self.added(segment)
        self.cover(added)
        self.is_open[segment] = False
        owners, starts = self.segments.by_voxel
        counts = starts[added + 1] - starts[added]
        places = np.repeat(starts[added] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        touched = owners[places]
        self.sizes = self.sizes - np.bincount(touched, minlength=len(self.sizes))
        self.sums -= np.bincount(touched, np.repeat(self.attribution[added], counts), minlength=len(self.sizes))
        self.exact[touched] = np.nan

    def finished(self) -> np.ndarray:
        """Return the map, with what was never covered at its mean attribution."""
        left = np.flatnonzero(~self.is_covered)
        if len(left):
            self.cover(left)
        return self.values
