"""How far raters agree: quadratically weighted kappa of two, intraclass correlations of any number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heatproof.statistics.resampling import LEVEL


@dataclass(frozen=True)
class IntraclassCorrelation:
    """One intraclass correlation.

    Attributes
    ----------
    value, low, high : float
        Estimate and its 95 % interval; NaN where it does not exist.
    n_items, n_raters : int
        Items that every rater rated, and raters.
    """

    value: float
    low: float
    high: float
    n_items: int
    n_raters: int


def weighted_kappa(first: np.ndarray, second: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Cohen's kappa with quadratic weights of two raters, for several weightings of the items.

    ``1 - observed / expected``, the mean squared difference of the two ratings of an item over that of a rating of the
    first and any rating of the second (Cohen, Psychological Bulletin 1968;70:213). The latter is the sum of both
    variances and of the squared difference of the means, so that no table of ratings is needed.

    Parameters
    ----------
    first, second : ndarray, shape (n_items,)
        Ratings on a scale of equal steps; NaN where a rater did not rate, which leaves the item out.
    weights : ndarray, shape (n_draws, n_items), optional
        How often each item counts, such as in bootstrap samples; once by default.

    Returns
    -------
    ndarray, shape (n_draws,)
        NaN where nothing was rated by both, or all ratings are equal.
    """
    weights = np.ones((1, len(first))) if weights is None else weights
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return np.full(len(weights), np.nan)
    counts, ratings = weights[:, both], np.stack([first[both], second[both]], axis=1)
    # Around their own centre, because variances are differences of sums of squares.
    ratings = ratings - ratings.mean()
    total = counts.sum(axis=1)
    safe = np.where(total > 0, total, np.nan)
    means, squares = (counts @ ratings) / safe[:, None], (counts @ ratings**2) / safe[:, None]
    observed = (counts @ (ratings[:, 0] - ratings[:, 1]) ** 2) / safe
    expected = squares.sum(axis=1) - 2 * means.prod(axis=1)
    # Equal ratings differ by rounding only.
    varied = expected > 1e-12 * np.maximum(1.0, np.abs(ratings).max() ** 2)
    return 1 - np.divide(observed, expected, out=np.full(total.shape, np.nan), where=varied)


def intraclass_correlations(ratings: np.ndarray) -> dict[str, IntraclassCorrelation]:
    """Return ICC(2,1), ICC(2,k) and ICC(3,1) of a table of ratings.

    Of the two-way analysis of variance of items by raters: raters drawn from many (2: absolute agreement, of one rating
    or the mean of all) or these raters only (3: consistency). Shrout & Fleiss, Psychological Bulletin 1979;86:420; the
    intervals are theirs and those of McGraw & Wong, Psychological Methods 1996;1:30, table 7.

    Parameters
    ----------
    ratings : ndarray, shape (n_items, n_raters)
        NaN where a rater did not rate; such items are left out.

    Returns
    -------
    dict of str to IntraclassCorrelation
        ``icc_2_1``, ``icc_2_k`` and ``icc_3_1``; NaN with fewer than two raters or items, or without any variance.
    """
    complete = ratings[np.isfinite(ratings).all(axis=1)] if ratings.size else ratings
    n, k = len(complete), ratings.shape[1]
    if n < 2 or k < 2 or np.ptp(complete) == 0:
        nothing = IntraclassCorrelation(np.nan, np.nan, np.nan, n, k)
        return dict.fromkeys(("icc_2_1", "icc_2_k", "icc_3_1"), nothing)
    rows, columns, error = mean_squares(complete)
    single = _agreement(rows, columns, error, n, k)
    # The mean of all raters: Spearman and Brown's formula, for the bounds as for the estimate.
    value, low, high = (_stepped_up(each, k) for each in single)
    return {
        "icc_2_1": IntraclassCorrelation(*single, n, k),
        "icc_2_k": IntraclassCorrelation(value, low, high, n, k),
        "icc_3_1": IntraclassCorrelation(*_consistency(rows, error, n, k), n, k),
    }


def mean_squares(ratings: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares between items, between raters and of the residual of a complete table (items, raters)."""
    n, k = ratings.shape
    centred = ratings - ratings.mean()
    items, raters = centred.mean(axis=1), centred.mean(axis=0)
    residual = centred - items[:, None] - raters[None]
    return (
        float(k * (items**2).sum() / (n - 1)),
        float(n * (raters**2).sum() / (k - 1)),
        float((residual**2).sum() / ((n - 1) * (k - 1))),
    )


def _stepped_up(value: float, k: int) -> float:
    # At -1 / (k - 1), the least a correlation of k raters can be, the mean of all has no bound.
    below = 1 + (k - 1) * value
    return k * value / below if below > 0 else -np.inf


def _consistency(rows: float, error: float, n: int, k: int) -> tuple[float, float, float]:
    """Return ICC(3,1) and its interval."""
    from scipy.stats import f

    value = (rows - error) / (rows + (k - 1) * error)
    if error == 0:
        return value, value, value
    ratio, tail = rows / error, (1 + LEVEL) / 2
    low = ratio / f.ppf(tail, n - 1, (n - 1) * (k - 1))
    high = ratio * f.ppf(tail, (n - 1) * (k - 1), n - 1)
    return value, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)


def _agreement(rows: float, columns: float, error: float, n: int, k: int) -> tuple[float, float, float]:
    """Return ICC(2,1) and its interval, whose degrees of freedom are Satterthwaite's."""
    from scipy.stats import f

    value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    if error == 0 and columns == 0:
        return value, value, value
    # Both sides of Shrout and Fleiss' fraction times the squared error, which may be zero.
    raters, items = k * value * columns, (n * (1 + (k - 1) * value) - k * value) * error
    freedom = (raters + items) ** 2 / (raters**2 / (k - 1) + items**2 / ((n - 1) * (k - 1)))
    lower = f.ppf((1 + LEVEL) / 2, n - 1, freedom)
    upper = f.ppf((1 + LEVEL) / 2, freedom, n - 1)
    others = k * columns + (k * n - k - n) * error
    return (
        value,
        n * (rows - lower * error) / (lower * others + n * rows),
        n * (upper * rows - error) / (others + n * upper * rows),
    )
