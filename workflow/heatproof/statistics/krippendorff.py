"""Krippendorff's alpha: how far raters agree about items, beyond what chance would give."""

from __future__ import annotations

import numpy as np

LEVELS = ("ordinal", "interval")
# Numbers laid out at once for the ordinal distance, whose scale changes with every bootstrap sample.
BLOCK = 2_000_000


def krippendorff_alpha(values: np.ndarray, level: str = "ordinal") -> float:
    """Return Krippendorff's alpha of a table of ratings.

    Parameters
    ----------
    values : ndarray, shape (n_raters, n_items)
        Ratings; NaN where a rater did not rate.
    level : {"ordinal", "interval"}
        Whether only the order of the ratings counts or also their distance.

    Returns
    -------
    float
        1 if all agree, about 0 if they agree as by chance, below if they contradict one another; NaN where no item
        has two ratings or all ratings are equal. Krippendorff, "Computing Krippendorff's alpha-reliability", 2011:
        ``1 - D_o / D_e`` of the coincidence matrix.
    """
    return float(weighted_alpha(values, np.ones((1, len(values))), level)[0])


def weighted_alpha(values: np.ndarray, weights: np.ndarray, level: str = "ordinal") -> np.ndarray:
    """Return alpha for several weightings of the raters, such as how often each is drawn in bootstrap samples.

    A rater who is drawn twice is not compared with himself, which would pass for agreement.

    Parameters
    ----------
    values : ndarray, shape (n_raters, n_items)
        Ratings; NaN where a rater did not rate.
    weights : ndarray, shape (n_draws, n_raters)
        Whole numbers.
    level : {"ordinal", "interval"}
        See `krippendorff_alpha`.

    Returns
    -------
    ndarray, shape (n_draws,)
    """
    if level not in LEVELS:
        raise ValueError(f"'{level}' is no level of measurement; use one of {', '.join(LEVELS)}")
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(weights), np.nan)
    if level == "interval":
        return _alpha(np.where(known, values - values[known].mean(), 0.0)[None], known, weights)
    codes = np.zeros(values.shape, dtype=np.int64)
    _, codes[known] = np.unique(values[known], return_inverse=True)
    uses = np.stack([np.bincount(row[has], minlength=codes.max() + 1) for row, has in zip(codes, known, strict=True)])
    if known.all() and (uses == uses[0]).all():
        # All raters hand out the same ratings, as in ranks without ties: the scale is the same in every sample.
        scale = np.cumsum(uses[0]) - uses[0] / 2
        return _alpha((scale - scale.mean())[codes][None], known, weights)
    step = max(1, BLOCK // values.size)
    blocks = [weights[start : start + step] for start in range(0, len(weights), step)]
    return np.concatenate([_alpha(_positions(codes, known, block), known, block) for block in blocks])


def _pairs(known: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ratings, squared weights and pairs of different raters of each item, shape (n_draws, n_items) each."""
    ratings, squares = weights @ known, weights**2 @ known
    pairs = ratings**2 - squares
    # An item with one rating cannot be compared, so it does not count at all.
    return np.where(pairs > 0, ratings, 0.0), np.where(pairs > 0, squares, 0.0), pairs


def _positions(codes: np.ndarray, known: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return where each rating stands on the ordinal scale of each draw, shape (n_draws, n_raters, n_items).

    The ordinal distance of two categories is the number of ratings between their middles: a difference of positions.
    """
    _, _, pairs = _pairs(known, weights)
    n_codes = int(codes.max()) + 1
    counted = weights[:, :, None] * (known & (pairs > 0)[:, None, :])
    draws = np.arange(len(weights))[:, None, None] * n_codes
    counts = np.bincount((draws + codes).ravel(), counted.ravel(), len(weights) * n_codes).reshape(-1, n_codes)
    middles = np.cumsum(counts, axis=1) - counts / 2
    middles -= counts.sum(axis=1, keepdims=True) / 2
    return np.where(known, np.take_along_axis(middles, codes.reshape(1, -1), axis=1).reshape(-1, *codes.shape), 0.0)


def _alpha(positions: np.ndarray, known: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return alpha with squared differences of positions, shape (1 or n_draws, n_raters, n_items), as distance."""
    ratings, squares, pairs = _pairs(known, weights)
    paired = pairs > 0
    if len(positions) == 1:
        first, second = weights @ positions[0], weights @ positions[0] ** 2
    else:
        first = np.matmul(weights[:, None, :], positions)[:, 0]
        second = np.matmul(weights[:, None, :], positions**2)[:, 0]
    first, second = np.where(paired, first, 0.0), np.where(paired, second, 0.0)
    within = np.divide(ratings * (ratings * second - first**2), pairs, out=np.zeros(pairs.shape), where=paired)
    total = ratings.sum(axis=1)
    observed = within.sum(axis=1)
    expected = total * second.sum(axis=1) - first.sum(axis=1) ** 2
    chance_pairs = total**2 - squares.sum(axis=1)
    # Equal ratings differ by rounding only.
    varied = expected > 1e-12 * np.maximum(total * second.sum(axis=1), 1e-300)
    ratio = np.divide(observed * chance_pairs, total * expected, out=np.full(total.shape, np.nan), where=varied)
    return 1 - ratio
