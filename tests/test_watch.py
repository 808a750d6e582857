"""Watching: what is read while others write, whether they live, how long it takes, and what a screen shows of it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import random
import re
import select
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from faults import output_of, until
from live_files import GONE, fit, holder, put, study
from result_records import check_golden, record
from rich.console import Console
from test_hostile_records import damaged

import zslbench
from zslbench.errors import StoreError, UnknownName
from zslbench.results.records import live_studies as live_module
from zslbench.results.records import watch as module
from zslbench.results.records.live_studies import (
    BEAT,
    SILENT,
    FitGroup,
    LiveFolder,
    StudyProgress,
    live_folder,
    merge_plans,
)
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.records.watch import BAD, KEYS, SETTLED, Snapshot, Watcher, draw_screen, render_text

LABEL = "lisgan@S3[hidden=64,lr=0.001,epochs=80]"
OF_LISGAN = {"method": "lisgan", "dataset": "digits", "stage": "final"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def save(runs: Path, *records: Record, time: float | None = None) -> None:
    for kept in records:
        path = ResultStore(runs).save(kept)
        if time is not None:
            os.utime(path, (time, time))


def some_records(runs: Path) -> None:
    metrics = {"U": 0.581, "S": 0.609, "H": 0.5947, "AUSUC": 0.531}
    error = (
        "Traceback (most recent call last):\n  File\nRuntimeError: the critic's loss is not finite at epoch 12 of 80\n"
    )
    save(runs, record("sae", "cub", "zsl", metrics={"T1": 0.401}), time=1.0)
    save(runs, record("sae", "digits", "zsl", metrics={"T1": 0.6618}), time=2.0)
    for seed in (1, 2):
        save(runs, record("lisgan", "digits", "zsl", seed, {"T1": 0.54}, label=LABEL), time=3.0 + seed)
        save(runs, record("lisgan", "digits", "gzsl", seed, metrics, label=LABEL), time=3.0 + seed)
    for protocol in ("zsl", "gzsl"):
        save(runs, record("lisgan", "digits", protocol, 3, label=LABEL, status="failed", error=error), time=6.0)


def drawn(shot: Snapshot, width: int, height: int | None) -> list[str]:
    """Return the lines of a screen."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(draw_screen(shot, width, height, KEYS))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_document_is_read_back_as_it_was():
    plain = study(running=(fit(), fit(1, step=0, total=0, values={"loss": 1e30})))
    assert StudyProgress.from_json(plain.to_json().encode()) == plain
    odd = StudyProgress.from_json(study(running=(fit(values={"loss": float("inf")}),)).to_json().encode())
    assert odd.running[0].values["loss"] is None
    with pytest.raises(StoreError, match="schema 2"):
        StudyProgress.from_json(study(schema=2).to_json().encode(), "x.json")


def test_whatever_stands_in_the_folder_it_is_shown_or_left_out(tmp_path):
    draw, document = random.Random(0), json.loads(study().to_json())
    for number in range(100):
        root = tmp_path / str(number)
        content = draw.randbytes(20) if number % 9 == 0 else json.dumps(damaged(document, draw)).encode()
        put(root, study()).with_name("any.json").write_bytes(content)
        shot = Watcher(root).look()
        assert shot.seen
        assert json.loads(shot.to_json())["state"] == "running"
        width = draw.randint(1, 200)
        lines = drawn(shot, width, draw.choice([None, draw.randint(1, 50)]))
        assert all(len(line) <= width for line in lines)
        shown = "".join(lines)
        assert not {unicodedata.category(sign) for sign in shown} & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Cf"}


def test_folders_and_large_files_that_are_named_so_are_left_out(runs):
    put(runs, study())
    (live_folder(runs) / "a.json").mkdir()
    (live_folder(runs) / "b.json").write_text(study().to_json() + " " * 2**21)
    assert [seen.path.name for seen in LiveFolder(runs).read()] == ["node-1-1-aa.json"]


