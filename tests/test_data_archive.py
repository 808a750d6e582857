"""Import from zips and folders, download from a server, list and verify."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import splits, write_folder

from zslbench.data import catalogue, download, fetch, import_, list_, load_dataset, verify
from zslbench.data.catalogue import CUB
from zslbench.data.source import Counts
from zslbench.errors import BadData, BadValue, DataMissing, StoreError, UnknownName, ZslbenchError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(CUB, "card", catalogue._card("CUB", "CUB", "", "", Counts(36, 3, 4, 2, 20, 4, 12)))
    monkeypatch.setattr(catalogue, "DIMENSIONS", {"res101": 5})
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An xlsa17 tree with CUB and SUN and things that do not matter."""
    root = tmp_path / "xlsa17"
    for name in ("CUB", "SUN"):
        write_folder(root / name)
    (root / "CUB" / "evaluate.m").write_text("% code")
    (root / "README.txt").write_text("about")
    (root / "code").mkdir()
    (root / "code" / "score.mat").write_text("no data")
    return root


def zipped(path: Path, tree: Path, prefix: str = "xlsa17/data/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(tree)))
    return path


def refused(source: Path, kind: type[ZslbenchError] = BadData) -> str:
    with pytest.raises(kind) as caught:
        import_(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def installed_files(home: Path) -> set[str]:
    root = home / "xlsa17"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} if root.is_dir() else set()


MATTER = {"res101.mat", "att_splits.mat", "trainclasses1.txt", "valclasses1.txt"}

# --- import -----------------------------------------------------------------------------------------------------------


def test_import_a_zip(tree: Path, tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "any.zip", tree)
    found = import_(path)
    assert [one.name for one in found] == ["cub", "sun"]
    assert set(found[0].files) == MATTER
    assert found[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads((home / "xlsa17" / "CUB" / "origin.json").read_text())["sha256"] == found[0].sha256
    assert installed_files(home) == {f"{name}/{file}" for name in ("CUB", "SUN") for file in MATTER | {"origin.json"}}
    direct = load_dataset(str(tree / "CUB"))
    assert load_dataset("cub").fingerprint == direct.fingerprint


def test_import_a_tree_a_folder_and_a_zip_of_one_folder_agree(tree: Path, tmp_path: Path, home: Path) -> None:
    assert [one.name for one in import_(tree)] == ["cub", "sun"]
    whole = installed_files(home)
    outer = tmp_path / "outer"
    (outer).mkdir()
    tree.rename(outer / "xlsa17")
    assert [one.name for one in import_(outer)] == ["cub", "sun"]
    assert [one.name for one in import_(str(outer / "xlsa17" / "CUB"))] == ["cub"]
    flat = zipped(tmp_path / "CUB.zip", outer / "xlsa17" / "CUB", prefix="")
    assert [one.name for one in import_(flat)] == ["cub"]
    assert installed_files(home) == whole


def test_import_adds_to_what_is_installed(tree: Path, tmp_path: Path, home: Path) -> None:
    import_(tree / "CUB")
    more = tmp_path / "more" / "cub"
    write_folder(more, stem="vgg19")
    (more / "att_splits.mat").unlink()
    assert set(import_(more)[0].files) == {"vgg19.mat", "trainclasses1.txt", "valclasses1.txt"}
    assert {"CUB/res101.mat", "CUB/vgg19.mat", "CUB/att_splits.mat"} <= installed_files(home)


def test_import_of_what_is_not_there_or_not_a_zip(tmp_path: Path, home: Path) -> None:
    assert "there is no file" in refused(tmp_path / "nothing.zip", DataMissing)
    for number, content in enumerate((b"", b"hello", b"PK\x03\x04 no more")):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert "cannot be unpacked as a zip" in refused(path)
    assert installed_files(home) == set()


def test_import_of_empty_or_unrelated_things(tmp_path: Path, home: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no .mat file of APY" in refused(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "holds no .mat file" in refused(tmp_path / "empty.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("holiday/photo.mat", "x")
        archive.writestr("CUB/readme.txt", "x")
        archive.writestr("__MACOSX/CUB/res101.mat", "x")
        archive.writestr("CUB/._res101.mat", "x")
    assert "holds no .mat file" in refused(tmp_path / "other.zip")
    assert installed_files(home) == set()


@pytest.mark.parametrize(
    "name", ["../CUB/res101.mat", "CUB/../../res101.mat", "/CUB/res101.mat", "\\CUB\\res101.mat", "C:\\CUB\\res101.mat"]
)
def test_import_refuses_names_outside_the_archive(tmp_path: Path, home: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("CUB/att_splits.mat", "x")
        archive.writestr(zipfile.ZipInfo(name), "x")
    assert "not safe" in refused(tmp_path / "evil.zip")
    assert installed_files(home) == set()


def test_import_refuses_links_in_an_archive(tmp_path: Path, home: Path) -> None:
    link = zipfile.ZipInfo("CUB/res101.mat")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "holds a link" in refused(tmp_path / "evil.zip")
    assert installed_files(home) == set()


def test_a_broken_archive_leaves_what_was_installed(tree: Path, tmp_path: Path, home: Path) -> None:
    import_(tree)
    before = {path: (home / "xlsa17" / path).read_bytes() for path in installed_files(home)}
    path = zipped(tmp_path / "x.zip", tree)
    with zipfile.ZipFile(path) as archive:
        last = archive.getinfo("xlsa17/data/SUN/res101.mat")
    raw = bytearray(path.read_bytes())
    start = last.header_offset + 30 + len(last.filename)
    raw[start : start + last.compress_size] = bytes(last.compress_size)
    path.write_bytes(raw)
    assert "cannot be unpacked" in refused(path)
    assert {path: (home / "xlsa17" / path).read_bytes() for path in installed_files(home)} == before


def test_an_encrypted_archive_is_refused(tree: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", tree)
    raw = path.read_bytes()
    locked = raw.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    path.write_bytes(locked.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))
    assert "encrypted" in refused(path)


def test_an_unwritable_home_is_one_sentence(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file"))
    assert "ZSLBENCH_HOME" in refused(tree, StoreError)


# --- fetch ------------------------------------------------------------------------------------------------------------


class Server:
    """A loopback server that answers as told, one behaviour a request, the last one for good."""

    def __init__(self, body: bytes, behaviours: tuple[str, ...]) -> None:
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behaviour = behaviours[min(outer.requests, len(behaviours) - 1)]
                outer.requests += 1
                if behaviour.isdigit():
                    self.send_error(int(behaviour))
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if behaviour == "whole" else body[: len(body) // 2])

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/xlsa17.zip"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
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


def leftovers(home: Path) -> list[Path]:
    return [path for path in (home / "downloads").rglob("*") if path.is_file()]


def test_fetch_installs_and_records_the_checksum(serve: Any, body: bytes, home: Path) -> None:
    found = fetch("cub", url=serve(body).url)
    assert [one.name for one in found] == ["cub", "sun"]
    assert found[0].sha256 == hashlib.sha256(body).hexdigest()
    assert found[0].source.endswith("/xlsa17.zip")
    assert load_dataset("cub").origin == "catalogue"
    assert leftovers(home) == []


def test_fetch_does_not_repeat_itself(serve: Any, body: bytes) -> None:
    server = serve(body)
    fetch("cub", url=server.url)
    assert fetch("cub", url=server.url) == []
    assert fetch("sun", url=server.url) == []
    assert server.requests == 1
    assert fetch("CUB", url=server.url, force=True) != []
    assert server.requests == 2


def test_fetch_starts_a_broken_transfer_again(serve: Any, body: bytes, home: Path) -> None:
    server = serve(body, "short", "short", "whole")
    assert [one.name for one in fetch("cub", url=server.url)] == ["cub", "sun"]
    assert server.requests == 3
    assert leftovers(home) == []


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("short", "the transfer broke off"), ("500", "answers 500"), ("404", "answers 404")]
)
def test_fetch_that_keeps_failing_names_import(
    serve: Any, body: bytes, home: Path, behaviour: str, reason: str
) -> None:
    server = serve(body, behaviour)
    with pytest.raises(DataMissing, match=reason) as caught:
        fetch("cub", url=server.url, retries=2)
    assert "`zslbench data import FILE`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.requests == 3
    assert leftovers(home) == []
    assert installed_files(home) == set()


def test_fetch_from_a_closed_port_names_import(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with pytest.raises(DataMissing, match="cannot be reached") as caught:
        fetch("cub", url=f"http://127.0.0.1:{port}/xlsa17.zip", retries=1)
    assert "`zslbench data import FILE`" in str(caught.value)


def test_fetch_all_goes_to_the_official_addresses(serve: Any, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {url for url, _ in download.ARCHIVES.values()} == {
        "http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",
        "http://datasets.d2.mpi-inf.mpg.de/xian/cvpr18xian.zip",
    }
    assert sorted(name for _, held in download.ARCHIVES.values() for name in held) == sorted(
        source.name for source in catalogue.CATALOGUE
    )
    server = serve(body)
    monkeypatch.setattr(
        download, "ARCHIVES", {file: (server.url, held) for file, (_, held) in download.ARCHIVES.items()}
    )
    fetch("all")
    assert server.requests == 2


def test_fetch_checks_a_given_checksum(serve: Any, body: bytes, home: Path) -> None:
    right = hashlib.sha256(body).hexdigest()
    with pytest.raises(BadData, match=f"has sha256 {right} where {'0' * 64} is expected"):
        fetch("cub", url=serve(body).url, sha256="0" * 64)
    assert installed_files(home) == set()
    assert leftovers(home) == []
    assert fetch("cub", url=serve(body).url, sha256=right.upper())


def test_fetch_of_something_else_is_refused(serve: Any, home: Path) -> None:
    with pytest.raises(BadData, match="cannot be unpacked"):
        fetch("cub", url=serve(b"<html>moved</html>").url)
    assert leftovers(home) == []


def test_fetch_refuses_bad_arguments() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cub'"):
        fetch("cubb")
    with pytest.raises(BadValue, match="choose awa1 or awa2"):
        fetch("awa")
    with pytest.raises(BadValue, match="64 hex digits"):
        fetch("cub", sha256="abc")
    with pytest.raises(BadValue, match="several"):
        fetch("all", url="http://127.0.0.1/x")


def test_an_unwritable_home_ends_a_fetch_in_one_sentence(
    serve: Any, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot write the download"):
        fetch("cub", url=serve(body).url)


def test_the_bar_counts_what_pooch_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with download.Bar("x.zip") as bar:
        for size in (100, 40):  # a second attempt starts again
            bar.total = size
            bar.update(30)
            task = bar._progress.tasks[0]
            assert (task.total, task.completed) == (size, 30)
        bar.reset()
        bar.update(40)
        bar.close()
        assert bar._progress.tasks[0].finished


# --- list and verify --------------------------------------------------------------------------------------------------


def test_list_names_every_registered_set(tree: Path) -> None:
    rows = {row.name: row for row in list_()}
    assert {"apy", "awa1", "awa2", "cub", "digits", "flo", "sun", "synthetic"} <= set(rows)
    assert (rows["cub"].features, rows["cub"].folders) == ((), ())
    assert (rows["digits"].features, rows["digits"].origin) == (("pixels",), "builtin")
    write_folder(tree / "CUB", stem="vgg19", semantics_stem="sent")
    row = {row.name: row for row in list_(tree)}["cub"]
    assert (row.features, row.semantics) == (("res101", "vgg19"), ("att", "sent"))
    assert row.folders == (tree / "CUB",)
    assert row.counts is not None
    assert row.counts.images == 36


def test_list_shows_a_broken_plugin_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslbench.registry import DATASETS, Entry

    broken = {"lost": Entry("lost", "nowhere.at_all:X", "theirs"), "odd": Entry("odd", "zslbench.spec:Spec", "theirs")}
    monkeypatch.setitem(DATASETS.__dict__, "entries", dict(DATASETS.entries) | broken)
    rows = {row.name: row for row in list_()}
    assert "unavailable" in rows["lost"].problem
    assert "not a Source" in rows["odd"].problem


def test_verify_reads_every_choice(tree: Path) -> None:
    write_folder(tree / "CUB", semantics_stem="sent")
    (row,) = verify("cub", tree)
    assert row.ok
    expected = load_dataset("cub", root=tree).fingerprint
    assert row.fingerprints == {"res101/att": expected, "res101/sent": expected}
    assert [row.name for row in verify(None, tree)] == ["cub", "sun"]


def test_verify_reports_wrong_counts_and_broken_files(tree: Path) -> None:
    (sun,) = verify("sun", tree)
    assert not sun.ok
    assert "36 images where 14340 are expected" in sun.problems[0]
    write_folder(tree / "CUB", semantics={"att": np.vstack([splits()["att"]] * 2)})
    (tree / "CUB" / "vgg19.mat").write_bytes(b"broken")
    (cub,) = verify("cub", tree)
    assert len(cub.problems) == 2
    assert any("vgg19.mat" in problem for problem in cub.problems)
    (tree / "CUB" / "att_splits.mat").unlink()
    (cub,) = verify("cub", tree)
    assert "has no semantics file" in cub.problems[0]


def test_verify_finds_a_silently_changed_copy_and_heals_it(tree: Path, home: Path) -> None:
    dataset = load_dataset("cub", root=tree)
    path = home / "store" / "content" / dataset.fingerprint / "features.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    (row,) = verify("cub", tree)
    assert dataset.fingerprint in row.problems[0]
    load_dataset("cub", root=tree)
    assert verify("cub", tree)[0].ok


def test_verify_of_what_is_not_here(tmp_path: Path) -> None:
    assert verify(None) == []
    with pytest.raises(DataMissing, match="data fetch cub"):
        verify("cub", tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'cub'"):
        verify("cubb")


@pytest.mark.realdata
def test_verify_real_cub(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (row,) = verify("cub", real_data)
    assert row.ok, row.problems
    assert set(row.fingerprints) == {"fc1000/att", "fc1000/sent"}
