"""A real browser for tests: Chromium without a window, driven through its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Seconds after which a browser that does not answer has failed.
PATIENCE = 30.0
KEY_CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, "Escape": 27}


def installed() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one Chromium, whose profile lies in a folder and outlives it.

    The protocol's messages are JSON that ends in a zero byte; they come in on descriptor 3 and go out on 4.
    """

    def __init__(self, profile: Path, downloads: Path) -> None:
        executable = installed()
        assert executable is not None
        (read_here, write_there), (read_there, write_here) = os.pipe(), os.pipe()
        # Out of the way of the two descriptors that the child is promised.
        there = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (read_there, write_there)]

        def connect() -> None:
            os.dup2(there[0], 3)
            os.dup2(there[1], 4)

        command = [
            executable, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "--window-size=1400,1000", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, preexec_fn=connect, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for each in (read_there, write_there, *there):
            os.close(each)
        self._in, self._out = read_here, write_here
        self._unread = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session: str | None = None
        self._session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *unused: object) -> None:
        self._session = None
        self.send("Browser.close")
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "the browser does not answer"
            piece = os.read(self._in, 1 << 16)
            assert piece, f"the browser ended with status {self._process.wait(PATIENCE)}"
            self._unread += piece
        text, self._unread = self._unread.split(b"\0", 1)
        return json.loads(text)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command; events that come before it are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        # A pipe takes a message in pieces where it is longer than the pipe.
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self._out, left) :]
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self.events.append(found)

    def open(self, page: Path) -> None:
        """Load a local file."""
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.wait(lambda: self.value("document.readyState") == "complete")

    def value(self, expression: str) -> Any:
        """Return what an expression is on the page."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, reached: Callable[[], object]) -> None:
        """Wait until something holds."""
        start = time.monotonic()
        while not reached():
            assert time.monotonic() - start < PATIENCE, "the page did not get there"
            time.sleep(0.02)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press one key as a keyboard would."""
        text = key if len(key) == 1 else {"Enter": "\r"}.get(key, "")
        code = KEY_CODES.get(key, ord(key.upper()[0]))
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what can be seen, or the whole page, as PNG."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console so far, also of the security policy."""
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(str(event["params"]["args"]))
        return found

    def requests(self) -> list[str]:
        """Return the addresses of everything that was fetched so far; data inside the page are not."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]
