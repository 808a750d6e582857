"""`results gc`: what belongs to no run any more, and nothing else."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from unittest.mock import Mock

import live_files
import numpy as np
import pytest
from result_records import files, record, saved
from test_leases import FAR, ID, claim, dead

import zslbench
from zslbench.errors import StoreError
from zslbench.results.records.cleanup import GRACE, KEPT
from zslbench.results.records.leases import FOLDER, HOLDER, Leases
from zslbench.results.records.store import ResultStore

OTHER = "f" * 16


def make(path: Path, age: float = 2 * GRACE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    aged(path, age)
    return path


def aged(path: Path, age: float = 2 * GRACE) -> None:
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


IN_ORDER = [
    *(f"cub/zsl/eszsl/{record(seed=1).id}{ending}" for ending in (".features.npz", ".trace.json.gz")),
    *("tuned/sae--cub.json", "tuned/sae--cub.db", "tuned/sae--cub.db-journal", "tuned/mine.db-journal"),
    *(f"cub/zsl/eszsl/{name}" for name in ("notes.txt", "own.npz", "thesis.tmp", f"{OTHER}.csv")),
    *("mine.npz", "draft.tmp", ".cache.tmp", ".probe-mine", "tuned/notes.tmp", ".claims/README", ".live/notes.json"),
]


@pytest.fixture
def runs(tmp_path):
    """A folder with an ok and a failed record, all that may lie beside them, tuned presets, and files of others."""
    store = ResultStore(saved(tmp_path / "runs", [record(seed=2, status="failed", error="no")]))
    store.save(record(seed=1), {"label": np.arange(3)})
    for name in IN_ORDER:
        make(store.root / name)
    for path in store.root.rglob("*"):
        aged(path)
    return store.root


GARBAGE = [
    f"cub/zsl/eszsl/{OTHER}.npz",
    f"cub/zsl/eszsl/{OTHER}.features.npz",
    f"cub/zsl/eszsl/{OTHER}.trace.json.gz",
    "cub/zsl/eszsl/.0123456789ab.tmp",
    "tuned/.0123456789ab.tmp",
    ".0123456789ab.tmp",
    f"cub/zsl/eszsl/.{OTHER}-1-01234567.tmp",
    ".probe-01234567",
    "tuned/sae--cub--att--res101--zsl--gone.db-journal",
    "tuned/sae--cub--att--res101--zsl--gone.db-wal",
    f".claims/{OTHER}",
    f".claims/{OTHER}.1",
    f".claims/{OTHER}{HOLDER}",
    ".live/host-12-abc.json",
    ".live/host-12-abc.tmp",
]


def test_garbage_is_listed_and_deleted_only_when_told_and_nothing_else(runs, typed):
    before = files(runs)
    for name in GARBAGE:
        make(runs / name)
    garbage = zslbench.results.gc(runs)
    assert sorted(str(path.relative_to(runs)) for path, _ in garbage.files) == sorted(GARBAGE)
    assert garbage.size == 5 * len(GARBAGE)
    assert files(runs) == before | dict.fromkeys(GARBAGE, b"12345")
    code, out, _ = typed("results", "gc")
    assert code == 0
    assert f"{len(GARBAGE)} files, {5 * len(GARBAGE)} bytes; nothing was deleted; add --yes to delete them" in out
    assert f"deleted {len(GARBAGE)} files" in typed("results", "gc", "--yes")[1]
    assert files(runs) == before


def test_what_was_changed_lately_may_be_in_use(runs):
    for name in GARBAGE:
        make(runs / name, GRACE / 2)
    garbage = zslbench.results.gc(runs, delete=True)
    assert garbage.files == ()
    assert files(runs).keys() >= set(GARBAGE)
    assert "changed within the last hour" in garbage.text


def test_the_state_of_a_training_is_kept_for_two_weeks(runs):
    young, old = (
        make(runs / f".live/{name * 16}.state.npz", age) for name, age in (("1", 0.9 * KEPT), ("2", 1.1 * KEPT))
    )
    garbage = zslbench.results.gc(runs, delete=True)
    assert ([path for path, _ in garbage.files], garbage.young) == ([old], 0)
    assert young.exists()
    assert not old.exists()


def test_leases_of_the_living_stay_and_those_of_dead_processes_go_at_once(runs):
    with Leases(runs) as living:
        living.take(ID)
        aged(runs / FOLDER / ID)  # its process is there, whatever its file says
        far = claim(runs, FAR, "1" * 16)
        aged(runs / FOLDER / ("1" * 16))  # where there are no hard links, only the holder's own file is renewed
        claim(runs, dataclasses.replace(dead(), token="d" * 16), "2" * 16)
        garbage = zslbench.results.gc(runs, delete=True)
        assert {path.name for path, _ in garbage.files} == {"2" * 16, "d" * 16 + HOLDER}
        aged(far)
        garbage = zslbench.results.gc(runs, delete=True)
        assert {path.name for path, _ in garbage.files} == {"1" * 16, far.name}
        assert not Leases(runs).take(ID)


def test_signs_of_life_are_judged_by_their_process(runs):
    living = live_files.put(runs, live_files.study(), "living-1-aa")
    lost = live_files.put(runs, live_files.study(holder=dead()), "dead-1-aa")
    far = live_files.put(runs, live_files.study(holder=FAR), "far-1-aa")
    aged(living)  # its process is there, though it may be asleep
    garbage = zslbench.results.gc(runs, delete=True)
    assert [path for path, _ in garbage.files] == [lost]
    assert garbage.young == 0
    aged(far)
    assert [path for path, _ in zslbench.results.gc(runs, delete=True).files] == [far]
    assert living.exists()


def test_failed_and_stale_records_go_when_asked_for(runs):
    store = ResultStore(runs)
    garbage = zslbench.results.gc(runs, failed=True, delete=True)
    assert [path.name for path, _ in garbage.files] == [f"{record(seed=2).id}.json"]
    assert [kept.seed for kept in store.load()] == [1]
    document, *others = zslbench.results.gc(runs, stale=lambda record: record.seed == 1).files
    assert document[0].name == f"{record(seed=1).id}.json"  # before what belongs to it
    assert len(others) == 3
    assert store.load()
    zslbench.results.gc(runs, stale=lambda record: True, delete=True)
    assert store.load() == []
    assert zslbench.results.gc(runs).files == ()


def test_stale_is_what_a_run_would_call_stale(typed):
    zslbench.run("eszsl", "digits", "zsl")
    (kept,) = zslbench.run("sae", "digits", "zsl").records
    store = ResultStore("runs")
    old = next(record for record in store.load() if record.method["name"] == "eszsl")
    store.relabel(dataclasses.replace(old, provenance={**old.provenance, "method_source": "0" * 16}))
    assert "the source of its method has changed" in typed("results", "gc", "--stale", "--yes")[1]
    assert store.load() == [kept]


def test_broken_records_are_told_and_stay(runs):
    path = ResultStore(runs).path(record(seed=1))
    path.write_text(json.dumps({"schema": 1}))
    garbage = zslbench.results.gc(runs, failed=True, stale=lambda record: True, delete=True)
    assert path.exists()
    assert path.with_suffix(".npz").exists()
    assert str(path) in garbage.text


def test_folders_that_are_none(tmp_path):
    assert zslbench.results.gc(tmp_path / "none").text == "nothing to delete"
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        zslbench.results.gc(tmp_path / "file")


def test_what_a_link_leads_to_stays(runs, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name in (f"zsl/eszsl/{OTHER}.npz", "zsl/eszsl/.0123456789ab.tmp", "precious"):
        make(elsewhere / name)
    (runs / "linked").symlink_to(elsewhere)
    (runs / ".0123456789ab.tmp").symlink_to(elsewhere / "precious")
    before = files(runs), files(elsewhere)
    assert zslbench.results.gc(runs, delete=True).files == ()
    assert (files(runs), files(elsewhere)) == before


def test_a_full_or_read_only_folder_is_cleaned_too(runs, monkeypatch):
    path = make(runs / ".0123456789ab.tmp")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    assert [garbage for garbage, _ in zslbench.results.gc(runs, delete=True).files] == [path]
    assert not path.exists()
