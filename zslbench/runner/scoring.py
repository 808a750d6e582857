"""Scoring: what is asked of a fit, at its end and at its checkpoints, kept out of the method's reach."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, copy_rows
from zslbench.errors import MethodFault
from zslbench.methods.base import Method
from zslbench.runner.handout import OpenedHandout
from zslbench.runner.jobs import Job, Run
from zslbench.runner.method_state import require_same, state_of

OnLog = Callable[[int, int, Mapping[str, float]], None]
OnScored = Callable[[Job, int, Sequence[Mapping[str, AnyArray]]], None]


class Stopped(Exception):
    """Raised by whoever hears of a judged checkpoint: the fit need not go on. Its runs are recorded as skipped."""


_TOLERANCE = 1e-3
"""Of the spread of a row's scores. Rounding that depends on the size of a batch stays below 4e-6 of it in single and
1e-13 in double precision: measured on a CPU for every inductive method here, small networks trained briefly, on digits,
CUB and flowers. What uses the other rows, such as scaling by their mean, moves scores by 0.1."""
_ROUNDED = 20
"""One row in so many may differ: one whose best candidates are level up to rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class CondensedScores:
    """What is judged of a method's scores for one run, and the seconds that scoring and the checks of it took.

    `state` is the method's, before as after.
    """

    condensed: Mapping[str, AnyArray]
    scores: float
    checks: float
    state: Mapping[str, bytes]


def score_query(
    method: Method, material: OpenedHandout, run: Run, previous: CondensedScores | None = None
) -> CondensedScores:
    """Ask a fitted method what a run asks.

    Args:
        previous: its reply to another run since it was last trained, whose state it must still have.

    Raises:
        MethodFault: scoring changed the method; or it is inductive, and a row's scores depend on the other rows.
        ValueError: scores of another shape, not numbers, or not finite.
    """
    query, part = material.query(run), material.part(run)
    start = time.perf_counter()
    before = previous.state if previous else state_of(method)
    began = time.perf_counter()
    scores = method.scores(query.features, query.classes)
    condensed = material.condensed(run, scores)
    ended = time.perf_counter()
    whole = np.asarray(scores)[part].astype(np.float64)
    del scores
    if not method.batchwise:
        alone = np.asarray(method.scores(copy_rows(query.features, part), query.classes)).astype(np.float64)
        _require_same_rows(type(method).__name__, whole, alone, material.unseen_candidates(run))
    require_same(method, before)
    return CondensedScores(condensed, ended - began, time.perf_counter() - ended + began - start, before)


def _require_same_rows(name: str, whole: Array, alone: Array, unseen: BoolArray) -> None:
    """Require that (r, k) scores of rows are the same among all rows of the query and among these rows alone."""
    if alone.shape != whole.shape:
        raise MethodFault(f"{name}.scores returns {alone.shape} scores for {len(whole)} rows, and not {whole.shape}.")
    with np.errstate(all="ignore"):
        whole, alone = (scores - np.median(scores, axis=1, keepdims=True) for scores in (whole, alone))
        low, high = np.quantile(whole, (0.1, 0.9), axis=1)
        spread = float(np.median(high - low)) or float(np.sqrt(np.square(whole).mean()))
        differs = ~(np.abs(whole - alone).max(axis=1) <= _TOLERANCE * spread)  # NaN differs
    for side in (unseen, ~unseen, np.full(len(unseen), True)):
        if side.any():
            differs |= whole[:, side].argmax(axis=1) != alone[:, side].argmax(axis=1)
    if differs.sum() > len(whole) // _ROUNDED:
        raise MethodFault(
            f"{name} calls itself inductive, but its scores of a row depend on the other rows that it is asked about: "
            f"{differs.sum()} of {len(whole)} rows score otherwise without the rest; use statistics of the training "
            "rows in scores, or give the method the setting transductive (marked ‡)."
        )


def _clear(error: BaseException | None) -> None:
    """Clear the local variables of all calls that an error and its causes came through."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@dataclasses.dataclass(frozen=True, eq=False)
class JobInProgress:
    """A job in progress, what it is asked at its checkpoints, and who hears of it."""

    job: Job
    material: OpenedHandout
    on_log: OnLog | None = None
    on_scored: OnScored | None = None
    faults: list[MethodFault] = dataclasses.field(default_factory=list)


JOBS_IN_PROGRESS: dict[int, JobInProgress] = {}
"""Of the jobs in progress. A method holds its `Context`, so nothing here may lead to the answers or to the data."""


class CheckpointScorer:
    """Forwards a method's log and scores it at checkpoints. It leads to no data and no answers: it holds a number."""

    def __init__(self, listeners: JobInProgress, every: int) -> None:
        self.number, self.every, self.seconds, self.checks = id(self), every, 0.0, 0.0
        JOBS_IN_PROGRESS[self.number] = listeners

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        del JOBS_IN_PROGRESS[self.number]

    def log(self, step: int, total: int, values: Mapping[str, float]) -> None:
        """Pass on what a method reports of its training."""
        if (on_log := JOBS_IN_PROGRESS[self.number].on_log) is not None:
            on_log(step, total, values)

    def __call__(self, method: Method, step: int) -> None:
        """Ask a method what each run of its job asks, if this step is one of those to be judged."""
        if step % self.every:
            return
        start = time.perf_counter()
        hearing = JOBS_IN_PROGRESS[self.number]
        try:
            runs = hearing.material.in_order(hearing.job.runs)
            replies: dict[str, CondensedScores] = {}
            reply: CondensedScores | None = None
            for run in runs:
                reply = replies[run.id] = score_query(method, hearing.material, run, reply)
        except BaseException as error:  # the method may catch it
            _clear(error)  # whose traceback must not lead to rows
            if isinstance(error, MethodFault):  # which fails the run at the end of its fit, caught or not
                hearing.faults.append(error)
            raise
        if hearing.on_scored:
            hearing.on_scored(hearing.job, step, [replies[run.id].condensed for run in hearing.job.runs])
        checks = sum(reply.checks for reply in replies.values())
        self.checks += checks
        self.seconds += time.perf_counter() - start - checks
