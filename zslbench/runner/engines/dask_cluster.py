"""The Dask engine: workers of a cluster that runs already, or of one that is started on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pickle
import queue
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zslbench.errors import EngineError
from zslbench.runner.engines.assignment import Assignment, Results, Supply
from zslbench.runner.engines.base import Engine, Listener
from zslbench.runner.engines.dask_client import ANSWER, bounded, connected, unusable, workers_of
from zslbench.runner.engines.doing import Done, Message
from zslbench.runner.engines.elsewhere import Home, do_elsewhere, extra
from zslbench.runner.engines.pursuit import pursued
from zslbench.runner.engines.worker import Place
from zslbench.runner.handout import pack
from zslbench.runner.interrupts import held
from zslbench.runner.jobs import Batch

_LOOK_EVERY = 0.1
_PATIENCE = 60.0
_ASK_EVERY = 1.0


class DaskEngine(Engine):
    """Batches as tasks of a Dask cluster, as many at once as it has workers. Only the coordinator writes records.

    Dask does the task of a lost worker again on another, up to its ``allowed-failures``; then the run is recorded as
    crashed. What the lost worker had finished of a batch is kept.

    Args:
        scheduler: the address of a cluster; None: start one on this machine.
        places: of the workers that are started.
        patience: seconds to wait for the scheduler, and to go on without any worker.
    """

    name = "dask"

    def __init__(self, scheduler: str | None = None, places: Sequence[Place] = (), patience: float = _PATIENCE) -> None:
        extra("distributed", self.name)
        self.scheduler, self.places, self.patience = scheduler, tuple(places), patience
        self.workers = max(len(self.places), 1)

    def run(self, work: Iterable[Batch], listener: Listener) -> Iterator[Results]:
        """Do the jobs (see `Engine.run`).

        Raises:
            EngineError: a scheduler that does not answer or has no workers, or workers without this zslbench.
        """
        with held() as interrupt, contextlib.ExitStack() as leaving:
            client = leaving.enter_context(connected(self.scheduler, self.places, self.patience))
            tasks = _Tasks(client, Supply(iter(work)), listener, self.scheduler, self.patience)
            leaving.callback(tasks.end)
            yield from pursued(tasks, interrupt)


@dataclasses.dataclass(eq=False)
class _Tasks:
    """What is under way on the cluster, by the number of its task."""

    client: Any
    supply: Supply
    listener: Listener
    scheduler: str | None
    patience: float
    topic: str = dataclasses.field(default_factory=lambda: f"zslbench-{secrets.token_hex(8)}")
    told: queue.SimpleQueue[Any] = dataclasses.field(default_factory=queue.SimpleQueue)
    under_way: dict[int, tuple[Assignment, Any]] = dataclasses.field(default_factory=dict)
    count: int = 0
    places: int = 0
    asked: float = -math.inf

    def __post_init__(self) -> None:
        self.served = time.monotonic()
        self.client.subscribe_topic(self.topic, lambda event: self.told.put(event[1]))

    def busy(self) -> bool:
        """Whether anything is left to do; hand out as much as there are workers for."""
        self._count_workers()
        while not self.supply.empty and len(self.under_way) < self.places:
            if (batch := self.supply.take()) is None:
                break
            self._submit(batch)
        return bool(self.under_way) or not self.supply.empty

    def _count_workers(self) -> None:
        """Ask now and then how many workers there are; one that is busy may leave that unanswered for a while.

        Raises:
            EngineError: for long there has been no answer, or no worker.
        """
        now = time.monotonic()
        if now - self.asked < _ASK_EVERY:
            return
        found = workers_of(self.client)
        self.asked = time.monotonic()
        if found:
            self.places, self.served = found, self.asked
        elif self.asked - self.served > self.patience:
            what = "no answer of its scheduler" if found is None else "no worker"
            raise unusable(self.scheduler, f"{what} for {self.patience:g} s")

    def _submit(self, batch: Batch) -> None:
        self.count += 1
        number = self.count
        try:
            future = self.client.submit(
                _in_worker, pickle.dumps((batch, pack(batch))), self.topic, number, Home.here(), self.scheduler is None,
                key=f"{self.topic}-{number}", pure=False,
            )  # fmt: skip
        except Exception as error:  # Dask has given up the connection
            self.supply.again.append(batch)
            raise unusable(self.scheduler, error) from None
        self.under_way[number] = Assignment(batch, DaskEngine.name), future
        future.add_done_callback(lambda _: self.told.put(None))  # wakes the coordinator

    def look(self) -> Iterator[Results]:
        """Wait a moment for messages and tasks that end; pass them on."""
        yield from self._hear(_LOOK_EVERY)
        for number, (assignment, future) in list(self.under_way.items()):
            if not future.done():
                continue
            yield from self._hear(0)
            try:
                found = _outcome(future)
            except TimeoutError:
                continue  # its worker was lost before it handed over what it had done: Dask does that again
            del self.under_way[number]
            yield from self._ended(assignment, found)

    def _hear(self, patience: float) -> Iterator[Results]:
        with contextlib.suppress(queue.Empty):
            event = self.told.get(timeout=patience) if patience else self.told.get_nowait()
            while True:
                if event is not None and (found := self.under_way.get(event["task"])):
                    yield from _results(found[0], [pickle.loads(event["message"])], self.listener)
                event = self.told.get_nowait()

    def _ended(self, assignment: Assignment, found: bytes | BaseException) -> Iterator[Results]:
        import distributed

        if isinstance(found, bytes):
            yield from _results(assignment, pickle.loads(found), self.listener)
            return
        if not isinstance(found, distributed.KilledWorker):
            self.supply.again.append(Batch(tuple(assignment.waiting)))
            raise EngineError(
                f"a task was lost on the Dask cluster ({found}); check that the scheduler runs and "
                "that its workers have this version of zslbench and its data; what was finished stays."
            )
        sentence = f"each Dask worker that tried it died (the last: {found.last_worker.address}); "
        results, again = assignment.lost("crashed", sentence + "the same command tries again.")
        self.supply.again += again
        yield from results

    def give_up(self) -> Iterator[Results]:
        """Cancel all tasks; return what they finished, then what they were at as interrupted."""
        self._cancel()
        yield from self._hear(0)
        for assignment, _ in self.under_way.values():
            yield from assignment.interrupted()
        self.under_way.clear()
        yield from self.supply.interrupted(DaskEngine.name)

    def end(self) -> None:
        """Hear no more; tasks that are left are cancelled."""
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self.client.unsubscribe_topic(self.topic)
        self._cancel()

    def _cancel(self) -> None:
        futures = [future for _, future in self.under_way.values()]
        if futures:
            with contextlib.suppress(Exception):
                bounded(ANSWER, lambda: self.client.cancel(futures))


def _outcome(future: Any) -> bytes | BaseException:
    """Return what a task that has ended returned or raised.

    Raises:
        TimeoutError: it cannot be had now.
    """
    if future.status == "finished":
        done: bytes = future.result(timeout=ANSWER)
        return done
    raised: BaseException | None = future.exception(timeout=ANSWER) if future.status == "error" else None
    return raised or EngineError(future.status)


def _results(assignment: Assignment, messages: Iterable[Message], listener: Listener) -> Iterator[Results]:
    for message in messages:
        if results := assignment.hear(message, listener):
            yield results


def _in_worker(pickled: bytes, topic: str, number: int, home: Home, quiet: bool) -> bytes:
    """Do a batch in a worker of the cluster; return what was done, and tell of it meanwhile.

    What a batch of several jobs has finished is told at once, so that it is kept should the worker die.
    """
    import distributed

    worker, done = distributed.get_worker(), list[Message]()
    batch, parcel = pickle.loads(pickled)
    if quiet:
        _print_nothing()

    def send(message: Message) -> None:
        if isinstance(message, Done):
            done.append(message)
        if len(batch.jobs) > 1 or not isinstance(message, Done):
            worker.log_event(topic, {"task": number, "message": pickle.dumps(message)})

    do_elsewhere(batch, parcel, send, home)
    return pickle.dumps(done)


def _print_nothing() -> None:
    """Keep what methods print off the coordinator's screen, which workers of this machine share."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
