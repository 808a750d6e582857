"""Which classes are among the 1,000 of ImageNet, on which most backbones were trained, by their names.

A backbone has seen pictures of such a class with its label, so as an unseen class it is none. The proposed splits of
Xian et al. (TPAMI 2018) were made to avoid that.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping, Sequence

from zslbench.visible import format_count, list_names

_SHOWN = 5


def find_in_imagenet(names: Sequence[str]) -> dict[int, str]:
    """Return, by position, the class of ImageNet that a class name is, or is a kind of: the one that it ends with.

    >>> find_in_imagenet(["014.Indigo_Bunting", "Florida Jay", "blue+whale", "class 7"])
    {0: 'indigo bunting', 1: 'jay'}
    """
    known = _read_names()
    found = {}
    for position, name in enumerate(names):
        words = plain_words(re.sub(r"^\d+\W", "", name)).split()
        ends = (" ".join(words[start:]) for start in range(len(words)))
        if (end := next((end for end in ends if end in known), None)) is not None:
            found[position] = known[end]
    return found


def describe_overlap(names: Sequence[str]) -> Iterator[str]:
    """Yield, if some of these unseen classes are among those of ImageNet, how many and which."""
    if found := find_in_imagenet(names):
        listed = list_names([f"{names[at]} ({name})" for at, name in found.items()], _SHOWN)
        yield f"{format_count(len(found), 'unseen class', 'is')} among ImageNet's 1,000, by name: {listed}"


@functools.cache
def _read_names() -> Mapping[str, str]:
    """Return what ImageNet calls its classes, by these names in plain form."""
    text = importlib.resources.files("zslbench.data").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {plain_words(name): name for line in reversed(lines) for name in line.split(", ")}


def plain_words(name: str) -> str:
    """Return the words of a class name, without what lists write differently: capitals, ``_``, ``+``, ``/``.

    >>> plain_words("Red-breasted_merganser"), plain_words("grizzly+bear")
    ('red breasted merganser', 'grizzly bear')
    """
    return " ".join(re.split(r"[\W_]+", name.casefold())).strip()
