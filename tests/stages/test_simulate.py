"""The stage that judges simulators: every number follows from the simulated scans, the exact ones and two networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.attribution.simulators import fitted as fitted_module
from heatproof.attribution.simulators.answers import answer
from heatproof.attribution.simulators.fitted import (
    FittedSimulator,
    build_network,
    load_simulator,
    save_simulator,
)
from heatproof.attribution.simulators.settings import AttackSettings, settings_of
from heatproof.cohorts.counterfactuals import Counterfactual
from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError, UnsupportedModelError
from heatproof.files import read_table, write_table
from heatproof.models import NetworkSpec, load_weights, save_weights
from heatproof.simulation_rows import ROW_COLUMNS
from heatproof.stages import simulate as stage
from heatproof.stages.simulate import SimulationJob, simulate
from heatproof.training import ScanLoader
from training.training_cohort import write_cohort

SHAPE = (14, 12)
EFFECT, NUISANCE = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
EFFECT[7:10, 6:9] = True
NUISANCE[2:5, 2:5] = True
WARP = {"kind": "warp", "grid": 4, "width": 2, "depth": 1, "bottleneck": 4, "n_experts": 2}
FULL = ["change_correlation", "size_correlation", "image_correlation", "untouched_correlation", "leakage",
        "answer_shift", "moved", "referee_moved", "referee_shift", "cycle_error", "size", "dose_tau"]  # fmt: skip
OF_WARPS = ["jacobian_correlation", "jacobian_leakage", "loss_inside", "loss_inside_chance", "folded", "roughness"]


@dataclass(frozen=True)
class Known:
    """A source whose patients lost tissue in a corner: the exact change is known to the voxel."""

    option: int

    def counterfactual(self, scan_id: str) -> Counterfactual:
        person = int(scan_id[1:3])
        option = -1 if person % 2 else 1
        change = -option * 2.0 * EFFECT[None].astype(np.float32)
        return Counterfactual(option, change, -option * 0.5 * EFFECT.astype(np.float32), EFFECT, NUISANCE)


@dataclass(frozen=True)
class Run:
    """A fold of twelve test scans, two networks that have seen nothing, and two simulators of the first."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> Run:
        write_cohort(folder, n_people=60, shape=SHAPE)
        run, spec = cls(folder), NetworkSpec("wang_b", SHAPE, parameters={"width": 3, "n_blocks": 1})
        for name, seed in (("model", 0), ("other", 1)):
            save_weights(spec.build(seed), run.file(f"{name}.safetensors"), spec, {"intensity": "zscore"})
        table = read_table(run.file("folds.tsv"))
        logits = run.network()(run.scans(table["scan_id"].tolist()))
        write_table(table.assign(predicted=logits.argmax(1).numpy()), run.file("predictions.tsv"))
        sha256, settings = load_weights(run.file("model.safetensors")).sha256, settings_of(WARP)
        torch.manual_seed(0)
        network = build_network(settings, (1, *SHAPE))
        with torch.no_grad():
            for weights in network.parameters():
                weights += 0.02 * torch.randn_like(weights)
        sd = 0.01
        warps = FittedSimulator(settings, sd, 1, "class", sha256, (1, *SHAPE), network)
        attacks = FittedSimulator(AttackSettings(step=0.02, steps=4, margin=9.0), sd, 1, "class", sha256, (1, *SHAPE))
        save_simulator(warps, run.file("velocity.safetensors"))
        save_simulator(attacks, run.file("attack.safetensors"))
        return run

    def file(self, name: str) -> Path:
        return self.folder / name

    def network(self, name: str = "model") -> torch.nn.Module:
        return load_weights(self.file(f"{name}.safetensors")).module.eval().requires_grad_(False)

    def scans(self, scan_ids: list[str]) -> torch.Tensor:
        with Cohort(self.file("cohort.h5")) as cohort:
            return ScanLoader.for_model(load_weights(self.file("model.safetensors")), cohort).batch(scan_ids)

    def simulate(
        self, name: str, *, referee: bool = True, weights: str = "model.safetensors", keep: int = 0, **changes: object
    ):
        spec = {"max_scans": 6, "doses": [1.0, 0.5], "keep_examples": keep}
        job = {"study": "s", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "study_seed": 3,
               "spec": spec, "cohort": {"source": "known"}, **changes}  # fmt: skip
        outputs = {"simulations": self.file(f"{name}.parquet"), "examples": self.file(f"{name}.h5")}
        simulate(
            SimulationJob(**job), cohort=self.file("cohort.h5"), folds=self.file("folds.tsv"),
            weights=self.file(weights), predictions=self.file("predictions.tsv"),
            simulators={one: self.file(f"{one}.safetensors") for one in ("velocity", "attack")},
            referee=self.file("other.safetensors") if referee else None, **outputs,
        )  # fmt: skip
        return pd.read_parquet(outputs["simulations"]), outputs["examples"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def known_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "open_counterfactual", lambda spec, seed, root, output, option: Known(option))


