"""What changes when the published recipe is mended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import (
    absent,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    method_styles,
    note,
    shorten,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6


def draw_recipes(recipes: pd.DataFrame, methods: Sequence[str], controls: Iterable[str]) -> Figure:
    """Draw each quantity as published and corrected, joined by a line; one panel per quantity.

    Parameters
    ----------
    recipes : DataFrame
        ``recipes.tsv``: quantity, method, and value with interval under each recipe.
    methods : sequence of str
        All methods of the study, for their colours.
    controls : iterable of str
        Drawn in grey.
    """
    if recipes.empty:
        return absent("The study runs one recipe only, so there is nothing to compare.")
    panels_wanted = recipes["panel"].drop_duplicates().tolist()[:MOST_PANELS]
    styles = method_styles(methods, controls)
    rows, columns = grid_of(len(panels_wanted), 3)
    with drawing() as make:
        most = recipes.groupby("panel").size().max()
        height = max(3.3, 1.1 + 0.165 * most)
        figure = make(figsize=(0.8 + 3.5 * columns, 0.5 + height * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(panels.ravel(), panels_wanted, strict=False):
            part = recipes[recipes["panel"] == panel]
            _slopes(axes, part, styles)
            axes.set_title(escape(shorten(panel, 48)))
        hide_unused(panels, len(panels_wanted))
        note(figure, "bars: 95 % interval, over people (group maps: leaving one fold out); grey: controls.")
    return figure


def _slopes(axes: Axes, part: pd.DataFrame, styles: dict) -> None:
    ends = []
    for line in part.itertuples():
        style = styles.get(line.method, {"color": "#1d2733", "zorder": 3})
        values = [line.as_published, line.corrected]
        axes.plot([0, 1], values, marker="o", markersize=4, **style)
        for place, low, high in ((0, line.as_published_low, line.as_published_high),
                                 (1, line.corrected_low, line.corrected_high)):  # fmt: skip
            if np.isfinite(low) and np.isfinite(high):
                axes.plot([place, place], [low, high], color=style["color"], linewidth=0.8, alpha=0.6)
        name = label(line.method) if line.method else label(line.model)
        ends.append((float(line.corrected), shorten(name, 20), style["color"]))
    axes.set_xticks([0, 1], ["as published", "corrected"])
    axes.set_xlim(-0.18, 1.95)
    axes.set_ylabel(escape(label(part["metric"].iloc[0])))
    axes.margins(y=0.08)
    _names(axes, ends)


def _names(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Name the lines at their right end, pushed apart so that none covers another."""
    ends = sorted(end for end in ends if np.isfinite(end[0]))
    low, high = axes.get_ylim()
    step = (high - low) / max(16, len(ends))
    heights = spread([end[0] for end in ends], step)
    if heights:
        axes.set_ylim(min(low, heights[0] - step), max(high, heights[-1] + step))
    for height, (value, name, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            escape(name), (1.02, value), (1.14, height), fontsize=7, va="center", color=colour,
            arrowprops={"arrowstyle": "-", "color": "#c3c9d0", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
