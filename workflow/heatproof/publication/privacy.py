"""Nothing that is shared says where a file lay, on which machine, or whose it was."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[path]"
# A drive letter, a home mark or a root, then at least one name: /data/x, ~/x, C:\x.
# Not "and/or", "1/2" or a web address.
_PATH = re.compile(r"(?<![\w/:.])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:;,'\"<>|]+[/\\])*[^\s/\\:;,'\"<>|]+")


# A text that is a path from its beginning is hidden whole, because names of folders may hold spaces.
_WHOLE = re.compile(r"~|/|\\|[A-Za-z]:[\\/]|file:|[\w.-]+:/(?!/)")


def without_paths(text: str, known: str = "") -> str:
    """Return `text` without absolute paths; `known` is removed literally (it may hold spaces)."""
    if known:
        text = text.replace(known, HIDDEN)
    return _PATH.sub(HIDDEN, text)


def shareable(value: Any) -> Any:
    """Return a copy of a nested configuration in which every absolute path is hidden."""
    if isinstance(value, dict):
        return {str(key): shareable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [shareable(entry) for entry in value]
    if isinstance(value, str):
        return HIDDEN if _WHOLE.match(value) and len(value) > 1 else without_paths(value)
    return value
