"""The live file: what a running study writes of itself, and that this never fails, delays or outlives the run."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_methods
import tuning_toys  # noqa: F401  (named in a spec)
from faults import until
from live_files import GONE, holder, put, study

import zslbench
from zslbench.results.records.live_studies import StudyProgress, live_folder
from zslbench.results.records.store import ResultStore
from zslbench.runner import live_file_writer as module
from zslbench.runner.jobs import Batch, group_into_batches
from zslbench.runner.live_file_writer import LiveFile, keep_live_file
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.run_records import unfinished

RIDGE, BROKEN = "toy_methods:Ridge", "toy_methods:Broken"


@pytest.fixture
def quick(monkeypatch):
    """Let writings follow at once."""
    monkeypatch.setattr(module, "SOON", 0.0)
    monkeypatch.setattr(module.live_studies, "EVERY", 0.005)
    monkeypatch.setattr(module.live_studies, "BEAT", 0.01)


@pytest.fixture
def hooked(monkeypatch):
    """Have something called at the beginning of each fit of a Ridge."""
    return lambda hook: monkeypatch.setattr(toy_methods.Ridge, "hook", staticmethod(hook))


def live_studies(runs: Path) -> list[StudyProgress]:
    return [StudyProgress.from_json(path.read_bytes()) for path in sorted(live_folder(runs).glob("*.json"))]


def until_written(runs, wanted=lambda study: True):
    """Return the study that is written, as soon as it is as wanted."""
    return until(lambda: [one for one in live_studies(runs) if wanted(one)], "a live file")[0]


def until_there_is_a_problem(method):
    until(lambda: module._CURRENT.get().problem, "a problem")


def nothing_left(runs: Path) -> bool:
    writers = [thread for thread in threading.enumerate() if thread.name == "zslbench-live-file"]
    return not live_folder(runs).exists() and not writers


def batches_of(*methods: str, seeds: int = 1) -> list[Batch]:
    return group_into_batches(plan(RunOptions(methods, ["digits"], ["zsl", "gzsl"], seeds=seeds)).runs)


def test_a_run_tells_of_its_fits_while_they_last_and_leaves_nothing(runs, quick, hooked):
    seen = []
    hooked(lambda method: seen.append(until_written(runs, lambda one: one.running and one.ended == len(seen))))
    outcome = zslbench.run([RIDGE, BROKEN], "digits", seeds=2, runs=runs)
    assert len(outcome.records) == 8
    assert outcome.remarks == ()
    assert nothing_left(runs)
    first, second = seen
    (fit,) = first.running
    assert (fit.label, fit.dataset, fit.protocols) == (RIDGE, "digits", ("zsl", "gzsl"))
    assert (fit.stage, fit.seed, fit.step, fit.total, dict(fit.values)) == ("final", 0, 0, 0, {})
    assert {(group.method, group.total, group.ended) for group in first.groups} == {(RIDGE, 2, 0), (BROKEN, 2, 0)}
    assert (first.total, first.holder.pid, first.growing) == (4, os.getpid(), False)
    assert (second.done, second.failed, second.running[0].seed) == (1, 0, 1)
    assert second.groups[0].seconds > 0


def test_writing_goes_on_while_a_method_is_silent(runs, quick, hooked):
    def silent(method):
        start = until_written(runs).beat
        assert until_written(runs, lambda one: one.beat > start + 3).seconds > 0

    hooked(silent)
    assert zslbench.run(RIDGE, "digits", "zsl", runs=runs).records[0].ok


def test_counts_and_losses_follow_what_is_heard(runs):
    good, bad, cut, idle = batches_of(*(f"toy_methods:Ridge[ridge={ridge}]" for ridge in (1, 2, 3, 4)))
    one = LiveFile(runs)
    one.add([good, bad, cut, idle])
    for batch in (good, bad, cut):
        one.started(batch.first)
    losses = {"loss": 0.25, "bad": float("nan"), "vector": np.ones(3), "text": "odd", 7: np.float32(2)}
    one.logged(good.first, 3, 9, losses)
    at_once = StudyProgress.from_json(one.study().to_json().encode())
    assert [str(fit) for fit in at_once.running] == [str(batch.first) for batch in (good, bad, cut)]
    assert (at_once.running[0].step, at_once.running[0].total) == (3, 9)
    assert dict(at_once.running[0].values) == {"loss": 0.25, "bad": None, "7": 2.0}
    for batch, status in ((bad, "crashed"), (cut, "interrupted"), (good, "skipped")):
        one.finished(batch.first, unfinished(batch.first, status))
    end = one.study()
    assert (end.done, end.failed, end.skipped, end.running) == (0, 1, 1, ())
    assert [(group.total, group.ended) for group in end.groups] == [(4, 2)]
    one.finished(idle.first, ())
    assert (one.study().elsewhere, one.study().ended) == (1, 3)


def test_steps_say_how_far_training_is_and_other_phases_what_is_done(runs, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    (batch,) = batches_of(RIDGE)
    one, job = LiveFile(runs), batch.first
    one.add([batch], {(RIDGE, "digits", "final"): 50.0, ("sae", "digits", "final"): 9.0})
    assert one.study().seconds_left() == 50
    one.started(job)

    def now_after(seconds: float, *heard: object) -> tuple[object, ...]:
        now[0] += seconds
        one.advanced(job, *heard)
        (fit,) = one.study().running
        return fit.phase, fit.step, fit.total, fit.seconds_left()

    assert one.study().running[0].phase == "starting"
    assert now_after(1, "souls", 0, 0) == ("souls", 0, 0, 49)  # of the forecast
    assert now_after(4, "pretrain", 3, 50) == ("pretrain 3/50", 0, 0, 45)
    assert one.study().seconds_left() == 45
    assert now_after(5, "training", 0, 20) == ("training", 0, 20, 40)
    assert now_after(8, "training", 4, 20) == ("training", 4, 20, 32)  # two seconds a step, what came before apart
    one.logged(job, 1, 5, {"loss": 0.5})  # epochs are coarser than steps
    assert (one.study().running[0].step, dict(one.study().running[0].values)) == (4, {"loss": 0.5})
    assert now_after(40, "scoring zsl", 0, 0) == ("scoring zsl", 4, 20, 0)


def phases_of(method: str, runs: Path, reports: Sequence[str]) -> list[str]:
    """Return what is said of a fit's phase after each report."""
    (batch,) = batches_of(method)
    live = LiveFile(runs)
    live.started(batch.first)
    phrases = []
    for phase in reports:
        live.advanced(batch.first, phase, 0, 0)
        phrases.append(live.study().running[0].say_phase())
    return phrases


