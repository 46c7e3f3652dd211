"""Observed overlap against what maps of the same smoothness reach by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from heatproof.figures.style import (
    BLUE,
    CONTROL,
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


def draw_nulls(nulls: pd.DataFrame, pairs: Sequence[tuple[str, str]], controls: Sequence[str]) -> Figure:
    """Draw the null's mean and 95th percentile as a bar and the observed value as a dot, one panel per truth.

    Parameters
    ----------
    nulls : DataFrame
        ``nulls.tsv``.
    pairs : sequence of (model, method)
        Rows, best first.
    controls : sequence of str
        Written in grey.
    """
    if nulls.empty:
        return absent("No null was computed.")
    chosen = _one_condition(nulls)
    wanted = {pair: position for position, pair in enumerate(pairs)}
    chosen = chosen[[pair in wanted for pair in zip(chosen["model"], chosen["method"], strict=True)]]
    truths = sorted(chosen["truth"].unique())
    if not truths:
        return absent("No null was computed.")
    rows, columns = grid_of(len(truths), 2)
    with drawing() as make:
        height = 1.0 + 0.25 * chosen.groupby("truth").size().max()
        figure = make(figsize=(1.6 + 3.9 * columns, 0.5 + height * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, truth in zip(panels.ravel(), truths, strict=False):
            part = chosen[chosen["truth"] == truth]
            place = [wanted[pair] for pair in zip(part["model"], part["method"], strict=True)]
            part = part.assign(place=place).sort_values("place", ascending=False, kind="stable")
            _panel(axes, part, set(controls))
            axes.set_title(escape(f"{label(truth)} truth"))
        hide_unused(panels, len(truths))
        first = chosen.iloc[0]
        for axes in panels[-1]:
            axes.set_xlabel(escape(label(first["metric"])))
        handles = dict(zip(*panels.ravel()[0].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=3)
        note(
            figure,
            f"group maps over {label(first['population']).lower()}, {first['smoothing_mm']:g} mm smoothing; "
            f"{int(chosen['n_surrogates'].max())} surrogate maps with the same spatial autocorrelation.",
        )
    return figure


def _one_condition(nulls: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one metric, population, rectification, smoothing and null, the most basic of each."""
    part = nulls
    preferences = {
        "null": ("surrogate",), "metric": ("max_dice", "dice_at_size"), "population": ("patients", "all"),
        "rectify": ("abs_after", "signed"),
    }  # fmt: skip
    for column, wanted in preferences.items():
        present = part[column].unique().tolist()
        name = next((value for value in wanted if value in present), sorted(present)[0])
        part = part[part[column] == name]
    return part[part["smoothing_mm"] == part["smoothing_mm"].min()]


def _panel(axes: Axes, part: pd.DataFrame, controls: set[str]) -> None:
    for position, line in enumerate(part.itertuples()):
        axes.plot([0, line.null_95], [position, position], color="#dfe3e7", linewidth=7, solid_capstyle="butt",
                  label="null, up to its 95th percentile", zorder=1)  # fmt: skip
        axes.plot(line.null_mean, position, "|", color="#66707b", markersize=8, zorder=2)
        above = line.p_value < 0.05
        colour = CONTROL if line.method in controls else BLUE if above else VERMILION
        words = "control" if line.method in controls else "above the null" if above else "within the null"
        axes.plot(line.observed, position, "o", color=colour, markersize=5, zorder=3, label=words)
        beside = (max(line.observed, line.null_95), position)
        text = "p < 0.001" if line.p_value < 0.001 else f"p = {line.p_value:.3f}"
        axes.annotate(text, beside, (6, 0), textcoords="offset points", va="center",
                      fontsize=6.6, color="#56606b")  # fmt: skip
    names = [escape(shorten(label(name), 26)) for name in part["method"]]
    axes.set_yticks(range(len(part)), names)
    axes.set_ylim(-0.7, len(part) - 0.3)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
