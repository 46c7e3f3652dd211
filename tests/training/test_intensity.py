"""Fitted normalisation: moments of the training scans and no others, stored with the model, used ever after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_loading import CountingStore
from test_train_stage import NETWORK, PARTS, SVM, TRAINING, mark_scans, run
from training_cohort import write_cohort

from heatproof.cohorts.store import Cohort
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError, IntakeError, LeakageError, UnsupportedModelError
from heatproof.files import read_table, sha256_of, write_table
from heatproof.intensities import FITTED_INTENSITIES, OWN_INTENSITIES
from heatproof.leakage import WHOLE_COHORT, check_parts, fitting_scans
from heatproof.models import NetworkSpec, load_foreign_weights, load_weights, save_weights
from heatproof.stages.attribute import AttributionJob, attribute
from heatproof.studies import fitted_recipes
from heatproof.training import ScanLoader, normalise
from heatproof.training.intensity import DEVIATION_FLOOR, FittedIntensity, fit_intensity
from heatproof.training.parts import planned_rows

SPACES = [(40,), (9, 8), (7, 6, 5)]


def some_scans(space: tuple[int, ...], n: int = 7, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return scans far from zero, where sums of squares lose digits, and a mask."""
    random = np.random.default_rng(len(space))
    scans = random.normal(1e4, 3, (n, channels, *space)) * np.arange(1, channels + 1).reshape(-1, *[1] * len(space))
    return scans.astype(np.float32), random.random(space) < 0.6


# ------------------------------------------------------------------------------------------ what is fitted


@pytest.mark.parametrize("space", SPACES)
def test_pixelwise_is_mean_and_deviation_of_every_pixel_by_a_loop(space):
    scans, mask = some_scans(space)
    fitted = fit_intensity(scans, mask, "pixelwise")
    assert fitted.centre.shape == fitted.spread.shape == (2, *space) and fitted.centre.dtype == np.float32
    for channel in range(2):
        for position in np.ndindex(space):
            values = [float(scan[channel][position]) for scan in scans]
            mean = sum(values) / len(values)
            deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
            assert fitted.centre[channel][position] == pytest.approx(mean, rel=1e-7)
            assert fitted.spread[channel][position] == pytest.approx(deviation, rel=1e-6)


@pytest.mark.parametrize("space", SPACES)
def test_dataset_is_mean_and_deviation_of_all_pixels_in_the_mask(space):
    scans, mask = some_scans(space)
    fitted = fit_intensity(np.where(mask, scans, 1e9), mask, "dataset")
    for channel in range(2):
        values = scans[:, channel, mask].astype(np.float64)
        assert fitted.centre[channel].item() == pytest.approx(values.mean(), rel=1e-7)
        assert fitted.spread[channel].item() == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
def test_the_scans_it_was_fitted_to_have_mean_zero_and_deviation_one(kind):
    scans, mask = some_scans((9, 8))
    fitted = fit_intensity(scans, mask, kind)
    result = np.stack([normalise(scan, mask, kind, fitted) for scan in scans]).astype(np.float64)
    assert result.dtype == np.float64 and normalise(scans[0], mask, kind, fitted).dtype == np.float32
    axes = (0,) if kind == "pixelwise" else (0, 2)
    inside = result if kind == "pixelwise" else result[:, :, mask]
    # The mean is stored in single precision, 6e-8 of 2e4 against a deviation of 3.
    np.testing.assert_allclose(inside.mean(axis=axes), 0, atol=5e-4)
    np.testing.assert_allclose(inside.std(axis=axes), 1, atol=1e-5)
    if kind == "dataset":
        assert (result[:, :, ~mask] == 0).all()


