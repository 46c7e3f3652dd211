"""Published sets against a server of their own, which cuts, refuses, lies and forgets; and against a killed process."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from heatproof import physionet, single_downloads
from heatproof.checksums import CHECKSUMS
from heatproof.cohorts.releases import PHYSIONET_URLS, published_sets
from heatproof.errors import ConfigError, HeatproofError
from heatproof.files import read_table
from heatproof.physionet import LIST, PublishedSet, fetch_set, read_list
from heatproof.stages.fetch import fetch
from heatproof.transfers import Patience
from heatproof.web import DownloadError

PACKAGE = Path(__file__).resolve().parents[1] / "workflow"
WAITED: list[float] = []
PATIENCE = Patience(attempts=4, timeout=5, sleep=WAITED.append)
FILES = {
    "RECORDS": b"data/1\ndata/2\n",
    "a table (one).csv": b"ecg_id\n1\n",
    **{f"data/{n}.hea": b"%d 12 500 5000\n" % n for n in range(1, 13)},
    **{f"data/{n}.dat": np.random.default_rng(n).bytes(40_000) for n in range(1, 13)},
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listed(files: dict[str, bytes]) -> bytes:
    """Write the list as PhysioNet does: one blank, no list in the list."""
    return "".join(f"{digest(content)} {path}\n" for path, content in files.items()).encode()


@dataclass
class Server:
    """A folder on the web, and what goes wrong with its files: path -> one fault per request."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    faults: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    ranges: bool = True
    heads: bool = True
    seconds: float = 0.0
    # Files whose second half waits until `released` is set.
    held: tuple[str, ...] = ()
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0

    def __post_init__(self) -> None:
        self.files[LIST] = listed(self.files)
        self.lock = threading.Lock()

    def gets(self) -> Counter[str]:
        return Counter(path for verb, path, _ in self.asked if verb == "GET")

    def whole(self) -> PublishedSet:
        return PublishedSet(self.url)


def answer(handler: http.server.BaseHTTPRequestHandler, server: Server) -> None:
    path, wanted = unquote(handler.path.removeprefix("/set/1.0/")), handler.headers.get("Range")
    with server.lock:
        server.asked.append((handler.command, path, wanted))
        fault = server.faults[path].pop(0) if handler.command == "GET" and server.faults[path] else None
    content = server.files.get(path)
    if content is None or isinstance(fault, int) or (handler.command == "HEAD" and not server.heads):
        handler.send_error(fault if isinstance(fault, int) else 404)
        return
    if fault == "wrong":
        content = content[:-1] + bytes([content[-1] ^ 1])
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("ETag", f'"{digest(content)}"')
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    body = content[start:]
    half = len(body) // 2
    with server.lock:
        server.open_now += 1
        server.most_open = max(server.most_open, server.open_now)
    handler.wfile.write(body[:half])
    handler.wfile.flush()
    time.sleep(server.seconds)
    if path in server.held:
        server.released.wait(30)
    # Who gets the second half may ask for the next file at once.
    with server.lock:
        server.open_now -= 1
    if fault != "cut":
        handler.wfile.write(body[half:])


