"""The store: parse once, memory-map ever after, notice every change, and never stand in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import FOLDS, images, splits, write_folder

from zslbench.data import Dataset, array_store
from zslbench.data.array_store import load_stored
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import BadData

pytestmark = pytest.mark.usefixtures("own_home")


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


def test_second_load_maps_and_does_not_parse(folder: Path, parses: list[Path]) -> None:
    first, second = load(folder), load(folder, name="other", origin="catalogue")
    assert len(parses) == 1
    assert is_mapped(first.features)
    assert is_mapped(second.features)
    assert (second.name, second.origin) == ("other", "catalogue")
    for dataset in (first, second):
        assert_same(read_folder(folder, name="x", features="res101", semantics="att"), dataset)
        with pytest.raises(ValueError, match="read-only"):
            dataset.features[0, 0] = 1


def test_original_attributes_come_back_from_the_copy(tmp_path: Path, parses: list[Path]) -> None:
    folder = write_folder(tmp_path / "with original", semantics={"original_att": splits()["att"] * 100})
    first, second = load(folder), load(folder)
    assert len(parses) == 1
    assert second.original is not None
    assert_same(first, second)
    assert not second.original.flags.writeable


def test_relative_paths_and_links_are_one_source(
    folder: Path, parses: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(folder)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    load(Path("mine"))
    load(tmp_path / "link")
    assert len(parses) == 1


def test_equal_content_is_kept_once(folder: Path, tmp_path: Path, own_home: Path) -> None:
    load(folder)
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
    with pytest.raises(BadData, match="not a MATLAB file"):
        load(folder)


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
    assert_same(read_folder(folder, name="x", features="res101", semantics="att"), third)
    assert [path.name for path in (own_home / "store" / "content").iterdir()] == [first.fingerprint]
    assert not (content(own_home, first) / "damaged").exists()


def test_an_unreadable_copy_still_gives_the_data(folder: Path, own_home: Path, parses: list[Path]) -> None:
    first = load(folder)
    path = content(own_home, first) / "labels.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    assert_same(read_folder(folder, name="x", features="res101", semantics="att"), load(folder))
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
    assert_same(read_folder(folder, name="x", features="res101", semantics="att"), dataset)
    assert not is_mapped(dataset.features)


def test_a_full_disk_costs_only_speed_and_leaves_nothing(folder: Path, own_home: Path) -> None:
    """A limit on the size of written files stands for the full disk; it ends with the process."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "from zslbench.data.array_store import load_stored\n"
        "dataset = load_stored(Path(sys.argv[1]), name='x', features='res101', semantics='att')\n"
        "print(dataset.fingerprint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == read_folder(folder, name="x", features="res101", semantics="att").fingerprint
    assert list((own_home / "store" / "content").iterdir()) == []


def test_a_read_only_store_is_read(folder: Path, parses: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder)

    def forbidden(*args: Any) -> None:
        raise AssertionError("a finished copy needs neither lock nor writing")

    monkeypatch.setattr(array_store, "_lock", forbidden)
    load(folder)
    assert len(parses) == 1


def test_processes_that_convert_at_once_agree(folder: Path, own_home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from zslbench.data.array_store import load_stored\n"
        "dataset = load_stored(Path(sys.argv[1]), name='x', features='res101', semantics='att')\n"
        "print(dataset.fingerprint, float(dataset.features.sum()))\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0] * 2
    assert len(answers) == 1
    assert len(list((own_home / "store" / "content").iterdir())) == 1


def test_a_copy_that_was_changed_is_named_and_removed(folder: Path, own_home: Path) -> None:
    dataset = load(folder)
    assert array_store.verify_copies(folder) == []
    path = content(own_home, dataset) / "features.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    (problem,) = array_store.verify_copies(folder)
    assert dataset.fingerprint in problem
    for _ in range(2):
        assert "incomplete" in array_store.verify_copies(folder)[0]
    load(folder)
    assert array_store.verify_copies(folder) == []


@pytest.mark.realdata
def test_real_cub_is_mapped_and_equal(real_data: Path, parses: list[Path]) -> None:
    args = {"name": "cub", "features": "fc1000", "semantics": "att"}
    load_stored(real_data / "CUB", **args)
    mapped = load_stored(real_data / "CUB", **args)
    assert len(parses) == 1
    assert is_mapped(mapped.features)
    assert_same(read_folder(real_data / "CUB", **args), mapped)
