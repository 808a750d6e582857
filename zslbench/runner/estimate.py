"""How long runs may take, by the records of earlier ones."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from zslbench.identity import canonical_json
from zslbench.methods.base import Size
from zslbench.results.records.record import Record
from zslbench.runner.class_lookup import method_class
from zslbench.runner.handout import dataset_of
from zslbench.runner.jobs import Batch, Job

_UNSHARED = ("scores", "evaluation")
"""Phases of a run that the fit does not share with the other protocols."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How long runs may take, and what that rests on.

    Attributes:
        seconds: of all runs of which something comparable was run, divided among the workers.
        same: runs known from records of the same method, parameters and data.
        scaled: runs known from other records of the method, by what it declares as its cost (see `Method.cost`).
        unknown: runs of which nothing comparable was run, by method.
        workers: how many runs are done at once.
    """

    seconds: float = 0.0
    same: int = 0
    scaled: int = 0
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    workers: int = 1

    @property
    def runs(self) -> int:
        """How many runs are to be done."""
        return self.same + self.scaled + sum(self.unknown.values())

    def __str__(self) -> str:
        known = self.same + self.scaled
        nothing = ", ".join(f"{count} of {name}" for name, count in self.unknown.items())
        if not known:
            return f"unknown, nothing comparable was run ({nothing})" if nothing else "nothing is left to do"
        grounds = [
            f"{self.same} by records of the same method, parameters and data" if self.same else "",
            f"{self.scaled} scaled from other records of the method" if self.scaled else "",
        ]
        by = f" with {self.workers} workers" if self.workers > 1 else ""
        lacking = f"; unknown for {nothing}, nothing comparable was run" if nothing else ""
        return f"about {_say_time(self.seconds)}{by} for {known} runs ({', '.join(filter(None, grounds))}){lacking}"


@dataclasses.dataclass(frozen=True)
class _Past:
    """What one record tells: seconds of a fit alone, those not shared with other runs, and of scoring and judging."""

    fit: float
    spent: float
    unshared: float
    work: float
    data: str

    def scaled(self, work: float, data: str) -> _Past:
        """Return what is to be expected of another amount of work."""
        ratio = work / self.work
        unshared = self.unshared if data == self.data else self.unshared * ratio
        return _Past(self.fit * ratio, self.spent * ratio, unshared, work, data)


def estimate(work: Iterable[Batch], records: Iterable[Record], workers: int = 1) -> Estimate:
    """Estimate how long batches take.

    What is known of a run are the means over finished runs of the same method, parameters and data; where there are
    none, those of the same method, first on the same data, each scaled by the cost that the method declares. Points of
    a grid after the first take what such points took beyond what they shared.
    """
    exact, others = _history(records)
    sizes: dict[tuple[object, ...], Size] = {}
    seconds, same, scaled = 0.0, 0, 0
    unknown: Counter[str] = Counter()
    for batch in work:
        together = len({job.first.seed for job in batch.jobs}) > 1
        for place, job in enumerate(batch.jobs):
            run, count = job.first, len(job.runs)
            key = run.method, canonical_json(dict(run.params)), run.dataset.fingerprint, run.stage, together
            same_work = exact.get(key, [])
            nearest = same_work or _scaled(job, others.get((run.method, together), []), sizes)
            if not nearest:
                unknown[run.method] += count
                continue
            alone = together or place == 0
            fit = statistics.fmean(past.fit if alone else past.spent for past in nearest)
            seconds += fit + statistics.fmean(past.unshared for past in nearest) * count
            same, scaled = (same + count, scaled) if same_work else (same, scaled + count)
    return Estimate(seconds / workers, same, scaled, dict(unknown), workers)


_History: TypeAlias = dict[tuple[object, ...], list[_Past]]


def _history(records: Iterable[Record]) -> tuple[_History, _History]:
    """Return what is known by method, parameters and data, and by method alone; seeds at once are told apart.

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
        past = _Past(fit, min(fit, of_fit), unshared, known, record.dataset["fingerprint"])
        exact[key].append(past)
        if known:
            others[record.method["name"], key[-1]].append(past)
    return exact, others


def _scaled(job: Job, past: Sequence[_Past], sizes: dict[tuple[object, ...], Size]) -> list[_Past]:
    """Return what records with other parameters or data let expect of a job; nothing where no cost is declared.

    `sizes` are those of the training sets that were looked at so far, and grows: a grid has one for all its points.
    """
    if not past:
        return []
    run = job.first
    data = run.dataset, run.stage, run.fold
    if data not in sizes:
        dataset, chosen = dataset_of(run)
        features, semantics = dataset.features.shape[1], dataset.semantics.shape[1]
        sizes[data] = Size(len(chosen.train), features, semantics, len(chosen.seen))
    work = method_class(run.method)(**run.params).cost(sizes[data])
    if not work:
        return []
    on_same = [earlier for earlier in past if earlier.data == run.dataset.fingerprint]
    return [earlier.scaled(work, run.dataset.fingerprint) for earlier in on_same or past]


def _say_time(seconds: float) -> str:
    """Return a time in the words of a forecast.

    >>> _say_time(0.2), _say_time(45.3), _say_time(2000), _say_time(40_000), _say_time(900_000)
    ('a second', '45 s', '33 min', '11 h 7 min', '10 days 10 h')
    """
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return "a second" if seconds < 1.5 else f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} days {hours % 24} h"
