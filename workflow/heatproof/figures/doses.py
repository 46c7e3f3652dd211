"""Dose and answer: a scan at every dose of every simulator, how far the answer moves, and the frames of the slider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.gallery import height_of
from heatproof.figures.simulated import (
    MOST_SIMULATORS,
    NONE_KEPT,
    SimulatedScan,
    Window,
    answer_colour,
    answer_words,
    bare,
    scan_words,
    shown_scans,
    simulators_of,
    write,
)
from heatproof.figures.style import (
    BLUE,
    CONTROL,
    DASHES,
    DPI,
    FRAME,
    INK,
    OUTLINE,
    SERIES,
    absent,
    counts,
    drawing,
    escape,
    label,
    legend_entries,
    note,
    reference_line,
    shorten,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESPONSE = "answer_shift"
BOTH = "both"
PANEL, GAP = 1.12, 0.08
TRACE = (1.7, 0.7)
MOST_NETWORKS, MOST_STRIPS = 3, 2


def draw_doses(scans: Sequence[SimulatedScan], grid: Grid, table: pd.DataFrame, channels: Sequence[str] = ()) -> Figure:
    """Draw the scan of each direction at every dose, a row per simulator, over the mean dose response.

    Parameters
    ----------
    scans : sequence of SimulatedScan
        The first of each direction is drawn, of the first network.
    grid : Grid
        Of all scans. Of a volume the axial slice with most of the effect is drawn.
    table : DataFrame
        ``simulations.tsv``.
    channels : sequence of str
        Names of the channels, where they are leads.
    """
    response = table[(table["score"] == RESPONSE) & (table["direction"] == BOTH)] if len(table) else table
    shown = shown_scans(scans, MOST_STRIPS)
    if not shown and response.empty:
        return absent(NONE_KEPT)
    windows = [Window.of(scan, grid) for scan in shown]
    rows = [(window, name) for window in windows for name in _simulators(window.scan)]
    curves = 2.3 if len(response) else 0.0
    left, top, bottom = 2.05, 0.35, 0.6
    n_columns = 1 + max((len(scan.doses) for scan in shown), default=0)
    strip, step, between = _size(grid, n_columns), _size(grid, 1)[1] + GAP, 0.16
    blocks = between * max(len(shown) - 1, 0)
    width = max(7.4, left + strip[0] + 0.1)
    height = top + len(rows) * step + blocks + (0.6 + curves if curves else 0.0) + bottom
    with drawing() as make:
        figure = make(figsize=(width, height))
        level = height - top + between
        for row, (window, name) in enumerate(rows):
            first = name == next(iter(window.scan.simulated))
            level -= step + between * first
            axes = figure.add_axes((left / width, (level + GAP) / height, strip[0] / width, strip[1] / height))
            places = paint_strip(axes, window, [(name, place) for place in range(1 + len(window.scan.doses))])
            axes.set_ylabel(escape(shorten(label(name), 16)), rotation=0, ha="right", va="center", fontsize=8)
            if first:
                words = "\n".join(scan_words(window, channels=channels))
                axes.text((0.08 - left) / strip[0], 0.5, words, transform=axes.transAxes, va="center", fontsize=8)
            if row == 0:
                titles = ["scan", *(f"dose {dose:g}" for dose in window.scan.doses)]
                _name_tiles(axes, places, titles)
        if curves:
            _draw_response(figure, response, bottom + 0.4, curves)
        _sign(figure, response, len(shown))
    return figure


def draw_dose_frames(scans: Sequence[SimulatedScan], grid: Grid, channels: Sequence[str] = ()) -> Figure:
    """Draw one frame per dose side by side, all of one width: a row per direction, a column per simulator.

    The report shows one frame at a time, behind a slider. Each frame carries the id `FRAME` and its dose.

    Parameters
    ----------
    scans : sequence of SimulatedScan
        The first of each direction is drawn, of the first network.
    grid : Grid
        Of all scans. Of a volume the axial slice with most of the effect is drawn.
    channels : sequence of str
        Names of the channels, where they are leads.
    """
    shown = shown_scans(scans, MOST_STRIPS)
    if not shown:
        return absent(NONE_KEPT)
    windows = [Window.of(scan, grid) for scan in shown]
    names, doses = simulators_of(shown)[:MOST_SIMULATORS], (0.0, *shown[0].doses)
    strip, left, top = _size(grid, len(names)), 1.3, 0.5
    # Whole pixels, so that pictures stand still when the slider moves.
    step, frame = strip[1] + GAP, ceil((left + strip[0] + 0.1) * DPI) / DPI
    width, height = frame * len(doses), top + len(windows) * step + 0.05
    with drawing() as make:
        figure = make(figsize=(width, height))
        for position, dose in enumerate(doses):
            start = position * frame + left
            figure.text(
                start / width, 1 - 0.14 / height, f"dose {dose:g}" if dose else "the scan as it is", fontsize=9,
                fontweight="bold", va="center", color=BLUE if dose else INK, gid=f"{FRAME}{dose:g}",
            )  # fmt: skip
            for row, window in enumerate(windows):
                below = height - top - (row + 1) * step + GAP
                axes = figure.add_axes((start / width, below / height, strip[0] / width, strip[1] / height))
                places = paint_strip(axes, window, [(name, position) for name in names])
                axes.set_ylabel(
                    "\n".join(scan_words(window, channels=channels)), rotation=0, ha="right", va="center", fontsize=8
                )
                if row == 0:
                    _name_tiles(axes, places, [shorten(label(name), 17) for name in names])
    return figure


def _simulators(scan: SimulatedScan) -> list[str]:
    return list(scan.simulated)[: MOST_SIMULATORS - 1]


def _size(grid: Grid, n_tiles: int) -> tuple[float, float]:
    """Return width and height (inches) of a strip of pictures."""
    wide, high = TRACE if len(grid.shape) == 1 else (PANEL, PANEL * height_of(grid))
    return n_tiles * (wide + GAP) - GAP, high


def _name_tiles(axes: Axes, places: Sequence[float], titles: Sequence[str]) -> None:
    for place, title in zip(places, titles, strict=True):
        axes.annotate(
            escape(title), (place, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontsize=8, fontweight="bold",
        )  # fmt: skip


def paint_strip(axes: Axes, window: Window, tiles: Sequence[tuple[str, int]]) -> list[float]:
    """Draw a scan under several simulators or doses side by side, each with the network's answer.

    All pictures are one image, which costs a tenth of the time of as many panels.

    Parameters
    ----------
    axes : Axes
        Panel.
    window : Window
        What of the scan is drawn.
    tiles : sequence of (str, int)
        Simulator and number of its dose; 0 is the scan as it is.

    Returns
    -------
    list of float
        Middle of each tile, as a share of the panel's width.
    """
    bare(axes)
    scan, picture = window.scan, window.plane(window.scan.image)
    across = picture.shape[-1]
    gap = max(1, round(across * GAP / (TRACE[0] if picture.ndim == 1 else PANEL)))
    total = len(tiles) * (across + gap) - gap
    starts = [place * (across + gap) for place in range(len(tiles))]
    pictures = [_simulated(window, name, step) for name, step in tiles]
    (_paint_traces if picture.ndim == 1 else _paint_pictures)(axes, window, pictures, starts, total)
    middles = [(start + across / 2) / total for start in starts]
    for middle, (name, step) in zip(middles, tiles, strict=True):
        if name in scan.simulated:
            answer = float(scan.simulated[name].answers[step - 1]) if step else scan.answer
            write(axes, middle, 0.985, answer_words(scan, answer), answer_colour(scan, answer), align="center")
    return middles


def _simulated(window: Window, name: str, step: int) -> np.ndarray:
    """Return the scan at one dose; NaN where the simulator did not see it."""
    scan, picture = window.scan, window.plane(window.scan.image)
    if name not in scan.simulated:
        return np.full_like(picture, np.nan)
    return picture + window.plane(scan.simulated[name].change[step - 1]) if step else picture


def _paint_pictures(
    axes: Axes, window: Window, pictures: Sequence[np.ndarray], starts: Sequence[int], total: int
) -> None:
    high, across = pictures[0].shape
    canvas, outline = np.full((high, total), np.nan, np.float32), np.zeros((high, total), bool)
    effect = None if window.scan.effect is None else window.plane(window.scan.effect) != 0
    for start, picture in zip(starts, pictures, strict=True):
        canvas[:, start : start + across] = picture
        outline[:, start : start + across] = False if effect is None else effect
    # One scale for all doses, that of the scan.
    low, top = np.nanpercentile(window.plane(window.scan.image), (0.5, 99.5))
    axes.imshow(canvas, cmap="gray", vmin=low, vmax=max(top, low + 1e-12), aspect="auto")
    if outline.any():
        axes.contour(outline, levels=[0.5], colors=OUTLINE, linewidths=0.9)


def _paint_traces(
    axes: Axes, window: Window, pictures: Sequence[np.ndarray], starts: Sequence[int], total: int
) -> None:
    before = window.plane(window.scan.image)
    for start, picture in zip(starts, pictures, strict=True):
        places = start + np.arange(len(before))
        axes.plot(places, before, color=CONTROL, linewidth=1.3)
        axes.plot(places, picture, color=BLUE, linewidth=0.9)
    # One scale for all doses: a trace that rises must not look as if it stood still.
    reach = np.stack([before, *(before + window.plane(one.change[-1]) for one in window.scan.simulated.values())])
    axes.set_ylim(reach.min() - 0.05 * np.ptp(reach), reach.max() + 0.3 * np.ptp(reach))
    axes.set_xlim(-0.5, total - 0.5)


def _draw_response(figure: Figure, response: pd.DataFrame, bottom: float, high: float) -> None:
    """Draw how far the answer moves at each dose, a panel per network and a line per simulator (inches)."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    pairs = list(response[["model", "recipe"]].drop_duplicates().itertuples(index=False, name=None))[:MOST_NETWORKS]
    names = response["simulator"].drop_duplicates().tolist()
    styles = {name: (SERIES[i % len(SERIES)], DASHES[i // len(SERIES) % len(DASHES)]) for i, name in enumerate(names)}
    left, legend = 0.75, 1.9
    wide = (width - left - legend) / len(pairs)
    places = [
        ((left + i * wide) / width, bottom / height, (wide - 0.35) / width, (high - 0.3) / height)
        for i in range(len(pairs))
    ]
    first = figure.add_axes(places[0])
    panels = [first, *(figure.add_axes(place, sharey=first) for place in places[1:])]
    for axes, (model, recipe) in zip(panels, pairs, strict=True):
        _curves(axes, response[(response["model"] == model) & (response["recipe"] == recipe)], styles)
        title = label(model) if len(pairs) > 1 else "How far the answer moves"
        axes.set_title(escape(shorten(title, int(13 * wide))), fontsize=8.5)
        axes.set_xlabel("dose")
        axes.tick_params(labelleft=axes is first)
    first.set_ylabel("standard deviations\nof the answer")
    beside = ((width - legend) / width, (bottom + high / 2) / height)
    figure.legend(*legend_entries(panels), loc="center left", bbox_to_anchor=beside)


def _curves(axes: Axes, rows: pd.DataFrame, styles: Mapping[str, tuple[str, object]]) -> None:
    reference_line(axes, 0.0, "no change", vertical=False)
    for name, (colour, dash) in styles.items():
        line = rows[rows["simulator"] == name].sort_values("dose")
        if line.empty:
            continue
        # Without a dose nothing changes.
        doses, mean, low, high = ([0.0, *line[key]] for key in ("dose", "mean", "low", "high"))
        axes.fill_between(doses, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(doses, mean, color=colour, linestyle=dash, marker="o", markersize=3, label=escape(label(name)))
    axes.margins(x=0.02)


def _sign(figure: Figure, response: pd.DataFrame, n_scans: int) -> None:
    parts = [f"{n_scans} scan{'s' if n_scans > 1 else ''} to look at; in each picture the network's answer"] * (
        n_scans > 0
    )
    if len(response):
        parts.append(f"curves: {counts(response)}, above zero the answer moves the right way; bands: 95 % bootstrap "
                     "interval over people")  # fmt: skip
    text = "; ".join(parts)
    note(figure, f"{text[:1].upper()}{text[1:]}.")
