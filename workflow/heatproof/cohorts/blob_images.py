"""Four soft blobs on a faint ground, and the exact flow that makes a blob shrink or grow.

The flow of a blob is radial and smooth: dr/dt = rate * r * (1 - r^2 / reach^2)^2 for one unit of time. In pull-back
form a positive rate shows what lies further out, so the blob shrinks. Nothing moves beyond the reach, and the reaches
of two blobs never meet, so the flows of several blobs commute and the flow of the negative rates is the exact inverse.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heatproof.cohorts.deformations import sample

AREAS = {1: "Effect one", 2: "Effect two", 3: "Nuisance one", 4: "Nuisance two"}
EFFECTS, NUISANCES = (1, 2), (3, 4)
# Steps of the classical Runge-Kutta rule for one unit of time: exact to a millionth of a voxel.
FLOW_STEPS = 8


@dataclass(frozen=True)
class Blob:
    """One blob of a person's anatomy.

    Attributes
    ----------
    centre : tuple of float
        Middle, in voxels.
    radius : float
        Distance from the middle at which its brightness has fallen to half, in voxels.
    reach : float
        Distance beyond which its flow moves nothing, in voxels.
    """

    centre: tuple[float, ...]
    radius: float
    reach: float

    @property
    def core(self) -> float:
        """How far from the middle a shrinking blob loses tissue: where the divergence of its flow is zero."""
        axes = len(self.centre)
        return float(self.reach * np.sqrt(axes / (axes + 4)))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return the distance of points (axes, ...) from the middle, in voxels."""
        return np.sqrt((self._offset(points) ** 2).sum(axis=0))

    def flow(self, points: np.ndarray, rate: float) -> np.ndarray:
        """Return where points (axes, ...) have gone after one unit of time."""
        offset = self._offset(points)
        share = (offset**2).sum(axis=0) / self.reach**2
        near = share < 1
        gone = np.array(points, dtype=np.float64)
        gone[:, near] += offset[:, near] * np.expm1(_growth(share[near], rate))
        return gone

    def _offset(self, points: np.ndarray) -> np.ndarray:
        middle = np.asarray(self.centre, dtype=np.float64)
        return points - middle.reshape(-1, *[1] * (points.ndim - 1))


def _growth(share: np.ndarray, rate: float) -> np.ndarray:
    """Return the logarithm of how many times as far from the middle a point goes: its path is a ray.

    `share` is its squared distance at the start, in units of the squared reach.
    """
    growth, step = np.zeros_like(share), 1.0 / FLOW_STEPS

    def slope(at: np.ndarray) -> np.ndarray:
        return rate * np.maximum(0.0, 1.0 - share * np.exp(2 * at)) ** 2

    for _ in range(FLOW_STEPS):
        first = slope(growth)
        second = slope(growth + step / 2 * first)
        third = slope(growth + step / 2 * second)
        fourth = slope(growth + step * third)
        growth = growth + step / 6 * (first + 2 * second + 2 * third + fourth)
    return growth


def room(shape: Sequence[int]) -> float:
    """Return how far the middle of a blob is from the nearest border or the neighbours' half, in voxels."""
    return min(shape) / (8 if len(shape) == 1 else 4)


def centres(shape: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the middle of each area: in a row, in the quadrants of an image, at the corners of a tetrahedron.

    Blobs with the effect lie across from each other, with a nuisance between or beside them.
    """
    size = np.asarray(shape, dtype=np.float64)
    places: dict[int, tuple[float, ...]]
    if len(shape) == 1:
        places = {1: (0.125,), 3: (0.375,), 2: (0.625,), 4: (0.875,)}
    elif len(shape) == 2:
        places = {1: (0.25, 0.25), 2: (0.75, 0.75), 3: (0.25, 0.75), 4: (0.75, 0.25)}
    else:
        even = [corner for corner in itertools.product((0.25, 0.75), repeat=3) if corner.count(0.75) % 2 == 0]
        places = dict(zip(AREAS, even, strict=True))
    return {area: np.asarray(place) * size - 0.5 for area, place in sorted(places.items())}


def flowed(points: np.ndarray, blobs: Mapping[int, Blob], rates: Mapping[int, float]) -> np.ndarray:
    """Return where points (axes, ...) have gone when each blob flows at its rate; those without one stay."""
    for area, rate in rates.items():
        points = blobs[area].flow(points, rate)
    return points


def tissue(
    points: np.ndarray, blobs: Mapping[int, Blob], edge: float, ground: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Return the brightness at points of the anatomy.

    Parameters
    ----------
    points : ndarray, shape (axes, ...)
        Positions in voxels.
    blobs : mapping of int to Blob
        The blobs.
    edge : float
        Width of the border of a blob, in voxels.
    ground, inside : ndarray, shape (*space,)
        Brightness beside and inside the blobs, textured.
    """
    # Cubic, so that a warped texture is as sharp as one at rest.
    around, within = (sample(texture, points, order=3) for texture in (ground, inside))
    cover = sum(0.5 * (1 - np.tanh((blob.distance(points) - blob.radius) / edge)) for blob in blobs.values())
    return (around + (within - around) * np.clip(cover, 0, 1)).astype(np.float32)


def areas_at(points: np.ndarray, blobs: Mapping[int, Blob]) -> np.ndarray:
    """Return the area of each point (axes, ...), int32; 0 beside the blobs."""
    labels = np.zeros(points.shape[1:], dtype=np.int32)
    for area, blob in blobs.items():
        labels[blob.distance(points) < blob.radius] = area
    return labels
