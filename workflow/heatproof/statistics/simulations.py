"""What the simulators of a study are worth: every score with its intervals, and what each setting contributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.simulation_rows import FULL_DOSE
from heatproof.statistics.faithfulness import summary
from heatproof.statistics.resampling import family_permutations, holm, sign_flip_test, t_interval

if TYPE_CHECKING:
    import pandas as pd

SIMULATION_COLUMNS = (
    "model", "recipe", "simulator", "kind", "direction", "dose", "score", "mean", "low", "high", "n_people", "n_scans",
    "n_runs", "run_low", "run_high", "reference", "difference", "difference_low", "difference_high", "p_value",
    "p_holm", "runs_agree",
)  # fmt: skip
# What the table of settings shows of each simulator, at the full dose and over both directions.
KEY_SCORES = (
    "change_correlation", "jacobian_correlation", "leakage", "moved", "referee_moved", "folded", "cycle_error",
    "dose_tau",
)  # fmt: skip
ABLATION_COLUMNS = (
    "model", "recipe", "simulator", "kind", "differs_in",
    *(f"{score}{end}" for score in KEY_SCORES for end in ("", "_low", "_high")),
)  # fmt: skip
BOTH = "both"
UNITS = ["fold", "seed", "scan_id", "participant_id", "direction"]


def simulations(
    rows: pd.DataFrame, order: Sequence[str], *, seed: int, n_bootstrap: int = 1000, n_permutations: int = 4999
) -> pd.DataFrame:
    """Return ``simulations.tsv``: every simulator on every score, against the first simulator of its network.

    Parameters
    ----------
    rows : DataFrame
        One number about one simulated scan a row (`heatproof.simulation_rows.ROW_COLUMNS`).
    order : sequence of str
        The simulators in the order of the configuration.
    seed : int
        Root seed of the study.
    n_bootstrap, n_permutations : int
        Bootstrap samples of people; sign flips behind a p value (at least 40 for each test of a family).

    Returns
    -------
    DataFrame
        `SIMULATION_COLUMNS`, for removal, injection and both. ``low`` and ``high`` are the bootstrap over people, a
        person with all folds, seeds and scans; ``run_low`` and ``run_high`` are the t interval of the means of the
        runs (folds times seeds, each with a network and simulators of its own). ``difference`` is paired by scan and
        person: the simulator minus ``reference``, the first one that has the score; larger is not always better.
        ``runs_agree`` says whether it has the same sign in every run: people of one run share its networks.
        Holm's family is the other simulators of a network on one score, dose and direction.
    """
    import pandas as pd

    parts = [
        part
        for key, units in _conditions(rows, order)
        for part in _described(key, units, seed, n_bootstrap, n_permutations)
    ]
    kinds = rows.drop_duplicates("simulator").set_index("simulator")["kind"].to_dict()
    table = pd.DataFrame(parts, columns=[name for name in SIMULATION_COLUMNS if name != "kind"])
    return table.assign(kind=table["simulator"].map(kinds).astype(object))[list(SIMULATION_COLUMNS)]


def _conditions(rows: pd.DataFrame, order: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield what is compared at once: its key, and the values of the simulators, in order, at each unit."""
    keys = ["model", "recipe", "dose", "score"]
    for values, part in rows.groupby(keys, sort=True, observed=True):
        wide = part.set_index([*UNITS, "simulator"])["value"].unstack("simulator")
        wide = wide[[name for name in order if name in wide.columns]]
        directions = wide.index.get_level_values("direction")
        for direction in (*sorted(set(directions), reverse=True), BOTH):
            chosen = wide if direction == BOTH else wide[directions == direction]
            yield {**dict(zip(keys, values, strict=True)), "direction": direction}, chosen.dropna(how="all")


