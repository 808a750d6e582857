"""Read a file in a child process, so that a damaged one that crashes or hangs its parser costs one sentence.

SciPy, HDF5 and torch parse their formats in C or C++; a hostile or broken file can end the process that parses it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import numpy as np

from zslbench.arrays import AnyArray
from zslbench.errors import BadData

START_LIMIT = 120.0
"""Seconds that loading the libraries may take."""
READ_LIMIT = 8.0
"""Seconds that parsing may take, beside what a slow disk needs."""
_SLOWEST = 2e6
"""Bytes a second that any disk gives."""


_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from zslbench.data.own.worker import main; main()"


class ChildReader:
    """A child process that reads files, started on first use, replaced when one of them ends it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="zslbench-read-")

    def __enter__(self) -> ChildReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._folder.cleanup()

    def read(self, path: Path, key: str | None, usual: Sequence[str]) -> tuple[str, AnyArray]:
        """Return the key that was chosen and its array (see `zslbench.data.own.naming.chosen_key`).

        Raises:
            BadData: the file cannot be read, crashed its reader, or took too long.
        """
        process = self._running()
        limit = READ_LIMIT + path.stat().st_size / _SLOWEST
        out = Path(self._folder.name) / "array.npy"
        request = {"path": str(path), "key": key, "usual": list(usual), "out": str(out), "limit": limit}
        try:
            cast(IO[str], process.stdin).write(json.dumps(request) + "\n")
            cast(IO[str], process.stdin).flush()
        except OSError:
            self._end()
        answer = self._answer(path, START_LIMIT)
        if "started" in answer:
            answer = self._answer(path, limit)
        if "error" in answer:
            raise BadData(answer["error"])
        array = np.load(out, allow_pickle=False)
        out.unlink()
        return answer["key"], array

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        return self._process

    def _answer(self, path: Path, limit: float) -> dict[str, Any]:
        if self._process is None:
            raise BadData(f"{path} could not be handed to the process that reads it; try again.")
        late = threading.Event()
        process = self._process

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            line = cast(IO[str], process.stdout).readline()
        finally:
            timer.cancel()
        if line:
            return cast(dict[str, Any], json.loads(line))
        code = process.wait()
        self._end()
        if late.is_set():
            raise BadData(f"{path} kept its reader busy for more than {limit:.0f} s; it is damaged, get it again.")
        raise BadData(f"{path} crashed the library that reads it (exit {code}); it is damaged, get it again.")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
