"""How long runs may take, by the records of earlier ones."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from zslbench.identity import canonical_json
from zslbench.results.record import Record
from zslbench.runner.jobs import Batch

_Key = tuple[str, ...]
_OWN = ("scores", "evaluation")
"""Phases of a run that the fit does not share with the other protocols."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How long runs may take, and what that rests on.

    Attributes:
        seconds: of all runs that something is known of, divided among the workers.
        same: runs known from the same method on the same data set; elsewhere: from the same method on other data.
        unknown: runs of which nothing is known, by method.
        workers: how many runs are done at once.
    """

    seconds: float
    same: int
    elsewhere: int
    unknown: dict[str, int]
    workers: int = 1

    @property
    def runs(self) -> int:
        """How many runs are to be done."""
        return self.same + self.elsewhere + sum(self.unknown.values())

    def __str__(self) -> str:
        known = self.same + self.elsewhere
        nothing = ", ".join(f"{count} of {name}" for name, count in self.unknown.items())
        if not known:
            return f"no earlier record tells how long they take ({nothing})" if nothing else "nothing is left to do"
        rests = [
            f"{self.same} by records of the same method and data set" if self.same else "",
            f"{self.elsewhere} by those of the same method on other data" if self.elsewhere else "",
        ]
        by = f" with {self.workers} workers" if self.workers > 1 else ""
        lacking = f"; nothing is known of {nothing}" if nothing else ""
        return f"about {_told(self.seconds)}{by} for {known} runs ({', '.join(filter(None, rests))}){lacking}"


def estimate(work: Iterable[Batch], records: Iterable[Record], workers: int = 1) -> Estimate:
    """Estimate how long batches take.

    The seconds of a fit and those of its protocols are means over finished runs: of the same method, parameters and
    data set where there are some, else of the same method and data set, else of the same method.
    """
    known: dict[_Key, list[tuple[float, float]]] = {}
    for record in records:
        if record.ok and "total" in record.timings:
            own = sum(record.timings.get(phase, 0.0) for phase in _OWN)
            for key in _keys(record.method["name"], record.dataset["name"], record.method["params"]):
                known.setdefault(key, []).append((record.timings["total"] - own, own))
    means = {
        key: (statistics.fmean(fit for fit, _ in spent), statistics.fmean(own for _, own in spent))
        for key, spent in known.items()
    }
    seconds, same, elsewhere = 0.0, 0, 0
    unknown: Counter[str] = Counter()
    for job in (job for batch in work for job in batch.jobs):
        count = len(job.runs)
        keys = _keys(job.first.method, job.first.dataset.name, job.first.params)
        nearest = next((key for key in keys if key in means), None)
        if nearest is None:
            unknown[job.first.method] += count
            continue
        fit, own = means[nearest]
        seconds += fit + own * count
        same, elsewhere = (same, elsewhere + count) if len(nearest) == 1 else (same + count, elsewhere)
    return Estimate(seconds / workers, same, elsewhere, dict(unknown), workers)


def _keys(method: str, dataset: str, params: Mapping[str, Any]) -> tuple[_Key, ...]:
    """Return what a run may be known by, the nearest first."""
    return (method, dataset, canonical_json(dict(params))), (method, dataset), (method,)


def _told(seconds: float) -> str:
    """Return a time in the words of a forecast.

    >>> _told(0.2), _told(45.3), _told(2000), _told(40_000), _told(900_000)
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
