"""Data sets: loading, the catalogue, fetching and importing, and the built-in sets.

Everything is imported on first use, so ``import zslbench.data`` loads neither scipy nor pooch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zslbench.data.added import remove
    from zslbench.data.archive import Installed, import_
    from zslbench.data.dataset import Counts, Dataset, DatasetCard, Fold, Source
    from zslbench.data.download import fetch
    from zslbench.data.inventory import Listed, Verified, list_, verify
    from zslbench.data.loading import load_dataset

_HOMES = {
    "Counts": "zslbench.data.dataset",
    "Dataset": "zslbench.data.dataset",
    "DatasetCard": "zslbench.data.dataset",
    "Fold": "zslbench.data.dataset",
    "Installed": "zslbench.data.archive",
    "Listed": "zslbench.data.inventory",
    "Source": "zslbench.data.dataset",
    "Verified": "zslbench.data.inventory",
    "add": "zslbench.data.own.add",  # it checks what it adds, and checks stand above data
    "features": "zslbench.data.own.pictures",
    "fetch": "zslbench.data.download",
    "import_": "zslbench.data.archive",
    "list_": "zslbench.data.inventory",
    "load_dataset": "zslbench.data.loading",
    "remove": "zslbench.data.added",
    "verify": "zslbench.data.inventory",
}

__all__ = [
    "Counts",
    "Dataset",
    "DatasetCard",
    "Fold",
    "Installed",
    "Listed",
    "Source",
    "Verified",
    "add",
    "features",
    "fetch",
    "import_",
    "list_",
    "load_dataset",
    "remove",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
