"""Data that are fetched join the way of the data before `prepare`; studies that fetch nothing know nothing of it."""

from __future__ import annotations

from pathlib import Path

import yaml
from test_workflow import MINIMAL, changed, snakemake

CHENG = {"source": "cheng", "folder": "tumours", "fetch": True}
TRUTHS = {"lesions": {"source": "lesions"}}
# No class of these tumours is healthy, so no method may begin at the mean control scan.
METHODS = {
    **yaml.safe_load(MINIMAL.read_text(encoding="utf-8"))["studies"]["alzheimers"]["methods"],
    "ig": {"method": "integrated_gradients", "n_steps": 4},
}
STUDY = {"truths": TRUTHS, "methods": METHODS}


def jobs(plan: str) -> dict[str, int]:
    rows = (line.split() for line in plan.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def test_prepare_waits_for_fetch_where_data_are_fetched(tmp_path: Path) -> None:
    config = changed(tmp_path, cohort=CHENG, **STUDY)
    done = snakemake(tmp_path, config, "results/alzheimers/cohort.h5", "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"fetch", "prepare"} <= jobs(done.stdout).keys()
    for other in (MINIMAL, changed(tmp_path, cohort={**CHENG, "fetch": False}, **STUDY)):
        plan = snakemake(tmp_path, other, "results/alzheimers/cohort.h5", "--dry-run", "--quiet", "rules").stdout
        assert "prepare" in jobs(plan)
        assert "fetch" not in jobs(plan)


def test_offline_names_the_file_and_the_remedy_on_the_screen(tmp_path: Path) -> None:
    config = changed(tmp_path, cohort=CHENG, **STUDY)
    config.write_text(config.read_text(encoding="utf-8") + "offline: true\n", encoding="utf-8")
    done = snakemake(tmp_path, config, "results/alzheimers/cohort.h5")
    assert done.returncode != 0
    assert "DownloadError: 1512427.zip: offline" in done.stderr
    assert "set offline: false" in done.stderr
    assert not (tmp_path / "results/alzheimers/fetched.tsv").exists()
