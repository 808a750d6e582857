"""Do a batch of jobs: fit, score for each protocol, and return what is left to be judged of each run.

Nothing here holds an answer, a label of the test or, while a method is fitted, a row of it.
"""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from zslbench.methods.base import Context, Judge, Method, Size
from zslbench.methods.preprocess import Preprocessor
from zslbench.runner.class_lookup import method_class
from zslbench.runner.handout import OpenedHandout, Parcel
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.run_records import Scored, Synthesis, describe_error, facts_of, reset_peaks
from zslbench.runner.scoring import (
    CheckpointScorer,
    CondensedScores,
    JobInProgress,
    OnLog,
    OnScored,
    Stopped,
    score_query,
)
from zslbench.task import Train
from zslbench.visible import last_line


def execute(
    batch: Batch, parcel: Parcel, on_log: OnLog | None = None, on_scored: OnScored | None = None
) -> Iterator[tuple[Job, list[Scored]]]:
    """Do the jobs of a batch, in order: fit each method once and score for each of its protocols.

    Whatever a method raises becomes a `failed` result with its traceback; what the protocols share (the fit) fails
    for all of them, a fault in `scores` for that protocol only. Fits in company that
    fail are tried again one by one, so that a fault stays with the one it belongs to. KeyboardInterrupt passes through.

    Args:
        parcel: the handout of the batch (see `zslbench.runner.handout`).
        on_log: hears what methods log; on_scored: hears of checkpoints.
    """
    try:
        material = OpenedHandout(batch.first.first.dataset, parcel)
    except Exception as error:
        for job in batch.jobs:
            yield job, [Scored("failed", describe_error(error), facts_of(job, None, {"total": 0.0}))] * len(job.runs)
        return
    with material:
        waiting, company = list(batch.jobs), None
        if len(waiting) > 1:
            try:
                for job, results in _together(batch, material, on_log):
                    waiting.remove(job)
                    yield job, results
            except (Exception, SystemExit) as error:
                company = {"failed_together": last_line(describe_error(error))}
        for job in waiting:
            yield job, _single(job, material, on_log, on_scored, company)


def _single(
    job: Job,
    material: OpenedHandout,
    on_log: OnLog | None,
    on_scored: OnScored | None,
    company: Mapping[str, Any] | None = None,
) -> list[Scored]:
    start = time.perf_counter()
    method: Method | None = None
    facts = dict(company or {})
    try:
        method = _build(job.first)
        start = time.perf_counter()
        listeners = JobInProgress(job, material, on_log, on_scored)
        with CheckpointScorer(listeners, job.how.checkpoint_every) as bell:
            ctx = _context(job, bell.log, bell if job.how.checkpoint_every else None)
            reset_peaks()
            with ctx.phase("data"):
                train = material.train()
            facts |= _work(method, train)
            with ctx.phase("fit"):
                method.fit(train, ctx)
        if listeners.faults:
            raise listeners.faults[0]
        if job.how.checkpoint_every:  # judging is not fitting
            ctx.seconds["judge"] = bell.seconds
            ctx.seconds["fit"] -= bell.seconds + bell.checks
            ctx.seconds["checks"] = bell.checks
    except (Exception, SystemExit) as error:
        facts = facts_of(job, method, {"total": time.perf_counter() - start}, facts)
        skipped = isinstance(error, Stopped)
        ended = Scored("skipped" if skipped else "failed", str(error) if skipped else describe_error(error), facts)
        return [ended] * len(job.runs)
    total = time.perf_counter() - start + ctx.shared - bell.checks
    seconds = {**ctx.seconds, "total": total, "shared": ctx.shared}
    return _scored(material, method, job, seconds, facts)


