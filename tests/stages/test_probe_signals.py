"""The stages that ask a network which answers with a number about lead-by-lead maps of signals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.cohorts.store import Cohort, RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.errors import ConfigError
from heatproof.files import read_table, write_table
from heatproof.geometry import Grid
from heatproof.metrics.faithfulness import corrected_curves, infidelity, published_curves, removal_curves
from heatproof.models import NetworkSpec, load_weights, save_weights
from heatproof.randomness import integer_seed
from heatproof.stages.agree import BETWEEN_FOLDS, BETWEEN_SEEDS, agree
from heatproof.stages.attribute import AttributionJob, attribute
from heatproof.stages.perturbing import perturbation
from heatproof.stages.probe import ProbeFiles, probe
from heatproof.stages.probed_maps import ProbedMaps
from heatproof.stages.probing import EXACT_TRUTH, Probed, ProbeJob
from heatproof.stages.randomise import randomise
from heatproof.stages.scenes import Facts, LeadByLead, Network, Scene
from heatproof.training import ScanLoader
from schema_defaults import defaults_of
from training.training_cohort import folds_by_hand

LEADS, SAMPLES = ("I", "II", "V5"), 48
SCANS = 30
SD = 12.0
METHODS = {"saliency": {"method": "saliency"}, "random_noise": {"method": "random_noise"},
           "gradcam": {"method": "gradcam"}}  # fmt: skip
ASKED = ["insertion", "deletion", "road", "infidelity", "f_fidelity", "perturbation", "turbe"]


def write_signals(folder: Path) -> None:
    """Write records of three leads with one bump, its width as output, and a truth of that output in two leads."""
    random = np.random.default_rng(0)
    grid = Grid((SAMPLES,), None, (2.0,), "ms")
    source = Source(grid, [], classes=("recording",), has_controls=False, channel_names=LEADS, outputs={"pr": "ms"},
                    label_names={number: f"wave {number}" for number in range(1, 7)})  # fmt: skip
    labels = np.zeros((len(LEADS), SAMPLES), int)
    for lead in range(len(LEADS)):
        labels[lead, 10:20], labels[lead, 20:40] = 1 + 2 * lead, 2 + 2 * lead
    rows = []
    with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, channels=len(LEADS)) as writer:
        for number in range(SCANS):
            pr = random.uniform(120, 200)
            values = random.normal(scale=0.3, size=(len(LEADS), SAMPLES))
            values[1:, 12 : 12 + int(pr / 12)] += 2.0
            truth = np.zeros(values.shape)
            truth[1:, 12:22] = 0.01
            truth[2] *= -1
            rows.append({"scan_id": f"s{number:02d}-0", "participant_id": f"p{number:02d}", "diagnosis": "recording",
                         "target": 0, "pr": np.nan if number == 8 else pr})  # fmt: skip
            writer.add(rows[-1], RawScan(values.astype(np.float32), grid, labels=labels, truths={"pr": truth}))
    write_table(folds_by_hand(rows), folder / "folds.tsv")


@dataclass(frozen=True)
class Run:
    """A fold of records, a network that has seen nothing, and the maps of three methods."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> Run:
        write_signals(folder)
        run = cls(folder)
        network = NetworkSpec("ecg_resnet", (SAMPLES,), len(LEADS), 1,
                              {"width": 4, "n_blocks": 1, "kernel": 5, "stem_kernel": 5})  # fmt: skip
        facts = {"intensity": "none", "output": "pr", "unit": "ms", "target_mean": 160.0, "target_sd": SD}
        for name, seed in (("model", 0), ("other", 1)):
            module = network.build(seed)
            with torch.no_grad():
                # As training leaves it: the last layer answers in the unit of the output.
                last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
                last.weight *= 40 * SD
                last.bias += 160
            save_weights(module, folder / f"{name}.safetensors", network, facts)
        table = read_table(folder / "folds.tsv")
        known = read_table(folder / "participants.tsv").set_index("scan_id")["pr"].notna()
        table = table[known.loc[table["scan_id"]].to_numpy()]
        write_table(table.assign(predicted=0), folder / "predictions.tsv")
        for name, entry in METHODS.items():
            run.explain(name, entry)
        return run

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def files(self) -> dict[str, Path]:
        return {"cohort": self.file("cohort.h5"), "folds": self.file("folds.tsv"),
                "weights": self.file("model.safetensors"), "predictions": self.file("predictions.tsv")}  # fmt: skip

    def explain(self, name: str, entry: dict, weights: str = "model.safetensors") -> Path:
        path = self.file(f"{name}.h5")
        known = AttributionJob("pr", "corrected", name, {"target": "label", **entry}, 0, 1, study_seed=3)
        attribute(known, maps=path, **{**self.files, "weights": self.file(weights)})
        return path

    def probe(self, known: ProbeJob, name: str) -> dict[str, Path]:
        kinds = ("probes", "curves", "spreads", "exclusions", "examples")
        outputs = ProbeFiles(**{kind: self.file(f"{name}-{kind}") for kind in kinds})
        probe(known, maps={method: self.file(f"{method}.h5") for method in METHODS}, outputs=outputs, **self.files)
        return vars(outputs)


