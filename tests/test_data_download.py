"""Download from a server on this machine: progress, retries, checksums, and every way in which it fails."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_folders import installed_files, refusal, splits, write_folder, zipped
from rich.progress import Progress

from zslbench.data import catalogue, download, fetch, import_, load_dataset
from zslbench.errors import BadData, BadValue, DataMissing, StoreError, UnknownName, ZslbenchError

pytestmark = pytest.mark.usefixtures("cub_home")

SENT = {"drip": (b"x", 0.02), "endless": (bytes(1 << 16), 0.0), "endless chunked": (bytes(1 << 16), 0.0)}
"""What is sent for ever: the bytes, and the seconds between them."""


class Server:
    """A loopback server that answers as told, one behaviour a request, the last one for good."""

    def __init__(self, body: bytes, behaviours: tuple[str, ...]) -> None:
        self.requests, self.closed = 0, threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behaviour = behaviours[min(outer.requests, len(behaviours) - 1)]
                outer.requests += 1
                if behaviour.isdigit():
                    self.send_error(int(behaviour))
                    return
                self.send_response(200)
                if behaviour in SENT:
                    self._send_on(behaviour)
                    return
                self.send_header("Content-Length", str(10**15 if behaviour == "boast" else len(body)))
                self.end_headers()
                self.wfile.write(body if behaviour == "whole" else body[: len(body) // 2])

            def _send_on(self, behaviour: str) -> None:
                """Send and send, until the other side has had enough."""
                if "chunked" in behaviour:
                    self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                part, pause = SENT[behaviour]
                if "chunked" in behaviour:
                    part = b"%x\r\n%s\r\n" % (len(part), part)
                with contextlib.suppress(OSError):
                    while not outer.closed.wait(pause):
                        self.wfile.write(part)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/xlsa17.zip"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    servers: list[Server] = []

    def start(body: bytes, *behaviours: str) -> Server:
        servers.append(Server(body, behaviours or ("whole",)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def body(tree: Path, tmp_path: Path) -> bytes:
    return zipped(tmp_path / "served.zip", tree).read_bytes()


@pytest.fixture
def official(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Server]:
    """Have both official archives at one address."""

    def move(body: bytes) -> Server:
        server: Server = serve(body)
        moved = {file: (server.url, listed) for file, (_, listed) in download.ARCHIVES.items()}
        monkeypatch.setattr(download, "ARCHIVES", moved)
        return server

    return move


def leftovers(cub_home: Path) -> list[Path]:
    return [path for path in (cub_home / "downloads").rglob("*") if path.is_file()]


def fetched(name: str, **options: Any) -> list[str]:
    return [row.name for row in fetch(name, **options)]


def served(tmp_path: Path, *names: str) -> bytes:
    """Return a zip of data set folders whose att is another than that of `tree`."""
    for name in names:
        write_folder(tmp_path / "other" / name, semantics={"att": splits()["att"] + 1})
    return zipped(tmp_path / "other.zip", tmp_path / "other").read_bytes()


def contents(cub_home: Path) -> dict[str, bytes]:
    return {file: (cub_home / "xlsa17" / file).read_bytes() for file in installed_files(cub_home)}


def test_fetch_installs_records_the_checksum_and_does_not_repeat_itself(
    official: Any, body: bytes, cub_home: Path
) -> None:
    server = official(body)
    row = fetch("cub", url=server.url)[0]
    assert (row.name, row.source, row.sha256) == ("cub", server.url, hashlib.sha256(body).hexdigest())
    assert load_dataset("cub").origin == "catalogue"
    assert leftovers(cub_home) == []
    assert fetch("cub", url=server.url) == []
    assert server.requests == 1
    assert fetched("sun") == ["sun"]
    assert (fetch("sun"), server.requests) == ([], 2)
    assert fetch("CUB", url=server.url, force=True) != []
    assert server.requests == 3


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("short", "the transfer broke off"), ("500", "answers 500"), ("404", "answers 404")]
)
def test_fetch_starts_a_broken_transfer_again_and_then_names_import(
    serve: Any, body: bytes, cub_home: Path, behaviour: str, reason: str
) -> None:
    server = serve(body, behaviour)
    with pytest.raises(DataMissing, match=rf"{reason}.*`zslbench data import FILE`\.$"):
        fetch("cub", url=server.url, retries=2)
    assert server.requests == 3
    assert (leftovers(cub_home), installed_files(cub_home)) == ([], set())
    server = serve(body, behaviour, behaviour, "whole")
    assert fetched("cub", url=server.url) == ["cub"]
    assert server.requests == 3


def test_fetch_from_a_closed_port_names_import(serve: Any) -> None:
    server = serve(b"")
    server.close()
    with pytest.raises(DataMissing, match=r"cannot be reached.*`zslbench data import FILE`"):
        fetch("cub", url=server.url, retries=1)


def test_fetch_all_goes_to_the_official_addresses(official: Any, tmp_path: Path) -> None:
    assert {url for url, _ in download.ARCHIVES.values()} == {
        "http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
        "http://datasets.d2.mpi-inf.mpg.de/xian/cvpr18xian.zip",
    }
    listed = sorted(name for _, held in download.ARCHIVES.values() for name in held)
    assert listed == sorted(source.name for source in catalogue.CATALOGUE)
    server = official(served(tmp_path, "APY", "AWA1", "AWA2", "CUB", "FLO", "SUN"))
    assert fetched("all") == ["apy", "awa1", "awa2", "cub", "sun", "flo"]
    assert server.requests == 2
    assert fetch("all") == []


def test_fetch_installs_nothing_that_is_not_listed_for_the_archive(
    official: Any, tree: Path, tmp_path: Path, cub_home: Path
) -> None:
    import_(tree)
    before = contents(cub_home)
    official(served(tmp_path, "CUB", "FLO", "SUN"))
    for force in (False, True):
        assert fetched("flo", force=force) == ["flo"]
        after = contents(cub_home)
        assert {key: after[key] for key in before} == before
        assert {key.split("/")[0] for key in set(after) - set(before)} == {"FLO"}


def test_fetch_keeps_an_installed_set_that_was_not_asked_for(
    official: Any, tree: Path, tmp_path: Path, cub_home: Path
) -> None:
    import_(tree / "CUB")
    cub = cub_home / "xlsa17" / "CUB"
    (cub / "res101.mat").rename(cub / "own.mat")  # not complete, still there
    before = contents(cub_home)
    server = official(served(tmp_path, "APY", "AWA1", "AWA2", "CUB", "SUN"))
    assert fetched("sun") == ["apy", "awa1", "awa2", "sun"]
    assert fetched("sun", url=server.url, force=True) == ["sun"]  # another address: what was asked for
    assert {key: contents(cub_home)[key] for key in before} == before
    assert "cub" in fetched("sun", force=True)
    assert contents(cub_home)["CUB/att_splits.mat"] != before["CUB/att_splits.mat"]


def test_fetch_of_an_archive_without_the_data_set_is_refused(official: Any, body: bytes, cub_home: Path) -> None:
    url = official(body).url
    for name, given, lacking in (("flo", None, "FLO"), ("awa2", url, "AWA2"), ("all", None, "APY, AWA1, AWA2")):
        assert f"no .mat file of {lacking} (it holds: CUB, SUN" in refusal(fetch, name, url=given)
    assert (leftovers(cub_home), installed_files(cub_home)) == ([], set())


def test_fetch_checks_what_came(serve: Any, body: bytes, cub_home: Path) -> None:
    right = hashlib.sha256(body).hexdigest()
    wrong = refusal(fetch, "cub", url=serve(body).url, sha256="0" * 64)
    assert f"has sha256 {right} where {'0' * 64} is expected" in wrong
    assert "cannot be unpacked" in refusal(fetch, "cub", url=serve(b"<html>moved</html>").url)
    assert (leftovers(cub_home), installed_files(cub_home)) == ([], set())
    assert fetch("cub", url=serve(body).url, sha256=right.upper())


@pytest.mark.parametrize(
    ("kind", "arguments", "why"),
    [
        (UnknownName, {"name": "cubb"}, "did you mean 'cub'"),
        (BadValue, {"name": "awa"}, "choose awa1 or awa2"),
        (BadValue, {"name": "cub", "sha256": "abc"}, "64 hex digits"),
        (BadValue, {"name": "all", "url": "http://127.0.0.1/x"}, "several"),
        *((BadValue, {"name": "cub", "url": url}, "starts with http:// or https://")
          for url in ("ftp://host/x.zip", "file:///x.zip", "x.zip", "", "http://", "http://[::1/x.zip")),
    ],
)  # fmt: skip
def test_fetch_refuses_bad_arguments(kind: type[ZslbenchError], arguments: dict[str, str], why: str) -> None:
    assert why in refusal(fetch, kind=kind, **arguments)


def test_an_unwritable_home_ends_a_fetch_in_one_sentence(
    serve: Any, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file"))
    assert "cannot write the download" in refusal(fetch, "cub", url=serve(body).url, kind=StoreError)


def test_the_bar_counts_bytes_anew_at_each_attempt(serve: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr("sys.stderr", screen := io.StringIO())
    counted: list[tuple[float, float | None]] = []
    update = Progress.update

    def record(bar: Progress, task: Any, **changes: Any) -> None:
        update(bar, task, **changes)
        counted.append((bar.tasks[0].completed, bar.tasks[0].total))

    monkeypatch.setattr(Progress, "update", record)
    fetch("cub", url=serve(body, "short", "whole").url)
    assert len(body) // 2 in [done for done, _ in counted]
    assert counted[-1] == (len(body), len(body))
    assert max(done for done, _ in counted) == len(body)
    assert "xlsa17.zip" in screen.getvalue()


@pytest.mark.parametrize(
    ("behaviour", "kind", "why"),
    [
        ("drip", DataMissing, r"too few to wait for the rest.*`zslbench data import FILE`"),
        ("endless", BadData, "sends more than 1,048,576 bytes"),
        ("endless chunked", BadData, "sends more than 1,048,576 bytes"),
        ("boast", BadData, "has 1,000,000,000,000,000 bytes"),
    ],
)
def test_a_host_that_sends_too_slowly_or_too_much(
    serve: Any, cub_home: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, kind: type[ZslbenchError], why: str
) -> None:
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    monkeypatch.setattr(download, "MAX_BYTES", 1 << 20)
    server = serve(b"x", behaviour)
    with pytest.raises(kind, match=why):
        fetch("cub", url=server.url)
    assert server.requests == 1
    assert leftovers(cub_home) == []


def test_what_a_killed_download_left_goes_on_the_next_start(serve: Any, body: bytes, cub_home: Path) -> None:
    left = cub_home / "downloads" / ".fetching-0123456789abcdef"
    left.mkdir(parents=True)
    (left / "tmp").write_bytes(b"half")
    fetch("cub", url=serve(body).url)
    assert not left.exists()
