"""ECG paper: where the leads of one recording lie on it, in millimetres, and its grid and calibration pulse.

25 mm are one second and 10 mm one millivolt, so that a reader measures as on any ECG: a small square is 40 ms by
0.1 mV, a large one 200 ms by 0.5 mV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MM_PER_SECOND, MM_PER_MILLIVOLT = 25.0, 10.0
# A large square has five small ones on a side.
LARGE_MM = 5
STANDARD = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
ROWS = 3
RHYTHM_LEAD = "II"
# Recordings longer than this (ms) are printed as usual: a part of each lead, and one lead throughout below.
MEDIAN_BEAT_MS = 2500.0
# Room above and below a baseline (mm) that every row has, and the strip for the marks of the waves under it.
LEAST_ABOVE, LEAST_BELOW, MARKS_MM = 9.0, 4.0, 5.0
# Room before the first lead for the calibration pulse, and between two leads of median beats.
PULSE_MM, GAP_MM = 9.0, 5.0
# Sheets printed smaller than this share have no fine lines and no words under the waves.
SMALL = 0.6
FINE_LINE, BOLD_LINE = "#f8dcd7", "#eeb4ab"


@dataclass(frozen=True)
class LeadExample:
    """One scan of several leads, with what explains it and what is known about it.

    Attributes
    ----------
    scan_id, model : str
        Scan, and the network that is explained.
    image : ndarray, shape (n_leads, n_samples)
        The scan in mV.
    truth : ndarray, shape (n_leads, n_samples), optional
        Signed effect of the output on the scan, or 1 on the waves that define it.
    maps : mapping of str to ndarray, shape (n_leads, n_samples)
        By method.
    leads : tuple of str
        Their names.
    step : float
        Milliseconds between two samples.
    waves : mapping of str to ndarray of bool, shape (n_leads, n_samples)
        Where each wave lies, by its name (``p``, ``qrs``, ``t``); empty where nobody marked any.
    """

    scan_id: str
    model: str
    image: np.ndarray
    truth: np.ndarray | None
    maps: Mapping[str, np.ndarray]
    leads: tuple[str, ...]
    step: float
    waves: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Length in ms."""
        return self.image.shape[1] * self.step

    @property
    def is_median_beat(self) -> bool:
        """Whether the recording is so short that every lead is drawn throughout."""
        return self.duration <= MEDIAN_BEAT_MS


@dataclass(frozen=True)
class Strip:
    """A part of one lead on the paper.

    Attributes
    ----------
    lead : int
        Which one.
    start, stop : int
        Samples.
    left, baseline, bottom : float
        Where the first sample, the lead's median and the lower edge of the marks lie, in mm.
    """

    lead: int
    start: int
    stop: int
    left: float
    baseline: float
    bottom: float


@dataclass(frozen=True)
class Sheet:
    """All strips of one recording, and the size of the paper in mm."""

    strips: tuple[Strip, ...]
    width: float
    height: float


def lead_rows(leads: Sequence[str]) -> list[list[int]]:
    """Return which leads stand in each row, the usual four by three where the names are the usual ones.

    Missing leads leave no gap in a row; leads of other names fill columns of three, in their order.
    """
    index = {name.lower(): position for position, name in enumerate(leads)}
    usual = {name.lower() for row in STANDARD for name in row}
    if set(index) <= usual and len(index) == len(leads):
        rows = [[index[name.lower()] for name in row if name.lower() in index] for row in STANDARD]
    else:
        n_rows = min(ROWS, len(leads))
        rows = [list(range(row, len(leads), n_rows)) for row in range(n_rows)]
    return [row for row in rows if row]


def rhythm_lead(leads: Sequence[str]) -> int:
    """Return the lead that is printed throughout: II, or the first."""
    lowered = [name.lower() for name in leads]
    return lowered.index(RHYTHM_LEAD.lower()) if RHYTHM_LEAD.lower() in lowered else 0


