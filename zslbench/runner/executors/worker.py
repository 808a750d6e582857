"""What a worker does with a batch, wherever it is, and what it says to its coordinator meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from zslbench.arrays import AnyArray
from zslbench.errors import Unavailable
from zslbench.runner.execute import execute
from zslbench.runner.executors.base import Checkpoint, Done, Logged, Message, Started
from zslbench.runner.finished import Scored
from zslbench.runner.handout import Parcel
from zslbench.runner.resources import let_threads_sleep
from zslbench.runner.runs import Batch, Job

LOG_EVERY = 0.1
"""Seconds between two reports of a method's training; those between are not passed on, the last one always is."""

Send = Callable[[Message], object]


def do(batch: Batch, parcel: Parcel, send: Send, log_every: float = 0.0) -> None:
    """Do a batch and send what happens, each finished job at once. Nothing in this process knows a label of the test.

    Args:
        parcel: its handout, which is empty afterwards.
        log_every: seconds between two reports of a method's training.
    """
    reporter = _Reporter(send, log_every, batch.first.key)
    send(Started(reporter.job))
    waiting = [job.key for job in batch.jobs]
    for job, results in execute(batch, parcel, reporter.logged, reporter.scored):
        waiting.remove(job.key)
        reporter.job = waiting[0] if waiting else ""
        send(Done(job.key, results))
        del results  # of the next job, nothing in memory says more than of the first
        if waiting:
            send(Started(reporter.job))


@dataclasses.dataclass(eq=False)
class _Reporter:
    """Sends what a method reports, with the key of the job that is being done."""

    send: Send
    log_every: float
    job: str
    _spoke: float = 0.0

    def logged(self, step: int, total: int, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if step >= total or now - self._spoke >= self.log_every:
            self._spoke = now
            self.send(Logged(self.job, step, total, values))

    def scored(self, _: Job, step: int, condensed: Sequence[Mapping[str, AnyArray]]) -> None:
        self.send(Checkpoint(self.job, step, condensed))


def do_as_worker(batch: Batch, parcel: Parcel, send: Send) -> None:
    """Do a batch in a process that is not its coordinator's: what is sent can be pickled, and says how many threads."""
    threads = worker_threads()

    def send_plain(message: Message) -> None:
        if isinstance(message, Logged):
            message = dataclasses.replace(message, values={name: float(x) for name, x in message.values.items()})
        elif isinstance(message, Done):
            message = dataclasses.replace(message, results=[_with_threads(one, threads) for one in message.results])
        send(message)

    do(batch, parcel, send_plain, LOG_EVERY)


def _with_threads(scored: Scored, threads: int) -> Scored:
    provenance = {**scored.facts["provenance"], "worker_threads": threads}
    return dataclasses.replace(scored, facts={**scored.facts, "provenance": provenance})


def worker_threads() -> int:
    """Return the threads that linear algebra uses in this process."""
    from threadpoolctl import threadpool_info

    return max((int(pool["num_threads"]) for pool in threadpool_info()), default=1)


def limit_threads(count: int) -> None:
    """Let BLAS and, where it is loaded, torch use so many threads in this process."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


@dataclasses.dataclass(frozen=True)
class Home:
    """Where the coordinator is: methods named ``pkg.module:Class`` and folders of data are looked for from there.

    Attributes:
        folder: its working folder; path: its `sys.path`.
    """

    folder: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> Home:
        """Return this process's."""
        return cls(str(Path.cwd()), tuple(sys.path))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be there, as far as this machine has the same folders; for work in a process that something else started."""
        let_threads_sleep()
        for entry in self.path:
            if entry not in sys.path and os.path.exists(entry or self.folder):  # noqa: PTH110  ("" is an entry, too)
                sys.path.append(entry)
        with contextlib.chdir(self.folder) if Path(self.folder).is_dir() else contextlib.nullcontext():
            yield


def send_output_to(descriptor: int) -> None:
    """Have all that this process prints go to a file, not to the screen of its coordinator."""
    for standard in (1, 2):
        os.dup2(descriptor, standard)


def extra(module: str, name: str) -> ModuleType:
    """Import a module of an extra.

    Raises:
        Unavailable: it is not installed; the sentence has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"the {name} engine needs {module}, which cannot be imported ({error}); pip install 'zslbench[{name}]'"
        ) from None
