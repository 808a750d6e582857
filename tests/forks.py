"""Fresh processes at little cost: a process that has imported zslbench forks another for each program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_SERVER = """
import atexit, gc, json, os, sys, traceback
exec(sys.argv[1])
gc.freeze()
for line in sys.stdin:
    if not (child := os.fork()):
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
request = json.loads(line)
os.chdir(request["folder"])
os.environ.clear()
os.environ.update(request["environment"])
sys.path += request["path"]
sys.argv = ["-c"]
for number, name in enumerate(request["files"]):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
code = 0
try:
    exec(request["program"])
except SystemExit as end:
    code = end.code or 0
except BaseException:
    traceback.print_exc()
    code = 1
atexit._run_exitfuncs()
sys.stdout.flush(), sys.stderr.flush()
os._exit(code)  # to take the modules apart takes longer than most programs
"""
_WARM_UP = """
import scipy.linalg, sklearn.datasets
import zslbench.cli, zslbench.runner.run, zslbench.studies.status
from zslbench.methods.base import Method
from zslbench.sources import source_of
source_of(Method)
"""


class Forks:
    """A server that forks; its processes have done already what it did to warm up."""

    def __init__(self, folder: Path, warm_up: str) -> None:
        self._files = [os.devnull, str(folder / "out"), str(folder / "errors")]
        words = [sys.executable, "-B", "-c", _SERVER, warm_up]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen(words, cwd=folder, env=os.environ | {"PYTHONPATH": path}, text=True, **pipes)

    def run(self, program: str, folder: Path, path: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a program in a folder, as ``python -c`` does, and return what came of it.

        Args:
            path: further folders of modules.
        """
        for name in self._files[1:]:
            Path(name).unlink(missing_ok=True)
        request = {
            "program": program,
            "folder": str(folder),
            "path": [str(folder) for folder in path],
            "environment": dict(os.environ),
            "files": self._files,
        }
        assert self._server.stdin
        assert self._server.stdout
        print(json.dumps(request), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        out, errors = (Path(name).read_text() for name in self._files[1:])
        return subprocess.CompletedProcess(program, code, out, errors)

    def type(self, *words: str, folder: Path, path: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command of zslbench in a folder."""
        return self.run(f"from zslbench.cli import main; main({list(words)!r})", folder, path)

    def close(self) -> None:
        """End the server."""
        self._server.communicate()


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Processes that have imported what ``zslbench run`` on digits imports, torch aside."""
    server = Forks(tmp_path_factory.mktemp("forks"), _WARM_UP)
    yield server
    server.close()
