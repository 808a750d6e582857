"""Limits of a run: seconds and bytes, and how they are written."""

from __future__ import annotations

import dataclasses
import re
from typing import Self

from zslbench.errors import BadValue

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)", re.IGNORECASE)
_STEPS = "kmgt"


def seconds(limit: str | float | None) -> float | None:
    """Return a time limit in seconds.

    >>> seconds("90"), seconds("30m"), seconds("1h30m"), seconds("1.5h")
    (90.0, 1800.0, 5400.0, 5400.0)

    Raises:
        BadValue: not a time.
    """
    if limit is None:
        return None
    found = _TIME.fullmatch(str(limit).strip().lower())
    total = (
        sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0.0
    )
    if total <= 0:
        raise BadValue(f"time limit {limit!r} is not allowed; write seconds, or a text such as 90s, 30m or 1h30m.")
    return total


def size(limit: str | int | None) -> int | None:
    """Return a memory limit in bytes; ``GiB`` and ``G`` count by 1024, ``GB`` by 1000.

    >>> size("4GiB"), size("500MB"), size("1.5g"), size(2048)
    (4294967296, 500000000, 1610612736, 2048)

    Raises:
        BadValue: not a size.
    """
    if limit is None:
        return None
    if isinstance(limit, int):
        total = float(limit)
    else:
        text = limit.strip()
        found = _MEMORY.fullmatch(text)
        letter = (found[2] or "") if found else ""
        step = 1000 if text.lower().endswith("b") and found and not found[3] else 1024
        total = float(found[1]) * step ** (_STEPS.index(letter.lower()) + 1 if letter else 0) if found else 0.0
    if total < 1:
        raise BadValue(f"memory limit {limit!r} is not allowed; write a size with its unit, such as 4GiB or 500MB.")
    return int(total)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may take: seconds of time, bytes of the resident memory of its worker; None: any."""

    time: float | None = None
    memory: int | None = None

    @classmethod
    def of(cls, time: str | float | None = None, memory: str | int | None = None) -> Self:
        """Return the limits that two texts mean (see `seconds` and `size` for what they raise)."""
        return cls(seconds(time), size(memory))


def told_size(count: float) -> str:
    """Return a number of bytes as people read it.

    >>> told_size(4294967296), told_size(500_000_000)
    ('4.0 GiB', '477 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def told_time(limit: float) -> str:
    """Return seconds as people read them.

    >>> told_time(90), told_time(1800), told_time(0.5)
    ('90 s', '30 min', '0.5 s')
    """
    if limit >= 600:
        return f"{limit / 60:g} min"
    return f"{limit:g} s"
