"""Start-up: what answers at once must not import the heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from forks import Forks

import zslbench

HEAVY = ("torch", "pandas", "scipy", "sklearn", "matplotlib")


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Processes that have imported the command line."""
    server = Forks(tmp_path_factory.mktemp("light"), "import zslbench.cli")
    yield server
    server.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["results", "--help"],
        ["compare", "--help"],
        ["plot", "--help"],
        ["watch"],
        ["list", "methods"],
        ["list", "datasets"],
        ["list", "protocols"],
        ["list", "presets"],
        ["info", "lisgan"],
        ["data", "list"],
    ],
    ids=" ".join,
)
def test_no_heavy_import(arguments, light, tmp_path):
    code = (
        f"try:\n    zslbench.cli.main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = light.run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert len(done.stdout.splitlines()) > 2


@pytest.mark.parametrize(("verb", "module"), [("run", "run_verbs"), ("table", "record_verbs"), ("info", "about_verbs")])
def test_a_verb_imports_the_module_of_no_other(verb, module, light, tmp_path):
    code = (
        f"try:\n    zslbench.cli.main([{verb!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', sorted(name for name in sys.modules if name.startswith('zslbench.commands.')))"
    )
    done = light.run(code, tmp_path)
    modules = [name for name in done.stdout.splitlines()[-1].split("'") if name.endswith("_verbs")]
    assert modules == [f"zslbench.commands.{module}"]


@pytest.mark.parametrize("words", ["run -m lis", "run -m lisgan@", "run -d c", "info e", "plot p"])
def test_completion_imports_nothing_heavy(words, light, tmp_path):
    code = (
        "import os\nos.environ |= {'_ZSLBENCH_COMPLETE': 'bash_complete', 'COMP_WORDS': 'zslbench ' + "
        f"{words!r}, 'COMP_CWORD': '{len(words.split())}'}}\nsys.argv = ['zslbench']\n"
        "try:\n    zslbench.cli.main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = light.run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    *offered, last = done.stdout.splitlines()
    assert last == "HEAVY []"
    assert offered


def test_importing_the_package_is_light_and_every_verb_is_there():
    code = (
        "import sys, zslbench\n"
        f"assert not [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert all(callable(getattr(zslbench, name)) for name in ('run', 'table', 'list', 'info', 'doctor'))\n"
        "assert all(callable(getattr(zslbench.data, name)) for name in ('list_', 'fetch', 'import_', 'verify'))\n"
        "try:\n    zslbench.nothing\nexcept AttributeError:\n    print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "fine\n"


def test_type_checkers_see_every_verb():
    stub = ast.parse((Path(zslbench.__file__).parent / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    seen = {name.asname or "list": f"{node.module}:{name.name}" for node in imports for name in node.names}
    assert {name: target.replace("zslbench:", "zslbench.") for name, target in seen.items()} == zslbench._VERBS
