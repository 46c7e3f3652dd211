"""A study of images from scans to report: masks as truth, every probe, a leak that is measured, no controls."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_workflow import ROOT, snakemake

CONFIG = Path(__file__).with_name("minimal_2d.yaml")
ASKED = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["studies"]["slices"]["probes"]["metrics"]
PARTS = {
    "road": {"road", "road_morf", "road_lerf"},
    "f_fidelity": {"f_fidelity", "f_fidelity_plus", "f_fidelity_minus"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("images")
    done = snakemake(directory, CONFIG)
    assert done.returncode == 0, done.stderr[-3000:]
    return directory / "results/slices"


def table(study: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(study / f"tables/{name}.tsv", sep="\t", keep_default_na=False, na_values=["n/a"])


@pytest.mark.slow
def test_every_question_of_the_config_is_answered(study: Path) -> None:
    probes = pd.read_parquet(study / "probes.parquet")
    expected = set().union(*(PARTS.get(name, {name}) for name in ASKED))
    assert set(probes["metric"]) == expected
    assert set(table(study, "faithfulness")["metric"]) == expected
    assert {"nd push_pull information", "nd push_pull fraction", "pair mean unchecked"} <= set(probes["setting"])
    assert set(probes.loc[probes["metric"] == "retraining_agreement", "setting"]) == {"between seeds", "between folds"}


@pytest.mark.slow
def test_all_methods_of_a_run_answer_for_the_same_scans(study: Path) -> None:
    probes = pd.read_parquet(study / "probes.parquet")
    curves = probes[probes["metric"].isin(["aic", "sic", "road"]) & (probes["null"] == "")]
    for _, rows in curves.groupby(["model", "fold", "seed", "metric", "setting"]):
        answered = rows.pivot(index="scan_id", columns="method", values="value").notna()
        assert (answered.all(axis=1) | ~answered.any(axis=1)).all()


@pytest.mark.slow
def test_our_curves_pass_the_test_with_constant_networks_and_the_published_ones_do_not(study: Path) -> None:
    sanity = table(study, "sanity")
    constant = sanity[sanity["check"].str.startswith("constant")]
    passed = constant.groupby("setting")["passed"].apply(lambda values: values.astype(str).eq("True").all())
    assert not passed["pair mean unchecked"]
    assert passed.drop("pair mean unchecked").all()


@pytest.mark.slow
def test_each_slice_is_scored_against_its_own_lesion(study: Path) -> None:
    ranking = table(study, "ranking")
    own = ranking[(ranking["level"] == "scan") & (ranking["truth"] == "lesions")]
    assert set(own["method"]) == {"saliency", "gradcam", "centre_prior", "random_noise", "edges"}
    scores = pd.read_parquet(study / "scores.parquet")
    scans = scores[(scores["level"] == "scan") & (scores["truth"] == "lesions")]
    assert set(scans["diagnosis"]) == {"solid", "ring", "speckled"}


@pytest.mark.slow
def test_slices_and_pixels_of_test_people_leak_as_published_only(study: Path) -> None:
    leakage = pd.read_csv(study / "leakage.tsv", sep="\t")
    failed = leakage[leakage["passed"].astype(str) == "False"]
    assert set(failed["recipe"]) == {"as_published"}
    assert {"participant train-test", "normalisation fitted on test scans"} <= set(failed["check"])


@pytest.mark.slow
def test_the_report_says_which_control_is_the_reference_and_which_metric_failed(study: Path) -> None:
    page = (study.parent / "report.html").read_text(encoding="utf-8")
    assert "centre prior" in page and "anatomical prior" not in page.split('id="glossary"')[0]
    assert "failed a test of their own" in page and "pair mean unchecked" in page
    assert "36 patients" in page


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(study: Path) -> None:
    done = snakemake(study.parents[1], CONFIG)
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["tumour_slices", "chest_tiles"])
def test_a_config_for_real_images_without_the_images_says_what_is_missing(tmp_path: Path, name: str) -> None:
    done = snakemake(tmp_path, ROOT / f"config/{name}.yaml", f"results/{name}/cohort.h5")
    assert done.returncode != 0
    assert "Remedy" in done.stderr + done.stdout
