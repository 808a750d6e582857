"""Spawned workers on this machine, each in a pool of pebble's of its own. A worker that dies costs one run."""

from __future__ import annotations

import concurrent.futures
import contextlib
import faulthandler
import math
import multiprocessing
import multiprocessing.context
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

import pebble

from zslbench.errors import EngineError
from zslbench.runner.executors.loop import Blameless, Executor, Lost, Task, bounded
from zslbench.runner.executors.worker import Mailbox, do_as_worker, limit_threads, send_output_to
from zslbench.runner.handout import Parcel, pack
from zslbench.runner.jobs import Batch
from zslbench.runner.resources import Limits, Place, size_text, time_text
from zslbench.visible import open_standard_streams

_LOOK_EVERY = 0.1
_MOST_FAILED_STARTS = 3
_FAREWELL = 5.0
_START = 300.0
"""Seconds that a worker may take to come up: it imports from a file system that may be slow."""
_SWOLLEN = 0.5
"""Of the memory limit: a worker that holds more after a batch makes way for a fresh one."""
_OUTPUT = "output"
_TAIL = 4000
_YOUNG = 1.0


class ProcessExecutor(Executor):
    """Tasks in spawned processes, one a place, started when there is a task for it.

    Args:
        places: what each worker may use (see `zslbench.runner.resources.places`).
        limits: of each run.
    """

    name = "process"

    def __init__(self, places: Sequence[Place], limits: Limits | None = None) -> None:
        self.places, self.limits = tuple(places), limits or Limits()
        self.workers = len(self.places)

    def __enter__(self) -> Self:
        """Make the folder through which workers say what happens."""
        open_standard_streams()
        self._folder = Path(tempfile.mkdtemp(prefix="zslbench-"))
        self._seats = [
            _Seat(place, self.limits, self._folder / str(number)) for number, place in enumerate(self.places)
        ]
        self._failed_starts = 0
        return self

    def __exit__(self, *raised: object) -> None:
        """End all workers and what they started."""
        for seat in self._seats:
            seat.stop()
        for seat in self._seats:
            seat.leave()
        shutil.rmtree(self._folder, ignore_errors=True)

    def room(self) -> int:
        """Return how many places are free."""
        return sum(seat.task is None for seat in self._seats)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Give each task a place."""
        free = [seat for seat in self._seats if seat.task is None]
        for seat, task in zip(free, tasks, strict=False):
            seat.begin(task)

    def look(self) -> None:
        """Wait a moment; find the tasks that ended, whose worker died, or that went past a limit."""
        busy = [(seat, seat.task) for seat in self._seats if seat.task]
        concurrent.futures.wait([seat.future for seat, _ in busy], _LOOK_EVERY, concurrent.futures.FIRST_COMPLETED)
        for seat, task in busy:
            ended = seat.ended()  # asked before the messages are read: a dead worker sends no more
            seat.read(task)
            if task.heard:
                self._failed_starts = 0
            if ended:
                self._settle(seat, task)
            else:
                seat.stop_late(task)

    def _settle(self, seat: _Seat, task: Task) -> None:
        loss = seat.loss(task)
        if not isinstance(loss, Blameless) or task.heard:
            seat.task = None
            task.future.set_exception(loss) if loss else task.future.set_result(None)
            return
        self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise EngineError(f"worker processes cannot be started ({loss}); mend that, or use --engine serial.")
        seat.task = None
        task.future.set_exception(loss)

    def cancel(self) -> None:
        """Kill all workers that have a task."""
        busy = [(seat, seat.task) for seat in self._seats if seat.task]
        for seat, task in busy:
            seat.read(task)
        for seat, _ in busy:
            seat.kill()
        for seat, task in busy:
            seat.read(task)


class _Seat:
    """A place, the pool of one worker that has it, and the task that this is doing.

    A pool each, since workers of one pool share an environment, and the pipes and locks that a dying one leaves in
    disorder.
    """

    def __init__(self, place: Place, limits: Limits, folder: Path) -> None:
        self.place, self.limits, self.folder = place, limits, folder
        folder.mkdir()
        self.task: Task | None = None
        self.future: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._mailbox = Mailbox(folder)
        self._pool: pebble.ProcessPool | None = None
        self._reason: Lost | None = None
        self._front = ""
        self._since = 0.0

    def begin(self, task: Task) -> None:
        """Have the worker do a task; start one where there is none, or it died since it had the last one."""
        self.task, self._reason, self._since = task, None, time.monotonic()
        arguments = task.batch, pack(task.batch), str(self.folder), self.limits.memory
        for _ in range(2):
            try:
                if self._pool is None:
                    self._context = _Spawning(self.place.environment())
                    start = self.place.threads, str(self.folder)
                    self._pool = pebble.ProcessPool(1, 0, _set_up, start, self._context)
                self.future = self._pool.schedule(_do_in_worker, arguments)
                return
            except (BrokenProcessPool, RuntimeError) as error:
                self.leave()
                self.future = concurrent.futures.Future()
                self.future.set_exception(BrokenProcessPool(str(error)))

    def ended(self) -> bool:
        """Return whether the task ended, or its worker did.

        A pool that found its idle worker dead may never set the future of what it was given in that moment, nor one
        whose worker's end something else in this process took note of first.
        """
        if self.future.done() or self._pool is None or not self._pool.active:
            return True
        return self._context.process is not None and bool(wait([self._context.process.sentinel], 0))

    def read(self, task: Task) -> None:
        """Let a task hear what its worker said."""
        for message in self._mailbox.take():
            if isinstance(message, Lost):
                self._reason = message
            else:
                task.hear(message)
                self._since = time.monotonic()

    def stop_late(self, task: Task) -> None:
        """Kill a worker that does not come up, does not come to its end, or whose run went past the time limit."""
        limit, now = self.limits.time, time.monotonic()
        if limit and task.waiting and task.began is not None and now - task.began > limit * task.share:
            self._front = next(iter(task.waiting))
            sentence = (
                f"it took longer than its time limit of {time_text(limit)} and was stopped; "
                "raise --time-limit and add --rerun failed to try again."
            )
            self._reason = Lost("timeout", sentence, f"time {limit:g} s")
            self.kill()
            return
        patience = _START if not task.heard else math.inf if task.waiting else _FAREWELL
        if now - self._since > patience:
            self.kill()

    def loss(self, task: Task) -> Lost | Blameless | None:
        """Return why an ended task was lost, None where it was not; the worker stays only where it is as before."""
        error = self.future.exception() if self.future.done() else BrokenProcessPool()
        if error is None:
            if self.limits.memory and self.future.result() > _SWOLLEN * self.limits.memory:
                self.leave()  # else what earlier runs left in it might be taken for the next one's need
            return None
        raised = not isinstance(error, pebble.ProcessExpired | BrokenProcessPool)
        self.leave()
        why = f"it raised {type(error).__name__}: {error}" if raised else self._context.why()
        if not task.heard:
            return Blameless(why)
        if self._reason:
            in_time = self._reason.status == "timeout" and self._front not in task.waiting
            return Blameless("it was done this very moment") if in_time else self._reason
        sentence = f"its worker process died ({why}); the same command tries again."
        return Lost("crashed", "\n".join(filter(None, [self._printed(), sentence])))

    def _printed(self) -> str:
        """Return the end of what the worker printed during its task."""
        with contextlib.suppress(OSError):
            return (self.folder / _OUTPUT).read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
        return ""

    def kill(self) -> None:
        """Kill the worker and all that it started."""
        process = self._context.process
        if process is None or not process.pid:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):  # it is its own group's leader, unless it never came so far
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()

    def stop(self) -> None:
        """Let an idle worker end by itself; kill one that has a task."""
        if self._pool is not None:
            if self.task:
                self.kill()
            self._pool.stop()  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        """End the pool, and all that its worker started; return when they are gone."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if self.future.done() and self.future.exception() is not None:
                self.kill()
            pool.stop()  # type: ignore[no-untyped-call]
            with contextlib.suppress(TimeoutError):
                bounded(_FAREWELL, pool.join)
            self.kill()


