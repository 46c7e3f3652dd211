"""Metrics judged themselves: do they agree with one another and with the truth, and over scans?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import Condition, conditions, orientation
from heatproof.statistics.faithfulness import EXACT_TRUTH, PROBE_CONTROLS, as_scores
from heatproof.statistics.krippendorff import weighted_alpha
from heatproof.statistics.resampling import bootstrap_means, draw_counts, interval
from heatproof.studies import INDIVIDUAL_TRUTHS

if TYPE_CHECKING:
    import pandas as pd

TRUTH_METRICS = frozenset(
    {
        "dice_at_size", "auroc", "average_precision", "mass_accuracy", "rank_accuracy", "pointing_game", "iou_at_size",
        "weighted_precision", "weighted_recall", "time_distance", "lead_accuracy", "lead_overlap", "signed_cosine",
        "correlation",
    }
)  # fmt: skip
AGREEMENT_COLUMNS = (
    "model", "recipe", "metric_a", "setting_a", "metric_b", "setting_b", "is_truth", "tau", "low", "high",
    "tau_methods", "tau_methods_low", "tau_methods_high", "n_methods", "n_scans", "n_people",
)  # fmt: skip
RELIABILITY_COLUMNS = (
    "model", "recipe", "metric", "setting", "is_truth", "alpha_ordinal", "alpha_ordinal_low", "alpha_ordinal_high",
    "alpha_interval", "alpha_interval_low", "alpha_interval_high", "alpha_methods", "alpha_methods_low",
    "alpha_methods_high", "n_methods", "n_raters", "n_scans", "n_people",
)  # fmt: skip
# Bootstrap samples whose orders are compared at once.
BLOCK = 64
# Means that differ by less than this share of the largest are equal but for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Judge:
    """One metric with its setting: the values that it gives to methods and scans.

    Attributes
    ----------
    metric, setting : str
        Its name; a metric that holds maps against a truth has no setting.
    is_truth : bool
        Whether it holds maps against the truth.
    condition : Condition
        Its values.
    """

    metric: str
    setting: str
    is_truth: bool
    condition: Condition

    @property
    def scans(self) -> set[str]:
        """Scans that it counts."""
        return set(self.condition.units["scan_id"])

    @property
    def participants(self) -> set[str]:
        """People whose scans it counts."""
        return set(self.condition.units["participant_id"])


def metric_agreement(
    probes: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    controls: Collection[str] = PROBE_CONTROLS,
) -> pd.DataFrame:
    """Return ``metric_agreement.tsv``: for every two metrics, whether they put the methods into the same order.

    Parameters
    ----------
    probes : DataFrame
        Long table of probes.
    scores : DataFrame
        Long score table: of the probed scans, `TRUTH_METRICS` against each scan's own truth, unsmoothed, take part.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people; both metrics see the same samples.
    controls : collection of str
        Methods left out of ``tau_methods``: that two metrics put noise last is no agreement about methods.

    Returns
    -------
    DataFrame
        `AGREEMENT_COLUMNS`: Kendall's tau-b between the mean values of the methods that both metrics know, oriented so
        that 1 means the same order from best to worst, with its interval; ``is_truth`` marks pairs with a metric that
        knows the truth; ``n_scans`` and ``n_people`` count what both metrics saw.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for origin, judges in _judges(probes, scores):
        methods = sorted({method for judge in judges for method in judge.condition.methods})
        means = _method_means(judges, methods, seed, n_bootstrap)
        tau = kendall_tau(means)
        claimed = [position for position, method in enumerate(methods) if method not in controls]
        tau_methods = kendall_tau(means[:, :, claimed])
        for one, two in combinations(range(len(judges)), 2):
            pair = (judges[one], judges[two])
            people = pair[0].participants & pair[1].participants
            shared = set(pair[0].condition.methods) & set(pair[1].condition.methods)
            rows.append({
                **origin, "metric_a": pair[0].metric, "setting_a": pair[0].setting, "metric_b": pair[1].metric,
                "setting_b": pair[1].setting, "is_truth": pair[0].is_truth or pair[1].is_truth,
                **with_interval("tau", tau[:, one, two], len(people), ("low", "high")),
                **with_interval("tau_methods", tau_methods[:, one, two], len(people)), "n_methods": len(shared),
                "n_scans": len(pair[0].scans & pair[1].scans), "n_people": len(people),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def metric_reliability(
    probes: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    controls: Collection[str] = PROBE_CONTROLS,
) -> pd.DataFrame:
    """Return ``metric_reliability.tsv``: whether a metric orders the methods alike from scan to scan.

    Parameters
    ----------
    probes, scores, seed, n_bootstrap
        See `metric_agreement`.
    controls : collection of str
        Methods left out of ``alpha_methods``.

    Returns
    -------
    DataFrame
        `RELIABILITY_COLUMNS`: Krippendorff's alpha with scans as raters and methods as items (Tomsett et al., AAAI
        2020), on the methods' ranks within a scan (ordinal) and on the values (interval), with bootstrap intervals
        over people. A scan counts once for each seed and fold (``n_raters``).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for origin, judges in _judges(probes, scores):
        for judge in judges:
            units = judge.condition.units
            rows.append({
                **origin, "metric": judge.metric, "setting": judge.setting, "is_truth": judge.is_truth,
                **_alphas(judge.condition, controls, seed, n_bootstrap), "n_methods": len(judge.condition.methods),
                "n_raters": len(units), "n_scans": len(judge.scans), "n_people": len(judge.participants),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(RELIABILITY_COLUMNS))


def kendall_tau(values: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b between every two judges, over the items that both have judged.

    Parameters
    ----------
    values : ndarray, shape (n_draws, n_judges, n_items)
        What orders the items; NaN where a judge has no value.

    Returns
    -------
    ndarray, shape (n_draws, n_judges, n_judges)
        NaN where a judge ties all items. Kendall, Biometrika 1945;33:239.
    """
    first, second = np.triu_indices(values.shape[2], k=1)
    tau = np.full((*values.shape[:2], values.shape[1]), np.nan)
    largest = np.nanmax(np.abs(values), axis=2, keepdims=True, initial=0.0)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        differences = block[:, :, first] - block[:, :, second]
        # Single precision counts exactly up to 16 million pairs.
        known = np.isfinite(differences).astype(np.float32)
        tied = np.abs(differences) <= ROUNDING * largest[start : start + BLOCK]
        signs = np.where(tied, 0.0, np.nan_to_num(np.sign(differences))).astype(np.float32)
        agreeing = np.matmul(signs, signs.swapaxes(1, 2), dtype=np.float32)
        ordered = np.matmul(np.abs(signs), known.swapaxes(1, 2), dtype=np.float32)
        lengths = np.sqrt(ordered.astype(np.float64) * ordered.swapaxes(1, 2))
        np.divide(agreeing, lengths, out=tau[start : start + BLOCK], where=lengths > 0)
    return tau


def _judges(probes: pd.DataFrame, scores: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[Judge]]]:
    """Yield every network with the metrics that judge its methods, the truth's last."""
    if probes.empty:
        return
    own = probes[(probes["null"] == "") & (probes["method"] != EXACT_TRUTH)]
    truths = _truth_scores(own, scores)
    for (model, recipe), part in own.groupby(["model", "recipe"], observed=True):
        held = truths[(truths["model"] == model) & (truths["recipe"] == recipe)]
        judges = [Judge(c.key["metric"], c.key["truth"], False, c) for c in conditions(as_scores(part))]
        judges += [Judge(c.key["metric"], "", True, c) for c in conditions(held)]
        judges = [judge for judge in judges if judge.condition.methods and len(judge.condition.values)]
        judges.sort(key=lambda judge: (judge.is_truth, judge.metric, judge.setting))
        yield {"model": model, "recipe": recipe}, judges


def truth_judges(probes: pd.DataFrame, scores: pd.DataFrame) -> dict[tuple[str, str], Judge]:
    """Return for each model and recipe the judge that holds the probed scans against their own truth.

    Parameters
    ----------
    probes, scores : DataFrame
        See `metric_agreement`; scores of one metric of `TRUTH_METRICS`.
    """
    if probes.empty or scores.empty:
        return {}
    own = probes[(probes["null"] == "") & (probes["method"] != EXACT_TRUTH)]
    held = conditions(_truth_scores(own, scores))
    return {(c.key["model"], c.key["recipe"]): Judge(c.key["metric"], "", True, c) for c in held}


def _truth_scores(probes: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the unsmoothed scores of the probed scans against their own truth."""
    kept = scores[
        (scores["level"] == "scan")
        & scores["truth"].isin(INDIVIDUAL_TRUTHS)
        & (scores["smoothing_mm"] == 0)
        & scores["metric"].isin(TRUTH_METRICS)
    ]
    units = ["model", "recipe", "fold", "seed", "scan_id"]
    kept = kept.merge(probes[units].drop_duplicates(), on=units)
    if kept.empty:
        return kept
    # One truth and one way of rectifying speak for the metric, or it would stand in the table twice.
    first = min(kept["truth"].unique(), key=INDIVIDUAL_TRUTHS.index)
    return kept[(kept["rectify"] == kept["rectify"].min()) & (kept["truth"] == first)]


def _method_means(judges: list[Judge], methods: list[str], seed: int, n_bootstrap: int) -> np.ndarray:
    """Return the methods' oriented means, the estimate first and then every draw: (1 + draws, judges, methods).

    All judges see the same draws of the network's people, also those whose scans they lack.
    """
    people = sorted({person for judge in judges for person in judge.participants})
    means = np.full((1 + n_bootstrap, len(judges), len(methods)), np.nan)
    for position, judge in enumerate(judges):
        table = np.full((len(people), len(methods)), np.nan)
        own = judge.condition.units["participant_id"].factorize()[1]
        rows = [people.index(person) for person in own]
        columns = [methods.index(method) for method in judge.condition.methods]
        table[np.ix_(rows, columns)] = orientation(judge.metric) * judge.condition.person_means()
        means[0, position, columns] = table[np.ix_(rows, columns)].mean(axis=0)
        means[1:, position] = bootstrap_means(table, seed, n_bootstrap)
    return means


def _alphas(condition: Condition, controls: Collection[str], seed: int, n_bootstrap: int) -> dict[str, float]:
    """Return alpha on ranks and on values, and on the ranks of the methods without the controls."""
    from scipy.stats import rankdata

    codes, names = condition.units["participant_id"].factorize()
    weights = np.concatenate([np.ones((1, len(codes))), draw_counts(seed, len(names), n_bootstrap)[:, codes]])
    claimed = np.array([method not in controls for method in condition.methods], dtype=bool)
    values = condition.values
    tables = {
        "alpha_ordinal": (rankdata(values, axis=1), "ordinal"),
        "alpha_interval": (values, "interval"),
        "alpha_methods": (rankdata(values[:, claimed], axis=1), "ordinal"),
    }
    result: dict[str, float] = {}
    for name, (table, level) in tables.items():
        result |= with_interval(name, weighted_alpha(table, weights, level), len(names))
    return result


def with_interval(
    name: str, draws: np.ndarray, n_people: int, bounds: tuple[str, str] | None = None
) -> dict[str, float]:
    """Return an estimate, the first of the draws, with its interval from the others.

    Parameters
    ----------
    name : str
        Column of the estimate.
    draws : ndarray, shape (1 + n_bootstrap,)
        The estimate, and its bootstrap values.
    n_people : int
        People behind it; fewer than five have no interval.
    bounds : (str, str), optional
        Columns of the interval; the name with ``_low`` and ``_high`` by default.
    """
    low, high = interval(draws[1:, None], n_people)
    lower, upper = bounds or (f"{name}_low", f"{name}_high")
    # An estimate that does not exist has no interval, though some samples may have one.
    exists = np.isfinite(draws[0])
    return {
        name: float(draws[0]),
        lower: float(low[0]) if exists else np.nan,
        upper: float(high[0]) if exists else np.nan,
    }
