"""Stage `simulate`: what the simulators of one network make of test scans, held against everything that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from heatproof.attribution.simulators.fitted import FittedSimulator, load_simulator
from heatproof.cohorts.counterfactuals import Counterfactuals, open_counterfactual
from heatproof.cohorts.store import Cohort
from heatproof.files import atomic, write_parquet
from heatproof.models import LoadedModel, load_weights
from heatproof.simulation_rows import FULL_DOSE, OPTIONS, ROW_COLUMNS
from heatproof.stages.attribute import chosen_scans, measured
from heatproof.stages.probing import balanced, predicted_classes
from heatproof.stages.simulating import (
    DosedScan,
    Exact,
    Judge,
    dose_scores,
    exact_scores,
    own_scores,
    referee_scores,
    simulate_scan,
)
from heatproof.training import FoldParts, ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic
from heatproof.training.intensity import rescaled
from heatproof.training.outputs import known_parts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SimulationJob:
    """Whose simulators are judged, and on what.

    Attributes
    ----------
    study, model, recipe : str
        Names of the study and the model, and the model's recipe.
    fold, seed : int
        Fold and repetition.
    study_seed : int
        Root seed.
    spec : mapping
        The `simulation` section of the configuration: ``max_scans``, ``doses`` and ``keep_examples``, the number
        of scans that this run keeps for figures and report.
    cohort : mapping or None
        The cohort's config entry, where its source knows exact counterfactuals.
    root : str
        Data root.
    """

    study: str
    model: str
    recipe: str
    fold: int
    seed: int
    study_seed: int
    spec: Mapping[str, Any]
    cohort: Mapping[str, Any] | None = None
    root: str = "."

    @property
    def max_scans(self) -> int:
        """Most test scans that are simulated."""
        return int(self.spec["max_scans"])

    @property
    def doses(self) -> tuple[float, ...]:
        """The doses in ascending order; the full one is always among them."""
        return tuple(sorted({*map(float, self.spec["doses"]), FULL_DOSE}))


def simulate(
    job: SimulationJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    simulators: Mapping[str, Path],
    simulations: Path,
    examples: Path,
    referee: Path | None = None,
    threads: int = 1,
) -> None:
    """Write ``simulations.parquet`` and ``simulations.h5`` of one network.

    Parameters
    ----------
    job : SimulationJob
        Which network, and what is asked.
    cohort, folds : Path
        ``cohort.h5`` and ``folds.tsv``.
    weights, predictions : Path
        The network and what it predicts.
    simulators : mapping of str to Path
        Its fitted simulators by name, in the order of the configuration.
    simulations : Path
        Output: one number per scan, direction, simulator, score and dose (`ROW_COLUMNS`). What cannot be asked of a
        scan has no row.
    examples : Path
        Output: one group per kept scan and direction: ``image`` (C, *S) and, where known, ``exact_change`` (C, *S),
        ``exact_log_jacobian`` and ``effect`` (*S,); below it a group for each simulator with ``change``
        (doses, C, *S), ``answers`` (doses,) and, of a warp, ``displacement`` (axes, *S) and ``log_jacobian`` (*S,) at
        the full dose. Empty where no scan is kept.
    referee : Path, optional
        A network of the same architecture, trained on the same fold from another seed.
    threads : int
        CPU threads.

    Raises
    ------
    UnsupportedModelError
        If a simulator was fitted to another network.
    HeatproofError
        If a simulator returns values that are not finite.
    """
    torch.set_num_threads(threads)
    use_arithmetic("float32")
    predicted = predicted_classes(predictions)
    with Cohort(cohort) as stored, atomic(examples) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        loaded = load_weights(weights)
        fitted = {name: load_simulator(path, loaded.sha256) for name, path in simulators.items()}
        parts = read_fold(folds, job.recipe, job.fold, stored.participants)
        run = _Run(job, stored, loaded, parts, fitted, load_weights(referee) if referee else None, file)
        chosen = run.chosen(parts.test)
        kept = run.kept(chosen, predicted)
        for scan_id in chosen:
            run.add(scan_id, stored.classes[predicted[scan_id]], keep=scan_id in kept)
        write_parquet(run.table(), simulations)


@dataclass
class _Run:
    """One network with its simulators, and a table that grows scan by scan."""

    job: SimulationJob
    cohort: Cohort
    loaded: LoadedModel
    parts: FoldParts
    simulators: Mapping[str, FittedSimulator]
    second: LoadedModel | None
    file: h5py.File
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = str(self.loaded.metadata.get("output", ""))
        if self.output:
            self.parts = known_parts(self.parts, self.cohort.participants[self.output].to_dict(), self.output)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.loader = ScanLoader.for_model(self.loaded, self.cohort)
        self.own = self._judge(self.loaded)
        self.referee = self._judge(self.second) if self.second else None
        for simulator in self.simulators.values():
            simulator.to(self.device)
        self.sources = self._sources()
        self.file.attrs["model"], self.file.attrs["output"] = self.job.model, self.output

    def _judge(self, loaded: LoadedModel) -> Judge:
        """Return a network ready to be asked, with the spread of its answers to the validation scans."""
        target = 0 if self.output else len(self.cohort.classes) - 1
        network = loaded.module.to(self.device).eval()
        judge = Judge(network, target, "value" if self.output else "class", 1.0)
        loader = ScanLoader.for_model(loaded, self.cohort)
        batches = loader.batches(self.parts.validation, 16, "validation")
        answers = np.concatenate([judge.ask(scans.to(self.device)) for _, scans in batches])
        # Answers that are all the same have no unit to measure a shift in.
        return Judge(network, target, judge.output, float(answers.std()) or 1.0)

    def _sources(self) -> dict[int, Counterfactuals]:
        """Return what draws exact counterfactuals, by option; a scan of a class has one only, whatever the option."""
        job = self.job
        if job.cohort is None:
            return {}
        opened = partial(open_counterfactual, job.cohort, job.study_seed, Path(job.root), self.output)
        injected = opened(1)
        return {1: injected, -1: opened(-1) if self.output else injected}

    def chosen(self, test: list[str]) -> list[str]:
        """Return the test scans that are simulated: those that methods explain under the same limit."""
        return chosen_scans(self.job, measured(test, self.output, self.cohort), self.cohort)

    def kept(self, chosen: list[str], predicted: Mapping[str, int]) -> set[str]:
        """Return the scans that are kept: the classes in turn, those that the network recognises first."""
        targets = self.cohort.participants.loc[chosen, "target"].to_numpy(int)
        wrong = [predicted[scan_id] != target for scan_id, target in zip(chosen, targets, strict=True)]
        most = int(self.job.spec["keep_examples"])
        order = np.argsort(wrong, kind="stable").tolist()
        return {chosen[place] for place in balanced(order, targets, most)}

    def directions(self, scan_id: str) -> list[str]:
        """Return what is done to a scan: a patient's pattern is removed, others' injected; a number goes both ways."""
        if self.output:
            return list(OPTIONS)
        is_patient = int(self.cohort.participants.loc[scan_id, "target"]) == self.own.target
        return ["removal" if is_patient else "injection"]

    def exact(self, scan_id: str, option: int) -> Exact | None:
        """Return the exact counterfactual of a scan in one direction, where the source knows it."""
        source = self.sources.get(option)
        found = source.counterfactual(scan_id) if source else None
        if found is None or found.option != option:
            return None
        stored = self.cohort.scan(scan_id)

        def as_seen(change: np.ndarray) -> np.ndarray:
            # On the scale of the scan as it is: a simulator cannot change how its result is normalised.
            before, after = (
                self.loader.normalised(stored, partial(rescaled, values)) for values in (stored, stored + change)
            )
            return after - before

        return Exact.of(found, as_seen, self.cohort.mask)

    def add(self, scan_id: str, predicted: str, *, keep: bool) -> None:
        """Simulate one scan with every simulator, and keep it where it is an example."""
        image = self.loader.scan(scan_id).to(self.device)
        for direction in self.directions(scan_id):
            option = OPTIONS[direction]
            exact = self.exact(scan_id, option)
            entry = self._entry(scan_id, direction, predicted, image, exact) if keep else None
            for name, simulator in self.simulators.items():
                scan = simulate_scan(simulator, self.own.network, image, option, self.job.doses)
                self._add_rows(scan_id, direction, name, simulator.kind, self._scores(scan, exact))
                if entry is not None:
                    _keep(entry.create_group(name), scan, self.own, simulator.kind)

    def _scores(self, scan: DosedScan, exact: Exact | None) -> Iterator[tuple[str, float, float]]:
        mask, places = self.cohort.mask, self.cohort.places_mask
        return chain(
            dose_scores(scan, self.own, exact, places),
            own_scores(scan, mask, places),
            referee_scores(scan, self.referee) if self.referee else (),
            exact_scores(scan, exact, self.own, mask, places) if exact else (),
        )

    def _add_rows(
        self, scan_id: str, direction: str, name: str, kind: str, scores: Iterator[tuple[str, float, float]]
    ) -> None:
        job, person = self.job, str(self.cohort.participants.loc[scan_id, "participant_id"])
        shared = (job.study, job.model, job.recipe, job.fold, job.seed, name, kind, scan_id, person, direction)
        for score, dose, value in scores:
            if np.isfinite(value):
                self.rows.append(dict(zip(ROW_COLUMNS, (*shared, dose, score, value), strict=True)))

    def _entry(
        self, scan_id: str, direction: str, predicted: str, image: torch.Tensor, exact: Exact | None
    ) -> h5py.Group:
        """Begin the group of one kept scan with what does not depend on a simulator."""
        # By number: an identifier may hold a slash, which would be a group inside a group.
        entry = self.file.create_group(f"{len(self.file):04d}", track_order=True)
        before = float(self.own.ask(image[None])[0])
        unit = self.cohort.outputs.get(self.output, "")
        entry.attrs["scan_id"], entry.attrs["direction"], entry.attrs["answer"] = scan_id, direction, before
        entry.attrs["diagnosis"] = str(self.cohort.participants.loc[scan_id, "diagnosis"])
        entry.attrs["predicted"] = f"{before:.4g} {unit}".strip() if self.output else predicted
        _write(entry, "image", image.cpu().numpy())
        if exact is not None:
            _write(entry, "exact_change", exact.change)
            places = exact.effect if exact.effect.ndim < image.ndim else exact.effect.any(axis=0)
            entry.create_dataset("effect", data=places, compression="gzip")
            if exact.log_jacobian is not None:
                _write(entry, "exact_log_jacobian", exact.log_jacobian)
        return entry

    def table(self) -> pd.DataFrame:
        """Return the rows as a table with the columns of `ROW_COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(ROW_COLUMNS))


def _keep(entry: h5py.Group, scan: DosedScan, own: Judge, kind: str) -> None:
    """Write what one simulator made of a kept scan."""
    entry.attrs["doses"], entry.attrs["kind"] = scan.doses, kind
    entry.create_dataset("answers", data=own.ask(scan.warped))
    _write(entry, "change", scan.changes)
    if scan.displacement is not None and scan.log_jacobian is not None:
        _write(entry, "displacement", scan.displacement)
        _write(entry, "log_jacobian", scan.log_jacobian)


def _write(entry: h5py.Group, name: str, values: np.ndarray) -> None:
    entry.create_dataset(name, data=values.astype(np.float32), compression="gzip")
