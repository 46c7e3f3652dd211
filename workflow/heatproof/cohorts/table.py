"""Source `table`: a table of paths and labels, one row per scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.folders import inside
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import Entry, file_source, locate, text_of

REQUIRED = ("scan_id", "participant_id", "path")
FILE_COLUMNS = ("path", "labels_path")


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the scans of a table.

    Parameters
    ----------
    spec : dict
        ``table`` (TSV with scan_id, participant_id, path, diagnosis and, where known, age, sex, labels_path,
        session, site, family; paths relative to the table), ``diagnosis_column``, and the keys of
        `heatproof.cohorts.listing.file_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root; every path stays inside it.

    Raises
    ------
    HeatproofError
        If the table is missing or lacks a column.
    """
    path = inside(root, spec["table"], field="cohort.table")
    column = str(spec.get("diagnosis_column", "diagnosis"))
    frame = read_listing(path, (*REQUIRED, column))
    entries: list[Entry] = []
    findings: list[Finding] = []
    for cells in frame.to_dict("records"):
        # Spaces stay: a padded identifier is the gate's to refuse.
        row = {str(name): value for name, value in cells.items() if name not in (*FILE_COLUMNS, column)}
        row["diagnosis"] = text_of(cells[column])
        scan_id = str(row["scan_id"])
        image, problem = locate(root, path.parent, cells["path"], scan_id, "path")
        labels = None
        if problem is None and text_of(cells.get("labels_path")):
            labels, problem = locate(root, path.parent, cells["labels_path"], scan_id, "labels_path")
        if problem is not None or image is None:
            findings.append(problem or Finding(scan_id, "", "path", "no file is named", "bad"))
            continue
        entries.append(Entry(row, image, labels))
    return file_source(spec, root, entries, findings, density=bool(spec.get("density", False)))
