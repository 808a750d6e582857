"""A fit that was killed goes on from the state of its training, to the bits of one that was not."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dying_methods import STEP
from faults import same_numbers
from gan_data import problem
from live_files import fit as live_fit

import zslbench
from zslbench.errors import StoreError
from zslbench.methods.base import Context
from zslbench.methods.generative.gazsl import GAZSL
from zslbench.methods.generative.kept_training import LossTraining
from zslbench.methods.generative.training import GanTraining
from zslbench.methods.nn import in_threads
from zslbench.results.records.store import ResultStore
from zslbench.results.records.training_states import list_states, read_headers, read_state, write_state
from zslbench.runner import execute, job_in_progress, live_file_writer
from zslbench.runner.executors import Listener
from zslbench.runner.executors.processes import ProcessExecutor
from zslbench.runner.jobs import Job
from zslbench.runner.resources import WorkerPlace

DATA = "synthetic"
SMALL = "hidden=8,noise=3,batch=32,critic_steps=2,per_class=3"
ENDS = "pretrain_epochs=1,final_epochs=1,final_batch=64"
FCLSWGAN = f"fclswgan[{SMALL},{ENDS},epochs=4]"
LISGAN = f"lisgan[{SMALL},{ENDS},epochs=5,soul_rows=3,soul_classes=4,classifier=pretrained]"
GAZSL_ = f"gazsl[{SMALL},iterations=70]"
RFF_ = f"rff[{SMALL},{ENDS},epochs=3,latent=4,centre_gradients=never,multiplier_step=0.1]"
CEGZSL_ = f"cegzsl[{SMALL},{ENDS},epochs=3,embedding=6,projection=4,comparator=5,comparator_gradients=round]"
FREE_ = f"free[{SMALL},final_epochs=1,final_batch=64,epochs=2,centre_gradients=never]"
TFVAEGAN = f"tfvaegan[{SMALL},final_epochs=1,final_batch=64,epochs=2,gp_adapt=tf]"
CADAVAE_ = (
    "cadavae[latent=3,feature_encoder=8,feature_decoder=8,semantic_encoder=8,semantic_decoder=8,epochs=4,batch=32,"
    f"per_class=3,per_seen_class=3,{ENDS.removeprefix('pretrain_epochs=1,')}]"
)
BIVAEGAN = f"bivaegan[{SMALL},final_epochs=1,final_batch=64,epochs=2,gp_adapt=tf]"
SDGZSL_ = (
    f"sdgzsl[hidden=8,latent=3,half_code=4,epochs=4,batch=32,per_class=3,{ENDS.removeprefix('pretrain_epochs=1,')}]"
)
DYING = f"dying_methods:Dying[{SMALL},{ENDS},epochs=3]"
GRID = f"fclswgan[{SMALL.replace('per_class=3', 'per_class=[3,4]')},{ENDS},epochs=2,lr=[1e-4,1e-3]]"
SHARING = LISGAN.replace("final_epochs=1", "final_epochs=[1,2],cascade=[off,nn]")
"""Points that share a training."""
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "lisgan": (LISGAN, {}, 10),
    "gazsl": (GAZSL_, {}, 4),
    "rff": (RFF_, {}, 2),
    "cegzsl": (CEGZSL_, {}, 2),
    "free": (FREE_, {}, 2),
    "cadavae": (CADAVAE_, {}, 4),
    "cadavae, seeds at once": (CADAVAE_, {"seeds": 2, "seeds_at_once": "always", "protocols": "zsl"}, 2),
    "cadavae, judged, bf16": (CADAVAE_, {"precision": "bf16", "checkpoints": "every:1"}, 2),
    "sdgzsl, seeds at once": (SDGZSL_, {"seeds": 2, "seeds_at_once": "always", "protocols": "zsl"}, 2),
    "sdgzsl, judged, bf16": (SDGZSL_, {"precision": "bf16", "checkpoints": "every:1"}, 2),
    "judged": (FCLSWGAN, {"checkpoints": "every:1"}, 4),
    "judged grid": (SHARING, {"checkpoints": "every:2"}, 6),
    "seeds at once": (FCLSWGAN, {"seeds": 2, "seeds_at_once": "always"}, 2),
    "grid": (GRID, {"protocols": "zsl"}, 10),
    "bf16": (FCLSWGAN, {"precision": "bf16"}, 2),
    "further networks": (TFVAEGAN, {"protocols": "zsl"}, 4),
    "unlabelled rows": (BIVAEGAN, {"protocols": "zsl"}, 4),
    "further networks, seeds at once": (TFVAEGAN, {"seeds": 2, "seeds_at_once": "always", "protocols": "zsl"}, 2),
    "further networks, bf16": (TFVAEGAN, {"precision": "bf16", "protocols": "zsl"}, 2),
}
"""What is run, and how often it is killed."""


class Killed(KeyboardInterrupt):
    """The end of a process, as far as a test can have it in its own."""


def keep_every(steps: int, patch: pytest.MonkeyPatch) -> None:
    """Let a state be kept every so many steps: the clock ticks once a look."""
    ticks = itertools.count()
    patch.setattr(job_in_progress, "clock", lambda: float(next(ticks)))
    patch.setattr("zslbench.runner.run.KEEP_EVERY", float(steps))


def kill_after(left: list[int], patch: pytest.MonkeyPatch) -> None:
    """Kill the training in the middle of a step, after as many as the first number in the list, which then goes."""

    def killing(whole: Callable[..., None]) -> Callable[..., None]:
        def step(*given: Any) -> None:
            if left:
                left[0] -= 1
                if left[0] < 0:
                    del left[0]
                    raise Killed
            whole(*given)

        return step

    patch.setattr(GanTraining, "generator_step", killing(GanTraining.generator_step))
    patch.setattr(LossTraining, "_take_iteration", killing(LossTraining._take_iteration))


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give what `keep_every` does."""
    return partial(keep_every, patch=monkeypatch)


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the list of `kill_after`."""
    left: list[int] = []
    kill_after(left, monkeypatch)
    return left


def run(runs: Path, method: str, **options: Any) -> Any:
    return zslbench.run(method, DATA, runs=runs, **options)


def files_beside(runs: Path) -> list[str]:
    """Return the names of what is left beside the live files."""
    return sorted(path.name for path in (runs / ".live").glob("*"))


def resumed_from(runs: Path) -> list[int]:
    return [record.provenance.get("resumed_from", 0) for record in ResultStore(runs).load()]


@pytest.mark.parametrize("case", CASES)
def test_killed_again_and_again_at_random_it_ends_with_the_same_records(case, tmp_path, every, killing):
    method, options, kills = CASES[case]
    run(tmp_path / "whole", method, **options)
    every(3)
    seeded, steps = np.random.default_rng(16), dict[str, int]()
    for _ in range(kills):
        killing[:] = [int(seeded.integers(3, 12))]
        assert run(tmp_path / "killed", method, **options).interrupted
        headers = [header for _, header in read_headers(tmp_path / "killed")]
        assert headers
        assert all(steps.get(header.key, 1) <= header.step < header.total for header in headers)
        steps |= {header.key: header.step for header in headers}
    outcome = run(tmp_path / "killed", method, **options)
    assert outcome.remarks == ()
    same_numbers(tmp_path / "whole", tmp_path / "killed")
    assert set(resumed_from(tmp_path / "killed")) >= {header.step for header in headers}
    assert files_beside(tmp_path / "killed") == []


def test_points_that_were_not_yet_scored_go_on_from_the_training_that_they_shared(tmp_path, every, monkeypatch):
    every(3)
    ends = iter([execute._scored])
    with monkeypatch.context() as patch:
        patch.setattr(execute, "_scored", lambda *given: next(ends, killed)(*given))
        assert run(tmp_path / "killed", SHARING, checkpoints="every:1").interrupted
    ((_, header),) = read_headers(tmp_path / "killed")
    assert len(header.runs) == 8
    outcome = run(tmp_path / "killed", SHARING, checkpoints="every:1")
    assert (outcome.remarks, files_beside(tmp_path / "killed")) == ((), [])
    assert sorted(resumed_from(tmp_path / "killed")) == [0] * 2 + [header.step] * 6  # two were finished before
    run(tmp_path / "whole", SHARING, checkpoints="every:1")
    same_numbers(tmp_path / "whole", tmp_path / "killed")
    assert {len(record.curve) for record in ResultStore(tmp_path / "killed").load()} == {5}


def killed(*_: object) -> None:
    raise Killed


def test_seeds_that_train_together_all_say_from_which_step(tmp_path, every, killing):
    every(3)
    killing[:] = [10]
    together = partial(run, tmp_path, FCLSWGAN, seeds=3, seeds_at_once="always")
    assert together().interrupted
    ((_, header),) = read_headers(tmp_path)
    together()
    assert resumed_from(tmp_path) == [header.step] * 6


def test_the_bits_are_the_same_whether_states_are_kept_or_not(tmp_path, every):
    run(tmp_path / "off", LISGAN)
    every(1)
    outcome = run(tmp_path / "on", LISGAN)
    same_numbers(tmp_path / "off", tmp_path / "on")
    assert (outcome.remarks, resumed_from(tmp_path / "on"), files_beside(tmp_path / "on")) == ((), [0, 0], [])


PROGRAM = """
import sys, zslbench, zslbench.runner.run as module
module.KEEP_EVERY = 0.0
zslbench.run(sys.argv[1], "synthetic", "zsl", runs="killed")
"""


def test_a_process_that_was_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "whole", DYING, protocols="zsl")
    step = tmp_path / "step"
    step.write_text("17")
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(zslbench.__file__).parents[1])])
    threads = str(torch.get_num_threads())
    environment = os.environ | {STEP: str(step), "PYTHONPATH": path, "OMP_NUM_THREADS": threads}
    killed = subprocess.run([sys.executable, "-c", PROGRAM, DYING], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert ResultStore(tmp_path / "killed").load() == []
    run(tmp_path / "killed", DYING, protocols="zsl")
    same_numbers(tmp_path / "whole", tmp_path / "killed")
    assert (resumed_from(tmp_path / "killed"), files_beside(tmp_path / "killed")) == ([16], [])


def test_a_worker_that_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("zslbench.runner.run.KEEP_EVERY", 0.0)
    engine = ProcessExecutor([WorkerPlace(1)])
    with in_threads(1):
        run(tmp_path / "whole", DYING, protocols="zsl")
    step = tmp_path / "step"
    step.write_text("17")
    monkeypatch.setenv(STEP, str(step))
    (record,) = run(tmp_path / "killed", DYING, protocols="zsl", engine=engine).records
    assert record.status == "crashed"
    assert "the same command with --rerun failed goes on from step 16" in zslbench.status(tmp_path / "killed").text
    (record,) = run(tmp_path / "killed", DYING, protocols="zsl", engine=engine).records
    assert (record.status, record.provenance["resumed_from"]) == ("ok", 16)
    same_numbers(tmp_path / "whole", tmp_path / "killed")
    assert files_beside(tmp_path / "killed") == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that came to its end, and that of one that was killed in its second round."""
    whole, killed = (tmp_path_factory.mktemp(name) for name in ("whole", "killed"))
    run(whole, FCLSWGAN)
    with pytest.MonkeyPatch.context() as patch:
        keep_every(3, patch)
        kill_after([20], patch)
        assert run(killed, FCLSWGAN).interrupted
    return whole, killed


