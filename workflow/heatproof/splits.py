"""Folds in which nobody is on both sides, and the audit that proves it.

The unit of a ``corrected`` split is a group of scans that must stay together: all scans of a person, of a
family, and scans that hold the same image. The ``as_published`` recipe repeats the released code of Wang et
al. (2023): test folds are contiguous rows of the table, training and validation are two unrelated draws from
the other rows. Its leak is measured, not hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from heatproof.errors import ConfigError, IntakeError
from heatproof.leakage import audit, check_parts, identity_keys, raise_on_leak

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FOLD_COLUMNS", "RECIPES", "audit", "check_parts", "make_folds", "raise_on_leak"]

RECIPES = ("corrected", "as_published")
FOLD_COLUMNS = ("recipe", "fold", "scan_id", "participant_id", "part")
BALANCED_COLUMNS = ("sex", "site")
# Units of one class can be so lumpy that a greedy allocation leaves a part without it; another order helps.
ATTEMPTS = 20


def make_folds(
    participants: pd.DataFrame, recipe: str, n_folds: int, validation_share: float, seed: int
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
        Number of folds, 2 or more; each scan is tested in exactly one.
    validation_share : float
        Share of the scans outside the test part that is used for early stopping, between 0 and 1.
    seed : int
        Root seed of the study.

    Returns
    -------
    DataFrame
        Columns recipe, fold, scan_id, participant_id, part (train | validation | test), ordered by fold,
        part and row of the table. In ``as_published`` a scan may be in train and validation at once.

    Raises
    ------
    ConfigError
        If the recipe is unknown, or `n_folds` or `validation_share` is out of range.
    IntakeError
        If a class has too few people to be in every part of every fold.
    """
    if recipe not in RECIPES:
        raise ConfigError(
            f"the recipe '{recipe}' is not known.", field="recipe", remedy=f"use one of {', '.join(RECIPES)}."
        )
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds cannot be split.", field="folds.n_folds", remedy="use 2 or more.")
    if not 0 < validation_share < 1:
        raise ConfigError(
            f"a validation share of {validation_share} leaves no room for training or for validation.",
            field="folds.validation_share",
            remedy="use a number between 0 and 1, such as 0.2.",
        )
    frame = participants.reset_index(drop=True)
    split = _corrected if recipe == "corrected" else _as_published
    return _as_table(frame, recipe, split(frame, n_folds, validation_share, seed))


Parts = dict[str, np.ndarray]


def _as_published(frame: pd.DataFrame, n_folds: int, validation_share: float, seed: int) -> list[Parts]:
    """Return the parts of every fold as row numbers, drawn as in the released code of Wang et al."""
    from heatproof.randomness import generator

    if len(frame) < n_folds:
        raise IntakeError(
            f"{len(frame)} scans cannot fill {n_folds} folds.",
            field="scan_id",
            remedy="lower folds.n_folds or add scans.",
        )
    folds = []
    for fold, test in enumerate(np.array_split(np.arange(len(frame)), n_folds)):
        rest = np.setdiff1d(np.arange(len(frame)), test)
        n_validation = max(1, round(validation_share * len(rest)))
        # Two unrelated draws: this is the flaw that the recipe exists to measure.
        train = generator(seed, "folds", "as_published", fold, "train").permutation(rest)
        validation = generator(seed, "folds", "as_published", fold, "validation").permutation(rest)
        folds.append(
            {
                "train": np.sort(train[: len(rest) - n_validation]),
                "validation": np.sort(validation[:n_validation]),
                "test": test,
            }
        )
    return folds


def _corrected(frame: pd.DataFrame, n_folds: int, validation_share: float, seed: int) -> list[Parts]:
    """Return the parts of every fold as row numbers; no unit is in two parts of a fold."""
    units = units_of(frame)
    n_units = units.max() + 1 if len(frame) else 0
    _require_enough_units(frame, units, n_folds)
    classes = _indicator(frame["diagnosis"].astype(str))
    nuisance = _nuisance(frame)
    per_unit = [np.zeros((n_units, table.shape[1])) for table in (classes, nuisance)]
    for sums, table in zip(per_unit, (classes, nuisance), strict=True):
        np.add.at(sums, units, table)
    for attempt in range(ATTEMPTS):
        folds = _allocate_folds(units, per_unit[0], per_unit[1], n_folds, validation_share, (seed, attempt))
        if all(classes[rows].any(axis=0).all() for parts in folds for rows in parts.values()):
            return folds
    raise IntakeError(
        f"no split of {n_units} people into {n_folds} folds has every class in every part.",
        field="diagnosis",
        remedy="lower folds.n_folds, raise folds.validation_share, or add people of the rarest class.",
    )


