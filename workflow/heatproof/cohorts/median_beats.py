"""Median beats: the beats of a record on top of each other, and where their waves lie in the window.

A window around the time of each beat is cut from the record, its own median is taken off lead by lead, and what is
left is the median over beats, sample by sample. Neighbouring beats stay visible where the window is wider than the
distance of two beats.
"""

from __future__ import annotations

import numpy as np

from heatproof.cohorts.delineation import beat_times
from heatproof.cohorts.wave_measurements import lead_medians
from heatproof.errors import IntakeError

# The detector of QRS complexes (Elgendi 2013): its band, the lengths of a complex and of a beat, and its offset.
QRS_BAND_HZ, QRS_ORDER = (8.0, 20.0), 3
QRS_MS, BEAT_MS = 97.0, 611.0
ENERGY_OFFSET = 0.08


def whole_windows(times: np.ndarray, n_before: int, n_after: int, n_samples: int, n_least: int) -> np.ndarray:
    """Return which beats have a whole window in the record, shape (n_beats,).

    Parameters
    ----------
    times : ndarray, shape (n_beats,)
        Samples.
    n_before, n_after : int
        Samples before the time, and from it on.
    n_samples : int
        Of the record.
    n_least : int
        Fewest beats of a median.

    Raises
    ------
    IntakeError
        If fewer beats have one.
    """
    starts = np.rint(times) - n_before
    whole = (starts >= 0) & (starts + n_before + n_after <= n_samples)
    if whole.sum() < n_least:
        raise IntakeError(
            f"{int(whole.sum())} beats have a whole window in the record, fewer than {n_least}.",
            field="min_beats",
            remedy="narrow the window, lower min_beats, or leave the record out",
        )
    return whole


def median_beat(signal: np.ndarray, times: np.ndarray, n_before: int, n_after: int) -> np.ndarray:
    """Return the median beat, shape (leads, n_before + n_after).

    Parameters
    ----------
    signal : ndarray, shape (leads, n_samples)
        The record.
    times : ndarray, shape (n_beats,)
        Beats with a whole window, in samples; the one of the median beat is sample `n_before`.
    n_before, n_after : int
        Samples before the time, and from it on.
    """
    starts = np.rint(times).astype(int) - n_before
    windows = np.stack([signal[:, start : start + n_before + n_after] for start in starts])
    windows = windows - np.median(windows, axis=2, keepdims=True)
    return np.median(windows, axis=0)


def window_marks(marks: np.ndarray, whole: np.ndarray, n_before: int, n_after: int, n_least: int) -> np.ndarray:
    """Return where the waves lie in the median beat, shape (leads, n_beats, 9), in samples of the window.

    The first axis is that of the leads; the second holds the beat itself, the ones next to it and all others that
    reach into the window, in order. Each point is the median over beats of its distance from the beat's time, NaN in
    a lead where fewer than `n_least` beats have it.

    Parameters
    ----------
    marks : ndarray, shape (leads, n_beats, 9)
        Of the record (`heatproof.cohorts.delineation.matched`).
    whole : ndarray of bool, shape (n_beats,)
        Which beats are in the median.
    n_before, n_after : int
        Samples of the window before the beat's time, and from it on.
    n_least : int
        Fewest marked beats.
    """
    times, n_beats = beat_times(marks), marks.shape[1]
    found: list[np.ndarray] = []
    for step in range(-n_beats, n_beats + 1):
        inside = [beat for beat in np.flatnonzero(whole) if 0 <= beat + step < n_beats]
        if len(inside) < n_least:
            continue
        # Whole samples, as the windows are cut.
        neighbours = marks[:, [beat + step for beat in inside]] - np.rint(times[inside])[:, None] + n_before
        middle = lead_medians(neighbours, n_least)
        is_inside = np.nanmax(middle, initial=-np.inf) >= 0 and np.nanmin(middle, initial=np.inf) < n_before + n_after
        # The next beats on both sides tell that what lies before them is between two beats, if they are not seen.
        if is_inside or abs(step) <= 1:
            found.append(middle)
    return np.stack(found, axis=1)


def r_peaks(signal: np.ndarray, rate: float) -> np.ndarray:
    """Return one time per QRS complex in samples, shape (n_beats,), where no marks say it.

    The detector of Elgendi (2013, PLoS ONE 8(9):e73557) with its published numbers: where the moving average of the
    energy over a QRS complex exceeds that over a beat, for at least the length of a complex, there is one. The
    energy is the mean over leads; its largest value is the time.

    Parameters
    ----------
    signal : ndarray, shape (leads, n_samples)
        In mV.
    rate : float
        Samples per second.
    """
    from scipy.ndimage import find_objects, label, uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    band = butter(QRS_ORDER, QRS_BAND_HZ, "bandpass", fs=rate, output="sos")
    energy = (sosfiltfilt(band, signal, axis=1) ** 2).mean(axis=0)
    n_complex, n_beat = (round(length * rate / 1000) for length in (QRS_MS, BEAT_MS))
    of_complex, of_beat = (uniform_filter1d(energy, length, mode="constant") for length in (n_complex, n_beat))
    blocks, _ = label(of_complex > of_beat + ENERGY_OFFSET * energy.mean())
    spans = [span for (span,) in find_objects(blocks) if span.stop - span.start >= n_complex]
    return np.array([span.start + energy[span].argmax() for span in spans], dtype=float)
