"""Which method each metric prefers: the metrics that know the truth beside those that ask the network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.faithfulness import counts_with_exclusions
from heatproof.figures.selection import (
    View,
    headline_view,
    models_of,
    of_condition,
    one_model,
    same_model,
    settings_of,
    with_metric,
)
from heatproof.figures.style import (
    INK,
    absent,
    condition_label,
    drawing,
    escape,
    grey_controls,
    label,
    note,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

TRUTH_COLUMNS = ("dice_at_size", "auroc", "average_precision", "mass_accuracy", "pointing_game", "iou_at_size")
MOST_SETTINGS, MOST_MODELS = 9, 6
Condition = tuple[str, str]


@dataclass(frozen=True)
class _Ranks:
    """Ranks of the methods, one column per metric; those against the truth stand first.

    Attributes
    ----------
    table : DataFrame
        Methods by (metric, setting), best mean rank first.
    n_truth : int
        Leading columns that know the truth.
    view : View or None
        Of those columns.
    """

    table: pd.DataFrame
    n_truth: int
    view: View | None


def draw_metric_ranks(
    faithfulness: pd.DataFrame,
    ranking: pd.DataFrame,
    controls: Iterable[str],
    *,
    failed: Mapping[str, Collection[Condition]] | None = None,
    models: Sequence[str] = (),
) -> Figure:
    """Draw the rank of every method by every metric, methods sorted by their mean rank against the truth.

    Parameters
    ----------
    faithfulness : DataFrame
        ``faithfulness.tsv``.
    ranking : DataFrame
        ``ranking.tsv``; without a truth only the metrics that need none are drawn.
    controls : iterable of str
        Written in grey.
    failed : mapping of str to collection of (metric, setting), optional
        By model, hatched: metrics that failed a test of their own, so that their order means nothing.
    models : sequence of str
        Order of the models; the first `MOST_MODELS` corrected ones are drawn, under each other.
    """
    shown = models_of(faithfulness, models)[:MOST_MODELS] if len(faithfulness) else []
    if not shown:
        return absent("No metric of faithfulness was computed, so there are no ranks to compare.")
    parts = [one_model(faithfulness[faithfulness["model"] == name]) for name in shown]
    ranks = [_ranks(rows, ranking) for rows in parts]
    width = max(one.table.shape[1] for one in ranks)
    heights = [2.0 + 0.24 * len(one.table) for one in ranks]
    with drawing() as make:
        figure = make(figsize=(2.9 + 0.4 * width, 0.6 + sum(heights)), layout="constrained")
        panels = figure.subplots(len(ranks), 1, squeeze=False, height_ratios=heights).ravel()
        for axes, one, rows in zip(panels, ranks, parts, strict=True):
            model = str(rows["model"].iloc[0])
            image = _draw_table(axes, one, set((failed or {}).get(model, ())), controls)
            if len(ranks) > 1:
                axes.set_title(escape(shorten(label(model), 30)), pad=26)
            figure.colorbar(image, ax=axes, shrink=0.6, aspect=22, pad=0.015, label="rank (1 = best)").ax.invert_yaxis()
        any_failed = any(
            set(one.table.columns) & set((failed or {}).get(m, ())) for one, m in zip(ranks, shown, strict=True)
        )
        note(figure, _sign(ranks[0], pd.concat(parts), any_failed))
    return figure


def _draw_table(axes: Axes, ranks: _Ranks, failed: Collection[Condition], controls: Iterable[str]) -> AxesImage:
    """Draw the ranks of one model, name rows and columns, and return the image for its bar of colours."""
    table = ranks.table
    n_rows, n_columns = table.shape
    image = axes.imshow(table, aspect="auto", cmap="cividis_r", vmin=1, vmax=max(2, n_rows))
    starred = {position for position, key in enumerate(table.columns) if key in failed}
    _numbers(axes, table, starred)
    axes.set_yticks(range(n_rows), [escape(shorten(label(name), 26)) for name in table.index])
    grey_controls(axes, table.index.tolist(), controls)
    names = [escape(_name(key, position in starred)) for position, key in enumerate(table.columns)]
    axes.set_xticks(range(n_columns), names, rotation=42, ha="right", rotation_mode="anchor", fontsize=7.4)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    _groups(axes, ranks.n_truth, n_columns)
    return image


def _ranks(rows: pd.DataFrame, ranking: pd.DataFrame) -> _Ranks:
    columns: dict[Condition, pd.Series] = {}
    view = None
    if len(ranking):
        view = headline_view(ranking)
        for metric in TRUTH_COLUMNS:
            scored = with_metric(view, metric).rows(same_model(ranking, rows))
            if scored["rank"].notna().any():
                columns[metric, ""] = scored.set_index("method")["rank"]
    n_truth = len(columns)
    for metric in rows["metric"].drop_duplicates():
        for setting in settings_of(rows, metric, MOST_SETTINGS):
            part = of_condition(rows, metric, setting).drop_duplicates("method")
            if part["rank"].notna().any():
                columns[metric, setting] = part.set_index("method")["rank"]
    # What has no rank, as the truth used as a map, has no row.
    table = pd.DataFrame(columns).dropna(how="all")
    decisive = table.iloc[:, :n_truth] if n_truth else table
    # A method that the truth did not judge comes after those it did, by its other ranks.
    order = pd.DataFrame({"first": decisive.mean(axis=1), "then": table.mean(axis=1)})
    return _Ranks(table.loc[order.sort_values(["first", "then"], kind="stable").index], n_truth, view)


def _numbers(axes: Axes, table: pd.DataFrame, starred: Collection[int]) -> None:
    """Write each rank into its cell, and hatch the columns of metrics that failed."""
    from matplotlib.patches import Rectangle

    for column in sorted(starred):
        axes.add_patch(
            Rectangle(
                (column - 0.5, -0.5),
                1,
                len(table),
                facecolor=(1, 1, 1, 0.62),
                edgecolor="#8a929c",
                hatch="////",
                linewidth=0,
            )  # fmt: skip
        )
    for (row, column), rank in np.ndenumerate(table.to_numpy(float)):
        if np.isfinite(rank):
            dark = rank > 0.5 * (1 + len(table)) and column not in starred
            axes.text(column, row, f"{rank:g}", ha="center", va="center", fontsize=7, color="white" if dark else INK)


def _name(key: Condition, is_starred: bool) -> str:
    return shorten(condition_label(*key), 40) + (" *" if is_starred else "")


def _groups(axes: Axes, n_truth: int, n_columns: int) -> None:
    """Name the two groups of columns above them and leave a gap between."""
    for start, stop, words in ((0, n_truth, "against the truth"), (n_truth, n_columns, "asking the network")):
        if stop > start:
            axes.plot([start - 0.4, stop - 0.6], [-0.72, -0.72], color=INK, linewidth=1, clip_on=False)
            axes.text((start + stop - 1) / 2, -0.85, words, ha="center", va="bottom", fontweight="bold", fontsize=8)
    if 0 < n_truth < n_columns:
        axes.axvline(n_truth - 0.5, color="white", linewidth=4)


def _sign(ranks: _Ranks, rows: pd.DataFrame, any_failed: bool) -> str:
    models = rows["model"].drop_duplicates().tolist()
    parts = [counts_with_exclusions(rows)]
    if len(models) == 1:
        parts.append(f"network: {label(models[0])}")
    if ranks.n_truth and ranks.view:
        truth = "each scan's own truth" if ranks.view.individual else f"the {label(ranks.view.truth).lower()} truth"
        parts.append(f"{ranks.view.level} level, against {truth}")
    text = "; ".join(part for part in parts if part) + "; grey: controls; white: not measured."
    return text + (
        "\n* hatched: the metric failed a test of its own, so its order means nothing." if any_failed else ""
    )
