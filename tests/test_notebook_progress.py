"""Progress from Python: on request, in a notebook by itself, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zslbench


def test_progress_is_shown_on_request_alone_outside_of_notebooks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(folder: str, **options: bool) -> str:
        zslbench.run("eszsl", "digits", "zsl", runs=tmp_path / folder, **options)
        shown = capsys.readouterr()
        return shown.out + shown.err

    assert run("silent") == ""
    assert "eszsl digits" in run("asked", progress=True)
    assert run("quiet", progress=False) == ""


PREPARE = """
import threading
import IPython.display, numpy as np
import zslbench
from zslbench.runner import progress_display

progress_display.NOTEBOOK_EVERY = 0.01
changed = threading.Event()
update = IPython.display.DisplayHandle.update

def note(self, *given, **more):
    update(self, *given, **more)
    changed.set()

IPython.display.DisplayHandle.update = note

class Patient:
    name = "patient"
    stochastic = False

    def fit(self, train, ctx):
        ctx.progress(30, 40)
        for _ in range(2):  # the second change began after this step
            changed.clear()
            assert changed.wait(60)
        if self.fails:
            raise RuntimeError("no convergence")
        return self

    def scores(self, features, classes):
        return np.zeros((len(features), len(classes)))

    def __init__(self, fails: bool = False):
        self.fails = fails
"""
RUN = "zslbench.run([Patient, f'__main__:Patient[fails=true]'], 'digits', 'zsl')"
TUNE = "zslbench.tune('eszsl[gamma=[1,10],lam=1]', 'digits', 'zsl').presets"
AGAIN = "zslbench.run([Patient, 'eszsl'], 'digits', 'zsl'); zslbench.run('sae', 'digits', 'zsl', progress=False);"


def test_a_notebook_shows_a_bar_that_changes_in_place_and_keeps_one_line_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(Path(zslbench.__file__).parent.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    drawn: list[str] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc]
        def process_message(self, message: Any, *more: Any) -> Any:
            if message["msg_type"] == "update_display_data":
                drawn.append(message["content"]["data"]["text/plain"])
            return super().process_message(message, *more)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (PREPARE, RUN, TUNE, AGAIN)])
    Client(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    frames = [text for text in drawn if "patient" in text or "Patient" in text]
    assert any("0/2 fits" in text and "30/40" in text and "━" in text for text in frames), drawn
    assert any("1/2 fits" in text and "[fit 1/2]" in text for text in frames), drawn
    run, tune, again = ([output["data"]["text/plain"] for output in cell.outputs] for cell in notebook.cells[1:])
    assert run[0].startswith("2/2 fits done in ")
    assert run[0].endswith("; 1 failed")
    assert tune[0].startswith("48/48 fits done in ")
    assert "; best so far: T1 " in tune[0]
    assert [text.partition(" done in")[0] for text in again] == ["1/1 fits"]
    assert [len(run), len(tune)] == [2, 2]  # the line, and what the cell returns
