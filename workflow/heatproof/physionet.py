"""Sets of data that are published file by file with a list of checksums, as PhysioNet does (``SHA256SUMS.txt``).

The list is fetched first and decides about every other file. Files that are there and right are not fetched again,
so that a killed process goes on where it was. What does not belong to the set is left alone.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from heatproof.checksums import CHECKSUMS, Kept, as_table, read_checksums, write_checksums
from heatproof.downloads import forget, settle
from heatproof.files import sha256_of
from heatproof.single_downloads import LOCK, Download, fetch_file, locked, require_inside, require_room, require_safe
from heatproof.transfers import Patience
from heatproof.web import DownloadError, stated_bytes

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)
LIST = "SHA256SUMS.txt"
# Few connections: the servers are public.
AT_ONCE = 4
PROGRESS_SECONDS = 10.0
# Files of one kind whose sizes are asked for; those of a kind differ little.
ASKED_PER_KIND = 3
MOST_KINDS = 16
LONGEST_QUESTION_SECONDS = 10.0
LONGEST_NAME_BYTES = 240
LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<path>\S.*)")


@dataclass(frozen=True)
class PublishedSet:
    """A set of data at an address that has a list of checksums in it.

    Attributes
    ----------
    url : str
        Address of the folder: https, or http where `sha256` is given or the host is this computer.
    sha256 : str or None
        Checksum of the list; with None the first download decides.
    files : tuple of str
        Patterns of the files that are wanted; ``*`` stands for anything, also for slashes.
    """

    url: str
    sha256: str | None = None
    files: tuple[str, ...] = ("*",)

    def address(self, path: str) -> str:
        """Return where a file of the set lies."""
        return f"{self.url.rstrip('/')}/{urllib.parse.quote(path)}"


def fetch_set(
    published: PublishedSet,
    folder: Path,
    *,
    offline: bool = False,
    patience: Patience = Patience(),  # noqa: B008
    at_once: int = AT_ONCE,
) -> pd.DataFrame:
    """Bring a folder to the state of a published set, and return its files.

    Parameters
    ----------
    published : PublishedSet
        What to fetch.
    folder : Path
        Where it lies.
    offline : bool
        Whether nothing may be fetched; what is there is checked all the same.
    patience : Patience
        How often a transfer is tried again.
    at_once : int
        Files that are fetched or checked at the same time.

    Returns
    -------
    DataFrame
        file_id (path inside the folder), bytes, sha256, origin; the list and the files that are wanted, sorted.

    Raises
    ------
    ConfigError
        If the list could be changed on its way and no checksum of it is given.
    HeatproofError
        If the list is none, a pattern finds nothing in it, the disk is too small, a file cannot be fetched or is not
        the one of the list, or one is missing while `offline`.
    """
    listing = Download(published.address(LIST), LIST, published.sha256)
    require_safe(listing)
    with locked(folder):
        kept = read_checksums(folder)
        sums = _listed(listing, folder, kept, offline, patience)
        wanted = [Download(published.address(path), path, sums[path]) for path in _wanted(sums, published)]
        missing = [one for one in wanted if not (folder / one.path).is_file()]
        if offline and missing:
            _refuse_offline(missing, published, len(wanted))
        if missing:
            _require_room(missing, folder, min(patience.timeout, LONGEST_QUESTION_SECONDS), at_once)
        try:
            _settle_all(wanted, folder, kept, _Progress(len(wanted), len(missing)), patience, at_once)
        finally:
            write_checksums(folder, kept)
    return as_table({path: kept[path] for path in (LIST, *(one.path for one in wanted))})


def read_list(text: str) -> dict[str, str]:
    """Return path -> SHA-256 of a list of checksums, as sha256sum writes it or with one blank.

    Parameters
    ----------
    text : str
        Contents of the list.

    Raises
    ------
    DownloadError
        If a line is none of a list, a path leads out of the folder or cannot be used in it, or stands there twice with
        two checksums, or nothing is listed.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise _wrong_list(f"line {number} is no checksum and path: '{line[:60]}'.")
        path = match["path"].removeprefix("./")
        _require_usable(path)
        if sums.setdefault(path, match["sha256"].lower()) != match["sha256"].lower():
            raise _wrong_list(f"'{path}' stands there with two checksums.")
    if not sums:
        raise _wrong_list("it lists no file.")
    folders = {str(parent) for path in sums for parent in PurePosixPath(path).parents}
    if both := sorted(folders & sums.keys()):
        raise _wrong_list(f"'{both[0]}' is a file and a folder.")
    return sums


def _require_usable(path: str) -> None:
    """Raise a DownloadError for a path that leads out of the folder, or to a file of our own."""
    require_inside(path)
    name = PurePosixPath(path)
    is_own = path in (LIST, CHECKSUMS, LOCK) or name.name.endswith((".part", ".part.json"))
    is_short = all(len(part.encode()) <= LONGEST_NAME_BYTES for part in name.parts)
    is_plain = is_short and path.isprintable() and path == str(name)
    if is_own or not is_plain:
        raise _wrong_list(f"the name '{path[:60]}' cannot be used.")


def _wrong_list(problem: str) -> DownloadError:
    return DownloadError(problem, file=LIST, field="url", remedy="check the address: it is the folder of the list.")


