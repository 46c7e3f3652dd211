"""Permuted targets, diagnoses or numbers: the control that no honest network can learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heatproof.randomness import generator


def permute_by_person(targets: np.ndarray, people: Sequence[str], seed: int, *keys: object) -> np.ndarray:
    """Return the targets with whole people's diagnoses, or numbers, exchanged.

    Every person takes the targets of another drawn person in a drawn order (from the start again where the
    donor has fewer scans): the scans of a person agree where the donor's do, and where each person has scans
    of both classes (a paired design) the labels change within the person.

    Parameters
    ----------
    targets : ndarray of int or float, shape (n,)
        Diagnoses, or measured numbers.
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
        taken = generator(seed, "permuted labels", *keys, name).permutation(targets[owners == names[donor]])
        rows = np.flatnonzero(owners == name)
        permuted[rows] = taken[np.arange(len(rows)) % len(taken)]
    return permuted