def job(*metrics: str, **changes: object) -> ProbeJob:
    spec = defaults_of("probes.yaml")
    spec["f_fidelity"] = {"n_steps": 2, "learning_rate": 1e-4, "n_samples": 4, "beta": 0.2}
    spec["infidelity"] |= {"n_samples": 6}
    spec["max_sensitivity"] = {"n_samples": 2, "radius": 0.02}
    spec["randomisation"] |= {"n_scans": 3, "n_layers": 2, "n_noise": 2, "methods": list(METHODS)}
    spec |= {"metrics": list(metrics), "n_scans": 4, **changes}
    attributes = {"batch_size": 8, "n_background": 4, "precision": "float32"}
    return ProbeJob("ecg", "pr", "corrected", 0, 1, 3, spec, METHODS, attribution=attributes, keep_examples=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.write(tmp_path_factory.mktemp("signals"))


@pytest.fixture(scope="module")
def answers(run: Run) -> dict[str, pd.DataFrame]:
    paths = run.probe(job(*ASKED), "probed")
    return {kind: pd.read_parquet(path) for kind, path in paths.items() if kind != "examples"}


def test_every_question_is_answered_for_every_map_of_a_scan_whose_number_is_known(run: Run, answers):
    probes = answers["probes"]
    assert set(probes["method"]) == {*METHODS, EXACT_TRUTH}
    assert set(probes["null"]) == {"", "turned", "phase", "other_scan"}
    assert set(probes["metric"]) == {
        "insertion", "deletion", "road", "road_morf", "road_lerf", "infidelity", "f_fidelity", "f_fidelity_plus",
        "f_fidelity_minus", "perturbation", "turbe_top", "turbe_bottom", "turbe_f",
    }  # fmt: skip
    settings = set(probes.loc[probes["metric"] == "perturbation", "setting"])
    assert {f"published {n}" for n in (5, 10, 15, 25)} <= settings
    assert {f"corrected {fill} {most}" for fill in ("noise", "mean", "interpolation")
            for most in ("25 points", "1 %", "5 %")} <= settings  # fmt: skip
    assert {"corrected waves by mean", "corrected waves by sum"} <= settings
    folds = read_table(run.file("folds.tsv"))
    assert "s08-0" in folds.loc[folds["part"] == "test", "scan_id"].tolist() and "s08-0" not in set(probes["scan_id"])
    assert probes["scan_id"].nunique() == 4 and np.isfinite(probes["value"]).all()


def lead_maps(run: Run, scan_id: str, method: str = "saliency") -> np.ndarray:
    with h5py.File(run.file(f"{method}.h5")) as file:
        position = [name.decode() for name in file["scan_ids"]].index(scan_id)
        return np.abs(file["maps"][position])


def test_numbers_are_what_the_library_answers_lead_by_lead(run: Run, answers):
    probes = answers["probes"]
    scan_id = probes["scan_id"].iloc[0]
    seed = integer_seed(integer_seed(3, "probe", "scene", "pr", 0, 1), "questions", scan_id)
    loaded = load_weights(run.file("model.safetensors"))
    with Cohort(run.file("cohort.h5")) as cohort:
        image = ScanLoader.for_model(loaded, cohort).scan(scan_id).numpy()
        measured = float(cohort.participants.loc[scan_id, "pr"])

    def estimate(batch):
        with torch.no_grad():
            return loaded.module(torch.from_numpy(np.ascontiguousarray(batch[:, 0], np.float32))).numpy()

    heatmap = lead_maps(run, scan_id)[None]
    untouched = estimate(image[None, None])
    own = probes.query("method == 'saliency' and null == '' and scan_id == @scan_id")
    own = own.set_index(["metric", "setting"])["value"]
    spec = job().spec
    curves = removal_curves(
        image[None], heatmap, lambda batch: -np.abs(estimate(batch) - untouched) / SD, 0, fill="blur", leads=True,
        shares=spec["removal"]["shares"], seed=seed,
    )  # fmt: skip
    assert own["deletion", "blur"] == pytest.approx(curves.auc[0], abs=1e-5)
    corrected = corrected_curves(
        image[None], heatmap, lambda batch: estimate(batch) / SD, fill="noise", most=[1, 7, 25], leads=True, seed=seed
    )
    for name, most in (("1 %", 1), ("5 %", 7), ("25 points", 25)):
        assert own["perturbation", f"corrected noise {name}"] == pytest.approx(corrected.height(most)[0], abs=1e-5)
    with h5py.File(run.file("saliency.h5")) as file:
        signed = file["maps"][[name.decode() for name in file["scan_ids"]].index(scan_id)][None]
    # A stretch of time is taken from all leads at once.
    expected = infidelity(
        image, signed, lambda batch: estimate(batch[:, None]) / SD, 0, n_samples=6, perturbation="square",
        scale=round(0.15 * SAMPLES), contributions=True, seed=seed,
    )  # fmt: skip
    assert own["infidelity", "square"] == pytest.approx(expected[0], rel=1e-4)
    published = published_curves(image[None], heatmap, estimate, measured, keys=["saliency "], seed=seed)
    assert own["perturbation", "published 15"] == pytest.approx(published.area(15)[0], abs=1e-5)


def test_the_truth_is_a_map_with_its_sign_and_nulls_stay_in_their_lead(run: Run):
    with Cohort(run.file("cohort.h5")) as cohort, h5py.File(run.file("saliency.h5")) as file:
        scan_ids = [name.decode() for name in file["scan_ids"]]
        chosen = Probed(scan_ids, np.zeros(len(scan_ids), int), np.arange(len(scan_ids)), [])
        found = ProbedMaps(cohort, {"saliency": file}, chosen, ["turned", "other_scan"], 5, "pr").of(1)
        assert found.labels == [("saliency", ""), ("saliency", "turned"), ("saliency", "other_scan"), (EXACT_TRUTH, "")]
        own, turned, other, truth = found.signed
        np.testing.assert_array_equal(own, file["maps"][1])
        np.testing.assert_array_equal(turned, own[:, ::-1])
        np.testing.assert_array_equal(other, file["maps"][2])
        np.testing.assert_array_equal(truth, cohort.truth(scan_ids[1], "pr"))
    assert truth.min() < 0 < truth.max()


def test_a_constant_network_tells_no_maps_apart(answers):
    spreads = answers["spreads"]
    assert set(spreads["constant"]) == {"right"} and {"perturbation", "turbe_f", "road"} <= set(spreads["metric"])
    assert spreads["spread"].dropna().abs().max() < 1e-9


def test_curves_of_the_maps_themselves_are_kept(answers):
    curves = answers["curves"]
    assert set(curves["metric"]) == {"perturbation"} and set(curves["null"]) == {""}
    ends = curves.groupby("setting")["x"].max()
    assert ends["published 25"] == 25 and ends["corrected waves by mean"] == pytest.approx(0.25)
    assert ends["corrected noise 25 points"] == pytest.approx(25 / (len(LEADS) * SAMPLES))


def test_examples_hold_every_lead(run: Run, answers):
    with h5py.File(run.file("probed-examples")) as file:
        (entry,) = file.values()
        assert entry["image"].shape == entry["truth"].shape == (len(LEADS), SAMPLES)
        assert entry["truth"][2].min() < 0 == entry["truth"][0].max(), "with its sign"
        assert entry["labels"].shape == (len(LEADS), SAMPLES) and entry["labels"][:].max() == 6
        assert all(heatmap.shape == (len(LEADS), SAMPLES) for heatmap in entry["maps"].values())
        np.testing.assert_array_equal(entry["maps/gradcam"][0], entry["maps/gradcam"][2])


def test_the_same_job_gives_the_same_bytes(run: Run):
    quick = ("deletion", "perturbation")
    once, again = (run.probe(job(*quick, nulls=["turned"]), name) for name in ("once", "again"))
    assert once["probes"].read_bytes() == again["probes"].read_bytes()


def test_nearness_is_the_distance_to_the_untouched_answer_in_standard_deviations():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 1))
    network = Network.of(LeadByLead(module), target_sd=4.0)
    image = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    batch = np.stack([image, image + 1, -image])
    with torch.no_grad():
        estimates = module(torch.from_numpy(batch[:, 0])).numpy()
    np.testing.assert_allclose(network.logits(batch), estimates / 4, rtol=1e-5)
    near = network.about(image).predict(batch)
    np.testing.assert_allclose(near, -np.abs(estimates - estimates[0]) / 4, atol=1e-6)
    assert near[0] == 0 and (near[1:] < 0).all()


