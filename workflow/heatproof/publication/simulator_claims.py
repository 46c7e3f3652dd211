"""Headline statements about simulators: things that change a scan until the network changes its mind.

Under ``as_published`` the simulator is the first one that returns a displacement as it is, which is what the paper did;
under ``corrected`` the first whose warp is integrated from a velocity, so that it cannot fold. Both belong to the same
networks where those follow one recipe only: what a recipe changes in these claims is the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from heatproof.publication.evidence import Evidence
from heatproof.publication.target_claims import CONTRADICTED, NOT_TESTABLE, SUPPORTED, UNDECIDED, agreed
from heatproof.simulation_rows import FULL_DOSE
from heatproof.statistics.conditions import CONTROLS
from heatproof.statistics.simulations import BOTH

Judged = tuple[str, str]
FIELDS = {"as_published": "displacement", "corrected": "velocity"}
# Less than half of the scans is not what scans do.
CHANCE = 0.5
# A correlation that is lower by less than this is as good.
AS_GOOD = 0.05
# Which map of a simulator is held against which truth.
MAPS = {"jacobian": "contraction", "change": "injected"}
# Settings that mean nothing to one of the two ways of conditioning.
OF_CONDITIONING = ("conditioning", "n_experts")
COMPARED = ("change_correlation", "jacobian_correlation", "referee_flipped")


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
    """L1: do simulated scans turn the network round, and another one too, more than the same warp elsewhere does?

    Any damage moves answers towards the middle, so direction alone proves nothing: the other network has to change
    sides more often than under the mirrored warp, and to follow the first one more closely than under an attack.
    """
    name = simulator_of(evidence)
    if name is None:
        return NOT_TESTABLE, f"no simulator with a {FIELDS[evidence.recipe]} field"
    # A number has no sides to change; that it moves the right way has to do.
    way = "flipped" if _row(evidence, name, "flipped") is not None else "moved"
    own, referee, mirrored = (_row(evidence, name, f"{whose}{way}") for whose in ("", "referee_", "mirrored_referee_"))
    followed, attacked = _followed(evidence, name), _followed(evidence, _attack(evidence))
    words = [
        f"{what} {_interval(row)}"
        for what, row in ((way, own), (f"referee {way}", referee), (f"referee {way} by the mirrored change", mirrored))
        if row is not None
    ]
    if followed is not None and attacked is not None:
        words.append(f"referee follows by {_interval(followed)} of the shift, under an attack {_interval(attacked)}")
    effect = f"{name}: {', '.join(words)}"
    if own is None or own["high"] < CHANCE or (referee is not None and referee["high"] < CHANCE):
        return CONTRADICTED, effect
    if referee is None or mirrored is None:
        return UNDECIDED, f"{effect}; no second network to ask"
    if followed is None or attacked is None:
        return UNDECIDED, f"{effect}; no attack to compare with"
    beyond = referee["low"] > mirrored["high"] and followed["low"] > attacked["high"]
    return (SUPPORTED if beyond and min(own["low"], referee["low"]) > CHANCE else UNDECIDED), effect


def _attack(evidence: Evidence) -> str:
    """Return the first attack of the configuration, or empty text."""
    return next((name for name, one in evidence.simulators.items() if one["kind"] == "attack"), "")


def _followed(evidence: Evidence, simulator: str) -> dict[str, float] | None:
    """Return how far the referee's answer shifts per shift of the network's own, with the referee's interval."""
    own, referee = (_row(evidence, simulator, score) for score in ("answer_shift", "referee_shift"))
    if own is None or referee is None or not own["mean"] > 0:
        return None
    return {key: float(referee[key] / own["mean"]) for key in ("mean", "low", "high")}


def beats_saliency(evidence: Evidence) -> Judged:
    """L2: do the simulator's maps lie on the exact truth better than every saliency map?

    A simulator's maps are smooth by construction, so that every map stands with the smoothing that suits it best, and
    is beaten only if its interval lies below.
    """
    name = simulator_of(evidence)
    verdicts, words = [], []
    for shown, truth in MAPS.items():
        rows = _at_their_best(evidence, truth)
        rivals = rows[~rows["name"].isin(CONTROLS | {"simulator"})]
        for method in _methods_that_show(evidence, name, shown) if name else ():
            own = rows[rows["method"] == method]
            if own.empty or rivals.empty:
                continue
            mine = own.iloc[0]
            better, worse = rivals["high"] < mine["low"], rivals["low"] > mine["high"]
            verdicts.append(SUPPORTED if better.all() else CONTRADICTED if worse.any() else UNDECIDED)
            nearest = rivals.loc[rivals["mean"].idxmax()]
            words.append(
                f"{method} against {truth} {_interval(mine)}: clearly above {int(better.sum())} of {len(rivals)}, "
                f"clearly below {int(worse.sum())}; best {nearest['method']} {_interval(nearest)}"
            )
    if not verdicts:
        return NOT_TESTABLE, f"no map of a simulator with a {FIELDS[evidence.recipe]} field beside saliency and a truth"
    signed = _row(evidence, str(name), "jacobian_correlation")
    if signed is not None:
        words.append(f"with its sign the log-Jacobian has {_interval(signed)}")
    return agreed(verdicts), "; ".join(words)


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
        # What only some of the runs show may be their networks'.
        verdicts.append(verdict if verdict == SUPPORTED or found.get("runs_agree") == "yes" else UNDECIDED)
        words.append(f"{score.replace('_', ' ')} {_interval(found, 'difference')}")
    if not verdicts:
        return NOT_TESTABLE, "no exact change to compare them by"
    effect = f"{pair[0]} less {pair[1]}: {', '.join(words)}"
    return agreed(verdicts), effect


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


def _at_their_best(evidence: Evidence, truth: str) -> pd.DataFrame:
    """Return the correlation of every method of the network with a truth, each at the smoothing that suits it best."""
    rows = evidence.table("ranking")
    rows = rows[(rows["level"] == "scan") & (rows["metric"] == "correlation") & (rows["truth"] == truth)]
    # A guest from another model has no name here.
    rows = rows.assign(name=rows["method"].map(evidence.methods)).dropna(subset=["name", "mean"])
    return rows.sort_values("mean", ascending=False, kind="stable").drop_duplicates("method").reset_index(drop=True)


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


def _difference(evidence: Evidence, one: str, other: str, score: str) -> dict[str, Any] | None:
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
            "runs_agree": second["runs_agree"],
        }
    if first["reference"] == other:
        names = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
        return {**{name: float(first[column]) for name, column in names.items()}, "runs_agree": first["runs_agree"]}
    return {
        "difference": float(first["mean"] - second["mean"]),
        "low": float(first["low"] - second["high"]),
        "high": float(first["high"] - second["low"]),
    }


def _interval(row: Mapping[str, Any] | pd.Series, name: str = "mean") -> str:
    """Return a number with its interval, or without one where too few people have none."""
    bounds = f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row["low"]) else " (no interval)"
    return f"{row[name]:.2f}{bounds}".replace("-", "−")
