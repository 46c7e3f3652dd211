"""What the simulators are worth: a panel per score, a row per simulator, each against the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from heatproof.figures.ranking import draw_estimate, rule_rows
from heatproof.figures.selection import side_of_difference
from heatproof.figures.style import (
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
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGER, SMALLER = "larger is better", "smaller is better"


class Score(NamedTuple):
    """How a score is shown.

    Attributes
    ----------
    words : str
        Title of its panel.
    better : str
        What is better; empty where neither is.
    beside : str
        The score that says what is reached without doing anything, if there is one.
    line : float
        A value to stand out from, NaN for none.
    """

    words: str
    better: str = LARGER
    beside: str = ""
    line: float = float("nan")


SCORES = {
    "change_correlation": Score("Change: correlation\nwith the exact change", line=0.0),
    "jacobian_correlation": Score("Log-Jacobian: correlation\nwith the exact one", line=0.0),
    "image_correlation": Score("Simulated scan: correlation\nwith the exact one", beside="untouched_correlation"),
    "loss_inside": Score("Share of the moved tissue\nthat lies in the effect", beside="loss_inside_chance"),
    "leakage": Score("Share of the change that lies\nin nuisance regions", SMALLER, beside="leakage_chance"),
    "amplitude": Score("Size of the change\n(1: as large as the exact one)", "", line=1.0),
    "moved": Score("Answers that moved\nthe right way"),
    "flipped": Score("Answers that\nchanged sides"),
    "referee_moved": Score("Referee's answers that\nmoved the right way", beside="mirrored_referee_moved"),
    "referee_flipped": Score("Referee's answers that\nchanged sides", beside="mirrored_referee_flipped"),
    "dose_tau": Score("Dose response\n(Kendall's τ)", line=0.0),
    "folded": Score("Share of voxels\nwhere the warp folds", SMALLER),
    "cycle_error": Score("Error after there and back\n(SD of the scan)", SMALLER),
    "roughness": Score("Roughness of the warp\n(voxels per voxel)", ""),
}
MOST_COLUMNS = 4
VERDICTS = {
    "reference": "first simulator",
    "yes": "better than the first",
    "undecided": "not told apart from the first",
    "no": "worse than the first",
    "": "other value than the first",
}


def draw_simulator_scores(table: pd.DataFrame, models: Sequence[str] = ()) -> Figure:
    """Draw dots with intervals at the full dose, both directions together.

    Parameters
    ----------
    table : DataFrame
        ``simulations.tsv``.
    models : sequence of str
        Order of the models.
    """
    rows = _full_dose(table) if len(table) else table
    scores = [name for name in SCORES if len(rows) and (rows["score"] == name).any()]
    if not scores:
        return absent("No simulator was judged.")
    order = _order(rows, models)
    down, across = grid_of(len(scores), MOST_COLUMNS)
    names = [_row_name(entry, order) for entry in order]
    left, wide, between = 0.3 + 0.068 * max(map(len, names)), 1.95, 0.32
    high, apart, above, below = 0.15 + 0.19 * len(order), 0.95, 1.0, 0.95
    width, height = left + across * (wide + between), above + down * (high + apart) - apart + below
    with drawing() as make:
        figure = make(figsize=(max(width, 6.4), height))
        panels = figure.subplots(
            down, across, squeeze=False,
            gridspec_kw={"left": left / figure.get_figwidth(), "right": (width - 0.1) / figure.get_figwidth(),
                         "top": 1 - above / height, "bottom": below / height, "wspace": between / wide,
                         "hspace": apart / high},
        )  # fmt: skip
        for place, (axes, name) in enumerate(zip(panels.ravel(), scores, strict=False)):
            _panel(axes, rows[rows["score"] == name], rows[rows["score"] == SCORES[name].beside], order, SCORES[name])
            axes.set_title(SCORES[name].words, fontsize=8.2)
            axes.set_xlabel(SCORES[name].better, fontsize=7.4)
            if place % across == 0:
                axes.set_yticks(range(len(order)), [escape(text) for text in names])
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=4)
        hide_unused(panels, len(scores))
        used = panels.ravel()[: len(scores)]
        figure.legend(*legend_entries(used, list(VERDICTS.values())), loc="upper left", ncols=3)
        note(
            figure,
            f"{counts(rows)}; full dose, removal and injection together; bars: 95 % bootstrap interval over people; "
            "colours: difference to the first simulator, paired by person, after Holm's correction and in every run.",
        )
    return figure


def _full_dose(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["dose"] == table["dose"].max()) & (table["direction"] == "both")]


def _order(rows: pd.DataFrame, models: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (model, recipe, simulator) of each row, the first at the bottom."""
    keys = rows[["model", "recipe", "simulator"]].drop_duplicates().itertuples(index=False, name=None)
    place = {name: i for i, name in enumerate(dict.fromkeys([*models, *rows["model"]]))}
    simulators = rows["simulator"].drop_duplicates().tolist()
    return sorted(keys, key=lambda key: (place[key[0]], key[1], simulators.index(key[2])))[::-1]


def _row_name(entry: tuple[str, str, str], order: Sequence[tuple[str, str, str]]) -> str:
    """Return the name of a simulator, with the network and the recipe where there are several."""
    model, recipe, simulator = entry
    parts = [label(simulator)]
    parts += [label(model)] if len({key[0] for key in order}) > 1 else []
    parts += [label(recipe).lower()] if len({key[1] for key in order}) > 1 else []
    return shorten(", ".join(parts), 34)


def _panel(
    axes: Axes, rows: pd.DataFrame, beside: pd.DataFrame, order: Sequence[tuple[str, str, str]], score: Score
) -> None:
    """Draw one score of all simulators; a simulator without it leaves its row empty."""
    rule_rows(axes, len(order))
    reference_line(axes, score.line, "nothing learned")
    keys = ["model", "recipe", "simulator"]
    lines, ticks = (part.set_index(keys)["mean"] if part is beside else part.set_index(keys) for part in (rows, beside))
    for position, key in enumerate(order):
        if key in ticks.index:
            axes.plot(
                ticks[key], position, "|", color="#66707b", markersize=11, markeredgewidth=1.4,
                label="without doing anything, or chance",
            )  # fmt: skip
        if key not in lines.index:
            continue
        line = lines.loc[key]
        verdict = _verdict(line, score.better)
        colour, marker = VERDICT_COLOURS.get(verdict, INK), VERDICT_MARKERS.get(verdict, "D")
        marker = "s" if verdict == "reference" else marker
        draw_estimate(axes, line, position, colour, marker, hollow=verdict == "reference", name=VERDICTS[verdict])


def _verdict(line: pd.Series, better: str) -> str:
    """Return what the difference to the first simulator says: a key of `VERDICTS`."""
    if line["reference"] == line.name[2]:
        return "reference"
    # People of one run share its networks, so that all runs have to say the same.
    side = side_of_difference(line) if line["runs_agree"] == "yes" else 0
    if not side:
        return "undecided"
    if not better:
        return ""
    return "yes" if (side > 0) == (better == LARGER) else "no"
