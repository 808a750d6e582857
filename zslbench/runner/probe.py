"""Probes: a few steps of a slow fit, measured before it begins, and what is announced of its cost."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from zslbench import params
from zslbench.errors import BadValue
from zslbench.methods.base import Context, overlay
from zslbench.methods.fit_cache import empty_cache
from zslbench.results.records.live_studies import FitKey
from zslbench.results.records.record import Record
from zslbench.runner.class_lookup import method_class
from zslbench.runner.estimate import Estimate, PastFit, Sizes, cost_of, estimate, key_of, say_time
from zslbench.runner.executors import Executor, SerialExecutor
from zslbench.runner.handout import OpenedHandout, pack
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.resources import devices, list_bf16_instructions
from zslbench.step_reports import hear_progress
from zslbench.visible import format_count, title_data

if TYPE_CHECKING:
    from rich.console import Console

Clock = Callable[[], float]
SPAN = 1.5
"""Seconds of steps that are measured in each phase of a fit."""
LONG_STEP = 5.0
"""Seconds after which the first step, which warms up, must do."""
SCORED_BELOW = 900.0
"""Seconds of a fit below which scoring is measured, too: beside a longer one it counts for little."""
ANNOUNCED_FROM, ALTERNATIVES_FROM = 20.0, 120.0
"""Seconds of all fits from which their cost, and what would cost less, is announced."""
_ROWS = 64
"""Training rows that are scored where scoring is measured."""


class _Enough(Exception):
    """A fit goes on although enough of it was measured."""


class _Measure:
    """Hears the steps of a fit, cuts each phase short when its pace is known, and sums up what was left out."""

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
                raise _Enough
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
    """Return how long a fit seems to take alone, and whether its precision matters; None: nothing was learnt.

    The method is fitted on the training rows of the job, each phase cut short after a few steps, and where that takes
    no long time asked for scores of some of these rows. It has its own random streams, keeps nothing and sees no test
    row.
    """
    run, measure = job.first, _Measure(clock)
    with contextlib.suppress(Exception), OpenedHandout(pack(Batch((job,)))) as material:
        method = method_class(run.method)(**run.params)
        for name in method.libraries:
            importlib.import_module(name)
        train = material.train()
        ctx = Context(run.seed, job.how.device, precision=job.how.precision)
        scoring = 0.0
        with empty_cache(), hear_progress(measure):
            began = clock()
            with contextlib.suppress(_Enough):
                method.fit(train, ctx)
            fit = clock() - began + measure.left_out
            if fit < SCORED_BELOW:
                longest = max((material.candidates(served) for served in job.runs), key=len)
                measure.left_out, began = 0.0, clock()
                with contextlib.suppress(_Enough):
                    method.scores(train.features[:_ROWS], longest)
                scoring = clock() - began + measure.left_out
        work = cost_of(run, {})
        if work:
            past = PastFit(fit, fit, scoring, work, run.dataset.fingerprint, None, job.how.precision)
            return past, hasattr(method, "precision_")
    return None


def find_slow(work: Iterable[Batch]) -> list[Batch]:
    """Return the batches with a fit whose declared cost is worth a probe."""
    sizes: Sizes = {}

    def is_slow(job: Job) -> bool:
        least = method_class(job.first.method).slow_from
        return least is not None and (cost_of(job.first, sizes) or 0.0) >= least

    return [batch for batch in work if any(is_slow(job) for job in batch.jobs)]


def forecast(
    work: Sequence[Batch],
    load: Callable[[], Iterable[Record]],
    engine: Executor,
    console: Console | None = None,
    clock: Clock = time.perf_counter,
    *,
    announced: bool = True,
    trials: int = 1,
) -> Estimate | None:
    """Forecast how long batches take, where some are slow, and announce it; None where none is slow.

    What no record of the same data tells is measured, one fit per method, where fits are done in this process on a CPU:
    elsewhere this process does not know the pace. Fast methods cost nothing here.

    Args:
        load: reads the records; called where some batch is slow.
        console: where the cost is announced; None: nothing is measured.
        trials: how many times the work is done, as by a search.
    """
    slow = find_slow(work)
    if not slow:
        return None
    records = list(load())
    expected = estimate(work, records, engine.workers)
    measured: dict[str, list[PastFit]] = {}
    savers: dict[str, list[str]] = {}
    if console and isinstance(engine, SerialExecutor):
        jobs = _choose_jobs(slow, expected)
        for name, job in jobs.items():
            with _saying(console, f"measuring a few steps of {name} on {title_data(job.first.dataset.name)} …"):
                if learnt := probe(job, clock):
                    measured[name] = [learnt[0]]
        expected = estimate(work, records, engine.workers, measured) if measured else expected
        for name in measured if announced else ():
            of_method = [job for batch in work for job in batch.jobs if job.first.method == name]
            of_each = (expected.per_fit.get(key_of(job), 0.0) for job in of_method)
            if trials * sum(of_each) >= ALTERNATIVES_FROM:
                with _saying(console, f"measuring what would cost less than {name} …"):
                    savers[name] = _find_savers(jobs[name], measured[name][0], clock)
    expected = dataclasses.replace(expected, per_fit=_fast_fits(work, expected.per_fit) | dict(expected.per_fit))
    if console and announced:
        for line in describe_cost(slow, expected, measured, savers, trials):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return expected


def _choose_jobs(slow: Sequence[Batch], expected: Estimate) -> dict[str, Job]:
    """Return a job to probe of each slow method of which no record tells, where fits are done on a CPU."""
    of_slow = {job.key for batch in slow for job in batch.jobs}
    jobs: dict[str, Job] = {}
    for job in expected.lacking:
        if job.key in of_slow and job.how.device in ("auto", "cpu"):
            jobs.setdefault(job.first.method, job)
    return jobs if jobs and devices() == ["cpu"] else {}


def _fast_fits(work: Sequence[Batch], known: Mapping[FitKey, float]) -> dict[FitKey, float]:
    """Return 0 seconds for fits that nothing tells of and whose declared cost is no matter beside the slow ones."""
    sizes: Sizes = {}
    firsts = {key_of(job): job for batch in work for job in batch.jobs}
    return {key: 0.0 for key, job in firsts.items() if key not in known and cost_of(job.first, sizes) is not None}


def _saying(console: Console, text: str) -> contextlib.AbstractContextManager[object]:
    return console.status(text) if console.is_terminal else contextlib.nullcontext()


def _find_savers(job: Job, past: PastFit, clock: Clock) -> list[str]:
    """Return what would take less time than a job does, and how long, each measured."""
    whole = past.fit + past.unshared * len(job.runs)
    cheaper = []
    if job.how.precision == "float32" and list_bf16_instructions():
        lower = dataclasses.replace(job, how=dataclasses.replace(job.how, precision="bf16"))
        cheaper.append(("with --precision bf16", lower))
    if (quick := _quick_job(job)) is not None:
        cheaper.append((f"{job.first.method}@quick", quick))
    texts = []
    for name, other in cheaper:
        learnt = probe(other, clock)
        if learnt is None or (other.how != job.how and not learnt[1]):
            continue
        seconds = learnt[0].fit + learnt[0].unshared * len(other.runs)
        if seconds < 0.8 * whole:
            texts.append(f"{name} about {say_time(seconds)}")
    return texts


def _quick_job(job: Job) -> Job | None:
    """Return the job with the method's preset ``quick``, None where it has none or that is what the job does."""
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


