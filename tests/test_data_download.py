"""Download from a server on this machine: progress, retries, checksums, and every way in which it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import io
import re
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
    """A loopback server that answers as told, one behaviour per request, the last one for good.

    With ``ranges`` in its behaviour it sends the part that is asked for, where the client's If-Range is its `tag`, and
    its length as `boast` says; with ``half`` it breaks off after half of what it was to send.
    """

    def __init__(self, body: bytes, behaviours: tuple[str, ...], tag: str = "", date: str = "") -> None:
        self.requests, self.closed = 0, threading.Event()
        self.ranges: list[tuple[str, str]] = []
        self.sent: list[int] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behaviour = behaviours[min(outer.requests, len(behaviours) - 1)]
                outer.requests += 1
                outer.ranges.append((self.headers.get("Range", ""), self.headers.get("If-Range", "")))
                if behaviour.isdigit():
                    self.send_error(int(behaviour))
                    return
                if "ranges" in behaviour:
                    send_part(self, outer, body, behaviour, tag, date)
                    return
                self.send_response(200)
                if behaviour in SENT:
                    self._send_on(behaviour)
                    return
                if behaviour == "page":
                    self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(10**15 if behaviour == "boast" else len(body)))
                self.end_headers()
                self.wfile.write(body if behaviour in ("whole", "page") else body[: len(body) // 2])

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


def send_part(
    handler: http.server.BaseHTTPRequestHandler, server: Server, body: bytes, behaviour: str, tag: str, date: str
) -> None:
    """Answer a request with the part of a body that it asks for."""
    asked, condition = server.ranges[-1]
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if condition and condition not in (tag, date):
        start = 0
    if start >= len(body):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(body)}")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    if start:
        place = 0 if "misplaced" in behaviour else start
        handler.send_header("Content-Range", f"bytes {place}-{len(body) - 1}/{len(body)}")
    for name, value in (("ETag", tag), ("Last-Modified", date)):
        if value:
            handler.send_header(name, value)
    rest = body[start:]
    handler.send_header("Content-Length", str(len(rest)))
    handler.end_headers()
    rest = rest[: len(rest) // 2] if "half" in behaviour else rest
    server.sent.append(len(rest))
    handler.wfile.write(rest)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("zslbench.data.download.time.sleep", lambda seconds: None)
    monkeypatch.delenv("ZSLBENCH_MIRROR", raising=False)
    servers: list[Server] = []

    def start(body: bytes, *behaviours: str, **validators: str) -> Server:
        servers.append(Server(body, behaviours or ("whole",), **validators))
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
        moved = [dataclasses.replace(archive, addresses=(server.url,)) for archive in download.ARCHIVES]
        monkeypatch.setattr(download, "ARCHIVES", moved)
        return server

    return move


def leftovers(cub_home: Path) -> list[Path]:
    files = [path for path in (cub_home / "downloads").rglob("*") if path.is_file()]
    return [path for path in files if path.name != "checksums.json"]


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
    ("behaviour", "reason"), [("short", "the transfer broke off"), ("500", "answers 500"), ("429", "answers 429")]
)
def test_fetch_starts_a_broken_transfer_again_and_then_names_import(
    serve: Any, body: bytes, cub_home: Path, behaviour: str, reason: str
) -> None:
    server = serve(body, behaviour)
    with pytest.raises(DataMissing, match=rf"{reason}.*`zslbench data import FILE`\.$"):
        fetch("cub", url=server.url, retries=2)
    assert server.requests == 3
    kept = {"xlsa17.zip.part", "xlsa17.zip.part.json"} if behaviour == "short" else set()
    assert ({path.name for path in leftovers(cub_home)}, installed_files(cub_home)) == (kept, set())
    server = serve(body, behaviour, behaviour, "whole")
    assert fetched("cub", url=server.url) == ["cub"]
    assert server.requests == 3


def test_fetch_from_a_closed_port_names_import_at_once(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("zslbench.data.download.time.sleep", waited.append)
    server = serve(b"")
    server.close()
    with pytest.raises(DataMissing, match=r"cannot be reached.*`zslbench data import FILE`"):
        fetch("cub", url=server.url, retries=1)
    assert waited == []


def test_fetch_all_goes_to_the_official_addresses(official: Any, tmp_path: Path) -> None:
    assert {archive.addresses for archive in download.ARCHIVES} == {
        tuple(f"{scheme}://datasets.d2.mpi-inf.mpg.de/xian/{file}" for scheme in ("https", "http"))
        for file in ("xlsa17.zip", "cvpr18xian.zip")
    }
    listed = sorted(name for archive in download.ARCHIVES for name in archive.datasets)
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
    assert f"has sha256 {right}, but {'0' * 64} is expected" in wrong
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
    assert re.search(r"xlsa17\.zip.* [0-9]+ s so far", screen.getvalue()), "times as `run` writes them"


@pytest.mark.parametrize(
    ("behaviour", "kind", "why"),
    [
        ("drip", DataMissing, r"too slowly to wait for the rest.*`zslbench data import FILE`"),
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
    (cub_home / "downloads" / "xlsa17.zip.part").unlink(missing_ok=kind is BadData)
    assert [path.suffix for path in leftovers(cub_home)] == ([] if kind is BadData else [".json"])


def test_what_a_killed_download_left_goes_on_the_next_start(serve: Any, body: bytes, cub_home: Path) -> None:
    left = cub_home / "downloads" / ".fetching-0123456789abcdef"
    left.mkdir(parents=True)
    (left / "tmp").write_bytes(b"half")
    fetch("cub", url=serve(body).url)
    assert not left.exists()


DATE = "Thu, 19 Sep 2019 10:00:00 GMT"


@pytest.mark.parametrize(
    ("validators", "condition"),
    [({"tag": '"v2"'}, '"v2"'), ({"date": DATE}, DATE), ({"tag": 'W/"v2"', "date": DATE}, DATE), ({}, "")],
)
def test_a_broken_download_goes_on_where_it_broke_off(
    serve: Any, body: bytes, cub_home: Path, validators: dict[str, str], condition: str
) -> None:
    half, rest = len(body) // 2, len(body) - len(body) // 2
    server = serve(body, "ranges half", "ranges", **validators)
    with pytest.raises(DataMissing, match="the transfer broke off"):
        fetch("cub", url=server.url, retries=0)
    assert (cub_home / "downloads" / "xlsa17.zip.part").read_bytes() == body[:half]
    rows = fetch("cub", url=server.url, retries=0)  # as another process would
    assert rows[0].sha256 == hashlib.sha256(body).hexdigest()
    assert server.ranges == [("", ""), (f"bytes={half}-", condition)]
    assert server.sent == [half, rest]
    assert leftovers(cub_home) == []


def test_a_file_that_changed_on_the_host_is_downloaded_anew(serve: Any, body: bytes, tmp_path: Path) -> None:
    other = served(tmp_path, "CUB", "SUN")
    first = serve(body, "ranges half", tag='"v1"')
    with pytest.raises(DataMissing):
        fetch("cub", url=first.url, retries=0)
    second = serve(other, "ranges", tag='"v2"')
    assert fetch("cub", url=second.url, retries=0)[0].sha256 == hashlib.sha256(other).hexdigest()
    assert second.sent == [len(other)]


def test_another_address_without_a_validator_is_not_gone_on_with(serve: Any, body: bytes) -> None:
    with pytest.raises(DataMissing):
        fetch("cub", url=serve(body, "ranges half").url, retries=0)
    second = serve(body, "ranges")
    assert fetch("cub", url=second.url, retries=0)
    assert second.ranges == [("", "")]


@pytest.mark.parametrize("later", ["whole", "ranges misplaced"])
def test_a_host_that_refuses_or_confuses_ranges_sends_the_whole_again(
    serve: Any, body: bytes, cub_home: Path, later: str
) -> None:
    server = serve(body, "ranges half", later, "whole", tag='"v1"')
    assert fetch("cub", url=server.url, retries=2)[0].sha256 == hashlib.sha256(body).hexdigest()
    assert server.ranges[1][0] == f"bytes={len(body) // 2}-"
    assert leftovers(cub_home) == []


def test_a_length_that_differs_from_that_of_the_part_starts_anew(serve: Any, body: bytes, tmp_path: Path) -> None:
    first = serve(body, "ranges half", date=DATE)
    with pytest.raises(DataMissing):
        fetch("cub", url=first.url, retries=0)
    longer = served(tmp_path, "APY", "CUB", "SUN")
    assert len(longer) != len(body)
    second = serve(longer, "ranges", date=DATE)  # the same date, another file
    assert fetch("cub", url=second.url, retries=1)[0].sha256 == hashlib.sha256(longer).hexdigest()


def test_a_download_that_came_whole_is_not_repeated(serve: Any, body: bytes, cub_home: Path) -> None:
    server = serve(body, "ranges half", "ranges", tag='"v1"')
    with pytest.raises(DataMissing):
        fetch("cub", url=server.url, retries=0)
    (cub_home / "downloads" / "xlsa17.zip.part").write_bytes(body)  # as after a kill before it was unpacked
    assert fetch("cub", url=server.url, retries=0)
    assert server.sent == [len(body) // 2]


def test_attempts_that_bring_much_do_not_count(serve: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROGRESS", 1)
    server = serve(body, *["ranges half"] * 5, "ranges", tag='"v1"')
    assert fetch("cub", url=server.url, retries=0)
    assert sum(server.sent) == len(body)


def test_the_next_address_is_tried_and_all_are_named_at_the_end(
    serve: Any, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, moved, good = serve(body, "404"), serve(b"<html>moved</html>"), serve(body)
    urls = missing.url, moved.url, good.url

    def offer(*urls: str) -> None:
        archive = dataclasses.replace(catalogue.ARCHIVES[0], addresses=urls)
        monkeypatch.setattr(download, "ARCHIVES", [archive])

    offer(*urls[:2])
    with pytest.raises(
        BadData, match=r"^no source gave a usable xlsa17.zip; .*`zslbench data import FILE`\.\n"
    ) as error:
        fetch("cub")
    assert error.value.__notes__ == [
        f"{missing.url}: the host answers 404 Not Found",
        f"{moved.url} cannot be unpacked as a zip archive (File is not a zip file); get it again.",
    ]
    assert missing.requests == 1  # a host that has no such file will not have it in a second
    offer(*urls)
    assert {row.source for row in fetch("cub")} == {good.url}


def test_a_web_page_is_named_as_such_and_no_part_is_lost_to_it(serve: Any, body: bytes, cub_home: Path) -> None:
    half = serve(body, "ranges half", "503", tag='"a"')
    with pytest.raises(DataMissing):
        fetch("cub", url=half.url, retries=0)
    assert leftovers(cub_home)
    page = serve(b"<html>log in</html>", "page")
    with pytest.raises(DataMissing, match=r"cannot download .*the host sends a web page instead of the archive"):
        fetch("cub", url=page.url)
    assert page.requests == 1
    rest = serve(body, "ranges", tag='"a"')
    assert fetch("cub", url=rest.url)
    assert rest.sent == [len(body) - half.sent[0]]


def test_a_mirror_is_tried_first(serve: Any, official: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    server, mirror = official(body), serve(body)
    for address in (mirror.url, mirror.url.rpartition("/")[0], mirror.url.replace("xlsa17.zip", "mine/")):
        monkeypatch.setenv("ZSLBENCH_MIRROR", address)
        assert fetch("cub", force=True)[0].source.startswith(address)
    assert (server.requests, mirror.requests) == (0, 3)
    monkeypatch.setenv("ZSLBENCH_MIRROR", serve(body, "404").url)
    assert fetch("cub", force=True)[0].source == server.url
    assert fetch("cub", force=True, url=mirror.url)[0].source == mirror.url


def test_a_mirror_may_be_a_file_or_a_folder_of_this_machine(
    official: Any, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, copies = official(body), tmp_path / "copies"
    copies.mkdir()
    for name in ("xlsa17.zip", "from-a-friend.zip"):
        (copies / name).write_bytes(body)
    for given, taken in ((copies, copies / "xlsa17.zip"), *((path, path) for path in sorted(copies.iterdir()))):
        monkeypatch.setenv("ZSLBENCH_MIRROR", str(given))
        assert fetch("cub", force=True)[0].source == str(taken)
        assert taken.read_bytes() == body
    for given in (f" {copies}\n", copies.as_uri(), (copies / "xlsa17.zip").as_uri()):
        monkeypatch.setenv("ZSLBENCH_MIRROR", given)
        assert fetch("cub", force=True)[0].source == str(copies / "xlsa17.zip")
    assert server.requests == 0
    everything = served(tmp_path, "APY", "AWA1", "AWA2", "CUB", "FLO", "SUN")
    (copies / "xlsa17.zip").write_bytes(everything)
    server = official(everything)
    monkeypatch.setenv("ZSLBENCH_MIRROR", str(copies / "xlsa17.zip"))
    sources = {row.name: row.source for row in fetch("all", force=True)}
    assert (sources["awa1"], sources["flo"]) == (str(copies / "xlsa17.zip"), server.url)  # FLO has another archive
    monkeypatch.setenv("ZSLBENCH_MIRROR", str(tmp_path / "nowhere"))
    assert "ZSLBENCH_MIRROR is" in refusal(fetch, "cub", force=True, kind=BadValue)


def test_a_checksum_is_kept_and_later_copies_are_compared_with_it(
    serve: Any, body: bytes, tmp_path: Path, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, other = serve(body), serve(body), serve(served(tmp_path, "CUB", "SUN"))
    checksum = hashlib.sha256(body).hexdigest()
    code, out, _ = typed("data", "fetch", "cub", "--url", first.url)
    assert code == 0
    assert f"sha256 of the archive: {checksum}\n" in out
    assert "its authors publish none to compare with" in out
    notes = [fetch("cub", url=server.url, force=True)[0].note for server in (second, other)]
    assert notes[0] == f"the same as that of the copy from {first.url}"
    assert notes[1] == f"not {checksum}, that of the copy from {first.url}: the archives differ"
