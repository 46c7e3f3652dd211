"""Public data by address and checksum: fetched once, checked always.

A source of data is a list of `Download`; `fetch_all` brings a folder to that state and says what is in it. What
has no published checksum is trusted at its first download; ``checksums.tsv`` beside the data keeps what came, and
from then on nothing else is accepted. Of an archive the files in it are kept so, not its own bytes: some servers pack
it anew for every download.
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from heatproof.archives import LARGEST_BYTES, RefusedArchiveError, unpack, visible
from heatproof.checksums import CHECKSUMS, Kept, as_table, read_checksums, write_checksums
from heatproof.errors import ConfigError
from heatproof.files import sha256_of
from heatproof.transfers import DownloadError, Patience, discard, transfer

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)
LOCK = ".downloads.lock"


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    Attributes
    ----------
    url : str
        Where it lies: https, or http where `sha256` is given or the host is this computer.
    path : str
        Where it shall lie, relative to the folder, with forward slashes.
    sha256 : str, optional
        Its checksum in hexadecimal digits; without one the first download decides, of an archive the files in it.
    n_bytes : int, optional
        Its size.
    unpack : bool
        Whether it is a zip archive that is unpacked beside it and then removed.
    holds : mapping of str to int
        For an archive: pattern, relative to the archive's own folder -> number of files that it holds.
    largest_bytes : int
        For an archive: most bytes that it may unpack to.
    """

    url: str
    path: str
    sha256: str | None = None
    n_bytes: int | None = None
    unpack: bool = False
    holds: Mapping[str, int] = field(default_factory=dict)
    largest_bytes: int = LARGEST_BYTES


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
        _require_inside(download.path)
        _require_safe(download)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        kept = read_checksums(folder)
        for download in downloads:
            _settle(download, folder, kept, offline, patience)
    return as_table(kept)


def _settle(download: Download, folder: Path, kept: dict[str, Kept], offline: bool, patience: Patience) -> None:
    """Bring one download to its state, and write down what came."""
    target = folder / download.path
    if download.unpack and not target.exists() and _is_unpacked(download, folder, kept):
        _require_holds(download, target.parent, "folder")
        return
    row = kept.get(download.path)
    # Another address is another file, until a checksum says that it is not.
    is_other = row is not None and row.origin != download.url and download.sha256 is None
    if is_other and not offline:
        _forget(download, folder, kept)
    is_given = target.exists() and download.path not in kept
    known = None if download.unpack else kept.get(download.path)
    if is_other or not target.exists():
        _fetch(download, target, known, offline, patience)
    found = Kept(target.stat().st_size, sha256_of(target), download.url)
    _require_expected(download, target, found, known)
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
            _forget(download, folder, kept, is_given=is_given)
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


def _forget(download: Download, folder: Path, kept: dict[str, Kept], *, is_given: bool = False) -> None:
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


def _fetch(download: Download, target: Path, known: Kept | None, offline: bool, patience: Patience) -> None:
    if offline:
        raise DownloadError(
            "the file is missing or from another address, and offline: true forbids to fetch it.",
            file=download.path,
            field="offline",
            remedy=f"fetch {download.url} yourself and put it there, or set offline: false.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = download.n_bytes or (known.n_bytes if known is not None and download.sha256 is None else None)
    part = target.with_name(target.name + ".part")
    _require_room(target.parent, (n_bytes or 0) - (part.stat().st_size if part.is_file() else 0), download.path)
    LOGGER.info("fetching %s from %s", download.path, download.url)
    transfer(download.url, part, n_bytes=n_bytes, patience=patience)
    try:
        _require_expected(download, part, Kept(part.stat().st_size, sha256_of(part), download.url), known)
    except DownloadError:
        # A wrong part must not be completed the next time.
        discard(part)
        raise
    part.replace(target)
    discard(part)


def _require_expected(download: Download, path: Path, found: Kept, known: Kept | None) -> None:
    """Raise a DownloadError unless a file has the stated size and checksum, or those of the first time."""
    wanted = download.sha256 or (known.sha256 if known is not None else None)
    n_bytes = download.n_bytes
    if (wanted is None or found.sha256 == wanted.lower()) and n_bytes in (None, found.n_bytes):
        return
    raise DownloadError(
        f"its {found.n_bytes} bytes have the checksum {found.sha256}; expected are {wanted or n_bytes}.",
        file=download.path,
        field="sha256" if wanted is not None and found.sha256 != wanted.lower() else "bytes",
        remedy=f"delete {path.name} to fetch it again; if the origin has a new version, remove its row of "
        f"{CHECKSUMS} or state the new checksum.",
    )


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


def _require_room(folder: Path, n_bytes: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise DownloadError(
            f"it takes {n_bytes} bytes, and the disk has {free} left.",
            file=name,
            field="bytes",
            remedy="make room, or choose another data_root.",
        )


def _require_inside(path: str) -> None:
    name = PurePosixPath(path)
    if name.is_absolute() or ".." in name.parts or "\\" in path or not name.parts:
        raise DownloadError("the path leads out of the folder.", file=path, field="path", remedy="use a plain name.")


def _require_safe(download: Download) -> None:
    address = urllib.parse.urlsplit(download.url)
    if address.scheme == "http" and download.sha256 is None and not _is_this_computer(address.hostname or ""):
        raise ConfigError(
            f"'{download.url}' is not encrypted, so that anyone on the way can change the file.",
            file=download.path,
            field="url",
            remedy="use https, or give the sha256 of the file.",
        )


def _is_this_computer(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder; two studies may share it."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
