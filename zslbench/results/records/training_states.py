"""States of trainings, ``<runs>/.live/<key>.state.npz``: from these a fit that was killed goes on.

A file is written whole or not at all. It holds a header (JSON) and the numbers of a training, and nothing that is
pickled. As it is not compressed, it cannot unfold to more than its size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from zslbench.arrays import AnyArray
from zslbench.documents import convert
from zslbench.errors import StoreError
from zslbench.files import check_regular, read_problem, write_atomically
from zslbench.results.records.live_studies import clean, live_folder

ENDING = ".state.npz"
CUT_SHORT = {"interrupted", "crashed", "timeout"}
"""Statuses of runs that go on from a state when they are done again."""
_HEADER = "header"
_LARGEST_HEADER = 2**28
"""Bytes; the losses of a million rounds take fewer."""
_Count = Annotated[int, Meta(ge=0, le=10**15)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateHeader:
    """What a kept state is of, and how far its training was.

    Attributes:
        name: of the fit, for people; key: digest of what is trained.
        runs: ids of all runs that the training serves.
        conditions: what its numbers depend on besides the meaning of the runs, such as the version of torch.
        step, total: of its training.
        progress: what the method notes beside its arrays.
        judging: seconds that judging and the checks of it took.
    """

    name: str
    key: str
    runs: tuple[str, ...]
    conditions: Mapping[str, str]
    step: _Count
    total: _Count
    progress: Mapping[str, Any]
    judging: tuple[float, float] = (0.0, 0.0)


def state_path(root: Path, key: str) -> Path:
    """Return where the state of a training is kept below a folder of records."""
    return live_folder(root) / f"{key}{ENDING}"


def write_state(path: Path, header: StateHeader, arrays: Mapping[str, AnyArray]) -> None:
    """Write a state in place of the one before (StoreError: there is no room, say; the one before stays)."""
    text = np.frombuffer(json.dumps(dataclasses.asdict(header)).encode(), dtype=np.uint8)
    content: dict[str, Any] = {_HEADER: text, **arrays}
    write_atomically(path, lambda file: np.savez(file, **content), "the state of a training")


def read_state(path: Path, numbers: bool = True) -> tuple[StateHeader, dict[str, AnyArray]]:
    """Return the header of a state and, with `numbers`, its arrays.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read, or is no state.
    """
    try:
        check_regular(path, path.stat().st_mode)
        if not zipfile.is_zipfile(path):
            raise StoreError(f"{path} is not the state of a training, or not all of it.")
        with np.load(path, allow_pickle=False) as file:
            members = file.zip.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > path.stat().st_size:
                raise StoreError(f"{path} is not the state of a training: it is compressed.")
            if file.zip.getinfo(f"{_HEADER}.npy").file_size > _LARGEST_HEADER:
                raise StoreError(f"{path} is not the state of a training: its header is too long.")
            header = convert(json.loads(bytes(file[_HEADER])), StateHeader)
            arrays = {name: file[name] for name in file.files if name != _HEADER} if numbers else {}
    except (FileNotFoundError, StoreError):
        raise
    except OSError as error:
        raise StoreError(read_problem(path, error)) from None
    except Exception as error:  # the file may hold anything
        raise StoreError(f"{path} is not the state of a training ({clean(str(error))}).") from None
    return header, arrays


def list_states(root: Path) -> list[Path]:
    """Return the files of states, in order."""
    return sorted(live_folder(root).glob(f"*{ENDING}"))


def read_headers(root: Path) -> Iterator[tuple[Path, StateHeader]]:
    """Yield each state that can be read."""
    for path in list_states(root):
        with contextlib.suppress(OSError, StoreError):
            yield path, read_state(path, numbers=False)[0]


def remove_states(root: Path, done: Collection[str], waiting: Collection[str]) -> None:
    """Remove the states that serve one of the runs that are done and none of those that wait."""
    for path, header in read_headers(root):
        if not set(done).isdisjoint(header.runs) and set(waiting).isdisjoint(header.runs):
            with contextlib.suppress(OSError):
                path.unlink()
