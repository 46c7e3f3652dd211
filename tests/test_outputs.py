"""What a configuration may ask its networks to predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from heatproof import configuration
from heatproof.cohorts.beats import open_source
from heatproof.cohorts.sources import SOURCES
from heatproof.errors import ConfigError
from heatproof.outputs import (
    SIGNAL_TRUTHS,
    SIMULATED,
    WITHOUT_OUTPUTS,
    offered_outputs,
    redrawn_cohort,
    redrawn_modules,
)
from heatproof.provenance import source_digest


def config() -> dict[str, Any]:
    """Return the smallest configuration with a network that predicts a number."""
    model = {"network": "ecg_resnet", "output": "pr"}
    truths = {"counterfactual": {"source": "counterfactual"}}
    study = {"cohort": {"source": "beats"}, "truths": truths, "models": {"pr": model}}
    return {"studies": {"ecg": {**study, "methods": {"saliency": {"method": "saliency"}}}}}


def completed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    raw = config()
    change(raw["studies"]["ecg"])
    study: dict[str, Any] = configuration.complete(raw, "my.yaml")["studies"]["ecg"]
    return study


def linear(study: dict[str, Any]) -> None:
    study["models"]["pr"]["network"] = "linear_svm"
    study["methods"]["weights"] = {"method": "svm_weights"}


def table(output: str = "pr") -> dict[str, Any]:
    """Return a cohort of signals with one output."""
    facts = {"units": "mV", "sampling_rate": 500, "leads": ["I"]}
    return {"source": "signals", "table": "signals.tsv", "outputs": {output: {"column": output}}, **facts}


def marks(measured: list[str]) -> dict[str, Any]:
    """Return a cohort of recordings whose marks are measured."""
    cohort = yaml.safe_load(Path("config/ludb.yaml").read_text(encoding="utf-8"))["studies"]["ludb"]["cohort"]
    return {**cohort, "labels_from": "marks", "measured": measured}


def unnamed(study: dict[str, Any], cohort: dict[str, Any]) -> None:
    study.update(cohort=cohort, truths={})
    study["models"]["pr"].pop("output")


def classify(study: dict[str, Any], probes: list[str]) -> None:
    study.update(cohort={"source": "phantom"}, truths={"injected": {"source": "injected"}}, probes={"metrics": probes})
    study["models"]["pr"]["output"] = None


def contract(study: dict[str, Any]) -> None:
    classify(study, ["road"])
    study["truths"] = {"contraction": {"source": "contraction"}}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (lambda s: s["models"]["pr"].update(output="pt"), "models.pr.output", ["no output 'pt'", "heart_rate, pr"]),
        (lambda s: s["models"]["pr"].pop("output"), "models.pr.output", ["no classes", "r_v5"]),
        (lambda s: s["cohort"].update(source="phantom"), "models.pr.output", ["no output 'pr'", "classifier"]),
        (linear, "models.pr.output", ["linear_svm predicts classes only"]),
        (lambda s: s.update(training={"class_weights": "balanced"}), "models.pr.training", ["class weights"]),
        (lambda s: s.update(probes={"metrics": ["road", "aic"]}), "probes.metrics", ["'aic'", "'pr'", "insertion"]),
        (lambda s: s.update(probes={"metrics": ["sic"]}), "probes.metrics", ["'sic'"]),
        (
            lambda s: s.update(truths={"waves": {"source": "waves"}}),
            "truths.waves",
            ["no truth 'waves'", "counterfactual"],
        ),
        (lambda s: s.update(truths={"injected": {"source": "injected"}}), "truths.injected", ["no truth 'injected'"]),
        (lambda s: s.update(cohort=table()), "truths.counterfactual", ["no truth", "truths: {}"]),
        (lambda s: s.update(cohort=table("qt")), "models.pr.output", ["no output 'pr'", "use one of qt"]),
        (lambda s: s.update(cohort=table("target")), "cohort.outputs", ["'target'"]),
        (lambda s: unnamed(s, table()), "models.pr.output", ["no classes", "use one of pr"]),
        (lambda s: unnamed(s, marks(["qt"])), "models.pr.output", ["no classes", "use one of qt"]),
        (
            lambda s: s["methods"]["saliency"].update(method="integrated_gradients", baseline="control_mean"),
            "methods.saliency.baseline",
            ["mean control scan"],
        ),
        (
            lambda s: s.update(probes={"metrics": ["turbe"], "removal": {"fills": ["control_mean"]}}),
            "probes.removal.fills",
            ["mean control scan"],
        ),
        (contract, "truths.contraction", ["keeps no log-Jacobian", "keep_log_jacobian: true"]),
        (
            lambda s: s.update(truths={"contraction": {"source": "contraction"}}),
            "truths.contraction",
            ["no truth 'contraction'", "counterfactual"],
        ),
        (lambda s: classify(s, ["perturbation"]), "probes.metrics", ["'perturbation' asks for a number"]),
    ],
)
def test_what_cannot_be_predicted_is_refused_by_name(change, field: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        completed(change)
    assert caught.value.field == f"studies.ecg.{field}"
    assert all(word in str(caught.value) for word in words)


def test_a_classifier_may_be_asked_for_probabilities() -> None:
    assert completed(lambda study: classify(study, ["aic", "sic"]))["models"]["pr"]["output"] is None


def test_every_source_is_known_to_have_outputs_or_not() -> None:
    assert set(SIGNAL_TRUTHS) | set(WITHOUT_OUTPUTS) == set(SOURCES)
    assert not set(SIGNAL_TRUTHS) & set(WITHOUT_OUTPUTS)
    assert offered_outputs(table("qt")) == ("qt",)
    assert offered_outputs(marks(["pr", "qt"])) == ("pr", "qt")


def test_a_study_of_signals_may_have_no_truth() -> None:
    assert completed(lambda study: study.update(cohort=table(), truths={}))["truths"] == {}


def test_the_outputs_of_the_simulator_are_those_that_it_has(tmp_path: Path) -> None:
    source = open_source(completed(lambda study: None)["cohort"], seed=1, root=tmp_path)
    assert set(SIMULATED["beats"]) == set(source.outputs) == set(source.steps)


def test_only_models_with_an_output_draw_scans_again_and_depend_on_the_simulator() -> None:
    study = completed(lambda study: study["models"].update(qt={"network": "wang_b", "output": "qt", "n_blocks": 2}))
    assert redrawn_cohort(study, "qt") == study["cohort"]
    assert redrawn_modules(study, "qt") == ["heatproof.cohorts.beats"]
    study["models"]["qt"]["output"] = None
    assert redrawn_cohort(study, "qt") is None
    assert redrawn_modules(study, "qt") == []
    assert source_digest("heatproof.stages.train") != source_digest("heatproof.stages.train", "heatproof.cohorts.beats")


def test_the_published_training_can_be_written_down() -> None:
    training = {"optimizer": "adam", "learning_rate": 0.008, "batch_size": 32, "epochs": 100, "schedule": "plateau"}
    entry = completed(lambda study: study.update(training=training))
    assert entry["training"]["plateau_factor"] == 0.5
    network = entry["models"]["pr"]
    published = {"width": 32, "n_blocks": 8, "kernel": 50, "stem_kernel": 8, "pool": 2}
    assert {key: network[key] for key in published} == published
    assert yaml.safe_load(yaml.safe_dump(entry)) == entry
