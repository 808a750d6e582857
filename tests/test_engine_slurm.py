"""The slurm engine, through submitit's local executor: jobs are plain processes, all else is as on a cluster."""

from __future__ import annotations

import signal

import pytest
from faults import MOST, Study, output_of, same_numbers, until
from threadpoolctl import threadpool_limits

import zslbench
from zslbench.errors import BadValue, EngineError, UnknownName
from zslbench.runner.executors.slurm import SlurmConfig, SlurmExecutor

pytestmark = pytest.mark.timeout(MOST)
NOTED = "fault_methods:Noted"
POINTS = "fault_methods:Points"


def local(study: Study, parallel: int = 2) -> SlurmExecutor:
    return SlurmExecutor(SlurmConfig(cluster="local", folder=str(study.folder / "jobs"), array_parallelism=parallel))


def test_jobs_do_the_runs_and_a_killed_one_costs_its_own(study):
    methods = [f"{NOTED}[fault={fault}]" for fault in ("none", "kill", "raise")]
    methods += [f"{POINTS}[ridge=[1,2]]", f"{POINTS}[ridge=3,dies=true]", f"{POINTS}[ridge=[4,5]]"]
    outcome = zslbench.run(methods, "synthetic", "gzsl", runs=study.runs, engine=local(study, 4))
    statuses = [record.status for record in outcome.records]
    assert statuses == ["ok", "crashed", "failed", "ok", "ok", "crashed", "ok", "ok"]
    assert "its Slurm job" in outcome.records[1].error
    assert set(study.times().values()) == {1}  # what the grid had finished was not done again
    assert {record.provenance["engine"] for record in outcome.records} == {"slurm"}
    assert outcome.records[0].provenance["worker_threads"] == 1
    study.run(NOTED, engine=local(study), seeds=1)
    with threadpool_limits(1):
        zslbench.run([f"{NOTED}[fault=none]"], "synthetic", "gzsl", runs=study.folder / "serial")
    same_numbers(study.folder / "serial", study.runs)
    assert list((study.folder / "jobs").glob("spool-*")) == []
    study.check_nothing_left()


def test_what_jobs_finished_for_a_killed_coordinator_is_not_done_again(study):
    method, hold = f"{NOTED}[fault=hold]", study.folder / "hold"
    hold.touch()
    coordinator = study.start("-m", method, "--seeds", "2", *study.words("slurm"))
    until(lambda: len(study.begun()) == 2, "jobs that began")
    coordinator.send_signal(signal.SIGSTOP)  # from now on it reads nothing
    hold.unlink()
    until(lambda: [process.pid for process in study.processes()] == [coordinator.pid], "jobs that ended")
    coordinator.kill()
    output_of(coordinator)
    fits = study.begun()
    outcome = study.run(method, local(study), seeds=2)
    assert study.begun() == fits
    assert [(record.status, record.seed) for record in outcome.records] == [("ok", 0), ("ok", 1)]
    assert {record.provenance["engine"] for record in outcome.records} == {"slurm"}
    with threadpool_limits(1):
        zslbench.run(method, "synthetic", "gzsl", runs=study.folder / "serial", seeds=2)
    same_numbers(study.folder / "serial", study.runs)
    assert list((study.folder / "jobs").glob("spool-*")) == []


def test_the_file_says_what_slurm_is_asked_for(tmp_path):
    path = tmp_path / "slurm.toml"
    path.write_text(
        'partition = "gpu"\naccount = "zsl"\ntime = "1h30m"\nmemory = "8GiB"\ncpus = 4\ngpus = 1\n'
        'array_parallelism = 20\nsetup = ["module load cuda"]\n'
    )
    assert dict(SlurmConfig.read(path).parameters()) == {
        "timeout_min": 90,
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "tasks_per_node": 1,
        "nodes": 1,
        "slurm_array_parallelism": 20,
        "name": "zslbench",
        "mem_gb": 8.0,
        "slurm_partition": "gpu",
        "slurm_account": "zsl",
        "slurm_setup": ["module load cuda"],
    }


def test_what_sbatch_is_given(study, monkeypatch):
    """An sbatch that only keeps its script: the array and all that was asked for stand in it."""
    bin_ = study.folder / "bin"
    bin_.mkdir()
    for name, text in (("srun", "exit 0"), ("sbatch", f"cp $1 {study.folder}/script; echo no more nodes >&2; exit 1")):
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")
    config = SlurmConfig(partition="gpu", gpus=1, time="2h", array_parallelism=3, folder=str(study.folder / "jobs"))
    with pytest.raises(EngineError, match=r"Slurm refuses the jobs .*no more nodes"):
        study.run(NOTED, SlurmExecutor(config), seeds=3)
    script = (study.folder / "script").read_text()
    for line in ("--array=0-2%3", "--partition=gpu", "--time=120", "--gpus-per-node=1", "--cpus-per-task=1"):
        assert f"#SBATCH {line}\n" in script
    assert study.statuses() == {}  # what did not begin has no record


def test_without_slurm_there_is_a_sentence(study, monkeypatch):
    monkeypatch.setenv("PATH", str(study.folder))
    with pytest.raises(EngineError, match=r"Slurm cannot be used from here .* run on a node that has sbatch"):
        study.run(NOTED, SlurmExecutor(SlurmConfig(folder=str(study.folder / "jobs"))))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (None, BadValue, "the Slurm configuration .* does not exist"),
        ("partitoin = 'gpu'", UnknownName, r"unknown key in .*slurm.toml 'partitoin'; did you mean 'partition'\?"),
        ("gpus = 'two'", BadValue, "slurm.toml: gpus is 'two'; write a number of at least 0"),
        ("gpus = -1", BadValue, "slurm.toml: gpus is -1; write a number of at least 0"),
        ("setup = 'module load'", BadValue, "write a list of texts"),
        ("time = 'long'", BadValue, "time limit 'long' is not allowed"),
        ("cluster = 'pbs'", BadValue, "cluster is 'pbs'; write slurm or local"),
        ("gpus =", BadValue, "slurm.toml is not TOML"),
    ],
)
def test_a_bad_file_is_told(tmp_path, text, kind, message):
    path = tmp_path / "slurm.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=message):
        zslbench.engine(config=path)
