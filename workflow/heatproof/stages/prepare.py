"""Stage `prepare`: the intake gate, then one store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.cohorts.admission import admit
from heatproof.cohorts.sources import open_source


def prepare(
    spec: Mapping[str, Any],
    *,
    seed: int,
    root: Path,
    cohort: Path,
    participants: Path,
    intake: Path,
    volumes: Path,
) -> None:
    """Pass every scan of a source through the gate and store the cohort.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry of the configuration.
    seed : int
        Root seed of the study.
    root : Path
        Data root.
    cohort, participants, intake, volumes : Path
        Files to write: the store, its table, what the gate found, and the volumes of areas.

    Raises
    ------
    IntakeError
        If a scan cannot be used and the entry does not say ``on_bad_scan: exclude``, or if none is left.
    """
    admit(
        open_source(spec, seed=seed, root=root),
        spec,
        cohort=cohort,
        participants=participants,
        intake=intake,
        volumes=volumes,
    )