def test_phases_are_numbered_through_the_fit_and_the_scoring_of_each_protocol(runs):
    scoring = ["training", "scoring zsl", "final classifier", "scoring gzsl"]
    assert phases_of("lisgan", runs, ["data", "fit", "souls", *scoring]) == [
        "data",
        "phase 1 of 4: souls",
        "phase 1 of 4: souls",
        "phase 2 of 4: training",
        "phase 3 of 4: scoring zsl",
        "phase 3 of 4: scoring zsl, final classifier",
        "phase 4 of 4: scoring gzsl",
    ]
    assert phases_of("eszsl", runs, ["fit", "solve", *scoring[1:]])[:2] == [
        "phase 1 of 3: fit",
        "phase 1 of 3: fit, solve",
    ]
    assert phases_of("ale", runs, ["fit", "training"])[1] == "phase 1 of 3: fit, training"
    numbers = {
        "lisgan[l_r1=0,l_r2=0]": ["training"],
        "lisgan[classifier=pretrained]": ["pretrain", "souls", "training"],
        "fclswgan": ["pretrain", "training"],
        "fclswgan[cls_weight=0]": ["training"],
        "gazsl": ["training"],
        "zla": ["training"],
        "cyclewgan": ["pretrain", "training"],
        "lsrgan": ["pretrain", "training"],
        "centres": ["training"],
        "eszsl": ["solve"],
    }
    for method, reports in numbers.items():
        last = phases_of(method, runs, ["fit", *reports, *scoring[1:]])
        assert last[-1] == f"phase {len(reports) + 2} of {len(reports) + 2}: scoring gzsl"


def test_fits_that_are_trained_together_count_as_company(runs):
    together = Batch(tuple(batch.first for batch in batches_of(RIDGE, seeds=3)))
    one = LiveFile(runs)
    one.add([together])
    for job, company in zip(together.jobs, (3, 2, 1), strict=True):
        one.started(job)
        assert [fit.company for fit in one.study().running] == [company]
        one.finished(job, unfinished(job, "skipped"))


def test_a_call_within_another_adds_to_what_that_tells(runs, quick, hooked):
    names = []
    hooked(lambda method: names.append(until(lambda: [path.name for path in live_folder(runs).glob("*.json")], "it")))
    with keep_live_file(runs, growing=True) as outer:
        for ridge in (1, 2):
            zslbench.run(f"{RIDGE}[ridge={ridge}]", "digits", "zsl", runs=runs)
        assert outer.study().growing
        assert outer.study().done == outer.study().total == 2
        with keep_live_file(runs.parent / "elsewhere") as other:
            assert other is not outer
    assert names == [[outer.path.name]] * 2
    assert nothing_left(runs)


def test_a_search_is_one_study(runs, quick, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        LiveFile, "study", lambda self, make=LiveFile.study: seen.setdefault(id(self), []).append(self) or make(self)
    )
    zslbench.tune("toy_methods:Ridge", "digits", only="ridge", trials=2, sampler="random", runs=runs)
    ((one, *_),) = seen.values()
    assert one.study().done == one.study().total > 2
    assert nothing_left(runs)


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
    hooked(lambda method: until_written(runs))
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert len(tried) == 3
    assert outcome.records[0].ok
    assert outcome.remarks == ()


@pytest.mark.parametrize("soon", [60.0, 0.0], ids=["it ends at once", "it lasts"])
def test_what_cannot_be_told_is_remarked_whatever_it_is(runs, hooked, monkeypatch, soon):
    """What ends at once writes nothing."""
    monkeypatch.setattr(module, "SOON", soon)
    monkeypatch.setattr(LiveFile, "study", lambda self: 1 / 0)
    if not soon:
        hooked(until_there_is_a_problem)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert outcome.records[0].ok
    assert ["ZeroDivisionError" in remark for remark in outcome.remarks] == ([] if soon else [True])
    assert nothing_left(runs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_left_however_a_run_ends(runs, hooked, error):
    def end(method):
        until_written(runs)
        raise error

    hooked(end)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert outcome.interrupted == (error is KeyboardInterrupt)
    assert nothing_left(runs)


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
        until(lambda: not left.exists(), "a file that goes")
    assert sorted(live_folder(runs).iterdir()) == sorted([alive, other, foreign, fresh])


def test_records_are_not_confused_with_what_is_told(runs, hooked):
    store = ResultStore(runs)
    seen = []
    hooked(lambda method: until_written(runs) and seen.append((store.load(), store.broken)))
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert seen == [([], [])]
    put(runs, study())
    assert [record.id for record in ResultStore(runs).load()] == [record.id for record in outcome.records]
    assert zslbench.status(runs).broken == ()
