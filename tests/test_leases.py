"""Leases: of several coordinators on one folder, one does each run; a dead one's runs are taken over."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from faults import output_of, until
from hypothesis import given, settings
from hypothesis import strategies as st
from live_files import GONE

import zslbench
from zslbench.errors import StoreError
from zslbench.identity import process_born
from zslbench.results.records.leases import FOLDER, HOLDER, Holder, Leases
from zslbench.results.records.store import ResultStore
from zslbench.runner.plan import RunOptions, plan

ID = "0123456789abcdef"
RIDGE, HELD = "toy_methods:Ridge", "fault_methods:Noted[fault=hold]"
FAR = dataclasses.replace(Holder.here(), token="f" * 16, host="far", machine="0" * 16)


@pytest.fixture
def hold(study):
    """A file: fits that began end once it is removed."""
    (study.folder / "hold").touch()
    return study.folder / "hold"


@pytest.fixture
def on_wait(monkeypatch):
    """Have something called in place of each wait for another coordinator."""
    return lambda act: monkeypatch.setattr("time.sleep", act)


def test_two_coordinators_started_at_once_do_every_run_once(study, hold):
    both = {process.pid: process for process in (study.start("-m", HELD, "--seeds", "8") for _ in range(2))}
    until(lambda: {pid for _, pid in study.begun()} == both.keys(), "one did not begin")
    hold.unlink()
    outputs = [output_of(process) for process in both.values()]
    assert [process.returncode for process in both.values()] == [0, 0], outputs
    assert study.times() == {f"hold {seed}": 1 for seed in range(8)}
    assert all("8 of 8 runs are done, 0 failed" in output for output in outputs)
    assert len(study.records()) == 8
    assert not (study.runs / FOLDER).exists()


def test_the_runs_of_a_killed_coordinator_are_taken_over(study, hold):
    doomed = study.start("-m", HELD)
    until(study.begun, "it did not begin")
    other = study.start("-m", HELD)
    waits = next(line for line in other.stdout if "another zslbench process" in line)
    assert waits.startswith(f"1 run is being done by another zslbench process (process {doomed.pid} on ")
    doomed.kill()
    until(lambda: ("hold 0", other.pid) in study.begun(), "it was not taken over")
    hold.unlink()
    output = output_of(other)
    assert other.returncode == 0, output
    assert "1 of 1 run is done" in output
    assert study.begun() == [("hold 0", doomed.pid), ("hold 0", other.pid)]
    assert len(study.records()) == 1
    assert not (study.runs / FOLDER).exists()  # nothing of the dead one is left
    doomed.communicate()


def claim(root: Path, holder: Holder, id: str = ID) -> Path:
    """Write a claim as another coordinator has it; return the file that it renews."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in (id, f"{holder.token}{HOLDER}"):
        (folder / name).write_text(json.dumps(dataclasses.asdict(holder)))
    return folder / name


def dead() -> Holder:
    """Return a holder whose process has ended."""
    return dataclasses.replace(Holder.here(), pid=GONE)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("before", ["free", "held by a dead process"])
def test_of_many_that_ask_at_once_one_gets_the_claim(tmp_path, monkeypatch, links, before):
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(1, "Operation not permitted")))
    many = [Leases(tmp_path) for _ in range(6)]
    start = threading.Barrier(len(many))
    ids, gone = [f"{number:016x}" for number in range(20)], dead()

    def ask(leases: Leases) -> None:
        for run in ids:
            start.wait()
            leases.take(run)

    for run in ids if before != "free" else ():
        claim(tmp_path, gone, run)
    with ThreadPoolExecutor(len(many)) as pool:
        list(pool.map(ask, many))
    assert sorted(run for leases in many for run in leases.mine) == ids
    for leases in many:
        leases.__exit__()
    assert not (tmp_path / FOLDER).exists()


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
    renewed, moments = claim(tmp_path, FAR), iter([0, 99, 198, 297, 299])
    with Leases(tmp_path, stale_after=100, clock=lambda: next(moments)) as leases:
        assert not leases.take(ID)  # however old its time of change: the clocks of two machines are not compared
        os.utime(renewed, (1e9, 1e9))
        assert not leases.take(ID)
        os.utime(renewed, (1e9 - 5, 1e9 - 5))  # any change is a sign of life, even back in time
        assert not leases.take(ID)
        assert not leases.take(ID)
        assert leases.take(ID)


def test_signs_of_life_are_given(tmp_path):
    with Leases(tmp_path, beat=0.01) as leases:
        leases.take(ID)
        os.utime(tmp_path / FOLDER / ID, (1e9, 1e9))  # a link of the holder's file
        until(lambda: (tmp_path / FOLDER / ID).stat().st_mtime != 1e9, "no sign of life")


