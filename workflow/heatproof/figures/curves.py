"""Overlap against the two things that one can choose: the threshold and the smoothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.selection import (
    SMALLER_IS_BETTER,
    headline_view,
    metrics_of,
    models_of,
    representatives,
)
from heatproof.figures.style import (
    absent,
    counts,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
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
        figure = make(figsize=(1.9 + 3.4 * len(truths), 3.6), layout="constrained")
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
        _legend(figure, panels)
        note(figure, "group maps, unsmoothed; the dot marks the best threshold, which is chosen on the map that is judged.")
    return figure


def _curve(axes: Axes, curve: np.ndarray, style: Mapping[str, object], name: str) -> None:
    thresholds, dice = np.asarray(curve, dtype=float)
    span = thresholds[-1] - thresholds[0]
    share = (thresholds - thresholds[0]) / span if span > 0 else np.zeros_like(thresholds)
    axes.plot(share, dice, label=name, **style)  # type: ignore[arg-type]
    if np.isfinite(dice).any():
        best = int(np.nanargmax(dice))
        axes.plot(share[best], dice[best], "o", color=style["color"], markersize=3.5, zorder=5)


def draw_smoothing(ranking: pd.DataFrame, models: Sequence[str], controls: Iterable[str], metric: str = "") -> Figure:
    """Draw the headline metric, and best Dice of the group maps, against the width of the Gaussian."""
    panels_wanted = _smoothing_panels(ranking, metric)
    if not panels_wanted:
        return absent("Every map was scored at one smoothing only.")
    shown = models_of(ranking, models)
    pairs = representatives(ranking, shown)
    methods = [method for _, method in pairs]
    styles = method_styles(methods, controls)
    rows, columns = grid_of(len(panels_wanted), 3)
    with drawing() as make:
        figure = make(figsize=(1.9 + 3.2 * columns, 0.5 + 3.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (level, truth, name) in zip(panels.ravel(), panels_wanted, strict=False):
            part = ranking[(ranking["level"] == level) & (ranking["truth"] == truth) & (ranking["metric"] == name)]
            for model, method in pairs:
                _smoothing_line(axes, part, model, method, styles[method])
            chance = part["chance"].dropna()
            if len(chance):
                reference_line(axes, float(chance.iloc[0]), "chance", vertical=False)
            axes.set_title(escape(f"{level.capitalize()} level, {label(truth).lower()} truth"))
            axes.set_xlabel("Gaussian smoothing (mm, full width at half maximum)")
            axes.set_ylabel(escape(label(name)) + (" (smaller is better)" if name in SMALLER_IS_BETTER else ""))
        hide_unused(panels, len(panels_wanted))
        _legend(figure, panels.ravel())
        note(figure, f"{counts(ranking)}; shaded where given: 95 % bootstrap interval over people.")
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


def _smoothing_line(axes: Axes, part: pd.DataFrame, model: str, method: str, style: Mapping[str, object]) -> None:
    line = part[(part["model"] == model) & (part["method"] == method)].sort_values("smoothing_mm")
    if line.empty:
        return
    axes.plot(line["smoothing_mm"], line["mean"], marker="o", markersize=2.5, label=escape(shorten(label(method))), **style)  # type: ignore[arg-type]
    if style["color"] != method_styles([method], [method])[method]["color"]:
        low, high = line["low"].astype(float), line["high"].astype(float)
        axes.fill_between(line["smoothing_mm"], low, high, color=style["color"], alpha=0.10, linewidth=0)  # type: ignore[arg-type]


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    entries: dict[str, object] = {}
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside right upper")
