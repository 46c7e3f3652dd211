"""Whether a metric deserves to be listened to: what it makes of constant networks, of the truth and of noise."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.faithfulness import NOISE, PROBE_CONTROLS, Probed, probe_conditions, summary
from heatproof.statistics.resampling import interval
from heatproof.statistics.sampling import sample

if TYPE_CHECKING:
    import pandas as pd

SANITY_COLUMNS = ("model", "recipe", "metric", "setting", "check", "value", "limit", "passed", "meaning")
# Values of maps under a constant network may differ by rounding.
SPREAD_LIMIT = 1e-9
MEANINGS = {
    "constant_right": "a network that always gives the explained class must not rank maps: largest difference between "
    "two maps of a scan",
    "constant_wrong": "a network that never gives the explained class must not rank maps: largest difference between "
    "two maps of a scan",
    "truth_beats_noise": "the truth used as a map must be better than white noise, or the metric, or the network, does "
    "not follow the truth: lower end of the 95 % interval of their paired difference",
    "noise_beats_methods": "white noise must not be clearly better than the methods: lower end of the 95 % interval of "
    "noise minus the median method",
}


def sanity(
    probes: pd.DataFrame,
    spreads: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    controls: Collection[str] = PROBE_CONTROLS,
) -> pd.DataFrame:
    """Return ``sanity.tsv``: the checks that every metric has to pass, for every network.

    Parameters
    ----------
    probes : DataFrame
        Long table of probes.
    spreads : DataFrame
        Columns model, metric, setting, constant (``right`` or ``wrong``) and spread, the difference between the best
        and the worst map of a scan under a constant network; NaN where the metric excludes the scan, as it should.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people.
    controls : collection of str
        Methods that are controls: they do not count in the median method.

    Returns
    -------
    DataFrame
        `SANITY_COLUMNS`: ``value`` is held against ``limit``; ``meaning`` says what the check asks. Differences are
        oriented so that positive is better. A check whose maps were not probed has no row, nor has a constant network
        under which every scan is excluded; without an interval (one person) the truth has not beaten noise, nor noise
        the methods.
    """
    import pandas as pd

    rows = _constant_rows(probes, spreads)
    for probed in probe_conditions(probes):
        if NOISE not in probed.condition.methods:
            continue
        noise = probed.condition.methods.index(NOISE)
        if np.isfinite(probed.exact).any():
            difference = probed.sign * (probed.exact - probed.condition.values[:, [noise]])
            _, low, _ = summary(probed.people(difference), seed, n_bootstrap)
            rows.append(_row(probed.key, "truth_beats_noise", float(low[0]), 0.0, bool(low[0] > 0)))
        claimed = [i for i, method in enumerate(probed.condition.methods) if method not in controls]
        if claimed:
            lower = _noise_over_median(probed, noise, claimed, seed, n_bootstrap)
            rows.append(_row(probed.key, "noise_beats_methods", lower, 0.0, not lower > 0))
    return pd.DataFrame(rows, columns=list(SANITY_COLUMNS))


def _row(key: dict[str, Any], check: str, value: float, limit: float, passed: bool) -> dict[str, Any]:
    return {**key, "check": check, "value": value, "limit": limit, "passed": passed, "meaning": MEANINGS[check]}


def _constant_rows(probes: pd.DataFrame, spreads: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the checks of constant networks, the largest spread over all folds, seeds and scans."""
    if spreads.empty:
        return []
    recipes = {} if probes.empty else probes.groupby("model", observed=True)["recipe"].first().to_dict()
    rows = []
    largest = spreads.groupby(["model", "metric", "setting", "constant"], observed=True)["spread"].max()
    for (model, metric, setting, constant), spread in largest.items():
        key = {"model": model, "recipe": recipes.get(model, ""), "metric": metric, "setting": setting}
        if np.isnan(spread):
            # Every scan is excluded under a constant network, which then says nothing about the metric.
            continue
        passed = bool(spread < SPREAD_LIMIT)
        rows.append(_row(key, f"constant_{constant}", float(spread), SPREAD_LIMIT, passed))
    return rows


def _noise_over_median(probed: Probed, noise: int, claimed: list[int], seed: int, n_bootstrap: int) -> float:
    """Return the lower end of the interval of noise minus the median over methods, NaN for one person."""
    sampled = sample(probed.condition, None, seed, n_bootstrap)
    gaps = probed.sign * (sampled.draws[:, noise] - np.median(sampled.draws[:, claimed], axis=1))
    n_people = 0 if sampled.people is None else len(sampled.people)
    return float(interval(gaps[:, None], n_people)[0][0])
