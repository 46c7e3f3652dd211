"""Tiny volumes and tables, written the way that real data lie on a disk."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (6, 7, 5)
# 20 mm voxels around the middle of the brain, axes to the right, to the front, up.
AFFINE = np.array([[20.0, 0, 0, -50], [0, 20, 0, -70], [0, 0, 20, -40], [0, 0, 0, 1]])


def brain(number: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return values without any symmetry, so that a lost flip shows."""
    return np.random.default_rng(number).uniform(10, 100, shape).astype(np.float32)


def write_image(
    path: Path,
    values: np.ndarray,
    affine: np.ndarray | None = AFFINE,
    *,
    sform_code: int = 1,
    qform_code: int = 1,
    qform: np.ndarray | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=sform_code)
    image.set_qform(affine if qform is None else qform, code=qform_code)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def write_scaled(path: Path, stored: np.ndarray, slope: float, intercept: float) -> Path:
    """Write integers with a slope and an intercept in the header, byte by byte as a scanner would."""
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    header = image.header
    header.set_slope_inter(slope, intercept)
    header["vox_offset"] = 352
    content = header.binaryblock + b"\0" * 4 + stored.tobytes(order="F")
    path.write_bytes(gzip.compress(content))
    return path


def write_rows(path: Path, rows: list[dict[str, object]], separator: str = "\t", end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(rows[0]), *(separator.join(str(cell) for cell in row.values()) for row in rows)]
    path.write_bytes((end.join(lines) + end).encode())
    return path


def table_rows(n: int = 6) -> list[dict[str, object]]:
    return [
        {
            "scan_id": f"scan-{number}",
            "participant_id": f"person-{number}",
            "path": f"images/scan-{number}.nii.gz",
            "diagnosis": ("HC", "AD")[number % 2],
            "age": 60 + number,
            "sex": "FM"[number % 2],
        }
        for number in range(n)
    ]


def write_cohort(root: Path, n: int = 6) -> list[dict[str, object]]:
    """Write n sound images and their table; return its rows."""
    rows = table_rows(n)
    for number, row in enumerate(rows):
        write_image(root / str(row["path"]), brain(number))
    write_rows(root / "scans.tsv", rows)
    return rows


def table_spec(**keys: object) -> dict[str, object]:
    return {"source": "table", "table": "scans.tsv", "mask": "none", "grid": "images/scan-0.nii.gz", **keys}


def outputs(folder: Path) -> dict[str, Path]:
    return {
        "cohort": folder / "cohort.h5",
        "participants": folder / "participants.tsv",
        "intake": folder / "intake.tsv",
        "volumes": folder / "volumes.tsv",
    }
