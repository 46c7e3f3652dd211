"""Headline statements about several targets at once: networks that each predict another number of the same scans.

Under ``as_published`` methods are ordered by the paper's own measure (the area under its perturbation curve), under
``corrected`` by what no paper had, the truth of each scan. Both look at the same maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from heatproof.publication.evidence import Evidence
from heatproof.publication.verdicts import passes
from heatproof.statistics.conditions import orientation
from heatproof.studies import OUTPUT_TRUTHS

PUBLISHED_MEASURE = "perturbation"
TRUTH_MEASURE = "average_precision"
# The paper reports areas to 5, 10, 15 and 25 points; the longest looks furthest into the map.
PUBLISHED_SETTING = "published 25"
# The same points with the same noise for all methods, in units of the target's spread.
CORRECTED_SETTING = "corrected noise 25 points"
# A method comes first for sure if it does in this share of the bootstrap samples.
SURE = 0.975
# Two orders that agree less than this put the methods in different places.
SAME_ORDER = 0.7
# A mean over people that orders the methods with at least this reliability would mostly order them so again.
RELIABLE = 0.8
SIGNIFICANCE = 0.05
Judged = tuple[str, str]
SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable here"


def agreed(verdicts: Iterable[str]) -> str:
    """Return the verdict that all are, or undecided where they differ."""
    found = set(verdicts)
    return found.pop() if len(found) == 1 else UNDECIDED


def targets_of(ranking: pd.DataFrame, certificates: pd.DataFrame) -> list[str]:
    """Return a network for each number that a study predicts: the first that passes its certificate.

    The maps of a network that fails are no evidence about methods, and a second network for the same number is no
    second target.
    """
    scored = set(ranking.loc[ranking["truth"].isin(OUTPUT_TRUTHS), "model"])
    passed = [model for model, good in passes(certificates).items() if good and model in scored]
    outputs = certificates.drop_duplicates("model").set_index("model")["output"]
    return list({str(outputs[model]): model for model in sorted(passed, reverse=True)}.values())[::-1]


def no_method_is_best(targets: Mapping[str, Evidence]) -> Judged:
    """E1: do different methods surely come first on different targets?"""
    orders = measured(targets)
    if len(orders) < 2:
        return NOT_TESTABLE, "fewer than two targets with an order of the methods"
    leaders = {target: str(rows["value"].idxmax()) for target, rows in orders.items()}
    # Leaders may differ, and orders disagree, by chance alone: only sure ones are evidence.
    sure = {target: leader for target, leader in leaders.items() if orders[target].loc[leader, "first"] >= SURE}
    effect = (
        f"first: {_listed(leaders)}; surely on {', '.join(sure) or 'no target'}; "
        f"Kendall's W over {len(orders)} targets {concordance(orders):.2f}"
    )
    if len(set(sure.values())) > 1:
        return SUPPORTED, effect
    return (CONTRADICTED if len(sure) == len(orders) else UNDECIDED), effect


def some_are_inferior(targets: Mapping[str, Evidence]) -> Judged:
    """E2: are mean ranks further apart than the critical difference, or is a method below the middle everywhere?"""
    orders = measured(targets)
    ranks = ranks_over(orders)
    n_targets, n_methods = ranks.shape
    if n_targets < 2 or n_methods < 3:
        return NOT_TESTABLE, "fewer than two targets or three methods"
    mean = ranks.mean().sort_values()
    apart, critical = float(mean.iloc[-1] - mean.iloc[0]), critical_difference(n_methods, n_targets)
    everywhere = [
        method
        for method in mean.index
        if all(rows.loc[method, "high"] < rows["value"].median() for rows in orders.values())
    ]
    powerless = " (more than ranks can be apart)" if critical > n_methods - 1 else ""
    effect = (
        f"mean ranks {mean.iloc[0]:.1f} ({mean.index[0]}) to {mean.iloc[-1]:.1f} ({mean.index[-1]}), critical "
        f"difference {critical:.1f}{powerless} over {n_targets} targets; clearly below the middle on every target: "
        f"{', '.join(everywhere) or 'none'}"
    )
    if apart > critical or everywhere:
        return SUPPORTED, effect
    return (CONTRADICTED if apart < critical / 2 and not powerless else UNDECIDED), effect


def measure_disagrees(targets: Mapping[str, Evidence]) -> Judged:
    """E3: does the perturbation metric put the methods in another order than the truth does?"""
    verdicts, words = [], []
    for target, evidence in targets.items():
        for _, row in _beside_truth(evidence).iterrows():
            low, high = float(row["tau_methods_low"]), float(row["tau_methods_high"])
            verdict = SUPPORTED if high < SAME_ORDER else CONTRADICTED if low > SAME_ORDER else UNDECIDED
            pair = (PUBLISHED_MEASURE, str(row["setting"])), (TRUTH_MEASURE, "")
            reliability = min(evidence.reliability(*one) for one in pair)
            # Noise alone makes two orders differ.
            verdicts.append(verdict if reliability > RELIABLE else UNDECIDED)
            bounds = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) else " (no interval)"
            tau = f"tau {row['tau_methods']:.2f}{bounds}".replace("-", "−")
            words.append(f"{target}: {tau}, least reliability {reliability:.2f}")
    if not verdicts:
        return NOT_TESTABLE, "no perturbation metric beside a truth"
    return agreed(verdicts), "; ".join(words)


def _beside_truth(evidence: Evidence) -> pd.DataFrame:
    """Return the agreement of the perturbation metric, as the recipe has it, with the truth."""
    rows = evidence.table("truth_agreement")
    rows = rows[(rows["metric"] == PUBLISHED_MEASURE) & (rows["truth_metric"] == TRUTH_MEASURE)]
    suited = rows["setting"].map(lambda setting: _suits(str(setting), evidence.recipe)).astype(bool)
    return rows[suited & rows["tau_methods"].notna() & rows["truth"].isin(OUTPUT_TRUTHS)]


def best_depends_on_measure(targets: Mapping[str, Evidence]) -> Judged:
    """E4: is every method that may lead by perturbation clearly beaten by the truth, on the same target?"""
    differ, same, words = 0, 0, []
    for target, evidence in targets.items():
        by_metric, by_truth = order_by_perturbation(evidence), order_by_truth(evidence)
        shared = by_metric.index.intersection(by_truth.index)
        if len(shared) < 3:
            continue
        by_metric, by_truth = by_metric.loc[shared], by_truth.loc[shared]
        first, other = str(by_metric["value"].idxmax()), str(by_truth["value"].idxmax())
        # Who leads by a noisy measure is not known: all that lead in some bootstrap samples are asked.
        may_lead = by_metric.index[(by_metric["best_rank"] <= 1) | (by_metric.index == first)]
        beaten = (by_truth.loc[may_lead, "high"] < by_truth.loc[other, "low"]).all()
        differ, same = differ + bool(beaten), same + (first == other)
        words.append(f"{target}: {first} by perturbation ({len(may_lead)} may lead), {other} by truth")
    if not words:
        return NOT_TESTABLE, "no perturbation metric beside a truth"
    verdict = SUPPORTED if differ > len(words) / 2 else CONTRADICTED if same == len(words) else UNDECIDED
    return verdict, f"clearly different on {differ} of {len(words)} targets ({'; '.join(words)})"


def measured(targets: Mapping[str, Evidence]) -> dict[str, pd.DataFrame]:
    """Return the methods of each target by the measure of the recipe: value, low and high, larger is better."""
    found = {}
    for target, evidence in targets.items():
        published = evidence.recipe == "as_published"
        rows = order_by_perturbation(evidence) if published else order_by_truth(evidence)
        if len(rows) > 1:
            found[target] = rows
    return found


def order_by_truth(evidence: Evidence) -> pd.DataFrame:
    """Return the trained methods of a target by their agreement with the truth of each scan."""
    rows = evidence.localisation()
    return _oriented(rows[rows["truth"].isin(OUTPUT_TRUTHS) & (rows["metric"] == TRUTH_MEASURE)])


def order_by_perturbation(evidence: Evidence) -> pd.DataFrame:
    """Return the trained methods of a target by the perturbation metric of the paper, or as it was corrected."""
    rows = evidence.faithfulness(PUBLISHED_MEASURE)
    return _oriented(rows[rows["setting"].map(lambda setting: _suits(str(setting), evidence.recipe)).astype(bool)])


def concordance(orders: Mapping[str, pd.DataFrame]) -> float:
    """Return Kendall's W of the orders over the methods that all targets have: 1 for one order, 0 for none."""
    ranks = ranks_over(orders)
    n_targets, n_methods = ranks.shape
    if n_methods < 2:
        return float("nan")
    spread = float(((ranks.sum() - ranks.sum().mean()) ** 2).sum())
    # Ties shorten the largest possible spread (Kendall & Gibbons 1990, chapter 6).
    ties = sum(float((counts**3 - counts).sum()) for counts in (row.value_counts() for _, row in ranks.iterrows()))
    most = n_targets**2 * (n_methods**3 - n_methods) - n_targets * ties
    return 12 * spread / most if most > 0 else float("nan")


