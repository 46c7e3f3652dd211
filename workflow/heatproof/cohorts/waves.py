"""Areas of an electrocardiogram: which wave of which lead every sample belongs to.

A reader marks P, QRS and T; what lies between a P and its QRS is the PQ segment, between a QRS and its T the ST
segment, and everything else (between T and the next P, and where nothing is marked) is called TP.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from heatproof.errors import IntakeError

WAVES = ("p", "pq", "qrs", "st", "t", "tp")
MARKED = ("p", "qrs", "t")
# The segment between two waves that follow each other.
SEGMENTS = {("p", "qrs"): "pq", ("qrs", "t"): "st"}

# One marked wave: its name, its first and its last sample; fractions of a sample and samples outside the record are
# allowed.
Bound = tuple[str, float, float]


def wave_label(lead: int, wave: str) -> int:
    """Return the label of a wave in the lead with this number (0 for the first): 1 + lead * 6 + wave."""
    return 1 + lead * len(WAVES) + WAVES.index(wave)


def wave_names(leads: Sequence[str]) -> dict[int, str]:
    """Return the name of every label, such as ``V5 qrs``, for leads in the order of the channels."""
    return {wave_label(index, wave): f"{lead} {wave}" for index, lead in enumerate(leads) for wave in WAVES}


def wave_labels(bounds: Sequence[Iterable[Bound]], n_samples: int) -> np.ndarray:
    """Return which wave of which lead every sample belongs to.

    Parameters
    ----------
    bounds : sequence of iterable of (str, float, float)
        For each lead the marked waves: ``p``, ``qrs`` or ``t`` with onset and offset in samples, both of which belong
        to the wave. Any order; where two waves overlap the one that begins later is right.
    n_samples : int
        Length of the record.

    Returns
    -------
    ndarray of int32, shape (leads, n_samples)
        Labels as of `wave_label`; none is 0.

    Raises
    ------
    IntakeError
        If a wave has another name or ends before it begins.
    """
    labels = np.empty((len(bounds), n_samples), dtype=np.int32)
    for lead, marked in enumerate(bounds):
        row, waves = labels[lead], sorted(marked, key=lambda bound: bound[1])
        for bound in waves:
            _check(bound, lead)
        row[:] = wave_label(lead, "tp")
        for (before, _, end), (after, start, _) in zip(waves, waves[1:], strict=False):
            if (before, after) in SEGMENTS:
                _fill(row, end, start, wave_label(lead, SEGMENTS[before, after]))
        for wave, onset, offset in waves:
            _fill(row, onset, offset, wave_label(lead, wave))
    return labels


def _fill(row: np.ndarray, first: float, last: float, label: int) -> None:
    row[max(math.ceil(first), 0) : max(math.floor(last) + 1, 0)] = label


def _check(bound: Bound, lead: int) -> None:
    wave, onset, offset = bound
    if wave not in MARKED:
        raise IntakeError(
            f"the wave '{wave}' of lead {lead + 1} is not known.",
            field="marks",
            remedy=f"mark {', '.join(MARKED)}; the segments between them follow.",
        )
    if not onset <= offset:
        raise IntakeError(
            f"a {wave} wave of lead {lead + 1} runs from sample {onset:g} to sample {offset:g}.",
            field="marks",
            remedy="give onset and offset in this order, or leave the wave out.",
        )
