"""Folds in which nobody is on both sides, and the audit that proves it.

The unit of a ``corrected`` split is a group of scans that must stay together (`heatproof.allocation`); its test
folds are drawn, or taken from a column of the table such as the authors' own folds. One fold is one hold-out split,
which is drawn, or taken part by part from a column. The ``as_published`` recipe
repeats what a paper did, and its leak is measured, not hidden:

``rows``
    The released code of Wang et al. (2023): test folds are contiguous rows of the table, training and
    validation are two unrelated draws from the other rows.
``scans``
    Brima & Atemkeng (2024): scans are drawn at random whoever they belong to. The paper drew one split of 81,
    9 and 10 %; here it is one of `n_folds`, and each scan is tested once (10 folds and a validation share of
    .1 have the paper's sizes). No scan is in two parts of a fold, but a person can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heatproof.allocation import allocate, indicator, nuisance_of, units_of
from heatproof.errors import ConfigError, IntakeError
from heatproof.leakage import PARTS, audit, check_parts, raise_on_leak
from heatproof.published_folds import given_parts, given_test_folds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FOLD_COLUMNS", "RECIPES", "audit", "check_parts", "make_folds", "raise_on_leak", "units_of"]

RECIPES = ("corrected", "as_published")
PUBLISHED_SPLITS = ("rows", "scans")
FOLD_COLUMNS = ("recipe", "fold", "scan_id", "participant_id", "part")
# Units of one class can be so lumpy that a greedy allocation leaves a part without it; another order helps.
ATTEMPTS = 20


def make_folds(
    participants: pd.DataFrame,
    recipe: str,
    n_folds: int,
    validation_share: float,
    seed: int,
    *,
    as_published: str = "rows",
    published_column: str | None = None,
    test_share: float = 0.2,
    split_column: str | None = None,
    parts: Mapping[str, Iterable[object]] | None = None,
) -> pd.DataFrame:
    """Return who is trained on, validated on and tested on in every fold.

    Parameters
    ----------
    participants : DataFrame
        One row per scan: ``scan_id``, ``participant_id``, ``diagnosis``, and where known ``family``,
        ``image_sha256``, ``age``, ``sex``, ``site``.
    recipe : {"corrected", "as_published"}
        How to split (see the module).
    n_folds : int
        Number of folds, each scan being tested in exactly one; or 1 for a hold-out split, in which only a share of
        the scans is tested.
    validation_share : float
        Share of the scans outside the test part that is used for early stopping, between 0 and 1.
    seed : int
        Root seed of the study.
    as_published : {"rows", "scans"}
        What the published recipe repeats (see the module).
    published_column : str, optional
        Column of the table whose values are the test folds of the corrected recipe, the least value being fold
        0; validation is drawn from the others as ever.
    test_share : float
        Share of the scans that a hold-out split tests, between 0 and 1.
    split_column : str, optional
        Column of the table that says the part of every scan in the corrected recipe's one hold-out split.
    parts : mapping of str to iterable, optional
        For train, validation and test the values of `split_column`.

    Returns
    -------
    DataFrame
        Columns recipe, fold, scan_id, participant_id, part (train | validation | test), ordered by fold,
        part and row of the table. In ``as_published`` by ``rows`` a scan may be in train and validation at once.

    Raises
    ------
    ConfigError
        If the recipe or the published split is unknown, `n_folds` or a share is out of range, a column is missing
        or has gaps, or its values are not `n_folds` folds or not the values of the parts.
    IntakeError
        If a class has too few people to be in every part of every fold.
    LeakageError
        If the column puts a person, a family or an image into two folds.
    """
    if recipe not in RECIPES:
        raise ConfigError(
            f"the recipe '{recipe}' is not known.", field="recipe", remedy=f"use one of {', '.join(RECIPES)}."
        )
    if n_folds < 1:
        raise ConfigError(f"{n_folds} folds cannot be split.", field="folds.n_folds", remedy="use 1 or more.")
    for name, share in (("validation", validation_share), ("test", test_share)):
        if not 0 < share < 1:
            raise ConfigError(
                f"a {name} share of {share} leaves no room for training or for {name}.",
                field=f"folds.{name}_share",
                remedy="use a number between 0 and 1, such as 0.2.",
            )
    if split_column is not None and n_folds != 1:
        raise ConfigError(
            f"'{split_column}' says one split, and n_folds asks for {n_folds}.",
            field="folds.n_folds",
            remedy="set folds.n_folds: 1, or leave out folds.split_column.",
        )
    if as_published not in PUBLISHED_SPLITS:
        raise ConfigError(
            f"the published split '{as_published}' is not known.",
            field="folds.as_published",
            remedy=f"use {' or '.join(PUBLISHED_SPLITS)}.",
        )
    frame = participants.reset_index(drop=True)
    if recipe == "as_published":
        folds = _as_published(frame, n_folds, validation_share, test_share, seed, as_published)
    elif split_column is not None:
        part = given_parts(frame, units_of(frame), split_column, parts)
        folds = [{name: np.flatnonzero(part == number) for number, name in enumerate(PARTS)}]
    else:
        folds = _corrected(frame, n_folds, validation_share, test_share, seed, published_column)
    return _as_table(frame, recipe, folds)


Parts = dict[str, np.ndarray]


def _as_published(
    frame: pd.DataFrame, n_folds: int, validation_share: float, test_share: float, seed: int, kind: str
) -> list[Parts]:
    """Return the parts of every fold as row numbers, drawn as a paper drew them (see the module)."""
    from heatproof.randomness import generator

    if len(frame) < n_folds:
        raise IntakeError(
            f"{len(frame)} scans cannot fill {n_folds} folds.",
            field="scan_id",
            remedy="lower folds.n_folds or add scans.",
        )
    rows = np.arange(len(frame))
    keys = (seed, "folds", "as_published") if kind == "rows" else (seed, "folds", "as_published", kind)
    order = rows if kind == "rows" else generator(*keys).permutation(rows)
    folds = []
    # One fold tests the share that stands first.
    held_out = order[: max(1, round(test_share * len(order)))]
    for fold, test in enumerate(np.array_split(order, n_folds) if n_folds > 1 else [held_out]):
        rest = np.setdiff1d(rows, test)
        n_validation = max(1, round(validation_share * len(rest)))
        train = generator(*keys, fold, "train").permutation(rest)
        # Wang et al. draw twice from the same rows: this is the flaw that `rows` exists to measure.
        validation = generator(*keys, fold, "validation").permutation(rest) if kind == "rows" else train[::-1]
        folds.append(
            {
                "train": np.sort(train[: len(rest) - n_validation]),
                "validation": np.sort(validation[:n_validation]),
                "test": np.sort(test),
            }
        )
    return folds


def _corrected(
    frame: pd.DataFrame, n_folds: int, validation_share: float, test_share: float, seed: int, column: str | None
) -> list[Parts]:
    """Return the parts of every fold as row numbers; no unit is in two parts of a fold."""
    units = units_of(frame)
    n_units = units.max() + 1 if len(frame) else 0
    given = None if column is None else given_test_folds(frame, units, column, n_folds)
    _require_enough_units(frame, units, n_folds)
    classes = indicator(frame["diagnosis"].astype(str))
    nuisance = nuisance_of(frame)
    per_unit = [np.zeros((n_units, table.shape[1])) for table in (classes, nuisance)]
    for sums, table in zip(per_unit, (classes, nuisance), strict=True):
        np.add.at(sums, units, table)
    # Of a hold-out split the second bin is what is never tested.
    shares = np.full(n_folds, 1 / n_folds) if n_folds > 1 else np.array([test_share, 1 - test_share])
    for attempt in range(ATTEMPTS):
        if given is None:
            test_fold = allocate(per_unit[0], per_unit[1], shares, (seed, "folds", "test", attempt))
        else:
            test_fold = given
        folds = _allocate_parts(units, per_unit, test_fold, n_folds, validation_share, (seed, attempt))
        if all(classes[rows].any(axis=0).all() for parts in folds for rows in parts.values()):
            return folds
    raise IntakeError(
        f"no split of {n_units} people into {n_folds} folds has every class in every part.",
        field="diagnosis" if column is None else column,
        remedy="lower folds.n_folds, raise folds.validation_share, or add people of the rarest class."
        if column is None
        else "leave out folds.published_column, raise folds.validation_share, or add people of the rarest class.",
    )


def _allocate_parts(
    units: np.ndarray,
    per_unit: Sequence[np.ndarray],
    test_fold: np.ndarray,
    n_folds: int,
    validation_share: float,
    key: tuple[int, int],
) -> list[Parts]:
    """Return the parts of every fold for one order of the units and the fold in which each is tested.

    `per_unit` are the scans of each class and of each category in every unit.
    """
    seed, attempt = key
    classes, nuisance = per_unit
    everyone = np.arange(len(classes))
    folds = []
    for fold in range(n_folds):
        rest = everyone[test_fold != fold]
        bins = allocate(
            classes[rest],
            nuisance[rest],
            np.array([1 - validation_share, validation_share]),
            (seed, "folds", "validation", fold, attempt),
        )
        part_of_unit = np.full(len(everyone), "test", dtype=object)
        part_of_unit[rest] = np.array(["train", "validation"], dtype=object)[bins]
        part = part_of_unit[units]
        folds.append({name: np.flatnonzero(part == name) for name in ("train", "validation", "test")})
    return folds


def _require_enough_units(frame: pd.DataFrame, units: np.ndarray, n_folds: int) -> None:
    """Raise an IntakeError if a class has fewer people than folds, or none left to train on."""
    needed = max(n_folds, 3)
    for name, rows in frame.groupby(frame["diagnosis"].astype(str), sort=True).indices.items():
        n_people = len(np.unique(units[rows]))
        if n_people < needed:
            raise IntakeError(
                f"class '{name}' has {n_people} independent people, but {n_folds} folds with training, "
                f"validation and test need {needed}.",
                field="diagnosis",
                remedy="lower folds.n_folds or add people of this class.",
            )


def _as_table(frame: pd.DataFrame, recipe: str, folds: list[Parts]) -> pd.DataFrame:
    """Return the long table of `make_folds`."""
    import pandas as pd

    pieces = [
        frame.loc[rows, ["scan_id", "participant_id"]].assign(recipe=recipe, fold=fold, part=part)
        for fold, parts in enumerate(folds)
        for part, rows in parts.items()
    ]
    return pd.concat(pieces, ignore_index=True)[list(FOLD_COLUMNS)]


def parts_of(folds: pd.DataFrame, recipe: str, fold: int) -> Mapping[str, list[str]]:
    """Return the scan ids of each part of one fold.

    Raises
    ------
    ConfigError
        If the table has no such recipe and fold.
    """
    chosen = folds[(folds["recipe"] == recipe) & (folds["fold"] == fold)]
    if chosen.empty:
        raise ConfigError(
            f"there is no fold {fold} of recipe '{recipe}'.",
            field="fold",
            remedy=f"the table has {_available(folds)}.",
        )
    return {str(part): rows["scan_id"].tolist() for part, rows in chosen.groupby("part", sort=False)}


def _available(folds: pd.DataFrame) -> str:
    pairs: Iterable[tuple[str, int]] = folds[["recipe", "fold"]].drop_duplicates().itertuples(index=False)
    return ", ".join(f"{recipe} {fold}" for recipe, fold in pairs)
