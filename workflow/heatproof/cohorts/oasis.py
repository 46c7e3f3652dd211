"""Source `oasis`: the OASIS-1 grey-matter maps that nilearn distributes (Marcus et al. 2007)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from heatproof.cohorts.findings import FileSource, Finding
from heatproof.cohorts.folders import inside, shown
from heatproof.cohorts.listed_tables import read_listing
from heatproof.cohorts.listing import Entry, file_source
from heatproof.errors import IntakeError

TABLE = "oasis_cross-sectional.csv"
SUBFOLDER = "oasis1"
FOLDER = "nilearn_data"
SCAN = re.compile(r"(OAS1_(\d{4}))_(MR\d)")
MINIMUM_AGE = 60.0
CDR_CONTROL = 0.0
# Registrations that failed and that nilearn therefore hides: subjects of the DARTEL and the SPM8 maps.
OUTLIERS = {
    "mwrc1": frozenset({27, 57, 66, 83, 122, 157, 222, 269, 282, 287, 309, 428}),
    "mwc1": frozenset({390}),
}


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the OASIS-1 scans of people who were old enough and were rated.

    A control has a clinical dementia rating of 0, a patient a higher one. A missing rating is never a
    control: the young were not rated. Rescans (``_MR2``) belong to the same person.

    Parameters
    ----------
    spec : dict
        ``folder``, where nilearn keeps its data; ``offline``: true opens no socket; ``dartel``: DARTEL maps
        rather than those of SPM8; ``minimum_age`` in years; and the keys of
        `heatproof.cohorts.listing.file_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root.

    Raises
    ------
    IntakeError
        If the folder is not filled and ``offline`` forbids to fill it.
    """
    prefix = "mwrc1" if spec.get("dartel", True) else "mwc1"
    minimum_age = float(spec.get("minimum_age", MINIMUM_AGE))
    folder, missing = _filled(spec, root, prefix, minimum_age)
    people = _people(root, folder)
    entries: list[Entry] = []
    findings = [_lost(scan_id, root, folder) for scan_id in missing]
    for path in _images(folder, prefix):
        path = inside(root, path, field="path")
        scan_id = path.name.removeprefix(prefix)[: len("OAS1_0000_MR1")]
        match = SCAN.fullmatch(scan_id)
        if match is None:
            findings.append(_out(scan_id, root, path, "id", "the name is not that of an OASIS-1 scan"))
            continue
        row = people.get(scan_id, {})
        reason = _reason(row, int(match[2]) in OUTLIERS[prefix], minimum_age)
        if reason is not None:
            findings.append(_out(scan_id, root, path, *reason))
            continue
        entries.append(Entry(_row(scan_id, match[1], row), path))
    # The classes follow from the rating, so there is nothing to map.
    chosen = {key: value for key, value in spec.items() if key not in ("classes", "diagnosis")}
    return file_source(
        chosen,
        root,
        entries,
        findings,
        density=True,
        description={"citation": "Marcus et al. 2007, J Cogn Neurosci 19:1498", "maps": prefix},
    )


def _row(scan_id: str, participant_id: str, row: dict[str, Any]) -> dict[str, Any]:
    rating = float(row["cdr"])
    return {
        "scan_id": scan_id,
        "participant_id": participant_id,
        "diagnosis": "HC" if rating == CDR_CONTROL else "AD",
        "age": row["age"],
        "sex": row.get("mf"),
        "severity": rating,
        **{name: row[name] for name in ("mmse", "educ", "etiv", "nwbv") if name in row},
    }


def _reason(row: dict[str, Any], is_outlier: bool, minimum_age: float) -> tuple[str, str] | None:
    """Return (field, reason) why a scan is not of this study, or None."""
    if not row:
        return "id", "the table has no row for this scan"
    if is_outlier:
        return "image", "its registration failed (nilearn hides it)"
    age, rating = float(row["age"]), float(row["cdr"])
    if not age >= minimum_age:
        return "age", f"younger than {minimum_age:g} years"
    if rating != rating:
        return "cdr", "no clinical dementia rating"
    return None


def _out(scan_id: str, root: Path, path: Path, field: str, reason: str) -> Finding:
    return Finding(scan_id, shown(root, path), field, reason, "left_out")


def _images(folder: Path, prefix: str) -> list[Path]:
    return sorted(folder.glob(f"OAS1_*_MR*/{prefix}OAS1_*.nii.gz"))


def _people(root: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the table's rows by scan."""
    table = read_listing(inside(root, folder / TABLE, field="cohort.folder"))
    table.columns = [name.lower().replace("/", "") for name in table.columns]
    return {str(row["id"]): {str(key): value for key, value in row.items()} for row in table.to_dict("records")}


def _missing(root: Path, folder: Path, prefix: str, minimum_age: float) -> list[str]:
    """Return the scans that the study asks for, that nilearn distributes, and that the folder lacks."""
    present = {path.name.removeprefix(prefix)[: len("OAS1_0000_MR1")] for path in _images(folder, prefix)}
    wanted = [
        scan_id
        for scan_id, row in _people(root, folder).items()
        # Rescans are in the table, but not in nilearn's archives.
        if (match := SCAN.fullmatch(scan_id)) is not None
        and match[3] == "MR1"
        and _reason(row, int(match[2]) in OUTLIERS[prefix], minimum_age) is None
    ]
    return sorted(set(wanted) - present)


def _lost(scan_id: str, root: Path, folder: Path) -> Finding:
    return Finding(
        scan_id,
        shown(root, folder / scan_id),
        "path",
        "the table has this scan, but its map is missing",
        "bad",
        "finish the download with nilearn.datasets.fetch_oasis_vbm or offline: false",
    )


def _filled(spec: dict[str, Any], root: Path, prefix: str, minimum_age: float) -> tuple[Path, list[str]]:
    """Return the folder with table and maps, fetched where some are missing and that is allowed, and what it lacks."""
    folder = inside(root, spec.get("folder", FOLDER), field="cohort.folder")
    offline = bool(spec.get("offline", False))
    for place in (folder / SUBFOLDER, folder):
        if (place / TABLE).is_file() and _images(place, prefix):
            missing = _missing(root, place, prefix, minimum_age)
            # nilearn can complete only the folder that it names itself.
            if not missing or offline or place == folder:
                return place, missing
    if offline:
        raise IntakeError(
            f"there is no {SUBFOLDER}/{TABLE} with {prefix} maps, and offline: true forbids to fetch them.",
            file=folder.name,
            field="cohort.folder",
            remedy="copy a folder that nilearn.datasets.fetch_oasis_vbm has filled, or set offline: false.",
        )
    from nilearn.datasets import fetch_oasis_vbm

    fetch_oasis_vbm(dartel_version=prefix == "mwrc1", data_dir=folder, verbose=1)
    filled = folder / SUBFOLDER
    return filled, _missing(root, filled, prefix, minimum_age)
