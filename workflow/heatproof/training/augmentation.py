"""Random flips, shifts and noise of training scans, the same for the same seed, epoch and scan."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from heatproof.randomness import generator
from heatproof.training.settings import TrainingSettings


def augment(scan: Tensor, scan_id: str, epoch: int, settings: TrainingSettings, seed: int) -> Tensor:
    """Return a scan mirrored and shifted along one space axis (Böhle et al. 2019), with noise on it.

    Parameters
    ----------
    scan : Tensor, shape (channels, *space)
        One scan; it is not changed.
    scan_id : str
        Its id; with seed and epoch it decides on flip, shift and noise, so neither order nor batch size matters.
    epoch : int
        Number of the epoch.
    settings : TrainingSettings
        Its ``flip_probability``, ``shift_voxels``, ``augmentation_axis`` and ``noise`` are used.
    seed : int
        Seed of the training.
    """
    if settings.flip_probability or settings.shift_voxels:
        scan = _moved(scan, generator(seed, "augmentation", epoch, scan_id), settings)
    if settings.noise:
        drawn = generator(seed, "noise", epoch, scan_id).standard_normal(tuple(scan.shape), dtype=np.float32)
        scan = scan + settings.noise * torch.from_numpy(drawn)
    return scan


def _moved(scan: Tensor, draw: np.random.Generator, settings: TrainingSettings) -> Tensor:
    axis = settings.augmentation_axis + 1
    if draw.random() < settings.flip_probability:
        scan = scan.flip(axis)
    return shift(scan, int(draw.integers(-settings.shift_voxels, settings.shift_voxels + 1)), axis)


def shift(values: Tensor, steps: int, axis: int) -> Tensor:
    """Return values moved along an axis, with zeros where nothing has moved in."""
    if steps == 0:
        return values
    moved = torch.zeros_like(values)
    kept = values.shape[axis] - abs(steps)
    if kept > 0:
        moved.narrow(axis, max(steps, 0), kept).copy_(values.narrow(axis, max(-steps, 0), kept))
    return moved
