"""Information curves: how soon the network knows its class when the top of a map is revealed first (AIC, SIC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatproof.figures.faithfulness import counts_with_exclusions
from heatproof.figures.selection import of_condition, one_model, same_model, settings_of
from heatproof.figures.style import (
    DASHES,
    absent,
    condition_label,
    drawing,
    escape,
    hide_unused,
    label,
    method_styles,
    note,
    shorten,
)
from heatproof.statistics.faithfulness import EXACT_TRUTH
from heatproof.statistics.resampling import bootstrap_means, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ("aic", "sic")
MOST_SETTINGS = 2
MOST_NAMED = 6
HEIGHTS = {
    "aic": "share of scans given their class",
    "sic": "softmax, relative to the whole scan",
}
NULL_WORDS = {
    "turned": "null: own map turned",
    "phase": "null: own map, random phases",
    "other_scan": "null: map of another scan",
}
OTHERS, NULL = "#b4bbc3", "#56606b"
FINE: dict[str, Any] = {"linewidth": 0.8, "zorder": 1.5}


def draw_information_curves(
    curves: pd.DataFrame,
    faithfulness: pd.DataFrame,
    methods: Sequence[str],
    controls: Iterable[str],
    *,
    models: Sequence[str] = (),
    seed: int = 0,
    n_bootstrap: int = 500,
) -> Figure:
    """Draw the mean information curve of each method, one row per metric and one column per setting.

    Parameters
    ----------
    curves : DataFrame
        model, recipe, method, null (empty for the map itself), metric (``aic`` or ``sic``), setting, scan_id,
        participant_id, x, y; the same x for every scan of a metric and setting.
    faithfulness : DataFrame
        ``faithfulness.tsv``: areas under the curves, with intervals.
    methods : sequence of str
        All methods of the study, for their colours.
    controls : iterable of str
        Drawn in grey.
    models : sequence of str
        Order of the models; the first corrected one with curves is drawn.
    seed, n_bootstrap : int
        Root seed of the study and bootstrap samples of people.
    """
    shown = one_model(curves[curves["metric"].isin(METRICS)], models) if len(curves) else curves
    panels_wanted = [(metric, setting) for metric in METRICS for setting in settings_of(shown, metric, MOST_SETTINGS)]
    if not panels_wanted:
        return absent("No information curve was computed: the study asks for neither AIC nor SIC.")
    areas = same_model(faithfulness, shown)
    styles = method_styles(methods, controls)
    metrics = list(dict.fromkeys(metric for metric, _ in panels_wanted))
    columns = max(sum(name == metric for name, _ in panels_wanted) for metric in metrics)
    with drawing() as make:
        figure = make(figsize=(0.4 + 5.2 * columns, 0.7 + 3.5 * len(metrics)), layout="constrained")
        panels = figure.subplots(len(metrics), columns, squeeze=False)
        for row, metric in enumerate(metrics):
            settings = [setting for name, setting in panels_wanted if name == metric]
            for axes, setting in zip(panels[row], settings, strict=False):
                _curves_panel(
                    axes, of_condition(shown, metric, setting), of_condition(areas, metric, setting), styles,
                    (seed, n_bootstrap),
                )  # fmt: skip
                axes.set_title(escape(condition_label(metric, setting)))
                axes.set_ylabel(HEIGHTS[metric])
            hide_unused(panels[row], len(settings))
        _sign_curves(figure, shown, areas)
    return figure


def _people(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the grid of a curve and the mean curve of each person, shape (n_people, n_x)."""
    table = rows.pivot_table(index="participant_id", columns="x", values="y", aggfunc="mean", observed=True)
    return table.columns.to_numpy(float), table.to_numpy(float)


