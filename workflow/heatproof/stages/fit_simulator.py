"""Stage `fit_simulator`: one simulator fitted to one trained network, on training scans only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from heatproof.attribution.simulators.answers import answer_of
from heatproof.attribution.simulators.draws import FittingScans
from heatproof.attribution.simulators.fitted import FittedSimulator, build_network, save_simulator
from heatproof.attribution.simulators.fitting import fit_simulator
from heatproof.attribution.simulators.settings import NetworkSettings, Settings, settings_of
from heatproof.attribution.simulators.validation import HISTORY_COLUMNS
from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.files import read_table, sha256_of, write_table
from heatproof.leakage import check_parts
from heatproof.models import load_weights
from heatproof.models.random_state import random_state
from heatproof.provenance import source_digest
from heatproof.randomness import integer_seed
from heatproof.training import ScanLoader, read_fold
from heatproof.training.arithmetic import use_arithmetic
from heatproof.training.checkpoint import fingerprint
from heatproof.training.memory import keep_freed_memory
from heatproof.training.parts import planned_rows

# Memory for scans that are kept between steps, in MiB; what does not fit is read again.
CACHE_MEGABYTES = 1024


@dataclass(frozen=True)
class SimulatorJob:
    """What is fitted, and to what.

    Attributes
    ----------
    model : str
        The model's name in the config.
    recipe : str
        Its recipe.
    simulator : str
        Id of the simulator in the config.
    entry : mapping
        Its config entry.
    fold, seed : int
        Fold and repetition.
    study_seed : int
        Root seed.
    """

    model: str
    recipe: str
    simulator: str
    entry: Mapping[str, Any]
    fold: int
    seed: int
    study_seed: int

    def seed_for(self, purpose: str) -> int:
        """Return the seed of one purpose; simulators that differ in one setting begin alike."""
        return integer_seed(self.study_seed, "fit_simulator", self.model, self.fold, self.seed, purpose)


def fit(
    job: SimulatorJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    predictions: Path,
    simulator: Path,
    history: Path,
    checkpoint: Path,
    threads: int = 1,
) -> None:
    """Fit one simulator to one trained network and write it with its history.

    Parameters
    ----------
    job : SimulatorJob
        What to fit.
    cohort, folds : Path
        ``cohort.h5`` and ``folds.tsv``.
    weights, predictions : Path
        The trained network and what it predicts.
    simulator : Path
        Output ``{simulator}.safetensors``; its metadata say to which network it belongs.
    history : Path
        Output ``{simulator}_history.tsv``: one row per block of steps, measured on validation scans.
    checkpoint : Path
        Written after every block, used when the same fit is started again, removed at its end.
    threads : int
        CPU threads; results are reproducible for the same number.

    Raises
    ------
    LeakageError
        If a scan was read that is not of the training or validation part of the fold.
    HeatproofError
        If the network answers the same about every scan, or has classified no scan of a group correctly.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    use_arithmetic("float32")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_weights(weights)
    settings = settings_of(job.entry)
    with Cohort(cohort) as stored:
        loader = ScanLoader.for_model(loaded, stored, CACHE_MEGABYTES)
        # Raises where the fold's parts share a person, whatever was read by whoever made the predictions.
        read_fold(folds, job.recipe, job.fold, stored.participants)
        answered = Answered.read(predictions, bool(loaded.metadata.get("output")))
        only_correct = isinstance(settings, NetworkSettings) and settings.only_correct
        scans = answered.fitting_scans(loader, job.simulator if only_correct else None)
        fitted = initial(job, settings, answered, loader.shape, loaded.sha256, device)
        digest = fingerprint(
            cohort=sha256_of(cohort), network=loaded.sha256, train=scans.train, validation=scans.validation,
            entry=settings.as_dict(), seed=job.seed_for("fit"), threads=threads, code=source_digest(__name__),
            torch=torch.__version__, device=device.type,
        )  # fmt: skip
        rows = fit_simulator(loaded.module.to(device), fitted, scans, job.seed_for("fit"), checkpoint, digest)
        planned = planned_rows(folds, job.recipe, job.fold)
        check_parts(loader.reads, planned, job.recipe, job.fold, stored.participants, loader.hashes)
    write_table(pd.DataFrame(rows, columns=HISTORY_COLUMNS), history)
    save_simulator(fitted, simulator)
    checkpoint.unlink(missing_ok=True)


def initial(
    job: SimulatorJob,
    settings: Settings,
    answered: Answered,
    shape: tuple[int, ...],
    model_sha256: str,
    device: torch.device,
) -> FittedSimulator:
    """Return a simulator before its first step: one that changes nothing."""
    network = None
    if isinstance(settings, NetworkSettings):
        with random_state(job.seed_for("initial weights")):
            network = build_network(settings, shape)
    output = "value" if answered.is_value else "class"
    fitted = FittedSimulator(settings, answered.sd(), answered.target, output, model_sha256, shape, network)
    return fitted.to(device)


@dataclass(frozen=True)
class Answered:
    """What a network answers about the training and validation scans of its fold.

    Attributes
    ----------
    table : DataFrame
        Their rows of ``predictions.tsv`` with the column ``answer``.
    target : int
        The patients' class, the last one; 0 for numbers.
    is_value : bool
        Whether the network predicts a number.
    """

    table: pd.DataFrame
    target: int
    is_value: bool

    @classmethod
    def read(cls, predictions: Path, is_value: bool) -> Answered:
        """Return the answers of a table of predictions; rows of test scans are dropped."""
        table = read_table(predictions, ("scan_id", "part", "target", "predicted"))
        table = table[table["part"].isin(["train", "validation"])].reset_index(drop=True)
        columns = ["estimate"] if is_value else [name for name in table.columns if name.startswith("logit_")]
        outputs, target = torch.from_numpy(table[columns].to_numpy(np.float64, copy=True)), len(columns) - 1
        answers = answer_of(outputs, target, "value" if is_value else "class")
        return cls(table.assign(answer=answers.numpy()), target, is_value)

    def sd(self) -> float:
        """Return the standard deviation of the answers about validation scans.

        Validation scans, because a network is far surer of the scans that it was trained on.

        Raises
        ------
        HeatproofError
            All answers are the same.
        """
        spread = float(np.std(self.table.loc[self.table["part"] == "validation", "answer"]))
        if not spread > 0:
            raise HeatproofError(
                "the network answers the same about every validation scan.",
                field="training.epochs",
                remedy="train the network for longer before simulators are fitted to it.",
            )
        return spread

    def fitting_scans(self, loader: ScanLoader, only_correct_of: str | None) -> FittingScans:
        """Return the scans to fit to, and whether the pattern is to be injected into or removed from each.

        It is removed from patients and injected into everybody else, as published; where the network predicts a
        number, either is possible. `only_correct_of` names the simulator that learns from correctly classified scans
        only; None keeps all.
        """
        table, filtered_for = self.table, None if self.is_value else only_correct_of
        if filtered_for is not None:
            table = table[table["predicted"].astype(int) == table["target"].astype(int)]
        signs = np.where(table["target"].astype(int) == self.target, -1, 1) * (0 if self.is_value else 1)
        return FittingScans(
            read=loader.batch,
            train=table.loc[table["part"] == "train", "scan_id"].tolist(),
            validation=table.loc[table["part"] == "validation", "scan_id"].tolist(),
            answers=dict(zip(table["scan_id"], table["answer"], strict=True)),
            directions=dict(zip(table["scan_id"], signs.tolist(), strict=True)),
            only_correct_of=filtered_for,
        )
