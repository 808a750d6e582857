"""`StudyPlan`: one or several requests that are run together, and the parts that are done in the same way."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.errors import BadValue, ZslbenchError
from zslbench.results.records.record import Record
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class
from zslbench.runner.executors import Executor, choice
from zslbench.runner.jobs import Batch, How, batches, jobs
from zslbench.runner.lacking import lacking
from zslbench.runner.request import Request, SeedsAtOnce
from zslbench.runner.resources import devices


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs that are done in the same way.

    Attributes:
        how, seeds_at_once: the way.
        runs: in the order of the plan.
    """

    how: How
    seeds_at_once: SeedsAtOnce
    runs: tuple[Run, ...]

    def batches(self, ids: Container[str]) -> list[Batch]:
        """Return the batches in which those of the runs that have these ids are to be done."""
        todo = [run for run in self.runs if run.id in ids]
        return batches(jobs(todo, self.how), self.seeds_at_once == "always" or self._gains(todo))

    def _gains(self, todo: Sequence[Run]) -> bool:
        """Whether several seeds at once gain: there are some, their method offers it, and the device is a GPU."""
        if self.seeds_at_once != "auto" or self.how.device == "cpu":
            return False
        counts = Counter(run.seeds_key for run in todo if method_class(run.method).offers_seeds())
        return max(counts.values(), default=0) > 1 and any(name.startswith("cuda") for name in devices())

    def remarks(self, records: Mapping[str, Record | None]) -> list[str]:
        """Say in what the finished runs differ from how they would be done now."""
        return list(lacking([(run, records[run.id]) for run in self.runs], self.how))


@dataclasses.dataclass(frozen=True)
class Planned:
    """The runs of a study, without repetition, by the way they are done, and remarks for the user."""

    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """Every run."""
        return [run for part in self.parts for run in part.runs]


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """What a plan file says.

    Attributes:
        path: the file; None where the request was typed.
        requests: by the name of each study.
        runs: the folder of records, device: where it is run; None where the plan does not say.
        engine: words for `zslbench.engine`, by the plan's keys; empty where the plan does not say.
    """

    requests: Mapping[str, Request]
    path: Path | None = None
    runs: Path | None = None
    device: str | None = None
    engine: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def made_engine(self, device: str) -> Executor:
        """Return the engine that the plan names.

        Raises:
            ZslbenchError: see `zslbench.engine`.
        """
        words = dict(self.engine)
        return choice.engine(words.pop("engine", None), device=device, config=words.pop("engine_config", None), **words)

    def planned(self, runs: Path, device: str) -> Planned:
        """Return the runs of all requests; one that several mean is done in the way of the first.

        Raises:
            ZslbenchError: a request that cannot be met; that of a plan file is named.
        """
        found: dict[tuple[How, SeedsAtOnce], list[Run]] = {}
        seen: set[str] = set()
        remarks: dict[str, None] = {}
        for name, request in self.requests.items():
            try:
                way = request.how(device), request.seeds_at_once
                plan = request.plan(runs)
            except ZslbenchError as error:
                if self.path is None:
                    raise
                where = f"{self.path}, {name}" if len(self.requests) > 1 else str(self.path)
                raise BadValue(f"{where}: {error}") from None
            found.setdefault(way, []).extend(run for run in plan.runs if run.id not in seen)
            seen |= {run.id for run in plan.runs}
            remarks |= dict.fromkeys(plan.remarks)
        return Planned(tuple(Part(*way, tuple(some)) for way, some in found.items()), tuple(remarks))
