"""What a worker does with a batch, wherever it is, and how it says to its coordinator what happens meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zslbench.loss_curve import read_losses
from zslbench.runner.execute import execute
from zslbench.runner.handout import PackedHandout
from zslbench.runner.job_in_progress import Send
from zslbench.runner.resources import prepare_for_torch
from zslbench.runner.run_records import Done, Logged, Message

LOG_EVERY = 0.1
"""Seconds between two reports of a method's training; those between are not passed on, the last one always is."""


def run_batch_in_worker(parcel: PackedHandout, send: Send) -> None:
    """Do a batch in a process that is not its coordinator's: what is sent can be pickled, and says how many threads."""

    def send_plain(message: Message) -> None:
        if isinstance(message, Logged):
            message = dataclasses.replace(message, values=read_losses(message.values))
        elif isinstance(message, Done):
            for scored in message.results:
                provenance = scored.facts["provenance"]
                provenance["worker_threads"] = provenance["blas_threads"]
        send(message)

    execute(parcel, send_plain, LOG_EVERY)


class Mailbox:
    """The folder of a task's messages, files that the worker writes whole or not at all; the coordinator takes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count, self._lock = folder, 0, threading.Lock()

    def send(self, message: object) -> None:
        """Write a message."""
        with self._lock:
            self._count += 1
            path = self.folder / f"{self._count:09}.message"
            path.with_suffix(".part").write_bytes(pickle.dumps(message))
            path.with_suffix(".part").rename(path)

    def take(self) -> Iterator[Any]:
        """Yield the messages that have come, in order."""
        for path in sorted(self.folder.glob("*.message")):
            message = pickle.loads(path.read_bytes())
            path.unlink()
            yield message


def limit_threads(count: int) -> None:
    """Let BLAS and, where it is loaded, torch use so many threads in this process."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


@dataclasses.dataclass(frozen=True)
class CoordinatorEnvironment:
    """Working folder and `sys.path` of the coordinator, where methods named ``pkg.module:Class`` and data are."""

    folder: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> CoordinatorEnvironment:
        """Return this process's."""
        return cls(str(Path.cwd()), tuple(sys.path))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be there, as far as this machine has the same folders; for work in a process that something else started."""
        prepare_for_torch()
        for entry in self.path:
            if entry not in sys.path and os.path.exists(entry or self.folder):  # noqa: PTH110  ("" is an entry, too)
                sys.path.append(entry)
        with contextlib.chdir(self.folder) if Path(self.folder).is_dir() else contextlib.nullcontext():
            yield


def send_output_to(descriptor: int) -> None:
    """Have all that this process prints go to a file, not to the screen of its coordinator."""
    for standard in (1, 2):
        os.dup2(descriptor, standard)
