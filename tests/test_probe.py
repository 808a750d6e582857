"""Probes: what slow fits are said to cost before they begin, that fast ones pay nothing and no result depends on it."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
import slow_toys
from rich.console import Console
from slow_toys import Slow
from spied import NOWHERE

import zslbench
from zslbench.data.loading import load_dataset
from zslbench.methods.fit_cache import clear_cache
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.results.records.store import ResultStore
from zslbench.runner import probe as module
from zslbench.runner import run as run_module
from zslbench.runner.executors import Executor, SerialExecutor
from zslbench.runner.jobs import Job, group_into_batches
from zslbench.runner.plan import RunOptions, plan

SLOW = "slow_toys:Slow"
GAN = "fclswgan[hidden=16,noise=2,epochs=2,batch=256,critic_steps=1,pretrain_epochs=9,per_class=5,final_epochs=4]"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Let time stand still but for what the toy takes, on a CPU that has bf16 and no graphics card beside it."""
    for name, value in (("clock", 0.0), ("taken", {}), ("rows", [])):
        monkeypatch.setattr(NOWHERE, name, value)
    monkeypatch.setattr(module, "devices", lambda: ["cpu"])
    monkeypatch.setattr(module, "list_bf16_instructions", lambda: ["AMX"])
    monkeypatch.setattr(run_module, "forecast", functools.partial(module.forecast, clock=slow_toys.clock))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def job_of(method: str, protocols: tuple[str, ...] = ("zsl", "gzsl")) -> Job:
    return group_into_batches(plan(RunOptions([method], ["digits"], protocols)).runs)[0].first


def test_a_probe_tells_from_a_few_steps_how_long_all_take():
    past, precise = module.probe(job_of(f"{SLOW}[steps=100]"), slow_toys.clock)
    assert (past.fit, past.unshared, precise) == (50 + 200, 20, True)
    assert NOWHERE.clock < 15
    assert NOWHERE.taken == {"prepare": 3, "training": 2, "final classifier": 4}
    past, _ = module.probe(job_of(f"{SLOW}[steps=10000]"), slow_toys.clock)
    assert (past.fit, past.unshared) == (50 + 20_000, 0)  # beside such a fit, scoring counts for little
    assert NOWHERE.taken["final classifier"] == 4


def test_a_fit_shorter_than_a_probe_is_measured_whole():
    past, _ = module.probe(job_of(f"{SLOW}[steps=1,prepared=1]"), slow_toys.clock)
    assert (past.fit, past.unshared) == (3, 20)


def test_a_method_that_goes_on_is_stopped():
    past, _ = module.probe(job_of(f"{SLOW}[steps=300,prepared=0,deaf=true]"), slow_toys.clock)
    assert past.fit == pytest.approx(600, abs=10)
    assert sum(NOWHERE.taken.values()) < 40


def test_a_probe_sees_training_rows_alone():
    module.probe(job_of(f"{SLOW}[steps=100]"), slow_toys.clock)
    dataset = load_dataset("digits")
    training = {row.tobytes() for row in dataset.features[dataset.trainval]}
    assert len(NOWHERE.rows) == 2
    assert all(row.tobytes() in training for rows in NOWHERE.rows for row in np.asarray(rows))


def test_what_a_slow_fit_costs_and_what_would_cost_less_is_announced_before_it(runs, console):
    zslbench.run(SLOW, "digits", seeds=2, runs=runs, console=console)
    lines = text_of(console).splitlines()
    assert lines[:-2] == [
        f"preparing {SLOW} on digits …",
        f"measuring a few steps of {SLOW} on digits, to say how long it takes …",
        "Slow on digits: about 34 min per fit on this CPU, 2 fits: 68 min",
        f"measuring what would take less time than {SLOW} …",
        f"  {SLOW} with --precision bf16: about 10 min per fit",
        f"  {SLOW}@quick: about 3 min per fit",
    ]
    assert [line.startswith("[fit ") for line in lines[-2:]] == [True, True]
    again = Console(file=io.StringIO(), width=80)
    NOWHERE.taken.clear()
    zslbench.run(SLOW, "digits", seeds=3, runs=runs, console=again)  # the records tell, by another clock
    assert NOWHERE.taken == {"prepare": 50, "training": 1000, "final classifier": 4 * 40}
    assert "this CPU" not in text_of(again)


def test_a_preset_that_is_what_runs_is_no_alternative_and_a_short_fit_is_not_announced(runs, console):
    zslbench.run(f"{SLOW}[steps=60,prepared=0]", "digits", "zsl", seeds=6, runs=runs, console=console)
    assert text_of(console).splitlines()[2:5] == [
        "Slow on digits: about 2 min per fit on this CPU, 6 fits: 14 min",
        f"measuring what would take less time than {SLOW} …",
        f"  {SLOW} with --precision bf16: about 50 s per fit",
    ]
    short = Console(file=io.StringIO(), width=80)
    zslbench.run(f"{SLOW}[steps=49,prepared=0]", "digits", "zsl", runs=runs, console=short)
    assert text_of(short).startswith("[fit 1/1]")


def test_a_preset_is_named_as_it_is_typed(runs, console):
    zslbench.run(f"{SLOW}@quick", "digits", "zsl", runs=runs, console=console)
    assert f"{SLOW}@quick on digits: about 2 min on this CPU" in text_of(console).splitlines()
    assert "less time" not in text_of(console), "alternatives to so short a fit are not measured"


