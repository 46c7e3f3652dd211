"""The stages of the expert kit: what is drawn for raters, which key opens it, and what their answers become."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from heatproof import configuration
from heatproof.errors import ConfigError, HeatproofError
from heatproof.figures.maps import Slice
from heatproof.figures.rating import draw_rated, png_of, shared_cuts
from heatproof.files import write_parquet
from heatproof.geometry import Grid
from heatproof.publication.rating_answers import ANSWER_COLUMNS
from heatproof.publication.rating_plan import measuring
from heatproof.rating import rated_methods, rated_models
from heatproof.stages.rating_kit import draw_kit
from heatproof.stages.ratings import RatingTables, read_ratings
from heatproof.stages.runs import read_text_table
from rated_study import METHODS, OUTPUTS, kit_job, write_study

ROOT = Path(__file__).resolve().parents[2]


class Drawings:
    """Stands in for the figures: keeps what it was asked to draw."""

    def __init__(self) -> None:
        self.calls: list[tuple[np.ndarray, np.ndarray | None, tuple[str, ...], tuple[Slice, ...]]] = []

    def __call__(self, image, heatmap, grid, *, leads, cuts):  # type: ignore[no-untyped-def]
        from matplotlib.figure import Figure

        self.calls.append((image, heatmap, leads, cuts))
        return Figure(figsize=(0.02, 0.02))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_study(tmp_path_factory.mktemp("study"), (60,))


def drawn(study: dict, folder: Path, **changes: object) -> tuple[pd.DataFrame, str, Drawings]:
    """Draw a kit into a folder; returns key, page and what was drawn."""
    files = {**study, "page": folder / "rating.html", "key": folder / "key.tsv"}
    drawings = Drawings()
    draw_kit(kit_job(**changes), **files, draw=drawings)
    return read_text_table(files["key"]), files["page"].read_text(encoding="utf-8"), drawings


class TestDrawingAKit:
    def test_every_item_has_every_method_once_and_people_come_before_their_rescans(
        self, study: dict, tmp_path: Path
    ) -> None:
        key, _, _ = drawn(study, tmp_path, n_scans=7, n_repeats=2)
        assert key["item"].nunique() == 16
        for _, item in key.groupby("item"):
            assert sorted(item["method"]) == sorted(METHODS)
            assert item["panel"].tolist() == list("ABCDEFGHI")
            assert item["scan_id"].nunique() == item["model"].nunique() == 1
        once = key[key["repeats"] == 0]
        # Seven scans of seven people, although one of them was scanned twice; the same for both models.
        for model in OUTPUTS:
            assert once.loc[once["model"] == model, "participant_id"].nunique() == 7
        assert once.groupby("model")["scan_id"].unique().map(sorted).map(tuple).nunique() == 1
        again = key[key["repeats"] > 0]
        assert again["item"].nunique() == 2

    def test_more_scans_than_there_are_take_all(self, study: dict, tmp_path: Path) -> None:
        key, _, _ = drawn(study, tmp_path, n_scans=50, n_repeats=0)
        assert key.groupby("model")["scan_id"].nunique().tolist() == [8, 8]

    def test_pictures_are_those_of_the_key(self, study: dict, tmp_path: Path) -> None:
        """The stage draws each pair once; what it draws is the scan in mV and the map spread over its leads."""
        key, _, drawings = drawn(study, tmp_path, n_scans=2, n_repeats=1)
        pairs = key[key["repeats"] == 0].drop_duplicates("item")
        assert len(drawings.calls) == len(pairs) * (1 + len(METHODS))
        with h5py.File(study["cohort"]) as cohort:
            scans = dict(zip(cohort["scan_ids"].asstr()[:], cohort["scans"][:], strict=True))
        for number, row in enumerate(pairs.itertuples()):
            calls = drawings.calls[number * (1 + len(METHODS)) :]
            np.testing.assert_array_equal(calls[0][0], scans[row.scan_id])
            assert calls[0][1] is None
            for call, method in zip(calls[1:], sorted(METHODS), strict=False):
                with h5py.File(study["maps"][row.model][method]) as file:
                    place = file["scan_ids"].asstr()[:].tolist().index(row.scan_id)
                    expected = np.broadcast_to(file["maps"][place], (12, 60))
                np.testing.assert_array_equal(call[1], expected)
                assert call[2][0] == "I"

    def test_the_page_shows_pictures_in_the_order_of_the_key(self, study: dict, tmp_path: Path) -> None:
        import base64
        import json
        import re

        files = {**study, "page": tmp_path / "rating.html", "key": tmp_path / "key.tsv"}
        calls = []

        def tell(image, heatmap, grid, **unused):  # type: ignore[no-untyped-def]
            """A picture as wide as the number of pictures drawn so far."""
            from matplotlib.figure import Figure

            calls.append(heatmap)
            return Figure(figsize=((len(calls) + 1) / 180, 1 / 180))

        draw_kit(kit_job(n_scans=2, n_repeats=1), **files, draw=tell)
        key = read_text_table(files["key"])
        page = files["page"].read_text(encoding="utf-8")
        order: dict[tuple[str, str], int] = {}
        for number, (item, own) in enumerate(key.groupby("item")):
            found = json.loads(re.search(rf'id="pictures-{item}">(.*?)</script>', page)[1])
            widths = [
                int.from_bytes(base64.b64decode(source.split(",")[1])[16:20], "big") - 2
                for source in (found["scan"], *found["panels"])
            ]
            start = order.setdefault((own["model"].iloc[0], own["scan_id"].iloc[0]), len(order) * 10)
            assert widths == [start, *(start + 1 + sorted(METHODS).index(method) for method in own["method"])], number

    def test_the_same_seed_is_the_same_kit_and_another_is_another(self, study: dict, tmp_path: Path) -> None:
        first, page, _ = drawn(study, tmp_path / "one")
        again, same, _ = drawn(study, tmp_path / "two")
        pd.testing.assert_frame_equal(first, again)
        assert page == same
        other, _, _ = drawn(study, tmp_path / "three", scale=["bad", "good"])
        assert other["kit_id"][0] != first["kit_id"][0]

    def test_other_maps_are_another_kit(self, tmp_path: Path) -> None:
        study = write_study(tmp_path / "study", (20,))
        before, _, _ = drawn(study, tmp_path)
        with h5py.File(study["maps"]["interval"]["gradcam"], "r+") as file:
            file["maps"][:] = file["maps"][:] * 1.001
        after, _, _ = drawn(study, tmp_path)
        assert (before["kit_id"] != after["kit_id"]).all()
        assert before.drop(columns="kit_id").equals(after.drop(columns="kit_id"))

    def test_the_task_is_the_output_the_class_or_what_the_config_says(self, study: dict, tmp_path: Path) -> None:
        _, page, _ = drawn(study, tmp_path / "signals", tasks={"amplitude": "judge the voltage"})
        assert "measure the PR interval" in page
        assert "judge the voltage" in page
        assert measuring("r_v5") == "measure the amplitude of the R wave in V5"
        assert measuring("ejection_fraction") == "measure Ejection fraction"
        images = write_study(tmp_path / "images", (6, 5))
        assert "recognise AD" in drawn(images, tmp_path / "images")[1]

    def test_scans_that_a_method_lacks_are_not_rated_and_none_is_an_error(self, tmp_path: Path) -> None:
        study = write_study(tmp_path / "study", (20,))
        with h5py.File(study["maps"]["interval"]["gradcam"], "r+") as file:
            del file["scan_ids"]
            file["scan_ids"] = np.array([f"scan{n}-0" if n < 3 else f"other{n}" for n in range(8)], dtype=object)
        key, _, _ = drawn(study, tmp_path, n_scans=8)
        own = key[key["model"] == "interval"]
        assert set(own["scan_id"]) == {"scan0-0", "scan1-0", "scan2-0"}
        with h5py.File(study["maps"]["interval"]["gradcam"], "r+") as file:
            file["scan_ids"][:] = [f"other{n}" for n in range(8)]
        with pytest.raises(HeatproofError, match=r"interval: no scan .* all methods"):
            drawn(study, tmp_path)


class TestPictures:
    @pytest.mark.parametrize("shape", [(60,), (9, 7), (8, 9, 7)])
    def test_any_number_of_axes_is_drawn_and_only_the_magnitude_counts(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        grid = Grid(shape, np.diag([2.0, 2, 2, 1])) if len(shape) == 3 else Grid(shape, units="pixel")
        image, heatmap = random.normal(size=(2, *shape))
        cuts = shared_cuts([heatmap], grid)
        one, other, scan = (png_of(draw_rated(image, each, grid, cuts=cuts)) for each in (heatmap, -3 * heatmap, None))
        assert one == other
        assert one != scan

    def test_leads_are_drawn_on_paper(self) -> None:
        image = np.random.default_rng(0).normal(size=(3, 60)) / 4
        heatmap = np.zeros((3, 60))
        heatmap[1, 20:30] = 1
        grid = Grid((60,), None, (8.0,), "ms")
        blank, drawn_one, signed = (
            png_of(draw_rated(image, each, grid, leads=("I", "II", "V5"))) for each in (None, heatmap, -heatmap)
        )
        assert blank != drawn_one == signed

    def test_cuts_go_through_what_all_maps_together_find(self) -> None:
        grid = Grid((10, 12, 14), np.diag([2.0, 2, 2, 1]))
        one, loud = np.zeros((2, *grid.shape))
        one[3, 4, 5] = 1.0
        one[3, 4, 6] = 0.5
        loud[3, 9, 5] = 1000.0
        assert [cut.position for cut in shared_cuts([one, loud, loud], grid)] == [6.0, 18.0, 10.0]
        assert [cut.position for cut in shared_cuts([one, one, loud], grid)] == [6.0, 8.0, 10.0]
        assert shared_cuts([np.ones((3, 3))], Grid((3, 3))) == ()


def write_answers(key: pd.DataFrame, path: Path, rater: str, ratings: np.ndarray) -> None:
    table = key.assign(rater=rater, rating=ratings, seconds=2.5, comment="")
    table.loc[:, list(ANSWER_COLUMNS)].to_csv(path, index=False)


def write_scores(key: pd.DataFrame, folder: Path, values: np.ndarray) -> dict[str, Path]:
    """Write scores that follow given values and probes that run the other way round, one row per heatmap."""
    shown = key.assign(value=values.astype(float)).loc[key["repeats"] == 0]
    scores = shown.assign(level="scan", smoothing_mm=0.0, rectify="abs_before", truth="counterfactual", metric="auroc")
    probes = shown.assign(null="", metric="deletion", setting="mean")
    write_parquet(scores, folder / "scores.parquet")
    write_parquet(probes, folder / "probes.parquet")
    return {"scores": folder / "scores.parquet", "probes": folder / "probes.parquet"}


class TestReadingRatings:
    @pytest.fixture
    def key(self, study: dict, tmp_path: Path) -> pd.DataFrame:
        return drawn(study, tmp_path, n_scans=6, n_repeats=2)[0]

    def read(self, tmp_path: Path, files: dict[str, Path], answers: list[Path]) -> dict[str, pd.DataFrame]:
        names = ("ratings", "agreement", "methods", "expert_metrics")
        outputs = RatingTables(**{name: tmp_path / f"{name}.tsv" for name in names})
        read_ratings(answers, key=tmp_path / "key.tsv", outputs=outputs, seed=1, n_bootstrap=100, **files)
        return {name: read_text_table(tmp_path / f"{name}.tsv") for name in names}

    def test_two_raters_with_a_known_taste(self, key: pd.DataFrame, tmp_path: Path) -> None:
        """Ada likes methods by their place in a list and is sure of it; Ben gives one more, and the metric follows."""
        taste = key["method"].map({name: place // 2 for place, name in enumerate(METHODS)}).to_numpy()
        write_answers(key, tmp_path / "ada.csv", "Ada", np.minimum(taste + 1, 5))
        write_answers(key, tmp_path / "ben.csv", "Ben", np.minimum(taste + 2, 5))
        files = write_scores(key, tmp_path, taste)
        tables = self.read(tmp_path, files, [tmp_path / "ben.csv", tmp_path / "ada.csv"])
        assert len(tables["ratings"]) == 2 * len(key)
        agreement = tables["agreement"].set_index(["model", "statistic", "rater_a"])["value"]
        from sklearn.metrics import cohen_kappa_score

        once = taste[key["repeats"] == 0]
        expected = cohen_kappa_score(
            np.minimum(once + 1, 5), np.minimum(once + 2, 5), labels=range(1, 6), weights="quadratic"
        )
        assert agreement["(all)", "weighted_kappa", "Ada"] == pytest.approx(expected)
        assert agreement["(all)", "weighted_kappa_repeats", "Ada"] == pytest.approx(1)
        methods = tables["methods"]
        own = methods[methods["model"] == "interval"].set_index("method")
        assert own.loc[METHODS[-1], "mean"] == 5
        assert own.loc[METHODS[0], "mean"] == 1.5
        assert own.loc[METHODS[0], "n_people"] == 6
        metrics = tables["expert_metrics"].set_index(["model", "metric"])
        assert metrics.loc[("(all)", "auroc"), "rho"] == pytest.approx(1, abs=0.01)
        assert metrics.loc[("(all)", "auroc"), "tau"] == pytest.approx(1, abs=0.06)
        # Deletion is better where it is smaller, and here it is larger for what the experts like.
        assert metrics.loc[("interval", "deletion"), "rho"] == pytest.approx(-1, abs=0.01)
        assert metrics.loc[("interval", "auroc"), "rho_low"] <= metrics.loc[("interval", "auroc"), "rho"]

    def test_one_rater_is_enough_for_methods_and_metrics(self, key: pd.DataFrame, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        write_answers(key, tmp_path / "ada.csv", "Ada", random.integers(1, 6, len(key)))
        tables = self.read(tmp_path, write_scores(key, tmp_path, random.normal(size=len(key))), [tmp_path / "ada.csv"])
        agreement = tables["agreement"]
        missing = agreement[agreement["statistic"] == "icc_2_1"]
        assert missing["value"].isna().all()
        assert (missing["note"] == "needs a second rater").all()
        assert tables["methods"]["mean"].notna().all()
        assert tables["expert_metrics"]["rho"].notna().all()

    def test_answers_to_another_kit_are_refused(self, key: pd.DataFrame, tmp_path: Path) -> None:
        write_answers(key.assign(kit_id="kit-000000000000"), tmp_path / "ada.csv", "Ada", np.full(len(key), 3))
        files = write_scores(key, tmp_path, np.zeros(len(key)))
        with pytest.raises(HeatproofError, match=r"ada\.csv: line 2, kit_id: .*kit-000000000000"):
            self.read(tmp_path, files, [tmp_path / "ada.csv"])

    def test_without_a_key_or_with_a_spoilt_one_nothing_is_read(self, key: pd.DataFrame, tmp_path: Path) -> None:
        files = write_scores(key, tmp_path, np.zeros(len(key)))
        (tmp_path / "key.tsv").write_text("item\tpanel\n1\tA\n", encoding="utf-8")
        with pytest.raises(HeatproofError, match="the key has no such column"):
            self.read(tmp_path, files, [])
        (tmp_path / "key.tsv").unlink()
        with pytest.raises(HeatproofError, match=r"key\.tsv: the key of the kit does not exist.*rating_kit"):
            self.read(tmp_path, files, [])


class TestConfiguration:
    @pytest.fixture
    def config(self) -> dict:
        import yaml

        return yaml.safe_load((ROOT / "tests/workflow/minimal_2d.yaml").read_text(encoding="utf-8"))

    def test_all_models_with_something_to_compare_are_rated(self, config: dict) -> None:
        study = configuration.complete(config)["studies"]["slices"]
        assert rated_models(study) == ["wang_b", "wang_b_published"]
        assert rated_methods(study, "wang_b_published") == ["gradcam", "random_noise"]
        config["studies"]["slices"]["rating"] = {"methods": ["saliency", "gradcam"]}
        study = configuration.complete(config)["studies"]["slices"]
        assert rated_models(study) == ["wang_b"]
        assert rated_methods(study, "wang_b") == ["saliency", "gradcam"]

    @pytest.mark.parametrize(
        ("rating", "field", "words"),
        [
            ({"models": ["wang_x"]}, "rating.models", "'wang_x' is not configured"),
            ({"tasks": {"wang_x": "see"}}, "rating.tasks", "'wang_x' is not configured"),
            ({"methods": ["saliency", "lrp"]}, "rating.methods", "'lrp' is not configured"),
            ({"models": ["wang_b_published"], "methods": ["saliency", "gradcam"]}, "rating.models", "fewer than two"),
            ({"n_scans": 2, "n_repeats": 5}, "rating.n_repeats", "4 are rated"),
            ({"scale": ["only"]}, "rating.scale", "too short"),
            ({"n_scan": 2}, "rating.n_scan", "did you mean 'n_scans'"),
        ],
    )
    def test_a_wrong_section_is_refused(self, config: dict, rating: dict, field: str, words: str) -> None:
        config["studies"]["slices"]["rating"] = rating
        with pytest.raises(ConfigError, match=words) as caught:
            configuration.complete(config, "my.yaml")
        assert caught.value.field is not None
        assert caught.value.field.endswith(field)

    def test_a_study_is_not_called_like_the_target(self, config: dict) -> None:
        config["studies"]["rating_kit"] = config["studies"].pop("slices")
        with pytest.raises(ConfigError, match="name of a rule"):
            configuration.complete(config)
