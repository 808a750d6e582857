"""Spawned workers on this machine, one per place. A worker that dies costs one run."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

from zslbench.errors import EngineError
from zslbench.runner.executors.loop import BatchInFlight, Executor, WorkerLost, WorkerPreempted
from zslbench.runner.executors.worker import Mailbox, limit_threads, run_batch_in_worker, send_output_to
from zslbench.runner.handout import pack
from zslbench.runner.resources import Limits, WorkerPlace, size_text, time_text
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
_CONTEXT = multiprocessing.get_context("spawn")


@dataclasses.dataclass(frozen=True)
class _Ended:
    """A worker is through with a batch: the bytes that it holds where memory is limited, or what it raised."""

    memory: int = 0
    error: str = ""


class ProcessExecutor(Executor):
    """Tasks in spawned processes, one per place, each started when there is a task for it; limits are of each run."""

    name = "process"

    def __init__(self, places: Sequence[WorkerPlace], limits: Limits | None = None) -> None:
        self.places, self.limits = tuple(places), limits or Limits()
        self.workers = len(self.places)

    def __enter__(self) -> Self:
        open_standard_streams()
        self._folder = Path(tempfile.mkdtemp(prefix="zslbench-"))
        self._news = _CONTEXT.Semaphore(0)
        self._seats = [
            _Seat(place, self.limits, self._folder / str(number), self._news)
            for number, place in enumerate(self.places)
        ]
        self._failed_starts = 0
        return self

    def __exit__(self, *raised: object) -> None:
        for seat in self._seats:
            seat.stop()
        over = time.monotonic() + _FAREWELL
        for seat in self._seats:
            seat.leave(max(over - time.monotonic(), 0.0))
        shutil.rmtree(self._folder, ignore_errors=True)

    def room(self) -> int:
        """Return how many places are free."""
        return sum(seat.task is None for seat in self._seats)

    def submit(self, tasks: Sequence[BatchInFlight]) -> None:
        """Give each task a place."""
        free = [seat for seat in self._seats if seat.task is None]
        for seat, task in zip(free, tasks, strict=False):
            seat.begin(task)

    def look(self) -> None:
        """Wait a moment; find the tasks that ended, whose worker died, or that went past a limit."""
        self._news.acquire(timeout=_LOOK_EVERY)
        for seat, task in [(seat, seat.task) for seat in self._seats if seat.task]:
            dead = seat.is_dead()  # asked before the messages are read: a dead worker sends no more
            seat.read(task)
            if task.heard:
                self._failed_starts = 0
            if not dead and seat.ended is None:
                seat.stop_late(task)
                continue
            loss = seat.loss(task)
            if isinstance(loss, WorkerPreempted) and not task.heard:
                self._failed_starts += 1
                if self._failed_starts >= _MOST_FAILED_STARTS:
                    raise EngineError(
                        f"worker processes cannot be started ({loss}); mend that, or use --engine serial."
                    )
            seat.task = None
            task.future.set_exception(loss) if loss else task.future.set_result(None)

    def cancel(self) -> None:
        """Kill all workers that have a task."""
        busy = [(seat, seat.task) for seat in self._seats if seat.task]
        for seat, _ in busy:
            seat.kill()
        for seat, task in busy:
            seat.read(task)


class _Seat:
    """A place, its worker, and the task that this is doing.

    Results come as files and news as a semaphore, so that a worker that dies while it sends leaves nothing in disorder.
    """

    def __init__(self, place: WorkerPlace, limits: Limits, folder: Path, news: Any) -> None:
        self.place, self.limits, self.folder, self.news = place, limits, folder, news
        folder.mkdir()
        self.task: BatchInFlight | None = None
        self.ended: _Ended | None = None
        self._mailbox = Mailbox(folder)
        self._process: Any = None
        self._work: Any = None
        self._reason: WorkerLost | None = None
        self._front = ""
        self._since = 0.0

    def begin(self, task: BatchInFlight) -> None:
        """Have the worker do a task; start one where there is none, or it died since the last one."""
        self.task, self.ended, self._reason, self._since = task, None, None, time.monotonic()
        try:
            if self.is_dead():
                self.leave()
                self._work = _CONTEXT.Queue()
                given = self.place.threads, self.limits.memory, str(self.folder), self._work, self.news
                process = _CONTEXT.Process(target=_work, args=given)
                with _fresh(self.place.environment()):
                    process.start()
                self._process = process
            self._work.put(pack(task.batch))
        except OSError as error:
            self.ended = _Ended(error=str(error))

    def is_dead(self) -> bool:
        """Return whether there is no worker; something else in this process may have taken note of its end first."""
        process = self._process
        return process is None or not process.is_alive() or bool(wait([process.sentinel], 0))

    def read(self, task: BatchInFlight) -> None:
        for message in self._mailbox.take():
            if isinstance(message, WorkerLost):
                self._reason = message
            elif isinstance(message, _Ended):
                self.ended = message
            else:
                task.hear(message)
                self._since = time.monotonic()

    def stop_late(self, task: BatchInFlight) -> None:
        """Kill a worker that does not come up, does not come to its end, or whose run went past the time limit."""
        limit, now = self.limits.time, time.monotonic()
        patience = _START if not task.heard else math.inf if task.waiting else _FAREWELL
        if limit and task.waiting and task.began is not None and now - task.began > limit * task.share:
            self._front = next(iter(task.waiting))
            sentence = (
                f"it took longer than its time limit of {time_text(limit)} and was stopped; "
                "raise --time-limit and add --rerun failed to try again."
            )
            self._reason = WorkerLost("timeout", sentence, f"time {limit:g} s")
            self.kill()
        elif now - self._since > patience:
            self.kill()

    def loss(self, task: BatchInFlight) -> WorkerLost | WorkerPreempted | None:
        """Return why an ended task was lost, None where it was not; the worker stays only where it is as before."""
        if self.ended and not self.ended.error:
            if self.limits.memory and self.ended.memory > _SWOLLEN * self.limits.memory:
                self.leave()  # else what earlier runs left in it might be taken for the next one's need
            return None
        process = self._process
        self.leave()
        why = self.ended.error if self.ended else _name_end(process.exitcode)
        if not task.heard:
            return WorkerPreempted(why)
        if self._reason:
            in_time = self._reason.status == "timeout" and self._front not in task.waiting
            return WorkerPreempted("it was done this very moment") if in_time else self._reason
        printed = ""
        with contextlib.suppress(OSError):
            printed = (self.folder / _OUTPUT).read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
        sentence = f"its worker process died ({why}); the same command tries again."
        return WorkerLost("crashed", "\n".join(filter(None, [printed, sentence])))

    def kill(self) -> None:
        """Kill the worker and all that it started."""
        if self._process is not None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError):  # it is its own group's leader, unless it never came so far
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def stop(self) -> None:
        """Let an idle worker end by itself; kill one that has a task."""
        if self.task:
            self.kill()
        elif self._process is not None:
            self._work.put(None)

    def leave(self, patience: float = 0.0) -> None:
        """Wait so many seconds for the worker's end, then kill it and all that it started; return when it is gone."""
        if self._process is not None:
            self._process.join(patience)
            self.kill()
            self._process.join(_FAREWELL)
            self._work.close()
            self._work.cancel_join_thread()
        self._process = None


