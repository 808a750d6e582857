"""Coordination: which batches are this coordinator's to do, where several share one folder of records."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence

from zslbench.results.records.leases import Leases
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.run_states import UNFINISHED, find_record

POLL = 1.0
"""Seconds between two looks at runs that another coordinator does."""


class Coordination:
    """Hands out batches, each run leased just before; what others hold comes last.

    Attributes:
        records: of every run as it was at first; those that others finish are put in.
        passed: is told of jobs that are not to be done any more.
        held: batches of runs that another coordinator had when they were asked for.
    """

    def __init__(
        self,
        store: ResultStore,
        leases: Leases,
        records: MutableMapping[str, Record | None],
        passed: Callable[[Job], None],
    ) -> None:
        self.store, self.leases, self.records, self.passed = store, leases, records, passed
        self.held: list[Batch] = []

    def rounds(self, work: Sequence[Batch], waits: Callable[[str], None]) -> Iterator[Iterator[Batch]]:
        """Yield batches as long as there are any: first what is free, then, again and again, what has become free.

        Args:
            work: all batches.
            waits: is told once, in a sentence, that runs of others are waited for.
        """
        yield self._free(work, False)
        if self.held:
            waits(self._sentence())
        while self.held:
            work, self.held = self.held, []
            began = time.monotonic()
            again = self._free(work, True)
            if (first := next(again, None)) is not None:
                yield itertools.chain([first], again)
            elif self.held:  # looking at many takes a tenth of the time at most
                time.sleep(max(POLL, 9 * (time.monotonic() - began)))

    def still_ours(self, job: Job) -> set[str]:
        """Return the ids of the runs of a job whose results count.

        Another coordinator may have taken over some of them while this process was stopped. For these the record of
        that coordinator counts, and this process waits until it is there.
        """
        ours = {run.id: self.leases.holds(run.id) or self._lease(run) for run in job.runs}
        if others := tuple(run for run in job.runs if ours[run.id] is False):
            self.held.append(Batch((dataclasses.replace(job, runs=others),)))
        return {run_id for run_id, is_ours in ours.items() if is_ours}

    def _lease(self, run: Run) -> bool | None:
        """Return whether a run is leased now; None where somebody else finished it, whose record is put in."""
        if not self.leases.take(run.id):
            return False
        now = find_record(self.store, run)  # whoever had the lease before may just have finished
        if now is None or now == self.records[run.id] or now.status in UNFINISHED:
            return True
        self.records[run.id] = now
        self.leases.release([run.id])
        return None

    def _free(self, work: Sequence[Batch], thorough: bool) -> Iterator[Batch]:
        for batch in work:
            mine, held = [], []
            for job in batch.jobs:
                free, left = self._lease_all(job, thorough)
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

    def _lease_all(self, job: Job, thorough: bool) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Return the runs of a job that are leased now, and those that others hold.

        The leases of a job are taken in one order everywhere, up to the first that is held: of two coordinators that
        want the same job, one gets all of it. A thorough call asks for each, and once more for those that were held
        where it got others: a holder that died between two of these looks has left all of them.
        """
        in_order = sorted(job.runs, key=lambda run: run.id)
        leased: dict[str, bool | None] = {}
        for run in in_order:
            leased[run.id] = self._lease(run) if thorough or False not in leased.values() else False
        if thorough and True in leased.values():
            leased |= {run.id: self._lease(run) for run in in_order if leased[run.id] is False}
        free, held = (tuple(run for run in job.runs if leased[run.id] is state) for state in (True, False))
        return free, held

    def _sentence(self) -> str:
        runs = [run for batch in self.held for job in batch.jobs for run in job.runs]
        holders = {str(holder) for run in runs if (holder := self.leases.holder_of(run.id))}
        by = f" ({', '.join(sorted(holders))})" if holders else ""
        count = "a run is" if len(runs) == 1 else f"{len(runs)} runs are"
        return f"{count} being done by another coordinator{by}; waiting for what comes of them (Ctrl-C ends the wait)."
