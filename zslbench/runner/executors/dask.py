"""Workers of a Dask cluster that runs already, or of one that is started on this machine.

No call waits for ever, whatever becomes of the cluster.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from zslbench.errors import EngineError
from zslbench.runner.executors.loop import BatchInFlight, Executor, WorkerLost, import_extra
from zslbench.runner.executors.worker import CoordinatorEnvironment, run_batch_in_worker, send_output_to
from zslbench.runner.handout import PackedHandout, pack
from zslbench.runner.resources import WorkerPlace
from zslbench.runner.run_records import Done, Message
from zslbench.visible import open_standard_streams

T = TypeVar("T")
_LOOK_EVERY = 0.1
_PATIENCE = 60.0
_ASK_EVERY = 1.0
_ANSWER = 5.0
"""Seconds for one answer; what is asked now and then may stay unanswered for longer."""
_CLOSE = 20.0
_START = 300.0


class DaskExecutor(Executor):
    """Tasks of a Dask cluster, as many at once as it has workers. Only the coordinator writes records.

    Dask does the task of a lost worker again on another, up to its ``allowed-failures``; then the run is recorded as
    crashed. What the lost worker had finished of a batch is kept.

    Args:
        scheduler: the address of a cluster; None: start one on this machine, with a worker for each of `places`.
        patience: seconds to wait for the scheduler, and to go on without any worker; None: a minute on a cluster that
            runs already, five on one that is started, whose workers must load zslbench first.
    """

    name = "dask"

    def __init__(
        self, scheduler: str | None = None, places: Sequence[WorkerPlace] = (), patience: float | None = None
    ) -> None:
        import_extra("distributed", self.name)
        self.scheduler, self.places = scheduler, tuple(places)
        self.patience = patience or (_PATIENCE if scheduler else _START)
        self.workers = max(len(self.places), 1)

    def __enter__(self) -> Self:
        self._leaving = contextlib.ExitStack()
        self._client = self._leaving.enter_context(connected(self.scheduler, self.places, self.patience))
        self._topic = f"zslbench-{secrets.token_hex(8)}"
        self._events: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._under_way: dict[int, tuple[BatchInFlight, Any]] = {}
        self._count, self._served, self._asked, self._workers = 0, time.monotonic(), -math.inf, 0
        self._client.subscribe_topic(self._topic, lambda event: self._events.put(event[1]))
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.unsubscribe_topic(self._topic)
        self._cancel()
        self._leaving.close()

    def room(self) -> int:
        """Return how many workers have no task; how many there are is asked now and then."""
        now = time.monotonic()
        if now - self._asked >= _ASK_EVERY:
            count = count_workers(self._client)  # one that is busy may leave that unanswered for a while
            self._asked = time.monotonic()
            if count:
                self._workers, self._served = count, self._asked
            elif self._asked - self._served > self.patience:
                fault = "no answer of its scheduler" if count is None else "no worker"
                raise _unusable(self.scheduler, f"{fault} for {self.patience:g} s")
        return self._workers - len(self._under_way)

    def submit(self, tasks: Sequence[BatchInFlight]) -> None:
        """Submit the tasks to the scheduler."""
        for task in tasks:
            self._count += 1
            work = pickle.dumps(pack(task.batch))
            arguments = work, self._topic, self._count, CoordinatorEnvironment.here(), self.scheduler is None
            key = f"{self._topic}-{self._count}"
            try:
                future = self._client.submit(_do_in_worker, *arguments, key=key, pure=False)
            except Exception as error:  # Dask has given up the connection
                raise _unusable(self.scheduler, error) from None
            self._under_way[self._count] = task, future
            future.add_done_callback(lambda _: self._events.put(None))  # wakes the coordinator

    def look(self) -> None:
        """Wait a moment for messages and tasks that end."""
        import distributed

        self._hear(_LOOK_EVERY)
        for number, (task, future) in list(self._under_way.items()):
            if not future.done():
                continue
            self._hear()
            outcome: Any = future.status
            try:
                if outcome == "finished":
                    outcome = future.result(timeout=_ANSWER)
                elif outcome == "error":
                    outcome = future.exception(timeout=_ANSWER)
            except TimeoutError:
                outcome = "lost"
            if outcome in ("lost", "pending"):
                continue  # its worker was lost before it handed over what it had done: Dask does that again
            del self._under_way[number]
            if isinstance(outcome, bytes):
                for message in pickle.loads(outcome):
                    task.hear(message)
                task.future.set_result(None)
            elif isinstance(outcome, distributed.KilledWorker):
                sentence = f"each Dask worker that tried it died (the last: {outcome.last_worker.address}); "
                task.future.set_exception(WorkerLost("crashed", sentence + "the same command tries again."))
            else:
                raise EngineError(
                    f"a task was lost on the Dask cluster ({outcome}); check that the scheduler runs and "
                    "that its workers have this version of zslbench and its data; what was finished stays."
                )

    def _hear(self, patience: float = 0.0) -> None:
        with contextlib.suppress(queue.Empty):
            event = self._events.get(timeout=patience) if patience else self._events.get_nowait()
            while True:
                if event is not None and event[0] in self._under_way:
                    self._under_way[event[0]][0].hear(pickle.loads(event[1]))
                event = self._events.get_nowait()

    def cancel(self) -> None:
        """Cancel all tasks."""
        self._cancel()
        self._hear()

    def _cancel(self) -> None:
        if futures := [future for _, future in self._under_way.values()]:
            with contextlib.suppress(Exception):
                bounded(_ANSWER, lambda: self._client.cancel(futures))


def _do_in_worker(work: bytes, topic: str, number: int, home: CoordinatorEnvironment, quiet: bool) -> bytes:
    """Do a batch in a worker of the cluster; return what was done, and tell of it meanwhile.

    What a batch of several jobs has finished is told at once, so that it is kept should the worker die.
    """
    import distributed

    worker, done = distributed.get_worker(), list[Message]()
    parcel: PackedHandout = pickle.loads(work)
    if quiet:  # what methods print stays off the coordinator's screen, which workers of this machine share
        send_output_to(nowhere := os.open(os.devnull, os.O_WRONLY))
        os.close(nowhere)

    def send(message: Message) -> None:
        if isinstance(message, Done):
            done.append(message)
        if len(parcel.batch.jobs) > 1 or not isinstance(message, Done):
            worker.log_event(topic, (number, pickle.dumps(message)))

    with home.entered():
        run_batch_in_worker(parcel, send)
    return pickle.dumps(done)


@contextlib.contextmanager
def connected(scheduler: str | None, places: Sequence[WorkerPlace], patience: float) -> Iterator[Any]:
    """Connect to a cluster (None: start one with a worker for each place) in `patience` seconds; close all after."""
    distributed: Any = import_extra("distributed", "dask")
    import dask

    # After this time Dask ends the nanny of a lost worker even while it starts the next one; the usual 15 s are too few
    # on a busy machine.
    never = dask.config.set({"distributed.deploy.lost-worker-timeout": 1e6})
    with contextlib.ExitStack() as leaving, never:
        address: Any = scheduler or leaving.enter_context(_local_cluster(distributed, places))
        try:
            client = bounded(2 * patience, lambda: _client(distributed, address, patience))
        except (OSError, ValueError, ImportError) as error:
            raise _unusable(scheduler, error) from None
        leaving.callback(_close, client)
        yield client


def _unusable(scheduler: str | None, error: object) -> EngineError:
    if scheduler is None:
        return EngineError(f"a Dask cluster of this machine cannot be used ({error}); take --engine process instead.")
    return EngineError(
        f"the Dask cluster at {scheduler} cannot be used ({error}); "
        "check the address, that its scheduler runs and that it has a worker."
    )


def count_workers(client: Any) -> int | None:
    """Return how many workers there are; None when the scheduler does not say in time."""
    try:
        return len(client.sync(client.scheduler.ncores, callback_timeout=_ANSWER))
    except Exception:  # the connection is lost, and Dask tries to have it back, or has given that up
        return None


@contextlib.contextmanager
def _local_cluster(distributed: Any, places: Sequence[WorkerPlace]) -> Iterator[Any]:
    import psutil

    import_extra("cryptography", "dask")  # Dask's own sentence on its absence names no extra
    open_standard_streams()
    options = {
        "n_workers": len(places),
        "threads_per_worker": 1,
        "dashboard_address": None,
        "env": {**places[0].environment(), "DASK_LOGGING__DISTRIBUTED": "critical"},
        "security": True,  # certificates of this cluster alone: its ports are open to every user of the machine
        "silence_logs": "CRITICAL",
    }
    try:
        cluster = bounded(_START, lambda: distributed.LocalCluster(**options))
    except (OSError, RuntimeError) as error:
        raise _unusable(None, error) from None
    try:
        yield cluster
    finally:
        processes = []
        for nanny in list(cluster.workers.values()):
            with contextlib.suppress(AttributeError, TypeError, psutil.Error):
                processes += [psutil.Process(nanny.pid)] if nanny.pid != os.getpid() else []
        _close(cluster)
        for process in processes:
            with contextlib.suppress(psutil.Error):  # it is gone, unless the cluster could not be closed in time
                process.kill()


def _client(distributed: Any, address: Any, patience: float) -> Any:
    """Return a client that is closed when it cannot connect, and by nobody but us.

    Dask closes one that is garbage, in whatever thread finds it, and waits there for a lock of all clients. Where that
    thread is the one that a new client is about to start, which holds the lock meanwhile, no client ever starts again.
    """

    class Client(distributed.Client):  # type: ignore[misc]
        def __init__(self) -> None:
            try:
                super().__init__(address, timeout=patience, set_as_default=False)
            except BaseException:
                _close(self)
                raise

        def __del__(self) -> None:
            pass

    return Client()


def _close(cluster_or_client: Any) -> None:
    with contextlib.suppress(Exception):
        bounded(_CLOSE + _ANSWER, lambda: cluster_or_client.close(timeout=_CLOSE))


def bounded(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, made in a thread of its own, which is left behind at a TimeoutError.

    A library's own time limits may not hold: Dask's end at its event loop, which may not turn any more.
    """
    answer: Future[T] = Future()

    def make() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=make, name="zslbench-bounded", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise  # of the call itself
        raise TimeoutError(f"no answer in {seconds:g} s") from None
