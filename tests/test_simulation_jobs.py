"""Who judges the simulators of a run, and whether the exact counterfactuals of its scans are known."""

from __future__ import annotations

import pytest

from heatproof.simulators import counterfactual_cohort, counterfactual_modules, referee_seed


def test_the_network_of_the_next_seed_is_the_referee_and_a_single_one_has_none() -> None:
    assert [referee_seed({"seeds": [5, 1, 9]}, seed) for seed in (5, 1, 9)] == [1, 9, 5]
    assert referee_seed({"seeds": [1, 2]}, 2) == 1
    assert referee_seed({"seeds": [4]}, 4) is None


@pytest.mark.parametrize(
    ("source", "output", "known"),
    [("blobs", None, True), ("lesions", None, False), ("bids", None, False), ("beats", "pr", True),
     ("beats", "age", False), ("wfdb", "pr", False)],
)  # fmt: skip
def test_real_scans_have_no_exact_counterfactual(source: str, output: str | None, known: bool) -> None:
    study = {"cohort": {"source": source, "n": 3}, "models": {"net": {"output": output}}}
    assert counterfactual_cohort(study, "net") == ({"source": source, "n": 3} if known else None)
    assert counterfactual_modules(study, "net") == ([f"heatproof.cohorts.{source}"] if known else [])
