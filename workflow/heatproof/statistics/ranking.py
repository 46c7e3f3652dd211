"""The ranking of methods in every condition, and their paired comparison."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import (
    CONTROLS,
    Condition,
    chance_levels,
    conditions,
    orientation,
    primary,
    reference,
    without_level,
)
from heatproof.statistics.resampling import family_permutations, holm
from heatproof.statistics.sampling import BOOTSTRAP, Sampled, sample, visiting

if TYPE_CHECKING:
    import pandas as pd

RANKING_COLUMNS = (
    "model", "recipe", "level", "truth", "metric", "smoothing_mm", "population", "rectify", "method", "is_control",
    "mean", "low", "high", "interval", "n_scans", "n_people", "n_folds", "n_seeds", "n_excluded", "chance",
    "prior_mean", "difference_to_prior", "difference_low", "difference_high", "p_value", "p_holm", "null_p", "rank",
    "rank_low", "rank_high", "probability_first",
)  # fmt: skip


def ranking(
    scores: pd.DataFrame,
    nulls: pd.DataFrame | None = None,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_permutations: int = 4999,
    controls: Collection[str] = CONTROLS,
    prior: str | None = None,
) -> pd.DataFrame:
    """Return ``ranking.tsv``: every method in every condition, against the prior and the nulls.

    Parameters
    ----------
    scores : DataFrame
        Long score table. Only rows with a truth, and of mean maps only those that stand for their recipe.
    nulls : DataFrame, optional
        Null table; ``null_p`` is the p value of the method's group map (NaN where none was computed).
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; sign flips behind a p value (at least 40 for each test of a family).
    controls : collection of str
        Methods that are controls; they are shown but do not count in Holm's family.
    prior : str, optional
        The method that the others are compared with; by default the first of `PRIORS` that has scores.

    Returns
    -------
    DataFrame
        `RANKING_COLUMNS`. ``difference_to_prior`` is paired and oriented so that positive is better.
        ``rank`` 1 is best; a method without a finite score on half of the units has a row without a rank.
        ``rank_low``, ``rank_high`` and ``probability_first`` come from the bootstrap (scans only).
    """
    import pandas as pd

    scored = primary(scores[scores["truth"] != ""])
    chances = chance_levels(scored)
    if prior is None:
        prior = reference(scored.loc[np.isfinite(scored["value"].astype(float)), "method"])
    # The prior is lent with its leave-one-out values, or the borrower's group maps would lose their intervals.
    scored = _with_borrowed_prior(scored, prior)
    left_out = {without_level(c.key): c for c in conditions(scored[scored["level"] == "leave_one_out"])}
    rows: list[dict[str, Any]] = []
    for condition in conditions(scored[scored["level"] != "leave_one_out"]):
        columns: dict[str, np.ndarray] = {}
        if condition.methods:
            sampled = sample(condition, left_out.get(without_level(condition.key)), seed, n_bootstrap)
            columns = level_columns(condition, sampled) | {"interval": np.full(len(condition.methods), sampled.kind)}
            columns |= _against_prior(condition, sampled, controls, prior, seed, n_permutations)
        counts = _counts(condition)
        for method, chance in chances[tuple(condition.key.values())].items():
            shared = {**condition.key, "method": method, "is_control": method in controls, "chance": chance}
            if method in condition.methods:
                position = condition.methods.index(method)
                own = {name: values[position] for name, values in columns.items()} | counts
            else:
                # It failed on most scans: the row stays, without a number.
                own = dict(zip(("n_scans", "n_people"), condition.dropped.get(method, (0, 0)), strict=True))
            rows.append({**shared, **own})
    frame = pd.DataFrame(rows, columns=[name for name in RANKING_COLUMNS if name != "null_p"])
    return _with_nulls(frame, nulls)[list(RANKING_COLUMNS)]


def _with_borrowed_prior(scores: pd.DataFrame, prior: str) -> pd.DataFrame:
    """Lend the prior's scores to models that have none: it looks at no model, so it is the same map."""
    import pandas as pd

    parts = [scores]
    own = scores[scores["method"] == prior]
    lenders = own.groupby("recipe")["model"].min().to_dict()
    for (recipe, model), methods in scores.groupby(["recipe", "model"])["method"]:
        if recipe in lenders and not (methods == prior).any():
            lent = own[(own["model"] == lenders[recipe]) & (own["recipe"] == recipe)]
            parts += visiting(scores, lent, model, recipe)
    return pd.concat(parts, ignore_index=True)


