"""Stage `prepare`: the intake gate, then one store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.cohorts.sources import prepare


def prepare_cohort(
    spec: Mapping[str, Any],
    *,
    seed: int,
    root: Path,
    cohort: Path,
    participants: Path,
    intake: Path,
    volumes: Path,
) -> None:
    """Write ``cohort.h5``, ``participants.tsv``, ``intake.tsv`` and ``volumes.tsv`` of a study.

    Parameters and errors are those of `heatproof.cohorts.sources.prepare`.
    """
    prepare(
        spec,
        seed=seed,
        root=root,
        cohort=cohort,
        participants=participants,
        intake=intake,
        volumes=volumes,
    )
