"""The claims of the papers as tests on our tables: each verdict follows from the tables that deserve it only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from heatproof.publication.claims import CLAIMS, claims_table, over_models
from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED
from heatproof.statistics.conditions import INPUT_WEIGHTED
from heatproof.statistics.simulations import SIMULATION_COLUMNS

METHODS = {name: {"method": name} for name in ("scorecam", "xrai", "gradcam", "saliency", "random_noise")}
RECIPE = "corrected"
SETTING = "nd push_pull information"


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


def sanity(passed: bool, setting: str = SETTING):
    return pd.DataFrame(
        [{"model": "net", "recipe": RECIPE, "metric": "aic", "setting": setting,
          "check": "constant network", "value": 0.0, "limit": 0.0, "passed": passed}]
    )  # fmt: skip


def agreement(tau: float, half: float):
    """Return one pair of metrics; with the controls the orders agree fully, which must not count."""
    return pd.DataFrame(
        [{"model": "net", "recipe": RECIPE, "metric_a": "aic", "setting_a": SETTING, "metric_b": "rank_accuracy",
          "setting_b": "", "tau": 1.0, "low": 1.0, "high": 1.0, "tau_methods": tau, "tau_methods_low": tau - half,
          "tau_methods_high": tau + half, "is_truth": True}]
    )  # fmt: skip


def reliability(curve: float = 0.5, place: float = 0.5, n_people: int = 20):
    return pd.DataFrame(
        [{"model": "net", "recipe": RECIPE, "metric": metric, "setting": setting, "alpha_methods": alpha,
          "n_people": n_people}
         for metric, setting, alpha in (("aic", SETTING, curve), ("rank_accuracy", "", place))]
    )  # fmt: skip


def median_areas(setting: str):
    columns = ("model", "recipe", "metric", "setting", "method", "median_curve_area")
    return pd.DataFrame([("net", "as_published", "aic", setting, "scorecam", 0.1)], columns=list(columns))


def of(model: str, rows: pd.DataFrame, recipe: str = RECIPE) -> pd.DataFrame:
    """Return the same rows about another network."""
    return rows.assign(model=model, recipe=recipe)


def study(**tables: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of a study in which nothing was measured but what is given."""
    empty = {
        "faithfulness": faithfulness("none", "", {"saliency": 0.0}).head(0),
        "ranking": ranking({"a": 0.0}).head(0),
        "metric_agreement": agreement(0.0, 0.0).head(0),
        "metric_reliability": reliability(),
        "median_curves": median_areas(SETTING).head(0),
        "sanity": sanity(True),
        "certificates": pd.DataFrame(columns=["model", "output", "passes"]),
        "simulations": pd.DataFrame(columns=list(SIMULATION_COLUMNS)),
    }
    return {**empty, **tables}


