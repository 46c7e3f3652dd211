"""The disorders that can be injected into brains, and the areas where each takes tissue.

Alzheimer's disease: the medial temporal lobe and the posterior cingulate (see `heatproof.truths.embedded_atlas`).
Alcohol use disorder: the frontal lobe (Pfefferbaum et al., Alcohol Clin Exp Res 1997;21:521) and the cerebellum, with
the thalamus between them (Zahr et al., Neuropsychol Rev 2010;20:280, doi:10.1007/s11065-010-9141-y).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heatproof.truths.embedded_atlas import OFF_PRIOR_AREAS, PRIOR_AREAS

CONTROL = "HC"


@dataclass(frozen=True)
class Disorder:
    """What one disorder does.

    Attributes
    ----------
    patients : str
        Name of the class of patients.
    regions : tuple of str
        Areas of the embedded atlas that everybody expects to shrink.
    off_prior_regions : tuple of str
        Areas that shrink too although a fixed prior leaves them out.
    """

    patients: str
    regions: tuple[str, ...]
    off_prior_regions: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, str]:
        """Names of the two classes, control first."""
        return CONTROL, self.patients


DISORDERS = {
    "alzheimers": Disorder("AD", PRIOR_AREAS, OFF_PRIOR_AREAS),
    "alcohol": Disorder(
        "AUD",
        (
            "Superior frontal gyrus",
            "Middle frontal gyrus",
            "Medial superior frontal gyrus",
            "Lateral orbitofrontal cortex",
            "Cerebellum",
        ),
        ("Thalamus", "Insula", "Superior parietal lobule"),
    ),
}


def phantom_regions(spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the areas of the prior and off it that may shrink: those of the config, else the disorder's."""
    disorder = DISORDERS[spec["disorder"]]
    given = spec["regions"], spec["off_prior_regions"]
    usual = disorder.regions, disorder.off_prior_regions
    on, off = (list(areas if chosen is None else chosen) for chosen, areas in zip(given, usual, strict=True))
    return on, off


def anatomy_regions(spec: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the regions that may shrink and their label numbers: the config's, else the disorder's without numbers."""
    if spec["regions"] is not None:
        return dict(spec["regions"])
    disorder = DISORDERS[spec["disorder"]]
    return {area: [] for area in (*disorder.regions, *disorder.off_prior_regions)}
