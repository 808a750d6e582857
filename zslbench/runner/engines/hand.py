"""`Hand`: a worker process as its coordinator holds it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.context
import multiprocessing.reduction
import os
import signal
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from typing import Any

import pebble
from pebble import ProcessExpired

from zslbench.runner.engines.worker import Place, serve

_TAIL = 4000
_FAREWELL = 2.0
_YOUNG = 1.0


class Hand:
    """One worker, alive until it dies or is ended.

    Attributes:
        connection: where batches go and messages come from.
        ready: whether it said that it is up.
    """

    def __init__(self, place: Place) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.ready = False
        self._began = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the worker)
        context = _Spawning(place.environment())
        output = _descriptor(self._output.fileno())
        spawn: Any = pebble.concurrent.process
        self._future = spawn(context=context, daemon=False, name="zslbench-worker")(serve)(theirs, place, output)
        theirs.close()
        self._process = context.processes[0]

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid or 0)

    @property
    def alive(self) -> bool:
        """Whether the process runs; its end is seen, too, when something else in this process took note of it first."""
        return bool(self._process.is_alive()) and not wait([self._process.sentinel], 0)

    def late(self, patience: float) -> bool:
        """Return whether it has not come up for so many seconds."""
        return not self.ready and time.monotonic() - self._began > patience

    def memory(self) -> int:
        """Return the resident bytes of the process and all that it started.

        A child in its first second is left out: until it has loaded its own program, it shows the memory of its parent.
        """
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            total = process.memory_info().rss
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss if time.time() - child.create_time() > _YOUNG else 0
        return total

    def messages(self) -> Iterator[Any]:
        """Return what has come and was not read; nothing more once the worker has died."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            return

    def printed(self) -> str:
        """Return the end of what the worker wrote to its standard output and error."""
        end = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), _TAIL, max(end - _TAIL, 0)).decode("utf-8", "replace").strip()

    def forget(self) -> None:
        """Drop what it has written so far: it told of a batch that is done."""
        os.ftruncate(self._output.fileno(), 0)
        os.lseek(self._output.fileno(), 0, os.SEEK_SET)

    def why(self) -> str:
        """Say how a process that has ended did so."""
        raised = self._future.exception() if self._future.done() and not self._future.cancelled() else None
        if raised is not None and not isinstance(raised, ProcessExpired):
            return f"it raised {type(raised).__name__}: {raised}"
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def dismiss(self) -> None:
        """Tell an idle worker that there is nothing more to do."""
        self.connection.close()

    def kill(self) -> None:
        """Kill the process and all that it started."""
        if self.pid and hasattr(os, "killpg"):
            with contextlib.suppress(OSError):  # it is its own group's leader, unless it never came so far
                os.killpg(self.pid, signal.SIGKILL)
        if self.alive:
            self._process.kill()

    def end(self, patience: float = 0.0) -> None:
        """End the process and all that it started, at the latest after `patience` seconds; return when it is gone."""
        ends = time.monotonic() + patience
        while self.alive and time.monotonic() < ends:
            time.sleep(0.01)
        self.kill()
        self._process.join()
        concurrent.futures.wait([self._future], _FAREWELL)  # the thread that watches the process takes note, too
        self.connection.close()
        self._output.close()


class _Spawning(multiprocessing.context.SpawnContext):
    """Starts fresh interpreters in a given environment, which do not run the caller's script again."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self.variables, self.processes = variables, list[multiprocessing.context.SpawnProcess]()

    def Process(  # type: ignore[override]  # noqa: N802  (multiprocessing's name, there a class)
        self, **given: Any
    ) -> multiprocessing.context.SpawnProcess:
        """Return a process that will be started in the environment."""
        process = _Started(**given)
        process.variables = self.variables
        self.processes.append(process)
        return process


class _Started(multiprocessing.context.SpawnProcess):
    variables: Mapping[str, str]

    def start(self) -> None:
        with _environment(self.variables), _without_main(), _without_interrupts():
            super().start()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module: a spawned process would import it anew, and a script without a guard would start again."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let what is started never hear of Ctrl-C, from its first moment on: that is for the coordinator to act upon."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _descriptor(number: int) -> Any:
    """Return what hands a file descriptor on to a spawned process; None where that is not possible."""
    return None if os.name == "nt" else _Handed(number)


class _Handed:
    """Duplicates its file descriptor for the process that is being spawned."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _same, (multiprocessing.reduction.DupFd(self.number),)


def _same(descriptor: Any) -> Any:
    return descriptor