@pytest.mark.parametrize("earlier", [1e4, 0.5], ids=["long ago", "a container that was started again"])
def test_a_process_that_has_the_number_of_a_dead_one_does_not_hold_its_claim_for_ever(tmp_path, earlier):
    if earlier < 1 and sys.platform != "linux":
        pytest.skip("processes have exact births on Linux alone")
    here = Holder.here()
    claim(tmp_path, dataclasses.replace(here, token="e" * 16, born=here.born - earlier))
    with Leases(tmp_path, stale_after=0.0, clock=itertools.count().__next__) as leases:
        assert not leases.take(ID)  # its signs of life are waited for
        assert leases.take(ID)
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
        with Leases(Path(name), stale_after=0.0, clock=itertools.count().__next__) as leases:
            assert leases.take(ID) or leases.take(ID)


def test_a_folder_that_takes_no_claims_gets_a_sentence(tmp_path):
    (tmp_path / FOLDER).write_text("")
    with Leases(tmp_path) as leases, pytest.raises(StoreError, match=r"cannot write a lease on run .*; a file stands"):
        leases.take(ID)


def planned(method: str, **options: object) -> list[str]:
    return [run.id for run in plan(RunOptions([method], ["digits"], **options)).runs]


def test_ctrl_c_ends_the_wait_and_what_was_free_is_done(tmp_path, on_wait):
    two = f"{RIDGE}[ridge=[1,2]]"
    first, *others = planned(two)
    on_wait(Mock(side_effect=KeyboardInterrupt))
    with Leases(tmp_path) as other:
        assert other.take(first)
        outcomes = [zslbench.run(two, "digits", runs=tmp_path) for _ in range(2)]
    assert all(outcome.interrupted for outcome in outcomes)
    done = [{record.id for record in outcome.records} for outcome in outcomes]
    assert {*others[1:]} <= done[0] <= done[1] == {*others}


@pytest.fixture
def done(tmp_path):
    """A record as another coordinator makes it: no run of this process takes as long."""
    (record,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path / "other").records
    return dataclasses.replace(record, timings={"total": 7.0})


@pytest.mark.parametrize("ends", ["with a record", "without a record", "by dying"])
def test_runs_of_another_are_waited_for(runs, done, on_wait, ends):
    with Leases(runs) as other:
        other.take(done.id)

        def meanwhile(_: float) -> None:
            if ends == "with a record":
                ResultStore(runs).save(done)
            if ends == "by dying":
                (runs / FOLDER / done.id).write_text(json.dumps(dataclasses.asdict(dead())))
            else:
                other.release([done.id])

        on_wait(meanwhile)
        (record,) = zslbench.run(RIDGE, "digits", "zsl", runs=runs).records
    assert (record.id, record.ok) == (done.id, True)
    assert (record.timings == done.timings) == (ends == "with a record")


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


def test_what_another_took_over_while_this_process_stood_still_is_not_overwritten(runs, done, monkeypatch):
    """Another coordinator takes the claim and is done with it while this one fits."""

    def sleep(_: object) -> None:
        (runs / FOLDER / done.id).unlink()
        with Leases(runs) as other:
            assert other.take(done.id)
            ResultStore(runs).save(done)

    monkeypatch.setattr("toy_methods.Ridge.hook", sleep)
    assert zslbench.run(RIDGE, "digits", "zsl", runs=runs).records == (done,)
    assert ResultStore(runs).load() == [done]


def test_a_claim_that_vanished_is_made_again_and_one_that_others_have_is_waited_for(runs, monkeypatch, on_wait):
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
    on_wait(wait)
    (record,) = zslbench.run(RIDGE, "digits", "zsl", runs=runs).records
    assert record.ok  # done a second time, as the other gave up its claim without a record
    assert len(waits) == 1
    assert ResultStore(runs).load() == [record]


def test_a_repeat_that_another_has_done_meanwhile_is_not_done_once_more(runs, done, monkeypatch, on_wait):
    zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    monkeypatch.setattr("toy_methods.Ridge.fits", fits := [])
    with Leases(runs) as other:
        other.take(done.id)

        def finish(_: float) -> None:
            ResultStore(runs).save(done)
            other.release([done.id])

        on_wait(finish)
        assert zslbench.run(RIDGE, "digits", "zsl", runs=runs, rerun="all").records == (done,)
    assert fits == []
    zslbench.run(RIDGE, "digits", "zsl", runs=runs, rerun="all")
    assert fits == [0]


def test_points_of_a_grid_that_another_does_are_left_out(tmp_path, monkeypatch, on_wait):
    monkeypatch.setattr("toy_methods.Grid.shared", shared := [])
    grid = "toy_methods:Grid[ridge=[1,2,3]]"
    first, *_ = planned(grid, protocols=["zsl"])
    with Leases(tmp_path) as other:
        other.take(first)
        on_wait(lambda _: other.release([first]))
        outcome = zslbench.run(grid, "digits", "zsl", runs=tmp_path)
    assert shared == [[2.0, 3.0]]
    assert [record.ok for record in outcome.records] == [True] * 3


def test_a_record_cut_in_half_is_done_again_and_told(tmp_path):
    (before,) = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path).records
    path = ResultStore(tmp_path).path(before)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path)
    assert outcome.records[0].metrics == before.metrics
    (remark,) = outcome.remarks
    assert remark.startswith(f"{path} is not a zslbench record")
    assert remark.endswith("Its run counts as not done.")
