"""Tables that a user brings, read only where they can be read in one way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import IntakeError
from heatproof.files import read_table

if TYPE_CHECKING:
    import pandas as pd


def read_listing(path: Path, required: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a user's table (see `heatproof.files.read_table`) after checking what a spreadsheet can spoil.

    Parameters
    ----------
    path : Path
        The table.
    required : tuple of str
        Columns that must be there.

    Raises
    ------
    IntakeError
        If it is no text in UTF-8, has a column twice, a row with more cells than the header, or an open quotation mark.
    HeatproofError
        If the file is missing, empty, or lacks a required column.
    """
    import pandas as pd

    if path.is_file():
        _require_text(path)
    try:
        frame = read_table(path, required)
    except pd.errors.ParserError as error:
        cause = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise IntakeError(
            f"the rows cannot be told apart ({cause}).",
            file=path.name,
            field="rows",
            remedy="give every row as many cells as the header, and close every quotation mark.",
        ) from error
    # Cells beyond the header would push every column one place on: the first becomes the name of the row.
    if not isinstance(frame.index, pd.RangeIndex):
        raise IntakeError(
            "the rows have more cells than the header.",
            file=path.name,
            field="rows",
            remedy="name every column, and remove separators at the ends of rows.",
        )
    return frame


def _require_text(path: Path) -> None:
    """Raise an IntakeError if a file is no text in UTF-8, or its header names a column twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise IntakeError(
            f"the table is no text in UTF-8 (byte {error.start}).",
            file=path.name,
            field="encoding",
            remedy="save it as UTF-8 (in a spreadsheet: CSV UTF-8 or tab-separated text).",
        ) from error
    header = text.split("\n", 1)[0].rstrip("\r")
    separator = "\t" if "\t" in header or "," not in header else ","
    names = [name.strip() for line in csv.reader([header], delimiter=separator, skipinitialspace=True) for name in line]
    for name in names:
        if name and names.count(name) > 1:
            raise IntakeError(
                "the column is there twice.",
                file=path.name,
                field=name,
                remedy="keep one of them, or rename the other.",
            )