@pytest.fixture(scope="module")
def found(run: Run) -> tuple[pd.DataFrame, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "open_counterfactual", lambda spec, seed, root, output, option: Known(option))
        return run.simulate("found", keep=3)


def row(table: pd.DataFrame, simulator: str, score: str, scan_id: str, dose: float = 1.0) -> pd.Series:
    chosen = (table["simulator"] == simulator) & (table["score"] == score) & (table["dose"] == dose)
    (position,) = np.flatnonzero(chosen & (table["scan_id"] == scan_id))
    return table.iloc[position]


def test_a_pattern_is_removed_from_patients_and_injected_into_controls(run: Run, found):
    table, _ = found
    assert tuple(table.columns) == ROW_COLUMNS and np.isfinite(table["value"]).all()
    assert table["scan_id"].nunique() == 6
    patient = table["scan_id"].str[1:3].astype(int) % 2 == 1
    assert set(table.loc[patient, "direction"]) == {"removal"}
    assert set(table.loc[~patient, "direction"]) == {"injection"}
    assert table.loc[patient, "scan_id"].nunique() == 3
    assert set(table["kind"]) == {"warp", "attack"}


def test_every_score_is_there_where_it_can_be_asked(found):
    table, _ = found
    scans = set(table["scan_id"])
    for simulator, scores in (("velocity", [*FULL, *OF_WARPS]), ("attack", FULL)):
        own = table[(table["simulator"] == simulator) & (table["dose"] == 1)]
        for score in scores:
            assert set(own.loc[own["score"] == score, "scan_id"]) == scans, score
    assert not table.loc[table["simulator"] == "attack", "score"].isin(OF_WARPS).any()
    half = set(table.loc[table["dose"] == 0.5, "score"])
    assert half == {"answer_shift", "size", "change_correlation"}
    assert not table.duplicated(["simulator", "scan_id", "direction", "dose", "score"]).any()


def test_numbers_are_those_of_the_simulated_scan(run: Run, found):
    table, _ = found
    scan_id = next(name for name in table["scan_id"] if int(name[1:3]) % 2)
    network, image = run.network(), run.scans([scan_id])
    with torch.random.fork_rng():
        sha256 = load_weights(run.file("model.safetensors")).sha256
        simulator = load_simulator(run.file("velocity.safetensors"), sha256)
    warped = simulator.simulate(network, image, torch.tensor([-1.0])).warped
    with Cohort(run.file("cohort.h5")) as cohort:
        mask, stored = cohort.mask, cohort.scan(scan_id)
        parts = read_table(run.file("folds.tsv"))
        validation = parts.loc[parts["part"] == "validation", "scan_id"].tolist()
    for judge, prefix in (("model", ""), ("other", "referee_")):
        asked = run.network(judge)
        sd = float(np.std(answer(asked, run.scans(validation), 1).numpy()))
        shift = float(answer(asked, image, 1) - answer(asked, warped, 1)) / sd
        name = "referee_shift" if prefix else "answer_shift"
        assert row(table, "velocity", name, scan_id)["value"] == pytest.approx(shift, rel=1e-3, abs=1e-4)
        assert row(table, "velocity", f"{prefix}moved", scan_id)["value"] == (shift > 0)
    change = (warped - image).numpy()[0]
    expected = np.corrcoef(change[:, mask].ravel(), EFFECT[mask].astype(float))[0, 1]
    assert row(table, "velocity", "change_correlation", scan_id)["value"] == pytest.approx(expected, abs=1e-5)
    leaked = np.abs(change[0])[NUISANCE & mask].sum(), np.abs(change[0])[EFFECT].sum()
    assert row(table, "velocity", "leakage", scan_id)["value"] == pytest.approx(leaked[0] / sum(leaked), rel=1e-4)
    wanted = image.numpy()[0] + 2.0 * EFFECT / stored[:, mask].std()
    exact_shift = float(answer(network, image, 1) - answer(network, torch.from_numpy(wanted).float()[None], 1))
    sd = float(np.std(answer(network, run.scans(validation), 1).numpy()))
    assert row(table, "velocity", "exact_shift", scan_id)["value"] == pytest.approx(exact_shift / sd, rel=1e-3)
    untouched = np.corrcoef(image.numpy()[0][:, mask].ravel(), wanted[:, mask].ravel())[0, 1]
    assert row(table, "velocity", "untouched_correlation", scan_id)["value"] == pytest.approx(untouched, abs=1e-5)


