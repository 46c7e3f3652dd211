"""Which of the two affines in a NIfTI header counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatproof.cohorts.findings import Note
from heatproof.errors import IntakeError
from heatproof.geometry import TOLERANCE_MM, Grid

AFFINE_CHOICES = ("strict", "sform", "qform")


def affine_of(path: Path, header: Any, choice: str, notes: list[Note]) -> np.ndarray:
    """Return the affine that counts, shape (4, 4), voxel to world in mm.

    Parameters
    ----------
    path : Path
        The file, for messages.
    header : nibabel header
        NIfTI-1 or NIfTI-2.
    choice : {"strict", "sform", "qform"}
        See `heatproof.cohorts.images.read_header`.
    notes : list of (field, remark)
        A remark is added for every decision.

    Raises
    ------
    IntakeError
        If there is no affine, it is invalid, it is not in mm, or two affines claim the same space.
    """
    from nibabel.spatialimages import HeaderDataError

    def bad(problem: str, remedy: str) -> IntakeError:
        return IntakeError(problem, file=path.name, field="affine", remedy=remedy)

    if header.get_xyzt_units()[0] in ("meter", "micron"):
        raise bad("distances are not in mm.", "write the image again in mm.")
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    try:
        given = {
            name: np.asarray(getattr(header, f"get_{name}")(), dtype=np.float64)
            for name, code in codes.items()
            if code > 0
        }
    except (HeaderDataError, ValueError) as error:
        raise bad(f"the qform is invalid ({error}).", "write the image again with a valid affine.") from error
    if not given:
        raise bad(
            "sform and qform both have code 0, so the image does not say where it lies.",
            "write the image again with the affine of its registration and a code.",
        )
    for name, matrix in given.items():
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
            raise bad(f"the {name} is not an invertible matrix.", "write the image again with a valid affine.")
    used = _choose(path, header, given, codes, choice, notes)
    if np.linalg.det(given[used][:3, :3]) < 0:
        notes.append(("affine", "stored left-handed (first axis from right to left); the affine is followed"))
    return given[used]


def _choose(
    path: Path,
    header: Any,
    given: dict[str, np.ndarray],
    codes: dict[str, int],
    choice: str,
    notes: list[Note],
) -> str:
    """Return which of sform and qform counts."""
    if len(given) == 1:
        return next(iter(given))
    shape = tuple(int(length) for length in header.get_data_shape())[:3]
    one, other = Grid(shape, given["sform"]), Grid(shape, given["qform"])
    if one.matches(other, tolerance=10 * TOLERANCE_MM):
        return "sform"
    if choice == "strict" and codes["sform"] == codes["qform"]:
        raise IntakeError(
            f"sform and qform differ but both claim the same space (code {codes['sform']}).",
            file=path.name,
            field="affine",
            remedy="write the image again with one affine, or set affine: sform or affine: qform.",
        )
    used = "sform" if choice == "strict" else choice
    notes.append(
        (
            "affine",
            f"sform (code {codes['sform']}) and qform (code {codes['qform']}) differ; the {used} is used",
        )
    )
    return used
