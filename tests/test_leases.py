"""Leases: of several coordinators on one folder, one does each run; a dead one's runs are taken over."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults import output_of, until
from hypothesis import given, settings
from hypothesis import strategies as st
from live_files import GONE
from shared_toys import HOLD, NOTES

import zslbench
from zslbench.errors import StoreError
from zslbench.identity import process_born
from zslbench.results.records.leases import FOLDER, HOLDER, Holder, Leases
from zslbench.results.records.store import ResultStore
from zslbench.runner.plan import RunOptions, plan

ID = "0123456789abcdef"
RIDGE = "toy_methods:Ridge"
FAR = dataclasses.replace(Holder.here(), token="f" * 16, host="far", machine="0" * 16)


@pytest.fixture
def noted(study, monkeypatch):
    """Return which processes ``began`` or ``ended`` the fit of which seed; fits end once the file `HOLD` is removed."""
    monkeypatch.setenv(NOTES, str(study.folder / "notes-of-fits"))
    (study.folder / HOLD).touch()

    def read(what: str) -> list[tuple[int, int]]:
        path = Path(os.environ[NOTES])
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), int(seed)) for verb, pid, seed in map(str.split, lines) if verb == what]

    return read


def test_two_coordinators_started_at_once_do_every_run_once(study, noted):
    both = [study.start("-m", "shared_toys:Noted", "--seeds", "8") for _ in range(2)]
    until(lambda: {pid for pid, _ in noted("began")} == {one.pid for one in both}, "one did not begin")
    (study.folder / HOLD).unlink()
    outputs = [output_of(one) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    assert Counter(seed for _, seed in noted("began")) == Counter(range(8))
    assert {pid for pid, _ in noted("ended")} == {one.pid for one in both}
    assert all("8 of 8 runs are done, 0 failed" in output for output in outputs)
    assert len(study.records()) == 8
    assert not (study.runs / FOLDER).exists()


def test_the_runs_of_a_killed_coordinator_are_taken_over(study, noted):
    doomed = study.start("-m", "shared_toys:Noted")
    until(lambda: noted("began"), "it did not begin")
    other = study.start("-m", "shared_toys:Noted")
    waits = next(line for line in other.stdout if "coordinator" in line)
    assert waits.startswith(f"a run is being done by another coordinator (process {doomed.pid} on ")
    doomed.kill()
    until(lambda: other.pid in dict(noted("began")), "it was not taken over")
    (study.folder / HOLD).unlink()
    output = output_of(other)
    assert other.returncode == 0, output
    assert "1 of 1 runs are done" in output
    assert noted("ended") == [(other.pid, 0)]
    assert len(study.records()) == 1
    assert not (study.runs / FOLDER).exists()  # nothing of the dead one is left
    doomed.communicate()


def claim(root: Path, holder: Holder, id: str = ID) -> Path:
    """Write a claim as another coordinator has it."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{holder.token}{HOLDER}"
    own.write_text(json.dumps(dataclasses.asdict(holder)))
    (folder / id).write_text(own.read_text())
    return own


def dead() -> Holder:
    """Return a holder whose process has ended."""
    return dataclasses.replace(Holder.here(), pid=GONE)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("before", ["free", "held by a dead process"])
def test_of_many_that_ask_at_once_one_gets_the_claim(tmp_path, monkeypatch, links, before):
    gone = dead()
    if not links:
        monkeypatch.setattr(os, "link", refusing)
    many = [Leases(tmp_path) for _ in range(6)]
    start = threading.Barrier(len(many))

    def ask(one: Leases) -> None:
        for number in range(20):
            start.wait()
            one.take(f"{number:016x}")

    if before != "free":
        for number in range(20):
            claim(tmp_path, gone, f"{number:016x}")
    with ThreadPoolExecutor(len(many)) as pool:
        list(pool.map(ask, many))
    assert sorted(run for one in many for run in one.mine) == [f"{number:016x}" for number in range(20)]
    for one in many:
        one.__exit__()
    assert not (tmp_path / FOLDER).exists()


