"""Who is best and who second: within a block of lines that may be compared, as the numbers are shown."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from zslbench.results.analysis.naming import LineKey

_Key = TypeVar("_Key", bound=Hashable)


def ranked_blocks(keys: Mapping[LineKey, None], rank_together: bool) -> list[list[LineKey]]:
    """Return the lines that may be ranked with each other: by setting, oracle selection apart."""
    if rank_together:
        return [list(keys)]
    kinds = sorted({key.block for key in keys})
    return [[key for key in keys if key.block == kind] for kind in kinds]


def podium(shown: Mapping[_Key, str]) -> tuple[frozenset[_Key], frozenset[_Key]]:
    """Return who is best and who second best by the numbers as they are shown; ties share.

    Where all are equal, or there is but one, nobody is either.

    >>> best, second = podium({"a": "50.0", "b": "49.0", "c": "50.0", "d": "9.0"})
    >>> sorted(best), sorted(second)
    (['a', 'c'], ['b'])
    """
    values = sorted({float(text) for text in shown.values()})
    if len(values) < 2:
        return frozenset(), frozenset()
    numbers = {key: float(text) for key, text in shown.items()}
    best, second = (frozenset(key for key in numbers if numbers[key] == value) for value in (values[-1], values[-2]))
    return best, second
