"""The Dask engine, on clusters of real processes on this machine."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from faults import Study, kill, same_numbers, study, until  # noqa: F401  (a fixture)

import zslbench
from zslbench.runner.engines.dask_cluster import DaskEngine

NOTED = "fault_methods:Noted"
POINTS = "fault_methods:Points"


@contextlib.contextmanager
def cluster(study: Study, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:  # noqa: F811
    """Start a scheduler and workers as processes of their own; yield the address and the workers."""
    file = study.folder / "scheduler.json"
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        environment = {**study.environment(), "OMP_NUM_THREADS": "1", "FAULT_NOTES": str(study.notes)}
        command = [sys.executable, "-m", *words, "--scheduler-file", str(file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environment, cwd=study.folder, **quiet))  # type: ignore[call-overload]

    try:
        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until(file.exists, "the scheduler")
        for _ in range(workers):
            start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        yield json.loads(file.read_text())["address"], started[1:]
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_two_workers_do_forty_runs_though_one_is_killed_half_way(study: Study) -> None:  # noqa: F811
    with cluster(study, 2) as (address, workers):

        def kill_half_way() -> None:
            until(lambda: len(study.begun()) >= 20, "half of the runs")
            kill(workers[0].pid)

        killer = threading.Thread(target=kill_half_way)
        killer.start()
        outcome = study.run(f"{NOTED}[wait=0.05]", DaskEngine(address), seeds=40)
        killer.join()
        assert outcome.failed == ()
        assert workers[0].wait() == -signal.SIGKILL
    assert study.statuses() == dict.fromkeys(range(40), "ok")
    assert {record.provenance["engine"] for record in study.records()} == {"dask"}
    lost = {pid for _, pid in study.begun()}
    assert len(lost) == 2  # both had work
    assert sum(study.times().values()) in (40, 41)  # the run that the lost worker was at, and no other, was done again
    assert len(study.times()) == 40
    zslbench.run(f"{NOTED}[wait=0.05]", "synthetic", "gzsl", runs=study.folder / "serial", seeds=3)
    same_numbers(study.folder / "serial", study.runs)
    study.check_nothing_left()
