"""Which metrics put heatmaps into the order of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import orientation
from heatproof.statistics.expert_ratings import by_model, expert_ratings
from heatproof.statistics.meta_evaluation import kendall_tau
from heatproof.statistics.resampling import bootstrap_means, interval

if TYPE_CHECKING:
    import pandas as pd

EXPERT_COLUMNS = (
    "model", "metric", "setting", "is_truth", "rho", "rho_low", "rho_high", "tau", "tau_low", "tau_high", "n_methods",
    "n_scans", "n_people",
)  # fmt: skip
# Methods of which a scan needs values before their order says anything.
LEAST_METHODS = 3


def expert_metrics(
    answers: pd.DataFrame, scores: pd.DataFrame, probes: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000
) -> pd.DataFrame:
    """Return ``expert_metrics.tsv``: which metrics put the heatmaps into the experts' order.

    Parameters
    ----------
    answers, seed, n_bootstrap
        See `rater_agreement`.
    scores, probes : DataFrame
        Long tables of the study; of the scores, single scans without smoothing take part.

    Returns
    -------
    DataFrame
        `EXPERT_COLUMNS`, by model and for all: Spearman's rho between rating and metric over the methods of one scan,
        mean over people, and Kendall's tau-b between the methods' means; both are oriented so that 1 means the experts'
        order, with bootstrap intervals over people. ``setting`` is the truth of a metric that knows one.
    """
    import pandas as pd

    rated = expert_ratings(answers[answers["repeats"] == 0])
    values = metric_values(scores, probes, answers)
    rows: list[dict[str, Any]] = []
    for model, part in by_model(rated.merge(values, on=["model", "scan_id", "method"])):
        for (metric, setting, is_truth), own in part.groupby(["metric", "setting", "is_truth"]):
            rows.append({
                "model": model, "metric": metric, "setting": setting, "is_truth": is_truth,
                **_within_scans(own, seed, n_bootstrap), **_between_methods(own, seed, n_bootstrap),
                "n_methods": own["method"].nunique(), "n_scans": own["scan_id"].nunique(),
                "n_people": own["participant_id"].nunique(),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(EXPERT_COLUMNS))


def metric_values(scores: pd.DataFrame, probes: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return what every metric says about the rated heatmaps, oriented so that larger is better.

    Returns
    -------
    DataFrame
        model, scan_id, method, metric, setting (a truth's name where ``is_truth``), is_truth, value.
    """
    import pandas as pd

    origin = ["model", "fold", "seed", "scan_id", "method"]
    scans = scores[(scores["level"] == "scan") & (scores["smoothing_mm"] == 0)]
    # One way of rectifying speaks for the metric, or it would stand in the table twice.
    scans = scans[scans["rectify"] == scans["rectify"].min()] if len(scans) else scans
    scans = scans.assign(setting=scans["truth"], is_truth=scans["truth"] != "")
    asked = probes[probes["null"] == ""].assign(is_truth=False)
    columns = [*origin, "metric", "setting", "is_truth", "value"]
    # An empty table has columns without a type, which would turn the others' keys into objects.
    filled = [table[columns] for table in (scans, asked) if len(table)] or [scans[columns]]
    found = pd.concat(filled).merge(answers[origin].drop_duplicates(), on=origin)
    found["value"] = found["value"] * found["metric"].map(orientation).astype(float)
    keys = ["model", "scan_id", "method", "metric", "setting", "is_truth"]
    return found[np.isfinite(found["value"])].groupby(keys, as_index=False)["value"].mean()


def _within_scans(own: pd.DataFrame, seed: int, n_bootstrap: int) -> dict[str, float]:
    """Return the mean over people of the rank correlation within their scans, with its interval."""
    from scipy.stats import rankdata

    found: dict[str, list[float]] = {}
    for (_, _, person), scan in own.dropna(subset=["rating"]).groupby(["model", "scan_id", "participant_id"]):
        ranks = np.stack([rankdata(scan["rating"]), rankdata(scan["value"])])
        if ranks.shape[1] >= LEAST_METHODS and (np.ptp(ranks, axis=1) > 0).all():
            found.setdefault(person, []).append(float(np.corrcoef(ranks)[0, 1]))
    if not found:
        return {"rho": np.nan, "rho_low": np.nan, "rho_high": np.nan}
    people = np.array([[np.mean(values)] for values in found.values()])
    low, high = interval(bootstrap_means(people, seed, n_bootstrap), len(people))
    return {"rho": float(people.mean()), "rho_low": float(low[0]), "rho_high": float(high[0])}


def _between_methods(own: pd.DataFrame, seed: int, n_bootstrap: int) -> dict[str, float]:
    """Return the rank correlation of the methods' means, over the heatmaps that have both a rating and a value."""
    both = own.dropna(subset=["rating"])
    if both["method"].nunique() < LEAST_METHODS:
        return {"tau": np.nan, "tau_low": np.nan, "tau_high": np.nan}
    judges = [both.pivot_table(name, "participant_id", "method").to_numpy() for name in ("rating", "value")]
    draws = [np.vstack([np.nanmean(judge, axis=0), bootstrap_means(judge, seed, n_bootstrap)]) for judge in judges]
    tau = kendall_tau(np.stack(draws, axis=1))[:, 0, 1]
    low, high = interval(tau[1:, None], len(judges[0]))
    exists = bool(np.isfinite(tau[0]))
    return {"tau": float(tau[0]), "tau_low": float(low[0]) if exists else np.nan,
            "tau_high": float(high[0]) if exists else np.nan}  # fmt: skip
