"""Do one job: load the data, fit once, judge under each protocol, and return a record a run."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Self

import zslbench.protocols.splits as splits
from zslbench.arrays import AnyArray
from zslbench.data.dataset import Dataset
from zslbench.errors import ZslbenchError
from zslbench.methods.base import Context, Method
from zslbench.protocols.base import Protocol
from zslbench.results.record import Record, Status
from zslbench.runner.plan import Job, Run, method_class, protocol_class
from zslbench.runner.provenance import peak_memory, provenance, reset_peaks
from zslbench.task import Answers, Query

OnLog = Callable[[int, int, Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """A record and the predictions to keep beside it (none when the run failed)."""

    record: Record
    predictions: Mapping[str, AnyArray] | None = None


@dataclasses.dataclass(eq=False)
class _Question:
    """One protocol's part of a job: what is asked, and the curve judged so far."""

    run: Run
    protocol: Protocol
    query: Query
    answers: Answers
    curve: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)


def execute(job: Job, on_log: OnLog | None = None) -> list[Finished]:
    """Fit the job's method once and judge it under each of its protocols.

    Whatever the method raises becomes a `failed` record with its traceback; what the protocols share (the fit) fails
    for all of them, a fault in `scores` for that protocol only. KeyboardInterrupt passes through.
    """
    start = time.perf_counter()
    method: Method | None = None
    try:
        dataset = job.first.dataset.load()
        chosen = splits.split(dataset, job.first.stage, max(job.first.fold, 1))
        questions = [_question(run, dataset, chosen) for run in job.runs]
        method = _build(job.first)
        with _Bell(questions, job.checkpoint_every) as bell:
            ctx = Context(job.first.seed, job.device, on_log, bell if job.checkpoint_every else None)
            reset_peaks()
            with ctx.phase("data"):
                train = splits.training(dataset, chosen)
            with ctx.phase("fit"):
                method.fit(train, ctx)
        if job.checkpoint_every:  # judging is not fitting
            ctx.seconds["judge"] = bell.seconds
            ctx.seconds["fit"] -= bell.seconds
    except (Exception, SystemExit) as error:
        facts = _facts(job, method, {"total": time.perf_counter() - start})
        return [Finished(_record(run, "failed", error=_trace(error), **facts)) for run in job.runs]
    spent = time.perf_counter() - start
    return [_score(question, method, job, ctx, spent) for question in questions]


def unfinished(job: Job, status: Status, error: str = "") -> list[Finished]:
    """Return the records of a job that did not come to its end (interrupted, crashed, timeout)."""
    return [Finished(_record(run, status, error=error, **_facts(job, None, {}))) for run in job.runs]


def _question(run: Run, dataset: Dataset, chosen: splits.Split) -> _Question:
    protocol = protocol_class(run.protocol)(**run.protocol_params)
    query, answers = protocol.query(dataset, chosen, run.seed)
    return _Question(run, protocol, query, answers)


def _build(run: Run) -> Method:
    return method_class(run.method)(**run.params)


_RINGING: dict[int, list[_Question]] = {}
"""Questions of the jobs in progress. A method holds its `Context`, so nothing there may lead to the answers."""


class _Bell:
    """Judges a method at checkpoints while it is open; it holds a number and counts, not the questions."""

    def __init__(self, questions: list[_Question], every: int) -> None:
        self.number, self.every, self.seconds = id(self), every, 0.0
        _RINGING[self.number] = questions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        del _RINGING[self.number]

    def __call__(self, method: Method, step: int) -> None:
        if step % self.every:
            return
        start = time.perf_counter()
        for question in _RINGING[self.number]:
            scores = method.scores(question.query.features, question.query.classes)
            metrics = question.protocol.judge(question.answers, scores).metrics
            question.curve.append({"step": step, "metrics": dict(metrics)})
        self.seconds += time.perf_counter() - start


def _score(question: _Question, method: Method, job: Job, ctx: Context, spent: float) -> Finished:
    start = time.perf_counter()
    try:
        scores = method.scores(question.query.features, question.query.classes)
        judgement = question.protocol.judge(question.answers, scores)
    except (Exception, SystemExit) as error:
        return Finished(_record(question.run, "failed", error=_trace(error), **_facts(job, method, ctx.seconds)))
    scored = time.perf_counter() - start
    facts = _facts(job, method, {**ctx.seconds, "scores": scored, "total": spent + scored})
    record = _record(question.run, "ok", metrics=dict(judgement.metrics), curve=tuple(question.curve), **facts)
    return Finished(record, judgement.predictions)


def _facts(job: Job, method: Method | None, seconds: Mapping[str, float]) -> dict[str, Any]:
    device = str(getattr(method, "device_", "cpu"))
    return {
        "timings": {phase: round(value, 4) for phase, value in seconds.items()},
        "memory": peak_memory(),
        "provenance": provenance(method_class(job.first.method), device),
    }


def _record(run: Run, status: Status, **facts: Any) -> Record:
    identity = run.identity()
    card = method_class(run.method).card
    return Record(
        id=run.id,
        status=status,
        method=identity["method"]
        | {
            "title": card.title,
            "label": run.label,
            "setting": run.setting,
            "stochastic": card.stochastic,
        },
        dataset=identity["dataset"],
        protocol=identity["protocol"],
        stage=run.stage,
        fold=run.fold,
        seed=run.seed,
        **facts,
    )


def _trace(error: BaseException) -> str:
    """Return a user error as its sentence, and any other with its traceback."""
    if isinstance(error, ZslbenchError):
        return str(error)
    return "".join(traceback.format_exception(error))
