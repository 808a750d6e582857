"""Faults around the engines: a full disk, coordinators that share a folder; and studies that pass their engine on."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import MOST, Study, output_of, until

import zslbench
from zslbench.errors import BadValue, StoreError
from zslbench.results.records.store import ResultStore
from zslbench.runner.execute import execute
from zslbench.runner.executors.processes import ProcessExecutor
from zslbench.runner.handout import pack
from zslbench.runner.jobs import Batch, jobs
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.resources import Place

pytestmark = pytest.mark.timeout(MOST)
NOTED = "fault_methods:Noted"


def process(workers: int = 1) -> ProcessExecutor:
    return ProcessExecutor([Place(1)] * workers)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte; where nothing may be mounted the test is skipped, and continuous integration fails."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        message = f"a small disk cannot be mounted ({mounted.stderr.decode().strip()}); run as root"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_the_study_and_loses_nothing(study: Study, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    runs = small_disk / "runs"
    runs.mkdir()
    ballast.write_bytes(b"0" * (512 - 8 * 4) * 1024)  # room for a few records
    methods = [NOTED]
    with pytest.raises(StoreError, match=r"No space left on device.*free space there.*what was finished stays"):
        zslbench.run(methods, "synthetic", "gzsl", runs=runs, seeds=12, engine=process(2))
    store = ResultStore(runs)
    kept = {record.seed for record in store.load() if record.ok}
    assert store.broken == []
    assert 0 < len(kept) < 12
    study.check_nothing_left()
    ballast.unlink()
    zslbench.run(methods, "synthetic", "gzsl", runs=runs, seeds=12)
    assert {record.seed: record.status for record in store.load()} == dict.fromkeys(range(12), "ok")
    assert {seed: study.times()[f"none {seed}"] for seed in kept} == dict.fromkeys(kept, 1)
    assert list(runs.rglob(".*.tmp")) == []


def test_coordinators_with_workers_share_a_study_and_take_over_from_one_that_is_killed(study: Study) -> None:
    words = ["-m", f"{NOTED}[wait=0.2]", "--seeds", "10", "--workers", "1"]
    first, second = study.start(*words), study.start(*words)
    until(lambda: min(Counter(pid for _, pid in study.begun()).values(), default=0) >= 2, "two runs of one of them")
    until(lambda: len({pid for _, pid in study.begun()}) == 2, "workers of both")
    assert set(study.times().values()) == {1}
    first.kill()
    output_of(first)
    output = output_of(second)
    assert second.returncode == 0, output
    assert study.statuses() == dict.fromkeys(range(10), "ok")
    assert sum(study.times().values()) <= 11  # the run that the killed one was at, once more
    study.check_nothing_left()


def test_ctrl_c_while_a_record_is_written_does_not_lose_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    save = ResultStore.save

    def pressed(store: ResultStore, *given: object) -> Path:
        signal.raise_signal(signal.SIGINT)
        return save(store, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(ResultStore, "save", pressed)
    outcome = study.run(NOTED, seeds=3)
    assert outcome.interrupted
    assert study.statuses() == {0: "ok"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_data_that_is_another_on_a_worker_fails_the_run(study: Study) -> None:
    (run,) = plan(RunOptions([NOTED], ["synthetic"], ["gzsl"])).runs
    other = dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, fingerprint="0" * 16))
    batch = Batch((jobs([other])[0],))
    ((_, (result,)),) = execute(batch, pack(batch))
    assert result.status == "failed"
    assert "give both the same files" in result.error


def test_studies_hand_their_engine_on(study: Study) -> None:
    ablated = zslbench.ablate(
        "study_methods:Noisy", "synthetic", "gzsl", seeds=2, runs=study.runs, engine=process(), width=100
    )
    tuned = zslbench.tune(
        "toy_methods:Grid[ridge=[1,10]]", "digits", "gzsl", only="ridge", fold=1, runs=study.runs, engine=process()
    )
    assert not ablated.outcome.failed
    assert len(tuned.trials) == 2
    assert {record.provenance["engine"] for record in study.records()} == {"process"}
    with pytest.raises(BadValue, match=r"the sampler random suggests each trial .* --sampler grid"):
        zslbench.tune(
            "toy_methods:Grid", "digits", "gzsl", sampler="random", trials=2, runs=study.runs, engine=process()
        )
