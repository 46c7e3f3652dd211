"""Meta-analysis of coordinates: from files of foci to a truth, with every study accounted for.

Foci of one group of people make one map (Turkeltaub et al. 2012, Human Brain Mapping 33:1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.errors import ConfigError, TruthError
from heatproof.randomness import integer_seed
from heatproof.truths.ale import AleResult, run_ale, template_grid
from heatproof.truths.foci import MNI, Experiment, in_mni
from heatproof.truths.foci_tables import read_tables
from heatproof.truths.sleuth import read_sleuth, write_sleuth
from heatproof.truths.store import STUDY_COLUMNS, Context, Truth
from heatproof.truths.volumes import onto, require_overlap

if TYPE_CHECKING:
    import pandas as pd

USED, FLAGGED, EXCLUDED = "used", "flagged", "excluded"


@dataclass(frozen=True)
class Study:
    """One group of people with all foci found in it, and what happened to it.

    Attributes
    ----------
    experiment : Experiment
        Foci in MNI space.
    experiments : int
        Number of contrasts that were pooled.
    reported_space : str
        Space in which the foci were published.
    status, reason : str
        ``used``, ``flagged`` (used, but its people may be in the training data) or ``excluded``, and why.
    """

    experiment: Experiment
    experiments: int
    reported_space: str
    status: str = USED
    reason: str = ""


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``meta_analysis`` entry of the configuration.

    Parameters
    ----------
    spec : mapping
        ``sleuth`` (files) or ``foci`` and ``studies`` (tables), and the settings of `analyse`.
    context : Context
        The cohort's grid and where files lie.

    Raises
    ------
    ConfigError
        If neither or both kinds of file are given, or an excluded study does not exist.
    TruthError
        If a file breaks its format, or nothing survives the correction.
    """
    sleuth, tables = _listed(spec.get("sleuth")), _listed(spec.get("foci"))
    if bool(sleuth) == bool(tables):
        raise ConfigError(
            "give either Sleuth files or tables of foci.",
            field=f"truths.{context.name}",
            remedy="set 'sleuth' or 'foci', not both.",
        )
    if sleuth:
        paths = [context.resolve(path, "sleuth") for path in sleuth]
        experiments = [experiment for path in paths for experiment in read_sleuth(path)]
        left_out: list[Experiment] = []
    else:
        experiments, left_out = read_tables(
            [context.resolve(path, "foci") for path in tables],
            [context.resolve(path, "studies") for path in _listed(spec.get("studies"))],
            defaults={"subjects": spec.get("subjects_default"), "space": spec.get("space_default", MNI)},
            select=spec.get("select") or {},
        )
    return analyse(experiments, spec, context, left_out=left_out)


def analyse(
    experiments: Sequence[Experiment],
    spec: Mapping[str, Any],
    context: Context,
    *,
    left_out: Sequence[Experiment] = (),
    source: str = "meta_analysis",
) -> Truth:
    """Turn experiments into a truth on the cohort's grid.

    Parameters
    ----------
    experiments : sequence of Experiment
        In any space.
    spec : mapping
        ``exclude`` {study id: reason}, ``study_cohorts`` {study id: cohort}, ``on_overlap`` (flag | exclude),
        ``organise_by`` (study | experiment), ``n_iterations``, ``voxel_p``, ``cluster_p``.
    context : Context
        Grid, seed, cores and the names of the training data.
    left_out : sequence of Experiment
        Studies that reading left out; they are listed with the reason in their note.
    source : str
        What the truth is called.

    Raises
    ------
    TruthError
        If no study is left, or no cluster survives.
    GeometryError
        If the cohort's grid does not lie in MNI space.
    """
    groups = _organise(experiments, str(spec.get("organise_by", "study")))
    out = [Study(one, 1, one.space, EXCLUDED, one.note) for one in left_out]
    studies = _judge(groups, spec, context, {one.study_id for one in left_out}) + out
    taken = [study.experiment for study in studies if study.status != EXCLUDED]
    if not taken:
        raise TruthError("no study is left.", field=f"truths.{context.name}", remedy="exclude fewer studies.")
    # Before the analysis, which takes minutes, and not after it.
    require_overlap(template_grid(), context.grid, field=f"truths.{context.name}")
    result = run_ale(
        taken,
        n_iterations=int(spec.get("n_iterations", 1000)),
        voxel_p=float(spec.get("voxel_p", 0.001)),
        cluster_p=float(spec.get("cluster_p", 0.05)),
        seed=integer_seed(context.seed, "truth", context.name, "ale"),
        n_cores=context.n_cores,
    )
    if not result.significant.any():
        raise TruthError(
            f"no cluster of {len(taken)} studies survives the correction.",
            field=f"truths.{context.name}",
            remedy="add studies, or choose a less strict 'voxel_p' or 'cluster_p' and say so.",
        )
    return _truth(result, studies, taken, spec, context, source)


def _listed(value: Any) -> list[str]:
    return [] if not value else [value] if isinstance(value, str) else list(value)


