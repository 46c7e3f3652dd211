"""What a network is trained for: a class of each scan, or a number in standard units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from heatproof.training.predictions import balanced_accuracy, r_squared


@dataclass(frozen=True)
class Objective:
    """Loss of a training and score of its validation.

    Attributes
    ----------
    column : str
        Column of ``history.tsv`` that has the score of the validation scans.
    targets : callable
        (sequence of targets) -> Tensor, shape (n,).
    loss : callable
        (outputs (n, k), targets (n,), weights of the classes or None) -> scalar Tensor.
    score : callable
        (outputs (n, k), targets (n,)) -> float; larger is better.
    """

    column: str
    targets: Callable[[Sequence[float]], Tensor]
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    score: Callable[[Tensor, Tensor], float]


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of logits (n, classes) and classes (n,), in float32."""
    return functional.cross_entropy(logits.float(), targets, weight=weights)


def squared_error(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared error of outputs (n, 1) and numbers (n,), in float32; numbers have no class weights."""
    return functional.mse_loss(outputs[:, 0].float(), targets)


CLASSES = Objective("validation_balanced_accuracy", torch.tensor, cross_entropy, balanced_accuracy)
NUMBERS = Objective(
    "validation_r2", lambda numbers: torch.tensor(numbers, dtype=torch.float32), squared_error, r_squared
)
SCORE_COLUMNS = (CLASSES.column, NUMBERS.column)


def class_weights(targets: Sequence[float], kind: str) -> Tensor | None:
    """Return the weight of each class in the loss, or None for equal ones.

    ``balanced`` gives n / (classes * n_class), so that every class counts the same in sum.
    """
    if kind == "none":
        return None
    counts = torch.bincount(torch.tensor(targets)).float()
    return counts.sum() / (len(counts) * counts.clamp(min=1))
