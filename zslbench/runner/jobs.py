"""Jobs: which runs share one fit, and batches: which fits share work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from zslbench.results.records.wording import name_run
from zslbench.runner.cells import Run
from zslbench.runner.classes import method_class

MOST_SEEDS = 8
"""Fits that are trained at once: their weights and both of their Adams are in memory together."""


@dataclasses.dataclass(frozen=True)
class How:
    """How runs are done: nothing of it is part of what they mean.

    Attributes:
        device: auto, cpu, cuda, cuda:N or mps.
        checkpoint_every: judge a method while it trains, every so many epochs; 0: never.
        precision, profile: see `Context`.
        keep_features: rows to keep of each unseen class, synthesised and real, for pictures; 0: none.
    """

    device: str = "auto"
    checkpoint_every: int = 0
    precision: str = "float32"
    profile: bool = False
    keep_features: int = 0


@dataclasses.dataclass(frozen=True)
class Job:
    """One fit and the runs that it serves."""

    runs: tuple[Run, ...]
    how: How = dataclasses.field(default_factory=How)

    @property
    def first(self) -> Run:
        """The run that stands for what all runs of the job share."""
        return self.runs[0]

    @property
    def key(self) -> str:
        """What names it: the ids of its runs, in their order."""
        return " ".join(run.id for run in self.runs)

    def __str__(self) -> str:
        run = self.first
        rules = [one.protocol for one in self.runs]
        return name_run(run.label, run.dataset.name, rules, run.stage, run.fold, run.seed)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Jobs to be done together: points of a grid, or seeds, whose method fits them all at once; else a single one."""

    jobs: tuple[Job, ...]

    @property
    def first(self) -> Job:
        """The job that stands for what all of the batch share: method, data, stage, seed, device."""
        return self.jobs[0]


def jobs(runs: Iterable[Run], how: How | None = None) -> list[Job]:
    """Return the fits that the runs need, in order of first appearance."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.fit_key, []).append(run)
    return [Job(tuple(group), how or How()) for group in grouped.values()]


def batches(work: Iterable[Job], seeds_at_once: bool = False) -> list[Batch]:
    """Return the jobs in batches, in order of first appearance.

    Jobs of a method that offers a grid go together when they differ in hyper-parameters only, and with `seeds_at_once`
    those of a method that offers several seeds when they differ in the seed only, up to eight. Those that are judged
    while they train stay alone: a checkpoint belongs to one fit.
    """
    grouped: dict[str, list[Job]] = {}
    for job in work:
        grouped.setdefault(_company(job, seeds_at_once), []).append(job)
    found = []
    for group in grouped.values():
        most = MOST_SEEDS if len({job.first.seed for job in group}) > 1 else len(group)
        found += [Batch(tuple(group[start : start + most])) for start in range(0, len(group), most)]
    return found


def _company(job: Job, seeds_at_once: bool) -> str:
    """Return the key of the jobs that a job may be done with."""
    cls = method_class(job.first.method)
    if not job.how.checkpoint_every and seeds_at_once and cls.offers_seeds():
        return job.first.seeds_key
    if not job.how.checkpoint_every and cls.offers_grid():
        return job.first.grid_key
    return job.first.fit_key
