"""Which source and data files a stage depends on, so that an edit reruns exactly what it can change.

Snakemake compares a rule's parameters from run to run; a digest of the package's files among them makes the
code itself a parameter. Contents are compared, not times, so a fresh clone reruns nothing.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = PACKAGE.name


def source_digest(*modules: str) -> str:
    """Return a digest of modules of this package and of all modules of it that they import in turn.

    Parameters
    ----------
    *modules : str
        Dotted names, such as ``heatproof.stages.train``.

    Notes
    -----
    Imports inside functions count, and so does a text that is the dotted name of a module, because that is
    how the registries name what they import lazily.
    """
    seen: set[Path] = set()
    waiting = [path for module in modules for path in _files(module)]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(_imported(path))
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    package = (NAME, *path.relative_to(PACKAGE).parent.parts)
    found: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.replace(".", "").isidentifier() else []
        else:
            continue
        found.extend(file for name in names if name.startswith(f"{NAME}.") for file in _files(name))
    return tuple(found)


def _files(module: str) -> list[Path]:
    """Return the files that importing a module runs: its own and those of the packages above it."""
    parts = module.split(".")[1:]
    files = []
    for depth in range(len(parts) + 1):
        path = PACKAGE.joinpath(*parts[:depth])
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                files.append(candidate)
    return files


def named_paths(entry: object, root: Path) -> list[Path]:
    """Return the files and folders inside `root` that a config entry names and that exist, however deep."""
    if isinstance(entry, str):
        path = root / entry
        return [path] if entry.strip("./") and path.exists() else []
    if isinstance(entry, Mapping):
        entry = list(entry.values())
    if isinstance(entry, (list, tuple)):
        return sorted({path for item in entry for path in named_paths(item, root)})
    return []


def data_state(entry: object, root: Path) -> str:
    """Return a digest of name, size and time of every file behind a config entry.

    Files in a named folder count, and so do the files that a named table lists in a column called ``path`` or
    ``..._path``: a scan that was replaced or a diagnosis that was corrected gives another digest.
    """
    digest = hashlib.sha256()
    for path in named_paths(entry, root):
        files = sorted(path.rglob("*")) if path.is_dir() else [path, *_listed(path)]
        for file in files:
            if file.is_file():
                state = file.stat()
                name = os.path.relpath(file, root)
                digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _listed(table: Path) -> list[Path]:
    if table.suffix not in (".tsv", ".csv"):
        return []
    with table.open(encoding="utf-8-sig", newline="") as handle:
        first = handle.readline()
        handle.seek(0)
        rows = list(csv.DictReader(handle, delimiter="\t" if "\t" in first else ","))
    columns = [name for name in (rows[0] if rows else ()) if name and (name == "path" or name.endswith("_path"))]
    return [table.parent / row[name] for row in rows for name in columns if row[name]]