def _together(batch: Batch, material: OpenedHandout, on_log: OnLog | None) -> Iterator[tuple[Job, list[Scored]]]:
    """Fit all points of a grid, or all seeds, at once.

    Each point of a grid is charged with what it shares as if it had done it alone. Of seeds, whose steps are batched
    products, nobody knows what one alone would take: their time is divided among them, and nothing is called shared.
    """
    points = [_build(job.first) for job in batch.jobs]
    with CheckpointScorer(JobInProgress(batch.first, material, on_log), 0) as bell:
        contexts = [_context(job, bell.log if job is batch.first else None) for job in batch.jobs]
        start = time.perf_counter()
        ctx, cls = contexts[0], type(points[0])
        reset_peaks()
        with ctx.measured() as preparation, ctx.phase("data"):
            train = material.train()
        one_seed = len({job.first.seed for job in batch.jobs}) == 1
        fitting = cls.fit_grid(points, train, ctx) if one_seed else cls.fit_seeds(points, train, contexts)
        company = {"grid_points" if one_seed else "seeds_at_once": len(points)}
        share = 1 if one_seed else 1 / len(points)
        ctx.apart = False  # until the method measures what its points share
        for job, point, context in zip(batch.jobs, points, contexts, strict=True):
            if one_seed:
                reset_peaks()
            with ctx.phase("fit"):
                method = next(fitting)
            if method is not point:
                raise RuntimeError("points must be yielded, each of them and in order")
            if context is ctx or one_seed:
                shared = sum(other.shared for other in contexts)
                spent: defaultdict[str, float] = defaultdict(float)
                for phase, value in (pair for other in contexts for pair in other.seconds.items()):
                    spent[phase] += value
                spent["total"] = time.perf_counter() - start + shared
                spent["fit"] += shared - ctx.shared  # what other seeds are charged with is outside the first's phase
                seconds = {phase: value * share for phase, value in spent.items()}
                seconds |= {"shared": shared} if one_seed and ctx.apart else {}
            yield job, _scored(material, method, job, seconds, company | _work(method, train))
            for name in [name for name in vars(point) if name.endswith("_")]:  # one fit at a time is in memory
                delattr(point, name)
            ctx.seconds.clear()
            ctx.shared = 0.0
            ctx.charge(preparation)
            start = time.perf_counter()


def _scored(
    material: OpenedHandout,
    method: Method,
    job: Job,
    seconds: Mapping[str, float],
    facts: Mapping[str, Any],
) -> list[Scored]:
    """Score with a fitted method for each protocol.

    Each is charged with the fit. All but the first of the job, which is shown first, share it, in whatever order they
    are asked.
    """
    results: dict[str, Scored] = {}
    reply: CondensedScores | None = None
    riding = {**seconds, "shared": seconds["total"]} if "shared" in seconds else seconds
    for run in material.in_order(job.runs):
        charged = seconds if run is job.first else riding
        start = time.perf_counter()
        try:
            reply = score_query(method, material, run, reply)
        except (Exception, SystemExit) as error:
            reply = None
            spent = {**charged, "total": charged["total"] + time.perf_counter() - start}
            results[run.id] = Scored("failed", describe_error(error), facts_of(job, method, spent, facts))
            continue
        spent = {**charged, "scores": reply.scores, "checks": charged.get("checks", 0.0) + reply.checks}
        spent["total"] += reply.scores  # the checks are this package's, not what a result costs
        results[run.id] = Scored("ok", "", facts_of(job, method, spent, facts), reply.condensed)
    per_class = job.how.keep_features if any(scored.condensed for scored in results.values()) else 0
    made = _synthesise_unseen(method, per_class, material)
    return [dataclasses.replace(results[run.id], made=made) for run in job.runs]


def _work(method: Method, train: Train) -> dict[str, Any]:
    """Return what estimates of time scale by, where the method declares it."""
    work = method.cost(Size.of(train))
    return {} if work is None else {"work": float(work)}


def _context(job: Job, on_log: OnLog | None, judge: Judge | None = None) -> Context:
    how = job.how
    return Context(job.first.seed, how.device, on_log, judge, precision=how.precision, profile=how.profile)


def _build(run: Run) -> Method:
    method = method_class(run.method)(**run.params)
    for name in method.libraries:
        importlib.import_module(name)
    return method


def _synthesise_unseen(method: Method, per_class: int, material: OpenedHandout) -> Synthesis | None:
    """Return what a scored method synthesises of each unseen class, None where nothing is asked for or it makes none.

    Called when everything was scored, so no number depends on it. A method that raises here keeps its numbers; its
    record says why it has no features. No real row reaches the method: its preprocessor, as it was before, goes along.

    Args:
        per_class: rows of each unseen class; 0: none.
    """
    if not per_class or not type(method).offers_synthesis():
        return None
    kept = getattr(method, "preprocessor_", None)
    scaling = kept.copy() if type(kept) is Preprocessor else Preprocessor("none")
    before = dict(vars(method))
    try:
        return Synthesis(method.synthesise(material.unseen(), per_class), scaling)
    except (Exception, SystemExit) as error:
        return Synthesis(None, scaling, last_line(describe_error(error)))
    finally:  # attributes alone: no test row was there to be kept elsewhere
        vars(method).clear()
        vars(method).update(before)
