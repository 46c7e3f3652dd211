"""Configurations: keys and values that no run could follow."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input import Trial
from cohorts.scan_files import outputs
from heatproof.configuration import complete
from heatproof.stages.prepare import prepare

FILE = "config.yaml"
GONE = object()
STUDY: dict[str, Any] = {
    "cohort": {"source": "phantom", "n_participants": 40},
    "truths": {"injected": {"source": "injected"}},
    "models": {"net": {"network": "wang_b", "intensity": "minmax"}, "svm": {"network": "linear_svm"}},
    "simulators": {"warp": {"kind": "warp"}, "attack": {"kind": "attack"}},
    "methods": {
        "saliency": {"method": "saliency"},
        "lrp": {"method": "lrp"},
        "change": {"method": "simulator", "simulator": "warp"},
        "weights": {"method": "svm_weights"},
    },
}
TUMOURS = {"source": "cheng", "folder": "tumours"}
SIGNALS = {"source": "signals", "table": "signals.tsv", "units": "mV", "outputs": {"pr": {"column": "PR"}}}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with some keys of its study (or, after a slash, of its top level) set or removed."""
    config: dict[str, Any] = {"studies": {"mine": copy.deepcopy(STUDY)}}
    for path, value in changes.items():
        entry = config if path.startswith("/") else config["studies"]["mine"]
        *parents, last = path.removeprefix("/").split(".")
        for key in parents:
            entry = entry.setdefault(key, {})
        if value is GONE:
            del entry[last]
        else:
            entry[last] = value
    return config


def config(**changes: Any) -> Callable[[Path], object]:
    """Return an attempt to complete a configuration; two underscores stand for a dot."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return lambda folder: complete(changed(named), FILE)


def keys(changes: dict[str, Any]) -> Callable[[Path], object]:
    """Return an attempt with keys that are no Python names."""
    return lambda folder: complete(changed(changes), FILE)


def cohort(**entry: Any) -> Callable[[Path], object]:
    """Return an attempt to complete a cohort's entry and to open its source, as the first rule of a run does."""

    def attempt(folder: Path) -> None:
        completed = complete(changed({"cohort": {"source": "phantom", **entry}, "/data_root": str(folder)}), FILE)
        spec = completed["studies"]["mine"]["cohort"]
        prepare(spec, seed=1, root=folder, **outputs(folder / "results"))

    return attempt


