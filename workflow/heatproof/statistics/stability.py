"""How stable the order of the methods is when the analyst chooses otherwise."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import CONTROLS, PRIMARY, orientation

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("level", "truth", "metric", "model", "recipe", "population", "rectify", "seed", "smoothing_mm")
STABILITY_COLUMNS = (*FACTORS, "method", "value", "rank", "n_methods")
CONCORDANCE_COLUMNS = ("recipe", "factor", "n_groups", "n_conditions", "n_methods", "kendall_w", "mean_tau")
# Metrics with the same value as another by definition would count one opinion twice.
DOUBLES = frozenset({"rank_accuracy"})


def rank_stability(scores: pd.DataFrame) -> pd.DataFrame:
    """Return ``rank_stability.tsv``: the rank of every method in every condition.

    Conditions are the factors of `FACTORS`: scans (mean over people, per seed) and group maps. Group maps that do
    not stand for their recipe are taken unsmoothed only; folds only where there are no scans.

    Parameters
    ----------
    scores : DataFrame
        Long score table.

    Returns
    -------
    DataFrame
        `STABILITY_COLUMNS`; rank 1 is best, ties share the mean of their ranks. A scan or fold that one method lost is
        left out for all; so are conditions with one method, or where a method of that model has no finite score.
    """
    import pandas as pd

    kept = scores[(scores["truth"] != "") & ~scores["metric"].isin(DOUBLES)]
    kept = kept[_chosen(kept)]
    if kept.empty:
        return pd.DataFrame(columns=list(STABILITY_COLUMNS))
    keys = list(FACTORS)
    units = kept.set_index([*keys, "fold", "scan_id", "participant_id", "method"])["value"].unstack("method")
    parts = []
    for _, part in units.groupby(["model", "recipe"], observed=True):
        # What a method lacks in one scan, seed or truth must not change who is compared there.
        complete = part.dropna(axis=1, how="all").dropna(axis=0)
        people = complete.groupby([*keys, "participant_id"], observed=True).mean()
        parts.append(_ranked(people.groupby(keys, observed=True).mean()))
    return pd.concat(parts, ignore_index=True)[list(STABILITY_COLUMNS)]


def _chosen(scores: pd.DataFrame) -> np.ndarray:
    level = scores["level"].to_numpy()
    lowest = scores["smoothing_mm"].to_numpy() == scores["smoothing_mm"].min()
    standing = np.zeros(len(scores), bool)
    for recipe, (population, rectify) in PRIMARY.items():
        standing |= (
            (scores["recipe"] == recipe) & (scores["population"] == population) & (scores["rectify"] == rectify)
        ).to_numpy()
    chosen = (level == "scan") | ((level == "group") & (standing | lowest))
    if not (level == "scan").any():
        chosen |= level == "fold"
    return chosen


def _ranked(wide: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks along each row of a table of conditions by methods, in long form."""
    from scipy.stats import rankdata

    signs = np.array([orientation(metric) for metric in wide.index.get_level_values("metric")])
    ranks = wide.copy()
    if wide.shape[1] > 1 and len(wide):
        ranks[:] = rankdata(-signs[:, None] * wide.to_numpy(dtype=float), axis=1)
    else:
        ranks, wide = ranks.iloc[:0], wide.iloc[:0]
    table = wide.stack().rename("value").to_frame()
    table["rank"] = ranks.stack()
    return table.reset_index().assign(n_methods=wide.shape[1])


def rank_summary(stability: pd.DataFrame) -> pd.DataFrame:
    """Return how each method fares over all conditions of a recipe.

    Parameters
    ----------
    stability : DataFrame
        Result of `rank_stability`.

    Returns
    -------
    DataFrame
        recipe, method, mean_rank, rank_low, rank_high (the middle 95 % of its ranks: spread over the choices, not
        sampling error), share_first (ties share), n_conditions.
    """
    import pandas as pd

    columns = ["recipe", "method", "mean_rank", "rank_low", "rank_high", "share_first", "n_conditions"]
    if stability.empty:
        return pd.DataFrame(columns=columns)
    best = stability.groupby(list(FACTORS), observed=True)["rank"].transform("min") == stability["rank"]
    shared = best.groupby([stability[name] for name in FACTORS], observed=True).transform("sum")
    grouped = stability.assign(first=best / shared).groupby(["recipe", "method"], observed=True)
    summary = grouped.agg(
        mean_rank=("rank", "mean"),
        rank_low=("rank", lambda ranks: ranks.quantile(0.025)),
        rank_high=("rank", lambda ranks: ranks.quantile(0.975)),
        share_first=("first", "mean"),
        n_conditions=("rank", "size"),
    )
    return summary.reset_index().sort_values(["recipe", "mean_rank", "method"], ignore_index=True)[columns]


