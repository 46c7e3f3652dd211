"""Files appear whole or not at all: every writer fills a temporary name and renames it."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heatproof.errors import HeatproofError

if TYPE_CHECKING:
    import pandas as pd

MISSING = "n/a"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block ends without an exception."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # The suffixes stay at the end because writers choose their format by them.
    temporary = final.with_name(f".partial-{os.getpid()}-{final.name}")
    try:
        yield temporary
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hexadecimal text."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_array(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's shape, type and values."""
    contiguous = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{contiguous.dtype.str}{contiguous.shape}".encode())
    digest.update(contiguous.data)
    return digest.hexdigest()


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as TSV: UTF-8, LF, ``n/a`` for a missing value, floats to ten significant digits."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, na_rep=MISSING, float_format="%.10g", lineterminator="\n")


def read_table(path: str | Path, required: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a TSV (or, where the header has commas and no tab, a CSV).

    A byte-order mark and CRLF line ends are accepted. Columns that end in ``_id`` stay text, so that
    ``0012`` keeps its zeros.

    Parameters
    ----------
    path : str or Path
        The table.
    required : tuple of str
        Columns that must be there.

    Raises
    ------
    HeatproofError
        If the file is missing, empty, or lacks a required column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise HeatproofError("the table does not exist.", file=path, remedy="check the path in the config.")
    with path.open(encoding="utf-8-sig") as handle:
        header = handle.readline().rstrip("\r\n")
    if not header:
        raise HeatproofError("the table is empty.", file=path, remedy="give it a header and one row per scan.")
    separator = "\t" if "\t" in header or "," not in header else ","
    read = partial(pd.read_csv, path, sep=separator, encoding="utf-8-sig", skipinitialspace=True)
    # The parser's own names decide, because a type is matched to a name with its blanks and without its quotes.
    text = {name: "string" for name in read(nrows=0).columns if name.strip().endswith("_id")}
    frame = read(dtype=text, na_values=[MISSING])
    frame.columns = [str(name).strip() for name in frame.columns]
    for name in map(str.strip, text):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
    for column in required:
        if column not in frame.columns:
            raise HeatproofError(
                f"the column is missing; the table has {', '.join(frame.columns)}.",
                file=path,
                field=column,
                remedy=f"add the column '{column}'.",
            )
    return frame


def write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a long table as Parquet, bitwise the same for the same values."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


def write_nifti(array: np.ndarray, affine: np.ndarray, path: str | Path) -> None:
    """Write a volume as ``.nii.gz`` with sform and qform equal, no scaling and no time stamp.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
        Values; floats are stored as float32, booleans as uint8.
    affine : ndarray, shape (4, 4)
        Voxel to world, in mm.
    path : str or Path
        Ends in ``.nii.gz``.
    """
    import nibabel

    stored = array.astype(np.uint8) if array.dtype == bool else array
    stored = stored.astype(np.float32) if np.issubdtype(stored.dtype, np.floating) else stored
    image = nibabel.Nifti1Image(stored, affine)
    # Code 4 is NIFTI_XFORM_MNI_152: every map of the project lies on a template grid.
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    image.header.set_xyzt_units("mm")
    with (
        atomic(path) as temporary,
        temporary.open("wb") as raw,
        # A fixed time stamp and no file name keep the bytes the same from run to run.
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
    ):
        packed.write(image.to_bytes())
