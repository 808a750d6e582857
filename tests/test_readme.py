"""What the README tells people to type works.

Blocks marked ``bash`` are executed in order in an empty folder. Blocks marked ``sh`` need data: each command is
parsed and its specs are resolved, and those on CUB's ``fc1000`` are executed on the real data. The ``python`` block is
a method that is held to the contract. ``make`` targets exist.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from zslbench.checks import check_method
from zslbench.cli import cli
from zslbench.params import resolve
from zslbench.registry import DATASETS, METHODS
from zslbench.runner.plan import plan
from zslbench.spec import parse

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


HONEST = (ROOT / "docs" / "honest-comparison.md").read_text()


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(kind: str, text: str = README) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks(kind, text) for line in block.splitlines()]
    return [line for line in lines if line and line[0] != "pip"]


def typed(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    assert arguments[0] == "zslbench"
    home = {"ZSLBENCH_HOME": str(folder / "home")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("zslbench")), *arguments[1:]],
        cwd=folder,
        env=os.environ | home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bash_blocks_run_in_order_in_an_empty_folder(tmp_path):
    assert len(commands("bash")) > 5
    for arguments in commands("bash"):
        done = typed(arguments, tmp_path)
        assert done.returncode == 0, (arguments, done.stderr)
        assert done.stdout or "-o" in arguments, arguments
    assert r"\toprule" in (tmp_path / "table.tex").read_text()


def parsed(arguments: list[str]) -> dict[str, object]:
    """Parse a command line without running it; wrong verbs and options raise."""
    command, rest = cli, list(arguments[1:])
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    return command.make_context(command.name, rest).params


@pytest.mark.parametrize("arguments", commands("sh") + commands("sh", HONEST), ids=" ".join)
def test_sh_commands_parse_and_name_what_exists(arguments):
    options = parsed(arguments)
    for text in options.get("methods") or ():
        spec = parse(text)
        resolve(METHODS.load(spec.name), spec.name, spec.params)
    for text in options.get("datasets") or ():
        assert text.startswith("./") or DATASETS.entry(text)


@pytest.mark.realdata
def test_sh_commands_on_cub_scores_run_on_real_data(real_data, tmp_path):
    (tmp_path / "xlsa17").symlink_to(real_data)
    chosen = [line for line in commands("sh") if "fc1000" in line]
    assert chosen
    for arguments in chosen:
        done = typed(arguments, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "failed" not in done.stderr


def test_the_python_block_is_a_method_that_keeps_the_contract(tmp_path, monkeypatch):
    (block,) = blocks("python")
    (tmp_path / "my_module.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    check_method("my_module:NearestPrototype")
    (example,) = re.findall(r"`(zslbench run -m my_module:\w+ -d digits)`", README)
    done = typed(shlex.split(example), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs are done" in done.stdout


def test_make_targets_exist_and_the_demo_is_on_built_in_data():
    makefile = (ROOT / "Makefile").read_text()
    names = {words[2] for words in commands("console") if words[1] == "make"}
    assert names == {"demo", "test"}
    assert all(re.search(rf"^{name}:", makefile, flags=re.MULTILINE) for name in names)
    variables = dict(re.findall(r"^(\w+) := (.*)$", makefile, flags=re.MULTILINE))
    demo = variables["DEMO"].replace("$(GAN)", variables["GAN"])
    options = parsed(["zslbench", "run", *shlex.split(demo)])
    planned = plan(options["methods"], options["datasets"], options["protocols"])
    assert {run.method for run in planned.runs} == {"lisgan", "fclswgan", "eszsl", "sae"}
    assert {run.dataset.name for run in planned.runs} == {"digits"}
