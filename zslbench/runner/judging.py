"""Judging: what a fit left of each run is held against the answers, which are read for that moment alone.

No method runs here. In the serial engine that is in the process of the method, but later or deeper on the stack.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from zslbench.arrays import AnyArray
from zslbench.protocols.base import Judgement
from zslbench.runner.finished import Finished, Scored, record_of, trace
from zslbench.runner.handout import answers_of, protocol_of
from zslbench.runner.kept_features import with_features
from zslbench.runner.runs import Job, Run


class Judging:
    """Judges the jobs of one batch: their checkpoints as they come, and their ends.

    Attributes:
        curves: metrics by step of each run, by its id.
    """

    def __init__(self) -> None:
        self.curves: dict[str, list[Mapping[str, Any]]] = {}

    def checkpoint(self, job: Job, step: int, condensed: Sequence[Mapping[str, AnyArray]]) -> list[dict[str, float]]:
        """Judge the runs of a job at one step of its fit; return the metrics of each.

        Raises:
            RuntimeError: they cannot be judged. Neither it nor its traceback leads to the answers: where this happens
                in the process of a method, the method might catch it.
        """
        try:
            judged, problem = _judged(job, condensed), ""
        except Exception as error:
            problem = trace(error)
        if problem:
            raise RuntimeError(problem)
        metrics = [dict(judgement.metrics) for judgement in judged]
        for run, of_run in zip(job.runs, metrics, strict=True):
            self.curves.setdefault(run.id, []).append({"step": step, "metrics": of_run})
        return metrics

    def finished(self, job: Job, results: Sequence[Scored]) -> list[Finished]:
        """Return the records of a job, with the predictions to keep beside them."""
        finished = [self._finished(run, scored, job) for run, scored in zip(job.runs, results, strict=True)]
        return with_features(finished, [scored.made for scored in results], job)

    def _finished(self, run: Run, scored: Scored, job: Job) -> Finished:
        curve = tuple(self.curves.pop(run.id, ()))
        if scored.condensed is None:
            curve = curve if scored.status == "skipped" else ()
            return Finished(record_of(run, scored.status, error=scored.error, curve=curve, **scored.facts))
        try:
            (answers,) = answers_of([run])
            start = time.perf_counter()
            judgement = protocol_of(run).mark(answers, scored.condensed)
        except Exception as error:
            return Finished(record_of(run, "failed", error=trace(error), **scored.facts))
        spent = time.perf_counter() - start
        timings = dict(scored.facts["timings"])
        timings |= {"evaluation": round(spent, 4), "total": round(timings["total"] + spent, 4)}
        facts = {**scored.facts, "timings": timings}
        record = record_of(run, "ok", metrics=dict(judgement.metrics), curve=curve, **facts)
        return Finished(record, judgement.predictions)


def _judged(job: Job, condensed: Sequence[Mapping[str, AnyArray]]) -> list[Judgement]:
    answers = answers_of(job.runs)
    return [
        protocol_of(run).mark(*given) for run, given in zip(job.runs, zip(answers, condensed, strict=True), strict=True)
    ]
