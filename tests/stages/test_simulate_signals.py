"""The stage that judges simulators, on signals and a network that answers with a number: both ways, lead by lead."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.attribution.simulators.fitted import FittedSimulator, build_network, save_simulator
from heatproof.attribution.simulators.settings import settings_of
from heatproof.cohorts.counterfactuals import ChangedOutput
from heatproof.cohorts.store import Cohort, RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.files import read_table, write_table
from heatproof.geometry import Grid
from heatproof.models import NetworkSpec, load_weights, save_weights
from heatproof.stages import simulate as stage
from heatproof.stages.simulate import SimulationJob, simulate
from training.training_cohort import folds_by_hand

LEADS, SAMPLES = ("I", "II", "V5"), 48
CHANGE = np.zeros((3, SAMPLES), np.float32)
CHANGE[1, 20:26] = 0.5


class Signals:
    """A source in which a longer interval lifts six samples of one lead."""

    steps = {"pr": 10.0}

    def counterfactual(self, scan_id: str, output: str, change: float) -> np.ndarray:
        return CHANGE * np.float32(change / 10)


def write(folder: Path) -> None:
    random = np.random.default_rng(0)
    grid = Grid((SAMPLES,), None, (2.0,), "ms")
    source = Source(grid, [], classes=("recording",), has_controls=False, channel_names=LEADS, outputs={"pr": "ms"})
    rows = []
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, channels=len(LEADS)) as writer:
        for number in range(30):
            rows.append({"scan_id": f"s{number:02d}-0", "participant_id": f"p{number:02d}", "diagnosis": "recording",
                         "target": 0, "pr": np.nan if number == 8 else random.uniform(120, 200)})  # fmt: skip
            writer.add(rows[-1], RawScan(random.normal(size=(3, SAMPLES)).astype(np.float32), grid))
    write_table(folds_by_hand(rows), folder / "folds.tsv")
    spec = NetworkSpec("ecg_resnet", (SAMPLES,), 3, 1, {"width": 4, "n_blocks": 1, "kernel": 5, "stem_kernel": 5})
    facts = {"intensity": "none", "output": "pr", "unit": "ms", "target_mean": 160.0, "target_sd": 12.0}
    save_weights(spec.build(0), folder / "model.safetensors", spec, facts)
    write_table(read_table(folder / "folds.tsv").assign(predicted=0), folder / "predictions.tsv")
    warp = {"kind": "warp", "grid": 4, "width": 2, "depth": 1, "bottleneck": 4, "n_experts": 2, "amplitude": "gain"}
    settings, sha256 = settings_of(warp), load_weights(folder / "model.safetensors").sha256
    torch.manual_seed(0)
    network = build_network(settings, (3, SAMPLES))
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.02 * torch.randn_like(weights)
    fitted = FittedSimulator(settings, 1.0, 0, "value", sha256, (3, SAMPLES), network)
    save_simulator(fitted, folder / "velocity.safetensors")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("signals")
    write(folder)
    spec = {"max_scans": 4, "doses": [0.5, 1.0], "keep_examples": 1}
    job = SimulationJob("s", "net", "corrected", 0, 1, 3, spec, cohort={"source": "beats"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            stage,
            "open_counterfactual",
            lambda spec, seed, root, output, option: ChangedOutput(Signals(), output, option),
        )
        simulate(
            job, cohort=folder / "cohort.h5", folds=folder / "folds.tsv", weights=folder / "model.safetensors",
            predictions=folder / "predictions.tsv", simulators={"velocity": folder / "velocity.safetensors"},
            simulations=folder / "found.parquet", examples=folder / "found.h5",
        )  # fmt: skip
    return pd.read_parquet(folder / "found.parquet"), folder / "found.h5"


def test_every_record_with_a_known_number_goes_both_ways(found):
    table, _ = found
    assert table.groupby("scan_id")["direction"].nunique().eq(2).all() and table["scan_id"].nunique() == 4
    assert "s08-0" not in set(table["scan_id"])


def test_a_number_has_no_sides_and_no_tissue(found):
    table, _ = found
    scores = set(table["score"])
    assert {"change_correlation", "leakage", "answer_shift", "moved", "folded", "exact_shift", "dose_tau"} <= scores
    assert not scores & {"flipped", "jacobian_correlation", "jacobian_leakage", "loss_inside"}


def test_the_exact_change_turns_with_the_direction_and_leads_are_compared_one_by_one(found):
    table, path = found
    with h5py.File(path) as file, Cohort(path.with_name("cohort.h5")) as cohort:
        assert file.attrs["output"] == "pr" and len(file) == 2
        for entry in file.values():
            sign = 1 if entry.attrs["direction"] == "injection" else -1
            assert entry["exact_change"][:] == pytest.approx(sign * CHANGE) and "exact_log_jacobian" not in entry
            assert entry.attrs["predicted"].endswith("ms")
            change = entry["velocity/change"][1]
            wanted = np.corrcoef(change[cohort.places_mask], sign * CHANGE[cohort.places_mask])[0, 1]
            chosen = (table["score"] == "change_correlation") & (table["dose"] == 1)
            chosen &= (table["scan_id"] == entry.attrs["scan_id"]) & (table["direction"] == entry.attrs["direction"])
            assert table.loc[chosen, "value"].item() == pytest.approx(wanted, abs=1e-5)


def test_what_changes_in_another_lead_has_leaked_even_at_the_right_time(found):
    table, path = found
    with h5py.File(path) as file:
        for entry in file.values():
            change, right = np.abs(entry["velocity/change"][1]), CHANGE != 0
            chosen = (table["score"] == "leakage") & (table["scan_id"] == entry.attrs["scan_id"])
            chosen &= table["direction"] == entry.attrs["direction"]
            wanted = change[~right].sum() / change.sum()
            assert table.loc[chosen, "value"].item() == pytest.approx(wanted, abs=1e-5)
            # Figures shade the times at which any lead changes.
            assert entry["effect"][:].tolist() == right.any(axis=0).tolist()
