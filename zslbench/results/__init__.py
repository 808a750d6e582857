"""Records and what is computed from them. The verbs of `zslbench results` are functions here, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from zslbench import arguments

_MODULES = {"merge": "merge", "gc": "cleanup", "export": "export"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return arguments.plain(getattr(importlib.import_module(f"zslbench.results.records.{_MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted(_MODULES)
