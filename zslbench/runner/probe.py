"""Probes: a few steps of a slow fit are timed before the fit begins, and its cost is announced."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from zslbench import params
from zslbench.errors import BadValue
from zslbench.methods.base import Context, overlay
from zslbench.methods.fit_cache import empty_cache
from zslbench.results.records.live_studies import FitKey
from zslbench.results.records.record import Record
from zslbench.runner.class_lookup import method_class
from zslbench.runner.estimate import Estimate, PastFit, Sizes, cost_of, estimate, key_of, say_about
from zslbench.runner.executors import Executor, SerialExecutor
from zslbench.runner.handout import OpenedHandout, pack
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.resources import devices, list_bf16_instructions
from zslbench.step_reports import hear_progress
from zslbench.visible import format_count, format_time, title_data

if TYPE_CHECKING:
    from rich.console import Console

Clock = Callable[[], float]
SPAN = 1.5
"""Seconds of steps that are measured in each phase of a fit."""
LONG_STEP = 5.0
"""Seconds after which the first step is taken as the pace, although it includes warming up."""
SCORED_BELOW = 900.0
"""Seconds: scoring is measured too if the fit takes less than this; beside a longer fit it counts for little."""
ANNOUNCED_FROM, ALTERNATIVES_FROM = 20.0, 600.0
"""Seconds of all fits from which their cost, and what would cost less, is announced."""
_SCORED_ROWS = 64
"""How many training rows are scored to measure scoring."""


class _MeasuredEnough(Exception):
    """Raised to end a fit that does not stop a phase when it is asked to."""


class _StepTimer:
    """Times the steps of a fit, ends each phase when its pace is known, and adds up the seconds of skipped steps."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.left_out = clock, 0.0
        self._phase, self._began = "", 0.0
        self._first: tuple[float, int] | None = None
        self._cut: float | None = None

    def __call__(self, phase: str, step: int, total: int) -> bool:
        now = self.clock()
        if phase != self._phase:
            self._phase, self._began, self._first, self._cut = phase, now, None, None
        if self._cut is not None:
            if now - self._cut > LONG_STEP:
                raise _MeasuredEnough
            return True
        if step < 1:
            return False
        if self._first is None:
            self._first = now, step
            measured = self._began, 0
            enough = now - self._began >= LONG_STEP
        else:
            measured = self._first
            enough = now - measured[0] >= SPAN and step > measured[1]
        if enough and step < total:
            self.left_out += (now - measured[0]) / (step - measured[1]) * (total - step)
            self._cut = now
        return enough


def probe(job: Job, clock: Clock = time.perf_counter) -> tuple[PastFit, bool] | None:
    """Return how long a fit seems to take alone, and whether its precision matters; None: the probe failed.

    The method is fitted on the training rows of the job, each phase cut short after a few steps. If the fit is not too
    long, it also scores some of these rows. It has its own random streams and keeps nothing. Of test rows it sees those
    alone that the method's `fit` is told.
    """
    run, measure = job.first, _StepTimer(clock)
    with contextlib.suppress(Exception), OpenedHandout(pack(Batch((job,)))) as material:
        method = method_class(run.method)(**run.params)
        for name in method.libraries:
            importlib.import_module(name)
        train = material.train(run.told)
        ctx = Context(run.seed, job.how.device, precision=job.how.precision)
        scoring = 0.0
        with empty_cache(), hear_progress(measure):
            began = clock()
            with contextlib.suppress(_MeasuredEnough):
                method.fit(train, ctx)
            fit = clock() - began + measure.left_out
            if fit < SCORED_BELOW:
                longest = max((material.candidates(served) for served in job.runs), key=len)
                measure.left_out, began = 0.0, clock()
                with contextlib.suppress(_MeasuredEnough):
                    method.scores(train.features[:_SCORED_ROWS], longest)
                scoring = clock() - began + measure.left_out
        work = cost_of(run, {})
        if work:
            past = PastFit(fit, fit, scoring, work, run.dataset.fingerprint, None, job.how.precision)
            return past, hasattr(method, "precision_")
    return None


