"""Where a training stands after an epoch, so that a killed one goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.models.checkpoints import load_state, save_state


@dataclass
class Progress:
    """What early stopping and the history know.

    Attributes
    ----------
    epoch : int
        Epochs done.
    best_epoch : int
        Epoch of the lowest validation loss; 0 before the first.
    best_loss : float
        That loss.
    best_weights : dict of str to Tensor
        The weights after that epoch, on the CPU.
    history : list of dict
        One row an epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def fingerprint(**facts: Any) -> str:
    """Return a digest of all that decides on a training; another digest means another training."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def save_checkpoint(
    path: str | Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, digest: str
) -> None:
    """Write the state after an epoch, whole or not at all.

    Order, augmentation, dropout and learning rate are functions of seed, epoch and step, so weights,
    moments of the optimiser and progress are the whole state.
    """
    described = {key: value for key, value in vars(progress).items() if key != "best_weights"}
    save_state(
        path, {"network": network}, {"optimizer": optimizer}, described, digest, kept={"best": progress.best_weights}
    )


def load_checkpoint(
    path: str | Path, network: nn.Module, optimizer: torch.optim.Optimizer, digest: str
) -> Progress | None:
    """Put a training back where its checkpoint left it.

    Returns
    -------
    Progress or None
        None, with network and optimiser untouched, where there is no checkpoint, it belongs to another
        training, or it is damaged: then the training starts afresh.
    """
    found = load_state(path, {"network": network}, {"optimizer": optimizer}, digest)
    if found is None:
        return None
    facts, tensors = found
    return Progress(best_weights=tensors.get("best", {}), **facts)
