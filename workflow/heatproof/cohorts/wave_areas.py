"""Where the waves of a delineated ECG lie: areas of a scan, and the places that define an interval or an amplitude."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from heatproof.cohorts.delineation import POINT, known_median
from heatproof.cohorts.wave_measurements import AMPLITUDES, INTERVALS
from heatproof.cohorts.waves import MARKED, Bound, wave_labels

# The J point is a moment; what a network may look at to find its level is this far around it.
J_MS = 20.0


def closed(marks: np.ndarray) -> np.ndarray:
    """Return marks with a wave that has a peak and one end, or a QRS complex with a peak, given both ends.

    Some readers leave out the onset of T: P and T are made symmetric. A QRS complex is not symmetric, but begins and
    ends at nearly the same time everywhere: it takes what is missing from the median of the other leads. A wave
    without a peak, or a P or T without any end, stays open.

    Parameters
    ----------
    marks : ndarray, shape (leads, n_beats, 9)
        See `heatproof.cohorts.delineation.POINTS`.
    """
    whole = marks.copy()
    for wave in MARKED:
        columns = [POINT[f"{wave}_{point}"] for point in ("onset", "peak", "offset")]
        onset, peak, offset = (marks[..., column] for column in columns)
        if wave == "qrs":
            others = (np.where(np.isnan(peak), np.nan, known_median(end, axis=0)) for end in (onset, offset))
        else:
            others = (2 * peak - end for end in (offset, onset))
        for column, end in zip((columns[0], columns[2]), others, strict=True):
            whole[..., column] = np.where(np.isnan(marks[..., column]), end, marks[..., column])
    return whole


def areas_of(marks: np.ndarray, n_samples: int) -> np.ndarray:
    """Return which wave of which lead every sample belongs to, shape (leads, n_samples).

    0 is what lies before the first and behind the last mark of a lead, where nobody has looked.

    Parameters
    ----------
    marks : ndarray, shape (leads, n_beats, 9)
        In samples; NaN where not marked.
    n_samples : int
        Length of the scan.
    """
    whole = closed(marks)
    bounds = [_bounds(rows) for rows in whole]
    areas = wave_labels(bounds, n_samples)
    for lead, marked in enumerate(bounds):
        first = min((onset for _, onset, _ in marked), default=math.inf)
        last = max((offset for _, _, offset in marked), default=-math.inf)
        at = np.arange(n_samples)
        areas[lead, (at < math.ceil(first) if marked else at >= 0) | (at > last)] = 0
    return areas


def output_truths(
    marks: np.ndarray, n_samples: int, leads: Sequence[str], outputs: Iterable[str], rate: float
) -> dict[str, np.ndarray]:
    """Return, for each output, 1 on the samples that define it and 0 elsewhere, shape (leads, n_samples) each.

    An interval is defined by what lies between its two ends, in every lead: PR by P and the PQ segment, up to the
    onset of QRS; QRS by the complex; QT by all from the onset of QRS to the end of T. An amplitude is defined by
    the QRS complex, by the T wave, or by the 20 ms on both sides of the J point of its lead. Any other output,
    the heart rate among them, is defined nowhere.

    Parameters
    ----------
    marks : ndarray, shape (leads, n_beats, 9)
        In samples; NaN where not marked. All beats of the scan count.
    n_samples : int
        Length of the scan.
    leads : sequence of str
        Names of the leads.
    outputs : iterable of str
        Such as ``pr``, ``qt`` or ``r_v5``.
    rate : float
        Samples per second.
    """
    whole = closed(marks)
    truths = {}
    for output in outputs:
        truth = np.zeros((len(leads), n_samples), np.float32)
        for lead, name in enumerate(leads):
            for row in whole[lead]:
                first, last = _span(output, name, row, rate)
                if first <= last:
                    truth[lead, max(math.ceil(first), 0) : max(math.floor(last) + 1, 0)] = 1
        truths[output] = truth
    return truths


def _span(output: str, lead: str, row: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the first and the last sample that define an output in one beat of a lead, NaN where none does."""
    wave, _, of_lead = output.partition("_")
    if output in INTERVALS:
        start, end = (row[POINT[point]] for point in INTERVALS[output])
        # The onset of QRS is the complex's own first sample, not the last of PR.
        return start, end - 1 if output == "pr" else end
    if wave not in AMPLITUDES or of_lead != lead.casefold():
        return np.nan, np.nan
    if wave == "j":
        reach = J_MS * rate / 1000
        return row[POINT["qrs_offset"]] - reach, row[POINT["qrs_offset"]] + reach
    marked = "qrs" if wave == "r" else "t"
    return row[POINT[f"{marked}_onset"]], row[POINT[f"{marked}_offset"]]


def _bounds(rows: np.ndarray) -> list[Bound]:
    """Return the waves of one lead with both ends, in samples."""
    ends = [(wave, row[POINT[f"{wave}_onset"]], row[POINT[f"{wave}_offset"]]) for row in rows for wave in MARKED]
    # Each end is a median over beats of its own; a wave whose ends have crossed has none that could be drawn.
    return [(wave, float(onset), float(offset)) for wave, onset, offset in ends if onset <= offset]
