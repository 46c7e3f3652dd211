"""Which voxels are known at the start, and which a map reveals next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

# Share of the voxels that the fully blurred image shows.
START = 0.01


def corners(shape: Sequence[int]) -> np.ndarray:
    """Return a mask of the grid's corners, shape (*S,)."""
    mask = np.zeros(shape, bool)
    for corner in product((0, -1), repeat=len(shape)):
        mask[corner] = True
    return mask


def scattered_start(shape: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Return one random voxel of every cell of a grid whose cells hold 1 / `START` voxels, shape (*S,).

    Random but even (jittered sampling): a start with holes would favour maps that happen to fill them. The number
    of cells along each axis is rounded, so short axes show somewhat more or less.
    """
    cells = [max(1, round(length * START ** (1 / len(shape)))) for length in shape]
    edges = [np.linspace(0, length, n + 1) for length, n in zip(shape, cells, strict=True)]
    places = []
    for axis, bounds in enumerate(edges):
        low, high = np.ceil(bounds[:-1] - 0.5).astype(int), np.ceil(bounds[1:] - 0.5).astype(int)
        form = [1] * len(shape)
        form[axis] = -1
        draws = generator.random(cells)
        places.append((low.reshape(form) + np.floor(draws * (high - low).reshape(form))).astype(int))
    mask = np.zeros(shape, bool)
    mask[tuple(places)] = True
    return mask


def published_start(shape: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Return a mask of exactly 1 % of the pixels, drawn without replacement as `generate_random_mask` does."""
    mask = np.zeros(shape, bool)
    mask.reshape(-1)[generator.choice(mask.size, int(mask.size * START), replace=False)] = True
    return mask


class Ranking:
    """Nested masks: the start, and the most relevant of the voxels that it hides.

    Parameters
    ----------
    start : ndarray of bool, shape (*S,)
        Voxels that are shown from the beginning.
    generator : Generator
        Draws the order in which equal values follow each other, the same for all maps: neither place nor
        method decides between them.
    """

    def __init__(self, start: np.ndarray, generator: np.random.Generator) -> None:
        self.start = start
        self.hidden = generator.permutation(np.flatnonzero(~start))

    def order(self, heatmap: np.ndarray) -> np.ndarray:
        """Return the hidden voxels as flat positions, most relevant first, shape (n_hidden,)."""
        return self.hidden[np.argsort(-heatmap.reshape(-1)[self.hidden], kind="stable")]

    def mask(self, order: np.ndarray, share: float) -> np.ndarray:
        """Return the start with a share of the hidden voxels revealed, shape (*S,)."""
        shown = self.start.copy()
        shown.reshape(-1)[order[: round(share * order.size)]] = True
        return shown


def published_masks(heatmap: np.ndarray, start: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
    """Return the masks of `compute_pic_metric`: all pixels from the quantile on, so that equal values come together."""
    quantiles = np.quantile(heatmap, 1 - thresholds)
    return [(heatmap >= quantile) | start for quantile in quantiles]
