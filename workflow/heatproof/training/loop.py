"""The training loop: reproducible step by step, stoppable and resumable after every epoch."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.errors import HeatproofError
from heatproof.models.random_state import random_state
from heatproof.randomness import generator, integer_seed
from heatproof.training.augmentation import augment
from heatproof.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from heatproof.training.loading import ScanLoader, read_ahead
from heatproof.training.objective import CLASSES, SCORE_COLUMNS, Objective, class_weights
from heatproof.training.parts import FoldParts
from heatproof.training.predictions import predict_logits
from heatproof.training.schedule import learning_rate, reductions
from heatproof.training.settings import TrainingSettings

log = logging.getLogger(__name__)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class Fitted:
    """What a training ends with.

    Attributes
    ----------
    history : list of dict
        One row an epoch: epoch, train_loss, validation_loss, the score of the objective, learning_rate.
    best_epoch : int
        Epoch whose weights the network now has; 0 for the initial ones.
    resumed_from : int
        Epoch of the checkpoint it went on from; 0 if it began afresh.
    """

    history: list[dict[str, float]]
    best_epoch: int
    resumed_from: int


class Trainer:
    """Train a network on one fold.

    Parameters
    ----------
    network : nn.Module
        From (batch, channels, *space) to (batch, classes) or (batch, 1); it is trained in place.
    loader : ScanLoader
        Reads the scans; only those of the training and validation parts are asked for.
    parts : FoldParts
        The fold.
    targets : mapping of str to int or float
        Class of every training and validation scan, or its number in standard units.
    settings : TrainingSettings
        How to train.
    seed : int
        Seed of order, augmentation and dropout. The global random state is left as it was.
    objective : Objective
        What the targets are.
    """

    def __init__(
        self,
        network: nn.Module,
        loader: ScanLoader,
        parts: FoldParts,
        targets: Mapping[str, int] | Mapping[str, float],
        settings: TrainingSettings,
        seed: int,
        objective: Objective = CLASSES,
    ) -> None:
        self.loader, self.parts, self.targets, self.objective = loader, parts, targets, objective
        self.settings, self.seed = settings, seed
        self.device = choose_device(settings.device)
        self.memory_format = choose_memory_format(settings.memory_format, len(loader.shape) - 1)
        self.network = network.to(self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = settings.batch_norm_momentum
        self.optimizer = choose_optimizer(network, settings)
        self.steps_per_epoch = math.ceil(len(parts.train) / settings.batch_size)
        self._peak = settings.learning_rate
        balanced = settings.class_weights if objective is CLASSES else "none"
        self._weights = class_weights([targets[name] for name in parts.train], balanced)

    def fit(self, checkpoint: str | Path | None = None, digest: str = "") -> Fitted:
        """Train to the last epoch or until patience ends, and leave the best weights in the network.

        Parameters
        ----------
        checkpoint : str or Path, optional
            File to go on from and to write after every epoch. It is kept, so that nothing is lost before the
            caller has written the weights.
        digest : str
            Fingerprint of this training; a checkpoint with another one is not used.

        Raises
        ------
        HeatproofError
            If the loss is no longer finite.
        """
        progress = load_checkpoint(checkpoint, self.network, self.optimizer, digest) if checkpoint else None
        progress = progress or Progress(best_weights=_copy(self.network))
        resumed_from = progress.epoch
        if resumed_from:
            log.info("going on from epoch %d", resumed_from)
        with _epoch_bar(resumed_from, self.settings.epochs) as show:
            while progress.epoch < self.settings.epochs and not self._out_of_patience(progress):
                show(self._advance(progress))
                if checkpoint:
                    save_checkpoint(checkpoint, self.network, self.optimizer, progress, digest)
        self.network.load_state_dict(progress.best_weights)
        return Fitted(progress.history, progress.best_epoch, resumed_from)

    def predict(self, part: str) -> Tensor:
        """Return the logits of a part's scans, shape (n, classes), on the CPU."""
        return predict_logits(
            self.network,
            self.loader,
            getattr(self.parts, part),
            self.settings.batch_size,
            part,
            self.memory_format,
        )

    def _advance(self, progress: Progress) -> dict[str, float]:
        """Train one epoch, validate, and write both into `progress`; returns the new row of the history."""
        epoch = progress.epoch + 1
        self._peak = self._reduced(progress.history)
        train_loss = self._train_epoch(epoch)
        validation_loss, score = self._validate()
        if not math.isfinite(train_loss + validation_loss):
            raise HeatproofError(
                f"the loss is no longer finite in epoch {epoch}.",
                field="training.learning_rate",
                remedy="lower the learning rate or train in float32.",
            )
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            self.objective.column: score,
            "learning_rate": self._rate(epoch * self.steps_per_epoch - 1),
        }
        progress.epoch = epoch
        progress.history.append(row)
        if validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, epoch
            progress.best_weights = _copy(self.network)
        return row

    def _train_epoch(self, epoch: int) -> float:
        """Return the mean loss over the training scans of one pass."""
        order = generator(self.seed, "order", epoch).permutation(len(self.parts.train))
        # Cut evenly: a last batch of one scan would spoil the batch statistics.
        chunks = [[self.parts.train[index] for index in chunk] for chunk in np.array_split(order, self.steps_per_epoch)]
        self.network.train()
        total = 0.0
        with random_state(integer_seed(self.seed, "dropout", epoch), self.device):
            batches = read_ahead(lambda scan_ids: self._training_batch(scan_ids, epoch), chunks)
            for index, (scan_ids, inputs) in enumerate(zip(chunks, batches, strict=True)):
                rate = self._rate((epoch - 1) * self.steps_per_epoch + index)
                total += self._step(inputs, self._targets(scan_ids), rate) * len(scan_ids)
        return total / len(self.parts.train)

    def _step(self, inputs: Tensor, targets: Tensor, rate: float) -> float:
        """Take one step of the optimiser and return the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with self._arithmetic():
            logits = self.network(inputs.to(self.device, memory_format=self.memory_format, non_blocking=True))
        loss = self._loss(logits, targets)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _validate(self) -> tuple[float, float]:
        """Return loss and score over the validation scans."""
        logits = self.predict("validation")
        targets = self._targets(self.parts.validation)
        loss = float(self._loss(logits.to(self.device), targets))
        return loss, self.objective.score(logits, targets.cpu())

    def _training_batch(self, scan_ids: Sequence[str], epoch: int) -> Tensor:
        scans = ((scan_id, self.loader.scan(scan_id, "train")) for scan_id in scan_ids)
        return torch.stack([augment(scan, name, epoch, self.settings, self.seed) for name, scan in scans])

    def _targets(self, scan_ids: Sequence[str]) -> Tensor:
        return self.objective.targets([self.targets[scan_id] for scan_id in scan_ids]).to(self.device)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = None if self._weights is None else self._weights.to(self.device)
        return self.objective.loss(logits, targets, weights)

    def _reduced(self, history: Sequence[Mapping[str, float]]) -> float:
        """Return the largest learning rate of the next epoch."""
        settings = self.settings
        if settings.schedule != "plateau":
            return settings.learning_rate
        losses = [row["validation_loss"] for row in history]
        return settings.learning_rate * settings.plateau_factor ** reductions(losses, settings.plateau_patience)

    def _rate(self, step: int) -> float:
        n_steps = self.settings.epochs * self.steps_per_epoch
        return learning_rate(self.settings.schedule, self._peak, step, n_steps)

    def _arithmetic(self) -> AbstractContextManager:
        if self.settings.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _out_of_patience(self, progress: Progress) -> bool:
        if self.settings.patience is None:
            return False
        waited = progress.epoch - max(progress.best_epoch, self.settings.patience_after)
        return waited >= self.settings.patience


def choose_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimiser of a network's parameters; only ``sgd`` has the momentum of the settings."""
    own = {"momentum": settings.momentum} if settings.optimizer == "sgd" else {}
    return OPTIMIZERS[settings.optimizer](
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, **own
    )


