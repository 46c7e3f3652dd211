"""Nulls made of a map itself: as much relevance, as smooth, but elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.errors import ConfigError
from heatproof.metrics.nulls import surrogates_of
from heatproof.metrics.space import RankedMap, Space

NULLS = ("turned", "phase")


def null_maps(
    heatmap: np.ndarray,
    generator: np.random.Generator,
    kinds: Sequence[str] = NULLS,
    mask: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
) -> dict[str, np.ndarray]:
    """Return nulls of one map.

    Parameters
    ----------
    heatmap : ndarray, shape (*S,)
        Finite.
    generator : Generator
        Draws the surrogate. What ``turned`` needs comes from a stream of its own, so neither kind changes the other.
    kinds : sequence of {"turned", "phase"}
        Both have exactly the map's own values inside the mask. ``turned`` is the map flipped along every axis. Voxels
        whose partner lies outside the mask take random places in the order of the flipped map, and the map's own
        values are laid out in that order; where none does, this is the flipped map itself. ``phase`` is laid out in
        the order of a random field with the map's spectrum (see `heatproof.metrics.nulls`).
    mask : ndarray of bool, shape (*S,), or None
        Where nulls are laid out; they are 0 elsewhere. Everywhere without one.
    spacing : sequence of float, optional
        Step along each axis. An infinite one says that places along it are no neighbours (leads): nothing is flipped
        along such an axis, and fields are smooth along the others alone.

    Returns
    -------
    dict of str to ndarray, shape (*S,)

    Raises
    ------
    ConfigError
        A kind is unknown.
    GeometryError
        The mask is empty or not on the map's grid.
    """
    unknown = sorted(set(kinds) - set(NULLS))
    if unknown:
        raise ConfigError(f"unknown nulls: {unknown}.", field="nulls", remedy=f"use {', '.join(NULLS)}.")
    space = Space.of(heatmap, mask)
    if spacing is not None:
        space = Space(space.mask, tuple(spacing))
    (own,) = generator.spawn(1)
    found = {}
    for kind in kinds:
        if kind == "turned":
            found[kind] = _turned(heatmap, space, own)
        else:
            (surrogate,) = surrogates_of(RankedMap.of(heatmap, space), space).draw(1, generator)
            laid = np.zeros(heatmap.shape)
            laid[space.mask] = surrogate.values
            found[kind] = laid
    return found


def _turned(heatmap: np.ndarray, space: Space, generator: np.random.Generator) -> np.ndarray:
    """Return the map flipped inside the mask, with its own values there (see `null_maps`)."""
    values, flipped = space.take(heatmap), space.take(np.flip(heatmap, space.near))
    lonely = ~space.take(np.flip(space.mask, space.near))
    if lonely.any():
        # Shuffled first, so that equal values do not follow each other voxel by voxel.
        order = generator.permutation(np.flatnonzero(~lonely))
        order = order[np.argsort(flipped[order], kind="stable")]
        ranks = generator.permutation(values.size)
        random_ranks, ordered_ranks = np.split(ranks, [int(lonely.sum())])
        ascending = np.sort(values)
        flipped[lonely] = ascending[random_ranks]
        flipped[order] = ascending[np.sort(ordered_ranks)]
    laid = np.zeros_like(heatmap)
    laid[space.mask] = flipped
    return laid
