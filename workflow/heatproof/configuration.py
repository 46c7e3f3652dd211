"""The configuration: checked against its schema, with defaults filled in and errors that name key and remedy.

Nothing heavy is imported here, because the Snakefile calls it each time it is read.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from heatproof.config_checks import check_folders, check_folds
from heatproof.errors import ConfigError
from heatproof.outputs import check_outputs
from heatproof.rating import check_rating
from heatproof.simulators import check_simulators
from heatproof.studies import ALL, INDIVIDUAL_TRUTHS, LINEAR_METHODS, methods_of, unknown_control_means

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"
SELECTOR = "one_of_"
# Names of rules and targets, after which no study can be called.
RESERVED = {
    "all", "prepare", "split", "truth", "train", "attribute", "score", "pool", "probe", "randomise", "agree", "collect",
    "tabulate", "plot", "report", "replicate", "plan", "fetch", "draw_kit", "rating_kit", "read_ratings", "ratings",
    "fit_simulator", "simulate",
}  # fmt: skip


def complete(config: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
    """Return the configuration with every default filled in.

    Parameters
    ----------
    config : mapping
        As read from YAML.
    source : str
        Name of the file, for messages.

    Returns
    -------
    dict
        A new, complete configuration.

    Raises
    ------
    ConfigError
        At the first key that is unknown, missing, of a wrong type or out of range, or path that leads out.
    """
    completed = copy.deepcopy(dict(config))
    _check(completed, _schema("config.yaml"), (), source)
    check_folders(completed, source)
    for name, study in completed["studies"].items():
        _check_study(study, ("studies", name), source)
    return completed


def schema_entries(file: str) -> dict[str, Any]:
    """Return the named entries of one schema fragment, such as ``methods.yaml``."""
    return _schema(file)


@cache
def _schema(file: str) -> dict[str, Any]:
    return yaml.safe_load((SCHEMAS / file).read_text(encoding="utf-8"))


def _check(value: Any, schema: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check a value against its schema, filling in defaults on the way down."""
    schema = _resolved(value, schema, path, source)
    _check_leaf(value, schema, path, source)
    if not isinstance(value, dict):
        return
    properties = schema.get("properties", {})
    for key, described in properties.items():
        if key not in value and "default" in described:
            value[key] = copy.deepcopy(described["default"])
    for key in schema.get("required", ()):
        if key not in value:
            raise ConfigError(
                f"the key '{key}' is missing.",
                file=source,
                field=_dotted(path),
                remedy=f"add '{key}'{_allowed_values(properties.get(key, {}))}.",
            )
    extra = schema.get("additionalProperties", True)
    for key, item in value.items():
        if key in properties:
            _check(item, properties[key], (*path, key), source)
        elif isinstance(extra, dict):
            _check(item, extra, (*path, str(key)), source)
        elif extra is False:
            raise _unknown(str(key), properties, path, source)
    if extra is False:
        # In the schema's order, so that a config whose keys were moved about is the same to Snakemake.
        ordered = {key: value[key] for key in properties if key in value}
        value.clear()
        value.update(ordered)


