"""The way to the web: addresses that are fetched from, redirects that are followed, sizes that servers state."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from heatproof import __version__
from heatproof.errors import HeatproofError

SCHEMES = ("http", "https")
HEADERS = {"User-Agent": f"heatproof/{__version__}", "Accept-Encoding": "identity"}


class DownloadError(HeatproofError):
    """A file cannot be fetched, or is not the one that was expected."""


def require_web_address(url: str, field: str) -> None:
    """Raise a DownloadError unless an address is http or https and names a host."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise DownloadError(
            f"'{url}' is no address that is fetched from.",
            field=field,
            remedy=f"use {' or '.join(SCHEMES)}.",
        )


class WebOnly(urllib.request.HTTPRedirectHandler):
    """Follow redirects to the web only, and never to an address that anyone on the way can read."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request that follows a redirect; raise a DownloadError where it must not be followed."""
        require_web_address(newurl, "redirect")
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise DownloadError("the server redirects to an open connection.", field=newurl, remedy="use a mirror.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def web_opener() -> urllib.request.OpenerDirector:
    """Return what opens web addresses and nothing else."""
    # Put together by hand: the usual one also reads ftp, data and local files.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        WebOnly(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def stated_bytes(url: str, timeout: float) -> int | None:
    """Return the size of the file behind an address, or None where the server does not state it.

    Parameters
    ----------
    url : str
        http or https.
    timeout : float
        Seconds without an answer after which none is waited for.
    """
    require_web_address(url, "url")
    request = urllib.request.Request(url, headers=HEADERS, method="HEAD")
    try:
        with web_opener().open(request, timeout=timeout) as answer:
            length = answer.headers.get("Content-Length") or ""
    except (http.client.HTTPException, urllib.error.URLError, OSError):
        return None
    return int(length) if length.isdigit() else None
