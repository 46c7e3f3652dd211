"""The stages that ask a network about its maps: the same scans for every method, and what the library would answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.cohorts.store import Cohort
from heatproof.errors import HeatproofError
from heatproof.files import read_table, write_table
from heatproof.metrics.faithfulness import removal_curves
from heatproof.metrics.information import Setting, information_scores
from heatproof.models import NetworkSpec, load_weights, save_weights
from heatproof.randomness import integer_seed
from heatproof.stages.agree import BETWEEN_FOLDS, BETWEEN_SEEDS, agree
from heatproof.stages.attribute import AttributionJob, attribute
from heatproof.stages.probe import UNSEEN, ProbeFiles, probe
from heatproof.stages.probing import EXACT_TRUTH, ProbeJob, probed_scans
from heatproof.stages.questions import Network, Scene, ask
from heatproof.stages.randomise import randomise
from heatproof.training import ScanLoader
from schema_defaults import defaults_of
from training.training_cohort import write_cohort

SHAPE = (14, 12)
METHODS = {"saliency": {"method": "saliency"}, "random_noise": {"method": "random_noise"}}
ALL = ["aic", "sic", "insertion", "deletion", "road", "infidelity", "f_fidelity"]


def spec(*metrics: str, **changes: object) -> dict:
    settings = defaults_of("probes.yaml")
    settings["f_fidelity"] = {"n_steps": 2, "learning_rate": 1e-4, "n_samples": 4, "beta": 0.2}
    settings["infidelity"] |= {"n_samples": 6}
    settings["max_sensitivity"] = {"n_samples": 2, "radius": 0.02}
    settings["randomisation"] |= {"n_scans": 3, "n_layers": 2, "n_noise": 2}
    return {**settings, "metrics": list(metrics), **changes}


def job(**changes: object) -> ProbeJob:
    common = {"study": "demo", "model": "net", "recipe": "corrected", "fold": 0, "seed": 1, "study_seed": 3}
    attributes = {"batch_size": 8, "n_background": 4, "precision": "float32"}
    found = {**common, "spec": spec(*ALL), "methods": METHODS, "attribution": attributes, **changes}
    return ProbeJob(**found)


@dataclass(frozen=True)
class Run:
    """A fold of twelve test scans, a network that has seen nothing, and the maps of two methods."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> Run:
        write_cohort(folder, n_people=60, shape=SHAPE)
        network = NetworkSpec("wang_b", SHAPE, parameters={"width": 3, "n_blocks": 1})
        run = cls(folder)
        table = read_table(folder / "folds.tsv")
        for name, seed in (("model", 0), ("other", 1)):
            module, path = network.build(seed), folder / f"{name}.safetensors"
            save_weights(module, path, network, {"intensity": "zscore"})
            # Half of the scans on either side, so that some are seen and some are not.
            last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
            logits = run.logits(table["scan_id"].tolist(), path.name)
            with torch.no_grad():
                last.bias -= logits.median(dim=0).values
            save_weights(module, path, network, {"intensity": "zscore"})
        write_table(
            table.assign(predicted=run.logits(table["scan_id"].tolist()).argmax(1).numpy()), folder / "predictions.tsv"
        )
        for name, entry in METHODS.items():
            run.explain(name, entry)
        return run

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def files(self) -> dict[str, Path]:
        names = {"cohort": "cohort.h5", "folds": "folds.tsv", "weights": "model.safetensors"}
        return {key: self.file(name) for key, name in {**names, "predictions": "predictions.tsv"}.items()}

    def logits(self, scan_ids: list[str], weights: str = "model.safetensors") -> torch.Tensor:
        loaded = load_weights(self.file(weights))
        with Cohort(self.file("cohort.h5")) as cohort, torch.no_grad():
            return loaded.module(ScanLoader.for_model(loaded, cohort).batch(scan_ids))

    def explain(self, name: str, entry: dict, weights: str = "model.safetensors") -> Path:
        path = self.file(f"{name}.h5")
        known = AttributionJob("net", "corrected", name, {"target": "patient", **entry}, 0, 1, study_seed=3)
        attribute(known, maps=path, **{**self.files, "weights": self.file(weights)})
        return path

    def probe(self, known: ProbeJob, maps: dict[str, Path] | None = None, name: str = "probed") -> dict[str, Path]:
        outputs = ProbeFiles(
            **{kind: self.file(f"{name}-{kind}") for kind in ("probes", "curves", "spreads", "exclusions", "examples")}
        )
        maps = maps or {method: self.file(f"{method}.h5") for method in METHODS}
        probe(known, maps=maps, outputs=outputs, **self.files)
        return vars(outputs)

    def images(self, scan_id: str) -> np.ndarray:
        loaded = load_weights(self.file("model.safetensors"))
        with Cohort(self.file("cohort.h5")) as cohort:
            return ScanLoader.for_model(loaded, cohort).scan(scan_id).numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def answers(run: Run) -> dict[str, pd.DataFrame]:
    paths = run.probe(job(keep_examples=True))
    return {kind: pd.read_parquet(path) for kind, path in paths.items() if kind != "examples"}


