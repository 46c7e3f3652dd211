"""Relevance per brain area: sum against density, gain, and the fingerprint of each patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatproof.figures.style import (
    BLUE,
    CONTROL,
    INK,
    VERMILION,
    absent,
    drawing,
    escape,
    grid_of,
    hide_unused,
    label,
    networks,
    note,
    reference_line,
    shorten,
    spread,
)
from heatproof.statistics.anatomy import true_positives

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP = 5
MOST_PANELS = 6
MOST_AREAS = 24


def draw_areas(relevance: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Figure:
    """Draw sum against density of every area, one panel per method, the top areas named.

    Parameters
    ----------
    relevance : DataFrame
        Columns model, method, area, name, volume_mm3, sum, density (mean over scans).
    pairs : sequence of (model, method)
        The panels, in order.
    """
    pairs = [pair for pair in pairs if len(_of(relevance, pair))][:MOST_PANELS]
    if not pairs:
        return absent("The cohort has no areas.")
    rows, columns = grid_of(len(pairs), 3)
    with drawing() as make:
        figure = make(figsize=(0.6 + 3.3 * columns, 0.4 + 2.9 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, pair in zip(panels.ravel(), pairs, strict=False):
            _bubbles(axes, _of(relevance, pair).dropna(subset=["sum", "density"]))
            axes.set_title(escape(shorten(label(pair[1]))))
        hide_unused(panels, len(pairs))
        for axes in panels[-1]:
            axes.set_xlabel("sum of relevance (% of all areas)")
        for axes in panels[:, 0]:
            axes.set_ylabel("density (× mean of the areas)")
        drawn = pd.concat(_of(relevance, pair) for pair in pairs)
        note(
            figure,
            f"mean over {_scans(drawn)}; {networks(pairs)}; disc: size of the area; the {TOP} areas of largest "
            "|density| are named.",
        )
    return figure


def _of(frame: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["model"] == pair[0]) & (frame["method"] == pair[1])] if len(frame) else frame


def _scans(frame: pd.DataFrame) -> str:
    known = frame["n_scans"].dropna() if "n_scans" in frame else pd.Series(dtype=float)
    return f"{int(known.max())} scans" if len(known) else "all test scans"


def _bubbles(axes: Axes, part: pd.DataFrame) -> None:
    total = part["sum"].abs().sum() or 1.0
    mean_density = part["density"].abs().mean() or 1.0
    x = 100 * part["sum"].to_numpy(float) / total
    y = part["density"].to_numpy(float) / mean_density
    volume = part["volume_mm3"].to_numpy(float)
    sizes = 12 + 380 * volume / max(float(np.nanmax(volume)), 1.0)
    # By magnitude: a method may mark atrophy with negative relevance.
    top = np.argsort(-np.abs(y), kind="stable")[:TOP]
    colours = [VERMILION if index in set(top.tolist()) else BLUE for index in range(len(part))]
    axes.scatter(x, y, s=sizes, c=colours, alpha=0.55, linewidth=0.5, edgecolor="white")
    axes.margins(0.22)
    _names(axes, x[top], y[top], [shorten(str(part["name"].iloc[index]), 24) for index in top])


def _names(axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Write names beside their points and push them apart vertically, so that none covers another."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    order = np.argsort(y, kind="stable")
    for index, height in zip(order, spread(y[order].tolist(), 0.085 * (high - low)), strict=True):
        on_left = x[index] > (left + right) / 2
        shift = (-0.035 if on_left else 0.035) * (right - left)
        axes.annotate(
            escape(names[index]), (x[index], y[index]), (x[index] + shift, height), fontsize=6.8, va="center",
            ha="right" if on_left else "left", color=INK,
            arrowprops={"arrowstyle": "-", "color": "#9aa2ab", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip


def draw_gain(gain: pd.DataFrame, pairs: Sequence[tuple[str, str]], top: int = 12) -> Figure:
    """Draw the gain of the areas with the largest gain, one panel per method.

    Parameters
    ----------
    gain : DataFrame
        Columns model, method, area, name, gain, low, high.
    pairs : sequence of (model, method)
        The panels, in order.
    top : int
        Areas per panel.
    """
    # A ratio that the table refuses has no place on the axis.
    gain = gain.dropna(subset=["gain"]) if len(gain) else gain
    pairs = [pair for pair in pairs if len(_of(gain, pair))][:MOST_PANELS]
    if not pairs:
        return absent("No gain: the cohort has no areas or no controls, or no patient was recognised.")
    rows, columns = grid_of(len(pairs), 3)
    with drawing() as make:
        figure = make(figsize=(0.8 + 3.4 * columns, 0.4 + (0.7 + 0.19 * top) * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, pair in zip(panels.ravel(), pairs, strict=False):
            part = _of(gain, pair).sort_values("gain", ascending=False, kind="stable").head(top)[::-1]
            _gain_panel(axes, part)
            axes.set_title(escape(shorten(label(pair[1]))))
        hide_unused(panels, len(pairs))
        for axes in panels[-1]:
            axes.set_xlabel("gain (true positives / controls)")
        n = [int(gain[column].max()) for column in ("n_true_positives", "n_controls") if gain[column].notna().any()]
        who = f"{n[0]} true positives, {n[1]} controls; " if len(n) == 2 else ""
        note(figure, f"{who}bars: 95 % bootstrap interval over people; dotted: no gain; scale differs per panel.")
    return figure


def _gain_panel(axes: Axes, part: pd.DataFrame) -> None:
    places = np.arange(len(part))
    values, low, high = (part[name].to_numpy(float) for name in ("gain", "low", "high"))
    clear = np.nan_to_num(low, nan=-np.inf) > 1
    axes.hlines(places, low, high, color=np.where(clear, BLUE, CONTROL), linewidth=1.6)
    axes.scatter(values, places, c=np.where(clear, BLUE, CONTROL), s=22, zorder=3)
    reference_line(axes, 1.0, "no gain")
    axes.set_yticks(places, [escape(shorten(str(name), 24)) for name in part["name"]], fontsize=7.4)
    # A ratio of small means can have a bound far out; the axis follows the estimates instead.
    finite = values[np.isfinite(values)]
    if finite.size:
        reach = max(1.0, finite.max() - 1, 1 - finite.min())
        axes.set_xlim(min(0.0, finite.min() - 0.2 * reach), 1 + 1.9 * reach)


def draw_fingerprints(
    areas: pd.DataFrame, pairs: Sequence[tuple[str, str]], most_patients: int = 30, *, has_controls: bool = True,
    who: str = "recognised patients",
) -> Figure:  # fmt: skip
    """Draw the relevance density of every recognised patient by area, one strip of rows per method.

    Parameters
    ----------
    areas : DataFrame
        ``areas.parquet``: one row per scan and area.
    pairs : sequence of (model, method)
        The panels, in order (at most three are drawn).
    most_patients : int
        Rows per panel; further patients are left out and the note says so.
    has_controls : bool
        Whether class 0 is the control class; without one everybody is a patient.
    who : str
        What the rows are called: of networks that predict numbers they are all people.
    """
    hits = areas[true_positives(areas, has_controls=has_controls)] if len(areas) else areas
    tables = [(pair, _fingerprint(_of(hits, pair))) for pair in pairs]
    tables = [(pair, table) for pair, table in tables if len(table)][:3]
    if not tables:
        return absent("No fingerprints: the cohort has no areas, or no patient was recognised.")
    order = _area_order(tables[0][1])
    patients = tables[0][1].index.tolist()
    with drawing() as make:
        width = min(12.5, 1.6 + 3.4 * len(tables))
        figure = make(figsize=(width, 1.9 + 0.15 * min(len(patients), most_patients)), layout="constrained")
        panels = figure.subplots(1, len(tables), squeeze=False, sharey=True).ravel()
        image = None
        for axes, (pair, table) in zip(panels, tables, strict=True):
            shown = table.reindex(index=patients[:most_patients], columns=order)
            image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=0, vmax=1)
            axes.set_xticks(
                range(len(order)), [escape(shorten(str(name), 20)) for name in order], rotation=90, fontsize=6.5
            )
            axes.set_title(escape(shorten(label(pair[1]))))
            axes.set_yticks([])
        panels[0].set_ylabel(f"{who} (one row each)")
        figure.colorbar(image, ax=panels.tolist(), label="density, share of the row's top area", pad=0.01)
        left_out = max(0, len(patients) - most_patients)
        tail = f"; {left_out} further rows not drawn" if left_out else ""
        tail = f"; {networks(pair for pair, _ in tables)}{tail}"
        note(figure, f"n = {len(patients)} {who}, the same order of rows in every panel{tail}.")
    return figure


def _fingerprint(hits: pd.DataFrame) -> pd.DataFrame:
    """Return recognised patients by areas: density as a share of the patient's own maximum."""
    if hits.empty:
        return pd.DataFrame()
    table = hits.pivot_table(index="participant_id", columns="name", values="density", aggfunc="mean")
    return table.clip(lower=0).div(table.max(axis=1).where(lambda top: top > 0), axis=0)


def _area_order(table: pd.DataFrame) -> list[str]:
    return table.mean().sort_values(ascending=False, kind="stable").index[:MOST_AREAS].tolist()
