"""A study of electrocardiograms from beats to report: a network per number, truth per number, experts who rate."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_workflow import snakemake

from heatproof.cohorts.waves import WAVES
from heatproof.figures.style import ABSENT
from heatproof.publication.rating_answers import ANSWER_COLUMNS
from heatproof.stages.runs import read_text_table
from rated_study import LEADS

CONFIG = Path(__file__).with_name("minimal_ecg.yaml")
STUDY = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["studies"]["beats"]
TARGETS = set(STUDY["models"])
METHODS = set(STUDY["methods"])
# What a study of signals has something to draw for.
DRAWN = {
    "ranking", "faithfulness", "metric_agreement", "areas", "training", "estimates", "ecg", "ecg_grid", "ecg_lead",
    "waves", "perturbation",
}  # fmt: skip
# Needs classes, controls, volumes, scans that are aligned to one another, or a second recipe.
NOT_DRAWN = {"information_curves", "gallery", "gain", "confusion", "volume_relevance", "nulls", "recipes"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("beats")
    # Together, because maps are temporary: the kit draws them before they go.
    done = snakemake(directory, CONFIG, "all", "rating_kit")
    assert done.returncode == 0, done.stderr[-3000:]
    return directory / "results/beats"


def table(study: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(study / f"tables/{name}.tsv", sep="\t", keep_default_na=False, na_values=["n/a"])


@pytest.mark.slow
def test_each_network_has_its_certificate_and_every_rank_says_so(study: Path) -> None:
    certificates = table(study, "certificates")
    assert set(certificates["model"]) == TARGETS == set(certificates["output"])
    assert np.isfinite(certificates["value"]).all()
    for model, rows in certificates.groupby("model"):
        others = {"heart_rate", "pr", "qrs", "qt", "r_v5", "t_v5", "j_v5"} - {model}
        leakage = {check.split(":")[1] for check in rows["check"] if check.startswith("leakage:")}
        assert leakage == others
        assert {"r2", "mae", "slope"} <= set(rows["check"])
    passes = certificates["passes"].astype(str)
    assert not (passes == "False").any(), certificates.loc[passes == "False", ["model", "check", "value"]]
    ranking = table(study, "ranking")
    assert (ranking["certified"] == "yes").all()
    for model in TARGETS:
        beside = pd.read_csv(study / f"{model}/fold-0_seed-1/certificate.tsv", sep="\t", na_values=["n/a"])
        own = certificates[certificates["model"] == model].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[["check", "value"]], beside[["check", "value"]])


@pytest.mark.slow
def test_networks_have_learned_to_measure_scans_that_they_have_not_seen(study: Path) -> None:
    performance = table(study, "performance").query("part == 'test' and fold == -1").set_index(["model", "metric"])
    assert (performance["n_scans"] == 24).all()
    assert set(performance.index.get_level_values("metric")) == {"r2", "mean_absolute_error", "bias", "slope"}
    assert (performance["value"].xs("r2", level="metric") > 0.95).all()


@pytest.mark.slow
def test_every_method_is_ranked_against_the_truth_of_each_number(study: Path) -> None:
    ranking = table(study, "ranking")
    scans = ranking[(ranking["level"] == "scan") & (ranking["truth"] == "counterfactual")]
    assert set(scans["metric"]) == set(STUDY["metrics"]["names"])
    assert (scans.groupby("model")["method"].unique().map(set) == METHODS).all()
    assert np.isfinite(scans["mean"]).all()
    # Nothing is known beforehand of where to look, so that methods are held against the size of the scan itself.
    assert set(scans.loc[~scans["is_control"], "beats_prior"]) <= {"yes", "no", "undecided"}
    # A network that measures R in V5 is explained there, noise anywhere.
    found = scans.query("model == 'r_v5' and metric == 'average_precision'").groupby("method")["mean"].mean()
    assert found["integrated_gradients"] > 3 * found["random_noise"]


@pytest.mark.slow
def test_mass_is_counted_by_wave_and_lead(study: Path) -> None:
    areas = pd.read_parquet(study / "areas.parquet")
    assert set(areas["name"]) == {f"{lead} {wave}" for lead in LEADS for wave in WAVES}
    own = areas[(areas["model"] == "r_v5") & (areas["method"] == "integrated_gradients")]
    assert (areas["mass"] >= areas["sum"].abs() * (1 - 1e-6)).all()
    mass = own.pivot(index="scan_id", columns="name", values="mass")
    share = mass["V5 qrs"] / mass.sum(axis=1)
    assert (mass.idxmax(axis=1) == "V5 qrs").all() and share.mean() > 1 / 3
    assert set(table(study, "area_relevance")["name"]) == set(areas["name"])


@pytest.mark.slow
def test_metrics_without_truth_are_held_against_it(study: Path) -> None:
    agreement = table(study, "truth_agreement")
    assert set(zip(agreement["model"], agreement["truth"], strict=True)) == {(m, "counterfactual") for m in TARGETS}
    settings = set(agreement.loc[agreement["metric"] == "perturbation", "setting"])
    assert {"published 25", "corrected noise 25 points", "corrected mean 1 %", "corrected waves by mean"} <= settings
    assert {"turbe_top", "turbe_bottom", "turbe_f"} <= set(agreement["metric"])
    assert agreement["rho"].between(-1, 1).all() and (agreement["rho_low"] <= agreement["rho_high"]).all()
    assert np.isfinite(agreement[["tau_methods", "rho_scans", "exact_rank", "nulls_beaten"]]).all(axis=None)
    probes = pd.read_parquet(study / "probes.parquet")
    assert np.isfinite(probes.loc[probes["metric"] == "perturbation", "value"]).all()


@pytest.mark.slow
def test_the_claims_of_the_paper_are_judged_under_both_recipes(study: Path) -> None:
    claims = table(study, "claims").set_index(["claim", "recipe"])
    assert set(claims.index) == {(f"E{n}", recipe) for n in range(1, 5) for recipe in ("as_published", "corrected")}
    for claim in ("E1", "E2", "E4"):
        assert (claims.loc[claim, "verdict"] != "not testable here").all(), claim
    assert claims["effect"].str.len().gt(0).all()


@pytest.mark.slow
def test_the_report_shows_what_was_drawn_and_nothing_else(study: Path) -> None:
    drawings = {path.stem: path.read_text(encoding="utf-8") for path in (study / "figures").glob("*.svg")}
    drawn = {name for name, svg in drawings.items() if f'id="{ABSENT}"' not in svg}
    assert drawn >= DRAWN
    assert set(drawings) - drawn >= NOT_DRAWN
    page = (study.parent / "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<img[^>]+alt=\"Figure: ", page)) == len(drawn)
    assert len(re.findall(r"R² [01]\.\d\d \[", page)) == len(TARGETS)
    assert "fails its certificate" not in page
    assert "what changes in each scan when the number that the network predicts is changed" in page


@pytest.mark.slow
def test_maps_are_gone_when_everything_that_reads_them_is_done(study: Path) -> None:
    assert list(study.rglob("maps.h5")) == []
    assert len(list(study.rglob("means.h5"))) == len(TARGETS) * len(METHODS)


@pytest.mark.slow
def test_experts_rate_without_knowing_whose_maps_they_are_and_are_read_back(study: Path) -> None:
    kit = study.parent / "rating_kit/beats"
    page = (kit / "rating.html").read_text(encoding="utf-8")
    key = read_text_table(study / "rating/key.tsv")
    rated = STUDY["rating"]["methods"]
    assert set(key["method"]) == set(rated)
    assert not any(method in page for method in rated)
    # Three scans of two networks, one of them twice.
    assert key["item"].nunique() == 7
    worst_first = ["random_noise", "saliency", "integrated_gradients"]
    answers = key.assign(rater="Ada", rating=key["method"].map(worst_first.index) + 2, seconds=2.5, comment="")
    (kit / "answers").mkdir()
    answers[list(ANSWER_COLUMNS)].to_csv(kit / "answers/ada.csv", index=False)
    done = snakemake(study.parents[1], CONFIG, "ratings")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rule attribute" not in done.stderr
    methods = read_text_table(study / "rating/methods.tsv")
    means = methods[methods["model"] == "r_v5"].set_index("method")["mean"]
    assert means.to_dict() == {"random_noise": 2, "saliency": 3, "integrated_gradients": 4}
    beside = read_text_table(study / "rating/expert_metrics.tsv")
    assert {"average_precision", "perturbation"} <= set(beside["metric"])
    agreement = read_text_table(study / "rating/agreement.tsv")
    own = agreement.query("statistic == 'weighted_kappa_repeats' and model == '(all)'")["value"].astype(float)
    assert own.tolist() == [pytest.approx(1)]


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(study: Path) -> None:
    done = snakemake(study.parents[1], CONFIG)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
def test_snakemake_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    done = snakemake(tmp_path, CONFIG, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good condition" in done.stdout + done.stderr
