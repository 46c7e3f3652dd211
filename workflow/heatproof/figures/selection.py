"""Which rows of the tables a figure shows: the headline view, one model per method, the order of the methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from heatproof.statistics.conditions import reference
from heatproof.studies import INDIVIDUAL_TRUTHS

# Size-matched Dice comes first because it has no threshold to choose on the map that is judged.
METRIC_ORDER = (
    "dice_at_size", "average_precision", "auroc", "mass_accuracy", "rank_accuracy", "spearman", "max_dice",
    "pointing_game", "earth_movers_distance", "weighted_precision", "weighted_recall", "time_distance", "lead_accuracy",
    "lead_overlap", "signed_cosine", "correlation", "iou_at_size", "max_iou",
)  # fmt: skip
SMALLER_IS_BETTER = frozenset(
    {
        "earth_movers_distance", "time_distance", "outside_brain", "edge_share", "brier", "calibration_error",
        "deletion", "road_morf", "infidelity", "max_sensitivity", "f_fidelity_minus", "turbe_bottom",
        "cascading_mprt", "smooth_mprt", "data_randomisation",
    }
)  # fmt: skip
# Of p values after Holm's correction.
SIGNIFICANCE = 0.05
RECTIFY_ORDER = ("abs_after", "abs_before", "signed")
LEVEL_ORDER = ("scan", "fold", "group")


@dataclass(frozen=True)
class View:
    """The rows that answer the study's question.

    Attributes
    ----------
    level : str
        ``scan`` where the truth of each scan is known, else ``fold`` or ``group``.
    truth, metric : str
        Against what, and by which number.
    smoothing_mm : float
        Full width at half maximum of the Gaussian, in mm.
    rectify : str
        How relevance of both signs became one map.
    """

    level: str
    truth: str
    metric: str
    smoothing_mm: float
    rectify: str = "abs_after"

    @property
    def individual(self) -> bool:
        """Whether each scan is held against a truth of its own."""
        return self.level == "scan" and self.truth in INDIVIDUAL_TRUTHS

    def rows(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of this view."""
        return ranking[
            (ranking["level"] == self.level)
            & (ranking["truth"] == self.truth)
            & (ranking["metric"] == self.metric)
            & (ranking["smoothing_mm"] == self.smoothing_mm)
            & (ranking["rectify"] == self.rectify)
        ]


# What was measured in people comes before what a textbook would name: areas are close to the prior's own.
TRUTH_ORDER = (*INDIVIDUAL_TRUTHS, "meta_analysis", "literature")


def first_present(wanted: Sequence[str], present: Sequence[str]) -> str:
    """Return the first of `wanted` that is present, else the first present in alphabetical order."""
    there = set(present)
    return next((name for name in wanted if name in there), min(there, default=""))


def headline_view(ranking: pd.DataFrame, metric: str = "") -> View:
    """Choose the view of the first screen: individual truth, no smoothing, size-matched Dice.

    The choice never looks at a score, so it cannot favour a method.
    """
    scored = ranking[ranking["truth"].fillna("") != ""]
    level = first_present(LEVEL_ORDER, scored["level"].unique().tolist())
    rows = scored[scored["level"] == level]
    truth = first_present(TRUTH_ORDER, rows["truth"].unique().tolist())
    rows = rows[rows["truth"] == truth]
    chosen = first_present((metric, *METRIC_ORDER), rows["metric"].unique().tolist())
    rows = rows[rows["metric"] == chosen]
    rectify = first_present(RECTIFY_ORDER, rows["rectify"].unique().tolist())
    return View(level, truth, chosen, float(rows["smoothing_mm"].min()) if len(rows) else 0.0, rectify)


def with_metric(view: View, metric: str) -> View:
    """Return the same view by another metric."""
    return replace(view, metric=metric)


