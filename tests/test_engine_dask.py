"""The Dask engine, on clusters of real processes on this machine."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import MOST, PATIENCE, Study, kill, same_numbers, until
from threadpoolctl import threadpool_limits

import zslbench
from zslbench.errors import BadValue, EngineError, Unavailable
from zslbench.runner.executors import Listener
from zslbench.runner.executors.dask import DaskExecutor, bounded, connected, count_workers
from zslbench.runner.jobs import Job
from zslbench.runner.resources import WorkerPlace

pytestmark = pytest.mark.timeout(MOST)
NOTED = "fault_methods:Noted"
POINTS = "fault_methods:Points"


@contextlib.contextmanager
def cluster(study: Study, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and workers as processes; when all are there, yield its address, and the processes in order."""
    file = study.folder / "scheduler.json"
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        environment = {**study.environment(), "OMP_NUM_THREADS": "1", "FAULT_NOTES": str(study.notes)}
        command = [sys.executable, "-m", *words, "--scheduler-file", str(file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environment, cwd=study.folder, **quiet))

    try:
        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        address = until(lambda: _address(file), "the scheduler")
        for _ in range(workers):
            start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        with connected(address, (), PATIENCE) as client:
            until(lambda: count_workers(client) == workers, "the workers")
        yield address, started
    finally:
        for one in started:
            one.kill()
            one.wait()


def _address(file: Path) -> str:
    """Return the address that a scheduler wrote; empty while it has not, or only half of it."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return str(json.loads(file.read_text())["address"])
    return ""


def test_two_workers_do_forty_runs_though_one_is_killed_half_way(study):
    with cluster(study, 2) as (address, (_, *workers)):

        def kill_half_way() -> None:
            until(lambda: len(study.begun()) >= 20, "half of the runs")
            kill(workers[0].pid)

        killer = threading.Thread(target=kill_half_way)
        killer.start()
        outcome = study.run(f"{NOTED}[wait=0.05]", DaskExecutor(address), seeds=40)
        killer.join()
        assert outcome.failed == ()
        assert workers[0].wait() == -signal.SIGKILL
    assert study.statuses() == dict.fromkeys(range(40), "ok")
    assert {record.provenance["engine"] for record in study.records()} == {"dask"}
    lost = {pid for _, pid in study.begun()}
    assert len(lost) == 2  # both had work
    assert sum(study.times().values()) in (40, 41)  # the run that the lost worker was at, and no other, was done again
    assert len(study.times()) == 40
    with threadpool_limits(1):
        zslbench.run(f"{NOTED}[wait=0.05]", "synthetic", "gzsl", runs=study.folder / "serial", seeds=3)
    same_numbers(study.folder / "serial", study.runs)
    study.check_nothing_left()


def test_a_run_that_kills_every_worker_is_recorded_as_crashed(study, capfd):
    """The point of a grid that kills the first worker is done by the next; those before it are recorded once."""
    import dask
    import distributed  # noqa: F401  (its settings must be there before one is changed)

    methods = [f"{NOTED}[fault={fault}]" for fault in ("kill", "print", "raise")]
    methods += [f"{POINTS}[ridge=[1,2]]", f"{POINTS}[ridge=3,dies=true]"]
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        outcome = zslbench.run(
            methods, "synthetic", "gzsl", runs=study.runs, engine=DaskExecutor(places=[WorkerPlace(1)])
        )
    assert [record.status for record in outcome.records] == ["crashed", "ok", "failed", "ok", "ok", "ok"]
    assert "each Dask worker that tried it died" in outcome.records[0].error
    noted = {"kill 0": 2, "print 0": 1, "raise 0": 1, "grid of 3": 2}
    assert {name: study.times()[name] for name in noted} == noted
    assert "noise" not in "".join(capfd.readouterr())
    study.check_nothing_left()


def test_a_scheduler_that_is_not_there_is_told(study):
    with pytest.raises(EngineError, match=r"the Dask cluster at tcp://127.0.0.1:1 cannot be used .* check the address"):
        study.run(NOTED, DaskExecutor("tcp://127.0.0.1:1", patience=1))
    with pytest.raises(EngineError, match=r"the Dask cluster at nonsense://x cannot be used"):
        study.run(NOTED, DaskExecutor("nonsense://x"))
    with pytest.raises(BadValue, match="--workers and --scheduler were both given"):
        zslbench.engine(scheduler="tcp://127.0.0.1:1", workers=2)


def test_garbage_closes_no_client(study):
    """Dask's way to close a client that is garbage may wait for a lock that only the waiting thread would give back."""
    import distributed

    gc.disable()
    try:
        with pytest.raises(EngineError):
            study.run(NOTED, DaskExecutor("nonsense://x"))
        left = [one for one in gc.get_objects() if issubclass(type(one), distributed.Client)]  # asks nothing of others
    finally:
        gc.enable()
    assert {one.status for one in left} <= {"closed"}
    assert not any(type(one).__del__ is distributed.Client.__del__ for one in left)


