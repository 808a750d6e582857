"""Jobs: which runs share one fit, and batches: which fits share work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from zslbench.runner.plan import Run, method_class


@dataclasses.dataclass(frozen=True)
class Job:
    """One fit and the runs that it serves."""

    runs: tuple[Run, ...]
    device: str = "auto"
    checkpoint_every: int = 0

    @property
    def first(self) -> Run:
        """The run that stands for what all runs of the job share."""
        return self.runs[0]

    def __str__(self) -> str:
        run = self.first
        stage = "" if run.stage == "final" else f" dev{run.fold}"
        return f"{run.label} {run.dataset.name} {'+'.join(r.protocol for r in self.runs)}{stage} seed {run.seed}"


@dataclasses.dataclass(frozen=True)
class Batch:
    """Jobs to be done together: the points of a grid whose method fits them all at once, else a single one."""

    jobs: tuple[Job, ...]

    @property
    def first(self) -> Job:
        """The job that stands for what all of the batch share: method, data, stage, seed, device."""
        return self.jobs[0]


def jobs(runs: Iterable[Run], device: str = "auto", checkpoint_every: int = 0) -> list[Job]:
    """Return the fits that the runs need, in order of first appearance."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.fit_key, []).append(run)
    return [Job(tuple(group), device, checkpoint_every) for group in grouped.values()]


def batches(work: Iterable[Job]) -> list[Batch]:
    """Return the jobs in batches, in order of first appearance.

    Jobs of a method that offers a grid go together when they differ in hyper-parameters only. Those that are judged
    while they train stay alone: a checkpoint belongs to one fit.
    """
    grouped: dict[str, list[Job]] = {}
    for job in work:
        together = method_class(job.first.method).offers_grid() and not job.checkpoint_every
        grouped.setdefault(job.first.grid_key if together else job.first.fit_key, []).append(job)
    return [Batch(tuple(group)) for group in grouped.values()]