def _name_end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


@contextlib.contextmanager
def _fresh(variables: Mapping[str, str]) -> Iterator[None]:
    """Let what is started have these variables, not the main module, and never hear of Ctrl-C.

    A spawned process would import the main module anew, and a script without a guard would start again. Ctrl-C is for
    the coordinator to act upon.
    """
    before, main = dict(os.environ), sys.modules["__main__"]
    has_mask = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if has_mask else set()
    os.environ.update(variables)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name in variables:
            del os.environ[name]
        os.environ.update({name: before[name] for name in variables if name in before})
        if has_mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(threads: int, most_memory: int | None, folder: str, work: Any, news: Any) -> None:
    """Do batches as they come: a worker's main function.

    It leads a group of processes that ends with its coordinator, and prints into a file.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # the coordinator ends this process with all that its methods start
    send_output_to(os.open(Path(folder) / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
    faulthandler.enable()
    threading.Thread(target=_end_with_coordinator, args=(Path(folder).parent,), daemon=True).start()
    limit_threads(threads)
    mailbox, error = Mailbox(Path(folder)), ""
    while not error and (given := work.get()) is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(1, 0)  # what was printed told of a batch that is done
        over = threading.Event()
        if most_memory:
            threading.Thread(target=_watch_memory, args=(most_memory, mailbox, over), daemon=True).start()
        try:
            run_batch_in_worker(given, mailbox.send)
        except BaseException as raised:
            error = f"it raised {type(raised).__name__}: {raised}"
        over.set()
        del given
        mailbox.send(_Ended(_used_memory() if most_memory else 0, error))
        news.release()


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


def _watch_memory(most: int, mailbox: Mailbox, over: threading.Event) -> None:
    """End this process when it takes more than so many bytes before the task is over."""
    while not over.wait(_LOOK_EVERY):
        if (used := _used_memory()) > most:
            sentence = (
                f"its worker used {size_text(used)}, more than the memory limit of {size_text(most)}, and was stopped; "
                "raise --memory-limit and add --rerun failed to try again."
            )
            mailbox.send(WorkerLost("crashed", sentence, f"memory {most} bytes"))
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
