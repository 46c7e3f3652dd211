"""What the section `rating` of a completed study asks for: which models and methods experts rate.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heatproof.errors import ConfigError
from heatproof.studies import methods_of


def rated_models(study: Mapping[str, Any]) -> list[str]:
    """Return the models whose heatmaps are rated: those of the list, or all with at least two methods to compare."""
    listed = study["rating"]["models"]
    return [name for name in listed or study["models"] if listed or len(rated_methods(study, name)) > 1]


def rated_methods(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the ids of the methods whose heatmaps of a model are rated, in the order of the configuration."""
    listed = study["rating"]["methods"]
    return [name for name in methods_of(study, model) if listed is None or name in listed]


def check_rating(study: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check names and numbers of the section that have to fit the rest of the study.

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
        If a model is not of the study, has fewer than two methods to rate, or more scans are repeated than there are.
    """
    section = study["rating"]
    for key in ("models", "tasks"):
        for name in section[key] or ():
            if name not in study["models"]:
                raise ConfigError(
                    f"the model '{name}' is not configured.",
                    file=source,
                    field=".".join((*path, "rating", key)),
                    remedy=f"use names of this study's models: {', '.join(study['models'])}.",
                )
    for name in section["models"] or ():
        if len(rated_methods(study, name)) < 2:
            raise ConfigError(
                f"fewer than two methods of '{name}' are there to be rated.",
                file=source,
                field=".".join((*path, "rating", "models")),
                remedy="add methods that explain the model, or take it off the list.",
            )
    n_items = section["n_scans"] * len(rated_models(study))
    # A study in which no model has two methods has no kit, and nothing to repeat.
    if n_items and section["n_repeats"] > n_items:
        raise ConfigError(
            f"{section['n_repeats']} scans cannot be repeated where {n_items} are rated.",
            file=source,
            field=".".join((*path, "rating", "n_repeats")),
            remedy="repeat fewer, or rate more scans.",
        )