@pytest.fixture
def half(tmp_path, every, finished):
    """The folder of a study that was killed, and how it is typed again."""
    every(3)
    shutil.copytree(finished[1], tmp_path / "runs")
    return tmp_path / "runs", partial(run, tmp_path / "runs", FCLSWGAN)


def changed(**facts: Any) -> Callable[[Path], None]:
    """Return what changes facts of the header of a state."""

    def change(path: Path) -> None:
        header, arrays = read_state(path)
        write_state(path, dataclasses.replace(header, **facts), arrays)

    return change


def under(name: str, before: str) -> Callable[[Path], None]:
    """Return what lets a state have been made under another condition."""

    def change(path: Path) -> None:
        header, arrays = read_state(path)
        assert name in header.conditions
        write_state(path, dataclasses.replace(header, conditions={**header.conditions, name: before}), arrays)

    return change


def without(*names: str) -> Callable[[Path], None]:
    """Return what takes arrays away."""

    def change(path: Path) -> None:
        header, arrays = read_state(path)
        write_state(path, header, {name: array for name, array in arrays.items() if name not in names})

    return change


def widened(path: Path) -> None:
    header, arrays = read_state(path)
    write_state(path, header, {**arrays, "critic 0": np.zeros((2, 2), np.float32)})


def packed(path: Path) -> None:
    _, arrays = read_state(path)
    np.savez_compressed(path, **arrays)


