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
from heatproof.outputs import SIMULATED, WITHOUT_OUTPUTS, offered_outputs, simulator_modules, simulator_of
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
    ],
)
def test_what_cannot_be_predicted_is_refused_by_name(change, field: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        completed(change)
    assert caught.value.field == f"studies.ecg.{field}"
    assert all(word in str(caught.value) for word in words)


def test_a_classifier_may_be_asked_for_probabilities() -> None:
    def classifier(study: dict[str, Any]) -> None:
        study["cohort"]["source"] = "phantom"
        study["models"]["pr"]["output"] = None
        study["probes"] = {"metrics": ["aic", "sic"]}

    assert completed(classifier)["models"]["pr"]["output"] is None


def test_every_source_is_known_to_have_outputs_or_not_or_to_tell_by_its_data() -> None:
    told_by_data = {name for name in SOURCES if offered_outputs({"source": name}) is None}
    assert set(WITHOUT_OUTPUTS) <= set(SOURCES)
    assert set(SIMULATED) | set(WITHOUT_OUTPUTS) | told_by_data == set(SOURCES)
    assert not told_by_data & {*SIMULATED, *WITHOUT_OUTPUTS}


def test_the_outputs_of_the_simulator_are_those_that_it_has(tmp_path: Path) -> None:
    source = open_source(completed(lambda study: None)["cohort"], seed=1, root=tmp_path)
    assert set(SIMULATED["beats"]) == set(source.outputs) == set(source.steps)


def test_only_models_with_an_output_draw_scans_again_and_depend_on_the_simulator() -> None:
    study = completed(lambda study: study["models"].update(qt={"network": "wang_b", "output": "qt", "n_blocks": 2}))
    assert simulator_of(study, "qt") == study["cohort"]
    assert simulator_modules(study, "qt") == ["heatproof.cohorts.beats"]
    study["models"]["qt"]["output"] = None
    assert simulator_of(study, "qt") is None
    assert simulator_modules(study, "qt") == []
    assert source_digest("heatproof.stages.train") != source_digest("heatproof.stages.train", "heatproof.cohorts.beats")


def test_the_published_training_can_be_written_down() -> None:
    training = {"optimizer": "adam", "learning_rate": 0.008, "batch_size": 32, "epochs": 100, "schedule": "plateau"}
    entry = completed(lambda study: study.update(training=training))
    assert entry["training"]["plateau_factor"] == 0.5
    network = entry["models"]["pr"]
    published = {"width": 32, "n_blocks": 8, "kernel": 50, "stem_kernel": 8, "pool": 2}
    assert {key: network[key] for key in published} == published
    assert yaml.safe_load(yaml.safe_dump(entry)) == entry
