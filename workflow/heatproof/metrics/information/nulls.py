"""Nulls made of a map itself: as much relevance, as smooth, but elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.nulls import surrogates_of
from heatproof.metrics.space import RankedMap, Space

NULLS = ("turned", "phase")


def null_maps(
    heatmap: np.ndarray, generator: np.random.Generator, kinds: Sequence[str] = NULLS, mask: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return nulls of one map.

    Parameters
    ----------
    heatmap : ndarray, shape (*S,)
        Finite.
    generator : Generator
        Draws the surrogate.
    kinds : sequence of {"turned", "phase"}
        ``turned`` is the map flipped along every axis. ``phase`` has the map's own values, laid out in the order of
        a random field with the map's spectrum (see `heatproof.metrics.nulls`).
    mask : ndarray of bool, shape (*S,), or None
        Where the surrogate is laid out; it is 0 elsewhere.

    Returns
    -------
    dict of str to ndarray, shape (*S,)

    Raises
    ------
    ConfigError
        A kind is unknown.
    """
    unknown = sorted(set(kinds) - set(NULLS))
    if unknown:
        raise ConfigError(f"unknown nulls: {unknown}.", field="nulls", remedy=f"use {', '.join(NULLS)}.")
    found = {}
    for kind in kinds:
        if kind == "turned":
            found[kind] = np.flip(heatmap).copy()
        else:
            space = Space.of(heatmap, mask)
            (surrogate,) = surrogates_of(RankedMap.of(heatmap, space), space).draw(1, generator)
            laid = np.zeros(heatmap.shape)
            laid[space.mask] = surrogate.values
            found[kind] = laid
    return found
