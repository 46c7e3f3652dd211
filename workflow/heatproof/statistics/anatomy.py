"""Relevance by area: density, gain, and its relation to the area's volume (Böhle et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.randomness import generator
from heatproof.statistics.resampling import bootstrap_means, draw_counts, family_permutations, holm, interval

if TYPE_CHECKING:
    import pandas as pd

MAP = ["model", "recipe", "method"]
AREA = [*MAP, "area", "name"]
RELEVANCE_COLUMNS = (
    *AREA,
    "population",
    "volume_mm3",
    "sum",
    "density",
    "density_rank",
    "n_scans",
    "n_people",
)
GAIN_COLUMNS = (
    *AREA, "true_positive_mean", "control_mean", "gain", "low", "high", "n_true_positives", "n_controls",
    "n_people",
)  # fmt: skip
VOLUME_COLUMNS = (*AREA, "r", "low", "high", "p_value", "p_holm", "n_scans", "n_people", "n_permutations")


def true_positives(areas: pd.DataFrame, *, has_controls: bool = True) -> pd.Series:
    """Return which rows belong to patients whom the network gives their class.

    Parameters
    ----------
    areas : DataFrame
        Columns target and predicted.
    has_controls : bool
        Whether class 0 is the control class; without one everybody is a patient.
    """
    right = areas["predicted"] == areas["target"]
    return right & (areas["target"] > 0) if has_controls else right


def area_relevance(areas: pd.DataFrame, *, has_controls: bool = True) -> pd.DataFrame:
    """Return ``area_relevance.tsv``: mean sum and density of relevance per area over the true positives.

    Parameters
    ----------
    areas : DataFrame
        Long area table.
    has_controls : bool
        Whether class 0 is the control class.

    Returns
    -------
    DataFrame
        `RELEVANCE_COLUMNS`; every person counts once. A scan that lacks the area does not count in it. The
        population is ``true_positives``, or ``all`` for a model that recognised no patient.
    """
    import pandas as pd

    parts = []
    for _, table in areas.groupby(MAP, observed=True) if len(areas) else []:
        hits = table[true_positives(table, has_controls=has_controls)]
        population, chosen = ("true_positives", hits) if len(hits) else ("all", table)
        people = chosen.groupby([*AREA, "participant_id"], observed=True)[["volume_mm3", "sum", "density"]].mean()
        means = people.groupby(AREA, observed=True).mean()
        known = chosen[chosen["sum"].notna()].groupby(AREA, observed=True)
        means["n_scans"] = known["scan_id"].nunique().reindex(means.index).fillna(0).astype(int)
        means["n_people"] = known["participant_id"].nunique().reindex(means.index).fillna(0).astype(int)
        means["density_rank"] = means["density"].rank(ascending=False)
        parts.append(means.reset_index().assign(population=population))
    if not parts:
        return pd.DataFrame(columns=list(RELEVANCE_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(RELEVANCE_COLUMNS)]


def gain(areas: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000, has_controls: bool = True) -> pd.DataFrame:
    """Return ``gain.tsv``: mean sum over true positives divided by that over controls, per area.

    Parameters
    ----------
    areas : DataFrame
        Long area table.
    seed : int
        Root seed of the study.
    n_bootstrap : int
        Bootstrap samples of people: within true positives and controls, or, where a person is among both, of all
        people at once, each with all scans.
    has_controls : bool
        Whether class 0 is the control class; without one there is nothing to divide by, and no row.

    Returns
    -------
    DataFrame
        `GAIN_COLUMNS`. Sums are taken with their sign. The gain and its interval are NaN unless both means are
        positive and the interval of the controls' mean is clear of zero: a ratio to about zero, or of two negative
        means, is no gain.
    """
    import pandas as pd

    parts = []
    for key, table in areas.groupby(MAP, observed=True) if len(areas) and has_controls else []:
        patients = _person_sums(table[true_positives(table)])
        controls = _person_sums(table[table["target"] == 0])
        names = table[["area", "name"]].drop_duplicates().sort_values("area", ignore_index=True)
        people = patients.index.union(controls.index)
        if len(people) < len(patients) + len(controls):
            patients, controls = patients.reindex(people), controls.reindex(people)
        hit = patients.reindex(columns=names["area"]).to_numpy(dtype=float)
        rest = controls.reindex(columns=names["area"]).to_numpy(dtype=float)
        above, below = _column_means(hit), _column_means(rest)
        low, high, clear = _gain_interval(hit, rest, patients.index.equals(controls.index), seed, n_bootstrap)
        clear &= (above > 0) & (below > 0)
        part = names.assign(
            true_positive_mean=above, control_mean=below,
            low=np.where(clear, low, np.nan), high=np.where(clear, high, np.nan),
            gain=np.divide(above, below, out=np.full(above.shape, np.nan), where=clear),
            n_true_positives=table.loc[true_positives(table), "scan_id"].nunique(),
            n_controls=table.loc[table["target"] == 0, "scan_id"].nunique(), n_people=len(people),
        )  # fmt: skip
        parts.append(part.assign(**dict(zip(MAP, key, strict=True))))
    if not parts:
        return pd.DataFrame(columns=list(GAIN_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(GAIN_COLUMNS)]


def _person_sums(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean sum of each person in each area, people by areas."""
    return table.pivot_table(
        index="participant_id", columns="area", values="sum", aggfunc="mean", dropna=False, observed=True
    )


