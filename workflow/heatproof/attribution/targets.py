"""Which number of the network's output is explained."""

from __future__ import annotations

import torch

from ..errors import ConfigError, UnsupportedModelError
from .registry import choice

# What a network's outputs are: scores of classes, or numbers with a unit.
OUTPUTS = ("class", "value")
# What is explained: the score of a class, its probability, or a number as the network answers it.
STARTS = ("logit", "probability", "value")


def class_indices(target: torch.Tensor | int | None, n_scans: int, device: torch.device) -> torch.Tensor | None:
    """Return one class index per scan, shape (n_scans,), or None for a network with one output.

    Raises
    ------
    ConfigError
        The targets are not integers, or not as many as there are scans.
    """
    if target is None:
        return None
    indices = torch.as_tensor(target, device=device)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise ConfigError("Targets are class indices.", field="target", remedy="Pass integers, not scores.")
    if indices.ndim == 0:
        indices = indices.expand(n_scans)
    if indices.shape != (n_scans,):
        raise ConfigError(
            f"There are {n_scans} scans but targets of shape {tuple(indices.shape)}.",
            field="target",
            remedy="Pass one class index per scan, or one for all.",
        )
    return indices.long()


def start_values(logits: torch.Tensor, target: torch.Tensor | None, start: str = "logit") -> torch.Tensor:
    """Return the explained number of each scan.

    Parameters
    ----------
    logits : Tensor, shape (B, K) or (B,)
    target : Tensor of int, shape (B,), or None
        None is allowed for K = 1 only.
    start : {"logit", "probability", "value"}
        The logit itself, or the softmax probability (K = 1: logistic); the value of a regression is the output
        itself, and methods that would square, exponentiate or average it with its offset do so with its rise.

    Returns
    -------
    Tensor, shape (B,)

    Raises
    ------
    ConfigError
        A class that the network does not have, or no class for a network with several.
    UnsupportedModelError
        The output is not (batch, classes).
    """
    start = choice(start, STARTS, "start")
    if not isinstance(logits, torch.Tensor) or logits.ndim not in (1, 2):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UnsupportedModelError(
            f"The network returns {shape} where (batch, classes) is needed.",
            remedy="Wrap the network so that it returns one logit per class.",
        )
    if target is not None and len(logits) != len(target):
        raise UnsupportedModelError(
            f"The network returns {len(logits)} rows for {len(target)} scans.",
            remedy="Let it return (batch, classes): a squeeze of all axes drops the batch of one scan.",
        )
    logits = logits[:, None] if logits.ndim == 1 else logits
    n_classes = logits.shape[1]
    if target is None and n_classes != 1:
        raise ConfigError(
            f"The network has {n_classes} outputs and no target was given.",
            field="target",
            remedy="Pass the class index to explain, one per scan or one for all.",
        )
    if target is None:
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    if bool(((target < 0) | (target >= n_classes)).any()):
        raise ConfigError(
            f"A target of {sorted(set(target.tolist()))} is no class: the network has {n_classes} outputs.",
            field="target",
            remedy=f"Use class indices from 0 to {n_classes - 1}.",
        )
    values = logits
    if start == "probability":
        values = logits.sigmoid() if n_classes == 1 else logits.softmax(1)
    return values.gather(1, target[:, None])[:, 0]
