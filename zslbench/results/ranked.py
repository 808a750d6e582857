"""Who is best and who second: within a block of lines that may be compared, as the numbers are shown."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from zslbench.results.naming import LineKey

_Key = TypeVar("_Key", bound=Hashable)


def ranked_blocks(keys: Mapping[LineKey, None], rank_together: bool) -> list[list[LineKey]]:
    """Return the lines that may be ranked with each other: by setting, oracle selection apart."""
    if rank_together:
        return [list(keys)]
    kinds = sorted({key.block for key in keys})
    return [[key for key in keys if key.block == kind] for kind in kinds]


def podium(shown: Mapping[_Key, str]) -> tuple[Sequence[_Key], Sequence[_Key]]:
    """Return who is best and who second best by the numbers as they are shown; ties share.

    Where all are equal, or there is but one, nobody is either.

    >>> podium({"a": "50.0", "b": "49.0", "c": "50.0", "d": "9.0"})
    (['a', 'c'], ['b'])
    """
    values = sorted({float(text) for text in shown.values()})
    if len(values) < 2:
        return [], []
    best, second = ([key for key, text in shown.items() if float(text) == value] for value in (values[-1], values[-2]))
    return best, second
