"""Engines, the process engine above all: faults in workers and around them cost one run and no more."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults import MOST, kill, output_of, same_numbers, until
from threadpoolctl import threadpool_limits

import zslbench
from zslbench.errors import BadValue, EngineError, StoreError
from zslbench.results.records.store import ResultStore
from zslbench.runner.execute import execute
from zslbench.runner.executors import Listener, SerialExecutor
from zslbench.runner.executors.loop import do_batches
from zslbench.runner.executors.processes import ProcessExecutor
from zslbench.runner.handout import pack
from zslbench.runner.jobs import Batch, Job, Run
from zslbench.runner.plan import RunOptions, plan
from zslbench.runner.resources import THREAD_VARIABLES, Limits, WorkerPlace, places
from zslbench.runner.run_records import RunResult

pytestmark = pytest.mark.timeout(MOST)
NOTED = "fault_methods:Noted"
POINTS = "fault_methods:Points"


def process(workers: int = 1, **limits: Any) -> ProcessExecutor:
    return ProcessExecutor([WorkerPlace(1)] * workers, Limits(**limits))


def noted_runs(seeds: int) -> Sequence[Run]:
    return plan(RunOptions([NOTED], ["synthetic"], ["gzsl"], seeds=seeds)).runs


def test_the_numbers_are_those_of_the_serial_engine(study, tmp_path):
    methods = [NOTED, "eszsl[gamma=[1,10]]", "study_methods:Noisy[noise=0.5]"]
    with threadpool_limits(1):
        zslbench.run(methods, "synthetic", runs=tmp_path / "serial", seeds=2)
    zslbench.run(methods, "synthetic", runs=study.runs, seeds=2, engine=process(2))
    same_numbers(study.runs, tmp_path / "serial")
    facts = [record.provenance for record in study.records()]
    assert {(known["engine"], known["worker_threads"], known["blas_threads"]) for known in facts} == {("process", 1, 1)}
    assert {record.provenance["engine"] for record in ResultStore(tmp_path / "serial").load()} == {"serial"}
    study.check_nothing_left()


def test_a_killed_worker_costs_one_run(study):
    """SIGKILL from outside, in the middle of a run: that run is recorded as crashed, all others are done once."""

    def kill_those_that_stay():
        for name in ("stay 2", "stay 3"):
            kill(until(lambda name=name: dict(study.begun()).get(name), "a fit that stays"))

    killer = threading.Thread(target=kill_those_that_stay)
    killer.start()
    outcome = study.run(f"{NOTED}[fault=stay]", process(2), seeds=5)
    killer.join()
    assert study.statuses() == {0: "ok", 1: "ok", 2: "crashed", 3: "crashed", 4: "ok"}
    assert [record.seed for record in outcome.failed] == [2, 3]
    assert "killed by SIGKILL" in outcome.failed[0].error
    assert set(study.times().values()) == {1}
    again = study.run(f"{NOTED}[fault=stay]", process(2), seeds=5)
    assert [state for _, state in again.states_before].count("to run") == 2
    assert study.statuses() == dict.fromkeys(range(5), "ok")
    assert study.times() == {f"stay {seed}": 1 + (seed in (2, 3)) for seed in range(5)}
    study.check_nothing_left()


def test_a_grid_whose_worker_dies_before_its_first_result_is_done_one_by_one(study):
    methods = [f"{POINTS}[ridge=3,dies=true]", f"{POINTS}[ridge=[1,2]]"]
    outcome = zslbench.run(methods, "synthetic", "gzsl", runs=study.runs, engine=process())
    assert [record.status for record in outcome.records] == ["ok"] * 3  # whose fault it was is not known
    assert study.times() == {"grid of 3": 1, "point 3": 2, "point 1": 1, "point 2": 1}
    study.check_nothing_left()


def test_one_job_of_a_batch_is_blamed_once_another_was_done(study):
    methods = [f"{POINTS}[ridge=[1,2]]", f"{POINTS}[ridge=3,dies=true]", f"{POINTS}[ridge=[4,5]]"]
    zslbench.run(methods, "synthetic", "gzsl", runs=study.runs, engine=process())
    by_ridge = {record.method["params"]["ridge"]: record.status for record in study.records()}
    assert by_ridge == {1: "ok", 2: "ok", 3: "crashed", 4: "ok", 5: "ok"}
    assert study.times() == dict.fromkeys(["grid of 5", "grid of 2", *(f"point {ridge}" for ridge in range(1, 6))], 1)
    study.check_nothing_left()


@pytest.mark.parametrize(
    ("fault", "limit", "status", "sentence"),
    [
        ("child", {"time": 0.5}, "timeout", "time limit of 0.5 s"),  # stopped with what it started
        ("eat", {"memory": 500_000_000}, "crashed", "memory limit of 477 MiB"),
    ],
)
def test_a_run_past_a_limit_is_stopped(study, fault, limit, status, sentence):
    (record,) = study.run(f"{NOTED}[fault={fault}]", process(1, **limit), seeds=1).failed
    assert record.status == status
    assert sentence in record.error
    assert study.run(f"{NOTED}[fault={fault}]", process(), seeds=1, dry_run=True).count("failed") == 1
    study.check_nothing_left()


def test_a_run_is_not_blamed_for_what_earlier_ones_left_in_the_worker(study):
    """Each leaves 300 MB behind: two in one worker would be past the limit."""
    study.run(f"{NOTED}[fault=leak]", process(1, memory=600_000_000), seeds=2)
    assert not [record.error for record in study.records() if not record.ok]
    assert study.statuses() == dict.fromkeys(range(2), "ok")
    assert len({pid for _, pid in study.begun()}) == 2


def test_a_fault_of_a_method_costs_its_own_run(study, capfd):
    """The child of `fork` stays, with a copy of pipes on which its worker left half a message."""
    methods = [f"{NOTED}[fault={fault}]" for fault in ("segfault", "raise", "print", "press", "fork", "none")]
    zslbench.run(methods, "synthetic", "gzsl", runs=study.runs, engine=process(2))
    records = {record.method["params"]["fault"]: record for record in study.records()}
    statuses = {fault: record.status for fault, record in records.items()}
    crashed = dict.fromkeys(("segfault", "press", "fork"), "crashed")
    assert statuses == {"raise": "failed", "print": "ok", "none": "ok", **crashed}
    assert "KeyboardInterrupt: of its own" in records["press"].error
    assert "killed by SIGSEGV" in records["segfault"].error.splitlines()[-1]
    assert "Fatal Python error: Segmentation fault" in records["segfault"].error
    assert "killed by SIGKILL" in records["fork"].error
    assert "RuntimeError: no convergence" in records["raise"].error
    assert records["raise"].provenance["engine"] == "process"
    assert capfd.readouterr() == ("", "")
    study.check_nothing_left()


@pytest.mark.parametrize(("engine", "presses"), [("process", 1), ("process", 2), ("dask", 2), ("slurm", 1)])
def test_ctrl_c_keeps_what_is_finished_and_ends_the_rest(study, engine, presses):
    """Two fits end, and two stay."""
    coordinator = study.start("-m", f"{NOTED}[fault=stay]", "--seeds", "5", *study.words(engine))
    until(lambda: study.times().keys() >= {"stay 2", "stay 3"}, "two fits that stay")
    for _ in range(presses):
        coordinator.send_signal(signal.SIGINT)
    output = output_of(coordinator)
    assert coordinator.returncode == 130, output
    assert "zslbench/" not in output  # no traceback of ours; submitit's local executor shows one of its own
    study.check_nothing_left()
    cut_short = {} if engine == "dask" else {2: "interrupted", 3: "interrupted"}  # Dask's messages may be on their way
    assert {0: "ok", 1: "ok"}.items() <= study.statuses().items() >= cut_short.items()
    again = study.run(f"{NOTED}[fault=stay]", seeds=5)
    assert [state for _, state in again.states_before].count("done") == 2
    assert study.statuses() == dict.fromkeys(range(5), "ok")
    assert study.times() == {f"stay {seed}": 1 + (seed in (2, 3)) for seed in range(5)}


@pytest.mark.parametrize("engine", ["dask", "slurm"])
def test_jobs_do_not_outlive_their_coordinator(study, monkeypatch, engine):
    monkeypatch.setenv("ZSLBENCH_COORDINATOR_GONE_AFTER", "2")
    coordinator = study.start("-m", f"{NOTED}[wait=60]", *study.words(engine))
    until(study.begun, "a run that began")
    coordinator.kill()
    output_of(coordinator)
    study.check_nothing_left(killed=True)


def test_workers_do_not_outlive_a_killed_coordinator(study):
    """Nor does what a method started in one of them."""
    words = ["-m", f"{NOTED}[wait=0.4]", "-m", f"{NOTED}[fault=child]", "--seeds", "3", "--workers", "2"]
    coordinator = study.start(*words)
    until(lambda: study.times()["child 0"], "runs that began")
    until(lambda: len(study.processes()) >= 4, "a process that the method started")
    coordinator.kill()
    output_of(coordinator)
    study.check_nothing_left(killed=True)
    finished = {record.seed for record in study.records() if record.ok}
    assert len(finished) >= 2
    study.run(f"{NOTED}[wait=0.4]", seeds=3)
    assert {record.seed for record in study.records() if record.ok} == {0, 1, 2}
    assert {study.times()[f"none {seed}"] for seed in finished} == {1}


@pytest.mark.parametrize("closed", ["", "<&- >&- 2>&-"])
def test_a_script_without_a_guard_is_not_run_again_by_workers(study, closed):
    """Where its standard streams are closed, pipes would take their numbers."""
    script = study.folder / "script.py"
    script.write_text(
        "import zslbench\n"
        "print('the script runs')\n"
        f"zslbench.run('{NOTED}', 'synthetic', 'gzsl', seeds=2, runs={str(study.runs)!r},\n"
        "    engine=zslbench.engine(workers=2))\n"
    )
    command = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(script))} {closed}"
    done = subprocess.run(
        command, shell=True, env=study.environment(), capture_output=True, text=True, timeout=120, cwd=study.folder
    )
    assert (done.stdout, done.stderr) == ("" if closed else "the script runs\n", "")
    assert done.returncode == 0
    assert study.statuses() == {0: "ok", 1: "ok"}
    study.check_nothing_left()


def test_workers_find_methods_of_the_working_folder(study, monkeypatch):
    (study.folder / "lies_here.py").write_text("from fault_methods import Noted as Mine\n")
    monkeypatch.chdir(study.folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # as it is for the command
    assert not zslbench.run("lies_here:Mine", "synthetic", "gzsl", runs=study.runs, engine=process()).failed
    (record,) = study.records()
    assert record.provenance["engine"] == "process"


def test_workers_that_cannot_start_are_told_once(study, monkeypatch):
    monkeypatch.setattr(WorkerPlace, "environment", lambda place: {"PYTHONHOME": str(study.folder / "nowhere")})
    with pytest.raises(EngineError, match=r"cannot be started .* --engine serial"):
        study.run(NOTED, ProcessExecutor([WorkerPlace(1)]))
    assert study.records() == []
    study.check_nothing_left()


class Ear(Listener):
    """Calls something with each job that starts."""

    def __init__(self, call: Callable[[Job], object]) -> None:
        self.started = call


def test_every_worker_sees_one_gpu_and_its_share_of_the_threads(study):
    """The variables are there before anything is imported: the child's own first environment has them."""
    gpus = places(4, "auto", gpus=["0", "GPU-beef"], threads=2)
    assert gpus == [WorkerPlace(2, "0"), WorkerPlace(2, "GPU-beef"), WorkerPlace(2, "0"), WorkerPlace(2, "GPU-beef")]
    environments: list[dict[str, str]] = []

    def note_workers(job: Job) -> None:
        # a worker's own child, such as the `lscpu` by which joblib counts cores, has the worker's environment, too
        environments.extend(each.environ() for each in study.processes() if each.ppid() == os.getpid())

    study.run(NOTED, ProcessExecutor(gpus[1:]), hear=Ear(note_workers))
    (environment,) = environments  # no more workers are started than there are batches
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-beef"
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "2"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "GPU-beef"


