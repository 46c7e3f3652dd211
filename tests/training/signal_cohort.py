"""Signals of two channels whose outputs are known: the height of a bump, and where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from training_cohort import folds_by_hand

from heatproof.cohorts.store import RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.files import write_table
from heatproof.geometry import Grid

N_SAMPLES = 32
OUTPUTS = {"height": "mV", "place": "ms"}
STEPS = {"height": 0.1, "place": 1.0}


class Bumps:
    """A source that can draw its scans again, like `heatproof.cohorts.beats`."""

    steps = STEPS

    def numbers(self, scan_id: str) -> dict[str, float]:
        """Return height (mV) and place (ms) of a scan."""
        random = np.random.default_rng([int(scan_id[1:3]), int(scan_id[4:])])
        return {"height": float(random.uniform(5, 9)), "place": float(random.uniform(10, 20))}

    def counterfactual(self, scan_id: str, output: str, change: float) -> np.ndarray:
        """Return a scan with one number changed."""
        numbers = self.numbers(scan_id)
        numbers[output] += change
        bump = numbers["height"] * np.exp(-((np.arange(N_SAMPLES) - numbers["place"]) ** 2) / 8)
        return np.stack([bump, -bump / 2]).astype(np.float32)


def write_signals(folder: Path, n_people: int = 60, scans_each: int = 1, unknown: tuple[str, ...] = ()) -> Path:
    """Write cohort.h5, participants.tsv and folds.tsv; the height of scans in `unknown` is not known."""
    grid = Grid((N_SAMPLES,), spacing=(1.0,), units="ms")
    source = Source(
        grid, [], ("recording",), has_controls=False, mask=np.ones(N_SAMPLES, bool), channel_names=("I", "II"),
        outputs=OUTPUTS,
    )  # fmt: skip
    rows = []
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, 2) as writer:
        for person in range(n_people):
            for visit in range(scans_each):
                scan_id = f"s{person:02d}-{visit}"
                row = {"scan_id": scan_id, "participant_id": f"p{person:02d}", "diagnosis": "recording", "target": 0}
                row |= Bumps().numbers(scan_id)
                if scan_id in unknown:
                    row["height"] = float("nan")
                rows.append(row)
                writer.add(row, RawScan(Bumps().counterfactual(scan_id, "height", 0.0), grid))
    write_table(folds_by_hand(rows), folder / "folds.tsv")
    return folder
