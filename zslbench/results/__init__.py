"""Records and all that is made of them. The verbs of `zslbench results` are functions here, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "merge": "zslbench.results.records.merge",
    "gc": "zslbench.results.records.cleanup",
    "export": "zslbench.results.records.export",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