@pytest.mark.parametrize(
    ("workers", "device", "gpus", "cores", "asked", "expected"),
    [
        ("auto", "auto", [], 2, "", [WorkerPlace(1)] * 2),
        ("auto", "auto", [], 8, "", [WorkerPlace(2)] * 4),
        ("auto", "auto", [], 64, "", [WorkerPlace(4)] * 16),
        ("auto", "cuda", ["3"], 16, "", [WorkerPlace(16, "3")]),
        ("auto", "cpu", ["0", "1"], 1, "", [WorkerPlace(1)]),
        (3, "cuda:1", ["0", "1"], 2, "", [WorkerPlace(1)] * 3),
        (1, "auto", [], 8, "3", [WorkerPlace(3)]),  # the environment may ask for fewer threads
        (1, "auto", [], 2, "3", [WorkerPlace(2)]),
    ],
)
def test_a_machine_is_divided(monkeypatch, workers, device, gpus, cores, asked, expected):
    for name in THREAD_VARIABLES:  # Dask sets some of them for good in a process that starts workers
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert places(workers, device, gpus=gpus, cores=cores) == expected


@pytest.mark.parametrize(
    ("options", "engine"),
    [({}, "serial"), ({"name": "serial"}, "serial"), ({"workers": 2}, "process"), ({"time_limit": "2h"}, "process")],
)
def test_what_is_given_chooses_the_engine(options, engine):
    assert zslbench.engine(**options).name == engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "serial", "workers": 2}, "--workers means nothing to the serial engine.*--engine process or dask"),
        ({"name": "serial", "memory_limit": "1GB"}, "--memory-limit means nothing to the serial engine"),
        ({"name": "process", "scheduler": "tcp://a"}, "--scheduler means nothing to the process engine"),
        ({"name": "spark"}, "engine 'spark' does not exist; choose one of: serial, process, dask, slurm"),
        ({"workers": "many"}, "workers 'many' is not allowed; write a number from 1 to 1024, or auto"),
        ({"workers": -1}, "workers -1 is not allowed"),
        ({"workers": 10**30}, "is not allowed; write a number from 1 to 1024, or auto"),
        ({"workers": "²"}, "workers '²' is not allowed"),
        ({"time_limit": "soon"}, "time limit 'soon' is not allowed"),
        ({"memory_limit": "4 apples"}, "memory limit '4 apples' is not allowed"),
        ({"memory_limit": "4"}, "memory limit '4' is not allowed"),
    ],
)
def test_words_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(BadValue, match=message):
        zslbench.engine(**options)


