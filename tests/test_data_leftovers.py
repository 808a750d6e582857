"""A kill at any moment leaves whole data sets, and what it left beside them is gone after the next start."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
from data_folders import images, write_folder, write_tree
from forks import Forks
from PIL import Image
from test_pictures import Means

from zslbench.data import import_, list_, load_dataset
from zslbench.data.added import find_added
from zslbench.data.own.add import add
from zslbench.data.own.pictures import features
from zslbench.files import WORKING, remove_working_folders, switch_folder, working_folder
from zslbench.identity import machine

pytestmark = pytest.mark.usefixtures("cub_home")
KILLED = 9
_DYING = """
import os, pathlib
import zslbench.data
calls = 0
plain = pathlib.Path.replace
def replace(self, target):
    global calls
    if calls == {after}:
        os._exit({code})
    calls += 1
    return plain(self, target)
pathlib.Path.replace = replace
zslbench.data.{action}
"""
Dying = Callable[[int, str], int]


@pytest.fixture
def killed_at(forks: Forks, tmp_path: Path) -> Dying:
    """Call a function of `zslbench.data` in a process that dies before its n-th rename; return the exit code."""

    def run(after: int, action: str) -> int:
        done = forks.run(_DYING.format(after=after, action=action, code=KILLED), tmp_path)
        assert done.returncode in (0, KILLED), done.stderr
        return done.returncode

    return run


def left_in(cub_home: Path) -> list[str]:
    return [path.name for path in cub_home.rglob("*") if path.name.startswith(WORKING) or path.suffix == ".tmp"]


def test_an_import_that_is_killed_leaves_old_or_new_files_never_both(
    tmp_path: Path, cub_home: Path, killed_at: Dying
) -> None:
    old, new = write_tree(tmp_path / "old"), tmp_path / "new" / "CUB"
    write_folder(new, {"features": images()["features"] + 1}, {"att": np.eye(6)[:3] + 1})
    for after in (0, 1, 2):
        import_(old)
        (cub_home / "xlsa17" / "CUB" / "notes.txt").write_text("kept")
        before = load_dataset("cub")
        code = killed_at(after, f"import_({str(new)!r})")
        assert code == (KILLED if after < 2 else 0)
        assert bool(left_in(cub_home)) == (code == KILLED)
        now = load_dataset("cub")  # the next start
        assert left_in(cub_home) == []
        is_new = bool(now.features.max() > 1)
        assert is_new == (after > 0)
        assert is_new == bool(now.semantics.min() >= 1)
        assert is_new or now.fingerprint == before.fingerprint
        assert (cub_home / "xlsa17" / "CUB" / "notes.txt").read_text() == "kept"


def test_an_add_that_is_killed_leaves_no_half(tmp_path: Path, cub_home: Path, killed_at: Dying) -> None:
    np.save(tmp_path / "wide.npy", np.hstack([own_data.arrays()["features"]] * 2))
    assert killed_at(0, f"add('birds', **{own_data.write(tmp_path, 'npy')!r})") == KILLED
    assert left_in(cub_home)
    assert "birds" not in {row.name for row in list_()}
    assert left_in(cub_home) == []
    add("birds", **own_data.arrays())
    for after in (0, 1, 2):
        code = killed_at(after, f"add('birds', features={{'wide': {str(tmp_path / 'wide.npy')!r}}})")
        there = find_added("birds")
        assert there is not None
        assert ("wide" in there.features) == (code == 0)
        for chosen in there.features:
            assert there.load(features=chosen, verify=True)
        list_()
        assert left_in(cub_home) == []


def test_what_others_work_in_is_left_alone(tmp_path: Path) -> None:
    with working_folder(tmp_path, ".adding-") as busy:
        (busy / "x").write_text("x")
        (tmp_path / ".adding-dead").mkdir()
        (tmp_path / ".mine").mkdir()
        (tmp_path / ".adding-link").symlink_to(tmp_path / ".mine")
        remove_working_folders(tmp_path)
        assert (busy / "x").exists()
        assert not (tmp_path / ".adding-dead").exists()
        assert (tmp_path / ".mine").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [".adding-link", ".mine"]


def test_without_locks_nothing_is_taken_for_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    (tmp_path / ".adding-other").mkdir()
    with working_folder(tmp_path, ".adding-") as work:
        (work / "new").mkdir()
        switch_folder(work / "new", tmp_path / "target")
    assert (tmp_path / ".adding-other").exists()
    assert (tmp_path / "target").is_dir()


def test_a_switch_that_fails_puts_the_old_folder_back(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "x").write_text("old")
    with working_folder(tmp_path, ".incoming-") as work, pytest.raises(OSError, match="nowhere"):
        switch_folder(work / "nowhere", tmp_path / "target")
    assert (tmp_path / "target" / "x").read_text() == "old"


def test_extractions_at_once_give_what_one_gives(tmp_path: Path) -> None:
    """Three of the same pictures into the same file, and into others."""
    for name, colour in (("a", (9, 0, 0)), ("b", (0, 9, 0)), ("c", (0, 0, 9))):
        (tmp_path / "p" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (9, 7), colour).save(tmp_path / "p" / name / f"{number}.png")
    extract = functools.partial(features, tmp_path / "p", batch=2)
    expected = extract(backbone=Means().backbone, output=tmp_path / "alone.npz").features["means"]
    barrier = threading.Barrier(3)

    def extract_at_once(name: str) -> None:
        barrier.wait()
        extracted = extract(backbone=Means().backbone, output=tmp_path / name)
        np.testing.assert_array_equal(extracted.features["means"], expected)
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone.npz").read_bytes()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for names in (("x.npz", "x.npz", "x.npz"), ("1.npz", "2.npz", "3.npz")):
            list(pool.map(extract_at_once, names))
    assert left_in(tmp_path) == []


def test_the_output_follows_no_planted_link(tmp_path: Path) -> None:
    """Names of temporary files cannot be guessed; a link that is the output itself is written through."""
    (tmp_path / "p" / "a").mkdir(parents=True)
    Image.new("RGB", (9, 7)).save(tmp_path / "p" / "a" / "x.png")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".f.npz.half").symlink_to(tmp_path / "victim")
    (tmp_path / "out" / "f.npz").symlink_to(tmp_path / "real.npz")
    (tmp_path / f".{machine()}-{2**31}-0123abcd.tmp").write_bytes(b"half")  # of a call that was killed
    for _ in range(2):
        features(tmp_path / "p", backbone=Means().backbone, output=tmp_path / "out" / "f.npz")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "out" / "f.npz").is_symlink()
    with np.load(tmp_path / "real.npz") as held:
        assert held["features"].shape == (1, 3)
    assert left_in(tmp_path) == []
