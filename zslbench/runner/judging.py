"""Judging: what is asked of a fit, at its end and at its checkpoints, kept out of the method's reach."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

import zslbench.protocols.splits as splits
from zslbench.arrays import Array
from zslbench.data.dataset import Dataset
from zslbench.methods.base import Method
from zslbench.protocols.base import Protocol
from zslbench.runner.cells import Run
from zslbench.runner.classes import protocol_class
from zslbench.runner.jobs import Job
from zslbench.task import Answers, Query

OnLog = Callable[[int, int, Mapping[str, float]], None]
OnJudged = Callable[[Run, int, Mapping[str, float]], None]


class Stopped(Exception):
    """Raised by whoever hears of a judged checkpoint: the fit need not go on. Its runs are recorded as skipped."""


@dataclasses.dataclass(eq=False)
class Question:
    """One protocol's part of a job: what is asked, and the curve judged so far."""

    run: Run
    protocol: Protocol
    query: Query
    answers: Answers
    curve: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)


def questions_of(job: Job, dataset: Dataset, chosen: splits.Split) -> list[Question]:
    """Put the questions of a job, those that mix seen and unseen rows first.

    One fit answers them all: a query of unseen rows alone must not come before one in which they are to be told apart.
    """
    found = []
    for run in job.runs:
        protocol = protocol_class(run.protocol)(**run.protocol_params)
        query, answers = protocol.query(dataset, chosen, run.seed)
        found.append(Question(run, protocol, query, answers))
    return sorted(found, key=lambda question: not _mixed(question.answers))


def asked(method: Method, query: Query) -> Array:
    """Return a method's scores of a query, and take from it what it kept of that: no query may learn from another."""
    with unchanged(method):
        return method.scores(query.features, query.classes)


@contextlib.contextmanager
def unchanged(method: Method) -> Iterator[None]:
    """Take from a method whatever it keeps of what is asked within."""
    before = dict(vars(method))
    try:
        yield
    finally:
        vars(method).clear()
        vars(method).update(before)


def _mixed(answers: Answers) -> bool:
    of_unseen = np.isin(answers.labels, answers.classes[answers.unseen])
    return bool(of_unseen.any() and not of_unseen.all())


@dataclasses.dataclass(frozen=True, eq=False)
class Listeners:
    """Who hears of a job in progress, and what is asked at its checkpoints."""

    questions: list[Question]
    on_log: OnLog | None = None
    on_judged: OnJudged | None = None


RINGING: dict[int, Listeners] = {}
"""Of the jobs in progress. A method holds its `Context`, so nothing there may lead to the answers or to the data."""


class Bell:
    """Passes on a method's log and judges it at checkpoints while it is open; it holds a number and counts, no more."""

    def __init__(self, listeners: Listeners, every: int) -> None:
        self.number, self.every, self.seconds = id(self), every, 0.0
        RINGING[self.number] = listeners

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        del RINGING[self.number]

    def log(self, step: int, total: int, values: Mapping[str, float]) -> None:
        """Pass on what a method reports of its training."""
        if (on_log := RINGING[self.number].on_log) is not None:
            on_log(step, total, values)

    def __call__(self, method: Method, step: int) -> None:
        """Judge a method under each protocol, if this step is one of those to be judged."""
        if step % self.every:
            return
        start = time.perf_counter()
        hearing = RINGING[self.number]
        for question in hearing.questions:
            scores = asked(method, question.query)
            metrics = question.protocol.judge(question.answers, scores).metrics
            question.curve.append({"step": step, "metrics": dict(metrics)})
        self.seconds += time.perf_counter() - start
        if hearing.on_judged:
            for question in hearing.questions:
                hearing.on_judged(question.run, step, question.curve[-1]["metrics"])
