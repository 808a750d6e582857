"""The one loop that does batches, whatever the executor; the executor of this process; Ctrl-C that is held back."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Self

from zslbench.errors import EngineError
from zslbench.runner.executors.base import Executor, Keep, Listener, Task
from zslbench.runner.executors.worker import do
from zslbench.runner.handout import pack
from zslbench.runner.runs import Batch

_PRESSES = 3


def do_batches(executor: Executor, batches: Iterator[Batch], listener: Listener, keep: Keep) -> None:
    """Do the jobs of every batch.

    The next batch is taken only when there is a free worker for it, so that whoever makes the batches can decide, up to
    that moment, what is still to be done. What a dead worker had not finished is handed out again, but for the run that
    it was at.

    Args:
        listener: is called in this process, wherever the jobs are done; `finished` alone is left to `keep`.
        keep: is given each job with its results as they are ready, in any order.

    Raises:
        KeyboardInterrupt, EngineError: once the jobs in flight have been kept as interrupted.
    """
    tasks: list[Task] = []
    again: list[Batch] = []
    exhausted = False
    hold = held() if executor.elsewhere else contextlib.nullcontext(Held())
    with hold as interrupt, executor:
        try:
            while tasks or again or not exhausted:
                fresh: list[Task] = []
                for _ in range(executor.room()):
                    if (batch := again.pop(0) if again else next(batches, None)) is None:
                        exhausted = True
                        break
                    fresh.append(Task(batch, executor.name, listener, keep))
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


class SerialExecutor(Executor):
    """One task after the other, in this process, each done when it is submitted.

    Answers are in memory while a job is judged and kept, and at no other time.
    """

    name = "serial"
    elsewhere = False

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Do nothing."""

    def room(self) -> int:
        """Return one."""
        return 1

    def submit(self, tasks: Sequence[Task]) -> None:
        """Do the task."""
        for task in tasks:
            do(task.batch, pack(task.batch), task.hear)
            task.future.set_result(None)

    def look(self) -> None:
        """Do nothing: all has been heard."""

    def cancel(self) -> None:
        """Do nothing."""


@dataclasses.dataclass(eq=False)
class Held:
    """Counts how often Ctrl-C was pressed."""

    pressed: int = 0

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            self.pressed = 0
            raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Hold Ctrl-C back until the block ends or asks for it by `Held.check`; the third press is not held back.

    Only the main thread hears of Ctrl-C, so elsewhere this does nothing.
    """
    state = Held()
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
