"""Marks on an ECG: from onsets, peaks and offsets to waves, and from waves to beats.

Marks of one lead become a table with a row per beat, the tables of all leads one array (leads, beats, 9), NaN where
nothing is marked: leads differ in what is marked, and the ends of a record are often not marked at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Columns of the tables of beats.
POINTS = (
    "p_onset", "p_peak", "p_offset", "qrs_onset", "qrs_peak", "qrs_offset", "t_onset", "t_peak", "t_offset",
)  # fmt: skip
POINT = {name: column for column, name in enumerate(POINTS)}
# WFDB's codes of beats, whose annotation stands at the peak of the QRS complex.
BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
SYMBOLS = {"(": ("", "onset"), ")": ("", "offset"), "p": ("p", "peak"), "t": ("t", "peak"), "u": ("u", "peak")}
# Annotators that write the name of a mark beside it (ECGdeli in PTB-XL+).
NOTE = re.compile(r"^(?:(p|t)[- ]?wave|(qrs)) (onset|peak|offset)$|^(r) peak$", re.IGNORECASE)
# Marks of one kind that follow each other so closely are one that was drawn more than once.
REDRAWN_MS = 60.0
# Further away, a second peak of one kind is another wave, and an onset or an offset belongs to no peak.
SAME_WAVE_MS = 200.0
HALF_WAVE_MS = 400.0
# A P wave further before the QRS complex, or a T wave further behind it, is not of the same beat.
LONGEST_PR_MS = 450.0
LONGEST_QT_MS = 750.0
# QRS peaks of one beat lie within this of their neighbours in other leads.
SAME_BEAT_MS = 100.0
TIME_SWEEPS = 3


@dataclass
class Wave:
    """One marked wave.

    Attributes
    ----------
    kind : {"p", "qrs", "t", "u"}
        Which wave.
    onset, peak, offset : float
        Samples; NaN where not marked.
    """

    kind: str
    onset: float
    peak: float
    offset: float = np.nan


def waves_of(samples: Sequence[int], symbols: Sequence[str], notes: Sequence[str], rate: float) -> list[Wave]:
    """Return the waves of one lead in the order of their peaks.

    Parameters
    ----------
    samples : sequence of int
        Where the marks stand, ascending.
    symbols, notes : sequence of str
        WFDB code of each mark, and its note. Where notes name marks (``p-wave onset``, ``QRS offset``, ``R peak``
        and the like), they count and the codes do not. Other notes and codes are passed over.
    rate : float
        Samples per second.
    """
    named = [_of_note(note) for note in notes]
    meanings = named if any(named) else [_of_symbol(symbol) for symbol in symbols]
    marks = [(float(sample), *found) for sample, found in zip(samples, meanings, strict=True) if found is not None]
    waves: list[Wave] = []
    open_wave: Wave | None = None
    onset = np.nan
    for sample, kind, point in _drawn_once(marks, REDRAWN_MS * rate / 1000):
        if point == "onset":
            open_wave, onset = None, sample
        elif point == "offset":
            # An offset without a peak ends a wave that nobody has named.
            if open_wave is not None and sample - open_wave.peak <= HALF_WAVE_MS * rate / 1000:
                open_wave.offset = sample
            open_wave, onset = None, np.nan
        elif open_wave is None or open_wave.kind != kind or sample - open_wave.peak > SAME_WAVE_MS * rate / 1000:
            near = sample - onset <= HALF_WAVE_MS * rate / 1000
            open_wave, onset = Wave(kind, onset if near else np.nan, sample), np.nan
            waves.append(open_wave)
    return waves


def beats_of(waves: Sequence[Wave], rate: float) -> np.ndarray:
    """Return one row of `POINTS` per QRS complex, shape (n_beats, 9), in samples.

    A P wave is the beat's own if it is the wave before its QRS complex, a T wave if it is the wave behind.
    """
    rows = []
    for index, wave in enumerate(waves):
        if wave.kind != "qrs":
            continue
        before = waves[index - 1] if index else None
        after = waves[index + 1] if index + 1 < len(waves) else None
        row = np.full(len(POINTS), np.nan)
        row[3:6] = wave.onset, wave.peak, wave.offset
        if before is not None and before.kind == "p" and wave.peak - before.peak <= LONGEST_PR_MS * rate / 1000:
            row[:3] = before.onset, before.peak, before.offset
        if after is not None and after.kind == "t" and after.peak - wave.peak <= LONGEST_QT_MS * rate / 1000:
            row[6:] = after.onset, after.peak, after.offset
        rows.append(row)
    return np.array(rows).reshape(-1, len(POINTS))


def matched(beats: Sequence[np.ndarray], rate: float) -> np.ndarray:
    """Return the beats of all leads side by side, shape (leads, n_beats, 9), NaN where a lead has no such beat.

    Parameters
    ----------
    beats : sequence of ndarray, shape (n, 9)
        As `beats_of` returns them, one per lead. A beat counts if half of the marked leads have it.
    rate : float
        Samples per second.
    """
    found = sorted(
        (float(row[POINT["qrs_peak"]]), lead, index)
        for lead, rows in enumerate(beats)
        for index, row in enumerate(rows)
    )
    groups: list[list[tuple[float, int, int]]] = []
    for one in found:
        if groups and one[0] - groups[-1][-1][0] <= SAME_BEAT_MS * rate / 1000:
            groups[-1].append(one)
        else:
            groups.append([one])
    n_marked = sum(len(rows) > 0 for rows in beats)
    groups = [group for group in groups if 2 * len({lead for _, lead, _ in group}) >= n_marked]
    table = np.full((len(beats), len(groups), len(POINTS)), np.nan)
    for number, group in enumerate(groups):
        centre = np.median([peak for peak, _, _ in group])
        # Where a lead has two, the one nearer to those of the other leads is written last.
        for _, lead, index in sorted(group, key=lambda one: -abs(one[0] - centre)):
            table[lead, number] = beats[lead][index]
    return table


def beat_times(marks: np.ndarray) -> np.ndarray:
    """Return one time per beat in samples, shape (n_beats,), from the QRS peaks of all leads.

    Leads differ in where their peak lies and in which beats are marked, so each lead's usual distance from the
    others is taken off before the median over leads (Tukey's median polish).

    Parameters
    ----------
    marks : ndarray, shape (leads, n_beats, 9)
        As `matched` returns them.
    """
    peaks = marks[..., POINT["qrs_peak"]]
    offsets = np.zeros(len(peaks))
    times = known_median(peaks, axis=0)
    for _ in range(TIME_SWEEPS):
        offsets = np.nan_to_num(known_median(peaks - times, axis=1))
        offsets -= np.median(offsets)
        times = known_median(peaks - offsets[:, None], axis=0)
    return times


def _of_note(note: str) -> tuple[str, str] | None:
    """Return (kind, point) of a mark that is named in words, or None."""
    named = NOTE.match(note.strip("\0 "))
    if named is None:
        return None
    wave, complex_, point, peak = (part.casefold() if part else "" for part in named.groups())
    return ("qrs", "peak") if peak else ("qrs" if complex_ else wave, point)


def _of_symbol(symbol: str) -> tuple[str, str] | None:
    """Return (kind, point) of a WFDB code, the kind empty for brackets, or None where it is no part of a wave."""
    return SYMBOLS.get(symbol) or (("qrs", "peak") if symbol in BEAT_SYMBOLS else None)


def _drawn_once(marks: Sequence[tuple[float, str, str]], gap: float) -> list[tuple[float, str, str]]:
    """Return the marks with each run of one kind, no two further apart than `gap`, replaced by its middle one."""
    runs: list[list[tuple[float, str, str]]] = [[mark] for mark in marks[:1]]
    for last, mark in pairwise(marks):
        if mark[1:] == last[1:] and mark[0] - last[0] <= gap:
            runs[-1].append(mark)
        else:
            runs.append([mark])
    return [run[(len(run) - 1) // 2] for run in runs]


def known_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median of what is not NaN along an axis, NaN where nothing is known."""
    if not values.shape[axis]:
        return np.full(np.delete(values.shape, axis), np.nan)
    # NaN comes last in the order.
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    n_known = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    lower, upper = (
        np.take_along_axis(ordered, at, axis=-1)[..., 0] for at in (np.maximum(n_known - 1, 0) // 2, n_known // 2)
    )
    return np.where(n_known[..., 0] > 0, (lower + upper) / 2, np.nan)
