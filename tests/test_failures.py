"""Failures show where: the sentence on a failed run names the last call in the user's own code."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from result_records import record
from typed_commands import run_here

import zslbench
from zslbench.results.records.store import ResultStore
from zslbench.runner.executors import SerialExecutor
from zslbench.runner.outcome import Outcome
from zslbench.visible import describe_failure

MINE = """
import dataclasses
import numpy as np
from toy_methods import Ridge, card


@dataclasses.dataclass(kw_only=True)
class Mine(Ridge):
    card = card(title="Mine")

    def fit(self, train, ctx):
        return self.multiply(np.ones((3, 4)))

    def multiply(self, left):
        return np.linalg.multi_dot([left, np.ones(5)])
"""


def test_the_reason_of_a_failed_run_names_the_users_line_not_the_librarys(tmp_path, monkeypatch):
    Path(tmp_path / "odd_shapes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = MINE.splitlines().index("        return np.linalg.multi_dot([left, np.ones(5)])") + 1
    outcome = zslbench.run("odd_shapes:Mine", "digits", "zsl")
    assert describe_failure(outcome.failed[0].error).endswith(f" (odd_shapes.py:{line}, in multiply)")
    place = f"(odd_shapes.py:{line}, in multiply)"
    assert place in outcome.describe_failures()[0]
    assert place in zslbench.status().text
    assert place in zslbench.watch().records[0].error
    shown = subprocess.run(
        [sys.executable, "-m", "zslbench", "run", "-m", "odd_shapes:Mine", "-d", "digits", "-p", "zsl"],
        env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 1
    assert f"why: ValueError: shapes (3,4) and (5,) not aligned: 4 (dim 1) != 5 (dim 0) {place}" in shown.stdout


@pytest.mark.parametrize(("errors", "reasons"), [
    (["ValueError: (3, 64); (544, 3) were asked for", "ValueError: (3, 64); (794, 10) were asked for"], 1),
    (["ValueError: odd (mine.py:3, in fit)", "ValueError: odd (mine.py:4, in fit)"], 2),
])  # fmt: skip
def test_reasons_that_differ_in_numbers_alone_are_said_once(errors, reasons):
    failed = tuple(record(seed=seed, status="failed", error=error) for seed, error in enumerate(errors))
    told = [text for text in Outcome((), (), failed).sentences() if text.startswith("why: ")]
    assert told == [f"why: {error}" for error in errors[:reasons]]


def frame(path: str, line: int, function: str) -> str:
    return f'  File "{path}", line {line}, in {function}\n    code()\n'


HEADER = "Traceback (most recent call last):\n"
LIBRARY = frame("/venv/lib/python3.11/site-packages/numpy/linalg.py", 9, "solve")
RUNNER = frame("/venv/lib/python3.11/site-packages/zslbench/runner/execute.py", 90, "_fit_alone")
METHOD = frame("/src/zslbench/methods/networks/dem.py", 7, "fit")
MINE_FRAME = frame("C:\\code\\mine.py", 3, "fit")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (HEADER + RUNNER + MINE_FRAME + LIBRARY + "ValueError: odd\n", "ValueError: odd (mine.py:3, in fit)"),
        (HEADER + RUNNER + METHOD + LIBRARY + "ValueError: odd\n", "ValueError: odd (dem.py:7, in fit)"),
        (HEADER + RUNNER + LIBRARY + "ValueError: odd\n", "ValueError: odd"),
        (HEADER + frame("/usr/lib/python3.11/json/decoder.py", 1, "decode") + "ValueError: odd\n", "ValueError: odd"),
        (
            HEADER + MINE_FRAME + "RuntimeError: CUDA error\nCompile with TORCH_USE_CUDA_DSA.\n",
            "RuntimeError: CUDA error (mine.py:3, in fit)",
        ),
        (
            HEADER + MINE_FRAME + "RuntimeError: Error(s) in loading state_dict for Linear:\n\tsize mismatch for b\n",
            "RuntimeError: Error(s) in loading state_dict for Linear: size mismatch for b (mine.py:3, in fit)",
        ),
        (HEADER + MINE_FRAME + f"ValueError: {'x' * 9999}\n", f"ValueError: {'x' * 388}… (mine.py:3, in fit)"),
        ("x" * 9999, "x" * 400 + "…"),
        (  # the error that ended the run, not its cause
            f"{HEADER}{frame('/a/first.py', 1, 'f')}KeyError: 'a'\n\nThe above exception was the direct cause of the "
            f"following exception:\n\n{HEADER}{MINE_FRAME}ValueError: odd\n",
            "ValueError: odd (mine.py:3, in fit)",
        ),
        (HEADER + MINE_FRAME + frame("<string>", 2, "__init__") + "ValueError: x", "ValueError: x (mine.py:3, in fit)"),
        (HEADER + frame("<stdin>", 2, "fit") + "ValueError: x", "ValueError: x (<stdin>:2, in fit)"),
        ("Mine: the loss is not finite in epoch 3; lower lr.", "Mine: the loss is not finite in epoch 3; lower lr."),
        ("the worker died\n", "the worker died"),
        (HEADER, "Traceback (most recent call last):"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_place_is_the_last_call_in_the_users_code(error, sentence):
    assert describe_failure(error) == sentence


def test_it_reads_what_python_writes():
    try:
        exec(compile("def fit():\n  raise ExceptionGroup('two', [ValueError(1)])\nfit()", "/home/me/own.py", "exec"))
    except ExceptionGroup as error:
        text = "".join(traceback.format_exception(error))
    assert "own.py:2, in fit" in describe_failure(text)


def test_a_method_fails_by_whatever_it_raises_and_the_others_go_on(tmp_path):
    methods = ["toy_methods:Panicking", "toy_methods:Unspeakable", "eszsl"]
    outcome = zslbench.run(methods, "digits", "zsl", runs=tmp_path)
    assert [record.status for record in outcome.records] == ["failed", "failed", "ok"]
    whys = [describe_failure(record.error) for record in outcome.failed]
    assert whys[0].startswith("toy_methods.Panic: called `unwrap` on `None` (toy_methods.py:")
    assert whys[1].startswith("toy_methods.Unsaid: <exception str() failed> (toy_methods.py:")
    with pytest.raises(BaseException, match="unwrap"):
        zslbench.run(methods, "digits", "zsl", runs=tmp_path, raise_errors=True)


def test_raise_gives_the_methods_own_error_once_its_record_is_kept(tmp_path):
    methods = ["toy_methods:Broken", "eszsl"]
    with pytest.raises(RuntimeError, match="no convergence") as caught:
        zslbench.run(methods, "digits", runs=tmp_path, raise_errors=True)
    assert [frame.name for frame in traceback.extract_tb(caught.tb)][-1] == "fit"
    records = ResultStore(tmp_path).load()
    assert {(record.method["name"], record.protocol["name"], record.status) for record in records} == {
        ("toy_methods:Broken", "zsl", "failed"),
        ("toy_methods:Broken", "gzsl", "failed"),
    }
    with pytest.raises(RuntimeError, match="no convergence"):  # what failed is tried again
        zslbench.run(methods, "digits", runs=tmp_path, raise_errors=True)
    outcome = zslbench.run(methods, "digits", runs=tmp_path)
    assert [record.ok for record in outcome.records] == [False, False, True, True]
    again = zslbench.run("eszsl", "digits", runs=tmp_path, raise_errors=True)
    assert [state for _, state in again.states_before].count("done") == 2


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("toy_methods:HalfBroken", Exception),  # in scores, under one protocol
        ("toy_methods:Quitter", SystemExit),
        ("toy_methods:Grid[ridge=[1,2]]", None),
    ],
)
def test_raise_in_scores_in_grids_and_when_a_method_exits(tmp_path, method, error):
    if error is None:
        assert all(record.ok for record in zslbench.run(method, "digits", runs=tmp_path, raise_errors=True).records)
        return
    with pytest.raises(error):
        zslbench.run(method, "digits", runs=tmp_path, raise_errors=True)
    assert "failed" in {record.status for record in ResultStore(tmp_path).load()}


def test_raise_on_the_command_line_prints_the_traceback_and_is_refused_in_other_engines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["zslbench", "run", "-m", "toy_methods:Broken", "-d", "digits", "-p", "zsl", "-q", "--raise"]
    code, _, errors = run_here(typed)
    assert code == 1
    assert errors.startswith("Traceback (most recent call last):")
    assert errors.endswith("RuntimeError: no convergence\n")
    assert "toy_methods.py" in errors
    code, _, errors = run_here([*typed, "--workers", "2"])
    assert code == 2
    assert "--raise) needs the serial engine, and not process" in errors
    code, _, errors = run_here(["zslbench", "run", "-m", "nosuch", "-d", "digits", "--raise"])
    assert code == 2
    assert errors.startswith("Error: unknown method")


def test_nothing_is_kept_of_errors_without_raise():
    assert SerialExecutor().errors is None
