"""The paired comparison of every two methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from heatproof.statistics.conditions import conditions, orientation, primary, without_level
from heatproof.statistics.resampling import family_permutations, holm
from heatproof.statistics.sampling import sample, visiting

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_COLUMNS = (
    "model", "recipe", "level", "truth", "metric", "smoothing_mm", "method_a", "method_b", "mean_a", "mean_b",
    "difference", "low", "high", "p_value", "p_holm", "n_people",
)  # fmt: skip


def comparisons(
    scores: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_permutations: int = 4999,
    levels: Iterable[str] = ("scan",),
) -> pd.DataFrame:
    """Return ``comparisons.tsv``: the paired difference of every two methods, at the least smoothing.

    A method of another model joins as ``model:method`` where it comes from a linear model (``svm_*``), so that
    networks are compared with it scan by scan.

    Parameters
    ----------
    scores : DataFrame
        Long score table.
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; sign flips behind a p value (at least 40 for each pair of a condition).
    levels : iterable of str
        ``scan``, ``fold`` or ``group``.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`; a positive difference means that method_a is better. Holm's family is the
        pairs of one condition.
    """
    import pandas as pd

    scored = primary(scores[(scores["truth"] != "") & scores["level"].isin([*levels, "leave_one_out"])])
    scored = _with_linear_guests(scored[scored["smoothing_mm"] == scored["smoothing_mm"].min()])
    left_out = {without_level(c.key): c for c in conditions(scored[scored["level"] == "leave_one_out"])}
    parts = []
    for condition in conditions(scored[scored["level"] != "leave_one_out"]):
        if len(condition.methods) < 2:
            continue
        sampled = sample(condition, left_out.get(without_level(condition.key)), seed, n_bootstrap)
        first, second = np.triu_indices(len(condition.methods), k=1)
        weights = np.zeros((len(condition.methods), first.size))
        weights[first, np.arange(first.size)] = orientation(condition.key["metric"])
        weights[second, np.arange(first.size)] = -orientation(condition.key["metric"])
        difference = sampled.combined(weights)
        low, high = difference.interval()
        p_values = difference.p_values(seed, family_permutations(n_permutations, first.size))
        # Mean maps have no people of their own.
        people = set(condition.units["participant_id"]) - {""}
        n_people = len(people) if people else np.nan
        methods = np.array(condition.methods, dtype=object)
        part = pd.DataFrame({
            "method_a": methods[first], "method_b": methods[second], "mean_a": sampled.estimate[first],
            "mean_b": sampled.estimate[second], "difference": difference.estimate, "low": low, "high": high,
            "p_value": p_values, "p_holm": holm(p_values), "n_people": n_people,
        })  # fmt: skip
        parts.append(part.assign(**condition.key))
    if not parts:
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _with_linear_guests(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with the linear models' maps as guests in every other model of the same recipe."""
    import pandas as pd

    linear = scores[scores["method"].str.startswith("svm_")]
    parts = [scores]
    for recipe, model in scores[["recipe", "model"]].drop_duplicates().itertuples(index=False):
        guests = linear[(linear["recipe"] == recipe) & (linear["model"] != model)]
        named = guests.assign(method=guests["model"] + ":" + guests["method"])
        parts += visiting(scores, named, model, recipe)
    return pd.concat(parts, ignore_index=True)
