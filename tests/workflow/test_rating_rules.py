"""The targets of the expert kit: what they need, and that nothing else needs them."""

from __future__ import annotations

from pathlib import Path

from test_workflow import snakemake

MINIMAL = Path(__file__).with_name("minimal_2d.yaml")


def test_the_kit_needs_the_maps_of_the_first_fold_and_seed_only(tmp_path: Path) -> None:
    plan = snakemake(tmp_path, MINIMAL, "rating_kit", "--dry-run", "--quiet", "rules").stdout
    jobs = dict(line.split() for line in plan.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    # Two models, five and two methods; nothing is scored.
    assert jobs["train"] == "2"
    assert jobs["attribute"] == "7"
    assert jobs["draw_kit"] == "1"
    assert "score" not in jobs


def test_ratings_without_answers_say_where_to_put_them(tmp_path: Path) -> None:
    done = snakemake(tmp_path, MINIMAL, "ratings", "--dry-run")
    assert done.returncode != 0
    assert "results/rating_kit/slices/answers" in done.stdout + done.stderr
