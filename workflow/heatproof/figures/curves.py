"""Overlap against the two things that one can choose: the threshold and the smoothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatproof.figures.selection import (
    RECTIFY_ORDER,
    SMALLER_IS_BETTER,
    first_present,
    headline_view,
    metrics_of,
)
from heatproof.figures.style import (
    absent,
    counts,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    legend_entries,
    method_styles,
    note,
    reference_line,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[tuple[str, str], np.ndarray]


def draw_dice_curves(curves: Curves, methods: Sequence[str], controls: Iterable[str]) -> Figure:
    """Draw Dice against the threshold, one panel per truth.

    Parameters
    ----------
    curves : mapping of (truth, method) to ndarray, shape (2, n_thresholds)
        Thresholds in units of the map, and Dice.
    methods : sequence of str
        Order of the legend.
    controls : iterable of str
        Drawn in grey.
    """
    truths = list(dict.fromkeys(truth for truth, _ in curves))
    if not truths:
        return absent("No Dice curve was written.")
    styles = method_styles(methods, controls)
    with drawing() as make:
        figure = make(figsize=(1.9 + 3.4 * len(truths), _height(methods, 3.6)), layout="constrained")
        panels = figure.subplots(1, len(truths), squeeze=False, sharey=True).ravel()
        for axes, truth in zip(panels, truths, strict=True):
            for method in methods:
                if (truth, method) in curves:
                    _curve(axes, curves[truth, method], styles[method], escape(label(method)))
            axes.set_title(escape(f"{label(truth)} truth"))
            axes.set_xlabel("threshold (share of the map's range)")
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("Dice with the truth (0 to 1)")
        figure.legend(*legend_entries(panels), loc="outside right upper")
        note(
            figure,
            "group maps, unsmoothed; the dot marks the best threshold, which is chosen on the map that is judged.",
        )
    return figure


def _curve(axes: Axes, curve: np.ndarray, style: Mapping[str, Any], name: str) -> None:
    thresholds, dice = np.asarray(curve, dtype=float)
    span = thresholds[-1] - thresholds[0]
    share = (thresholds - thresholds[0]) / span if span > 0 else np.zeros_like(thresholds)
    axes.plot(share, dice, label=name, **style)
    if np.isfinite(dice).any():
        best = int(np.nanargmax(dice))
        axes.plot(share[best], dice[best], "o", color=style["color"], markersize=3.5, zorder=5)


def draw_smoothing(
    ranking: pd.DataFrame, pairs: Sequence[tuple[str, str]], controls: Iterable[str], metric: str = ""
) -> Figure:
    """Draw the headline metric, and best Dice of the group maps, against the width of the Gaussian.

    Parameters
    ----------
    ranking : DataFrame
        ``ranking.tsv``.
    pairs : sequence of (model, method)
        The lines, best first.
    controls : iterable of str
        Drawn in grey.
    metric : str
        Headline metric; chosen by `headline_view` if empty.
    """
    wanted = _smoothing_panels(ranking, metric)
    if not wanted:
        return absent("Every map was scored at one smoothing only.")
    grey = set(controls)
    styles = method_styles([method for _, method in pairs], grey)
    rows, columns = grid_of(len(wanted), 2 if len(wanted) == 4 else 3)
    with drawing() as make:
        height = _height(pairs, 0.5 + 3.0 * rows)
        figure = make(figsize=(1.9 + 3.2 * columns, height), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (level, truth, name) in zip(panels.ravel(), wanted, strict=False):
            part = _of_panel(ranking, level, truth, name)
            for pair in pairs:
                line = part[(part["model"] == pair[0]) & (part["method"] == pair[1])]
                _smoothing_line(axes, line, styles[pair[1]], pair[1], shaded=pair[1] not in grey)
            chance = part["chance"].dropna()
            if len(chance):
                reference_line(axes, float(chance.iloc[0]), "chance", vertical=False)
            axes.set_title(escape(f"{level.capitalize()} level, {label(truth).lower()} truth"))
            axes.set_xlabel("smoothing (mm, full width at half maximum)")
            axes.set_ylabel(escape(label(name)) + (" (smaller is better)" if name in SMALLER_IS_BETTER else ""))
        hide_unused(panels, len(wanted))
        figure.legend(*legend_entries(panels.ravel()), loc="outside right upper")
        note(figure, f"{counts(ranking)}; shaded where given: 95 % interval (scans: bootstrap over people).")
    return figure


def _smoothing_panels(ranking: pd.DataFrame, metric: str) -> list[tuple[str, str, str]]:
    """Return (level, truth, metric) of every panel that has more than one smoothing."""
    if ranking.empty:
        return []
    view = headline_view(ranking, metric)
    wanted = [(view.level, view.truth, name) for name in metrics_of(ranking, view, 2)]
    group = ranking[(ranking["level"] == "group") & (ranking["metric"] == "max_dice")]
    wanted += [("group", truth, "max_dice") for truth in sorted(group["truth"].dropna().unique()) if truth]
    widths = ranking.groupby(["level", "truth", "metric"])["smoothing_mm"].nunique()
    return [key for key in dict.fromkeys(wanted) if widths.get(key, 0) > 1][:6]


def _of_panel(ranking: pd.DataFrame, level: str, truth: str, metric: str) -> pd.DataFrame:
    rows = ranking[(ranking["level"] == level) & (ranking["truth"] == truth) & (ranking["metric"] == metric)]
    return rows[rows["rectify"] == first_present(RECTIFY_ORDER, rows["rectify"].unique().tolist())]


def _smoothing_line(axes: Axes, line: pd.DataFrame, style: Mapping[str, Any], method: str, *, shaded: bool) -> None:
    line = line.sort_values("smoothing_mm")
    name = escape(shorten(label(method)))
    axes.plot(line["smoothing_mm"], line["mean"], marker="o", markersize=2.5, label=name, **style)
    if shaded:
        low, high = line["low"].astype(float), line["high"].astype(float)
        axes.fill_between(line["smoothing_mm"], low, high, color=style["color"], alpha=0.10, linewidth=0)


def _height(entries: Sequence[object], least: float) -> float:
    """Return a height in inches at which a legend of so many entries fits beside the panels."""
    return max(least, 0.8 + 0.19 * len(entries))
