"""Stage `collect`: one long table per study, from the tables of all jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import HeatproofError
from heatproof.files import write_parquet

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CollectFiles:
    """Files that `collect` writes."""

    scores: Path
    areas: Path
    nulls: Path


def collect(scores: Sequence[Path], areas: Sequence[Path], nulls: Sequence[Path], outputs: CollectFiles) -> None:
    """Join the tables of all jobs.

    Parameters
    ----------
    scores, areas, nulls : sequence of Path
        Parquet tables; the result does not depend on their order.
    outputs : CollectFiles
        The joined tables.

    Raises
    ------
    HeatproofError
        If there are no scores, or two tables differ in their columns.
    """
    if not scores:
        raise HeatproofError(
            "there is no score to collect.", field="scores", remedy="give the study at least one method."
        )
    for paths, output in ((scores, outputs.scores), (areas, outputs.areas), (nulls, outputs.nulls)):
        write_parquet(_joined(paths), output)


def _joined(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    frames: list[pd.DataFrame] = []
    for path in sorted(paths):
        frame = pd.read_parquet(path)
        if frames and list(frame.columns) != list(frames[0].columns):
            raise HeatproofError(
                "the columns differ from those of the other tables.",
                file=path,
                field=", ".join(sorted(set(frame.columns) ^ set(frames[0].columns))) or "order",
                remedy="delete the file; it comes from another version of the package.",
            )
        frames.append(frame)
    # An empty table has columns without a type, which would turn the others' numbers into objects.
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
