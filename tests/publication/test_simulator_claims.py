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
             "difference": (low + high) / 2, "difference_low": low, "difference_high": high, "runs_agree": "yes"}
        )  # fmt: skip
    return pd.DataFrame(rows)


def ranking(*rows: tuple[str, float], half: float = 0.02, truth: str = "injected", smoothing: float = 0.0):
    """A row for each method: its correlation with the truth."""
    return pd.DataFrame(
        [{"model": "net", "recipe": "corrected", "level": "scan", "metric": "correlation", "truth": truth,
          "smoothing_mm": smoothing, "method": method, "mean": mean, "low": mean - half, "high": mean + half}
         for method, mean in rows]
    )  # fmt: skip


def evidence(recipe: str = "corrected", simulators=SIMULATORS, **tables: pd.DataFrame) -> Evidence:
    tables.setdefault("simulations", simulations({("velocity", "moved"): (0.9, 0.05), ("published", "moved"): (1, 0)}))
    names = {name: entry["method"] for name, entry in ENTRIES.items()}
    return Evidence(tables, names, recipe, "net", (), "corrected", ENTRIES, simulators)


KNOWN = {**SIMULATORS, "attack": {"kind": "attack"}}


def turned(simulator: str = "velocity", half: float = 0.05, **scores: float | None) -> dict:
    """Scores of a simulator that turns both networks round, and of an attack; some of them other, or left out."""
    own = {"flipped": 0.9, "referee_flipped": 0.8, "mirrored_referee_flipped": 0.2, "answer_shift": 2.0,
           "referee_shift": 1.8, **scores}  # fmt: skip
    found = {(simulator, score): (value, half) for score, value in own.items() if value is not None}
    return found | {("attack", "answer_shift"): (2.0, half), ("attack", "referee_shift"): (0.4, half)}


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({}, SUPPORTED),
        ({"referee_flipped": 0.5}, UNDECIDED),  # the other network does not see it clearly
        ({"mirrored_referee_flipped": 0.75}, UNDECIDED),  # any warp would do
        ({"referee_shift": 0.4}, UNDECIDED),  # it follows no further than it follows an attack
        ({"referee_flipped": 0.2}, CONTRADICTED),  # what turns only its own network round is an attack
        ({"flipped": 0.2}, CONTRADICTED),
        ({"referee_flipped": None, "mirrored_referee_flipped": None}, UNDECIDED),
    ],
)
def test_minds_change_only_if_another_network_sees_it_too(scores, verdict):
    table = simulations(turned(**scores))
    assert simulator_claims.changes_minds(evidence(simulators=KNOWN, simulations=table))[0] == verdict


def test_without_an_attack_to_compare_with_nothing_is_decided():
    table = simulations({key: value for key, value in turned().items() if key[0] != "attack"})
    verdict, effect = simulator_claims.changes_minds(evidence(simulations=table))
    assert verdict == UNDECIDED and "no attack" in effect


def test_a_recipe_is_judged_by_its_own_kind_of_field():
    table = simulations(turned() | turned("published", referee_flipped=0.1))
    assert simulator_claims.changes_minds(evidence(simulators=KNOWN, simulations=table))[0] == SUPPORTED
    verdict, effect = simulator_claims.changes_minds(evidence("as_published", KNOWN, simulations=table))
    assert verdict == CONTRADICTED and effect.startswith("published")
    without = {name: entry for name, entry in KNOWN.items() if name != "published"}
    assert simulator_claims.changes_minds(evidence("as_published", without, simulations=table))[0] == NOT_TESTABLE


def test_a_number_moves_and_has_no_sides():
    scores = turned(flipped=None, referee_flipped=None, mirrored_referee_flipped=None)
    moved = {"moved": 0.9, "referee_moved": 0.9, "mirrored_referee_moved": 0.5}
    scores |= {("velocity", score): (value, 0.05) for score, value in moved.items()}
    verdict, effect = simulator_claims.changes_minds(evidence(simulators=KNOWN, simulations=simulations(scores)))
    assert verdict == SUPPORTED and effect.startswith("velocity: moved")


def test_few_people_decide_nothing():
    table = simulations(turned(half=math.nan))
    verdict, effect = simulator_claims.changes_minds(evidence(simulators=KNOWN, simulations=table))
    assert verdict == UNDECIDED and "no interval" in effect


@pytest.mark.parametrize(
    ("saliency", "lrp", "verdict"),
    [(0.3, 0.4, SUPPORTED), (0.3, 0.58, UNDECIDED), (0.7, 0.4, CONTRADICTED), (0.62, 0.6, UNDECIDED)],
)
def test_a_simulator_has_to_beat_every_saliency_map(saliency, lrp, verdict):
    table = ranking(("warped", 0.6), ("saliency", saliency), ("lrp", lrp))
    assert simulator_claims.beats_saliency(evidence(ranking=table))[0] == verdict


def test_every_map_has_the_smoothing_that_suits_it_best():
    rough, smooth = ranking(("warped", 0.6), ("lrp", 0.2)), ranking(("warped", 0.5), ("lrp", 0.59), smoothing=5.0)
    assert simulator_claims.beats_saliency(evidence(ranking=rough))[0] == SUPPORTED
    verdict, effect = simulator_claims.beats_saliency(evidence(ranking=pd.concat([rough, smooth])))
    assert verdict == UNDECIDED and "warped against injected 0.60" in effect and "best lrp 0.59" in effect


def test_controls_guests_and_other_simulators_are_no_saliency_maps():
    others = (("shrunk", 0.9), ("random_noise", 0.9), ("svm:svm_weights", 0.9))
    verdict, effect = simulator_claims.beats_saliency(evidence(ranking=ranking(("warped", 0.6), ("lrp", 0.4), *others)))
    assert verdict == SUPPORTED and "clearly above 1 of 1" in effect
    assert simulator_claims.beats_saliency(evidence(ranking=ranking(("warped", 0.6), *others)))[0] == NOT_TESTABLE


def test_each_map_is_held_against_its_own_truth_and_all_must_agree():
    good = ranking(("warped", 0.6), ("lrp", 0.4))
    bad = ranking(("shrunk", 0.2), ("lrp", 0.4), truth="contraction")
    assert simulator_claims.beats_saliency(evidence(ranking=pd.concat([good, bad])))[0] == UNDECIDED
    swapped = ranking(("warped", 0.6), ("lrp", 0.4), truth="contraction")
    assert simulator_claims.beats_saliency(evidence(ranking=swapped))[0] == NOT_TESTABLE


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


def test_a_loss_that_not_all_runs_show_decides_nothing():
    table = simulations(PAIR, reference="velocity", separate=(0.02, 0.06))
    assert simulator_claims.one_network_suffices(evidence(simulations=table))[0] == CONTRADICTED
    table = table.assign(runs_agree="no")
    assert simulator_claims.one_network_suffices(evidence(simulations=table))[0] == UNDECIDED


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
