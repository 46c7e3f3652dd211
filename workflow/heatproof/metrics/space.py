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
        Step along each axis (mm, or the unit of the grid). An infinite step stands along an axis whose places are no
        neighbours, such as the leads of a signal: edges are sought and mass is moved within each of them alone.
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
        if not np.isfinite(self.spacing).any():
            raise GeometryError("no axis has neighbours.", field="spacing", remedy="give a finite step along one axis.")
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
    def apart(self) -> tuple[int, ...]:
        """Axes along which places are no neighbours: those with an infinite step."""
        return tuple(axis for axis, step in enumerate(self.spacing) if not np.isfinite(step))

    @property
    def near(self) -> tuple[int, ...]:
        """Axes along which places are neighbours."""
        return tuple(axis for axis, step in enumerate(self.spacing) if np.isfinite(step))

    @cached_property
    def leads(self) -> np.ndarray | None:
        """Lead of each voxel inside, shape (n,), where the first axis holds leads; None where it does not."""
        return np.nonzero(self.mask)[0] if self.apart == (0,) else None

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
        steps = [self.spacing[axis] for axis in self.near]
        inside = np.moveaxis(self.mask, self.apart, range(len(self.apart)))
        shell = np.empty(inside.shape, bool)
        for index in np.ndindex(inside.shape[: len(self.apart)]):
            shell[index] = _near_edge(inside[index], steps, self.edge)
        return np.moveaxis(shell, range(len(self.apart)), self.apart)[self.mask]

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Cell of each voxel inside, shape (n,), and the centres of the cells, shape (n_cells, n_near_axes).

        A centre is the mean position of the voxels in the cell that lie inside, so that a cell cut by the
        mask's edge does not pull mass outside. Places that are no neighbours share a cell where they agree along the
        other axes: how mass is spread over leads is no distance.
        """
        near = list(self.near)
        positions = np.argwhere(self.mask)[:, near] * np.asarray(self.spacing)[near]
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
    signed : ndarray, shape (n,), optional
        The effect with its sign, where that is known.
    """

    inside: np.ndarray
    strength: np.ndarray
    signed: np.ndarray | None = None

    @classmethod
    def of(cls, truth: np.ndarray, space: Space, strength: np.ndarray | None = None) -> Truth:
        """Return the truth inside a space; without a strength, the truth's own values are its strength."""
        values = space.take(np.asarray(truth))
        graded = values if strength is None else space.take(np.asarray(strength))
        return cls(values != 0, np.abs(graded.astype(np.float64)))

    @classmethod
    def of_effect(cls, effect: np.ndarray, space: Space, threshold: float, signed: np.ndarray | None = None) -> Truth:
        """Return the truth of an effect: voxels above a share of the effect's own maximum.

        `signed` is the effect with its sign; a mark of where it lies has none.
        """
        strength = np.abs(space.take(effect).astype(np.float64))
        return cls(strength > threshold * strength.max(), strength, _taken(signed, space))

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
    signed : ndarray, shape (n,), optional
        The map with its sign, for metrics that read it.
    """

    values: np.ndarray
    order: np.ndarray = field(repr=False)
    outside_mass: float = 0.0
    signed: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, heatmap: np.ndarray, space: Space, signed: np.ndarray | None = None) -> RankedMap:
        """Return the ranked map of an array, shape (*space,), and of the same map with its sign where that is given."""
        values = space.take(heatmap).astype(np.float64)
        outside = float(np.abs(heatmap, dtype=np.float64).sum() - np.abs(values).sum()) if space.outside_share else 0.0
        # Rounding may leave a tiny negative remainder.
        outside = outside if np.isnan(outside) else max(outside, 0.0)
        return cls(values, np.argsort(-values), outside, _taken(signed, space))

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


def _taken(array: np.ndarray | None, space: Space) -> np.ndarray | None:
    return None if array is None else space.take(np.asarray(array)).astype(np.float64)


def _near_edge(mask: np.ndarray, steps: list[float], edge: float) -> np.ndarray:
    """Return which voxels lie within `edge` of the outside of a mask or of its grid, at least one layer."""
    from scipy.ndimage import distance_transform_edt

    # One layer of padding makes the border of the grid an edge too, as for an image without a mask.
    distance = distance_transform_edt(np.pad(mask, 1), sampling=steps)
    # The transform measures to the centre of the next voxel outside; the edge lies half a step nearer.
    half = min(steps) / 2
    inner = (slice(1, -1),) * mask.ndim
    return np.asarray(distance[inner] - half <= max(edge, half) + 1e-9)


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
