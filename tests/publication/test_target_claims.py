"""Claims about several targets: each verdict follows from the orders of the methods that deserve it only."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from heatproof.publication import target_claims
from heatproof.publication.claims import claims_table
from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED
from heatproof.statistics.simulations import SIMULATION_COLUMNS

METHODS = ("saliency", "ig", "gradcam", "deconvolution", "occlusion")
ENTRIES = {name: {"method": name} for name in (*METHODS, "random_noise")}
GOOD_FIRST = (0.9, 0.7, 0.5, 0.3, 0.1)


def tables(by_truth, by_metric=None, tau=None, half=0.02, recipe="corrected", sure=1.0, alpha=0.9, passes="true"):
    """Return the tables of a study with targets whose methods have these means, by truth and by perturbation.

    The method with the largest mean comes first in a share `sure` of the bootstrap; `alpha` is the agreement of the
    people about the methods, by every metric.
    """
    ranked, asked, agreed = [], [], []
    for target, means in by_truth.items():
        for method, mean in zip((*METHODS, "random_noise"), (*means, 2.0), strict=True):
            shared = {"model": target, "recipe": recipe, "method": method, "is_control": method == "random_noise"}
            ends = {"mean": mean, "low": mean - half, "high": mean + half, "chance": 0.1, **first(mean, means, sure)}
            ranked.append({**shared, **ends, "level": "scan", "truth": "counterfactual", "smoothing_mm": 0.0,
                           "metric": "average_precision"})  # fmt: skip
        for method, mean in zip(METHODS, (by_metric or {}).get(target, ()), strict=False):
            shared = {"model": target, "recipe": recipe, "method": method, "is_control": False}
            ends = {"mean": mean, "low": mean - half, "high": mean + half, "metric": "perturbation",
                    **first(mean, by_metric[target], sure)}  # fmt: skip
            asked += [
                {**shared, **ends, "setting": setting} for setting in ("published 25", "corrected noise 25 points")
            ]
        if tau is not None:
            shared = {"model": target, "recipe": recipe, "tau_methods": tau,
                      "tau_methods_low": tau - 0.1, "tau_methods_high": tau + 0.1}  # fmt: skip
            truth = {"truth": "counterfactual", "truth_metric": "average_precision"}
            agreed += [{**shared, **truth, "metric": metric, "setting": setting} for metric, setting in
                       (("perturbation", "published 25"), ("road", "x"))]  # fmt: skip
    rated = [
        {"model": target, "recipe": recipe, "metric": metric, "setting": setting, "alpha_methods": alpha,
         "n_people": 16}
        for target in by_truth
        for metric, setting in (
            ("average_precision", ""), ("perturbation", "published 25"), ("perturbation", "corrected noise 25 points"),
        )
    ]  # fmt: skip
    certificates = [{"model": target, "output": target, "passes": passes} for target in by_truth]
    empty = dict.fromkeys(("mean", "low", "high", "probability_first"), 0.0) | {"rank_low": 9.0, "is_control": True}
    empty |= {"metric": "", "setting": "", "method": ""}
    asked = asked or [{"model": "", "recipe": "", **empty}]
    names = ("model", "recipe", "metric", "setting", "truth", "truth_metric")
    agreed = agreed or [{**dict.fromkeys(names, ""), "tau_methods": 0.0}]
    return {"ranking": pd.DataFrame(ranked), "faithfulness": pd.DataFrame(asked),
            "truth_agreement": pd.DataFrame(agreed), "metric_reliability": pd.DataFrame(rated),
            "certificates": pd.DataFrame(certificates)}  # fmt: skip


def first(mean, means, sure):
    """Return what the bootstrap says of a method: how often it is first, and its best rank."""
    leads = mean == max(means)
    return {"probability_first": sure if leads else (1 - sure) / 4, "rank_low": 1.0 if leads or sure < 0.975 else 2.0}


def evidence(recipe="corrected", **given):
    made = tables(**given)
    names = {name: name for name in ENTRIES}
    return {
        target: Evidence(made, names, recipe, target, (), network_recipe="corrected") for target in given["by_truth"]
    }


def test_e1_is_supported_where_sure_leaders_differ_and_contradicted_by_one_sure_leader_everywhere():
    differ = {"pr": GOOD_FIRST, "qt": (0.7, 0.9, 0.5, 0.3, 0.1)}
    assert target_claims.no_method_is_best(evidence(by_truth=differ))[0] == SUPPORTED
    same = {"pr": GOOD_FIRST, "qt": (0.8, 0.7, 0.2, 0.3, 0.5)}
    verdict, effect = target_claims.no_method_is_best(evidence(by_truth=same))
    assert verdict == CONTRADICTED and "saliency on pr, qt" in effect
    assert target_claims.no_method_is_best(evidence(by_truth={"pr": GOOD_FIRST}))[0] == NOT_TESTABLE


def test_e1_does_not_take_leaders_or_orders_that_differ_by_chance_for_an_answer():
    turned = {"pr": GOOD_FIRST, "qt": GOOD_FIRST[::-1]}
    verdict, effect = target_claims.no_method_is_best(evidence(by_truth=turned, sure=0.9))
    assert verdict == UNDECIDED and "surely on no target" in effect, "W is 0, yet nobody leads for sure"
    same = {"pr": GOOD_FIRST, "qt": GOOD_FIRST}
    assert target_claims.no_method_is_best(evidence(by_truth=same, sure=0.9))[0] == UNDECIDED


def test_e1_judges_by_perturbation_as_published_and_by_truth_as_corrected():
    truth = {"pr": GOOD_FIRST, "qt": GOOD_FIRST}
    metric = {"pr": GOOD_FIRST[::-1], "qt": (0.1, 0.9, 0.5, 0.3, 0.2)}
    given = {"by_truth": truth, "by_metric": metric}
    assert target_claims.no_method_is_best(evidence(**given))[0] == CONTRADICTED
    verdict, effect = target_claims.no_method_is_best(evidence("as_published", **given))
    assert verdict == SUPPORTED and effect.startswith("first: ig on qt; occlusion on pr;")


def test_e2_is_supported_by_a_method_clearly_below_the_middle_everywhere():
    verdict, effect = target_claims.some_are_inferior(evidence(by_truth={"pr": GOOD_FIRST, "qt": GOOD_FIRST}))
    assert verdict == SUPPORTED
    assert effect.endswith("clearly below the middle on every target: deconvolution, occlusion")
    assert "more than ranks can be apart" in effect, "two targets cannot tell five methods apart by their ranks"


def test_e2_is_supported_by_ranks_further_apart_than_the_critical_difference():
    many = {f"t{i}": GOOD_FIRST for i in range(6)}
    verdict, effect = target_claims.some_are_inferior(evidence(by_truth=many, half=0.9))
    assert verdict == SUPPORTED and "on every target: none" in effect and "more than" not in effect


def test_e2_needs_more_than_orders_that_turn_round():
    turned = {f"t{i}": GOOD_FIRST[:: 1 if i % 2 else -1] for i in range(6)}
    assert target_claims.some_are_inferior(evidence(by_truth=turned, half=0.9))[0] == CONTRADICTED
    few = {"pr": GOOD_FIRST, "qt": GOOD_FIRST[::-1]}
    assert target_claims.some_are_inferior(evidence(by_truth=few, half=0.9))[0] == UNDECIDED, "no power"


def test_the_critical_difference_is_that_of_the_published_table():
    # Demsar 2006, table 5(a): q.05 of 2, 5 and 10 classifiers is 1.960, 2.728 and 3.164.
    for n_methods, quantile in ((2, 1.960), (5, 2.728), (10, 3.164)):
        expected = quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * 7))
        assert target_claims.critical_difference(n_methods, 7) == pytest.approx(expected, abs=2e-3)


def test_kendalls_w_is_one_for_one_order_and_zero_where_ranks_cancel():
    def orders(*values):
        return {str(i): pd.DataFrame({"value": dict(zip(METHODS, row, strict=True))}) for i, row in enumerate(values)}

    assert target_claims.concordance(orders(GOOD_FIRST, GOOD_FIRST, GOOD_FIRST)) == pytest.approx(1)
    assert target_claims.concordance(orders(GOOD_FIRST, GOOD_FIRST[::-1])) == pytest.approx(0)
    assert target_claims.concordance(orders((3, 3, 2, 1, 1), (3, 3, 2, 1, 1))) == pytest.approx(1), "ties of both"


def test_kendalls_w_follows_from_the_mean_spearman_correlation():
    random = np.random.default_rng(3)
    rows = random.normal(size=(4, 5))
    orders = {str(i): pd.DataFrame({"value": dict(zip(METHODS, row, strict=True))}) for i, row in enumerate(rows)}
    ranks = rows.argsort(1).argsort(1)
    mean = np.mean([np.corrcoef(ranks[a], ranks[b])[0, 1] for a, b in itertools.combinations(range(4), 2)])
    assert target_claims.concordance(orders) == pytest.approx((1 + 3 * mean) / 4)


@pytest.mark.parametrize(("tau", "verdict"), [(0.2, SUPPORTED), (0.9, CONTRADICTED), (0.65, UNDECIDED)])
def test_e3_compares_the_published_perturbation_metric_with_the_truth(tau, verdict):
    found, effect = target_claims.measure_disagrees(
        evidence("as_published", by_truth={"pr": GOOD_FIRST, "qt": GOOD_FIRST}, tau=tau)
    )
    assert found == verdict and effect.count("tau") == 2, "ROAD beside the truth is not the paper's metric"
    noisy = evidence("as_published", by_truth={"pr": GOOD_FIRST, "qt": GOOD_FIRST}, tau=tau, alpha=0.1)
    assert target_claims.measure_disagrees(noisy)[0] == UNDECIDED, "noise alone makes two orders differ"
    nothing = evidence("as_published", by_truth={"pr": GOOD_FIRST})
    for one in nothing.values():
        one.tables["truth_agreement"] = one.tables["truth_agreement"].iloc[:0]
    assert target_claims.measure_disagrees(nothing)[0] == NOT_TESTABLE
    without = evidence(by_truth={"pr": GOOD_FIRST}, tau=tau)
    assert target_claims.measure_disagrees(without)[0] == NOT_TESTABLE, "no corrected setting is in the table"


def test_e4_needs_a_leader_by_perturbation_that_the_truth_clearly_beats_on_most_targets():
    truth = {"pr": GOOD_FIRST, "qt": GOOD_FIRST, "qrs": GOOD_FIRST}
    turned = dict.fromkeys(truth, GOOD_FIRST[::-1])
    assert target_claims.best_depends_on_measure(evidence(by_truth=truth, by_metric=turned))[0] == SUPPORTED
    assert target_claims.best_depends_on_measure(evidence(by_truth=truth, by_metric=truth))[0] == CONTRADICTED
    once = {**truth, "pr": GOOD_FIRST[::-1]}
    assert target_claims.best_depends_on_measure(evidence(by_truth=truth, by_metric=once))[0] == UNDECIDED
    assert target_claims.best_depends_on_measure(evidence(by_truth=truth))[0] == NOT_TESTABLE
    unsure = evidence(by_truth=truth, by_metric=turned, sure=0.9)
    assert target_claims.best_depends_on_measure(unsure)[0] == UNDECIDED, (
        "the truth's own leader may lead by perturbation"
    )


def test_networks_without_certificate_are_no_targets_and_two_for_one_number_are_one():
    made = tables(by_truth={"pr": GOOD_FIRST, "pr_wide": GOOD_FIRST, "qt": GOOD_FIRST, "qrs": GOOD_FIRST})
    certificates = made["certificates"].assign(output=["pr", "pr", "qt", "qrs"], passes=["true", "true", "false", True])
    assert target_claims.targets_of(made["ranking"], certificates) == ["pr", "qrs"]
    assert target_claims.targets_of(made["ranking"], certificates.iloc[:0]) == []


def test_controls_lead_nothing():
    rows = target_claims.order_by_truth(evidence(by_truth={"pr": GOOD_FIRST})["pr"])
    assert list(rows.index) == list(METHODS)


def test_a_measure_of_which_less_is_better_is_turned_round():
    rows = pd.DataFrame(
        {"metric": "deletion", "method": ["a", "b"], "mean": [0.2, 0.4], "low": [0.1, 0.3], "high": [0.3, 0.5],
         "is_control": False, "probability_first": 0.5, "rank_low": 1.0}
    )  # fmt: skip
    found = target_claims._oriented(rows)
    assert found["value"].idxmax() == "a"
    assert list(found.loc["a", ["low", "high"]]) == [-0.3, -0.1]


def test_both_recipes_are_in_the_table_though_all_networks_follow_one():
    truth = {"pr": GOOD_FIRST, "qt": (0.7, 0.9, 0.5, 0.3, 0.1)}
    made = tables(by_truth=truth, by_metric={"pr": GOOD_FIRST, "qt": GOOD_FIRST}, tau=0.1)
    columns = ["recipe", "model", "metric", "setting", "metric_a", "metric_b", "is_truth", "tau_methods"]
    made |= {name: pd.DataFrame(columns=columns) for name in ("median_curves", "sanity", "metric_agreement")}
    made["simulations"] = pd.DataFrame(columns=list(SIMULATION_COLUMNS))
    found = claims_table(made, ENTRIES, ("corrected",), settings=(), simulators={})
    verdicts = found.set_index(["claim", "recipe"])["verdict"]
    assert verdicts["E1", "corrected"] == SUPPORTED
    assert verdicts["E1", "as_published"] == CONTRADICTED
    assert verdicts["E3", "as_published"] == SUPPORTED
