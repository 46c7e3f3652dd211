"""The study as its user runs it: one command, a finished report, nothing to do afterwards, and errors that help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = Path(__file__).with_name("minimal.yaml")


def snakemake(directory: Path, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the workflow in a folder of its own, on one core, with the profile that a user gets."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(directory),
        "--workflow-profile", str(ROOT / "profiles/default"), "--cores", "1",
        *arguments, "--replace-workflow-config", "--configfile", str(config),
    ]  # fmt: skip
    # Snakemake puts the package on the path itself; a user without envs/run gets no help either.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, env=environment, timeout=1800)


def changed(directory: Path, **keys: object) -> Path:
    """Write the minimal config with some keys of its study replaced."""
    config = yaml.safe_load(MINIMAL.read_text(encoding="utf-8"))
    config["studies"]["alzheimers"].update(keys)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A folder with a space and a letter beyond ASCII, as users have them.
    directory = tmp_path_factory.mktemp("Müller results")
    done = snakemake(directory, MINIMAL)
    assert done.returncode == 0, done.stderr[-3000:]
    return directory / "results"


class TestFinishedRun:
    @pytest.mark.slow
    def test_the_report_and_everything_it_shows_are_there(self, finished: Path) -> None:
        page = (finished / "report.html").read_text(encoding="utf-8")
        assert "anatomical prior" in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        study = finished / "alzheimers"
        for name in ("ranking", "recipes", "performance", "gain", "volume_relevance", "rank_stability"):
            assert len(pd.read_csv(study / f"tables/{name}.tsv", sep="\t")) > 0, name
        assert len(list((study / "figures").glob("*.svg"))) == len(list((study / "figures").glob("*.png"))) > 10

    @pytest.mark.slow
    def test_a_second_run_has_nothing_to_do(self, finished: Path) -> None:
        done = snakemake(finished.parent, MINIMAL)
        assert "Nothing to be done" in done.stdout + done.stderr

    @pytest.mark.slow
    def test_scores_know_where_they_come_from(self, finished: Path) -> None:
        scores = pd.read_parquet(finished / "alzheimers/scores.parquet")
        scans = scores[scores["level"] == "scan"]
        assert set(scores["recipe"]) == {"corrected", "as_published"}
        assert set(scans["fold"]) == {0, 1}
        own = scans[(scans["truth"] == "injected") & (scans["metric"] == "auroc") & (scans["model"] == "wang_b")]
        # Only patients have an effect of their own, and each is tested in one fold.
        assert set(own["diagnosis"]) == {"AD"}
        assert not own.duplicated(["method", "scan_id", "smoothing_mm"]).any()

    @pytest.mark.slow
    def test_group_maps_lie_where_the_brain_lies(self, finished: Path) -> None:
        import h5py

        with h5py.File(finished / "alzheimers/cohort.h5") as cohort:
            affine = cohort.attrs["affine"]
            shape = cohort["mask"].shape
        maps = sorted((finished / "alzheimers/wang_b/pooled/lrp/nifti").glob("*.nii.gz"))
        assert maps
        for path in maps:
            image = nibabel.load(path)
            assert image.shape == shape
            np.testing.assert_allclose(image.affine, affine, atol=1e-5)

    @pytest.mark.slow
    def test_the_published_leak_is_recorded_and_the_corrected_split_is_clean(self, finished: Path) -> None:
        leakage = pd.read_csv(finished / "alzheimers/leakage.tsv", sep="\t")
        corrected = leakage[leakage["recipe"] == "corrected"]
        assert corrected["passed"].astype(str).str.lower().eq("true").all()
        published = leakage[
            (leakage["recipe"] == "as_published") & (leakage["check"] == "participant train-validation")
        ]
        assert (published["n"] > 0).all()

    @pytest.mark.slow
    def test_an_edited_method_reruns_its_maps_and_no_training(self, finished: Path, tmp_path: Path) -> None:
        config = yaml.safe_load(MINIMAL.read_text(encoding="utf-8"))
        config["studies"]["alzheimers"]["methods"]["ig"]["n_steps"] = 5
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        plan = snakemake(finished.parent, tmp_path / "config.yaml", "--dry-run", "--quiet", "rules").stdout
        jobs = dict(line.split() for line in plan.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
        assert jobs["attribute"] == "2"
        assert "train" not in jobs
        assert "prepare" not in jobs


@pytest.mark.parametrize(
    "config",
    [
        "config/config.yaml",
        "config/anatomies.yaml",
        "config/paper/wang2023_caps.yaml",
        "config/paper/oasis.yaml",
        "config/ludb.yaml",
        "config/paper/storas2025_ptbxl.yaml",
        "config/paper/qtdb.yaml",
        "config/brain_simulators.yaml",
        "config/anatomy_simulators.yaml",
        pytest.param("config/paper/brain_tumor.yaml", marks=pytest.mark.slow),
        pytest.param("config/paper/chest_xray.yaml", marks=pytest.mark.slow),
    ],
)
def test_every_shipped_config_makes_a_dag(tmp_path: Path, config: str) -> None:
    done = snakemake(tmp_path, ROOT / config, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "attribute" in done.stdout


def test_a_wrong_config_stops_before_anything_runs(tmp_path: Path) -> None:
    done = snakemake(tmp_path, changed(tmp_path, methods={"mine": {"method": "lrpp"}}))
    assert done.returncode != 0
    assert "studies.alzheimers.methods.mine.method" in done.stderr
    assert "did you mean 'lrp'" in done.stderr
    assert not (tmp_path / "results").exists()


def table_cohort(directory: Path, spoil: str) -> Path:
    """Write a small table cohort with one bad scan and the config that uses it."""
    random = np.random.default_rng(0)
    rows = []
    affine = np.array([[4.0, 0, 0, -40], [0, 4, 0, -40], [0, 0, 4, -40], [0, 0, 0, 1]])
    for index in range(8):
        values = random.normal(100, 10, size=(20, 20, 20)).astype(np.float32)
        if spoil == "nan" and index == 3:
            values[0, 0, 0] = np.nan
        name = f"scan-{index}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, affine), directory / name)
        rows.append(
            {
                "scan_id": f"s{index}",
                "participant_id": f"p{index}",
                "path": name,
                "diagnosis": "HC" if index % 2 else "AD",
            }
        )
    if spoil == "truncated":
        path = directory / "scan-3.nii.gz"
        path.write_bytes(path.read_bytes()[:2000])
    pd.DataFrame(rows).to_csv(directory / "scans.tsv", sep="\t", index=False)
    return changed(
        directory,
        cohort={"source": "table", "table": "scans.tsv", "grid": "first", "mask": "none"},
        truths={"map": {"source": "mask", "file": "scan-0.nii.gz"}},
    )


@pytest.mark.parametrize(("spoil", "word"), [("nan", "NaN"), ("truncated", "scan-3.nii.gz")])
def test_a_bad_scan_stops_the_run_with_its_name_on_the_screen(tmp_path: Path, spoil: str, word: str) -> None:
    done = snakemake(tmp_path, table_cohort(tmp_path, spoil), "results/alzheimers/cohort.h5")
    assert done.returncode != 0
    assert "IntakeError" in done.stderr
    assert "s3" in done.stderr
    assert word in done.stderr
    assert not (tmp_path / "results/alzheimers/cohort.h5").exists()


def test_a_planted_leak_ends_in_a_leakage_error(tmp_path: Path) -> None:
    people = [f"sub-{number:04d}" for number in range(1, 33)]
    rows = []
    for fold in (0, 1):
        for number, person in enumerate(people):
            part = "test" if number % 2 == fold else "validation" if number % 8 in (2, 3) else "train"
            rows.append({"fold": fold, "scan_id": f"{person}_ses-1", "part": part})
    planted = next(row for row in rows if row["part"] == "test")
    rows.append({**planted, "part": "train"})
    pd.DataFrame(rows).to_csv(tmp_path / "folds.tsv", sep="\t", index=False)
    config = changed(tmp_path, folds={"n_folds": 2, "file": "folds.tsv"})
    done = snakemake(tmp_path, config, "results/alzheimers/folds.tsv")
    assert done.returncode != 0
    assert "LeakageError" in done.stderr
    assert planted["scan_id"].split("_")[0] in done.stderr
