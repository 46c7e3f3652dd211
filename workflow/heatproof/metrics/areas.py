"""Relevance per brain area.

Sums use `bincount`: label maskers of other libraries drop areas that resampling lost and so shift columns,
wrap labels above 127, and return zero for negative weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heatproof.errors import GeometryError

if TYPE_CHECKING:
    import pandas as pd


def _checked_labels(labels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape not in (maps.shape[1:], maps.shape):
        raise GeometryError(
            f"labels of shape {labels.shape} do not fit maps of shape {maps.shape}.",
            field="labels",
            remedy="give one label per voxel, for all maps or for each.",
        )
    whole = np.rint(labels).astype(np.int64)
    if not np.array_equal(whole, labels) or whole.min(initial=0) < 0:
        raise GeometryError(
            "labels must be whole numbers from 0 up.",
            field="labels",
            remedy="resample the atlas with nearest neighbour.",
        )
    return whole


def relevance_by_area(
    maps: np.ndarray,
    labels: np.ndarray,
    areas: Iterable[int] | None = None,
    scan_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return sum and density of relevance in every area of every scan (Böhle et al. 2019, section 2.5).

    Parameters
    ----------
    maps : ndarray, shape (N, *space)
        Signed relevance.
    labels : ndarray of int, shape (*space,) or (N, *space)
        Area of each voxel, 0 for none; one volume for all maps or one for each.
    areas : iterable of int, optional
        Areas to list; by default all that occur. One that a scan lacks (lost by resampling, say) stays as
        a row with no voxels and NaN.
    scan_ids : sequence of str, optional
        Names of the scans; 0, 1, ... by default.

    Returns
    -------
    DataFrame
        Columns scan, area, n_voxels, sum, density (sum / n_voxels); N x areas rows.

    Raises
    ------
    GeometryError
        If the shapes do not fit or labels are not whole numbers from 0 up.
    """
    import pandas as pd

    maps = np.asarray(maps)
    labels = _checked_labels(labels, maps)
    listed = np.unique(labels) if areas is None else np.array(sorted(set(areas)), dtype=np.int64)
    listed = listed[listed != 0]
    length = int(max(labels.max(initial=0), listed.max(initial=0))) + 1
    common = labels.ndim == maps.ndim - 1
    sums = np.empty((len(maps), listed.size))
    counts = np.empty((len(maps), listed.size), dtype=np.int64)
    for row, heatmap in enumerate(maps):
        flat = (labels if common else labels[row]).reshape(-1)
        if not common or row == 0:
            count = np.bincount(flat, minlength=length)
        sums[row] = np.bincount(flat, heatmap.reshape(-1).astype(np.float64), minlength=length)[listed]
        counts[row] = count[listed]
    sums[counts == 0] = np.nan
    names = np.arange(len(maps)) if scan_ids is None else np.asarray(scan_ids, dtype=object)
    return pd.DataFrame(
        {
            "scan": np.repeat(names, listed.size),
            "area": np.tile(listed, len(maps)),
            "n_voxels": counts.reshape(-1),
            "sum": sums.reshape(-1),
            "density": (sums / np.maximum(counts, 1)).reshape(-1),
        }
    )
