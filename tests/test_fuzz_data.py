"""Damaged inputs of `data add` and `data features`: each is read or refused in a sentence; none hangs, none runs code.

A sample of 500 by default; ZSLBENCH_FUZZ=10000 reads as many.
"""

from __future__ import annotations

import collections
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
import torch
from data_folders import write_folder
from mutations import mutated, mutated_text
from PIL import Image
from scipy.io import savemat

from zslbench.checks import check_dataset
from zslbench.data import parsers
from zslbench.data.own.add import Reader
from zslbench.data.own.given_splits import SplitOptions
from zslbench.data.own.pictures import FORMATS, open_picture
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import ZslbenchError

COUNT = int(os.environ.get("ZSLBENCH_FUZZ", "500"))
BINARY = ("mat", "mat73", "h5", "npy", "npz", "pt", "folder")
TEXT = ("csv", "tsv", "json", "toml")
PLANTED = ("planted npy", "planted npz", "planted pt")
PICTURES = tuple(f"picture {name}" for name in FORMATS)
KINDS = (*BINARY, *TEXT, "npz splits", "mat splits", *PLANTED, *PICTURES)


class Bomb:
    """Unpickled, it makes a file: code has run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


class Workshop:
    """Valid files of each kind, and their damaged copies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker = folder, folder / "code has run"
        self.base = {"folder": write_folder(folder / "valid" / "folder") / "res101.mat"}
        for kind in ("mat", "mat73", "h5", "npy", "npz", "pt", "csv", "tsv"):
            first = own_data.write(folder / "valid" / kind, kind)["features"]
            file = first["features"] if isinstance(first, dict) else first
            self.base[kind] = Path(file.partition(":")[0])
        labels = own_data.arrays()["labels"]
        seen = np.flatnonzero(labels > 1)
        parts = {"trainval": seen[5:], "test_seen": seen[:5], "test_unseen": np.flatnonzero(labels < 2)}
        lists = {name: rows.tolist() for name, rows in parts.items()}
        folds = [{"train": [2, 3, 4], "val": ["gull", 7]}]
        self._add("json", "split.json").write_text(json.dumps({"base": 0, **lists, "folds": folds}), encoding="utf-8")
        self._add("toml", "split.toml").write_text("base = 0\nunseen = ['auk', 1]\n", encoding="utf-8")
        np.savez(self._add("npz splits", "split.npz"), base=np.array(0), **parts)
        locs = {f"{name}_loc": rows[:, None] + 1 for name, rows in parts.items()}
        savemat(self._add("mat splits", "split.mat"), locs)
        for kind, name in zip(PICTURES, FORMATS, strict=True):
            Image.effect_noise((33, 21), 60).convert("RGB").save(self._add(kind, f"picture.{name.lower()}"))
        planted = np.array([[Bomb(self.marker)] * 6] * 40, dtype=object)
        np.save(self._add("planted npy", "planted.npy"), planted, allow_pickle=True)
        np.savez(self._add("planted npz", "planted.npz"), features=planted)
        torch.save({"features": Bomb(self.marker)}, self._add("planted pt", "planted.pt"))

    def _add(self, kind: str, name: str) -> Path:
        self.base[kind] = self.folder / "valid" / name
        return self.base[kind]

    def read(self, number: int) -> str:
        """Damage and read one file; return what became of it: taken, or the sentence of the refusal."""
        rng = np.random.default_rng([20, number])
        kind = KINDS[number % len(KINDS)]
        base = self.base[kind]
        raw, other = base.read_bytes(), self.base[BINARY[number % len(BINARY)]].read_bytes()
        if kind.startswith("planted") and number < 2 * len(KINDS):
            damaged = raw
        elif kind in TEXT and rng.random() < 0.7:
            damaged = mutated_text(raw, rng)
        else:
            damaged = mutated(raw, rng, other)
        path = self.folder / f"damaged{base.suffix}"
        path.write_bytes(damaged)
        try:
            self._take(kind, path)
        except ZslbenchError as error:
            return str(error)
        return "taken"

    def _take(self, kind: str, path: Path) -> None:
        if kind in PICTURES:
            assert open_picture(path).mode == "RGB"
            return
        content: dict[str, Any] = own_data.arrays()
        splits: Any = {"unseen": [0, 1]}
        if kind == "folder":
            target = self.folder / "folder" / "res101.mat"
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            semantics = self.base["folder"].parent / "att_splits.mat"
            (target.parent / semantics.name).write_bytes(semantics.read_bytes())
            check_dataset(read_folder(target.parent, name="x", features="res101", semantics="att"))
            return
        if kind in ("json", "toml") or kind.endswith("splits"):
            splits = path
        else:
            content["features"] = str(path)
        made = Reader("x").read(**content, classes=list(own_data.NAMES), splits=splits, options=SplitOptions())
        for dataset in made.datasets():
            check_dataset(dataset)


