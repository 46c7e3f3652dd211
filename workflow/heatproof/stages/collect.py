"""Stage `collect`: one long table per study, from the tables of all jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import HeatproofError
from heatproof.files import write_parquet
from heatproof.simulation_rows import ROW_COLUMNS
from heatproof.stages.probing import CURVE_COLUMNS, EXCLUSION_COLUMNS, PROBE_COLUMNS, SPREAD_COLUMNS

if TYPE_CHECKING:
    import pandas as pd


# Tables that not every study has, with their columns.
OPTIONAL = {
    "probes": PROBE_COLUMNS,
    "curves": CURVE_COLUMNS,
    "spreads": SPREAD_COLUMNS,
    "exclusions": EXCLUSION_COLUMNS,
    "simulations": ROW_COLUMNS,
}


def collect(parts: Mapping[str, Sequence[Path]], outputs: Mapping[str, Path]) -> None:
    """Join the tables of all jobs.

    Parameters
    ----------
    parts : mapping of str to sequence of Path
        Parquet tables by the name of the table they belong to; the result does not depend on their order.
    outputs : mapping of str to Path
        The joined tables, by the same names: scores, areas, nulls, and those of `OPTIONAL`.

    Raises
    ------
    HeatproofError
        If there are no scores, or two tables differ in their columns.
    """
    if not parts["scores"]:
        raise HeatproofError(
            "there is no score to collect.", field="scores", remedy="give the study at least one method."
        )
    for name, output in outputs.items():
        write_parquet(_joined(parts[name], OPTIONAL.get(name, ())), output)


def _joined(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
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
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