def _column_means(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _gain_interval(
    hit: np.ndarray, rest: np.ndarray, paired: bool, seed: int, n_bootstrap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the interval of the ratio of means, and where the interval of its denominator is above zero."""
    n_hit, n_rest = (int((~np.isnan(values)).any(axis=1).sum()) for values in (hit, rest))
    empty = np.full(hit.shape[1], np.nan)
    if n_hit < 2 or n_rest < 2:
        return empty, empty.copy(), np.zeros(hit.shape[1], bool)
    above = bootstrap_means(hit, seed, n_bootstrap)
    # Two groups of people are drawn independently, so from another stream; the same people are drawn once.
    below = bootstrap_means(rest, seed if paired else seed + 1, n_bootstrap)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = interval(above / below, min(n_hit, n_rest))
    bottom, _ = interval(below, n_rest)
    return low, high, bottom > 0


def volume_relevance(
    areas: pd.DataFrame,
    volumes: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_permutations: int = 1000,
) -> pd.DataFrame:
    """Return ``volume_relevance.tsv``: correlation of an area's volume with its relevance, over people.

    Parameters
    ----------
    areas : DataFrame
        Long area table.
    volumes : DataFrame
        scan_id, area, volume_mm3; where empty, the volumes in `areas` are used.
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; permutations of relevance among people (at least 40 for each area of a map).

    Returns
    -------
    DataFrame
        `VOLUME_COLUMNS`: Pearson's r between the means of people (one as a control and one as a patient, where a
        person was both), its bootstrap interval, the two-sided permutation p value, and ``p_holm``, adjusted over the
        areas of one model and method. People are drawn and permuted with all their means, so what all of them
        share between their two means is no evidence. NaN where a side does not vary or fewer than four people have
        the area.
    """
    import pandas as pd

    table = areas[areas["sum"].notna()] if len(areas) else areas
    if len(table) and len(volumes):
        known = volumes[["scan_id", "area", "volume_mm3"]]
        table = table.drop(columns="volume_mm3").merge(known, on=["scan_id", "area"], how="inner")
    rows = list(_volume_rows(table, seed, n_bootstrap, n_permutations)) if len(table) else []
    return pd.DataFrame(rows, columns=list(VOLUME_COLUMNS))


def _volume_rows(table: pd.DataFrame, seed: int, n_bootstrap: int, n_permutations: int) -> Iterator[dict[str, Any]]:
    for _, areas in table.groupby(MAP, observed=True, sort=True):
        parts = list(areas.groupby(AREA, observed=True, sort=True))
        permutations = family_permutations(n_permutations, len(parts))
        orders: dict[bytes, np.ndarray] = {}
        rows: list[dict[str, Any]] = []
        for key, part in parts:
            # A person's healthy and patient scans differ in volume: their mean would hide what is asked for.
            means = part.groupby(["participant_id", "target"], observed=True)[["volume_mm3", "sum"]].mean().dropna()
            people = means.index.get_level_values("participant_id").factorize()[0]
            if people.tobytes() not in orders:
                orders[people.tobytes()] = _orders(people, seed, permutations)
            x, y = means["volume_mm3"].to_numpy(dtype=float), means["sum"].to_numpy(dtype=float)
            r, low, high, p_value = _correlation(x, y, people, orders[people.tobytes()], seed, n_bootstrap)
            rows.append({
                **dict(zip(AREA, key, strict=True)), "r": r, "low": low, "high": high, "p_value": p_value,
                "n_scans": part["scan_id"].nunique(), "n_people": len(set(people)), "n_permutations": permutations,
            })  # fmt: skip
        adjusted = holm(np.array([row["p_value"] for row in rows]))
        yield from ({**row, "p_holm": value} for row, value in zip(rows, adjusted, strict=True))


def _orders(people: np.ndarray, seed: int, n_permutations: int) -> np.ndarray:
    """Return permutations of rows that move whole people, shape (n_permutations, n_rows).

    People change places with people who have as many rows; a person's rows stay together and in order.

    Parameters
    ----------
    people : ndarray of int, shape (n_rows,)
        Person of each row, in ascending order from 0.
    """
    sizes = np.bincount(people)
    starts = np.cumsum(sizes) - sizes
    random = generator(seed, "statistics", "permutations", len(sizes))
    orders = np.tile(np.arange(people.size), (n_permutations, 1))
    for size in np.unique(sizes):
        places = starts[sizes == size]
        sources = random.permuted(np.tile(places, (n_permutations, 1)), axis=1)
        for row in range(size):
            orders[:, places + row] = sources + row
    return orders


def _correlation(
    x: np.ndarray, y: np.ndarray, people: np.ndarray, orders: np.ndarray, seed: int, n_bootstrap: int
) -> tuple[float, float, float, float]:
    """Return Pearson's r, its interval and its permutation p value; `people` is the person of each row."""
    nothing = (float("nan"),) * 4
    n_people = len(set(people))
    if n_people < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nothing
    a = (x - x.mean()) / np.linalg.norm(x - x.mean())
    b = (y - y.mean()) / np.linalg.norm(y - y.mean())
    r = float(a @ b)
    shuffled = b[orders] @ a
    p_value = (1 + int((np.abs(shuffled) >= abs(r) - 1e-12).sum())) / (1 + len(orders))
    counts = draw_counts(seed, n_people, n_bootstrap)[:, people]
    total = counts.sum(axis=1)
    mean_a, mean_b = counts @ a / total, counts @ b / total
    covariance = counts @ (a * b) / total - mean_a * mean_b
    spread = (counts @ a**2 / total - mean_a**2) * (counts @ b**2 / total - mean_b**2)
    # A sample of one person repeated has no correlation; it is left out of the interval.
    draws = np.full(total.shape, np.nan)
    varies = spread > 1e-15
    draws[varies] = covariance[varies] / np.sqrt(spread[varies])
    # Fisher's z makes the draws symmetric before the percentiles are moved out.
    low, high = np.tanh(np.array(interval(np.arctanh(np.clip(draws, -1 + 1e-12, 1 - 1e-12))[:, None], n_people)))
    return r, float(low[0]), float(high[0]), p_value