def test_kept_scans_have_all_doses_and_both_truths_in_the_order_of_the_configuration(found):
    table, path = found
    with h5py.File(path) as file:
        assert file.attrs["model"] == "net"
        assert list(file) == ["0000", "0001", "0002"]
        assert {entry.attrs["direction"] for entry in file.values()} == {"removal", "injection"}
        for entry in file.values():
            image, exact = entry["image"][:], entry["exact_change"][:]
            assert image.shape == exact.shape == (1, *SHAPE)
            assert entry["exact_log_jacobian"].shape == entry["effect"].shape == SHAPE and entry["effect"].dtype == bool
            assert entry.attrs["diagnosis"] in ("HC", "AD") and entry.attrs["predicted"] in ("HC", "AD")
            simulators = [name for name, item in entry.items() if isinstance(item, h5py.Group)]
            assert simulators == ["velocity", "attack"]
            warps, attacks = entry["velocity"], entry["attack"]
            assert tuple(warps.attrs["doses"]) == (0.5, 1.0) and warps.attrs["kind"] == "warp"
            assert warps["change"].shape == (2, 1, *SHAPE) and warps["answers"].shape == (2,)
            assert warps["displacement"].shape == (2, *SHAPE) and warps["log_jacobian"].shape == SHAPE
            assert "displacement" not in attacks and attacks["change"].shape == (2, 1, *SHAPE)
            shift = row(table, "attack", "answer_shift", entry.attrs["scan_id"])["value"]
            sign = 1 if entry.attrs["direction"] == "injection" else -1
            assert np.sign(shift) == np.sign(sign * (attacks["answers"][1] - entry.attrs["answer"]))


def test_without_a_referee_a_truth_or_examples_the_rest_is_as_before(run: Run, found):
    table, path = run.simulate("alone", referee=False, cohort=None)
    left = set(table["score"])
    assert not any(name.startswith("referee") for name in left)
    assert {"answer_shift", "moved", "cycle_error", "dose_tau", "folded", "size"} <= left
    assert not left & {"change_correlation", "leakage", "image_correlation", "loss_inside"}
    keys = ["simulator", "scan_id", "direction", "dose", "score"]
    whole = found[0].set_index(keys)["value"]
    pd.testing.assert_series_equal(table.set_index(keys)["value"], whole.loc[pd.MultiIndex.from_frame(table[keys])])
    with h5py.File(path) as file:
        assert not len(file)


def test_the_same_job_writes_the_same_numbers(run: Run, found):
    again, _ = run.simulate("again", keep=3)
    pd.testing.assert_frame_equal(again, found[0])


def test_simulators_of_another_network_are_refused(run: Run):
    with pytest.raises(UnsupportedModelError, match="another network"):
        run.simulate("refused", weights="other.safetensors")


def test_a_simulator_that_has_gone_to_pieces_is_named_not_averaged_away(run: Run, monkeypatch: pytest.MonkeyPatch):
    def broken(network, inputs, *rest):
        return torch.full_like(inputs, float("nan"))

    monkeypatch.setattr(fitted_module, "attack", broken)
    with pytest.raises(HeatproofError, match="not finite"):
        run.simulate("broken")
