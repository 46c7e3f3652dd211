"""Where on an ECG the relevance lies: its mass per wave and lead, method by method, beside that of the truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatproof.figures.style import (
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
from heatproof.statistics.faithfulness import EXACT_TRUTH
from heatproof.statistics.resampling import bootstrap_means, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Chance is the share of samples: what a map without any preference would give.
CHANCE = "chance"
MOST_METHODS, MOST_MODELS, ACROSS = 9, 6, 6
WAVE_WORDS = {"p": "P", "pq": "PQ", "qrs": "QRS", "st": "ST", "t": "T", "tp": "TP"}
# Above this share of the darkest colour a number is white; below this percentage none is written.
DARK, LEAST_WRITTEN = 0.55, 1.0


@dataclass(frozen=True)
class WaveTable:
    """Mass of the maps of one method, wave by lead.

    Attributes
    ----------
    people : ndarray, shape (n_people, n_leads, n_waves)
        Share of each person's relevance; a person's scans and seeds are averaged.
    leads, waves : tuple of str
        Their names.
    """

    people: np.ndarray
    leads: tuple[str, ...]
    waves: tuple[str, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean over people, shape (n_leads, n_waves)."""
        known = np.isfinite(self.people).all(axis=(1, 2))
        return self.people[known].mean(axis=0) if known.any() else np.full(self.people.shape[1:], np.nan)