def test_a_missing_extra_is_told_with_its_command(monkeypatch):
    for module, name in (("distributed", "dask"), ("submitit", "slurm")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(Unavailable, match=rf"the {name} engine needs {module}.*pip install 'zslbench\[{name}\]'"):
            zslbench.engine(name)


def test_a_scheduler_that_dies_ends_the_study_with_a_sentence(study):
    with cluster(study, 1) as (address, (scheduler, _)):

        class Killer(Listener):
            def started(self, job: Job) -> None:
                if job.first.seed == 2:
                    scheduler.kill()

        with pytest.raises(EngineError, match="Dask"):
            study.run(f"{NOTED}[fault=stay]", DaskExecutor(address, patience=10), seeds=8, hear=Killer())
    assert study.statuses() == {0: "ok", 1: "ok", 2: "interrupted"}
    study.check_nothing_left()


def test_a_cluster_without_workers_or_answers_is_not_waited_for(study):
    """A scheduler that is stopped keeps its connections open: nothing but a limit ends the wait."""
    with cluster(study, 1) as (address, (scheduler, worker)):

        def stop_scheduler():
            until(study.begun, "a run")
            scheduler.send_signal(signal.SIGSTOP)

        threading.Thread(target=stop_scheduler).start()
        for fault, wait in (("no answer", 60), ("no worker", 0)):
            with pytest.raises(EngineError, match=rf"cannot be used \({fault} .*for 8 s\); check the address"):
                study.run(f"{NOTED}[wait={wait}]", DaskExecutor(address, patience=8), seeds=2)
            scheduler.send_signal(signal.SIGCONT)
            kill(worker.pid)
    assert set(study.statuses().values()) <= {"interrupted"}


def test_a_call_that_hangs_is_left_behind():
    ended = threading.Event()
    with pytest.raises(TimeoutError, match="no answer in"):
        bounded(0.05, ended.wait)
    ended.set()
    assert bounded(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        bounded(5, lambda: {}[1])


def test_the_ports_of_a_cluster_on_this_machine_take_its_own_certificates_alone():
    """Every user of the machine can reach them, and a task is any code."""
    with connected(None, [WorkerPlace(1)], PATIENCE) as client:
        assert client.submit(int, "3").result(timeout=PATIENCE) == 3
        address = client.scheduler.address
        workers = list(client.scheduler_info()["workers"])
        assert {one.partition("://")[0] for one in (address, *workers)} == {"tls"}
        for one in (address, *workers):
            host, _, port = one.removeprefix("tls://").partition(":")
            stranger = ssl.create_default_context()
            stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
            with (
                contextlib.suppress(ssl.SSLError, ConnectionError),
                socket.create_connection((host, int(port))) as raw,
                stranger.wrap_socket(raw) as secured,
            ):
                secured.sendall(bytes(64))
                assert secured.recv(64) == b"", "a stranger is answered"
