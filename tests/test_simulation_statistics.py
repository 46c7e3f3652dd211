"""The table of simulators: means and intervals over people and runs, paired differences, settings that differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import heatproof
from heatproof import statistics
from heatproof.simulation_rows import ROW_COLUMNS
from heatproof.statistics.resampling import draw_counts, holm, interval, sign_flip_test, t_interval
from heatproof.statistics.simulations import ABLATION_COLUMNS, SIMULATION_COLUMNS

FEW = {"seed": 1, "n_bootstrap": 300, "n_permutations": 999}
ORDER = ("velocity", "published", "additive")


def simulated(
    values: dict[str, np.ndarray], score: str = "change_correlation", dose: float = 1.0, **origin: object
) -> pd.DataFrame:
    """A value for each scan: even people are patients, whose pattern is removed; ``values[simulator][person]``."""
    base = {"study": "s", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, **origin}
    rows = [
        {**base, "simulator": name, "kind": "additive" if name == "additive" else "warp", "scan_id": f"s{person:02d}",
         "participant_id": f"p{person:02d}", "direction": ("removal", "injection")[person % 2], "dose": dose,
         "score": score, "value": float(value)}
        for name, column in values.items() for person, value in enumerate(column)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def line(table: pd.DataFrame, simulator: str, direction: str = "both", **where: object) -> pd.Series:
    chosen = (table["simulator"] == simulator) & (table["direction"] == direction)
    for column, value in where.items():
        chosen &= table[column] == value
    (position,) = np.flatnonzero(chosen)
    return table.iloc[position]


def values(n: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    person = random.normal(0, 0.2, n)
    merits = {"velocity": 0.5, "published": 0.3, "additive": 0.45}
    return {name: merit + person + 0.05 * random.normal(size=n) for name, merit in merits.items()}


def test_a_row_holds_what_a_loop_over_people_and_runs_finds():
    one, two = values(), values(seed=1)
    rows = pd.concat([simulated(one, seed=1), simulated(two, seed=2)])
    table = statistics.simulations(rows, ORDER, **FEW)
    assert list(table.columns) == list(SIMULATION_COLUMNS)
    row = line(table, "published")
    people = (one["published"] + two["published"]) / 2
    gaps = people - (one["velocity"] + two["velocity"]) / 2
    assert row["mean"] == pytest.approx(people.mean()) and row["difference"] == pytest.approx(gaps.mean())
    counts = draw_counts(1, 20, 300)
    for name, each in (("", people), ("difference_", gaps)):
        low, high = interval((counts @ each / 20)[:, None], 20)
        assert row[[f"{name}low", f"{name}high"]].tolist() == pytest.approx([low[0], high[0]])
    runs = np.array([one["published"].mean(), two["published"].mean()])
    assert row[["run_low", "run_high"]].tolist() == pytest.approx(t_interval(runs.mean(), runs.std(ddof=1) / 2**0.5, 1))
    assert row[["n_people", "n_scans", "n_runs", "reference", "kind"]].tolist() == [20, 20, 2, "velocity", "warp"]
    assert row["p_value"] == pytest.approx(sign_flip_test(gaps[:, None], 1, 999)[0])
    others = table[(table["direction"] == "both") & (table["simulator"] != "velocity")]
    assert others["p_holm"].tolist() == pytest.approx(holm(others["p_value"].to_numpy()))


def test_the_first_simulator_of_the_configuration_is_compared_with_nothing():
    table = statistics.simulations(simulated(values()), ORDER, **FEW)
    first = line(table, "velocity")
    assert first[["difference", "difference_low", "difference_high", "p_value", "p_holm"]].isna().all()
    assert set(table["reference"]) == {"velocity"}
    turned = statistics.simulations(simulated(values()), ORDER[::-1], **FEW)
    assert set(turned["reference"]) == {"additive"}
    assert line(turned, "velocity")["difference"] == pytest.approx(-line(table, "additive")["difference"])


def test_removal_and_injection_stand_apart_and_together():
    own = values()
    table = statistics.simulations(simulated(own), ORDER, **FEW)
    assert list(table.loc[table["simulator"] == "velocity", "direction"]) == ["removal", "injection", "both"]
    assert line(table, "velocity", "removal")["mean"] == pytest.approx(own["velocity"][::2].mean())
    assert line(table, "velocity", "injection")["n_people"] == 10


def test_a_pair_counts_only_where_both_have_a_value():
    own = values()
    whole = simulated(own)
    lost = whole[~((whole["simulator"] == "published") & (whole["participant_id"] < "p10"))]
    row = line(statistics.simulations(lost, ORDER, **FEW), "published")
    assert row["n_people"] == 10
    assert row["difference"] == pytest.approx((own["published"] - own["velocity"])[10:].mean())


def test_a_score_that_the_first_simulator_lacks_is_compared_with_the_next():
    own = values()
    folds = simulated({name: own[name] for name in ("published", "additive")}, "folded")
    table = statistics.simulations(pd.concat([simulated(own), folds]), ORDER, **FEW)
    assert line(table, "additive", score="folded")["reference"] == "published"
    assert not ((table["score"] == "folded") & (table["simulator"] == "velocity")).any()


def test_one_run_has_no_interval_over_runs_and_few_people_none_at_all():
    table = statistics.simulations(simulated(values(4)), ORDER, **FEW)
    assert table[["low", "high", "run_low", "run_high"]].isna().all(axis=None)
    assert table["mean"].notna().all()


def test_doses_are_conditions_of_their_own():
    own = values()
    half = {name: column / 2 for name, column in own.items()}
    table = statistics.simulations(pd.concat([simulated(own), simulated(half, dose=0.5)]), ORDER, **FEW)
    assert line(table, "velocity", dose=0.5)["mean"] == pytest.approx(line(table, "velocity", dose=1.0)["mean"] / 2)


def test_a_study_without_simulators_has_empty_tables():
    empty = pd.DataFrame(columns=list(ROW_COLUMNS))
    table = statistics.simulations(empty, (), **FEW)
    assert table.empty and list(table.columns) == list(SIMULATION_COLUMNS)
    found = statistics.ablations(table, {})
    assert found.empty and list(found.columns) == list(ABLATION_COLUMNS)


def test_an_ablation_names_what_sets_a_simulator_apart_from_the_first_of_its_kind():
    simulators = {
        "velocity": {"kind": "warp", "field": "velocity", "cycle": 1.0, "grid": 8, "alternate": False},
        "published": {"kind": "warp", "field": "displacement", "cycle": 1.0, "grid": None, "alternate": True},
        "additive": {"kind": "additive", "sparsity": 0.01},
        "unused": {"kind": "warp", "field": "velocity", "cycle": 0.0, "grid": 8, "alternate": False},
    }
    rows = pd.concat([simulated(values()), simulated(values(), "moved"), simulated(values(), "moved", dose=0.5)])
    table = statistics.simulations(rows, tuple(simulators), **FEW)
    found = statistics.ablations(table, simulators).set_index("simulator")
    assert list(found.index) == ["velocity", "published", "additive"]
    assert found["differs_in"].to_dict() == {
        "velocity": "",
        "published": "alternate yes, not no; field displacement, not velocity; grid none, not 8",
        "additive": "",
    }
    mean, low, high = line(table, "published", score="moved", dose=1.0)[["mean", "low", "high"]]
    assert found.loc["published", ["moved", "moved_low", "moved_high"]].tolist() == [mean, low, high]
    assert found["jacobian_correlation"].isna().all(), "nobody has this score"


def test_stages_that_judge_no_simulator_do_not_wait_for_scipys_image_functions():
    code = "import sys, heatproof.stages.score, heatproof.stages.pool; print('scipy.ndimage' in sys.modules)"
    package = {**os.environ, "PYTHONPATH": str(Path(heatproof.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=package)
    assert done.stdout.strip() == "False"
