"""Permuted diagnoses: the control that no honest network can learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.randomness import generator


def permute_by_person(targets: np.ndarray, people: Sequence[str], seed: int, *keys: object) -> np.ndarray:
    """Return the targets with whole people's diagnoses exchanged.

    Every person takes the targets of another drawn person, scan by scan (from the start again where the
    donor has fewer scans), so that two scans of a person still agree.

    Parameters
    ----------
    targets : ndarray of int, shape (n,)
        Diagnoses.
    people : sequence of str, length n
        Participant of every scan.
    seed : int
        Root seed.
    *keys : object
        What the permutation is for.
    """
    owners = np.asarray(people, dtype=object)
    names = sorted(set(people))
    donors = generator(seed, "permuted labels", *keys).permutation(len(names))
    permuted = np.array(targets, copy=True)
    for name, donor in zip(names, donors, strict=True):
        taken = targets[owners == names[donor]]
        rows = np.flatnonzero(owners == name)
        permuted[rows] = taken[np.arange(len(rows)) % len(taken)]
    return permuted
