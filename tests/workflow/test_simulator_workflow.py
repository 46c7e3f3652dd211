"""Simulators in the workflow: what is fitted and shown, what is not fitted again, and studies that have none."""

from __future__ import annotations

from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from test_attribution_jobs import planned
from test_workflow import snakemake

CONFIG = Path(__file__).with_name("minimal_simulators.yaml")
RUN = "results/blobs/wang_b/fold-0_seed-1"
MAPS = f"{RUN}/tissue/maps.h5"
FIGURE = "results/blobs/figures/simulated_scans.svg"
SEPARATE = f"{RUN}/simulators/separate.safetensors"


def changed(directory: Path, jobs: str = "method", **simulator: object) -> Path:
    """Write the config with one run, its maps kept and some keys of one simulator replaced."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    study = config["studies"]["blobs"]
    study["seeds"], study["attribution"]["jobs"], config["keep_maps"] = [1], jobs, True
    study["simulators"]["velocity"] |= simulator
    path = directory / f"{jobs}_{'_'.join(simulator)}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def test_every_network_gets_its_simulators_and_is_trained_once(tmp_path: Path) -> None:
    jobs = planned(tmp_path, CONFIG)
    # Four simulators of one network and one of the other, with two seeds each; a linear model has none.
    assert jobs["fit_simulator"] == 2 * (4 + 1)
    assert jobs["train"] == 2 * 3


def test_a_study_without_simulators_fits_none(tmp_path: Path) -> None:
    jobs = planned(tmp_path, CONFIG.with_name("minimal_2d.yaml"))
    assert "fit_simulator" not in jobs and "simulate" not in jobs


@pytest.mark.parametrize("jobs", ["method", "run"])
def test_maps_wait_for_the_simulators_that_their_job_shows_and_for_no_other(tmp_path: Path, jobs: str) -> None:
    plan = planned(tmp_path, changed(tmp_path, jobs), MAPS)
    # All methods of a run in one job also show the attack; nothing shows the separate and the additive simulator.
    assert plan["fit_simulator"] == {"method": 1, "run": 2}[jobs]


def test_randomised_networks_wait_for_no_simulator(tmp_path: Path) -> None:
    # The first method of the config shows one.
    plan = planned(tmp_path, CONFIG, f"{RUN}/randomised.parquet")
    assert plan["randomise"] == 1 and "fit_simulator" not in plan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulators")
    done = snakemake(folder, changed(folder), MAPS, SEPARATE)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_a_simulator_is_fitted_and_shown(made: Path) -> None:
    files = sorted(path.name for path in (made / RUN / "simulators").iterdir())
    # No checkpoint is left.
    assert files == [f"{name}{end}" for name in ("separate", "velocity") for end in (".safetensors", "_history.tsv")]
    with h5py.File(made / MAPS) as file:
        assert file["maps"].shape == (8, 1, 24, 24)
        assert (file["maps"][()] > 0).any()


@pytest.mark.slow
def test_a_change_of_a_simulator_fits_and_draws_it_again_and_no_other_and_trains_nothing(made: Path) -> None:
    assert planned(made, changed(made), MAPS, SEPARATE) == {}
    plan = planned(made, changed(made, bending=0.3), MAPS, SEPARATE)
    assert plan == {"fit_simulator": 1, "attribute": 1, "total": 2}


@pytest.mark.slow
def test_simulators_are_judged_tabulated_and_drawn(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    study = config["studies"]["blobs"]
    few = {"models": ["wang_b"], "simulators": ["velocity", "attack"], "methods": ["tissue", "saliency"]}
    for section, names in few.items():
        study[section] = {name: study[section][name] for name in names}
    study["seeds"], study["attribution"]["jobs"], study["probes"]["metrics"] = [1], "run", []
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = snakemake(tmp_path, tmp_path / "few.yaml", FIGURE)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(tmp_path / "results/blobs/tables/simulations.tsv", sep="\t")
    assert set(table["simulator"]) == {"velocity", "attack"}
    # The blobs know their exact counterfactuals; a network from a second seed, the referee, is not there.
    assert "jacobian_correlation" in set(table["score"]) and "referee_moved" not in set(table["score"])
    assert (tmp_path / FIGURE).stat().st_size > 10_000
