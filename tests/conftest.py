"""Fixtures shared by the tests: where the real data is, and homes that touch nothing of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real xlsa17 data; without it the test is skipped, and continuous integration fails."""
    folder = Path(os.environ.get("ZSLBENCH_TEST_DATA") or ROOT.parent / "shared" / "data" / "xlsa17")
    if not (folder / "CUB" / "att_splits.mat").is_file():
        message = f"no real data at {folder}; set ZSLBENCH_TEST_DATA"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test an empty ZSLBENCH_HOME and no ZSLBENCH_DATA, so that nothing of the user's is read or written."""
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("ZSLBENCH_DATA", raising=False)


@pytest.fixture(autouse=True)
def _own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a terminal of 100 columns, wherever it runs: sentences then break at the same places."""
    monkeypatch.setenv("COLUMNS", "100")