def test_a_file_is_read_only_when_it_has_changed(runs, monkeypatch):
    path, live = put(runs, study()), LiveFolder(runs)
    reads, read = [], live_module.read_regular
    monkeypatch.setattr(live_module, "read_regular", lambda path: reads.append(path) or read(path))
    for _ in range(3):
        assert live.read()[0].study.beat == 200
    put(runs, study(beat=2010))
    assert live.read()[0].study.beat == 2010
    assert reads == [path, path]
    path.unlink()
    assert live.read() == []


def test_a_process_of_this_machine_is_lost_when_it_is_gone(runs):
    clock = Clock()
    live = LiveFolder(runs, clock)
    put(runs, study(), "here")
    put(runs, study(holder=holder(pid=GONE)), "gone")
    put(runs, study(holder=holder(born=1.0)), "number-reused")
    for reused in ("running", "lost"):
        states = {seen.path.stem: seen.state for seen in live.read()}
        assert states == {"here": "running", "gone": "lost", "number-reused": reused}
        clock.now += SILENT + 1


@pytest.mark.parametrize("skew", [0.0, -86400.0, 86400.0], ids=["same clock", "a day behind", "a day ahead"])
def test_another_machine_lives_as_long_as_its_file_changes(runs, skew):
    clock, today = Clock(), Clock()
    live = LiveFolder(runs, clock, today)

    def beat(number):
        path = put(runs, study(holder=holder(machine="elsewhere", pid=GONE), beat=number))
        os.utime(path, (today() + skew + number, today() + skew + number))

    beat(0)
    first = live.read()[0].state
    assert first == ("running" if not skew else "lost")
    assert live.read()[0].undecided == bool(skew)
    for number in range(1, 4):
        clock.now += BEAT
        beat(number)
        assert live.read()[0].state == "running"
        assert not live.read()[0].undecided
    clock.now += SILENT + 1
    assert live.read()[0].state == "lost"
    beat(9)
    assert live.read()[0].state == "running"


def test_an_old_file_of_another_machine_is_decided_after_two_beats(runs):
    clock, today = Clock(), Clock()
    os.utime(put(runs, study(holder=holder(machine="elsewhere"))), (1.0, 1.0))
    today.now = 5000.0
    live = LiveFolder(runs, clock, today)
    assert live.read()[0].state == "lost"
    assert live.read()[0].undecided
    clock.now += 2 * BEAT
    assert not live.read()[0].undecided


def group(total: int, ended: int = 0, seconds: float = 0.0, **facts: float) -> FitGroup:
    return FitGroup(total=total, ended=ended, seconds=seconds, **OF_LISGAN, **facts)


def test_the_time_left_of_a_fit_is_told_by_its_steps():
    assert fit().seconds_left() == pytest.approx(119)  # 40 s for 20 of 80 steps: 160 - 41
    assert fit().seconds_left(since=9.0) == pytest.approx(110)
    assert fit(step=0).seconds_left() is None
    assert fit(training_began=30.0).seconds_left() == pytest.approx(30 + 10 * 4 - 41)  # 10 s for 20 of 80 steps


@pytest.mark.parametrize(
    ("step", "left"), [(0, 3600 - 41), (1, 3280 - 41), (5, 2000 - 41), (10, 400 - 41), (20, 400 - 41)]
)
def test_the_time_left_goes_from_the_forecast_to_what_the_steps_tell(step, left):
    # 200 steps of 2 s take 400 s; after a tenth, a half and the whole of their first twentieth, so much of it counts
    paced = fit(step=step, total=200, seconds=41.0, step_seconds=2.0 * step, forecast=3600.0)
    assert paced.seconds_left() == pytest.approx(left)


SAE = FitGroup(method="sae", dataset="digits", stage="final", total=3)


