"""How much a file may ask for: the size that it declares, held against free memory and against its own length.

Every reader asks here before it allocates, from headers alone, so that a small file cannot take the machine down.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from zslbench.errors import BadData

MAX_RATIO = 1000
"""How many bytes a byte of a file may unfold to; what compresses better is a bomb, or damaged."""
SMALL = 1 << 26
"""Bytes that any file may unfold to: 64 MiB."""
HEADROOM = 1.5
"""Free memory that reading takes, as a multiple of the declared size: float64 numbers and their copy in float32."""


def free_memory() -> int:
    """Return the bytes of memory that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


def check_size(path: Path, size: int, what: str = "") -> None:
    """Refuse a file that declares more bytes than free memory holds, or than its length can honestly unfold to.

    Args:
        path: the file.
        size: bytes that its content takes in memory.
        what: which part of the file asks for them; empty for all of it.

    Raises:
        BadData: it does.
    """
    stored = path.stat().st_size
    asks = f"{path} ({stored:,} bytes){f': {what}' if what else ''} would unfold to {size:,} bytes"
    if size > SMALL and size > MAX_RATIO * stored:
        raise BadData(f"{asks}, more than {MAX_RATIO:,} times its size; it is damaged or a bomb.")
    if size * HEADROOM > (free := free_memory()):
        raise BadData(
            f"{asks}, which takes {int(size * HEADROOM):,} bytes to read where {free:,} bytes of memory are free; save "
            "fewer numbers, or use a larger machine."
        )