def refusing(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_claim_is_held_until_it_is_released(tmp_path):
    with Leases(tmp_path) as first, Leases(tmp_path) as second:
        assert first.take(ID)
        assert first.take(ID)
        assert not second.take(ID)
        second.release([ID])
        assert not second.take(ID)
        first.release([ID])
        assert second.take(ID)
        first.release([ID])
        assert not first.take(ID)


@pytest.mark.parametrize("steps", [1, 3], ids=lambda steps: f"{steps} died in the middle of it")
def test_a_coordinator_that_died_while_it_took_over_is_followed_by_the_next(tmp_path, steps):
    for name in (ID, *(f"{ID}.{step}" for step in range(1, steps + 1))):
        claim(tmp_path, dead(), name)
    with Leases(tmp_path) as late, Leases(tmp_path) as later:
        assert late.take(ID)
        assert not later.take(ID)
    assert not (tmp_path / FOLDER).exists()


def test_a_claim_that_is_being_taken_over_is_left_alone(tmp_path):
    claim(tmp_path, dead())
    claim(tmp_path, FAR, f"{ID}.1")
    with Leases(tmp_path) as late:
        assert not late.take(ID)


def test_a_claim_that_changed_hands_meanwhile_is_not_taken_over(tmp_path):
    claim(tmp_path, dead())
    with Leases(tmp_path) as quick, Leases(tmp_path) as slow:
        judged = slow._chain(ID)
        assert quick.take(ID)  # after the slow one has looked
        assert not slow._take_over(ID, judged)
        assert not slow.take(ID)
        assert sorted(path.name for path in (tmp_path / FOLDER).iterdir() if path.name.startswith(ID)) == [ID]


def test_another_machine_is_gone_when_its_file_stays_unchanged_for_long(tmp_path):
    now = [0.0]
    own = claim(tmp_path, FAR)

    def take_at(moment: float) -> bool:
        now[0] = moment
        return one.take(ID)

    with Leases(tmp_path, stale_after=100, clock=lambda: now[0]) as one:
        assert not take_at(0)  # however old its time of change: the clocks of two machines are not compared
        os.utime(own, (1e9, 1e9))
        assert not take_at(99)
        os.utime(own, (1e9 - 5, 1e9 - 5))  # any change is a sign of life, even back in time
        assert not take_at(198)
        assert not take_at(297)
        assert take_at(299)


def test_signs_of_life_are_given(tmp_path):
    with Leases(tmp_path, beat=0.01) as one:
        one.take(ID)
        os.utime(tmp_path / FOLDER / ID, (1e9, 1e9))  # a link of the holder's file
        deadline = time.monotonic() + 60
        while (tmp_path / FOLDER / ID).stat().st_mtime == 1e9:
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param(1e4, id="long ago"),
        pytest.param(
            0.5,
            id="a container that was started again",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="processes have exact births on Linux alone"),
        ),
    ],
)
def test_a_process_that_has_the_number_of_a_dead_one_does_not_hold_its_claim_for_ever(tmp_path, earlier):
    here = Holder.here()
    claim(tmp_path, dataclasses.replace(here, token="e" * 16, born=here.born - earlier))
    clock = iter(range(9))
    with Leases(tmp_path, stale_after=0.0, clock=lambda: next(clock)) as one:
        assert not one.take(ID)  # its signs of life are waited for
        assert one.take(ID)
    assert here.alive()


def test_a_process_is_as_old_as_it_is_at_whatever_time_of_day(monkeypatch):
    born = process_born(os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda self: 0.0)  # of a clock that was set
    assert process_born(os.getpid()) == born


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
NEARLY = st.fixed_dictionaries({name: LEAVES | st.just(value) for name, value in dataclasses.asdict(FAR).items()})


@settings(max_examples=40)
@given(text=st.text() | st.lists(LEAVES).map(json.dumps) | NEARLY.map(json.dumps))
def test_whatever_a_claim_holds_it_is_somebodys_until_it_is_stale(text):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / FOLDER
        folder.mkdir()
        (folder / ID).write_bytes(text.encode("utf-8", "surrogatepass"))
        clock = iter(range(9))
        with Leases(Path(name), stale_after=0.0, clock=lambda: next(clock)) as one:
            assert one.take(ID) or one.take(ID)


def test_a_folder_that_takes_no_claims_gets_a_sentence(tmp_path):
    (tmp_path / FOLDER).write_text("")
    with Leases(tmp_path) as one, pytest.raises(StoreError, match=r"cannot write a lease on run .*; a file stands"):
        one.take(ID)


def planned(method: str, **options: object) -> list[str]:
    return [run.id for run in plan(RunOptions([method], ["digits"], **options)).runs]


def test_ctrl_c_ends_the_wait_and_what_was_free_is_done(tmp_path, monkeypatch):
    ids = planned(f"{RIDGE}[ridge=[1,2]]")
    with Leases(tmp_path) as other:
        assert other.take(ids[0])
        monkeypatch.setattr("zslbench.runner.coordination.time.sleep", interrupt)
        outcome = zslbench.run(f"{RIDGE}[ridge=[1,2]]", "digits", runs=tmp_path)
        assert outcome.interrupted
        assert {record.id for record in outcome.records} >= set(ids[2:])
        assert ids[0] not in {record.id for record in outcome.records}
        outcome = zslbench.run(f"{RIDGE}[ridge=[1,2]]", "digits", runs=tmp_path)
        assert outcome.interrupted
        assert {record.id for record in outcome.records} == set(ids[1:])


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ends", ["with a record", "without a record", "by dying"])
def test_runs_of_another_are_waited_for(tmp_path, monkeypatch, ends):
    (tmp_path / "other").mkdir()
    (done,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path / "other").records
    done = dataclasses.replace(done, timings={"total": 7.0})  # as no run of this process is recorded
    store, runs = ResultStore(tmp_path / "runs"), tmp_path / "runs"
    with Leases(runs) as other:
        other.take(done.id)

        def meanwhile(_: float) -> None:
            if ends == "with a record":
                store.save(done)
            if ends == "by dying":
                (runs / FOLDER / done.id).write_text(json.dumps(dataclasses.asdict(dead())))
            else:
                other.release([done.id])

        monkeypatch.setattr("zslbench.runner.coordination.time.sleep", meanwhile)
        outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    assert [record.id for record in outcome.records] == [done.id]
    assert outcome.records[0].ok
    assert (outcome.records[0].timings == done.timings) == (ends == "with a record")


