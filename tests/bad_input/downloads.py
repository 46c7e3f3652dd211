"""Downloads, lists of checksums, archives, and weights of networks."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pickle
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from bad_input import Trial
from heatproof.archives import unpack
from heatproof.downloads import fetch_all
from heatproof.models import NetworkSpec, build, load_foreign_weights, load_weights, save_weights
from heatproof.physionet import LIST, PublishedSet, fetch_set
from heatproof.single_downloads import Download
from heatproof.stages.fetch import fetch
from heatproof.transfers import Patience

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ONCE = Patience(attempts=1, timeout=5, sleep=lambda seconds: None)
SPEC = NetworkSpec("wang_b", (30, 28), parameters={"width": 4, "n_blocks": 2})


@contextmanager
def served(files: dict[str, bytes], redirect: str = "") -> Iterator[str]:
    """Serve files at an address of this computer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.removeprefix("/"))
            self.send_response(
                302 if redirect else 200 if content is not None else 404, None if redirect or content else "Not Found"
            )
            if redirect:
                self.send_header("Location", redirect)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *unused: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}):
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def fetched(content: bytes | None = CONTENT, redirect: str = "", **keys: Any) -> Callable[[Path], object]:
    """Return an attempt to fetch one file from a server."""

    def attempt(folder: Path) -> None:
        with served({} if content is None else {"data.bin": content}, redirect) as url:
            fetch_all([Download(f"{url}data.bin", "data.bin", **keys)], folder, patience=ONCE)

    return attempt


def asked(url: str, path: str = "data.bin", **keys: Any) -> Callable[[Path], object]:
    """Return an attempt to fetch from an address that must not be asked."""
    return lambda folder: fetch_all([Download(url, path)], folder, patience=ONCE, **keys)


def _changed(folder: Path) -> None:
    with served({"data.bin": CONTENT}) as url:
        download = [Download(f"{url}data.bin", "data.bin")]
        fetch_all(download, folder, patience=ONCE)
        (folder / "data.bin").write_bytes(b"changed")
        fetch_all(download, folder, patience=ONCE)


def in_list(*lines: str) -> Callable[[Path], object]:
    """Return an attempt to fetch a set whose list of checksums holds these lines."""

    def attempt(folder: Path) -> None:
        with served({LIST: "\n".join(lines).encode()}) as url:
            fetch_set(PublishedSet(url), folder, patience=ONCE)

    return attempt


