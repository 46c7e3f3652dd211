"""Stage `plot`: every figure of a study as SVG and PNG, in one job, so that the imports are paid once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import HeatproofError
from heatproof.figures import selection
from heatproof.figures.agreement import draw_metric_agreement
from heatproof.figures.areas import draw_areas, draw_fingerprints, draw_gain
from heatproof.figures.catalogue import FIGURES
from heatproof.figures.confusion import draw_confusion
from heatproof.figures.curves import draw_dice_curves, draw_smoothing
from heatproof.figures.doses import draw_dose_frames, draw_doses
from heatproof.figures.ecg import draw_ecg
from heatproof.figures.ecg_grid import draw_ecg_grid
from heatproof.figures.estimates import draw_estimates
from heatproof.figures.faithfulness import draw_faithfulness
from heatproof.figures.gallery import Example, draw_gallery
from heatproof.figures.information import draw_information_curves
from heatproof.figures.lead_maps import draw_lead_maps
from heatproof.figures.maps import draw_mean_maps
from heatproof.figures.metric_ranks import draw_metric_ranks
from heatproof.figures.networks import draw_performance, draw_training
from heatproof.figures.nulls import draw_nulls
from heatproof.figures.perturbation import draw_perturbation
from heatproof.figures.ranking import draw_ranking
from heatproof.figures.recipes import draw_recipes
from heatproof.figures.simulated_scans import draw_simulated_scans
from heatproof.figures.simulated_warps import draw_simulated_warps
from heatproof.figures.simulator_scores import draw_simulator_scores
from heatproof.figures.stability import draw_rank_stability
from heatproof.figures.style import absent, save
from heatproof.figures.volumes import draw_volume_relevance
from heatproof.figures.waves import draw_wave_tables
from heatproof.stages.recordings import (
    areas_with_truth,
    lead_examples,
    methods_by_model,
    output_truths,
    truth_words,
)
from heatproof.stages.results import Pairs, PlotInputs, StudyResults
from heatproof.stages.runs import read_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# The population of the group scores in the tables first.
POPULATIONS = ("patients", "all", "true_positives")
RECTIFICATIONS = ("abs_after", "abs_before", "signed")


def plot(inputs: PlotInputs, figures: Mapping[str, Iterable[Path]]) -> None:
    """Draw each figure that `figures` names and write it to its paths (``.svg``, ``.png``).

    Raises
    ------
    HeatproofError
        If a figure is not in the catalogue.
    """
    study = StudyResults(inputs)
    for name, paths in figures.items():
        if name not in FIGURES:
            raise HeatproofError("there is no such figure.", field=name, remedy=f"choose among {', '.join(FIGURES)}.")
        save(DRAWN[name](study), paths)


def _mean_maps(study: StudyResults) -> Figure:
    ranking = study.table("ranking")
    truth_name = selection.headline_view(ranking, study.inputs.metric).truth if len(ranking) else ""
    if study.facts.channel_names:
        pairs = [(model, method) for model, methods in methods_by_model(study).items() for method in methods]
        found, population = _group_maps(study, pairs)
        return draw_lead_maps(
            found, output_truths(study, truth_name), study.facts.channel_names, study.facts.grid,
            controls=study.controls, truth_name=truth_name, population=population,
        )  # fmt: skip
    found, population = _group_maps(study, study.pairs)
    maps = {method: values for (_, method), values in found.items()}
    with h5py.File(study.inputs.cohort, "r") as handle:
        mask = handle["mask"][:].astype(bool)
        template = handle["template"][:] if "template" in handle else None
    return draw_mean_maps(
        maps, template, _truth_mask(study, truth_name), mask, study.facts.grid, controls=sorted(study.controls),
        truth_name=truth_name, population=population,
    )  # fmt: skip


def _group_maps(study: StudyResults, pairs: Pairs) -> tuple[dict[tuple[str, str], np.ndarray], str]:
    """Return the plainest group map of each (model, method) that has one, and the populations they are means of."""
    maps: dict[tuple[str, str], np.ndarray] = {}
    populations = set()
    for pair in pairs:
        if pair in study.group_maps:
            with h5py.File(study.group_maps[pair], "r") as handle:
                name = _key(handle.get("maps", {}))
                if name:
                    maps[pair] = handle["maps"][name][:]
                    populations.add(name.split("/")[0])
    return maps, ", ".join(sorted(populations))


def _key(group: Any) -> str:
    """Return ``population/rectification`` of the plainest entry of a group file, or empty text."""
    for population in POPULATIONS:
        for rectify in RECTIFICATIONS:
            if f"{population}/{rectify}" in group:
                return f"{population}/{rectify}"
    return ""


def _truth_mask(study: StudyResults, name: str) -> np.ndarray | None:
    if name not in study.inputs.truths:
        return None
    with h5py.File(study.inputs.truths[name], "r") as handle:
        return handle["mask"][:].astype(bool)


def _dice_curves(study: StudyResults) -> Figure:
    curves: dict[tuple[str, str], np.ndarray] = {}
    for pair in study.pairs:
        if pair in study.group_maps:
            with h5py.File(study.group_maps[pair], "r") as handle:
                for truth, group in handle.get("curves", {}).items():
                    name = _key(group)
                    if name:
                        curves[truth, pair[1]] = group[name][:]
    return draw_dice_curves(curves, [method for _, method in study.pairs], study.controls)


def _volume_relevance(study: StudyResults) -> Figure:
    import pandas as pd

    from heatproof.files import read_table

    table = study.table("volume_relevance")
    chosen = _area_to_show(table)
    if study.inputs.volumes is None or not chosen:
        return draw_volume_relevance(pd.DataFrame(), table, [], "")
    rows = table[table["name"] == chosen]
    volumes = read_table(study.inputs.volumes)
    people = read_table(study.inputs.participants, ("scan_id", "participant_id", "target"))
    areas = study.areas[study.areas["area"].isin(rows["area"].unique())]
    points = areas[["model", "method", "seed", "scan_id", "area", "sum"]].merge(
        volumes[["scan_id", "area", "volume_mm3"]], on=["scan_id", "area"]
    )
    points = points.merge(people[["scan_id", "participant_id", "target"]], on="scan_id")
    keys = ["model", "method", "participant_id", "target"]
    # Rescans and seeds are no further people: their mean is one point, as in the table.
    points = points.groupby(keys, as_index=False)[["volume_mm3", "sum"]].mean()
    usual = study.facts.has_controls and len(study.facts.classes) == 2
    groups = ("controls", "patients") if usual else tuple(study.facts.classes)
    return draw_volume_relevance(points, rows, study.compared, chosen, groups, study.facts.grid)


def _area_to_show(table: pd.DataFrame) -> str:
    """Return the hippocampus where the table has it, else its first area."""
    names = table["name"].drop_duplicates().tolist() if len(table) else []
    hippocampi = [name for name in names if "hippocamp" in name.lower() and "para" not in name.lower()]
    return next(iter(hippocampi or names), "")


def _fingerprints(study: StudyResults) -> Figure:
    methods = [pair for pair in study.pairs if pair[1] not in study.controls][:2]
    backprop = [pair for pair in study.pairs if pair[1] == "guided_backprop"]
    pairs = list(dict.fromkeys(methods + backprop))
    who = "people" if all(study.outputs.values()) else "recognised patients"
    return draw_fingerprints(study.areas, pairs, has_controls=study.facts.has_controls, who=who)


def _information_curves(study: StudyResults) -> Figure:
    import pandas as pd

    return draw_information_curves(
        pd.read_parquet(study.inputs.curves), study.table("faithfulness"), [method for _, method in study.pairs],
        study.controls, models=list(study.inputs.models), seed=study.inputs.seed,
    )  # fmt: skip


def _metric_ranks(study: StudyResults) -> Figure:
    models, faithfulness = list(study.inputs.models), study.table("faithfulness")
    sanity = study.table("sanity")
    corrected = [selection.one_model(faithfulness[faithfulness["model"] == name]) for name in models]
    failed = {
        str(part["model"].iloc[0]): selection.failed_conditions(selection.same_model(sanity, part))
        for part in corrected
        if len(part)
    }
    return draw_metric_ranks(faithfulness, study.table("ranking"), study.controls, failed=failed, models=models)


def _gallery(study: StudyResults) -> Figure:
    """Draw the scans that the first model with any has kept."""
    if study.facts.channel_names:
        return absent("The scans of this study are signals of several leads: see them on ECG paper.")
    examples: list[Example] = []
    for path in study.inputs.examples:
        with h5py.File(path, "r") as handle:
            examples = examples or [_example(entry.attrs["scan_id"], entry) for entry in handle.values()]
    examples.sort(key=lambda example: study.facts.classes.index(example.diagnosis))
    return draw_gallery(examples, [method for _, method in study.pairs], study.controls, study.facts.grid)


def _ecg(study: StudyResults) -> Figure:
    ranking, methods = study.table("ranking"), methods_by_model(study)
    metric = selection.headline_view(ranking, study.inputs.metric).metric if len(ranking) else ""
    return draw_ecg(
        lead_examples(study), methods, units=study.units, truth_words=truth_words(study), metric=metric
    )  # fmt: skip


def _ecg_grid(study: StudyResults, leads: str) -> Figure:
    methods = methods_by_model(study)
    if leads == "all":
        # Twelve leads of ten maps fill a page; the other networks have theirs lead by lead.
        methods = dict(list(methods.items())[:1])
    return draw_ecg_grid(lead_examples(study), methods, study.controls, leads=leads, truth_words=truth_words(study))


def _waves(study: StudyResults) -> Figure:
    by_model = methods_by_model(study)
    # One order for all models, that of the first: tables are compared place by place.
    methods = list(dict.fromkeys(method for own in by_model.values() for method in own))
    methods.sort(key=lambda method: method in study.controls)
    return draw_wave_tables(
        areas_with_truth(study), methods, study.controls, list(by_model), seed=study.inputs.seed,
        truth_words=truth_words(study),
    )  # fmt: skip


def _perturbation(study: StudyResults) -> Figure:
    import pandas as pd

    return draw_perturbation(
        pd.read_parquet(study.inputs.curves), study.table("faithfulness"), [method for _, method in study.pairs],
        study.controls, list(study.inputs.models), seed=study.inputs.seed,
    )  # fmt: skip


def _example(scan_id: str, entry: h5py.Group) -> Example:
    truth = entry["truth"][:] if "truth" in entry else None
    maps = {method: values[:] for method, values in entry["maps"].items()}
    return Example(
        scan_id, str(entry.attrs["diagnosis"]), str(entry.attrs["predicted"]), entry["image"][:], truth, maps
    )


DRAWN: dict[str, Callable[[StudyResults], Figure]] = {
    "ranking": lambda s: draw_ranking(s.table("ranking"), list(s.inputs.models), s.inputs.metric),
    "mean_maps": _mean_maps,
    "dice_curves": _dice_curves,
    "smoothing": lambda s: draw_smoothing(s.table("ranking"), s.pairs, s.controls, s.inputs.metric),
    "areas": lambda s: draw_areas(s.table("area_relevance"), s.compared),
    "gain": lambda s: draw_gain(s.table("gain"), s.compared),
    "volume_relevance": _volume_relevance,
    "fingerprints": _fingerprints,
    "rank_stability": lambda s: draw_rank_stability(s.table("rank_stability"), s.controls),
    "training": lambda s: draw_training(
        read_runs(s.inputs.histories, s.inputs.models, s.inputs.study), list(s.inputs.models), len(s.facts.classes)
    ),
    "performance": lambda s: draw_performance(s.predictions, s.table("performance"), list(s.inputs.models)),
    "confusion": lambda s: draw_confusion(s.predictions, s.facts.classes, list(s.inputs.models)),
    "estimates": lambda s: draw_estimates(
        s.predictions, s.table("performance"), list(s.inputs.models), s.facts.outputs
    ),
    "gallery": _gallery,
    "ecg": _ecg,
    "ecg_grid": lambda s: _ecg_grid(s, "all"),
    "ecg_lead": lambda s: _ecg_grid(s, "one"),
    "waves": _waves,
    "perturbation": _perturbation,
    "information_curves": _information_curves,
    "faithfulness": lambda s: draw_faithfulness(s.table("faithfulness"), models=list(s.inputs.models)),
    "metric_ranks": _metric_ranks,
    "metric_agreement": lambda s: draw_metric_agreement(
        s.table("metric_agreement"), s.table("metric_reliability"), s.table("sanity"), models=list(s.inputs.models)
    ),
    "simulated_scans": lambda s: draw_simulated_scans(s.simulated, s.facts.grid, s.facts.channel_names),
    "simulated_warps": lambda s: draw_simulated_warps(s.simulated, s.facts.grid, s.facts.channel_names),
    "simulator_scores": lambda s: draw_simulator_scores(s.table("simulations"), list(s.inputs.models)),
    "doses": lambda s: draw_doses(s.simulated, s.facts.grid, s.table("simulations"), s.facts.channel_names),
    "dose_frames": lambda s: draw_dose_frames(s.simulated, s.facts.grid, s.facts.channel_names),
    "nulls": lambda s: draw_nulls(s.table("nulls"), s.pairs, sorted(s.controls)),
    "recipes": lambda s: draw_recipes(s.table("recipes"), [method for _, method in s.pairs], s.controls),
}
