"""Networks that predict a number: standard units inside, the unit of the output outside, and a certificate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from signal_cohort import OUTPUTS, STEPS, Bumps, write_signals
from torch import nn

from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError, UnsupportedModelError
from heatproof.files import read_table, sha256_of
from heatproof.models import load_weights
from heatproof.stages import certify
from heatproof.stages.train import TrainingJob, train
from heatproof.training import ScanLoader
from heatproof.training import loop as loop_module
from heatproof.training.outputs import OutputScale, absorb, release
from heatproof.training.predictions import r_squared
from heatproof.training.responses import asked_scans, redrawn_responses
from heatproof.training.schedule import reductions

ENTRY = {
    "network": "ecg_resnet", "width": 4, "n_blocks": 1, "kernel": 5, "stem_kernel": 5, "pool": 2, "output": "height",
    "recipe": "corrected", "intensity": "none",
}  # fmt: skip
TRAINING = {"epochs": 3, "batch_size": 6, "learning_rate": 0.01, "patience": None, "batch_norm_momentum": 0.3}
FILES = ("model.safetensors", "history.tsv", "predictions.tsv", "certificate.tsv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_signals(tmp_path_factory.mktemp("signals"))


def run(folder: Path, out: Path, entry=ENTRY, training=TRAINING, **job) -> Path:
    train(
        TrainingJob("model", entry, training, fold=0, seed=0, study_seed=11, **job),
        cohort=folder / "cohort.h5",
        folds=folder / "folds.tsv",
        weights=out / "model.safetensors",
        history=out / "history.tsv",
        predictions=out / "predictions.tsv",
        certificate=out / "certificate.tsv",
        checkpoint=out / "checkpoint.safetensors",
        root=folder,
    )
    return out


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    return run(folder, tmp_path_factory.mktemp("out"), training={**TRAINING, "epochs": 25, "schedule": "one_cycle"})


def test_predictions_are_in_the_unit_of_the_output_and_know_no_probabilities(folder, trained) -> None:
    table, participants = read_table(trained / "predictions.tsv"), read_table(folder / "participants.tsv")
    assert list(table.columns) == [
        "scan_id", "participant_id", "diagnosis", "part", "target", "predicted", "output", "measured", "estimate",
    ]  # fmt: skip
    assert (table["target"] == 0).all()
    assert (table["predicted"] == 0).all()
    assert set(table["output"]) == {"height"}
    measured = participants.set_index("scan_id")["height"]
    np.testing.assert_allclose(table["measured"], measured[table["scan_id"]])
    test = table[table["part"] == "test"]
    assert np.corrcoef(test["measured"], test["estimate"])[0, 1] > 0.95
    assert abs(test["estimate"].mean() - test["measured"].mean()) < 0.5  # mV, of heights from 5 to 9


def test_the_stored_network_gives_the_same_numbers_and_says_how(folder, trained) -> None:
    loaded, table = load_weights(trained / "model.safetensors"), read_table(trained / "predictions.tsv")
    with Cohort(folder / "cohort.h5") as cohort, torch.inference_mode():
        estimates = loaded.module(ScanLoader.for_model(loaded, cohort).batch(table["scan_id"]))
    np.testing.assert_allclose(estimates[:, 0], table["estimate"], rtol=1e-4)
    heights = table.loc[table["part"] == "train", "measured"]
    assert loaded.spec.n_classes == 1
    assert (loaded.metadata["output"], loaded.metadata["unit"]) == ("height", "mV")
    assert loaded.metadata["target_mean"] == pytest.approx(heights.mean())
    assert loaded.metadata["target_sd"] == pytest.approx(heights.std(ddof=0))


def test_the_history_has_losses_in_standard_units_and_the_explained_share(trained) -> None:
    history, table = read_table(trained / "history.tsv"), read_table(trained / "predictions.tsv")
    assert history["validation_balanced_accuracy"].isna().all()
    best = history.loc[history["validation_loss"].idxmin()]
    rows = table[table["part"] == "validation"]
    deviation = table.loc[table["part"] == "train", "measured"].std(ddof=0)
    squared = ((rows["estimate"] - rows["measured"]) ** 2).mean()
    assert best["validation_loss"] == pytest.approx(squared / deviation**2, rel=1e-3)
    assert best["validation_r2"] == pytest.approx(1 - squared / rows["measured"].var(ddof=0), rel=1e-3)


def test_scans_without_the_number_are_left_out_of_every_part(tmp_path) -> None:
    unknown = ("s00-0", "s06-0", "s08-0")  # one of each part
    folder = write_signals(tmp_path / "data", unknown=unknown)
    parts = read_table(folder / "folds.tsv").set_index("scan_id")["part"]
    assert set(parts[list(unknown)]) == {"train", "validation", "test"}
    out = run(folder, tmp_path / "out", training={**TRAINING, "epochs": 1})
    assert set(read_table(out / "predictions.tsv")["scan_id"]) == set(parts.index) - set(unknown)
    assert load_weights(out / "model.safetensors").metadata["n_train"] == (parts == "train").sum() - 1
    assert len(read_table(run(folder, tmp_path / "place", {**ENTRY, "output": "place"}) / "predictions.tsv")) == 60


@pytest.mark.parametrize(
    ("output", "unknown", "words"),
    [
        ("depth", (), r"no output 'depth'.*height, place"),
        ("height", tuple(f"s{person:02d}-0" for person in range(60) if (person // 2) % 5 == 4), "no test scan"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_training(tmp_path, output, unknown, words) -> None:
    folder = write_signals(tmp_path / "data", unknown=unknown)
    with pytest.raises(ConfigError, match=words):
        run(folder, tmp_path / "out", {**ENTRY, "output": output})
    assert not (tmp_path / "out").exists()


def test_a_number_that_never_varies_is_refused() -> None:
    with pytest.raises(ConfigError, match="'pr' is 160"):
        OutputScale.fit("pr", "ms", [160.0, 160.0])


def test_permuted_numbers_change_hands_between_people_and_stay_together(tmp_path) -> None:
    folder = write_signals(tmp_path, n_people=30, scans_each=2)
    honest, permuted = (run(folder, tmp_path / str(flag), permute_labels=flag) for flag in (False, True))
    tables = [read_table(out / "predictions.tsv") for out in (honest, permuted)]
    np.testing.assert_array_equal(tables[0]["measured"], tables[1]["measured"])  # what was measured stays true
    facts = [load_weights(out / "model.safetensors").metadata for out in (honest, permuted)]
    assert facts[1]["permuted_labels"]
    assert facts[0]["target_mean"] != facts[1]["target_mean"]  # numbers of validation people came in


@pytest.mark.parametrize("schedule", ["plateau", "one_cycle"])
def test_a_training_killed_after_an_epoch_goes_on_bit_for_bit(folder, tmp_path, monkeypatch, schedule) -> None:
    training = {**TRAINING, "epochs": 6, "schedule": schedule, "plateau_patience": 0}
    whole = run(folder, tmp_path / "whole", training=training)
    save = loop_module.save_checkpoint

    class Killed(BaseException):
        pass

    def save_then_die(path, network, optimiser, progress, digest):
        save(path, network, optimiser, progress, digest)
        if progress.epoch == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "save_checkpoint", save_then_die)
        with pytest.raises(Killed):
            run(folder, tmp_path / "killed", training=training)
    resumed = run(folder, tmp_path / "killed", training=training)
    assert all(sha256_of(whole / name) == sha256_of(resumed / name) for name in FILES)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_lowers_the_rate_when_pytorch_does(seed, patience) -> None:
    losses = 1 + np.random.default_rng(seed).normal(size=40).cumsum() * 0.02
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience)
    for epoch, loss in enumerate(losses, 1):
        reference.step(loss)
        expected = 0.5 ** reductions(losses[:epoch].tolist(), patience)
        assert max(expected, 1e-8) == pytest.approx(optimizer.param_groups[0]["lr"], rel=0.5 if expected < 1e-7 else 0)


def test_plateau_reaches_the_steps(folder, tmp_path) -> None:
    training = {**TRAINING, "epochs": 8, "schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.25}
    history = read_table(run(folder, tmp_path, training=training) / "history.tsv")
    losses = history["validation_loss"].tolist()
    expected = [0.01 * 0.25 ** reductions(losses[:epoch], 0) for epoch in range(8)]
    assert min(expected) < 0.01
    np.testing.assert_allclose(history["learning_rate"], expected)


def test_the_last_layer_absorbs_mean_and_deviation() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1))
    scans = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    before = network(scans).detach()
    absorb(network, OutputScale("qt", "ms", 400.0, 30.0), scans)
    torch.testing.assert_close(network(scans).detach(), before * 30 + 400)
    # Another cohort's mean and deviation.
    release(network, OutputScale("qt", "ms", 380.0, 40.0), scans)
    torch.testing.assert_close(network(scans).detach(), (before * 30 + 20) / 40, atol=1e-5, rtol=1e-5)


def test_training_goes_on_from_weights_that_answer_in_the_unit(folder, tmp_path) -> None:
    """Steps so small that nothing is learned leave the answers of the first training as they are."""
    first = run(folder, folder / "first")
    entry = {**ENTRY, "initial_weights": "first/model.safetensors"}
    still = {**TRAINING, "epochs": 1, "learning_rate": 1e-12, "batch_norm_momentum": 1e-12}
    second = run(folder, tmp_path, entry=entry, training=still)
    before, after = (read_table(path / "predictions.tsv")["estimate"] for path in (first, second))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert read_table(second / "history.tsv")["validation_loss"][0] < 5  # in standard units, not in mV


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(8, 1), nn.Tanh()),  # the answer is not the layer's
        nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1, bias=False)),
        nn.Sequential(nn.Conv1d(2, 1, 4), nn.Flatten()),
    ],
)
def test_a_network_that_cannot_absorb_them_is_refused_and_left_alone(network) -> None:
    scans = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UnsupportedModelError, match="linear layer"):
        absorb(network, OutputScale("qt", "ms", 400.0, 30.0), scans)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_explained_share_is_that_of_the_variance() -> None:
    targets, outputs = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([[1.0], [3.0], [5.0]])
    assert r_squared(outputs, targets) == pytest.approx(1 - 2 / 14)
    assert np.isnan(r_squared(outputs, torch.ones(3)))


class Reads(nn.Module):
    """Answers with 3 times the greatest value of the first channel plus 2 times its centre of gravity."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 1)

    def forward(self, scans: torch.Tensor) -> torch.Tensor:
        first = scans[:, 0]
        centre = (first * torch.arange(first.shape[1])).sum(1) / first.sum(1)
        return (3 * first.sum(1) / 8**0.5 / torch.pi**0.5 + 2 * centre)[:, None]


