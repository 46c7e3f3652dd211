"""What experts say about heatmaps: how far they agree, and which methods they prefer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.krippendorff import krippendorff_alpha
from heatproof.statistics.rating_agreement import intraclass_correlations, weighted_kappa
from heatproof.statistics.resampling import bootstrap_means, draw_counts, interval

if TYPE_CHECKING:
    import pandas as pd

AGREEMENT_COLUMNS = (
    "model", "statistic", "rater_a", "rater_b", "value", "low", "high", "n_heatmaps", "n_people", "n_raters", "note",
)  # fmt: skip
METHOD_COLUMNS = (
    "model", "method", "mean", "low", "high", "rank", "n_ratings", "n_cannot_judge", "n_scans", "n_people", "n_raters",
    "median_seconds",
)  # fmt: skip
# Stands for every model together; no model can be called so.
ALL_MODELS = "(all)"
HEATMAP = ["model", "scan_id", "participant_id", "method"]
ONE_RATER, NO_REPEAT = "needs a second rater", "needs scans that were repeated and rated twice"
UNVARIED = "all ratings are equal, so chance alone would agree as well"
NOT_SHARED = "too few heatmaps were judged by all"
FEW_PEOPLE = "too few people for an interval"


def rater_agreement(answers: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Return ``agreement.tsv``: how far raters agree with one another and with themselves.

    Parameters
    ----------
    answers : DataFrame
        As `heatproof.publication.rating_answers.read_answers` returns them.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people.

    Returns
    -------
    DataFrame
        `AGREEMENT_COLUMNS`, by model and for all: quadratically weighted kappa of every two raters, its mean, ICC(2,1),
        ICC(2,k) and ICC(3,1), ordinal alpha, and for each rater the kappa of his ratings of repeated scans. Intervals
        of the ICCs are those of the F distribution, the others are bootstrapped over people. What cannot be computed
        is NaN, and ``note`` says why.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for model, part in by_model(answers):
        table = _Ratings.of(part[part["repeats"] == 0], seed, n_bootstrap)
        found = [*_pairs(table), *_correlations(table), _alpha(table), *_repeats(part, seed, n_bootstrap)]
        rows += [{"model": model, "rater_a": "", "rater_b": "", "note": "", **row} for row in found]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def ratings_by_method(answers: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Return ``methods.tsv``: what the experts think of each method.

    Parameters
    ----------
    answers, seed, n_bootstrap
        See `rater_agreement`.

    Returns
    -------
    DataFrame
        `METHOD_COLUMNS`, by model and for all: mean rating over people of the mean over a person's heatmaps of the mean
        over raters, with its bootstrap interval over people; repeated scans count once, as they were rated first.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for model, part in by_model(answers[answers["repeats"] == 0]):
        people = expert_ratings(part).pivot_table("rating", "participant_id", "method", dropna=False)
        people = people.reindex(columns=sorted(part["method"].unique()))
        low, high = interval(bootstrap_means(people.to_numpy(), seed, n_bootstrap), len(people))
        means = people.mean()
        ranks = means.rank(ascending=False, method="average")
        for place, (method, own) in enumerate(part.groupby("method")):
            rows.append({
                "model": model, "method": method, "mean": means[method], "low": low[place], "high": high[place],
                "rank": ranks[method], "n_ratings": int(own["judged"].sum()),
                "n_cannot_judge": int((~own["judged"]).sum()), "n_scans": own["scan_id"].nunique(),
                "n_people": own["participant_id"].nunique(), "n_raters": own["rater"].nunique(),
                "median_seconds": own["seconds"].median(),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(METHOD_COLUMNS))


def by_model(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each model, and all of them where there are several."""
    models = sorted(table["model"].unique())
    yield from ((model, table[table["model"] == model]) for model in models)
    if len(models) > 1:
        yield ALL_MODELS, table


