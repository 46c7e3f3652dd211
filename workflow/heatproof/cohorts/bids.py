"""Source `bids`: a BIDS derivatives folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatproof.cohorts.findings import FileSource
from heatproof.cohorts.folders import inside
from heatproof.cohorts.listing import file_source, text_of
from heatproof.cohorts.people import People
from heatproof.cohorts.trees import entries_of, matches
from heatproof.errors import ConfigError

ENTITIES = ("space", "res", "desc", "run", "acq", "label", "suffix")


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the scans of a BIDS derivatives folder, one per subject and session.

    Parameters
    ----------
    spec : dict
        ``folder``; ``entities`` of the wanted images (space, res, desc, run, acq, label, suffix; an empty
        text asks that the name has none); ``datatype``; ``tables``, the folder of participants.tsv and the
        sessions tables if it is another one; ``diagnosis_column``; and the keys of
        `heatproof.cohorts.listing.file_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root.

    Raises
    ------
    ConfigError
        If an entity is not known.
    """
    folder = inside(root, spec["folder"], field="cohort.folder")
    tables = inside(root, spec.get("tables") or spec["folder"], field="cohort.tables")
    given = {key: text_of(value) for key, value in (spec.get("entities") or {}).items() if value is not None}
    wanted = {"suffix": "T1w", **given}
    unknown = sorted(set(wanted) - set(ENTITIES))
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)} cannot be asked for.",
            field="cohort.entities",
            remedy=f"use {', '.join(ENTITIES)}.",
        )
    datatype = str(spec.get("datatype", "anat"))
    images = [
        image
        for pattern in (f"sub-*/{datatype}/sub-*.nii*", f"sub-*/ses-*/{datatype}/sub-*.nii*")
        for image in folder.glob(pattern)
        if image.name.endswith((".nii", ".nii.gz")) and matches(image.name, wanted)
    ]
    people = People(root, tables, str(spec.get("diagnosis_column", "diagnosis")), session_level=False)
    entries, findings = entries_of(images, people, root)
    return file_source(spec, root, entries, findings, density=bool(spec.get("density", False)))