def pickled(path: Path) -> None:
    np.savez(path, header=np.array([print], dtype=object))


REFUSED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not the state of a training"),
    "damaged": (lambda path: path.write_bytes(flip_middle(path.read_bytes())), "not the state of a training"),
    "empty": (lambda path: path.write_bytes(b""), "not the state of a training"),
    "packed": (packed, "it is compressed"),
    "pickled": (pickled, "not the state of a training"),
    "of another run": (changed(key="0" * 16), "it is of another training"),
    "torch": (under("version of torch", "1.0"), "the version of torch was 1.0, and is "),
    "numpy": (under("version of numpy", "1.0"), "the version of numpy was 1.0, and is "),
    "source": (under("source of its method", "0" * 16), "the source of its method was 0000000000000000, and is "),
    "precision": (under("precision", "tf32"), "the precision was tf32, and is float32"),
    "device": (under("device", "cuda:0"), "the device was cuda:0, and is cpu"),
    "processor": (under("processor", "abacus"), "the processor was abacus, and is "),
    "threads": (under("number of threads", "7 of 7"), "the number of threads was 7 of 7, and is "),
    "judging": (under("value of checkpoints", "every:1"), "the value of checkpoints was every:1, and is last"),
    "other networks": (widened, "its numbers are those of other networks"),
    "an array less": (without("stream 0"), "its numbers are those of other networks"),
    "steps": (changed(progress={"losses": [], "taken": 9999, "seconds": 1.0, "phases": {}}), "another number of steps"),
    "notes": (changed(progress={"losses": 3}), "losses"),
}


