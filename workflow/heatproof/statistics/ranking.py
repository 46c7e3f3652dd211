"""The ranking of methods in every condition, and their paired comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import (
    CONTROLS,
    KEYS,
    PRIOR,
    Condition,
    conditions,
    orientation,
    primary,
)
from heatproof.statistics.resampling import (
    bootstrap_means,
    holm,
    interval,
    sign_flip_test,
    t_interval,
    t_test,
)

if TYPE_CHECKING:
    import pandas as pd

RANKING_COLUMNS = (
    "model", "recipe", "level", "truth", "metric", "smoothing_mm", "population", "rectify", "method", "is_control",
    "mean", "low", "high", "interval", "n_scans", "n_people", "n_folds", "n_seeds", "n_excluded", "chance",
    "prior_mean", "difference_to_prior", "difference_low", "difference_high", "p_value", "p_holm", "null_p", "rank",
    "rank_low", "rank_high", "probability_first",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "model", "recipe", "level", "truth", "metric", "smoothing_mm", "method_a", "method_b", "mean_a", "mean_b",
    "difference", "low", "high", "p_value", "p_holm", "n_people",
)  # fmt: skip
BOOTSTRAP, FOLDS, JACKKNIFE = "bootstrap over people", "t over folds", "jackknife over folds"


@dataclass(frozen=True)
class Sampled:
    """Estimates of several quantities with what is needed for intervals of any difference of them.

    Attributes
    ----------
    estimate : ndarray, shape (k,)
        One per method.
    draws : ndarray, shape (n, k)
        Bootstrap values, fold means or leave-one-out values.
    kind : str
        `BOOTSTRAP`, `FOLDS` or `JACKKNIFE`.
    people : ndarray, shape (n_people, k), or None
        Means of people (bootstrap only).
    """

    estimate: np.ndarray
    draws: np.ndarray
    kind: str
    people: np.ndarray | None = None

    def combined(self, weights: np.ndarray) -> Sampled:
        """Return linear combinations of the quantities; `weights` has shape (k, m)."""
        people = None if self.people is None else self.people @ weights
        return Sampled(self.estimate @ weights, self.draws @ weights, self.kind, people)

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % interval of each quantity."""
        if self.people is not None:
            return interval(self.draws, len(self.people))
        return t_interval(self.estimate, self._error(), len(self.draws) - 1)

    def p_values(self, seed: int, n_permutations: int) -> np.ndarray:
        """Return two-sided p values against zero."""
        if self.people is not None:
            return sign_flip_test(self.people, seed, n_permutations)
        return t_test(self.estimate, self._error(), len(self.draws) - 1)

    def _error(self) -> np.ndarray:
        n = len(self.draws)
        if n < 2:
            return np.full(self.estimate.shape, np.nan)
        squares = ((self.draws - self.draws.mean(axis=0)) ** 2).sum(axis=0)
        # Leave-one-out values lie n - 1 times closer together than values of the parts left out.
        return np.sqrt(squares * ((n - 1) / n if self.kind == JACKKNIFE else 1 / (n * (n - 1))))


def sample(condition: Condition, left_out: Condition | None, seed: int, n_bootstrap: int) -> Sampled:
    """Return the estimates of a condition.

    Scans: mean over people of their means, bootstrap over people. Folds: mean over folds, whose people
    differ. Group maps: the score itself, with the jackknife over folds, which leaves one group of people
    out at a time.
    """
    if condition.key["level"] == "scan":
        people = condition.person_means()
        if not len(people):
            empty = np.full(len(condition.methods), np.nan)
            return Sampled(empty, empty[None].repeat(2, axis=0), BOOTSTRAP, people)
        return Sampled(people.mean(axis=0), bootstrap_means(people, seed, n_bootstrap), BOOTSTRAP, people)
    if condition.key["level"] == "fold":
        folds = condition.fold_means()
        return Sampled(folds.mean(axis=0), folds, FOLDS)
    estimate = condition.values.mean(axis=0) if len(condition.values) else np.full(len(condition.methods), np.nan)
    draws = np.empty((0, len(condition.methods)))
    if left_out is not None and set(condition.methods) <= set(left_out.methods):
        columns = [left_out.methods.index(method) for method in condition.methods]
        draws = left_out.fold_means()[:, columns]
    return Sampled(estimate, draws, JACKKNIFE)