def is_slow(run: Run, sizes: Sizes) -> bool:
    """Return whether the declared cost of a run's fit is worth a probe; `sizes` as `size_of` takes them."""
    least = method_class(run.method).slow_from
    return least is not None and (cost_of(run, sizes) or 0.0) >= least


def find_slow(work: Iterable[Batch]) -> list[Batch]:
    """Return the batches with a fit whose declared cost is worth a probe."""
    sizes: Sizes = {}
    return [batch for batch in work if any(is_slow(job.first, sizes) for job in batch.jobs)]


def show_preparation(runs: Iterable[Run], console: Console | None) -> contextlib.AbstractContextManager[object]:
    """Show what is being prepared until the block ends, if some run is slow: loading PyTorch takes seconds."""
    sizes: Sizes = {}
    slow = next((run for run in runs if is_slow(run, sizes)), None) if console else None
    if console is None or slow is None:
        return contextlib.nullcontext()
    return _show_activity(console, f"preparing {slow.method} on {title_data(slow.dataset.shown_name)} …")


def forecast(
    work: Sequence[Batch],
    load: Callable[[], Iterable[Record]],
    engine: Executor,
    console: Console | None = None,
    clock: Clock = time.perf_counter,
    *,
    trials: int = 1,
) -> Estimate | None:
    """Forecast how long batches take and announce it; return None if none of them is slow.

    Methods without records on the same data are probed, one fit per method, if fits are done in this process on a CPU:
    the pace of other workers and devices is not known here. Each method's forecast is announced as soon as it is known.
    If it is long, faster alternatives are measured after that. Fast methods are not probed.

    Args:
        load: reads the records; called only if some batch is slow.
        console: where the cost is announced; None: nothing is measured.
        trials: how many times the work is done, as by a search.
    """
    slow = find_slow(work)
    if not slow:
        return None
    records = list(load())
    expected = estimate(work, records, engine.workers)
    measured: dict[str, list[PastFit]] = {}
    jobs = _choose_jobs(slow, expected) if console and isinstance(engine, SerialExecutor) else {}
    announced: list[float] = []
    per_method: dict[str, list[float]] = {}
    for name in dict.fromkeys(job.first.method for batch in slow for job in batch.jobs) if console else ():
        if name in jobs:
            data = title_data(jobs[name].first.dataset.shown_name)
            with _show_activity(console, f"measuring a few steps of {name} on {data}, to say how long it takes …"):
                if probed := probe(jobs[name], clock):
                    measured[name] = [probed[0]]
                    expected = estimate(work, records, engine.workers, measured)
        of_method = [job for batch in slow for job in batch.jobs if job.first.method == name]
        per_method[name] = [expected.per_fit.get(key_of(job), 0.0) for job in of_method]
        for line, seconds in describe_cost(of_method, expected, name in measured, trials):
            _print(console, line)
            announced.append(seconds)
    if len(announced) > 1:
        _print(console, f"in all {say_about(sum(announced) / expected.workers)}")
    for name in measured:
        if trials * sum(per_method[name]) >= ALTERNATIVES_FROM:
            per_fit = " per fit" if trials * len(per_method[name]) > 1 else ""
            with _show_activity(console, f"measuring what would take less time than {name} …"):
                texts = []
                for text in _measure_alternatives(jobs[name], measured[name][0], clock):
                    _print(console, f"  {text}{per_fit}")
                    texts.append(text)
                if not texts:
                    _print(console, "  nothing that was measured does")
    return dataclasses.replace(expected, per_fit=_seconds_of_fast_fits(work, expected.per_fit) | dict(expected.per_fit))


