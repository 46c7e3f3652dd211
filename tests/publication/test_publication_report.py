from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from heatproof.figures.catalogue import FIGURES
from heatproof.figures.style import ABSENT
from heatproof.files import read_table, write_table
from heatproof.publication.published import ALZHEIMERS, NOT_HERE, NOT_REPORTED, beside_ours
from heatproof.publication.summary import summarise
from heatproof.stages.runs import read_text_table
from publication import synthetic_study as synthetic
from publication.synthetic_report import CONFIG, make_report

HOSTILE = "<script>alert(1)</script>"
METHODS = {name: {"method": name} for name in synthetic.QUALITY}


class Page(HTMLParser):
    """Collects tags, ids, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(finished) -> Page:
    return Page(finished[2])


def summary_of(finished, **changed) -> object:
    study, paths, _ = finished
    tables = {name: read_text_table(path) for name, path in paths.items()} | changed
    leakage = read_text_table(study.folder / "leakage.tsv")
    return summarise(tables, leakage, models=synthetic.models_of(study), methods=METHODS)


def test_the_first_screen_names_winners_losers_data_and_truth(finished):
    summary = summary_of(finished)
    assert {finding.method for finding in summary.findings["yes"]} >= {"lrp", "integrated_gradients"}
    assert {finding.method for finding in summary.findings["no"]} >= {"saliency", "svm_weights"}
    judged = {finding.method for group in summary.findings.values() for finding in group}
    assert not judged & set(synthetic.MODEL_FREE)
    assert summary.view.individual
    before = finished[2].split('id="study-1"')[0]
    assert "for these trained networks" in before
    assert "worse if it lies below zero" in before
    assert "individual truth" in before
    assert "13 scans of 12 people" in before
    assert "balanced accuracy" in before


def test_a_network_at_chance_is_a_grave_warning(finished):
    table = read_text_table(finished[1]["performance"])
    weak = table.assign(low=table["low"].where(table["model"] != "svm", 0.45))
    graves = summary_of(finished, performance=weak).grave
    assert len(graves) == 1
    assert "SVM is not clearly above chance" in graves[0].text


def test_leaks_exclusions_and_missing_completeness_are_said(finished):
    text = " ".join(warning.text for warning in summary_of(finished).further)
    assert (
        "Leak found: the same people in train and validation under the recipe “as published” (n = 14, 1 of 1 folds)"
        in text
    )
    assert "1 scan did not pass the intake gate" in text
    without = read_text_table(finished[1]["residuals"])
    without = without[without["method"] != "lrp"]
    assert "No completeness residual was written for LRP" in " ".join(
        warning.text for warning in summary_of(finished, residuals=without).warnings
    )


def test_a_method_within_its_surrogates_is_said_but_a_control_is_not(finished):
    ranking = read_text_table(finished[1]["ranking"])

    def said(p_of_saliency: float) -> list[str]:
        p_values = ranking["method"].map(lambda name: {"saliency": p_of_saliency, "random_noise": 0.9}.get(name, 0.01))
        summary = summary_of(finished, ranking=ranking.assign(null_p=p_values))
        return [warning.text for warning in summary.warnings if "surrogates" in warning.text]

    assert said(0.01) == []
    assert said(0.3) == ["Group maps no closer to the truth than smooth surrogates (p of at least .05): Saliency."]
    # What was not compared is not claimed to be beyond anything.
    assert said(float("nan")) == ["Group maps not compared with surrogates by this metric: Saliency."]


def test_information_curves_of_few_people_are_said_with_the_scans_that_gave_no_answer(finished):
    faithfulness = read_text_table(finished[1]["faithfulness"])
    unanswered = read_text_table(finished[1]["unanswered"])

    def said(n_people: int, n_scans: int, **changed: str) -> list[str]:
        rows = faithfulness.assign(n_people=n_people, **changed)
        # A control that was seen on fewer scans, and a method that failed on most, say nothing about the question.
        rows.loc[rows["method"].isin(("exact_truth", "saliency")), "n_people"] = 1
        lost = unanswered.assign(model="boehle", metric="aic", n_scans=n_scans)
        summary = summary_of(finished, faithfulness=rows, unanswered=lost.head(1) if n_scans else lost.head(0))
        return [warning.text for warning in summary.further if "Information curves" in warning.text]

    aic, sic = "AIC, nd push-pull information", "SIC, nd push-pull information"
    assert said(20, 9) == []
    assert said(19, 9, recipe="as_published") == []
    assert said(19, 0) == [f"Information curves of Böhle rest on 19 people ({aic}; {sic})."]
    assert said(7, 9) == [
        f"Information curves of Böhle rest on 7 people ({aic}), because 9 scans could not be asked; see “Scans without "
        "an answer”.",
        f"Information curves of Böhle rest on 7 people ({sic}).",
    ]


def test_no_prior_no_verdict(finished):
    ranking = read_text_table(finished[1]["ranking"]).assign(beats_prior="")
    summary = summary_of(finished, ranking=ranking)
    assert "no method was compared" in summary.sentence
    assert any("no verdict" in warning.text for warning in summary.grave)


def test_a_study_without_scores_still_reports(finished):
    ranking = read_text_table(finished[1]["ranking"]).head(0)
    assert summary_of(finished, ranking=ranking).view is None


def test_ids_are_unique_links_resolve_and_images_are_described(page, finished):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in page.all("a")]
    assert links
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    labelled = [attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs]
    assert set(labelled) <= set(ids)
    images = page.all("img")
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in images)
    drawings = {name: (finished[0].folder / f"figures/{name}.svg").read_text(encoding="utf-8") for name in FIGURES}
    drawn = [name for name, drawing in drawings.items() if ABSENT not in drawing]
    # There is no ECG in this study, and the report does not say so twenty times.
    assert {"ecg", "estimates", "waves"} <= set(FIGURES) - set(drawn)
    titles = [image["alt"].removeprefix("Figure: ").split(". Its numbers")[0] for image in images]
    assert titles == [FIGURES[name].title for name in drawn]


def test_nothing_is_fetched(page, finished):
    assert not page.all("link") or all(attrs["href"] == "data:," for attrs in page.all("link"))
    assert not any("src" in attrs for attrs in page.all("script"))
    assert "default-src 'none'" in finished[2]
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", finished[2])


def test_nothing_says_where_it_was_made(finished):
    html = re.sub(r"base64,[A-Za-z0-9+/=]+", "", finished[2])
    assert "secret study" not in html.replace("[path]", "")
    for word in ("/home/", "/tmp/", "/root/", str(finished[0].folder)):
        assert word not in html


def test_hostile_names_stay_text(tmp_path):
    study = synthetic.Study(tmp_path / "demo", n_people=12, hostile_id=HOSTILE, smoothing=(0.0,))
    synthetic.write(study)
    intake = read_table(study.folder / "intake.tsv")
    intake.loc[len(intake) - 1, "scan_id"] = HOSTILE
    write_table(intake, study.folder / "intake.tsv")
    areas = pd.read_parquet(study.folder / "areas.parquet")
    areas["name"] = areas["name"].replace("left hippocampus", "hippocampus <img src=x onerror=alert(1)>")
    areas.to_parquet(study.folder / "areas.parquet")
    html = make_report(study, synthetic.write_tables(study), [])
    parsed = Page(html)
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html
    assert len(parsed.all("script")) == 1
    assert not parsed.all("img")
    assert not parsed.all("b"), "the title's markup is text too"


def test_drawing_again_gives_the_same_bytes_whatever_another_library_has_set(finished, monkeypatch):
    study, tables, _ = finished
    monkeypatch.setitem(matplotlib.rcParams, "savefig.bbox", "tight")  # importing NiMARE sets this
    names = ("ranking", "mean_maps", "recipes")
    for paths in synthetic.write_figures(study, tables, "again", names).values():
        for path in paths:
            assert path.read_bytes() == (study.folder / "figures" / path.name).read_bytes(), path.name
        assert paths[0].read_bytes().startswith(b"<?xml")
        assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_the_same_results_give_the_same_report(finished):
    study, tables, html = finished
    assert make_report(study, tables, sorted((study.folder / "figures").iterdir())) == html


def test_published_numbers_stand_beside_ours(finished):
    tables = {name: read_text_table(path) for name, path in finished[1].items()}
    rows = beside_ours(tables, METHODS, CONFIG["truths"])
    assert len(rows) == len(ALZHEIMERS)
    by_quantity = {row["quantity"]: row for row in rows}
    svm = by_quantity["best Dice, linear-SVM weights"]
    assert svm["published"] == NOT_REPORTED
    lrp = by_quantity["best Dice with the meta-analysis, LRP, unsmoothed"]
    ranking = tables["ranking"]
    ours = ranking[
        (ranking["level"] == "group") & (ranking["truth"] == "meta_analysis") & (ranking["metric"] == "max_dice")
        & (ranking["method"] == "lrp") & (ranking["smoothing_mm"] == 0) & (ranking["recipe"] == "corrected")
    ]  # fmt: skip
    assert lrp["published"] == "0.326"
    assert lrp["corrected"].startswith(f"{ours['mean'].item():.3f}")
    absent = beside_ours(tables, {}, {})
    assert all(row["corrected"] == NOT_HERE for row in absent if row["quantity"].startswith("best Dice"))


def test_every_caption_of_snakemakes_report_says_what_ours_says():
    from heatproof.publication.captions import CAPTIONS

    folder = Path(__file__).parents[2] / "workflow" / "report"
    words = {f"figure_{name}": (entry.title, entry.caption) for name, entry in FIGURES.items()}
    words |= {f"table_{name}": entry for name, entry in CAPTIONS.items()}
    for name, (title, caption) in words.items():
        text = " ".join((folder / f"{name}.rst").read_text(encoding="utf-8").split())
        assert f"**{title}**" in text
        assert " ".join(caption.split()) in text


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: the page is not opened in a browser")
def test_the_page_runs_in_a_browser_without_error_or_network(finished, tmp_path):
    path = tmp_path / "report.html"
    # What a reader does: sort the first table by its mean, descending, filter it, follow a link into a closed table.
    probe = """<script>addEventListener("load", () => {
      const details = document.querySelector("details.table"), table = details.querySelector("table");
      const head = [...table.querySelectorAll("th button")].find((button) => button.textContent === "mean");
      const column = head.closest("th").cellIndex;
      head.click(); head.click();
      const numbers = [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[column].textContent));
      const values = numbers.filter((x) => !isNaN(x));
      const sorted = values.every((x, i) => i === 0 || values[i - 1] >= x);
      const input = details.querySelector("[data-filter]");
      input.value = "saliency"; input.dispatchEvent(new Event("input"));
      const left = [...table.tBodies[0].rows].filter((row) => !row.hidden);
      const filtered = left.length > 0 && left.every((row) => row.textContent.includes("saliency"));
      location.hash = "study-1-table-leakage";
      setTimeout(() => { document.title = JSON.stringify({sorted, filtered, values: values.length,
        opened: document.getElementById("study-1-table-leakage").open, wide: document.documentElement.scrollWidth,
        fetched: performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("data:")).length,
        broken: [...document.images].filter((i) => !i.complete || !i.naturalWidth).length}); }, 200);
    });</script></body>"""
    path.write_text(finished[2].replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900", "--virtual-time-budget=4000",
         "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout).group(1)
    found = json.loads(title)
    assert found.pop("values") > 3
    assert found.pop("wide") <= 1200, "nothing may stick out sideways"
    assert found == {"sorted": True, "filtered": True, "opened": True, "fetched": 0, "broken": 0}
    assert "CONSOLE" not in done.stderr, done.stderr