def test_batches_are_taken_one_at_a_time_when_a_worker_is_free(study):
    runs = noted_runs(4)
    order: list[str] = []

    def claims() -> Iterator[Batch]:
        for run in runs:
            order.append(f"taken {run.seed}")
            yield Batch((Job((run,)),))

    def keep(job: Job, results: list[RunResult]) -> None:
        assert results[0].record.ok
        order.append(f"done {job.first.seed}")

    for engine in (SerialExecutor(), process()):
        order.clear()
        do_batches(engine, claims(), [], keep)
        assert order == [f"{what} {seed}" for seed in range(4) for what in ("taken", "done")]


def test_the_listener_hears_of_what_happens_in_workers(study):
    heard: list[tuple[object, ...]] = []

    class Notes(Listener):
        def started(self, job: Job) -> None:
            heard.append(("started", job.first.seed))

        def logged(self, job: Job, *facts: object) -> None:
            heard.append(("logged", job.first.seed, *facts))

        def judged(self, job: Job, run: Run, step: int, metrics: Mapping[str, float]) -> None:
            heard.append(("judged", run in job.runs, step, sorted(metrics)))

    study.run(f"{NOTED}[epochs=1]", process(), seeds=1, checkpoints="every:1", hear=Notes())
    assert heard == [
        ("started", 0),
        ("logged", 0, 1, 2, {"loss": 1.0}),
        ("logged", 0, 2, 2, {"loss": 0.5}),
        ("logged", 0, 1, 1, {"loss": 1.0}),
        ("judged", True, 1, ["AUSUC", "H", "S", "U"]),
    ]


