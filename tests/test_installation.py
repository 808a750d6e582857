"""`doctor`: what is found of packages, extras, tools and the machine, and what each is for."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import webbrowser

import pytest
import torch

import zslbench
from zslbench import installation
from zslbench.installation import EXTRAS, PURPOSES, Finding
from zslbench.runner import resources

GROUPS = ["program", "packages", "extras", "tools", "machine", "folders", "data sets"]


def found(group: str, what: str) -> Finding:
    (finding,) = [row for row in zslbench.doctor() if (row.group, row.what) == (group, what)]
    return finding


def declare(monkeypatch: pytest.MonkeyPatch, *requirements: str) -> None:
    """Make these the requirements of the installed zslbench."""
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(requirements))


def test_findings_come_in_groups_that_fit_80_columns(typed):
    code, out, _ = typed("doctor")
    assert code == 0
    lines = out.splitlines()
    titles = [line.rstrip() for line in lines if line[:1] not in (" ", "-")]
    assert titles == GROUPS
    assert max(map(len, lines)) <= 80
    assert "Python" in out
    assert [row.what for row in zslbench.doctor() if row.group == "machine"] == ["GPU", "CPU", "threads", "memory"]


@pytest.mark.parametrize(
    ("busy", "asked", "sentence"),
    [
        (0.25, "3", "at most 3; 0.2 processes want 4 processors"),
        (9.0, "1", "at most 1; 9.0 processes want 4 processors"),
        (0.25, None, "at most 4; 0.2 processes want 4 processors"),
        (
            9.0,
            None,
            "at most 4; 9.0 processes want 4 processors; others compute here: set OMP_NUM_THREADS to the number that "
            "is yours, 1 for instance",
        ),
    ],
)
def test_threads_take_one_line_unless_there_is_something_to_do(busy, asked, sentence, monkeypatch):
    monkeypatch.setattr("psutil.getloadavg", lambda: (busy, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)  # of a share of them
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    finding = found("machine", "threads")
    assert (finding.found, finding.state) == (sentence, "slow" if busy > 4 else "ok")


def test_a_browser_on_the_path_and_a_runs_folder_still_to_be_made_are_said(tmp_path, monkeypatch):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def has_none(using: str | None = None) -> None:
        raise webbrowser.Error("no screen")

    monkeypatch.setattr(webbrowser, "get", has_none)
    monkeypatch.chdir(tmp_path)
    assert found("tools", "browser").found == f"chromium at {program}"
    assert found("folders", "runs").found.startswith("runs: not there yet; made by the first run (")
    (tmp_path / "runs").mkdir()
    assert found("folders", "runs").found.startswith("runs (")


def test_packages_and_extras_are_those_of_the_metadata_and_a_new_extra_appears(monkeypatch, typed):
    declare(
        monkeypatch,
        "numpy>=1.26",
        "no-such-package>=1",
        "optuna>=4; extra == 'tune'",
        'numpy; python_version > "3" and extra == "shiny-new"',
        "no-such-logger>=2; extra == 'tensorboard'",
        "ruff; extra == 'dev'",
    )
    rows = {row.what: row for row in zslbench.doctor() if row.group in ("packages", "extras")}
    assert [*rows] == ["numpy", "no-such-package", "tune", "tensorboard", "shiny-new"]
    assert rows["numpy"].found == importlib.metadata.version("numpy")
    assert rows["numpy"].purpose == PURPOSES["numpy"]
    assert not rows["no-such-package"].ok
    assert "pip install no-such-package" in rows["no-such-package"].found
    logger = rows["tensorboard"]
    assert (logger.ok, logger.optional, logger.purpose) == (True, True, EXTRAS["tensorboard"])
    assert logger.found == "not installed; pip install 'zslbench[tensorboard]'"
    assert rows["shiny-new"].found.startswith("numpy ")
    code, out, _ = typed("doctor")
    assert code == 1
    assert re.search(r"PROBLEM +no-such-package", out)
    assert re.search(r"- +tensorboard", out)


def test_every_package_and_extra_of_the_project_has_a_purpose():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[<>=;\[ ]", text)[0] for text in project["dependencies"]}
    assert names == set(PURPOSES)
    assert set(project["optional-dependencies"]) - set(installation.FOR_DEVELOPERS) <= set(EXTRAS)


def test_a_program_that_is_not_installed_but_run_from_its_folder(monkeypatch):
    def refuse(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", refuse)
    assert "pip install ." in found("extras", "extras").found
    assert found("packages", "torch").ok


def test_tools_that_are_missing_are_no_problem(monkeypatch):
    def refuse() -> None:
        raise webbrowser.Error("none")

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(webbrowser, "get", refuse)
    for what in ("LaTeX", "browser"):
        tool = found("tools", what)
        assert (tool.found, tool.ok, tool.optional) == ("none found", True, True)
        assert tool.purpose
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert found("tools", "LaTeX").found == "/bin/pdflatex"


@pytest.mark.parametrize(
    ("vector", "tiles", "flags", "text"),
    [
        (True, True, "", "AVX9 with AVX512-BF16 and AMX: bf16 is fast"),
        (False, False, "amx_bf16", "AVX9; no bf16 instructions were found"),
        (None, None, "fpu amx_bf16", "AVX9 with AMX_BF16: bf16 is fast"),
        (None, None, "fpu", "AVX9; no bf16 instructions were found"),
    ],
)
def test_bf16_is_called_fast_where_the_processor_has_instructions_for_it(monkeypatch, vector, tiles, flags, text):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX9")
    for name, has in (("_is_avx512_bf16_supported", vector), ("_is_amx_tile_supported", tiles)):
        monkeypatch.setattr(torch.cpu, name, None if has is None else lambda has=has: has, raising=False)
    monkeypatch.setattr(resources, "_read_cpu_flags", lambda: set(flags.split()))
    cpu = found("machine", "CPU")
    taken = "bf16" if "is fast" in text else "float32"
    assert (cpu.found, cpu.purpose) == (text, f"`--precision`; auto takes {taken} here")


def test_memory_and_disk_are_told():
    assert re.fullmatch(r"[\d.]+ GiB free of [\d.]+ GiB", found("machine", "memory").found)
    assert re.search(r"\([\d.]+ GiB free\)", found("folders", "runs").found)


def test_data_sets_that_are_not_here_are_named_with_the_way_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("ZSLBENCH_DATA", raising=False)
    missing = found("data sets", "not here")
    assert missing.found == "apy, awa1, awa2, cub, flo, sun; zslbench data fetch NAME"
    assert missing.ok
