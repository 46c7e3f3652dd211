"""How many jobs explain a run (`attribution.jobs`): the numbers are the same, and what changed is run again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_workflow import snakemake

STUDY: dict[str, Any] = {
    "cohort": {"source": "lesions", "n_participants": 24, "resolution_mm": 8, "lesion_radius_mm": [20, 26]},
    "folds": {"n_folds": 1, "test_share": 0.3, "validation_share": 0.3},
    "truths": {"lesions": {"source": "lesions"}},
    "training": {"epochs": 1, "batch_size": 8},
    "models": {"wang_b": {"network": "wang_b", "width": 4, "n_blocks": 2}},
    "methods": {
        "saliency": {"method": "saliency"},
        "smoothgrad": {"method": "smoothgrad", "n_samples": 2},
        "label_permuted": {"method": "label_permuted", "inner": "saliency"},
    },
    "metrics": {"smoothing_mm": {"scan": [0], "fold": [0], "group": [0]}, "nulls": {"n_surrogates": 9}},
}
N_METHODS = len(STUDY["methods"])
TARGETS = [f"results/slices/{name}.parquet" for name in ("scores", "areas", "nulls")]


def config(path: Path, studies: dict[str, dict[str, Any]]) -> Path:
    """Write a config that keeps its maps."""
    path.write_text(yaml.safe_dump({"seed": 3, "results": "results", "keep_maps": True, "studies": studies}))
    return path


def study(jobs: str, **method: Any) -> dict[str, Any]:
    """Return the study with its methods in jobs as asked, and the first method changed."""
    changed = copy.deepcopy(STUDY)
    changed["attribution"] = {"jobs": jobs}
    changed["methods"]["smoothgrad"] |= method
    return changed


def planned(directory: Path, path: Path, *targets: str) -> dict[str, int]:
    """Return how many jobs of each rule a run would have."""
    done = snakemake(directory, path, *targets, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def contents(results: Path) -> dict[str, bytes]:
    """Return every file with maps, scores, group maps or nulls, by its place in the study."""
    kinds = ("maps.h5", "means.h5", "group.h5", "scores.parquet", "areas.parquet", "nulls.parquet")
    return {str(path.relative_to(results)): path.read_bytes() for kind in kinds for path in results.rglob(kind)}


@dataclass(frozen=True)
class Made:
    """A study made with one job per run, then with one per method in the same folder."""

    together: dict[str, bytes]
    apart: dict[str, bytes]
    made_again: set[str]
    plan_of_a_change_together: dict[str, int]
    plan_of_a_change_apart: dict[str, int]
    plan_of_apart: dict[str, int]
    plan_when_finished: dict[str, int]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("jobs")
    maps = [f"results/slices/wang_b/fold-0_seed-1/{method}/maps.h5" for method in STUDY["methods"]]
    paths = {
        f"{jobs}{suffix}": config(folder / f"{jobs}{suffix}.yaml", {"slices": study(jobs, **changes)})
        for jobs in ("run", "method")
        for suffix, changes in {"": {}, "_changed": {"n_samples": 3}}.items()
    }
    done = snakemake(folder, paths["run"], *TARGETS)
    assert done.returncode == 0, done.stderr[-3000:]
    together = contents(folder / "results")
    change_together = planned(folder, paths["run_changed"], *maps)
    plan = planned(folder, paths["method"], *TARGETS)
    before = {path: (folder / path).stat().st_mtime_ns for path in maps}
    done = snakemake(folder, paths["method"], *TARGETS)
    assert done.returncode == 0, done.stderr[-3000:]
    return Made(
        together,
        contents(folder / "results"),
        {path for path in maps if (folder / path).stat().st_mtime_ns > before[path]},
        change_together,
        planned(folder, paths["method_changed"], *maps),
        plan,
        planned(folder, paths["method"], *TARGETS),
    )


@pytest.mark.slow
def test_one_job_per_run_and_one_per_method_write_the_same_bytes(made: Made) -> None:
    # Maps, means and areas of each method, its scores alone and pooled, group map and nulls; three tables of the study.
    assert len(made.together) == N_METHODS * 7 + len(TARGETS)
    assert len(made.made_again) == N_METHODS, "every map was made anew"
    assert sorted(made.together) == sorted(made.apart)
    assert [name for name, content in made.together.items() if content != made.apart[name]] == []


@pytest.mark.slow
def test_only_explaining_scoring_and_pooling_depend_on_the_kind_of_jobs(made: Made) -> None:
    expected = {"attribute": N_METHODS, "score": N_METHODS, "pool": N_METHODS, "collect": 1}
    assert made.plan_of_apart == {**expected, "total": 3 * N_METHODS + 1}
    assert made.plan_when_finished == {}


@pytest.mark.slow
def test_a_changed_method_is_run_again_alone_or_with_its_run(made: Made) -> None:
    assert made.plan_of_a_change_apart == {"attribute": 1, "total": 1}
    assert made.plan_of_a_change_together == {"attribute_wang_b_OF_slices": 1, "total": 1}


@pytest.mark.parametrize("kinds", [("run", "method"), ("method", "run")])
def test_studies_with_jobs_of_both_kinds_stand_side_by_side(tmp_path: Path, kinds: tuple[str, str]) -> None:
    both = {f"by_{kind}": study(kind) for kind in kinds}
    jobs = planned(tmp_path, config(tmp_path / "both.yaml", both))
    for rule in ("attribute", "score", "pool"):
        assert jobs[rule] == N_METHODS
        assert jobs[f"{rule}_wang_b_OF_by_run"] == 1
    # Each study trains its network and the one on permuted labels.
    assert jobs["train"] == 4


def test_names_that_run_into_one_another_are_told_apart(tmp_path: Path) -> None:
    network = STUDY["models"]["wang_b"]
    # Joined by "_", study and model would be called a_b_c in both.
    both = {"a": study("run") | {"models": {"b_c": network}}, "a_b": study("run") | {"models": {"c": network}}}
    jobs = planned(tmp_path, config(tmp_path / "names.yaml", both))
    assert sum(n for rule, n in jobs.items() if rule.startswith("attribute")) == 2
