from __future__ import annotations

import math
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest

from heatproof.cohorts.store import LOG_JACOBIAN, Cohort, RawScan, Source
from heatproof.cohorts.writer import CohortWriter
from heatproof.errors import GeometryError, HeatproofError
from heatproof.files import write_table
from heatproof.geometry import Grid
from heatproof.metrics.overlap import auroc, dice_sweep
from heatproof.metrics.space import RankedMap, Space, Truth
from heatproof.stages.collect import OPTIONAL, collect
from heatproof.stages.pool import PoolFiles, pool
from heatproof.stages.score import ScoreFiles, score
from heatproof.stages.scoring import Origin
from heatproof.truths.sources import build_truth
from heatproof.truths.store import Context, write_truth
from schema_defaults import defaults_of

SHAPES = {1: (48,), 2: (14, 12), 3: (8, 9, 7)}
TARGET = [0, 1, 0, 1, 1, 1]
PREDICTED = [0, 1, 1, 0, 1, 1]
AREAS = {3: "left", 300: "right", 7: "lost"}


def settings(**changes: object) -> dict:
    spec = defaults_of("metrics.yaml")
    spec["nulls"]["n_surrogates"] = 19
    spec["smoothing_mm"] = {"scan": [0, 6], "fold": [0], "group": [0, 6]}
    return {**spec, **changes}


class Study:
    """A cohort of six scans of five people with exact effects, truths, maps and predictions."""

    def __init__(self, folder: Path, n_axes: int) -> None:
        rng = np.random.default_rng(n_axes)
        self.folder, shape = folder, SHAPES[n_axes]
        affine = np.diag([3.0, 3.0, 4.0, 1.0]) if n_axes == 3 else None
        self.grid = Grid(shape, affine, spacing=(3.0,) * n_axes, units="mm" if n_axes == 3 else "pixel")
        self.mask = np.ones(shape, bool)
        self.mask[..., -2:] = False
        place = np.indices(shape)[0]
        self.atlas = np.where(place < shape[0] // 2, 3, 300)
        self.effects = [np.where(self.mask & (place < 3 + i % 2), 1.0 + place, 0) * t for i, t in enumerate(TARGET)]
        self.ids = [f"s{i}" for i in range(6)]
        self.maps = np.stack([effect + rng.normal(size=shape) for effect in self.effects]).astype(np.float32)
        source = Source(self.grid, [], mask=self.mask, atlas=self.atlas, label_names=AREAS)
        with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source) as writer:
            for i, scan_id in enumerate(self.ids):
                row = {"scan_id": scan_id, "participant_id": f"p{min(i, 4)}", "target": TARGET[i],
                       "diagnosis": ("HC", "AD")[TARGET[i]]}  # fmt: skip
                scan = RawScan(rng.normal(size=(1, *shape)), self.grid, truth=self.effects[i])
                writer.add(row, scan)
        self.truths = {name: self.truth(name) for name in ("injected", "atlas")}
        write_table(pd.DataFrame({"scan_id": self.ids, "predicted": PREDICTED}), folder / "predictions.tsv")
        # Two channels that add up to the map.
        self.write_maps(np.stack([self.maps - 2, np.full_like(self.maps, 2)], axis=1))

    def truth(self, name: str, shape: tuple[int, ...] | None = None) -> Path:
        values = np.mean(self.effects, axis=0) if shape is None else np.ones(shape)
        with h5py.File(self.folder / f"{name}.h5", "w") as file:
            file["map"], file["mask"] = values, values > 0.4
            if self.grid.affine is not None:
                file.attrs["affine"] = self.grid.affine
        return self.folder / f"{name}.h5"

    def write_maps(self, maps: np.ndarray) -> None:
        with h5py.File(self.folder / "maps.h5", "w") as file:
            file["maps"], file["residual"] = maps, np.arange(len(maps)) / 100
            file["scan_ids"] = np.array(self.ids, dtype=h5py.string_dtype())

    def score(self, fold: int = 0, **changes: object) -> dict[str, Path]:
        out = {name: self.folder / f"{name}-{fold}" for name in ("scores", "areas", "means")}
        inputs = [self.folder / name for name in ("maps.h5", "cohort.h5", "participants.tsv", "predictions.tsv")]
        origin = Origin("demo", "net", "corrected", "lrp", fold=fold, seed=1)
        score(*inputs, self.truths, settings(**changes), origin, ScoreFiles(**out))
        return out

    def pool(self, means: list[Path], name: str = "group", **changes: object) -> PoolFiles:
        files = PoolFiles(*(self.folder / f"{name}.{kind}" for kind in ("h5", "scores", "nulls", "nifti")))
        inputs = [self.folder / "cohort.h5", self.folder / "participants.tsv"]
        pool(means, *inputs, self.truths, settings(**changes), Origin("demo", "net", "corrected", "lrp"), files, seed=5)
        return files


