"""Stage `score`: every maps file becomes scores per scan and per fold, relevance per area, and mean maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.cohorts.store import LOG_JACOBIAN, Cohort
from heatproof.errors import HeatproofError
from heatproof.files import atomic, read_table, write_parquet
from heatproof.metrics.aggregation import GroupMeans, is_patient, rectified
from heatproof.metrics.areas import relevance_by_area
from heatproof.metrics.evaluate import Evaluator, Score, evaluator
from heatproof.metrics.smoothing import smooth
from heatproof.metrics.space import RankedMap, Truth
from heatproof.stages.scoring import Origin, read_group_truths, score_rows, score_table
from heatproof.statistics.conditions import INPUT_WEIGHTED
from heatproof.studies import INDIVIDUAL_TRUTHS, OUTPUT_TRUTHS

if TYPE_CHECKING:
    import pandas as pd

# Methods whose values are what a place contributes to the number, not how the number changes with it.
CONTRIBUTIONS = INPUT_WEIGHTED | {"occlusion"}
AREA_COLUMNS = (
    "scan_id", "participant_id", "diagnosis", "target", "predicted", "area", "name", "n_voxels", "volume_mm3", "sum",
    "density", "mass",
)  # fmt: skip


@dataclass(frozen=True)
class ScoreFiles:
    """Files that `score` writes."""

    scores: Path
    areas: Path
    means: Path


def score_each(
    maps: Sequence[Path],
    cohort: Path,
    participants: Path,
    predictions: Path,
    truths: Mapping[str, Path],
    spec: Mapping[str, Any],
    origin: Origin,
    outputs: Sequence[ScoreFiles],
) -> None:
    """Score the maps of several methods of one run; each file lies in the folder of its method (see `score`)."""
    for path, files in zip(maps, outputs, strict=True):
        of_method = replace(origin, method=path.parent.name)
        score(path, cohort, participants, predictions, truths, spec, of_method, files)


def score(
    maps: Path,
    cohort: Path,
    participants: Path,
    predictions: Path,
    truths: Mapping[str, Path],
    spec: Mapping[str, Any],
    origin: Origin,
    outputs: ScoreFiles,
) -> None:
    """Score every map of one file.

    Parameters
    ----------
    maps : Path
        Datasets ``maps`` (n, C, *space), ``scan_ids`` (n,) and optionally ``residual`` (n,).
    cohort, participants : Path
        The store and its table: mask, grid, areas and each scan's own truth.
    predictions : Path
        Table with scan_id and predicted.
    truths : mapping of str to Path
        Truths by name. Those of `heatproof.studies.INDIVIDUAL_TRUTHS` (``injected``, ``lesions`` ...) are
        replaced, scan by scan, by the scan's own effect or lesion; at the level of the fold they are the group's.
    spec : mapping
        The `metrics` entry of the configuration.
    origin : Origin
        Study, model, recipe, fold, seed and method.
    outputs : ScoreFiles
        ``scores.parquet``, ``areas.parquet`` and ``means.h5``.

    Raises
    ------
    HeatproofError
        If the maps do not fit the cohort or a scan has no prediction.
    """
    with Cohort(cohort, participants) as store, h5py.File(maps, "r") as file:
        predicted = _predicted(predictions)
        if file["maps"].shape[2:] != store.grid.shape:
            raise HeatproofError(
                f"maps of shape {file['maps'].shape[2:]} do not fit a cohort of shape {store.grid.shape}.",
                file=maps,
                field="maps",
                remedy="delete the file; rule 'attribute' draws the maps again.",
            )
        job = _Job(store, file, predicted, spec, truths)
        for position, scan_id in enumerate(file["scan_ids"].asstr()[:]):
            if scan_id not in predicted:
                raise HeatproofError(
                    "the scan has a map but no prediction.",
                    file=predictions,
                    field=str(scan_id),
                    remedy="delete the file; rule 'train' writes it again.",
                )
            job.add(position, str(scan_id))
        rows = job.rows + job.fold_rows()
        write_parquet(score_table(rows, origin), outputs.scores)
        write_parquet(job.area_table(origin), outputs.areas)
        _write_means(job.means, store, origin, job.invalid, job.output, outputs.means)


def _predicted(path: Path) -> dict[str, int]:
    table = read_table(path, ("scan_id", "predicted"))
    return dict(zip(table["scan_id"].astype(str), table["predicted"].astype(int), strict=True))


class _Job:
    """The maps of one file, taken one at a time: memory does not grow with their number."""

    def __init__(
        self,
        store: Cohort,
        file: h5py.File,
        predicted: Mapping[str, int],
        spec: Mapping[str, Any],
        truths: Mapping[str, Path],
    ) -> None:
        self.store, self.file, self.predicted, self.spec = store, file, predicted, spec
        self.output = str(file.attrs.get("output", ""))
        self.contributes = str(file.attrs.get("method", "")) in CONTRIBUTIONS
        self.scan_level = evaluator(spec, "scan", store.places_mask, store.places_spacing)
        self.fold_level = Evaluator(
            self.scan_level.space,
            evaluator(spec, "fold", store.places_mask, store.places_spacing).names,
            self.scan_level.n_thresholds,
        )
        self.group_truths = read_group_truths(truths, self.scan_level.space, store.grid, self.output)
        self.means = GroupMeans(spec["populations"], has_controls=store.has_controls)
        self.residuals = file["residual"][:] if "residual" in file else None
        self.rows: list[dict[str, Any]] = []
        self.invalid: list[str] = []
        self._areas: list[pd.DataFrame] = []
        self._listed = sorted(store.label_names) or None

    def add(self, position: int, scan_id: str) -> None:
        """Score one map, and add it to the means and the areas."""
        heatmap = self.store.places(self.file["maps"][position])
        person = self.store.participants.loc[scan_id]
        scan = {name: str(person[name]) for name in ("scan_id", "participant_id", "diagnosis")}
        target = int(person["target"])
        if np.isfinite(heatmap).all():
            self.means.add(heatmap, target, self.predicted[scan_id])
        else:
            self.invalid.append(scan_id)
        self._add_areas(heatmap, scan_id)
        self._add_scores(heatmap, scan, self._truths_of(scan_id, target))
        if self.residuals is not None:
            value = float(self.residuals[position])
            score = Score("", "completeness_residual", value, 0.0)
            self.rows += score_rows(
                [score], level="scan", population="scan", rectify="signed", smoothing_mm=0.0, scan=scan
            )

    def _truths_of(self, scan_id: str, target: int) -> dict[str, Truth]:
        """Return the truths that a scan is scored against.

        A map for all says where patients differ, so only patients are scored against it; a scan's own effect or
        lesion counts wherever it has one.
        """
        patient = is_patient(target, has_controls=self.store.has_controls)
        truths = {k: v for k, v in self.group_truths.items() if k not in INDIVIDUAL_TRUTHS and patient}
        for name in INDIVIDUAL_TRUTHS:
            if name in self.group_truths:
                own = self.store.truth(scan_id, self._kept_as(name))
                if own is not None and own.any():
                    share = float(self.spec["truth_share"])
                    # Only a change says in which direction; a mark of a wave or a lesion does not.
                    signed = own if name == "counterfactual" else None
                    if signed is not None and self.contributes:
                        # Such a map shows the scan times a slope, whose sign the scan's own polarity turns round.
                        signed = own * self.store.scan(scan_id)
                    truths[name] = Truth.of_effect(own, self.scan_level.space, share, signed)
        return truths

    def _kept_as(self, truth: str) -> str:
        """Return the name under which the store keeps a scan's own truth; empty for the effect or the lesion."""
        if truth in OUTPUT_TRUTHS:
            return self.output
        return LOG_JACOBIAN if truth == "contraction" else ""

    def _add_scores(self, heatmap: np.ndarray, scan: dict[str, str], truths: Mapping[str, Truth]) -> None:
        rectify = str(self.spec["scan_rectify"])
        widths = [float(width) for width in self.spec["smoothing_mm"]["scan"]]
        for width in sorted({0.0, *widths}):
            if width and not truths:
                continue
            smoothed = smooth(heatmap, width, self.store.places_spacing)
            judged = rectified(smoothed, np.abs(smoothed), rectify)
            ranked = RankedMap.of(judged, self.scan_level.space, smoothed)
            scores = self.scan_level.against_mask(ranked) if width == 0 else []
            if width in widths:
                scores += self.scan_level.against_truths(ranked, truths)
            self.rows += score_rows(
                scores, level="scan", population="scan", rectify=rectify, smoothing_mm=width, scan=scan
            )

    def _add_areas(self, heatmap: np.ndarray, scan_id: str) -> None:
        labels = self.store.labels(scan_id)
        if labels is not None:
            table = relevance_by_area(heatmap[None], labels, self._listed, [scan_id])
            # How much relevance of either sign there is: positive and negative parts do not cancel.
            mass = relevance_by_area(np.abs(heatmap)[None], labels, self._listed)["sum"]
            self._areas.append(table.assign(predicted=self.predicted[scan_id], mass=mass))

    def fold_rows(self) -> list[dict[str, Any]]:
        """Return the scores of the fold's mean maps."""
        rows: list[dict[str, Any]] = []
        for population, group in self.means.groups.items():
            if group.n:
                rows += mean_map_rows(
                    group.signed,
                    group.absolute,
                    population,
                    self.fold_level,
                    self.group_truths,
                    self.spec["smoothing_mm"]["fold"],
                    self.spec["rectify"],
                    level="fold",
                )
        return rows

    def area_table(self, origin: Origin) -> pd.DataFrame:
        """Return relevance per scan and area with the names of scans, people and areas."""
        import pandas as pd

        columns = [*origin.columns(), *AREA_COLUMNS]
        if not self._areas:
            return pd.DataFrame(columns=columns)
        table = pd.concat(self._areas, ignore_index=True).rename(columns={"scan": "scan_id"})
        people = self.store.participants[["scan_id", "participant_id", "diagnosis", "target"]]
        table = table.merge(people.reset_index(drop=True), on="scan_id", how="left", validate="many_to_one")
        names = self.store.label_names
        table["name"] = [names.get(area, f"area {area}") for area in table["area"]]
        table["volume_mm3"] = table["n_voxels"] * self.store.grid.voxel_volume
        return table.assign(**origin.columns())[columns]


