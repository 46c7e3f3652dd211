"""Faithfulness of each method beside the nulls of its own maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.ranking import draw_estimate, name_rows, rule_rows
from heatproof.figures.selection import of_condition, one_model, settings_of, side_of_difference
from heatproof.figures.style import (
    CONTROL,
    INK,
    VERDICT_COLOURS,
    VERDICT_MARKERS,
    absent,
    counts,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    legend_entries,
    note,
    reference_line,
)
from heatproof.statistics.faithfulness import EXACT_TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6
NULL_VERDICTS = {
    "yes": "better than its own nulls",
    "undecided": "not told apart from its own nulls",
    "no": "worse than its own nulls",
}


def draw_faithfulness(faithfulness: pd.DataFrame, *, models: Sequence[str] = ()) -> Figure:
    """Draw the mean of each method with its interval beside its own nulls, one panel per metric.

    Parameters
    ----------
    faithfulness : DataFrame
        ``faithfulness.tsv``: model, recipe, metric, setting, method, is_control, mean, low, high, n_scans, n_people,
        n_excluded, null_mean, difference_to_null with its interval (positive is better), p_holm, random_mean, rank.
        The first setting of a metric is drawn.
    models : sequence of str
        Order of the models; the first corrected one is drawn.
    """
    rows = one_model(faithfulness, models) if len(faithfulness) else faithfulness
    metrics = rows["metric"].drop_duplicates() if len(rows) else []
    wanted = [(metric, settings_of(rows, metric)[0]) for metric in metrics][:MOST_PANELS]
    if not wanted:
        return absent("No metric of faithfulness was computed: the study asks for none.")
    parts = [of_condition(rows, *condition).drop_duplicates("method").set_index("method") for condition in wanted]
    order = by_mean_rank(parts)
    down, across = grid_of(len(wanted), 3)
    with drawing() as make:
        figure = make(figsize=(2.2 + 2.8 * across, 1.2 + (0.75 + 0.2 * len(order)) * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False)
        for position, (axes, part, condition) in enumerate(zip(panels.ravel(), parts, wanted, strict=False)):
            draw_against_nulls(axes, part.reindex(order))
            name_rows(axes, order if position % across == 0 else [])
            axes.set_title(escape(label(condition[0])))
            axes.set_xlabel(f"{escape(condition[1].replace('_', '-'))}\n({better_words(part)})".lstrip())
        hide_unused(panels, len(wanted))
        names = [*NULL_VERDICTS.values(), "control", label(EXACT_TRUTH)]
        figure.legend(*legend_entries(panels.ravel(), names), loc="outside upper center", ncols=3)
        note(
            figure,
            f"{counts_with_exclusions(rows)}; network: {label(rows['model'].iloc[0])}; "
            "bars: 95 % bootstrap interval over people.",
        )
    return figure


def counts_with_exclusions(faithfulness: pd.DataFrame) -> str:
    """Return ``n = 24 scans of 12 people (3 more left out)``; what is left out is the same for every method."""
    most = faithfulness["n_excluded"].max() if len(faithfulness) else 0
    return counts(faithfulness) + (f" ({int(most)} more left out)" if most > 0 else "")


def by_mean_rank(parts: Sequence[pd.DataFrame]) -> list[str]:
    """Return the methods, the worst mean rank first: the first row lies at the bottom."""
    ranks = pd.concat([part["rank"] for part in parts], axis=1).mean(axis=1)
    order = ranks.sort_values(ascending=False, kind="stable", na_position="first").index.tolist()
    # The truth is no method and has no rank: it stands on top, as what a perfect map would reach.
    return sorted(order, key=lambda name: name == EXACT_TRUTH)


def better_words(part: pd.DataFrame) -> str:
    """Return which way is better, as the ranks of the table have it."""
    known = part[["mean", "rank"]].dropna()
    if known["mean"].nunique() < 2:
        return "larger is better"
    best, worst = known.loc[known["rank"].idxmin(), "mean"], known.loc[known["rank"].idxmax(), "mean"]
    return "larger is better" if best > worst else "smaller is better"


def _verdict(line: pd.Series) -> str:
    """Return whether a method differs from its own nulls, clear of zero and after Holm's correction."""
    return {1: "yes", 0: "undecided", -1: "no"}[side_of_difference(line)]


def draw_against_nulls(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw one metric: a row per method with its interval, its own nulls, and the line of a random map.

    Parameters
    ----------
    axes : Axes
        Panel.
    rows : DataFrame
        Of ``faithfulness.tsv``, by method; the first row lies at the bottom.
    """
    control = rows["is_control"].astype(str).str.lower().eq("true")
    for position, (method, line) in enumerate(rows.iterrows()):
        verdict = _verdict(line)
        colour, marker, name = VERDICT_COLOURS[verdict], VERDICT_MARKERS[verdict], NULL_VERDICTS[verdict]
        hollow = bool(control[method]) or method == EXACT_TRUTH
        if hollow:
            exact = method == EXACT_TRUTH
            colour, marker, name = (INK, "*", label(EXACT_TRUTH)) if exact else (CONTROL, "s", "control")
        if np.isfinite(line["mean"]):
            draw_estimate(axes, line, position, colour, marker, hollow=hollow, name=name)
        axes.plot(line["null_mean"], position, "|", color="#66707b", markersize=9, markeredgewidth=1.4, zorder=2,
                  label="mean of its own nulls")  # fmt: skip
    chance = rows["random_mean"].dropna()
    if len(chance):
        reference_line(axes, float(chance.iloc[0]), "random map")
    rule_rows(axes, len(rows))
