"""Where the data of each source are published, for those that are fetched by address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heatproof.errors import ConfigError
from heatproof.physionet import PublishedSet
from heatproof.single_downloads import Download

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


# Sets of PhysioNet: their names there -> where their files and the list of checksums lie.
PHYSIONET_URLS = {
    "ludb": "https://physionet.org/files/ludb/1.0.1/",
    "qtdb": "https://physionet.org/files/qtdb/1.0.0/",
    "ptb-xl": "https://physionet.org/files/ptb-xl/1.0.3/",
    "ptb-xl-plus": "https://physionet.org/files/ptb-xl-plus/1.0.1/",
}


def published_sets(spec: Mapping[str, Any]) -> dict[str, PublishedSet]:
    """Return folder -> set of a cohort of WFDB recordings, in the order of the configuration.

    Parameters
    ----------
    spec : mapping
        The `cohort` entry: ``fetch`` (true, or a list of sets), and of the entry or each set ``folder``, ``dataset``
        or ``url``, and optionally ``sha256`` and ``files``.

    Raises
    ------
    ConfigError
        If a set has no address, or two share a folder.
    """
    is_list = isinstance(spec.get("fetch"), list)
    entries = spec["fetch"] if is_list else [spec]
    sets: dict[str, PublishedSet] = {}
    for number, entry in enumerate(entries):
        field = f"cohort.fetch.{number}" if is_list else "cohort"
        url = entry.get("url") or PHYSIONET_URLS.get(str(entry.get("dataset") or ""))
        if not url:
            raise ConfigError(
                "it is not said where the set is published.",
                field=f"{field}.url",
                remedy=f"give the address of its folder, or a dataset: {', '.join(PHYSIONET_URLS)}.",
            )
        folder = str(entry["folder"])
        if folder.rstrip("/") in sets:
            raise ConfigError(
                f"two sets go to the folder {folder}.", field=f"{field}.folder", remedy="give each its own."
            )
        sets[folder.rstrip("/")] = PublishedSet(str(url), entry.get("sha256"), tuple(entry.get("files") or ("*",)))
    return sets


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
            remedy=f"set fetch: false; sources that can be fetched: {', '.join([*RELEASES, 'wfdb'])}.",
        )
    if spec.get("layout", "mat") != "mat":
        raise ConfigError(
            "the release holds the original .mat files.",
            field="cohort.layout",
            remedy="use layout: mat, or fetch: false.",
        )
    return RELEASES[name](spec)
