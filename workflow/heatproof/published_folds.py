"""Folds and parts that a column of the participants says, such as those that the authors of the data have published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from heatproof.errors import ConfigError, LeakageError
from heatproof.leakage import LISTED, PARTS

if TYPE_CHECKING:
    import pandas as pd


def given_test_folds(frame: pd.DataFrame, units: np.ndarray, column: str, n_folds: int) -> np.ndarray:
    """Return the test fold of every unit that a column of the table says, shape (n_units,).

    Parameters
    ----------
    frame : DataFrame
        One row per scan.
    units : ndarray of int, shape (n_scans,)
        Unit of each scan (`heatproof.allocation.units_of`).
    column : str
        Its values in ascending order are the folds.
    n_folds : int
        How many there must be.

    Raises
    ------
    ConfigError
        If the column is missing, has gaps or has other than `n_folds` values.
    LeakageError
        If a person, a family or an image is in two folds.
    """
    import pandas as pd

    field = "folds.published_column"
    _require_whole(frame, column, field)
    codes, values = pd.factorize(frame[column], sort=True)
    if len(values) != n_folds:
        raise ConfigError(
            f"'{column}' has {len(values)} values, and n_folds asks for {n_folds} folds.",
            field=field,
            remedy=f"set folds.n_folds to {len(values)}." if len(values) > 1 else "name another column.",
        )
    return _of_units(frame, units, codes, column, field)


def given_parts(
    frame: pd.DataFrame, units: np.ndarray, column: str, parts: Mapping[str, Iterable[object]] | None
) -> np.ndarray:
    """Return the number of the part (train, validation, test) of every scan, shape (n_scans,).

    Parameters
    ----------
    frame : DataFrame
        One row per scan.
    units : ndarray of int, shape (n_scans,)
        Unit of each scan (`heatproof.allocation.units_of`).
    column : str
        Says where a scan belongs.
    parts : mapping of str to iterable
        For each part the values of the column, by default its name; numbers are compared as numbers (1, 1.0 and "1"
        are one).

    Raises
    ------
    ConfigError
        If the column is missing or has gaps, a part has no values, a value is in two parts or in none.
    LeakageError
        If a person, a family or an image is in two parts.
    """
    field = "folds.split_column"
    _require_whole(frame, column, field)
    values_of = parts or {part: [part] for part in PARTS}
    listed = [(_plain(value), number) for number, part in enumerate(PARTS) for value in values_of.get(part, ())]
    part_of = dict(listed)
    if len(part_of) < len(listed) or set(part_of.values()) != set(range(len(PARTS))):
        raise ConfigError(
            "a value stands in two parts, or a part has none.",
            field="folds.parts",
            remedy="give train, validation and test each its own values of the column.",
        )
    values = [_plain(value) for value in frame[column]]
    stray = sorted(set(values) - set(part_of))
    if stray:
        raise ConfigError(
            f"'{column}' has values that are in no part: {', '.join(stray[:LISTED])}.",
            field="folds.parts",
            remedy="put every value into train, validation or test.",
        )
    codes = np.array([part_of[value] for value in values])
    return _of_units(frame, units, codes, column, field)[units]


def _require_whole(frame: pd.DataFrame, column: str, field: str) -> None:
    """Raise a ConfigError if a column is missing or has gaps."""
    if column not in frame.columns:
        raise ConfigError(
            f"the participants have no column '{column}'.",
            field=field,
            remedy=f"use one of {', '.join(frame.columns)}.",
        )
    missing = frame.loc[frame[column].isna(), "scan_id"].astype(str).tolist()
    if missing:
        raise ConfigError(
            f"{len(missing)} scans have no '{column}': {', '.join(missing[:LISTED])}.",
            field=field,
            remedy="give every scan a fold, or exclude the scan from the cohort.",
        )


def _of_units(frame: pd.DataFrame, units: np.ndarray, codes: np.ndarray, column: str, field: str) -> np.ndarray:
    """Return the code of every unit, shape (n_units,); raise where the scans of one have several."""
    of_unit = np.zeros(units.max() + 1, dtype=int)
    of_unit[units] = codes
    split = np.isin(units, units[of_unit[units] != codes])
    people = sorted(set(frame.loc[split, "participant_id"].astype(str)))
    if people:
        raise LeakageError(
            f"'{column}' puts the same person, family or image into two folds: {', '.join(people[:LISTED])}.",
            field=field,
            remedy=f"leave out {field}, or use a column in which a person has one fold.",
        )
    return of_unit


def _plain(value: object) -> str:
    """Return a value as text in which a number has one spelling."""
    text = str(value).strip()
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return text
