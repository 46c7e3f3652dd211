"""What the figures of signals with leads are drawn from: kept scans, truths by output, areas that are waves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from heatproof.cohorts.store import Cohort
from heatproof.figures import selection
from heatproof.figures.ecg_paper import LeadExample
from heatproof.metrics.areas import relevance_by_area
from heatproof.stages.results import StudyResults
from heatproof.statistics.faithfulness import EXACT_TRUTH

if TYPE_CHECKING:
    import pandas as pd

# What a truth is called in figures, by its kind.
TRUTH_WORDS = {"counterfactual": "exact truth", "waves": "waves that define it"}


def truth_words(study: StudyResults) -> str:
    """Return what the truths of the outputs are called."""
    return TRUTH_WORDS.get(str(study.facts.description.get("truth_kind", "")), "truth")


def methods_by_model(study: StudyResults) -> dict[str, list[str]]:
    """Return the methods of every corrected model, best first by the headline metric on that model, controls last."""
    ranking = study.table("ranking")
    if ranking.empty:
        return {}
    view = selection.headline_view(ranking, study.inputs.metric)
    found = {}
    for model in selection.models_of(ranking, list(study.inputs.models)):
        order = selection.method_order(ranking[ranking["model"] == model], view)
        found[model] = sorted(order, key=lambda method: method in study.controls)
    return found


def lead_examples(study: StudyResults) -> list[LeadExample]:
    """Return the kept scans of every model, ``{model}/{run}/examples.h5``; none where channels are not leads."""
    if not study.facts.channel_names:
        return []
    with h5py.File(study.inputs.cohort, "r") as file:
        names = {int(label): str(name) for label, name in json.loads(file.attrs.get("label_names", "{}")).items()}
    examples = []
    for path in map(Path, study.inputs.examples):
        with h5py.File(path, "r") as file:
            examples += [
                _example(study, path.parents[1].name, entry.attrs["scan_id"], entry, names) for entry in file.values()
            ]
    return examples


def _example(study: StudyResults, model: str, scan_id: str, entry: h5py.Group, names: dict[int, str]) -> LeadExample:
    truth = entry["truth"][:] if "truth" in entry else None
    maps = {method: values[:] for method, values in entry["maps"].items()}
    waves = waves_of(entry["labels"][:].astype(int), names) if "labels" in entry else {}
    facts = study.facts
    return LeadExample(
        scan_id, model, entry["image"][:], truth, maps, facts.channel_names, float(facts.grid.spacing[0]), waves
    )


def waves_of(labels: np.ndarray, names: dict[int, str]) -> dict[str, np.ndarray]:
    """Return where each wave lies in each lead, from labels whose names end with that of a wave (``V5 qrs``).

    Parameters
    ----------
    labels : ndarray of int, shape (n_leads, n_samples)
        Areas.
    names : mapping of int to str
        Their names.

    Returns
    -------
    dict of str to ndarray of bool, shape (n_leads, n_samples)
        Without waves that nobody marked.
    """
    wave_of = {label: name.rsplit(" ", 1)[-1] for label, name in names.items()}
    found = {wave: np.isin(labels, [k for k, w in wave_of.items() if w == wave]) for wave in set(wave_of.values())}
    return {wave: inside for wave, inside in sorted(found.items()) if inside.any()}


def output_truths(study: StudyResults, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean strength and mask of a truth for each model, by the number that the model predicts."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if name not in study.inputs.truths:
        return found
    with h5py.File(study.inputs.truths[name], "r") as file:
        for model, output in study.outputs.items():
            entry = file.get(f"outputs/{output}") if output else None
            if entry is not None:
                found[model] = (entry["map"][:], entry["mask"][:].astype(bool))
    return found


def areas_with_truth(study: StudyResults) -> pd.DataFrame:
    """Return the area table with the mass of each scan's own truth as rows of the method ``exact_truth``."""
    import pandas as pd

    areas = study.areas
    if areas.empty or not study.facts.channel_names:
        return areas.iloc[:0]
    parts = [areas]
    with Cohort(study.inputs.cohort, study.inputs.participants) as cohort:
        listed = sorted(cohort.label_names) or None
        for model, output in study.outputs.items():
            own = areas[areas["model"] == model]
            people = dict(zip(own["scan_id"], own["participant_id"], strict=True))
            for scan_id, person in people.items():
                truth, labels = cohort.known_truth(scan_id, output), cohort.labels(scan_id)
                if truth is not None and labels is not None:
                    table = relevance_by_area(truth[None], labels[None], listed, [scan_id])
                    names = [cohort.label_names.get(area, f"area {area}") for area in table["area"]]
                    parts.append(
                        table.drop(columns="scan").assign(
                            model=model,
                            recipe="corrected",
                            method=EXACT_TRUTH,
                            scan_id=scan_id,
                            fold=-1,
                            seed=-1,
                            participant_id=person,
                            name=names,
                            mass=table["sum"],
                        )  # fmt: skip
                    )
    if "mass" not in areas:
        parts = [part.drop(columns="mass", errors="ignore") for part in parts]
    return pd.concat(parts, ignore_index=True)
