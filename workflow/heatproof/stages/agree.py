"""Stage `agree`: do the maps of one method stay the same when the network is trained again?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.files import write_parquet
from heatproof.metrics.randomisation import retraining_agreement
from heatproof.stages.probing import ProbeJob, ProbeRows, check_similarity, explained_scans, judged_map
from heatproof.stages.runs import run_of

METRIC = "retraining_agreement"
BETWEEN_SEEDS, BETWEEN_FOLDS = "between seeds", "between folds"


def agree(
    job: ProbeJob,
    *,
    cohort: Path,
    maps: Mapping[str, Sequence[Path]],
    means: Mapping[str, Sequence[Path]],
    probes: Path,
) -> None:
    """Compare the maps of networks that differ in their seed, and the mean maps of networks that differ in their fold.

    Parameters
    ----------
    job : ProbeJob
        Model and recipe; its fold and seed are -1.
    cohort : Path
        The store: who was scanned, and the mask.
    maps : mapping of str to sequence of Path
        ``maps.h5`` of every fold and seed, by method: each test scan of which the same class was explained is compared
        between the seeds of its fold.
    means : mapping of str to sequence of Path
        ``means.h5`` of every fold and seed, by method. The folds' test scans differ, so only mean maps can be compared,
        and their networks share most training scans.
    probes : Path
        Table to write; a row between folds belongs to no scan.
    """
    kind = job.spec["randomisation"]["similarity"]
    rows = ProbeRows(job)
    with Cohort(cohort) as stored:
        check_similarity(kind, stored)
        for method, paths in maps.items():
            by_fold: dict[int, list[Path]] = defaultdict(list)
            for path in paths:
                by_fold[run_of(path.parent)[1]].append(path)
            for fold, runs in sorted(by_fold.items()):
                if len(runs) > 1:
                    _between_seeds(rows, replace(job, fold=fold), stored, method, runs, kind)
        for method, paths in means.items():
            _between_folds(rows, stored, method, paths, kind)
    write_parquet(rows.table(), probes)


def _between_seeds(
    rows: ProbeRows, job: ProbeJob, cohort: Cohort, method: str, paths: Sequence[Path], kind: str
) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(h5py.File(path, "r")) for path in sorted(paths)]
        explained = [explained_scans(file) for file in files]
        scan_ids = explained[0][0]
        if any(others != scan_ids for others, _ in explained):
            raise HeatproofError(
                "the seeds of one fold explain different scans.",
                file=paths[0],
                field="scan_ids",
                remedy="delete the maps of this fold; rule 'attribute' draws them again.",
            )
        own = ProbeRows(job, rows.rows)
        # Maps of different classes are no repetition of each other.
        same_class = np.all([targets == explained[0][1] for _, targets in explained], axis=0)
        for position, scan_id in enumerate(scan_ids):
            if not same_class[position]:
                continue
            places = [cohort.places(file["maps"][position]) for file in files]
            drawn = np.stack([judged_map(one, job.rectify) for one in places])[:, None]
            value = retraining_agreement(drawn, similarity=kind, mask=cohort.places_mask)[0]
            own.add(cohort.participants.loc[scan_id], method, "", METRIC, BETWEEN_SEEDS, value)


def _between_folds(rows: ProbeRows, cohort: Cohort, method: str, paths: Sequence[Path], kind: str) -> None:
    by_fold: dict[int, list[np.ndarray]] = defaultdict(list)
    for path in paths:
        with h5py.File(path, "r") as file:
            if "all" in file and "signed" in file["all"]:
                by_fold[run_of(path.parent)[1]].append(judged_map(file["all/signed"][:], rows.job.rectify))
    if len(by_fold) > 1:
        folds = np.stack([np.mean(by_fold[fold], axis=0) for fold in sorted(by_fold)])[:, None]
        value = retraining_agreement(folds, similarity=kind, mask=cohort.places_mask)[0]
        nobody = {"scan_id": "", "participant_id": "", "diagnosis": ""}
        rows.add(nobody, method, "", METRIC, BETWEEN_FOLDS, value)