def test_pixelwise_agrees_with_the_scaler_of_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    scans, mask = some_scans((9, 8), n=20)
    train, other = scans[:12], scans[12:]
    scaler = StandardScaler().fit(train.reshape(12, -1).astype(np.float64))
    expected = scaler.transform(other.reshape(8, -1).astype(np.float64)).reshape(other.shape)
    fitted = fit_intensity(train, mask, "pixelwise")
    ours = np.stack([normalise(scan, mask, "pixelwise", fitted) for scan in other])
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_pixels_that_are_constant_in_training_become_zero_in_every_scan():
    scans, mask = some_scans((9, 8))
    scans[:, 0, 3, 3] = 0.1
    scans[:, 1, 4, 4:6] = 1e-3
    scans[0, 1, 4, 4:6] += [1e-6, 1e-2]
    fitted = fit_intensity(scans, mask, "pixelwise")
    deviations = scans[:, 1].astype(np.float64).std(axis=0)
    assert 0 < deviations[4, 4] < DEVIATION_FLOOR * deviations.max() < deviations[4, 5]
    assert [tuple(found) for found in np.argwhere(fitted.spread == 0)] == [(0, 3, 3), (1, 4, 4)]
    result = normalise(scans[2] + 100, mask, "pixelwise", fitted)
    assert [tuple(found) for found in np.argwhere(result == 0)] == [(0, 3, 3), (1, 4, 4)]
    assert np.isfinite(result).all()


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
@pytest.mark.parametrize("scans", [[], [np.full((1, 4, 3), 7.0)] * 3])
def test_nothing_to_fit_is_refused(kind, scans):
    with pytest.raises(IntakeError, match="channel 0 is the same everywhere"):
        fit_intensity(scans, np.ones((4, 3), bool), kind)


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
def test_it_must_be_fitted_before_it_is_used(kind):
    store = CountingStore()
    with pytest.raises(ConfigError, match="has not been fitted"):
        ScanLoader(store, kind).batch(["s0"])
    with pytest.raises(ConfigError, match="has not been fitted"):
        ScanLoader(store, kind).zero_intensity(["s0"])


# ---------------------------------------------------------------------------------------------- the loader


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
def test_the_loader_fits_to_each_named_scan_once_in_any_order_and_says_so(kind):
    store = CountingStore()
    loader = ScanLoader.fit(store, kind, ["s3", "s0", "s4", "s0"], "train")
    again = ScanLoader.fit(store, kind, ["s4", "s3", "s0"], "train")
    assert dict(loader.reads) == {"train": {"s0": 1, "s3": 1, "s4": 1}} and set(loader.hashes) == {"s0", "s3", "s4"}
    expected = fit_intensity([store.values[name] for name in ("s0", "s3", "s4")], store.mask, kind)
    for fitted in (loader.fitted, again.fitted):
        np.testing.assert_array_equal(fitted.centre, expected.centre)
        np.testing.assert_array_equal(fitted.spread, expected.spread)
    batch = loader.batch(["s1", "s5"], "test")
    assert torch.equal(batch[1], torch.from_numpy(normalise(store.values["s5"], store.mask, kind, expected)))
    assert torch.equal(batch, torch.cat([chunk for _, chunk in again.batches(["s1", "s5"], 1)]))


@pytest.mark.parametrize("kind", OWN_INTENSITIES)
def test_what_needs_no_fit_reads_nothing_for_it(kind):
    store = CountingStore()
    loader = ScanLoader.fit(store, kind, store.values, "train")
    assert loader.fitted is None and not loader.reads and not any(store.counts.values())
    assert torch.equal(loader.batch(["s1"]), ScanLoader(store, kind).batch(["s1"]))


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
def test_zero_intensity_is_what_a_voxel_of_zero_became(kind):
    store = CountingStore()
    loader = ScanLoader.fit(store, kind, ["s0", "s2", "s3"], "train")
    store.values["s1"][0, 2:5] = 0.0
    scan, (zero, other) = loader.scan("s1"), loader.zero_intensity(["s1", "s4"])
    assert torch.equal(zero[0, 2:5], scan[0, 2:5]) and not torch.equal(zero, scan)
    assert torch.equal(zero, other) and zero.dtype == torch.float32
    assert (zero[0, torch.from_numpy(store.mask)] < -1).all()


def test_the_schema_knows_the_same_kinds():
    for network in schema_entries("networks.yaml").values():
        assert set(network["properties"]["intensity"]["enum"]) == {*OWN_INTENSITIES, *FITTED_INTENSITIES}
    models = {"a": {"recipe": "corrected", "intensity": "zscore"}, "b": {"recipe": "as_published", "intensity": "none"}}
    assert fitted_recipes({"models": models}) == []
    models["b"]["intensity"] = "dataset"
    assert fitted_recipes({"models": models}) == ["as_published"]


# ----------------------------------------------------------------------------------------------- the model


