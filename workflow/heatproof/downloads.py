"""Public data by address and checksum: fetched once, checked always.

A source of data is a list of `Download`; `fetch_all` brings a folder to that state and says what is in it. What
has no published checksum is trusted at its first download; ``checksums.tsv`` beside the data keeps what came, and
from then on nothing else is accepted. Of an archive the files in it are kept so, not its own bytes: some servers pack
it anew for every download.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.archives import RefusedArchiveError, unpack, visible
from heatproof.checksums import CHECKSUMS, Kept, as_table, read_checksums, write_checksums
from heatproof.files import sha256_of
from heatproof.single_downloads import Download, fetch_file, locked, require_expected, require_inside, require_safe
from heatproof.transfers import Patience
from heatproof.web import DownloadError

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)


def fetch_all(
    downloads: Sequence[Download],
    folder: Path,
    *,
    offline: bool = False,
    patience: Patience = Patience(),  # noqa: B008
) -> pd.DataFrame:
    """Bring a folder to the state that the downloads describe, and return its files.

    Parameters
    ----------
    downloads : sequence of Download
        What to fetch. A file that is there is checked, not fetched again.
    folder : Path
        Where it lies.
    offline : bool
        Whether nothing may be fetched.
    patience : Patience
        How often a transfer is tried again.

    Returns
    -------
    DataFrame
        file_id (path inside the folder), bytes, sha256, origin; one row per file, sorted.

    Raises
    ------
    ConfigError
        If an address is http, which anyone on the way can change, and no checksum is given.
    HeatproofError
        If a file cannot be fetched or unpacked, is not the one expected, was changed since it was fetched, or is
        missing while `offline`.
    """
    for download in downloads:
        require_inside(download.path)
        require_safe(download)
    with locked(folder):
        kept = read_checksums(folder)
        for download in downloads:
            settle(download, folder, kept, offline, patience)
    return as_table(kept)


def settle(download: Download, folder: Path, kept: dict[str, Kept], offline: bool, patience: Patience) -> None:
    """Bring one download to its state, and write down what came; the folder is locked by the caller.

    Parameters
    ----------
    download : Download
        The file.
    folder : Path
        Where it lies.
    kept : dict of str to Kept
        Rows of checksums.tsv, which are brought up to date.
    offline : bool
        Whether nothing may be fetched.
    patience : Patience
        How often a transfer is tried again.
    """
    target = folder / download.path
    if download.unpack and not target.exists() and _is_unpacked(download, folder, kept):
        _require_holds(download, target.parent, "folder")
        return
    row = kept.get(download.path)
    # Another address is another file, until a checksum says that it is not.
    is_other = row is not None and row.origin != download.url and download.sha256 is None
    if is_other and not offline:
        forget(download, folder, kept)
    is_given = target.exists() and download.path not in kept
    known = None if download.unpack else kept.get(download.path)
    if is_other or not target.exists():
        _fetch(download, folder, known, offline, patience)
    found = Kept(target.stat().st_size, sha256_of(target), download.url)
    require_expected(download, found, known, f"delete {target.name} to fetch it again")
    kept[download.path] = found
    write_checksums(folder, kept)
    if download.unpack:
        _unpack(download, folder, kept, is_given)


def _unpack(download: Download, folder: Path, kept: dict[str, Kept], is_given: bool) -> None:
    """Replace an archive by its members; one that is wrong is not used again, but what a person put there stays."""
    target = folder / download.path
    members: dict[str, Kept] = {}
    accept = partial(_accept, download, folder, kept, members)
    try:
        unpack(target, target.parent, largest_bytes=download.largest_bytes, accept=accept)
    except (RefusedArchiveError, DownloadError):
        if download.sha256 is None:
            forget(download, folder, kept, is_given=is_given)
        raise
    kept |= members
    write_checksums(folder, kept)
    # What was in it is checked by itself from now on.
    target.unlink()
    _require_holds(download, target.parent, "folder")


def _accept(
    download: Download, folder: Path, kept: Mapping[str, Kept], members: dict[str, Kept], place: Path, files: list[Path]
) -> None:
    """Add the files of an archive to its members; raise if they are not those that are expected or were once there."""
    _require_holds(download, place, "archive")
    beside = (folder / download.path).parent.relative_to(folder)
    for file in files:
        path = place / file
        members[(beside / file).as_posix()] = Kept(path.stat().st_size, sha256_of(path), download.path)
    known = {path: one for path, one in kept.items() if one.origin == download.path}
    changed = sorted(path for path, one in known.items() if members.get(path) != one)
    if changed and download.sha256 is None:
        raise DownloadError(
            f"{len(changed)} of its files are missing, or others than when it was first unpacked ({changed[0]}).",
            file=download.path,
            field="sha256",
            remedy=f"if the origin has a new version, remove the rows of its files from {CHECKSUMS}.",
        )


def forget(download: Download, folder: Path, kept: dict[str, Kept], *, is_given: bool = False) -> None:
    """Remove the row of a file, and the file itself unless a person put it there."""
    kept.pop(download.path, None)
    write_checksums(folder, kept)
    if not is_given:
        (folder / download.path).unlink(missing_ok=True)


def _is_unpacked(download: Download, folder: Path, kept: dict[str, Kept]) -> bool:
    """Return whether all that an archive holds is there; files that a person put there are taken as they are."""
    members = {path: one for path, one in kept.items() if one.origin == download.path}
    if not members:
        place = (folder / download.path).parent
        found = {pattern: visible(place, pattern) for pattern in download.holds}
        if not found or any(len(paths) != download.holds[pattern] for pattern, paths in found.items()):
            return False
        for path in (path for paths in found.values() for path in paths):
            kept[path.relative_to(folder).as_posix()] = Kept(path.stat().st_size, sha256_of(path), download.path)
        write_checksums(folder, kept)
        return True
    there = [name for name in members if (folder / name).is_file()]
    for name in there:
        _require_unchanged(folder / name, members[name])
    return len(there) == len(members)


def _fetch(download: Download, folder: Path, known: Kept | None, offline: bool, patience: Patience) -> None:
    if offline:
        raise DownloadError(
            "the file is missing or from another address, and offline: true forbids to fetch it.",
            file=download.path,
            field="offline",
            remedy=f"fetch {download.url} yourself and put it there, or set offline: false.",
        )
    LOGGER.info("fetching %s from %s", download.path, download.url)
    fetch_file(download, folder, known, patience)


def _require_unchanged(path: Path, kept: Kept) -> None:
    if path.stat().st_size != kept.n_bytes or sha256_of(path) != kept.sha256:
        raise DownloadError(
            "the file was changed since it was fetched.",
            file=path.name,
            field="sha256",
            remedy=f"delete it to fetch it again, or remove its row of {CHECKSUMS} if the change is meant.",
        )


def _require_holds(download: Download, place: Path, name: str) -> None:
    """Raise a DownloadError unless an archive, or the folder after it was unpacked, has all files and no others."""
    for pattern, wanted in download.holds.items():
        found = len(visible(place, pattern))
        if found != wanted:
            raise DownloadError(
                f"the {name} holds {found} files {pattern}; {wanted} are expected.",
                file=download.path,
                field="holds",
                remedy="check the address: this is another version of the data."
                if name == "archive"
                else f"remove what does not belong to the data ({CHECKSUMS} lists what does).",
            )
