"""One task after the other, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from zslbench.runner.executors.base import Executor, Task
from zslbench.runner.executors.worker import do
from zslbench.runner.handout import pack


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
