"""The config reference, written from the schema, so that it cannot tell anything else.

``python -m heatproof.reference > config/README.md`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from heatproof.configuration import SELECTOR, schema_entries

INTRODUCTION = """# Every key of the configuration

Written from `workflow/schemas/` by `envs/run python -m heatproof.reference > config/README.md`; a test keeps it true.

- `config/config.yaml` is the default: all studies at laptop scale, on data that ships with the packages.
- `config/anatomies.yaml` injects a known atrophy into real brains and compares with a real meta-analysis.
- `config/paper/*.yaml` are the full-scale studies: OASIS-1 through nilearn, ADNI and the like as a Clinica CAPS tree,
  brain tumours that are fetched, chest X-rays from a folder of yours.

Use another file instead of the default with
`envs/run snakemake --cores all --replace-workflow-config --configfile config/my.yaml`.
An unknown key, a wrong type or a value out of range stops the run before anything is computed; the message names the
key, what is allowed and the closest known name. Paths are relative to `data_root` and must stay inside it.
"""


def reference() -> str:
    """Return the reference of every key as Markdown."""
    return "\n".join([INTRODUCTION, *_section("The file", schema_entries("config.yaml"), ())]) + "\n"


def _section(title: str, schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    yield f"## {title}\n"
    if schema.get("description"):
        yield f"{schema['description'].strip()}\n"
    yield "| key | type | unit | default | what it does |"
    yield "|---|---|---|---|---|"
    nested: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = []
    yield from _rows(schema, (), nested)
    yield ""
    for heading, described, below in nested:
        yield from _section(heading, described, below)


def _rows(
    schema: Mapping[str, Any], path: tuple[str, ...], nested: list[tuple[str, Mapping[str, Any], tuple[str, ...]]]
) -> Iterator[str]:
    required = schema.get("required", ())
    for key, described in schema.get("properties", {}).items():
        name = ".".join([*path, key])
        default = "required" if key in required and "default" not in described else _code(described.get("default"))
        text = str(described.get("description", "")).replace("\n", " ").replace("|", "\\|").strip()
        yield f"| `{name}` | {_kind(described)} | {described.get('unit', 'none')} | {default} | {text} |"
        # Keys without defaults are overrides of a section that has a table of its own.
        below = described.get("properties", {})
        if any("default" in entry or name in described.get("required", ()) for name, entry in below.items()):
            yield from _rows(described, (*path, key), nested)
        nested.extend(_below(name, described))


def _below(name: str, described: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """Yield the sections that a key opens: its entries, or the file that describes it."""
    if "described_in" in described:
        yield f"`{name}`", schema_entries(described["described_in"]), ()
    for candidate in (described, described.get("additionalProperties")):
        if not isinstance(candidate, dict):
            continue
        if "$ref" in candidate:
            yield f"`{name}.<name>`", schema_entries("config.yaml")["$defs"][candidate["$ref"].rsplit("/", 1)[1]], ()
        for keyword, files in candidate.items():
            if keyword.startswith(SELECTOR):
                selector = keyword.removeprefix(SELECTOR)
                for file in files:
                    for choice, entry in schema_entries(file).items():
                        yield f"`{name}` with `{selector}: {choice}`", entry, ()


def _kind(described: Mapping[str, Any]) -> str:
    if "enum" in described:
        return "one of " + ", ".join(_code(value) for value in described["enum"])
    if "const" in described:
        return _code(described["const"])
    kinds = described.get("type", "mapping")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`"


if __name__ == "__main__":
    print(reference(), end="")