def ranks_over(orders: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the rank of each method on each target, 1 the best, for the methods that all targets have."""
    values = pd.DataFrame({target: rows["value"] for target, rows in orders.items()}).dropna()
    return values.rank(ascending=False).T


def critical_difference(n_methods: int, n_targets: int, significance: float = SIGNIFICANCE) -> float:
    """Return how far two mean ranks must be apart (Nemenyi's test; Demšar, JMLR 2006;7:1, section 3.2.2)."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - significance, n_methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_targets))


def _suits(setting: str, recipe: str) -> bool:
    return setting == (PUBLISHED_SETTING if recipe == "as_published" else CORRECTED_SETTING)


def _oriented(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the methods of a condition without controls, larger is better.

    Columns: value, low and high; first, how often a method comes first in the bootstrap; best_rank, the lower end of
    the interval of its rank.
    """
    rows = rows[~rows["is_control"].astype(bool) & rows["mean"].notna()].drop_duplicates("method")
    signs = rows["metric"].map(orientation).astype(float)
    ends = pd.DataFrame({"one": rows["low"] * signs, "other": rows["high"] * signs})
    found = pd.DataFrame(
        {"value": rows["mean"] * signs, "low": ends.min(axis=1, skipna=False), "high": ends.max(axis=1, skipna=False),
         "first": rows["probability_first"], "best_rank": rows["rank_low"]}
    )  # fmt: skip
    return found.set_index(rows["method"].to_numpy())


def _listed(leaders: Mapping[str, str]) -> str:
    by_method: dict[str, Sequence[str]] = {}
    for target, method in leaders.items():
        by_method[method] = [*by_method.get(method, []), target]
    return "; ".join(f"{method} on {', '.join(targets)}" for method, targets in sorted(by_method.items()))
