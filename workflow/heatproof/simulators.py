"""What the sections `simulators` and `simulation` of a completed study ask for, and whether it fits the rest.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heatproof.errors import ConfigError
from heatproof.outputs import SIMULATED
from heatproof.studies import COUNTERFACTUAL_SOURCES, needs_simulator

# Kinds of simulators that change intensities and move no tissue.
WITHOUT_WARP = ("additive", "attack")


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
        If a method or a model names a simulator that is not of the study, tissue is asked of one that moves none, or
        no dose is a full one.
    """

    def refused(problem: str, where: tuple[str, ...], remedy: str) -> ConfigError:
        return ConfigError(problem, file=source, field=".".join((*path, *where)), remedy=remedy)

    known = study["simulators"]
    remedy = (
        f"use ids of this study's simulators: {', '.join(known)}." if known else "add it to the study's simulators."
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
    for name, model in study["models"].items():
        for chosen in model.get("simulators") or ():
            if chosen not in known:
                raise refused(f"the simulator '{chosen}' is not configured.", ("models", name, "simulators"), remedy)
    if known and 1 not in study["simulation"]["doses"]:
        raise refused("no dose is 1, a full one.", ("simulation", "doses"), "add 1.0 to the doses.")


def counterfactual_cohort(study: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """Return the cohort entry that knows the exact counterfactuals of a model's scans; None where nobody knows them."""
    cohort, output = study["cohort"], study["models"][model].get("output")
    offered = SIMULATED.get(cohort["source"], ()) if output else COUNTERFACTUAL_SOURCES
    return dict(cohort) if (output or cohort["source"]) in offered else None


def counterfactual_modules(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the modules that draw the exact counterfactuals of a model's scans: their code decides on its scores."""
    cohort = counterfactual_cohort(study, model)
    return [f"heatproof.cohorts.{cohort['source']}"] if cohort else []


def referee_seed(study: Mapping[str, Any], seed: int) -> int | None:
    """Return the seed of the network that judges the simulators of another one: the next, the first after the last.

    None in a study with a single seed: its networks of one fold have no equal.
    """
    seeds = list(study["seeds"])
    return seeds[(seeds.index(seed) + 1) % len(seeds)] if len(seeds) > 1 else None