def draw_wave_tables(
    areas: pd.DataFrame, methods: Sequence[str], controls: Collection[str], models: Sequence[str], *, seed: int = 0,
    n_bootstrap: int = 1000, truth_words: str = "exact truth",
) -> Figure:  # fmt: skip
    """Draw mass share per wave and lead: for each model the truth, chance, its methods and one control.

    Parameters
    ----------
    areas : DataFrame
        ``areas.parquet`` of areas named lead and wave (``V5 qrs``): model, method, scan_id, participant_id, area, name,
        n_voxels and the mass of |relevance| (see `mass_of`); rows of the method ``exact_truth`` are the truth.
    methods : sequence of str
        In order; the first `MOST_METHODS` that are no controls are drawn.
    controls : collection of str
        The first of them among `methods` is drawn.
    models : sequence of str
        In order.
    seed, n_bootstrap : int
        Root seed of the study and bootstrap samples of people.
    truth_words : str
        What the truth is called.
    """
    named = _of_waves(areas)
    present = [name for name in models if len(named) and (named["model"] == name).any()][:MOST_MODELS]
    if not present:
        return absent("The areas of this cohort are not waves of leads, so there is no table of waves.")
    shown = [name for name in methods if name not in controls][:MOST_METHODS]
    shown += [name for name in methods if name in controls][:1]
    tables = {model: _tables(named[named["model"] == model], shown) for model in present}
    size = max(len(one) for one in tables.values())
    down, across = grid_of(size, ACROSS)
    leads, waves = next(iter(next(iter(tables.values())).values())).mean.shape
    with drawing() as make:
        height = 0.75 + 0.135 * (leads + 1)
        figure = make(figsize=(1.0 + across * (0.62 + 0.2 * waves), 0.6 + height * down * len(present)),
                      layout="constrained")  # fmt: skip
        blocks = figure.subfigures(len(present), 1, squeeze=False).ravel()
        for block, model in zip(blocks, present, strict=True):
            _block(block, tables[model], (down, across), set(controls), truth_words, (seed, n_bootstrap))
            block.suptitle(escape(label(model)), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        note(figure, _sign(tables, "mass" in areas))
    return figure


def _of_waves(areas: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of areas that are waves of leads, with the columns lead, wave and mass."""
    if areas.empty:
        return areas
    parts = areas["name"].astype(str).str.rsplit(" ", n=1, expand=True).reindex(columns=[0, 1])
    kept = parts[1].isin(WAVE_WORDS)
    return areas[kept].assign(lead=parts[0][kept], wave=parts[1][kept], mass=mass_of(areas[kept]))


def mass_of(areas: pd.DataFrame) -> pd.Series:
    """Return the mass of each area: the sum of |relevance|, or, where that was not kept, |sum| of relevance."""
    return areas["mass"] if "mass" in areas else areas["sum"].abs()


def _tables(rows: pd.DataFrame, methods: Sequence[str]) -> dict[str, WaveTable]:
    """Return the tables of one model: the truth (if it is known), chance, and each method that has maps."""
    first = rows[rows["method"] == next(iter(rows["method"]))]
    found = {name: rows[rows["method"] == name] for name in (EXACT_TRUTH, *methods)}
    tables = {name: wave_table(part, "mass") for name, part in found.items() if len(part)}
    truth = {name: table for name, table in tables.items() if name == EXACT_TRUTH}
    return {**truth, CHANCE: wave_table(first, "n_voxels"), **{k: v for k, v in tables.items() if k != EXACT_TRUTH}}


def wave_table(rows: pd.DataFrame, column: str) -> WaveTable:
    """Return the share of a column in each wave and lead, every scan adding up to one and every person counting once.

    Parameters
    ----------
    rows : DataFrame
        One method: scan_id, participant_id, area, lead, wave and the column; seeds and folds may repeat a scan.
    column : str
        ``mass`` or ``n_voxels``.
    """
    order = rows.drop_duplicates("area").sort_values("area")
    leads = tuple(order["lead"].drop_duplicates())
    waves = tuple(name for name in WAVE_WORDS if name in set(order["wave"]))
    keys = [name for name in ("fold", "seed") if name in rows] + ["scan_id"]
    scans = rows.assign(**{column: rows[column].fillna(0.0)})
    total = scans.groupby(keys, observed=True)[column].transform("sum")
    scans = scans.assign(share=scans[column] / total.where(total > 0))
    people = scans.groupby(["participant_id", "lead", "wave"], observed=True)["share"].mean().unstack(["lead", "wave"])
    cells = pd.MultiIndex.from_product([leads, waves])
    return WaveTable(people.reindex(columns=cells).to_numpy(float).reshape(len(people), len(leads), len(waves)), leads,
                     waves)  # fmt: skip


def _block(
    block: Any, tables: dict[str, WaveTable], layout: tuple[int, int], controls: Collection[str], truth_words: str,
    draws: tuple[int, int],
) -> None:  # fmt: skip
    """Draw the tables of one model on one scale of colours."""
    panels = block.subplots(*layout, squeeze=False)
    marked = truth_cells(tables)
    top = max(float(np.nanmax(table.mean, initial=0.0)) for table in tables.values()) or 1.0
    image = None
    for place, (axes, (name, table)) in enumerate(zip(panels.ravel(), tables.items(), strict=False)):
        image = _panel(axes, table, top, marked)
        words = {EXACT_TRUTH: truth_words.capitalize(), CHANCE: "Chance"}.get(name, shorten(label(name), 22))
        colour = CONTROL if name in controls else INK
        axes.set_title(escape(words), fontsize=8, color=colour, pad=5 if marked is None else 14)
        if marked is not None:
            axes.text(0, 1.02, hit_words(table, marked, *draws), transform=axes.transAxes, fontsize=6.8, va="bottom",
                      color="#56606b")  # fmt: skip
        if place % layout[1]:
            axes.set_yticklabels([])
    hide_unused(panels, len(tables))
    bar = block.colorbar(image, ax=panels.ravel().tolist(), shrink=0.75, aspect=30, pad=0.01)
    bar.set_label("share of the map's mass (%)", fontsize=7.4)
    bar.ax.tick_params(labelsize=6.8)


def truth_cells(tables: dict[str, WaveTable]) -> np.ndarray | None:
    """Return where the truth has more of its mass than chance would put there, shape (n_leads, n_waves)."""
    if EXACT_TRUTH not in tables:
        return None
    return tables[EXACT_TRUTH].mean > tables[CHANCE].mean


def hit_words(table: WaveTable, marked: np.ndarray, seed: int, n_bootstrap: int) -> str:
    """Return the share of the mass within the marked cells in words, with its interval over people."""
    hits = 100 * table.people[:, marked].sum(axis=1)
    hits = hits[np.isfinite(hits)]
    if not len(hits):
        return "no finite map"
    low, high = interval(bootstrap_means(hits[:, None], seed, n_bootstrap), len(hits))
    bounds = f" [{low[0]:.0f}, {high[0]:.0f}]" if np.isfinite(low[0]) else ""
    return f"boxed: {hits.mean():.0f} %{bounds}"


def _panel(axes: Axes, table: WaveTable, top: float, marked: np.ndarray | None) -> Any:
    """Draw leads down and waves across, the sum over leads in a row of its own."""
    from matplotlib.patches import Rectangle

    percent = 100 * table.mean
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100 * top, aspect="auto")
    n_leads, n_waves = percent.shape
    for (row, column), value in np.ndenumerate(percent):
        if value >= LEAST_WRITTEN:
            colour = "white" if value > DARK * 100 * top else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=5.8, color=colour)
    for column, value in enumerate(percent.sum(axis=0)):
        axes.text(column, n_leads + 0.1, f"{value:.0f}", ha="center", va="center", fontsize=6.2, fontweight="bold")
    for row, column in np.argwhere(marked) if marked is not None else ():
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#b3261e", linewidth=0.9))
    axes.set_xticks(range(n_waves), [WAVE_WORDS[wave] for wave in table.waves], fontsize=6.6)
    axes.set_yticks([*range(n_leads), n_leads + 0.1], [*map(escape, table.leads), "all"], fontsize=6.6)
    axes.set_ylim(n_leads + 0.6, -0.5)
    axes.tick_params(length=0, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)
    return image


def _sign(tables: dict[str, dict[str, WaveTable]], has_mass: bool) -> str:
    people = max(len(table.people) for one in tables.values() for table in one.values())
    text = f"n = {people} people, each counting once; "
    text += "share of |relevance|" if has_mass else "share of the |sum| of relevance within each wave of a lead"
    text += " in percent, each map adding up to 100; last row: all leads together; chance: share of the samples"
    if any(EXACT_TRUTH in one for one in tables.values()):
        text += (
            "; boxed: where the truth has more than chance, with the share that falls there and its 95 % bootstrap "
            "interval over people"
        )
    return text + ". PQ, ST, TP: between the waves."