def test_several_methods_and_data_sets_have_a_line_each_and_a_sum(runs, console):
    zslbench.run(f"{SLOW}[steps=[100,200],prepared=0]", ["digits", "synthetic"], "zsl", runs=runs, console=console)
    assert text_of(console).splitlines()[2:8] == [
        "Slow on digits: about 5 min per fit on this CPU, 2 fits: 11 min",
        "Slow on synthetic: about 6 min per fit on this CPU, 2 fits: 11 min",  # 220 s and, of twice the work, 440 s
        "in all about 22 min",
        f"measuring what would take less time than {SLOW} …",
        f"  {SLOW} with --precision bf16: about 70 s per fit",
        f"  {SLOW}@quick: about 2 min per fit",
    ]


def test_a_forecast_is_shown_before_alternatives_are_measured(runs, console, monkeypatch):
    shown = []
    real = module.probe
    monkeypatch.setattr(module, "probe", lambda *given: shown.append(text_of(console).splitlines()[-1]) or real(*given))
    zslbench.run(SLOW, "digits", runs=runs, console=console)
    assert [line.split(" on digits")[0].split(" than ")[0] for line in shown] == [
        f"measuring a few steps of {SLOW}",
        "measuring what would take less time",
        f"  {SLOW} with --precision bf16: about 10 min",
    ]


def test_a_dry_run_measures_nothing_and_says_that_a_run_does(runs, console):
    outcome = zslbench.run([SLOW, "eszsl"], "digits", runs=runs, console=console, dry_run=True)
    assert (outcome.estimate.measured, outcome.estimate.unknown) == (0, {SLOW: 2, "eszsl": 2})
    assert f"without --dry-run, a few steps of {SLOW} are measured first" in outcome.text
    assert (text_of(console), NOWHERE.taken) == ("", {})
    assert not list(runs.rglob("*.json"))


def test_the_forecast_is_the_time_left_from_the_first_second(runs, console, monkeypatch):
    seen = []
    real = run_module.keep_live_file
    monkeypatch.setattr(
        run_module, "keep_live_file", lambda *given, **more: seen.append(more["forecast"]) or real(*given, **more)
    )
    zslbench.run([SLOW, "eszsl"], "digits", runs=runs, console=console)
    assert seen == [{(SLOW, "digits", "final"): 2050.0, ("eszsl", "digits", "final"): 0.0}]


@pytest.mark.parametrize("quiet", [False, True])
def test_who_is_fast_or_quiet_pays_nothing(runs, console, monkeypatch, quiet):
    def fail(*_given: object) -> None:
        raise AssertionError("a probe, or records that are read")

    monkeypatch.setattr(module, "probe", fail)
    if quiet:
        assert zslbench.run(SLOW, "digits", "zsl", runs=runs).records[0].ok
        return
    monkeypatch.setattr(ResultStore, "load", fail)
    for method in ("eszsl", GAN, f"{SLOW}[steps=49]"):
        assert zslbench.run(method, "digits", "zsl", runs=runs, console=console).records[0].ok
    assert "about" not in text_of(console)


@pytest.mark.parametrize(
    ("engine", "device", "probed"),
    [(SerialExecutor, "cpu", True), (Executor, "cpu", False), (SerialExecutor, "cuda", False)],
)
def test_only_fits_of_this_process_on_a_cpu_are_probed(console, monkeypatch, engine, device, probed):
    if device != "cpu":
        monkeypatch.setattr(module, "devices", lambda: ["cpu", "cuda:0"])
    batches = group_into_batches(plan(RunOptions([SLOW], ["digits"])).runs)
    expected = module.forecast(batches, list, engine(), console, slow_toys.clock)
    assert (expected.measured, sum(expected.unknown.values())) == ((2, 0) if probed else (0, 2))
    assert bool(NOWHERE.taken) == probed


def test_a_probe_changes_no_result(tmp_path, console, monkeypatch):
    plain = zslbench.run(GAN, "digits", runs=tmp_path / "plain")
    clear_cache()
    probed = []
    monkeypatch.setattr(FCLSWGAN, "slow_from", 0.0)
    monkeypatch.setattr(module, "SPAN", 0.0)
    monkeypatch.setattr(module, "probe", lambda *given, real=module.probe: probed.append(real(*given)) or probed[-1])
    monkeypatch.setattr(run_module, "forecast", module.forecast)
    after = zslbench.run(GAN, "digits", runs=tmp_path / "after", console=console)
    assert probed[0][0].fit > 0
    for store in (ResultStore(tmp_path / "plain"), ResultStore(tmp_path / "after")):
        assert len(store.load()) == 2
    for before, now in zip(plain.records, after.records, strict=True):
        assert (before.id, before.metrics) == (now.id, now.metrics)
        kept = [ResultStore(tmp_path / name).predictions(now) for name in ("plain", "after")]
        assert all(np.array_equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert after.records[0].timings["shared"] == 0  # nor is anything of it left over


def test_ctrl_c_during_a_probe_ends_the_run_with_nothing_done(runs, console, monkeypatch):
    def stop(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "probe", stop)
    outcome = zslbench.run(SLOW, "digits", runs=runs, console=console)
    assert (outcome.interrupted, outcome.records, outcome.count("to run")) == (True, (), 2)
    assert "interrupted before any run began; the same call does the rest" in outcome.text


def test_a_method_that_fails_in_a_probe_fails_in_its_run(runs, console, monkeypatch):
    def fail(*_given: object) -> None:
        raise RuntimeError("no convergence")

    monkeypatch.setattr(Slow, "fit", fail)
    outcome = zslbench.run(SLOW, "digits", "zsl", runs=runs, console=console)
    assert [record.status for record in outcome.records] == ["failed"]
    assert "no convergence" in text_of(console)
