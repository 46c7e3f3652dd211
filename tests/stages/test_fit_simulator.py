"""The stage: a simulator per trained network, made from training scans only, and the heatmaps that show it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.attribution.simulators.fitted import load_simulator
from heatproof.attribution.simulators.validation import HISTORY_COLUMNS
from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError, HeatproofError, LeakageError, UnsupportedModelError
from heatproof.files import read_table, sha256_of, sha256_of_array, write_table
from heatproof.stages.attribute import AttributionJob, attribute, attribute_each
from heatproof.stages.fit_simulator import Answered, SimulatorJob, fit
from heatproof.stages.train import TrainingJob, train
from heatproof.training import ScanLoader
from training.training_cohort import write_cohort

NETWORK = {"network": "wang_b", "width": 4, "n_blocks": 2, "recipe": "corrected", "intensity": "zscore"}
TRAINING = {"epochs": 8, "batch_size": 8, "learning_rate": 3e-3, "batch_norm_momentum": 0.3, "patience": None}
WARP = {"kind": "warp", "grid": 4, "width": 4, "steps": 6, "validate_every": 3, "learning_rate": 0.01, "margin": 0.5}
JOB = SimulatorJob("net", "corrected", "warp", WARP, fold=0, seed=0, study_seed=11)
SHOWN = AttributionJob("net", "corrected", "map", {"method": "simulator", "simulator": "warp"}, 0, 0, 11)
OUTPUTS = ("simulator.safetensors", "history.tsv")


def trained(folder: Path, name: str = "model", study_seed: int = 11) -> None:
    train(
        TrainingJob("net", NETWORK, TRAINING, fold=0, seed=0, study_seed=study_seed),
        cohort=folder / "cohort.h5", folds=folder / "folds.tsv", weights=folder / f"{name}.safetensors",
        history=folder / "training.tsv", predictions=folder / "predictions.tsv",
        certificate=folder / "certificate.tsv", checkpoint=folder / "checkpoint.safetensors", root=folder,
    )  # fmt: skip


def run(folder: Path, out: Path, job: SimulatorJob = JOB, **entry) -> Path:
    out.mkdir(exist_ok=True)
    fit(
        replace(job, entry={**job.entry, **entry}), cohort=folder / "cohort.h5", folds=folder / "folds.tsv",
        weights=folder / "model.safetensors", predictions=folder / "predictions.tsv",
        simulator=out / OUTPUTS[0], history=out / OUTPUTS[1], checkpoint=out / "checkpoint.safetensors",
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_cohort(tmp_path_factory.mktemp("cohort with ü and space"), n_people=40, shape=(14, 12))
    trained(folder)
    return folder


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Path:
    return run(folder, folder / "fitted")


def copy_of(folder: Path, to: Path) -> Path:
    """Copy what a fit reads."""
    for name in ("cohort.h5", "participants.tsv", "folds.tsv", "model.safetensors", "predictions.tsv"):
        shutil.copy(folder / name, to / name)
    return to


def test_outputs_hold_what_the_contract_says(folder: Path, fitted: Path) -> None:
    assert sorted(file.name for file in fitted.iterdir()) == ["history.tsv", "simulator.safetensors"]
    history = read_table(fitted / "history.tsv")
    assert list(history.columns) == HISTORY_COLUMNS and history["step"].tolist() == [3, 6]
    assert (history["folded"].astype(float) == 0).all()
    simulator = load_simulator(fitted / "simulator.safetensors", sha256_of(folder / "model.safetensors"))
    table = read_table(folder / "predictions.tsv")
    validation = table[table["part"] == "validation"]
    expected = np.std(validation["logit_1"].astype(float) - validation["logit_0"].astype(float))
    assert simulator.answer_sd == pytest.approx(float(expected))
    assert (simulator.target, simulator.output, simulator.shape) == (1, "class", (1, 14, 12))


def test_the_same_job_writes_the_same_bytes(folder: Path, fitted: Path, tmp_path: Path) -> None:
    again = run(folder, tmp_path)
    for name in OUTPUTS:
        assert sha256_of(fitted / name) == sha256_of(again / name)


def test_nothing_of_a_simulator_depends_on_test_scans(folder: Path, fitted: Path, tmp_path: Path) -> None:
    marked = copy_of(folder, tmp_path)
    folds, participants = read_table(marked / "folds.tsv"), read_table(marked / "participants.tsv").set_index("scan_id")
    with h5py.File(marked / "cohort.h5", "r+") as file:
        for name in folds.loc[folds["part"] == "test", "scan_id"]:
            index = participants.index.get_loc(name)
            scan = file["scans"][index]
            scan[:, 5, 5] = 40.0
            file["scans"][index] = scan
            participants.loc[name, "image_sha256"] = sha256_of_array(scan)
    write_table(participants.reset_index(), marked / "participants.tsv")
    one, other = (load_simulator(out / OUTPUTS[0], sha256_of(folder / "model.safetensors"))
                  for out in (fitted, run(marked, tmp_path / "fitted")))  # fmt: skip
    assert one.network is not None and other.network is not None
    theirs = other.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.network.state_dict().items())
    assert sha256_of(fitted / OUTPUTS[1]) == sha256_of(tmp_path / "fitted" / OUTPUTS[1])


def test_a_test_scan_among_the_training_scans_is_refused(folder: Path, tmp_path: Path) -> None:
    leaking = copy_of(folder, tmp_path)
    table = read_table(leaking / "predictions.tsv")
    write_table(table.assign(part=table["part"].replace("test", "train")), leaking / "predictions.tsv")
    with pytest.raises(LeakageError, match="read for train that are not in this part"):
        run(leaking, tmp_path / "out", only_correct=False, steps=4, batch_size=64)
    assert not (tmp_path / "out" / OUTPUTS[0]).exists()


def answered(
    predicted: list[int], targets: list[int], estimates: list[float] | None = None, folder: Path | None = None
):
    """Return the answers of a made-up table of predictions, all of training scans but the last two."""
    n = len(targets)
    columns = {"logit_0": 0.0, "logit_1": np.arange(n) - 2.0} if estimates is None else {"estimate": estimates}
    parts = ["train"] * (n - 2) + ["validation"] * 2
    table = pd.DataFrame({"scan_id": [f"s{k}" for k in range(n)], "part": parts, "target": targets,
                          "predicted": predicted, **columns})  # fmt: skip
    write_table(table, folder / "made_up.tsv")
    return Answered.read(folder / "made_up.tsv", estimates is not None)


def test_patients_lose_the_pattern_and_only_correct_scans_teach(folder: Path, tmp_path: Path) -> None:
    found = answered([0, 1, 0, 1, 0, 1], [0, 1, 1, 0, 0, 1], folder=tmp_path)
    with Cohort(folder / "cohort.h5") as cohort:
        loader = ScanLoader(cohort)
        scans = found.fitting_scans(loader, only_correct_of="warp")
        everybody = found.fitting_scans(loader, only_correct_of=None)
    assert scans.train == ["s0", "s1"] and scans.validation == ["s4", "s5"]
    assert everybody.train == ["s0", "s1", "s2", "s3"]
    assert everybody.directions == {"s0": 1, "s1": -1, "s2": -1, "s3": 1, "s4": 1, "s5": -1}
    assert scans.answers["s1"] == -1.0


def test_a_number_can_go_either_way_and_its_spread_is_in_its_unit(folder: Path, tmp_path: Path) -> None:
    found = answered([0] * 4, [0] * 4, [1.0, 2.0, 10.0, 14.0], folder=tmp_path)
    with Cohort(folder / "cohort.h5") as cohort:
        scans = found.fitting_scans(ScanLoader(cohort), only_correct_of="warp")
    assert set(scans.directions.values()) == {0}
    assert found.sd() == 2.0 and found.target == 0
    with pytest.raises(HeatproofError, match="answers the same"):
        answered([0] * 4, [0] * 4, [1.0, 2.0, 3.0, 3.0], folder=tmp_path).sd()


def maps(folder: Path, out: Path, simulator: Path | None, job: AttributionJob = SHOWN, weights: str = "model") -> Path:
    attribute(
        job, cohort=folder / "cohort.h5", folds=folder / "folds.tsv", weights=folder / f"{weights}.safetensors",
        predictions=folder / "predictions.tsv", maps=out / "maps.h5", simulator=simulator,
    )  # fmt: skip
    return out / "maps.h5"


@pytest.mark.parametrize("kind", ["change", "jacobian"])
def test_a_simulator_is_shown_as_heatmaps_of_the_test_scans(folder, fitted, tmp_path, kind: str) -> None:
    job = replace(SHOWN, entry={**SHOWN.entry, "map": kind})
    with h5py.File(maps(folder, tmp_path, fitted / OUTPUTS[0], job)) as file:
        found = file["maps"][()]
        assert len(found) == len(file["scan_ids"]) == 8
        assert (found >= 0).all() and found.max() > 0
        assert file.attrs["simulator"] == "warp"


def test_every_method_of_a_run_gets_its_own_simulator(folder: Path, fitted: Path, tmp_path: Path) -> None:
    other = run(folder, tmp_path / "other", replace(JOB, simulator="other"), conditioning="separate")
    entries = [{"method": "saliency"}, SHOWN.entry, {"method": "simulator", "simulator": "other"}]
    paths = [tmp_path / f"{number}.h5" for number in range(3)]
    attribute_each(
        [replace(SHOWN, entry=entry) for entry in entries], paths, cohort=folder / "cohort.h5",
        folds=folder / "folds.tsv", weights=folder / "model.safetensors", predictions=folder / "predictions.tsv",
        simulators={"warp": fitted / OUTPUTS[0], "other": other / OUTPUTS[0]},
    )  # fmt: skip
    both = []
    for path in paths[1:]:
        with h5py.File(path) as file:
            both.append(file["maps"][()])
    assert not np.allclose(*both)


def test_the_simulator_of_another_network_is_refused(folder: Path, fitted: Path, tmp_path: Path) -> None:
    other = copy_of(folder, tmp_path)
    trained(other, "other", study_seed=12)
    with pytest.raises(UnsupportedModelError, match="another network"):
        maps(other, tmp_path, fitted / OUTPUTS[0], weights="other")
    with pytest.raises(ConfigError, match="was not fitted"):
        maps(folder, tmp_path, None)
