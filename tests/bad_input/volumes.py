"""Volumes: damaged files, affines that cannot be trusted, values that hold nothing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from bad_input import Trial
from cohorts.scan_files import (
    AFFINE,
    SHAPE,
    brain,
    outputs,
    table_rows,
    table_spec,
    write_cohort,
    write_image,
    write_rows,
)
from heatproof.stages.prepare import prepare

ROTATION = np.array([[0.995, -0.0998, 0, 0], [0.0998, 0.995, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
BAD = 3
NAME = f"images/scan-{BAD}.nii.gz"


def with_file(spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return an attempt with one of six volumes spoiled."""

    def attempt(folder: Path) -> None:
        write_cohort(folder)
        spoil(folder / NAME)
        prepare(table_spec(), seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def edited(change: Callable[[bytearray], None]) -> Callable[[Path], object]:
    """Return what changes the unpacked bytes of a file."""

    def spoil(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        change(content)
        path.write_bytes(gzip.compress(bytes(content), mtime=0))

    return with_file(spoil)


def _at(place: int, new: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[place : place + len(new)] = new

    return change


def _named(name: str) -> Callable[[Path], object]:
    """Return an attempt with a volume of another name."""

    def attempt(folder: Path) -> None:
        rows = write_cohort(folder)
        (folder / NAME).rename(folder / name)
        rows[BAD]["path"] = name
        write_rows(folder / "scans.tsv", rows)
        prepare(table_spec(), seed=1, root=folder, **outputs(folder / "results"))

    return attempt


def _values(values: np.ndarray, affine: np.ndarray | None = AFFINE, **keys: object) -> Callable[[Path], object]:
    return with_file(lambda path: write_image(path, values, affine, **keys))


def _voxel(value: float) -> np.ndarray:
    values = brain(BAD)
    values[2, 3, 1] = value
    return values


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def _units(path: Path) -> None:
    image = nibabel.load(path)
    image.header.set_xyzt_units("meter")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)


def _colours(path: Path) -> None:
    values = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    write_image(path, values)


def _labels(second: np.ndarray) -> Callable[[Path], object]:
    def attempt(folder: Path) -> None:
        write_cohort(folder)
        rows = [{**row, "labels_path": f"labels/{row['scan_id']}.nii.gz"} for row in table_rows()]
        for number, row in enumerate(rows):
            sound = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
            write_image(folder / str(row["labels_path"]), second if number == BAD else sound)
        write_rows(folder / "scans.tsv", rows)
        prepare(table_spec(), seed=1, root=folder, **outputs(folder / "results"))

    return attempt


TRIALS = (
    Trial("a voxel is NaN", _values(_voxel(np.nan))),
    Trial("a voxel is infinite", _values(_voxel(np.inf))),
    Trial("all voxels are zero", _values(np.zeros(SHAPE, np.float32))),
    Trial("all voxels are the same", _values(np.full(SHAPE, 7, np.float32))),
    Trial("four axes: two volumes in one file", _values(brain(BAD, (*SHAPE, 2)))),
    Trial("two axes", _values(brain(BAD, SHAPE[:2]))),
    Trial(
        "int16 with bright voxels clipped", _values(np.minimum(brain(BAD).astype(float) * 400, 32767).astype("int16"))
    ),
    Trial(
        "uint16 with bright voxels clipped", _values(np.minimum(brain(BAD).astype(float) * 800, 65535).astype("uint16"))
    ),
    Trial("int16 wrapped around", _values((brain(BAD).astype(np.int64) * 400).astype(np.int16))),
    Trial("colours instead of intensities", with_file(_colours)),
    Trial("the file is missing", with_file(lambda path: path.unlink())),
    Trial("zero bytes", with_file(lambda path: path.write_bytes(b""))),
    Trial("truncated .nii.gz", with_file(lambda path: path.write_bytes(path.read_bytes()[:-40]))),
    Trial("truncated before it was packed", edited(lambda content: content.__delitem__(slice(-8, None)))),
    Trial("a flipped bit in the packed voxels", with_file(_flip_bit)),
    Trial("wrong magic number in the header", edited(_at(344, b"abc\0"))),
    Trial("text named .nii.gz", with_file(lambda path: path.write_text("no image"))),
    Trial("a file that is not .nii or .nii.gz", _named("images/scan-3.mgz")),
    Trial("a packed file named .nii", _named("images/scan-3.nii")),
    Trial("a header that promises 27 million million voxels", edited(_at(42, (30000).to_bytes(2, "little") * 3))),
    Trial("a header whose voxels begin 1 TB into the file", edited(_at(108, np.float32(1e12).tobytes()))),
    Trial(
        "a packed file with far more than its header promises", edited(lambda content: content.extend(bytes(1 << 21)))
    ),
    Trial("sform and qform code 0", _values(brain(BAD), sform_code=0, qform_code=0)),
    Trial("sform and qform differ for the same space", _values(brain(BAD), qform=AFFINE @ ROTATION)),
    Trial("an affine that cannot be inverted", edited(_at(280, np.zeros(12, np.float32).tobytes()))),
    Trial("an affine with NaN", edited(_at(280, np.full(12, np.nan, np.float32).tobytes()))),
    Trial("a qform that is no rotation", edited(_at(256, np.full(3, 2, np.float32).tobytes()))),
    Trial("distances in metres", with_file(_units)),
    Trial("identity affine where a template grid is expected", _values(brain(BAD), np.eye(4))),
    Trial("another shape than the cohort's grid", _values(brain(BAD, (6, 7, 6)))),
    Trial("shifted by 5 mm against the cohort's grid", _values(brain(BAD), AFFINE + np.eye(4, k=3) * 5)),
    Trial("oblique against the cohort's grid", _values(brain(BAD), AFFINE @ ROTATION)),
    Trial("a label volume of another size than its image", _labels(np.ones((6, 7, 4), np.int16))),
    Trial("a label volume with fractions", _labels(brain(0))),
)
