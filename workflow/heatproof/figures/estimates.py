"""How well networks predict numbers: what they say against what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import (
    BLUE,
    CONTROL,
    INK,
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

MOST_PANELS = 9
SCORES = {"r2": "R²", "mean_absolute_error": "mean abs. error", "slope": "slope"}


def draw_estimates(
    predictions: pd.DataFrame, performance: pd.DataFrame, models: Sequence[str], units: Mapping[str, str] | None = None
) -> Figure:
    """Draw the estimate against the measurement of every test scan, one panel per network, with the identity.

    Parameters
    ----------
    predictions : DataFrame
        All ``predictions.tsv`` together: model, seed, part, participant_id, output, measured, estimate.
    performance : DataFrame
        ``performance.tsv``: model, part, fold, metric (``r2``, ``mean_absolute_error``, ``slope``), value, low, high.
    models : sequence of str
        In order.
    units : mapping of str to str, optional
        Unit of each output.
    """
    test = numbers_only(predictions)
    test = test[test["part"] == "test"] if len(test) else test
    present = [name for name in models if len(test) and (test["model"] == name).any()][:MOST_PANELS]
    if not present:
        return absent("No network of this study predicts a number.")
    rows, columns = grid_of(len(present), 3)
    with drawing() as make:
        figure = make(figsize=(0.5 + 3.1 * columns, 0.6 + 3.1 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, model in zip(panels.ravel(), present, strict=False):
            part = test[test["model"] == model]
            output = str(part["output"].iloc[0])
            unit = f" ({units[output]})" if units and output in units else ""
            _scatter(axes, part)
            axes.set(xlabel=escape(f"measured {label(output)}{unit}"), ylabel=escape(f"estimate{unit}"))
            axes.set_title(escape(shorten(label(model), 30)))
            axes.text(0.03, 0.97, score_words(performance, model, unit), transform=axes.transAxes, va="top",
                      fontsize=7.2, bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none"})  # fmt: skip
        hide_unused(panels, len(present))
        n = int(test.groupby(["model", "seed"]).size().max())
        note(
            figure,
            f"n = {n} test scans of {test['participant_id'].nunique()} people; dashed: identity; dotted: mean of the "
            "measurements; R² (share of variance), mean absolute error and slope of the estimate on the measurement "
            "with their 95 % bootstrap interval over people.",
        )
    return figure


def numbers_only(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks that predict a number."""
    if "estimate" not in predictions:
        return predictions.iloc[:0]
    return predictions[predictions["estimate"].notna()]


def classes_only(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks that predict a class."""
    return predictions[predictions["estimate"].isna()] if "estimate" in predictions else predictions


def _scatter(axes: Axes, part: pd.DataFrame) -> None:
    measured, estimate = part["measured"].to_numpy(float), part["estimate"].to_numpy(float)
    both = np.r_[measured, estimate]
    low, high = np.nanmin(both), np.nanmax(both)
    margin = 0.05 * (high - low) or 1.0
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=INK, linestyle=(0, (4, 2)), linewidth=0.9, zorder=2)
    size = max(5.0, min(16.0, 1500 / len(part)))
    axes.scatter(measured, estimate, s=size, color=BLUE, alpha=0.6, linewidth=0, zorder=3)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.grid(color="#eef0f2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(float(np.nanmean(measured)), color=CONTROL, linewidth=0.6, linestyle=":", zorder=1)


def score_words(performance: pd.DataFrame, model: str, unit: str = "") -> str:
    """Return R2, mean error and slope of a network over all folds, each with its interval."""
    if performance.empty:
        return ""
    pooled = performance[
        (performance["fold"] == -1) & (performance["part"] == "test") & (performance["model"] == model)
    ]
    lines = []
    for metric, words in SCORES.items():
        for _, first in pooled[pooled["metric"] == metric].head(1).iterrows():
            bounds = f" [{first['low']:#.3g}, {first['high']:#.3g}]" if np.isfinite(first["low"]) else ""
            shown = unit.strip(" ()") if metric == "mean_absolute_error" else ""
            lines.append(f"{words} {first['value']:#.3g}{bounds} {shown}".rstrip())
    return escape("\n".join(lines))
