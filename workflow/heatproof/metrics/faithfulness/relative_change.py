"""Relative change of the answer under both orders of removal (Turbé et al., Nature Machine Intelligence 2023;5:250)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.metrics.faithfulness.asking import Predict
from heatproof.metrics.faithfulness.removal import ORDERS, SHARES, mean_height, removal_curves

# A full removal that moves the answer by less (standard deviations of the target) is no scale for anything.
LEAST_CHANGE = 0.1


@dataclass(frozen=True)
class RelativeChange:
    """What Turbé et al. make of the two curves of each map of a scan.

    Attributes
    ----------
    top : ndarray, shape (M,)
        Mean relative change while the most relevant voxels go first; larger is better.
    bottom : ndarray, shape (M,)
        The same with the least relevant first; smaller is better.
    excluded : str
        Why the scan has no scale, and all are NaN; empty otherwise.
    """

    top: np.ndarray
    bottom: np.ndarray
    excluded: str = ""

    @property
    def f(self) -> np.ndarray:
        """``top (1 - bottom) / (top + 1 - bottom)``: 0 at worst, 1/2 at best; larger is better, shape (M,)."""
        kept = 1 - self.bottom
        total = self.top + kept
        return np.where(np.isnan(total), np.nan, np.divide(self.top * kept, total, out=0 * total, where=total > 0))


def relative_change(
    image: Any,
    maps: Any,
    predict: Predict,
    target: int = 0,
    *,
    values: bool = False,
    fill: str = "mean",
    shares: Sequence[float] = SHARES,
    mask: Any = None,
    seed: int,
    batch_size: int = 32,
    reference: Any = None,
    leads: bool = False,
) -> RelativeChange:
    """Return the areas of the relative change (S1 - S2) / S1, S1 being the answer to the scan and S2 after removal.

    For a class S is its probability. An output that is a number has no such scale (S1 may be 0, and its zero means
    nothing); there the change ``|S1 - S2|`` is taken relative to the one when everything is removed,
    ``|S1 - S_all|``, and cut at 1, so that it lies between 0 and 1 and does not depend on the other maps.

    Parameters
    ----------
    image, maps, predict, target, fill, mask, seed, batch_size, reference, leads
        See `removal.removal_curves`.
    values : bool
        Whether `predict` returns a number, in standard deviations of the target, instead of probabilities.
    shares : sequence of float
        Shares of the voxels that are removed; 0 and 1 are asked in any case.

    Raises
    ------
    ConfigError, GeometryError, UnsupportedModelError
        As `removal.removal_curves`.
    """
    both: list[np.ndarray] = []
    for order in ORDERS:
        curves = removal_curves(
            image, maps, predict, target, order=order, fill=fill, shares=sorted({0.0, *shares, 1.0}), mask=mask,
            seed=seed, batch_size=batch_size, reference=reference, leads=leads,
        )  # fmt: skip
        lost = curves.probability[0] - curves.probability
        scale = curves.probability[0]
        if values:
            lost, scale = np.abs(lost), np.abs(lost[-1])
            if (scale < LEAST_CHANGE).any():
                nothing = np.full(len(scale), np.nan)
                return RelativeChange(nothing, nothing, "removing the whole scan hardly moves the answer")
            lost = np.minimum(lost, scale)
        change = np.divide(lost, scale, out=np.zeros_like(lost), where=scale != 0)
        both.append(mean_height(curves.shares, change))
    return RelativeChange(both[0], both[1])
