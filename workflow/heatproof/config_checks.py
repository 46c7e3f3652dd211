"""What a completed configuration says about folders, files, folds and classes, checked before anything is read.

Nothing heavy is imported here, because the Snakefile reads it each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from heatproof.cohorts.folders import inside
from heatproof.errors import ConfigError

# Keys that hold paths from the data root, by section of a study. Words such as `first` lie inside any root.
PATH_KEYS = {
    "cohort": {"folder", "table", "tables", "grid", "mask", "path", "names", "labels_table", "annotation_folder"},
    "folds": {"file"},
    "truths": {"sleuth", "foci", "labels", "names", "file"},
    "models": {"initial_weights"},
    "rating": {"answers"},
}
# Sources whose scans have no diagnosis.
WITHOUT_CLASSES = ("beats", "wfdb", "signals")


def class_count(cohort: Mapping[str, Any]) -> int:
    """Return how many classes a completed cohort entry has; 1 where its scans have no diagnosis."""
    if cohort["source"] in WITHOUT_CLASSES:
        return 1
    return len(cohort.get("classes") or cohort.get("kinds") or ("control", "patient"))


def check_folders(config: Mapping[str, Any], source: str) -> None:
    """Check that results stay inside the working directory, and every path of a study inside the data root.

    Parameters
    ----------
    config : mapping
        The completed configuration.
    source : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        At the first path that leads out, or if the results have a name that Snakemake would fill in.
    """
    results = config["results"]
    if ".." in PurePosixPath(results.replace("\\", "/")).parts or set(results) & set("{}"):
        raise ConfigError(
            f"'{results}' is no folder inside the working directory.",
            file=source,
            field="results",
            remedy="name a folder below it, without .. and braces.",
        )
    root = Path(config["data_root"])
    for name, study in config["studies"].items():
        for section, keys in PATH_KEYS.items():
            for where, path in _paths(study.get(section, {}), keys, ("studies", name, section)):
                _require_inside(root, path, ".".join(where), source)


def check_folds(study: Mapping[str, Any], path: tuple[str, ...], source: str) -> None:
    """Raise a ConfigError if a simulated cohort has fewer people than folds; of real ones the split counts them."""
    n_people, n_folds = study["cohort"].get("n_participants"), study["folds"]["n_folds"]
    if n_people is not None and n_people < n_folds:
        raise ConfigError.of_study(
            f"{n_people} people cannot be in {n_folds} folds.",
            ("folds", "n_folds"),
            "use fewer folds, or more cohort.n_participants.",
            path=path,
            file=source,
        )


def _paths(entry: Any, keys: set[str], where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the paths of an entry, however deep, with the key at which each stands."""
    items = entry.items() if isinstance(entry, Mapping) else enumerate(entry) if isinstance(entry, list) else ()
    for key, value in items:
        below = (*where, str(key))
        if isinstance(entry, Mapping) and key in keys:
            yield from ((below, path) for path in (value if isinstance(value, list) else [value]) if path)
        else:
            yield from _paths(value, keys, below)


def _require_inside(root: Path, path: str, field: str, source: str) -> None:
    try:
        inside(root, path, field=field)
    except ConfigError as error:
        raise ConfigError(
            f"'{path}' leads out of the data root.", file=source, field=field, remedy=error.remedy
        ) from error