def test_only_scans_that_the_network_sees_are_probed_and_the_others_are_counted(run: Run, answers):
    predicted = read_table(run.file("predictions.tsv"))
    test = predicted[predicted["part"] == "test"]
    seen = set(test.loc[test["predicted"] == 1, "scan_id"])
    assert 0 < len(seen) < len(test), "the network must see the class in some scans only"
    assert set(answers["probes"]["scan_id"]) == seen
    exclusions = answers["exclusions"]
    unseen = exclusions[exclusions["reason"] == UNSEEN]
    assert set(unseen["metric"]) == {""}
    assert set(unseen["scan_id"]) == set(test["scan_id"]) - seen


def test_every_method_has_the_same_scans_metrics_and_nulls(answers):
    probes = answers["probes"]
    keys = probes.groupby("method").apply(
        lambda rows: frozenset(zip(rows["null"], rows["scan_id"], rows["metric"], rows["setting"], strict=True))
    )
    assert keys["saliency"] == keys["random_noise"]
    assert set(probes["null"]) == {"", "turned", "phase", "other_scan"}
    assert set(probes["metric"]) == {
        "aic", "sic", "insertion", "deletion", "road", "road_morf", "road_lerf", "infidelity", "f_fidelity",
        "f_fidelity_plus", "f_fidelity_minus",
    }  # fmt: skip


def test_a_number_is_what_the_library_answers_for_that_scan(run: Run, answers):
    probes = answers["probes"]
    scan_id = probes["scan_id"].iloc[0]
    known = job()
    scene_seed = integer_seed(3, "probe", "scene", "net", 0, 1)
    seed = integer_seed(scene_seed, "questions", scan_id)
    with h5py.File(run.file("saliency.h5")) as file, Cohort(run.file("cohort.h5")) as cohort:
        position = [name.decode() for name in file["scan_ids"]].index(scan_id)
        heatmap = np.abs(file["maps"][position].sum(axis=0))[None]
        mask = cohort.mask
    predict = Network.of(load_weights(run.file("model.safetensors")).module).predict
    own = probes.query("method == 'saliency' and null == '' and scan_id == @scan_id")
    deletion = removal_curves(
        run.images(scan_id), heatmap, predict, 1, fill="blur", shares=known.spec["removal"]["shares"], mask=mask,
        seed=seed,
    )  # fmt: skip
    assert own.query("metric == 'deletion' and setting == 'blur'")["value"].item() == pytest.approx(
        deletion.auc[0], abs=1e-6
    )
    (curves,) = information_scores(
        run.images(scan_id), heatmap, predict, 1, [Setting.of("nd push_pull fraction")], mask=mask, seed=seed
    )
    found = own.query("metric == 'aic' and setting == 'nd push_pull fraction'")["value"].item()
    np.testing.assert_allclose(found, curves.aic_auc[0], atol=1e-6)


def test_a_map_of_another_scan_is_of_another_person_and_every_null_is_a_map_of_its_own(run: Run, answers):
    sic = answers["probes"].query("metric == 'deletion' and setting == 'mean' and method == 'saliency'")
    wide = sic.pivot_table(index="scan_id", columns="null", values="value")
    for null in ("turned", "phase", "other_scan"):
        assert (wide[null] != wide[""]).any()


def test_constant_networks_tell_no_maps_apart(answers):
    spreads = answers["spreads"]
    assert set(spreads["constant"]) == {"right", "wrong"}
    assert set(spreads["metric"]) >= {"aic", "sic", "deletion", "insertion", "road", "infidelity", "f_fidelity"}
    assert spreads["spread"].dropna().abs().max() < 1e-9


