"""Which recordings of a WFDB folder a study uses, and what the tables say about each."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from heatproof.cohorts.findings import Finding
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import text_of
from heatproof.cohorts.signal_listing import Column, with_outputs
from heatproof.cohorts.wfdb_files import HEADER
from heatproof.errors import ConfigError, HeatproofError, IntakeError

RECORDS = "RECORDS"
COLUMN_KEYS = ("key_column", "record_column", "participant_column", "age_column", "sex_column")
PLACEHOLDERS = ("name", "key", "group", "lead", "lead_as_listed")


@dataclass(frozen=True)
class Listed:
    """One recording of a listing.

    Attributes
    ----------
    row : dict
        Line of the participants table.
    path : Path
        The recording without its suffix.
    key : str
        Its key in the table.
    pattern : str
        Of the annotation files; empty where there are none.
    folder : Path
        That the pattern starts from.
    root : Path
        Data root.
    """

    row: dict[str, Any]
    path: Path
    key: str
    pattern: str
    folder: Path
    root: Path

    def annotations(self, spelled: Sequence[str], listed: Sequence[str]) -> list[Path]:
        """Return the annotation files, one per lead or one for all.

        Parameters
        ----------
        spelled, listed : sequence of str
            Names of the leads in the recording, and in the configuration.
        """
        if not self.pattern:
            return []
        about = {"name": self.path.name, "key": self.key, "group": self.path.parent.name}
        names = [
            self.pattern.format(**about, lead=own, lead_as_listed=name)
            for own, name in zip(spelled, listed, strict=True)
        ]
        field = "cohort.annotations"
        return [inside(self.root, name, field=field, base=self.folder) for name in dict.fromkeys(names)]


def list_records(spec: Mapping[str, Any], root: Path, columns: Sequence[Column]) -> tuple[list[Listed], list[Finding]]:
    """Return the recordings that may be read, and findings on the others.

    Parameters
    ----------
    spec : mapping
        ``folder``; ``records`` (a list of recordings inside it, or a pattern of their headers); ``table`` with
        ``key_column`` (the recording's name or path), and optionally ``record_column`` (its path inside the folder,
        which goes before the list), ``participant_column``, ``age_column``, ``sex_column``, ``kept_columns``;
        ``joined`` (another table and its key column); ``annotations``, ``annotation_folder``.
    root : Path
        Data root; every path stays inside it.
    columns : sequence of Column
        Numbers to take from the tables.

    Raises
    ------
    HeatproofError
        If folder, list or table are missing, a column is, or the pattern of the annotations cannot be used.
    """
    folder = inside(root, str(spec["folder"]), field="cohort.folder")
    if not folder.is_dir():
        raise IntakeError("the folder does not exist.", file=spec["folder"], field="cohort.folder", remedy="fetch it.")
    pattern = str(spec.get("annotations") or "")
    _check_pattern(pattern)
    base = spec.get("annotation_folder")
    annotated = None if not base else inside(root, str(base), field="cohort.annotation_folder")
    _require_table(spec)
    frame = _table(spec, root, columns) if spec.get("table") else None
    of_column = frame is not None and bool(spec.get("record_column"))
    paths = {} if of_column else _recordings(folder, str(spec.get("records", RECORDS)), root)
    # Without a table every recording is a row; its name is that of its file, or its path where two share one.
    rows = [{"": name} for name in _keys(paths)] if frame is None else frame.to_dict("records")
    found: list[Listed] = []
    findings: list[Finding] = []
    used = set()
    for cells in rows:
        key = text_of(cells.get("" if frame is None else spec["key_column"]))
        try:
            path = _path(folder, root, cells[spec["record_column"]]) if of_column else _named(paths, key)
        except HeatproofError as error:
            findings.append(Finding.of_file(key, str(spec.get("table")), error))
            continue
        used.add(path)
        row, finding = with_outputs(_person(spec, key, cells), cells, columns, shown(root, path))
        findings += [] if finding is None else [finding]
        found.append(Listed(row, path, key, pattern, annotated or path.parent, root))
    findings += [
        Finding(path.name, shown(root, path), "table", "the table has no row for it", "left_out")
        for path in dict.fromkeys(paths.values())
        if path not in used
    ]
    return found, findings


def _table(spec: Mapping[str, Any], root: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the table of labels, with the columns of the joined one."""
    if not spec.get("key_column"):
        raise ConfigError(
            "the table's column with the recordings is not named.",
            field="cohort.key_column",
            remedy="name it, such as ecg_id.",
        )
    named = [spec.get(name) for name in COLUMN_KEYS]
    needed = [str(name) for name in (*named, *spec.get("kept_columns", ())) if name]
    wanted = [column.column for column in columns]
    frame = read_listing(inside(root, str(spec["table"]), field="cohort.table"), tuple(needed))
    joined = spec.get("joined")
    if joined:
        path = inside(root, str(joined["table"]), field="cohort.joined.table")
        other = read_listing(path, (str(joined["key_column"]),))
        other = other[[str(joined["key_column"]), *(name for name in wanted if name in other.columns)]]
        keys = other.pop(str(joined["key_column"])).map(text_of)
        if keys.duplicated().any():
            raise IntakeError(
                f"the key {keys[keys.duplicated()].iloc[0]} stands in two rows.",
                file=joined["table"],
                field=str(joined["key_column"]),
                remedy="keep one row per recording",
            )
        repeated = [name for name in other.columns if name in frame.columns]
        frame = frame.drop(columns=repeated).join(other.set_index(keys), on=frame[spec["key_column"]].map(text_of))
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise IntakeError(
            f"no table has the columns {', '.join(missing)}.",
            file=spec["table"],
            field="cohort.outputs",
            remedy="name columns of the table or of the joined one",
        )
    return frame