def packed(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return buffer.getvalue()


def archive(content: bytes, **keys: Any) -> Callable[[Path], object]:
    """Return an attempt to unpack an archive; nothing of it may be left anywhere."""

    def attempt(folder: Path) -> None:
        path = folder / "set/a.zip"
        path.parent.mkdir()
        path.write_bytes(content)
        try:
            unpack(path, path.parent / "out", **keys)
        finally:
            left = {found for found in folder.rglob("*") if not found.is_dir()}
            assert left == {path}, left

    return attempt


def _as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def _locked() -> bytes:
    content = bytearray(packed({"a": b"secret"}))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _forged() -> bytes:
    content = bytearray(packed({"zeros": bytes(5_000_000)}))
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    return bytes(content)


class Code:
    """Leaves a file behind where a pickle that holds it is trusted."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


def foreign(name: str, write: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return an attempt to begin a training with weights from elsewhere; no code in them may run."""

    def attempt(folder: Path) -> None:
        write(folder / name)
        before = Path.cwd()
        os.chdir(folder)
        try:
            load_foreign_weights(SPEC.build(), folder / name)
        finally:
            os.chdir(before)
            assert not (folder / "ran").exists()

    return attempt


def own(spoil: Callable[[Path], object], spec: NetworkSpec = SPEC) -> Callable[[Path], object]:
    """Return an attempt to read a spoiled model of this project."""

    def attempt(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_weights(SPEC.build(), path, spec)
        spoil(path)
        load_weights(path)

    return attempt


def _other_network(path: Path) -> None:
    torch.save(build("wang_b", shape=(30, 28), width=5, n_blocks=2).state_dict(), path)


def _fewer_blocks(path: Path) -> None:
    torch.save(build("wang_b", shape=(30, 28), width=4, n_blocks=1).state_dict(), path)


def _without_word(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)


WIDER = NetworkSpec("wang_b", (30, 28), parameters={"width": 5, "n_blocks": 2})
RELEASE = {
    "source": "cheng",
    "folder": "tumours",
    "layout": "mat",
    "fetch": True,
    "sha256": None,
    "url": "https://safe.example/a.zip",
}

TRIALS = (
    Trial("http without a checksum", asked("http://mirror.example/data.bin")),
    Trial("a file of this machine for an address", asked("file:///etc/passwd")),
    Trial("ftp", asked("ftp://mirror.example/data.bin")),
    Trial("a name that leads out of the folder", asked("https://safe.example/x", "../data.bin")),
    Trial("offline, and the file is not there", asked("https://safe.example/x", offline=True)),
    Trial("offline, and the release is not there",
          lambda folder: fetch(RELEASE, root=folder, offline=True, fetched=folder / "fetched.tsv")),
    Trial("another checksum", fetched(sha256="0" * 64)),
    Trial("another size", fetched(n_bytes=17)),
    Trial("the server does not have it", fetched(None)),
    Trial("a redirect to a file of this machine", fetched(redirect="file:///etc/passwd")),
    Trial("a file that was changed since it was fetched", _changed),
    Trial("a list of checksums that is a web page", in_list("<html>log in</html>")),
    Trial("a list of checksums that is empty", in_list("")),
    Trial("a list that names a file outside", in_list(f"{SHA256} ../../evil")),
    Trial("a list with two checksums of one file", in_list(f"{SHA256} a", f"{'0' * 64} a")),
    Trial("archive: ../", archive(packed({"good": b"good", "../evil": b"evil"}))),
    Trial("archive: an absolute name", archive(packed({"/evil": b"evil"}))),
    Trial("archive: a name with a drive", archive(packed({"C:\\evil": b"evil"}))),
    Trial("archive: ../ in an archive inside", archive(packed({"inner.zip": packed({"../evil": b"evil"})}))),
    Trial("archive: a link", archive(packed({"link": b"/etc/passwd"}, _as_link))),
    Trial("archive: an encrypted member", archive(_locked())),
    Trial("archive: the same name twice", archive(packed({"A": b"1", "a": b"2"}))),
    Trial("archive: a bomb by what it states", archive(packed({"zeros": bytes(5_000_000)}), largest_bytes=4_000_000)),
    Trial("archive: a bomb that states less", archive(_forged(), largest_bytes=4_000_000)),
    Trial("archive: a bomb of archives",
          archive(packed({f"{n}.zip": packed({f"z{n}": bytes(3_000_000)}) for n in "abc"}), largest_bytes=8_000_000)),
    Trial("archive: truncated", archive(packed({"a": b"fine" * 100})[:-30])),
    Trial("archive: a web page", archive(b"<html>not found</html>")),
    Trial("weights: a .pt that holds code",
          foreign("theirs.pt", lambda path: torch.save({"state_dict": Code()}, path))),
    Trial("weights: a pickle", foreign("theirs.pt", lambda path: path.write_bytes(pickle.dumps(Code())))),
    Trial("weights: a pickle named .safetensors",
          foreign("theirs.safetensors", lambda path: path.write_bytes(pickle.dumps(Code())))),
    Trial("weights: no weights", foreign("theirs.pt", lambda path: torch.save([1, 2, 3], path))),
    Trial("weights: the file is missing", foreign("theirs.pt", lambda path: None)),
    Trial("weights: of another network", foreign("theirs.pt", _other_network)),
    Trial("weights: of a network with fewer blocks", foreign("theirs.pt", _fewer_blocks)),
    Trial("model: truncated", own(lambda path: path.write_bytes(path.read_bytes()[:100]))),
    Trial("model: of another width than it says", own(lambda path: None, WIDER)),
    Trial("model: no word on its network", own(_without_word)),
)  # fmt: skip
