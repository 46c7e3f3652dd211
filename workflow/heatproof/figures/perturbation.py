"""What becomes of the answer when the points that a map calls relevant are perturbed, model by model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatproof.figures.faithfulness import (
    NULL_VERDICTS,
    better_words,
    by_mean_rank,
    counts_with_exclusions,
    draw_against_nulls,
)
from heatproof.figures.ranking import name_rows
from heatproof.figures.selection import models_of, of_condition
from heatproof.figures.style import (
    absent,
    condition_label,
    drawing,
    escape,
    hide_unused,
    label,
    legend_entries,
    method_styles,
    note,
    shorten,
)
from heatproof.statistics.faithfulness import EXACT_TRUTH
from heatproof.statistics.resampling import bootstrap_means, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ("perturbation", "morf", "lerf", "turbe_f", "turbe_top", "turbe_bottom")
# How the settings of the paper's own recipe begin.
PUBLISHED = "published"
MOST_CURVES, MOST_AREAS, MOST_MODELS, MOST_SHADED = 2, 3, 6, 5
TRUTH_STYLE: dict[str, Any] = {"color": "black", "linestyle": (0, (5, 2)), "linewidth": 2.0, "zorder": 4}
Condition = tuple[str, str]


def draw_perturbation(
    curves: pd.DataFrame, faithfulness: pd.DataFrame, methods: Sequence[str], controls: Collection[str],
    models: Sequence[str] = (), *, seed: int = 0, n_bootstrap: int = 500,
) -> Figure:  # fmt: skip
    """Draw a row per model: perturbation curves, and the areas under them with intervals, method by method.

    Parameters
    ----------
    curves : DataFrame
        model, recipe, method, null, metric, setting, scan_id, participant_id, x (points, or share of the scan) and y.
    faithfulness : DataFrame
        ``faithfulness.tsv``.
    methods : sequence of str
        All methods of the study, for their colours.
    controls : collection of str
        Drawn in grey.
    models : sequence of str
        Order of the models; all corrected ones are drawn.
    seed, n_bootstrap : int
        Root seed of the study and bootstrap samples of people.
    """
    lines, areas = _rows(curves), _rows(faithfulness)
    drawn, judged = _conditions(lines, MOST_CURVES), _conditions(areas, MOST_AREAS)
    shown = models_of(pd.concat([part[["model", "recipe"]] for part in (lines, areas) if len(part)]), models) if (
        drawn or judged
    ) else []  # fmt: skip
    if not shown:
        return absent("No signal was perturbed: the study asks for no perturbation metric.")
    shown = shown[:MOST_MODELS]
    styles = method_styles(methods, controls)
    n_rows = areas.groupby("model")["method"].nunique().max() if len(areas) else 0
    with drawing() as make:
        size = (1.9 + 4.4 * len(drawn) + 2.6 * len(judged), 0.9 + len(shown) * max(2.9, 0.95 + 0.2 * n_rows))
        figure = make(figsize=size, layout="constrained")
        panels = figure.subplots(len(shown), len(drawn) + len(judged), squeeze=False,
                                 width_ratios=[1.1] * len(drawn) + [1.0] * len(judged))  # fmt: skip
        for row, model in zip(panels, shown, strict=True):
            own = _of_model(lines, model)
            for axes, condition in zip(row, drawn, strict=False):
                _curves(axes, of_condition(own, *condition), styles, (seed, n_bootstrap))
                axes.set_title(escape(f"{shorten(label(model), 24)}: {condition_label(*condition)}"))
                axes.set_ylabel(_height_label(*condition))
            _areas(row[len(drawn) :], _of_model(areas, model), judged, titled=not drawn)
        names = [*NULL_VERDICTS.values(), "control", label(EXACT_TRUTH)]
        if judged:
            figure.legend(*legend_entries(panels[:, len(drawn) :].ravel(), names), loc="outside upper right", ncols=3)
        note(figure, _sign(areas, bool(drawn)))
    return figure


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["metric"].isin(METRICS)] if len(table) else table


def _of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model] if len(table) else table


def _conditions(table: pd.DataFrame, most: int) -> list[Condition]:
    """Return (metric, setting) to show: the published setting of most points, then the others in their order."""
    if table.empty:
        return []
    pairs = table[["metric", "setting"]].drop_duplicates().astype(str)
    order = sorted(pairs.itertuples(index=False, name=None), key=lambda pair: METRICS.index(pair[0]))
    published = sorted((pair for pair in order if pair[1].startswith(PUBLISHED)), key=lambda pair: _points(pair[1]))
    # One setting of each metric before a second of any.
    firsts = list({pair[0]: pair for pair in reversed(order) if pair not in published}.values())[::-1]
    return list(dict.fromkeys([*published[-1:], *firsts, *(pair for pair in order if pair not in published)]))[:most]


def _points(setting: str) -> int:
    """Return the number of points that a published setting names last."""
    last = setting.split()[-1]
    return int(last) if last.isdigit() else 0


def _curves(axes: Axes, part: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]], draws: tuple[int, int]) -> None:
    """Draw the mean curve of every method over people, the highest first in the key; shaded for the highest."""
    own = part[part["null"].fillna("") == ""]
    order = own.groupby("method")["y"].mean().sort_values(ascending=False, kind="stable").index.tolist()
    order = [name for name in order if name in styles or name == EXACT_TRUTH]
    shaded = [name for name in order if name in styles and styles[name]["zorder"] > 2][:MOST_SHADED]
    for method in order:
        table = own[own["method"] == method].pivot_table(
            index="participant_id", columns="x", values="y", aggfunc="mean", observed=True
        )
        x, y = table.columns.to_numpy(float), table.to_numpy(float)
        style = styles.get(method, TRUTH_STYLE)
        if method in shaded:
            low, high = interval(bootstrap_means(y, *draws), len(y))
            axes.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
        axes.plot(x, np.nanmean(y, axis=0), label=escape(shorten(label(method), 22)), **style)
    x_most = float(part["x"].max()) if len(part) else 1.0
    axes.set_xlabel("share of the scan that is perturbed" if x_most <= 1 else "points, the most relevant first")
    axes.set_xlim(0, x_most)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6.8, handlelength=2.6, labelspacing=0.3)


def _height_label(metric: str, setting: str) -> str:
    if metric == "perturbation" and setting.startswith(PUBLISHED):
        return "|measured − answer| / measured"
    return "change of the answer (SD of the target)"


def _areas(row: np.ndarray, rows: pd.DataFrame, conditions: Sequence[Condition], *, titled: bool) -> None:
    """Draw one panel per metric and setting; methods are sorted by their mean rank."""
    parts = [of_condition(rows, *pair).drop_duplicates("method").set_index("method") for pair in conditions]
    if rows.empty:
        hide_unused(row, 0)
        return
    order = by_mean_rank(parts)
    for place, (axes, part, (metric, setting)) in enumerate(zip(row, parts, conditions, strict=True)):
        draw_against_nulls(axes, part.reindex(order))
        name_rows(axes, order if place == 0 else [])
        model = f"{shorten(label(rows['model'].iloc[0]), 24)}: " if titled and place == 0 else ""
        axes.set_title(escape(model + label(metric)))
        axes.set_xlabel(f"{escape(setting.replace('_', '-'))}\n({better_words(part)})".lstrip())


def _sign(areas: pd.DataFrame, has_curves: bool) -> str:
    text = f"{counts_with_exclusions(areas)}; " if len(areas) else ""
    text += "bars: 95 % bootstrap interval over people; "
    if has_curves:
        text += f"curves: means over people, shaded for the {MOST_SHADED} highest methods; dashed black: the truth; "
    return text + "grey: controls."