def metrics_of(ranking: pd.DataFrame, view: View, most: int = 3) -> list[str]:
    """Return up to `most` metrics of the view's level and truth, the headline metric first."""
    rows = ranking[(ranking["level"] == view.level) & (ranking["truth"] == view.truth)]
    present = set(rows["metric"])
    order = [view.metric, *[name for name in METRIC_ORDER if name != view.metric]]
    return [name for name in order if name in present][:most]


def models_of(frame: pd.DataFrame, order: Sequence[str] = (), recipe: str = "corrected") -> list[str]:
    """Return the models of a recipe in the order of the config (all models if none has the recipe)."""
    rows = frame[frame["recipe"] == recipe] if (frame["recipe"] == recipe).any() else frame
    present = rows["model"].unique().tolist()
    return [name for name in order if name in present] + sorted(name for name in present if name not in order)


def one_model(frame: pd.DataFrame, order: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of the first model, of the corrected recipe if it has them: networks cannot be mixed."""
    if frame.empty:
        return frame
    rows = frame[frame["model"] == models_of(frame, order)[0]]
    return rows[rows["recipe"] == first_present(("corrected",), rows["recipe"].unique().tolist())]


def settings_of(frame: pd.DataFrame, metric: str, most: int = 1) -> list[str]:
    """Return the first settings of a metric, in the order of the table."""
    rows = frame[frame["metric"] == metric] if len(frame) else frame
    return [str(name) for name in rows["setting"].drop_duplicates()][:most] if len(rows) else []


def of_condition(frame: pd.DataFrame, metric: str, setting: str) -> pd.DataFrame:
    """Return the rows of a metric under one setting."""
    return frame[(frame["metric"] == metric) & (frame["setting"] == setting)] if len(frame) else frame


def same_model(frame: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of another table about the model and recipe of `rows`, which holds one."""
    if frame.empty:
        return frame
    return frame[(frame["model"] == rows["model"].iloc[0]) & (frame["recipe"] == rows["recipe"].iloc[0])]


def failed_conditions(sanity: pd.DataFrame) -> set[tuple[str, str]]:
    """Return (metric, setting) of every metric that failed a check of ``sanity.tsv``."""
    if sanity.empty:
        return set()
    rows = sanity[sanity["passed"].astype(str).str.lower().isin(("false", "0", "no"))]
    return set(zip(rows["metric"].astype(str), rows["setting"].fillna("").astype(str), strict=True))


def representatives(pairs: pd.DataFrame, models: Sequence[str]) -> list[tuple[str, str]]:
    """Return (model, method) pairs that show every method once, from the first model that has it."""
    chosen: dict[str, str] = {}
    for model in models:
        for method in pairs.loc[pairs["model"] == model, "method"].unique():
            chosen.setdefault(method, model)
    return [(model, method) for method, model in chosen.items()]


def method_order(ranking: pd.DataFrame, view: View) -> list[str]:
    """Return all methods, best mean of the view first; methods without a score come last."""
    rows = view.rows(ranking)
    means = rows.groupby("method")["mean"].mean()
    ascending = view.metric in SMALLER_IS_BETTER
    best = means.sort_values(ascending=ascending, kind="stable").index.tolist()
    return best + sorted(set(ranking["method"]) - set(best))


def prior_of(ranking: pd.DataFrame) -> str:
    """Return the prior that the methods of a study are compared with."""
    return reference(ranking.loc[ranking["mean"].notna(), "method"])


def controls_of(ranking: pd.DataFrame) -> set[str]:
    """Return the methods that are controls."""
    flags = ranking["is_control"].astype(str).str.lower().isin(("true", "1", "yes"))
    return set(ranking.loc[flags, "method"])


def side_of_difference(line: pd.Series) -> int:
    """Return 1 or -1 where a paired difference is clear of zero, also after Holm's correction, and 0 elsewhere."""
    if not line["p_holm"] < SIGNIFICANCE:
        return 0
    return 1 if line["difference_low"] > 0 else -1 if line["difference_high"] < 0 else 0
