"""Source `caps`: a Clinica CAPS folder, its t1-linear images or its t1-volume grey-matter maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatproof.cohorts.findings import FileSource
from heatproof.cohorts.folders import inside
from heatproof.cohorts.listing import file_source
from heatproof.cohorts.people import People
from heatproof.cohorts.trees import entries_of
from heatproof.errors import ConfigError

PIPELINES = ("t1-linear", "t1-volume")
# The diagnosis is Clinica's; who is a patient is the study's choice.
DIAGNOSIS = {"HC": ["CN"], "AD": ["AD"]}


def open_source(spec: dict[str, Any], *, seed: int, root: Path) -> FileSource:
    """Return the scans of a CAPS folder, one per subject and session.

    The diagnosis is the session's. The one at screening (``diagnosis_sc``) is never used instead: people
    convert.

    Parameters
    ----------
    spec : dict
        ``folder``; ``pipeline`` (t1-linear | t1-volume); ``crop`` (t1-linear); ``group``, ``modulated`` and
        ``fwhm_mm`` (t1-volume); ``tables``, the folder of participants.tsv and sessions tables if it is
        another one (such as the BIDS folder); ``diagnosis_column``; and the keys of
        `heatproof.cohorts.listing.file_source`.
    seed : int
        Not used: nothing is random.
    root : Path
        Data root.

    Raises
    ------
    ConfigError
        If the pipeline is not known, or t1-volume has no group.
    """
    folder = inside(root, spec["folder"], field="cohort.folder")
    tables = inside(root, spec.get("tables") or spec["folder"], field="cohort.tables")
    people = People(root, tables, str(spec.get("diagnosis_column", "diagnosis")), session_level=True)
    images = folder.glob(f"subjects/sub-*/ses-*/{pattern_of(spec)}")
    entries, findings = entries_of(images, people, root)
    modulated = spec.get("pipeline") == "t1-volume" and bool(spec.get("modulated", True))
    return file_source(
        {"diagnosis": DIAGNOSIS, **spec},
        root,
        entries,
        findings,
        density=modulated,
        description={"pipeline": spec.get("pipeline", PIPELINES[0])},
    )


def pattern_of(spec: dict[str, Any]) -> str:
    """Return the pattern of the wanted images below a session's folder.

    t1-linear: ``t1_linear/*_space-MNI152NLin2009cSym[_desc-Crop]_res-1x1x1_T1w.nii.gz``; t1-volume:
    ``t1/spm/dartel/group-G/*_segm-graymatter_space-Ixi549Space_modulated-on[_fwhm-8mm]_probability.nii.gz``.
    """
    pipeline = str(spec.get("pipeline", PIPELINES[0]))
    if pipeline == "t1-linear":
        crop = "_desc-Crop" if spec.get("crop", True) else ""
        return f"t1_linear/*_space-MNI152NLin2009cSym{crop}_res-1x1x1_T1w.nii.gz"
    if pipeline != "t1-volume":
        raise ConfigError(
            f"the pipeline '{pipeline}' is not known.",
            field="cohort.pipeline",
            remedy=f"use {' or '.join(PIPELINES)}.",
        )
    group = str(spec.get("group") or "")
    if not group.isalnum():
        raise ConfigError(
            "the maps of t1-volume belong to a group.",
            field="cohort.group",
            remedy="name the DARTEL group, letters and digits, without 'group-'.",
        )
    modulated = "on" if spec.get("modulated", True) else "off"
    fwhm = f"_fwhm-{int(spec['fwhm_mm'])}mm" if spec.get("fwhm_mm") else ""
    name = f"*_segm-graymatter_space-Ixi549Space_modulated-{modulated}{fwhm}_probability.nii.gz"
    return f"t1/spm/dartel/group-{group}/{name}"
