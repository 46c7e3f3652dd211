"""Estimates of a condition with what their intervals and the intervals of their differences need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heatproof.statistics.conditions import Condition
from heatproof.statistics.resampling import bootstrap_means, interval, sign_flip_test, t_interval, t_test

if TYPE_CHECKING:
    import pandas as pd

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
        # A quantity without draws must not spoil the combinations that give it no weight.
        missing = np.isnan(self.draws).astype(float) @ (weights != 0) > 0
        draws = np.where(missing, np.nan, np.nan_to_num(self.draws) @ weights)
        return Sampled(self.estimate @ weights, draws, self.kind, people)

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
        # Two folds leave one degree of freedom: an interval a dozen errors wide says nothing.
        if n < 3:
            return np.full(self.estimate.shape, np.nan)
        squares = ((self.draws - self.draws.mean(axis=0)) ** 2).sum(axis=0)
        # Leave-one-out values lie n - 1 times closer together than values of the parts left out.
        return np.sqrt(squares * ((n - 1) / n if self.kind == JACKKNIFE else 1 / (n * (n - 1))))


def sample(condition: Condition, left_out: Condition | None, seed: int, n_bootstrap: int) -> Sampled:
    """Return the estimates of a condition.

    Scans: mean over people of their means, bootstrap over people. Folds: mean over folds, whose people
    differ. Group maps: the score itself, with the jackknife over folds, which leaves one group of people
    out at a time; a method that has no such values has no interval.
    """
    if condition.key["level"] == "scan":
        people = condition.person_means()
        if not len(people):
            empty = np.full((2, len(condition.methods)), np.nan)
            return Sampled(empty[0], empty, BOOTSTRAP, people)
        return Sampled(people.mean(axis=0), bootstrap_means(people, seed, n_bootstrap), BOOTSTRAP, people)
    if condition.key["level"] == "fold":
        folds = condition.fold_means()
        return Sampled(folds.mean(axis=0), folds, FOLDS)
    estimate = condition.values.mean(axis=0) if len(condition.values) else np.full(len(condition.methods), np.nan)
    draws = np.empty((0, len(condition.methods)))
    if left_out is not None and left_out.methods:
        means = dict(zip(left_out.methods, left_out.fold_means().T, strict=True))
        missing = np.full(left_out.units["fold"].nunique(), np.nan)
        draws = np.stack([means.get(method, missing) for method in condition.methods], axis=1)
    return Sampled(estimate, draws, JACKKNIFE)


def visiting(scores: pd.DataFrame, guests: pd.DataFrame, model: str, recipe: str) -> list[pd.DataFrame]:
    """Return rows of another model as if they belonged to this one, once for each of its seeds.

    Parameters
    ----------
    scores : DataFrame
        Long score table.
    guests : DataFrame
        Rows of maps that do not depend on this model: of a linear model, or of a control that sees none.
        Their own seeds say nothing here and are averaged.
    model, recipe : str
        The host.
    """
    if guests.empty:
        return []
    host = (scores["model"] == model) & (scores["recipe"] == recipe)
    guests = guests.assign(model=model)
    keys = [name for name in guests.columns if name not in ("value", "chance", "seed", "study")]
    means = guests.groupby(keys, as_index=False, observed=True)["value"].mean()
    # A guest has a row for the mean maps' seed and one for each single seed.
    pooled = means["level"].isin(["group", "leave_one_out"])
    single = sorted(set(scores.loc[host & (scores["seed"] >= 0), "seed"]))
    return [means[pooled].assign(seed=-1), *[means[~pooled].assign(seed=seed) for seed in single]]
