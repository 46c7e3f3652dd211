"""Pictures of any size on one grid: exact area means where they shrink, linear interpolation where they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from heatproof.errors import ConfigError

FITS = ("pad", "stretch", "crop")
# A pixel belongs to a mask when at least this share of its area does.
MASK_SHARE = 0.5


@dataclass(frozen=True)
class Framing:
    """How a picture comes to lie on the grid.

    Attributes
    ----------
    size : tuple of int
        Rows and columns of the grid.
    fit : {"pad", "stretch", "crop"}
        What happens where the picture has another aspect ratio: ``pad`` keeps all of it and fills the rest with
        its smallest value, ``stretch`` lets go of the aspect ratio, ``crop`` cuts off what sticks out, the same on
        both sides.
    """

    size: tuple[int, int]
    fit: str = "pad"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ConfigError(f"'{self.fit}' is not known.", field="cohort.fit", remedy=f"use {', '.join(FITS)}.")

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return a picture (rows, columns) on the grid, float32.

        Along an axis that shrinks, a pixel is the mean of the area that it covers, so that nothing finer than the
        grid comes back as a pattern (aliasing). Along an axis that grows, it is interpolated linearly.
        """
        exact = np.asarray(values, dtype=np.float64)
        return self._placed(exact, float(exact.min()), area_only=False).astype(np.float32)

    def mask(self, inside: np.ndarray) -> np.ndarray:
        """Return a mask (rows, columns) on the grid: true where at least half of a pixel's area is inside."""
        share = self._placed(np.asarray(inside, dtype=np.float64), 0.0, area_only=True)
        # Sums of shares come out a rounding error below one half.
        return share >= MASK_SHARE - 1e-9

    def labels(self, areas: np.ndarray) -> np.ndarray:
        """Return areas (rows, columns) on the grid, int32: a pixel has the label that covers half of it or most.

        Where no single label covers half of a pixel's area, but labels together do, the largest of them wins.
        """
        numbers = [int(number) for number in np.unique(areas) if number != 0]
        result = np.zeros(self.size, np.int32)
        if numbers:
            shares = np.stack(
                [self._placed((areas == number).astype(np.float64), 0.0, area_only=True) for number in numbers]
            )
            covered = shares.sum(axis=0) >= MASK_SHARE - 1e-9
            result[covered] = np.array(numbers)[shares.argmax(axis=0)][covered]
        return result

    def steps(self, shape: Sequence[int]) -> tuple[float, float]:
        """Return how many source pixels one step of the grid is along rows and columns."""
        (first, second), (rows, columns) = self._windows(shape)
        return (first[1] - first[0]) / rows, (second[1] - second[0]) / columns

    def _windows(self, shape: Sequence[int]) -> tuple[list[tuple[float, float]], tuple[int, int]]:
        """Return the part of the source that is shown, per axis, and the pixels that it fills."""
        whole = [(0.0, float(length)) for length in shape]
        if self.fit == "stretch":
            return whole, self.size
        scales = [wanted / length for wanted, length in zip(self.size, shape, strict=True)]
        if self.fit == "pad":
            # Rounded to whole pixels, so that the edge of the picture stays sharp.
            filled = [max(1, round(length * min(scales))) for length in shape]
            return whole, (min(filled[0], self.size[0]), min(filled[1], self.size[1]))
        kept = [wanted / max(scales) for wanted in self.size]
        return [((n - k) / 2, (n + k) / 2) for n, k in zip(shape, kept, strict=True)], self.size

    def _placed(self, values: np.ndarray, fill: float, *, area_only: bool) -> np.ndarray:
        windows, filled = self._windows(values.shape)
        rows, columns = (
            axis_weights(length, window, n, area_only=area_only)
            for length, window, n in zip(values.shape, windows, filled, strict=True)
        )
        inner = rows @ values @ columns.T
        if filled == self.size:
            return inner
        placed = np.full(self.size, fill)
        top, left = ((whole - part) // 2 for whole, part in zip(self.size, filled, strict=True))
        placed[top : top + filled[0], left : left + filled[1]] = inner
        return placed


@lru_cache(maxsize=32)
def axis_weights(n_source: int, window: tuple[float, float], n_target: int, *, area_only: bool) -> np.ndarray:
    """Return the weights of source pixels in target pixels along one axis, shape (n_target, n_source).

    Parameters
    ----------
    n_source : int
        Pixels of the source; pixel i covers i to i + 1.
    window : tuple of float
        The part of the source that the target covers.
    n_target : int
        Pixels of the target.
    area_only : bool
        Weigh by shared length even where the axis grows (for masks, whose pixels have hard edges).
    """
    step = (window[1] - window[0]) / n_target
    starts = window[0] + step * np.arange(n_target)[:, None]
    pixels = np.arange(n_source)[None, :]
    if step >= 1 or area_only:
        shared = np.minimum(starts + step, pixels + 1) - np.maximum(starts, pixels)
        weights = np.clip(shared, 0, None)
        return weights / weights.sum(axis=1, keepdims=True)
    # Beyond the centre of the outermost pixel its value holds.
    centres = np.clip(starts + step / 2 - 0.5, 0, n_source - 1)
    return np.clip(1 - np.abs(centres - pixels), 0, None)
