"""What a completed study asks its networks to predict, and whether its cohort can answer.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from heatproof.errors import ConfigError
from heatproof.studies import LINEAR_NETWORKS, OUTPUT_TRUTHS

# Outputs of the sources that can draw each of their scans again with one number changed.
SIMULATED = {"beats": ("heart_rate", "pr", "qt", "qrs", "r_v5", "t_v5", "j_v5")}
# Sources of pictures and volumes, which have diagnoses only.
WITHOUT_OUTPUTS = (
    "phantom", "anatomies", "lesions", "blobs", "table", "bids", "caps", "oasis", "images", "cheng", "radiography",
)  # fmt: skip
# Truths that cohorts of signals can have.
SIGNAL_TRUTHS = {"beats": ("counterfactual",), "wfdb": ("waves",), "signals": ()}
# Probes that ask for the probability of a class.
CLASS_PROBES = ("aic", "sic")


def offered_outputs(cohort: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the outputs of a configured cohort; none for one of classes."""
    if cohort["source"] in WITHOUT_OUTPUTS:
        return ()
    if cohort["source"] in SIMULATED:
        return SIMULATED[cohort["source"]]
    return tuple(cohort["measured"] if cohort.get("labels_from") == "marks" else cohort["outputs"])


def redrawn_cohort(study: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """Return the cohort entry that a model's certificate draws scans from; None for classifiers and real scans."""
    cohort = study["cohort"]
    asked = study["models"][model].get("output") and cohort["source"] in SIMULATED
    return dict(cohort) if asked else None


def redrawn_modules(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the modules that draw a model's counterfactual scans: their code decides on its certificate."""
    return drawing_modules(redrawn_cohort(study, model))


def drawing_modules(cohort: Mapping[str, Any] | None) -> list[str]:
    """Return the modules that draw the scans of a cohort entry; none without one."""
    return [f"heatproof.cohorts.{cohort['source']}"] if cohort else []


def check_outputs(study: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check that every model can be trained for its output, and that its probes need no classes.

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
        If an output is unknown, missing, or asked of a model or a probe that knows classes only.
    """
    refused = partial(ConfigError.of_study, path=path, file=source)

    offered = offered_outputs(study["cohort"])
    for name, model in study["models"].items():
        output, where = model.get("output"), ("models", name, "output")
        if not output:
            if offered or study["cohort"]["source"] in SIGNAL_TRUTHS:
                raise refused("the cohort has no classes.", where, f"use one of {', '.join(offered) or 'its outputs'}.")
            if "perturbation" in study["probes"]["metrics"]:
                raise refused(
                    f"'perturbation' asks for a number, and the model '{name}' predicts classes.",
                    ("probes", "metrics"),
                    "leave it out, or use insertion, deletion or road.",
                )
            continue
        if model["network"] in LINEAR_NETWORKS:
            raise refused(f"a {model['network']} predicts classes only.", where, "use a network, such as ecg_resnet.")
        if output not in offered:
            remedy = f"use one of {', '.join(offered)}." if offered else "remove it, for a classifier."
            raise refused(f"the cohort has no output '{output}'.", where, remedy)
        training = {**study["training"], **model["training"]}
        if training["class_weights"] != "none":
            raise refused("numbers have no class weights.", ("models", name, "training"), "set class_weights: none.")
        for probe in study["probes"]["metrics"]:
            if probe in CLASS_PROBES:
                raise refused(
                    f"'{probe}' asks for the probability of a class, which the model '{name}' does not give.",
                    ("probes", "metrics"),
                    "leave it out, or use insertion, deletion or road.",
                )
    for name, truth in study["truths"].items():
        known = SIGNAL_TRUTHS.get(study["cohort"]["source"])
        if truth["source"] not in known if known is not None else truth["source"] in OUTPUT_TRUTHS:
            remedy = f"use {' or '.join(known)}." if known else "remove it (truths: {} where none is known)."
            raise refused(f"the cohort has no truth '{truth['source']}'.", ("truths", name), remedy)
        if truth["source"] == "contraction" and not study["cohort"].get("keep_log_jacobian"):
            remedy = "set keep_log_jacobian: true in a cohort of blobs, of the phantom or of real anatomies."
            raise refused("the cohort keeps no log-Jacobian.", ("truths", name), remedy)
