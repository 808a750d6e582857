"""The tutorial notebook: every cell runs, and its stored texts are what they give."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def texts(notebook: Any) -> list[str]:
    """Return what each code cell printed, and its result as text."""
    shown = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
        results = [output["data"].get("text/plain", "") for output in outputs if "data" in output]
        seconds = re.compile(r"(?<= done in )[^;]+")  # differ from run to run
        shown.append("\n".join([*printed.splitlines(), *(seconds.sub("…", text) for text in results)]))
    return shown


def test_every_cell_runs_and_gives_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ZSLBENCH_GOLDEN=write python -m pytest tests/test_tutorial_notebook.py` stores the outputs anew."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = texts(notebook)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    if os.environ.get("ZSLBENCH_GOLDEN") == "write":
        for cell in notebook.cells:
            cell.metadata = {}
        del notebook.metadata["language_info"]
        nbformat.write(notebook, NOTEBOOK)
    else:
        assert texts(notebook) == stored
    assert {output["output_type"] for cell in notebook.cells for output in cell.get("outputs", [])} <= {
        "stream", "execute_result", "display_data"
    }  # fmt: skip
