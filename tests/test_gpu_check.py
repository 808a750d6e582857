"""What is measured on a GPU, at toy size on the CPU: it runs to its end, and says what it left out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

import gpu_check
from zslbench.methods.generative import SteppedMethod
from zslbench.registry import METHODS
from zslbench.runner.class_lookup import method_class

SCRIPT = Path(gpu_check.__file__).with_suffix(".sh")


def stand_in(folder: Path, line: str) -> Path:
    """Write a program that the script takes for Python."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    python.chmod(0o755)
    return python


def run_script(folder: Path, python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(python)}
    return subprocess.run(
        ["bash", SCRIPT, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_script_starts_the_program_beside_it_with_the_time_that_is_left(tmp_path):
    python = stand_in(tmp_path, f'[ "$1" = -c ] || echo "$PWD $PYTHONPATH $@" > {tmp_path}/started')
    done = run_script(tmp_path, python, "figures.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    folder, path, program, output, option, seconds = (tmp_path / "started").read_text(encoding="utf-8").split()
    assert path.split(":")[:2] == [folder, f"{folder}/benchmarks"]
    assert (Path(folder) / program, output) == (Path(gpu_check.__file__), str(tmp_path / "figures.json"))
    assert (option, 0 < int(seconds) <= 460) == ("--seconds", True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it takes minutes, and is run by hand")
def test_the_program_runs_to_its_end_without_a_gpu(tmp_path):
    output = tmp_path / "figures.json"
    gpu_check.main([str(output), "--seconds", "280"], standalone_mode=False)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["left_out"] == {}
    assert found["device"].startswith("cpu, toy size")
    ways = [f"cub {low}, {graph}, {seeds}" for seeds in ("1 seed", "8 seeds") for low in ("float32", "bf16")
            for graph in ("graph", "no graph")]  # fmt: skip
    others = [f"{name}@published" for name in gpu_check.OTHERS]
    assert list(found["seconds"]) == ["pytest", *ways, *others, "gpu.py cub"]
    stepped = {name for name in METHODS.names() if issubclass(method_class(name), SteppedMethod)}
    assert {*gpu_check.OTHERS, "lisgan"} == stepped
    assert all(seconds > 0 for other in others for seconds in found[other].values())
    assert found["pytest"]["failed"] == []
    assert found["pytest"]["skipped"] > 0
    assert all(found[way]["iteration_s"] > 0 for way in ways)
    assert found["gpu.py cub"]["cub"]["run_s"] > 0
    assert list(tmp_path.iterdir()) == [output]


def test_without_what_it_needs_it_is_one_sentence(tmp_path):
    lacking = stand_in(tmp_path, "exit 1")
    done = run_script(tmp_path, lacking)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {lacking} lacks torch, click, numpy or pytest; name another in PYTHON")


@pytest.mark.parametrize("seconds", ["soon", "59", ""])
def test_a_limit_that_is_none_is_refused(tmp_path, seconds):
    done = run_script(tmp_path, stand_in(tmp_path, "exit 0"), "figures.json", seconds)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: SECONDS is a whole number of at least 60, not '{seconds}'.\n"


def test_parts_without_time_and_parts_that_fail_are_named(tmp_path):
    output = tmp_path / "figures.json"
    check = gpu_check.Check(output, 100.0, toy=True)
    check.part("whole", lambda: 1, needs=10.0)
    check.part("long", lambda: 2, needs=1000.0)
    check.part("broken", lambda: 1 / 0)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["whole"] == 1
    assert found["left_out"]["long"].startswith("no time: ")
    assert found["left_out"]["broken"] == "failed: ZeroDivisionError: division by zero"
    assert list(found["seconds"]) == ["whole", "long", "broken"]