class _Spawning(multiprocessing.context.SpawnContext):
    """Starts one fresh interpreter in a given environment, which does not run the caller's script again.

    A second one is refused: then pebble gives up the pool instead of replacing a worker that died.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__()
        self.variables = variables
        self.process: multiprocessing.context.SpawnProcess | None = None

    def Process(  # type: ignore[override]  # noqa: N802  (multiprocessing's name, there a class)
        self, **given: Any
    ) -> multiprocessing.context.SpawnProcess:
        """Return the process, which will be started in the environment."""
        if self.process is not None:
            raise OSError("this pool has had its worker")
        self.process = process = _Spawned(**given)
        process.variables = self.variables
        return process

    def why(self) -> str:
        """Say how the process ended."""
        code = self.process.exitcode if self.process else None
        if code is None or code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"


class _Spawned(multiprocessing.context.SpawnProcess):
    variables: Mapping[str, str]

    def start(self) -> None:
        with _environment(self.variables), _without_main(), _without_interrupts():
            super().start()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update({name: before[name] for name in variables if name in before})


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


def _set_up(threads: int, folder: str) -> None:
    """Set up a worker: a group of processes that ends with its coordinator, and prints into a file."""
    if hasattr(os, "setsid"):
        os.setsid()  # the coordinator ends this process with all that its methods start
    send_output_to(os.open(Path(folder) / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
    faulthandler.enable()
    threading.Thread(target=_end_with_coordinator, args=(Path(folder).parent,), daemon=True).start()
    limit_threads(threads)


def _end_with_coordinator(folder: Path) -> None:
    """Wait for the end of the coordinator, however it comes, and end this process and its children at once."""
    if (coordinator := multiprocessing.parent_process()) is None:
        return
    wait([coordinator.sentinel])
    shutil.rmtree(folder, ignore_errors=True)
    _end()


def _end() -> None:
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _do_in_worker(batch: Batch, parcel: Parcel, folder: str, most_memory: int | None) -> int:
    """Do a batch; return the bytes that the worker holds afterwards, where memory is limited.

    It is the messages that carry the results: what goes through the pool's pipe is small enough to be written at once.
    """
    mailbox, over = Mailbox(Path(folder)), threading.Event()
    with contextlib.suppress(OSError):
        os.ftruncate(1, 0)  # what was printed told of a batch that is done
    if most_memory:
        threading.Thread(target=_watch_memory, args=(most_memory, mailbox, over), daemon=True).start()
    try:
        do_as_worker(batch, parcel, mailbox.send)
    finally:
        over.set()
    return _used_memory() if most_memory else 0


def _watch_memory(most: int, mailbox: Mailbox, over: threading.Event) -> None:
    """End this process when it takes more than so many bytes before the task is over."""
    while not over.wait(_LOOK_EVERY):
        if (used := _used_memory()) > most:
            sentence = (
                f"its worker used {size_text(used)}, more than the memory limit of {size_text(most)}, and was stopped; "
                "raise --memory-limit and add --rerun failed to try again."
            )
            mailbox.send(Lost("crashed", sentence, f"memory {most} bytes"))
            _end()


def _used_memory() -> int:
    """Return the resident bytes of this process and all that it started.

    A child in its first second is left out: until it has loaded its own program, it shows the memory of its parent.
    """
    import psutil

    process = psutil.Process()
    total = int(process.memory_info().rss)
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss if time.time() - child.create_time() > _YOUNG else 0
    return total
