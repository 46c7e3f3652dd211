"""volumes.tsv: how large each area is in each scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from heatproof.cohorts.findings import FileSource
from heatproof.cohorts.store import RawScan, Source

if TYPE_CHECKING:
    import pandas as pd

VOLUME_COLUMNS = ("scan_id", "area", "name", "volume_mm3")


def area_volumes(scan: RawScan, source: Source) -> Mapping[int, float]:
    """Return the volume of each area in mm3, empty where the scan says nothing about it, as a signal never does.

    Known volumes come first (a simulated scan, or labels counted on their own grid). Maps of tissue density
    are summed over the common areas. Else the scan's own labels are counted. A common atlas alone has the
    same volumes in everyone, which is no measurement.

    Parameters
    ----------
    scan : RawScan
        A scan on the grid of `source`.
    source : Source
        Atlas, names and kind of values.
    """
    if source.channel_names:
        return {}
    if scan.volumes is not None:
        return {int(area): float(volume) for area, volume in scan.volumes.items()}
    labels, weights = scan.labels, None
    if labels is None and isinstance(source, FileSource) and source.density and source.atlas is not None:
        labels, weights = source.atlas, scan.values.sum(axis=0, dtype=np.float64)
    if labels is None:
        return {}
    return label_volumes(labels, source.grid.voxel_volume, weights)


def label_volumes(labels: np.ndarray, voxel_volume: float, weights: np.ndarray | None = None) -> dict[int, float]:
    """Return area -> volume in mm3 of every non-zero label, weighted voxel by voxel if asked."""
    areas, codes = np.unique(labels, return_inverse=True)
    sums = np.bincount(codes.ravel(), None if weights is None else weights.ravel(), minlength=len(areas))
    return {int(area): float(total * voxel_volume) for area, total in zip(areas, sums, strict=True) if area != 0}


def volumes_table(volumes: Mapping[str, Mapping[int, float]], names: Mapping[int, str]) -> pd.DataFrame:
    """Return volumes.tsv.

    Parameters
    ----------
    volumes : mapping of str to mapping of int to float
        Scan -> area -> volume (mm3).
    names : mapping of int to str
        Names of the areas. A named area that a scan lacks keeps its row, with a volume of zero.
    """
    import pandas as pd

    rows = []
    for scan_id, of_scan in volumes.items():
        areas = sorted({*of_scan, *(area for area in names if area != 0)}) if of_scan else []
        rows += [(scan_id, area, names.get(area, str(area)), of_scan.get(area, 0.0)) for area in areas]
    return pd.DataFrame(rows, columns=list(VOLUME_COLUMNS))
