"""Work in processes that the coordinator did not start: on a Dask cluster, or as Slurm jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from zslbench.errors import Unavailable
from zslbench.runner.device import let_threads_sleep
from zslbench.runner.engines.doing import Message, do, limit_threads
from zslbench.runner.handout import Parcel
from zslbench.runner.jobs import Batch


@dataclasses.dataclass(frozen=True)
class Home:
    """Where the coordinator is: methods named ``pkg.module:Class`` and folders of data are looked for from there.

    Attributes:
        folder: its working folder; path: its `sys.path`.
    """

    folder: str
    path: tuple[str, ...]

    @classmethod
    def here(cls) -> Home:
        """Return this process's."""
        return cls(str(Path.cwd()), tuple(sys.path))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be there, as far as this machine has the same folders."""
        for entry in self.path:
            if entry not in sys.path and os.path.exists(entry or self.folder):  # noqa: PTH110  ("" is an entry, too)
                sys.path.append(entry)
        with contextlib.chdir(self.folder) if Path(self.folder).is_dir() else contextlib.nullcontext():
            yield


def do_elsewhere(
    batch: Batch, parcel: Parcel, send: Callable[[Message], object], home: Home, threads: int | None = None
) -> None:
    """Do a batch as its coordinator would (see `do`)."""
    let_threads_sleep()
    if threads:
        limit_threads(threads)
    with home.entered():
        do(batch, parcel, send)


def extra(module: str, name: str) -> ModuleType:
    """Import a module of an extra.

    Raises:
        Unavailable: it is not installed; the sentence has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"the {name} engine needs {module}, which cannot be imported ({error}); pip install 'zslbench[{name}]'"
        ) from None
