"""Every source of scans by name.

A source is a module with ``open_source(spec, *, seed, root) -> Source``. A new one is a module and a line in
`SOURCES`. The names stand apart from the package, so that only a stage that opens sources depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from heatproof.cohorts.store import Source
from heatproof.errors import ConfigError

# Names are looked up here only, so that nothing in a configuration can import a module of its choice.
SOURCES: dict[str, str] = {
    "phantom": "heatproof.cohorts.phantom",
    "anatomies": "heatproof.cohorts.anatomies",
    "blobs": "heatproof.cohorts.blobs",
    "lesions": "heatproof.cohorts.lesions",
    "beats": "heatproof.cohorts.beats",
    "table": "heatproof.cohorts.table",
    "bids": "heatproof.cohorts.bids",
    "caps": "heatproof.cohorts.caps",
    "oasis": "heatproof.cohorts.oasis",
    "images": "heatproof.cohorts.picture_table",
    "cheng": "heatproof.cohorts.cheng",
    "radiography": "heatproof.cohorts.radiography",
    "wfdb": "heatproof.cohorts.wfdb_records",
    "signals": "heatproof.cohorts.signal_table",
}


def open_source(spec: Mapping[str, Any], *, seed: int, root: Path) -> Source:
    """Return the source that a configuration entry asks for.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``source`` and the keys of that source.
    seed : int
        Root seed of the study.
    root : Path
        Data root; every path of the entry stays inside it.

    Raises
    ------
    ConfigError
        If there is no such source.
    """
    name = str(spec.get("source", ""))
    if name not in SOURCES:
        raise ConfigError(
            f"the source '{name}' is not known.",
            field="cohort.source",
            remedy=f"use one of {', '.join(SOURCES)}.",
        )
    module = import_module(SOURCES[name])
    source: Source = module.open_source(dict(spec), seed=seed, root=Path(root))
    return source
