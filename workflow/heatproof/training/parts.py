"""The parts of one fold, and the check that a leak stops a training before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import ConfigError
from heatproof.files import read_table
from heatproof.leakage import PARTS, audit, raise_on_leak

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FoldParts:
    """The scans of one fold.

    Attributes
    ----------
    train, validation, test : list of str
        Scan ids. Only the published recipe has a scan in two of them.
    """

    train: list[str]
    validation: list[str]
    test: list[str]

    @property
    def scan_ids(self) -> list[str]:
        """Every scan of the fold once."""
        return list(dict.fromkeys([*self.train, *self.validation, *self.test]))


def read_fold(path: str | Path, recipe: str, fold: int, participants: pd.DataFrame) -> FoldParts:
    """Return the parts of one fold, audited anew.

    Parameters
    ----------
    path : str or Path
        ``folds.tsv``.
    recipe : str
        Recipe.
    fold : int
        Number of the fold.
    participants : DataFrame
        One row per scan.

    Raises
    ------
    LeakageError
        If the recipe promises a clean split and a person, family or image lies in two parts.
    ConfigError
        If the table does not have the fold, or a part of it is empty.
    """
    rows = planned_rows(path, recipe, fold)
    parts = {part: rows.loc[rows["part"] == part, "scan_id"].tolist() for part in PARTS}
    for part, scan_ids in parts.items():
        if not scan_ids:
            raise ConfigError(
                f"fold {fold} of the recipe '{recipe}' has no {part} scans.",
                file=path,
                field="part",
                remedy="use fewer folds or more people.",
            )
    raise_on_leak(audit(participants, rows))
    return FoldParts(**parts)


def planned_rows(path: str | Path, recipe: str, fold: int) -> pd.DataFrame:
    """Return the rows of one fold of ``folds.tsv``."""
    table = read_table(path, ("recipe", "fold", "scan_id", "part"))
    return table[(table["recipe"] == recipe) & (table["fold"].astype(int) == fold)]
