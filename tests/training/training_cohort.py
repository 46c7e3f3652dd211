"""A small cohort on disk with an effect that a network can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from heatproof.cohorts.store import RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.files import write_table
from heatproof.geometry import Grid

SHAPE = (16, 14, 12)


def write_cohort(
    folder: Path, n_people: int = 30, scans_each: int = 1, effect: float = 3.0, shape: tuple[int, ...] = SHAPE
) -> Path:
    """Write cohort.h5, participants.tsv and folds.tsv (corrected, three folds by hand); returns the folder."""
    random = np.random.default_rng(0)
    grid = Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0])) if len(shape) == 3 else Grid(shape, units="pixel")
    mask = np.zeros(shape, bool)
    mask[(slice(1, -1),) * len(shape)] = True
    middle = tuple(slice(length // 2, length // 2 + 3) for length in shape)
    rows = []
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", Source(grid, [], mask=mask)) as writer:
        for person in range(n_people):
            for visit in range(scans_each):
                target = person % 2
                values = random.normal(size=shape)
                values[middle] -= effect * target
                rows.append({"scan_id": f"s{person:02d}-{visit}", "participant_id": f"p{person:02d}",
                             "diagnosis": ("HC", "AD")[target], "target": target})  # fmt: skip
                writer.add(rows[-1], RawScan((values * mask)[None].astype(np.float32), grid))
    write_table(folds_by_hand(rows), folder / "folds.tsv")
    return folder


def folds_by_hand(rows: list[dict]) -> pd.DataFrame:
    """Return one fold: of every five pairs of people, three train, one validates, one is tested."""
    parts = ("train", "train", "train", "validation", "test")
    frame = pd.DataFrame(rows)
    person = frame["participant_id"].str[1:].astype(int)
    part = [parts[(number // 2) % 5] for number in person]
    return pd.DataFrame(
        {
            "recipe": "corrected",
            "fold": 0,
            "scan_id": frame["scan_id"],
            "participant_id": frame["participant_id"],
            "part": part,
        }
    )