def test_runs_of_one_fit_that_become_free_between_two_looks_are_done_by_one_fit(tmp_path, monkeypatch):
    take, looks, fits = Leases.take, [], []
    with Leases(tmp_path) as other:
        ids = planned(RIDGE)
        assert all(map(other.take, ids))

        def look(leases: Leases, id: str) -> bool:
            looks.append(id)
            if len(looks) == 3:  # the first run was looked at and found to be held, twice
                other.release(ids)
            return take(leases, id)

        monkeypatch.setattr(Leases, "take", look)
        monkeypatch.setattr("toy_methods.Ridge.hook", fits.append)
        outcome = zslbench.run(RIDGE, "digits", runs=tmp_path)
    assert looks[0] == looks[1] != looks[2]
    assert [record.ok for record in outcome.records] == [True, True]
    assert len(fits) == 1


def test_what_another_took_over_while_this_process_stood_still_is_not_overwritten(tmp_path, monkeypatch):
    """Another coordinator takes the claim and is done with it while this one fits."""
    runs = tmp_path / "runs"
    (before,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path / "other").records
    theirs = dataclasses.replace(before, timings={"total": 7.0})

    def sleep(_: object) -> None:
        (runs / FOLDER / before.id).unlink()
        with Leases(runs) as other:
            assert other.take(before.id)
            ResultStore(runs).save(theirs)

    monkeypatch.setattr("toy_methods.Ridge.hook", sleep)
    assert zslbench.run(RIDGE, "digits", "zsl", runs=runs).records == (theirs,)
    assert ResultStore(runs).load() == [theirs]


def test_a_claim_that_vanished_is_made_again_and_one_that_others_have_is_waited_for(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    others = Leases(runs)
    waits: list[float] = []

    def sleep(_: object) -> None:
        shutil.rmtree(runs / FOLDER)
        if not waits:
            assert others.take(planned(RIDGE, protocols=["zsl"])[0])

    def wait(seconds: float) -> None:
        waits.append(seconds)
        others.__exit__()

    monkeypatch.setattr("toy_methods.Ridge.hook", sleep)
    monkeypatch.setattr("zslbench.runner.coordination.time.sleep", wait)
    (found,) = zslbench.run(RIDGE, "digits", "zsl", runs=runs).records
    assert found.ok  # done a second time, as the other gave up its claim without a record
    assert len(waits) == 1
    assert ResultStore(runs).load() == [found]


def test_a_repeat_that_another_has_done_meanwhile_is_not_done_once_more(tmp_path, monkeypatch):
    (before,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path).records
    monkeypatch.setattr("toy_methods.Ridge.fits", fits := [])
    again = dataclasses.replace(before, timings={"total": 7.0})
    with Leases(tmp_path) as other:
        other.take(before.id)

        def finish(_: float) -> None:
            ResultStore(tmp_path).save(again)
            other.release([before.id])

        monkeypatch.setattr("zslbench.runner.coordination.time.sleep", finish)
        outcome = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path, rerun="all")
    assert outcome.records == (again,)
    assert fits == []
    zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path, rerun="all")
    assert fits == [0]


def test_points_of_a_grid_that_another_does_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("toy_methods.Grid.shared", shared := [])
    grid = "toy_methods:Grid[ridge=[1,2,3]]"
    first, *_ = planned(grid, protocols=["zsl"])
    with Leases(tmp_path) as other:
        other.take(first)
        monkeypatch.setattr("zslbench.runner.coordination.time.sleep", lambda _: other.release([first]))
        outcome = zslbench.run(grid, "digits", "zsl", runs=tmp_path)
    assert shared == [[2.0, 3.0]]
    assert [record.ok for record in outcome.records] == [True] * 3


def test_a_record_cut_in_half_is_done_again_and_told(tmp_path):
    (before,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path).records
    path = ResultStore(tmp_path).path(before)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path)
    assert outcome.records[0].metrics == before.metrics
    (told,) = outcome.remarks
    assert told.startswith(f"{path} is not a zslbench record")
    assert told.endswith("Its run counts as not done.")
