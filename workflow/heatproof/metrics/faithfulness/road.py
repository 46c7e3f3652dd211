"""ROAD, remove and debias: deletion whose holes are closed so that the network cannot read the map off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.metrics.faithfulness.asking import Predict
from heatproof.metrics.faithfulness.removal import ORDERS, removal_curves

SHARES = tuple(step / 10 for step in range(1, 10))


@dataclass(frozen=True)
class RoadScores:
    """ROAD of every map of a scan.

    Attributes
    ----------
    morf : ndarray, shape (M,)
        Mean answer for the target class while the most relevant voxels are removed first; smaller is better.
    lerf : ndarray, shape (M,)
        The same with the least relevant first; larger is better.
    combined : ndarray, shape (M,)
        lerf - morf; larger is better, 0 for a map that knows nothing.
    """

    morf: np.ndarray
    lerf: np.ndarray

    @property
    def combined(self) -> np.ndarray:
        """What both orders say together."""
        return self.lerf - self.morf


def road(
    image: Any,
    maps: Any,
    predict: Predict,
    target: int,
    *,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    mask: Any = None,
    seed: int,
    batch_size: int = 32,
    leads: bool = False,
) -> RoadScores:
    """Return ROAD scores (Rong, Leemann, Borisov, Kasneci and Kasneci, ICML 2022, arXiv 2202.00449).

    Removed voxels are filled by noisy linear imputation (`imputation.noisy_linear`, which says how it goes beyond two
    axes). The paper counts right answers over a test set; for one scan the answer for the target class stands in
    their place, averaged over the shares as the paper averages its curve.

    Parameters
    ----------
    image, maps, predict, target, mask, seed, batch_size, leads
        See `removal.removal_curves`.
    shares : sequence of float
        Shares of the mask's voxels that are removed.
    noise : float
        Standard deviation of the noise on imputed voxels, in the unit of the scan.

    Raises
    ------
    ConfigError, GeometryError, UnsupportedModelError
        As `removal.removal_curves`.
    """
    means = [
        removal_curves(
            image,
            maps,
            predict,
            target,
            order=order,
            fill="noisy_linear",
            shares=shares,
            mask=mask,
            seed=seed,
            batch_size=batch_size,
            noise=noise,
            leads=leads,
        ).probability.mean(axis=0)
        for order in ORDERS
    ]
    return RoadScores(*means)
