"""The live file: what a running study writes of itself, and that this never fails, delays or outlives the run."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import toy_methods
import tuning_toys  # noqa: F401  (named in a spec)
from live_files import GONE, holder, put, study

import zslbench
from zslbench.results.records.live_studies import Study, live_folder
from zslbench.results.records.store import ResultStore
from zslbench.runner import live_file_writer as module
from zslbench.runner.jobs import Batch, group_into_jobs
from zslbench.runner.live_file_writer import LiveFile, keep_live_file
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.run_records import unfinished

RIDGE, BROKEN = "toy_methods:Ridge", "toy_methods:Broken"


@pytest.fixture
def quick(monkeypatch):
    """Let writings follow at once."""
    monkeypatch.setattr(module, "SOON", 0.0)
    monkeypatch.setattr(module, "EVERY", 0.005)
    monkeypatch.setattr(module, "BEAT", 0.01)


@pytest.fixture
def hooked(monkeypatch):
    """Have something called at the beginning of each fit of a Ridge."""
    return lambda hook: monkeypatch.setattr(toy_methods.Ridge, "hook", staticmethod(hook))


def live_studies(runs: Path) -> list[Study]:
    return [Study.from_json(path.read_bytes()) for path in sorted(live_folder(runs).glob("*.json"))]


def eventually(find, seconds=10.0):
    """Return what `find` finds, as soon as it does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := find():
            return found
        time.sleep(0.005)
    raise AssertionError("it never came")


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zslbench-live-file"]


def until_there_is_a_problem(method):
    eventually(lambda: module._CURRENT.get().problem)


def batches_of(*methods: str, seeds: int = 1) -> list[Batch]:
    work = group_into_jobs(plan(RunOptions(methods, ["digits"], ["zsl", "gzsl"], seeds=seeds)).runs)
    return [Batch((job,)) for job in work]


def test_a_run_tells_of_its_fits_while_they_last_and_leaves_nothing(runs, quick, hooked):
    seen = []

    def look(method):
        def here():
            return [one for one in live_studies(runs) if one.running and one.ended == len(seen)]

        seen.append(eventually(here)[0])

    hooked(look)
    outcome = zslbench.run([RIDGE, BROKEN], "digits", seeds=2, runs=runs)
    assert len(outcome.records) == 8
    assert outcome.remarks == ()
    assert not live_folder(runs).exists()
    assert writers() == []
    first, second = seen
    (fit,) = first.running
    assert (fit.label, fit.dataset, fit.protocols, fit.stage, fit.seed) == (
        RIDGE,
        "digits",
        ("zsl", "gzsl"),
        "final",
        0,
    )
    assert (fit.step, fit.total, dict(fit.values)) == (0, 0, {})
    assert {(group.method, group.total, group.ended) for group in first.groups} == {(RIDGE, 2, 0), (BROKEN, 2, 0)}
    assert (first.total, first.holder.pid, first.growing) == (4, os.getpid(), False)
    assert (second.done, second.failed, second.running[0].seed) == (1, 0, 1)
    assert second.groups[0].seconds > 0


def test_writing_goes_on_while_a_method_is_silent(runs, quick, hooked):
    beats = []

    def silent(method):
        start = eventually(lambda: live_studies(runs))[0].beat
        beats.append((start, eventually(lambda: [one for one in live_studies(runs) if one.beat > start + 3])[0]))

    hooked(silent)
    zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    ((start, later),) = beats
    assert later.beat > start + 3
    assert later.seconds > 0


def test_counts_and_losses_follow_what_is_heard(runs):
    good, bad, cut, idle = batches_of(*(f"toy_methods:Ridge[ridge={ridge}]" for ridge in (1, 2, 3, 4)))
    one = LiveFile(runs)
    one.add([good, bad, cut, idle])
    for batch in (good, bad, cut):
        one.started(batch.first)
    one.logged(
        good.first, 3, 9, {"loss": 0.25, "bad": float("nan"), "vector": np.ones(3), "text": "odd", 7: np.float32(2)}
    )
    at_once = Study.from_json(one.study().to_json().encode())
    assert [str(fit) for fit in at_once.running] == [str(batch.first) for batch in (good, bad, cut)]
    assert (at_once.running[0].step, at_once.running[0].total) == (3, 9)
    values = dict(at_once.running[0].values)
    assert values == {"loss": 0.25, "bad": None, "7": 2.0}
    one.finished(bad.first, unfinished(bad.first, "crashed"))
    one.finished(cut.first, unfinished(cut.first, "interrupted"))
    one.finished(good.first, unfinished(good.first, "skipped"))
    end = one.study()
    assert (end.done, end.failed, end.skipped, end.running) == (0, 1, 1, ())
    assert [(group.total, group.ended) for group in end.groups] == [(4, 2)]
    one.finished(idle.first, ())
    assert (one.study().elsewhere, one.study().ended) == (1, 3)


