"""The claims of the papers as tests on our tables: each verdict follows from the tables that deserve it only."""

from __future__ import annotations

import pandas as pd
import pytest

from heatproof.publication.claims import (
    CLAIMS,
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    claims_table,
)

METHODS = {name: {"method": name} for name in ("scorecam", "xrai", "gradcam", "saliency", "random_noise")}
RECIPE = "corrected"


def faithfulness(metric: str, setting: str, means: dict[str, float], *, half: float = 0.02, above: float = 0.1):
    """Return rows of one condition; every interval is the mean plus and minus `half`."""
    rows = [
        {
            "model": "net", "recipe": RECIPE, "metric": metric, "setting": setting, "method": method,
            "is_control": method == "random_noise", "mean": mean, "low": mean - half, "high": mean + half,
            "difference_to_null": above, "difference_low": above - half, "difference_high": above + half,
        }
        for method, mean in means.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def ranking(scores: dict[str, float], chance: float = 0.1, half: float = 0.02):
    rows = [
        {
            "model": "net", "recipe": RECIPE, "level": "scan", "truth": "lesions", "smoothing_mm": 0.0,
            "metric": metric, "method": method, "is_control": False, "mean": mean, "low": mean - half,
            "high": mean + half, "chance": chance,
        }
        for metric in ("mass_accuracy", "rank_accuracy", "pointing_game")
        for method, mean in scores.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def sanity(passed: bool):
    return pd.DataFrame(
        [{"model": "net", "recipe": RECIPE, "metric": "aic", "setting": "nd push_pull information",
          "check": "constant network", "value": 0.0, "limit": 0.0, "passed": passed}]
    )  # fmt: skip


def agreement(tau: float, half: float):
    return pd.DataFrame(
        [{"model": "net", "recipe": RECIPE, "metric_a": "aic", "setting_a": "nd push_pull information",
          "metric_b": "rank_accuracy", "setting_b": "", "tau": tau, "low": tau - half, "high": tau + half,
          "is_truth": True}]
    )  # fmt: skip


def verdict(key: str, **tables: pd.DataFrame) -> str:
    empty = {
        "faithfulness": faithfulness("none", "", {"saliency": 0.0}),
        "ranking": ranking({}).reindex(columns=ranking({"a": 0.0}).columns),
        "metric_agreement": agreement(0.0, 0.0).head(0),
        "sanity": sanity(True),
    }
    claim = next(claim for claim in CLAIMS if claim.key == key)
    names = {name: entry["method"] for name, entry in METHODS.items()}
    return claim.judge(Evidence({**empty, **tables}, names, RECIPE))[0]


SETTING = "nd push_pull information"
LEADING = {"scorecam": 0.8, "xrai": 0.75, "gradcam": 0.5, "saliency": 0.4, "random_noise": 0.3}
PLACED = {"scorecam": 0.5, "xrai": 0.45, "gradcam": 0.2, "saliency": 0.2}


def test_s1_needs_both_leaders_above_their_nulls_in_the_right_place_and_a_sound_metric():
    rows = faithfulness("aic", SETTING, LEADING)
    assert verdict("S1", faithfulness=rows, ranking=ranking(PLACED)) == SUPPORTED
    misplaced = ranking({**PLACED, "scorecam": 0.01})
    assert verdict("S1", faithfulness=rows, ranking=misplaced) == UNDECIDED
    assert verdict("S1", faithfulness=rows, ranking=ranking(PLACED), sanity=sanity(False)) == UNDECIDED
    unsure = faithfulness("aic", SETTING, LEADING, above=0.01)
    assert verdict("S1", faithfulness=unsure, ranking=ranking(PLACED)) == UNDECIDED


def test_s1_falls_when_two_methods_are_clearly_better_or_a_leader_is_below_its_null():
    beaten = faithfulness("aic", SETTING, {**LEADING, "xrai": 0.2})
    assert verdict("S1", faithfulness=beaten, ranking=ranking(PLACED)) == CONTRADICTED
    below = faithfulness("aic", SETTING, LEADING, above=-0.1)
    assert verdict("S1", faithfulness=below, ranking=ranking(PLACED)) == CONTRADICTED


def test_s2_asks_for_random_noise_above_a_method_in_every_setting():
    wins = faithfulness("sic", "a", {**LEADING, "random_noise": 0.6})
    loses = faithfulness("sic", "b", LEADING)
    assert verdict("S2", faithfulness=wins) == SUPPORTED
    assert verdict("S2", faithfulness=pd.concat([wins, loses])) == UNDECIDED
    assert verdict("S2", faithfulness=loses) == CONTRADICTED


def test_s3_asks_for_all_scores_above_chance():
    assert verdict("S3", ranking=ranking(PLACED)) == SUPPORTED
    assert verdict("S3", ranking=ranking({**PLACED, "xrai": 0.11})) == UNDECIDED
    assert verdict("S3", ranking=ranking({**PLACED, "xrai": 0.01})) == CONTRADICTED
    assert verdict("S3", ranking=ranking({"saliency": 0.9})) == NOT_TESTABLE


@pytest.mark.parametrize(
    ("tau", "half", "expected"), [(0.2, 0.2, SUPPORTED), (0.6, 0.3, UNDECIDED), (0.9, 0.1, CONTRADICTED)]
)
def test_s4_compares_the_orders(tau, half, expected):
    assert verdict("S4", metric_agreement=agreement(tau, half)) == expected


@pytest.mark.parametrize(("similarity", "expected"), [(0.9, SUPPORTED), (0.5, UNDECIDED), (0.1, CONTRADICTED)])
def test_x1_asks_whether_any_method_survives_randomisation(similarity, expected):
    rows = faithfulness("cascading_mprt", "spearman", {"saliency": similarity, "gradcam": 0.1})
    assert verdict("X1", faithfulness=rows) == expected


def test_a_study_without_the_methods_or_the_recipe_says_so():
    assert all(verdict(claim.key) == NOT_TESTABLE for claim in CLAIMS)
    tables = {
        "faithfulness": faithfulness("sic", "a", LEADING),
        "ranking": ranking(PLACED),
        "metric_agreement": agreement(0, 0),
        "sanity": sanity(True),
    }
    table = claims_table(tables, METHODS, ("corrected",))
    assert set(table["claim"]) == {"S2", "S3", "S4"}, "S1 has no AIC and X1 no randomised network here"
    assert set(table.loc[table["recipe"] == "as_published", "verdict"]) == {NOT_TESTABLE}
