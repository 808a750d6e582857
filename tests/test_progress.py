"""Progress: what methods report while they train and score, and what the screen says of it."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

import pytest
from live_files import fit, study
from result_records import record
from rich.console import Console

import zslbench
from zslbench.commands import screen as screens
from zslbench.methods.base import Context
from zslbench.results.records.live_studies import FitGroup
from zslbench.runner import execute
from zslbench.runner import progress_display as progress
from zslbench.runner.executors import Listener
from zslbench.runner.jobs import group_into_batches
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.run_records import RunResult
from zslbench.step_reports import hear_progress, report_progress
from zslbench.studies.search import BestSoFar

GAN = "fclswgan[hidden=16,noise=2,epochs=2,batch=256,critic_steps=1,pretrain_epochs=3,per_class=5,final_epochs=4]"


class Heard(Listener):
    def __init__(self) -> None:
        self.reports: list[tuple[str, int, int]] = []

    def advanced(self, job: Any, phase: str, step: int, total: int) -> None:
        self.reports.append((phase, step, total))


@pytest.mark.parametrize(
    ("method", "training"),
    [
        (GAN, 2 * 4),
        ("gazsl[hidden=16,iterations=7,batch=64,per_class=5]", 7),
        (
            "rff[hidden=8,latent=8,epochs=2,batch=256,critic_steps=1,pretrain_epochs=1,per_class=5,final_epochs=1]",
            2 * 4,
        ),
        ("tfvaegan[hidden=8,epochs=1,batch=256,critic_steps=1,per_class=5,final_epochs=1]", 2 * 4),
        ("ale[epochs=2,batch=500]", 2 * 3),
        ("centres[hidden=8,iterations=70,final_epochs=1]", 70),
        ("dem[hidden=8,iterations=120]", 120),
        ("cnzsl[hidden=8,epochs=2,batch=500]", 2 * 3),
        ("cadavae[latent=4,epochs=2,batch=500,per_class=5,per_seen_class=5,final_epochs=1]", 2 * 3),
        ("sdgzsl[hidden=8,latent=4,half_code=4,epochs=2,batch=500,per_class=5,final_epochs=1]", 2 * 3),
        ("dcn[hidden=8,iterations=120]", 120),
    ],
)
def test_every_step_of_training_is_reported(runs, monkeypatch, method, training):
    monkeypatch.setattr(execute, "PROGRESS_EVERY", 0.0)
    heard = Heard()
    (done,) = zslbench.run(method, "digits", "zsl", runs=runs, hear=heard).records
    assert done.ok
    steps = [(step, total) for phase, step, total in heard.reports if phase == "training"]
    assert list(dict.fromkeys(steps))[-training:] == [(step, training) for step in range(1, training + 1)]
    phases = list(dict.fromkeys(phase for phase, _, _ in heard.reports))
    assert [*phases[:2], phases[phases.index("training") + 1]] == ["data", "fit", "scoring zsl"]
    if method == GAN:
        assert phases == ["data", "fit", "pretrain", "training", "scoring zsl", "final classifier"]


def test_steps_are_passed_on_now_and_then_and_phases_at_once(runs):
    heard = Heard()
    zslbench.run("ale[epochs=3,batch=1]", "digits", "zsl", runs=runs, hear=heard)
    assert {"data", "fit", "training", "scoring zsl"} <= {phase for phase, _, _ in heard.reports}
    assert len(heard.reports) < 3 * 1000


def test_progress_that_nobody_hears_costs_nothing_and_ends_nothing():
    assert not Context().progress(1, 2)
    with hear_progress(lambda *report: report == ("training", 1, 2)):
        assert Context().progress(1, 2)
        assert not report_progress("souls")
    assert not Context().progress(1, 2)


def result(protocol: str = "zsl", status: str = "ok", error: str = "", **metrics: float) -> RunResult:
    made = record(protocol=protocol, metrics=metrics, **({} if status == "ok" else {"status": status, "error": error}))
    timings = {"total": 10.0, "scores": 1.0, "evaluation": 0.5}
    return RunResult(dataclasses.replace(made, timings=timings))


def test_a_fit_takes_one_line_with_the_metrics_of_all_its_protocols():
    zsl, gzsl = result(T1=0.5), result("gzsl", U=0.25, S=0.75, H=0.375)
    assert progress.result_line([zsl, gzsl]) == "eszsl CUB seed 0: T1 50.0  U 25.0  S 75.0  H 37.5  (11.5 s)"
    assert progress.result_line([zsl, result("other", T1=0.25)]) == (
        "eszsl CUB seed 0: zsl T1 50.0  other T1 25.0  (11.5 s)"
    )
    bad = result("gzsl", "failed", "Traceback\nValueError: no")
    assert progress.result_line([zsl, bad]) == "eszsl CUB seed 0: T1 50.0; failed (gzsl): ValueError: no  (10.0 s)"
    assert progress.result_line([bad, bad]) == "eszsl CUB seed 0: failed: ValueError: no"
    long = result("gzsl", "failed", "Traceback\nValueError: " + "a long reason " * 12)
    assert progress.result_line([long]).endswith(
        "failed: ValueError: a long reason a long reason a long reason a long…"
    )
    assert progress.result_line([result("zsl", "interrupted")]) == "eszsl CUB seed 0: interrupted"


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def plain(count: int | None, **more: Any) -> tuple[Any, Any]:
    """Return what shows progress in a file, and a function that returns the lines since its last call."""
    console = Console(file=io.StringIO(), width=80)

    def lines() -> list[str]:
        text = console.file.getvalue()
        console.file.seek(0)
        console.file.truncate()
        return text.splitlines()

    running = study(
        running=(fit(), fit(1)), groups=(FitGroup(method="lisgan", dataset="digits", stage="final", total=6),)
    )
    with progress.show_progress(console, count, lambda: running, **more) as screen:
        return screen, lines


def test_progress_says_how_many_runs_the_fits_serve(clock):
    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    screen, lines = plain(1, runs=2)
    screen.started(batch.first)
    clock[0] += progress.PLAIN_FIRST
    screen.advanced(batch.first, "training", 1, 9)
    assert lines()[0].startswith("    0/1 fits for 2 runs done, 4 min so far")


def test_plain_output_is_a_line_per_fit_and_one_now_and_then_while_none_ends(clock):
    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    screen, lines = plain(2)
    screen.started(batch.first)
    screen.advanced(batch.first, "training", 1, 9)
    assert lines() == []
    clock[0] += progress.PLAIN_FIRST
    for _ in range(3):
        screen.advanced(batch.first, "training", 2, 9)
    # 119 s are left of each of two, and the other four take 160 s
    assert lines() == [
        "    0/2 fits done, 4 min so far, about 7 min left; lisgan@S3[hidden=64,lr=0.001,epochs=80] digits zsl+gzsl "
        "seed 0: training 20/80 after 41 s; 1 more run"
    ]
    screen.finished(batch.first, [result(T1=0.5)])
    screen.finished(batch.first, [])  # another coordinator did it
    assert lines() == ["[fit 1/2] eszsl digits seed 0: T1 50.0  (10.0 s)"]
    clock[0] += progress.PLAIN_EVERY - 1
    screen.advanced(batch.first, "training", 3, 9)
    assert lines() == []
    clock[0] += 1
    screen.advanced(batch.first, "training", 3, 9)
    assert len(lines()) == 1


def test_with_a_note_there_is_no_line_per_fit(clock):
    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    screen, lines = plain(None, note=lambda: "best so far: T1 50.0")
    screen.finished(batch.first, [result(T1=0.5)])
    assert lines() == []
    clock[0] += progress.PLAIN_EVERY
    screen.finished(batch.first, [result(T1=0.5)])
    assert lines() == ["    3/6 fits done, 4 min so far, about 7 min left; best so far: T1 50.0"]

    screen, lines = plain(None, note=lambda: "", trials=lambda: (7, 30))
    clock[0] += progress.PLAIN_EVERY
    screen.finished(batch.first, [result(T1=0.5)])
    assert lines() == ["    7/30 trials done, 4 min so far, about 7 min left"]


def test_the_best_so_far_is_of_points_judged_in_the_same_folds_which_it_names():
    best = BestSoFar({"zsl": "T1", "gzsl": "H"}, (1, 2))
    assert best.say() == ""

    def point(x: float, fold: int, protocol: str = "zsl", status: str = "ok", **metrics: float) -> RunResult:
        facts = {} if status == "ok" else {"status": status, "error": "no"}
        return RunResult(record(params={"x": x}, protocol=protocol, stage="dev", fold=fold, metrics=metrics, **facts))

    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    for results in (
        [point(1, 1, T1=0.9), point(1, 1, "gzsl", H=0.2, U=0.9)],
        [point(2, 1, T1=0.3)],
    ):
        best.finished(batch.first, results)
    assert best.say() == "best so far on fold 1: T1 90.0  H 20.0"
    for results in (
        [point(2, 2, T1=0.5)],
        [point(2, 2, T1=0.5)],  # told again
        [point(3, 1, status="failed")],
        [point(4, 1, status="skipped")],
        [point(5, 1, T1=1.0)],
    ):
        best.finished(batch.first, results)
    assert best.say() == "best so far: T1 40.0, best so far on fold 1: H 20.0, 1 run failed"


def test_the_best_so_far_never_falls_while_a_grid_is_judged_fold_by_fold():
    best = BestSoFar({"zsl": "T1"}, (1, 2, 3))
    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    highest: dict[str, float] = {}
    for fold, x in [(1, 1), (1, 2), (3, 1), (2, 2), (2, 1), (3, 2), (1, 3), (2, 3), (3, 3)]:
        metrics = {"T1": (x * 37 + fold * 59) % 97 / 100}
        facts = {"params": {"x": x}, "protocol": "zsl", "stage": "dev", "fold": fold, "metrics": metrics}
        best.finished(batch.first, [RunResult(record(**facts))])
        measure, _, value = best.say().rpartition(": T1 ")
        assert float(value) >= highest.get(measure, 0.0)
        highest[measure] = float(value)
    assert measure == "best so far"
    assert {"best so far on fold 1", "best so far on folds 1, 3"} <= set(highest)


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_phase_step_and_times(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, height=20)
    silent = fit(1, step=0, total=0, values={}, phase="pretrain 7/50", seconds=2.0, phase_number=1, phase_count=4)
    running = study(running=(fit(phase_number=2, phase_count=4), silent))
    with progress.show_progress(console, 6, lambda: running) as screen:
        console.file.seek(0)
        console.file.truncate()
        console.print(screen._draw())
        lines = [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "0/6 fits  4 min so far, about " in text
    assert "41 s, 2 min left  phase 2 of 4: training 20/80" in text
    assert "2 s so far        phase 1 of 4: pretrain 7/50" in text


def test_the_bar_of_pictures_writes_times_as_runs_do(monkeypatch):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    monkeypatch.setattr(screens, "progress_console", lambda: console)
    with screens.counted("pictures", quiet=False) as on_batch:
        assert "pictures" not in console.file.getvalue()
        on_batch(1, 4)
    assert console.file.getvalue().find("loading …") < console.file.getvalue().find("pictures")
    assert re.search(r"pictures .*1/4 [0-9]+ s so far", console.file.getvalue())


def test_after_an_interruption_the_bar_stands_where_it_stood():
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, height=20)
    (batch,) = group_into_batches(plan(RunOptions(["eszsl"], ["digits"])).runs)
    studies = [study(running=(fit(phase_number=2, phase_count=4),))]
    with progress.show_progress(console, 6, lambda: studies[-1]) as screen:
        screen.finished(batch.first, [result(T1=0.5)])
        console.print(screen._draw())
        studies.append(study(running=()))  # the live file hears of the end first
        screen.finished(batch.first, [result("zsl", "interrupted")])
        console.file.seek(0)
        console.file.truncate()
    last = console.file.getvalue()
    assert "1/6 fits" in last
    assert "phase 2 of 4: training 20/80" in last