def _choose_jobs(slow: Sequence[Batch], expected: Estimate) -> dict[str, Job]:
    """Return one job to probe per slow method without comparable records, if fits are done on a CPU."""
    of_slow = {job.key for batch in slow for job in batch.jobs}
    jobs: dict[str, Job] = {}
    for job in expected.lacking:
        if job.key in of_slow and job.how.device in ("auto", "cpu"):
            jobs.setdefault(job.first.method, job)
    return jobs if jobs and devices() == ["cpu"] else {}


def _seconds_of_fast_fits(work: Sequence[Batch], known: Mapping[FitKey, float]) -> dict[FitKey, float]:
    """Return 0 seconds for fits without a forecast whose declared cost is negligible beside the slow ones."""
    sizes: Sizes = {}
    firsts = {key_of(job): job for batch in work for job in batch.jobs}
    return {key: 0.0 for key, job in firsts.items() if key not in known and cost_of(job.first, sizes) is not None}


def _show_activity(console: Console | None, text: str) -> contextlib.AbstractContextManager[object]:
    """Show what is being done: on a terminal until the block ends, otherwise as one printed line."""
    if console and console.is_terminal:
        return console.status(text)
    _print(console, text)
    return contextlib.nullcontext()


def _print(console: Console | None, text: str) -> None:
    if console:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.file.flush()


def _measure_alternatives(job: Job, past: PastFit, clock: Clock) -> Iterator[str]:
    """Yield each alternative that takes less time than the job, with its time, as soon as it is measured."""
    whole = past.fit + past.unshared * len(job.runs)
    cheaper = []
    if job.how.precision == "float32" and list_bf16_instructions():
        lower = dataclasses.replace(job, how=dataclasses.replace(job.how, precision="bf16"))
        cheaper.append((f"{job.first.method} with --precision bf16", lower))
    if (quick := _quick_job(job)) is not None:
        cheaper.append((f"{job.first.method}@quick", quick))
    for name, other in cheaper:
        probed = probe(other, clock)
        if probed is None or (other.how != job.how and not probed[1]):
            continue
        seconds = probed[0].fit + probed[0].unshared * len(other.runs)
        if seconds < 0.8 * whole:
            yield f"{name}: {say_about(seconds)}"


def _quick_job(job: Job) -> Job | None:
    """Return the job with the method's preset ``quick``; None if there is no such preset or the job uses it already."""
    run = job.first
    cls = method_class(run.method)
    if "quick" not in cls.presets:
        return None
    try:
        values = params.resolve(cls, run.method, overlay(cls, run.method, ("quick",), run.dataset.name, run.protocol))
    except BadValue:
        return None
    runs = tuple(dataclasses.replace(served, params=values) for served in job.runs)
    return None if values == dict(run.params) else dataclasses.replace(job, runs=runs)


def _name_method(job: Job) -> str:
    """Return the title of a job's method; if it has presets, its name with them as typed."""
    typed = job.first.label.partition("[")[0]
    return typed if "@" in typed else method_class(job.first.method).card.title


def describe_cost(
    jobs: Iterable[Job], expected: Estimate, measured: bool, trials: int = 1
) -> Iterator[tuple[str, float]]:
    """Yield, per data set, a line on the cost of a method's fits and their seconds; cheap ones are left out."""
    by_data: dict[str, list[float]] = defaultdict(list)
    name = ""
    for job in jobs:
        name = _name_method(job)
        if (per_fit := expected.per_fit.get(key_of(job))) is not None:
            by_data[job.first.dataset.shown_name].append(per_fit)
    ground = "on this CPU" if measured else "by earlier runs"
    for dataset, seconds in by_data.items():
        count, total = trials * len(seconds), trials * sum(seconds)
        if total < ANNOUNCED_FROM:
            continue
        text = f"{name} on {title_data(dataset)}: {say_about(total / count)}"
        if count > 1:
            workers = f" with {expected.workers} workers" if expected.workers > 1 else ""
            text += f" per fit {ground}, {format_count(count, 'fit')}: {format_time(total / expected.workers)}{workers}"
        else:
            text += f" {ground}"
        yield text, total