@pytest.mark.parametrize(
    ("groups", "running", "seconds"),
    [
        # lisgan: 198 s / 2 = 99 s a fit, one runs and one waits; sae: 1 s a fit, one waits
        (study().groups, (fit(),), 119 + 99 + 1),
        ([group(8)], (), None),
        ([group(8)], (fit(step=0),), None),
        ([group(8)], (fit(),), 119 + 7 * 160),  # as long as the one that runs needs
        ([group(8)], (fit(), fit(1)), (2 * 119 + 6 * 160) / 2),
        ([group(8)], (fit(company=8),), 119),
        ([group(8), SAE], (fit(company=8),), 119 + 3 * 20),
        ([group(12, 2, 200.0, elsewhere=6)], (), 4 * 100),  # what others did who have left
        ([group(8, forecast=70.0)], (), 8 * 70),
        ([group(8, forecast=70.0)], (fit(step=0),), 8 * 70 - 41),
        ([group(8, forecast=70.0)], (fit(),), 119 + 7 * 160),  # what was seen counts more than what was expected
        ([group(8, 1, 20.0, forecast=70.0)], (), 7 * 20),
        ([group(8, forecast=70.0), SAE], (), 11 * 70),
        ([group(9, 8, 8.0)], (fit(),), 119),  # the last fit is waited for
        ([group(9, 8, 8.0)], (fit(step=0, seconds=0.25),), 0.75),
        ([group(9, 8, 8.0)], (fit(step=0, seconds=5.0),), 0),
    ],
)
def test_the_time_left_of_a_study_is_that_of_fits_like_those_that_ended(groups, running, seconds):
    left = study(groups=tuple(groups), running=running).seconds_left()
    assert left == (None if seconds is None else pytest.approx(seconds))


def test_coordinators_of_one_plan_share_its_fits(runs):
    first = study(plan="p", done=4, failed=0, groups=(group(12, 4, 400.0, elsewhere=1),), running=(fit(),))
    second = study(plan="p", done=3, failed=0, groups=(group(10, 3, 240.0),), running=(fit(1),))
    put(runs, first, "a")
    put(runs, second, "b")
    put(runs, study(plan="q", done=1, groups=(group(2, 1, 9.0),), running=()), "c")
    studies = {seen.study.plan: seen.study for seen in merge_plans(LiveFolder(runs).read())}
    assert studies.keys() == {"p", "q"}
    both = studies["p"]
    assert (both.total, both.done, both.elsewhere, len(both.running)) == (12, 7, 0, 2)
    # 640 s / 7 a fit; 12 - 7 - 2 are to go, 119 s are left of each of the two that run
    assert both.seconds_left() == pytest.approx((2 * 119 + 3 * 640 / 7) / 2)
    text = zslbench.watch(runs).text
    assert "8 of 14 fits done, 1 failed, 2 running, 3 to go" in text


def test_commands_are_quoted_and_copies_are_no_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ResultStore("my runs").save(record())
    path.with_name(f"{path.stem} (1).json").write_bytes(path.read_bytes())  # as a synchroniser does
    text = zslbench.watch("my runs", width=300).text
    assert "1 record of 1 method" in text
    assert "`zslbench table --runs 'my runs'`" in text
    assert f"1 file or folder was left out: {path.with_name(f'{path.stem} (1).json')} is not" in text
    assert "`zslbench run -m eszsl -d digits --runs 'no runs'`" in zslbench.watch("no runs", width=300).text


def test_records_are_read_once_and_changes_are_seen(runs, monkeypatch):
    clock, reads, read = Clock(), [], module.read_record
    monkeypatch.setattr(module, "read_record", lambda path: reads.append(path) or read(path))
    watcher = Watcher(runs, clock)
    assert watcher.look().records == ()
    some_records(runs)
    assert len(watcher.look().records) == 8
    assert len(reads) == 8
    for _ in range(3):
        clock.now += SETTLED + 1
        assert len(watcher.look().records) == 8
    assert len(reads) == 8
    again = record("sae", "cub", "zsl", status="failed", error="E: no\n")
    save(runs, again, time=9.0)
    assert watcher.look().records[-1].error == "E: no"
    assert len(reads) == 9
    ResultStore(runs).path(again).unlink()
    assert len(watcher.look().records) == 7
    assert len(reads) == 9


