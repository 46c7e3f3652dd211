"""Tables as the report shows them: long ones cut to what the text is about, with the way to the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from heatproof.figures.selection import View
from heatproof.publication.captions import CAPTIONS, USUAL_PRIOR, with_prior
from heatproof.simulation_rows import FULL_DOSE
from heatproof.statistics.simulations import BOTH

MOST_ROWS = 250
# Thousands of single ranks tell a reader less than their summary, which has a table of its own.
LEFT_OUT = ("rank_stability",)
# What a reader looks for comes first; the file has every column.
COLUMNS = {
    "ranking": (
        "method", "model", "recipe", "level", "truth", "metric", "rank", "mean", "low", "high", "difference_to_prior",
        "difference_low", "difference_high", "p_holm", "beats_prior", "certified", "chance", "null_p", "is_control",
        "n_scans", "n_people", "n_folds", "n_seeds", "n_excluded", "interval",
    ),
    # Which people, scans or images leaked stands in leakage.tsv; the page is for sharing.
    "leakage": ("recipe", "fold", "check", "n", "passed"),
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """One table of the report.

    Attributes
    ----------
    name, title, caption : str
        File name without its ending, heading, how to read it.
    columns : list of str
        Header.
    rows : list of tuple
        Values.
    total : int
        Rows of the whole table.
    """

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[tuple]
    total: int


def tables(
    frames: Mapping[str, pd.DataFrame], leakage: pd.DataFrame, view: View | None, prior: str = USUAL_PRIOR
) -> list[Shown]:
    """Return the tables of the report in order, each cut to at most `MOST_ROWS` rows.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Whole tables by name.
    leakage : DataFrame
        ``leakage.tsv``.
    view : View, optional
        The headline view, to which the longest tables are cut.
    prior : str
        Name of the prior that methods are compared with.
    """
    whole = {**frames, "leakage": leakage}
    return [_shown(name, whole[name], view, prior) for name in CAPTIONS if name in whole and name not in LEFT_OUT]


def _shown(name: str, frame: pd.DataFrame, view: View | None, prior: str) -> Shown:
    cut = _cut(name, frame, view) if len(frame) else frame
    wanted = [column for column in COLUMNS.get(name, cut.columns) if column in cut.columns]
    cut = cut.loc[:, wanted].head(MOST_ROWS)
    # A column without any value only takes room.
    cut = cut.loc[:, [column for column in cut.columns if cut[column].notna().any() and not (cut[column] == "").all()]]
    title, caption = CAPTIONS[name]
    rows = list(cut.astype(object).itertuples(index=False, name=None))
    return Shown(name, title, with_prior(caption, prior), [str(column) for column in cut.columns], rows, len(frame))


def _cut(name: str, frame: pd.DataFrame, view: View | None) -> pd.DataFrame:
    if name == "performance":
        return frame[frame["fold"] == -1]
    if name == "gain":
        return frame.sort_values("gain", ascending=False, kind="stable")
    if name == "area_relevance":
        return frame.sort_values(["model", "method", "density"], ascending=[True, True, False])
    if name == "nulls":
        return frame[frame["smoothing_mm"] == frame["smoothing_mm"].min()]
    if name == "simulations":
        return frame[(frame["dose"] == FULL_DOSE) & (frame["direction"] == BOTH)]
    if view is None:
        return frame
    if name == "comparisons":
        same = (frame["level"] == view.level) & (frame["truth"] == view.truth)
        return frame[same & (frame["metric"] == view.metric)]
    if name == "ranking":
        group = (frame["level"] == "group") & (frame["metric"] == "max_dice")
        group &= frame["smoothing_mm"] == frame["smoothing_mm"].min()
        same = (frame["level"] == view.level) & (frame["truth"] == view.truth)
        same &= (frame["smoothing_mm"] == view.smoothing_mm) & (frame["rectify"] == view.rectify)
        first = view.rows(frame).sort_values(["recipe", "model", "rank"], ascending=[False, True, True])
        rest = frame[(same | group) & ~frame.index.isin(first.index)]
        return pd.concat([first, rest.sort_values(["level", "truth", "metric", "recipe", "model", "rank"])])
    return frame
