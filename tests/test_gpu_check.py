"""The script for a GPU, at toy size on the CPU: it runs to its end, and says what it left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpu_check

SCRIPT = Path(gpu_check.__file__).with_suffix(".sh")


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it takes minutes, and is run by hand")
def test_the_script_runs_to_its_end_without_a_gpu(tmp_path):
    output = tmp_path / "figures.json"
    done = subprocess.run(
        ["bash", SCRIPT, output.name],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["left_out"] == {}
    assert found["device"].startswith("cpu, toy size")
    ways = [f"cub {low}, {graph}, {seeds}" for seeds in ("1 seed", "8 seeds") for low in ("float32", "bf16")
            for graph in ("graph", "no graph")]  # fmt: skip
    assert list(found["seconds"]) == ["pytest", *ways, "gpu.py cub"]
    assert found["pytest"]["failed"] == []
    assert found["pytest"]["skipped"] > 0
    assert all(found[way]["iteration_s"] > 0 for way in ways)
    assert found["gpu.py cub"]["cub"]["run_s"] > 0
    assert list(tmp_path.iterdir()) == [output]


def test_without_what_it_needs_it_is_one_sentence(tmp_path):
    lacking = tmp_path / "python"
    lacking.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    lacking.chmod(0o755)
    environment = os.environ | {"PYTHON": str(lacking)}
    done = subprocess.run(["bash", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {lacking} lacks torch, click, numpy or pytest; name another in PYTHON")


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
