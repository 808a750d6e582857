"""What the README tells people to type works.

Blocks marked ``bash`` are executed in order in an empty folder, with shorter training. Blocks marked ``sh`` need data:
each command is parsed and its specs are resolved, and those on CUB's ``fc1000`` are executed on the real data. The
``python`` block is a method that is held to the contract. ``make`` targets exist.
"""

from __future__ import annotations

import re
import shlex

import pytest
from typed_commands import ROOT, blocks, check_names, commands, parsed, run_here, typed

from zslbench.checks import check_method
from zslbench.runner.plan import RunOptions, plan

README = (ROOT / "README.md").read_text()


def shortened(arguments: list[str]) -> list[str]:
    """Return a command that trains and searches less; the tutorial and the page on tuning do as much as they say."""
    words = [re.sub(r"\bepochs=\d+", "epochs=1,pretrain_epochs=1,per_class=10", word) for word in arguments]
    return [*words, "--only", "gamma"] if "tune" in words else words


def test_bash_blocks_run_in_order_in_an_empty_folder(tmp_path, monkeypatch):
    """The second by the installed script, the others in this process: each start takes a second."""
    first, second, *others = map(shortened, commands("bash", README))
    assert len(others) > 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    for arguments in (first, second, *others):
        if arguments is second:
            done = typed(second, tmp_path)
            code, out, errors = done.returncode, done.stdout, done.stderr
        else:
            code, out, errors = run_here(arguments)
        assert code == 0, (arguments, errors)
        assert out or "-o" in arguments, arguments
    assert r"\toprule" in (tmp_path / "table.tex").read_text()


@pytest.mark.parametrize("arguments", commands("sh", README), ids=" ".join)
def test_sh_commands_parse_and_name_what_exists(arguments):
    check_names(arguments)


@pytest.mark.realdata
def test_sh_commands_on_cub_scores_run_on_real_data(real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xlsa17").symlink_to(real_data)
    chosen = [line for line in commands("sh", README) if "fc1000" in line]
    assert chosen
    for arguments in chosen:
        code, _, errors = run_here(arguments)
        assert code == 0, errors
        assert "failed" not in errors


def test_the_python_block_is_a_method_that_keeps_the_contract(tmp_path, monkeypatch):
    (block,) = [block.text for block in blocks(README) if block.kind == "python"]
    (tmp_path / "my_module.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    check_method("my_module:NearestPrototype")
    (example,) = re.findall(r"`(zslbench run -m my_module:\w+ -d digits)`", README)
    monkeypatch.chdir(tmp_path)
    code, out, errors = run_here(shlex.split(example))
    assert code == 0, errors
    assert "2 of 2 runs are done" in out


def test_make_targets_exist_and_the_demo_is_on_built_in_data():
    makefile = (ROOT / "Makefile").read_text()
    names = {words[2] for words in commands("console", README) if words[1] == "make"}
    assert names == {"demo", "test"}
    assert all(re.search(rf"^{name}:", makefile, flags=re.MULTILINE) for name in names)
    variables = dict(re.findall(r"^(\w+) := (.*)$", makefile, flags=re.MULTILINE))
    demo = variables["DEMO"].replace("$(GAN)", variables["GAN"])
    options = parsed(["zslbench", "run", *shlex.split(demo)])
    planned = plan(RunOptions(options["methods"], options["datasets"], options["protocols"]))
    assert {run.method for run in planned.runs} == {"lisgan", "fclswgan", "eszsl", "sae"}
    assert {run.dataset.name for run in planned.runs} == {"digits"}
