"""The pins stand in one place, and what mirrors them says the same."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def pins() -> list[str]:
    lines = (ROOT / "envs/requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def test_the_conda_environment_has_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "envs/environment.yaml").read_text(encoding="utf-8"))
    mirrored = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(mirrored) == sorted(pins())


def test_every_package_is_pinned_once_by_version_and_by_no_address() -> None:
    names = [pin.split("==")[0].lower() for pin in pins()]
    assert len(names) == len(set(names))
    for pin in pins():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin), pin


def test_direct_dependencies_have_a_reason() -> None:
    text = (ROOT / "envs/requirements.txt").read_text(encoding="utf-8")
    direct = text.split("# What those need in turn")[0]
    for line in direct.splitlines():
        assert "==" not in line or "#" in line, line


def test_the_version_is_the_same_everywhere() -> None:
    from heatproof import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
