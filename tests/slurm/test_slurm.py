"""The study on a real SLURM: the tables of the local run bit for bit, and GPUs that are scheduled.

All of it stands in one file, so that one process starts the one cluster (pytest runs with --dist loadfile).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, ClusterError, cluster, unavailable, wait_for

ROOT = Path(__file__).resolve().parents[2]
STUDY = Path(__file__).with_name("study.yaml")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]


def snakemake(directory: Path, profile: Path, *arguments: str) -> list[str]:
    """Return the command that runs the study in a folder."""
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(directory),
        "--workflow-profile", str(profile), *arguments, "--replace-workflow-config", "--configfile", str(STUDY),
    ]  # fmt: skip


def on_slurm(directory: Path, profile: Path, *arguments: str) -> list[str]:
    """Return the command that runs the study on the cluster, which has no accounting and is asked often."""
    here = ["--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]
    return snakemake(directory, profile, *here, "--latency-wait", "10", *arguments)


class Study:
    """A folder in which the study is run on a cluster."""

    def __init__(self, slurm: Cluster, directory: Path, profile: Path) -> None:
        self.slurm, self.directory, self.profile = slurm, directory, profile
        self.log = directory / "snakemake.log"
        self.before = set(slurm.jobs())
        directory.mkdir(exist_ok=True)

    def run(self, *arguments: str) -> int:
        """Run to the end and return the exit code."""
        command = on_slurm(self.directory, self.profile, *arguments)
        with self.log.open("wb") as log:
            return subprocess.run(
                command,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.slurm.environment,
                timeout=900,
                check=False,
            ).returncode

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return the SLURM jobs of this folder, the first one first."""
        new = {key: entry for key, entry in self.slurm.jobs().items() if key not in self.before}
        return dict(sorted(new.items(), key=lambda item: int(item[0])))

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def digests(directory: Path, *patterns: str) -> dict[str, str]:
    """Return the sha256 of every file below a folder that fits a pattern."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in patterns
        for path in sorted(directory.rglob(pattern))
    }


def tables(directory: Path) -> dict[str, str]:
    """Return the sha256 of every table of a study; run times are none."""
    return digests(directory / "results/slices", "*.tsv", "*.parquet")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    # A socket's path is short, a test's folder is long.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        running = cluster(folder / "c")
        try:
            started = running.__enter__()
        except ClusterError as error:
            pytest.skip(f"SLURM does not start here: {error}")
        try:
            yield started
        finally:
            running.__exit__(None, None, None)
        assert started.processes() == []
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project's profile with GPUs switched on in the one line that says so."""
    text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    assert text.count("{gpu: &gpu 0}") == 1
    folder = tmp_path_factory.mktemp("profile")
    (folder / "config.yaml").write_text(text.replace("{gpu: &gpu 0}", "{gpu: &gpu 1}"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run on this machine."""
    directory = tmp_path_factory.mktemp("local")
    command = snakemake(directory, ROOT / "profiles/default", "--cores", "1")
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return directory


@pytest.fixture(scope="module")
def finished(slurm: Cluster, profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(slurm, tmp_path_factory.mktemp("slurm"), profile)
    assert study.run() == 0, study.said[-3000:]
    return study


class TestWholeStudy:
    def test_every_table_is_that_of_the_local_run(self, local: Path, finished: Study) -> None:
        expected = tables(local)
        assert len(expected) > 30
        assert tables(finished.directory) == expected

    def test_everything_ran_on_the_cluster(self, finished: Study) -> None:
        assert {entry["JobState"] for entry in finished.jobs().values()} == {"COMPLETED"}
        assert {entry["NodeList"] for entry in finished.jobs().values()} <= {"n1", "n2"}

    def test_jobs_that_use_a_gpu_ask_for_one(self, finished: Study) -> None:
        asked = {
            entry["Comment"].split("_wildcards")[0]
            for entry in finished.jobs().values()
            if "gpu" in entry.get("TresPerJob", "")
        }
        assert asked == {"rule_train", "rule_attribute_wang_b_OF_slices", "rule_probe"}

    def test_a_second_run_has_nothing_to_do(self, finished: Study) -> None:
        assert finished.run() == 0
        assert "Nothing to be done" in finished.said


class TestGpus:
    def test_a_third_job_waits_while_two_use_the_gpus(self, slurm: Cluster, tmp_path: Path) -> None:
        sleep = ("--parsable", "--mem=50", "--output", str(tmp_path / "%j.log"), "--wrap", "sleep 60")
        without = slurm.command("sbatch", *sleep)
        with_gpu = [slurm.command("sbatch", "--gpus=1", *sleep) for _ in range(3)]
        wait_for(lambda: sum(slurm.jobs()[job]["JobState"] == "RUNNING" for job in [without, *with_gpu]) == 3)
        wait_for(lambda: [slurm.jobs()[job]["Reason"] for job in with_gpu].count("Resources") == 1)
        jobs = slurm.jobs()
        # One core of the four is free: the third waits for a GPU, not for a core.
        assert jobs[without]["JobState"] == "RUNNING"
        assert {jobs[job]["NodeList"] for job in with_gpu if jobs[job]["JobState"] == "RUNNING"} == {"n1", "n2"}
        slurm.command("scancel", without, *with_gpu)