def test_responses_are_the_derivatives_of_a_network_that_is_known() -> None:
    scan_ids = [f"s{person:02d}-0" for person in range(10)]
    found = redrawn_responses(Reads(), Bumps(), lambda scan: scan, scan_ids, ["height", "place", "not simulated"])
    assert set(found) == set(STEPS)
    np.testing.assert_allclose(found["height"], 3, atol=0.01)
    np.testing.assert_allclose(found["place"], 2, atol=0.01)


def test_the_scans_that_are_asked_depend_on_the_seed_alone() -> None:
    names = [f"s{index}" for index in range(200)]
    asked = asked_scans(names, 1, "pr")
    assert len(set(asked)) == 64
    assert asked == [name for name in names if name in set(asked)]
    assert asked != asked_scans(names, 2, "pr")
    assert asked_scans(names[:5], 1, "pr") == names[:5]


def test_simulated_cohorts_are_certified_by_counterfactual_scans(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("heatproof.stages.train.open_redrawable", lambda *_arguments: Bumps())
    redrawable = {"source": "beats"}
    out = run(folder, tmp_path, training={**TRAINING, "epochs": 25, "schedule": "one_cycle"}, redrawable=redrawable)
    table = read_table(out / "certificate.tsv").set_index("check")
    assert list(table.index) == ["r2", "mae", "slope", "slope_within", "leakage:place", "sensitivity:place"]
    loaded, test = load_weights(out / "model.safetensors"), read_table(out / "predictions.tsv")
    test, deviation = test[test["part"] == "test"], loaded.metadata["target_sd"]
    places = read_table(folder / "participants.tsv").set_index("scan_id")["place"]
    train_ids = read_table(folder / "folds.tsv").query("part == 'train'")["scan_id"]

    def response(output: str) -> np.ndarray:
        sides = []
        for sign in (1, -1):
            scans = [Bumps().counterfactual(name, output, sign * STEPS[output]) for name in test["scan_id"]]
            sides.append(loaded.module(torch.from_numpy(np.stack(scans))).detach().numpy()[:, 0])
        return (sides[0] - sides[1]) / (2 * STEPS[output])

    leak = response("place") * places[train_ids].std(ddof=0) / deviation
    assert table.loc["slope", "value"] == pytest.approx(response("height").mean(), rel=1e-3)
    heights = read_table(folder / "participants.tsv").set_index("scan_id")["height"]
    least, most = heights[train_ids].min() + STEPS["height"], heights[train_ids].max() - STEPS["height"]
    inner = ((test["measured"] >= least) & (test["measured"] <= most)).to_numpy()
    assert table.loc["slope_within", "n"] == inner.sum()
    assert table.loc["slope_within", "value"] == pytest.approx(response("height")[inner].mean(), rel=1e-3)
    assert table.loc["leakage:place", "value"] == pytest.approx(leak.mean(), abs=1e-3)
    assert table.loc["sensitivity:place", "value"] == pytest.approx(np.abs(leak).mean(), abs=1e-3)


def test_real_cohorts_are_certified_by_their_test_scans(trained) -> None:
    table = read_table(trained / "certificate.tsv").set_index("check")
    test = read_table(trained / "predictions.tsv").query("part == 'test'")
    slope = np.polyfit(test["measured"], test["estimate"], 1)[0]
    assert list(table.index) == ["r2", "mae", "slope", "leakage:place"]
    assert table.loc["slope", "value"] == pytest.approx(slope)
    assert table.loc["mae", "value"] == pytest.approx((test["estimate"] - test["measured"]).abs().mean())
    assert set(table["unit"]) == {OUTPUTS["height"]}


def test_a_source_that_cannot_change_its_scans_is_no_simulator(tmp_path) -> None:
    with pytest.raises(ConfigError, match="beats"):
        certify.open_redrawable({"source": "phantom"}, 0, tmp_path)
