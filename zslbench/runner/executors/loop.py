"""The one loop that does batches, what it asks of an executor, the serial one, and who hears of jobs meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import FrameType, ModuleType
from typing import ClassVar, Self, TypeAlias

from zslbench.errors import EngineError, Unavailable
from zslbench.results.records.record import Status
from zslbench.results.records.training_states import CUT_SHORT, remove_states
from zslbench.runner.execute import execute
from zslbench.runner.handout import pack
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.judging import BatchJudge
from zslbench.runner.run_records import Checkpoint, Done, Logged, Message, Progressed, RunResult, Started, unfinished

Keep: TypeAlias = Callable[[Job, list[RunResult]], None]
_PRESSES = 3


class Listener:
    """Hears of jobs as they start, log and end; whoever overrides nothing ignores all of it."""

    def started(self, job: Job) -> None:
        """A job began."""

    def advanced(self, job: Job, phase: str, step: int, total: int) -> None:
        """A job did `step` of `total` steps of a phase; 0 of 0: a phase began that has no steps."""

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """A job finished `step` of `total` epochs, with losses."""

    def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """A checkpoint of one of the job's runs was judged. Raise `Stopped` to end the fit: its runs are skipped."""

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        """A job ended; its records are kept."""


class WorkerLost(Exception):
    """What a task's future raises when its worker died or was stopped; `limit` says which limit a run went past."""

    def __init__(self, status: Status, error: str, limit: str = "") -> None:
        super().__init__(status, error, limit)
        self.status, self.error, self.limit = status, error, limit


class WorkerPreempted(Exception):
    """What a task's future raises when its worker was lost by no fault of the task: its other runs are queued again."""


class BatchInFlight:
    """A batch under way, as its coordinator sees it.

    Attributes:
        batch: what was handed out.
        future: done when its worker is through with it or lost; no result, but it may raise `WorkerLost` or
            `WorkerPreempted`.
        waiting: jobs that are not done, by their key.
        began: when the one in front began (monotonic seconds), None before the worker said so.
        heard: whether the worker has said anything.
    """

    def __init__(self, batch: Batch, executor: str, listeners: Sequence[Listener], keep: Keep) -> None:
        self.batch, self.executor, self.listeners, self.keep = batch, executor, listeners, keep
        self.future: Future[None] = Future()
        self.waiting = {job.key: job for job in batch.jobs}
        self.began: float | None = None
        self.heard = False
        self._judging = BatchJudge()

    @property
    def share(self) -> int:
        """How many runs' worth of time the job in front stands for: seeds that train at once come out together."""
        untouched = len(self.waiting) == len(self.batch.jobs)
        return len({job.first.seed for job in self.batch.jobs}) if untouched else 1

    def hear(self, message: Message) -> None:
        """Pass a message on to the listeners; have the results of a job kept that was not done before."""
        self.heard = True
        if (job := self.waiting.get(message.job)) is None:
            return  # told again, by a worker that was given what another had done already
        match message:
            case Started():
                self.began = time.monotonic()
                for listener in self.listeners:
                    listener.started(job)
            case Progressed():
                for listener in self.listeners:
                    listener.advanced(job, message.phase, message.step, message.total)
            case Logged():
                for listener in self.listeners:
                    listener.logged(job, message.step, message.total, message.values)
            case Checkpoint():
                judged = self._judging.checkpoint(job, message.step, message.condensed)
                for run, metrics in zip(job.runs, judged, strict=True):
                    for listener in self.listeners:
                        listener.judged(job, run, message.step, metrics)
            case Done():
                self.began = None
                del self.waiting[message.job]
                self._keep(job, self._judging.finished(job, message.results))

    def left_over(self) -> list[Batch]:
        """Return what is to be done again, now that the future is done; keep the record of a job that was lost.

        A run that went past a limit keeps that in its record: to do it again under the same limit is of no use.
        Jobs done together whose worker is lost before the first is done are done again one by one and none is blamed:
        which of them it was is not known.
        """
        lost = self.future.exception()
        if lost is None or not self.waiting:
            return []
        if not isinstance(lost, WorkerLost):
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

    def _keep(self, job: Job, results: Sequence[RunResult], **facts: str) -> None:
        self.keep(job, [result.stamped(engine=self.executor, **facts) for result in results])
        if (states := job.how.states) and not {result.record.status for result in results} & CUT_SHORT:
            waiting = {run.id for job in self.waiting.values() for run in job.runs}
            remove_states(states.root, {run.id for run in job.runs}, waiting)


