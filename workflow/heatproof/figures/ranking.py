"""Methods ranked against the truth, with controls, prior and chance in the same picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.selection import (
    SMALLER_IS_BETTER,
    View,
    headline_view,
    metrics_of,
    models_of,
    prior_of,
    with_metric,
)
from heatproof.figures.style import (
    CONTROL,
    INK,
    VERDICT_COLOURS,
    VERDICT_MARKERS,
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICT_WORDS = {
    "yes": "beats the prior",
    "undecided": "not told apart from the prior",
    "no": "worse than the prior",
}


def draw_ranking(ranking: pd.DataFrame, models: Sequence[str] = (), metric: str = "") -> Figure:
    """Draw one row of panels per model and one column per metric; methods sorted by the headline metric.

    Parameters
    ----------
    ranking : DataFrame
        ``ranking.tsv``.
    models : sequence of str
        Order of the models.
    metric : str
        Headline metric; chosen by `headline_view` if empty.
    """
    if ranking.empty:
        return absent("No method was scored against a truth.")
    view = headline_view(ranking, metric)
    shown = models_of(view.rows(ranking), models)
    metrics = metrics_of(ranking, view)
    if not shown or not metrics:
        return absent("No method was scored against a truth.")
    prior = prior_of(ranking)
    sizes = [view.rows(ranking)["model"].eq(model).sum() for model in shown]
    height = 1.3 + sum(0.24 * size + 0.75 for size in sizes)
    with drawing() as make:
        figure = make(figsize=(3.2 + 2.7 * len(metrics), height), layout="constrained")
        panels = figure.subplots(len(shown), len(metrics), squeeze=False, height_ratios=[s + 2 for s in sizes])
        for row, model in enumerate(shown):
            order = _order(ranking, view, model)
            for column, name in enumerate(metrics):
                rows = with_metric(view, name).rows(ranking)
                rows = rows[rows["model"] == model].set_index("method")
                axes = panels[row, column]
                _panel(axes, rows.reindex(order), prior)
                axes.set_title(escape(shorten(label(model), 40)) if column == 0 else "")
                axes.set_xlabel(_axis_label(name) if row == len(shown) - 1 else "")
                name_rows(axes, order if column == 0 else [])
        _legend(figure, panels, prior)
        _sign(figure, view, ranking)
    return figure


def _order(ranking: pd.DataFrame, view: View, model: str) -> list[str]:
    rows = view.rows(ranking)
    rows = rows[rows["model"] == model]
    ascending = view.metric not in SMALLER_IS_BETTER
    return rows.sort_values(["mean", "method"], ascending=[ascending, False])["method"].tolist()


def _panel(axes: Axes, rows: pd.DataFrame, prior: str) -> None:
    """Draw one model by one metric; the first row lies at the bottom."""
    control = rows["is_control"].astype(str).str.lower().eq("true")
    if prior in rows.index and np.isfinite(rows.loc[prior, "mean"]):
        low, high = rows.loc[prior, "low"], rows.loc[prior, "high"]
        axes.axvspan(low, high, color=INK, alpha=0.10, linewidth=0, label=_band(prior))
    # A model that was not scored with the prior is compared with that of another model: it is the same map.
    borrowed = rows["prior_mean"].dropna()
    if len(borrowed):
        axes.axvline(float(borrowed.iloc[0]), color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    chance = rows["chance"].dropna()
    if len(chance):
        reference_line(axes, float(chance.iloc[0]), "chance")
    for position, (method, line) in enumerate(rows.iterrows()):
        verdict = str(line["beats_prior"])
        if control[method]:
            colour, marker, words = CONTROL, "s", "control"
            colour = INK if method == prior else colour
        else:
            colour = VERDICT_COLOURS.get(verdict, INK)
            marker, words = VERDICT_MARKERS.get(verdict, "D"), VERDICT_WORDS.get(verdict, "no prior to compare with")
        name = words if method != prior else None
        draw_estimate(axes, line, position, colour, marker, hollow=bool(control[method]), name=name)
    rule_rows(axes, len(rows))


def draw_estimate(
    axes: Axes,
    line: Mapping[str, float] | pd.Series,
    position: float,
    colour: str,
    marker: str,
    *,
    hollow: bool,
    name: str | None,
) -> None:
    """Draw a mean with its interval in one row; controls are hollow.

    Parameters
    ----------
    axes : Axes
        Panel.
    line : mapping
        ``mean``, ``low`` and ``high``.
    position : float
        Height of the row.
    colour, marker : str
        Of interval and mean.
    hollow : bool
        Whether the marker is white inside.
    name : str, optional
        In the legend.
    """
    axes.plot([line["low"], line["high"]], [position, position], color=colour, linewidth=1.6, zorder=3)
    axes.plot(
        line["mean"], position, marker, color=colour, markersize=5.5, zorder=4,
        markerfacecolor="white" if hollow else colour, label=name,
    )  # fmt: skip


def rule_rows(axes: Axes, n_rows: int) -> None:
    """Draw a faint line under each row and leave half a row above and below."""
    axes.set_yticks(range(n_rows), [""] * n_rows)
    axes.set_ylim(-0.7, n_rows - 0.3)
    axes.grid(axis="y", color="#eef0f2", linewidth=0.8)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, order: Sequence[str]) -> None:
    """Name the rows by their methods, the first at the bottom; without methods no row is named."""
    if order:
        axes.set_yticks(range(len(order)), [escape(shorten(label(name), 26)) for name in order])
    axes.tick_params(axis="y", length=0)


def _axis_label(metric: str) -> str:
    arrow = "smaller is better" if metric in SMALLER_IS_BETTER else "larger is better"
    return f"{escape(label(metric))}\n({arrow})"


def _band(prior: str) -> str:
    return f"{label(prior).lower()}, 95 % interval"


def _legend(figure: Figure, panels: np.ndarray, prior: str) -> None:
    order = [*VERDICT_WORDS.values(), "control", _band(prior), "chance"]
    figure.legend(*legend_entries(panels.ravel(), order), loc="outside upper center", ncols=3)


def _sign(figure: Figure, view: View, ranking: pd.DataFrame) -> None:
    rows = view.rows(ranking)
    against = "each scan's own truth" if view.individual else f"the {label(view.truth).lower()} truth"
    note(
        figure,
        f"{counts(rows)}; {view.level} level, against {against}, {view.smoothing_mm:g} mm smoothing; "
        "bars: 95 % bootstrap interval over people.",
    )
