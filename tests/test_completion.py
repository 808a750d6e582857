"""Shell completion: what is offered for a word typed in part, and the scripts, in bash for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from result_records import record

from zslbench.cli import VERBS, cli
from zslbench.data.catalogue import CATALOGUE
from zslbench.registry import DATASETS, METHODS, PROTOCOLS
from zslbench.results.plots import KINDS
from zslbench.results.records.store import ResultStore


def offered(*words: str) -> list[str]:
    """Return what is offered for the last word."""
    *before, incomplete = words
    return [item.value for item in ShellComplete(cli, {}, "zslbench", "").get_completions(before, incomplete)]


def test_verbs_and_options():
    assert offered("") == [name for group in VERBS.values() for name in group]
    assert offered("rep") == ["reproduce", "report"]
    assert offered("run", "--dry") == ["--dry-run"]
    assert offered("table", "--format", "") == ["terminal", "markdown", "latex", "csv", "json"]
    assert offered("data", "fet") == ["fetch"]


@pytest.mark.parametrize("verb", ["run", "table", "plot", "report", "status", "reproduce"])
def test_methods_data_sets_and_protocols_wherever_they_are_options(verb, own_home):
    assert offered(verb, "-m", "li") == ["lisgan"]
    assert offered(verb, "-m", "") == METHODS.names()
    assert offered(verb, "-d", "") == DATASETS.names()
    if verb != "reproduce":
        assert offered(verb, "-p", "") == PROTOCOLS.names()


def test_words_without_an_option(own_home):
    for verb in ("tune", "ablate", "compare"):
        assert offered(verb, "li") == ["lisgan"]
    assert offered("compare", "lisgan", "esz") == ["eszsl"]
    assert offered("tune", "eszsl", "-d", "dig") == ["digits"]
    assert {"lisgan", "cub", "zsl"} <= set(offered("info", "")) & set(offered("check", ""))
    assert offered("plot", "") == [*KINDS]
    assert offered("list", "p") == ["protocols", "presets"]
    assert offered("data", "fetch", "") == [*(source.name for source in CATALOGUE), "all"]
    assert offered("reproduce", "li") == ["li2019lisgan"]


def test_presets_after_an_at(own_home):
    built_in = offered("run", "-m", "lisgan@")
    assert {"lisgan@published", "lisgan@S3"} <= set(built_in)
    assert all(name.startswith("lisgan@") for name in built_in)
    assert offered("tune", "lisgan@publis") == ["lisgan@published"]
    assert offered("run", "-m", "nothing@") == []


def test_tuned_presets_of_the_folder_of_records(tmp_path, own_home, typed):
    for name in ("tuned", "mine"):
        assert (
            typed("tune", "eszsl[lam=1]", "-d", "digits", "-p", "zsl", "--only", "gamma", "--name", name, "-q")[0] == 0
        )
    assert {"eszsl@tuned", "eszsl@mine"} <= set(offered("run", "-m", "eszsl@"))
    assert "eszsl@mine" not in offered("run", "--runs", str(tmp_path / "others"), "-m", "eszsl@")


def test_ids_of_records(tmp_path, monkeypatch):
    ids = [ResultStore(tmp_path / "runs").save(record("eszsl", seed=seed)).stem for seed in range(3)]
    monkeypatch.chdir(tmp_path)
    assert offered("show", "") == sorted(ids)
    assert offered("show", ids[0][:8]) == [ids[0]]
    assert offered("show", "--runs", "others", "") == []


def test_added_data_sets_and_folders(own_home, tmp_path):
    from data_folders import write_folder

    import zslbench

    zslbench.data.add("my-birds", source=write_folder(tmp_path / "birds"))
    assert offered("run", "-d", "my") == ["my-birds"]
    assert offered("data", "remove", "my") == ["my-birds"]
    items = ShellComplete(cli, {}, "zslbench", "").get_completions(["run", "-d"], "./fo")
    assert [(item.value, item.type) for item in items] == [("./fo", "dir")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_each_shell(shell, typed):
    code, out, err = typed("completion", shell)
    assert (code, err) == (0, "")
    assert f"_ZSLBENCH_COMPLETE={shell}_complete" in out
    assert typed("completion", "tcsh")[0] == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_for_real(tmp_path, own_home):
    shim = tmp_path / "bin" / "zslbench"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.argv[0] = \'zslbench\'; '
                    'from zslbench.cli import main; main()" "$@"\n')  # fmt: skip
    shim.chmod(0o755)
    script = """
        eval "$(zslbench completion bash)"
        complete -p zslbench
        ask() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _zslbench_completion zslbench
            echo "${COMPREPLY[*]}"
        }
        ask zslbench repr
        ask zslbench run -m lisgan@publis
        case "$COMP_WORDBREAKS" in *@*) echo "an @ breaks words";; esac
    """
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    roots = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, roots))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _zslbench_completion zslbench", "reproduce", "lisgan@published"
    ]  # fmt: skip