def ranking(
    scores: pd.DataFrame,
    nulls: pd.DataFrame | None = None,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_permutations: int = 4999,
    controls: Collection[str] = CONTROLS,
    prior: str = PRIOR,
) -> pd.DataFrame:
    """Return ``ranking.tsv``: every method in every condition, against the anatomical prior and the nulls.

    Parameters
    ----------
    scores : DataFrame
        Long score table. Only rows with a truth, and of mean maps only those that stand for their recipe.
    nulls : DataFrame, optional
        Null table; ``null_p`` is the p value of the method's group map (NaN where none was computed).
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; sign flips behind a p value.
    controls : collection of str
        Methods that are controls; they are shown but do not count in Holm's family.
    prior : str
        The method that the others are compared with.

    Returns
    -------
    DataFrame
        `RANKING_COLUMNS`. ``difference_to_prior`` is paired and oriented so that positive is better.
        ``rank`` 1 is best; ``rank_low``, ``rank_high`` and ``probability_first`` come from the bootstrap (scans only).
    """
    import pandas as pd

    scored = primary(scores[scores["truth"] != ""])
    chances = _chances(scored)
    left_out = {_without_level(c.key): c for c in conditions(scored[scored["level"] == "leave_one_out"])}
    rows: list[dict[str, Any]] = []
    for condition in conditions(_with_borrowed_prior(scored[scored["level"] != "leave_one_out"], prior), controls):
        sampled = sample(condition, left_out.get(_without_level(condition.key)), seed, n_bootstrap)
        columns = _level_columns(condition, sampled)
        columns |= _against_prior(condition, sampled, controls, prior, seed, n_permutations)
        for position, method in enumerate(condition.methods):
            key = (*condition.key.values(), method)
            if key in chances:
                own = {name: values[position] for name, values in columns.items()}
                shared = {**condition.key, "method": method, "is_control": method in controls}
                counts = {**_counts(condition), "interval": sampled.kind, "chance": chances[key]}
                rows.append({**shared, **own, **counts})
    frame = pd.DataFrame(rows, columns=[name for name in RANKING_COLUMNS if name != "null_p"])
    return _with_nulls(frame, nulls)[list(RANKING_COLUMNS)]


def _chances(scores: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """Return the chance level of every condition and method that was really scored."""
    keys = [*KEYS, "method"]
    if "chance" not in scores:
        scores = scores.assign(chance=scores["metric"].map({"auroc": 0.5, "spearman": 0.0}).astype(float))
    return scores.groupby(keys, observed=True)["chance"].mean().to_dict()


def _without_level(key: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in key.items() if name != "level")


def _with_borrowed_prior(scores: pd.DataFrame, prior: str) -> pd.DataFrame:
    """Lend the prior's scores to models that have none: it looks at no model, so it is the same map."""
    import pandas as pd

    parts = [scores]
    having = scores[scores["method"] == prior].groupby("recipe")["model"].min()
    for (recipe, model), methods in scores.groupby(["recipe", "model"])["method"]:
        if recipe in having and not (methods == prior).any():
            lent = scores[(scores["method"] == prior) & (scores["model"] == having[recipe])]
            parts.append(lent[lent["recipe"] == recipe].assign(model=model))
    return pd.concat(parts, ignore_index=True)


def _counts(condition: Condition) -> dict[str, int]:
    units = condition.units
    scans = condition.key["level"] == "scan"
    return {
        "n_scans": units["scan_id"].nunique() if scans else 0,
        "n_people": units["participant_id"].nunique() if scans else 0,
        "n_folds": units["fold"].nunique(),
        "n_seeds": units["seed"].nunique(),
        "n_excluded": condition.n_excluded,
    }


def _level_columns(condition: Condition, sampled: Sampled) -> dict[str, np.ndarray]:
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
    p_values = difference.p_values(seed, n_permutations)
    p_values[home] = np.nan
    columns["p_value"] = p_values
    # Controls are shown but not claimed, so they do not make the methods' tests stricter.
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
        Bootstrap samples of people; sign flips behind a p value.
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
    left_out = {_without_level(c.key): c for c in conditions(scored[scored["level"] == "leave_one_out"])}
    parts = []
    for condition in conditions(scored[scored["level"] != "leave_one_out"]):
        sampled = sample(condition, left_out.get(_without_level(condition.key)), seed, n_bootstrap)
        first, second = np.triu_indices(len(condition.methods), k=1)
        weights = np.zeros((len(condition.methods), first.size))
        weights[first, np.arange(first.size)] = orientation(condition.key["metric"])
        weights[second, np.arange(first.size)] = -orientation(condition.key["metric"])
        difference = sampled.combined(weights)
        low, high = difference.interval()
        p_values = difference.p_values(seed, n_permutations)
        methods = np.array(condition.methods, dtype=object)
        part = pd.DataFrame({
            "method_a": methods[first], "method_b": methods[second], "mean_a": sampled.estimate[first],
            "mean_b": sampled.estimate[second], "difference": difference.estimate, "low": low, "high": high,
            "p_value": p_values, "p_holm": holm(p_values), "n_people": _counts(condition)["n_people"],
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
        # The seed of a linear model says nothing, so its maps meet those of every seed of the network.
        seeds = scores.loc[(scores["model"] == model) & (scores["recipe"] == recipe), "seed"].unique()
        guests = guests.assign(method=guests["model"] + ":" + guests["method"], model=model)
        keys = [name for name in guests.columns if name not in ("value", "chance", "seed", "study")]
        guests = guests.groupby(keys, as_index=False, observed=True)["value"].mean()
        parts += [guests.assign(seed=seed) for seed in seeds]
    return pd.concat(parts, ignore_index=True)
