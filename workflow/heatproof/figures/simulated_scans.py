"""Scans before and after each simulator, beside the exact change: what was changed, and where tissue was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heatproof.figures.gallery import height_of, paint_plane
from heatproof.figures.simulated import (
    MOST_SIMULATORS,
    NONE_KEPT,
    SimulatedScan,
    Window,
    answer_colour,
    answer_words,
    bare,
    empty,
    name_scan,
    paint_signed,
    shown_scans,
    simulators_of,
    write,
)
from heatproof.figures.style import (
    BLUE,
    CONTROL,
    INK,
    OUTLINE,
    VERMILION,
    absent,
    drawing,
    escape,
    label,
    note,
    shorten,
)
from heatproof.geometry import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = ("simulated scan", "change", "log-Jacobian")
EXACT = "exact"
# Of a panel with a picture (inches).
PANEL, GAP = 1.18, 0.09
# Of a panel with a trace.
STRIP = (2.3, 0.75)


def draw_simulated_scans(scans: Sequence[SimulatedScan], grid: Grid, channels: Sequence[str] = ()) -> Figure:
    """Draw a block per scan: simulated scan, change and log-Jacobian, a column per simulator and one for the truth.

    Parameters
    ----------
    scans : sequence of SimulatedScan
        The first of each network and direction is drawn.
    grid : Grid
        Of all scans. Of a volume the axial slice with most of the effect is drawn, of signals the traces.
    channels : sequence of str
        Names of the channels, where they are leads.

    Raises
    ------
    GeometryError
        If a volume has no affine, so that nobody can say which slice is axial.
    """
    shown = shown_scans(scans)
    if not shown:
        return absent(NONE_KEPT)
    windows = [Window.of(scan, grid) for scan in shown]
    names = simulators_of(shown)[:MOST_SIMULATORS]
    n_more = len(simulators_of(shown)) - len(names)
    if len(grid.shape) == 1:
        return _draw_traces(windows, names, n_more, channels)
    return _draw_pictures(windows, names, n_more, channels)


def _draw_pictures(windows: Sequence[Window], names: Sequence[str], n_more: int, channels: Sequence[str]) -> Figure:
    exact = [EXACT] if any(window.scan.exact_change is not None for window in windows) else []
    columns = ["", *exact, *names]
    several = len({window.scan.model for window in windows}) > 1
    high = PANEL * height_of(windows[0].grid)
    with drawing() as make:
        figure, blocks = _blocks(make, len(windows), len(columns), (PANEL, high), GAP, 1.25)
        for block, window in zip(blocks, windows, strict=True):
            _block(block, window, columns)
            name_scan(block[0, 0], window, several=several, channels=channels)
            for axes, words in zip(block[1:, 0], ("change\nof brightness", "log-Jacobian\nof the warp"), strict=True):
                bare(axes)
                axes.text(1, 0.5, words, ha="right", va="center", transform=axes.transAxes, fontsize=7.6, color=INK)
        for axes, name in zip(blocks[0, 0], columns, strict=True):
            axes.set_title(_column_title(name), fontsize=8, loc="center", color=INK)
        _sign(figure, windows, n_more)
    return figure


def _column_title(name: str) -> str:
    if name == EXACT:
        return "Exact change"
    return escape(shorten(label(name), 17)) if name else "Scan"


def _blocks(
    make: type[Figure], n_blocks: int, n_columns: int, size: tuple[float, float], gap: float, left: float
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels, shape (blocks, 3, columns), in places that need no layout engine (inches)."""
    wide, high = size
    top, bottom, between = 0.32, 0.55 if gap == GAP else 0.9, 0.2
    step = high + GAP
    width = left + n_columns * (wide + gap) + 0.1
    height = top + n_blocks * 3 * step + (n_blocks - 1) * between + bottom
    figure = make(figsize=(width, height))
    panels = np.empty((n_blocks, 3, n_columns), dtype=object)
    for block, row, column in np.ndindex(panels.shape):
        below = height - top - block * (3 * step + between) - row * step - high
        panels[block, row, column] = figure.add_axes(
            ((left + column * (wide + gap)) / width, below / height, wide / width, high / height)
        )
    return figure, panels


def _block(block: np.ndarray, window: Window, columns: Sequence[str]) -> None:
    """Paint the pictures of one scan; the first column has the scan alone."""
    scan = window.scan
    effect = None if scan.effect is None else window.plane(scan.effect)
    picture = window.plane(scan.image)
    bare(block[0, 0])
    paint_plane(block[0, 0], picture, None, effect, top=0, signed=True)
    for panels, name in zip(block.T[1:], columns[1:], strict=True):
        change, jacobian, words, colour = _parts(scan, name)
        if change is None:
            for axes in panels:
                empty(axes, "not simulated" if axes is panels[0] else "")
            continue
        changed = picture + window.plane(change)
        bare(panels[0])
        paint_plane(panels[0], changed, None, effect, top=0, signed=True)
        panels[0].images[0].set_clim(block[0, 0].images[0].get_clim())
        if words:
            write(panels[0], 0.5, 0.985, words, colour, align="center")
        paint_signed(panels[1], picture, window.plane(change), effect)
        if jacobian is None:
            empty(panels[2], "no warp")
        else:
            paint_signed(panels[2], changed, window.plane(jacobian), effect)


