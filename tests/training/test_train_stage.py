"""The stage: outputs as promised, leaks refused, permuted labels at chance, killed runs completed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_cohort import SHAPE, write_cohort

from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError, LeakageError
from heatproof.files import read_table, sha256_of, write_table
from heatproof.models import load_weights, save_weights
from heatproof.stages.train import TrainingJob, train
from heatproof.training import ScanLoader, Trainer
from heatproof.training.predictions import predict_logits

NETWORK = {"network": "wang_b", "width": 4, "n_blocks": 2, "recipe": "corrected", "intensity": "zscore"}
SVM = {"network": "linear_svm", "recipe": "corrected", "intensity": "zscore"}
TRAINING = {
    "epochs": 10,
    "batch_size": 6,
    "learning_rate": 3e-3,
    "schedule": "one_cycle",
    "batch_norm_momentum": 0.3,
    "patience": None,
}
PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort with ü and space"), n_people=40)


def run(folder: Path, out: Path, entry=NETWORK, training=TRAINING, **job) -> Path:
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


def accuracy(out: Path, part: str) -> float:
    table = read_table(out / "predictions.tsv")
    rows = table[table["part"] == part]
    return float((rows["target"] == rows["predicted"]).mean())


@pytest.mark.parametrize("entry", [NETWORK, SVM], ids=["network", "svm"])
def test_outputs_hold_what_the_contract_says(folder, tmp_path, entry):
    run(folder, tmp_path, entry)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "certificate.tsv",
        "history.tsv",
        "model.safetensors",
        "predictions.tsv",
    ]
    table, folds = read_table(tmp_path / "predictions.tsv"), read_table(folder / "folds.tsv")
    assert list(table.columns) == [
        "scan_id", "participant_id", "diagnosis", "part", "target",
        "logit_0", "logit_1", "probability_0", "probability_1", "predicted",
    ]  # fmt: skip
    expected = {(row.scan_id, row.part) for row in folds.itertuples()}
    assert {(row.scan_id, row.part) for row in table.itertuples()} == expected
    logits = torch.tensor(table[["logit_0", "logit_1"]].to_numpy())
    np.testing.assert_allclose(logits.softmax(1)[:, 1], table["probability_1"], rtol=1e-6)
    history = read_table(tmp_path / "history.tsv")
    assert len(history) == (1 if entry is SVM else TRAINING["epochs"])
    assert accuracy(tmp_path, "test") >= 0.875


@pytest.mark.parametrize("entry", [NETWORK, SVM], ids=["network", "svm"])
def test_the_stored_model_repeats_its_predictions(folder, tmp_path, entry):
    run(folder, tmp_path, entry)
    loaded = load_weights(tmp_path / "model.safetensors")
    rows = read_table(tmp_path / "predictions.tsv")
    with Cohort(folder / "cohort.h5") as cohort, torch.inference_mode():
        logits = loaded.module(ScanLoader(cohort, loaded.metadata["intensity"]).batch(rows["scan_id"]))
    np.testing.assert_allclose(logits.numpy(), rows[["logit_0", "logit_1"]], rtol=1e-3, atol=1e-4)
    assert loaded.metadata["classes"] == ["HC", "AD"]


@pytest.mark.parametrize("entry", [NETWORK, SVM], ids=["network", "svm"])
def test_the_same_job_writes_the_same_bytes(folder, tmp_path, entry):
    training = {**TRAINING, "epochs": 2}
    first, second = (run(folder, tmp_path / name, entry, training) for name in ("a", "b"))
    for name in ("model.safetensors", "history.tsv", "predictions.tsv"):
        assert sha256_of(first / name) == sha256_of(second / name)


@pytest.mark.parametrize("entry", [NETWORK, SVM], ids=["network", "svm"])
def test_nothing_of_the_model_depends_on_test_scans(tmp_path, entry):
    # The same cohort but for its test scans, which carry a mark that would give the diagnosis away.
    training = {**TRAINING, "epochs": 2}
    plain = write_cohort(tmp_path / "plain")
    marked = write_cohort(tmp_path / "marked")
    mark_scans(marked, "test")
    one, two = run(plain, tmp_path / "one", entry, training), run(marked, tmp_path / "two", entry, training)
    assert sha256_of(one / "model.safetensors") == sha256_of(two / "model.safetensors")
    assert sha256_of(one / "history.tsv") == sha256_of(two / "history.tsv")
    assert sha256_of(one / "predictions.tsv") != sha256_of(two / "predictions.tsv")


def test_the_svm_does_not_depend_on_validation_scans_either(tmp_path):
    plain, marked = write_cohort(tmp_path / "plain"), write_cohort(tmp_path / "marked")
    mark_scans(marked, "validation")
    models = [load_weights(run(data, data / "out", SVM) / "model.safetensors") for data in (plain, marked)]
    assert torch.equal(models[0].module.weight, models[1].module.weight)
    assert torch.equal(models[0].module.pattern, models[1].module.pattern)
    assert torch.equal(models[0].module.slope, models[1].module.slope)
    assert models[0].metadata == models[1].metadata


def mark_scans(folder: Path, part: str) -> None:
    import h5py

    from heatproof.files import sha256_of_array

    folds = read_table(folder / "folds.tsv").set_index("scan_id")["part"]
    participants = read_table(folder / "participants.tsv")
    with h5py.File(folder / "cohort.h5", "r+") as file:
        for index, row in participants.iterrows():
            if folds[row["scan_id"]] == part:
                scan = file["scans"][index]
                scan[:, 2, 2, 2] = 50.0 if row["target"] else -50.0
                file["scans"][index] = scan
                participants.loc[index, "image_sha256"] = sha256_of_array(scan)
    write_table(participants, folder / "participants.tsv")


@pytest.mark.parametrize(
    ("column", "word"), [("participant_id", "participant"), ("image_sha256", "image"), ("family", "family")]
)
def test_a_planted_leak_stops_the_training_before_it_starts(tmp_path, column, word):
    folder = write_cohort(tmp_path / "cohort")
    participants = read_table(folder / "participants.tsv")
    if column not in participants:
        participants[column] = participants["participant_id"]
    folds = read_table(folder / "folds.tsv").set_index("scan_id")["part"]
    train_row = participants["scan_id"].map(folds).eq("train").idxmax()
    test_row = participants["scan_id"].map(folds).eq("test").idxmax()
    participants.loc[test_row, column] = participants.loc[train_row, column]
    write_table(participants, folder / "participants.tsv")
    with pytest.raises(LeakageError, match=f"{word} train-test"):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_published_recipe_trains_in_spite_of_its_leak(tmp_path):
    folder = write_cohort(tmp_path / "cohort")
    folds = read_table(folder / "folds.tsv")
    leaked = folds[folds["part"] == "train"].head(4).assign(part="validation")
    import pandas as pd

    write_table(pd.concat([folds, leaked]).assign(recipe="as_published"), folder / "folds.tsv")
    entry = {**NETWORK, "recipe": "as_published", "intensity": "minmax"}
    out = run(folder, tmp_path / "out", entry, {**TRAINING, "epochs": 1})
    assert len(read_table(out / "predictions.tsv")) == len(folds) + 4


def test_a_changed_image_is_noticed(tmp_path):
    folder = write_cohort(tmp_path / "cohort")
    participants = read_table(folder / "participants.tsv")
    participants.loc[0, "image_sha256"] = "0" * 64
    write_table(participants, folder / "participants.tsv")
    with pytest.raises(LeakageError, match="s00-0"):
        run(folder, tmp_path / "out", SVM)


def test_permuted_labels_teach_nothing_about_the_true_ones(tmp_path):
    # No effect to find and no leak: the true diagnosis of test people must stay a coin toss on average, and
    # the permuted model must differ from the honest one, which finds the effect.
    folder = write_cohort(tmp_path / "cohort", n_people=100)
    honest = run(folder, tmp_path / "honest", SVM)
    permuted = run(folder, tmp_path / "permuted", SVM, permute_labels=True)
    assert accuracy(honest, "test") > 0.9
    assert 0.1 < accuracy(permuted, "test") < 0.9
    assert accuracy(permuted, "train") < 0.9
    assert load_weights(permuted / "model.safetensors").metadata["permuted_labels"] is True


def test_a_missing_fold_names_the_table(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"folds\.tsv.*fold 7"):
        train(
            TrainingJob("model", NETWORK, TRAINING, fold=7, seed=0, study_seed=1),
            cohort=folder / "cohort.h5", folds=folder / "folds.tsv", weights=tmp_path / "m.safetensors",
            history=tmp_path / "h.tsv", predictions=tmp_path / "p.tsv", certificate=tmp_path / "x.tsv",
            checkpoint=tmp_path / "c.safetensors",
            root=folder,
        )  # fmt: skip


def test_published_weights_can_be_used_as_they_are(folder, tmp_path):
    job = TrainingJob("model", NETWORK, TRAINING, 0, 0, 0)
    spec = job.spec((1, *SHAPE), 2)
    save_weights(spec.build(123), folder / "theirs.safetensors", spec)
    entry = {**NETWORK, "initial_weights": "theirs.safetensors", "training": {"epochs": 0}}
    out = run(folder, tmp_path, entry)
    loaded = load_weights(out / "model.safetensors").module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in spec.build(123).state_dict().items())
    with pytest.raises(ConfigError, match="initial_weights"):
        run(folder, tmp_path, {**entry, "initial_weights": "../../elsewhere.pt"})


def test_a_training_that_ended_is_not_lost_when_its_weights_cannot_be_written(folder, tmp_path, monkeypatch):
    training = {**TRAINING, "epochs": 2}
    whole = run(folder, tmp_path / "whole", training=training)

    def full(*_arguments):
        raise OSError("no space left on the device")

    with monkeypatch.context() as patch:
        patch.setattr("heatproof.stages.train.save_weights", full)
        with pytest.raises(OSError, match="no space"):
            run(folder, tmp_path / "again", training=training)
    monkeypatch.setattr(Trainer, "_train_epoch", full)  # nothing is left to train
    again = run(folder, tmp_path / "again", training=training)
    assert sha256_of(whole / "model.safetensors") == sha256_of(again / "model.safetensors")
    assert not (again / "checkpoint.safetensors").exists()


def test_predictions_are_computed_in_full_precision_however_the_model_was_trained(folder, tmp_path, monkeypatch):
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    seen = {}

    def recorded(name, function):
        def call(*arguments):
            seen[name] = [backend.allow_tf32 for backend in backends]
            return function(*arguments)

        return call

    monkeypatch.setattr(Trainer, "fit", recorded("fit", Trainer.fit))
    monkeypatch.setattr("heatproof.stages.train.predict_logits", recorded("predict", predict_logits))
    run(folder, tmp_path, training={**TRAINING, "epochs": 1, "precision": "tf32"})
    assert seen == {"fit": [True, True], "predict": [False, False]}


@pytest.mark.slow
def test_a_run_killed_by_the_system_ends_as_if_it_had_not_been(folder, tmp_path):
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
        from test_train_stage import run
        run(Path({str(folder)!r}), Path({str(tmp_path / "killed")!r}))
        """
    )
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole, resumed = run(folder, tmp_path / "whole"), run(folder, tmp_path / "killed")
    for name in ("model.safetensors", "history.tsv", "predictions.tsv"):
        assert sha256_of(whole / name) == sha256_of(resumed / name)
