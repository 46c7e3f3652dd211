"""One scan with its maps, and the order in which a map would have its voxels removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.errors import GeometryError
from heatproof.metrics.faithfulness.asking import as_array
from heatproof.metrics.space import Space
from heatproof.randomness import generator


@dataclass(frozen=True)
class RankedScan:
    """A scan, the maps of it and the mask inside which voxels are ranked.

    Attributes
    ----------
    image : ndarray, shape (C, *S)
        In double precision.
    maps : ndarray, shape (M, *S)
    mask : ndarray of bool, shape (*S,)
    places : ndarray of int, shape (n,)
        Voxels of the mask in the flattened grid.
    valid : ndarray of bool, shape (M,)
        Maps without a NaN or infinite value inside the mask.
    seed : int
        Settles ties.
    """

    image: np.ndarray
    maps: np.ndarray
    mask: np.ndarray
    places: np.ndarray
    valid: np.ndarray
    seed: int

    @classmethod
    def of(cls, image: Any, maps: Any, mask: Any, seed: int) -> RankedScan:
        """Return a scan (C, *S) with its maps (M, *S); without a mask every voxel is ranked.

        Raises
        ------
        GeometryError
            Scan, maps and mask are not on one grid, or the mask is empty.
        """
        image, maps = as_array(image), as_array(maps)
        check_grid(image, maps, "maps")
        inside = np.ones(image.shape[1:], bool) if mask is None else as_array(mask) != 0
        check_grid(image, inside[None], "mask")
        # An empty mask is refused there, as for every other metric.
        places = np.flatnonzero(Space.of(inside, inside).mask)
        valid = np.isfinite(maps.reshape(len(maps), -1)[:, places]).all(axis=1)
        return cls(image, maps, inside, places, valid, seed)

    def order(self, index: int) -> np.ndarray:
        """Return the voxels of the mask from the most to the least relevant one for a map, shape (n,).

        Equal values stand in a random order that is the same for every map.
        """
        shuffled = generator(self.seed, "faithfulness", "ties").permutation(self.places.size)
        values = self.maps[index].reshape(-1)[self.places[shuffled]]
        return self.places[shuffled[np.argsort(-values, kind="stable")]]

    def removed(self, voxels: np.ndarray) -> np.ndarray:
        """Return some voxels of the flattened grid as a mask, shape (*S,)."""
        removed = np.zeros(self.mask.size, bool)
        removed[voxels] = True
        return removed.reshape(self.mask.shape)


def check_grid(image: np.ndarray, others: np.ndarray, field: str) -> None:
    """Check that arrays (M, *S) lie on the grid of a scan (C, *S).

    Raises
    ------
    GeometryError
        They do not, or the scan has no space axis.
    """
    if image.ndim < 2 or others.shape[1:] != image.shape[1:]:
        raise GeometryError(
            f"a scan of shape {image.shape} does not fit {field} of shape {others.shape}.",
            field=field,
            remedy="pass the scan as (C, *S), the maps as (M, *S) and the mask as (*S).",
        )
