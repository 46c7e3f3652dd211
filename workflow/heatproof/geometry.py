"""Grids: the shape of an array together with where its voxels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heatproof.errors import GeometryError

TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Grid:
    """A regular grid of one to three space axes.

    Attributes
    ----------
    shape : tuple of int
        Length of each space axis.
    affine : ndarray, shape (4, 4), or None
        Voxel to world in mm (volumes only).
    spacing : tuple of float
        Step along each axis, in `units`; taken from the affine where there is one.
    units : str
        Unit of the spacing: ``mm``, ``pixel`` or ``ms``.
    """

    shape: tuple[int, ...]
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] = ()
    units: str = "mm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(length) for length in self.shape))
        if self.affine is not None:
            affine = np.asarray(self.affine, dtype=np.float64)
            if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
                raise GeometryError(
                    "the affine is not an invertible 4 x 4 matrix.",
                    field="affine",
                    remedy="write the image again with a valid sform or qform.",
                )
            object.__setattr__(self, "affine", affine)
            steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
            object.__setattr__(self, "spacing", tuple(steps[: len(self.shape)].tolist()))
        elif not self.spacing:
            object.__setattr__(self, "spacing", (1.0,) * len(self.shape))

    @property
    def voxel_sizes(self) -> tuple[float, ...]:
        """Step along each axis."""
        return self.spacing

    @property
    def voxel_volume(self) -> float:
        """Product of the steps (mm3 for a volume)."""
        return float(np.prod(self.spacing))

    def matches(self, other: Grid, tolerance: float = TOLERANCE_MM) -> bool:
        """Return whether shape and affine agree, corner by corner, to `tolerance` (mm)."""
        if self.shape != other.shape or (self.affine is None) != (other.affine is None):
            return False
        if self.affine is None or other.affine is None:
            return np.allclose(self.spacing, other.spacing)
        corners = np.array(np.meshgrid(*[(0, length - 1) for length in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.world(corners) - other.world(corners)).max() <= tolerance)

    def world(self, voxels: np.ndarray) -> np.ndarray:
        """Return world coordinates (n, 3) in mm of voxel indices (n, 3)."""
        affine = self._volume_affine()
        return np.asarray(voxels, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]

    def voxel(self, world: np.ndarray) -> np.ndarray:
        """Return fractional voxel indices (n, 3) of world coordinates (n, 3) in mm."""
        inverse = np.linalg.inv(self._volume_affine())
        return np.asarray(world, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def coordinates(self) -> np.ndarray:
        """Return the world coordinates of every voxel, shape (*shape, 3), in mm (volumes only)."""
        self._volume_affine()
        indices = np.stack(np.meshgrid(*[np.arange(n) for n in self.shape], indexing="ij"), axis=-1)
        return self.world(indices.reshape(-1, 3)).reshape(*self.shape, 3)

    def _volume_affine(self) -> np.ndarray:
        if self.affine is None or len(self.shape) != 3:
            raise GeometryError("the grid has no world coordinates.", field="affine", remedy="use a volume.")
        return self.affine


def resample(array: np.ndarray, source: Grid, target: Grid, order: int = 1, fill: float = 0.0) -> np.ndarray:
    """Return `array` on another grid, matched through the affines.

    Parameters
    ----------
    array : ndarray, shape source.shape
        Values on the source grid.
    source, target : Grid
        Volumes with affines.
    order : {0, 1, 3}
        Nearest neighbour (labels), linear, or cubic interpolation.
    fill : float
        Value outside the source.
    """
    if source.matches(target):
        return array
    import nibabel
    from nilearn.image import resample_img

    names = {0: "nearest", 1: "linear", 3: "continuous"}
    if order not in names:
        raise GeometryError(f"interpolation order {order} is not known.", field="order", remedy="use 0, 1 or 3.")
    # nilearn wants a type that holds every label exactly; float64 does up to 2**53.
    image = nibabel.Nifti1Image(np.asarray(array, dtype=np.float64), source._volume_affine())
    moved = resample_img(
        image,
        target_affine=target._volume_affine(),
        target_shape=target.shape,
        interpolation=names[order],
        fill_value=fill,
        force_resample=True,
        copy_header=True,
    )
    values = np.asarray(moved.dataobj)
    return np.rint(values).astype(array.dtype) if order == 0 else values.astype(np.float32)
