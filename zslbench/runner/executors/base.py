"""What an executor is, what it is given (`Task`) and what workers say while they do it (messages)."""

from __future__ import annotations

import abc
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import ClassVar, Self, TypeAlias, TypeVar

from zslbench.arrays import AnyArray
from zslbench.results.records.record import Status
from zslbench.runner.finished import Finished, Scored, unfinished
from zslbench.runner.judging import Judging
from zslbench.runner.runs import Batch, Job, Run

T = TypeVar("T")
Keep: TypeAlias = Callable[[Job, list[Finished]], None]


class Listener:
    """Hears of jobs as they start, log and end; whoever overrides nothing ignores all of it."""

    def started(self, job: Job) -> None:
        """A job began."""

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """A job finished `step` of `total` epochs, with losses."""

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """A checkpoint of one of the job's runs was judged. Raise `Stopped` to end the fit: its runs are skipped."""

    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """A job ended; its records are kept."""


@dataclasses.dataclass(frozen=True)
class Several(Listener):
    """Passes on what it hears to each of several listeners."""

    listeners: Sequence[Listener]

    def started(self, job: Job) -> None:
        """Tell each."""
        for listener in self.listeners:
            listener.started(job)

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """Tell each."""
        for listener in self.listeners:
            listener.logged(job, step, total, values)

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Tell each."""
        for listener in self.listeners:
            listener.judged(job, run, step, metrics)

    def finished(self, job: Job, results: Sequence[Finished]) -> None:
        """Tell each."""
        for listener in self.listeners:
            listener.finished(job, results)


@dataclasses.dataclass(frozen=True)
class Started:
    """The job of this key began."""

    job: str


@dataclasses.dataclass(frozen=True)
class Logged:
    """See `Listener.logged`."""

    job: str
    step: int
    total: int
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint of a job was scored: what is judged of each of its runs, in their order."""

    job: str
    step: int
    condensed: Sequence[Mapping[str, AnyArray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Done:
    """A job ended: what is left to be judged of each of its runs, in their order."""

    job: str
    results: Sequence[Scored]


Message: TypeAlias = Started | Logged | Checkpoint | Done


class Lost(Exception):
    """What a task's future raises when its worker died or was stopped; `limit` says which limit a run went past."""

    def __init__(self, status: Status, error: str, limit: str = "") -> None:
        super().__init__(status, error, limit)
        self.status, self.error, self.limit = status, error, limit


class Blameless(Exception):
    """What a task's future raises when its worker was lost by no fault of its own: what is left is handed out again."""


class Task:
    """A batch under way, as its coordinator sees it.

    Attributes:
        batch: what was handed out.
        future: done when its worker is through with it or lost; it has no result, but may raise `Lost` or `Blameless`.
        waiting: jobs that are not done, by their key.
        began: when the one in front began (monotonic seconds), None before the worker said so.
        heard: whether the worker has said anything.
    """

    def __init__(self, batch: Batch, executor: str, listener: Listener, keep: Keep) -> None:
        self.batch, self.executor, self.listener, self.keep = batch, executor, listener, keep
        self.future: Future[None] = Future()
        self.waiting = {job.key: job for job in batch.jobs}
        self.began: float | None = None
        self.heard = False
        self._judging = Judging()

    @property
    def share(self) -> int:
        """How many runs' worth of time the job in front stands for: seeds that train at once come out together."""
        untouched = len(self.waiting) == len(self.batch.jobs)
        return len({job.first.seed for job in self.batch.jobs}) if untouched else 1

    def hear(self, message: Message) -> None:
        """Pass a message on to the listener; have the results of a job kept that was not done before."""
        self.heard = True
        if (job := self.waiting.get(message.job)) is None:
            return  # told again, by a worker that was given what another had done already
        match message:
            case Started():
                self.began = time.monotonic()
                self.listener.started(job)
            case Logged():
                self.listener.logged(job, message.step, message.total, message.values)
            case Checkpoint():
                judged = self._judging.checkpoint(job, message.step, message.condensed)
                for run, metrics in zip(job.runs, judged, strict=True):
                    self.listener.judged(job, run, message.step, metrics)
            case Done():
                self.began = None
                del self.waiting[message.job]
                self._keep(job, self._judging.finished(job, message.results))

    def left_over(self) -> list[Batch]:
        """Return what is to be done again, now that the future is done; keep the record of a job that was lost.

        A run that went past a limit keeps that in its record: to do it again under the same limit is of no use.
        Jobs in company whose worker is lost before the first is done are done again one by one and none is blamed:
        which of them it was is not known.
        """
        lost = self.future.exception()
        if lost is None or not self.waiting:
            return []
        if not isinstance(lost, Lost):
            return [Batch(tuple(self.waiting.values()))]
        if len(self.waiting) == len(self.batch.jobs) > 1:
            return [Batch((job,)) for job in self.waiting.values()]
        front, *rest = self.waiting.values()
        limit = {"limit": lost.limit} if lost.limit else {}
        self._keep(front, unfinished(front, lost.status, lost.error), **limit)
        return [Batch(tuple(rest))] if rest else []

    def interrupt(self) -> None:
        """Keep records of all that is not done as interrupted."""
        for job in self.waiting.values():
            self._keep(job, unfinished(job, "interrupted"))
        self.waiting = {}

    def _keep(self, job: Job, results: Sequence[Finished], **facts: str) -> None:
        self.keep(job, [result.stamped(engine=self.executor, **facts) for result in results])


class Executor(abc.ABC):
    """A place where tasks are done, entered before the first is submitted and left after the last.

    Attributes:
        name: as `zslbench.engine` and records call it.
        workers: how many tasks are done at once, as far as that is known.
        elsewhere: whether tasks are done in other processes; only then Ctrl-C can wait for the end of a look.
    """

    name: ClassVar[str]
    workers: int = 1
    elsewhere: ClassVar[bool] = True

    @abc.abstractmethod
    def __enter__(self) -> Self:
        """Get ready for tasks."""

    @abc.abstractmethod
    def __exit__(self, *raised: object) -> None:
        """Leave no process behind."""

    @abc.abstractmethod
    def room(self) -> int:
        """Return how many more tasks there are free workers for."""

    @abc.abstractmethod
    def submit(self, tasks: Sequence[Task]) -> None:
        """Have tasks begun.

        Raises:
            EngineError: that is not possible.
        """

    @abc.abstractmethod
    def look(self) -> None:
        """Wait a moment; let tasks hear what their workers said, and set the futures of those that ended.

        Raises:
            EngineError: nothing can be expected of the workers any more.
        """

    @abc.abstractmethod
    def cancel(self) -> None:
        """Stop all tasks; let them hear what their workers had said until then."""


def bounded(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, made in a thread of its own, which is left behind when it takes too long.

    A library's own time limits may not hold: Dask's end at its event loop, which may not turn any more.

    Raises:
        TimeoutError: it took too long.
    """
    answers: list[T] = []
    raised: list[BaseException] = []

    def make() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=make, name="zslbench-bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answers[0]
