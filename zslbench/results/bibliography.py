"""BibTeX of what cards, published numbers and tables cite, from the package's ``references.bib``."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterable, Mapping

from zslbench.results.analysis.rows import group_values
from zslbench.visible import one_line

PROPOSED_SPLIT = "xian2018gbu"
CALIBRATED_STACKING = "chao2016calibrated"
_ENTRY = re.compile(r"^@\w+\{([\w:-]+),.*?^\}$", re.MULTILINE | re.DOTALL)


@functools.cache
def entries() -> Mapping[str, str]:
    """Return the text of every entry by its key, in the order of the file."""
    text = importlib.resources.files("zslbench").joinpath("references.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _ENTRY.finditer(text)}


def bibtex(key: str) -> str:
    """Return the entry of a citation key, or nothing where there is none (a method of one's own).

    >>> print(bibtex("kodirov2017sae").splitlines()[0])
    @inproceedings{kodirov2017sae,
    """
    return entries().get(key, "")


def write_bibliography(uses: Iterable[tuple[str, str]]) -> str:
    """Return BibTeX of pairs of a citation key and what it is cited for, an entry per key.

    What has no entry is named in a comment, so that its absence is seen.
    """
    parts = []
    for key, cited_for in group_values(uses).items():
        purpose = one_line("; ".join(dict.fromkeys(cited_for)))
        if key in entries():
            parts.append(f"% {purpose}\n{entries()[key]}")
        else:
            parts += [
                f"% {text}: no citation is known{f' of key {key}' if key else ''}" for text in purpose.split("; ")
            ]
    return "\n\n".join(parts) + "\n"
