"""Data sets: loading, the catalogue, fetching and importing, and the built-in sets.

Everything is imported on first use, so ``import zslbench.data`` loads neither scipy nor pooch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zslbench.data.dataset import Dataset, Fold
    from zslbench.data.loading import load_dataset
    from zslbench.data.source import Counts, DatasetCard, Source

_HOMES = {
    "Counts": "zslbench.data.source",
    "Dataset": "zslbench.data.dataset",
    "DatasetCard": "zslbench.data.source",
    "Fold": "zslbench.data.dataset",
    "Source": "zslbench.data.source",
    "load_dataset": "zslbench.data.loading",
}

__all__ = ["Counts", "Dataset", "DatasetCard", "Fold", "Source", "load_dataset"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
