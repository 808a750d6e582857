"""How long runs may take, by the records of earlier ones."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from zslbench.identity import canonical_json
from zslbench.methods.base import Size
from zslbench.results.records.live_studies import FitKey
from zslbench.results.records.record import Record
from zslbench.runner.class_lookup import method_class
from zslbench.runner.handout import dataset_of
from zslbench.runner.jobs import Batch, Job, Run, RunConditions
from zslbench.visible import format_count, format_time

Sizes: TypeAlias = dict[tuple[object, ...], Size]
_UNSHARED = ("scores", "evaluation")
"""Phases of a run that the fit does not share with the other protocols."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How long runs may take, and what that rests on.

    Attributes:
        seconds: for all runs that have a comparable earlier run, divided among the workers.
        same: runs known from records of the same method, parameters and data.
        scaled: runs known from other records of the method, by what it declares as its cost (see `Method.cost`).
        unknown: number of runs without a comparable earlier run, by method.
        workers: how many runs are done at once.
        measured: number of runs known from a few timed steps (see `zslbench.runner.probe`).
        per_fit: seconds per fit, by method, data set and stage, where they are known.
        lacking: fits of methods without any earlier run on the same data.
    """

    seconds: float = 0.0
    same: int = 0
    scaled: int = 0
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    workers: int = 1
    measured: int = 0
    per_fit: Mapping[FitKey, float] = dataclasses.field(default_factory=dict, compare=False)
    lacking: tuple[Job, ...] = dataclasses.field(default=(), compare=False)

    @property
    def runs(self) -> int:
        """How many runs are to be done."""
        return self.same + self.scaled + self.measured + sum(self.unknown.values())

    def __str__(self) -> str:
        known = self.same + self.scaled + self.measured
        nothing = ", ".join(f"{count} of {name}" for name, count in self.unknown.items())
        if not known:
            return f"unknown, nothing comparable was run ({nothing})" if nothing else "nothing is left to do"
        grounds = [
            f"{self.same} by records of the same method, parameters and data" if self.same else "",
            f"{self.scaled} scaled from other records of the method" if self.scaled else "",
            f"{self.measured} by a few steps that were measured" if self.measured else "",
        ]
        by = f" with {self.workers} workers" if self.workers > 1 else ""
        lacking = f"; unknown for {nothing}, nothing comparable was run" if nothing else ""
        runs = format_count(known, "run")
        return f"{say_about(self.seconds)}{by} for {runs} ({', '.join(filter(None, grounds))}){lacking}"


@dataclasses.dataclass(frozen=True)
class PastFit:
    """Seconds that a record or a probe gives: a fit on its own, its part not shared with other runs, and scoring.

    `device` and `precision` are those of its training; None: not known, or without effect.
    """

    fit: float
    spent: float
    unshared: float
    work: float
    data: str
    device: str | None = None
    precision: str | None = None

    def is_like(self, how: RunConditions) -> bool:
        """Return whether it was fitted on such a device and at such a precision, as far as both are known."""
        device = how.device.partition(":")[0]
        return (device == "auto" or self.device in (None, device)) and self.precision in (None, how.precision)

    def scaled(self, work: float, data: str) -> PastFit:
        """Return the seconds expected for another amount of work."""
        ratio = work / self.work
        unshared = self.unshared if data == self.data else self.unshared * ratio
        return PastFit(self.fit * ratio, self.spent * ratio, unshared, work, data, self.device, self.precision)


def estimate(
    work: Iterable[Batch],
    records: Iterable[Record],
    workers: int = 1,
    measured: Mapping[str, Sequence[PastFit]] = MappingProxyType({}),
) -> Estimate:
    """Estimate how long batches take.

    The estimate of a run is the mean over finished runs of the same method, parameters and data. If there are none, it
    is the mean over other runs of the method, preferably on the same data, each scaled by the cost that the method
    declares. Points of a grid after the first take what such points took beyond the work that they shared.

    Args:
        measured: results of probes by method name; they are preferred to records of other parameters.
    """
    exact, others = _group_past_fits(records)
    sizes: Sizes = {}
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    lacking: list[Job] = []
    groups: dict[FitKey, list[float]] = defaultdict(list)
    for batch in work:
        together = len({job.first.seed for job in batch.jobs}) > 1
        for place, job in enumerate(batch.jobs):
            run, count = job.first, len(job.runs)
            key = run.method, canonical_json(dict(run.params)), run.dataset.fingerprint, run.stage, together
            same, related, probes = (
                [past for past in known if past.is_like(job.how)]
                for known in (
                    exact.get(key, []),
                    others.get((run.method, together), []),
                    [] if together else measured.get(run.method, []),
                )
            )
            if not any(past.data == run.dataset.fingerprint for past in (*same, *related)):
                lacking.append(job)
            if same:
                way, nearest = "same", same
            elif nearest := _scale_past_fits(job, probes, sizes):
                way = "measured"
            else:
                way, nearest = "scaled", _scale_past_fits(job, related, sizes)
            if not nearest:
                unknown[run.method] += count
                continue
            alone = together or place == 0
            fit = statistics.fmean(past.fit if alone else past.spent for past in nearest)
            seconds = fit + statistics.fmean(past.unshared for past in nearest) * count
            groups[key_of(job)].append(seconds)
            counts[way] += count
    return Estimate(
        math.fsum(seconds for of_group in groups.values() for seconds in of_group) / workers,
        counts["same"],
        counts["scaled"],
        dict(unknown),
        workers,
        counts["measured"],
        per_fit={key: statistics.fmean(of_group) for key, of_group in groups.items()},
        lacking=tuple(lacking),
    )


_History: TypeAlias = dict[tuple[object, ...], list[PastFit]]


def _group_past_fits(records: Iterable[Record]) -> tuple[_History, _History]:
    """Group past fits by method, parameters and data, and by method alone; fits of several seeds at once are separate.

    The protocols of a fit share it: what the fit took in wall-clock time is the sum over them of what was not shared.
    """
    spent: dict[tuple[object, ...], float] = defaultdict(float)
    timed = []
    for record in records:
        together = "seeds_at_once" in record.provenance
        if not record.ok or "total" not in record.timings or not (record.seconds_known or together):
            continue
        params, data = canonical_json(dict(record.method["params"])), record.dataset["fingerprint"]
        key = record.method["name"], params, data, record.stage, together
        unshared = sum(record.timings.get(phase, 0.0) for phase in _UNSHARED)
        fit = record.timings["total"] - unshared
        spent[*key, record.fold, record.seed] += fit - record.timings.get("shared", 0.0)
        timed.append((record, key, fit, unshared))
    exact: _History = defaultdict(list)
    others: _History = defaultdict(list)
    for record, key, fit, unshared in timed:
        work = record.provenance.get("work")
        known = float(work) if isinstance(work, int | float) and work > 0 else 0.0
        of_fit = max(spent[*key, record.fold, record.seed], 0.0)
        how = str(record.provenance.get("device", "")).partition(":")[0] or None, record.provenance.get("precision")
        past = PastFit(fit, min(fit, of_fit), unshared, known, record.dataset["fingerprint"], *how)
        exact[key].append(past)
        if known:
            others[record.method["name"], key[-1]].append(past)
    return exact, others


def key_of(job: Job) -> FitKey:
    """Return the group of fits that a job belongs to."""
    return job.first.method, job.first.dataset.shown_name, job.first.stage


def size_of(run: Run, sizes: Sizes) -> Size:
    """Return the size of a run's training set; `sizes` caches the sizes computed so far."""
    data = run.dataset, run.stage, run.fold
    if data not in sizes:  # a grid has one for all its points
        dataset, chosen = dataset_of(run)
        features, semantics = dataset.features.shape[1], dataset.semantics.shape[1]
        sizes[data] = Size(len(chosen.train), features, semantics, len(chosen.seen))
    return sizes[data]


def cost_of(run: Run, sizes: Sizes) -> float | None:
    """Return the cost that the method declares for a run's fit; None if it declares none."""
    return method_class(run.method)(**run.params).cost(size_of(run, sizes))


def _scale_past_fits(job: Job, past: Sequence[PastFit], sizes: Sizes) -> list[PastFit]:
    """Return fits with other parameters or data scaled to the cost of a job; empty if no cost is declared."""
    work = cost_of(job.first, sizes) if past else None
    if not work:
        return []
    fingerprint = job.first.dataset.fingerprint
    on_same = [earlier for earlier in past if earlier.data == fingerprint]
    return [earlier.scaled(work, fingerprint) for earlier in on_same or past]


def say_about(seconds: float) -> str:
    """Return a forecast in words; a time below one second counts as one."""
    return f"about {format_time(max(seconds, 1.0))}"
