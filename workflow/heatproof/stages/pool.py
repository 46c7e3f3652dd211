"""Stage `pool`: the mean maps of all folds and seeds become the group map of a model and a method.

As published the group map is the mean of the folds' means. People never straddle folds, so leaving out one
fold at a time gives scores (level ``leave_one_out``, `fold` says which one is missing) from which the
statistics take an interval over groups of people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.files import atomic, write_nifti, write_parquet
from heatproof.metrics.aggregation import GroupMean, mean_of_folds, rectified
from heatproof.metrics.evaluate import Evaluator, evaluator
from heatproof.metrics.nulls import compare, null_scores
from heatproof.metrics.overlap import dice_curve
from heatproof.metrics.registry import METRICS
from heatproof.metrics.smoothing import smooth
from heatproof.metrics.space import RankedMap, Truth
from heatproof.randomness import generator
from heatproof.stages.score import mean_map_rows
from heatproof.stages.scoring import Origin, read_group_truths, score_table
from heatproof.studies import OUTPUT_TRUTHS

if TYPE_CHECKING:
    import pandas as pd

Means = dict[str, tuple[np.ndarray, np.ndarray]]
NULL_COLUMNS = (
    "study", "model", "recipe", "method", "truth", "population", "rectify", "metric", "smoothing_mm",
    "observed", "null", "null_mean", "null_sd", "null_95", "p_value", "n_surrogates",
)  # fmt: skip


@dataclass(frozen=True)
class PoolFiles:
    """Files that `pool` writes; `nifti` is a folder, which stays empty where the grid is no volume."""

    group: Path
    scores: Path
    nulls: Path
    nifti: Path | None = None


def pool_each(
    means: Sequence[Path],
    cohort: Path,
    participants: Path,
    truths: Mapping[str, Path],
    spec: Mapping[str, Any],
    origin: Origin,
    outputs: Sequence[PoolFiles],
    *,
    seed: int,
) -> None:
    """Pool several methods of one model; every file lies in the folder of its method (see `pool`)."""
    for files in outputs:
        method = files.group.parent.name
        own = [path for path in means if path.parent.name == method]
        pool(own, cohort, participants, truths, spec, replace(origin, method=method), files, seed=seed)


def pool(
    means: Sequence[Path],
    cohort: Path,
    participants: Path,
    truths: Mapping[str, Path],
    spec: Mapping[str, Any],
    origin: Origin,
    outputs: PoolFiles,
    *,
    seed: int,
) -> None:
    """Build the group maps, score them, and compare them with surrogates.

    Parameters
    ----------
    means : sequence of Path
        ``means.h5`` of every fold and seed.
    cohort, participants : Path
        The store and its table: mask and grid.
    truths : mapping of str to Path
        Truths by name.
    spec : mapping
        The `metrics` entry of the configuration.
    origin : Origin
        Study, model, recipe and method.
    outputs : PoolFiles
        ``group.h5`` (``maps/{population}/{rectify}``, and thresholds and Dice of the unsmoothed map in
        ``curves/{truth}/{population}/{rectify}``), ``scores.parquet``, ``nulls.parquet``, and a folder of
        ``{population}_{rectify}.nii.gz``.
    seed : int
        Root seed of the study.

    Raises
    ------
    HeatproofError
        If no fold has a mean map, or they differ in shape.
    """
    import pandas as pd

    folds = [_read_means(path) for path in means]
    output = folds[0].output if folds else ""
    with Cohort(cohort, participants) as store:
        judge = evaluator(spec, "group", store.places_mask, store.places_spacing)
        fold_judge = Evaluator(
            judge.space, evaluator(spec, "fold", store.places_mask, store.places_spacing).names, judge.n_thresholds
        )
        known = read_group_truths(truths, judge.space, store.grid, output)
        grid = store.grid
    pooled = mean_of_folds(fold.means for fold in folds)
    if not pooled:
        raise HeatproofError(
            "no fold has a mean map.",
            file=means[0] if means else None,
            field="populations",
            remedy="look in the folds' scores for maps that are not finite.",
        )
    rows = _scores(pooled, judge, known, spec["smoothing_mm"]["group"], spec["rectify"], "group")
    table = [score_table(rows, origin), *_leave_one_out(folds, fold_judge, known, spec, origin)]
    write_parquet(pd.concat(table, ignore_index=True), outputs.scores)
    write_parquet(_nulls(pooled, judge, known, spec, origin, seed), outputs.nulls)
    _write_group(pooled, judge, known, spec, origin, grid.affine, outputs.group)
    if outputs.nifti is not None:
        _write_niftis(pooled, spec["rectify"], grid.affine, outputs.nifti)


class _Fold(NamedTuple):
    fold: int
    means: Means
    output: str


def _read_means(path: Path) -> _Fold:
    with h5py.File(path, "r") as file:
        means = {
            population: (entry["signed"][:], entry["absolute"][:])
            for population, entry in file.items()
            if "signed" in entry
        }
        return _Fold(int(file.attrs["fold"]), means, str(file.attrs["output"]))


def _scores(
    pooled: Mapping[str, GroupMean],
    judge: Evaluator,
    truths: Mapping[str, Truth],
    widths: list[float],
    rectifications: list[str],
    level: str,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for population, group in pooled.items():
        rows += mean_map_rows(
            group.signed, group.absolute, population, judge, truths, widths, rectifications, level=level
        )
    return rows


def _leave_one_out(
    folds: Sequence[_Fold],
    judge: Evaluator,
    truths: Mapping[str, Truth],
    spec: Mapping[str, Any],
    origin: Origin,
) -> list[pd.DataFrame]:
    """Return the scores of the group maps without each fold in turn, at the smoothing of the folds."""
    numbers = sorted({fold.fold for fold in folds})
    if len(numbers) < 2:
        return []
    tables = []
    for missing in numbers:
        pooled = mean_of_folds(fold.means for fold in folds if fold.fold != missing)
        rows = _scores(pooled, judge, truths, spec["smoothing_mm"]["fold"], spec["rectify"], "leave_one_out")
        tables.append(score_table(rows, origin).assign(fold=missing))
    return tables


def _nulls(
    pooled: Mapping[str, GroupMean],
    judge: Evaluator,
    truths: Mapping[str, Truth],
    spec: Mapping[str, Any],
    origin: Origin,
    seed: int,
) -> pd.DataFrame:
    """Return where each group map stands among surrogates that are as smooth."""
    import pandas as pd

    wanted = spec["nulls"]
    # Signals are not aligned to one another: their mean map and mean truth are broad, and surrogates fit as well.
    truths = {name: truth for name, truth in truths.items() if name not in OUTPUT_TRUTHS}
    names = [name for name in wanted["metrics"] if "truth" in METRICS[name].needs]
    who = {name: value for name, value in origin.columns().items() if name not in ("fold", "seed")}
    rows: list[dict[str, Any]] = []
    for population in wanted["populations"] if truths and names and wanted["n_surrogates"] else []:
        if population not in pooled:
            continue
        group = pooled[population]
        for width in wanted["smoothing_mm"]:
            signed = smooth(group.signed, width, judge.space.spacing)
            absolute = smooth(group.absolute, width, judge.space.spacing)
            for rectify in wanted["rectify"]:
                ranked = RankedMap.of(rectified(signed, absolute, rectify), judge.space)
                key = (origin.study, "surrogate", origin.model, origin.method, population, rectify, width)
                for (truth, name), place in _null_places(
                    ranked, judge, truths, names, int(wanted["n_surrogates"]), generator(seed, *key)
                ).items():
                    rows.append({**who, "truth": truth, "population": population, "rectify": rectify,
                                 "metric": name, "smoothing_mm": float(width), "null": "surrogate",
                                 **vars(place)})  # fmt: skip
    return pd.DataFrame(rows, columns=list(NULL_COLUMNS))


def _null_places(
    ranked: RankedMap,
    judge: Evaluator,
    truths: Mapping[str, Truth],
    names: Sequence[str],
    n: int,
    random: np.random.Generator,
) -> dict[tuple[str, str], Any]:
    """Return for each truth and metric the place of a map among n surrogates."""
    ways = {(truth, name): partial(judge.value, name, truth=known) for truth, known in truths.items() for name in names}
    if not ranked.valid:
        return {way: compare(float("nan"), np.empty(0)) for way in ways}
    drawn = null_scores(ranked, judge.space, ways, n, random)
    return {
        (truth, name): compare(score(ranked), drawn[truth, name], METRICS[name].larger_is_better)
        for (truth, name), score in ways.items()
    }


def _write_niftis(
    pooled: Mapping[str, GroupMean], rectifications: Sequence[str], affine: np.ndarray | None, folder: Path
) -> None:
    """Write the group maps of a volume; the folder of an image or a signal stays empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if affine is None:
        return
    for population, group in pooled.items():
        for rectify in rectifications:
            values = rectified(group.signed, group.absolute, rectify).astype(np.float32)
            write_nifti(values, affine, folder / f"{population}_{rectify}.nii.gz")


def _write_group(
    pooled: Mapping[str, GroupMean],
    judge: Evaluator,
    truths: Mapping[str, Truth],
    spec: Mapping[str, Any],
    origin: Origin,
    affine: np.ndarray | None,
    path: Path,
) -> None:
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for population, group in pooled.items():
            for rectify in spec["rectify"]:
                values = rectified(group.signed, group.absolute, rectify)
                place = f"{population}/{rectify}"
                file.create_dataset(f"maps/{place}", data=values.astype(np.float32), compression="gzip")
                ranked = RankedMap.of(values, judge.space)
                for name, truth in truths.items():
                    curve = np.stack(dice_curve(ranked, truth, judge.n_thresholds))
                    file.create_dataset(f"curves/{name}/{place}", data=curve)
            file[f"maps/{population}"].attrs["n_folds_and_seeds"] = group.n
        file.attrs.update(origin.columns())
        if affine is not None:
            file.attrs["affine"] = affine
