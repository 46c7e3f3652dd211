"""Information curves summed up as published: the area under the median over scans of each method's curve.

The median of curves that are 0 or 1 is 0 or 1 again, so an AIC summed up like this is degenerate; it is here to be
compared with published figures, beside the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from heatproof.statistics.conditions import LEAST_SHARE
from heatproof.statistics.faithfulness import EXACT_TRUTH, PROBE_KEYS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (*PROBE_KEYS, "method", "n_scans", "median_curve_area", "mean_curve_area")


def median_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Return ``median_curves.tsv``: areas under the median and the mean curve of each method's own maps.

    Parameters
    ----------
    curves : DataFrame
        Information curves: model, recipe, fold, seed, method, null, scan_id, metric, setting, x, y; the same x for
        every scan of a metric and setting.

    Returns
    -------
    DataFrame
        `COLUMNS`. A scan counts only if every method has a whole curve; the truth used as a map, which is known for
        some scans only, leaves none out, and a method without a curve on half of the scans has a row without areas.
    """
    import pandas as pd

    own = curves[curves["null"] == ""] if len(curves) else curves
    rows = []
    for key, part in own.groupby(PROBE_KEYS, sort=True, observed=True) if len(own) else ():
        wide = part.pivot(index=["fold", "seed", "scan_id"], columns=["method", "x"], values="y")
        methods, x = sorted(part["method"].unique()), np.sort(part["x"].unique())
        wide = wide.reindex(columns=pd.MultiIndex.from_product([methods, x]))
        heights = wide.to_numpy(dtype=float).reshape(len(wide), len(methods), len(x))
        known = np.isfinite(heights).all(axis=2)
        compared = np.array(methods) != EXACT_TRUTH
        scored = int(known[:, compared].any(axis=1).sum())
        usable = compared & (known.sum(axis=0) >= LEAST_SHARE * max(scored, 1))
        complete = known[:, usable].all(axis=1)
        for position, method in enumerate(methods):
            summed = usable[position] or method == EXACT_TRUTH
            counted = known[:, position] & (complete | (not summed))
            areas = [float("nan")] * 2
            if summed and counted.any():
                kept = heights[counted, position]
                areas = [area(x, np.median(kept, axis=0)), area(x, kept.mean(axis=0))]
            rows.append((*key, method, int(counted.sum()), *areas))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def area(x: np.ndarray, heights: np.ndarray) -> float:
    """Return the area under a curve in which what only the whole scan reaches counts nothing.

    Parameters
    ----------
    x, heights : ndarray, shape (n_points,)
        The curve from the empty to the whole scan; trapezoids but for the last stretch, which has the height of its
        start.
    """
    return float(np.trapezoid(heights[:-1], x[:-1]) + heights[-2] * (x[-1] - x[-2]))
