"""What the probes of a network say about each method, against its own maps laid out otherwise and against controls."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.statistics.conditions import CONTROLS, Condition, conditions, orientation
from heatproof.statistics.ranking import level_columns
from heatproof.statistics.resampling import bootstrap_means, family_permutations, holm, interval, sign_flip_test
from heatproof.statistics.sampling import sample

if TYPE_CHECKING:
    import pandas as pd

# The truth used as a map: not a method, and known for some scans only, so it takes no part in ranks and exclusions.
EXACT_TRUTH = "exact_truth"
NOISE = "random_noise"
PROBE_CONTROLS = CONTROLS | {EXACT_TRUTH}
PROBE_KEYS = ["model", "recipe", "metric", "setting"]
UNITS = ["fold", "seed", "scan_id", "participant_id"]
FAITHFULNESS_COLUMNS = (
    "model", "recipe", "metric", "setting", "method", "is_control", "mean", "low", "high", "n_scans", "n_people",
    "n_seeds", "n_excluded", "null_mean", "difference_to_null", "difference_low", "difference_high", "p_value",
    "p_holm", "random_mean", "rank", "rank_low", "rank_high", "probability_first",
)  # fmt: skip


@dataclass(frozen=True)
class Probed:
    """All methods of one network on one metric and setting.

    Attributes
    ----------
    key : dict
        Values of `PROBE_KEYS`.
    condition : Condition
        The scans that every method has, with the values of the methods' own maps.
    nulls : ndarray, shape (n_units, n_methods)
        Mean over the nulls of each method's map; NaN where there is none.
    exact : ndarray, shape (n_units, 1)
        Value of the truth used as a map; NaN for scans without a known truth.
    exact_nulls : ndarray, shape (n_units, 1)
        The same for the nulls of the truth.
    scored : list of str
        All methods with a row, also those without a finite value.
    """

    key: dict[str, Any]
    condition: Condition
    nulls: np.ndarray
    exact: np.ndarray
    exact_nulls: np.ndarray
    scored: list[str]

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return orientation(self.key["metric"])

    def people(self, values: np.ndarray) -> np.ndarray:
        """Return one row per person, the mean over the person's finite values, shape (n_people, k)."""
        codes = self.condition.units["participant_id"].factorize()[0]
        n_people = int(codes.max()) + 1 if codes.size else 0
        known = np.isfinite(values)
        totals = np.zeros((2, n_people, values.shape[1]))
        np.add.at(totals[0], codes, np.where(known, values, 0.0))
        np.add.at(totals[1], codes, known)
        return np.divide(totals[0], totals[1], out=np.full(totals[0].shape, np.nan), where=totals[1] > 0)


def faithfulness(
    probes: pd.DataFrame,
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_permutations: int = 4999,
    controls: Collection[str] = PROBE_CONTROLS,
) -> pd.DataFrame:
    """Return ``faithfulness.tsv``: every method on every probe, against its own nulls and against noise.

    Parameters
    ----------
    probes : DataFrame
        Long table of probes; a scan whose value one method lacks is left out for all.
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; sign flips behind a p value (at least 40 for each test of a family).
    controls : collection of str
        Methods that are controls; they are ranked but do not count in Holm's family.

    Returns
    -------
    DataFrame
        `FAITHFULNESS_COLUMNS`, one row per model, recipe, metric, setting and method. ``null_mean`` is the mean over
        the nulls of the method's own map (the same values elsewhere) and ``difference_to_null`` the paired difference
        per person, oriented so that positive is better. ``random_mean`` is the mean of `random_noise`. ``rank`` 1 is
        best, among methods and controls; ``rank_low``, ``rank_high`` and ``probability_first`` come from the
        bootstrap. The truth used as a map has a row over the scans that have one, without a rank. A method without a
        finite value on half of the scans has a row without numbers.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for probed in probe_conditions(probes):
        columns: dict[str, np.ndarray] = {"mean": np.empty(0)}
        if probed.condition.methods:
            columns = _columns(probed, controls, seed, n_bootstrap, n_permutations)
        shared = {**probed.key, "n_excluded": probed.condition.n_excluded, **_counts(probed.condition.units)}
        shared["random_mean"] = dict(zip(probed.condition.methods, columns["mean"], strict=True)).get(NOISE, np.nan)
        for method in probed.scored:
            row = {**shared, "method": method, "is_control": method in controls}
            if method in probed.condition.methods:
                position = probed.condition.methods.index(method)
                row |= {name: values[position] for name, values in columns.items()}
            else:
                # It failed on most scans: the row stays, without a number.
                row |= dict(zip(("n_scans", "n_people"), probed.condition.dropped.get(method, (0, 0)), strict=True))
            rows.append(row)
        if np.isfinite(probed.exact).any():
            rows.append({**shared, "is_control": True, **_exact_row(probed, seed, n_bootstrap, n_permutations)})
    return pd.DataFrame(rows, columns=list(FAITHFULNESS_COLUMNS))


def probe_conditions(probes: pd.DataFrame) -> Iterator[Probed]:
    """Yield every network, metric and setting of a table of probes, with the same scans for all methods."""
    if probes.empty:
        return
    own = probes[(probes["null"] == "") & (probes["method"] != EXACT_TRUTH)]
    exact = _by_key(probes[(probes["null"] == "") & (probes["method"] == EXACT_TRUTH)])
    nulls = _by_key(probes[probes["null"] != ""])
    scored = {key: sorted(part.unique()) for key, part in own.groupby(PROBE_KEYS, observed=True)["method"]}
    # A setting stands where scores name their truth.
    columns = ("model", "recipe", "metric", "truth")
    for condition in sorted(conditions(as_scores(own)), key=lambda one: [one.key[name] for name in columns]):
        key = dict(zip(PROBE_KEYS, (condition.key[name] for name in columns), strict=True))
        names = tuple(key.values())
        yield Probed(
            key,
            condition,
            _at(nulls.get(names), condition, condition.methods),
            _at(exact.get(names), condition, [EXACT_TRUTH]),
            _at(nulls.get(names), condition, [EXACT_TRUTH]),
            scored[names],
        )


def as_scores(probes: pd.DataFrame) -> pd.DataFrame:
    """Return probes in the columns of the score table; the setting stands where scores name their truth."""
    return probes.assign(level="scan", truth=probes["setting"], smoothing_mm=0.0, population="scan", rectify="")


def summary(people: np.ndarray, seed: int, n_bootstrap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and 95 % bootstrap interval of each column over the people who have a value.

    Parameters
    ----------
    people : ndarray, shape (n_people, k)
        One row per person; NaN where a person has no value.
    seed, n_bootstrap : int
        Root seed of the study; bootstrap samples.

    Returns
    -------
    mean, low, high : ndarray, shape (k,)
    """
    known = np.isfinite(people)
    counts = known.sum(axis=0)
    empty = np.full(people.shape[1], np.nan)
    if not counts.any():
        return empty, empty.copy(), empty.copy()
    mean = np.divide(np.where(known, people, 0).sum(axis=0), counts, out=empty.copy(), where=counts > 0)
    draws = bootstrap_means(people, seed, n_bootstrap)
    low, high = empty.copy(), empty.copy()
    for count in np.unique(counts):
        columns = counts == count
        low[columns], high[columns] = interval(draws[:, columns], int(count))
    return mean, low, high