def _described(
    key: Mapping[str, Any], units: pd.DataFrame, seed: int, n_bootstrap: int, n_permutations: int
) -> Iterator[dict[str, Any]]:
    """Yield the row of every simulator in one condition."""
    if units.empty:
        return
    known = [name for name in units if units[name].notna().any()]
    reference = known[0]
    people = _means_of(units, "participant_id")
    gaps = _means_of(units.sub(units[reference], axis=0), "participant_id")
    own = zip(*summary(people, seed, n_bootstrap), strict=True)
    apart = zip(*summary(gaps, seed, n_bootstrap), strict=True)
    p_values = sign_flip_test(np.nan_to_num(gaps), seed, family_permutations(n_permutations, len(known)))
    p_values[[name == reference or not np.isfinite(gaps[:, i]).any() for i, name in enumerate(units)]] = np.nan
    runs, agree = _run_intervals(units), _runs_agree(units.sub(units[reference], axis=0))
    tests = zip(p_values, holm(p_values), agree, strict=True)
    columns = zip(units, own, apart, runs, tests, strict=True)
    for name, (mean, low, high), (difference, *ends), (n_runs, *bounds), (p_value, p_holm, same) in columns:
        if name not in known:
            continue
        rows = units.index[units[name].notna()]
        first = name == reference
        yield {
            **key, "simulator": name, "mean": mean, "low": low, "high": high, "n_runs": n_runs,
            "n_people": rows.get_level_values("participant_id").nunique(),
            "n_scans": rows.get_level_values("scan_id").nunique(), "run_low": bounds[0], "run_high": bounds[1],
            "reference": reference, "difference": np.nan if first else difference,
            "difference_low": np.nan if first else ends[0], "difference_high": np.nan if first else ends[1],
            "p_value": p_value, "p_holm": p_holm, "runs_agree": "" if first else same,
        }  # fmt: skip


def _means_of(units: pd.DataFrame, *levels: str) -> np.ndarray:
    """Return the mean of each simulator for each person or run, shape (n, n_simulators); NaN where it has none."""
    return units.groupby(level=list(levels), sort=True).mean().to_numpy(dtype=float)


def _runs_agree(gaps: pd.DataFrame) -> list[str]:
    """Return for each simulator whether its differences to the reference have one sign in all runs: yes or no."""
    signs = (np.sign(values[np.isfinite(values)]) for values in _means_of(gaps, "fold", "seed").T)
    return ["yes" if len(set(own)) == 1 else "no" for own in signs]


def _run_intervals(units: pd.DataFrame) -> list[tuple[int, float, float]]:
    """Return for each simulator its number of runs and the t interval of their means."""
    found = []
    for values in _means_of(units, "fold", "seed").T:
        runs = values[np.isfinite(values)]
        error = runs.std(ddof=1) / np.sqrt(runs.size) if runs.size > 1 else np.nan
        low, high = t_interval(np.array(runs.mean() if runs.size else np.nan), np.array(error), runs.size - 1)
        found.append((int(runs.size), float(low), float(high)))
    return found


def ablations(table: pd.DataFrame, simulators: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return ``ablations.tsv``: a row per network and simulator with the settings that set it apart.

    Parameters
    ----------
    table : DataFrame
        What `simulations` returns.
    simulators : mapping of str to mapping
        The completed simulators of the configuration, in order.

    Returns
    -------
    DataFrame
        `ABLATION_COLUMNS`: ``differs_in`` names the settings in which a simulator differs from the first of its kind,
        and each of `KEY_SCORES` stands with its interval over people, at the full dose and over both directions.
    """
    import pandas as pd

    chosen = table[(table["dose"] == FULL_DOSE) & (table["direction"] == BOTH) & table["score"].isin(KEY_SCORES)]
    rows = []
    for (model, recipe), part in chosen.groupby(["model", "recipe"], sort=True):
        for name, settings in simulators.items():
            own = part[part["simulator"] == name]
            if own.empty:
                continue
            row = {"model": model, "recipe": recipe, "simulator": name, "kind": settings["kind"]}
            row["differs_in"] = differences(settings, first_of_kind(simulators, str(settings["kind"])))
            for line in own.itertuples():
                row |= {line.score: line.mean, f"{line.score}_low": line.low, f"{line.score}_high": line.high}
            rows.append(row)
    return pd.DataFrame(rows, columns=list(ABLATION_COLUMNS))


def first_of_kind(simulators: Mapping[str, Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """Return the settings of the first simulator of a kind."""
    return next(settings for settings in simulators.values() if settings["kind"] == kind)


def differences(settings: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """Return in words the settings that differ: ``cycle 0, not 1; field displacement, not velocity``."""
    changed = [key for key in sorted({*settings, *others}) if settings.get(key) != others.get(key)]
    return "; ".join(f"{key} {_word(settings.get(key))}, not {_word(others.get(key))}" for key in changed)


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
