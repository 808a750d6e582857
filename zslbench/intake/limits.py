"""How much a file may ask for: its declared size against the memory there is and against its own length."""

from __future__ import annotations

from pathlib import Path

import psutil

from zslbench.errors import BadData

MAX_RATIO = 1000
"""How many bytes a byte of a file may unfold to; what compresses better is a bomb, or damaged."""
SMALL = 1 << 26
"""Bytes that any file may unfold to: 64 MiB."""


def check_size(path: Path, size: int) -> None:
    """Refuse a file that declares more bytes than memory has free, or than its length can honestly hold.

    Raises:
        BadData: it does.
    """
    stored = path.stat().st_size
    if size > SMALL and size > MAX_RATIO * stored:
        raise BadData(
            f"{path} ({stored:,} bytes) would unfold to {size:,} bytes, more than {MAX_RATIO} times its size; "
            "it is damaged or a bomb."
        )
    if size > (free := psutil.virtual_memory().available):
        raise BadData(f"{path} unfolds to {size:,} bytes and {free:,} bytes of memory are free; save it as float32.")
