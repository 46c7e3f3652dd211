"""Settings agree with their schema, and those of the paper can be written down."""

from __future__ import annotations

from dataclasses import fields

import pytest
from jsonschema import Draft202012Validator

from heatproof.attribution.simulators.settings import ADDITIVE, AttackSettings, NetworkSettings, settings_of
from heatproof.configuration import schema_entries
from heatproof.errors import ConfigError

KINDS = schema_entries("simulators.yaml")
PUBLISHED = {
    "kind": "warp", "field": "displacement", "grid": None, "margin": 12.5, "margin_unit": "logit", "cycle": 1,
    "gradient": 4e-5, "bending": 0, "noise": 0, "alternate": True, "learning_rate": 2e-4, "weight_decay": 1e-4,
    "doses_in_training": False, "steps": 1501, "batch_size": 40,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_the_schema_is_a_setting_and_the_other_way_round(kind: str):
    known = {field.name for field in fields(AttackSettings if kind == "attack" else NetworkSettings)} | {"kind"}
    unused = {"warp": set(), "additive": {"gradient", "bending", *ADDITIVE}, "attack": set()}
    assert set(KINDS[kind]["properties"]) == known - unused[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_of_the_schema_make_a_simulator(kind: str):
    entry = {key: value.get("default", kind) for key, value in KINDS[kind]["properties"].items()}
    assert settings_of(entry) == settings_of({"kind": kind, **({"sparsity": 1.0} if kind == "additive" else {})})
    assert settings_of(settings_of(entry).as_dict()) == settings_of(entry)


def test_the_published_recipe_can_be_written():
    assert not list(Draft202012Validator(KINDS["warp"]).iter_errors(PUBLISHED))
    settings = settings_of(PUBLISHED)
    assert (settings.grid, settings.margin, settings.alternate) == (None, 12.5, True)


def test_an_additive_simulator_moves_nothing():
    settings = settings_of({"kind": "additive"})
    assert (settings.field, settings.amplitude, settings.grid) == ("none", "additive", None)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "warpp"}, "warp, additive, attack"),
        ({"kind": "attack", "grid": 3}, "no key 'grid'"),
        ({"kind": "warp", "field": "speed"}, "velocity or displacement"),
        ({"kind": "warp", "margin_unit": "mm"}, "sd or logit"),
    ],
)
def test_what_does_not_exist_is_refused(entry: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        settings_of(entry)
