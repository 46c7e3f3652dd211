"""Where relevance lies with respect to the mask, without any truth.

A skull-strip contour can carry a decision (Tinauer et al., 2025), so relevance outside the brain and in a
shell just inside its edge is reported beside every map.
"""

from __future__ import annotations

import numpy as np

from heatproof.metrics.registry import register
from heatproof.metrics.space import RankedMap, Space


@register(
    "outside_brain",
    needs=("mask",),
    chance=lambda truth, space: space.outside_share,
    larger_is_better=False,
    citation="Tinauer et al., 2025: share of absolute relevance outside the mask",
)
def outside_brain(heatmap: RankedMap, space: Space) -> float:
    """Return the share of absolute relevance outside the mask; the share of the grid for an empty map."""
    inside = float(np.abs(heatmap.values).sum())
    total = inside + heatmap.outside_mass
    if not np.isfinite(total):
        return float("nan")
    return heatmap.outside_mass / total if total > 0 else space.outside_share


@register(
    "edge_share",
    needs=("mask",),
    chance=lambda truth, space: float(space.shell.mean()),
    larger_is_better=False,
    citation="Tinauer et al., 2025: share of the relevance inside the mask that lies in a shell at its edge",
)
def edge_share(heatmap: RankedMap, space: Space) -> float:
    """Return the shell's share of the absolute relevance inside; the shell's own share for an empty map."""
    absolute = np.abs(heatmap.values)
    total = float(absolute.sum())
    if not np.isfinite(total):
        return float("nan")
    return float(absolute[space.shell].sum()) / total if total > 0 else float(space.shell.mean())