def mean_map_rows(
    signed: np.ndarray,
    absolute: np.ndarray,
    population: str,
    judge: Evaluator,
    truths: Mapping[str, Truth],
    widths: list[float],
    rectifications: list[str],
    *,
    level: str,
) -> list[dict[str, Any]]:
    """Return the scores of one mean map under every smoothing and rectification.

    The signed mean is smoothed first and its absolute value taken after, as published.
    """
    rows: list[dict[str, Any]] = []
    for width in widths:
        smoothed = (
            smooth(signed, width, judge.space.spacing),
            smooth(absolute, width, judge.space.spacing),
        )
        for rectify in rectifications:
            ranked = RankedMap.of(rectified(*smoothed, rectify), judge.space)
            scores = judge.against_truths(ranked, truths)
            if width == 0:
                scores += judge.against_mask(ranked)
            rows += score_rows(scores, level=level, population=population, rectify=rectify, smoothing_mm=width)
    return rows


def _write_means(means: GroupMeans, store: Cohort, origin: Origin, invalid: list[str], output: str, path: Path) -> None:
    """Write the mean maps: ``{population}/signed`` and ``{population}/absolute`` with the number of scans."""
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        for population, group in means.groups.items():
            entry = file.create_group(population)
            entry.attrs["n_scans"] = group.n
            if group.n:
                entry.create_dataset("signed", data=group.signed.astype(np.float32), compression="gzip")
                entry.create_dataset("absolute", data=group.absolute.astype(np.float32), compression="gzip")
        file.attrs.update(origin.columns())
        file.attrs["spacing"], file.attrs["units"] = store.grid.spacing, store.grid.units
        file.attrs["output"] = output
        file.attrs["invalid_scans"] = np.array(invalid, dtype=h5py.string_dtype())
        if store.grid.affine is not None:
            file.attrs["affine"] = store.grid.affine
