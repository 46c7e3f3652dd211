"""How far the relevance would have to travel to become the truth.

The exact optimal transport costs too much on every voxel of a volume, so mass is first summed in coarse
cells (`Space.cell`, a cube's edge length) and moved between their centres of gravity. The result is exact for
the coarse masses and differs from the one on single voxels by at most about one cell's diagonal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from heatproof.metrics.registry import register
from heatproof.metrics.space import RankedMap, Space, Truth


@lru_cache(maxsize=1)
def _network_simplex() -> Callable[..., float]:
    """Return POT's solver, imported without the tensor libraries that it would load for nothing (2 s)."""
    flags = [f"POT_BACKEND_DISABLE_{name}" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")]
    absent = [flag for flag in flags if flag not in os.environ]
    os.environ.update(dict.fromkeys(absent, "1"))
    try:
        from ot.lp import emd2
    finally:
        for flag in absent:
            del os.environ[flag]
    return emd2


def move(source: np.ndarray, target: np.ndarray, distances: np.ndarray) -> float:
    """Return the earth mover's distance between two distributions over the same points.

    Parameters
    ----------
    source, target : ndarray, shape (m,)
        Masses, each summing to one.
    distances : ndarray, shape (m, m)
        Between the points; a metric.

    Returns
    -------
    float
        Mean distance travelled, in the unit of `distances`.
    """
    # What both have at a point stays there (the distance is a metric), so only the surplus is moved.
    surplus = source - target
    givers, takers = np.flatnonzero(surplus > 1e-12), np.flatnonzero(surplus < -1e-12)
    if not givers.size or not takers.size:
        return 0.0
    moved = surplus[givers].sum()
    give, take = surplus[givers] / moved, surplus[takers] / surplus[takers].sum()
    return float(moved * _network_simplex()(give, take, distances[np.ix_(givers, takers)]))


def _uniform_distance(truth: Truth | None, space: Space) -> float:
    if truth is None:
        return float("nan")
    uniform = RankedMap(np.ones(space.n), np.arange(space.n))
    return earth_movers_distance(uniform, truth, space)


@register(
    "earth_movers_distance",
    needs=("truth", "mask"),
    chance=_uniform_distance,
    larger_is_better=False,
    unit="mm",
    citation="Rubner et al., IJCV 2000;40:99; solver: Bonneel et al., ACM TOG 2011;30:158; chance: uniform map",
)
def earth_movers_distance(heatmap: RankedMap, truth: Truth, space: Space) -> float:
    """Return the distance over which the map's positive mass must travel to spread like the truth's strength.

    Zero for the truth itself. A map without positive mass counts as uniform. NaN for an invalid map or an
    empty truth.
    """
    strength = np.where(truth.inside, truth.strength, 0.0)
    if not heatmap.valid or strength.sum() <= 0:
        return float("nan")
    index, _ = space.cells
    source = np.bincount(index, heatmap.mass)
    target = np.bincount(index, strength / strength.sum())
    return move(source, target, space.cell_distances)