def judged(key: str, **tables: pd.DataFrame) -> tuple[str, str]:
    """Return verdict and effect of one claim about one network."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    names = {name: entry["method"] for name, entry in METHODS.items()}
    return claim.judge(Evidence(study(**tables), names, RECIPE, "net", (SETTING,)))


def verdict(key: str, **tables: pd.DataFrame) -> str:
    return judged(key, **tables)[0]


def line(key: str, recipe: str, tables: dict[str, pd.DataFrame], settings: tuple[str, ...] = (SETTING,)) -> pd.Series:
    """Return one line of the table of claims."""
    table = claims_table(tables, METHODS, ("as_published", "corrected"), settings=settings, simulators={})
    return table[(table["claim"] == key) & (table["recipe"] == recipe)].iloc[0]


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


def test_s3_takes_a_pointing_game_that_misses_everywhere_for_no_evidence_against():
    rows = ranking(PLACED)
    missed = rows["metric"].eq("pointing_game") & rows["method"].eq("xrai")
    rows.loc[missed, ["mean", "low", "high"]] = 0.0
    verdict_and_effect = judged("S3", ranking=rows)
    assert verdict_and_effect == (UNDECIDED, "8 of 9 scores clearly above chance, 0 clearly below")


@pytest.mark.parametrize(
    ("tau", "half", "expected"), [(0.2, 0.2, SUPPORTED), (0.6, 0.3, UNDECIDED), (0.9, 0.1, CONTRADICTED)]
)
def test_s4_compares_the_orders(tau, half, expected):
    assert verdict("S4", metric_agreement=agreement(tau, half)) == expected


def test_s4_is_decided_only_where_both_metrics_order_the_methods_reliably():
    rows = agreement(0.2, 0.2)
    # Spearman-Brown: with 16 people an alpha of .2 gives 16 * .2 / (1 + 15 * .2) = .8, which is not above .8.
    for weak in (reliability(0.2, 0.9, 16), reliability(0.9, 0.2, 16)):
        assert verdict("S4", metric_agreement=rows, metric_reliability=weak) == UNDECIDED
    assert verdict("S4", metric_agreement=rows, metric_reliability=reliability(0.9, 0.2, 17)) == SUPPORTED
    # Below chance the formula has a pole and then lies above 1.
    assert verdict("S4", metric_agreement=rows, metric_reliability=reliability(0.9, -0.5)) == UNDECIDED
    for unknown in (reliability(float("nan")), reliability().head(1)):
        assert verdict("S4", metric_agreement=rows, metric_reliability=unknown) == UNDECIDED
        assert verdict("S4", metric_agreement=agreement(0.9, 0.1), metric_reliability=unknown) == UNDECIDED
    assert "Spearman-Brown" in next(claim.test for claim in CLAIMS if claim.key == "S4")


@pytest.mark.parametrize(("similarity", "expected"), [(0.9, SUPPORTED), (0.5, UNDECIDED), (0.1, CONTRADICTED)])
def test_x1_asks_whether_any_method_survives_randomisation(similarity, expected):
    rows = faithfulness("cascading_mprt", "spearman", {"saliency": similarity, "gradcam": 0.1})
    assert verdict("X1", faithfulness=rows) == expected


def test_x1_leaves_methods_aside_that_multiply_by_the_scan_because_a_random_gradient_would_pass_for_stubborn():
    rng = np.random.default_rng(5)
    scan = np.where(rng.random(4000) < 0.5, 0.0, np.abs(rng.normal(size=4000)))
    one, two = (np.abs(scan * rng.normal(size=4000)) for _ in range(2))
    similarity = float(spearmanr(one, two).statistic)
    assert similarity > 0.8, "independent gradients on a scan with a black background"
    weighted = dict.fromkeys(INPUT_WEIGHTED, similarity)
    rows = faithfulness("cascading_mprt", "spearman", {**weighted, "saliency": 0.1})
    verdict_and_effect = judged("X1", faithfulness=rows)
    assert verdict_and_effect[0] == CONTRADICTED
    assert f"multiply by the scan: {len(INPUT_WEIGHTED)}" in verdict_and_effect[1]
    alone = faithfulness("cascading_mprt", "spearman", weighted)
    assert verdict("X1", faithfulness=alone) == NOT_TESTABLE
    # A registered name counts, not the id that a study gave it.
    own_id = faithfulness("cascading_mprt", "spearman", {"mine": 0.9, "saliency": 0.1})
    claim = next(claim for claim in CLAIMS if claim.key == "X1")
    names = {"mine": "input_x_gradient"}
    assert claim.judge(Evidence(study(faithfulness=own_id), names, RECIPE, "net", ()))[0] == CONTRADICTED


def test_methods_that_multiply_by_the_scan_are_methods():
    from heatproof.attribution import METHODS as REGISTERED

    assert set(REGISTERED) >= INPUT_WEIGHTED
    assert not INPUT_WEIGHTED & {"saliency", "guided_gradcam", "gradcam", "occlusion"}


BETTER = {name: mean + 0.15 for name, mean in LEADING.items()}


def test_networks_are_judged_one_by_one_and_named():
    one, two = faithfulness("aic", SETTING, LEADING), of("other", faithfulness("aic", SETTING, BETTER))
    tables = study(
        faithfulness=pd.concat([one, two]),
        ranking=pd.concat([ranking(PLACED), of("other", ranking(PLACED))]),
        sanity=pd.concat([sanity(True), of("other", sanity(True))]),
    )
    found = line("S1", RECIPE, tables)
    assert found["verdict"] == SUPPORTED, "in one list the leaders of the one would trail those of the other"
    assert found["effect"].startswith(f"net: {SETTING}: scorecam AIC 0.800")
    assert f"other: {SETTING}: scorecam AIC 0.950" in found["effect"]
    # Only the other's metric is unsound, and only the other's localisation is poor.
    for change in (
        {"sanity": pd.concat([sanity(True), of("other", sanity(False))])},
        {"ranking": pd.concat([ranking(PLACED), of("other", ranking({**PLACED, "xrai": 0.01}))])},
    ):
        assert line("S1", RECIPE, {**tables, **change})["verdict"] == UNDECIDED


def test_noise_of_one_network_is_not_held_against_methods_of_another():
    weak = {name: mean - 0.2 for name, mean in LEADING.items()}
    rows = pd.concat([faithfulness("sic", "a", LEADING), of("other", faithfulness("sic", "a", weak))])
    assert line("S2", RECIPE, study(faithfulness=rows))["verdict"] == CONTRADICTED


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (SUPPORTED, SUPPORTED, SUPPORTED), (CONTRADICTED, CONTRADICTED, CONTRADICTED),
        (SUPPORTED, CONTRADICTED, UNDECIDED), (SUPPORTED, UNDECIDED, UNDECIDED),
        (SUPPORTED, NOT_TESTABLE, SUPPORTED), (NOT_TESTABLE, NOT_TESTABLE, NOT_TESTABLE),
    ],
)  # fmt: skip
def test_several_networks_give_one_verdict(one, two, expected):
    found = over_models({"a": (one, "first"), "b": (two, "second")})
    assert found[0] == expected
    assert ("a: first" in found[1]) == (one != NOT_TESTABLE)
    assert over_models({"a": (one, "first")}) == (one, "first")


def test_s3_s4_and_x1_are_undecided_where_networks_differ():
    place = pd.concat([ranking(PLACED), of("other", ranking({**PLACED, "xrai": 0.01}))])
    orders = pd.concat([agreement(0.2, 0.2), of("other", agreement(0.9, 0.1))])
    sure = pd.concat([reliability(), of("other", reliability())])
    stubborn = faithfulness("cascading_mprt", "spearman", {"saliency": 0.9})
    rows = pd.concat([stubborn, of("other", faithfulness("cascading_mprt", "spearman", {"saliency": 0.1}))])
    tables = study(ranking=place, metric_agreement=orders, metric_reliability=sure, faithfulness=rows)
    assert {line(key, RECIPE, tables)["verdict"] for key in ("S3", "S4", "X1")} == {UNDECIDED}
    # A network whose orders are not reliable is not lent the reliability of another.
    both = pd.concat([agreement(0.2, 0.2), of("other", agreement(0.2, 0.2))])
    unsure = pd.concat([reliability(), of("other", reliability(0.01))])
    tables = study(metric_agreement=both, metric_reliability=unsure)
    assert line("S4", RECIPE, tables)["verdict"] == UNDECIDED


@pytest.mark.parametrize(
    ("recipe", "settings", "expected"),
    [
        ("corrected", ("pair webp", "nd push_pull information", "nd linear fraction"), "nd push_pull information"),
        ("corrected", ("nd push_pull fraction", "nd linear fraction", "nd push_pull information"),
         "nd push_pull fraction"),
        ("as_published", ("nd push_pull information", "pair webp unchecked", "pair shannon"), "pair webp unchecked"),
        ("as_published", ("nd push_pull information", "nd linear fraction"), "nd push_pull information"),
    ],
)  # fmt: skip
def test_s1_takes_the_first_setting_of_the_configuration_and_names_it(recipe, settings, expected):
    asked = sorted({*settings, "nd linear fraction"})
    rows = pd.concat([of("net", faithfulness("aic", setting, LEADING), recipe) for setting in asked])
    tables = study(faithfulness=rows, median_curves=median_areas(expected))
    effect = line("S1", recipe, tables, settings)["effect"]
    assert effect.startswith(f"{expected}: scorecam AIC")
    assert ("area under the median curve: scorecam 0.100" in effect) == (recipe == "as_published")


def test_s1_says_that_the_published_aic_cannot_decide_it():
    assert "(pair, unchecked) cannot pass that test" in next(claim.test for claim in CLAIMS if claim.key == "S1")


def test_a_study_without_the_methods_or_the_recipe_says_so():
    assert all(verdict(claim.key) == NOT_TESTABLE for claim in CLAIMS if not claim.over_targets)
    tables = study(
        faithfulness=faithfulness("sic", "a", LEADING), ranking=ranking(PLACED), metric_agreement=agreement(0, 0)
    )
    table = claims_table(tables, METHODS, ("corrected",), settings=(SETTING,), simulators={})
    assert set(table["claim"]) == {"S2", "S3", "S4"}, "S1 has no AIC and X1 no randomised network here"
    assert set(table.loc[table["recipe"] == "as_published", "verdict"]) == {NOT_TESTABLE}
