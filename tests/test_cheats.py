"""Methods that try to learn of the test gain nothing, or fail with a sentence: in this process and in a worker's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cheats import NOTES, SECRETS, STASHERS, Counted, digest_of
from test_leaks import write_world

import zslbench
from zslbench import seeding
from zslbench.data.loading import load_dataset
from zslbench.data.splits import split
from zslbench.protocols.gzsl import GZSL
from zslbench.runner.executors import Executor, SerialExecutor
from zslbench.runner.executors.processes import ProcessExecutor
from zslbench.runner.resources import WorkerPlace

ENGINES = ["serial", "process"]


def engine(name: str) -> Executor:
    return SerialExecutor() if name == "serial" else ProcessExecutor((WorkerPlace(1),))


def secrets_of(folder: Path) -> str:
    """Return digests of what no process may lead to while a method runs in it; nothing of it stays in this one."""
    dataset = load_dataset(str(folder))
    mixed = np.r_[dataset.test_seen, dataset.test_unseen]
    named = {
        "labels": dataset.labels,
        "labels of the test": dataset.labels[mixed],
        "labels of unseen rows": dataset.labels[dataset.test_unseen],
        "labels of seen rows": dataset.labels[dataset.test_seen],
        "rows of the test": mixed,
        "unseen rows": dataset.test_unseen,
    }
    return ",".join(f"{name}={digest_of(values)}" for name, values in named.items())


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which processes note what they find; they import the tests' modules."""
    monkeypatch.setenv(NOTES, str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path / "notes"


@pytest.mark.parametrize("how", ["serial", "process --workers 1"])
def test_nothing_that_a_method_is_handed_leads_to_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Path, how: str
) -> None:
    """Walked are ctx, train, classes, the stack and all modules, at every moment at which the method's code runs."""
    folder = write_world(tmp_path / "world", 20)
    monkeypatch.setenv(SECRETS, secrets_of(folder))
    words = f"-m zslbench run -m cheats:Walker -d {folder} --seeds 2 --checkpoints every:1 --engine {how}".split()
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    looks = [line.partition(" [") for line in notes.read_text().splitlines()]
    moments = {"fit", "after a checkpoint", "after a fault at a checkpoint", "scores"}
    assert {where.rpartition(" ")[0] for where, _, _ in looks} == moments
    assert all(int(where.rpartition(" ")[2]) > 20_000 for where, _, _ in looks), looks
    assert [line for line in looks if line[2] != "]"] == []


def test_the_walk_would_find_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Path) -> None:
    """The oracle of the test above: a permutation of what lies in a closure, in a module's registry, is found."""
    code = """
import sys, types, cheats, numpy
def hide():
    secret = numpy.random.default_rng(0).permutation(1000)
    return {"answers": [lambda: secret]}
sys.modules["hiding"] = types.ModuleType("hiding")
sys.modules["hiding"].registry = hide()
cheats.look("here", None)
"""
    monkeypatch.setenv(SECRETS, f"secret={digest_of(np.arange(1000))}")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "'secret ndarray'" in notes.read_text()


@pytest.mark.parametrize("name", ENGINES)
def test_cheats_fail_with_a_sentence(tmp_path: Path, name: str) -> None:
    scalers = ["Scaler", "Whisperer", "Outlier"]
    outcome = zslbench.run(
        [f"cheats:{cheat}" for cheat in (*STASHERS, *scalers)],
        "digits",
        runs=tmp_path,
        checkpoints="every:1",
        engine=engine(name),
    )
    assert len(outcome.failed) == len(outcome.records) == 2 * (len(STASHERS) + len(scalers))
    for number, cheat in enumerate((*STASHERS, *scalers)):
        for record in outcome.records[2 * number : 2 * number + 2]:
            assert len(record.error.splitlines()) == 1, record.error
            if cheat in scalers:
                assert "calls itself inductive" in record.error
            else:
                assert f"{cheat.partition('[')[0]}.scores changes {STASHERS[cheat]}" in record.error


def test_the_state_after_a_query_is_the_state_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a state takes time: before the first query and after each, at a checkpoint and at the end."""
    monkeypatch.setattr(Counted, "looks", 0)
    assert not zslbench.run("cheats:Honest", "digits", ["zsl", "gzsl"], runs=tmp_path, checkpoints="every:1").failed
    assert Counted.looks == (1 + 2) * 2


def test_a_scaler_that_says_so_is_no_cheat(tmp_path: Path) -> None:
    outcome = zslbench.run(["cheats:OpenScaler", "toy_methods:Ridge"], "digits", runs=tmp_path, checkpoints="every:2")
    assert not outcome.failed


def test_looking_up_and_importing_are_no_cheats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "first_asked", raising=False)
    assert not zslbench.run("cheats:Looker", "digits", runs=tmp_path, checkpoints="every:2").failed


@pytest.mark.parametrize("name", ENGINES)
def test_the_order_of_a_query_cannot_be_worked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whoever knew which rows of the mixed batch are of unseen classes would tell the two sides apart for nothing."""
    data = load_dataset("digits")
    monkeypatch.setenv("ZSLBENCH_TEST_PUBLIC", f"{data.fingerprint} {len(data.test_seen)} {len(data.test_unseen)}")
    outcome = zslbench.run(
        ["cheats:Guesser", "toy_methods:Ridge"], "digits", "gzsl", runs=tmp_path, seeds=3, engine=engine(name)
    )
    guessed = [record for record in outcome.records if record.method["name"] == "cheats:Guesser"]
    assert [record.status for record in guessed] == ["failed"] * 3  # the batch decides, and that is seen, too
    honest = [record.metrics["H"] for record in outcome.records if record.ok]
    for seed in range(3):
        _, answers = GZSL().query(data, split(data), seed)
        of_unseen = np.isin(answers.labels, data.unseen)
        for purpose in ("query rows", f"query rows {data.fingerprint}", f"zslbench query rows {seed}"):
            guess = seeding.stream(seed, purpose).permutation(np.arange(len(of_unseen)) >= len(data.test_seen))
            assert np.mean(guess == of_unseen) < 0.6
    assert len(honest) == 3