def test_a_folder_that_changes_within_one_tick_of_its_clock_is_listed_again(runs):
    clock, first, second = Clock(), record(seed=0), record(seed=1)
    watcher = Watcher(runs, clock)
    save(runs, first)
    folder = ResultStore(runs).path(first).parent
    os.utime(folder, (50.0, 50.0))
    assert len(watcher.look().records) == 1
    save(runs, second)
    os.utime(folder, (50.0, 50.0))
    assert len(watcher.look().records) == 2


def snapshot(runs: Path):
    some_records(runs)
    put(
        runs,
        study(running=(fit(), fit(4, step=0, total=0, values={}, seconds=3.2, company=3, phase="pretrain 7/50"))),
        "a",
    )
    put(runs, study(holder=holder(host="node-2", pid=GONE), command="zslbench run -m sae -d digits", running=()), "b")
    shot = Watcher(runs, Clock()).look()
    replace, seen = dataclasses.replace, []
    for pid, item in enumerate(shot.seen, 411):
        seen.append(replace(item, study=replace(item.study, holder=replace(item.study.holder, pid=pid))))
    return replace(shot, root=Path("runs"), seen=tuple(seen))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 12)])
def test_screens(runs, width, height):
    shot = snapshot(runs)
    lines = drawn(shot, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    check_golden(f"watch_{width}x{height}.txt", "\n".join(lines) + "\n")


def test_the_text_is_the_whole_of_it(runs):
    check_golden("watch.txt", render_text(snapshot(runs), 120))


def test_the_document_tells_of_what_is_lost_or_unknown(runs):
    first, second = json.loads(snapshot(runs).to_json())["studies"]  # what the golden file of `watch` has not
    assert [fit["seconds_left"] for fit in first["running"]] == [119, None]
    assert (second["state"], second["seconds_left"]) == ("lost", None)


def test_a_search_says_that_more_may_come(runs):
    put(runs, study(growing=True))
    text = zslbench.watch(runs).text
    assert "2 fits done, 1 failed, 1 running, more to come" in text
    assert "left" not in text.splitlines()[0]


def test_where_nothing_runs_it_says_what_there_is_and_what_to_type(typed, runs):
    nothing = "nothing runs\nno records in runs; make some, for instance with `zslbench run -m eszsl -d digits`\n"
    assert typed("watch")[:2] == (0, nothing)
    some_records(runs)
    code, out, _ = typed("watch", "--once")
    assert code == 0
    assert "8 records (2 failed) of 2 methods on 2 data sets in runs; see them with `zslbench table`" in out
    assert json.loads(typed("watch", "--format", "json")[1])["state"] == "idle"
    put(runs, study(holder=holder(pid=GONE)))
    assert "nothing runs; what was lost was killed" in typed("watch")[1]


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--runs", "file", "file is a file, not a folder of runs"),
        ("--interval", "0", "interval 0 is not allowed; choose seconds from 0.1 to 3600."),
        ("--interval", "nan", "interval nan is not allowed"),
    ],
)
def test_bad_input_is_one_sentence(typed, option, value, sentence):
    Path("file").write_text("")
    code, out, err = typed("watch", option, value)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    with pytest.raises(UnknownName):
        zslbench.watch(format="csv")


def view(runs, wait, **options):
    """Return what a terminal gets to see of a view, and the last snapshot."""
    size = {"width": 80, "height": 24}
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False, **size)
    shot = zslbench.watch(runs, console=console, wait=wait, **options)
    return console.file.getvalue(), shot


