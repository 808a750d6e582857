"""`Finished`: what a job leaves of each of its runs, and how its record is made."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping
from typing import Any

from zslbench.arrays import AnyArray, Array
from zslbench.errors import ZslbenchError
from zslbench.methods.base import Method
from zslbench.methods.preprocess import Preprocessor
from zslbench.metrics import SWEPT
from zslbench.results.records.record import Record, Status
from zslbench.runner.classes import method_class
from zslbench.runner.provenance import peak_memory, provenance
from zslbench.runner.runs import Job, Run


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """A record and the predictions to keep beside it (none when the run failed).

    `events` are phases with their start and duration in seconds, where a profile was asked for; `features` are rows of
    unseen classes, where they were asked for.
    """

    record: Record
    predictions: Mapping[str, AnyArray] | None = None
    events: tuple[tuple[str, float, float], ...] = ()
    features: Mapping[str, AnyArray] | None = None

    def stamped(self, **facts: str) -> Finished:
        """Return it with more facts in the provenance of its record."""
        record = dataclasses.replace(self.record, provenance={**self.record.provenance, **facts})
        return dataclasses.replace(self, record=record)


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """What a fit leaves of one run before it is judged: no answer is needed for it, and it holds none.

    Attributes:
        status: ok, failed or skipped.
        error: why not ok.
        facts: seconds by phase, memory, provenance (see `facts_of`).
        condensed: what is judged of the scores (see `Protocol.condense`).
        events: see `Finished`.
        made: rows that the method synthesised of each unseen class, where they were asked for.
    """

    status: Status
    error: str
    facts: Mapping[str, Any]
    condensed: Mapping[str, AnyArray] | None = None
    events: tuple[tuple[str, float, float], ...] = ()
    made: Synthesis | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Synthesis:
    """(k, per_class, d) synthesised rows, k unseen classes ascending, and what brings real rows into their space.

    `error` says why there are none.
    """

    rows: Array | None
    scaling: Preprocessor
    error: str = ""


def unfinished(job: Job, status: Status, error: str = "") -> list[Finished]:
    """Return the records of a job that did not come to its end (interrupted, crashed, timeout)."""
    return [Finished(record_of(run, status, error=error, **facts_of(job, None, {}))) for run in job.runs]


def facts_of(
    job: Job, method: Method | None, seconds: Mapping[str, float], company: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return how a job came about, for its records: seconds by phase, memory, provenance."""
    device = str(getattr(method, "device_", "cpu"))
    return {
        "timings": {phase: round(value, 4) for phase, value in seconds.items()},
        "memory": peak_memory(device),
        "provenance": provenance(method_class(job.first.method), device)
        | ({"training_threads": threads} if (threads := getattr(method, "threads_", None)) else {})
        | ({"precision": trained_at} if (trained_at := getattr(method, "precision_", None)) else {})
        | ({"checkpoint_every": job.how.checkpoint_every} if job.how.checkpoint_every else {})
        | dict(company or {}),
    }


def record_of(run: Run, status: Status, **facts: Any) -> Record:
    """Return the record of a run, without metrics that have no meaning for its scores."""
    identity = run.identity()
    if not run.one_scale:
        facts["metrics"] = _without_swept(facts.get("metrics", {}))
        facts["curve"] = tuple(
            {**point, "metrics": _without_swept(point["metrics"])} for point in facts.get("curve", ())
        )
    if run.tuned:
        facts["provenance"] = {**facts["provenance"], "tuned": run.tuned}
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
        dataset=identity["dataset"]
        | ({"split": run.dataset.split} if run.dataset.split else {})
        | ({"first_class": run.dataset.first_class} if run.dataset.first_class else {}),
        protocol=identity["protocol"],
        stage=run.stage,
        fold=run.fold,
        seed=run.seed,
        selection=run.selection,
        **facts,
    )


def _without_swept(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in SWEPT}


def trace(error: BaseException) -> str:
    """Return a user error as its sentence, and any other with its traceback."""
    if isinstance(error, ZslbenchError):
        return str(error)
    return "".join(traceback.format_exception(error))
