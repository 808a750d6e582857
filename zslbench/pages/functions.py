"""The functions behind the verbs, as directives that mkdocstrings fills in from their docstrings."""

from __future__ import annotations

import inspect

import zslbench
from zslbench import data, results


def functions() -> str:
    """Return a directive for each function of `zslbench`, of `zslbench.data` and of `zslbench.results`."""
    return "\n\n".join(
        f"::: {one.__module__}.{one.__qualname__}\n    options:\n      heading: {heading}\n      toc_label: {heading}"
        for module in (zslbench, data, results)
        for name in dir(module)
        if not name.startswith("_") and inspect.isfunction(one := getattr(module, name))
        for heading in [f"{module.__name__}.{name}"]
    )
