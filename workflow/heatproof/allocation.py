"""What a corrected split puts together and how it spreads it: units of scans, shared out over the parts.

A unit is a group of scans that must stay together: all scans of a person, of a family, and scans that hold the
same image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from heatproof.leakage import identity_keys

if TYPE_CHECKING:
    import pandas as pd

BALANCED_COLUMNS = ("sex", "site")


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


def indicator(values: pd.Series) -> np.ndarray:
    """Return one column per value, 1 where the scan has it, shape (n, n_values)."""
    names = np.unique(values.to_numpy().astype(str))
    return (values.to_numpy().astype(str)[:, None] == names[None, :]).astype(float)


def nuisance_of(frame: pd.DataFrame) -> np.ndarray:
    """Return indicators of sex, site and age band (thirds of the cohort), shape (n, n_categories)."""
    import pandas as pd

    tables = [np.ones((len(frame), 1))]
    tables += [
        indicator(frame[name].astype(object).where(frame[name].notna(), ""))
        for name in BALANCED_COLUMNS
        if name in frame.columns
    ]
    if "age" in frame.columns:
        age = pd.to_numeric(frame["age"], errors="coerce")
        edges = age.quantile([1 / 3, 2 / 3]).to_numpy()
        band = np.where(age.isna(), "", (age.to_numpy()[:, None] > edges).sum(axis=1).astype(str))
        tables.append(indicator(pd.Series(band)))
    return np.concatenate(tables, axis=1)
