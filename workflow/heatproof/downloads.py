"""Public data by address and checksum: fetched once, checked always.

A source of data is a list of `Download`; `fetch_all` brings a folder to that state and says what is in it. What
has no published checksum is trusted at its first download; ``checksums.tsv`` beside the data keeps what came, and
from then on nothing else is accepted.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from heatproof.archives import LARGEST_BYTES, unpack
from heatproof.files import read_table, sha256_of, write_table
from heatproof.transfers import DownloadError, Patience, discard, transfer

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)
CHECKSUMS = "checksums.tsv"
LOCK = ".downloads.lock"
COLUMNS = ("file_id", "bytes", "sha256", "origin")


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    Attributes
    ----------
    url : str
        Where it lies.
    path : str
        Where it shall lie, relative to the folder, with forward slashes.
    sha256 : str, optional
        Its checksum in hexadecimal digits; without one the first download decides.
    n_bytes : int, optional
        Its size.
    unpack : bool
        Whether it is a zip archive that is unpacked beside it and then removed.
    holds : mapping of str to int
        For an archive: pattern -> number of files that it leaves in the folder.
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


@dataclass(frozen=True)
class Kept:
    """One row of checksums.tsv: a file, its size, its checksum, and the address or archive that it came from."""

    n_bytes: int
    sha256: str
    origin: str


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
    DownloadError
        If a file cannot be fetched, is not the one expected, was changed since it was fetched, or is missing
        while `offline`.
    """
    for download in downloads:
        _require_inside(download.path)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        kept = _read_checksums(folder)
        for download in downloads:
            _settle(download, folder, kept, offline, patience)
    return _table(kept)


def checksum_lists(text: str, address: str) -> list[Download]:
    """Return the downloads of a ``SHA256SUMS`` list: lines of a checksum, blanks and a path.

    Parameters
    ----------
    text : str
        The list.
    address : str
        What the paths are relative to.

    Raises
    ------
    DownloadError
        If a line is no checksum and path.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        digest, _, path = line.strip().partition(" ")
        path = path.strip().removeprefix("*")
        if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef") or not path:
            raise DownloadError(
                f"line {number} is no checksum and path.", file="SHA256SUMS", remedy="fetch the list again."
            )
        found.append(Download(f"{address.rstrip('/')}/{path}", path, digest.lower()))
    return found


def _settle(download: Download, folder: Path, kept: dict[str, Kept], offline: bool, patience: Patience) -> None:
    """Bring one download to its state, and write down what came."""
    target = folder / download.path
    if download.unpack and not target.exists() and _is_unpacked(download, folder, kept):
        return
    if not target.exists():
        _fetch(download, target, kept.get(download.path), offline, patience)
    found = Kept(target.stat().st_size, sha256_of(target), download.url)
    _require_expected(download, target, found, kept.get(download.path))
    kept[download.path] = found
    _write_checksums(folder, kept)
    if download.unpack:
        files = unpack(target, target.parent, largest_bytes=download.largest_bytes)
        _require_holds(download, folder)
        for path in (target.parent / file for file in files):
            kept[path.relative_to(folder).as_posix()] = Kept(path.stat().st_size, sha256_of(path), download.path)
        _write_checksums(folder, kept)
        # What was in it is checked by itself from now on.
        target.unlink()


def _is_unpacked(download: Download, folder: Path, kept: dict[str, Kept]) -> bool:
    """Return whether all that an archive holds is there; files that a person put there are taken as they are."""
    members = {path: one for path, one in kept.items() if one.origin == download.path}
    if not members:
        found = {path for pattern in download.holds for path in folder.glob(pattern) if path.is_file()}
        if not found or any(len(list(folder.glob(pattern))) != n for pattern, n in download.holds.items()):
            return False
        for path in sorted(found):
            kept[path.relative_to(folder).as_posix()] = Kept(path.stat().st_size, sha256_of(path), download.path)
        _write_checksums(folder, kept)
        return True
    there = [name for name in members if (folder / name).is_file()]
    for name in there:
        _require_unchanged(folder / name, members[name])
    return len(there) == len(members)


def _fetch(download: Download, target: Path, known: Kept | None, offline: bool, patience: Patience) -> None:
    if offline:
        raise DownloadError(
            "the file is missing, and offline: true forbids to fetch it.",
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


def _require_holds(download: Download, folder: Path) -> None:
    for pattern, wanted in download.holds.items():
        found = sum(path.is_file() for path in folder.glob(pattern))
        if found != wanted:
            raise DownloadError(
                f"the archive holds {found} files {pattern}; {wanted} are expected.",
                file=download.path,
                field="holds",
                remedy="check the address: this is another version of the data.",
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder; two studies may share it."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_checksums(folder: Path) -> dict[str, Kept]:
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    rows = read_table(path, COLUMNS).to_dict("records")
    return {str(row["file_id"]): Kept(int(row["bytes"]), str(row["sha256"]), str(row["origin"])) for row in rows}


def _write_checksums(folder: Path, kept: Mapping[str, Kept]) -> None:
    write_table(_table(kept), folder / CHECKSUMS)


def _table(kept: Mapping[str, Kept]) -> pd.DataFrame:
    import pandas as pd

    rows = [(path, one.n_bytes, one.sha256, one.origin) for path, one in sorted(kept.items())]
    return pd.DataFrame(rows, columns=list(COLUMNS))