def _parts(scan: SimulatedScan, name: str) -> tuple[np.ndarray | None, np.ndarray | None, str, str]:
    """Return change, log-Jacobian and the answer in words with their colour, of the truth or of a simulator."""
    if name == EXACT:
        return scan.exact_change, scan.exact_log_jacobian, "", INK
    one = scan.simulated.get(name)
    if one is None:
        return None, None, "", INK
    after = float(one.answers[-1])
    words = f"{answer_words(scan, scan.answer)} → {answer_words(scan, after)}"
    return one.change[-1], one.log_jacobian, words, answer_colour(scan, after)


def _draw_traces(windows: Sequence[Window], names: Sequence[str], n_more: int, channels: Sequence[str]) -> Figure:
    """Draw signals: a column per simulator and three strips per scan, the exact values dashed."""
    several = len({window.scan.model for window in windows}) > 1
    grid = windows[0].grid
    with drawing() as make:
        figure, blocks = _blocks(make, len(windows), len(names), STRIP, 0.3, 1.6)
        for block, window in zip(blocks, windows, strict=True):
            for panels, name in zip(block.T, names, strict=True):
                _strips(panels, window, name)
            _share_scales(block)
            name_scan(block[0, 0], window, several=several, channels=channels)
            for axes, words in zip(block[1:, 0], ("change", "log-Jacobian"), strict=True):
                axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8)
        for axes, name in zip(blocks[0, 0], names, strict=True):
            axes.set_title(escape(shorten(label(name), 24)), fontsize=8.5)
        for axes in blocks[-1, -1]:
            axes.set_xlabel(f"{'time' if grid.units == 'ms' else 'place'} ({grid.units})", fontsize=8)
            axes.tick_params(labelbottom=True)
        _sign(figure, windows, n_more)
    return figure


def _share_scales(block: np.ndarray) -> None:
    """Give the panels of a row one scale; spikes of a folded warp run out of it instead of flattening the rest."""
    for row in block:
        heights = np.concatenate([line.get_ydata() for axes in row for line in axes.lines if len(line.get_ydata()) > 2])
        low, high = heights.min(), heights.max()
        margin = 0.35 * (high - low) or 1.0
        for axes in row:
            axes.set_ylim(low - margin, high + margin)
            axes.tick_params(labelleft=axes is row[0], labelbottom=False)


def _strips(panels: Sequence[Axes], window: Window, name: str) -> None:
    scan, place = window.scan, np.arange(window.grid.shape[0]) * window.grid.spacing[0]
    change, jacobian, words, colour = _parts(scan, name)
    exact = (scan.exact_change, scan.exact_log_jacobian)
    picture = window.plane(scan.image)
    for axes in panels:
        axes.margins(x=0.01)
        axes.tick_params(labelsize=7)
        if scan.effect is not None:
            axes.fill_between(
                place, 0, 1, where=window.plane(scan.effect) != 0, transform=axes.get_xaxis_transform(), color=OUTLINE,
                alpha=0.2, linewidth=0,
            )  # fmt: skip
    panels[0].plot(place, picture, color=CONTROL, linewidth=1.6)
    if change is not None:
        panels[0].plot(place, picture + window.plane(change), color=BLUE, linewidth=1.0)
        panels[0].text(0.99, 0.97, words, va="top", transform=panels[0].transAxes, ha="right", fontsize=7, color=colour)
    for axes, values, truth in zip(panels[1:], (change, jacobian), exact, strict=True):
        axes.axhline(0, color="#c3c9d0", linewidth=0.7, zorder=1)
        if truth is not None:
            axes.plot(place, window.plane(truth), color=INK, linewidth=1.1, linestyle=(0, (3, 1.5)), zorder=4)
        if values is None:
            axes.text(0.02, 0.05, "no warp", transform=axes.transAxes, color=CONTROL, fontsize=7)
            continue
        drawn = window.plane(values)
        if truth is None:
            axes.plot(place, drawn, color=CONTROL, linewidth=0.6)
        for sign, shade in ((1, VERMILION), (-1, BLUE)):
            axes.fill_between(place, 0, np.where(sign * drawn > 0, drawn, 0), color=shade, alpha=0.75, linewidth=0)


def _sign(figure: Figure, windows: Sequence[Window], n_more: int) -> None:
    trace = len(windows[0].grid.shape) == 1
    scans = [window.scan for window in windows]
    colours = ("lower", "vermilion: higher") if trace else ("darker", "red: brighter")
    parts = [f"n = {len(scans)} scans, to look at only", f"blue: {colours[0]}, or tissue lost; {colours[1]}, or gained"]
    parts += ["grey: the scan; dashed: the exact change"] if trace else ["± is the value of the fullest colour"]
    if any(scan.effect is not None for scan in scans):
        parts.append(f"{'cyan' if trace else 'outlined'}: where the effect is")
    parts.append("a → b: the network's answer before and after (vermilion: it moved the wrong way)")
    parts += [f"not shown: {n_more} more of the simulators"] if n_more else []
    note(figure, "; ".join(parts) + ".")