@pytest.fixture
def server() -> Iterator[Server]:
    serves = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                answer(self, serves)

        do_HEAD = do_GET

        def log_message(self, *unused: Any) -> None:
            pass

    WAITED.clear()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    serves.url = f"http://127.0.0.1:{httpd.server_address[1]}/set/1.0/"
    yield serves
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what a user sees: all files but those of the fetching itself."""
    own = {CHECKSUMS, LIST, single_downloads.LOCK}
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {name: p.read_bytes() for p in paths if (name := p.relative_to(folder).as_posix()) not in own}


class TestFetch:
    def test_a_set_comes_whole_with_a_row_for_every_file(self, server: Server, tmp_path: Path) -> None:
        table = fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES
        rows = table.set_index("file_id")
        assert set(rows.index) == {*FILES, LIST} and table["file_id"].is_monotonic_increasing
        for path, content in server.files.items():
            assert (rows.loc[path, "bytes"], rows.loc[path, "sha256"]) == (len(content), digest(content))
        assert rows.loc["a table (one).csv", "origin"] == server.url + "a%20table%20%28one%29.csv"
        assert set(server.gets().values()) == {1}
        # The list is read before anything else is asked for.
        assert server.asked[0] == ("GET", LIST, None)
        assert read_table(tmp_path / CHECKSUMS).to_dict("list") == table.to_dict("list")

    def test_several_files_come_at_once_but_not_more_than_allowed(self, server: Server, tmp_path: Path) -> None:
        server.seconds = 0.05
        fetch_set(server.whole(), tmp_path, patience=PATIENCE, at_once=3)
        assert server.most_open == 3

    def test_what_is_there_and_right_is_not_fetched_again(self, server: Server, tmp_path: Path) -> None:
        first = fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        (tmp_path / "data/3.dat").unlink()
        (tmp_path / CHECKSUMS).unlink()
        (tmp_path / LIST).unlink()
        server.asked.clear()
        assert fetch_set(server.whole(), tmp_path, patience=PATIENCE).equals(first)
        assert server.gets() == {LIST: 1, "data/3.dat": 1}

    def test_only_the_files_that_are_wanted(self, server: Server, tmp_path: Path) -> None:
        some = PublishedSet(server.url, files=("RECORDS", "data/1*.hea"))
        table = fetch_set(some, tmp_path, patience=PATIENCE)
        wanted = {"RECORDS", "data/1.hea", "data/10.hea", "data/11.hea", "data/12.hea"}
        assert contents(tmp_path).keys() == wanted
        # Another study wants others in the same folder; each table has its own.
        fetch_set(PublishedSet(server.url, files=("data/2.*",)), tmp_path, patience=PATIENCE)
        assert set(read_table(tmp_path / CHECKSUMS)["file_id"]) == {*wanted, LIST, "data/2.hea", "data/2.dat"}
        assert fetch_set(some, tmp_path, offline=True).equals(table)

    def test_a_pattern_that_finds_nothing_is_named(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match=r"'records500/\*' finds none of the 26 files") as caught:
            fetch_set(PublishedSet(server.url, files=("*.hea", "records500/*")), tmp_path, patience=PATIENCE)
        assert (caught.value.file, caught.value.field) == (LIST, "files")
        assert contents(tmp_path) == {}

    def test_files_of_a_person_stay(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_bytes(b"mine")
        table = fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert (tmp_path / "notes.txt").read_bytes() == b"mine" and "notes.txt" not in set(table["file_id"])


class TestFaults:
    def test_a_server_that_is_busy_twice_is_waited_for(self, server: Server, tmp_path: Path) -> None:
        server.faults |= {"data/4.dat": [503, 503], LIST: [503, 503]}
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES
        assert WAITED == [1, 2, 1, 2]

    def test_cut_connections_go_on_where_they_were_cut(self, server: Server, tmp_path: Path) -> None:
        server.faults |= {f"data/{n}.dat": ["cut", "cut"] for n in (1, 5, 12)}
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES
        ranges = [asked for _, path, asked in server.asked if path == "data/5.dat" and asked]
        assert ranges == ["bytes=20000-", "bytes=30000-"]

    def test_a_server_without_ranges_starts_the_file_again(self, server: Server, tmp_path: Path) -> None:
        server.ranges, server.faults["data/5.dat"] = False, ["cut"]
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES

    def test_wrong_bytes_are_never_kept_and_the_others_are(self, server: Server, tmp_path: Path) -> None:
        server.faults["data/12.dat"] = ["wrong"]
        with pytest.raises(DownloadError, match="have the checksum") as caught:
            fetch_set(server.whole(), tmp_path, patience=PATIENCE, at_once=1)
        assert (caught.value.file, caught.value.field) == ("data/12.dat", "sha256")
        assert "run it again" in str(caught.value.remedy)
        assert contents(tmp_path) == {path: content for path, content in FILES.items() if path != "data/12.dat"}
        server.asked.clear()
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert server.gets() == {"data/12.dat": 1} and contents(tmp_path) == FILES

    def test_a_failure_stops_the_others(self, server: Server, tmp_path: Path) -> None:
        server.faults["RECORDS"] = [404]
        with pytest.raises(DownloadError, match="answered 404") as caught:
            fetch_set(server.whole(), tmp_path, patience=PATIENCE, at_once=1)
        assert caught.value.file == "RECORDS.part" and caught.value.field == server.url + "RECORDS"
        assert len(server.gets()) < 5

    def test_who_waits_stops_waiting_when_another_fails(self, server: Server, tmp_path: Path) -> None:
        server.faults |= {"RECORDS": [503] * 99, "data/1.hea": [404]}
        wanted = PublishedSet(server.url, files=("RECORDS", "data/1.hea"))
        patient = Patience(attempts=99, first_pause=0.1, longest_pause=0.1, timeout=5)
        with pytest.raises(DownloadError, match="answered 404"):
            fetch_set(wanted, tmp_path, patience=patient, at_once=2)
        assert server.gets()["RECORDS"] < 10

    def test_a_file_that_was_changed_is_named_and_left(self, server: Server, tmp_path: Path) -> None:
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        (tmp_path / "data/7.hea").write_bytes(b"changed")
        for offline in (False, True):
            with pytest.raises(DownloadError, match="SHA256SUMS.txt says") as caught:
                fetch_set(server.whole(), tmp_path, offline=offline, patience=PATIENCE)
            assert (caught.value.file, caught.value.field) == ("data/7.hea", "sha256")
            assert "delete it" in str(caught.value.remedy)
        assert (tmp_path / "data/7.hea").read_bytes() == b"changed"

    def test_offline_opens_no_connection_and_checks_what_is_there(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="offline: true forbids") as caught:
            fetch_set(server.whole(), tmp_path, offline=True)
        assert caught.value.file == LIST and not server.asked
        table = fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        server.asked.clear()
        assert fetch_set(server.whole(), tmp_path, offline=True).equals(table)
        for number in (1, 2, 3):
            (tmp_path / f"data/{number}.dat").unlink()
        with pytest.raises(DownloadError, match="2 more of 26 files are missing") as caught:
            fetch_set(server.whole(), tmp_path, offline=True)
        assert (caught.value.file, caught.value.field) == ("data/1.dat", "offline")
        assert server.url in str(caught.value.remedy) and not server.asked

    def test_a_disk_that_is_too_small_is_noticed_before_the_files(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # 12 x 40,000 bytes of data, at least 12 x 15 of headers, and the two others.
        needed = sum(len(content) for content in FILES.values()) - sum(n > 9 for n in range(1, 13))
        free = {"bytes": needed - 1}
        monkeypatch.setattr(
            single_downloads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free["bytes"]})
        )
        with pytest.raises(DownloadError, match=f"takes {needed} bytes, and the disk has {needed - 1} left") as caught:
            fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert caught.value.file == "26 files" and "make room" in str(caught.value.remedy)
        assert set(server.gets()) == {LIST}
        assert sum(verb == "HEAD" for verb, _, _ in server.asked) <= 8
        free["bytes"] = needed
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES

    def test_a_server_that_states_no_sizes_is_fetched_from_all_the_same(self, server: Server, tmp_path: Path) -> None:
        server.heads = False
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES


class TestList:
    def test_both_ways_of_writing_it(self) -> None:
        one, two = "a" * 64, "B" * 64
        assert read_list(f"{one} x/y z.dat\r\n{two}  *b\n\n{one} ./c\n") == {
            "x/y z.dat": one,
            "b": two.lower(),
            "c": one,
        }

    @pytest.mark.parametrize(
        "path", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "..", "a/..", LIST, CHECKSUMS, single_downloads.LOCK,
                 "a.part", "a//b", "a/./b", "a\x00b", "x" * 250, "x" * 250 + "/a"],
    )  # fmt: skip
    def test_paths_that_lead_out_or_to_our_own_files_are_refused(
        self, server: Server, tmp_path: Path, path: str
    ) -> None:
        server.files[LIST] = listed({"RECORDS": FILES["RECORDS"], path: b"evil"})
        before = set(tmp_path.parent.rglob("*"))
        with pytest.raises(DownloadError, match=r"leads out of the folder|cannot be used") as caught:
            fetch_set(server.whole(), tmp_path / "set", patience=PATIENCE)
        assert caught.value.file and caught.value.field and caught.value.remedy
        assert set(server.gets()) == {LIST} and contents(tmp_path / "set") == {}
        assert {path.parent for path in set(tmp_path.parent.rglob("*")) - before} <= {tmp_path, tmp_path / "set"}

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"<html>log in</html>", "line 1 is no checksum"), (b"", "lists no file"), (b"\xff\xfe", "no text"),
            (b"a" * 63 + b" x", "line 1"), (b"a" * 64 + b" x\n" + b"b" * 64 + b" x", "two checksums"),
            (b"a" * 64 + b" x\n" + b"a" * 64 + b" x/y", "a file and a folder"),
        ],
    )  # fmt: skip
    def test_what_is_no_list_is_not_kept(self, server: Server, tmp_path: Path, content: bytes, problem: str) -> None:
        right, server.files[LIST] = server.files[LIST], content
        with pytest.raises(DownloadError, match=problem) as caught:
            fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert (caught.value.file, caught.value.field) == (LIST, "url")
        assert not (tmp_path / LIST).exists()
        server.files[LIST] = right
        fetch_set(server.whole(), tmp_path, patience=PATIENCE)
        assert contents(tmp_path) == FILES

    def test_its_own_checksum_is_the_configured_one_or_that_of_the_first_time(
        self, server: Server, tmp_path: Path
    ) -> None:
        good = digest(server.files[LIST])
        with pytest.raises(DownloadError, match="expected are " + "0" * 64) as caught:
            fetch_set(PublishedSet(server.url, "0" * 64), tmp_path, patience=PATIENCE)
        assert (caught.value.file, caught.value.field) == (LIST, "sha256")
        assert set(server.gets()) == {LIST} and not (tmp_path / LIST).exists()
        fetch_set(PublishedSet(server.url, good), tmp_path, patience=PATIENCE)
        (tmp_path / LIST).unlink()
        server.files[LIST] = listed({**FILES, "RECORDS": b"other"})
        with pytest.raises(DownloadError, match=f"expected are {good}"):
            fetch_set(server.whole(), tmp_path, patience=PATIENCE)

    def test_a_list_that_anyone_on_the_way_can_change_needs_a_checksum(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not encrypted"):
            fetch_set(PublishedSet("http://mirror.example/set"), tmp_path, patience=PATIENCE)
        with pytest.raises(DownloadError, match="offline"):
            fetch_set(PublishedSet("http://mirror.example/set", "0" * 64), tmp_path, offline=True)

    @pytest.mark.real_data
    def test_every_real_line_of_ludb_is_read(self) -> None:
        shared = os.environ.get("HEATPROOF_SHARED_DATA")
        if not shared or not (Path(shared) / "ecg_ludb" / LIST).is_file():
            pytest.skip("HEATPROOF_SHARED_DATA names no folder with ecg_ludb.")
        folder = Path(shared) / "ecg_ludb"
        sums = read_list((folder / LIST).read_text(encoding="utf-8"))
        assert len(sums) == 2805
        assert digest((folder / "data/17.v5").read_bytes()) == sums["data/17.v5"]


def test_a_process_that_is_killed_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    # Files below a megabyte are written when they are whole; what matters is the large one.
    large = np.random.default_rng(0).bytes(5_000_000)
    files = {"RECORDS": FILES["RECORDS"], "large.bin": large, **FILES}
    server.files |= {"large.bin": large, LIST: listed(files)}
    server.held = ("large.bin", "data/5.dat")
    call = (
        "import sys; from pathlib import Path; from heatproof.physionet import PublishedSet, fetch_set;"
        "fetch_set(PublishedSet(sys.argv[1]), Path(sys.argv[2]), at_once=2)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", call, server.url, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(PACKAGE)}
    )
    part = tmp_path / "large.bin.part"
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size and (tmp_path / "data/4.dat").is_file()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    server.released.set()
    there = {path for path in contents(tmp_path) if path in files}
    n_bytes = part.stat().st_size
    # What carries its own name is whole, also after a kill.
    assert all((tmp_path / path).read_bytes() == files[path] for path in there)
    assert "data/4.dat" in there and not there & {"large.bin", "data/5.dat"} and 0 < n_bytes < len(large)
    server.asked.clear()
    fetch_set(server.whole(), tmp_path, patience=PATIENCE)
    assert contents(tmp_path) == files
    assert not there & server.gets().keys()
    assert ("GET", "large.bin", f"bytes={n_bytes}-") in server.asked


class TestStage:
    def test_one_set_goes_to_the_folder_of_the_cohort(self, server: Server, tmp_path: Path) -> None:
        spec = {"source": "wfdb", "folder": "ludb", "fetch": True, "url": server.url, "sha256": None, "files": ["*"]}
        fetch(spec, root=tmp_path, offline=False, fetched=tmp_path / "r/fetched.tsv")
        assert contents(tmp_path / "ludb") == FILES
        assert set(read_table(tmp_path / "r/fetched.tsv")["file_id"]) == {*FILES, LIST}

    def test_several_sets_have_folders_of_their_own(self, server: Server, tmp_path: Path) -> None:
        sets = [
            {"folder": "ptb-xl", "url": server.url, "files": ["data/*.hea"]},
            {"folder": "plus", "url": server.url, "files": ["RECORDS"]},
        ]
        spec = {"source": "wfdb", "folder": "ptb-xl", "fetch": sets, "dataset": None}
        fetch(spec, root=tmp_path, offline=False, fetched=tmp_path / "fetched.tsv")
        assert contents(tmp_path / "plus").keys() == {"RECORDS"} and len(contents(tmp_path / "ptb-xl")) == 12
        rows = read_table(tmp_path / "fetched.tsv").set_index("file_id")
        assert rows.loc["plus/RECORDS", "sha256"] == digest(FILES["RECORDS"]) and "ptb-xl/data/3.hea" in rows.index

    def test_every_dataset_has_its_address(self) -> None:
        for dataset, url in PHYSIONET_URLS.items():
            spec = {"source": "wfdb", "folder": dataset, "fetch": True, "dataset": dataset, "url": None, "sha256": None}
            assert published_sets(spec) == {dataset: PublishedSet(url, None, ("*",))}
            assert url.startswith(f"https://physionet.org/files/{dataset}/")
            assert (
                published_sets({**spec, "url": "https://mirror.example/x"})[dataset].url == "https://mirror.example/x"
            )

    def test_sets_that_cannot_be_fetched_say_so(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not said where") as caught:
            published_sets({"folder": "x", "fetch": True, "dataset": None})
        assert caught.value.field == "cohort.url" and "ptb-xl-plus" in str(caught.value.remedy)
        twice = [{"folder": "x", "dataset": "ludb"}, {"folder": "x/", "dataset": "qtdb"}]
        with pytest.raises(ConfigError, match="two sets") as caught:
            published_sets({"folder": "x", "fetch": twice})
        assert caught.value.field == "cohort.fetch.1.folder"
        out = [{"folder": "x", "url": server.url}, {"folder": "../y", "url": server.url}]
        with pytest.raises(HeatproofError, match="out of the data root"):
            fetch({"source": "wfdb", "folder": "x", "fetch": out}, root=tmp_path, offline=False, fetched=tmp_path / "f")
        assert not server.asked


def test_progress_is_told_now_and_then(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="heatproof.physionet")
    fetch_set(PublishedSet(server.url, files=("data/1.dat", "RECORDS")), tmp_path, patience=PATIENCE)
    assert sum("files are right" in line for line in caplog.messages) == 1
    caplog.clear()
    monkeypatch.setattr(physionet, "PROGRESS_SECONDS", 0.0)
    fetch_set(server.whole(), tmp_path, patience=PATIENCE)
    told = [line for line in caplog.messages if "files are right" in line]
    assert len(told) == len(FILES) + 1
    assert told[-1].startswith("26 of 26 files are right; fetched 24 of 24 (0 MB")
