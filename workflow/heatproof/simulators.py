"""What the sections `simulators` and `simulation` of a completed study ask for, and whether it fits the rest.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from heatproof.config_checks import class_count
from heatproof.errors import ConfigError
from heatproof.outputs import SIMULATED, drawing_modules
from heatproof.studies import COUNTERFACTUAL_SOURCES, needs_simulator, simulators_of

# Kinds of simulators that change intensities and move no tissue.
WITHOUT_WARP = ("additive", "attack")
# Sources of heads inside a mask, and the normalisations that set what lies outside it to the mean of the head.
MASKED_SOURCES = ("phantom", "anatomies", "table", "bids", "caps", "oasis")
GREY_OUTSIDE = ("zscore", "dataset")


def check_simulators(study: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check that every simulator that is named exists and can do what it is asked.

    Parameters
    ----------
    study : mapping
        The completed study.
    path : tuple of str
        Where it stands in the configuration.
    source : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If a method or a model names a simulator that is not of the study, tissue is asked of one that moves none, a
        method asks about another of several classes than the one that simulators are fitted for, a
        list of methods names one that could not be drawn, no dose is a full one, or a warp would move scans whose
        background is as grey as their tissue.
    """
    refused = partial(ConfigError.of_study, path=path, file=source)

    known = study["simulators"]
    remedy = (
        f"use ids of this study's simulators: {', '.join(known)}." if known else "add it to the study's simulators."
    )
    for name, model in study["models"].items():
        masked = study["cohort"]["source"] in MASKED_SOURCES and model["intensity"] in GREY_OUTSIDE
        for chosen in simulators_of(study, name) if masked else ():
            if known.get(chosen, {}).get("field", "none") != "none":
                raise refused(
                    f"with '{model['intensity']}' what lies outside the head is as grey as its mean, and the warp "
                    f"'{chosen}' would draw it in for tissue.",
                    ("models", name, "intensity"),
                    "use minmax or none, or fit no warp to this model.",
                )
    for name, method in study["methods"].items():
        if not needs_simulator(method):
            continue
        chosen = method["simulator"]
        if chosen not in known:
            raise refused(f"the simulator '{chosen}' is not configured.", ("methods", name, "simulator"), remedy)
        kind = known[chosen]["kind"]
        if method["map"] == "jacobian" and kind in WITHOUT_WARP:
            raise refused(
                f"the simulator '{chosen}' is of the kind '{kind}', which moves no tissue.",
                ("methods", name, "map"),
                "use map: change, or a simulator of the kind warp.",
            )
        explained, n_classes = method["target"] or study["attribution"]["target"], class_count(study["cohort"])
        if n_classes > 2 and explained != "patient":
            raise refused(
                f"a simulator is fitted for the last of {n_classes} classes, and '{explained}' asks about others.",
                ("methods", name, "target"),
                "set target: patient for methods that show a simulator.",
            )
    for name, model in study["models"].items():
        for chosen in model.get("simulators") or ():
            if chosen not in known:
                raise refused(f"the simulator '{chosen}' is not configured.", ("models", name, "simulators"), remedy)
        for method in _shown(study, model.get("methods")):
            chosen = study["methods"][method]["simulator"]
            if chosen not in simulators_of(study, name):
                raise refused(
                    f"the method '{method}' shows the simulator '{chosen}', which is not fitted to this model.",
                    ("models", name, "methods"),
                    "add it to the model's simulators, or take the method off the list; a linear model has none.",
                )
    for method in _shown(study, study["probes"]["randomisation"]["methods"]):
        raise refused(
            f"the method '{method}' shows a simulator, which is fitted to no randomised network.",
            ("probes", "randomisation", "methods"),
            "take it off the list.",
        )
    if known and 1 not in study["simulation"]["doses"]:
        raise refused("no dose is 1, a full one.", ("simulation", "doses"), "add 1.0 to the doses.")


def _shown(study: Mapping[str, Any], listed: Sequence[str] | None) -> list[str]:
    """Return the methods of a list that show a simulator; none where it leaves the choice to the study."""
    return [name for name in listed or () if needs_simulator(study["methods"][name])]


def counterfactual_cohort(study: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """Return the cohort entry that knows the exact counterfactuals of a model's scans; None where nobody knows them."""
    cohort, output = study["cohort"], study["models"][model].get("output")
    offered = SIMULATED.get(cohort["source"], ()) if output else COUNTERFACTUAL_SOURCES
    return dict(cohort) if (output or cohort["source"]) in offered else None


def counterfactual_modules(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the modules that draw the exact counterfactuals of a model's scans: their code decides on its scores."""
    return drawing_modules(counterfactual_cohort(study, model))


def simulation_of_run(study: Mapping[str, Any], fold: int, seed: int) -> dict[str, Any]:
    """Return the section `simulation` as one run reads it: only the first fold and seed keep scans.

    How many are kept is thus no reason to judge the simulators of other runs again.
    """
    section = dict(study["simulation"])
    return section if (fold, seed) == (0, study["seeds"][0]) else {**section, "keep_examples": 0}


def referee_seed(study: Mapping[str, Any], seed: int) -> int | None:
    """Return the seed of the network that judges the simulators of another one: the next, the first after the last.

    None in a study with a single seed: its networks of one fold have no equal.
    """
    seeds = list(study["seeds"])
    return seeds[(seeds.index(seed) + 1) % len(seeds)] if len(seeds) > 1 else None