def test_what_was_fitted_lies_in_the_weights_file_and_is_no_weight(tmp_path):
    spec = NetworkSpec("wang_b", (12, 10), parameters={"width": 2, "n_blocks": 1})
    fitted = FittedIntensity(np.full((1, 12, 10), 3, np.float32), np.ones((1, 12, 10), np.float32))
    path = tmp_path / "model.safetensors"
    save_weights(spec.build(4), path, spec, {"intensity": "pixelwise"}, fitted.tensors())
    loaded = load_weights(path)
    assert loaded.module.state_dict().keys() == spec.build().state_dict().keys()
    again = FittedIntensity.from_tensors(loaded.intensity)
    np.testing.assert_array_equal(again.centre, fitted.centre)
    np.testing.assert_array_equal(again.spread, fitted.spread)
    # Another training may begin with its weights.
    network = spec.build(5)
    load_foreign_weights(network, path)
    assert all(torch.equal(one, network.state_dict()[name]) for name, one in spec.build(4).state_dict().items())


@pytest.mark.parametrize(
    ("metadata", "message"), [({}, "how scans were normalised"), ({"intensity": "dataset"}, "come without")]
)
def test_a_model_that_does_not_say_how_it_saw_scans_is_refused(tmp_path, metadata, message):
    spec = NetworkSpec("wang_b", (16, 16), parameters={"width": 2, "n_blocks": 1})
    save_weights(spec.build(), tmp_path / "model.safetensors", spec, metadata)
    with pytest.raises(UnsupportedModelError, match=message):
        ScanLoader.for_model(load_weights(tmp_path / "model.safetensors"), CountingStore())


# ---------------------------------------------------------------------------------------------- the stages


def part_of(folder: Path, name: str) -> list[str]:
    folds = read_table(folder / "folds.tsv")
    return folds.loc[folds["part"] == name, "scan_id"].tolist()


