"""Put altered scans before a network, a batch at a time, and read its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from heatproof.errors import ConfigError, UnsupportedModelError

# From (B, C, *S) to (B, K); arrays come as the kind that the scan is: NumPy, or PyTorch on the scan's device.
Predict = Callable[[Any], Any]


def as_array(values: Any) -> np.ndarray:
    """Return an array or tensor as a double-precision NumPy array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)


def batches_like(scans: Iterable[np.ndarray], like: Any, batch_size: int) -> Iterator[Any]:
    """Yield scans as batches (b, C, *S) of the kind, the type and the device of another scan.

    Parameters
    ----------
    scans : iterable of ndarray, shape (C, *S)
        Drawn one batch at a time, so that memory does not grow with their number.
    like : ndarray or Tensor
    batch_size : int

    Raises
    ------
    ConfigError
        A batch of less than one scan.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}.", field="batch_size", remedy="Use 1 or more.")
    remaining = iter(scans)
    while batch := list(islice(remaining, batch_size)):
        stacked = np.stack(batch)
        if isinstance(like, torch.Tensor):
            yield torch.from_numpy(stacked).to(like)
        else:
            yield stacked.astype(floating(like), copy=False)


def floating(values: Any) -> np.dtype:
    """Return the type of a scan, single precision where it does not hold fractions."""
    kind = np.asarray(values).dtype
    return kind if np.issubdtype(kind, np.floating) else np.dtype(np.float32)


def answers(predict: Predict, scans: Iterable[np.ndarray], like: Any, target: int, batch_size: int) -> np.ndarray:
    """Return what a network says about each scan, shape (n, K).

    Parameters
    ----------
    predict : callable
        From (B, C, *S) to (B, K); called without gradients.
    scans : iterable of ndarray, shape (C, *S)
    like : ndarray or Tensor
        The scan as it was given: batches are of its kind.
    target : int
        The class that will be read.
    batch_size : int

    Raises
    ------
    UnsupportedModelError
        The network does not return (batch, classes).
    ConfigError
        The target is not one of its classes.
    """
    rows = []
    for batch in batches_like(scans, like, batch_size):
        with torch.no_grad():
            found = as_array(predict(batch))
        if found.ndim != 2 or len(found) != len(batch):
            raise UnsupportedModelError(
                f"predict returns {found.shape} for {len(batch)} scans where (batch, classes) is needed.",
                field="predict",
                remedy="Let it return one number per scan and class.",
            )
        if not 0 <= target < found.shape[1]:
            raise ConfigError(
                f"The target {target} is no class: predict returns {found.shape[1]}.",
                field="target",
                remedy=f"Use class indices from 0 to {found.shape[1] - 1}.",
            )
        rows.append(found)
    return np.concatenate(rows) if rows else np.empty((0, target + 1))
