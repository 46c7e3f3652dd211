"""Stage `truth`: one truth of the study on the cohort's grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heatproof.cohorts.folders import inside
from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError
from heatproof.files import atomic, write_table
from heatproof.metrics.aggregation import is_patient
from heatproof.truths.sources import build_truth
from heatproof.truths.store import STUDY_COLUMNS, Context, context_hash, write_truth


def truth(
    cohort: Path,
    spec: Mapping[str, Any],
    *,
    name: str,
    seed: int,
    root: Path,
    output: Path,
    studies: Path,
    nifti: Path | None = None,
    foci: Path | None = None,
    n_cores: int = 1,
) -> None:
    """Build one truth and write it.

    Parameters
    ----------
    cohort : Path
        The cohort's HDF5 file; its participants table lies beside it.
    spec : mapping
        The truth's entry of the configuration.
    name : str
        Name of the truth.
    seed : int
        Root seed of the study.
    root : Path
        Folder inside which files of the configuration must lie.
    output : Path
        HDF5 to write.
    studies : Path
        Table of the meta-analysis' studies, used and excluded; only a header for other sources.
    nifti : Path, optional
        The map as a volume; an empty file where the grid is no volume (images and signals have no affine).
    foci : Path, optional
        The foci that were used, as Sleuth text; empty for other sources.
    n_cores : int
        Threads of the meta-analysis.

    Raises
    ------
    HeatproofError
        Named by the source: `TruthError`, `GeometryError` or `ConfigError`.
    """
    with Cohort(cohort) as stored:
        context = Context(
            grid=stored.grid,
            mask=stored.mask,
            seed=seed,
            name=name,
            resolve=lambda path, field: _existing(root, path, field),
            patient_truths=lambda: _patient_truths(stored),
            atlas=stored.atlas,
            label_names=stored.label_names,
            cohorts=_training_cohorts(stored, spec),
            outputs=tuple(stored.outputs),
            output_truths=lambda output: _output_truths(stored, output),
            truth_kind=str(stored.description.get("truth_kind", "")),
            n_cores=n_cores,
        )
        built = build_truth(spec, context)
        write_truth(built, stored.grid, output, nifti, context=context_hash(spec, context))
    empty = pd.DataFrame(columns=list(STUDY_COLUMNS))
    write_table(empty if built.studies is None else built.studies, studies)
    if foci is not None:
        with atomic(foci) as temporary:
            temporary.write_text(built.foci, encoding="utf-8")


def _existing(root: Path, path: str, field: str) -> Path:
    resolved = inside(root, path, field=field)
    if not resolved.is_file():
        raise ConfigError(
            "the file does not exist.", file=path, field=field, remedy="give its path from the data root."
        )
    return resolved


def _patient_truths(cohort: Cohort) -> Iterator[np.ndarray]:
    """Yield the exact effect or the lesion in every patient's scan, one at a time."""
    for scan_id, target in cohort.participants["target"].astype(int).items():
        effect = cohort.truth(str(scan_id)) if is_patient(target, has_controls=cohort.has_controls) else None
        if effect is not None:
            yield effect


def _output_truths(cohort: Cohort, output: str) -> Iterator[np.ndarray]:
    """Yield the truth of an output in every scan, one at a time."""
    for scan_id in cohort.scan_ids:
        truth = cohort.truth(scan_id, output)
        if truth is not None:
            yield truth


def _training_cohorts(cohort: Cohort, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names under which the people of this cohort may appear in a meta-analysis."""
    named = [str(name) for name in spec.get("training_cohorts") or ()]
    own = str(cohort.description.get("source", ""))
    return tuple(dict.fromkeys([*named, *([own] if own else [])]))
