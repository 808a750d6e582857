"""Do a batch of jobs: load the data, fit, judge under each protocol, and return a record a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import zslbench.protocols.splits as splits
from zslbench.data.dataset import Dataset
from zslbench.errors import BadData
from zslbench.methods.base import Context, Judge, Method, Size
from zslbench.results.wording import last_line
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.finished import Finished, facts_of, record_of, trace
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.judging import Bell, Listeners, OnJudged, OnLog, Question, Stopped, asked, questions_of
from zslbench.runner.kept_features import with_features
from zslbench.runner.provenance import reset_peaks
from zslbench.task import Train


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
    facts = dict(company or {})
    try:
        dataset, chosen = _data(job)
        start = time.perf_counter()  # reading files is no part of what a result costs: the first run alone does it
        questions = questions_of(job, dataset, chosen)
        method = _build(job.first)
        with Bell(Listeners(questions, on_log, on_judged), job.how.checkpoint_every) as bell:
            ctx = _context(job, bell.log, bell if job.how.checkpoint_every else None)
            reset_peaks()
            with ctx.phase("data"):
                train = splits.training(dataset, chosen)
            facts |= _work(method, train)
            with ctx.phase("fit"):
                method.fit(train, ctx)
        if job.how.checkpoint_every:  # judging is not fitting
            ctx.seconds["judge"] = bell.seconds
            ctx.seconds["fit"] -= bell.seconds
    except Stopped as stop:
        facts = facts_of(job, method, {"total": time.perf_counter() - start}, facts)
        return [
            Finished(record_of(one.run, "skipped", error=str(stop), curve=tuple(one.curve), **facts))
            for one in questions
        ]
    except (Exception, SystemExit) as error:
        facts = facts_of(job, method, {"total": time.perf_counter() - start}, facts)
        return [Finished(record_of(run, "failed", error=trace(error), **facts)) for run in job.runs]
    seconds = {**ctx.seconds, "total": time.perf_counter() - start + ctx.shared, "shared": ctx.shared}
    results = _scored(questions, method, job, seconds, facts, ctx.events)
    return with_features(results, method, job.how.keep_features, dataset, chosen)


def _together(batch: Batch, on_log: OnLog | None) -> Iterator[tuple[Job, list[Finished]]]:
    """Fit all points of a grid, or all seeds, at once.

    Each point of a grid is charged with what it shares as if it had done it alone. Of seeds, whose steps are batched
    products, nobody knows what one alone would take: their time is divided among them, and nothing is called shared.
    """
    dataset, chosen = _data(batch.first)
    points = [_build(job.first) for job in batch.jobs]
    with Bell(Listeners([], on_log), 0) as bell:
        contexts = [_context(job, bell.log if job is batch.first else None) for job in batch.jobs]
        yield from _fitted_together(batch, points, contexts, dataset, chosen)


def _fitted_together(
    batch: Batch,
    points: list[Method],
    contexts: list[Context],
    dataset: Dataset,
    chosen: splits.Split,
) -> Iterator[tuple[Job, list[Finished]]]:
    start = time.perf_counter()
    ctx, cls = contexts[0], type(points[0])
    reset_peaks()
    with ctx.measured() as preparation, ctx.phase("data"):
        train = splits.training(dataset, chosen)
    one_seed = len({job.first.seed for job in batch.jobs}) == 1
    fitting = cls.fit_grid(points, train, ctx) if one_seed else cls.fit_seeds(points, train, contexts)
    company = {"grid_points" if one_seed else "seeds_at_once": len(points)}
    share = 1 if one_seed else 1 / len(points)
    ctx.apart = False  # until the method measures what its points share
    for job, point, own in zip(batch.jobs, points, contexts, strict=True):
        if one_seed:
            reset_peaks()
        with ctx.phase("fit"):
            method = next(fitting)
        if method is not point:
            raise RuntimeError("points must be yielded, each of them and in order")
        if own is ctx or one_seed:
            shared = sum(one.shared for one in contexts)
            spent = {**_summed(contexts), "total": time.perf_counter() - start + shared}
            seconds = {phase: value * share for phase, value in spent.items()}
            seconds |= {"shared": shared} if one_seed and ctx.apart else {}
            events = tuple(event for one in contexts for event in one.events)
        facts = company | _work(method, train)
        results = _scored(questions_of(job, dataset, chosen), method, job, seconds, facts, events)
        yield job, with_features(results, method, job.how.keep_features, dataset, chosen)
        for name in [name for name in vars(point) if name.endswith("_")]:  # one fit at a time is in memory
            delattr(point, name)
        ctx.seconds.clear()
        ctx.events.clear()
        ctx.shared = 0.0
        ctx.charge(preparation)
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
    facts: Mapping[str, Any],
    events: Iterable[tuple[str, float, float]],
) -> list[Finished]:
    """Score a fitted method under each protocol, in the order of the questions; return results in that of the runs.

    The fit was done for the first question; it is charged to the others, too, and shared.
    """
    results = {}
    for question in questions:
        results[question.run.id] = _score(question, method, job, seconds, facts, events)
        if "shared" in seconds:
            seconds = {**seconds, "shared": seconds["total"]}
    return [results[run.id] for run in job.runs]


def _work(method: Method, train: Train) -> dict[str, Any]:
    """Return what estimates of time scale by, where the method declares it."""
    work = method.cost(Size.of(train))
    return {} if work is None else {"work": float(work)}


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
    provenance: Mapping[str, Any],
    events: Iterable[tuple[str, float, float]],
) -> Finished:
    start = time.perf_counter()
    try:
        scores = asked(method, question.query)
        scored = time.perf_counter()
        judgement = question.protocol.judge(question.answers, scores)
    except (Exception, SystemExit) as error:
        facts = facts_of(job, method, {**seconds, "total": seconds["total"] + time.perf_counter() - start}, provenance)
        return Finished(record_of(question.run, "failed", error=trace(error), **facts))
    ended = time.perf_counter()
    own = {"scores": scored - start, "evaluation": ended - scored}
    facts = facts_of(job, method, {**seconds, **own, "total": seconds["total"] + ended - start}, provenance)
    record = record_of(question.run, "ok", metrics=dict(judgement.metrics), curve=tuple(question.curve), **facts)
    told = (*events, ("scores", start, own["scores"]), ("evaluation", scored, own["evaluation"]))
    return Finished(record, judgement.predictions, told if job.how.profile else ())
