"""Fixtures shared by the tests: where the real data is, and homes that touch nothing of the user's."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from data_folders import cub_home, own_home, tree
from faults import study
from forks import forks
from result_records import paper_runs, study_runs

from zslbench.cli import main

__all__ = ["cub_home", "forks", "own_home", "paper_runs", "study", "study_runs", "tree"]  # fixtures

collect_ignore = ["typed_session.py"]  # is read by mypy and never run
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded in tests
ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"pdflatex", "chromium", "real_data"}
"""Fixtures that a machine may lack: tests that ask for one are marked ``tools``."""

# The same examples on every machine, and no limit of time for one: a busy machine must not decide what fails.
hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fixed")


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores, since some tests wait for processes; four take 3 GB of memory."""
    return min((os.cpu_count() or 1) + 1, 4)


def pytest_collection() -> None:
    gc.disable()  # what is imported and collected stays until the end: to look for garbage among it takes seconds


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TOOLS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("tools")


@pytest.fixture
def typed(capsys, tmp_path, monkeypatch):
    """Type a command in an empty folder; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def type_(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return type_


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of records that is not there yet."""
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real xlsa17 data; without it the test is skipped, and continuous integration fails."""
    folder = Path(os.environ.get("ZSLBENCH_TEST_DATA") or ROOT.parent / "shared" / "data" / "xlsa17")
    if not (folder / "CUB" / "att_splits.mat").is_file():
        _lacking(f"no real data at {folder}; set ZSLBENCH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def pdflatex() -> str:
    """The path of pdflatex; without it, booktabs or standalone the test is skipped; continuous integration fails."""
    path = shutil.which("pdflatex")
    names = ("booktabs.sty", "standalone.cls")
    styles = subprocess.run(["kpsewhich", *names], capture_output=True, text=True).stdout.split() if path else []
    if not path or len(styles) < len(names):
        _lacking("no pdflatex with booktabs and standalone; install texlive-latex-extra")
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without it the test is skipped, and continuous integration fails."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        _lacking("no Chromium; install the package chromium")
    return str(path)


def _lacking(message: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test an empty ZSLBENCH_HOME and no ZSLBENCH_DATA, so that nothing of the user's is read or written."""
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("ZSLBENCH_DATA", raising=False)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Let Ctrl-C interrupt: a suite that was started in the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a terminal of 100 columns, wherever it runs: sentences then break at the same places."""
    monkeypatch.setenv("COLUMNS", "100")
