"""Progress from Python: on request, in a notebook by itself, and nowhere else."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

import zslbench


def test_progress_is_shown_on_request_and_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(folder: str, **options: bool) -> str:
        zslbench.run("eszsl", "digits", "zsl", runs=tmp_path / folder, **options)
        shown = capsys.readouterr()
        return shown.out + shown.err

    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert run("silent") == ""
    assert "eszsl digits" in run("asked", progress=True)
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert "eszsl digits" in run("notebook")
    assert run("quiet", progress=False) == ""
    tuning = zslbench.tune("eszsl[gamma=[1,10],lam=1]", "digits", "zsl", runs=tmp_path / "tuned", progress=False)
    assert tuning.presets
    assert capsys.readouterr().out == ""
