"""The files of real anatomies: found by a folder pattern or listed in a table, or both together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.images import read_header
from heatproof.cohorts.listed_tables import read_listing
from heatproof.errors import ConfigError, IntakeError
from heatproof.files import sha256_of
from heatproof.geometry import Grid

PLACEHOLDER = "{scan_id}"
# Path columns of a table, and the config key whose pattern they replace.
PATH_COLUMNS = {"path": "scan", "labels_path": "labels", "grey_matter_path": "grey_matter"}


@dataclass(frozen=True)
class AnatomyFiles:
    """One real scan.

    Attributes
    ----------
    scan_id, participant_id : str
        Identifiers; rescans share the person.
    scan : Path
        T1 volume, skull-stripped, in MNI space.
    labels, grey_matter : Path or None
        Label volume and grey-matter fraction on the same grid.
    age : float
        Years; NaN if unknown.
    sex : str
        ``F``, ``M``, or empty if unknown.
    shown : str
        Name of the scan's file for tables and messages.
    """

    scan_id: str
    participant_id: str
    scan: Path
    labels: Path | None
    grey_matter: Path | None
    age: float
    sex: str
    shown: str


def list_files(spec: dict[str, Any], root: Path) -> list[AnatomyFiles]:
    """Return the real scans that a configuration names, in order of their ids.

    Raises
    ------
    ConfigError
        If neither a pattern nor a table with paths says where the scans are, or `same_person` names nobody.
    IntakeError
        If there is no scan, an id occurs twice, a file is missing, or two people have the same image.
    """
    rows = _table_rows(spec, root) if spec["table"] else _pattern_rows(spec, root)
    ids = [row["scan_id"] for row in rows]
    if not ids:
        raise IntakeError(
            "no scan was found.",
            file=spec["table"] or spec["folder"],
            field="scan",
            remedy="check folder and pattern.",
        )
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise IntakeError(
            f"the id {twice[0]} occurs more than once.",
            file=spec["table"],
            field="scan_id",
            remedy="give every scan its own id.",
        )
    same_person = {str(rescan): str(first) for rescan, first in spec["same_person"].items()}
    unknown = sorted({*same_person, *same_person.values()} - set(ids))
    if unknown:
        raise ConfigError(
            f"there is no scan {unknown[0]}.",
            field="same_person",
            remedy="map the id of each rescan to the id of the person's first scan.",
        )
    people = {row["scan_id"]: row["participant_id"] for row in rows}
    for row in rows:
        first = _first_scan(row["scan_id"], same_person)
        row["participant_id"] = people[first]
    files = [_files(row, spec, root) for row in sorted(rows, key=lambda row: row["scan_id"])]
    _require_distinct(files)
    return files


def first_grid(files: list[AnatomyFiles]) -> Grid:
    """Return the grid of the first scan that can be read; the others are refused when they are loaded.

    Raises
    ------
    IntakeError
        If none can be read; what is wrong with the first.
    """
    errors = []
    for entry in files:
        try:
            return read_header(entry.scan).grid
        except IntakeError as error:
            errors.append(error)
    raise errors[0]


def read_label_names(spec: dict[str, Any], root: Path) -> dict[int, str]:
    """Return the names of the areas: those of `labels_table` (label or index, name), else the regions'."""
    if spec["labels_table"]:
        path = inside(root, spec["labels_table"], field="labels_table")
        table = read_listing(path, ("name",))
        column = "label" if "label" in table.columns else "index"
        if column not in table.columns:
            raise IntakeError(
                "the table has no column of label numbers.",
                file=shown(root, path),
                field="label",
                remedy="add the column 'label'.",
            )
        return {
            int(number): " ".join(str(name).split()) for number, name in zip(table[column], table["name"], strict=True)
        }
    return {int(label): f"{region} {label}" for region, labels in spec["regions"].items() for label in labels or ()}


def _require_distinct(files: list[AnatomyFiles]) -> None:
    """Raise if one image belongs to two people: its variants differ in bytes, so no later check would see it."""
    by_size: dict[int, list[AnatomyFiles]] = {}
    for entry in files:
        by_size.setdefault(entry.scan.stat().st_size, []).append(entry)
    for alike in by_size.values():
        seen: dict[str, AnatomyFiles] = {}
        for entry in alike if len(alike) > 1 else ():
            first = seen.setdefault(sha256_of(entry.scan), entry)
            if first.participant_id != entry.participant_id:
                raise IntakeError(
                    f"the scans {first.scan_id} and {entry.scan_id} of two people are the same image.",
                    file=entry.shown,
                    field="image",
                    remedy=f"remove one, or join them: same_person: {{{entry.scan_id}: {first.scan_id}}}.",
                )


