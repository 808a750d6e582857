"""Judging: what a fit left of each run is held against the answers, which are read for that moment alone.

No method runs here. In the serial engine that is in the process of the method, but later or deeper on the stack.
Features of unseen classes that are kept for pictures (`run --keep-features`) are put together here, too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import zslbench.data.splits as splits
from zslbench import seeding
from zslbench.arrays import AnyArray, Array, copy_rows
from zslbench.data.dataset import Dataset
from zslbench.methods.preprocess import Preprocessor
from zslbench.runner.handout import answers_of, dataset_of, protocol_of
from zslbench.runner.jobs import Job, Run
from zslbench.runner.run_records import RunResult, Synthesis, UnjudgedResult, describe_error, record_of
from zslbench.visible import last_line

_ROWS_SEED = 0
_COARSEST = 2.0**-10
"""Of what is largest: the error that half precision may bring."""


class BatchJudge:
    """Judges the jobs of one batch: their checkpoints as they come, and their ends; holds the curves by run."""

    def __init__(self) -> None:
        self.curves: dict[str, list[Mapping[str, Any]]] = {}

    def checkpoint(self, job: Job, step: int, condensed: Sequence[Mapping[str, AnyArray]]) -> list[dict[str, float]]:
        """Judge the runs of a job at one step of its fit; return the metrics of each.

        Neither a RuntimeError that says they cannot be judged nor its traceback leads to the answers: where this
        happens in the process of a method, the method might catch it.
        """
        try:
            metrics, problem = _metrics(job, condensed), ""
        except Exception as error:
            problem = describe_error(error)
        if problem:
            raise RuntimeError(problem)
        for run, of_run in zip(job.runs, metrics, strict=True):
            curve = self.curves.setdefault(run.id, [])
            if curve and step <= curve[-1]["step"]:  # a fit that failed among others begins again alone
                curve.clear()
            curve.append({"step": step, "metrics": of_run})
        return metrics

    def finished(self, job: Job, results: Sequence[UnjudgedResult]) -> list[RunResult]:
        """Return the records of a job, with the predictions and the features to keep beside them."""
        finished = [self._finished(run, scored) for run, scored in zip(job.runs, results, strict=True)]
        if (model := results[0].model) is not None:
            fact = {"error": model.error} if model.arrays is None else {"arrays": len(model.arrays)}
            finished = [
                dataclasses.replace(result.stamped(kept_model=fact), model=model.arrays) if result.record.ok else result
                for result in finished
            ]
        made = results[0].made  # the same for all runs of the fit
        if made is None or not any(result.record.ok for result in finished):
            return finished
        arrays, about = _features(made, job)
        return [
            dataclasses.replace(result.stamped(kept_features=about), features=arrays) if result.record.ok else result
            for result in finished
        ]

    def _finished(self, run: Run, scored: UnjudgedResult) -> RunResult:
        curve = tuple(self.curves.pop(run.id, ()))
        if scored.condensed is None:
            curve = curve if scored.status == "skipped" else ()
            return RunResult(record_of(run, scored.status, error=scored.error, curve=curve, **scored.facts))
        try:
            (answers,) = answers_of([run])
            start = time.perf_counter()
            judgement = protocol_of(run).mark(answers, scored.condensed)
        except Exception as error:
            return RunResult(record_of(run, "failed", error=describe_error(error), **scored.facts))
        spent = time.perf_counter() - start
        timings = dict(scored.facts["timings"])
        timings |= {"evaluation": round(spent, 4), "total": round(timings["total"] + spent, 4)}
        facts = {**scored.facts, "timings": timings}
        record = record_of(run, "ok", metrics=dict(judgement.metrics), curve=curve, **facts)
        return RunResult(record, judgement.predictions)


def _metrics(job: Job, condensed: Sequence[Mapping[str, AnyArray]]) -> list[dict[str, float]]:
    every = zip(job.runs, answers_of(job.runs), condensed, strict=True)
    return [dict(protocol_of(run).mark(answers, of_run).metrics) for run, answers, of_run in every]


def _features(made: Synthesis, job: Job) -> tuple[dict[str, AnyArray] | None, dict[str, Any]]:
    """Return the arrays to keep of what a method synthesised, and what the record says of them."""
    if made.rows is None:
        return None, {"error": made.error}
    per_class = job.how.keep_features
    try:
        arrays = _arrays(made.rows, made.scaling, per_class, *dataset_of(job.first))
    except Exception as error:
        return None, {"error": last_line(describe_error(error))}
    return arrays, {"per_class": per_class, "space": made.scaling.chain, "dtype": str(arrays["synthesised"].dtype)}


def _arrays(
    rows: Array, scaling: Preprocessor, per_class: int, dataset: Dataset, chosen: splits.Split
) -> dict[str, AnyArray]:
    """Return ``synthesised`` (k · per_class, d) and ``real`` (r, d), with the class ids of the rows of both.

    Real are up to `per_class` test rows of each unseen class. Which these are depends on the data set alone, and fewer
    are the first of more: methods can be drawn beside each other. A copy of the method's preprocessor brings them into
    the space of the synthesised ones.
    """
    labels = dataset.labels[chosen.asked_unseen]
    of_classes = [
        seeding.stream(_ROWS_SEED, f"pictured rows {label}").permutation(chosen.asked_unseen[labels == label])
        for label in chosen.unseen
    ]
    real_rows = np.concatenate([of_class[:per_class] for of_class in of_classes])
    real = scaling.transform(copy_rows(dataset.features, real_rows))
    if rows.shape != (len(chosen.unseen), per_class, real.shape[1]):
        raise ValueError(
            f"the method synthesised rows of shape {rows.shape}; {len(chosen.unseen)} × {per_class} were asked for"
        )
    both = np.concatenate([rows.reshape(-1, rows.shape[2]), real])
    with np.errstate(over="ignore"):
        half = both.astype(np.float16)  # halves the file, which no picture shows, where that keeps the rows
    keeps = np.abs(half - both).max(initial=0.0) <= _COARSEST * np.abs(both).max(initial=0.0)
    kept = half if keeps else both.astype(np.float32)
    first_real = len(both) - len(real)
    return {
        "synthesised": kept[:first_real],
        "synthesised_label": chosen.unseen.repeat(per_class),
        "real": kept[first_real:],
        "real_label": copy_rows(dataset.labels, real_rows),
    }
