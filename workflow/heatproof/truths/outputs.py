"""Truths of single outputs: where a number that a network predicts stands in a scan.

``counterfactual``
    Exact: how the scan changes with the number while everything else is held fixed (simulated signals).
``waves``
    Delineated: the waves between whose marks a reader measures the number (real signals).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.errors import TruthError
from heatproof.truths.injected import group_truth, truth_mask
from heatproof.truths.store import Context, Truth

DESCRIPTIONS = {
    "counterfactual": "The change of the scan with the output while nuisance and noise are held fixed, |g(t + d) - "
    "g(t - d)| / 2d, in the mean over all scans",
    "waves": "The waves that define the output, as experts have marked them, in the mean over all scans",
}


def build(spec: Mapping[str, Any], context: Context) -> Truth:
    """Build the truth of a ``counterfactual`` or ``waves`` entry.

    Single scans are held against their own truth. Mean maps are held against the mean over all scans, output by
    output; the map over all outputs, each scaled to a maximum of 1, is for figures. It is never shown to a model.

    Parameters
    ----------
    spec : mapping
        ``source``, and ``mask_share``: share of the largest effect above which a place belongs to the truth.
    context : Context
        Gives the outputs of the cohort and the truth of each in every scan.

    Raises
    ------
    TruthError
        If the cohort knows the truth of none of its outputs, or knows one of another kind.
    """
    source, share = str(spec["source"]), float(spec["mask_share"])
    if context.truth_kind != source:
        raise TruthError(
            f"the cohort has no truth of the kind '{source}'"
            + (f", but '{context.truth_kind}'." if context.truth_kind else "."),
            field=f"truths.{context.name}.source",
            remedy="use counterfactual with simulated signals, waves with records whose waves are marked.",
        )
    by_output = {}
    for output in context.outputs:
        strengths = (np.abs(effect) for effect in context.output_truths(output) if effect.any())
        try:
            strength = group_truth(strengths)
        except TruthError:
            continue  # an output that is measured in no place of its own, such as a rate
        by_output[output] = (strength, truth_mask(strength, share))
    if not by_output:
        raise TruthError(
            "no output of the cohort has a truth.", field=f"truths.{context.name}", remedy="use another truth."
        )
    scaled = [strength / strength.max() for strength, _ in by_output.values()]
    return Truth(
        np.mean(scaled, axis=0),
        np.any([mask for _, mask in by_output.values()], axis=0),
        source,
        f"{DESCRIPTIONS[source]}; the mask of an output holds places above {share:.0%} of its maximum.",
        facts={"mask_share": share, "outputs": list(by_output)},
        by_output=by_output,
    )
