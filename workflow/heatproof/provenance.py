"""Which source files a stage depends on, so that an edit reruns exactly what it can change.

Snakemake compares a rule's parameters from run to run; a digest of the package's files among them makes the
code itself a parameter. Contents are compared, not times, so a fresh clone reruns nothing.
"""

from __future__ import annotations

import ast
import hashlib
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
