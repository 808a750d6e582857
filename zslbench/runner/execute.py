"""Do a batch of jobs: fit, score for each protocol, and send what is left to be judged of each run.

This module never holds answers or test labels, nor, while a method is being fitted, test rows that it is not told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
import traceback
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Self

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, copy_rows
from zslbench.errors import MethodFault
from zslbench.loss_curve import LossCurve
from zslbench.methods.base import Context, Method, Size, fitted_state
from zslbench.methods.preprocess import Preprocessor
from zslbench.methods.saved_state import pack_state
from zslbench.results.records.store import MOST_IN_ARRAYS
from zslbench.runner.class_lookup import method_class
from zslbench.runner.handout import OpenedHandout, PackedHandout
from zslbench.runner.job_in_progress import JOBS_IN_PROGRESS, JobInProgress, Send, TrainingKeeper
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.method_state import require_same, state_of
from zslbench.runner.run_records import (
    Checkpoint,
    Done,
    KeptState,
    Logged,
    Progressed,
    Started,
    Stopped,
    Synthesis,
    UnjudgedResult,
    describe_error,
    facts_of,
    reset_peaks,
)
from zslbench.step_reports import SCORING, hear_progress, report_progress
from zslbench.task import Train
from zslbench.visible import last_line

PROGRESS_EVERY = 0.5
"""Seconds between two reports of the steps of a phase; its first and its last one are reported at once."""
_TOLERANCE = 1e-3
"""Of the spread of a row's scores. Rounding that depends on the size of a batch stays below 4e-6 of it in single and
1e-13 in double precision: measured on a CPU for every inductive method here, small networks trained briefly, on digits,
CUB and flowers. What uses the other rows, such as scaling by their mean, moves scores by 0.1."""
_ROUNDED = 20
"""One row in so many may differ: one whose best candidates are level up to rounding."""


def execute(
    parcel: PackedHandout, send: Send, log_every: float = 0.0, errors: list[BaseException] | None = None
) -> None:
    """Do the jobs of a batch, in order: fit each method once, score for each of its protocols, send each at once.

    Whatever a method raises becomes a `failed` result with its traceback; what the protocols share (the fit) fails for
    all of them, a fault in `scores` for that protocol only. Fits done together that fail are tried again one by one, so
    that a fault stays with the one it belongs to. KeyboardInterrupt passes through.

    Args:
        log_every: seconds between two reports of a method's training; the last one is always sent.
        errors: where there is a list, what a method raises is put into it, and raised again once the results of its
            job are sent; no further job is done.
    """
    waiting = list(parcel.batch.jobs)
    send(Started(waiting[0].key))
    reported = "", 0.0

    def report(phase: str, step: int, total: int) -> bool:
        nonlocal reported
        now = time.monotonic()
        due = phase != reported[0] or now - reported[1] >= PROGRESS_EVERY or step == total
        if waiting and due:
            reported = phase, now
            send(Progressed(waiting[0].key, str(phase), step, total))
        return False

    with hear_progress(report), contextlib.closing(_results(parcel, send, log_every, errors)) as all_results:
        for job, results in all_results:
            waiting.remove(job)
            send(Done(job.key, results))
            if errors:
                raise errors[0]
            del results  # of the next job, nothing in memory says more than of the first
            if waiting:
                send(Started(waiting[0].key))


def _results(
    parcel: PackedHandout, send: Send, log_every: float, errors: list[BaseException] | None
) -> Generator[tuple[Job, list[UnjudgedResult]]]:
    """Yield the results of each job; an error of whoever takes them is no fault of a method."""
    batch = parcel.batch
    try:
        material = OpenedHandout(parcel)
    except Exception as error:
        _note_error(errors, error)
        for job in batch.jobs:
            failed = UnjudgedResult("failed", describe_error(error), facts_of(job, None, {"total": 0.0}))
            yield job, [failed] * len(job.runs)
        return
    with material:
        progress = JobInProgress(batch.first, material, send, log_every, batch, errors=errors)
        waiting, group_facts = list(batch.jobs), dict[str, Any]()
        if len(waiting) > 1:
            try:
                for job, results in _fit_together(batch, progress):
                    waiting.remove(job)
                    yield job, results
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                group_facts = {"failed_together": last_line(describe_error(error))}
        for job in waiting:
            yield job, _fit_alone(progress.alone(job), group_facts)


def _fit_alone(progress: JobInProgress, facts: Mapping[str, Any]) -> list[UnjudgedResult]:
    job, material = progress.job, progress.material
    start = time.perf_counter()
    method: Method | None = None
    losses = LossCurve()
    try:
        method = build_method(job.first)
        start = time.perf_counter()
        with CheckpointScorer(progress) as scorer:
            ctx = _context(job, scorer)
            losses = ctx.losses
            reset_peaks()
            with ctx.phase("data"):
                train = material.train(job.first.told)
            facts = {**facts, **_work(method, train)}
            with ctx.phase("fit"):
                method.fit(train, ctx)
        if progress.faults:
            raise progress.faults[0]
        if job.how.checkpoint_every:
            progress.leave_judging_out_of(ctx.seconds)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        facts = facts_of(
            job, method, {"total": time.perf_counter() - start}, {**facts, **progress.facts}, losses.to_dict()
        )
        skipped = isinstance(error, Stopped)
        _note_error(progress.errors, error)
        ended = UnjudgedResult(
            "skipped" if skipped else "failed", str(error) if skipped else describe_error(error), facts
        )
        return [ended] * len(job.runs)
    total = time.perf_counter() - start + ctx.shared - progress.judging[1]
    seconds = {**ctx.seconds, "total": total, "shared": ctx.shared}
    return _scored(progress, method, seconds, {**facts, **progress.facts}, losses)


def _fit_together(batch: Batch, progress: JobInProgress) -> Iterator[tuple[Job, list[UnjudgedResult]]]:
    """Fit all points of a grid, or all seeds, at once.

    Each point of a grid is charged with what it shares as if it had done it alone. Of seeds, whose steps are batched
    products, nobody knows what one alone would take: their time is divided among them, and nothing is called shared.
    Nor is it of points that are judged while they train, which nobody does for one of them alone.
    """
    points = [build_method(job.first) for job in batch.jobs]
    material = progress.material
    with CheckpointScorer(progress) as scorer:
        judged = bool(batch.first.how.checkpoint_every)
        contexts = [_context(job, scorer if job is batch.first else None) for job in batch.jobs]
        start = time.perf_counter()
        ctx, cls = contexts[0], type(points[0])
        reset_peaks()
        with ctx.measured() as preparation, ctx.phase("data"):
            train = material.train(batch.first.first.told)
        one_seed = len({job.first.seed for job in batch.jobs}) == 1
        fitting = cls.fit_grid(points, train, ctx) if one_seed else cls.fit_seeds(points, train, contexts)
        group_facts = {"grid_points" if one_seed else "seeds_at_once": len(points)}
        share = 1 if one_seed else 1 / len(points)
        ctx.apart = False  # until the method measures what its points share
        for job, point, context in zip(batch.jobs, points, contexts, strict=True):
            progress.job = job
            if one_seed:
                reset_peaks()
            with ctx.phase("fit"):
                method = next(fitting)
            if method is not point:
                raise RuntimeError("points must be yielded, each of them and in order")
            if progress.faults:
                raise progress.faults[0]
            if context is ctx or one_seed:
                shared = sum(other.shared for other in contexts)
                spent: defaultdict[str, float] = defaultdict(float)
                for phase, value in (pair for other in contexts for pair in other.seconds.items()):
                    spent[phase] += value
                spent["total"] = time.perf_counter() - start + shared
                spent["fit"] += shared - ctx.shared  # what other seeds are charged with is outside the first's phase
                seconds = {phase: value * share for phase, value in spent.items()}
                if judged:
                    progress.leave_judging_out_of(seconds)
                    seconds["total"] -= progress.judging[1]
                elif one_seed and ctx.apart:
                    seconds["shared"] = shared
            losses = ctx.losses if one_seed else context.losses
            facts = {**group_facts, **_work(method, train), **progress.facts}
            yield job, _scored(progress, method, seconds, facts, losses)
            for name in fitted_state(point):  # one fit at a time is in memory
                delattr(point, name)
            ctx.seconds.clear()
            ctx.shared, ctx.losses = 0.0, LossCurve()
            ctx.charge(preparation)
            start = time.perf_counter()


def _scored(
    progress: JobInProgress,
    method: Method,
    seconds: Mapping[str, float],
    facts: Mapping[str, Any],
    losses: LossCurve,
) -> list[UnjudgedResult]:
    """Score with a fitted method for each protocol.

    Each is charged with the fit. All but the first of the job, which is shown first, share it, in whatever order they
    are asked.
    """
    job, material = progress.job, progress.material
    results: dict[str, UnjudgedResult] = {}
    reply: CondensedScores | None = None
    curve = losses.to_dict()
    if_shared = {**seconds, "shared": seconds["total"]} if "shared" in seconds else seconds
    for run in material.in_order(job.runs):
        charged = seconds if run is job.first else if_shared
        report_progress(f"{SCORING}{run.protocol}")
        start = time.perf_counter()
        try:
            reply = score_query(method, material, run, reply)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reply = None
            _note_error(progress.errors, error)
            spent = {**charged, "total": charged["total"] + time.perf_counter() - start}
            results[run.id] = UnjudgedResult(
                "failed", describe_error(error), facts_of(job, method, spent, facts, curve)
            )
            continue
        spent = {**charged, "scores": reply.scores, "checks": charged.get("checks", 0.0) + reply.checks}
        spent["total"] += reply.scores  # the checks are this package's, not what a result costs
        results[run.id] = UnjudgedResult("ok", "", facts_of(job, method, spent, facts, curve), reply.condensed)
    is_scored = any(scored.condensed for scored in results.values())
    made = _synthesise_unseen(method, job.how.keep_features if is_scored else 0, material)
    model = _keep_state(method) if job.how.save_model and is_scored else None
    return [dataclasses.replace(results[run.id], made=made, model=model) for run in job.runs]


def _keep_state(method: Method) -> KeptState:
    """Return the state of a method that has been scored, or why it cannot be kept: its numbers stay."""
    try:
        arrays = pack_state(method)
    except Exception as error:
        return KeptState(None, last_line(describe_error(error)))
    if (size := sum(array.nbytes for array in arrays.values())) > MOST_IN_ARRAYS:  # what nobody could read again
        return KeptState(None, f"it takes {size:,} bytes, and at most {MOST_IN_ARRAYS:,} are kept")
    return KeptState(arrays)


def _work(method: Method, train: Train) -> dict[str, float]:
    """Return what estimates of time scale by, where the method declares it."""
    work = method.cost(Size.of(train))
    return {} if work is None else {"work": float(work)}


def _context(job: Job, scorer: CheckpointScorer | None) -> Context:
    how = job.how
    judge = scorer if how.checkpoint_every else None
    on_log = scorer.log if scorer else None
    keeper = TrainingKeeper(scorer.number) if scorer and how.states else None
    return Context(
        job.first.seed, how.device, on_log, judge, precision=how.precision, profile=how.profile, keeper=keeper
    )


def build_method(run: Run) -> Method:
    """Return the unfitted method of a run; the libraries that it names are loaded."""
    method = method_class(run.method)(**run.params)
    for name in method.libraries:
        importlib.import_module(name)
    return method


def _synthesise_unseen(method: Method, per_class: int, material: OpenedHandout) -> Synthesis | None:
    """Return what a scored method synthesises of each unseen class, None where nothing is asked for or it makes none.

    Called when everything was scored, so no number depends on it. A method that raises here keeps its numbers; its
    record says why it has no features. No real row reaches the method: its preprocessor, as it was before, goes along.
    """
    if not per_class or not type(method).offers_synthesis():
        return None
    kept = getattr(method, "preprocessor_", None)
    scaling = kept.copy() if type(kept) is Preprocessor else Preprocessor("none")
    before = dict(vars(method))
    try:
        return Synthesis(method.synthesise(material.unseen(), per_class), scaling)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Synthesis(None, scaling, last_line(describe_error(error)))
    finally:  # attributes alone: no test row was there to be kept elsewhere
        vars(method).clear()
        vars(method).update(before)


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


class CheckpointScorer:
    """Forwards a method's log and scores it at checkpoints. It leads to no data and no answers: it holds a number."""

    def __init__(self, progress: JobInProgress) -> None:
        self.number = id(self)
        JOBS_IN_PROGRESS[self.number] = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        del JOBS_IN_PROGRESS[self.number]

    def log(self, step: int, total: int, values: Mapping[str, float]) -> None:
        """Pass on what a method reports of its training."""
        progress, now = JOBS_IN_PROGRESS[self.number], time.monotonic()
        if step >= total or now - progress.logged >= progress.log_every:
            progress.logged = now
            progress.send(Logged(progress.job.key, step, total, values))

    def __call__(self, method: Method, step: int) -> None:
        """Ask a method what its job and those that share its training ask, if this is a step to be judged."""
        progress = JOBS_IN_PROGRESS[self.number]
        if step % progress.job.how.checkpoint_every:
            return
        if (kept := progress.kept_judged.get(step)) is not None:  # by the fit that this one goes on from
            progress.judged.append(kept)
            for checkpoint in kept:
                progress.send(checkpoint)
            return
        start = time.perf_counter()
        checks, checkpoints = 0.0, list[Checkpoint]()
        try:
            for job in progress.served:
                point = method if job is progress.job else _with_params_of(job, method)
                replies: dict[str, CondensedScores] = {}
                reply: CondensedScores | None = None
                for run in progress.material.in_order(job.runs):
                    reply = replies[run.id] = score_query(point, progress.material, run, reply)
                    checks += reply.checks
                checkpoints.append(Checkpoint(job.key, step, [replies[run.id].condensed for run in job.runs]))
        except BaseException as error:  # the method may catch it
            _clear(error)  # whose traceback must not lead to rows
            if isinstance(error, MethodFault):  # which fails the run at the end of its fit, caught or not
                progress.faults.append(error)
            raise
        if job.how.states:
            progress.judged.append(checkpoints)
        for checkpoint in checkpoints:
            progress.send(checkpoint)
        judging = progress.judging
        progress.judging = judging[0] + time.perf_counter() - start - checks, judging[1] + checks


def _with_params_of(job: Job, method: Method) -> Method:
    """Return a job's method with the fitted state of one that differs from it in what only `scores` reads."""
    point = build_method(job.first)
    vars(point).update(fitted_state(method))
    return point


def _note_error(errors: list[BaseException] | None, error: BaseException) -> None:
    """Put an error of a method into the list of those that are to be raised, if there is one."""
    if errors is not None and not isinstance(error, Stopped):
        errors.append(error)


def _clear(error: BaseException | None) -> None:
    """Clear the local variables of all calls that an error and its causes came through."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
