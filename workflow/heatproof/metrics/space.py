"""What metrics look at: a map ranked once, a truth, and the mask in which both are compared.

Every metric of a map shares one sort of its voxels; every truth is prepared once for all maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from heatproof.errors import GeometryError


@dataclass(frozen=True)
class Space:
    """The mask inside which maps are judged, with the steps of its grid.

    Attributes
    ----------
    mask : ndarray of bool, shape (*space,)
        The brain, or the whole image.
    spacing : tuple of float
        Step along each axis (mm, or the unit of the grid).
    edge : float
        Thickness of the shell at the mask's edge, in the unit of `spacing`.
    cell : float
        Edge length of the coarse cells in which mass is moved, in the unit of `spacing`.
    """

    mask: np.ndarray
    spacing: tuple[float, ...]
    edge: float = 6.0
    cell: float = 24.0

    def __post_init__(self) -> None:
        if len(self.spacing) != self.mask.ndim:
            raise GeometryError(
                f"{self.mask.ndim} axes but {len(self.spacing)} steps.",
                field="spacing",
                remedy="give one step per axis of the mask.",
            )
        if not self.mask.any():
            raise GeometryError("the mask holds no voxel.", field="mask", remedy="give a mask that covers the brain.")

    @classmethod
    def of(cls, array: np.ndarray, mask: np.ndarray | None = None) -> Space:
        """Return the space of an array with unit steps; without a mask everything is inside."""
        inside = np.ones(array.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        return cls(inside, (1.0,) * array.ndim)

    @cached_property
    def n(self) -> int:
        """Number of voxels inside."""
        return int(self.mask.sum())

    @property
    def outside_share(self) -> float:
        """Share of the grid that lies outside the mask."""
        return 1 - self.n / self.mask.size

    def take(self, array: np.ndarray) -> np.ndarray:
        """Return the values of an array inside the mask, shape (n,).

        Raises
        ------
        GeometryError
            If the array does not have the mask's shape.
        """
        if array.shape != self.mask.shape:
            raise GeometryError(
                f"an array of shape {array.shape} does not fit a mask of shape {self.mask.shape}.",
                field="shape",
                remedy="resample it through its affine first.",
            )
        return array[self.mask]

    @cached_property
    def shell(self) -> np.ndarray:
        """Voxels inside that lie within `edge` of the outside, shape (n,), never less than one layer."""
        from scipy.ndimage import distance_transform_edt

        # One layer of padding makes the border of the grid an edge too, as for an image without a mask.
        padded = np.pad(self.mask, 1)
        distance = distance_transform_edt(padded, sampling=self.spacing)
        # The transform measures to the centre of the next voxel outside; the edge lies half a step nearer.
        half = min(self.spacing) / 2
        inner = tuple(slice(1, -1) for _ in self.spacing)
        return (distance[inner] - half <= max(self.edge, half) + 1e-9)[self.mask]

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Cell of each voxel inside, shape (n,), and the centres of the cells, shape (n_cells, n_axes).

        A centre is the mean position of the voxels in the cell that lie inside, so that a cell cut by the
        mask's edge does not pull mass outside.
        """
        positions = np.argwhere(self.mask) * np.asarray(self.spacing)
        corner = np.floor(positions / self.cell).astype(np.int64)
        _, index = np.unique(corner, axis=0, return_inverse=True)
        index = index.reshape(-1)
        counts = np.bincount(index)
        centres = np.stack([np.bincount(index, axis) / counts for axis in positions.T], axis=1)
        return index, centres

    @cached_property
    def cell_distances(self) -> np.ndarray:
        """Distance between the centres of every two cells, shape (n_cells, n_cells)."""
        _, centres = self.cells
        return np.sqrt(((centres[:, None, :] - centres[None, :, :]) ** 2).sum(axis=-1))