def test_a_network_of_classes_has_no_perturbation_metric():
    scene = Scene(job("perturbation").spec, (0, 1), np.ones((2, 3), bool), seed=0)
    network = Network.constant(2, 0)
    with pytest.raises(ConfigError, match="probes.metrics"):
        list(perturbation(scene, network, np.zeros((1, 2, 3)), np.ones((1, 2, 3)), 0, Facts()))


def test_a_scan_that_was_not_measured_has_no_published_value_but_the_others():
    scene = Scene(job("perturbation").spec, (0, 1), np.ones((2, 30), bool), seed=0, leads=True)
    found = list(
        perturbation(scene, Network.constant(1, 0, 1.0), np.zeros((1, 2, 30)), np.ones((1, 2, 30)), 0, Facts())
    )
    assert all(bool(one.excluded) == one.setting.startswith("published") for one in found) and len(found) == 4 + 9


# Again, with other weights


AGAIN = ["cascading_mprt", "smooth_mprt", "efficient_mprt", "data_randomisation", "max_sensitivity"]


def test_randomising_tells_a_map_of_the_network_from_noise(run: Run):
    path = run.file("randomised")
    randomise(
        job(*AGAIN), maps=run.file("saliency.h5"), probes=path, permuted=run.file("other.safetensors"), **run.files
    )
    table = pd.read_parquet(path)
    value = table.groupby(["method", "metric"])["value"].mean()
    for metric in ("cascading_mprt", "smooth_mprt", "data_randomisation"):
        assert value["random_noise", metric] == pytest.approx(1) and value["saliency", metric] < 0.95
    assert value["random_noise", "max_sensitivity"] == 0 < value["saliency", "max_sensitivity"]
    assert table["scan_id"].nunique() == 3