def _listed(
    listing: Download, folder: Path, kept: dict[str, Kept], offline: bool, patience: Patience
) -> dict[str, str]:
    """Return path -> SHA-256 of the list, which is fetched first; what is no list is not kept."""
    is_given = (folder / LIST).exists() and LIST not in kept
    settle(listing, folder, kept, offline, patience)
    try:
        return read_list((folder / LIST).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        forget(listing, folder, kept, is_given=is_given)
        raise _wrong_list("it is no text.") from error
    except DownloadError:
        forget(listing, folder, kept, is_given=is_given)
        raise


def _wanted(sums: Mapping[str, str], published: PublishedSet) -> list[str]:
    """Return the listed paths that a pattern finds, in the order of the list."""
    for pattern in published.files:
        if not any(fnmatchcase(path, pattern) for path in sums):
            raise DownloadError(
                f"'{pattern}' finds none of the {len(sums)} files, such as {', '.join(list(sums)[:3])}.",
                file=LIST,
                field="files",
                remedy="correct the pattern; * stands for anything, also for slashes.",
            )
    return [path for path in sums if any(fnmatchcase(path, pattern) for pattern in published.files)]


def _refuse_offline(missing: Sequence[Download], published: PublishedSet, n_files: int) -> None:
    raise DownloadError(
        f"it and {len(missing) - 1} more of {n_files} files are missing, and offline: true forbids to fetch them.",
        file=missing[0].path,
        field="offline",
        remedy=f"fetch {published.url} yourself and put it there, or set offline: false.",
    )


def _require_room(missing: Sequence[Download], folder: Path, timeout: float, at_once: int) -> None:
    """Raise a DownloadError if the missing files cannot all fit.

    A few of each kind are asked for their size, and the least of it stands for the others: what does not fit then,
    never will. What a server does not tell is not counted.
    """
    kinds: dict[str, list[Download]] = defaultdict(list)
    for one in missing:
        kinds[PurePosixPath(one.path).suffix].append(one)
    asked = {kind: some[:: -(-len(some) // ASKED_PER_KIND)] for kind, some in kinds.items()}
    # A set may have many kinds, such as one per lead; a question costs as much time as a small file.
    asked = dict(sorted(asked.items(), key=lambda item: -len(kinds[item[0]]))[:MOST_KINDS])
    with ThreadPoolExecutor(at_once) as pool:
        sizes = {kind: list(pool.map(lambda one: stated_bytes(one.url, timeout), some)) for kind, some in asked.items()}
    least = sum(len(kinds[kind]) * min(size or 0 for size in some) for kind, some in sizes.items())
    LOGGER.info("%d files are missing, %d MB or more", len(missing), least >> 20)
    require_room(folder, least, missing[0].path if len(missing) == 1 else f"{len(missing)} files")


def _settle_all(
    wanted: Sequence[Download],
    folder: Path,
    kept: dict[str, Kept],
    progress: _Progress,
    patience: Patience,
    at_once: int,
) -> None:
    """Check or fetch all files, several at once; the first that fails stops the others."""
    stopped = threading.Event()

    def pause(seconds: float) -> None:
        patience.sleep(seconds)
        if stopped.is_set():
            raise DownloadError("another file failed.", file=folder.name, remedy="see the first error.")

    with ThreadPoolExecutor(at_once) as pool:
        waiting: dict[Future[tuple[Kept, bool]], Download] = {
            pool.submit(_settle_one, one, folder, replace(patience, sleep=pause)): one for one in wanted
        }
        try:
            for future in as_completed(waiting):
                row, is_new = future.result()
                kept[waiting[future].path] = row
                progress.count(row.n_bytes, is_new)
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress.tell()


def _settle_one(download: Download, folder: Path, patience: Patience) -> tuple[Kept, bool]:
    """Return the row of a file, and whether it was fetched just now."""
    target = folder / download.path
    if not target.is_file():
        return fetch_file(download, folder, None, patience), True
    found = Kept(target.stat().st_size, sha256_of(target), download.url)
    if found.sha256 != download.sha256:
        raise DownloadError(
            f"the file that is there has the checksum {found.sha256}; {LIST} says {download.sha256}.",
            file=download.path,
            field="sha256",
            remedy="delete it to fetch it again; for another version of the set choose another folder.",
        )
    return found, False


class _Progress:
    """Counts files and says now and then how far it is."""

    def __init__(self, n_files: int, n_missing: int) -> None:
        self.n_files, self.n_missing = n_files, n_missing
        self.n_done = self.n_fetched = self.n_bytes = 0
        self.began = self.told = time.monotonic()

    def count(self, n_bytes: int, is_new: bool) -> None:
        """Count a file that is there now."""
        self.n_done += 1
        if is_new:
            self.n_fetched += 1
            self.n_bytes += n_bytes
        if time.monotonic() - self.told >= PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Write the line."""
        self.told = time.monotonic()
        LOGGER.info(
            "%d of %d files are right; fetched %d of %d (%d MB, %.1f files/s)",
            self.n_done, self.n_files, self.n_fetched, self.n_missing, self.n_bytes >> 20,
            self.n_fetched / max(self.told - self.began, 1e-9),
        )  # fmt: skip
