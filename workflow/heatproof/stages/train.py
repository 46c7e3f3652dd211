"""Stage `train`: one model on one fold, from the cohort to weights, history, predictions and certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from heatproof.cohorts.folders import inside
from heatproof.cohorts.store import Cohort
from heatproof.files import sha256_of, write_table
from heatproof.leakage import PARTS, check_parts, fitting_scans
from heatproof.models import NETWORKS, NetworkSpec, load_foreign_weights, save_weights
from heatproof.provenance import source_digest
from heatproof.randomness import integer_seed
from heatproof.stages.certify import certified, open_redrawable
from heatproof.statistics.certificate import empty_certificate
from heatproof.training import FoldParts, ScanLoader, Trainer, TrainingSettings, read_fold
from heatproof.training.arithmetic import use_arithmetic
from heatproof.training.checkpoint import fingerprint
from heatproof.training.labels import permute_by_person
from heatproof.training.linear import fit_fold
from heatproof.training.memory import keep_freed_memory
from heatproof.training.objective import CLASSES, NUMBERS, SCORE_COLUMNS
from heatproof.training.outputs import OutputScale, absorb, known_parts, release, unit_of
from heatproof.training.parts import planned_rows
from heatproof.training.predictions import balanced_accuracy, estimate_table, predict_logits, prediction_table

HISTORY_COLUMNS = ["epoch", "train_loss", "validation_loss", *SCORE_COLUMNS, "learning_rate"]


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, and on what.

    Attributes
    ----------
    model : str
        The model's name in the config.
    entry : mapping
        Its config entry: network, the network's parameters, output, recipe, intensity, training, initial_weights.
    training : mapping
        The study's training section; the entry's own `training` is laid over it.
    fold : int
        Fold of ``folds.tsv`` for the entry's recipe.
    seed : int
        Number of the repetition.
    study_seed : int
        Root seed.
    permute_labels : bool
        Exchange the targets of the training and validation people: the control.
    redrawable : mapping, optional
        The cohort's config entry where scans can be drawn again with one number changed.
    """

    model: str
    entry: Mapping[str, Any]
    training: Mapping[str, Any]
    fold: int
    seed: int
    study_seed: int
    permute_labels: bool = False
    redrawable: Mapping[str, Any] | None = None

    @property
    def output(self) -> str:
        """The number that the model predicts; empty for a classifier."""
        return str(self.entry.get("output") or "")

    @property
    def recipe(self) -> str:
        """The recipe of the model."""
        return str(self.entry["recipe"])

    @cached_property
    def settings(self) -> TrainingSettings:
        """The settings of the training."""
        return TrainingSettings.from_config(self.training, self.entry.get("training"))

    def seed_for(self, purpose: str) -> int:
        """Return the seed of one purpose."""
        return integer_seed(self.study_seed, "train", self.model, self.fold, self.seed, purpose)

    def spec(self, shape: tuple[int, ...], n_classes: int) -> NetworkSpec:
        """Return the network for scans of a shape (channels, *space)."""
        name = str(self.entry["network"])
        known = NETWORKS[name].parameters if name in NETWORKS else ()
        parameters = {key: self.entry[key] for key in known if key in self.entry}
        return NetworkSpec(name, shape[1:], shape[0], n_classes, parameters)


def train(
    job: TrainingJob,
    *,
    cohort: Path,
    folds: Path,
    weights: Path,
    history: Path,
    predictions: Path,
    certificate: Path,
    checkpoint: Path,
    root: Path,
    threads: int = 1,
) -> None:
    """Train one model on one fold and write its weights, history, predictions and certificate.

    Parameters
    ----------
    job : TrainingJob
        What to train.
    cohort, folds : Path
        ``cohort.h5`` (with ``participants.tsv`` beside it) and ``folds.tsv``.
    weights : Path
        Output ``model.safetensors``; its metadata say how to build the network and to normalise its input.
    history : Path
        Output ``history.tsv``: one row an epoch (one row in all for a linear_svm).
    predictions : Path
        Output ``predictions.tsv``: one row per part and scan. ``target`` is always the true diagnosis, and
        ``measured`` the true number, also where labels are permuted.
    certificate : Path
        Output ``certificate.tsv``: whether a model with an output measures it, and nothing else.
    checkpoint : Path
        Written after every epoch, used when the same training is started again, removed at its end.
    root : Path
        Folder inside which ``initial_weights`` and the files of a simulated cohort must lie.
    threads : int
        CPU threads; results are reproducible for the same number.

    Raises
    ------
    LeakageError
        If the corrected recipe's fold shares a person, family or image between parts, or a part has read a
        scan that is not its own.
    ConfigError
        If the cohort does not have the model's output, or does not have it for the scans of every part.
    """
    torch.set_num_threads(threads)
    if job.settings.keep_memory:
        keep_freed_memory()
    use_arithmetic(job.settings.precision)
    with Cohort(cohort) as opened:
        participants = opened.participants
        parts = read_fold(folds, job.recipe, job.fold, participants)
        if job.output:
            unit = unit_of(opened.facts, job.output)
            parts = known_parts(parts, participants[job.output].to_dict(), job.output)
        is_svm = job.entry["network"] == "linear_svm"
        # The SVM needs the other half for the blocks of its Gram matrix.
        room = job.settings.cache_megabytes / (2 if is_svm else 1)
        part, scan_ids = fitting_scans(job.recipe, parts.train, opened.scan_ids)
        loader = ScanLoader.fit(opened, str(job.entry["intensity"]), scan_ids, part, room)
        targets = training_targets(job, parts, participants)
        scale = OutputScale.fit(job.output, unit, [targets[name] for name in parts.train]) if job.output else None
        spec = job.spec(loader.shape, 1 if scale else len(opened.classes))
        if is_svm:
            fitted = _fit_svm(job, loader, parts, targets, participants, opened.mask, room)
        else:
            named = job.entry.get("initial_weights")
            initial = inside(root, named, field="initial_weights") if named else None
            digest = fingerprint(
                cohort=sha256_of(cohort), parts=asdict(parts), targets=targets, spec=spec.as_dict(),
                settings=asdict(job.settings), seed=job.seed_for("loop"), intensity=job.entry["intensity"],
                threads=threads, code=source_digest(__name__), torch=torch.__version__,
                initial=sha256_of(initial) if initial else None,
            )  # fmt: skip
            fitted = _fit_network(job, loader, parts, targets, spec, initial, checkpoint, digest, scale)
        use_arithmetic("float32")  # predictions belong to the stored weights, however they were trained
        logits = {
            part: predict_logits(fitted.network, loader, getattr(parts, part), job.settings.batch_size, part)
            for part in PARTS
        }
        planned = planned_rows(folds, job.recipe, job.fold)
        check_parts(loader.reads, planned, job.recipe, job.fold, participants, loader.hashes)
        facts = {"classes": list(opened.classes), "intensity": job.entry["intensity"], **_facts(job, parts)}
        if scale:
            facts |= scale.facts()
            answers = estimate_table(logits, parts, participants, job.output)
            redrawable = open_redrawable(job.redrawable, job.study_seed, root) if job.redrawable else None
            checks = certified(fitted.network, loader, opened, parts, answers, scale, redrawable, job.study_seed)
        else:
            answers, checks = prediction_table(logits, parts, participants), empty_certificate()
    write_table(answers, predictions)
    write_table(checks, certificate)
    write_table(pd.DataFrame(fitted.history, columns=HISTORY_COLUMNS), history)
    intensity = loader.fitted.tensors() if loader.fitted else None
    save_weights(fitted.network, weights, spec, {**facts, **fitted.facts}, intensity)
    checkpoint.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Fitted:
    network: nn.Module
    history: list[dict[str, float]]
    facts: dict[str, Any]


