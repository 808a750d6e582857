"""The worker process of the process engine: it does one batch after the other, and never outlives its coordinator."""

from __future__ import annotations

import dataclasses
import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from typing import Protocol

from zslbench.runner.engines.doing import do, limit_threads

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What linear algebra libraries read when they are loaded."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """The worker is up and waits for a batch."""


@dataclasses.dataclass(frozen=True)
class Place:
    """What one worker may use.

    Attributes:
        threads: of BLAS and torch.
        gpu: the entry of CUDA_VISIBLE_DEVICES that it alone sees; None: what the coordinator sees.
    """

    threads: int
    gpu: str | None = None

    def environment(self) -> Mapping[str, str]:
        """Return the variables that must be set before NumPy or torch is loaded."""
        found = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        return found if self.gpu is None else found | {"CUDA_VISIBLE_DEVICES": self.gpu}


class _Descriptor(Protocol):
    def detach(self) -> int: ...


def serve(connection: Connection, place: Place, output: _Descriptor | None) -> None:
    """Do batches that come by the connection until it ends; what is printed goes to `output`, not to the screen."""
    if hasattr(os, "setsid"):
        os.setsid()  # the coordinator ends this process with all that its methods start
    descriptor = output.detach() if output else os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    if hasattr(os, "register_at_fork"):  # else the coordinator would wait for the rest of a message of a dead worker
        os.register_at_fork(after_in_child=connection.close)
    faulthandler.enable()
    threading.Thread(target=_end_with_coordinator, daemon=True).start()
    limit_threads(place.threads)
    connection.send(Ready())
    while True:
        try:
            batch, parcel = connection.recv()
        except (EOFError, OSError):
            return
        do(batch, parcel, connection.send)
        connection.send(Ready())


def _end_with_coordinator() -> None:
    """Wait for the end of the coordinator, however it comes, and end this process and its children at once."""
    coordinator = multiprocessing.parent_process()
    if coordinator is None:
        return
    wait([coordinator.sentinel])
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
