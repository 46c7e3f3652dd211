"""Paths of a configuration: they stay inside the declared data root, also through ``..`` and links."""

from __future__ import annotations

from pathlib import Path

from heatproof.errors import ConfigError


def inside(root: Path, path: str | Path, *, field: str, base: Path | None = None) -> Path:
    """Return `path` made absolute, with every link followed.

    Parameters
    ----------
    root : Path
        Declared data root.
    path : str or Path
        Absolute, or relative to `base`.
    field : str
        Key or column that holds the path, for the message.
    base : Path, optional
        Folder that relative paths start from; the root by default.

    Raises
    ------
    ConfigError
        If the path leads out of the root.
    """
    home = root.resolve()
    resolved = (Path(base or root) / path).resolve()
    if not resolved.is_relative_to(home):
        raise ConfigError(
            "the path leads out of the data root.",
            file=path,
            field=field,
            remedy="move the data inside the root, or declare a root that holds them.",
        )
    return resolved


def shown(root: Path, path: Path) -> str:
    """Return a path relative to the root, so that no table names the machine's folders."""
    home, resolved = root.resolve(), path.resolve()
    return resolved.relative_to(home).as_posix() if resolved.is_relative_to(home) else path.name