class Executor:
    """A place where tasks are done, entered before the first is submitted; no process is left behind when it is left.

    Attributes:
        name: as `zslbench.engine` and records call it.
        workers: how many tasks are done at once, as far as that is known.
        elsewhere: whether tasks are done in other processes; only then Ctrl-C can wait for the end of a look.
    """

    name: ClassVar[str]
    workers: int = 1
    elsewhere: ClassVar[bool] = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def room(self) -> int:
        """Return how many more tasks there are free workers for (EngineError: there can be none any more)."""
        return 1

    def submit(self, tasks: Sequence[BatchInFlight]) -> None:
        """Have tasks begun (EngineError: that is not possible)."""
        raise NotImplementedError

    def look(self) -> None:
        """Wait a moment; let tasks hear what their workers said, and set the futures of those that ended.

        EngineError says that nothing can be expected of the workers any more.
        """

    def cancel(self) -> None:
        """Stop all tasks; let them hear what their workers had said until then."""


class SerialExecutor(Executor):
    """One task after the other, in this process, each done when it is submitted.

    Answers are in memory while a job is judged and kept, and at no other time.

    Attributes:
        errors: for debugging, a list: what a method raises is put into it and raised, once its record is kept.
    """

    name = "serial"
    elsewhere = False
    errors: list[BaseException] | None = None

    def submit(self, tasks: Sequence[BatchInFlight]) -> None:
        """Do the task."""
        for task in tasks:
            execute(pack(task.batch), task.hear, errors=self.errors)
            task.future.set_result(None)


def import_extra(module: str, name: str) -> ModuleType:
    """Import a module of an extra (Unavailable: it is not installed; the sentence has the command that installs it)."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"the {name} engine needs {module}, which cannot be imported ({error}); pip install 'zslbench[{name}]'"
        ) from None


def do_batches(executor: Executor, batches: Iterator[Batch], listeners: Sequence[Listener], keep: Keep) -> None:
    """Do the jobs of every batch.

    The next batch is taken only when there is a free worker for it, so that whoever makes the batches can decide, up to
    that moment, what is still to be done. What a dead worker had not finished is handed out again, but for the run that
    it was at.

    Args:
        listeners: called in this process, wherever the jobs are done; `finished` alone is left to `keep`.
        keep: is given each job with its results as they are ready, in any order.

    Raises:
        KeyboardInterrupt, EngineError: once the jobs in flight have been kept as interrupted.
    """
    tasks: list[BatchInFlight] = []
    again: list[Batch] = []
    exhausted = False
    hold = defer_interrupts() if executor.elsewhere else contextlib.nullcontext(InterruptCounter())
    with hold as interrupt, executor:
        try:
            while tasks or again or not exhausted:
                fresh: list[BatchInFlight] = []
                for _ in range(executor.room()):
                    if (batch := again.pop(0) if again else next(batches, None)) is None:
                        exhausted = True
                        break
                    fresh.append(BatchInFlight(batch, executor.name, listeners, keep))
                tasks += fresh
                if fresh:
                    executor.submit(fresh)
                executor.look()
                for task in [task for task in tasks if task.future.done()]:
                    tasks.remove(task)
                    again += task.left_over()
                interrupt.check()
        except (KeyboardInterrupt, EngineError):
            executor.cancel()
            for task in tasks:
                if task.heard:  # what did not begin has no record
                    task.interrupt()
            raise


@dataclasses.dataclass(eq=False)
class InterruptCounter:
    """Counts how often Ctrl-C was pressed."""

    pressed: int = 0

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            self.pressed = 0
            raise KeyboardInterrupt


@contextlib.contextmanager
def defer_interrupts() -> Iterator[InterruptCounter]:
    """Hold Ctrl-C back until the block ends or calls `InterruptCounter.check`; the third press is not held back.

    Only the main thread hears of Ctrl-C, so elsewhere this does nothing.
    """
    state = InterruptCounter()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        state.pressed += 1
        if state.pressed >= _PRESSES:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, press)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)
        if state.pressed and callable(before):
            before(signal.SIGINT, None)
