"""Start-up: `zslbench --help` and `list methods` beside a bare interpreter and one that imports torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "zslbench --help": ["-m", "zslbench", "--help"],
    "zslbench list methods": ["-m", "zslbench", "list", "methods"],
    "import torch": ["-c", "import torch"],
}


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("command", COMMANDS)
def test_startup(benchmark: BenchmarkFixture, command: str) -> None:
    def start() -> None:
        subprocess.run([sys.executable, *COMMANDS[command]], check=True, capture_output=True)

    benchmark.pedantic(start, rounds=5, warmup_rounds=1)