def test_infidelity_reads_maps_with_their_sign(run: Run):
    # For a linear network the gradient foretells every change exactly; its absolute value does not.
    weights = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)

    def logits(batch: np.ndarray) -> np.ndarray:
        rise = (batch[:, 0] * weights).sum(axis=(1, 2))
        return np.stack([-rise, rise], axis=1)

    scene = Scene(spec("infidelity"), (-2.0, 2.0), np.ones(SHAPE, bool), seed=5)
    image = run.images(next(iter(read_table(run.file("folds.tsv"))["scan_id"])))
    signed = np.stack([weights, np.random.default_rng(2).normal(size=SHAPE)]).astype(np.float32)
    answers = {
        answer.setting: answer.values
        for answer in ask(scene, Network(logits, logits), "s", image, image * 0, np.abs(signed), 1, signed)
    }
    assert answers["gaussian"][0] < 1e-6 < answers["gaussian"][1]
    assert set(answers) == {"gaussian", "square"}


def test_curves_run_from_nothing_to_everything_and_never_fall(answers):
    for _, curve in answers["curves"].groupby(["method", "null", "scan_id", "metric", "setting"]):
        assert curve["x"].iloc[0] == 0 and curve["x"].iloc[-1] == 1
        assert (curve["y"].diff().dropna() >= -1e-9).all()


def test_examples_hold_image_and_maps_of_every_class(run: Run, answers):
    with h5py.File(run.file("probed-examples")) as file:
        assert {entry.attrs["diagnosis"] for entry in file.values()} == {"HC", "AD"}
        for entry in file.values():
            assert set(entry["maps"]) == set(METHODS) and entry["image"].shape == SHAPE
    run.probe(job(spec=spec("deletion")), name="without")
    with h5py.File(run.file("without-examples")) as file:
        assert not list(file)


def test_the_batch_size_changes_nothing_and_the_same_job_gives_the_same_bytes(run: Run):
    quick = ("aic", "deletion")
    once = run.probe(job(spec=spec(*quick)), name="once")
    again = run.probe(job(spec=spec(*quick)), name="again")
    assert once["probes"].read_bytes() == again["probes"].read_bytes()
    single = run.probe(job(spec=spec(*quick, batch_size=1)), name="single")
    pd.testing.assert_frame_equal(pd.read_parquet(once["probes"]), pd.read_parquet(single["probes"]), atol=1e-5)


def test_methods_that_explain_other_classes_are_not_probed_together(run: Run):
    run.explain("label", {"method": "saliency", "target": "label"})
    maps = {"saliency": run.file("saliency.h5"), "label": run.file("label.h5")}
    with pytest.raises(HeatproofError, match=r"label\.h5.*same target"):
        run.probe(job(), maps)


def test_the_choice_of_scans_is_balanced_and_blind_to_maps():
    scan_ids = [f"s{number}" for number in range(40)]
    targets = np.arange(40) % 4
    predicted = {scan_id: int(target) if number % 3 else 9 for number, (scan_id, target) in
                 enumerate(zip(scan_ids, targets, strict=True))}  # fmt: skip
    chosen = probed_scans(job(spec=spec(n_scans=8)), scan_ids, targets, predicted)
    assert np.bincount(chosen.targets).tolist() == [2, 2, 2, 2]
    assert all(predicted[scan_id] == target for scan_id, target in zip(chosen.scan_ids, chosen.targets, strict=True))
    assert len(chosen.unseen) == 14
    other = probed_scans(job(spec=spec(n_scans=8), seed=2), scan_ids, targets, predicted)
    assert chosen.scan_ids == other.scan_ids, "repetitions of a fold probe the same scans where they see them"
    everything = probed_scans(job(spec=spec(n_scans=None)), scan_ids, targets, predicted)
    assert len(everything.scan_ids) == 26


def test_the_truth_itself_is_probed_as_a_map(tmp_path: Path):
    run = Run.write(tmp_path)
    with h5py.File(tmp_path / "cohort.h5", "a") as file:
        truth = np.zeros((len(file["scan_ids"]), *SHAPE), np.float32)
        truth[:, 7:10, 6:9] = 1
        file.create_dataset("truths", data=truth)
    probes = pd.read_parquet(run.probe(job(spec=spec("deletion")))["probes"])
    assert set(probes["method"]) == {*METHODS, EXACT_TRUTH}


AGAIN = ["cascading_mprt", "smooth_mprt", "efficient_mprt", "data_randomisation", "max_sensitivity"]


