"""Headline statements about simulators: things that change a scan until the network changes its mind.

Under ``as_published`` the simulator is the first one that returns a displacement as it is, which is what the paper did;
under ``corrected`` the first whose warp is integrated from a velocity, so that it cannot fold. Both belong to the same
networks where those follow one recipe only: what a recipe changes in these claims is the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from heatproof.metrics.simulations import FULL_DOSE
from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED
from heatproof.publication.verdicts import ALPHA
from heatproof.statistics.conditions import CONTROLS
from heatproof.statistics.simulations import BOTH

Judged = tuple[str, str]
FIELDS = {"as_published": "displacement", "corrected": "velocity"}
# Answers that go up or down by chance go the right way half of the time.
CHANCE = 0.5
# A correlation that is lower by less than this is as good.
AS_GOOD = 0.05
# Which map of a simulator is held against which truth.
MAPS = {"jacobian": "contraction", "change": "injected"}
# Settings that mean nothing to one of the two ways of conditioning.
OF_CONDITIONING = ("conditioning", "n_experts")
COMPARED = ("change_correlation", "jacobian_correlation")


def simulated_models(tables: Mapping[str, pd.DataFrame], recipe: str) -> dict[str, str]:
    """Return the networks with simulators and their recipes: those of a recipe, or all where none follows it."""
    pairs = tables["simulations"][["model", "recipe"]].drop_duplicates().sort_values(["model", "recipe"])
    found = dict(pairs.itertuples(index=False, name=None))
    own = {model: followed for model, followed in found.items() if followed == recipe}
    return own or found


def simulator_of(evidence: Evidence) -> str | None:
    """Return the simulator that stands for the recipe: the first warp of its kind of field that the network has."""
    fitted = set(evidence.table("simulations")["simulator"])
    for name, settings in evidence.simulators.items():
        if name in fitted and settings["kind"] == "warp" and settings.get("field") == FIELDS[evidence.recipe]:
            return name
    return None


def changes_minds(evidence: Evidence) -> Judged:
    """L1: do simulated scans turn the network round, and move another one too, further than an attack moves it?"""
    name = simulator_of(evidence)
    if name is None:
        return NOT_TESTABLE, f"no simulator with a {FIELDS[evidence.recipe]} field"
    # A number has no sides to change; that it moves the right way has to do.
    own = "flipped" if _row(evidence, name, "flipped") is not None else "moved"
    rows = {score: _row(evidence, name, score) for score in (own, "referee_moved", "referee_shift")}
    known = {score: row for score, row in rows.items() if row is not None}
    words = [f"{score.replace('_', ' ')} {_interval(row)}" for score, row in known.items()]
    attack, further = _attack_shift(evidence), True
    if attack is not None and "referee_shift" in known:
        words.append(f"by an attack {_interval(attack)}")
        further = known["referee_shift"]["low"] > attack["high"]
    effect = f"{name}: {', '.join(words)}"
    shares = [known[score] for score in (own, "referee_moved") if score in known]
    if any(row["high"] < CHANCE for row in shares):
        return CONTRADICTED, effect
    if "referee_moved" not in known:
        return UNDECIDED, f"{effect}; no second network to ask"
    return (SUPPORTED if further and all(row["low"] > CHANCE for row in shares) else UNDECIDED), effect


def _attack_shift(evidence: Evidence) -> pd.Series | None:
    """Return how far the first attack of the network moves the referee: what needs no likeness of the pattern."""
    rows = (
        _row(evidence, name, "referee_shift") for name, one in evidence.simulators.items() if one["kind"] == "attack"
    )
    return next((row for row in rows if row is not None), None)


def beats_saliency(evidence: Evidence) -> Judged:
    """L2: do the simulator's maps lie on the exact truth better than every saliency map, pair by pair?"""
    name = simulator_of(evidence)
    verdicts, words = [], []
    for shown, truth in MAPS.items():
        for method in _methods_that_show(evidence, name, shown) if name else ():
            rivals = _against_saliency(evidence, method, truth)
            if rivals.empty:
                continue
            sure = rivals["p_holm"] < ALPHA
            better, worse = sure & (rivals["low"] > 0), sure & (rivals["high"] < 0)
            verdicts.append(SUPPORTED if better.all() else CONTRADICTED if worse.any() else UNDECIDED)
            nearest = rivals.loc[rivals["difference"].idxmin()]
            words.append(
                f"{method} against {truth}: clearly above {int(better.sum())} of {len(rivals)}, clearly below "
                f"{int(worse.sum())}; least difference {_interval(nearest, 'difference')} ({nearest['rival']})"
            )
    if not verdicts:
        return NOT_TESTABLE, f"no map of a simulator with a {FIELDS[evidence.recipe]} field beside saliency and a truth"
    return (verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED), "; ".join(words)


