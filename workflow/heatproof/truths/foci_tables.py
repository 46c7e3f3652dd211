"""Tables of foci (Neurosynth, NeuroQuery, or a user's own), read strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.errors import TruthError
from heatproof.truths.foci import LARGEST_COORDINATE_MM, Experiment, space_of, subjects_of

if TYPE_CHECKING:
    import pandas as pd

STUDY_NAMES = ("study_id", "id", "pmid", "study")
SUBJECT_NAMES = ("n_subjects", "subjects", "sample_size", "n")
MISSING = ("", "n/a", "nan", "unknown")


def read_tables(
    foci: Iterable[Path],
    studies: Iterable[Path] = (),
    *,
    defaults: Mapping[str, Any],
    select: Mapping[str, Any],
) -> tuple[list[Experiment], list[Experiment]]:
    """Read tables of foci; a study that an earlier table has is not read again.

    Parameters
    ----------
    foci : iterable of Path
        Tables (TSV or CSV, also gzipped) with a study column (``study_id``, ``id``, ``pmid`` or ``study``),
        ``x``, ``y``, ``z`` in mm, and optionally ``space``, ``n_subjects``, ``title``, ``cohort``.
    studies : iterable of Path
        Tables with one row per study that hold the optional columns, in the order of `foci`.
    defaults : mapping
        ``subjects`` and ``space`` of studies that have none.
    select : mapping of str to value
        Columns that a study must match, by their text.

    Returns
    -------
    taken, left_out : list of Experiment
        Studies to use; and studies not selected or already in an earlier table, with the reason as note.

    Raises
    ------
    TruthError
        If a column is missing, a coordinate is not a number, or a study has no number of subjects.
    """
    foci, studies = list(foci), list(studies)
    if studies and len(studies) != len(foci):
        raise TruthError(
            f"there are {len(foci)} tables of foci but {len(studies)} of studies.",
            field="studies",
            remedy="give one table of studies for each table of foci, in the same order.",
        )
    taken: dict[str, Experiment] = {}
    left_out: list[Experiment] = []
    for position, path in enumerate(foci):
        about = _read(studies[position]) if studies else None
        for experiment in _experiments(path, about, defaults, select):
            if not experiment.subjects:
                left_out.append(experiment)
            elif experiment.study_id in taken:
                left_out.append(replace(experiment, note="already in an earlier table of foci"))
            else:
                taken[experiment.study_id] = experiment
    if not taken:
        raise TruthError(
            "no study is left after the selection.",
            file=", ".join(path.name for path in foci),
            field="select",
            remedy="loosen 'select'.",
        )
    return list(taken.values()), left_out


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    separator = "," if ".csv" in path.suffixes else "\t"
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:
        raise TruthError(
            f"the table cannot be read ({error}).", file=path, remedy="give a whole TSV or CSV with a header."
        ) from error
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    frame.attrs["file"] = path.name
    identity = _first(frame, STUDY_NAMES)
    if identity is None:
        raise TruthError(
            f"no column names the study; the table has {', '.join(frame.columns)}.",
            file=path,
            field="study_id",
            remedy=f"call it one of {', '.join(STUDY_NAMES)}.",
        )
    return frame.rename(columns={identity: "study_id"})


def _first(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in frame.columns), None)


def _experiments(
    path: Path, about: pd.DataFrame | None, defaults: Mapping[str, Any], select: Mapping[str, Any]
) -> list[Experiment]:
    import pandas as pd

    frame = _read(path)
    for column in ("x", "y", "z"):
        if column not in frame.columns:
            raise TruthError("the column is missing.", file=path, field=column, remedy="give x, y and z in mm.")
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
        bad = frame.index[~(frame[column].abs() <= LARGEST_COORDINATE_MM)]
        if len(bad):
            raise TruthError(
                f"the coordinate in line {bad[0] + 2} is not a number within {LARGEST_COORDINATE_MM:g} mm.",
                file=path,
                field=column,
                remedy="correct or remove the row.",
            )
    rows = frame if about is None else about
    facts = rows.drop_duplicates("study_id").set_index("study_id", drop=False)
    refused = _refused(facts, select)
    experiments = []
    for study, group in frame.groupby("study_id", sort=False):
        coordinates = group[["x", "y", "z"]].to_numpy(float)
        reason = refused.get(study, "") if study in facts.index else "not in the table of studies"
        if reason:
            title = facts["title"].get(study, "") if "title" in facts.columns else ""
            experiments.append(Experiment(study, "", 0, "", coordinates, title=title, file=path.name, note=reason))
        else:
            experiments.append(_experiment(study, coordinates, facts.loc[study], path, defaults))
    return experiments


def _refused(facts: pd.DataFrame, select: Mapping[str, Any]) -> dict[str, str]:
    """Return study -> reason for the studies that do not match the selection."""
    refused: dict[str, str] = {}
    for column, wanted in select.items():
        if column.lower() not in facts.columns:
            raise TruthError(
                f"there is no column '{column}'; the table has {', '.join(facts.columns)}.",
                file=facts.attrs["file"],
                field="select",
                remedy="select by a column that exists.",
            )
        differs = facts[column.lower()].str.lower() != str(wanted).lower()
        refused.update(dict.fromkeys(facts.index[differs], f"not selected: {column} is not {wanted}"))
    return refused


def _experiment(
    study: str, coordinates: np.ndarray, facts: pd.Series, path: Path, defaults: Mapping[str, Any]
) -> Experiment:
    notes = []
    where = f"study {study}"
    subjects = next((facts[name] for name in SUBJECT_NAMES if _present(facts.get(name))), None)
    if subjects is None:
        subjects = defaults.get("subjects")
        notes.append("number of subjects assumed")
    if subjects is None:
        raise TruthError(
            "the study has no number of subjects.",
            file=path,
            field=where,
            remedy="add a column n_subjects, or set 'subjects_default'.",
        )
    space = facts.get("space")
    if not _present(space):
        space = defaults.get("space")
        notes.append("space assumed")
    return Experiment(
        study,
        "",
        subjects_of(str(subjects), path.name, where),
        space_of(space, path.name, where),
        coordinates,
        title=facts.get("title", ""),
        cohort=facts.get("cohort", ""),
        file=path.name,
        note=", ".join(notes),
    )


def _present(text: object) -> bool:
    return text is not None and str(text).strip().lower() not in MISSING
