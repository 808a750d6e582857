"""The store: parse once, memory-map ever after, notice every change, and never stand in the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import FOLDS, images, refusal, splits, write_folder
from forks import Forks

from zslbench.data import Dataset, array_store
from zslbench.data.array_store import load_stored
from zslbench.data.xlsa17 import read_folder

pytestmark = pytest.mark.usefixtures("own_home")
_CONVERT = """
import sys; from pathlib import Path; from zslbench.data.array_store import load_stored
dataset = load_stored(Path({folder!r}), name='x', features='res101', semantics='att')
print(dataset.fingerprint, float(dataset.features.sum()))
"""
"""Loads a folder, and prints what came of it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine")


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record every parse of a folder."""
    seen: list[Path] = []

    def recorded(folder: Path, **kwargs: Any) -> Dataset:
        seen.append(folder)
        return read_folder(folder, **kwargs)

    monkeypatch.setattr(array_store, "read_folder", recorded)
    return seen


def load(folder: Path, name: str = "mine", **kwargs: Any) -> Dataset:
    return load_stored(folder, name=name, features="res101", semantics="att", **kwargs)


def parse(folder: Path) -> Dataset:
    return read_folder(folder, name="x", features="res101", semantics="att")


def content(own_home: Path, dataset: Dataset) -> Path:
    return own_home / "store" / "content" / dataset.fingerprint


def assert_same(first: Dataset, second: Dataset) -> None:
    assert first.fingerprint == second.fingerprint
    assert first.class_names == second.class_names
    assert first.arrays().keys() == second.arrays().keys()
    for key, array in first.arrays().items():
        other = second.arrays()[key]
        assert other.dtype == array.dtype
        np.testing.assert_array_equal(other, array)


def is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


@pytest.mark.parametrize("scale", [None, 100])
def test_second_load_maps_and_does_not_parse(tmp_path: Path, parses: list[Path], scale: int | None) -> None:
    original = {} if scale is None else {"original_att": splits()["att"] * scale}
    folder = write_folder(tmp_path / "mine", semantics=original)
    first, second = load(folder), load(folder, name="other", origin="catalogue")
    assert len(parses) == 1
    assert (second.name, second.origin) == ("other", "catalogue")
    for dataset in (first, second):
        assert is_mapped(dataset.features)
        assert_same(parse(folder), dataset)
        assert (dataset.original is None) == (scale is None)
        for array in filter(lambda array: array is not None, (dataset.features, dataset.original)):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1


def test_paths_to_a_folder_are_one_source_and_equal_content_is_kept_once(
    folder: Path, parses: list[Path], tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for path in (folder, Path("mine"), tmp_path / "link"):
        load(path)
    assert len(parses) == 1
    load(write_folder(tmp_path / "copy"))
    assert len(list((own_home / "store" / "content").iterdir())) == 1
    assert len(list((own_home / "store" / "index").iterdir())) == 2


@pytest.mark.parametrize("file", ["res101.mat", "att_splits.mat", "trainclasses1.txt"])
def test_a_touched_source_is_parsed_again(folder: Path, parses: list[Path], file: str) -> None:
    load(folder)
    stat = (folder / file).stat()
    os.utime(folder / file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(folder)
    load(folder)
    assert len(parses) == 2


def test_a_changed_source_is_read_anew(folder: Path) -> None:
    before = load(folder)
    write_folder(folder, {"features": images()["features"] + 1})
    after = load(folder)
    np.testing.assert_allclose(after.features, before.features + 1, rtol=1e-6)
    (folder / "valclasses1.txt").write_text("d_class\n")
    (folder / "trainclasses1.txt").write_text("a_class\nc_class\nf_class\n")
    assert load(folder).folds[0].val.tolist() == [3]
    for name in FOLDS:
        (folder / name).unlink()
    assert load(folder).folds == ()


def test_a_source_that_breaks_is_refused_in_spite_of_its_copy(folder: Path) -> None:
    load(folder)
    (folder / "res101.mat").write_bytes(b"no longer")
    assert "not a MATLAB file" in refusal(load, folder)


def test_a_newer_reader_reads_again(folder: Path, parses: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)
    monkeypatch.setattr(array_store, "READER_VERSION", array_store.READER_VERSION + 1)
    load(folder)
    load(folder)
    assert len(parses) == 2


def shorten(place: Path) -> None:
    path = place / "features.npy"
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    "damage",
    [
        shorten,
        lambda place: (place / "features.npy").unlink(),
        lambda place: (place / "sizes.json").write_text("["),
        lambda place: [path.unlink() for path in place.iterdir()],
    ],
    ids=["short", "missing", "sizes", "everything"],
)
def test_a_damaged_copy_is_rebuilt(folder: Path, own_home: Path, parses: list[Path], damage: Any) -> None:
    first = load(folder)
    damage(content(own_home, first))
    again, third = load(folder), load(folder)
    assert len(parses) == 2
    assert is_mapped(again.features)
    assert_same(parse(folder), third)
    assert [path.name for path in (own_home / "store" / "content").iterdir()] == [first.fingerprint]
    assert not (content(own_home, first) / "damaged").exists()


def test_an_unreadable_copy_still_gives_the_data(folder: Path, own_home: Path, parses: list[Path]) -> None:
    first = load(folder)
    path = content(own_home, first) / "labels.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    assert_same(parse(folder), load(folder))
    assert len(parses) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": 1}', "null"])
def test_a_damaged_index_is_rebuilt(folder: Path, own_home: Path, parses: list[Path], text: str) -> None:
    load(folder)
    (entry,) = (own_home / "store" / "index").iterdir()
    entry.write_text(text)
    load(folder)
    load(folder)
    assert len(parses) == 2
    assert json.loads(entry.read_text())["class_names"][0] == "a_class"


def test_an_unwritable_home_costs_only_speed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file" / "home"))
    dataset = load(folder)
    assert_same(parse(folder), dataset)
    assert not is_mapped(dataset.features)


def test_a_full_disk_costs_only_speed_and_leaves_nothing(folder: Path, own_home: Path, forks: Forks) -> None:
    """A limit on the size of written files stands for the full disk; it ends with the process."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))"
    code = f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {limit}"
    done = forks.run(code + _CONVERT.format(folder=str(folder)), own_home.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(parse(folder).fingerprint)
    assert list((own_home / "store" / "content").iterdir()) == []


def test_a_read_only_store_is_read(folder: Path, parses: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)

    def forbidden(*args: Any) -> None:
        raise AssertionError("a finished copy needs neither lock nor writing")

    monkeypatch.setattr("filelock.FileLock.acquire", forbidden)
    load(folder)
    assert len(parses) == 1


def test_processes_that_convert_at_once_agree(folder: Path, own_home: Path, forks: Forks) -> None:
    end = "sys.stdout.flush()\nif child: assert os.waitpid(child, 0)[1] == 0\nelse: os._exit(0)"
    done = forks.run(f"import os; child = os.fork(){_CONVERT.format(folder=str(folder))}{end}", folder)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert len(list((own_home / "store" / "content").iterdir())) == 1
