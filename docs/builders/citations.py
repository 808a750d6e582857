"""BibTeX of what cards and published numbers cite, from the package's ``references.bib``."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping

_ENTRY = re.compile(r"^@\w+\{([\w:-]+),.*?^\}$", re.MULTILINE | re.DOTALL)


@functools.cache
def entries() -> Mapping[str, str]:
    """Return the text of every entry by its key, in the order of the file."""
    text = importlib.resources.files("zslbench").joinpath("references.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in _ENTRY.finditer(text)}


def bibtex(key: str) -> str:
    """Return the entry of a citation key, or nothing where there is none (a method of one's own).

    >>> print(bibtex("kodirov2017sae").splitlines()[0])
    @inproceedings{kodirov2017sae,
    """
    return entries().get(key, "")
