"""Stage `report`: read tables, figures and facts of every study and write one HTML file."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from heatproof import __version__
from heatproof.cohorts.store import CohortFacts
from heatproof.figures.catalogue import FIGURES
from heatproof.files import atomic, read_table
from heatproof.publication.captions import TABLES
from heatproof.publication.report import Provenance, StudyReport, render_report
from heatproof.stages.runs import read_text_table

# Packages that a number or a picture of the report comes from.
PACKAGES = (
    "numpy", "scipy", "pandas", "torch", "captum", "monai", "scikit-learn", "statsmodels", "nibabel",
    "nilearn", "nimare", "h5py", "matplotlib", "snakemake",
)  # fmt: skip


SIMULATED = {
    "phantom": "simulated: template anatomy with injected atrophy",
    "lesions": "simulated: slices of the template anatomy with an injected lesion",
    "blobs": "simulated: four blobs, two of which shrink in patients",
    "beats": "simulated: 12-lead beats with known intervals and amplitudes",
}


@dataclass(frozen=True)
class StudyFiles:
    """Where the report finds one study.

    Attributes
    ----------
    config : mapping
        Entry of the study in the configuration.
    tables : mapping of str to Path
        By name.
    figures : iterable of Path
        SVG and PNG files; the name of a figure is its file's stem.
    leakage, participants, cohort : Path
        As written by `split` and `prepare`.
    """

    config: Mapping[str, Any]
    tables: Mapping[str, Path]
    figures: Iterable[Path]
    leakage: Path
    participants: Path
    cohort: Path


def study_files(results: Path, name: str, config: Mapping[str, Any]) -> StudyFiles:
    """Return where a study's files lie in the results folder.

    Parameters
    ----------
    results : Path
        Folder of the results.
    name : str
        Name of the study.
    config : mapping
        Its entry in the configuration.
    """
    folder = results / name
    return StudyFiles(
        config=config,
        tables={table: folder / "tables" / f"{table}.tsv" for table in TABLES},
        figures=[folder / "figures" / f"{figure}.{kind}" for figure in FIGURES for kind in ("svg", "png")],
        leakage=folder / "leakage.tsv",
        participants=folder / "participants.tsv",
        cohort=folder / "cohort.h5",
    )


def report(studies: Mapping[str, StudyFiles], *, seed: int, output: Path) -> None:
    """Write the report of all studies.

    Parameters
    ----------
    studies : mapping of str to StudyFiles
        By name, in the order of the configuration.
    seed : int
        Root seed.
    output : Path
        The HTML file.
    """
    html = render_report([_study(name, files) for name, files in studies.items()], Provenance(seed, _versions()))
    with atomic(output) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


def _study(name: str, files: StudyFiles) -> StudyReport:
    figures: dict[str, dict[str, bytes]] = {}
    for path in map(Path, files.figures):
        figures.setdefault(path.stem, {})[path.suffix.lstrip(".")] = path.read_bytes()
    cohort = CohortFacts.read(files.cohort)
    return StudyReport(
        name=name,
        title=str(files.config.get("title") or name),
        tables={key: read_text_table(path) for key, path in files.tables.items()},
        leakage=read_text_table(files.leakage),
        figures=figures,
        facts=_facts(files, cohort),
        config=files.config,
        classes=cohort.classes,
    )


def _facts(files: StudyFiles, cohort: CohortFacts) -> dict[str, str]:
    """Return what the report says about the data."""
    grid = cohort.grid
    # What stays together in one part of a fold.
    unit = str(cohort.description.get("unit", "people"))
    table = read_table(files.participants, ("scan_id", "participant_id"))
    source = str(files.config.get("cohort", {}).get("source", ""))
    groups = table.groupby("diagnosis")["participant_id"].nunique() if "diagnosis" in table else {}
    counts = ", ".join(f"{groups[name]} {name}" for name in cohort.classes if name in groups)
    size = " × ".join(str(length) for length in grid.shape)
    steps = sorted({round(step, 2) for step in grid.spacing})
    step = " × ".join(f"{value:g}" for value in (steps if len(steps) == 1 else grid.spacing))
    return {
        "Cohort": f"{len(table)} scans of {table['participant_id'].nunique()} {unit}"
        + (f" ({counts})" if counts and len(cohort.classes) > 1 else ""),
        "Source": SIMULATED.get(source, source or "not stated"),
        "Grid": (f"{len(cohort.channel_names)} leads × " if cohort.channel_names else "")
        + f"{size} at {step} {grid.units}",
    }


def _versions() -> dict[str, str]:
    versions = {"heatproof": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