def _first_scan(scan_id: str, same_person: dict[str, str]) -> str:
    """Follow rescan -> first scan to its end."""
    seen = {scan_id}
    while scan_id in same_person:
        scan_id = same_person[scan_id]
        if scan_id in seen:
            raise ConfigError(
                f"the entries of {scan_id} lead in a circle.",
                field="same_person",
                remedy="map each rescan to the person's first scan.",
            )
        seen.add(scan_id)
    return scan_id


def _table_rows(spec: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    path = inside(root, spec["table"], field="table")
    # Ids are text in every table; foreign column names are given in `columns`.
    columns = {name: spec["columns"].get(name, name) for name in ("scan_id", "participant_id", "age", "sex")}
    table = read_listing(path, (columns["scan_id"],))
    rows = []
    for line in table.to_dict("records"):
        found = {name: line.get(column) for name, column in columns.items()}
        scan_id = _identifier(found["scan_id"])
        row: dict[str, Any] = {
            "scan_id": scan_id,
            "participant_id": _identifier(found["participant_id"]) or scan_id,
            "age": float("nan") if found["age"] is None else float(found["age"]),
            "sex": _identifier(found["sex"]),
        }
        for column in PATH_COLUMNS:
            value = line.get(column)
            row[column] = path.parent / str(value) if isinstance(value, str) and value else None
        rows.append(row)
    return rows


def _pattern_rows(spec: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    folder, pattern = inside(root, spec["folder"] or ".", field="folder"), spec["scan"]
    if PLACEHOLDER not in (pattern or ""):
        raise ConfigError(
            "neither a table nor a pattern says where the scans are.",
            field="scan",
            remedy=f"give a table, or a file name such as '{PLACEHOLDER}_T1.nii.gz'.",
        )
    # The first placeholder captures the id, a second one must repeat it.
    head, *tails = (re.escape(part) for part in pattern.split(PLACEHOLDER))
    form = re.compile(head + "([^/]+)" + r"\1".join(tails))
    rows = []
    for file in sorted(folder.glob(pattern.replace(PLACEHOLDER, "*"))):
        match = form.fullmatch(file.relative_to(folder).as_posix())
        if match:
            name = match.group(1)
            rows.append({"scan_id": name, "participant_id": name, "age": float("nan"), "sex": ""})
    return rows


def _identifier(value: Any) -> str:
    """Return an id as text; a whole number read from a foreign column loses its decimals."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _files(row: dict[str, Any], spec: dict[str, Any], root: Path) -> AnatomyFiles:
    paths: dict[str, Path | None] = {}
    for column, key in PATH_COLUMNS.items():
        given = row.get(column)
        if given is None and spec[key]:
            given = Path(spec["folder"] or ".") / spec[key].replace(PLACEHOLDER, row["scan_id"])
        paths[key] = None if given is None else inside(root, given, field=key)
        if paths[key] is not None and not paths[key].is_file():  # type: ignore[union-attr]
            raise IntakeError(
                f"the file of scan {row['scan_id']} does not exist.",
                file=shown(root, paths[key]),  # type: ignore[arg-type]
                field=key,
                remedy="correct the path, or remove the scan's line.",
            )
    scan = paths["scan"]
    if scan is None:
        raise ConfigError(
            f"nothing says where scan {row['scan_id']} is.",
            field="scan",
            remedy="give the pattern 'scan', or the column 'path' in the table.",
        )
    return AnatomyFiles(
        row["scan_id"],
        row["participant_id"],
        scan,
        paths["labels"],
        paths["grey_matter"],
        row["age"],
        row["sex"],
        shown(root, scan),
    )


def have_labels(files: list[AnatomyFiles]) -> bool:
    """Return whether the scans have label volumes; all of them or none.

    Raises
    ------
    IntakeError
        If only some have one.
    """
    without = [entry.shown for entry in files if entry.labels is None]
    if without and len(without) < len(files):
        raise IntakeError(
            "the scan has no label volume although others have one.",
            file=without[0],
            field="labels_path",
            remedy="give labels for every scan, or for none.",
        )
    return not without