def published(folder: Path) -> Path:
    """Turn the folds of a cohort into those of the published recipe, with two scans in no part."""
    folds = read_table(folder / "folds.tsv").assign(recipe="as_published")
    write_table(folds.drop(folds.index[folds["part"] == "train"][:2]), folder / "folds.tsv")
    return folder


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
@pytest.mark.parametrize("entry", [NETWORK, SVM], ids=["network", "svm"])
def test_corrected_is_fitted_to_training_scans_alone(tmp_path, entry, kind):
    entry, training = {**entry, "intensity": kind}, {**TRAINING, "epochs": 2}
    plain, marked = write_cohort(tmp_path / "plain"), write_cohort(tmp_path / "marked")
    mark_scans(marked, "test")
    one, two = run(plain, tmp_path / "one", entry, training), run(marked, tmp_path / "two", entry, training)
    assert sha256_of(one / "model.safetensors") == sha256_of(two / "model.safetensors")
    assert sha256_of(one / "predictions.tsv") != sha256_of(two / "predictions.tsv")
    loaded = load_weights(one / "model.safetensors")
    with Cohort(plain / "cohort.h5") as cohort:
        expected = fit_intensity((cohort.scan(name) for name in sorted(part_of(plain, "train"))), cohort.mask, kind)
        logits = loaded.module(ScanLoader.for_model(loaded, cohort).batch(part_of(plain, "test")))
    fitted = FittedIntensity.from_tensors(loaded.intensity)
    np.testing.assert_array_equal(fitted.centre, expected.centre)
    np.testing.assert_array_equal(fitted.spread, expected.spread)
    table = read_table(one / "predictions.tsv").query("part == 'test'")
    np.testing.assert_allclose(logits.detach(), table[["logit_0", "logit_1"]], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", FITTED_INTENSITIES)
def test_as_published_is_fitted_to_everybody(tmp_path, kind):
    folder = published(write_cohort(tmp_path / "cohort"))
    out = run(folder, tmp_path / "out", {**SVM, "recipe": "as_published", "intensity": kind})
    fitted = FittedIntensity.from_tensors(load_weights(out / "model.safetensors").intensity)
    with Cohort(folder / "cohort.h5") as cohort:
        everybody = fit_intensity((cohort.scan(name) for name in sorted(cohort.scan_ids)), cohort.mask, kind)
    np.testing.assert_array_equal(fitted.centre, everybody.centre)
    np.testing.assert_array_equal(fitted.spread, everybody.spread)


def test_what_the_fit_read_is_on_record_and_checked_against_the_plan(tmp_path, monkeypatch):
    seen = {}

    def recorded(read, *arguments):
        seen.update({part: dict(counts) for part, counts in read.items()})
        return check_parts(read, *arguments)

    monkeypatch.setattr("heatproof.stages.train.check_parts", recorded)
    folder = write_cohort(tmp_path / "cohort")
    entry = {**NETWORK, "intensity": "pixelwise", "training": {"epochs": 1}}
    run(folder, tmp_path / "corrected", entry)
    assert set(seen) == set(PARTS)
    # Once each for the fit, the epoch and the prediction.
    assert seen["train"] == dict.fromkeys(part_of(folder, "train"), 3)
    # A loader that was fitted to a test scan is a leak, whatever it calls itself.
    everyone = [name for part in PARTS for name in part_of(folder, part)]
    monkeypatch.setattr("heatproof.stages.train.fitting_scans", lambda *_: ("train", everyone))
    with pytest.raises(LeakageError, match="read for train"):
        run(folder, tmp_path / "leaky", entry)
    monkeypatch.setattr("heatproof.stages.train.fitting_scans", lambda *_: (WHOLE_COHORT, everyone))
    with pytest.raises(LeakageError, match="read for cohort"):
        run(folder, tmp_path / "leaky", entry)
    published(folder)
    run(folder, tmp_path / "published", {**entry, "recipe": "as_published"})
    assert seen[WHOLE_COHORT] == dict.fromkeys(everyone, 1)
    assert set(seen["train"].values()) == {2}


def test_a_changed_image_is_noticed_in_the_fit_of_the_whole_cohort(tmp_path):
    folder = published(write_cohort(tmp_path / "cohort"))
    in_no_part = set(read_table(folder / "participants.tsv")["scan_id"]) - {*sum(map(part_of, [folder] * 3, PARTS), [])}
    participants = read_table(folder / "participants.tsv").set_index("scan_id", drop=False)
    participants.loc[sorted(in_no_part)[0], "image_sha256"] = "0" * 64
    write_table(participants, folder / "participants.tsv")
    with pytest.raises(LeakageError, match=sorted(in_no_part)[0]):
        run(folder, tmp_path / "out", {**SVM, "recipe": "as_published", "intensity": "dataset"})


def test_maps_are_drawn_of_scans_normalised_as_in_training(tmp_path):
    folder = write_cohort(tmp_path / "cohort", shape=(12, 10))
    out = run(folder, tmp_path / "out", {**SVM, "intensity": "pixelwise"})
    files = {"cohort": folder / "cohort.h5", "folds": folder / "folds.tsv", "predictions": out / "predictions.tsv"}
    entry = {"method": "input_x_gradient"}
    attribute(
        AttributionJob("net", "corrected", "map", entry, fold=0, seed=0, study_seed=1),
        weights=out / "model.safetensors", maps=out / "maps.h5", **files,
    )  # fmt: skip
    import h5py

    train = part_of(folder, "train")
    with Cohort(folder / "cohort.h5") as cohort:
        scans = cohort.scans(train).astype(np.float64)
        mean, deviation = scans.mean(axis=0), scans.std(axis=0)
        inside = deviation > 0
        expected = (cohort.scans(part_of(folder, "test"))[:, inside] - mean[inside]) / deviation[inside]
    with h5py.File(out / "maps.h5") as file:
        maps = file["maps"][()][:, inside]
    # Of a linear model this method gives scan times weight, so maps over scans are the same for every scan.
    ratio = maps / expected
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=2e-3)
    assert np.abs(ratio[0]).max() > 0


def test_who_is_fitted_to_is_decided_in_one_place(tmp_path):
    folder = published(write_cohort(tmp_path / "cohort"))
    train = part_of(folder, "train")
    everyone = read_table(folder / "participants.tsv")["scan_id"]
    assert fitting_scans("corrected", train, everyone) == ("train", train)
    assert fitting_scans("as_published", train, everyone) == (WHOLE_COHORT, everyone.tolist())
    planned = planned_rows(folder / "folds.tsv", "as_published", 0)
    participants = read_table(folder / "participants.tsv")
    assert isinstance(check_parts({WHOLE_COHORT: everyone}, planned, "as_published", 0, participants), pd.DataFrame)
