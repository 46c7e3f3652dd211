"""Who of the people of a simulated cohort is a patient, and how ill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatproof.cohorts.anatomy_files import AnatomyFiles
from heatproof.errors import ConfigError
from heatproof.randomness import generator


@dataclass(frozen=True)
class Assignment:
    """What was decided for one person.

    Attributes
    ----------
    patient : bool
        Whether the effect is injected (unused in the paired design).
    severity : float
        Stage if a patient, 0 to 1.
    """

    patient: bool
    severity: float


def assign(files: list[AnatomyFiles], spec: dict[str, Any], seed: int) -> dict[str, Assignment]:
    """Return who is a patient, and how ill: half of the people, one of each two neighbours in age."""
    ages: dict[str, float] = {}
    for entry in files:
        # A missing age sorts last, among its like.
        ages.setdefault(entry.participant_id, entry.age if np.isfinite(entry.age) else np.inf)
    people = sorted(ages, key=lambda name: (ages[name], name))
    decided: dict[str, Assignment] = {}
    for index, name in enumerate(people):
        pair = people[index - index % 2 : index - index % 2 + 2]
        first = generator(seed, "anatomies", "pair", *pair).integers(2)
        stage = generator(seed, "anatomies", name, "severity")
        severity = float(stage.uniform(spec["severity_minimum"], spec["severity_maximum"]))
        decided[name] = Assignment(bool(first == index % 2), severity)
    return decided


def check_severities(spec: Mapping[str, Any]) -> None:
    """Check that the severities of a cohort's config entry are a range.

    Raises
    ------
    ConfigError
        If the least one exceeds the largest.
    """
    if spec["severity_minimum"] > spec["severity_maximum"]:
        raise ConfigError(
            "the least severity exceeds the largest.",
            field="severity_minimum",
            remedy="choose severity_minimum <= severity_maximum.",
        )
