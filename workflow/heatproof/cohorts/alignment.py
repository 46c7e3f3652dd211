"""Bring a scan to the cohort's grid through its affine: exactly where it can be, else only if asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heatproof.cohorts.store import RawScan
from heatproof.errors import GeometryError
from heatproof.geometry import TOLERANCE_MM, Grid, resample


@dataclass(frozen=True)
class Reordering:
    """A change of axes that moves every voxel onto one voxel of the target.

    Attributes
    ----------
    axes : tuple of int
        Source axis for every target axis.
    flips : tuple of bool
        Whether that axis runs the other way.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self.axes == tuple(range(len(self.axes))) and not any(self.flips)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the last axes of `array` in the target's order."""
        lead = array.ndim - len(self.axes)
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        steps = (slice(None),) * lead + tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return np.ascontiguousarray(moved[steps])


def reordering(source: Grid, target: Grid) -> Reordering | None:
    """Return how source voxels become target voxels without interpolation, or None where they cannot."""
    if source.affine is None or target.affine is None:
        n_axes = len(target.shape)
        return Reordering(tuple(range(n_axes)), (False,) * n_axes) if source.matches(target) else None
    # Column j of the matrix says which target axis source axis j runs along.
    matrix = np.linalg.inv(target.affine)[:3, :3] @ source.affine[:3, :3]
    axes = tuple(int(axis) for axis in np.abs(matrix).argmax(axis=1))
    if sorted(axes) != [0, 1, 2] or tuple(source.shape[axis] for axis in axes) != target.shape:
        return None
    flips = tuple(bool(matrix[row, axis] < 0) for row, axis in enumerate(axes))
    candidate = Reordering(axes, flips)
    corners = np.array(np.meshgrid(*[(0, length - 1) for length in target.shape])).reshape(3, -1).T
    origin = np.empty_like(corners)
    for row, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        origin[:, axis] = target.shape[row] - 1 - corners[:, row] if flip else corners[:, row]
    distance = np.abs(source.world(origin) - target.world(corners)).max()
    return candidate if distance <= TOLERANCE_MM else None


def axis_codes(grid: Grid) -> str:
    """Return the directions of the axes, such as ``RAS`` or ``LPS`` (nearest ones if oblique)."""
    if grid.affine is None:
        return ""
    rotation = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    names = ("LR", "PA", "IS")
    codes = []
    for column in rotation.T:
        world = int(np.abs(column).argmax())
        codes.append(names[world][int(column[world] > 0)])
    return "".join(codes)


def is_oblique(grid: Grid, tolerance: float = 1e-4) -> bool:
    """Return whether an axis runs along none of the world's axes."""
    if grid.affine is None:
        return False
    rotation = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return bool(np.abs(np.sort(np.abs(rotation), axis=0)[:2]).max() > tolerance)


def is_bare(grid: Grid) -> bool:
    """Return whether the affine is the identity up to signs: voxel numbers, not a place in a head."""
    return grid.affine is not None and np.allclose(np.abs(grid.affine), np.eye(4), atol=1e-6)


def alignment_note(source: Grid, target: Grid, may_resample: bool) -> str:
    """Return what has to be done to bring one grid to another, "" if nothing.

    Raises
    ------
    GeometryError
        If the grids differ and resampling was not asked for, or the source has no place in the world.
    """
    if is_bare(source) and not is_bare(target):
        raise GeometryError(
            "the affine is the identity, so the image says nothing about where it lies, "
            "but a template grid is expected.",
            field="affine",
            remedy="write the image again with the affine of its registration",
        )
    exact = reordering(source, target)
    if exact is not None:
        if exact.is_identity:
            return ""
        return f"axes stored as {axis_codes(source)} were brought to {axis_codes(target)} through the affine"
    if not may_resample:
        raise GeometryError(_difference(source, target), field="affine", remedy=_REMEDY)
    kind = "oblique" if is_oblique(source) else axis_codes(source)
    return f"resampled from {_text(source)} ({kind}) to {_text(target)} through the affine"


_REMEDY = "register the scan to the grid, or set resample: true if it already lies in the grid's space"


def bring_to_grid(scan: RawScan, target: Grid, may_resample: bool) -> RawScan:
    """Return a scan on the grid of its cohort.

    Parameters
    ----------
    scan : RawScan
        Values (channels, *space), and truth and labels on the same grid.
    target : Grid
        Grid of the cohort.
    may_resample : bool
        Whether values may be interpolated (linearly; labels by nearest neighbour).

    Raises
    ------
    GeometryError
        As `alignment_note`.
    """
    alignment_note(scan.grid, target, may_resample)
    exact = reordering(scan.grid, target)

    def moved(array: np.ndarray, order: int) -> np.ndarray:
        if array.ndim > len(target.shape):
            return np.stack([moved(channel, order) for channel in array])
        return exact.apply(array) if exact is not None else resample(array, scan.grid, target, order)

    return replace(
        scan,
        values=moved(scan.values, 1),
        grid=target,
        truth=None if scan.truth is None else moved(scan.truth, 1),
        labels=None if scan.labels is None else moved(scan.labels, 0),
        truths=None if scan.truths is None else {name: moved(values, 1) for name, values in scan.truths.items()},
    )


def _text(grid: Grid) -> str:
    steps = " x ".join(f"{step:.4g}" for step in grid.spacing)
    return f"{' x '.join(str(length) for length in grid.shape)} voxels of {steps} {grid.units}"


def _difference(source: Grid, target: Grid) -> str:
    if source.shape != target.shape or not np.allclose(source.spacing, target.spacing, atol=TOLERANCE_MM):
        return f"wrong grid: {_text(source)} where {_text(target)} are expected"
    kind = "oblique" if is_oblique(source) else "shifted or turned"
    return f"wrong grid: {_text(source)} as expected, but {kind} against the cohort's affine"
