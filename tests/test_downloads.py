"""Downloads against a server of their own: with ranges, without, cutting connections, changing its mind."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof import archives, single_downloads, web
from heatproof.archives import ArchiveError, RefusedArchiveError, unpack
from heatproof.checksums import CHECKSUMS
from heatproof.cohorts.releases import release_of
from heatproof.downloads import fetch_all
from heatproof.errors import ConfigError, HeatproofError
from heatproof.files import read_table
from heatproof.single_downloads import Download
from heatproof.stages.fetch import fetch
from heatproof.transfers import Patience, transfer
from heatproof.web import DownloadError

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WAITED: list[float] = []
PATIENCE = Patience(attempts=4, timeout=5, sleep=WAITED.append)


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    tag: str | None = '"one"'
    ranges: bool = True
    states_length: bool = True
    # Bytes after which a connection is cut, one entry per request; None sends everything.
    cuts: list[int | None] = field(default_factory=list)
    # Statuses answered instead of the file, one per request.
    refusals: list[int] = field(default_factory=list)
    # Statuses sent along with the content, one per request, and what is said of its range.
    statuses: list[int] = field(default_factory=list)
    content_range: str | None = None
    redirect: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


@dataclass
class Server:
    url: str
    does: Behaviour


def _answer(handler: http.server.BaseHTTPRequestHandler, does: Behaviour) -> None:
    asked = dict(handler.headers.items())
    does.asked.append(asked)
    if does.redirect and handler.path != "/moved":
        handler.send_response(302)
        handler.send_header("Location", does.redirect)
        handler.end_headers()
        return
    if does.refusals:
        handler.send_response(does.refusals.pop(0))
        handler.send_header("Retry-After", "7")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start = 0
    if does.ranges and "Range" in asked and asked.get("If-Range") == does.tag:
        start = int(asked["Range"].removeprefix("bytes=").rstrip("-"))
    if start and start >= len(does.content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(does.content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    body = does.content[start:]
    handler.send_response(does.statuses.pop(0) if does.statuses else 206 if start else 200)
    if does.content_range:
        handler.send_header("Content-Range", does.content_range)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(does.content) - 1}/{len(does.content)}")
    if does.states_length:
        handler.send_header("Content-Length", str(len(body)))
    if does.tag:
        handler.send_header("ETag", does.tag)
    handler.end_headers()
    cut = does.cuts.pop(0) if does.cuts else None
    sent = body if cut is None else body[:cut]
    does.sent += len(sent)
    handler.wfile.write(sent)
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    does = Behaviour()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, does)

        def log_message(self, *unused: Any) -> None:
            pass

    WAITED.clear()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield Server(f"http://127.0.0.1:{httpd.server_address[1]}/data.bin", does)
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def get(server: Server, folder: Path, **keys: Any) -> bytes:
    fetch_all([Download(server.url, "data.bin", **keys)], folder, patience=PATIENCE)
    return (folder / "data.bin").read_bytes()


class TestTransfer:
    def test_a_file_comes_whole_with_nothing_left_beside_it(self, server: Server, tmp_path: Path) -> None:
        assert get(server, tmp_path, sha256=SHA256, n_bytes=len(CONTENT)) == CONTENT
        assert {path.name for path in tmp_path.iterdir()} == {"data.bin", CHECKSUMS, single_downloads.LOCK}
        assert "Range" not in server.does.asked[0]

    def test_a_cut_transfer_goes_on_where_it_was_cut(self, server: Server, tmp_path: Path) -> None:
        server.does.cuts = [1_200_000, 700_001, None]
        assert get(server, tmp_path, sha256=SHA256) == CONTENT
        assert [asked.get("Range") for asked in server.does.asked] == [None, "bytes=1200000-", "bytes=1900001-"]
        assert server.does.sent == len(CONTENT)

    def test_a_later_run_goes_on_where_an_earlier_one_gave_up(self, server: Server, tmp_path: Path) -> None:
        server.does.cuts = [1_000_000, 0, 0, 0, 0]
        with pytest.raises(DownloadError, match="cut 4 times in a row") as caught:
            get(server, tmp_path, sha256=SHA256)
        assert "what has arrived is kept" in str(caught.value)
        assert not (tmp_path / "data.bin").exists()
        assert (tmp_path / "data.bin.part").stat().st_size == 1_000_000
        server.does.cuts.clear()
        assert get(server, tmp_path, sha256=SHA256) == CONTENT
        assert server.does.sent == len(CONTENT)

    def test_a_server_without_ranges_starts_again(self, server: Server, tmp_path: Path) -> None:
        server.does.ranges, server.does.cuts = False, [2_000_000, None]
        assert get(server, tmp_path, sha256=SHA256) == CONTENT
        assert server.does.sent == len(CONTENT) + 2_000_000

    @pytest.mark.parametrize("tag", [None, 'W/"weak"'])
    def test_without_a_strong_validator_nothing_is_joined(
        self, server: Server, tmp_path: Path, tag: str | None
    ) -> None:
        server.does.tag, server.does.cuts = tag, [2_000_000, None]
        assert get(server, tmp_path) == CONTENT
        assert not any("Range" in asked for asked in server.does.asked)

    def test_two_versions_are_never_joined(self, server: Server, tmp_path: Path) -> None:
        server.does.cuts = [1_000_000, 0, 0, 0, 0]
        with pytest.raises(DownloadError):
            get(server, tmp_path)
        newer = CONTENT[::-1]
        server.does.content, server.does.tag, server.does.cuts = newer, '"two"', []
        assert get(server, tmp_path) == newer

    def test_a_part_of_another_address_is_not_used(self, server: Server, tmp_path: Path) -> None:
        server.does.cuts = [1_000_000, 0, 0, 0, 0]
        with pytest.raises(DownloadError):
            get(server, tmp_path)
        server.does.cuts.clear()
        server.url += "?mirror"
        assert get(server, tmp_path) == CONTENT
        assert "Range" not in server.does.asked[-1]

    def test_a_part_that_is_whole_already_is_taken(self, server: Server, tmp_path: Path) -> None:
        part = tmp_path / "data.bin.part"
        part.write_bytes(CONTENT)
        (tmp_path / "data.bin.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"one\\""}}')
        assert get(server, tmp_path, sha256=SHA256) == CONTENT
        assert server.does.sent == 0
        (tmp_path / "data.bin").unlink()
        part.write_bytes(CONTENT + b"more")
        (tmp_path / "data.bin.part.json").write_text(f'{{"url": "{server.url}", "validator": "\\"one\\""}}')
        assert get(server, tmp_path, sha256=SHA256) == CONTENT

    def test_a_busy_server_is_asked_again_after_the_pause_it_wants(self, server: Server, tmp_path: Path) -> None:
        server.does.refusals = [503, 429]
        assert get(server, tmp_path) == CONTENT
        assert WAITED == [7, 7]

    def test_pauses_double(self, server: Server, tmp_path: Path) -> None:
        server.does.cuts = [0, 0, 0, None]
        assert get(server, tmp_path) == CONTENT
        assert WAITED == [1, 2, 4]

    def test_a_server_that_never_gets_further_is_given_up(self, server: Server, tmp_path: Path) -> None:
        # Without ranges every attempt begins anew; that one brings more than the last leads nowhere.
        server.does.ranges, server.does.cuts = False, [400, 500] * 20
        with pytest.raises(DownloadError, match="cut 4 times in a row"):
            get(server, tmp_path)
        assert len(server.does.asked) == 5
        server.does.asked.clear()
        server.does.cuts = [600, 700, 800, 900, 1000, None]
        assert get(server, tmp_path) == CONTENT

    def test_a_page_instead_of_the_file_is_no_file(self, server: Server, tmp_path: Path) -> None:
        server.does.content, server.does.statuses = b"wait", [202, 202, 202, 202]
        with pytest.raises(DownloadError, match="answered 202"):
            get(server, tmp_path)
        assert len(server.does.asked) == 4
        server.does.asked.clear()
        server.does.statuses = [203]
        with pytest.raises(DownloadError, match="answered 203"):
            get(server, tmp_path)
        assert len(server.does.asked) == 1
        server.does.content, server.does.statuses = CONTENT, [202]
        assert get(server, tmp_path) == CONTENT

    def test_a_part_that_nobody_asked_for_is_not_the_whole(self, server: Server, tmp_path: Path) -> None:
        server.does.statuses, server.does.content_range = [206], f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT) + 5}"
        with pytest.raises(DownloadError, match=f"{len(CONTENT) + 5} bytes, {len(CONTENT)} are expected"):
            get(server, tmp_path, n_bytes=len(CONTENT))

    @pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EACCES])
    @pytest.mark.parametrize("where", ["open", "write", "note"])
    def test_a_disk_that_refuses_is_not_the_servers_fault(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, where: str
    ) -> None:
        class Full(io.BytesIO):
            def write(self, block: Any) -> int:
                raise OSError(fault, os.strerror(fault))

        real, real_text = Path.open, Path.write_text

        def opened(path: Path, *arguments: Any, **keys: Any) -> Any:
            if path.suffix != ".part" or where == "note":
                return real(path, *arguments, **keys)
            return Full() if where == "write" else Full().write(b"")

        def noted(path: Path, *arguments: Any, **keys: Any) -> int:
            if where == "note" and path.suffix == ".json":
                raise OSError(fault, os.strerror(fault))
            return real_text(path, *arguments, **keys)

        monkeypatch.setattr(Path, "open", opened)
        monkeypatch.setattr(Path, "write_text", noted)
        with pytest.raises(DownloadError, match=os.strerror(fault)) as caught:
            get(server, tmp_path)
        assert caught.value.file and caught.value.field and "make room" in str(caught.value.remedy)
        assert len(server.does.asked) == 1 and not WAITED

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_refusal_is_final(self, server: Server, tmp_path: Path, status: int) -> None:
        server.does.refusals = [status]
        with pytest.raises(DownloadError, match=f"answered {status}"):
            get(server, tmp_path)
        assert len(server.does.asked) == 1

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="cut 4 times in a row"):
            fetch_all([Download("http://127.0.0.1:9/x", "x")], tmp_path, patience=PATIENCE)

    def test_redirects_lead_to_the_web_only(self, server: Server, tmp_path: Path) -> None:
        server.does.redirect = "/moved"
        assert get(server, tmp_path) == CONTENT
        for address in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
            server.does.redirect = address
            with pytest.raises(DownloadError, match=r"no address|not allowed"):
                fetch_all([Download(server.url, "other.bin")], tmp_path, patience=PATIENCE)

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data:,x", "/etc/passwd", "http:///x"])
    def test_only_web_addresses_are_fetched(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(DownloadError, match="no address"):
            transfer(url, tmp_path / "x.part")


class TestChecks:
    def test_a_corrupted_file_is_never_kept(self, server: Server, tmp_path: Path) -> None:
        server.does.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
        with pytest.raises(DownloadError, match="have the checksum") as caught:
            get(server, tmp_path, sha256=SHA256)
        assert (caught.value.file, caught.value.field) == ("data.bin", "sha256")
        assert {path.name for path in tmp_path.iterdir()} == {single_downloads.LOCK}

    def test_another_size_is_noticed_before_anything_is_read(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="3000000 bytes, 17 are expected"):
            get(server, tmp_path, n_bytes=17)

    def test_another_size_is_noticed_when_the_server_does_not_say_it(self, server: Server, tmp_path: Path) -> None:
        server.does.states_length = False
        with pytest.raises(DownloadError, match="more than the 17 bytes"):
            get(server, tmp_path, n_bytes=17)
        with pytest.raises(DownloadError):
            get(server, tmp_path, n_bytes=len(CONTENT) + 1)

    def test_what_is_there_is_checked_and_not_fetched_again(self, server: Server, tmp_path: Path) -> None:
        get(server, tmp_path)
        get(server, tmp_path)
        assert len(server.does.asked) == 1
        (tmp_path / "data.bin").write_bytes(CONTENT[:-1] + b"x")
        with pytest.raises(DownloadError, match=r"delete data\.bin to fetch it again"):
            get(server, tmp_path)

    def test_the_first_download_decides_where_no_checksum_is_published(self, server: Server, tmp_path: Path) -> None:
        get(server, tmp_path)
        row = read_table(tmp_path / CHECKSUMS).iloc[0]
        assert (row["file_id"], row["bytes"], row["sha256"]) == ("data.bin", len(CONTENT), SHA256)
        (tmp_path / "data.bin").unlink()
        server.does.content = CONTENT[::-1]
        with pytest.raises(DownloadError, match=f"expected are {SHA256}"):
            get(server, tmp_path)
        assert not (tmp_path / "data.bin").exists()

    def test_offline_names_the_file_and_the_remedy_and_checks_what_is_there(
        self, server: Server, tmp_path: Path
    ) -> None:
        download = [Download(server.url, "sub/data.bin", SHA256)]
        with pytest.raises(DownloadError) as caught:
            fetch_all(download, tmp_path, offline=True)
        assert caught.value.file == "sub/data.bin"
        assert server.url in str(caught.value) and "offline: false" in str(caught.value)
        assert not server.does.asked
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/data.bin").write_bytes(CONTENT)
        assert fetch_all(download, tmp_path, offline=True)["sha256"].tolist() == [SHA256]

    def test_another_address_is_another_file_until_a_checksum_says_that_it_is_not(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.does.content = b"<html>not found</html>"
        get(server, tmp_path)
        server.does.content, server.url = CONTENT, f"{server.url}?right"
        with pytest.raises(DownloadError, match="offline"):
            fetch_all([Download(server.url, "data.bin")], tmp_path, offline=True)
        assert (tmp_path / "data.bin").is_file()
        assert get(server, tmp_path) == CONTENT
        server.url += "&mirror"
        asked = len(server.does.asked)
        assert get(server, tmp_path, sha256=SHA256) == CONTENT
        assert len(server.does.asked) == asked

    def test_what_anyone_on_the_way_can_change_needs_a_checksum(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="use https, or give the sha256") as caught:
            fetch_all([Download("http://mirror.example/x", "x")], tmp_path, offline=True)
        assert (caught.value.file, caught.value.field) == ("x", "url")
        for wanted in (Download("http://mirror.example/x", "x", SHA256), Download("https://mirror.example/x", "x")):
            with pytest.raises(DownloadError, match="offline"):
                fetch_all([wanted], tmp_path, offline=True)

    def test_a_full_disk_is_noticed_first(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(single_downloads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
        with pytest.raises(DownloadError, match="the disk has 1000 left"):
            get(server, tmp_path, n_bytes=len(CONTENT))
        assert not server.does.asked

    @pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "a\\..\\x"])
    def test_paths_stay_in_the_folder(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(DownloadError, match="leads out"):
            fetch_all([Download("http://x/y", path)], tmp_path)


def zipped(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, content)
    return packed.getvalue()


class TestArchives:
    def test_archives_in_an_archive_are_unpacked(self, tmp_path: Path) -> None:
        inner = zipped({"1.mat": b"one", "2.mat": b"two"})
        (tmp_path / "a.zip").write_bytes(zipped({"part/inner.zip": inner, "README.txt": b"read"}))
        files = unpack(tmp_path / "a.zip", tmp_path / "out")
        assert [str(file) for file in files] == ["README.txt", "part/1.mat", "part/2.mat"]
        assert (tmp_path / "out/part/2.mat").read_bytes() == b"two"

    @pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "..\\evil", "\\\\host\\evil"])
    @pytest.mark.parametrize("is_inner", [False, True])
    def test_nothing_is_written_outside(self, tmp_path: Path, name: str, is_inner: bool) -> None:
        content = zipped({"good": b"good", name: b"evil"})
        (tmp_path / "a.zip").write_bytes(zipped({"inner.zip": content}) if is_inner else content)
        before = sorted(tmp_path.parent.rglob("*"))
        with pytest.raises(ArchiveError, match="leads out of the folder"):
            unpack(tmp_path / "a.zip", tmp_path / "out")
        assert set(tmp_path.parent.rglob("*")) - set(before) == {tmp_path / "out"}

    def test_links_and_locked_members_are_refused(self, tmp_path: Path) -> None:
        def link(info: zipfile.ZipInfo) -> None:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

        (tmp_path / "a.zip").write_bytes(zipped({"link": b"/etc/passwd"}, link))
        with pytest.raises(ArchiveError, match="link"):
            unpack(tmp_path / "a.zip", tmp_path / "out")
        packed = bytearray(zipped({"a": b"secret"}))
        packed[6] |= 1
        packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "a.zip").write_bytes(packed)
        with pytest.raises(ArchiveError, match="encrypted"):
            unpack(tmp_path / "a.zip", tmp_path / "out")

    def test_a_file_that_comes_twice_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_bytes(zipped({"A": b"1", "a": b"2"}))
        with pytest.raises(ArchiveError, match="twice"):
            unpack(tmp_path / "a.zip", tmp_path / "out")
        (tmp_path / "b.zip").write_bytes(zipped({"inner.zip": zipped({"same": b"1"}), "same": b"2"}))
        with pytest.raises(ArchiveError, match="twice"):
            unpack(tmp_path / "b.zip", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_bombs_are_refused_by_what_they_state_and_by_what_they_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a.zip").write_bytes(zipped({"zeros": bytes(5_000_000)}))
        with pytest.raises(ArchiveError, match="unpacks to"):
            unpack(tmp_path / "a.zip", tmp_path / "out", largest_bytes=4_000_000)
        # The size in the directory is forged: what comes out beyond it is never written.
        packed = bytearray(zipped({"zeros": bytes(5_000_000)}))
        entry = packed.rindex(b"PK\x01\x02")
        packed[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
        (tmp_path / "b.zip").write_bytes(packed)
        with pytest.raises(ArchiveError):
            unpack(tmp_path / "b.zip", tmp_path / "out", largest_bytes=4_000_000)
        nested = zipped({f"{number}.zip": zipped({f"z{number}": bytes(3_000_000)}) for number in range(3)})
        (tmp_path / "c.zip").write_bytes(nested)
        with pytest.raises(ArchiveError, match="unpacks to"):
            unpack(tmp_path / "c.zip", tmp_path / "out", largest_bytes=8_000_000)
        monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
        (tmp_path / "d.zip").write_bytes(zipped({str(number): b"" for number in range(3)}))
        with pytest.raises(ArchiveError, match="3 members"):
            unpack(tmp_path / "d.zip", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_damaged_archive_unpacks_nothing(self, tmp_path: Path) -> None:
        whole = zipped({"a": b"fine" * 100, "b": np.random.default_rng(0).bytes(1000)})
        damaged = bytearray(whole)
        damaged[whole.index(b"PK\x03\x04", 10) + 100] ^= 1
        for content in (whole[:-30], bytes(damaged), b"<html>not found</html>", b""):
            (tmp_path / "a.zip").write_bytes(content)
            with pytest.raises(ArchiveError, match="damaged"):
                unpack(tmp_path / "a.zip", tmp_path / "out")
            assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("names", [("a", "a/b"), ("x" * 300 + ".mat",)])
    def test_names_that_no_folder_can_hold_are_refused(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        (tmp_path / "a.zip").write_bytes(zipped(dict.fromkeys(names, b"1")))
        with pytest.raises(RefusedArchiveError, match="impossible name") as caught:
            unpack(tmp_path / "a.zip", tmp_path / "out")
        assert caught.value.file == "a.zip" and caught.value.field and caught.value.remedy
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_disk_that_refuses_is_not_the_archives_fault(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.does.content = zipped({"1.mat": b"one"})
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"*.mat": 1})]
        real = Path.open

        def full(path: Path, *arguments: Any, **keys: Any) -> Any:
            if path.name == "1.mat" and arguments == ("wb",):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, *arguments, **keys)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", full)
            with pytest.raises(ArchiveError, match="No space left") as caught:
                fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert caught.value.file == "a.zip" and "make room" in str(caught.value.remedy)
        # The archive is kept, and there is no need to fetch it again.
        assert "1.mat" in fetch_all(wanted, tmp_path, offline=True)["file_id"].tolist()

    def test_what_a_killed_process_left_is_neither_counted_nor_kept(self, server: Server, tmp_path: Path) -> None:
        server.does.content = zipped({"x/1.mat": b"one", "x/2.mat": b"two"})
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"**/*.mat": 2})]
        for name in ("1.mat", "2.mat"):
            left = tmp_path / ".unpacking-abc/x" / name
            left.parent.mkdir(parents=True, exist_ok=True)
            left.write_bytes(b"half")
        table = fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert table["file_id"].tolist() == ["a.zip", "x/1.mat", "x/2.mat"]
        assert (tmp_path / "x/1.mat").read_bytes() == b"one"
        assert not (tmp_path / ".unpacking-abc").exists()

    @pytest.mark.parametrize(
        "wrong", [b"", b"<html>not found</html>", zipped({"1.mat": b"one"}), zipped({"a": b"", "a/b": b""})]
    )
    def test_a_wrong_archive_is_never_adopted(self, server: Server, tmp_path: Path, wrong: bytes) -> None:
        right = zipped({"1.mat": b"one", "2.mat": b"two"})
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"*.mat": 2})]
        server.does.content = wrong
        with pytest.raises(HeatproofError, match=r"damaged|holds 1 files|impossible"):
            fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert {path.name for path in tmp_path.iterdir()} == {CHECKSUMS, single_downloads.LOCK}
        assert len(read_table(tmp_path / CHECKSUMS)) == 0
        server.does.content, server.does.tag = right, '"two"'
        assert len(fetch_all(wanted, tmp_path, patience=PATIENCE)) == 3

    def test_an_archive_that_a_person_put_there_is_not_removed(self, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_bytes(zipped({"1.mat": b"one"}))
        wanted = [Download("https://mirror.example/a.zip", "a.zip", unpack=True, holds={"*.mat": 2})]
        for _ in range(2):
            with pytest.raises(DownloadError, match="holds 1 files"):
                fetch_all(wanted, tmp_path, offline=True)
            assert (tmp_path / "a.zip").is_file()
        (tmp_path / "a.zip").write_bytes(zipped({"1.mat": b"one", "2.mat": b"two"}))
        assert len(fetch_all(wanted, tmp_path, offline=True)) == 3

    def test_files_that_are_not_of_the_archive_are_named(self, server: Server, tmp_path: Path) -> None:
        server.does.content = zipped({"1.mat": b"one"})
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"*.mat": 1})]
        fetch_all(wanted, tmp_path, patience=PATIENCE)
        (tmp_path / "2.mat").write_bytes(b"mine")
        with pytest.raises(DownloadError, match=r"folder holds 2 files \*\.mat.*remove what does not belong"):
            fetch_all(wanted, tmp_path, offline=True)

    def test_a_member_comes_back_from_an_archive_that_was_packed_anew(self, server: Server, tmp_path: Path) -> None:
        members = {"x/1.mat": b"one" * 50, "x/2.mat": b"two" * 50}
        server.does.content = zipped(members)
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"**/*.mat": 2})]
        fetch_all(wanted, tmp_path, patience=PATIENCE)

        def packed_anew(info: zipfile.ZipInfo) -> None:
            info.compress_type = zipfile.ZIP_STORED

        (tmp_path / "x/1.mat").unlink()
        server.does.content, server.does.tag = zipped(members, packed_anew), '"two"'
        fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert (tmp_path / "x/1.mat").read_bytes() == members["x/1.mat"]
        # Other contents are another version: nothing of it comes to lie beside the old files.
        (tmp_path / "x/1.mat").unlink()
        server.does.content, server.does.tag = zipped({**members, "x/2.mat": b"new"}), '"three"'
        with pytest.raises(DownloadError, match=r"1 of its files.*x/2\.mat") as caught:
            fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert CHECKSUMS in str(caught.value.remedy)
        assert not (tmp_path / "a.zip").exists() and not (tmp_path / "x/1.mat").exists()
        assert (tmp_path / "x/2.mat").read_bytes() == members["x/2.mat"]

    def test_an_archive_is_fetched_unpacked_and_then_known_by_its_files(self, server: Server, tmp_path: Path) -> None:
        server.does.content = zipped({"x/1.mat": b"one", "x/2.mat": b"two"})
        wanted = [Download(server.url, "a.zip", unpack=True, holds={"**/*.mat": 2})]
        table = fetch_all(wanted, tmp_path, patience=PATIENCE)
        assert table["file_id"].tolist() == ["a.zip", "x/1.mat", "x/2.mat"]
        assert table["origin"].tolist() == [server.url, "a.zip", "a.zip"]
        assert not (tmp_path / "a.zip").exists()
        assert fetch_all(wanted, tmp_path, offline=True).equals(table)
        assert len(server.does.asked) == 1
        (tmp_path / "x/1.mat").write_bytes(b"eno")
        with pytest.raises(DownloadError, match="changed since it was fetched"):
            fetch_all(wanted, tmp_path, offline=True)
        # A file that was deleted comes back from the same archive, and from no other.
        (tmp_path / "x/1.mat").unlink()
        assert fetch_all(wanted, tmp_path, patience=PATIENCE).equals(table)
        assert (tmp_path / "x/1.mat").read_bytes() == b"one"

    def test_an_archive_of_another_version_is_refused(self, server: Server, tmp_path: Path) -> None:
        server.does.content = zipped({"1.mat": b"one"})
        with pytest.raises(DownloadError, match="holds 1 files"):
            fetch_all([Download(server.url, "a.zip", unpack=True, holds={"*.mat": 2})], tmp_path, patience=PATIENCE)

    def test_files_that_a_person_put_there_need_no_download(self, tmp_path: Path) -> None:
        for number in (1, 2):
            (tmp_path / f"{number}.mat").write_bytes(b"%d" % number)
        wanted = [Download("http://127.0.0.1:9/a.zip", "a.zip", unpack=True, holds={"*.mat": 2})]
        table = fetch_all(wanted, tmp_path, offline=True)
        assert table["file_id"].tolist() == ["1.mat", "2.mat"]
        (tmp_path / "2.mat").write_bytes(b"changed")
        with pytest.raises(DownloadError, match="changed since"):
            fetch_all(wanted, tmp_path, offline=True)


class TestStage:
    SPEC = {"source": "cheng", "folder": "tumours", "layout": "mat", "fetch": True, "sha256": None}

    def test_the_release_is_fetched_and_listed(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from heatproof.cohorts import releases

        monkeypatch.setattr(releases, "CHENG_FILES", 3)
        inner = zipped({f"{number}.mat": b"%d" % number for number in (1, 2, 3)})
        server.does.content = zipped({"brainTumorDataPublic_1.zip": inner, "cvind.mat": b"folds", "README.txt": b"x"})
        fetch({**self.SPEC, "url": server.url}, root=tmp_path, offline=False, fetched=tmp_path / "r/fetched.tsv")
        listed = read_table(tmp_path / "r/fetched.tsv")
        assert listed["file_id"].tolist() == ["1.mat", "1512427.zip", "2.mat", "3.mat", "README.txt", "cvind.mat"]
        assert (tmp_path / "tumours/cvind.mat").read_bytes() == b"folds"

    def test_what_cannot_be_fetched_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no release"):
            release_of({"source": "phantom"})
        with pytest.raises(ConfigError, match="layout: mat"):
            release_of({**self.SPEC, "layout": "png"})
        with pytest.raises(HeatproofError, match="out of the data root"):
            fetch({**self.SPEC, "folder": "../x"}, root=tmp_path, offline=True, fetched=tmp_path / "f.tsv")
        with pytest.raises(DownloadError, match="offline"):
            fetch(self.SPEC, root=tmp_path, offline=True, fetched=tmp_path / "f.tsv")
        assert not (tmp_path / "f.tsv").exists()

    def test_an_open_redirect_of_a_safe_address_is_refused(self) -> None:
        handler = web.WebOnly()
        request = web.urllib.request.Request("https://safe.example/x")
        with pytest.raises(DownloadError, match="open connection"):
            handler.redirect_request(request, None, 302, "", {}, "http://safe.example/x")
