"""The table of what was fetched: ``checksums.tsv`` beside the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.files import read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

CHECKSUMS = "checksums.tsv"
COLUMNS = ("file_id", "bytes", "sha256", "origin")


@dataclass(frozen=True)
class Kept:
    """One row of checksums.tsv: a file, its size, its checksum, and the address or archive that it came from."""

    n_bytes: int
    sha256: str
    origin: str


def read_checksums(folder: Path) -> dict[str, Kept]:
    """Return path inside the folder -> its row, empty without a table."""
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    rows = read_table(path, COLUMNS).to_dict("records")
    return {str(row["file_id"]): Kept(int(row["bytes"]), str(row["sha256"]), str(row["origin"])) for row in rows}


def write_checksums(folder: Path, kept: Mapping[str, Kept]) -> None:
    """Write the table of a folder."""
    write_table(as_table(kept), folder / CHECKSUMS)


def as_table(kept: Mapping[str, Kept]) -> pd.DataFrame:
    """Return the rows as a table: file_id (path inside the folder), bytes, sha256, origin; sorted."""
    import pandas as pd

    rows = [(path, one.n_bytes, one.sha256, one.origin) for path, one in sorted(kept.items())]
    return pd.DataFrame(rows, columns=list(COLUMNS))
