"""What the tests of engines need: a study of runs that note themselves, and a search for processes left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

import zslbench
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore

DATA = "synthetic"
PATIENCE = 120.0
"""Seconds after which a test gives up; what it waits for takes a second or two."""
MOST = 280
"""Seconds that one test may take in all, on a machine that does much else."""


@dataclasses.dataclass(frozen=True)
class Study:
    """A folder of runs, notes of their fits, and whatever processes know of these notes."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def run(self, method: str, engine: Any = None, **options: Any) -> zslbench.runner.outcome.Outcome:
        return zslbench.run(method, DATA, "gzsl", runs=self.runs, engine=engine, **options)

    def start(self, *words: str, tool: tuple[str, ...] = ("-m", "zslbench", "run")) -> subprocess.Popen[str]:
        """Start `zslbench run` as a coordinator of its own, in a session of its own (as a terminal would)."""
        command = [sys.executable, *tool, "-d", DATA, "-p", "gzsl", "--runs", str(self.runs), *words]
        return subprocess.Popen(
            command, env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def words(self, engine: str) -> list[str]:
        """Return what is typed for an engine with two workers; jobs of Slurm are processes of this machine."""
        if engine != "slurm":
            return ["--engine", engine, "--workers", "2"]
        config = self.folder / "slurm.toml"
        config.write_text(f'cluster = "local"\nfolder = "{self.folder / "jobs"}"\narray_parallelism = 2\n')
        return ["--engine-config", str(config)]

    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "PYTHONFAULTHANDLER": "1", "FAULT_NOTES": str(self.notes), "PYTHONPATH": path}

    def begun(self) -> list[tuple[str, int]]:
        """Return what each fit noted as it began, and the process that it was in."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines if line.count(" ") >= 2]

    def times(self) -> Counter[str]:
        """Return how often each fit was begun."""
        return Counter(what for what, _ in self.begun())

    def records(self) -> list[Record]:
        store = ResultStore(self.runs)
        found = store.load()
        assert store.broken == []
        return found

    def statuses(self) -> dict[int, str]:
        return {record.seed: record.status for record in self.records()}

    def processes(self) -> list[psutil.Process]:
        """Return the processes, other than this one, that were started for the study and are not gone."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("FAULT_NOTES") == str(self.notes)
                tracker = process.ppid() == os.getpid() and "resource_tracker" in " ".join(process.cmdline())
                own = process.pid == os.getpid() or tracker  # Python's own helper ends with this process
                if mine and not own and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def check_nothing_left(self, killed: bool = False) -> None:
        """No process is left behind, no half-written file, and no two records of one run.

        What a killed coordinator was writing at that moment goes with the next command.
        """
        until(lambda: not self.processes(), "processes are left behind")
        if killed:
            ResultStore(self.runs).check_writable()
        assert [path.name for path in self.runs.rglob(".*.tmp")] == []
        ids = [record.id for record in self.records()]
        assert len(ids) == len(set(ids))


def same_numbers(some: Path, all_: Path) -> None:
    """Assert that the records and predictions of one folder are in another, too, bit for bit."""
    stores = ResultStore(some), ResultStore(all_)
    others = {record.id: record for record in stores[1].load()}
    for mine in stores[0].load():
        theirs = others[mine.id]
        assert (mine.status, mine.metrics, mine.curve, mine.losses) == (
            "ok",
            theirs.metrics,
            theirs.curve,
            theirs.losses,
        )
        arrays = stores[0].predictions(mine), stores[1].predictions(theirs)
        assert arrays[0].keys() == arrays[1].keys()
        for name in arrays[0]:
            assert arrays[0][name].tobytes() == arrays[1][name].tobytes()


def until(found: Callable[[], Any], what: str) -> Any:
    """Wait until something is found, and return it."""
    ends = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < ends, f"in vain: {what}"
        time.sleep(0.02)
    return answer


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def output_of(process: subprocess.Popen[str]) -> str:
    """Return what a process printed until it ended; one that does not end fails with what its threads are at."""
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # Python's fault handler then prints all threads
    try:
        output = process.communicate(timeout=10)[0]
    except subprocess.TimeoutExpired as error:  # what it started holds the pipe
        output = (error.output or b"").decode() if isinstance(error.output, bytes | None) else str(error.output)
    pytest.fail(f"still there after {PATIENCE:g} s:\n{output}")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A study; what a failed test of it left behind is ended."""
    found = Study(tmp_path)
    monkeypatch.setenv("FAULT_NOTES", str(found.notes))
    yield found
    for process in found.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()