def test_a_view_follows_and_ends_by_itself(runs):
    path = put(runs, study())
    steps = iter([lambda: put(runs, study(running=(fit(step=77),))), lambda: save(runs, record()), path.unlink])

    def wait(seconds):
        assert seconds == 0.5
        next(steps)()
        return False

    seen, shot = view(runs, wait, interval=0.5)
    assert seen.index("20/80") < seen.index("77/80") < seen.index("T1 50.0") < seen.index("nothing runs")
    assert shot.text.startswith("nothing runs\n1 record of 1 method")
    assert next(steps, None) is None


def test_a_view_that_follows_ends_when_it_is_told_to(runs):
    waits = iter([False, False, True])
    seen, shot = view(runs, lambda seconds: next(waits), follow=True)
    assert next(waits, None) is None
    assert "nothing runs" in seen
    assert shot.seen == ()


@pytest.mark.parametrize("end", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_on_a_real_terminal(runs, end):
    put(runs, study())
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    program = (
        "import os; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR)); from zslbench.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "watch", "--runs", str(runs)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as viewer:
        os.close(theirs)
        text, sent, until = b"", False, time.monotonic() + 60
        while time.monotonic() < until:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                text += os.read(ours, 65536)
            except OSError:
                break  # they have closed it
            if b"20/80" in text and not sent:
                sent = bool(os.write(ours, end))
        viewer.kill()
    os.close(ours)
    assert viewer.returncode == 0
    assert b"Traceback" not in text
    assert text.rindex(b"\x1b[?1049l") < text.rindex(b"20/80")  # the last snapshot stays on the usual screen


def test_real_studies_are_watched_from_another_process_lost_when_killed_and_made_good(study, monkeypatch):
    plain, broken, runs = "toy_methods:UntilTold", "toy_methods:Broken", study.runs
    three = ("-m", "eszsl", "-m", plain, "-m", broken)
    stop = study.folder / "stop"
    monkeypatch.setenv("ZSLBENCH_TEST_STOP", str(stop))

    def look() -> dict[int, dict[str, Any]]:
        studies = json.loads(zslbench.watch(runs, format="json").text)["studies"]
        return {item["holder"]["pid"]: item for item in studies}

    first, second = study.start(*three), study.start("-m", f"{plain}[ridge=3]")
    until(lambda: [fit["step"] for item in look().values() for fit in item["running"]] == [1, 1], "no two fits run")
    text, studies = zslbench.watch(runs).text, look()
    first.kill()
    first.communicate()
    assert {pid: item["state"] for pid, item in look().items()} == {first.pid: "lost", second.pid: "running"}
    stop.touch()
    output_of(second)
    assert second.returncode == 0
    of_first = studies[first.pid]
    (job,) = of_first["running"]
    assert (job["label"], job["dataset"], job["protocols"], job["total"]) == (plain, "synthetic", ["gzsl"], 2)
    assert job["values"] == {"loss": 0.5}
    assert of_first["seconds_left"] >= job["seconds_left"] >= 0
    assert (of_first["total"], of_first["done"], of_first["failed"]) == (3, 1, 0)
    assert of_first["command"].startswith("zslbench run -d synthetic -p gzsl --runs ")
    assert [job["label"] for job in studies[second.pid]["running"]] == [f"{plain}[ridge=3]"]
    assert all(part in text for part in ("1 of 4 fits done, 2 running, 1 to go", "1/2", "loss 0.5"))
    again = study.start(*three)
    output_of(again)
    assert again.returncode == 1  # Broken fails
    assert not live_folder(runs).exists()
    shot = zslbench.watch(runs)
    (ended,) = shot.find_ended(BAD, 9)
    assert ended.label == broken
    assert re.fullmatch(r"RuntimeError: no convergence \(toy_methods\.py:\d+, in fit\)", ended.error)
    assert "RuntimeError: no convergence" in shot.text
    assert shot.counts()[plain]["synthetic"] == {"ok": 2}