def test_a_worker_that_dies_between_two_batches_costs_no_run(study):
    def work() -> Iterator[Batch]:
        for run in noted_runs(3):
            if run.seed == 2:
                (worker,) = {pid for _, pid in study.begun()}
                dying = psutil.Process(worker)  # before its number can be gone
                kill(worker)
                psutil.wait_procs([dying], timeout=10)
            yield Batch((Job((run,)),))

    done: dict[int, str] = {}

    def keep(job: Job, results: list[RunResult]) -> None:
        done[job.first.seed] = results[0].record.status

    do_batches(process(), work(), [], keep)
    assert done == dict.fromkeys(range(3), "ok")
    assert study.times() == {f"none {seed}": 1 for seed in range(3)}
    study.check_nothing_left()


@pytest.mark.parametrize("fault", ["store", "listener"])
def test_an_error_of_the_coordinator_ends_the_workers_at_once(study, monkeypatch, fault):
    """While the error is held, as a notebook does; Ctrl-C is as it was, too."""

    def fail(*given: object) -> None:
        raise StoreError("no space")

    if fault == "store":
        monkeypatch.setattr(ResultStore, "save", fail)
    with pytest.raises(StoreError, match="no space") as held:
        study.run(f"{NOTED}[wait=0.2]", process(2), seeds=4, hear=Ear(fail) if fault == "listener" else None)
    assert study.processes() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert held.value


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