def _curves_panel(
    axes: Axes, part: pd.DataFrame, areas: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]], draws: tuple[int, int]
) -> None:
    """Draw the curves of one metric and setting, with a key beside them, largest area first."""
    own, nulls = part[part["null"].fillna("") == ""], part[part["null"].fillna("") != ""]
    area = areas.drop_duplicates("method").set_index("method") if len(areas) else areas
    order = [name for name in _by_area(own, area) if name in styles or name == EXACT_TRUTH]
    grey = {name for name, style in styles.items() if style["zorder"] < 3} | {EXACT_TRUTH}
    best = [name for name in order if name not in grey][:MOST_NAMED]
    for method in order:
        rows = own[own["method"] == method]
        if method in best or method in grey:
            _curve(axes, rows, styles.get(method), _named(method, area), draws, shaded=method in best)
    # What controls and the truth become when they are turned is no null of a method.
    nulls = nulls[~nulls["method"].isin(grey)]
    others = [name for name in order if name not in grey and name not in best]
    for position, method in enumerate(others):
        x, y = _people(own[own["method"] == method])
        name = None if position else f"{len(others)} other methods"
        axes.plot(x, np.nanmean(y, axis=0), color=OTHERS, label=name, **FINE)
    for null, dash in zip(NULL_WORDS, DASHES, strict=False):
        if (nulls["null"] == null).any():
            x, y = _people(nulls[nulls["null"] == null])
            axes.plot(x, np.nanmean(y, axis=0), color=NULL, linestyle=dash, label=NULL_WORDS[null], **FINE)
    low, high = axes.get_ylim()
    axes.set(xlim=(0, 1), ylim=(min(0.0, low), max(1.02, high)), xlabel=_x_label(str(part["setting"].iloc[0])))
    # All curves meet where the whole scan is revealed, so names at their ends would point at one place.
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, labelcolor="linecolor", handlelength=2.8,
        labelspacing=0.35,
    )  # fmt: skip


def _curve(
    axes: Axes, rows: pd.DataFrame, style: Mapping[str, Any] | None, name: str, draws: tuple[int, int], *, shaded: bool
) -> None:
    """Draw the mean over people; the truth used as a map has no style of its own and is black."""
    x, y = _people(rows)
    style = style or {"color": "black", "linestyle": (0, (5, 2)), "linewidth": 2.1, "zorder": 4}
    if shaded:
        low, high = interval(bootstrap_means(y, *draws), len(y))
        axes.fill_between(x, low, high, color=style["color"], alpha=0.10, linewidth=0)
    axes.plot(x, np.nanmean(y, axis=0), label=escape(name), **style)


def _x_label(setting: str) -> str:
    return "share of the scan that is revealed" if "fraction" in setting else "information (0: blurred, 1: whole scan)"


def _by_area(own: pd.DataFrame, area: pd.DataFrame) -> list[str]:
    """Return the methods with a curve, largest area first; without areas the mean height of the curve stands in."""
    heights = own.groupby("method")["y"].mean()
    if len(area):
        heights = area["mean"].reindex(heights.index).fillna(-np.inf)
    return heights.sort_values(ascending=False, kind="stable").index.tolist()


def _named(method: str, area: pd.DataFrame) -> str:
    name = shorten(label(method), 22)
    if not len(area) or method not in area.index or not np.isfinite(area.loc[method, "mean"]):
        return name
    line = area.loc[method]
    bounds = f" [{line['low']:.2f}, {line['high']:.2f}]" if np.isfinite(line["low"]) else ""
    return f"{name}  {line['mean']:.2f}{bounds}"


def _sign_curves(figure: Figure, shown: pd.DataFrame, areas: pd.DataFrame) -> None:
    here = areas[areas["metric"].isin(METRICS)] if len(areas) else areas
    scans = counts_with_exclusions(here) if len(here) else f"n = {shown['scan_id'].nunique()} scans"
    note(
        figure,
        f"{scans}; network: {label(shown['model'].iloc[0])}; in brackets: area under the curve and its 95 % bootstrap "
        "interval over people, as is the shading.\n"
        f"Colour: the {MOST_NAMED} methods with the largest areas; grey: controls; fine: nulls, means over methods.",
    )
