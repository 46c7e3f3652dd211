"""Do the metrics agree with each other, and with the truth?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.ranking import draw_estimate, rule_rows
from heatproof.figures.selection import (
    METRIC_ORDER,
    failed_conditions,
    first_present,
    models_of,
    of_condition,
    one_model,
    same_model,
)
from heatproof.figures.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILION,
    absent,
    condition_label,
    drawing,
    escape,
    label,
    legend_entries,
    note,
    reference_line,
    shorten,
)
from heatproof.statistics.meta_evaluation import TRUTH_METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUTH_WORDS = ("τ: agrees with the truth", "τ: not told apart from chance", "τ: contradicts the truth")
# Above this |tau| a cell is so dark that its number is white.
DARK = 0.62
MOST_MODELS = 4
Condition = tuple[str, str]


def draw_metric_agreement(
    agreement: pd.DataFrame, reliability: pd.DataFrame, sanity: pd.DataFrame, *, models: Sequence[str] = ()
) -> Figure:
    """Draw Kendall's tau between the metrics, and beside it that of each metric with the truth.

    Parameters
    ----------
    agreement : DataFrame
        ``metric_agreement.tsv``: model, recipe, metric_a, setting_a, metric_b, setting_b, tau with low and high,
        tau_methods (without controls), n_methods, n_scans, is_truth (one of the two knows the truth).
    reliability : DataFrame
        ``metric_reliability.tsv``: model, recipe, metric, setting, alpha_ordinal (Krippendorff's alpha of the scans'
        orders) with alpha_ordinal_low and alpha_ordinal_high.
    sanity : DataFrame
        ``sanity.tsv``: model, recipe, metric, setting, check, passed; metrics that failed a check are starred.
    models : sequence of str
        Order of the models; the pairs are those of the first corrected one, the truth is held against the metrics of
        the first `MOST_MODELS`, since each predicts something else.
    """
    rows = one_model(agreement, models)
    if rows.empty:
        return absent("Fewer than two metrics were computed, so there is no agreement to show.")
    taus = _taus(rows)
    keys = list(dict.fromkeys(key for pair in taus for key in pair))
    order = [name for name in METRIC_ORDER if name in TRUTH_METRICS] + sorted(TRUTH_METRICS - set(METRIC_ORDER))
    keys.sort(key=lambda key: order.index(key[0]) if key[0] in order else len(order))
    failed = failed_conditions(same_model(sanity, rows))
    parts = [one_model(agreement[agreement["model"] == name]) for name in models_of(agreement, models)]
    known = [(part, truth) for part in parts for truth in [_with_truth(part)] if len(truth)][:MOST_MODELS]
    truth = _with_truth(rows)
    side = 0.36 * (len(keys) - 1)
    with drawing() as make:
        size = (3.4 + side + 2.4 * bool(known) + 2.3 * len(known), max(3.4, 2.5 + side))
        figure = make(figsize=size, layout="constrained")
        shares = [max(side, 1.5), *[2.5 if len(known) == 1 else 2.0] * len(known)] if known else [1]
        panels = figure.subplots(1, len(shares), squeeze=False, width_ratios=shares).ravel()
        image = _matrix(panels[0], taus, keys, failed)
        figure.colorbar(
            image, ax=panels[0], shrink=0.6, aspect=18, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1], label="Kendall's τ"
        )
        least_first = _least_first([table for _, table in known])
        for place, (axes, (part, table)) in enumerate(zip(panels[1:], known, strict=True)):
            own = failed_conditions(same_model(sanity, part))
            _forest(axes, table, least_first, same_model(reliability, part), own)
            if place:
                axes.set_yticklabels(_stars(least_first, own))
            if len(known) > 1:
                axes.set_xlabel("τ with the truth,\nα among scans", fontsize=7.4)
                model, judge = label(part["model"].iloc[0]), label(table["truth"].iloc[0])
                axes.set_title(escape(f"{shorten(model, 18)}, against {judge}"), fontsize=8)
        if known:
            figure.legend(*legend_entries(panels[1:], TRUTH_WORDS), loc="outside upper right", ncols=3)
            panels[0].set_title(escape(shorten(label(rows["model"].iloc[0]), 30)) if len(known) > 1 else "", fontsize=8)
        note(figure, _sign(rows, truth, bool(failed & set(keys)), len(known)))
    return figure


def _pairs(rows: pd.DataFrame) -> list[tuple[Condition, Condition]]:
    columns = [rows[name].fillna("").astype(str) for name in ("metric_a", "setting_a", "metric_b", "setting_b")]
    return [((a, b), (c, d)) for a, b, c, d in zip(*columns, strict=True)]


def _taus(rows: pd.DataFrame) -> dict[tuple[Condition, Condition], float]:
    """Return tau of each pair, in both orders."""
    taus: dict[tuple[Condition, Condition], float] = {}
    for (first, second), tau in zip(_pairs(rows), rows["tau"], strict=True):
        taus[first, second] = taus[second, first] = float(tau)
    return taus


def _with_truth(rows: pd.DataFrame) -> pd.DataFrame:
    """Return metric, setting, tau, low and high against one truth metric, least agreement first."""
    found = []
    flagged = rows[rows["is_truth"].astype(str).str.lower().eq("true")]
    for pair, line in zip(_pairs(flagged), flagged.to_dict("records"), strict=True):
        for own, other in (pair, pair[::-1]):
            if own[0] not in TRUTH_METRICS and other[0] in TRUTH_METRICS:
                found.append({**line, "metric": own[0], "setting": own[1], "truth": other[0]})
    table = pd.DataFrame(found)
    if table.empty:
        return table
    table = table[table["truth"] == first_present((*METRIC_ORDER,), table["truth"].unique().tolist())]
    table = table.assign(mean=table["tau"]).drop_duplicates(["metric", "setting"])
    return table.sort_values("tau", kind="stable", na_position="first")


def _least_first(tables: Sequence[pd.DataFrame]) -> list[Condition]:
    """Return the metrics of all models, the one with the least mean agreement first."""
    if not tables:
        return []
    means = pd.concat(tables).groupby(["metric", "setting"], sort=False)["tau"].mean()
    return means.sort_values(kind="stable", na_position="first").index.tolist()


def _stars(keys: Sequence[Condition], failed: set[Condition]) -> list[str]:
    """Return what stands beside the rows of a further model: a star where its metric failed."""
    return ["*" if key in failed else "" for key in keys]


def _names(keys: Sequence[Condition], failed: set[Condition]) -> list[str]:
    return [escape(shorten(condition_label(*key), 44) + (" *" if key in failed else "")) for key in keys]


def _matrix(
    axes: Axes, taus: dict[tuple[Condition, Condition], float], keys: list[Condition], failed: set[Condition]
) -> object:
    """Draw the pairs once, below the diagonal."""
    down, across = keys[1:], keys[:-1]
    values = np.full((len(down), len(across)), np.nan)
    for row, column in zip(*np.tril_indices(len(down)), strict=True):
        values[row, column] = taus.get((down[row], across[column]), np.nan)
    image = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    for (row, column), tau in np.ndenumerate(values):
        if np.isfinite(tau):
            colour = "white" if abs(tau) > DARK else INK
            text = f"{round(tau, 2) + 0.0:.2f}".replace("0.", ".").replace("-", "−")
            axes.text(column, row, text, ha="center", va="center", fontsize=6.6, color=colour)
    axes.set_yticks(range(len(down)), _names(down, failed), fontsize=7.4)
    axes.set_xticks(range(len(across)), _names(across, failed), rotation=42, ha="right", rotation_mode="anchor",
                    fontsize=7.4)  # fmt: skip
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    return image


def _forest(
    axes: Axes, truth: pd.DataFrame, keys: Sequence[Condition], reliability: pd.DataFrame, failed: set[Condition]
) -> None:
    """Draw tau with the truth, and below each Krippendorff's alpha of the scans."""
    lines = {(line["metric"], line["setting"]): line for line in truth.to_dict("records")}
    for position, key in enumerate(keys):
        if key not in lines:
            continue
        line = lines[key]
        verdict = 0 if line["low"] > 0 else 2 if line["high"] < 0 else 1
        colour, marker = ((BLUE, "o"), (INK, "D"), (VERMILION, "X"))[verdict]
        draw_estimate(axes, line, position, colour, marker, hollow=False, name=TRUTH_WORDS[verdict])
        axes.plot(line["tau_methods"], position, "|", color="#66707b", markersize=9, markeredgewidth=1.4,
                  label="τ without the controls")  # fmt: skip
        for alpha in of_condition(reliability, *key).to_dict("records"):
            ends = [alpha["alpha_ordinal_low"], alpha["alpha_ordinal_high"]]
            axes.plot(ends, [position - 0.3] * 2, color=ORANGE, linewidth=0.9, zorder=2)
            axes.plot(alpha["alpha_ordinal"], position - 0.3, "^", color=ORANGE, markersize=4, markerfacecolor="white",
                      label="α: the scans agree (Krippendorff)")  # fmt: skip
    rule_rows(axes, len(keys))
    axes.set_yticks(range(len(keys)), _names(keys, failed), fontsize=7.4)
    axes.tick_params(axis="y", length=0)
    reference_line(axes, 0.0, "no agreement")
    axes.set_title(f"Against {escape(label(truth['truth'].iloc[0]))}")
    axes.set_xlabel("τ with the truth, α among scans (1: full agreement)")


def _sign(rows: pd.DataFrame, truth: pd.DataFrame, any_failed: bool, n_networks: int) -> str:
    text = f"n = {int(rows['n_methods'].max())} methods and controls on {int(rows['n_scans'].max())} scans; network: "
    text += label(rows["model"].iloc[0])
    if n_networks > 1:
        text += " on the left, each by itself on the right"
    text += "; bars: 95 % bootstrap interval over people." if len(truth) else "."
    return text + ("\n* failed a test of its own, so its order means nothing." if any_failed else "")