def test_a_full_disk_ends_the_study_and_loses_nothing(study, small_disk):
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


def test_coordinators_with_workers_share_a_study_and_take_over_from_one_that_is_killed(study):
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
    study.check_nothing_left(killed=True)


def test_ctrl_c_while_a_record_is_written_does_not_lose_it(study, monkeypatch):
    save = ResultStore.save

    def pressed(store: ResultStore, *given: object) -> Path:
        signal.raise_signal(signal.SIGINT)
        return save(store, *given)

    monkeypatch.setattr(ResultStore, "save", pressed)
    outcome = study.run(NOTED, seeds=3)
    assert outcome.interrupted
    assert study.statuses() == {0: "ok"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_data_that_is_another_on_a_worker_fails_the_run(study):
    (run,) = noted_runs(1)
    other = dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, fingerprint="0" * 16))
    messages: list[Any] = []
    execute(pack(Batch((Job((other,)),))), messages.append)
    (result,) = messages[-1].results
    assert result.status == "failed"
    assert "give both the same files" in result.error


def test_studies_hand_their_engine_on(study):
    how: dict[str, Any] = {"runs": study.runs, "engine": process()}
    ablated = zslbench.ablate("study_methods:Noisy", "synthetic", "gzsl", seeds=2, width=100, **how)
    tuned = zslbench.tune("toy_methods:Grid[ridge=[1,10]]", "digits", "gzsl", only="ridge", fold=1, **how)
    assert not ablated.outcome.failed
    assert len(tuned.trials) == 2
    assert {record.provenance["engine"] for record in study.records()} == {"process"}
    with pytest.raises(BadValue, match=r"the sampler random suggests each trial .* --sampler grid"):
        zslbench.tune("toy_methods:Grid", "digits", "gzsl", sampler="random", trials=2, **how)