def training_targets(job: TrainingJob, parts: FoldParts, participants: pd.DataFrame) -> dict[str, Any]:
    """Return the class or the number of every training and validation scan, exchanged by person for the control."""
    scan_ids = list(dict.fromkeys([*parts.train, *parts.validation]))
    rows = participants.loc[scan_ids]
    targets = rows[job.output or "target"].to_numpy(dtype=float if job.output else int)
    if job.permute_labels:
        people = rows["participant_id"].astype(str).tolist()
        targets = permute_by_person(targets, people, job.study_seed, job.model, job.fold, job.seed)
    return dict(zip(scan_ids, targets.tolist(), strict=True))


def _fit_network(
    job: TrainingJob,
    loader: ScanLoader,
    parts: FoldParts,
    targets: dict[str, Any],
    spec: NetworkSpec,
    initial: Path | None,
    checkpoint: Path,
    digest: str,
    scale: OutputScale | None,
) -> _Fitted:
    network = spec.build(job.seed_for("initial weights"))
    if initial:
        load_foreign_weights(network, initial)
    learned, objective = (scale.standardised(targets), NUMBERS) if scale else (targets, CLASSES)
    some = loader.batch(parts.train[: job.settings.batch_size], "train") if scale else None
    # Weights from elsewhere answer in the unit, like all that are stored; the loss is in standard units.
    if scale and some is not None and initial and job.settings.epochs:
        release(network, scale, some)
    trainer = Trainer(network, loader, parts, learned, job.settings, job.seed_for("loop"), objective)
    fitted = trainer.fit(checkpoint, digest)
    if scale and some is not None and fitted.history:  # weights that are used as they are answer in the unit already
        absorb(network, scale, some)
    facts = {"best_epoch": fitted.best_epoch, "epochs": len(fitted.history)}
    return _Fitted(network, fitted.history, facts)


def _fit_svm(
    job: TrainingJob,
    loader: ScanLoader,
    parts: FoldParts,
    targets: dict[str, int],
    participants: pd.DataFrame,
    mask: np.ndarray,
    block_megabytes: float,
) -> _Fitted:
    people = participants["participant_id"].astype(str).to_dict()
    fitted = fit_fold(loader, parts, targets, people, mask, block_megabytes, job.seed_for("inner folds"))
    row: dict[str, float] = {"epoch": 1}
    for part, column in (("train", "train_loss"), ("validation", "validation_loss")):
        scan_ids = getattr(parts, part)
        logits = predict_logits(fitted.model, loader, scan_ids, job.settings.batch_size, part)
        truth = torch.tensor([targets[scan_id] for scan_id in scan_ids])
        row[column] = float(functional.cross_entropy(logits, truth))
        row["validation_balanced_accuracy"] = balanced_accuracy(logits, truth)
    facts = {"cost": fitted.cost, "inner_scores": {str(cost): score for cost, score in fitted.scores.items()}}
    return _Fitted(fitted.model, [row], facts)


def _facts(job: TrainingJob, parts: FoldParts) -> dict[str, Any]:
    return {
        "model": job.model,
        "recipe": job.recipe,
        "fold": job.fold,
        "seed": job.seed,
        "study_seed": job.study_seed,
        "permuted_labels": job.permute_labels,
        "training": asdict(job.settings),
        "n_train": len(parts.train),
        "n_validation": len(parts.validation),
    }
