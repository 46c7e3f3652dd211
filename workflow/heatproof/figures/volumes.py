"""Does the relevance of an area follow its volume?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    absent,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    note,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from heatproof.geometry import Grid

MOST_PANELS = 6
# How large an area is, in words and centimetres, by the number of axes of a grid in millimetres.
SIZES = {1: ("length", "cm"), 2: ("size", "cm²"), 3: ("volume", "cm³")}
COLOURS, MARKERS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY), ("o", "^", "s", "D", "v", "P")


def draw_volume_relevance(
    points: pd.DataFrame,
    correlations: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    area: str,
    groups: Sequence[str] = ("controls", "patients"),
    grid: Grid | None = None,
) -> Figure:
    """Draw relevance against volume of one area, one panel per method.

    Parameters
    ----------
    points : DataFrame
        One row per person: model, method, target, volume_mm3, sum.
    correlations : DataFrame
        ``volume_relevance.tsv`` of the area: model, method, r, low, high, p_value.
    pairs : sequence of (model, method)
        The panels, in order.
    area : str
        Name for the axes.
    groups : sequence of str
        Names of the classes, by their index; what is drawn in one colour.
    grid : Grid, optional
        Of the cohort: sizes are cubic millimetres in a volume (the default), square ones in a slice, or pixels.
    """
    present = set(zip(points["model"], points["method"], strict=True)) if len(points) else set()
    pairs = [pair for pair in pairs if pair in present][:MOST_PANELS]
    if not pairs:
        return absent("No volumes of areas are known, so they cannot be held against relevance.")
    size, unit, whole = _size_axis(grid)
    rows, columns = grid_of(len(pairs), 3)
    with drawing() as make:
        figure = make(figsize=(0.7 + 3.1 * columns, 0.7 + 2.7 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (model, method) in zip(panels.ravel(), pairs, strict=False):
            part = points[(points["model"] == model) & (points["method"] == method)]
            _scatter(axes, part.assign(size=part["volume_mm3"] / whole), groups)
            axes.set_title(escape(shorten(label(method))))
            line = correlations[(correlations["model"] == model) & (correlations["method"] == method)]
            axes.text(0.98, 0.97, _words(line), transform=axes.transAxes, ha="right", va="top", fontsize=7.4,
                      bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5})  # fmt: skip
        hide_unused(panels, len(pairs))
        for axes in panels[-1]:
            # Waves are named after leads, whose names are what they are.
            name = area if size == "duration" else area.lower()
            axes.set_xlabel(escape(f"{size} of {shorten(name)} ({unit})"))
        for axes in panels[:, 0]:
            axes.set_ylabel("sum of relevance (SD over people)")
        handles, names = panels.ravel()[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=2)
        n = points.groupby(["model", "method"]).size().max()
        note(
            figure,
            f"n = {n} people, test scans averaged; Pearson's r [95 % interval over people], permutation p, unadjusted.",
        )
    return figure


def _size_axis(grid: Grid | None) -> tuple[str, str, float]:
    """Return what the size of an area is called, its unit, and how many of the table's units make one."""
    n_axes = 3 if grid is None else len(grid.shape)
    if grid is not None and grid.units != "mm":
        names = {"ms": ("duration", "ms"), "pixel": ("size", "pixels")}
        return *names.get(grid.units, ("size", grid.units)), 1.0
    return *SIZES[n_axes], 10.0**n_axes


def _scatter(axes: Axes, part: pd.DataFrame, groups: Sequence[str]) -> None:
    values = part["sum"].to_numpy(float)
    spread = np.nanstd(values) or 1.0
    volume = part["size"].to_numpy(float)
    for target, name in enumerate(groups):
        chosen = part["target"].to_numpy() == target
        colour, marker = COLOURS[target % len(COLOURS)], MARKERS[target % len(MARKERS)]
        axes.scatter(volume[chosen], values[chosen] / spread, c=colour, marker=marker, s=14, alpha=0.7,
                     linewidth=0, label=name)  # fmt: skip
    finite = np.isfinite(volume) & np.isfinite(values)
    if finite.sum() > 2 and np.ptp(volume[finite]) > 0:
        slope, offset = np.polyfit(volume[finite], values[finite] / spread, 1)
        ends = np.array([volume[finite].min(), volume[finite].max()])
        axes.plot(ends, slope * ends + offset, color="#404a55", linewidth=1.1)
    axes.margins(y=0.22)


def _words(line: pd.DataFrame) -> str:
    if line.empty or not np.isfinite(float(line["r"].iloc[0])):
        return "r not defined"
    first = line.iloc[0]
    return f"r = {first['r']:+.2f} [{first['low']:+.2f}, {first['high']:+.2f}]\np = {first['p_value']:.3g}"
