"""Where the data of each source are published, for those that are fetched by address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heatproof.downloads import Download
from heatproof.errors import ConfigError

CHENG_URL = "https://ndownloader.figshare.com/articles/1512427/versions/5"
CHENG_FILES = 3064
# Four archives of some 220 MB each unpack to int16 images with masks: 1.7 GB in the original release.
CHENG_LARGEST_BYTES = 8 << 30


def cheng(spec: Mapping[str, Any]) -> list[Download]:
    """Return the release of the brain tumour slices: one archive with four archives of .mat files and cvind.mat.

    Parameters
    ----------
    spec : mapping
        ``url`` of a mirror and ``sha256`` of its archive, both optional.
    """
    return [
        Download(
            str(spec.get("url") or CHENG_URL),
            "1512427.zip",
            spec.get("sha256"),
            unpack=True,
            holds={"**/[0-9]*.mat": CHENG_FILES, "**/cvind.mat": 1},
            largest_bytes=CHENG_LARGEST_BYTES,
        )
    ]


RELEASES: dict[str, Callable[[Mapping[str, Any]], list[Download]]] = {"cheng": cheng}


def release_of(spec: Mapping[str, Any]) -> list[Download]:
    """Return what has to be fetched for a cohort entry.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``source`` and the keys of its release.

    Raises
    ------
    ConfigError
        If the source cannot be fetched, or its layout is not that of the release.
    """
    name = str(spec.get("source", ""))
    if name not in RELEASES:
        raise ConfigError(
            f"the source '{name}' has no release that is fetched by address.",
            field="cohort.fetch",
            remedy=f"set fetch: false; sources that can be fetched: {', '.join(RELEASES)}.",
        )
    if spec.get("layout", "mat") != "mat":
        raise ConfigError(
            "the release holds the original .mat files.",
            field="cohort.layout",
            remedy="use layout: mat, or fetch: false.",
        )
    return RELEASES[name](spec)
