"""Coordination: which batches are this coordinator's to do, where several share one folder of records."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence

from zslbench.results.records.leases import Leases
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.runner.runs import Batch, Job, Run
from zslbench.runner.states import UNFINISHED, find

POLL = 1.0
"""Seconds between two looks at runs that another coordinator does."""


class Coordination:
    """Hands out batches, each run leased just before; what others hold comes last.

    Attributes:
        held: batches of runs that another coordinator had when they were asked for.
    """

    def __init__(
        self,
        store: ResultStore,
        leases: Leases,
        records: MutableMapping[str, Record | None],
        passed: Callable[[Job], None],
    ) -> None:
        """Begin.

        Args:
            records: of every run as it was found; those that others finish are put in.
            passed: is told of jobs that are not to be done any more.
        """
        self.store, self.leases, self.records, self.passed = store, leases, records, passed
        self.held: list[Batch] = []

    def rounds(self, work: Sequence[Batch], waits: Callable[[str], None]) -> Iterator[Iterator[Batch]]:
        """Yield batches as long as there are any: first what is free, then, again and again, what has become free.

        Args:
            work: all batches.
            waits: is told once, in a sentence, that runs of others are waited for.
        """
        yield self._free(work, False)
        announced = False
        while self.held:
            if not announced:
                waits(self._sentence())
                announced = True
            work, self.held = self.held, []
            began = time.monotonic()
            first = next(again := self._free(work, True), None)
            if first is None:
                if self.held:  # looking at many takes a tenth of the time at most
                    time.sleep(max(POLL, 9 * (time.monotonic() - began)))
                continue
            yield itertools.chain([first], again)

    def still_ours(self, job: Job) -> set[str]:
        """Return the ids of the runs of a job whose results count.

        Another coordinator may have taken over some of them while this process was stopped. For these the record of
        that coordinator counts, and this process waits until it is there.
        """
        ours, others = set(), []
        for run in job.runs:
            if self.leases.holds(run.id):
                ours.add(run.id)
            elif not self.leases.take(run.id):
                others.append(run)
            elif not self._done_by_another(run):
                ours.add(run.id)
        if others:
            self.held.append(Batch((dataclasses.replace(job, runs=tuple(others)),)))
        return ours

    def _done_by_another(self, run: Run) -> bool:
        """Return whether somebody else finished a run that was leased just now; then it is given up again."""
        now = find(self.store, run)
        if now is None or now == self.records[run.id] or now.status in UNFINISHED:
            return False
        self.records[run.id] = now
        self.leases.release([run.id])
        return True

    def _free(self, work: Sequence[Batch], thorough: bool) -> Iterator[Batch]:
        for batch in work:
            mine, held = [], []
            for job in batch.jobs:
                free, left = self._leased(job, thorough)
                if free:
                    mine.append(dataclasses.replace(job, runs=free))
                if left:
                    held.append(dataclasses.replace(job, runs=left))
                if not free and not left:
                    self.passed(job)
            if held:
                self.held.append(Batch(tuple(held)))
            if mine:
                yield Batch(tuple(mine))

    def _leased(self, job: Job, thorough: bool) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Return the runs of a job that are leased now, and those that others hold.

        The leases of a job are taken in one order everywhere, up to the first that is held: of two coordinators that
        want the same job, one gets all of it. A thorough call asks for each, and once more for those that were held
        where it got others: a holder that died between two of these looks has left all of them.
        """
        in_order = sorted(job.runs, key=lambda run: run.id)
        mine: set[str] = set()
        held: set[str] = set()
        for run in in_order:
            if held and not thorough:
                held.add(run.id)
            else:
                self._ask(run, mine, held)
        if thorough and mine:
            for run in [run for run in in_order if run.id in held]:
                held.remove(run.id)
                self._ask(run, mine, held)
        return tuple(run for run in job.runs if run.id in mine), tuple(run for run in job.runs if run.id in held)

    def _ask(self, run: Run, mine: set[str], held: set[str]) -> None:
        if not self.leases.take(run.id):
            held.add(run.id)
        elif not self._done_by_another(run):  # whoever had the lease before may just have finished
            mine.add(run.id)

    def _sentence(self) -> str:
        runs = [run for batch in self.held for job in batch.jobs for run in job.runs]
        holders = {str(holder) for run in runs if (holder := self.leases.holder_of(run.id))}
        by = f" ({', '.join(sorted(holders))})" if holders else ""
        count = "a run is" if len(runs) == 1 else f"{len(runs)} runs are"
        return f"{count} being done by another coordinator{by}; waiting for what comes of them (Ctrl-C ends the wait)."
