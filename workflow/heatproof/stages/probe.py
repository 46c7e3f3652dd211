"""Stage `probe`: what a network makes of a scan of which only the relevant part is left, or all but that part.

All methods of a run are asked at once, so that they share infills, entropies and forward passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.files import write_parquet
from heatproof.metrics.aggregation import rectified
from heatproof.models import LoadedModel, load_weights
from heatproof.randomness import generator, integer_seed
from heatproof.stages.attribute import control_mean
from heatproof.stages.examples import write_examples
from heatproof.stages.probed_maps import MapsOfScan, ProbedMaps
from heatproof.stages.probing import (
    CURVE_COLUMNS,
    EXCLUSION_COLUMNS,
    SPREAD_COLUMNS,
    Probed,
    ProbeJob,
    ProbeRows,
    explained_scans,
    predicted_classes,
    probed_scans,
)
from heatproof.stages.questions import ask, constant_spreads
from heatproof.stages.scenes import Answer, Facts, LeadByLead, Network, Scene
from heatproof.stages.tuning import Target, tuned_twin
from heatproof.training import FoldParts, ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic
from heatproof.training.outputs import known_parts

if TYPE_CHECKING:
    import pandas as pd

# Training scans from which the window of intensities is taken.
WINDOW_SCANS = 16
# Points of a stored curve; more cannot be seen.
CURVE_POINTS = 41
UNSEEN = "the network does not give the scan the class that is explained"


@dataclass(frozen=True)
class ProbeFiles:
    """Files that `probe` writes."""

    probes: Path
    curves: Path
    spreads: Path
    exclusions: Path
    examples: Path


def probe(
    job: ProbeJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    maps: Mapping[str, Path],
    outputs: ProbeFiles,
    threads: int = 1,
) -> None:
    """Ask one network about the maps of all its methods.

    Parameters
    ----------
    job : ProbeJob
        Which network, which metrics.
    cohort, folds : Path
        ``cohort.h5`` and ``folds.tsv``.
    weights, predictions : Path
        The trained network and what it predicts.
    maps : mapping of str to Path
        ``maps.h5`` of each method.
    outputs : ProbeFiles
        ``probes.parquet`` (one number per map, metric and setting), ``curves.parquet`` (information curves),
        ``spreads.parquet`` (how far apart constant networks put the maps), ``exclusions.parquet`` (scans without
        an answer, and why) and ``examples.h5`` (maps for the gallery).
    threads : int
        CPU threads.

    Raises
    ------
    HeatproofError
        If two methods explain different scans or classes, so that they cannot share exclusions.
    """
    torch.set_num_threads(threads)
    use_arithmetic("float32")
    predicted = predicted_classes(predictions)
    with ExitStack() as stack:
        stored = stack.enter_context(Cohort(cohort))
        files = {name: stack.enter_context(h5py.File(path, "r")) for name, path in maps.items()}
        scan_ids, targets = shared_scans(files, maps)
        chosen = probed_scans(job, scan_ids, targets, predicted)
        run = _Run(
            job, stored, files, load_weights(weights), read_fold(folds, job.recipe, job.fold, stored.participants)
        )
        for scan_id in chosen.unseen:
            run.exclude(scan_id, "", "", UNSEEN)
        run.ask_all(chosen)
        run.write(outputs)
        n_examples = job.spec["examples_per_class"] if job.keep_examples else 0
        write_examples(stored, files, predicted, n_examples, outputs.examples, run.output)


def shared_scans(files: Mapping[str, h5py.File], paths: Mapping[str, Path]) -> tuple[list[str], np.ndarray]:
    """Return the scans that all methods explain, and the class of each.

    Raises
    ------
    HeatproofError
        If two methods differ in either.
    """
    first, scan_ids, targets = "", [], np.empty(0, int)
    for name, file in files.items():
        here, classes = explained_scans(file)
        if not first:
            first, scan_ids, targets = name, here, classes
        elif here != scan_ids or not np.array_equal(classes, targets):
            raise HeatproofError(
                f"the methods '{first}' and '{name}' explain different scans or classes; they cannot be probed alike.",
                file=paths[name],
                field="target",
                remedy="give all methods that run the same target.",
            )
    return scan_ids, targets


def information_settings(job: ProbeJob) -> tuple[str, ...]:
    """Return the settings of the information curves: the published ones only for networks of the published recipe."""
    own = job.spec["information"]
    further = own["published_settings"] if job.recipe == "as_published" else []
    return tuple(dict.fromkeys([*own["settings"], *further]))


@dataclass
class _Run:
    """One network, the maps of its methods, and tables that grow scan by scan."""

    job: ProbeJob
    cohort: Cohort
    files: Mapping[str, h5py.File]
    loaded: LoadedModel
    parts: FoldParts
    curves: list[pd.DataFrame] = field(default_factory=list)
    spreads: list[dict[str, Any]] = field(default_factory=list)
    exclusions: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        facts = self.loaded.metadata
        self.output = str(facts.get("output", ""))
        self.target_sd = float(facts["target_sd"]) if self.output else None
        self.leads = bool(self.cohort.channel_names)
        if self.output:
            self.parts = known_parts(self.parts, self.cohort.participants[self.output].to_dict(), self.output)
        module = self.loaded.module.to(device)
        module = LeadByLead(module) if self.leads else module
        self.rows = ProbeRows(self.job)
        self.loader = ScanLoader.for_model(self.loaded, self.cohort)
        tuned = None
        if self.job.wants("f_fidelity"):
            target = Target(self.output, self.target_sd) if self.target_sd else Target()
            own, seed = self.job.spec["f_fidelity"], self._seed("tuning")
            tuned = tuned_twin(module, self.loader, self.parts.train, self.cohort, own, seed, target)
        self.network = Network.of(module, tuned, self.target_sd)
        self.scene = self._scene()

    def _seed(self, purpose: str) -> int:
        job = self.job
        return integer_seed(job.study_seed, "probe", purpose, job.model, job.fold, job.seed)

    def _scene(self) -> Scene:
        random = generator(self.job.study_seed, "probe", "window", self.job.recipe, self.job.fold)
        train = self.parts.train
        few = self.loader.batch([train[p] for p in sorted(random.permutation(len(train))[:WINDOW_SCANS])], "train")
        needs_mean = (
            self.job.wants("insertion", "deletion", "turbe") and "control_mean" in self.job.spec["removal"]["fills"]
        )
        reference = control_mean(self.loader, train, self.cohort).numpy() if needs_mean else None
        window = (float(few.min()), float(few.max()))
        return Scene(
            self.job.spec,
            window,
            self.cohort.places_mask,
            self._seed("scene"),
            information_settings(self.job),
            reference,
            self.leads,
        )

    def ask_all(self, chosen: Probed) -> None:
        """Ask every question about every scan that is probed."""
        maps = ProbedMaps(self.cohort, self.files, chosen, self.job.spec["nulls"], self._seed("nulls"), self.output)
        for number in range(len(chosen.scan_ids)):
            self._ask(maps.of(number), int(chosen.targets[number]), first=number == 0)

    def _ask(self, found: MapsOfScan, target: int, *, first: bool) -> None:
        maps = rectified(found.signed, np.abs(found.signed), self.job.rectify)
        image, zero = self._shown(found.scan_id)
        facts = self._facts(found)
        for answer in ask(self.scene, self.network, found.scan_id, image, zero, maps, target, found.signed, facts):
            self._keep(answer, found.scan_id, found.labels)
        if first:
            own = [place for place, (_, null) in enumerate(found.labels) if not null]
            n_classes = len(self.cohort.classes)
            for spread in constant_spreads(
                self.scene, found.scan_id, image, zero, maps[own], target, n_classes, facts=facts,
                target_sd=self.target_sd,
            ):  # fmt: skip
                self._add_spread(*spread)

    def _shown(self, scan_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a normalised scan, and what the stored intensity zero is in it, (1, leads, *space) for leads."""
        image, zero = self.loader.scan(scan_id).numpy(), self.loader.zero_intensity([scan_id])[0].numpy()
        return (image[None], zero[None]) if self.leads else (image, zero)

    def _facts(self, found: MapsOfScan) -> Facts:
        names = tuple(f"{method} {null}" for method, null in found.labels)
        if not self.output:
            return Facts(names=names)
        labels = self.cohort.labels(found.scan_id) if self.leads else None
        known = labels is not None and labels.shape == self.cohort.places_mask.shape
        measured = float(self.cohort.participants.loc[found.scan_id, self.output])
        return Facts(measured, labels if known else None, names)

    def _add_spread(self, metric: str, setting: str, constant: str, spread: float) -> None:
        found = {"metric": metric, "setting": setting, "constant": constant, "spread": spread}
        self.spreads.append({**self.job.origin(), **found})

    def _keep(self, answer: Answer, scan_id: str, labels: list[tuple[str, str]]) -> None:
        import pandas as pd

        person = self.cohort.participants.loc[scan_id]
        for (method, null), value in zip(labels, answer.values, strict=True):
            self.rows.add(person, method, null, answer.metric, answer.setting, value)
        for constant, spread in (answer.spreads or {}).items():
            self._add_spread(answer.metric, answer.setting, constant, spread)
        if answer.excluded:
            self.exclude(scan_id, answer.metric, answer.setting, answer.excluded)
        if answer.curve is not None:
            x, ys = answer.curve
            points = np.linspace(x[0], x[-1], CURVE_POINTS)
            for (method, null), y in zip(labels, ys, strict=True):
                if null and self.output:
                    continue  # only information curves are drawn beside those of nulls
                columns = {**self.job.origin(), "method": method, "null": null, "scan_id": scan_id,
                           "participant_id": str(person["participant_id"]), "metric": answer.metric,
                           "setting": answer.setting, "x": points, "y": np.interp(points, x, y)}  # fmt: skip
                self.curves.append(pd.DataFrame(columns))

    def exclude(self, scan_id: str, metric: str, setting: str, reason: str) -> None:
        """Write down why a scan has no answer; empty metric and setting stand for all."""
        person = str(self.cohort.participants.loc[scan_id, "participant_id"])
        self.exclusions.append({**self.job.origin(), "scan_id": scan_id, "participant_id": person, "metric": metric,
                                "setting": setting, "reason": reason})  # fmt: skip

    def write(self, outputs: ProbeFiles) -> None:
        """Write the tables."""
        import pandas as pd

        curves = pd.concat(self.curves, ignore_index=True) if self.curves else pd.DataFrame(columns=list(CURVE_COLUMNS))
        write_parquet(self.rows.table(), outputs.probes)
        write_parquet(curves[list(CURVE_COLUMNS)], outputs.curves)
        write_parquet(pd.DataFrame(self.spreads, columns=list(SPREAD_COLUMNS)), outputs.spreads)
        write_parquet(pd.DataFrame(self.exclusions, columns=list(EXCLUSION_COLUMNS)), outputs.exclusions)
