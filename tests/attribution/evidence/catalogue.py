"""All evidence, by method."""

from __future__ import annotations

from attribution.evidence import (
    Evidence,
    activations,
    controls,
    gradients,
    guided_ig,
    paths,
    perturbation,
    regions,
    relevance,
    rescale,
    sampling,
)

EVIDENCE: dict[str, Evidence] = {
    **gradients.EVIDENCE,
    **activations.EVIDENCE,
    **sampling.EVIDENCE,
    **paths.EVIDENCE,
    **guided_ig.EVIDENCE,
    **rescale.EVIDENCE,
    **regions.EVIDENCE,
    **perturbation.EVIDENCE,
    **controls.EVIDENCE,
    **relevance.EVIDENCE,
}
