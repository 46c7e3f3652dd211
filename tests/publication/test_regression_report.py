"""Tables and report of networks that predict numbers: certificates, R2, and metrics beside the truth of each number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from heatproof.figures.style import label
from heatproof.files import read_table, write_parquet, write_table
from heatproof.publication.summary import summarise
from heatproof.publication.tables import CERTIFICATE_COLUMNS, certified, with_certificates
from heatproof.stages.runs import read_text_table
from publication import synthetic_study as synthetic
from publication.synthetic_report import make_report

# Two networks pass their certificate in every fold, the third fails it in one.
MODELS = ("pr", "qt", "r_v5")
FAILS = {("r_v5", 1)}
SETTINGS = ("published 25", "corrected noise 25 points")
FIGURES = ("ranking", "confusion", "estimates")


@dataclass(frozen=True)
class Finished:
    study: synthetic.Study
    tables: dict[str, pd.DataFrame]
    page: str


def certificate(model: str, fold: int) -> pd.DataFrame:
    """The certificate of one run: a share of variance, a deviation without a bar, and a leak."""
    leak = 0.3 if (model, fold) in FAILS else 0.01
    checks = [("r2", 0.97, 0.95, np.nan, "true"), ("mae", 4.0, np.nan, np.nan, ""),
              ("leakage:heart_rate", leak, -0.05, 0.05, "false" if leak > 0.05 else "true")]  # fmt: skip
    rows = [
        {"output": model, "unit": "ms", "part": "test", "n": 8, "check": check, "value": value, "ci_low": value - 0.1,
         "ci_high": value + 0.1, "least": least, "most": most, "passes": passes}
        for check, value, least, most, passes in checks
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(CERTIFICATE_COLUMNS))


def make_numbers(study: synthetic.Study) -> None:
    """Turn the classes of a synthetic study into numbers, its effects into counterfactuals."""
    folder, random = study.folder, np.random.default_rng(5)
    for model in study.models:
        for fold in range(study.folds):
            run = folder / model / f"fold-{fold}_seed-0"
            frame = read_table(run / "predictions.tsv")
            numbers = pd.Series(160 + 20 * np.sin(np.arange(len(frame))), index=frame.index)
            kept = [name for name in frame if not name.startswith(("logit_", "probability_"))]
            noise = random.normal(0, 3, len(frame))
            write_table(frame[kept].assign(output=model, measured=numbers, estimate=numbers + noise),
                        run / "predictions.tsv")  # fmt: skip
            write_table(certificate(model, fold), run / "certificate.tsv")
    scores = pd.read_parquet(folder / "scores.parquet")
    scores["truth"] = scores["truth"].replace("injected", "counterfactual")
    # For qt the best and the worst change places.
    swapped = scores["method"].replace({"lrp": "saliency", "saliency": "lrp"})
    scores["method"] = scores["method"].where(scores["model"] != "qt", swapped)
    write_parquet(scores, folder / "scores.parquet")
    probes = pd.read_parquet(folder / "probes.parquet").query("metric == 'aic'").assign(metric="perturbation")
    write_parquet(pd.concat([probes.assign(setting=setting) for setting in SETTINGS]), folder / "probes.parquet")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    models = dict.fromkeys(MODELS, "corrected")
    study = synthetic.Study(tmp_path_factory.mktemp("numbers") / "demo", models=models, smoothing=(0.0,), accuracy=1.0)
    synthetic.write(study)
    make_numbers(study)
    paths = synthetic.write_tables(study)
    drawn = synthetic.write_figures(study, paths, names=FIGURES)
    page = make_report(study, paths, [path for files in drawn.values() for path in files])
    return Finished(study, {name: read_text_table(path) for name, path in paths.items()}, page)


def test_the_certificates_of_all_runs_are_one_table(finished: Finished) -> None:
    table = finished.tables["certificates"]
    assert list(table.columns) == ["model", "recipe", "fold", "seed", *CERTIFICATE_COLUMNS]
    assert len(table) == len(MODELS) * 3 * 3 and set(table["recipe"]) == {"corrected"}
    leaks = table[table["check"] == "leakage:heart_rate"].set_index(["model", "fold"])
    assert {key for key, row in leaks.iterrows() if str(row["passes"]).lower() == "false"} == FAILS
    assert leaks.loc[("r_v5", 1), "value"] == 0.3
    assert certified(pd.DataFrame()).columns.tolist() == list(table.columns), "classifiers have no rows"


def test_every_rank_says_whether_its_network_is_certified(finished: Finished) -> None:
    ranking = finished.tables["ranking"]
    assert ranking.groupby("model")["certified"].unique().map(list).to_dict() == {
        "pr": ["yes"],
        "qt": ["yes"],
        "r_v5": ["no"],
    }


def test_a_network_is_certified_by_checks_with_a_bar_only_and_a_classifier_not_at_all() -> None:
    ranking = pd.DataFrame({"model": ["pr", "wang_b", "r_v5", "mae"]})
    runs = [certificate("pr", 0), certificate("r_v5", 0), certificate("r_v5", 1)]
    only = certificate("pr", 0).query("check == 'mae'").assign(model="mae")
    rows = pd.concat([*(run.assign(model=run["output"]) for run in runs), only], ignore_index=True)
    found = with_certificates(ranking, certified(rows))
    assert found["certified"].tolist() == ["yes", "", "no", ""]
    assert with_certificates(ranking, certified(pd.DataFrame()))["certified"].tolist() == [""] * 4
    # Read back from a file, true and false are no longer text.
    typed = certified(rows).replace({"passes": {"true": True, "false": False}})
    assert with_certificates(ranking, typed)["certified"].tolist() == ["yes", "", "no", ""]


def first_screen(page: str) -> str:
    """The text before the figures and tables, without tags."""
    screen = page[page.index("<body") : page.index("<img")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", screen))


def test_the_first_screen_says_how_well_numbers_are_predicted_and_who_is_not_certified(finished: Finished) -> None:
    text = first_screen(finished.page)
    performance = finished.tables["performance"].query("part == 'test' and fold == -1 and metric == 'r2'")
    for row in performance.itertuples():
        assert f"R² {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]" in text
        assert row.value > 0.9
    assert "balanced accuracy" not in text
    assert text.count("fails its certificate (leakage:heart_rate 0.30)") == 1
    assert "what changes in each scan when the number that the network predicts is changed" in text


def test_the_uncertified_network_is_named_before_everything_else(finished: Finished) -> None:
    def warned(certificates: pd.DataFrame) -> list[str]:
        found = summarise(
            {**finished.tables, "certificates": certificates}, read_text_table(finished.study.folder / "leakage.tsv"),
            models=synthetic.models_of(finished.study), methods={},
        )  # fmt: skip
        return [warning.text for warning in found.grave if "certificate" in warning.text]

    table = finished.tables["certificates"]
    (text,) = warned(table)
    assert text.split(" fails")[0] == label("r_v5")
    assert "leakage:heart_rate" in text and "r2" not in text and "mae" not in text
    assert warned(table[table["model"] != "r_v5"]) == []


def test_the_report_leaves_out_what_was_not_drawn(finished: Finished) -> None:
    titles = re.findall(r'alt="Figure: (.*?)\. Its numbers', finished.page)
    assert len(titles) == 2
    drawing = (finished.study.folder / "figures/confusion.svg").read_text(encoding="utf-8")
    assert "<svg" in drawing, "it is drawn all the same, for who asks for it"


def test_each_metric_stands_beside_the_truth_of_its_number(finished: Finished) -> None:
    table = finished.tables["truth_agreement"].set_index(["model", "setting"])
    assert set(table.index) == {(model, setting) for model in MODELS for setting in SETTINGS}
    assert set(table["truth"]) == {"counterfactual"}
    probes = pd.read_parquet(finished.study.folder / "probes.parquet").query("null == '' and method != 'exact_truth'")
    scores = pd.read_parquet(finished.study.folder / "scores.parquet")
    scores = scores.query("level == 'scan' and metric == 'average_precision' and truth == 'counterfactual'")
    for key, row in table.iterrows():
        model, setting = key
        asked = probes[(probes["model"] == model) & (probes["setting"] == setting)]
        own = scores[(scores["model"] == model) & scores["scan_id"].isin(asked["scan_id"])]
        means = [
            part.groupby(["method", "participant_id", "scan_id"])["value"].mean().groupby(["method", "participant_id"])
            .mean().groupby("method").mean()
            for part in (asked, own)
        ]  # fmt: skip
        pair = means[0].align(means[1], join="inner")
        assert float(row["rho"]) == pytest.approx(spearmanr(*pair).statistic)
        assert float(row["tau"]) == pytest.approx(kendalltau(*pair).statistic)
    # The metric knows nothing of the number, and the truth of qt puts the methods in another order.
    assert (table.loc["pr", "tau_methods"].astype(float) > table.loc["qt", "tau_methods"].astype(float)).all()


def test_claims_about_several_numbers_are_judged(finished: Finished) -> None:
    claims = finished.tables["claims"].set_index(["claim", "recipe"])
    assert {(f"E{n}", recipe) for n in range(1, 5) for recipe in ("as_published", "corrected")} <= set(claims.index)
    assert claims.loc[("E1", "corrected"), "verdict"] == "supported"
    # The network without a certificate is no target.
    assert claims.loc[("E1", "corrected"), "effect"].startswith("first: lrp on pr; saliency on qt; surely on pr, qt;")


def test_the_same_numbers_make_the_same_tables(finished: Finished, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (finished.study.folder / "tables").glob("*.tsv")}
    after = synthetic.write_tables(finished.study)
    assert {path.name: path.read_bytes() for path in after.values()} == before
