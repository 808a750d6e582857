"""The files of one run: its document, and what lies beside it under the same id."""

from __future__ import annotations

import re
from pathlib import Path

ENDINGS = (".npz", ".features.npz", ".trace.json.gz")
"""Beside ``<id>.json``: predictions, kept features, and the trace of a profile."""

_ID = re.compile(r"[0-9a-f]{16}")


def companions(document: Path) -> list[Path]:
    """Return the files beside a document that belong to its run."""
    beside = (document.with_name(document.stem + ending) for ending in ENDINGS)
    return [path for path in beside if path.is_file()]


def document_of(companion: Path) -> Path | None:
    """Return the document that a file belongs to, whether it is there or not; None where the name says of none.

    >>> document_of(Path("runs/cub/zsl/sae/0123456789abcdef.trace.json.gz")).name
    '0123456789abcdef.json'
    """
    name, dot, ending = companion.name.partition(".")
    fits = dot + ending in ENDINGS and _ID.fullmatch(name)
    return companion.with_name(f"{name}.json") if fits else None