@pytest.fixture(params=[1, 2, 3])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Study:
    return Study(tmp_path, request.param)


@pytest.fixture
def image(tmp_path: Path) -> Study:
    return Study(tmp_path, 2)


def value(table: pd.DataFrame, **where: object) -> float:
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1, f"{len(table)} rows for {where}"
    return float(table["value"].iloc[0])


def test_each_scan_is_scored_against_its_own_effect(study: Study):
    table = pd.read_parquet(study.score()["scores"])
    scans = table[(table["level"] == "scan") & (table["truth"] == "injected")]
    assert set(scans["scan_id"]) == {"s1", "s3", "s4", "s5"}
    space = Space.of(study.mask, study.mask)
    for i in (1, 3, 4, 5):
        truth = Truth.of_effect(study.effects[i], space, 0.05)
        expected = auroc(RankedMap.of(np.abs(study.maps[i].astype(float)), space), truth)
        found = value(scans, scan_id=f"s{i}", metric="auroc", smoothing_mm=0)
        assert found == pytest.approx(expected, abs=1e-3)
    assert value(scans, scan_id="s5", metric="auroc", smoothing_mm=6) != value(
        scans, scan_id="s5", metric="auroc", smoothing_mm=0
    )
    assert set(scans.loc[scans["scan_id"] == "s5", "participant_id"]) == {"p4"}


def test_common_truths_score_patients_only_and_location_scores_everyone(image: Study):
    table = pd.read_parquet(image.score()["scores"]).query("level == 'scan'")
    assert set(table.loc[table["truth"] == "atlas", "diagnosis"]) == {"AD"}
    assert set(table.loc[table["metric"] == "outside_brain", "scan_id"]) == set(image.ids)
    assert value(table, scan_id="s4", metric="completeness_residual") == pytest.approx(0.04)
    heatmap = np.abs(image.maps[2])
    outside = heatmap[~image.mask].sum() / heatmap.sum()
    assert value(table, scan_id="s2", metric="outside_brain") == pytest.approx(outside, rel=1e-4)


def test_the_fold_is_scored_by_the_mean_of_the_right_scans(study: Study):
    table = pd.read_parquet(study.score()["scores"]).query("level == 'fold'")
    groups = {"all": range(6), "patients": [1, 3, 4, 5], "true_positives": [1, 4, 5]}
    truth = np.mean(study.effects, axis=0) > 0.4
    for population, members in groups.items():
        dice = dice_sweep(study.maps[list(members)].mean(axis=0), truth, study.mask)[1].max()
        where = {"population": population, "truth": "injected", "metric": "max_dice", "smoothing_mm": 0}
        assert value(table, **where, rectify="abs_after") == pytest.approx(dice, abs=1e-6)
        before = dice_sweep(np.abs(study.maps[list(members)]).mean(axis=0), truth, study.mask)[1].max()
        assert value(table, **where, rectify="abs_before") == pytest.approx(before, abs=1e-6)
    assert {"signed", "abs_before", "abs_after"} == set(table["rectify"])