@dataclass(frozen=True)
class Truth:
    """Where the signal is, inside a mask.

    Attributes
    ----------
    inside : ndarray of bool, shape (n,)
        Voxels of the truth.
    strength : ndarray, shape (n,)
        How strong it is at each voxel.
    """

    inside: np.ndarray
    strength: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, space: Space, strength: np.ndarray | None = None) -> Truth:
        """Return the truth inside a space; without a strength, the truth's own values are its strength."""
        values = space.take(np.asarray(truth))
        graded = values if strength is None else space.take(np.asarray(strength))
        return cls(values != 0, np.abs(graded.astype(np.float64)))

    @classmethod
    def of_effect(cls, effect: np.ndarray, space: Space, threshold: float) -> Truth:
        """Return the truth of an effect: voxels above a share of the effect's own maximum."""
        strength = np.abs(space.take(effect).astype(np.float64))
        return cls(strength > threshold * strength.max(), strength)

    @cached_property
    def n(self) -> int:
        """Number of voxels in the truth."""
        return int(self.inside.sum())

    @property
    def share(self) -> float:
        """Share of the mask that the truth fills."""
        return self.n / self.inside.size

    @cached_property
    def standard_ranks(self) -> np.ndarray | None:
        """Ranks of the strength, centred and of length one, shape (n,); None where all are equal."""
        return standardised(average_ranks(self.strength))


@dataclass(frozen=True)
class RankedMap:
    """A map inside a mask, sorted once.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Values inside the mask, float64.
    order : ndarray of int, shape (n,)
        Voxels from the largest value to the smallest.
    outside_mass : float
        Sum of absolute values outside the mask.
    """

    values: np.ndarray
    order: np.ndarray = field(repr=False)
    outside_mass: float = 0.0

    @classmethod
    def of(cls, heatmap: np.ndarray, space: Space) -> RankedMap:
        """Return the ranked map of an array, shape (*space,)."""
        values = space.take(heatmap).astype(np.float64)
        outside = float(np.abs(heatmap, dtype=np.float64).sum() - np.abs(values).sum()) if space.outside_share else 0.0
        # Rounding may leave a tiny negative remainder.
        return cls(values, np.argsort(-values), outside if np.isnan(outside) else max(outside, 0.0))

    @classmethod
    def permuted(cls, ascending: np.ndarray, keys: np.ndarray) -> RankedMap:
        """Return a map with the given values (sorted, ascending) laid out in the order of other numbers."""
        order = np.argsort(-keys)
        values = np.empty_like(ascending)
        values[order] = ascending[::-1]
        return cls(values, order)

    @cached_property
    def valid(self) -> bool:
        """Whether every value is finite."""
        return bool(np.isfinite(self.values).all())

    @cached_property
    def descending(self) -> np.ndarray:
        """Values from large to small, shape (n,)."""
        return self.values[self.order]

    @cached_property
    def ends(self) -> np.ndarray:
        """Position in `order` of the last voxel of each run of equal values."""
        return np.append(np.flatnonzero(np.diff(self.descending)), self.values.size - 1)

    def found(self, truth: Truth) -> np.ndarray:
        """Return how many voxels of the truth are among the first 1, 2, ... n, shape (n,)."""
        return np.cumsum(truth.inside[self.order])

    @cached_property
    def standard_ranks(self) -> np.ndarray | None:
        """Ranks of the values, centred and of length one, shape (n,); None where all are equal."""
        starts = np.append(0, self.ends[:-1] + 1)
        middle = self.values.size - (starts + self.ends) / 2
        ranks = np.empty(self.values.size)
        ranks[self.order] = np.repeat(middle, self.ends - starts + 1)
        return standardised(ranks)

    @cached_property
    def mass(self) -> np.ndarray:
        """Positive part as a distribution over the voxels, shape (n,); uniform where there is none."""
        positive = np.maximum(self.values, 0)
        total = positive.sum()
        return positive / total if total > 0 else np.full(positive.size, 1 / positive.size)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, equal values sharing the mean of theirs."""
    order = np.argsort(values)
    ascending = values[order]
    ends = np.append(np.flatnonzero(np.diff(ascending)), values.size - 1)
    starts = np.append(0, ends[:-1] + 1)
    ranks = np.empty(values.size)
    ranks[order] = np.repeat((starts + ends) / 2 + 1, ends - starts + 1)
    return ranks


def standardised(values: np.ndarray) -> np.ndarray | None:
    """Return values centred and scaled to length one, or None where all are equal."""
    centred = values - values.mean()
    # Summed without BLAS, whose order of adding depends on the number of threads.
    length = float(np.sqrt((centred * centred).sum()))
    return centred / length if length > 0 else None