def flip_middle(content: bytes) -> bytes:
    at = content.index(b"exp_avg.npy") + 300
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_once_and_the_training_begins_anew(half, finished, case):
    runs, again = half
    (path,) = list_states(runs)
    change, sentence = REFUSED[case]
    change(path)
    outcome = again()
    (remark,) = outcome.remarks
    assert sentence in remark
    assert "its training began anew" in remark
    assert re.fullmatch(r".*[^.]\.", remark)
    assert (resumed_from(runs), files_beside(runs)) == ([0, 0], [])
    same_numbers(runs, finished[0])


def test_a_state_of_another_precision_stays_until_a_new_one_takes_its_place(half, finished, killing):
    runs, again = half
    ((_, before),) = read_headers(runs)
    killing[:] = [0]
    assert again(precision="bf16").interrupted
    assert [header for _, header in read_headers(runs)] == [before]
    assert again().remarks == ()
    assert (resumed_from(runs), files_beside(runs)) == ([before.step] * 2, [])
    same_numbers(runs, finished[0])


def test_no_resume_removes_the_state_in_python(half):
    runs, again = half
    assert again(resume=False).remarks == ()
    assert (resumed_from(runs), files_beside(runs)) == ([0, 0], [])


def test_no_resume_on_the_command_line(half, typed, monkeypatch):
    runs, _ = half
    command = ("run", "-m", FCLSWGAN, "-d", DATA, "--runs", str(runs), "-q")
    assert typed(*command, "--no-resume")[0] == 0
    assert (resumed_from(runs), files_beside(runs)) == ([0, 0], [])


def test_a_training_that_fails_leaves_no_state(half, monkeypatch):
    runs, again = half
    monkeypatch.setattr(GanTraining, "generator_step", lambda *_: 1 / 0)
    assert {record.status for record in again().records} == {"failed"}
    assert files_beside(runs) == []


def test_a_disk_that_is_full_fails_no_training(tmp_path, every, monkeypatch):
    every(3)
    monkeypatch.setattr(job_in_progress, "write_state", full)
    outcome = run(tmp_path / "runs", FCLSWGAN)
    assert all(record.ok for record in outcome.records)
    (remark,) = outcome.remarks
    assert "no state of its training could be kept: the disk is full" in remark


def full(*_: object) -> None:
    raise StoreError("the disk is full")


def test_one_more_protocol_shares_the_training_unless_it_was_to_be_judged(tmp_path, every, killing):
    every(3)
    for checkpoints, resumes, remarks in (("last", True, 0), ("every:1", False, 1)):
        runs = tmp_path / checkpoints[:4]
        killing[:] = [20]
        assert run(runs, FCLSWGAN, protocols="zsl", checkpoints=checkpoints).interrupted
        ((_, header),) = read_headers(runs)
        outcome = run(runs, FCLSWGAN, checkpoints=checkpoints)
        assert all(record.ok for record in outcome.records)
        assert (set(resumed_from(runs)), len(outcome.remarks)) == ({header.step if resumes else 0}, remarks)


