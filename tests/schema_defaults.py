"""What a schema fragment fills in where a config says nothing."""

from __future__ import annotations

import copy
from typing import Any

from heatproof.configuration import schema_entries


def defaults_of(file: str) -> Any:
    """Return every default of a fragment such as ``metrics.yaml``."""
    return copy.deepcopy(_default(schema_entries(file)))


def _default(schema: dict) -> Any:
    if "properties" in schema:
        return {name: _default(entry) for name, entry in schema["properties"].items()}
    return schema["default"]