def test_areas_hold_the_signed_sums_and_lost_areas_stay(study: Study):
    table = pd.read_parquet(study.score()["areas"])
    assert len(table) == 6 * 3
    row = table[(table["scan_id"] == "s3") & (table["area"] == 300)].iloc[0]
    assert row["sum"] == pytest.approx(study.maps[3][study.atlas == 300].sum(), rel=1e-3, abs=1e-3)
    assert row["name"] == "right" and row["predicted"] == 0 and row["target"] == 1
    assert row["volume_mm3"] == pytest.approx((study.atlas == 300).sum() * study.grid.voxel_volume)
    assert table.loc[table["area"] == 7, "sum"].isna().all() and (table.loc[table["area"] == 7, "n_voxels"] == 0).all()


def test_a_map_that_is_not_finite_is_nan_in_the_scores_recorded_and_not_in_the_means(image: Study):
    image.maps[4, 3, 3] = np.nan
    image.write_maps(image.maps[:, None])
    files = image.score()
    table = pd.read_parquet(files["scores"])
    assert math.isnan(value(table, scan_id="s4", truth="injected", metric="auroc", smoothing_mm=0))
    assert table.query("level == 'fold'")["value"].notna().all()
    with h5py.File(files["means"]) as means:
        assert means.attrs["invalid_scans"].tolist() == ["s4"]
        assert means["patients"].attrs["n_scans"] == 3
        np.testing.assert_allclose(means["patients/signed"][:], image.maps[[1, 3, 5]].mean(axis=0), rtol=1e-5)


def test_a_group_without_scans_is_left_out(image: Study):
    write_table(pd.DataFrame({"scan_id": image.ids, "predicted": 0}), image.folder / "predictions.tsv")
    files = image.score()
    assert "true_positives" not in set(pd.read_parquet(files["scores"])["population"])
    assert "true_positives/signed" not in h5py.File(files["means"])


