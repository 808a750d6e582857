"""A client of a Dask cluster, and what it is asked: no call waits for ever, whatever becomes of the cluster."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from zslbench.errors import EngineError
from zslbench.runner.engines.elsewhere import extra
from zslbench.runner.engines.worker import Place
from zslbench.streams import open_standard_streams

ANSWER = 5.0
"""Seconds for one answer; what is asked now and then may stay unanswered for longer."""
_CLOSE = 20.0
_START = 120.0

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")


def bounded(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, made in a thread of its own, which is left behind when it takes too long.

    Dask's own time limits end at its event loop: a call waits for ever when that does not turn any more.

    Raises:
        TimeoutError: it took too long.
    """
    found: list[T] = []
    raised: list[BaseException] = []

    def make() -> None:
        try:
            found.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=make, name="zslbench-dask", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return found[0]


@contextlib.contextmanager
def connected(scheduler: str | None, places: Sequence[Place], patience: float) -> Iterator[Any]:
    """Connect to a cluster (None: one with a worker for each place, started here); close all at the end.

    Raises:
        EngineError: it cannot be started or reached within `patience` seconds.
    """
    distributed: Any = extra("distributed", "dask")
    with contextlib.ExitStack() as leaving:
        address: Any = scheduler or leaving.enter_context(_local(distributed, places))
        try:
            client = bounded(2 * patience, lambda: _client(distributed, address, patience))
        except (OSError, ValueError, ImportError) as error:
            raise unusable(scheduler, error) from None
        leaving.callback(_close, client)
        yield client


def unusable(scheduler: str | None, error: object) -> EngineError:
    """Return the error of a cluster that does not start or answer, or has no worker."""
    if scheduler is None:
        return EngineError(f"a Dask cluster of this machine cannot be used ({error}); take --engine process instead.")
    return EngineError(
        f"the Dask cluster at {scheduler} cannot be used ({error}); "
        "check the address, that its scheduler runs and that it has a worker."
    )


def workers_of(client: Any) -> int | None:
    """Return how many workers there are; None when the scheduler does not say in time."""
    try:
        return len(client.sync(client.scheduler.ncores, callback_timeout=ANSWER))
    except Exception:  # the connection is lost, and Dask tries to have it back, or has given that up
        return None


@contextlib.contextmanager
def _local(distributed: Any, places: Sequence[Place]) -> Iterator[Any]:
    import psutil

    extra("cryptography", "dask")  # Dask's own sentence on its absence names no extra
    open_standard_streams()
    variables = {**places[0].environment(), "DASK_LOGGING__DISTRIBUTED": "critical"}

    def start() -> Any:
        return distributed.LocalCluster(
            n_workers=len(places),
            threads_per_worker=1,
            dashboard_address=None,
            env=variables,
            security=True,  # certificates of this cluster alone: its ports are open to every user of the machine
            silence_logs="CRITICAL",
        )

    try:
        cluster = bounded(_START, start)
    except (OSError, RuntimeError) as error:
        raise unusable(None, error) from None
    try:
        yield cluster
    finally:
        processes = _processes(cluster)
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


def _processes(cluster: Any) -> list[psutil.Process]:
    import psutil

    found = []
    for nanny in list(cluster.workers.values()):
        with contextlib.suppress(AttributeError, TypeError, psutil.Error):
            found.append(psutil.Process(nanny.pid))
    return [process for process in found if process.pid != os.getpid()]


def _close(one: Any) -> None:
    with contextlib.suppress(Exception):
        bounded(_CLOSE + ANSWER, lambda: one.close(timeout=_CLOSE))
