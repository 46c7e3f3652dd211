"""Lesions as a truth: each scan has a mask of its own, and the group's truth says how often a lesion lies where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from heatproof.errors import TruthError
from heatproof.truths.injected import group_truth, truth_mask
from heatproof.truths.store import Context, Truth


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``lesions`` entry.

    Single scans are scored against their own lesion. This map of all stands for mean maps: the share of the
    patients' scans whose lesion covers a voxel. All patients enter, whatever fold they are in: it is never
    shown to a model.

    Parameters
    ----------
    spec : mapping
        ``mask_share``: share of the largest coverage above which a voxel belongs to the truth.
    context : Context
        Gives the lesion in each patient's scan; a scan without one does not count.

    Raises
    ------
    TruthError
        If no scan of the cohort has a lesion.
    """
    masks = (lesion > 0 for lesion in context.patient_truths() if lesion.any())
    first = next(masks, None)
    if first is None:
        raise TruthError(
            "no scan of the cohort has a lesion.",
            field=f"truths.{context.name}",
            remedy="use a cohort whose scans come with lesion masks, or the simulated one (source: lesions).",
        )
    share = float(spec["mask_share"])
    covered = np.where(context.mask, group_truth(chain([first], masks)), 0)
    return Truth(
        covered,
        truth_mask(covered, share),
        "lesions",
        "The share of the patients' scans whose lesion covers a voxel; its mask holds voxels above "
        f"{share:.0%} of the maximum. Single scans are held against their own lesion.",
        facts={"mask_share": share, "largest_coverage": float(covered.max())},
    )