TRIALS = (
    Trial("no study", keys({"/studies": {}})),
    Trial("a study that is empty", keys({"/studies": {"mine": None}})),
    Trial("a study without models", config(models={})),
    Trial("a study without methods", config(methods=GONE)),
    Trial("a study called like a rule", keys({"/studies": {"train": STUDY}})),
    Trial("a study's name with a blank", keys({"/studies": {"my study": STUDY}})),
    Trial("an unknown key", config(cohrt={})),
    Trial("an unknown key of a method", config(methods__lrp__bet=0.5)),
    Trial("a typo in a method's name", config(methods__lrp__method="lrpp")),
    Trial("a method that is a list", config(methods__lrp__method=["lrp"])),
    Trial("a method without a name", config(methods__lrp={})),
    Trial("an unknown network", config(models__net__network="wang_x")),
    Trial("an unknown source", config(cohort__source="phantm")),
    Trial("a source that would import a module", config(cohort__source="os.system")),
    Trial("a word for a number", config(cohort__n_participants="many")),
    Trial("a number in quotation marks", config(training__learning_rate="1e-3")),
    Trial("a fraction for a whole number", config(folds__n_folds=3.0)),
    Trial("yes or no for a number", config(folds__n_folds=True)),
    Trial("a number for a list", config(seeds=1)),
    Trial("nothing for a section", config(training=None)),
    Trial("a negative number", config(cohort__n_participants=-1)),
    Trial("a negative seed", config(seeds=[-1])),
    Trial("a learning rate that is infinite", config(training__learning_rate=float("inf"))),
    Trial("a noise level that is no number",
          config(methods__smooth={"method": "smoothgrad", "noise_level": float("nan")})),
    Trial("a share of 1 for testing", config(folds__test_share=1.0)),
    Trial("no folds", config(folds__n_folds=0)),
    Trial("more folds than participants", config(folds__n_folds=41)),
    Trial("the same seed twice", config(seeds=[1, 1])),
    Trial("no seeds", config(seeds=[])),
    Trial("the target of a class that does not exist", config(attribution__target="AD")),
    Trial("a method's target that does not exist", config(methods__lrp__target=1)),
    Trial("a list with a method that is not configured", config(attribution__methods=["saliency", "nope"])),
    Trial("a model without a method that suits it", config(models__svm__methods=["saliency"])),
    Trial("a metric that does not exist", config(metrics__names=["dice"])),
    Trial("a probe that does not exist", config(probes__metrics=["sick"])),
    Trial("a truth that the source does not know", config(truths__injected__source="injectd")),
    Trial("a truth called like another source", config(truths={"effect": {"source": "injected"}})),
    Trial("LRP whose alpha and beta lose relevance",
          config(methods__lrp={"method": "lrp", "rule": "alpha_beta", "alpha": 1, "beta": 1})),
    Trial("LRP whose box is empty", config(methods__lrp={"method": "lrp", "rule": "z_box", "low": 3, "high": -3})),
    Trial("a baseline of controls where everybody is ill",
          keys({"cohort": TUMOURS, "truths": {}, "simulators": {}, "models": {"net": {"network": "wang_b"}},
                "methods": {"ig": {"method": "integrated_gradients", "baseline": "control_mean"}}})),
    Trial("a classifier of recordings that have no classes",
          keys({"cohort": SIGNALS, "truths": {}, "simulators": {}, "models": {"net": {"network": "ecg_resnet"}},
                "methods": {"saliency": {"method": "saliency"}}})),
    Trial("an output that the cohort does not have", config(models__net__output="pr")),
    Trial("an output called like a column of its own",
          keys({"cohort": {**SIGNALS, "outputs": {"target": {"column": "PR"}}}})),
    Trial("an unknown kind of simulator", config(simulators__warp__kind="wrap")),
    Trial("a method that shows a simulator that is not there", config(methods__change__simulator="wrap")),
    Trial("tissue asked of a simulator that moves none",
          config(methods__change={"method": "simulator", "simulator": "attack", "map": "jacobian"})),
    Trial("a model with a simulator that is not there", config(models__net__simulators=["wrap"])),
    Trial("a model that is to show a simulator which is not fitted to it",
          config(models__net={"network": "liu", "simulators": ["attack"], "methods": ["saliency", "change"]})),
    Trial("a simulator for networks with random weights", config(probes__randomisation__methods=["change"])),
    Trial("three classes, and a simulator asked about the predicted one",
          keys({"cohort": TUMOURS, "truths": {}, "models": {"net": {"network": "wang_b"}},
                "methods": {"change": {"method": "simulator", "simulator": "warp", "target": "predicted"}}})),
    Trial("three classes, and a simulator asked about the label, by the study's target",
          keys({"cohort": TUMOURS, "truths": {}, "models": {"net": {"network": "wang_b"}},
                "attribution.target": "label",
                "methods": {"change": {"method": "simulator", "simulator": "warp"}}})),
    Trial("a warp of heads whose background is as grey as they are", config(models__net__intensity="zscore")),
    Trial("no full dose", config(simulation__doses=[0.5])),
    Trial("rated models that are not there", config(rating__models=["nets"])),
    Trial("a bad scan that is to be ignored",
          config(cohort={"source": "table", "table": "scans.tsv", "on_bad_scan": "ignore"})),
    Trial("the least severity above the largest", cohort(severity_minimum=0.9, severity_maximum=0.6)),
    Trial("a source of files without a folder", config(cohort={"source": "bids"})),
    Trial("the diagnosis at screening for later scans", cohort(source="bids", folder=".", diagnosis_column="DX_sc")),
)  # fmt: skip
