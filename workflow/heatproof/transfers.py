"""One file over HTTP: picked up where it was cut off, never mixed from two versions, tried again with patience."""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from heatproof.web import HEADERS, DownloadError, require_web_address, web_opener

LOGGER = logging.getLogger(__name__)
CHUNK = 1 << 20
TIMEOUT_SECONDS = 60.0
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# Answers that may become the file later (202: it is being packed); every other refusal is final.
PASSING = (202, 408, 425, 429, 500, 502, 503, 504)
LOGGED_SHARE = 0.05


@dataclass(frozen=True)
class Patience:
    """How often and after which pauses a transfer is tried again.

    Attributes
    ----------
    attempts : int
        Requests in a row that brought nothing new; one after which more of the file is there than ever before starts
        the count anew.
    first_pause, longest_pause : float
        Seconds before the second attempt, doubled for every further one up to the longest.
    timeout : float
        Seconds without a byte after which a connection counts as cut.
    sleep : callable
        Waits for a number of seconds.
    """

    attempts: int = ATTEMPTS
    first_pause: float = FIRST_PAUSE_SECONDS
    longest_pause: float = LONGEST_PAUSE_SECONDS
    timeout: float = TIMEOUT_SECONDS
    sleep: Callable[[float], None] = time.sleep


class _Cut(Exception):
    """A transfer ended early; what has arrived stays, and it may be tried again."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


def transfer(url: str, part: Path, *, n_bytes: int | None = None, patience: Patience = Patience()) -> None:  # noqa: B008
    """Fill `part` with the file behind an address.

    A part that is there is completed if the server still has the same version of the file: it is asked for with
    ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14.2) by the validator kept in ``<part>.json``. A
    server without ranges, or with another version, sends the file from its beginning, and so it is written.

    Parameters
    ----------
    url : str
        http or https; redirects are followed to those only, and never from https to http.
    part : Path
        The unfinished file.
    n_bytes : int, optional
        Its size, where known.
    patience : Patience
        How often it is tried again.

    Raises
    ------
    DownloadError
        If the server refuses, or does not send the whole file in all attempts, or it cannot be written.
    """
    require_web_address(url, "url")
    failures, pause, reached = 0, patience.first_pause, _size(part)
    while True:
        try:
            _request(url, part, n_bytes, patience.timeout)
            return
        except _Cut as cut:
            # A server without ranges begins anew every time; only what goes beyond the best attempt leads to an end.
            brought, reached = _size(part) > reached, max(reached, _size(part))
            failures, pause = (1, patience.first_pause) if brought else (failures + 1, pause)
            LOGGER.warning("%s: %s after %d bytes", part.name, cut, _size(part))
            if failures >= patience.attempts:
                raise DownloadError(
                    f"the transfer was cut {failures} times in a row ({cut}).",
                    file=part.name,
                    field=url,
                    remedy="run it again later: what has arrived is kept.",
                ) from cut
            patience.sleep(min(cut.pause or pause, patience.longest_pause))
            pause = min(2 * pause, patience.longest_pause)


def discard(part: Path) -> None:
    """Remove an unfinished file and what is known about it."""
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _request(url: str, part: Path, n_bytes: int | None, timeout: float) -> None:
    """Make one request and write what it brings; raise _Cut where it ends early."""
    start, validator = _resumable(url, part)
    headers = dict(HEADERS)
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        with web_opener().open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            if answer.status not in (200, 206):
                _refused(answer.status, answer.reason, answer.headers, url, part)
            first = _first_byte(answer, start)
            total = _total(answer, first)
            _require_size(total, n_bytes, part)
            if first == 0:
                _remember(url, part, answer)
            _receive(answer, part, first, total if total is not None else n_bytes)
    except urllib.error.HTTPError as error:
        if not _is_whole(error, part, start):
            _refused(error.code, error.reason, error.headers, url, part)
    except (http.client.HTTPException, urllib.error.URLError, OSError) as error:
        raise _Cut(str(error) or type(error).__name__) from error


def _receive(answer: Any, part: Path, first: int, total: int | None) -> None:
    with writing(part), part.open("r+b" if first else "wb") as file:
        file.seek(first)
        file.truncate()
        done, told = first, first
        while block := _block(answer):
            file.write(block)
            done += len(block)
            if total is not None and done > total:
                raise DownloadError(
                    f"the server sends more than the {total} bytes that were expected.",
                    file=part.name,
                    field="bytes",
                    remedy="check the address.",
                )
            if total and total > CHUNK and done - told >= LOGGED_SHARE * total:
                LOGGER.info("%s: %d of %d MB (%.0f %%)", part.name, done >> 20, total >> 20, 100 * done / total)
                told = done
    if total is not None and done < total:
        raise _Cut("the connection was cut")


def _block(answer: Any) -> bytes:
    """Return what the connection brings next."""
    try:
        block: bytes = answer.read(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise _Cut(str(error) or type(error).__name__) from error
    return block


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """Raise a DownloadError for what the system refuses to write: trying again would not help."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"it cannot be written ({error.strerror or error}).",
            file=part.name,
            field="file",
            remedy="make room in the data root, and let its folder be written to; what has arrived is kept.",
        ) from error


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """Return (bytes that are there, validator), or (0, "") where a part cannot be trusted to be of the same file."""
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
        validator = str(note["validator"]) if note["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        validator = ""
    return (_size(part), validator) if validator else (0, "")


def _remember(url: str, part: Path, answer: Any) -> None:
    """Write down by what the server can tell this version of the file from another."""
    tag = answer.headers.get("ETag", "")
    # A weak tag does not promise equal bytes, and a date is only as good as a second.
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    with writing(part):
        _note_of(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _first_byte(answer: Any, start: int) -> int:
    """Return where the answer begins: at `start` if the server honours the range, else at zero."""
    if answer.status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start:
        raise _Cut("the server sent another range than was asked for")
    return start


def _total(answer: Any, first: int) -> int | None:
    """Return the size of the whole file as the server states it."""
    whole = re.search(r"/(\d+)$", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    if whole is not None:
        return int(whole[1])
    length = answer.headers.get("Content-Length")
    return first + int(length) if length and length.isdigit() else None


def _require_size(total: int | None, n_bytes: int | None, part: Path) -> None:
    if total is not None and n_bytes is not None and total != n_bytes:
        raise DownloadError(
            f"the server's file has {total} bytes, {n_bytes} are expected.",
            file=part.name,
            field="bytes",
            remedy="check the address; a new version needs a new checksum.",
        )


def _is_whole(error: urllib.error.HTTPError, part: Path, start: int) -> bool:
    """Return whether a refused range means that the part is all of the file; a longer one is thrown away."""
    if error.code != 416 or not start:
        return False
    if error.headers.get("Content-Range") == f"bytes */{start}":
        return True
    discard(part)
    raise _Cut("the part is longer than the file") from error


def _refused(status: int, reason: str, headers: Any, url: str, part: Path) -> NoReturn:
    """Raise what an answer without the file means."""
    if status in PASSING:
        wait = headers.get("Retry-After", "")
        raise _Cut(f"the server answered {status}", float(wait) if wait.isdigit() else None)
    raise DownloadError(
        f"the server answered {status} {reason}.",
        file=part.name,
        field=url,
        remedy="check the address, or give that of a mirror.",
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")
