"""Volumes that a user brings: read with a trusted affine, and brought to the cohort's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heatproof.errors import GeometryError
from heatproof.geometry import TOLERANCE_MM, Grid, resample

# Labels stored with a slope come back from rounding this close to a whole number.
WHOLE_TOLERANCE = 1e-4


def read_volume(path: str | Path, field: str) -> tuple[np.ndarray, Grid]:
    """Return the values and the grid of a NIfTI volume.

    Parameters
    ----------
    path : str or Path
        ``.nii`` or ``.nii.gz``, three axes (further axes of length one are dropped).
    field : str
        Key of the configuration, for the error.

    Raises
    ------
    GeometryError
        If it cannot be read, has more than three axes, has no spatial code or an identity affine, or if its
        sform and qform disagree.
    """
    import nibabel

    try:
        image = nibabel.nifti1.load(path)
        values = np.asarray(image.dataobj)
    except (nibabel.filebasedimages.ImageFileError, EOFError, OSError, ValueError) as error:
        raise GeometryError(
            f"the volume cannot be read ({error}).", file=path, field=field, remedy="give a whole NIfTI file."
        ) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise GeometryError(
            f"the volume has {values.ndim} axes.", file=path, field=field, remedy="give one volume of 3 axes."
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    _require_trusted(image.header, affine, path, field)
    return values, Grid(values.shape, affine)


def whole_numbers(values: np.ndarray) -> np.ndarray | None:
    """Return the values of a label volume as int32, or None if one is no whole number of at most 31 bits."""
    if not np.isfinite(values).all():
        return None
    whole = np.rint(values, dtype=np.float64)
    if np.abs(whole - values).max(initial=0) > WHOLE_TOLERANCE or np.abs(whole).max(initial=0) >= 2**31:
        return None
    return whole.astype(np.int32)


def _require_trusted(header: object, affine: np.ndarray, path: str | Path, field: str) -> None:
    sform, sform_code = header.get_sform(coded=True)  # type: ignore[attr-defined]
    qform, qform_code = header.get_qform(coded=True)  # type: ignore[attr-defined]
    problem = ""
    if not sform_code and not qform_code:
        problem = "neither sform nor qform says where the voxels lie"
    elif np.allclose(affine, np.eye(4), atol=TOLERANCE_MM):
        problem = "the affine is the identity, so voxel indices stand in for millimetres"
    elif sform_code and qform_code and not np.allclose(sform, qform, atol=0.1):
        problem = "sform and qform disagree"
    if problem:
        raise GeometryError(
            f"{problem}.", file=path, field=field, remedy="write the volume again with its true affine."
        )


def onto(
    values: np.ndarray,
    source: Grid,
    target: Grid,
    *,
    order: int,
    file: object = None,
    field: str | None = None,
) -> np.ndarray:
    """Return `values` on the cohort's grid, matched through the affines.

    Parameters
    ----------
    values : ndarray, shape source.shape
        Values on the source grid.
    source, target : Grid
        Volumes with affines.
    order : {0, 1}
        Nearest neighbour for labels and masks, linear for statistics.

    Raises
    ------
    GeometryError
        If the target has no world coordinates, or no voxel of it lies inside the source.
    """
    require_overlap(source, target, file=file, field=field)
    return resample(values, source, target, order=order)


def require_overlap(source: Grid, target: Grid, *, file: object = None, field: str | None = None) -> None:
    """Raise unless some voxel of the cohort's grid lies inside the source.

    Raises
    ------
    GeometryError
        If the target has no world coordinates, or no voxel of it lies inside the source.
    """
    if target.affine is None:
        raise GeometryError(
            "the cohort's grid has no world coordinates, so a map in MNI space cannot be brought to it.",
            file=file,
            field=field,
            remedy="use this truth with volumes only.",
        )
    inside = source.voxel(target.coordinates().reshape(-1, 3))
    covered = np.all((inside > -0.5) & (inside < np.array(source.shape) - 0.5), axis=1)
    if not covered.any():
        raise GeometryError(
            "the volume and the cohort's grid do not overlap.",
            file=file,
            field=field,
            remedy="bring the volume into the space of the cohort (MNI).",
        )
