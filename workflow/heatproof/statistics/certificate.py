"""Whether a network measures what it is said to measure, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from heatproof.statistics.resampling import draw_counts, interval

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("output", "unit", "part", "n", "check", "value", "ci_low", "ci_high", "least", "most", "passes")
# What a certified network keeps: explained share of the variance, slope on its own output, slope on any other one
# in standard deviations of the target per standard deviation of the other.
LEAST_R2, LEAST_SLOPE, MOST_SLOPE, MOST_LEAKAGE = 0.95, 0.9, 1.1, 0.05


@dataclass(frozen=True)
class Measurements:
    """What a network said about the test scans, and what was measured.

    Attributes
    ----------
    output, unit : str
        What it estimates.
    estimates, measured : ndarray, shape (n,)
        In the unit.
    people : ndarray, shape (n,)
        Who each scan is of.
    deviation : float
        Standard deviation of the target over the training scans, in the unit.
    others : mapping of str to ndarray, shape (n,)
        The other outputs as measured; NaN where unknown.
    deviations : mapping of str to float
        Standard deviation of every other output over the training scans.
    responses : mapping of str to ndarray, shape (n,)
        For simulated scans the change of the estimate per unit of an output, everything else held fixed; NaN for scans
        that were not asked. Empty where scans are real: slopes are then regressions over scans.
    """

    output: str
    unit: str
    estimates: np.ndarray
    measured: np.ndarray
    people: np.ndarray
    deviation: float
    others: Mapping[str, np.ndarray]
    deviations: Mapping[str, float]
    responses: Mapping[str, np.ndarray] = field(default_factory=dict)
    within: np.ndarray | None = None


def certificate(test: Measurements, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Return ``certificate.tsv``: one row a check, with an interval over people and whether the value passes.

    Checks: ``r2``, ``mae`` (in the unit, without a bar), ``slope`` (change of the estimate per change of its own
    output) and, for every other output, ``leakage:{other}`` (mean change of the estimate per change of the other, each
    in standard deviations). Simulated scans have two more rows without a bar: ``slope_within``, the slope over the
    scans that need no extrapolation (a network answers less beyond the numbers that it was trained on), and
    ``sensitivity:{other}``, the mean absolute leakage, which shows responses of both signs that cancel. Of real scans
    the slope is that of the regression of estimate on measured, and a leakage the coefficient of the other output
    beside the own one: the two are confounded where people's outputs go together, which no regression can undo.

    Parameters
    ----------
    test : Measurements
        The test scans.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people.
    """
    import pandas as pd

    people = pd.factorize(test.people)[0]
    n_people = int(people.max()) + 1
    weights = np.concatenate([np.ones((1, len(people))), draw_counts(seed, n_people, n_bootstrap)[:, people]])
    rows = []
    for check, values, known in _checks(test, weights):
        low, high = interval(values[1:, None], len(np.unique(people[known])))
        least, most = _bars(check)
        passes = "" if np.isnan([least, most]).all() else str(_within(values[0], least, most)).lower()
        rows.append({
            "output": test.output, "unit": test.unit, "part": "test", "n": int(known.sum()), "check": check,
            "value": values[0], "ci_low": low[0], "ci_high": high[0], "least": least, "most": most, "passes": passes,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def empty_certificate() -> pd.DataFrame:
    """Return the certificate of a classifier: no check."""
    import pandas as pd

    return pd.DataFrame(columns=list(COLUMNS))


def _bars(check: str) -> tuple[float, float]:
    """Return the least and the largest value that passes; NaN where there is no such bar."""
    if check == "r2":
        return LEAST_R2, np.nan
    if check == "slope":
        return LEAST_SLOPE, MOST_SLOPE
    return (-MOST_LEAKAGE, MOST_LEAKAGE) if check.startswith("leakage:") else (np.nan, np.nan)


def _within(value: float, least: float, most: float) -> bool:
    """Return whether a value is known and no bar excludes it."""
    return bool(np.isfinite(value) and not value < least and not value > most)


def _checks(test: Measurements, weights: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (check, its value under every weighting, scans behind it)."""
    everybody = np.ones(len(test.measured), dtype=bool)
    error = np.abs(test.estimates - test.measured)
    checks: list[tuple[str, np.ndarray, np.ndarray]] = [
        ("r2", _r_squared(test, weights), everybody),
        ("mae", _mean(error, weights), everybody),
    ]
    if test.responses:
        own = test.responses[test.output]
        checks.append(("slope", _mean(own, weights), np.isfinite(own)))
        if test.within is not None:
            inner = np.where(test.within, own, np.nan)
            checks.append(("slope_within", _mean(inner, weights), np.isfinite(inner)))
    else:
        checks.append(("slope", _slope(test, None, weights), everybody))
    for name, values in test.others.items():
        scale = test.deviations[name] / test.deviation
        if name in test.responses:
            response = test.responses[name] * scale
            known = np.isfinite(response)
            checks.append((f"leakage:{name}", _mean(response, weights), known))
            checks.append((f"sensitivity:{name}", _mean(np.abs(response), weights), known))
        elif not test.responses:
            known = np.isfinite(values)
            checks.append((f"leakage:{name}", _slope(test, values, weights) * scale, known))
    return checks


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the known values under every weighting, shape (m,)."""
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    summed = weights[:, known] @ values[known]
    return np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)


def _r_squared(test: Measurements, weights: np.ndarray) -> np.ndarray:
    """Return 1 - squared error / variance of what was measured, under every weighting."""
    left = _mean((test.estimates - test.measured) ** 2, weights)
    total = _mean(test.measured**2, weights) - _mean(test.measured, weights) ** 2
    return 1 - np.divide(left, total, out=np.full(left.shape, np.nan), where=total > 0)


def _slope(test: Measurements, other: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Return a slope of the estimates under every weighting: on the own output, or on another one beside it.

    NaN where what was measured does not vary, or the two go together without exception.
    """
    known = np.ones(len(test.measured), dtype=bool) if other is None else np.isfinite(other)
    regressors = [test.measured[known]] if other is None else [test.measured[known], other[known]]
    used = weights[:, known]
    total = used.sum(axis=1, keepdims=True)
    shares = np.divide(used, total, out=np.full(used.shape, np.nan), where=total > 0)
    centred = [value - (shares @ value)[:, None] for value in (*regressors, test.estimates[known])]
    moments = np.array([[(shares * one * two).sum(axis=1) for one in centred] for two in centred])
    if other is None:
        return _quotient(moments[0, 1], moments[0, 0], moments[0, 0])
    (own, shared, answer_own), (_, variance, answer_other) = moments[0], moments[1]
    determinant = own * variance - shared**2
    return _quotient(own * answer_other - shared * answer_own, determinant, own * variance)


def _quotient(numerator: np.ndarray, denominator: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return a quotient; NaN where the denominator is rounding alone."""
    sound = np.isfinite(denominator) & (denominator > 1e-9 * size)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=sound)