def test_pooling_takes_the_mean_of_fold_means(study: Study):
    first = study.score(fold=0)["means"]
    study.write_maps(-3 * study.maps[:, None])
    second = study.score(fold=1)["means"]
    files = study.pool([first, second])
    with h5py.File(files.group) as group:
        signed = group["maps/patients/signed"][:]
        np.testing.assert_allclose(signed, -study.maps[[1, 3, 4, 5]].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(group["maps/patients/abs_after"][:], np.abs(signed))
        curve = group["curves/atlas/patients/abs_after"][:]
    truth = np.mean(study.effects, axis=0) > 0.4
    np.testing.assert_allclose(curve[1], dice_sweep(signed, truth, study.mask)[1], atol=0.02)
    table = pd.read_parquet(files.scores)
    where = {"population": "patients", "truth": "atlas", "rectify": "abs_after", "metric": "max_dice"}
    assert value(table, level="group", smoothing_mm=0, **where) == pytest.approx(curve[1].max())
    assert set(table.loc[table["level"] == "group", "smoothing_mm"]) == {0, 6}
    # Without fold 0 the group map is that of fold 1.
    alone = pd.read_parquet(study.folder / "scores-1").query("level == 'fold'")
    left = value(table, level="leave_one_out", fold=0, smoothing_mm=0, **where)
    assert left == pytest.approx(value(alone, smoothing_mm=0, **where), abs=1e-6)


def test_group_maps_open_as_nifti_in_place(tmp_path: Path):
    study = Study(tmp_path, 3)
    files = study.pool([study.score()["means"]])
    image = nibabel.load(files.nifti / "patients_abs_after.nii.gz")
    np.testing.assert_array_equal(image.affine, study.grid.affine)
    np.testing.assert_allclose(image.get_fdata(), np.abs(study.maps[[1, 3, 4, 5]].mean(axis=0)), atol=1e-5)


def test_images_have_no_nifti_but_the_folder_that_the_workflow_expects(image: Study):
    files = image.pool([image.score()["means"]])
    assert list(files.nifti.iterdir()) == []


def test_surrogates_tell_the_effect_from_luck(image: Study):
    table = pd.read_parquet(image.pool([image.score()["means"]]).nulls)
    rows = table[(table["population"] == "patients") & (table["metric"] == "auroc")]
    assert (rows["n_surrogates"] == 19).all() and (rows["observed"] > rows["null_95"]).all()
    assert (rows["p_value"] == 1 / 20).all()
    assert set(table["metric"]) == {"max_dice", "dice_at_size", "auroc"} and set(table["rectify"]) == {"abs_after"}


def test_the_same_inputs_give_the_same_bytes(image: Study):
    once = {name: path.read_bytes() for name, path in image.score().items()}
    group = image.pool([image.score()["means"]])
    first = (group.nulls.read_bytes(), group.scores.read_bytes(), group.group.read_bytes())
    again = {name: path.read_bytes() for name, path in image.score().items()}
    group = image.pool([image.score()["means"]], name="again")
    assert once == again
    assert first == (group.nulls.read_bytes(), group.scores.read_bytes(), group.group.read_bytes())


def test_collected_tables_do_not_depend_on_the_order_of_files(image: Study):
    runs = [image.score(fold=fold) for fold in (0, 1)]
    group = image.pool([run["means"] for run in runs])
    scores = [*[run["scores"] for run in runs], group.scores]
    parts = {"scores": scores, "areas": [run["areas"] for run in runs], "nulls": [group.nulls]}
    tables = []
    for name, order in (("a", 1), ("b", -1)):
        files = {kind: image.folder / f"{name}-{kind}" for kind in parts}
        collect({kind: paths[::order] for kind, paths in parts.items()}, files)
        tables.append([path.read_bytes() for path in files.values()])
    assert tables[0] == tables[1]
    assert len(pd.read_parquet(files["scores"])) == sum(len(pd.read_parquet(path)) for path in scores)
    assert pd.read_parquet(files["scores"])["value"].dtype == np.float64


def test_tables_that_a_study_lacks_are_empty_and_keep_their_columns(image: Study):
    files = {kind: image.folder / kind for kind in ("scores", *OPTIONAL)}
    collect({"scores": [image.score()["scores"]], **dict.fromkeys(OPTIONAL, [])}, files)
    for kind, columns in OPTIONAL.items():
        assert list(pd.read_parquet(files[kind]).columns) == list(columns) and pd.read_parquet(files[kind]).empty


def test_tables_of_another_version_are_refused(image: Study):
    run = image.score()
    other = pd.read_parquet(run["scores"]).drop(columns="chance")
    other.to_parquet(image.folder / "zz-old")
    files = {"scores": image.folder / "joined"}
    with pytest.raises(HeatproofError, match=r"zz-old: chance"):
        collect({"scores": [run["scores"], image.folder / "zz-old"]}, files)
    with pytest.raises(HeatproofError, match="no score"):
        collect({"scores": []}, files)


def test_maps_and_truths_on_another_grid_are_refused(image: Study):
    image.truths["atlas"] = image.truth("atlas", shape=(5, 5))
    with pytest.raises(GeometryError, match=r"atlas\.h5"):
        image.score()
    image.truths["atlas"] = image.truth("atlas")
    image.write_maps(np.ones((6, 1, 5, 5), np.float32))
    with pytest.raises(HeatproofError, match=r"maps\.h5: maps"):
        image.score()
    assert not (image.folder / "scores-0").exists()


def test_a_truth_whose_affine_differs_is_refused(tmp_path: Path):
    study = Study(tmp_path, 3)
    with h5py.File(study.truths["atlas"], "a") as file:
        file.attrs["affine"] = np.diag([-3.0, 3.0, 4.0, 1.0])
    with pytest.raises(GeometryError, match="affines differ"):
        study.score()


def test_a_scan_without_a_prediction_is_named(image: Study):
    write_table(pd.DataFrame({"scan_id": image.ids[:-1], "predicted": 1}), image.folder / "predictions.tsv")
    with pytest.raises(HeatproofError, match=r"predictions\.tsv: s5"):
        image.score()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_without_controls_every_scan_with_a_lesion_is_scored_against_it_and_all_count(tmp_path: Path, n_axes: int):
    study = Study(tmp_path, n_axes)
    with h5py.File(tmp_path / "cohort.h5", "r+") as file:
        file.attrs["has_controls"] = False
        # A lesion in a scan of class 0; one scan of class 1 has none.
        file["truths"][0], file["truths"][1] = study.effects[3], 0
    study.truths = {"lesions": study.truth("injected"), "atlas": study.truth("atlas")}
    spec = settings()
    spec |= {"populations": ["all", "patients", "controls", "true_positives"]}
    spec["nulls"]["populations"] = ["controls", "patients"]
    files = study.score(**spec)
    scores = pd.read_parquet(files["scores"])
    scans = scores[scores["level"] == "scan"]
    assert set(scans.loc[scans["truth"] == "lesions", "scan_id"]) == {"s0", "s3", "s4", "s5"}
    # A map for all says where diseases show, and every class is a disease.
    assert set(scans.loc[scans["truth"] == "atlas", "scan_id"]) == set(study.ids)
    space = Space.of(study.mask, study.mask)
    expected = auroc(RankedMap.of(np.abs(study.maps[0]), space), Truth.of(study.effects[3] > 0, space))
    found = value(scans, scan_id="s0", truth="lesions", metric="auroc", smoothing_mm=0)
    assert found == pytest.approx(expected)
    with h5py.File(files["means"]) as means:
        assert {name: int(means[name].attrs["n_scans"]) for name in means} == {
            "all": 6, "patients": 6, "controls": 0, "true_positives": sum(map(int.__eq__, TARGET, PREDICTED)),
        }  # fmt: skip
    pooled = study.pool([files["means"]], **spec)
    assert set(pd.read_parquet(pooled.nulls)["population"]) == {"patients"}
    assert "controls" not in set(pd.read_parquet(pooled.scores)["population"])


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_each_patient_is_scored_against_the_size_of_its_own_log_jacobian(tmp_path: Path, n_axes: int):
    study = Study(tmp_path, n_axes)
    gained = [np.roll(effect, 2, axis=0) * (-1) ** i for i, effect in enumerate(study.effects)]
    with h5py.File(tmp_path / "cohort.h5", "r+") as file:
        file[f"output_truths/{LOG_JACOBIAN}"] = np.array(gained, dtype=np.float32)
    study.truths = {"injected": study.truth("injected"), "contraction": study.truth("contraction")}
    scores = pd.read_parquet(study.score()["scores"])
    scans = scores[scores["level"] == "scan"]
    assert set(scans.loc[scans["truth"] == "contraction", "scan_id"]) == {f"s{i}" for i in range(6) if TARGET[i]}
    space = Space.of(study.mask, study.mask)
    for i in (3, 4):
        ranked = RankedMap.of(np.abs(study.maps[i]), space)
        expected = auroc(ranked, Truth.of_effect(gained[i], space, settings()["truth_share"]))
        found = value(scans, scan_id=f"s{i}", truth="contraction", metric="auroc", smoothing_mm=0)
        assert found == pytest.approx(expected)


LEADS = ("I", "II", "V5")


class Signals:
    """Two recordings of three leads, with the exact effect of two outputs in each."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(5)
        self.folder, self.grid = folder, Grid((40,), None, (2.0,), "ms")
        source = Source(
            self.grid, [], classes=("recording",), has_controls=False, mask=np.ones(40, bool), channel_names=LEADS,
            outputs={"pr": "ms", "r_v5": "mV"}, label_names={1: "I p", 18: "V5 tp"},
        )  # fmt: skip
        self.effects = {name: np.zeros((2, 3, 40), np.float32) for name in source.outputs}
        self.effects["pr"][:, :, 5:9] = [[[-2], [1], [1]], [[1], [1], [-3]]]
        self.effects["r_v5"][:, 2, 15:18] = 1
        labels = np.full((3, 40), 18)
        labels[0, 5:9] = 1
        with CohortWriter(folder / "cohort.h5", folder / "participants.tsv", source, channels=3) as writer:
            for i in range(2):
                row = {"scan_id": f"s{i}", "participant_id": f"p{i}", "target": 0, "diagnosis": "recording"}
                truths = {name: values[i] for name, values in self.effects.items()}
                writer.add(row, RawScan(random.normal(size=(3, 40)), self.grid, labels=labels, truths=truths))
        write_table(pd.DataFrame({"scan_id": ["s0", "s1"], "predicted": [0, 0]}), folder / "predictions.tsv")
        with Cohort(folder / "cohort.h5") as store:
            context = Context(
                self.grid, store.mask, 1, "counterfactual", lambda path, field: folder, outputs=tuple(source.outputs),
                output_truths=lambda name: iter(self.effects[name]), truth_kind="counterfactual",
            )  # fmt: skip
        truth = build_truth({"source": "counterfactual", "mask_share": 0.05}, context)
        write_truth(truth, self.grid, folder / "counterfactual.h5")

    def score(self, maps: np.ndarray, output: str) -> dict[str, Path]:
        with h5py.File(self.folder / "maps.h5", "w") as file:
            file["maps"], file.attrs["output"] = maps, output
            file["scan_ids"] = np.array(["s0", "s1"], dtype=h5py.string_dtype())
        out = {name: self.folder / name for name in ("scores", "areas", "means")}
        inputs = [self.folder / name for name in ("maps.h5", "cohort.h5", "participants.tsv", "predictions.tsv")]
        spec = settings(names=["average_precision", "signed_cosine", "time_distance", "lead_accuracy"])
        truths = {"counterfactual": self.folder / "counterfactual.h5"}
        score(*inputs, truths, spec, Origin("ecg", "pr", "corrected", "ig", fold=0, seed=1), ScoreFiles(**out))
        return out


@pytest.fixture
def signals(tmp_path: Path) -> Signals:
    return Signals(tmp_path)


def test_a_signal_is_scored_lead_by_lead_against_the_truth_of_the_network_s_own_output(signals: Signals):
    for output, other in (("pr", "r_v5"), ("r_v5", "pr")):
        table = pd.read_parquet(signals.score(signals.effects[output], output)["scores"])
        scans = table[(table["level"] == "scan") & (table["smoothing_mm"] == 0)]
        assert set(scans["truth"]) - {""} == {"counterfactual"}
        perfect = scans.groupby("metric")["value"].agg(["min", "max"])
        assert (perfect.loc[["average_precision", "signed_cosine"], "min"] > 1 - 1e-6).all()
        assert perfect.loc["time_distance", "max"] == pytest.approx(0, abs=1e-6)
        wrong = pd.read_parquet(signals.score(signals.effects[other], output)["scores"])
        wrong = wrong[(wrong["level"] == "scan") & (wrong["metric"] == "average_precision")]
        assert (wrong["value"] < 0.2).all(), "the effect of another output is not what this network predicts"


def test_the_sign_of_a_map_counts_where_the_truth_has_one(signals: Signals):
    table = pd.read_parquet(signals.score(-signals.effects["pr"], "pr")["scores"])
    scans = table[(table["level"] == "scan") & (table["smoothing_mm"] == 0)].groupby("metric")["value"].mean()
    assert scans["signed_cosine"] == pytest.approx(-1)
    assert scans["average_precision"] == pytest.approx(1), "where the relevance lies is right"


def test_relevance_is_summed_by_wave_and_lead(signals: Signals):
    table = pd.read_parquet(signals.score(signals.effects["pr"], "pr")["areas"]).set_index(["scan_id", "name"])
    assert table.loc[("s0", "I p"), "sum"] == pytest.approx(-8)
    assert table.loc[("s0", "I p"), "n_voxels"] == 4 and table.loc[("s0", "V5 tp"), "n_voxels"] == 116


def test_a_map_with_one_row_for_all_leads_stands_for_each_of_them(signals: Signals):
    shared = np.abs(signals.effects["pr"]).max(axis=1, keepdims=True)
    table = pd.read_parquet(signals.score(shared, "pr")["scores"])
    scans = table[(table["level"] == "scan") & (table["smoothing_mm"] == 0)]
    assert (scans.loc[scans["metric"] == "average_precision", "value"] > 0.9).all()
