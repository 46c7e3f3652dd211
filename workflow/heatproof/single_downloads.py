"""One file of public data: where it lies, where it goes, and what it must be before it is taken."""

from __future__ import annotations

import fcntl
import ipaddress
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from heatproof.archives import LARGEST_BYTES
from heatproof.checksums import CHECKSUMS, Kept
from heatproof.errors import ConfigError
from heatproof.files import sha256_of
from heatproof.transfers import Patience, discard, transfer, writing
from heatproof.web import DownloadError

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


def fetch_file(download: Download, folder: Path, known: Kept | None, patience: Patience) -> Kept:
    """Fetch a file into a folder, where it appears whole and checked or not at all; return its row.

    Parameters
    ----------
    download : Download
        The file.
    folder : Path
        Where its path starts.
    known : Kept or None
        What it was the first time; decides where no checksum is given.
    patience : Patience
        How often the transfer is tried again.

    Raises
    ------
    DownloadError
        If it cannot be fetched or written, or is not the one that is expected.
    """
    target = folder / download.path
    n_bytes = download.n_bytes or (known.n_bytes if known is not None and download.sha256 is None else None)
    part = target.with_name(target.name + ".part")
    with writing(part):
        target.parent.mkdir(parents=True, exist_ok=True)
    require_room(target.parent, (n_bytes or 0) - (part.stat().st_size if part.is_file() else 0), download.path)
    transfer(download.url, part, n_bytes=n_bytes, patience=patience)
    found = Kept(part.stat().st_size, sha256_of(part), download.url)
    try:
        require_expected(download, found, known, "run it again, nothing of it was kept")
    except DownloadError:
        # A wrong part must not be completed the next time.
        discard(part)
        raise
    with writing(part):
        part.replace(target)
    discard(part)
    return found


def require_expected(download: Download, found: Kept, known: Kept | None, again: str) -> None:
    """Raise a DownloadError unless a file has the stated size and checksum, or those of the first time.

    Parameters
    ----------
    download : Download
        What is expected.
    found : Kept
        What came, or is there.
    known : Kept or None
        What it was the first time; decides where no checksum is given.
    again : str
        How the file is fetched once more, for the remedy.
    """
    wanted = download.sha256 or (known.sha256 if known is not None else None)
    n_bytes = download.n_bytes
    if (wanted is None or found.sha256 == wanted.lower()) and n_bytes in (None, found.n_bytes):
        return
    raise DownloadError(
        f"its {found.n_bytes} bytes have the checksum {found.sha256}; expected are {wanted or n_bytes}.",
        file=download.path,
        field="sha256" if wanted is not None and found.sha256 != wanted.lower() else "bytes",
        remedy=f"{again}; if the origin has a new version, remove its row of {CHECKSUMS} or state the new checksum.",
    )


def require_room(folder: Path, n_bytes: int, name: str) -> None:
    """Raise a DownloadError unless the disk of a folder has so many bytes left."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise DownloadError(
            f"it takes {n_bytes} bytes, and the disk has {free} left.",
            file=name,
            field="bytes",
            remedy="make room, or choose another data_root.",
        )


def require_inside(path: str) -> None:
    """Raise a DownloadError unless a path, relative to a folder, stays in it."""
    name = PurePosixPath(path)
    if name.is_absolute() or ".." in name.parts or "\\" in path or not name.parts:
        raise DownloadError("the path leads out of the folder.", file=path, field="path", remedy="use a plain name.")


def require_safe(download: Download) -> None:
    """Raise a ConfigError if anyone on the way can change a file and nothing would tell."""
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
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder; two studies may share it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
