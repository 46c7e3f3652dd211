"""Claims about simulators: each verdict follows from the tables that deserve it only."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from heatproof.publication import simulator_claims
from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED

WARP = {"kind": "warp", "field": "velocity", "conditioning": "conditional", "n_experts": 3, "cycle": 1.0}
SIMULATORS = {
    "additive": {"kind": "additive"},
    "velocity": WARP,
    "separate": {**WARP, "conditioning": "separate", "n_experts": 1},
    "published": {**WARP, "field": "displacement", "cycle": 0.0},
}
ENTRIES = {
    "warped": {"method": "simulator", "simulator": "velocity", "map": "change"},
    "shrunk": {"method": "simulator", "simulator": "velocity", "map": "jacobian"},
    "saliency": {"method": "saliency"},
    "lrp": {"method": "lrp"},
    "random_noise": {"method": "random_noise"},
}


def simulations(scores: dict[tuple[str, str], tuple[float, float]], reference: str = "additive", **differences):
    """A row for each (simulator, score): mean and half of its interval; differences to the reference where given."""
    rows = []
    for (simulator, score), (mean, half) in scores.items():
        low, high = differences.get(simulator, (math.nan, math.nan))
        rows.append(
            {"model": "net", "recipe": "corrected", "simulator": simulator, "direction": "both", "dose": 1.0,
             "score": score, "mean": mean, "low": mean - half, "high": mean + half, "reference": reference,
             "difference": (low + high) / 2, "difference_low": low, "difference_high": high}
        )  # fmt: skip
    return pd.DataFrame(rows)


def comparisons(*pairs: tuple[str, str, float, float], half: float = 0.05, truth: str = "injected"):
    """A row for each pair: who, against whom, how much better, and the p value."""
    return pd.DataFrame(
        [{"model": "net", "recipe": "corrected", "level": "scan", "metric": "correlation", "truth": truth,
          "method_a": one, "method_b": other, "difference": difference, "low": difference - half,
          "high": difference + half, "p_holm": p_value} for one, other, difference, p_value in pairs]
    )  # fmt: skip


def evidence(recipe: str = "corrected", simulators=SIMULATORS, **tables: pd.DataFrame) -> Evidence:
    tables.setdefault("simulations", simulations({("velocity", "moved"): (0.9, 0.05), ("published", "moved"): (1, 0)}))
    names = {name: entry["method"] for name, entry in ENTRIES.items()}
    return Evidence(tables, names, recipe, "net", (), "corrected", ENTRIES, simulators)


@pytest.mark.parametrize(
    ("flipped", "referee", "verdict"),
    [
        (0.9, 0.8, SUPPORTED),
        (0.9, 0.5, UNDECIDED),  # the other network does not see it clearly
        (1.0, 0.2, CONTRADICTED),  # what moves only its own network is an attack
        (0.2, 0.8, CONTRADICTED),
        (0.9, None, UNDECIDED),
    ],
)
def test_minds_change_only_if_another_network_sees_it_too(flipped, referee, verdict):
    scores = {("velocity", "moved"): (1.0, 0.0), ("velocity", "flipped"): (flipped, 0.1),
              ("velocity", "referee_moved"): (referee, 0.1)}  # fmt: skip
    table = simulations({key: value for key, value in scores.items() if value[0] is not None})
    assert simulator_claims.changes_minds(evidence(simulations=table))[0] == verdict


def test_a_recipe_is_judged_by_its_own_kind_of_field():
    scores = {("velocity", "moved"): (0.9, 0.1), ("velocity", "referee_moved"): (0.9, 0.1),
              ("published", "moved"): (0.9, 0.1), ("published", "referee_moved"): (0.1, 0.1)}  # fmt: skip
    table = simulations(scores)
    assert simulator_claims.changes_minds(evidence(simulations=table))[0] == SUPPORTED
    verdict, effect = simulator_claims.changes_minds(evidence("as_published", simulations=table))
    assert verdict == CONTRADICTED and effect.startswith("published")
    without = {name: entry for name, entry in SIMULATORS.items() if name != "published"}
    assert simulator_claims.changes_minds(evidence("as_published", without, simulations=table))[0] == NOT_TESTABLE


@pytest.mark.parametrize(("shift", "verdict"), [(0.8, SUPPORTED), (0.4, UNDECIDED), (0.1, UNDECIDED)])
def test_the_other_network_has_to_move_further_than_an_attack_moves_it(shift, verdict):
    """An attack moves it too, a little: the direction alone is no likeness of the pattern."""
    scores = {("velocity", "flipped"): (0.9, 0.1), ("velocity", "referee_moved"): (0.9, 0.1),
              ("velocity", "referee_shift"): (shift, 0.1), ("attack", "referee_shift"): (0.3, 0.1)}  # fmt: skip
    known = {**SIMULATORS, "attack": {"kind": "attack"}}
    found = simulator_claims.changes_minds(evidence(simulators=known, simulations=simulations(scores)))
    assert found[0] == verdict and "by an attack 0.30" in found[1]
    assert simulator_claims.changes_minds(evidence(simulations=simulations(scores)))[0] == SUPPORTED, "none configured"


def test_a_number_moves_and_has_no_sides():
    table = simulations({("velocity", "moved"): (0.9, 0.1), ("velocity", "referee_moved"): (0.9, 0.1)})
    verdict, effect = simulator_claims.changes_minds(evidence(simulations=table))
    assert verdict == SUPPORTED and effect.startswith("velocity: moved")


def test_few_people_decide_nothing():
    table = simulations({("velocity", "moved"): (1.0, math.nan), ("velocity", "referee_moved"): (1.0, math.nan)})
    verdict, effect = simulator_claims.changes_minds(evidence(simulations=table))
    assert verdict == UNDECIDED and "no interval" in effect


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([("saliency", "warped", -0.3, 0.001), ("warped", "lrp", 0.2, 0.01)], SUPPORTED),
        ([("saliency", "warped", -0.3, 0.001), ("warped", "lrp", 0.2, 0.2)], UNDECIDED),
        ([("saliency", "warped", 0.3, 0.001), ("warped", "lrp", 0.2, 0.01)], CONTRADICTED),
        ([("warped", "lrp", 0.02, 0.01)], UNDECIDED),
    ],
)
def test_a_simulator_has_to_beat_every_saliency_map(pairs, verdict):
    assert simulator_claims.beats_saliency(evidence(comparisons=comparisons(*pairs)))[0] == verdict


def test_controls_guests_and_other_simulators_are_no_saliency_maps():
    pairs = [("warped", "lrp", 0.2, 0.01), ("shrunk", "warped", 0.3, 0.001), ("random_noise", "warped", 0.3, 0.001),
             ("svm:svm_weights", "warped", 0.3, 0.001)]  # fmt: skip
    verdict, effect = simulator_claims.beats_saliency(evidence(comparisons=comparisons(*pairs)))
    assert verdict == SUPPORTED and "clearly above 1 of 1" in effect
    assert simulator_claims.beats_saliency(evidence(comparisons=comparisons(*pairs[1:])))[0] == NOT_TESTABLE


def test_each_map_is_held_against_its_own_truth_and_all_must_agree():
    good = comparisons(("warped", "lrp", 0.2, 0.01))
    bad = comparisons(("shrunk", "lrp", -0.2, 0.01), truth="contraction")
    assert simulator_claims.beats_saliency(evidence(comparisons=pd.concat([good, bad])))[0] == UNDECIDED
    swapped = comparisons(("warped", "lrp", 0.2, 0.01), truth="contraction")
    assert simulator_claims.beats_saliency(evidence(comparisons=swapped))[0] == NOT_TESTABLE


PAIR = {("velocity", "change_correlation"): (0.6, 0.1), ("separate", "change_correlation"): (0.58, 0.1)}


@pytest.mark.parametrize(
    ("separate_less_conditional", "verdict"),
    [
        ((-0.1, 0.04), SUPPORTED),  # at most .04 better
        ((-0.1, 0.06), UNDECIDED),
        ((0.02, 0.06), CONTRADICTED),
        ((0.01, 0.04), SUPPORTED),  # better, but by less than matters
    ],
)
def test_one_network_suffices_if_it_is_not_worse_by_what_matters(separate_less_conditional, verdict):
    table = simulations(PAIR, reference="velocity", separate=separate_less_conditional)
    assert simulator_claims.one_network_suffices(evidence(simulations=table))[0] == verdict
    turned = tuple(-value for value in reversed(separate_less_conditional))
    table = simulations(PAIR, reference="separate", velocity=turned)
    assert simulator_claims.one_network_suffices(evidence(simulations=table))[0] == verdict


def test_two_means_that_are_not_paired_decide_less():
    verdict, effect = simulator_claims.one_network_suffices(evidence(simulations=simulations(PAIR)))
    assert verdict == UNDECIDED and "0.02 [−0.18, 0.22]" in effect


def test_twins_differ_in_conditioning_alone():
    others = {**SIMULATORS, "separate": {**SIMULATORS["separate"], "cycle": 0.5}}
    table = simulations(PAIR, reference="velocity", separate=(-0.1, 0.0))
    assert simulator_claims.one_network_suffices(evidence(simulators=others, simulations=table))[0] == NOT_TESTABLE
    assert simulator_claims.one_network_suffices(evidence("as_published", simulations=table))[0] == NOT_TESTABLE


def test_networks_of_the_other_recipe_stand_in_where_none_follows_the_one():
    rows = pd.DataFrame({"model": ["a", "a", "b"], "recipe": ["corrected", "corrected", "as_published"]})
    found = simulator_claims.simulated_models
    assert found({"simulations": rows}, "as_published") == {"b": "as_published"}
    assert found({"simulations": rows[:2]}, "as_published") == {"a": "corrected"}
    assert found({"simulations": rows.head(0)}, "corrected") == {}
