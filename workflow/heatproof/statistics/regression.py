"""How well a network predicts a number, for every weighting of its scans."""

from __future__ import annotations

import numpy as np


def regression_scores(measured: np.ndarray, estimate: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric of predicted numbers for every weighting of the scans.

    Parameters
    ----------
    measured, estimate : ndarray, shape (n,)
        What was measured in each scan, and what the network says, in one unit.
    weights : ndarray, shape (m, n)
        How often each scan counts.

    Returns
    -------
    dict of str to ndarray, shape (m,)
        ``r2`` (coefficient of determination: 1 less the squared error in units of the variance of `measured`, below 0
        where the mean would do better), ``mean_absolute_error`` and ``bias`` (mean of estimate less measured), in the
        unit of the number, and ``slope`` (of the regression of `estimate` on `measured`; 1 for a network that neither
        shrinks nor stretches). NaN where the weighted measurements do not vary.
    """
    total = weights.sum(axis=1)
    error = estimate - measured
    centre = weights @ measured / total
    spread = weights @ measured**2 / total - centre**2
    # A weighting that falls on equal measurements alone leaves rounding instead of a variance.
    varies = spread > 1e-12 * np.maximum(weights @ measured**2 / total, 1e-300)
    safe = np.where(varies, spread, np.nan)
    covariance = weights @ (measured * estimate) / total - centre * (weights @ estimate / total)
    return {
        "r2": 1 - (weights @ error**2 / total) / safe,
        "mean_absolute_error": weights @ np.abs(error) / total,
        "bias": weights @ error / total,
        "slope": covariance / safe,
    }
