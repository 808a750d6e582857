"""The functions behind the verbs, as directives that mkdocstrings fills in from their docstrings."""

from __future__ import annotations

from collections.abc import Iterable

import zslbench
from zslbench import data


def functions(verbs: Iterable[str]) -> str:
    """Return a directive for the function of each verb, and for those of `zslbench.data`."""
    found = {f"zslbench.{verb}": getattr(zslbench, verb) for verb in verbs if verb != "data"}
    found |= {
        f"zslbench.data.{one}": getattr(data, one) for one in ("list_", "fetch", "import_", "verify", "load_dataset")
    }
    return "\n\n".join(
        f"::: {one.__module__}.{one.__qualname__}\n    options:\n      heading: {name}\n      toc_label: {name}"
        for name, one in found.items()
    )