def expert_ratings(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rating of each heatmap over the raters who could judge it."""
    return answers.groupby(HEATMAP, as_index=False)["rating"].mean()


@dataclass(frozen=True)
class _Ratings:
    """Ratings of every rater, with the draws of people that all statistics share.

    Attributes
    ----------
    raters : list of str
        Columns of `values`.
    values : ndarray, shape (n_heatmaps, n_raters)
        NaN where a rater did not judge.
    weights : ndarray, shape (1 + n_bootstrap, n_heatmaps)
        How often each heatmap counts: once for the estimate, then as its person was drawn.
    n_people : int
        People drawn.
    """

    raters: list[str]
    values: np.ndarray
    weights: np.ndarray
    n_people: int

    @classmethod
    def of(cls, answers: pd.DataFrame, seed: int, n_bootstrap: int, column: str = "rater") -> _Ratings:
        wide = answers.set_index([*HEATMAP, column])["rating"].unstack(column)
        wide = wide[wide.notna().any(axis=1)]
        codes = wide.index.get_level_values("participant_id").factorize()[0]
        n_people = int(codes.max()) + 1 if len(codes) else 0
        draws = draw_counts(seed, n_people, n_bootstrap)[:, codes] if n_people else np.empty((n_bootstrap, 0))
        weights = np.concatenate([np.ones((1, len(codes))), draws])
        return cls([str(name) for name in wide.columns], wide.to_numpy(dtype=float), weights, n_people)

    def row(self, statistic: str, draws: np.ndarray, n_heatmaps: int) -> dict[str, Any]:
        """Return an estimate, the first of the draws, with its interval from the others."""
        low, high = interval(draws[1:, None], self.n_people)
        exists = bool(np.isfinite(draws[0]))
        missing = UNVARIED if n_heatmaps else NOT_SHARED
        note = missing if not exists else ("" if np.isfinite(low[0]) else FEW_PEOPLE)
        return {
            "statistic": statistic, "value": float(draws[0]), "low": float(low[0]) if exists else np.nan,
            "high": float(high[0]) if exists else np.nan, "n_heatmaps": n_heatmaps, "n_people": self.n_people,
            "n_raters": len(self.raters), "note": note,
        }  # fmt: skip

    def unknown(self, statistic: str, note: str) -> dict[str, Any]:
        """Return the row of a statistic that cannot be computed."""
        return {
            "statistic": statistic, "value": np.nan, "low": np.nan, "high": np.nan, "n_heatmaps": len(self.values),
            "n_people": self.n_people, "n_raters": len(self.raters), "note": note,
        }  # fmt: skip


def _pairs(table: _Ratings) -> Iterator[dict[str, Any]]:
    """Yield the kappa of every two raters, and the mean of all."""
    draws: list[np.ndarray] = []
    for one, two in combinations(range(len(table.raters)), 2):
        first, second = table.values[:, one], table.values[:, two]
        draws.append(weighted_kappa(first, second, table.weights))
        both = int((np.isfinite(first) & np.isfinite(second)).sum())
        row = table.row("weighted_kappa", draws[-1], both)
        yield {**row, "rater_a": table.raters[one], "rater_b": table.raters[two], "n_raters": 2}
    if not draws:
        yield table.unknown("weighted_kappa_mean", ONE_RATER)
        return
    known = [each for each in draws if np.isfinite(each[0])] or draws
    yield table.row("weighted_kappa_mean", np.mean(known, axis=0), len(table.values))


def _correlations(table: _Ratings) -> Iterator[dict[str, Any]]:
    for name, found in intraclass_correlations(table.values).items():
        if len(table.raters) < 2:
            yield table.unknown(name, ONE_RATER)
            continue
        note = "" if np.isfinite(found.value) else (UNVARIED if found.n_items > 1 else NOT_SHARED)
        yield {
            **table.unknown(name, note), "value": found.value, "low": found.low, "high": found.high,
            "n_heatmaps": found.n_items,
        }  # fmt: skip


def _alpha(table: _Ratings) -> dict[str, Any]:
    if len(table.raters) < 2:
        return table.unknown("alpha_ordinal", ONE_RATER)
    counts = table.weights.astype(int)
    draws = [krippendorff_alpha(np.repeat(table.values, count, axis=0).T) for count in counts]
    return table.row("alpha_ordinal", np.array(draws), len(table.values))


def _repeats(answers: pd.DataFrame, seed: int, n_bootstrap: int) -> Iterator[dict[str, Any]]:
    """Yield for each rater the kappa between the ratings of repeated scans and those given first."""
    repeated = answers[answers["repeats"] > 0]
    for rater, own in answers.groupby("rater"):
        again = repeated[repeated["rater"] == rater]
        first = own[own["item"].isin(again["repeats"])]
        if again.empty or first.empty:
            nobody = _Ratings.of(own, seed, n_bootstrap)
            yield {**nobody.unknown("weighted_kappa_repeats", NO_REPEAT), "rater_a": str(rater), "n_heatmaps": 0,
                   "n_people": 0}  # fmt: skip
            continue
        both = own[own["item"].isin(again["repeats"]) | (own["repeats"] > 0)]
        both = both.assign(second=both["repeats"].to_numpy() > 0)
        table = _Ratings.of(both, seed, n_bootstrap, column="second")
        draws = weighted_kappa(table.values[:, 0], table.values[:, 1], table.weights)
        row = table.row("weighted_kappa_repeats", draws, int(np.isfinite(table.values).all(axis=1).sum()))
        yield {**row, "rater_a": str(rater), "rater_b": str(rater), "n_raters": 1}