def again(run: Run, permuted: str, **changes: object) -> pd.DataFrame:
    methods = {**METHODS, "edges": {"method": "edges"}}
    listed = spec(*AGAIN)
    listed["randomisation"]["methods"] = list(methods)
    known = job(spec=listed, methods=methods, **changes)
    path = run.file("randomised")
    randomise(known, maps=run.file("saliency.h5"), probes=path, permuted=run.file(permuted), **run.files)
    return pd.read_parquet(path)


def test_randomising_the_network_leaves_a_map_without_a_network_as_it_was(run: Run):
    table = again(run, "other.safetensors")
    value = table.groupby(["method", "metric"])["value"].mean()
    for metric in ("cascading_mprt", "smooth_mprt", "data_randomisation"):
        assert value["edges", metric] == pytest.approx(1)
        assert value["random_noise", metric] == pytest.approx(1), "its stream is that of the scan"
        assert value["saliency", metric] < 0.9
    assert value["edges", "efficient_mprt"] == pytest.approx(0)
    assert value["random_noise", "max_sensitivity"] == 0 and value["saliency", "max_sensitivity"] > 0
    assert table["scan_id"].nunique() == 3


def test_a_twin_with_the_same_weights_has_the_same_maps(run: Run):
    table = again(run, "model.safetensors")
    twins = table.query("metric == 'data_randomisation'")["value"]
    np.testing.assert_allclose(twins, 1)


def test_controls_are_left_alone_unless_they_are_asked_for(run: Run):
    path = run.file("trained-only")
    known = job(spec=spec("cascading_mprt"), methods=METHODS)
    randomise(known, maps=run.file("saliency.h5"), probes=path, **run.files)
    assert set(pd.read_parquet(path)["method"]) == {"saliency"}


def test_agreement_is_one_between_equal_runs_and_less_between_others(run: Run, tmp_path: Path):
    folders = {}
    for fold, seed, weights in ((0, 1, "model"), (0, 2, "other"), (1, 1, "model")):
        folder = tmp_path / "net" / f"fold-{fold}_seed-{seed}" / "saliency"
        folder.mkdir(parents=True)
        maps = run.explain("again", {"method": "saliency"}, f"{weights}.safetensors")
        (folder / "maps.h5").write_bytes(maps.read_bytes())
        with h5py.File(maps) as file, h5py.File(folder / "means.h5", "w") as means:
            means.create_dataset("all/signed", data=np.abs(file["maps"][:].sum(axis=1)).mean(axis=0))
        folders[fold, seed] = folder
    known = job(fold=-1, seed=-1, spec=spec("retraining_agreement"))
    rows = []
    for name, chosen in (("same", [(0, 1), (1, 1)]), ("all", list(folders))):
        paths = [folders[key] for key in chosen]
        agree(
            known,
            cohort=run.file("cohort.h5"),
            maps={"saliency": [path / "maps.h5" for path in paths]},
            means={"saliency": [path / "means.h5" for path in paths]},
            probes=tmp_path / name,
        )
        rows.append(pd.read_parquet(tmp_path / name))
    same, everything = rows
    assert same["setting"].tolist() == [BETWEEN_FOLDS] and same["value"].item() == pytest.approx(1)
    seeds = everything[everything["setting"] == BETWEEN_SEEDS]
    assert set(seeds["fold"]) == {0} and len(seeds) == len(read_table(run.file("folds.tsv")).query("part == 'test'"))
    assert seeds["value"].max() < 1


def test_a_scan_that_is_left_out_is_not_asked_about_map_by_map(run: Run):
    shown = []

    def always_right(batch: np.ndarray) -> np.ndarray:
        shown.append(len(batch))
        return np.tile(np.array([[0.1, 0.9]]), (len(batch), 1))

    scene = Scene(spec("aic", "sic"), (-2.0, 2.0), np.ones(SHAPE, bool), seed=5, settings=("nd push_pull information",))
    maps = np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)
    image = run.images(next(iter(read_table(run.file("folds.tsv"))["scan_id"])))
    found = list(ask(scene, Network(always_right, always_right), "s", image, image * 0, maps, 1))
    assert [answer.metric for answer in found] == ["aic", "sic"]
    assert all(np.isnan(answer.values).all() and answer.values.shape == (6,) for answer in found)
    assert {answer.excluded for answer in found} == {"the model already gives the fully blurred image the target class"}
    # The blurred scan, one share and the original, and not fourteen shares of six maps.
    assert sum(shown) == 3