def _by_key(probes: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Return for each network, metric and setting the mean of each unit and method, as a table of both."""
    if probes.empty:
        return {}
    means = probes.groupby([*PROBE_KEYS, *UNITS, "method"], observed=True)["value"].mean().unstack("method")
    return {key: part.droplevel(PROBE_KEYS) for key, part in means.groupby(PROBE_KEYS, observed=True)}


def _at(table: pd.DataFrame | None, condition: Condition, methods: list[str]) -> np.ndarray:
    """Return the values of some methods at the units of a condition, NaN where there is none."""
    import pandas as pd

    if table is None or not len(condition.units):
        return np.full((len(condition.units), len(methods)), np.nan)
    units = pd.MultiIndex.from_frame(condition.units[UNITS])
    return table.reindex(index=units, columns=methods).to_numpy(dtype=float)


def _counts(units: pd.DataFrame) -> dict[str, int]:
    columns = {"n_scans": "scan_id", "n_people": "participant_id", "n_seeds": "seed"}
    return {name: units[column].nunique() for name, column in columns.items()}


def _columns(
    probed: Probed, controls: Collection[str], seed: int, n_bootstrap: int, n_permutations: int
) -> dict[str, np.ndarray]:
    """Return what `faithfulness` says about each method of the condition, shape (n_methods,) each."""
    condition = probed.condition
    columns = level_columns(condition, sample(condition, None, seed, n_bootstrap))
    claimed = np.array([method not in controls for method in condition.methods], dtype=bool)
    permutations = family_permutations(n_permutations, int(claimed.sum()))
    columns |= _against_nulls(probed, condition.values, probed.nulls, seed, n_bootstrap, permutations)
    # Controls are shown but not claimed, so they do not make the methods' tests stricter.
    columns["p_holm"] = holm(np.where(claimed, columns["p_value"], np.nan))
    return columns


def _against_nulls(
    probed: Probed, values: np.ndarray, nulls: np.ndarray, seed: int, n_bootstrap: int, n_permutations: int
) -> dict[str, np.ndarray]:
    """Return the paired difference of values to their nulls, NaN for a method without nulls."""
    differences = probed.people(probed.sign * (values - nulls))
    mean, low, high = summary(differences, seed, n_bootstrap)
    # Who has no difference adds nothing to a sum of signed differences, whatever the sign.
    p_values = sign_flip_test(np.nan_to_num(differences), seed, n_permutations)
    return {
        "null_mean": summary(probed.people(np.where(np.isfinite(values), nulls, np.nan)), seed, 1)[0],
        "difference_to_null": mean,
        "difference_low": low,
        "difference_high": high,
        "p_value": np.where(np.isfinite(mean), p_values, np.nan),
    }


def _exact_row(probed: Probed, seed: int, n_bootstrap: int, n_permutations: int) -> dict[str, Any]:
    """Return the row of the truth used as a map, over the scans that have one."""
    mean, low, high = summary(probed.people(probed.exact), seed, n_bootstrap)
    against = _against_nulls(probed, probed.exact, probed.exact_nulls, seed, n_bootstrap, n_permutations)
    known = np.isfinite(probed.exact[:, 0])
    numbers = {"mean": mean, "low": low, "high": high, **against}
    return {
        "method": EXACT_TRUTH,
        **_counts(probed.condition.units[known]),
        **{name: values[0] for name, values in numbers.items()},
    }
