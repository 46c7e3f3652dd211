"""A user's own NIfTI as a truth: a binary mask, or a statistic with a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.truths.store import Context, Truth
from heatproof.truths.volumes import onto, read_volume


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``mask`` entry.

    Parameters
    ----------
    spec : mapping
        ``file``; ``threshold``: voxels strictly above it are the truth (0 by default, so that a binary mask
        needs none). A binary volume is brought to the grid by nearest neighbour, a statistic linearly.
    context : Context
        The cohort's grid.

    Raises
    ------
    GeometryError
        If the affine cannot be trusted or the volume does not overlap with the cohort's grid.
    TruthError
        If no voxel is above the threshold, or values are not finite.
    """
    field = f"truths.{context.name}.file"
    path = context.resolve(str(spec["file"]), field)
    values, source = read_volume(path, field)
    threshold = float(spec.get("threshold", 0.0))
    binary = np.unique(values).size <= 2
    moved = onto(values.astype(np.float32), source, context.grid, order=0 if binary else 1, file=path, field=field)
    strength = np.where(context.mask, moved, 0)
    kind = "binary mask (nearest neighbour)" if binary else "statistic (linear interpolation)"
    return Truth(
        strength,
        strength > threshold,
        "mask",
        f"The {kind} in {path.name}, voxels above {threshold:g}.",
        facts={"threshold": threshold, "binary": bool(binary)},
    )