def describe_cost(
    slow: Sequence[Batch],
    expected: Estimate,
    measured: Iterable[str],
    savers: dict[str, list[str]],
    trials: int = 1,
) -> list[str]:
    """Return a line per slow method and data set, and one on all where there are several."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for job in (job for batch in slow for job in batch.jobs):
        run = job.first
        if (per_fit := expected.per_fit.get(key_of(job))) is not None:
            counts[run.method, run.dataset.name] += trials
            seconds[run.method, run.dataset.name] += trials * per_fit
    told: set[str] = set()
    lines = []
    for (method, dataset), count in counts.items():
        total = seconds[method, dataset]
        if total < ANNOUNCED_FROM:
            continue
        ground = "on this CPU" if method in measured else "by earlier runs"
        text = f"{method_class(method).card.title} on {title_data(dataset)}: about {say_time(total / count)}"
        if count > 1:
            in_all = f"{say_time(total / expected.workers)}"
            workers = f" with {expected.workers} workers" if expected.workers > 1 else ""
            text += f" per fit {ground}, {format_count(count, 'fit')}: {in_all}{workers}"
        else:
            text += f" {ground}"
        if method not in told and savers.get(method):  # they were measured on the first data set
            text += "; " + ", ".join(savers[method]) + (" per fit" if count > 1 else "")
        told.add(method)
        lines.append(text)
    if len(lines) > 1:
        lines.append(f"in all about {say_time(sum(seconds.values()) / expected.workers)}")
    return lines