def _counts(condition: Condition) -> dict[str, float]:
    """Return how much a condition rests on; a mean map's table does not know how many scans it holds."""
    units = condition.units
    scans = condition.key["level"] == "scan"
    return {
        "n_scans": units["scan_id"].nunique() if scans else np.nan,
        "n_people": units["participant_id"].nunique() if scans else np.nan,
        "n_folds": units["fold"].nunique(),
        "n_seeds": units["seed"].nunique(),
        "n_excluded": condition.n_excluded,
    }


def level_columns(condition: Condition, sampled: Sampled) -> dict[str, np.ndarray]:
    """Return mean, interval and rank with its own interval."""
    from scipy.stats import rankdata

    low, high = sampled.interval()
    sign = orientation(condition.key["metric"])
    columns = {"mean": sampled.estimate, "low": low, "high": high}
    columns["rank"] = rankdata(-sign * sampled.estimate, method="min", nan_policy="omit")
    empty = np.full(len(condition.methods), np.nan)
    columns |= {"rank_low": empty, "rank_high": empty, "probability_first": empty}
    if sampled.kind == BOOTSTRAP and np.isfinite(sampled.draws).all():
        ranks = rankdata(-sign * sampled.draws, axis=1)
        columns["rank_low"], columns["rank_high"] = np.quantile(ranks, [0.025, 0.975], axis=0)
        # Methods that share the first place share the win.
        best = ranks == ranks.min(axis=1, keepdims=True)
        columns["probability_first"] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return columns


def _against_prior(
    condition: Condition,
    sampled: Sampled,
    controls: Collection[str],
    prior: str,
    seed: int,
    n_permutations: int,
) -> dict[str, np.ndarray]:
    """Return the paired difference of every method to the prior."""
    names = ("prior_mean", "difference_to_prior", "difference_low", "difference_high", "p_value", "p_holm")
    columns = {name: np.full(len(condition.methods), np.nan) for name in names}
    if prior not in condition.methods:
        return columns
    home = condition.methods.index(prior)
    weights = np.eye(len(condition.methods))
    weights[home] -= 1
    difference = sampled.combined(weights * orientation(condition.key["metric"]))
    columns["prior_mean"] = np.full(len(condition.methods), sampled.estimate[home])
    columns["difference_to_prior"] = difference.estimate
    columns["difference_low"], columns["difference_high"] = difference.interval()
    # Controls are shown but not claimed, so they do not make the methods' tests stricter.
    claimed = sum(method not in controls for method in condition.methods)
    p_values = difference.p_values(seed, family_permutations(n_permutations, claimed))
    p_values[home] = np.nan
    columns["p_value"] = p_values
    family = np.array([np.nan if m in controls else p for m, p in zip(condition.methods, p_values, strict=True)])
    columns["p_holm"] = holm(family)
    return columns


def _with_nulls(frame: pd.DataFrame, nulls: pd.DataFrame | None) -> pd.DataFrame:
    """Return the ranking with the p value of each method's group map against surrogates."""
    keys = ["model", "recipe", "method", "truth", "metric", "smoothing_mm"]
    if nulls is None or nulls.empty:
        return frame.assign(null_p=np.nan)
    chosen = primary(nulls.assign(level="group"))
    p_values = chosen.groupby(keys, observed=True)["p_value"].max().rename("null_p")
    return frame.join(p_values, on=keys)
