"""Stage `probe`: what a network makes of a scan of which only the relevant part is left, or all but that part.

All methods of a run are asked at once, so that they share infills, entropies and forward passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from heatproof.metrics.faithfulness import fine_tuned
from heatproof.metrics.information import null_maps
from heatproof.models import LoadedModel, load_weights
from heatproof.randomness import generator, integer_seed
from heatproof.stages.attribute import control_mean
from heatproof.stages.examples import write_examples
from heatproof.stages.probing import (
    CURVE_COLUMNS,
    EXACT_TRUTH,
    EXCLUSION_COLUMNS,
    SPREAD_COLUMNS,
    Probed,
    ProbeJob,
    ProbeRows,
    explained_scans,
    predicted_classes,
    probed_scans,
)
from heatproof.stages.questions import Answer, Network, Scene, ask, constant_spreads
from heatproof.stages.scoring import summed
from heatproof.training import FoldParts, ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic

if TYPE_CHECKING:
    import pandas as pd

# Training scans from which the window of intensities is taken.
WINDOW_SCANS = 16
# Scans of one step of the fine-tuning.
TUNING_BATCH = 16
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
        for number in range(len(chosen.scan_ids)):
            run.add(chosen, number)
        run.write(outputs)
        n_examples = job.spec["examples_per_class"] if job.keep_examples else 0
        write_examples(stored, files, predicted, n_examples, outputs.examples)


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
        module = self.loaded.module.to(device)
        self.rows = ProbeRows(self.job)
        self.loader = ScanLoader.for_model(self.loaded, self.cohort)
        self.network = Network.of(module, self._tuned(module) if self.job.wants("f_fidelity") else None)
        self.scene = self._scene()

    def _seed(self, purpose: str) -> int:
        job = self.job
        return integer_seed(job.study_seed, "probe", purpose, job.model, job.fold, job.seed)

    def _scene(self) -> Scene:
        random = generator(self.job.study_seed, "probe", "window", self.job.recipe, self.job.fold)
        train = self.parts.train
        few = self.loader.batch([train[p] for p in sorted(random.permutation(len(train))[:WINDOW_SCANS])], "train")
        needs_mean = self.job.wants("insertion", "deletion") and "control_mean" in self.job.spec["removal"]["fills"]
        reference = control_mean(self.loader, train, self.cohort).numpy() if needs_mean else None
        window = (float(few.min()), float(few.max()))
        return Scene(
            self.job.spec, window, self.cohort.mask, self._seed("scene"), information_settings(self.job), reference
        )

    def _tuned(self, module: torch.nn.Module) -> torch.nn.Module:
        own = self.job.spec["f_fidelity"]
        return fine_tuned(
            module,
            self._training_batches(int(own["n_steps"])),
            beta=own["beta"],
            n_steps=own["n_steps"],
            learning_rate=own["learning_rate"],
            seed=self._seed("tuning"),
            mask=self.cohort.mask,
        )

    def _training_batches(self, n_steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches of training scans, every scan once before any comes again."""
        train = self.parts.train
        random = generator(self._seed("tuning"), "order")
        rounds = 1 + n_steps * TUNING_BATCH // len(train)
        order = np.concatenate([random.permutation(len(train)) for _ in range(rounds)])
        for step in range(n_steps):
            scan_ids = [train[p] for p in order[step * TUNING_BATCH : (step + 1) * TUNING_BATCH]]
            labels = self.cohort.participants.loc[scan_ids, "target"].to_numpy(np.int64, copy=True)
            yield self.loader.batch(scan_ids, "train"), torch.from_numpy(labels)

    def add(self, chosen: Probed, number: int) -> None:
        """Ask every question about one scan."""
        scan_id, target = chosen.scan_ids[number], int(chosen.targets[number])
        labels, signed = self._maps(chosen, number)
        maps = rectified(signed, np.abs(signed), self.job.rectify)
        image = self.loader.scan(scan_id).numpy()
        zero = self.loader.zero_intensity([scan_id])[0].numpy()
        for answer in ask(self.scene, self.network, scan_id, image, zero, maps, target, signed):
            self._keep(answer, scan_id, labels)
        if number == 0:
            own = maps[[place for place, (_, null) in enumerate(labels) if not null]]
            n_classes = len(self.cohort.classes)
            for found in constant_spreads(self.scene, scan_id, image, zero, own, target, n_classes):
                self._add_spread(*found)

    def _add_spread(self, metric: str, setting: str, constant: str, spread: float) -> None:
        found = {"metric": metric, "setting": setting, "constant": constant, "spread": spread}
        self.spreads.append({**self.job.origin(), **found})

    def _maps(self, chosen: Probed, number: int) -> tuple[list[tuple[str, str]], np.ndarray]:
        """Return (method, null) of each map of a scan, and the maps with their sign, shape (M, *space)."""
        scan_id, position = chosen.scan_ids[number], int(chosen.positions[number])
        labels: list[tuple[str, str]] = []
        maps: list[np.ndarray] = []
        kinds = self.job.spec["nulls"]
        other = self._other(chosen, number) if "other_scan" in kinds else None
        made = [kind for kind in kinds if kind != "other_scan"]
        for name, file in self.files.items():
            own = summed(file["maps"][position])
            random = generator(self._seed("nulls"), name, scan_id)
            found = {"": own, **null_maps(own, random, made, mask=self.cohort.mask)}
            if other is not None:
                found["other_scan"] = summed(file["maps"][other])
            labels += [(name, null) for null in found]
            maps += [each.astype(np.float32) for each in found.values()]
        truth = self.cohort.known_truth(scan_id)
        if truth is not None:
            labels.append((EXACT_TRUTH, ""))
            maps.append(truth.astype(np.float32))
        return labels, np.stack(maps)

    def _other(self, chosen: Probed, number: int) -> int | None:
        """Return the position of the next scan of another person, the same class first; None if there is none."""
        people = self.cohort.participants.loc[chosen.scan_ids, "participant_id"].astype(str).tolist()
        following = [(number + step) % len(people) for step in range(1, len(people))]
        others = [place for place in following if people[place] != people[number]]
        same = [place for place in others if chosen.targets[place] == chosen.targets[number]]
        return int(chosen.positions[(same or others)[0]]) if others else None

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