def _require_table(spec: Mapping[str, Any]) -> None:
    """Raise a ConfigError if a key names a column, and there is no table."""
    for name in (*COLUMN_KEYS, "kept_columns", "joined"):
        if spec.get(name) and not spec.get("table"):
            raise ConfigError(
                "there is no table.", field=f"cohort.{name}", remedy="name the table under table, or leave this out."
            )


def _keys(paths: Mapping[str, Path]) -> list[str]:
    """Return one name per recording, the shortest that it has."""
    shortest: dict[Path, str] = {}
    for name, path in paths.items():
        shortest[path] = min(name, shortest.get(path, name), key=len)
    return list(shortest.values())


def _person(spec: Mapping[str, Any], key: str, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return who it is: scan, participant, age, sex and the columns that are kept."""
    person = spec.get("participant_column")
    row: dict[str, Any] = {"scan_id": key, "participant_id": _whole(text_of(cells[person])) if person else key}
    if spec.get("age_column"):
        row["age"] = pd.to_numeric(text_of(cells[spec["age_column"]]), errors="coerce")
    if spec.get("sex_column"):
        row["sex"] = text_of(cells[spec["sex_column"]])
    for name in spec.get("kept_columns", ()):
        value = cells[name]
        # A line end inside a cell would end the line of the participants table.
        row[str(name)] = "; ".join(value.split("\n")).strip("; ") if isinstance(value, str) else value
    return row


def _recordings(folder: Path, records: str, root: Path) -> dict[str, Path]:
    """Return the recordings of a folder by name and by path; a name that two have is left out."""
    if any(letter in records for letter in "*?["):
        found = [path.relative_to(folder).as_posix()[: -len(HEADER)] for path in folder.rglob(records + HEADER)]
    else:
        path = inside(root, records, field="cohort.records", base=folder)
        if not path.is_file():
            raise IntakeError(
                "the list of recordings does not exist.",
                file=records,
                field="cohort.records",
                remedy="add it, or give a pattern such as '*'.",
            )
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    paths = {}
    for name in sorted(set(found)):
        try:
            paths[name] = _path(folder, root, name)
        except IntakeError as error:
            raise IntakeError(
                f"the list names the recording {name}, which is not in the folder.",
                file=records,
                field="cohort.records",
                remedy="take it out of the list, or add the recording.",
            ) from error
    counts = Counter(path.name for path in paths.values())
    return paths | {path.name: path for path in paths.values() if counts[path.name] == 1}


def _path(folder: Path, root: Path, value: object) -> Path:
    """Return a recording without its suffix, inside the root."""
    name = text_of(value).removesuffix(HEADER)
    if not name:
        raise IntakeError("no recording is named.", field="record", remedy="fill it in")
    path = inside(root, name, field="record", base=folder)
    if not path.with_name(path.name + HEADER).is_file():
        raise IntakeError(
            f"the recording {name} is not in the folder.", field="record", remedy="correct the name, or remove the row"
        )
    return path


def _named(paths: Mapping[str, Path], key: str) -> Path:
    if key not in paths:
        raise IntakeError(
            f"there is no recording '{key}'.", field="record", remedy="correct the key, or remove the row"
        )
    return paths[key]


def _whole(text: str) -> str:
    """Return a number that a gap in its column has turned into a fraction as it was: ``15709.0`` is ``15709``."""
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def _check_pattern(pattern: str) -> None:
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}
        "".join(pattern.format(**dict.fromkeys(PLACEHOLDERS, "x")))
    except (ValueError, KeyError, IndexError, AttributeError):
        fields = {""}
    if fields - set(PLACEHOLDERS):
        raise ConfigError(
            f"'{pattern}' is no pattern of annotation files.",
            field="cohort.annotations",
            remedy=f"use {', '.join('{' + name + '}' for name in PLACEHOLDERS)} and plain text, such as "
            "'{name}.{lead}'.",
        )