def _organise(experiments: Iterable[Experiment], by: str) -> list[Study]:
    """Return one entry per study (foci of its contrasts pooled) or per experiment, in MNI space."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        key = experiment.study_id
        if by == "experiment" and experiment.contrast:
            key = f"{key}: {experiment.contrast}"
        groups.setdefault(key, []).append(experiment)
    studies = []
    for key, members in groups.items():
        moved = np.concatenate([in_mni(member).coordinates for member in members])
        # The smallest group gives the widest kernel: pooling never claims more precision than was measured.
        pooled = replace(
            members[0],
            study_id=key,
            contrast="",
            subjects=min(member.subjects for member in members),
            space=MNI,
            coordinates=moved,
        )
        spaces = "/".join(sorted({member.space for member in members}))
        studies.append(Study(pooled, len(members), spaces))
    return studies


def _judge(studies: Sequence[Study], spec: Mapping[str, Any], context: Context, left_out: set[str]) -> list[Study]:
    """Return the studies with their status: used, flagged or excluded, each with its reason."""
    exclude = {str(key): str(reason) for key, reason in (spec.get("exclude") or {}).items()}
    cohorts = {str(key): str(name) for key, name in (spec.get("study_cohorts") or {}).items()}
    known = [*(study.experiment.study_id for study in studies), *left_out]
    for field, listed in (("exclude", exclude), ("study_cohorts", cohorts)):
        for study_id in sorted(set(listed) - set(known)):
            close = ", ".join(difflib.get_close_matches(study_id, known, n=3)) or "none is close"
            raise ConfigError(
                f"the study '{study_id}' is not in the meta-analysis.",
                field=f"truths.{context.name}.{field}",
                remedy=f"correct the id (close ones: {close}).",
            )
    training = {name.lower() for name in context.cohorts}
    judged = []
    for study in studies:
        experiment = study.experiment
        cohort = cohorts.get(experiment.study_id, experiment.cohort)
        status, reason = USED, experiment.note
        if experiment.study_id in exclude:
            status, reason = EXCLUDED, exclude[experiment.study_id]
        elif not len(experiment.coordinates):
            status, reason = EXCLUDED, "no foci reported"
        elif cohort and cohort.lower() in training:
            status = EXCLUDED if spec.get("on_overlap", "flag") == "exclude" else FLAGGED
            reason = f"its people are from {cohort}, as the training data are"
        judged.append(replace(study, experiment=replace(experiment, cohort=cohort), status=status, reason=reason))
    return judged


def study_table(studies: Iterable[Study], n_outside: Mapping[str, int]) -> pd.DataFrame:
    """Return one row per study with `STUDY_COLUMNS`; ``n_outside_mask`` is missing for excluded ones."""
    import pandas as pd

    rows = []
    for study in studies:
        experiment = study.experiment
        used = study.status != EXCLUDED
        rows.append(
            {
                "study_id": experiment.study_id,
                "experiments": study.experiments,
                "title": experiment.title or None,
                "space": study.reported_space or None,
                "n_subjects": experiment.subjects or None,
                "n_foci": len(experiment.coordinates),
                "n_outside_mask": n_outside.get(experiment.study_id) if used else None,
                "cohort": experiment.cohort or None,
                "status": study.status,
                "reason": study.reason or None,
                "file": experiment.file,
            }
        )
    frame = pd.DataFrame(rows, columns=list(STUDY_COLUMNS))
    return frame.astype({"n_subjects": "Int64", "n_outside_mask": "Int64"})


def _truth(
    result: AleResult,
    studies: Sequence[Study],
    taken: Sequence[Experiment],
    spec: Mapping[str, Any],
    context: Context,
    source: str,
) -> Truth:
    field = f"truths.{context.name}"
    statistic = onto(result.statistic, result.grid, context.grid, order=1, field=field)
    significant = onto(result.significant, result.grid, context.grid, order=0, field=field) & context.mask
    converted = sum(s.reported_space != MNI and s.status != EXCLUDED for s in studies)
    facts = {
        "n_studies": len(taken),
        "n_excluded": sum(s.status == EXCLUDED for s in studies),
        "n_flagged": sum(s.status == FLAGGED for s in studies),
        "n_converted_from_talairach": converted,
        "n_foci": int(sum(len(e.coordinates) for e in taken)),
        "n_foci_outside_mask": int(sum(result.n_outside.values())),
        "n_iterations": int(spec.get("n_iterations", 1000)),
        "voxel_p": float(spec.get("voxel_p", 0.001)),
        "cluster_p": float(spec.get("cluster_p", 0.05)),
        "significant_ml_at_2mm": float(result.significant.sum() * result.grid.voxel_volume / 1000),
    }
    return Truth(
        np.where(context.mask, statistic, 0),
        significant,
        source,
        result.description,
        studies=study_table(studies, result.n_outside),
        foci=write_sleuth(taken),
        facts=facts,
    )
