"""Which of the arrays in a file is meant: ``file.npz:key``, the usual name, or the only one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zslbench.errors import BadData, DataMissing
from zslbench.identity import expanded


def split_key(text: str) -> tuple[Path, str | None]:
    """Return path and key of ``FILE`` or ``FILE:KEY``.

    Raises:
        DataMissing: there is no such file.
    """
    path = expanded(text)
    if path.is_file():
        return path, None
    before, colon, key = text.rpartition(":")
    if colon and key and expanded(before).is_file():
        return expanded(before), key
    what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
    raise DataMissing(f"{text!r} {what}; name a file, or FILE:KEY for one of several arrays in a file.")


def chosen_key(path: Path, key: str | None, held: Sequence[str], usual: Sequence[str]) -> str:
    """Return the key that is meant: the given one, else the first usual one, else the only one.

    Raises:
        BadData: there is none, or several to choose from.
    """
    some = ", ".join(held[:8]) + (" …" if len(held) > 8 else "") or "nothing"
    if key is not None:
        if key not in held:
            raise BadData(f"{path} holds no {key!r}; it holds: {some}.")
        return key
    if named := [name for name in usual if name in held]:
        return named[0]
    if len(held) == 1:
        return held[0]
    raise BadData(f"{path} holds {some}; name the array as {path.name}:KEY.")