def one_network_suffices(evidence: Evidence) -> Judged:
    """L3: is one conditional network as good as two separate ones that differ in nothing else?"""
    pair = _conditioned(evidence)
    if pair is None:
        return NOT_TESTABLE, f"no two simulators with a {FIELDS[evidence.recipe]} field differ in conditioning alone"
    verdicts, words = [], []
    for score in COMPARED:
        found = _difference(evidence, *pair, score)
        if found is None:
            continue
        verdict = SUPPORTED if found["low"] > -AS_GOOD else CONTRADICTED if found["high"] < 0 else UNDECIDED
        verdicts.append(verdict)
        words.append(f"{score.replace('_', ' ')} {_interval(found, 'difference')}")
    if not verdicts:
        return NOT_TESTABLE, "no exact change to compare them by"
    effect = f"{pair[0]} less {pair[1]}: {', '.join(words)}"
    return (verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED), effect


def _row(evidence: Evidence, simulator: str, score: str) -> pd.Series | None:
    """Return a score of a simulator at the full dose, removal and injection together."""
    rows = evidence.table("simulations")
    rows = rows[(rows["simulator"] == simulator) & (rows["score"] == score)]
    rows = rows[(rows["dose"] == FULL_DOSE) & (rows["direction"] == BOTH)]
    return None if rows.empty else rows.iloc[0]


def _methods_that_show(evidence: Evidence, simulator: str | None, shown: str) -> list[str]:
    """Return the methods whose maps are those of a simulator."""
    return [
        name
        for name, entry in evidence.entries.items()
        if entry.get("simulator") == simulator and entry.get("map", "change") == shown
    ]


def _against_saliency(evidence: Evidence, method: str, truth: str) -> pd.DataFrame:
    """Return the paired differences of a method to every other of the network that shows no simulator, and its name."""
    rows = evidence.table("comparisons")
    rows = rows[(rows["level"] == "scan") & (rows["metric"] == "correlation") & (rows["truth"] == truth)]
    numbers = ["difference", "low", "high", "p_holm"]
    ahead = rows[rows["method_a"] == method].rename(columns={"method_b": "rival"})[["rival", *numbers]]
    behind = rows[rows["method_b"] == method].rename(columns={"method_a": "rival"})[["rival", *numbers]]
    turned = behind.assign(difference=-behind["difference"], low=-behind["high"], high=-behind["low"])
    found = pd.concat([ahead, turned], ignore_index=True)
    # A guest from another model has no name here.
    named = found["rival"].map(evidence.methods)
    return found[named.notna() & ~named.isin(CONTROLS | {"simulator"})].reset_index(drop=True)


def _conditioned(evidence: Evidence) -> tuple[str, str] | None:
    """Return the first conditional simulator of the recipe and one of separate networks that is its twin otherwise."""
    fitted = set(evidence.table("simulations")["simulator"])
    own = {
        name: settings
        for name, settings in evidence.simulators.items()
        if name in fitted and settings.get("field") == FIELDS[evidence.recipe]
    }
    for name, settings in own.items():
        for other, others in own.items():
            ways = (settings.get("conditioning"), others.get("conditioning"))
            if ways == ("conditional", "separate") and _without_conditioning(settings) == _without_conditioning(others):
                return name, other
    return None


def _without_conditioning(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in OF_CONDITIONING}


def _difference(evidence: Evidence, one: str, other: str, score: str) -> dict[str, float] | None:
    """Return how much better one simulator is than another, with an interval.

    Paired by person where one of them is the reference of the table; else the interval is that of two means that know
    nothing of one another, which is wider.
    """
    rows = {name: _row(evidence, name, score) for name in (one, other)}
    first, second = rows[one], rows[other]
    if first is None or second is None:
        return None
    if second["reference"] == one:
        return {
            "difference": -float(second["difference"]),
            "low": -float(second["difference_high"]),
            "high": -float(second["difference_low"]),
        }
    if first["reference"] == other:
        names = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
        return {name: float(first[column]) for name, column in names.items()}
    return {
        "difference": float(first["mean"] - second["mean"]),
        "low": float(first["low"] - second["high"]),
        "high": float(first["high"] - second["low"]),
    }


def _interval(row: Mapping[str, Any] | pd.Series, name: str = "mean") -> str:
    """Return a number with its interval, or without one where too few people have none."""
    bounds = f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row["low"]) else " (no interval)"
    return f"{row[name]:.2f}{bounds}".replace("-", "−")