def test_seconds_and_losses_are_those_of_the_whole_training(half):
    runs, again = half
    ((_, header),) = read_headers(runs)
    again()
    for record in ResultStore(runs).load():
        assert record.timings["shared"] >= header.progress["seconds"]
        assert record.timings["fit"] >= header.progress["seconds"]
        assert record.losses["step"] == [1, 2, 3, 4]


def test_after_ctrl_c_the_last_sentence_says_how_far_the_kept_state_goes(tmp_path, every, killing):
    def last_sentence(runs: Path, **options: Any) -> str:
        killing[:] = [20]
        outcome = run(runs, FCLSWGAN, **options)
        assert outcome.interrupted
        return outcome.sentences()[-1]

    every(3)
    sentence = last_sentence(tmp_path, seeds=2)
    ((_, header),) = read_headers(tmp_path)
    start, kept_up_to = "interrupted: 0 runs finished and kept, ", f"kept up to step {header.step} of {header.total}"
    assert 17 < header.step <= 20
    assert sentence == f"{start}2 runs cut short, {kept_up_to}; the same call goes on from there and does the rest"
    half_kept = dataclasses.replace(run(tmp_path, FCLSWGAN), interrupted=True, cut_short={"a": header, "b": None})
    assert half_kept.sentences()[-1].endswith(
        f"2 runs cut short, 1 of them {kept_up_to}; the same call goes on from there and begins the other anew"
    )
    assert last_sentence(tmp_path / "anew", resume=False) == (
        f"{start}2 runs cut short and not kept; the same call begins them anew"
    )


def test_watch_and_status_say_from_which_step(half, typed):
    runs, again = half
    ((_, header),) = read_headers(runs)
    said = f"half trained: {header.name}: the same command goes on from step {header.step} of {header.total}"
    assert said in zslbench.status(runs).text
    half_trained = json.loads(zslbench.status(runs, format="json").text)["half_trained"]
    assert [(one["step"], one["total"], len(one["ids"])) for one in half_trained] == [(header.step, header.total, 2)]
    heard: list[Any] = []
    while_running: list[str] = []

    class Watching(Listener):
        def advanced(self, job: Job, phase: str, step: int, total: int) -> None:
            if phase == "training":
                heard.extend(live_file_writer._CURRENT.get().study().running)
            if phase == "resuming":
                live_file_writer._CURRENT.get()._write()
                while_running.append(zslbench.status(runs).text)

    again(hear=Watching())
    assert "half trained" not in while_running[0]
    assert "running now" in while_running[0]
    assert {fit.resumed_from for fit in heard} == {header.step}
    assert heard[0].say_phase().endswith(f"training {header.step}/{header.total}, resumed from step {header.step}")
    assert "half trained" not in zslbench.status(runs).text


def test_the_plan_that_status_writes_goes_on_from_the_state(tmp_path, every, killing):
    every(3)
    killing[:] = [9]
    assert run(tmp_path / "runs", FCLSWGAN, precision="bf16", checkpoints="every:2").interrupted
    ((_, header),) = read_headers(tmp_path / "runs")
    zslbench.status(tmp_path / "runs", write_plan=tmp_path / "missing.toml")
    outcome = zslbench.run(plan=tmp_path / "missing.toml")
    assert (outcome.remarks, resumed_from(tmp_path / "runs")) == ((), [header.step] * 2)


def test_the_time_left_of_a_resumed_fit_counts_the_steps_that_are_left():
    resumed = {"resumed_from": 60, "step": 60, "total": 100, "step_seconds": 10.0, "training_began": 10.0}
    assert live_fit(**resumed, seconds=10.0, forecast=100.0).seconds_left() == 30  # of 40, 10 have passed
    resumed |= {"step": 70, "step_seconds": 30.0}
    assert live_fit(**resumed, seconds=30.0).seconds_left() == 60  # two seconds a step


def test_a_context_without_a_keeper_trains(tmp_path):
    train, query, _ = problem()
    fitted = [GAZSL(hidden=8, noise=3, iterations=60, critic_steps=1, per_class=3).fit(train, Context(0)) for _ in "ab"]
    first, second = (each.scores(query.features, query.classes) for each in fitted)
    np.testing.assert_array_equal(first, second)
