"""The stage: the same balanced scans for every method, nothing made from test scans, maps that batches leave alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.cohorts.store import Cohort
from heatproof.errors import ConfigError
from heatproof.files import read_table, sha256_of_array, write_table
from heatproof.models import NetworkSpec, save_weights
from heatproof.stages.attribute import AttributionJob, attribute, background_scans, chosen_scans
from heatproof.training import ScanLoader
from training.training_cohort import write_cohort

SHAPE = (12, 10)
JOB = AttributionJob("net", "corrected", "map", {"method": "saliency"}, fold=0, seed=1, study_seed=3)
IG = {"method": "integrated_gradients", "n_steps": 3}
METHODS = [
    {"method": "saliency"},
    {"method": "smooth_noise"},
    {"method": "lrp", "beta": 0.5},
    {**IG, "baseline": "zero"},
    {**IG, "baseline": "control_mean"},
    {"method": "untrained", "inner": "integrated_gradients", "inner_parameters": {"n_steps": 3}},
    {"method": "label_permuted", "inner": "lrp", "inner_parameters": None},
]


@dataclass(frozen=True)
class Run:
    """A fold of ten people with a small network, an other network and made-up predictions."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> Run:
        write_cohort(folder, n_people=60, shape=SHAPE)
        spec = NetworkSpec("wang_b", SHAPE, parameters={"width": 2, "n_blocks": 1})
        for name, seed in (("model", 0), ("permuted", 1)):
            save_weights(spec.build(seed), folder / f"{name}.safetensors", spec, {"intensity": "zscore"})
        table = read_table(folder / "folds.tsv")
        write_table(table.assign(predicted=np.arange(len(table)) // 3 % 2), folder / "predictions.tsv")
        return cls(folder)

    def maps(self, name: str = "maps", job: AttributionJob = JOB, **changes) -> dict:
        path = self.folder / f"{name}.h5"
        files = {name: self.folder / file for name, file in
                 (("cohort", "cohort.h5"), ("folds", "folds.tsv"), ("weights", "model.safetensors"),
                  ("predictions", "predictions.tsv"), ("permuted", "permuted.safetensors"))}  # fmt: skip
        attribute(replace(job, **changes), maps=path, **files)
        with h5py.File(path) as file:
            return {**{key: file[key][()] for key in file}, "attrs": dict(file.attrs)}

    def participants(self):
        return read_table(self.folder / "participants.tsv").set_index("scan_id")

    def part(self, name: str) -> list[str]:
        folds = read_table(self.folder / "folds.tsv")
        return folds.loc[folds["part"] == name, "scan_id"].tolist()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.write(tmp_path_factory.mktemp("run"))


def ids(found: dict) -> list[str]:
    return [name.decode() for name in found["scan_ids"]]


def identifier(entry: dict) -> str:
    return "-".join(str(value) for value in entry.values() if isinstance(value, str))


@pytest.mark.parametrize("max_scans", [4, 7])
def test_every_method_and_seed_explains_the_same_balanced_test_scans(run: Run, max_scans: int):
    chosen = {
        tuple(ids(run.maps(entry=entry, method=f"m{number}", max_scans=max_scans, seed=number)))
        for number, entry in enumerate(METHODS)
    }
    assert len(chosen) == 1
    scans = list(chosen.pop())
    assert len(scans) == max_scans and set(scans) < set(run.part("test"))
    assert run.participants().loc[scans, "target"].sum() == math.ceil(max_scans / 2)
    assert scans != ids(run.maps(max_scans=max_scans, study_seed=4))


def test_without_a_limit_all_test_scans_are_explained_in_their_order(run: Run):
    assert ids(run.maps(max_scans=None)) == run.part("test") == ids(run.maps(max_scans=99))


def test_the_explained_class_is_that_of_patients_the_label_or_the_prediction(run: Run):
    test = run.part("test")
    predicted = read_table(run.folder / "predictions.tsv").set_index("scan_id").loc[test, "predicted"]
    labels = run.participants().loc[test, "target"]
    expected = {"patient": [1] * len(test), "label": labels.tolist(), "predicted": predicted.tolist()}
    assert len({tuple(classes) for classes in expected.values()}) == 3
    found = {kind: run.maps(entry={"method": "saliency", "target": kind}) for kind in expected}
    assert {kind: maps["target"].tolist() for kind, maps in found.items()} == expected
    assert run.maps()["target"].tolist() == expected["patient"]
    is_control = np.array(expected["label"]) == 0
    same = (found["label"]["maps"] == found["patient"]["maps"]).all(axis=(1, 2, 3))
    assert same[~is_control].all() and not same[is_control].any()
    with pytest.raises(ConfigError, match="patient, predicted or label"):
        run.maps(entry={"method": "saliency", "target": "both"})


class Labels:
    """A cohort that knows nothing but the class of each scan."""

    def __init__(self, targets: list[int], n_classes: int, has_controls: bool) -> None:
        self.ids = [f"s{number}" for number in range(len(targets))]
        self.participants = pd.DataFrame({"target": targets}, index=self.ids)
        self.classes, self.has_controls = tuple("abcd"[:n_classes]), has_controls


@pytest.mark.parametrize(
    ("targets", "n_classes", "has_controls", "most", "expected"),
    [
        ([0, 1, 2] * 10, 3, False, 9, [3, 3, 3]),
        ([0, 1, 2] * 10, 3, True, 10, [4, 3, 3]),
        ([0] * 20 + [1] * 20 + [2], 3, False, 9, [4, 4, 1]),
        ([0] * 20 + [1] * 3, 2, False, 10, [7, 3]),
        ([0] * 20 + [1] * 20, 2, False, 5, [3, 2]),
    ],
)
def test_every_class_gets_its_share_of_the_explained_scans(targets, n_classes, has_controls, most, expected):
    cohort = Labels(targets, n_classes, has_controls)
    chosen = chosen_scans(replace(JOB, max_scans=most), cohort.ids, cohort)
    counts = cohort.participants.loc[chosen, "target"].value_counts()
    assert [int(counts.get(label, 0)) for label in range(n_classes)] == expected
    assert chosen == sorted(chosen, key=cohort.ids.index)
    assert chosen == chosen_scans(replace(JOB, max_scans=most, method="other", seed=9), cohort.ids, cohort)


def test_the_mean_of_the_controls_is_refused_where_there_are_none(tmp_path: Path):
    run = Run.write(tmp_path)
    with h5py.File(tmp_path / "cohort.h5", "r+") as file:
        file.attrs["has_controls"] = False
    with pytest.raises(ConfigError, match="every class of the cohort is a disease"):
        run.maps(entry={**IG, "baseline": "control_mean"})
    assert len(run.maps(entry={**IG, "baseline": "zero"})["maps"])


MEAN = {**IG, "baseline": "control_mean"}
EXPECTED = {"method": "expected_gradients", "baseline": "training", "n_samples": 20}
CONTROLS = ("test", 0, False), ("validation", 0, False), ("train", 1, False), ("train", 0, True)
EVERYBODY = ("test", 0, False), ("test", 1, False), ("validation", 1, False), ("train", 0, True), ("train", 1, True)


@pytest.mark.parametrize(
    ("entry", "part", "target", "is_used"),
    [*((MEAN, *case) for case in CONTROLS), *((EXPECTED, *case) for case in EVERYBODY)],
)
def test_baselines_are_made_of_training_scans_only(tmp_path: Path, entry: dict, part: str, target: int, is_used: bool):
    run = Run.write(tmp_path)
    test = run.part("test")
    before = run.maps(entry=entry, n_background=99)
    participants = run.participants()
    marked = [name for name in run.part(part) if participants.loc[name, "target"] == target]
    with h5py.File(tmp_path / "cohort.h5", "r+") as file:
        for name in marked:
            index = participants.index.get_loc(name)
            scan = file["scans"][index]
            scan[:, 5, 5] = 40.0
            file["scans"][index] = scan
            participants.loc[name, "image_sha256"] = sha256_of_array(scan)
    write_table(participants.reset_index(), tmp_path / "participants.tsv")
    after = run.maps(entry=entry, n_background=99)
    untouched = [position for position, name in enumerate(test) if name not in marked]
    assert untouched
    assert np.array_equal(before["maps"][untouched], after["maps"][untouched]) != is_used


def test_every_method_begins_at_the_same_few_training_scans():
    train = [f"s{number}" for number in range(50)]
    chosen = background_scans(JOB, train)
    assert len(chosen) == 16 and set(chosen) < set(train)
    assert chosen == background_scans(replace(JOB, method="other", seed=9), train)
    assert chosen != background_scans(replace(JOB, fold=1), train)
    assert background_scans(JOB, train[:3]) == train[:3]


def test_regions_need_a_common_atlas(run: Run):
    with pytest.raises(ConfigError, match="atlas"):
        run.maps(entry={"method": "occlusion", "by": "region"})


def test_the_baseline_zero_is_the_raw_intensity_zero_of_each_scan(run: Run):
    # A linear network: the map is weight * (scan - baseline), so the baseline can be read off the map.
    spec = NetworkSpec("linear_svm", SHAPE)
    model = spec.build(0)
    model.weight.fill_(1.0)
    model.slope.fill_(1.0)
    linear = Run(run.folder / "linear")
    linear.folder.mkdir()
    for file in run.folder.iterdir():
        if file.is_file():
            (linear.folder / file.name).write_bytes(file.read_bytes())
    save_weights(model, linear.folder / "model.safetensors", spec, {"intensity": "zscore"})
    unit = linear.maps()["maps"]
    with Cohort(run.folder / "cohort.h5") as cohort:
        scans = ScanLoader(cohort, "zscore").batch(run.part("test")).numpy()
        raw = np.stack([cohort.scan(name) for name in run.part("test")])
        mask = cohort.mask
    spread = raw[:, :, mask].std(axis=2, dtype=np.float64)
    expected = unit[:, :, mask] * raw[:, :, mask] / spread[:, :, None]
    for entry in (IG, {**IG, "baseline": "zero"}):
        found = linear.maps(entry=entry)["maps"]
        np.testing.assert_allclose(found[:, :, mask], expected, rtol=1e-4, atol=1e-5)
        assert (found[:, :, ~mask] == 0).all()
    assert not np.allclose(expected, (unit * scans)[:, :, mask], rtol=1e-2)


def test_maps_h5_holds_what_the_contract_says(run: Run):
    found = run.maps(entry={**IG, "target": "label"})
    n_scans = len(run.part("test"))
    assert set(found) == {"maps", "residual", "scan_ids", "target", "attrs"}
    assert found["maps"].shape == (n_scans, 1, *SHAPE) and found["maps"].dtype == np.float32
    assert found["residual"].shape == (n_scans,) and np.isfinite(found["residual"]).all()
    assert np.isnan(run.maps()["residual"]).all()
    attrs = found["attrs"]
    assert (attrs["method"], attrs["seed"]) == ("integrated_gradients", 3)
    assert json.loads(attrs["parameters"]) == {"n_steps": 3, "target": "label"}
    assert len(attrs["model_sha256"]) == 64


@pytest.mark.parametrize("entry", METHODS, ids=identifier)
def test_batch_size_never_changes_the_maps(run: Run, entry: dict):
    whole = run.maps(entry=entry, batch_size=16)
    for size in (1, 5):
        part = run.maps(entry=entry, batch_size=size)
        scale = np.abs(whole["maps"]).max()
        np.testing.assert_allclose(part["maps"], whole["maps"], rtol=1e-4, atol=1e-5 * scale)
        assert ids(part) == ids(whole)


def test_maps_are_drawn_in_full_precision(run: Run):
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    for backend in backends:
        backend.allow_tf32 = True
    run.maps()
    assert not any(backend.allow_tf32 for backend in backends)


def test_the_permuted_control_needs_its_network(run: Run, tmp_path: Path):
    files = {name: run.folder / f"{name}.{kind}" for name, kind in (("cohort", "h5"), ("folds", "tsv"))}
    with pytest.raises(ConfigError, match="permuted labels"):
        attribute(
            replace(JOB, entry=METHODS[-1]), weights=run.folder / "model.safetensors",
            predictions=run.folder / "predictions.tsv", maps=tmp_path / "maps.h5", **files,
        )  # fmt: skip
    assert not (tmp_path / "maps.h5").exists()
