"""The injected effect as a truth: the mean of the exact effects of all patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.truths.injected import MASK_SHARE, group_truth, truth_mask
from heatproof.truths.store import Context, Truth


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of an ``injected`` entry.

    All patients enter, whatever fold they are in: this is the reference that maps are measured against and is
    never shown to a model, so nothing leaks through it.

    Parameters
    ----------
    spec : mapping
        ``mask_share``: share of the largest effect above which a voxel belongs to the truth.
    context : Context
        Gives the exact effect in each patient.

    Raises
    ------
    TruthError
        If no scan of the cohort has an injected effect.
    """
    share = float(spec.get("mask_share", MASK_SHARE))
    effect = np.where(context.mask, group_truth(context.patient_truths()), 0)
    return Truth(
        effect,
        truth_mask(effect, share),
        "injected",
        "The mean over all patients of the effect that was injected: the noise-free scan with the effect "
        f"minus the same scan without it; its mask holds voxels above {share:.0%} of the maximum.",
        facts={"mask_share": share},
    )
