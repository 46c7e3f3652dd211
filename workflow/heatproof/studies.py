"""What a completed study asks for: which methods explain a model, who is probed by what, what is fetched.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from heatproof.intensities import FITTED_INTENSITIES

# What a list of methods may say instead.
ALL = "all"
# Networks without layers: methods that need a network's gradients or hooks are not run on them.
LINEAR_NETWORKS = ("linear_svm",)
LINEAR_METHODS = ("svm_weights", "svm_pattern")
# Truths that every scan has for itself, the first where there are several; the others are one map for all.
OUTPUT_TRUTHS = ("counterfactual", "waves")  # known for each number that a network predicts
INDIVIDUAL_TRUTHS = ("injected", "lesions", *OUTPUT_TRUTHS, "contraction")
# Sources that know how each of their scans would look in the other group (`heatproof.cohorts.counterfactuals`).
COUNTERFACTUAL_SOURCES = ("blobs", "phantom", "anatomies")
# Keys of a cohort that say what is fetched, and where to.
FETCH_KEYS = ("source", "folder", "layout", "fetch", "dataset", "url", "sha256", "files")
# Which stage answers which of the `probes.metrics`.
PROBED_BY = {
    "probe": {"aic", "sic", "insertion", "deletion", "road", "infidelity", "f_fidelity", "perturbation", "turbe"},
    "randomise": {"cascading_mprt", "smooth_mprt", "efficient_mprt", "data_randomisation", "max_sensitivity"},
    "agree": {"retraining_agreement"},
}
# Which keys of `probes` a stage reads beside `metrics`; an edit of the others is no reason to run it again.
PROBE_KEYS = {
    "probe": ("n_scans", "batch_size", "nulls", "information", "removal", "infidelity", "f_fidelity",
              "perturbation", "examples_per_class"),
    "randomise": ("n_scans", "randomisation", "max_sensitivity"),
    "agree": ("randomisation",),
}  # fmt: skip


def fetched_folders(cohort: Mapping[str, Any]) -> list[str]:
    """Return the folders, inside the data root, into which a completed cohort entry fetches; none without a fetch."""
    fetch = cohort.get("fetch", False)
    if isinstance(fetch, list):
        return [entry["folder"] for entry in fetch]
    return [cohort["folder"]] if fetch else []


def methods_of(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the ids of the methods that explain a model: all that suit it, are run and are on its own list."""
    entry = study["models"][model]
    linear = entry["network"] in LINEAR_NETWORKS
    names = [name for name, method in study["methods"].items() if (method["method"] in LINEAR_METHODS) == linear]
    fitted = (None, *simulators_of(study, model))
    names = [name for name in names if study["methods"][name].get("simulator") in fitted]
    for chosen in (study["attribution"]["methods"], entry.get("methods")):
        names = [name for name in names if chosen in (None, ALL) or name in chosen]
    return names


def needs_permuted(method: Mapping[str, Any]) -> bool:
    """Return whether a configured method explains a network that was trained on permuted labels."""
    return method["method"] == "label_permuted"


def needs_simulator(method: Mapping[str, Any]) -> bool:
    """Return whether a configured method shows what a simulator changes."""
    return method["method"] == "simulator"


def simulators_of(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the ids of the simulators that are fitted to a model: all, or those of its list; a linear one has none."""
    entry = study["models"][model]
    if entry["network"] in LINEAR_NETWORKS:
        return []
    chosen = entry.get("simulators")
    return [name for name in study.get("simulators", {}) if chosen is None or name in chosen]


def simulated_models(study: Mapping[str, Any]) -> list[str]:
    """Return the models of a study that simulators are fitted to."""
    return [name for name in study["models"] if simulators_of(study, name)]


def fitted_simulators(study: Mapping[str, Any], model: str, methods: Iterable[str]) -> list[str]:
    """Return the ids of the simulators of a model that some of its methods show, each once."""
    shown = [study["methods"][name]["simulator"] for name in methods if needs_simulator(study["methods"][name])]
    return [name for name in simulators_of(study, model) if name in shown]


def randomised_methods(study: Mapping[str, Any], model: str) -> list[str]:
    """Return the methods that can explain a model again when its weights are drawn anew.

    Those that show a simulator cannot: it would have to be fitted again to every one of the networks.
    """
    return [name for name in methods_of(study, model) if not needs_simulator(study["methods"][name])]


def probes_of(study: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return what a stage of `PROBED_BY` reads of the section `probes`."""
    section = study["probes"]
    read = {key: section[key] for key in PROBE_KEYS[stage]}
    if stage == "agree":
        read["randomisation"] = {"similarity": section["randomisation"]["similarity"]}
    return {"metrics": [name for name in section["metrics"] if name in PROBED_BY[stage]], **read}


def probed_models(study: Mapping[str, Any], stage: str) -> list[str]:
    """Return the models of a study that a stage of `PROBED_BY` asks anything; the linear ones are never asked."""
    if not PROBED_BY[stage] & set(study["probes"]["metrics"]):
        return []
    return [name for name, model in study["models"].items() if model["network"] not in LINEAR_NETWORKS]


def fitted_recipes(study: Mapping[str, Any]) -> list[str]:
    """Return the recipes of a study with a model whose normalisation is fitted to scans."""
    return sorted({model["recipe"] for model in study["models"].values() if model["intensity"] in FITTED_INTENSITIES})


def needs_background(method: Mapping[str, Any]) -> bool:
    """Return whether a configured method, or the one inside a control, begins at training scans."""
    inner = method.get("inner_parameters") or {}
    return "training" in (method.get("baseline"), inner.get("baseline"))


def unknown_control_means(study: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the keys that ask for the mean control scan of a cohort in which every class is a disease."""
    cohort = study["cohort"]
    only_diseases = {
        "cheng": True,
        "lesions": "none" not in cohort.get("kinds", ()),
        "images": not cohort.get("has_controls"),
        **dict.fromkeys(("beats", "wfdb", "signals"), True),
    }
    if not only_diseases.get(cohort["source"], False):
        return []
    keys: list[tuple[str, ...]] = []
    for name, method in study["methods"].items():
        inner = method.get("inner_parameters") or {}
        if "control_mean" in (method.get("baseline"), inner.get("baseline")):
            keys.append(("methods", name, "baseline"))
    removes = {"insertion", "deletion", "turbe"} & set(study["probes"]["metrics"])
    if removes and "control_mean" in study["probes"]["removal"]["fills"]:
        keys.append(("probes", "removal", "fills"))
    return keys
