"""Data that are fetched join the way of the data before `prepare`; studies that fetch nothing know nothing of it."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_workflow import MINIMAL, changed, snakemake

from heatproof.files import read_table

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


LEADS = ["I", "II", "V5"]


def write_recordings(folder: Path, n: int = 12) -> None:
    """Write a small published set: WFDB recordings with their list, a table of labels and the list of checksums."""
    import wfdb

    (folder / "data").mkdir(parents=True)
    for number in range(n):
        signal = np.random.default_rng(number).normal(size=(200, len(LEADS)))
        wfdb.wrsamp(
            str(number), 100, ["mV"] * len(LEADS), LEADS, signal, fmt=["16"] * 3, write_dir=str(folder / "data")
        )
    (folder / "RECORDS").write_text("".join(f"data/{number}\n" for number in range(n)), encoding="utf-8")
    rows = "".join(f"{number},{150 + number}\n" for number in range(n))
    (folder / "labels.csv").write_text("name,pr_ms\n" + rows, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()} {p.relative_to(folder).as_posix()}\n" for p in files]
    (folder / "SHA256SUMS.txt").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    write_recordings(folder / "signals/1.0")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *unused: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/signals/1.0/"
    httpd.shutdown()
    httpd.server_close()


def test_a_published_set_of_recordings_becomes_a_cohort(
    tmp_path: Path, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    cohort = {
        "source": "wfdb", "folder": "signals", "fetch": True, "url": published, "leads": LEADS, "sampling_rate": 100,
        "view": "record", "duration_ms": 2000, "limb_tolerance": None, "labels_from": "table",
        "table": "signals/labels.csv", "key_column": "name", "outputs": {"pr": {"column": "pr_ms"}},
    }  # fmt: skip
    study = {
        "models": {"pr": {"network": "ecg_resnet", "width": 4, "n_blocks": 1, "kernel": 5, "output": "pr"}},
        "methods": {"saliency": {"method": "saliency"}}, "truths": {"waves": {"source": "waves"}},
    }  # fmt: skip
    config = changed(tmp_path, cohort=cohort, **study)
    done = snakemake(tmp_path, config, "results/alzheimers/cohort.h5")
    assert done.returncode == 0, done.stderr[-3000:]
    fetched = read_table(tmp_path / "results/alzheimers/fetched.tsv", ("file_id", "bytes", "sha256", "origin"))
    assert len(fetched) == 12 * 2 + 3
    assert set(fetched["origin"]) == {published + name for name in fetched["file_id"]}
    people = read_table(tmp_path / "results/alzheimers/participants.tsv").set_index("scan_id")
    assert people.loc["3", "pr"] == 153 and len(people) == 12
    log = (tmp_path / "results/logs/fetch/alzheimers.log").read_text(encoding="utf-8")
    assert "26 of 26 files are right; fetched 26 of 26" in log
    # The table of labels was not there when the first run was planned; that it is now is no reason to run again.
    again = snakemake(tmp_path, config, "results/alzheimers/cohort.h5")
    assert "Nothing to be done" in again.stdout + again.stderr