def test_a_window_across_leads_is_refused(run: Run):
    known = job("cascading_mprt")
    known.spec["randomisation"]["similarity"] = "ssim"  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"similarity.*no neighbours"):
        randomise(known, maps=run.file("saliency.h5"), probes=run.file("none"), **run.files)


def test_agreement_is_that_of_the_maps_lead_by_lead(run: Run, tmp_path: Path):
    paths = []
    for fold, seed, weights in ((0, 1, "model"), (0, 2, "other"), (1, 1, "model")):
        folder = tmp_path / "pr" / f"fold-{fold}_seed-{seed}" / "saliency"
        folder.mkdir(parents=True)
        maps = run.explain("again", {"method": "saliency"}, f"{weights}.safetensors")
        (folder / "maps.h5").write_bytes(maps.read_bytes())
        with h5py.File(maps) as file, h5py.File(folder / "means.h5", "w") as means:
            means.create_dataset("all/signed", data=file["maps"][:].mean(axis=0))
        paths.append(folder)
    agree(
        job("retraining_agreement"), cohort=run.file("cohort.h5"), probes=tmp_path / "table",
        maps={"saliency": [path / "maps.h5" for path in paths]},
        means={"saliency": [path / "means.h5" for path in paths]},
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "table")
    from scipy.stats import spearmanr

    with h5py.File(paths[0] / "maps.h5") as one, h5py.File(paths[1] / "maps.h5") as two:
        first = spearmanr(*(np.abs(file["maps"][0]).ravel() for file in (one, two))).statistic
    seeds = table[table["setting"] == BETWEEN_SEEDS]
    assert seeds["value"].iloc[0] == pytest.approx(first)
    assert len(table[table["setting"] == BETWEEN_FOLDS]) == 1
