"""What a config may say about simulators, what is refused before anything runs, and what is fitted to which model."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from heatproof import configuration, studies
from heatproof.errors import ConfigError
from heatproof.provenance import PACKAGE, source_digest
from heatproof.simulators import counterfactual_modules, simulation_of_run

CONFIG: dict[str, Any] = {
    "studies": {
        "discs": {
            "cohort": {"source": "phantom"},
            "truths": {},
            "models": {
                "net": {"network": "wang_b", "intensity": "minmax"},
                "few": {"network": "wang_b", "simulators": ["attack"]},
                "svm": {"network": "linear_svm"},
            },
            "simulators": {
                "warp": {"kind": "warp"},
                "attack": {"kind": "attack"},
                "map": {"kind": "additive", "sparsity": 2.0},
            },
            "methods": {
                "saliency": {"method": "saliency"},
                "change": {"method": "simulator", "simulator": "attack"},
                "tissue": {"method": "simulator", "simulator": "warp", "map": "jacobian"},
                "svm_weights": {"method": "svm_weights"},
            },
        }
    }
}


def study(**sections: Any) -> dict[str, Any]:
    """Return the completed study, some entries of its sections changed."""
    config = copy.deepcopy(CONFIG)
    for section, entries in sections.items():
        config["studies"]["discs"].setdefault(section, {}).update(entries)
    return configuration.complete(config)["studies"]["discs"]


@pytest.mark.parametrize("intensity", ["zscore", "dataset"])
def test_no_warp_moves_heads_whose_background_is_as_grey_as_their_tissue(intensity: str) -> None:
    with pytest.raises(ConfigError, match="as grey as its mean") as caught:
        study(models={"net": {"network": "wang_b", "intensity": intensity}})
    assert caught.value.field == "studies.discs.models.net.intensity"
    # What changes no place may, and so may images without a mask.
    study(models={"other": {"network": "wang_b", "intensity": intensity, "simulators": ["attack", "map"]}})
    study(models={"net": {"network": "wang_b", "intensity": intensity}}, cohort={"source": "blobs"})


def test_a_simulator_of_several_classes_is_asked_about_the_class_that_it_is_fitted_for() -> None:
    tumours = {"cohort": {"source": "cheng"}}
    assert study(**tumours)["methods"]["change"]["target"] == "patient"
    for sections in (
        {"methods": {"change": {"method": "simulator", "simulator": "attack", "target": "label"}}},
        {"attribution": {"target": "predicted"}},
    ):
        with pytest.raises(ConfigError, match="the last of 3 classes") as caught:
            study(**tumours, **sections)
        assert caught.value.field == "studies.discs.methods.change.target"
        # Of two classes the other one is the same question the other way round.
        study(**sections)
    study(cohort={"source": "lesions", "kinds": ["none", "solid"]}, attribution={"target": "predicted"})


def test_a_study_without_simulators_has_none() -> None:
    config = copy.deepcopy(CONFIG)
    plain = config["studies"]["discs"]
    del plain["simulators"], plain["models"]["few"]["simulators"]
    del plain["methods"]["change"], plain["methods"]["tissue"]
    completed = configuration.complete(config)["studies"]["discs"]
    assert completed["simulators"] == {}
    assert studies.simulated_models(completed) == []
    assert studies.methods_of(completed, "net") == ["saliency"]


def test_every_network_gets_all_simulators_or_those_of_its_list_and_a_linear_model_none() -> None:
    completed = study()
    assert studies.simulators_of(completed, "net") == ["warp", "attack", "map"]
    assert studies.simulators_of(completed, "few") == ["attack"]
    assert studies.simulators_of(completed, "svm") == []
    assert studies.simulated_models(completed) == ["net", "few"]


def test_a_method_explains_the_models_that_its_simulator_is_fitted_to() -> None:
    completed = study()
    assert studies.methods_of(completed, "net") == ["saliency", "change", "tissue"]
    assert studies.methods_of(completed, "few") == ["saliency", "change"]
    assert studies.methods_of(completed, "svm") == ["svm_weights"]
    assert studies.fitted_simulators(completed, "net", ["saliency", "tissue"]) == ["warp"]
    assert studies.fitted_simulators(completed, "few", ["saliency", "change"]) == ["attack"]
    assert studies.fitted_simulators(completed, "net", ["saliency"]) == []


def test_no_simulator_is_drawn_again_for_randomised_networks() -> None:
    assert studies.randomised_methods(study(), "net") == ["saliency"]


def test_how_many_scans_are_kept_is_a_matter_of_the_first_run_only() -> None:
    few, many = (study(simulation={"keep_examples": number}) | {"seeds": [4, 2]} for number in (1, 5))
    assert [simulation_of_run(many, fold, seed)["keep_examples"] for fold, seed in ((0, 4), (0, 2), (1, 4))] == [
        5,
        0,
        0,
    ]
    assert simulation_of_run(few, 0, 2) == simulation_of_run(many, 0, 2)


def test_a_signal_has_its_defaults() -> None:
    warp = study()["simulators"]["warp"]
    assert (warp["field"], warp["conditioning"], warp["margin_unit"]) == ("velocity", "conditional", "sd")
    assert warp["sparsity"] == 0


@pytest.mark.parametrize(
    ("sections", "field", "words"),
    [
        ({"methods": {"x": {"method": "simulator", "simulator": "wrap"}}}, "methods.x.simulator", "warp, attack, map"),
        ({"methods": {"x": {"method": "simulator"}}}, "methods.x", "'simulator' is missing"),
        ({"methods": {"x": {"method": "simulator", "simulator": "map", "map": "jacobian"}}}, "methods.x.map", "tissue"),
        ({"methods": {"x": {"method": "simulator", "simulator": "attack", "map": "jacobian"}}}, "methods.x.map",
         "kind warp"),
        ({"methods": {"x": {"method": "untrained", "inner": "simulator"}}}, "methods.x.inner", "simulator"),
        ({"models": {"net": {"network": "wang_b", "simulators": ["nope"]}}}, "models.net.simulators", "not configured"),
        ({"models": {"few": {"network": "wang_b", "simulators": ["attack"], "methods": ["saliency", "tissue"]}}},
         "models.few.methods", "'warp', which is not fitted"),
        ({"models": {"svm": {"network": "linear_svm", "methods": ["svm_weights", "change"]}}}, "models.svm.methods",
         "a linear model has none"),
        ({"probes": {"randomisation": {"methods": ["saliency", "tissue"]}}}, "probes.randomisation.methods",
         "'tissue' shows a simulator"),
        ({"models": {"svm": {"network": "linear_svm", "simulators": []}}}, "models.svm.simulators", "not known"),
        ({"simulators": {"warp": {"kind": "wrap"}}}, "simulators.warp.kind", "did you mean 'warp'"),
        ({"simulators": {"warp": {}}}, "simulators.warp", "no 'kind'"),
        ({"simulators": {"warp": {"kind": "warp", "norm": "l2"}}}, "simulators.warp.norm", "not known"),
        ({"simulators": {"warp": {"kind": "warp", "grid": 2}}}, "simulators.warp.grid", "minimum"),
        ({"simulation": {"doses": [0.25, 0.5]}}, "simulation.doses", "add 1.0"),
        ({"simulation": {"doses": [0, 1]}}, "simulation.doses.0", "minimum"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_fitted_or_shown_is_refused_before_anything_runs(
    sections: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        study(**sections)
    assert caught.value.field is not None and caught.value.field.endswith(field)
    assert words in str(caught.value)


@pytest.mark.parametrize("listed", [None, ["saliency", "change"]])
def test_a_list_may_name_what_is_fitted_and_no_list_leaves_the_rest_out(listed: object) -> None:
    completed = study(models={"few": {"network": "wang_b", "simulators": ["attack"], "methods": listed}})
    assert studies.methods_of(completed, "few") == ["saliency", "change"]


def test_scores_against_counterfactuals_depend_on_the_code_of_their_own_cohort_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edited, read = PACKAGE / "cohorts/bids.py", Path.read_bytes
    modules = ("heatproof.stages.simulate", *counterfactual_modules(study(), "net"))
    before = source_digest(*modules)
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == edited else b""))
    assert source_digest(*modules) == before
    edited = PACKAGE / "cohorts/phantom.py"
    assert source_digest(*modules) != before


@pytest.mark.parametrize("name", ["fit_simulator", "simulate"])
def test_a_study_is_not_called_like_a_rule_of_simulators(name: str) -> None:
    config = copy.deepcopy(CONFIG)
    config["studies"][name] = config["studies"].pop("discs")
    with pytest.raises(ConfigError, match="name of a rule"):
        configuration.complete(config)
