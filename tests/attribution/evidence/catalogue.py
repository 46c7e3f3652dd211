"""All evidence, by method."""

from __future__ import annotations

from attribution.evidence import Evidence, controls, gradients, paths, sampling

EVIDENCE: dict[str, Evidence] = {
    **gradients.EVIDENCE,
    **sampling.EVIDENCE,
    **paths.EVIDENCE,
    **controls.EVIDENCE,
}
