"""Max-sensitivity: how much a map changes when the scan hardly does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.metrics.faithfulness.asking import as_array, batches_like
from heatproof.randomness import generator

# From (B, C, *S) to maps (B, *S).
Explain = Callable[[Any], Any]


def max_sensitivity(
    explain: Explain, image: Any, *, radius: float, n_samples: int, seed: int, batch_size: int = 32
) -> float:
    """Return the largest relative change of a map near a scan (Yeh et al., NeurIPS 2019, arXiv 1901.09392).

    The largest ||map(x + e) - map(x)|| / ||map(x)|| over drawn e, every element of which is uniform between -radius and
    radius (definition 4.1, estimated by sampling and divided by the map's length as in the paper's experiments, so
    that methods with different units compare). Smaller is better. It knows nothing of what is relevant: a map that
    never changes scores 0.

    Parameters
    ----------
    explain : callable
        From (B, C, *S), of the kind of `image`, to maps (B, *S).
    image : ndarray or Tensor, shape (C, *S)
    radius : float
        In the unit of the scan.
    n_samples : int
    seed : int
        One stream per sample.
    batch_size : int
        Scans in one call of `explain`.

    Returns
    -------
    float
        NaN where a map is not finite; infinite where the scan's own map is zero and another is not.

    Raises
    ------
    ConfigError
        No sample or no radius.
    UnsupportedModelError
        `explain` does not return one map per scan.
    """
    if n_samples < 1 or not 0 < radius < np.inf:
        raise ConfigError(
            f"{n_samples} samples within a radius of {radius} measure nothing.",
            field="n_samples" if n_samples < 1 else "radius",
            remedy="use 1 sample or more and a radius above 0.",
        )
    scan = as_array(image)
    near = (
        scan + generator(seed, "faithfulness", "sensitivity", sample).uniform(-radius, radius, scan.shape)
        for sample in range(n_samples)
    )
    own = _maps(explain, next(batches_like([scan], image, 1)))[0]
    largest = 0.0
    for batch in batches_like(near, image, batch_size):
        change = (_maps(explain, batch) - own).reshape(len(batch), -1)
        largest = float(np.maximum(largest, np.sqrt((change**2).sum(axis=1)).max()))
    length = float(np.sqrt((own**2).sum()))
    if length == 0:
        return largest if largest == 0 or np.isnan(largest) else float("inf")
    return largest / length


def _maps(explain: Explain, batch: Any) -> np.ndarray:
    """Return the maps of a batch, shape (b, *S)."""
    maps = as_array(explain(batch))
    if maps.shape != (len(batch), *batch.shape[2:]):
        raise UnsupportedModelError(
            f"explain returns {maps.shape} for scans of shape {tuple(batch.shape)}.",
            field="explain",
            remedy="Let it return one map per scan, (B, *S), summed over channels.",
        )
    return maps
