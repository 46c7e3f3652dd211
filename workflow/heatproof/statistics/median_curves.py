"""Information curves summed up as published: the area under the median over scans of each method's curve.

The median of curves that are 0 or 1 is 0 or 1 again, so an AIC summed up like this is degenerate; it is here to be
compared with published figures, beside the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["model", "recipe", "metric", "setting", "method"]
COLUMNS = (*KEYS, "n_scans", "median_curve_area", "mean_curve_area")


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
        `COLUMNS`. Areas count each stretch of the horizontal axis by the curve's height at its start, so that what is
        reached only by the whole scan counts nothing.
    """
    import pandas as pd

    own = curves[curves["null"] == ""] if len(curves) else curves
    rows = []
    for key, part in own.groupby(KEYS, sort=True, observed=True) if len(own) else ():
        wide = part.pivot_table(index=["fold", "seed", "scan_id"], columns="x", values="y")
        x, heights = wide.columns.to_numpy(dtype=float), wide.to_numpy(dtype=float)
        areas = [float(np.diff(x) @ pooled[:-1]) for pooled in (np.median(heights, axis=0), heights.mean(axis=0))]
        rows.append((*key, len(wide), *areas))
    return pd.DataFrame(rows, columns=list(COLUMNS))
