"""What the marks of an ECG measure: intervals, heart rate, and amplitudes at marked points.

What a record measures is the median over leads of the medians over beats; leads with fewer than a number of such
beats have no say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from heatproof.cohorts.delineation import POINT, beat_times, known_median
from heatproof.errors import ConfigError

# The level of the isoelectric line is read this long before the QRS complex.
BASELINE_MS = 20.0
INTERVALS = {"pr": ("p_onset", "qrs_onset"), "qrs": ("qrs_onset", "qrs_offset"), "qt": ("qrs_onset", "t_offset")}
AMPLITUDES = {"r": "qrs_peak", "t": "t_peak", "j": "qrs_offset"}
RATE = "heart_rate"


def lead_medians(values: np.ndarray, n_least: int) -> np.ndarray:
    """Return the median over beats of values (leads, n_beats, ...), NaN where fewer than `n_least` are known."""
    known = np.isfinite(values).sum(axis=1)
    return np.where(known >= n_least, known_median(values, axis=1), np.nan)


def record_median(values: np.ndarray, n_least: int) -> float:
    """Return the median over leads of their medians over beats, from values (leads, n_beats)."""
    return float(known_median(lead_medians(values, n_least), axis=0))


def intervals(marks: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Return PR, QRS and QT of every lead and beat in ms, shape (leads, n_beats) each.

    PR runs from the onset of P to that of QRS, QRS from its onset to its offset, QT from the onset of QRS to the
    offset of T.
    """
    return {
        name: (marks[..., POINT[end]] - marks[..., POINT[start]]) * 1000 / rate
        for name, (start, end) in INTERVALS.items()
    }


def amplitudes(signal: np.ndarray, marks: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """Return the amplitudes at the peaks of QRS (r) and T (t) and at the J point (j), shape (leads, n_beats) each.

    They are relative to the mean of the 20 ms before the QRS complex (from the end of P on, where that is later).
    The J point is the offset of QRS.

    Parameters
    ----------
    signal : ndarray, shape (leads, n_samples)
        In mV.
    marks : ndarray, shape (leads, n_beats, 9)
        As `matched` returns them.
    rate : float
        Samples per second.
    """
    n_before = max(1, round(BASELINE_MS * rate / 1000))
    found = {name: np.full(marks.shape[:2], np.nan) for name in AMPLITUDES}
    for lead, beat in np.ndindex(*marks.shape[:2]):
        row = marks[lead, beat]
        onset, after_p = row[POINT["qrs_onset"]], row[POINT["p_offset"]]
        if not np.isfinite(onset) or onset < 1:
            continue
        start = max(onset - n_before, 0) if np.isnan(after_p) else min(max(onset - n_before, after_p), onset - 1)
        level = signal[lead, round(start) : round(onset)].mean()
        for name, point in AMPLITUDES.items():
            if np.isfinite(row[POINT[point]]):
                found[name][lead, beat] = signal[lead, round(row[POINT[point]])] - level
    return found


def known_unit(output: str) -> str:
    """Return the unit of a number that marks can measure (bpm, ms or mV), empty for any other name."""
    if output == RATE or output in INTERVALS:
        return "bpm" if output == RATE else "ms"
    return "mV" if output.partition("_")[0] in AMPLITUDES and "_" in output else ""


def check_outputs(names: Iterable[str], leads: Sequence[str], field: str) -> None:
    """Raise a ConfigError if a name is neither heart_rate, pr, qrs, qt nor r, t or j of one of the leads."""
    allowed = [RATE, *INTERVALS, *(f"{wave}_{lead.casefold()}" for wave in AMPLITUDES for lead in leads)]
    for name in names:
        if name not in allowed:
            raise ConfigError(
                f"'{name}' cannot be measured at the marks.", field=field, remedy=f"use {', '.join(allowed)}."
            )


def measured(
    signal: np.ndarray, marks: np.ndarray, rate: float, leads: Sequence[str], names: Iterable[str], n_least: int
) -> dict[str, float]:
    """Return what the marks of a record measure, NaN where too little is marked.

    Parameters
    ----------
    signal : ndarray, shape (leads, n_samples)
        In mV.
    marks : ndarray, shape (leads, n_beats, 9)
        As `matched` returns them.
    rate : float
        Samples per second.
    leads : sequence of str
        Names of the leads.
    names : iterable of str
        As `check_outputs` allows them. The heart rate is that of the median distance of two beats; an interval is
        the median over leads of their medians over beats; an amplitude is that of its lead.
    n_least : int
        Fewest beats of a lead that count; the rate needs one distance less.
    """
    of_intervals = intervals(marks, rate)
    of_amplitudes = amplitudes(signal, marks, rate)
    steps = np.diff(beat_times(marks)) * 1000 / rate
    places = {lead.casefold(): index for index, lead in enumerate(leads)}
    found = {}
    for name in names:
        if name == RATE:
            found[name] = float(60000 / np.median(steps)) if len(steps) >= max(1, n_least - 1) else np.nan
        elif name in INTERVALS:
            found[name] = record_median(of_intervals[name], n_least)
        else:
            wave, lead = name.split("_", 1)
            found[name] = float(lead_medians(of_amplitudes[wave], n_least)[places[lead]])
    return found
