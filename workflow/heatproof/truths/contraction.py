"""The warp of the injected effect as a truth: where tissue is lost or regained, by the exact log-Jacobian."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from heatproof.cohorts.store import LOG_JACOBIAN
from heatproof.errors import TruthError
from heatproof.truths.injected import group_truth, truth_mask
from heatproof.truths.store import Context, Truth


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``contraction`` entry.

    Single scans are held against the size of their own log-Jacobian. This mean over all patients stands for mean
    maps. All patients enter, whatever fold they are in: it is never shown to a model.

    Parameters
    ----------
    spec : mapping
        ``mask_share``: share of the largest value above which a voxel belongs to the truth.
    context : Context
        Gives the log-Jacobian of the warp that takes the effect out of each patient's scan.

    Raises
    ------
    TruthError
        If the cohort has kept none, or no tissue moves.
    """
    sizes = (np.abs(gained) for gained in context.output_truths(LOG_JACOBIAN) if gained.any())
    first = next(sizes, None)
    if first is None:
        raise TruthError(
            "no scan of the cohort has a log-Jacobian.",
            field=f"truths.{context.name}",
            remedy="set keep_log_jacobian: true in a cohort whose effect moves tissue (blobs, phantom, anatomies).",
        )
    share = float(spec["mask_share"])
    mean = np.where(context.mask, group_truth(chain([first], sizes)), 0)
    return Truth(
        mean,
        truth_mask(mean, share),
        "contraction",
        "The mean over all patients of the size of the log-Jacobian of the exact warp that takes the injected effect "
        f"out of a scan; its mask holds voxels above {share:.0%} of the maximum.",
        facts={"mask_share": share},
    )