def _allocate_folds(
    units: np.ndarray,
    classes: np.ndarray,
    nuisance: np.ndarray,
    n_folds: int,
    validation_share: float,
    key: tuple[int, int],
) -> list[Parts]:
    """Return the parts of every fold for one order of the units."""
    seed, attempt = key
    everyone = np.arange(len(classes))
    test_fold = allocate(classes, nuisance, np.full(n_folds, 1 / n_folds), (seed, "folds", "test", attempt))
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


def allocate(classes: np.ndarray, nuisance: np.ndarray, shares: np.ndarray, key: tuple[object, ...]) -> np.ndarray:
    """Return the bin of every unit, so that each bin gets its share of every class.

    Units are taken in random order, large ones first, and each goes to the bin that lacks one of its classes
    altogether, else to the one furthest below its share of the unit's classes, else (a tie) of its age band,
    sex and site.

    Parameters
    ----------
    classes : ndarray, shape (n_units, n_classes)
        Scans of each class in each unit.
    nuisance : ndarray, shape (n_units, n_categories)
        Scans in each category that should be balanced where the classes leave a choice.
    shares : ndarray, shape (n_bins,)
        Share of every bin; they add up to one.
    key : tuple
        Seed and purpose of the random order.
    """
    from heatproof.randomness import generator

    order = generator(*key).permutation(len(classes))  # type: ignore[arg-type]
    order = order[np.argsort(-classes.sum(axis=1)[order], kind="stable")]
    tables = (classes, nuisance)
    totals = [np.maximum(table.sum(axis=0), 1) for table in tables]
    filled = [np.zeros((len(shares), table.shape[1])) for table in tables]
    bins = np.zeros(len(classes), dtype=int)
    for unit in order:
        present = classes[unit] > 0
        supplied = (filled[0][:, present] == 0).sum(axis=1)
        # Rise of the summed squared distance from the wanted counts, per share of the bin.
        rises = [
            (table[unit] * (2 * (now - shares[:, None] * total) + table[unit]) / total).sum(axis=1) / shares
            for table, total, now in zip(tables, totals, filled, strict=True)
        ]
        best = np.lexsort((np.round(rises[1], 9), np.round(rises[0], 9), -supplied))[0]
        bins[unit] = best
        for table, now in zip(tables, filled, strict=True):
            now[best] += table[unit]
    return bins


def units_of(participants: pd.DataFrame) -> np.ndarray:
    """Return the number of each scan's unit, shape (n_scans,).

    Scans share a unit if a chain of same person, same family or same image links them. Identifiers that
    differ only in case or padding count as one.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(participants)
    left: list[np.ndarray] = []
    right: list[np.ndarray] = []
    offset = n
    for keys in identity_keys(participants).values():
        known = np.flatnonzero(keys.to_numpy() != "")
        names, codes = np.unique(keys.to_numpy()[known].astype(str), return_inverse=True)
        left.append(known)
        right.append(codes + offset)
        offset += len(names)
    rows, columns = np.concatenate(left), np.concatenate(right)
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(offset, offset))
    labels = connected_components(graph, directed=False)[1][:n]
    # Numbered by first appearance, so that the numbers do not depend on the library's order of search.
    first = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
    return np.array([first[label] for label in labels.tolist()], dtype=int)


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


def _indicator(values: pd.Series) -> np.ndarray:
    """Return one column per value, 1 where the scan has it, shape (n, n_values)."""
    names = np.unique(values.to_numpy().astype(str))
    return (values.to_numpy().astype(str)[:, None] == names[None, :]).astype(float)


def _nuisance(frame: pd.DataFrame) -> np.ndarray:
    """Return indicators of sex, site and age band (thirds of the cohort), shape (n, n_categories)."""
    import pandas as pd

    tables = [np.ones((len(frame), 1))]
    tables += [
        _indicator(frame[name].astype(object).where(frame[name].notna(), ""))
        for name in BALANCED_COLUMNS
        if name in frame.columns
    ]
    if "age" in frame.columns:
        age = pd.to_numeric(frame["age"], errors="coerce")
        edges = age.quantile([1 / 3, 2 / 3]).to_numpy()
        band = np.where(age.isna(), "", (age.to_numpy()[:, None] > edges).sum(axis=1).astype(str))
        tables.append(_indicator(pd.Series(band)))
    return np.concatenate(tables, axis=1)


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
