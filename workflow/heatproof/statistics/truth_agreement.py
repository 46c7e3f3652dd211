"""How far a metric that needs no truth puts the methods into the order in which the truth puts them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import Condition, orientation
from heatproof.statistics.faithfulness import PROBE_CONTROLS, Probed, probe_conditions
from heatproof.statistics.meta_evaluation import ROUNDING, kendall_tau, truth_judges, with_interval
from heatproof.statistics.resampling import bootstrap_means

if TYPE_CHECKING:
    import pandas as pd

TRUTH_AGREEMENT_COLUMNS = (
    "model", "recipe", "metric", "setting", "truth", "truth_metric", "rho", "rho_low", "rho_high", "tau", "tau_low",
    "tau_high", "rho_methods", "rho_methods_low", "rho_methods_high", "tau_methods", "tau_methods_low",
    "tau_methods_high", "rho_scans", "rho_scans_low", "rho_scans_high", "exact_rank", "nulls_beaten", "n_methods",
    "n_controls", "n_scans", "n_people",
)  # fmt: skip
UNIT = ["fold", "seed", "scan_id"]


def truth_agreement(
    probes: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    seed: int,
    truth_metric: str = "average_precision",
    n_bootstrap: int = 1000,
    controls: Collection[str] = PROBE_CONTROLS,
) -> pd.DataFrame:
    """Return ``truth_agreement.tsv``: every probe's order of the methods beside the truth's, model by model.

    Parameters
    ----------
    probes : DataFrame
        Long table of probes.
    scores : DataFrame
        Long score table: of the probed scans, `truth_metric` against each scan's own truth, unsmoothed, counts.
    seed : int
        Root seed of the study.
    truth_metric : str
        Metric that holds maps against the truth.
    n_bootstrap : int
        Bootstrap samples of people, the same for both metrics.
    controls : collection of str
        Methods left out of ``rho_methods`` and ``tau_methods``: that a metric puts noise last is no agreement about
        methods.

    Returns
    -------
    DataFrame
        `TRUTH_AGREEMENT_COLUMNS`, one row per model, recipe, probe and setting; both metrics are taken over the scans
        and methods that both have. ``rho`` and ``tau`` are Spearman's and Kendall's (b) correlation between the
        methods' means over people, each oriented so that 1 means the same order from best to worst; ``rho_scans`` is
        the mean over people of Spearman's correlation within a scan. Intervals come from the bootstrap of people,
        none with fewer than five. Sanity: ``exact_rank`` is the place that the probe gives to the truth used as a map
        among the methods (1 is right), ``nulls_beaten`` the share of methods without controls whose own maps it
        prefers to their nulls, in the mean over people.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    references = truth_judges(probes, scores[scores["metric"] == truth_metric])
    for probed in probe_conditions(probes):
        judge = references.get((probed.key["model"], probed.key["recipe"]))
        pair = None if judge is None else _shared(probed.condition, judge.condition)
        if judge is None or pair is None:
            continue
        own, true = pair
        rows.append({
            **probed.key, "truth": judge.condition.key["truth"], "truth_metric": truth_metric,
            **_correlations(own, true, (probed.sign, orientation(truth_metric)), controls, seed, n_bootstrap),
            **_sanity(probed, controls), "n_methods": len(own.methods),
            "n_controls": sum(method in controls for method in own.methods),
            "n_scans": own.units["scan_id"].nunique(), "n_people": own.units["participant_id"].nunique(),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(TRUTH_AGREEMENT_COLUMNS))


def spearman_rho(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of two orders of the same items, draw by draw.

    Parameters
    ----------
    one, two : ndarray, shape (n_draws, n_items)
        What orders the items.

    Returns
    -------
    ndarray, shape (n_draws,)
        NaN where a value is, or where all items are tied.
    """
    from scipy.stats import rankdata

    centred = []
    for values in (one, two):
        # Means that differ by rounding only are equal.
        largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
        scale = np.where(largest > 0, largest, 1.0) * ROUNDING
        ranks = rankdata(np.round(values / scale) if np.isfinite(scale).all() else values, axis=1)
        centred.append(ranks - ranks.mean(axis=1, keepdims=True))
    products = (centred[0] * centred[1]).sum(axis=1)
    lengths = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    known = (lengths > 0) & np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
    return np.divide(products, lengths, out=np.full(len(one), np.nan), where=known)


def _shared(one: Condition, two: Condition) -> tuple[Condition, Condition] | None:
    """Return two conditions over the units and methods that both have; None without two methods and a unit."""
    methods = [method for method in one.methods if method in two.methods]
    places = {unit: row for row, unit in enumerate(two.units[UNIT].itertuples(index=False, name=None))}
    rows = [(row, places[unit]) for row, unit in enumerate(one.units[UNIT].itertuples(index=False, name=None))
            if unit in places]  # fmt: skip
    if len(methods) < 2 or not rows:
        return None
    cut = []
    for condition, kept in zip((one, two), zip(*rows, strict=True), strict=True):
        columns = [condition.methods.index(method) for method in methods]
        units = condition.units.iloc[list(kept)].reset_index(drop=True)
        cut.append(replace(condition, methods=methods, values=condition.values[np.ix_(kept, columns)], units=units))
    return cut[0], cut[1]


def _correlations(
    own: Condition,
    true: Condition,
    signs: tuple[float, float],
    controls: Collection[str],
    seed: int,
    n_bootstrap: int,
) -> dict[str, float]:
    """Return every correlation of the two orders with its interval."""
    n_methods = len(own.methods)
    within = spearman_rho(signs[0] * own.values, signs[1] * true.values)
    by_person = replace(own, methods=["within"], values=within[:, None])
    people = np.hstack([signs[0] * own.person_means(), signs[1] * true.person_means(), by_person.person_means()])
    # A person all of whose scans tie all methods has no correlation; a mean over nobody has none either.
    known = np.isfinite(people[:, -1])
    estimate = people.mean(axis=0)
    estimate[-1] = people[known, -1].mean() if known.any() else np.nan
    draws = np.vstack([estimate, bootstrap_means(people, seed, n_bootstrap)])
    claimed = [column for column, method in enumerate(own.methods) if method not in controls]
    found: dict[str, float] = {}
    for suffix, columns in (("", list(range(n_methods))), ("_methods", claimed)):
        one, two = draws[:, columns], draws[:, [n_methods + column for column in columns]]
        tau = kendall_tau(np.stack([one, two], axis=1))[:, 0, 1]
        found |= with_interval(f"rho{suffix}", spearman_rho(one, two), len(people))
        found |= with_interval(f"tau{suffix}", tau, len(people))
    return found | with_interval("rho_scans", draws[:, -1], int(known.sum()))


def _sanity(probed: Probed, controls: Collection[str]) -> dict[str, float]:
    """Return where the truth used as a map would stand, and how many methods are preferred to their nulls."""
    known = np.isfinite(probed.exact[:, 0])
    found = {"exact_rank": np.nan, "nulls_beaten": np.nan}
    if known.any():
        exact = probed.people(probed.exact)[:, 0]
        methods = probed.people(np.where(known[:, None], probed.condition.values, np.nan))
        means = probed.sign * np.nanmean(methods, axis=0)
        found["exact_rank"] = 1.0 + float((means > probed.sign * np.nanmean(exact)).sum())
    better = probed.sign * (probed.condition.values - probed.nulls)
    claimed = [method not in controls for method in probed.condition.methods]
    differences = probed.people(better)[:, claimed]
    compared = np.isfinite(differences).any(axis=0)
    if compared.any():
        found["nulls_beaten"] = float((np.nanmean(differences[:, compared], axis=0) > 0).mean())
    return found
