"""Fitting the linear SVM on one fold, through the same loader as the networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heatproof.models.linear_fit import LinearFit, fit_linear_svm
from heatproof.training.loading import ScanLoader
from heatproof.training.parts import FoldParts


def fit_fold(
    loader: ScanLoader,
    parts: FoldParts,
    targets: Mapping[str, int],
    people: Mapping[str, str],
    mask: np.ndarray,
    block_megabytes: float,
    seed: int,
) -> LinearFit:
    """Return the linear SVM of one fold; only training scans are read.

    Parameters
    ----------
    loader : ScanLoader
        Reads the scans.
    parts : FoldParts
        The fold.
    targets : mapping of str to int
        Class of every training scan.
    people : mapping of str to str
        Participant of every training scan.
    mask : ndarray of bool, shape (*space,)
        Voxels to use.
    block_megabytes : float
        Memory for the two blocks of scans that are held at a time.
    seed : int
        Seed of the inner cross-validation.
    """
    train = parts.train
    megabytes = 4 * np.prod(loader.shape) / 2**20
    # A block is held as scans, as selected voxels and as centred voxels, and there are two blocks.
    block = int(np.clip(block_megabytes / (6 * megabytes), 1, 64))
    return fit_linear_svm(
        lambda positions: loader.batch((train[position] for position in positions), "train"),
        np.array([targets[scan_id] for scan_id in train]),
        [people[scan_id] for scan_id in train],
        mask,
        block=block,
        seed=seed,
    )