def concordance(stability: pd.DataFrame, *, controls: Collection[str] = CONTROLS) -> pd.DataFrame:
    """Return how well the orders of the methods agree when one factor changes and all others stay.

    Parameters
    ----------
    stability : DataFrame
        Result of `rank_stability`.
    controls : collection of str
        Methods left out: that all orders put noise last is no agreement about methods.

    Returns
    -------
    DataFrame
        `CONCORDANCE_COLUMNS`: per recipe and factor (``all``: everything changes) Kendall's W with correction for ties
        and the mean pairwise tau-b, averaged over groups of conditions that differ in that factor alone; each group
        compares the methods that all its conditions have. A group in which nothing is ordered does not count. Linear
        models are left out where there are networks.
        1 is full agreement; W of unrelated orders is about 1 / n_conditions.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    methods = stability[~stability["method"].isin(controls)]
    for recipe, part in methods.groupby("recipe", observed=True) if len(methods) else []:
        wide = part.set_index([*FACTORS, "method"])["rank"].unstack("method")
        wide = wide[~wide.index.get_level_values("model").isin(_linear_models(part))]
        for factor in ("all", *[name for name in FACTORS if name != "recipe"]):
            others = [name for name in FACTORS if name != factor]
            groups = [wide] if factor == "all" else [group for _, group in wide.groupby(others, observed=True)]
            tables = [group.dropna(axis=1).to_numpy(dtype=float) for group in groups if len(group) > 1]
            found = [(table, kendall_w(table), mean_tau(table)) for table in tables if table.shape[1] > 1]
            found = [(table, w, tau) for table, w, tau in found if np.isfinite([w, tau]).all()]
            if found:
                rows.append({
                    "recipe": recipe, "factor": factor, "n_groups": len(found),
                    "n_conditions": sum(len(table) for table, _, _ in found),
                    "n_methods": max(table.shape[1] for table, _, _ in found),
                    "kendall_w": float(np.mean([w for _, w, _ in found])),
                    "mean_tau": float(np.mean([tau for _, _, tau in found])),
                })  # fmt: skip
    return pd.DataFrame(rows, columns=list(CONCORDANCE_COLUMNS))


def _linear_models(stability: pd.DataFrame) -> set[str]:
    """Return the models whose methods are those of a linear model, unless there is no other model.

    They share no method with the networks, so a group with both would compare nothing.
    """
    linear = set(stability.loc[stability["method"].str.startswith("svm_"), "model"])
    return linear if set(stability["model"]) - linear else set()


def kendall_w(scores: np.ndarray) -> float:
    """Return Kendall's coefficient of concordance, corrected for ties.

    Parameters
    ----------
    scores : ndarray, shape (n_judges, n_items)
        Ranks, or anything that orders the items.

    Returns
    -------
    float
        1 if all judges agree, 0 if their ranks sum to the same for every item; NaN if all judges tie all items.
        Kendall and Babington Smith, Ann Math Stat 1939;10:275.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    judges, items = ranks.shape
    spread = ((ranks.sum(axis=0) - judges * (items + 1) / 2) ** 2).sum()
    ties = 0.0
    for row in ranks:
        _, sizes = np.unique(row, return_counts=True)
        ties += float((sizes**3 - sizes).sum())
    largest = judges**2 * (items**3 - items) / 12 - judges * ties / 12
    return float(spread / largest) if largest > 0 else float("nan")


def mean_tau(scores: np.ndarray) -> float:
    """Return the mean of Kendall's tau-b over all pairs of judges; `scores` has shape (n_judges, n_items).

    Pairs in which a judge ties all items are left out.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    signs = np.sign(scores[:, first] - scores[:, second])
    lengths = np.sqrt((signs**2).sum(axis=1))
    unit = signs[lengths > 0] / lengths[lengths > 0, None]
    judges = len(unit)
    if judges < 2:
        return float("nan")
    # The mean over pairs follows from the sum of all: no table of judges by judges is needed.
    total = float((unit.sum(axis=0) ** 2).sum())
    return (total - judges) / (judges * (judges - 1))
