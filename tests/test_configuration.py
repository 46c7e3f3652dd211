"""A config is complete before anything runs, or the message says which key is wrong and what is allowed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from heatproof import configuration, studies
from heatproof.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted([*(ROOT / "config").glob("*.yaml"), *(ROOT / "config/paper").glob("*.yaml")])


@pytest.fixture
def default() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def study(config: dict[str, Any]) -> dict[str, Any]:
    return config["studies"]["alzheimers"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    completed = configuration.complete(yaml.safe_load(path.read_text(encoding="utf-8")), path.name)
    assert completed["seed"] >= 0
    for entry in completed["studies"].values():
        assert {"folds", "training", "metrics", "attribution"} <= entry.keys()


def test_completing_twice_changes_nothing_and_the_input_is_left_alone(default: dict[str, Any]) -> None:
    before = copy.deepcopy(default)
    once = configuration.complete(default)
    assert default == before
    assert configuration.complete(once) == once


def test_the_order_of_keys_does_not_matter_but_that_of_methods_does(default: dict[str, Any]) -> None:
    def turned(value: Any) -> Any:
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    once, again = (study(configuration.complete(config)) for config in (default, turned(default)))
    for section in ("cohort", "training", "metrics", "folds"):
        assert str(once[section]) == str(again[section])
    assert str(once["methods"]["untrained"]) == str(again["methods"]["untrained"])
    assert list(once["methods"]) == list(reversed(again["methods"]))


def set_at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(entry: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            entry = entry.setdefault(key, {})
        if value is None:
            del entry[last]
        else:
            entry[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (set_at("cohrt", {}), "cohrt", ["did you mean 'cohort'"]),
        (set_at("cohort.n_participants", "many"), "cohort.n_participants", ["integer", "Default"]),
        (set_at("cohort.n_participants", -1), "cohort.n_participants", ["minimum"]),
        (set_at("cohort.source", "phantm"), "cohort.source", ["did you mean 'phantom'", "oasis"]),
        (set_at("cohort.source", None), "cohort", ["no 'source'", "caps", "phantom"]),
        (set_at("methods.lrp.method", None), "methods.lrp", ["no 'method'", "saliency"]),
        (set_at("methods.lrp.method", "lrpp"), "methods.lrp.method", ["did you mean 'lrp'"]),
        (set_at("methods.lrp.bet", 0.5), "methods.lrp.bet", ["did you mean 'beta'", "alpha"]),
        (set_at("methods.lrp.rule", "gama"), "methods.lrp.rule", ["alpha_beta"]),
        (set_at("methods.untrained.inner_parameters.bet", 1), "methods.untrained.inner_parameters.bet", ["beta"]),
        (set_at("models.wang_b.network", "wang_x"), "models.wang_b.network", ["densenet", "boehle"]),
        (set_at("methods.lrp.beta", 0.25), "methods.lrp.beta", ["alpha = 1 + beta"]),
        (
            set_at("methods.mine", {"method": "integrated_gradients", "steps": "adaptive", "n_steps": 4}),
            "methods.mine.n_steps",
            ["less than the minimum of 5"],
        ),
        (
            set_at("methods.mine", {"method": "lrp", "rule": "z_box", "low": 3, "high": -3}),
            "methods.mine.low",
            ["not below"],
        ),
        (set_at("methods.smoothgrad.noise_level", float("nan")), "noise_level", ["no finite number"]),
        (set_at("attribution.methods", "everything"), "attribution.methods", ["does not match '^all$'"]),
        (set_at("attribution.methods", ["lrp", "nope"]), "attribution.methods", ["'nope' is not configured"]),
        (set_at("models.wang_b.methods", ["lrp", "nope"]), "models.wang_b.methods", ["'nope' is not configured"]),
        (set_at("models.wang_b.training.epochs", 1.5), "models.wang_b.training.epochs", ["integer"]),
        (set_at("truths.areas.areas", None), "truths.areas", ["'areas' is missing"]),
        (set_at("truths.effect", {"source": "injected"}), "truths.effect", ["called injected"]),
        (set_at("training.epoch", 3), "training.epoch", ["did you mean 'epochs'"]),
        (set_at("metrics.n_bootstrap", 1), "metrics.n_bootstrap", ["minimum"]),
        (set_at("folds.n_folds", 0), "folds.n_folds", ["minimum"]),
        (set_at("metrics.names", ["dice"]), "metrics.names.0", ["max_dice"]),
        (set_at("methods", None), "studies.alzheimers", ["'methods' is missing"]),
        (set_at("seeds", []), "seeds", ["non-empty"]),
    ],
)
def test_a_wrong_config_names_the_key_and_what_is_allowed(
    default: dict[str, Any], change: Callable[[dict[str, Any]], None], field: str, words: list[str]
) -> None:
    change(study(default))
    with pytest.raises(ConfigError) as caught:
        configuration.complete(default, "my.yaml")
    assert caught.value.file == "my.yaml"
    assert caught.value.field is not None
    assert caught.value.field.endswith(field)
    for word in words:
        assert word in str(caught.value)


def test_a_linear_model_is_explained_by_linear_methods_only(default: dict[str, Any]) -> None:
    completed = study(configuration.complete(default))
    assert studies.methods_of(completed, "svm") == ["svm_weights", "svm_pattern"]
    assert "svm_weights" not in studies.methods_of(completed, "wang_b")


def test_the_methods_that_run_are_one_key(default: dict[str, Any]) -> None:
    study(default).setdefault("attribution", {})["methods"] = ["svm_pattern", "lrp", "edges"]
    completed = study(configuration.complete(default))
    assert studies.methods_of(completed, "wang_b") == ["lrp", "edges"]
    assert studies.methods_of(completed, "svm") == ["svm_pattern"]
    assert studies.methods_of(completed, "wang_b_published") == ["lrp"]  # those of both lists
    study(default)["attribution"]["methods"] = "all"
    everything = study(configuration.complete(default))
    assert set(studies.methods_of(everything, "wang_b")) > {"lrp", "edges", "saliency"}


def test_only_methods_that_begin_at_training_scans_need_a_background() -> None:
    assert studies.needs_background({"method": "expected_gradients", "baseline": "training"})
    assert studies.needs_background({"method": "untrained", "inner_parameters": {"baseline": "training"}})
    assert not studies.needs_background({"method": "expected_gradients", "baseline": "zero"})
    assert not studies.needs_background({"method": "lrp"})


def leaves(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any], bool]]:
    """Every key of a schema: its path, what describes it, and whether it is required."""
    found = []
    for key, described in schema.get("properties", {}).items():
        found.append((f"{path}.{key}", described, key in schema.get("required", ())))
        found.extend(leaves(described, f"{path}.{key}"))
    return found


def all_keys() -> list[tuple[str, dict[str, Any], bool]]:
    top = configuration.schema_entries("config.yaml")
    found = leaves(top, "config") + leaves(top["$defs"]["study"], "study")
    for path in sorted(configuration.SCHEMAS.glob("*.yaml")):
        if path.name != "config.yaml":
            entries = configuration.schema_entries(path.name)
            singles = {path.stem: entries} if "properties" in entries else entries
            for name, entry in singles.items():
                assert entry["additionalProperties"] is False, f"{path.name}: {name} takes unknown keys"
                found += leaves(entry, f"{path.stem}.{name}")
    return found


def test_every_key_has_a_description_a_unit_and_a_default() -> None:
    keys = all_keys()
    assert len(keys) > 150
    for path, described, required in keys:
        assert described.get("description"), path
        assert described.get("unit"), path
        overrides = path.split(".")[0] == "networks" and ".training." in path
        assert required or overrides or "default" in described, path


def test_every_default_passes_its_own_schema() -> None:
    from jsonschema import Draft202012Validator

    for path, described, _ in all_keys():
        if "default" in described and not isinstance(described["default"], dict):
            errors = list(Draft202012Validator(described).iter_errors(described["default"]))
            assert not errors, f"{path}: {errors[0].message}"


def test_the_reference_of_every_key_is_the_schema_s() -> None:
    from heatproof.reference import reference

    assert (ROOT / "config/README.md").read_text(encoding="utf-8") == reference()


def test_a_study_is_not_called_like_a_rule(default: dict[str, Any]) -> None:
    default["studies"]["train"] = default["studies"].pop("alzheimers")
    with pytest.raises(ConfigError, match=r"studies\.train: 'train' is the name of a rule"):
        configuration.complete(default)


def test_a_whole_number_may_not_be_written_as_a_fraction(default: dict[str, Any]) -> None:
    study(default)["folds"]["n_folds"] = 3.0
    with pytest.raises(ConfigError, match="n_folds"):
        configuration.complete(default)


def test_the_mean_control_scan_is_refused_before_anything_runs_where_nobody_is_healthy(default: dict[str, Any]) -> None:
    lesions = default["studies"]["brain_lesions"]
    lesions["methods"]["ig_zero"]["baseline"] = "control_mean"
    with pytest.raises(ConfigError, match=r"brain_lesions\.methods\.ig_zero\.baseline.*every class"):
        configuration.complete(default)
    lesions["cohort"]["kinds"] = ["none", "solid"]
    configuration.complete(default)
    del lesions["cohort"]["kinds"]
    lesions["methods"]["ig_zero"]["baseline"] = "zero"
    lesions["probes"]["removal"] = {"fills": ["control_mean"]}
    with pytest.raises(ConfigError, match=r"probes\.removal\.fills"):
        configuration.complete(default)


def test_a_stage_that_probes_reads_nothing_but_its_own_keys(default: dict[str, Any]) -> None:
    before = configuration.complete(default)["studies"]["brain_lesions"]
    default["studies"]["brain_lesions"]["probes"]["randomisation"]["n_layers"] = 2
    after = configuration.complete(default)["studies"]["brain_lesions"]
    for stage, changed in (("probe", False), ("agree", False), ("randomise", True)):
        assert (studies.probes_of(before, stage) != studies.probes_of(after, stage)) == changed
    assert studies.probes_of(before, "agree")["metrics"] == ["retraining_agreement"]


@pytest.mark.parametrize("results", ["results", "a/b", "with a space/Größe", "..a/b", "a..b"])
def test_results_may_have_any_name_inside_the_working_directory(default: dict[str, Any], results: str) -> None:
    default["results"] = results
    if results.startswith("."):
        with pytest.raises(ConfigError, match="results"):
            configuration.complete(default)
    else:
        assert configuration.complete(default)["results"] == results


@pytest.mark.parametrize("results", ["a/../../b", "a/..", "a\\..\\..\\b", "results/{study}"])
def test_results_that_climb_out_or_hold_a_wildcard_are_refused(default: dict[str, Any], results: str) -> None:
    default["results"] = results
    with pytest.raises(ConfigError, match="no folder inside the working directory"):
        configuration.complete(default)


@pytest.mark.parametrize("path", ["scans.tsv", "a/../scans.tsv", "{root}/scans.tsv", "../scans.tsv", "/scans.tsv"])
def test_paths_count_where_they_lead(default: dict[str, Any], tmp_path: Path, path: str) -> None:
    default["data_root"] = str(tmp_path)
    study(default)["cohort"] = {"source": "table", "table": path.format(root=tmp_path)}
    study(default)["truths"] = {}
    if path in ("../scans.tsv", "/scans.tsv"):
        with pytest.raises(ConfigError, match=r"cohort\.table: '.*' leads out of the data root"):
            configuration.complete(default)
    else:
        configuration.complete(default)


def test_every_key_of_a_schema_that_is_called_a_path_is_checked() -> None:
    from heatproof.config_checks import PATH_KEYS

    sections = {"cohorts": "cohort", "folds": "folds", "truths": "truths", "networks": "models", "rating": "rating"}
    for path, described, _ in all_keys():
        section, key = sections.get(path.split(".")[0].split("_")[0]), path.rsplit(".", 1)[1]
        if section and "inside the data root" in described["description"]:
            assert key in PATH_KEYS[section], path


def test_a_simulated_cohort_has_somebody_for_every_fold(default: dict[str, Any]) -> None:
    study(default)["cohort"]["n_participants"] = 3
    configuration.complete(default)
    study(default)["cohort"]["n_participants"] = 2
    with pytest.raises(ConfigError, match=r"folds\.n_folds: 2 people cannot be in 3 folds"):
        configuration.complete(default)


@pytest.mark.parametrize("value", [["lrp"], {"lrp": 1}, 3, None])
def test_a_name_that_is_no_text_is_refused_in_words(default: dict[str, Any], value: object) -> None:
    study(default)["methods"]["lrp"]["method"] = value
    with pytest.raises(ConfigError, match=r"methods\.lrp\.method: '.*' is not known"):
        configuration.complete(default)