def test_damaged_inputs_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "START_LIMIT", 300.0)
    workshop = Workshop(tmp_path)
    seen: collections.Counter[tuple[str, bool]] = collections.Counter()
    for number in range(COUNT):
        kind, outcome = KINDS[number % len(KINDS)], workshop.read(number)
        assert not workshop.marker.exists(), f"number {number} ran code"
        assert "busy for more than" not in outcome, f"{kind} hung: {outcome}"
        assert "\n" not in outcome, f"{kind}: not one line: {outcome!r}"
        seen[kind, outcome == "taken"] += 1
    for kind in KINDS:
        assert seen[kind, False] > 0, f"no damaged {kind} was refused"
    assert all(not seen[kind, True] for kind in PLANTED)
    assert sum(number for (_, taken), number in seen.items() if taken) > 0


def test_files_that_are_whole_are_taken(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    for kind in KINDS:
        if kind not in PLANTED:
            copy = tmp_path / f"copy{workshop.base[kind].suffix}"
            copy.write_bytes(workshop.base[kind].read_bytes())
            workshop._take(kind, copy)


def test_a_planted_pickle_is_never_loaded(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    for kind in PLANTED:
        with pytest.raises(ZslbenchError, match=r"never loaded|only those are loaded"):
            workshop._take(kind, workshop.base[kind])
    for suffix in ("npy", "npz", "pt"):
        pickled = tmp_path / f"pickled.{suffix}"
        pickled.write_bytes(pickle.dumps(Bomb(workshop.marker)))
        with pytest.raises(ZslbenchError):
            workshop._take(suffix, pickled)
    assert not workshop.marker.exists()
    pickle.loads(pickled.read_bytes())
    assert workshop.marker.exists()  # the trap works


def test_a_reader_goes_on_when_the_folder_where_it_was_started_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch, which is loaded for its first file, would end a process that stands in such a folder."""
    files = own_data.write(tmp_path, "mat") | {"features": own_data.write(tmp_path, "pt")["features"]}
    parsers._child().end()
    (tmp_path / "gone").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "gone")
        parsers.read_array(Path(files["labels"]), "labels", ())
    (tmp_path / "gone").rmdir()
    _, features = parsers.read_array(Path(files["features"]), None, ())
    np.testing.assert_array_equal(features, own_data.arrays()["features"])


def test_a_reader_that_crashes_or_hangs_costs_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = own_data.write(tmp_path, "mat")
    path = Path(files["labels"])
    (tmp_path / "site").mkdir()
    trap = tmp_path / "site" / "scipy.py"
    child = parsers._child()
    assert parsers.read_array(path, "labels", ())[0] == "labels"
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    child.end()
    trap.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", encoding="utf-8")
    with pytest.raises(ZslbenchError, match="crashed the library"):
        parsers.read_array(path, "labels", ())
    trap.write_text("import time; time.sleep(600)", encoding="utf-8")
    monkeypatch.setattr(parsers, "START_LIMIT", 1.0)
    with pytest.raises(ZslbenchError, match="busy for more than"):
        parsers.read_array(path, "labels", ())
    trap.unlink()
    monkeypatch.setattr(parsers, "START_LIMIT", 120.0)
    assert parsers.read_array(path, "labels", ())[0] == "labels"
    child.end()  # it has the path with the trap
