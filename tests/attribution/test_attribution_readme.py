"""The README's own example of a new method, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from attribution.networks import convolutional, scans
from heatproof import configuration
from heatproof.attribution import METHODS, attribute

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    """Return the one code block of a language that holds a word."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if word in text]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def new_method():
    """Register the README's method for one test."""
    exec(compile(block("python", "@register"), "README.md", "exec"), {"__name__": "readme"})  # noqa: S102
    yield METHODS["gradient_power"]
    del METHODS["gradient_power"]


def test_the_example_is_a_method_of_twenty_lines(new_method):
    code = [line for line in block("python", "@register").splitlines() if line.strip()]
    entry = [line for line in block("yaml", "gradient_power").splitlines() if line.strip()]
    assert len(code) + len(entry) <= 20
    model, inputs = convolutional(3), scans(3)
    for exponent in (1.0, 2.0):
        maps = attribute("gradient_power", model, inputs, 1, exponent=exponent)
        torch.testing.assert_close(maps, attribute("saliency", model, inputs, 1).abs() ** exponent)


def test_its_schema_entry_agrees_with_its_function(new_method, monkeypatch):
    entry = yaml.safe_load(block("yaml", "gradient_power"))["gradient_power"]
    assert set(entry["properties"]) == {"method", "target", *new_method.parameters}
    assert entry["properties"]["exponent"]["default"] == new_method.parameters["exponent"]
    methods = configuration.schema_entries("methods.yaml")
    monkeypatch.setitem(methods, "gradient_power", entry)
    config = yaml.safe_load(
        (Path(__file__).resolve().parents[2] / "config" / "config.yaml").read_text(encoding="utf-8")
    )
    study = config["studies"]["alzheimers"]
    line = re.search(r"`(mine: \{.*?\})`", README)
    assert line is not None
    study["methods"] |= yaml.safe_load(line.group(1))
    completed = configuration.complete(config)["studies"]["alzheimers"]["methods"]["mine"]
    assert completed == {"method": "gradient_power", "target": "patient", "exponent": 1}


def test_the_examples_of_calling_run():
    space: dict = {"network": convolutional(2), "scans": scans(2)}
    exec(compile(block("python", "attribute_together"), "README.md", "exec"), space)  # noqa: S102
    assert space["maps"].shape == space["scans"].shape and set(space["both"]) == {"a", "b"}