def sheet_of(example: LeadExample) -> Sheet:
    """Return the usual sheet: all leads of a median beat, or of a recording the usual parts and the rhythm strip."""
    rows = lead_rows(example.leads)
    columns, n = max(map(len, rows)), example.image.shape[1]
    if example.is_median_beat:
        width = _large_squares(_mm(n, example)) + GAP_MM
        wanted = [[(lead, 0, n, PULSE_MM + place * width) for place, lead in enumerate(row)] for row in rows]
        return _stack(example, wanted, PULSE_MM + columns * width)
    edges = [round(n * place / columns) for place in range(columns + 1)]
    wanted = [
        [(lead, edges[i], edges[i + 1], PULSE_MM + _mm(edges[i], example)) for i, lead in enumerate(row)]
        for row in rows
    ]
    wanted.append([(rhythm_lead(example.leads), 0, n, PULSE_MM)])
    return _stack(example, wanted, PULSE_MM + _large_squares(_mm(n, example)) + GAP_MM)


def one_lead(example: LeadExample, lead: int, start: int, stop: int) -> Sheet:
    """Return a sheet with one strip."""
    width = PULSE_MM + _large_squares(_mm(stop - start, example)) + GAP_MM
    return _stack(example, [[(lead, start, stop, PULSE_MM)]], width)


def _mm(n_samples: int, example: LeadExample) -> float:
    return n_samples * example.step / 1000 * MM_PER_SECOND


def _large_squares(length: float) -> float:
    """Return a length in whole large squares (mm)."""
    return LARGE_MM * float(np.ceil(length / LARGE_MM - 1e-9))


def heights(example: LeadExample, lead: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return how high a lead runs above its own median, in mm; samples that are not finite stay so."""
    return (example.image[lead, start:stop] - np.nanmedian(example.image[lead])) * MM_PER_MILLIVOLT


def _stack(example: LeadExample, rows: Sequence[Sequence[tuple[int, int, int, float]]], width: float) -> Sheet:
    """Set the rows under each other, as far apart as their traces need; the last one stands at the bottom."""
    stacked: list[list[Strip]] = []
    level = 1.0
    for row in reversed(rows):
        drawn = np.concatenate([heights(example, lead, start, stop) for lead, start, stop, _ in row])
        below = max(LEAST_BELOW, -float(np.nanmin(drawn, initial=0.0)))
        above = max(LEAST_ABOVE, float(np.nanmax(drawn, initial=0.0)))
        baseline = _large_squares(level + MARKS_MM + below)
        stacked.append([Strip(lead, start, stop, left, baseline, level) for lead, start, stop, left in row])
        # The name of the lead stands above its trace.
        level = baseline + above + 3.0
    strips = tuple(strip for row in reversed(stacked) for strip in row)
    return Sheet(strips, width, _large_squares(level))


def draw_paper(axes: Axes, sheet: Sheet, scale: float = 1.0) -> None:
    """Draw the squares and one calibration pulse (1 mV for 200 ms) before each row, in mm.

    Parameters
    ----------
    axes : Axes
        Becomes the paper: limits in mm, no ticks.
    sheet : Sheet
        What is drawn on it.
    scale : float
        Printed mm per mm of paper; on small sheets the fine lines are left out.
    """
    from matplotlib.collections import LineCollection

    def squares(step: int, colour: str, width: float) -> None:
        upright = [[(x, 0), (x, sheet.height)] for x in np.arange(0, sheet.width + 0.5, step)]
        level = [[(0, y), (sheet.width, y)] for y in np.arange(0, sheet.height + 0.5, step)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=width, zorder=0))

    if scale > SMALL:
        squares(1, FINE_LINE, 0.35)
    squares(LARGE_MM, BOLD_LINE, 0.6 if scale > SMALL else 0.4)
    pulse = np.array([(1, 0), (2, 0), (2, MM_PER_MILLIVOLT), (7, MM_PER_MILLIVOLT), (7, 0), (8, 0)])
    for baseline in {strip.baseline for strip in sheet.strips}:
        axes.plot(pulse[:, 0], pulse[:, 1] + baseline, color=INK, linewidth=0.8 * scale**0.5, zorder=4)
    axes.set(xlim=(0, sheet.width), ylim=(0, sheet.height), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