def choose_device(name: str) -> torch.device:
    """Return the device to train on; ``auto`` takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_memory_format(name: str, axes: int) -> torch.memory_format:
    """Return the order of values in memory; channels-last exists for two and three space axes."""
    if name == "contiguous" or axes not in (2, 3):
        return torch.contiguous_format
    return torch.channels_last_3d if axes == 3 else torch.channels_last


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


@contextmanager
def _epoch_bar(done: int, total: int) -> Iterator:
    """Yield a function that shows an epoch's row: a bar on a terminal, one line an epoch in a log."""
    if not sys.stderr.isatty():
        started = time.perf_counter()
        yield lambda row: log.info("%s, %.0f s", _line(row), time.perf_counter() - started)
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc="epochs", file=sys.stderr) as bar:

        def show(row: dict[str, float]) -> None:
            bar.set_postfix_str(_line(row), refresh=False)
            bar.update()

        yield show


def _line(row: Mapping[str, float]) -> str:
    (column,) = set(SCORE_COLUMNS) & set(row)
    return (
        f"epoch {row['epoch']:.0f}: loss {row['train_loss']:.4f}, validation {row['validation_loss']:.4f}, "
        f"{column.removeprefix('validation_').replace('_', ' ')} {row[column]:.3f}"
    )
