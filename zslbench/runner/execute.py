"""Do a batch of jobs: load the data, fit, judge under each protocol, and return a record a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import zslbench.protocols.splits as splits
from zslbench.data.dataset import Dataset
from zslbench.errors import BadData
from zslbench.methods.base import Context, Judge, Method
from zslbench.results.wording import last_line
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.finished import Finished, facts_of, record_of, trace
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.judging import Bell, Listeners, OnJudged, OnLog, Question, Stopped, asked, questions_of
from zslbench.runner.kept_features import with_features
from zslbench.runner.provenance import reset_peaks


def execute(
    batch: Batch, on_log: OnLog | None = None, on_judged: OnJudged | None = None
) -> Iterator[tuple[Job, list[Finished]]]:
    """Do the jobs of a batch, in order: fit each method once and judge it under each of its protocols.

    Whatever a method raises becomes a `failed` record with its traceback; what the protocols share (the fit) fails
    for all of them, a fault in `scores` for that protocol only. Fits in company that
    fail are tried again one by one, so that a fault stays with the one it belongs to. KeyboardInterrupt passes through.
    """
    waiting, company = list(batch.jobs), None
    if len(waiting) > 1:
        try:
            for job, results in _together(batch, on_log):
                waiting.remove(job)
                yield job, results
        except (Exception, SystemExit) as error:
            company = {"failed_together": last_line(trace(error))}
    for job in waiting:
        yield job, _single(job, on_log, on_judged, company)


def _single(
    job: Job, on_log: OnLog | None, on_judged: OnJudged | None, company: Mapping[str, Any] | None = None
) -> list[Finished]:
    start = time.perf_counter()
    method: Method | None = None
    questions: list[Question] = []
    try:
        dataset, chosen = _data(job)
        questions = questions_of(job, dataset, chosen)
        method = _build(job.first)
        with Bell(Listeners(questions, on_log, on_judged), job.how.checkpoint_every) as bell:
            ctx = _context(job, bell.log, bell if job.how.checkpoint_every else None)
            reset_peaks()
            with ctx.phase("data"):
                train = splits.training(dataset, chosen)
            with ctx.phase("fit"):
                method.fit(train, ctx)
        if job.how.checkpoint_every:  # judging is not fitting
            ctx.seconds["judge"] = bell.seconds
            ctx.seconds["fit"] -= bell.seconds
    except Stopped as stop:
        facts = facts_of(job, method, {"total": time.perf_counter() - start}, company)
        return [
            Finished(record_of(one.run, "skipped", error=str(stop), curve=tuple(one.curve), **facts))
            for one in questions
        ]
    except (Exception, SystemExit) as error:
        facts = facts_of(job, method, {"total": time.perf_counter() - start}, company)
        return [Finished(record_of(run, "failed", error=trace(error), **facts)) for run in job.runs]
    spent = time.perf_counter() - start
    results = _scored(questions, method, job, ctx.seconds, spent, company, ctx.events)
    return with_features(results, method, job.how.keep_features, dataset, chosen)


def _together(batch: Batch, on_log: OnLog | None) -> Iterator[tuple[Job, list[Finished]]]:
    """Fit all points of a grid, or all seeds, at once.

    What points of a grid share is timed with the first of them; the time of seeds is divided among them.
    """
    start = time.perf_counter()
    dataset, chosen = _data(batch.first)
    points = [_build(job.first) for job in batch.jobs]
    with Bell(Listeners([], on_log), 0) as bell:
        contexts = [_context(job, bell.log if job is batch.first else None) for job in batch.jobs]
        yield from _fitted_together(batch, points, contexts, dataset, chosen, start)


def _fitted_together(
    batch: Batch,
    points: list[Method],
    contexts: list[Context],
    dataset: Dataset,
    chosen: splits.Split,
    start: float,
) -> Iterator[tuple[Job, list[Finished]]]:
    ctx, cls = contexts[0], type(points[0])
    reset_peaks()
    with ctx.phase("data"):
        train = splits.training(dataset, chosen)
    one_seed = len({job.first.seed for job in batch.jobs}) == 1
    fitting = cls.fit_grid(points, train, ctx) if one_seed else cls.fit_seeds(points, train, contexts)
    company = {"grid_points" if one_seed else "seeds_at_once": len(points)}
    share = 1 if one_seed else 1 / len(points)
    for job, point, own in zip(batch.jobs, points, contexts, strict=True):
        if one_seed:
            reset_peaks()
        with ctx.phase("fit"):
            method = next(fitting)
        if method is not point:
            raise RuntimeError("points must be yielded, each of them and in order")
        if own is ctx or one_seed:
            spent = (time.perf_counter() - start) * share
            seconds = {phase: value * share for phase, value in _summed(contexts).items()}
            events = tuple(event for one in contexts for event in one.events)
        results = _scored(questions_of(job, dataset, chosen), method, job, seconds, spent, company, events)
        yield job, with_features(results, method, job.how.keep_features, dataset, chosen)
        for name in [name for name in vars(point) if name.endswith("_")]:  # one fit at a time is in memory
            delattr(point, name)
        ctx.seconds.clear()
        ctx.events.clear()
        start = time.perf_counter()


def _summed(contexts: Iterable[Context]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for ctx in contexts:
        total.update(ctx.seconds)
    return dict(total)


def _data(job: Job) -> tuple[Dataset, splits.Split]:
    meant = job.first.dataset
    dataset = meant.load()
    if dataset.fingerprint != meant.fingerprint:  # on another machine, or changed since the plan was made
        raise BadData(
            f"{meant.text} has the content {dataset.fingerprint} here, and {meant.fingerprint} where the run was "
            "planned; give both the same files."
        )
    return dataset, splits.split(dataset, job.first.stage, max(job.first.fold, 1))


def _scored(
    questions: list[Question],
    method: Method,
    job: Job,
    seconds: Mapping[str, float],
    spent: float,
    company: Mapping[str, Any] | None,
    events: Iterable[tuple[str, float, float]],
) -> list[Finished]:
    """Score a fitted method under each protocol, in the order of the questions; return results in that of the runs."""
    found = {one.run.id: _score(one, method, job, seconds, spent, company, events) for one in questions}
    return [found[run.id] for run in job.runs]


def _context(job: Job, on_log: OnLog | None, judge: Judge | None = None) -> Context:
    how = job.how
    return Context(job.first.seed, how.device, on_log, judge, precision=how.precision, profile=how.profile)


def _build(run: Run) -> Method:
    return method_class(run.method)(**run.params)


def _score(
    question: Question,
    method: Method,
    job: Job,
    seconds: Mapping[str, float],
    spent: float,
    company: Mapping[str, Any] | None,
    events: Iterable[tuple[str, float, float]],
) -> Finished:
    start = time.perf_counter()
    try:
        scores = asked(method, question.query)
        scored = time.perf_counter()
        judgement = question.protocol.judge(question.answers, scores)
    except (Exception, SystemExit) as error:
        facts = facts_of(job, method, {**seconds, "total": spent + time.perf_counter() - start}, company)
        return Finished(record_of(question.run, "failed", error=trace(error), **facts))
    ended = time.perf_counter()
    own = {"scores": scored - start, "evaluation": ended - scored}
    facts = facts_of(job, method, {**seconds, **own, "total": spent + ended - start}, company)
    record = record_of(question.run, "ok", metrics=dict(judgement.metrics), curve=tuple(question.curve), **facts)
    told = (*events, ("scores", start, own["scores"]), ("evaluation", scored, own["evaluation"]))
    return Finished(record, judgement.predictions, told if job.how.profile else ())
