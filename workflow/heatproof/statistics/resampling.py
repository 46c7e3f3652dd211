"""Resampling of people: bootstrap intervals, sign-flip and permutation tests, Holm's adjustment."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from heatproof.randomness import generator

LEVEL = 0.95
# Standard errors up to here are rounding (scores lie around one).
NO_SPREAD = 1e-12
# Sign patterns multiplied at once: they are kept as bytes and turned into floats in blocks.
BLOCK = 2048


@lru_cache(maxsize=4)
def draw_counts(seed: int, n_people: int, n_bootstrap: int) -> np.ndarray:
    """Return how often each person is drawn in each bootstrap sample, shape (n_bootstrap, n_people).

    The same for every condition with as many people, so that conditions are compared on the same samples.
    """
    random = generator(seed, "statistics", "bootstrap", n_people)
    chosen = random.integers(0, n_people, (n_bootstrap, n_people))
    rows = np.repeat(np.arange(n_bootstrap), n_people)
    counts = np.bincount(rows * n_people + chosen.reshape(-1), minlength=n_bootstrap * n_people)
    return counts.reshape(n_bootstrap, n_people).astype(np.float64)


def bootstrap_means(values: np.ndarray, seed: int, n_bootstrap: int) -> np.ndarray:
    """Return the mean over people in every bootstrap sample.

    Parameters
    ----------
    values : ndarray, shape (n_people, k)
        One row per person; NaN where a person has no value.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Samples.

    Returns
    -------
    ndarray, shape (n_bootstrap, k)
        NaN where a sample holds nobody with a value.
    """
    counts = draw_counts(seed, len(values), n_bootstrap)
    known = ~np.isnan(values)
    total, weight = counts @ np.where(known, values, 0.0), counts @ known
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)


# Fewer have no bootstrap interval that keeps its promise.
LEAST_PEOPLE = 5


def interval(draws: np.ndarray, n_people: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval of each column, widened for small samples.

    A percentile interval is too narrow for few people, by about ``sqrt((n - 1) / n)`` times the ratio of
    normal to t quantiles; the percentiles are moved out by that much (Hesterberg, The American Statistician
    2015;69:371, "expanded percentile").

    Parameters
    ----------
    draws : ndarray, shape (n_bootstrap, k)
        Bootstrap values; those that are NaN are left out.
    n_people : int
        People behind the estimate.
    level : float
        Coverage.

    Returns
    -------
    low, high : ndarray, shape (k,)
        NaN with fewer than `LEAST_PEOPLE`: of two people the interval covers its target half of the time, of four
        86 times in a hundred.
    """
    if n_people < LEAST_PEOPLE:
        empty = np.full(draws.shape[1:], np.nan)
        return empty, empty.copy()
    from scipy.special import ndtr, stdtrit

    tail = ndtr(np.sqrt(n_people / (n_people - 1)) * stdtrit(n_people - 1, (1 - level) / 2))
    missing = np.isnan(draws)
    if not missing.any():
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        return low, high
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    some = ~missing.all(axis=0)
    bounds[:, some] = np.nanquantile(draws[:, some], [tail, 1 - tail], axis=0)
    return bounds[0], bounds[1]


def t_interval(estimate: np.ndarray, error: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return estimate -/+ the t quantile times the standard error; NaN without degrees of freedom or spread."""
    if freedom < 1:
        empty = np.full(np.shape(estimate), np.nan)
        return empty, empty.copy()
    from scipy.special import stdtrit

    reach = stdtrit(freedom, (1 + LEVEL) / 2) * _spread(error)
    return estimate - reach, estimate + reach


def t_test(estimate: np.ndarray, error: np.ndarray, freedom: int) -> np.ndarray:
    """Return two-sided p values of estimates that are t-distributed around zero under the null hypothesis."""
    if freedom < 1:
        return np.full(np.shape(estimate), np.nan)
    from scipy.special import stdtr

    return 2 * stdtr(freedom, -np.abs(estimate / _spread(error)))


def _spread(error: np.ndarray) -> np.ndarray:
    """Return standard errors, NaN where they are zero: equal values in a few folds are no certainty."""
    return np.where(error > NO_SPREAD, error, np.nan)


def family_permutations(n_permutations: int, n_tests: int) -> int:
    """Return how many permutations a family of tests needs so that Holm's adjustment can reach significance.

    The least p value is one over the permutations; times the tests it must stay well below 0.05.
    """
    return max(n_permutations, 40 * n_tests)


@lru_cache(maxsize=4)
def _signs(seed: int, n_people: int, n_permutations: int) -> tuple[np.ndarray, bool]:
    """Return signs, shape (n, n_people), and whether they are all that exist."""
    if 2**n_people <= n_permutations + 1:
        return np.array(list(product((1, -1), repeat=n_people)), dtype=np.int8), True
    random = generator(seed, "statistics", "sign flips", n_people)
    return random.integers(0, 2, (n_permutations, n_people), dtype=np.int8) * np.int8(2) - np.int8(1), False


def sign_flip_test(differences: np.ndarray, seed: int, n_permutations: int) -> np.ndarray:
    """Return two-sided p values of paired differences.

    Under the null hypothesis a person's difference is as likely to have the other sign. All sign patterns
    are tried where there are no more than `n_permutations`, else that many random ones.

    Parameters
    ----------
    differences : ndarray, shape (n_people, k)
        One row per person, without NaN.
    seed : int
        Root seed of the study.
    n_permutations : int
        Random sign patterns at most.

    Returns
    -------
    ndarray, shape (k,)
        1 where all differences are zero; NaN without people.
    """
    n_people = len(differences)
    if not n_people:
        return np.full(differences.shape[1:], np.nan)
    signs, exact = _signs(seed, n_people, n_permutations)
    # Equal sums may differ in the last bits because they are added in another order.
    least = np.abs(differences.sum(axis=0)) * (1 - 1e-9) - 1e-15
    beyond = np.zeros(differences.shape[1:])
    for start in range(0, len(signs), BLOCK):
        beyond += (np.abs(signs[start : start + BLOCK] @ differences) >= least).sum(axis=0)
    return beyond / len(signs) if exact else (beyond + 1) / (len(signs) + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p values adjusted by Holm's step-down method; NaN stays NaN and does not count.

    Equal to statsmodels' ``multipletests(method="holm")``, which collects garbage on every call (0.1 s, times
    every condition of a study).
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
