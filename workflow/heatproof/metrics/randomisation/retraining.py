"""Do maps follow what a network has learnt, and only that: permuted labels and repeated trainings."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.randomisation.similarity import paired


def data_randomisation(
    maps: Any, maps_of_permuted: Any, similarity: str = "spearman", mask: np.ndarray | None = None
) -> np.ndarray:
    """Return how alike the maps of a network and of its twin trained on permuted labels are.

    The twin has learnt the scans but not the classes, so a method that explains the class must change (Adebayo et al.
    2018, arXiv 1810.03292, section 4).

    Parameters
    ----------
    maps, maps_of_permuted : Tensor or ndarray, shape (n_scans, C, *space) or (n_scans, *space)
        Maps of the same scans, in one order.
    similarity : str
        A kind of `heatproof.metrics.randomisation.similarity`.
    mask : ndarray of bool, shape (*space,), optional
        Where to compare; everywhere by default.

    Returns
    -------
    ndarray, shape (n_scans,)
        Less is better; NaN where either map is constant or not finite.

    Raises
    ------
    GeometryError
        As many maps on one side as on the other, or grids, do not match.
    """
    return paired(maps, maps_of_permuted, similarity, mask)


def retraining_agreement(maps_by_run: Any, similarity: str = "spearman", mask: np.ndarray | None = None) -> np.ndarray:
    """Return how alike the maps of one scan are over repeated trainings: the mean over all pairs of runs.

    Parameters
    ----------
    maps_by_run : Tensor, ndarray or sequence of them, shape (n_runs, n_scans, C, *space) or (n_runs, n_scans, *space)
        Maps of the same scans by networks that differ in their seed or their fold.
    similarity : str
        A kind of `heatproof.metrics.randomisation.similarity`.
    mask : ndarray of bool, shape (*space,), optional
        Where to compare; everywhere by default.

    Returns
    -------
    ndarray, shape (n_scans,)
        More is better, unless the method ignores the network. NaN where the map of any run is constant or not
        finite.

    Raises
    ------
    ConfigError
        Fewer than two runs.
    GeometryError
        Runs with different scans or grids.
    """
    if len(maps_by_run) < 2:
        raise ConfigError(
            f"{len(maps_by_run)} trainings cannot agree.", field="seeds", remedy="train with two seeds or more."
        )
    return np.mean([paired(one, two, similarity, mask) for one, two in combinations(maps_by_run, 2)], axis=0)
