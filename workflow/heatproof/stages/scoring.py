"""What the stages `score` and `pool` share: who a map belongs to, the truths, and rows of the score table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from heatproof.errors import GeometryError
from heatproof.geometry import Grid
from heatproof.metrics.evaluate import Score
from heatproof.metrics.space import Space, Truth
from heatproof.studies import OUTPUT_TRUTHS

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = (
    "study", "model", "recipe", "fold", "seed", "method", "level", "scan_id", "participant_id", "diagnosis",
    "population", "rectify", "truth", "smoothing_mm", "metric", "value", "chance",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where a map comes from; -1 stands for all folds or all seeds, no method for all of them."""

    study: str
    model: str
    recipe: str
    method: str = ""
    fold: int = -1
    seed: int = -1

    def columns(self) -> dict[str, Any]:
        """Return the columns that every row of this origin shares."""
        return {
            "study": self.study,
            "model": self.model,
            "recipe": self.recipe,
            "fold": self.fold,
            "seed": self.seed,
            "method": self.method,
        }


def score_rows(
    scores: Iterable[Score],
    *,
    level: str,
    population: str,
    rectify: str,
    smoothing_mm: float,
    scan: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return one row of the long table per score."""
    who = scan or {}
    shared = {
        "level": level,
        "scan_id": who.get("scan_id", ""),
        "participant_id": who.get("participant_id", ""),
        "diagnosis": who.get("diagnosis", ""),
        "population": population,
        "rectify": rectify,
        "smoothing_mm": float(smoothing_mm),
    }
    return [{**shared, "truth": s.truth, "metric": s.metric, "value": s.value, "chance": s.chance} for s in scores]


def score_table(rows: list[dict[str, Any]], origin: Origin) -> pd.DataFrame:
    """Return the rows as a table with every column of `SCORE_COLUMNS`, in that order."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=[name for name in SCORE_COLUMNS if name not in origin.columns()])
    frame = frame.assign(**{name: value for name, value in origin.columns().items() if name not in frame})
    return frame[list(SCORE_COLUMNS)]


def read_group_truths(paths: Mapping[str, Path], space: Space, grid: Grid, output: str = "") -> dict[str, Truth]:
    """Return the truths that are one map for all scans.

    Parameters
    ----------
    paths : mapping of str to Path
        Truth files by name.
    space : Space
        Where maps are judged.
    grid : Grid
        Of the cohort.
    output : str
        What the network predicts, where each output has a truth of its own; a truth that does not know it is left out.

    Raises
    ------
    GeometryError
        If a truth lies on another grid than the cohort.
    """
    truths = {}
    for name, path in paths.items():
        with h5py.File(path, "r") as file:
            place = f"outputs/{output}" if name in OUTPUT_TRUTHS else "/"
            if place not in file:
                continue
            strength, mask = file[place]["map"][:], file[place]["mask"][:].astype(bool)
            affine = file.attrs.get("affine")
        same_place = (
            grid.affine is None or affine is None or Grid(grid.shape, grid.affine).matches(Grid(mask.shape, affine))
        )
        if mask.shape != space.mask.shape or not same_place:
            raise GeometryError(
                f"the truth lies on a grid of shape {mask.shape}, the cohort on {space.mask.shape}, or their affines "
                "differ.",
                file=path,
                field=name,
                remedy="delete the file; rule 'truth' builds it on the grid of the cohort.",
            )
        truths[name] = Truth.of(mask, space, np.abs(strength))
    return truths