def _resolved(value: Any, schema: Mapping[str, Any], path: tuple[str, ...], source: str) -> Mapping[str, Any]:
    """Return the schema that really applies: behind a reference, or chosen by the entry's selector."""
    if "$ref" in schema:
        return _schema("config.yaml")["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "described_in" in schema:
        return _schema(schema["described_in"])
    for keyword, files in schema.items():
        if keyword.startswith(SELECTOR):
            return _selected(value, keyword.removeprefix(SELECTOR), files, path, source)
    return schema


def _selected(value: Any, key: str, files: Iterable[str], path: tuple[str, ...], source: str) -> Mapping[str, Any]:
    entries = {name: entry for file in files for name, entry in _schema(file).items()}
    allowed = ", ".join(sorted(entries))
    if not isinstance(value, dict) or key not in value:
        raise ConfigError(
            f"the entry has no '{key}'.",
            file=source,
            field=_dotted(path),
            remedy=f"add '{key}', one of: {allowed}.",
        )
    if not isinstance(value[key], str) or value[key] not in entries:
        close = difflib.get_close_matches(str(value[key]), entries, n=1)
        hint = f"did you mean '{close[0]}'? Allowed" if close else "use one of"
        raise ConfigError(
            f"'{value[key]}' is not known.",
            file=source,
            field=_dotted((*path, key)),
            remedy=f"{hint}: {allowed}.",
        )
    return entries[value[key]]


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator, validators

    # JSON takes 3.0 for an integer; Python's range() does not.
    whole = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return validators.extend(Draft202012Validator, type_checker=whole)


def _check_leaf(value: Any, schema: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check type, range, pattern and the like of one value; mappings are walked by `_check`."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is no finite number.", file=source, field=_dotted(path), remedy=_expected(schema))
    walked = ("properties", "additionalProperties", "required")
    plain = {key: item for key, item in schema.items() if key not in walked}
    for error in sorted(_validator()(plain).iter_errors(value), key=lambda error: list(error.path)):
        where = (*path, *(str(part) for part in error.absolute_path))
        raise ConfigError(
            f"{error.message[0].lower() + error.message[1:]}.",
            file=source,
            field=_dotted(where),
            remedy=_expected(schema),
        )


def _expected(schema: Mapping[str, Any]) -> str:
    parts = [str(schema.get("description", "see config/README.md.")).rstrip(".") + "."]
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        parts.append(f"It is of type {' or '.join(kinds)}{_allowed_values(schema)}.")
    elif "enum" in schema:
        parts.append(f"Allowed{_allowed_values(schema)}.")
    if "default" in schema:
        parts.append(f"Default: {schema['default']!r}.")
    return " ".join(parts)


def _allowed_values(schema: Mapping[str, Any]) -> str:
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    for keyword, files in schema.items():
        if keyword.startswith(SELECTOR):
            values = sorted(name for file in files for name in _schema(file))
    return f", one of: {', '.join(map(str, values))}" if values else ""


def _unknown(key: str, properties: Mapping[str, Any], path: tuple[str, ...], source: str) -> ConfigError:
    close = difflib.get_close_matches(key, properties, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return ConfigError(
        "the key is not known.",
        file=source,
        field=_dotted((*path, key)),
        remedy=f"{hint}Allowed here: {', '.join(sorted(properties))}.",
    )


def _check_study(study: dict[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check what a schema cannot say: names that are taken, and entries that name each other."""
    if path[-1] in RESERVED:
        raise ConfigError(
            f"'{path[-1]}' is the name of a rule.",
            file=source,
            field=_dotted(path),
            remedy="give the study another name.",
        )
    for name, truth in study["truths"].items():
        # Tables and figures know the truths that each scan has of its own by these names.
        for own in INDIVIDUAL_TRUTHS:
            if (name == own) != (truth["source"] == own):
                raise ConfigError(
                    f"a truth is called {own} if, and only if, its source is {own}.",
                    file=source,
                    field=_dotted((*path, "truths", name)),
                    remedy="rename the truth.",
                )
    lists: dict[tuple[str, ...], Any] = {("attribution", "methods"): study["attribution"]["methods"]}
    lists |= {("models", name, "methods"): model.get("methods") for name, model in study["models"].items()}
    lists[("probes", "randomisation", "methods")] = study["probes"]["randomisation"]["methods"]
    lists[("rating", "methods")] = study["rating"]["methods"]
    for where, listed in lists.items():
        for method in () if listed in (None, ALL) else listed:
            if method not in study["methods"]:
                raise ConfigError(
                    f"the method '{method}' is not configured.",
                    file=source,
                    field=_dotted((*path, *where)),
                    remedy=f"use ids of this study's methods: {', '.join(study['methods'])}.",
                )
    for where in unknown_control_means(study):
        raise ConfigError(
            "the mean control scan is not known: every class of this cohort is a disease.",
            file=source,
            field=_dotted((*path, *where)),
            remedy="use another baseline or fill, such as zero or blur.",
        )
    check_folds(study, path, source)
    check_simulators(study, path, source)
    for name in study["models"]:
        if not methods_of(study, name):
            raise ConfigError(
                "no method of the study suits this model.",
                file=source,
                field=_dotted((*path, "models", name)),
                remedy=f"add one: {', '.join(LINEAR_METHODS)} for a linear model, any other for a network.",
            )
    check_outputs(study, path, source)
    check_rating(study, path, source)
    for name, method in study["methods"].items():
        method["target"] = method["target"] or study["attribution"]["target"]
        _check_inner(method, (*path, "methods", name), source)
        _check_pairs(method, (*path, "methods", name), source)
        if method.get("inner") == "lrp":
            inner = {"method": "lrp", **(method["inner_parameters"] or {})}
            _check_pairs(inner, (*path, "methods", name, "inner_parameters"), source)


def _check_inner(method: dict[str, Any], path: tuple[str, ...], source: str) -> None:
    """Complete the parameters of the method inside a control, as if it stood in the config by itself."""
    if "inner" not in method:
        return
    inner = {**(method.get("inner_parameters") or {}), "method": method["inner"]}
    _check(inner, {"one_of_method": ["methods.yaml"]}, (*path, "inner_parameters"), source)
    # The class that is explained is the control's, so its inner method has none of its own.
    method["inner_parameters"] = {key: value for key, value in inner.items() if key not in ("method", "target")}


def _check_pairs(method: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Check numbers of relevance propagation that have to fit each other."""
    if method["method"] != "lrp":
        return
    alpha, beta, low, high = (method[key] for key in ("alpha", "beta", "low", "high"))
    if alpha is not None and beta is not None and abs(alpha - beta - 1) > 1e-6:
        raise ConfigError(
            f"alpha {alpha} and beta {beta} do not conserve relevance.",
            file=source,
            field=_dotted((*path, "beta")),
            remedy="use alpha = 1 + beta, or give only one of them.",
        )
    if low is not None and high is not None and low >= high:
        raise ConfigError(
            f"low {low} is not below high {high}.",
            file=source,
            field=_dotted((*path, "low")),
            remedy="give the least and the largest value that a scan can have.",
        )


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the top level"
