"""How the order of the methods moves with every choice of the analyst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import BLUE, CONTROL, absent, drawing, escape, grey_controls, label, note, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The model comes first: a linear model has methods of its own, so its gaps lie in one block.
FACTORS = ("model", "level", "truth", "metric", "population", "rectify", "smoothing_mm", "seed")


def draw_rank_stability(stability: pd.DataFrame, controls: Iterable[str]) -> Figure:
    """Draw the rank of each method in every condition, and the spread of its ranks beside it.

    Parameters
    ----------
    stability : DataFrame
        ``rank_stability.tsv``: one rank per method and condition.
    controls : iterable of str
        Written in grey.
    """
    factors = [name for name in FACTORS if name in stability.columns]
    if stability.empty or not factors:
        return absent("There is only one way to rank the methods, so no stability can be shown.")
    corrected = stability[stability["recipe"] == "corrected"]
    table = (corrected if len(corrected) else stability).pivot_table(
        index="method", columns=factors, values="rank", aggfunc="mean", dropna=True, observed=True
    )
    table = table.loc[table.median(axis=1).sort_values(kind="stable").index]
    varying = [name for name in factors if table.columns.get_level_values(name).nunique() > 1]
    with drawing() as make:
        figure = make(figsize=(10.2, 1.9 + 0.24 * len(table)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[3.4, 1])
        image = left.imshow(table, aspect="auto", cmap="cividis_r", vmin=1, vmax=max(2, len(table)))
        left.set_yticks(range(len(table)), [escape(shorten(label(name), 26)) for name in table.index])
        grey_controls(left, table.index.tolist(), controls)
        _blocks(left, table.columns, varying[:3])
        _spread(right, table, set(controls))
        right.set_ylim(left.get_ylim())
        figure.colorbar(image, ax=left, location="bottom", shrink=0.5, aspect=40, pad=0.02, label="rank (1 = best)")
        names = ", ".join(label(name).lower().replace("mm", "(mm)") for name in varying) or "one condition"
        note(
            figure,
            f"{table.shape[1]} conditions ({names}); white: the model has no such method; right: median, "
            "middle half and range of the ranks.",
        )
    return figure


def _blocks(axes: Axes, columns: pd.Index, factors: Sequence[str]) -> None:
    """Mark where the outer factors change, and name the blocks that are wide enough to be named."""
    axes.set_xticks([])
    axes.set_xlabel("")
    if not factors:
        return
    keys = [tuple(str(columns.get_level_values(name)[i]) for name in factors) for i in range(len(columns))]
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]] + [len(keys)]
    places, names = [], []
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        axes.axvline(stop - 0.5, color="white", linewidth=1.4)
        if stop - start >= len(keys) / 24:
            places.append((start + stop - 1) / 2)
            names.append(escape(", ".join(shorten(label(part), 16) for part in keys[start])))
    axes.set_xticks(places, names, rotation=32, ha="left", fontsize=6.6)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=2)


def _spread(axes: Axes, table: pd.DataFrame, controls: set[str]) -> None:
    for position, (method, ranks) in enumerate(table.iterrows()):
        values = ranks.dropna().to_numpy(float)
        low, first, middle, third, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
        colour = CONTROL if method in controls else BLUE
        axes.plot([low, high], [position, position], color=colour, linewidth=0.9)
        axes.plot([first, third], [position, position], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.55)
        axes.plot(middle, position, "o", color=colour, markersize=4)
    axes.set_yticks([])
    axes.set_xlim(0.5, len(table) + 0.5)
    axes.set_xlabel("rank")
    axes.grid(axis="x", color="#eef0f2")