def test_fits_that_are_trained_together_count_as_company(runs):
    alone = batches_of(RIDGE, seeds=3)
    together = Batch(tuple(batch.first for batch in alone))
    one = LiveFile(runs)
    one.add([together])
    one.started(together.jobs[0])
    assert [fit.company for fit in one.study().running] == [3]
    one.finished(together.jobs[0], unfinished(together.jobs[0], "skipped"))
    one.started(together.jobs[1])
    assert [fit.company for fit in one.study().running] == [2]


def test_a_call_within_another_adds_to_what_that_tells(runs, quick, hooked):
    names = []
    hooked(lambda method: names.append([path.name for path in eventually(lambda: [*live_folder(runs).glob("*.json")])]))
    with keep_live_file(runs, growing=True) as outer:
        for ridge in (1, 2):
            zslbench.run(f"{RIDGE}[ridge={ridge}]", "digits", "zsl", runs=runs)
        assert outer.study().growing
        assert outer.study().done == outer.study().total == 2
        with keep_live_file(runs.parent / "elsewhere") as other:
            assert other is not outer
    assert names == [[outer.path.name]] * 2
    assert not live_folder(runs).exists()


def test_a_search_is_one_study(runs, quick, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        LiveFile, "study", lambda self, make=LiveFile.study: seen.setdefault(id(self), []).append(self) or make(self)
    )
    zslbench.tune("toy_methods:Ridge", "digits", only="ridge", trials=2, sampler="random", runs=runs)
    assert len(seen) == 1
    ((one, *_),) = seen.values()
    assert one.study().done == one.study().total > 2
    assert not live_folder(runs).exists()


def test_a_folder_that_cannot_be_written_is_remarked_and_fails_nothing(runs, quick, hooked):
    hooked(until_there_is_a_problem)
    runs.mkdir()
    live_folder(runs).write_text("a file stands here")
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert [record.ok for record in outcome.records] == [True]
    (remark,) = outcome.remarks
    assert remark.startswith(f"zslbench watch could not show this study: {live_folder(runs)} is not writable (")
    assert live_folder(runs).read_text() == "a file stands here"


def test_a_disk_that_is_full_for_a_while_is_no_matter(runs, quick, hooked, monkeypatch):
    tried, write = [], Path.write_text

    def full(path, text, **how):
        if live_folder(runs) in path.parents and len(tried) < 3:
            tried.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **how)

    monkeypatch.setattr(Path, "write_text", full)
    hooked(lambda method: eventually(lambda: live_studies(runs)))
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert len(tried) == 3
    assert outcome.records[0].ok
    assert outcome.remarks == ()


def test_what_ends_at_once_writes_nothing(runs, monkeypatch):
    monkeypatch.setattr(module, "SOON", 60.0)
    monkeypatch.setattr(LiveFile, "study", lambda self: 1 / 0)
    assert zslbench.run(RIDGE, "digits", "zsl", runs=runs).remarks == ()
    assert writers() == []


def test_what_cannot_be_told_is_remarked_whatever_it_is(runs, hooked, monkeypatch):
    hooked(until_there_is_a_problem)
    monkeypatch.setattr(LiveFile, "study", lambda self: 1 / 0)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert outcome.records[0].ok
    assert "ZeroDivisionError" in outcome.remarks[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_left_however_a_run_ends(runs, hooked, error):
    def end(method):
        eventually(lambda: live_studies(runs))
        raise error

    hooked(end)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert outcome.interrupted == (error is KeyboardInterrupt)
    assert not live_folder(runs).exists()
    assert writers() == []


def test_only_what_was_lost_is_cleared(runs, quick):
    alive = put(runs, study(), "node-1-aa")
    other = put(runs, study(holder=holder(machine="elsewhere", pid=GONE)), "node-2-aa")
    put(runs, study(holder=holder(pid=GONE)), "node-3-aa")
    silent = [
        put(runs, study(holder=holder(born=1.0)), "node-4-aa"),  # its number is another's now
        put(runs, study(holder=holder(machine="elsewhere")), "node-5-aa"),
    ]
    foreign, left, fresh = (live_folder(runs) / name for name in ("notes.json", "node-6-aa.tmp", "node-7-aa.tmp"))
    for path in (foreign, left, fresh):
        path.write_text("half")
    for path in (*silent, foreign, left):
        os.utime(path, (alive.stat().st_mtime - module.FORGOTTEN - 1,) * 2)
    with LiveFile(runs):
        eventually(lambda: not left.exists())
    assert sorted(live_folder(runs).iterdir()) == sorted([alive, other, foreign, fresh])


def test_records_are_not_confused_with_what_is_told(runs, hooked):
    def look(method):
        eventually(lambda: live_studies(runs))
        store = ResultStore(runs)
        assert store.load() == []
        assert store.broken == []

    hooked(look)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert outcome.records[0].ok, outcome.records[0].error
    put(runs, study())
    assert [record.id for record in ResultStore(runs).load()] == [record.id for record in outcome.records]
    assert zslbench.status(runs).broken == ()
