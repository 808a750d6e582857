"""Data sets: load, list, fetch, import and add them; and the built-in ones.

Each function is imported on first use, so ``import zslbench.data`` loads neither scipy nor requests.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zslbench import arguments

if TYPE_CHECKING:
    from zslbench.data.added import remove as remove
    from zslbench.data.dataset import Counts as Counts
    from zslbench.data.dataset import Dataset as Dataset
    from zslbench.data.dataset import DatasetCard as DatasetCard
    from zslbench.data.dataset import Fold as Fold
    from zslbench.data.dataset import Source as Source
    from zslbench.data.download import fetch as fetch
    from zslbench.data.import_archive import Installed as Installed
    from zslbench.data.import_archive import import_ as import_
    from zslbench.data.inventory import Listed as Listed
    from zslbench.data.inventory import Verified as Verified
    from zslbench.data.loading import load_dataset as load_dataset
    from zslbench.data.own.add import add as add
    from zslbench.data.own.pictures import features as features
    from zslbench.data.own.semantics import semantics as semantics
    from zslbench.inspection import list_data, verify_data
    from zslbench.studies.data_card import card as card

    list_, verify = list_data, verify_data

_NAMES = {
    "added": ("remove",),
    "import_archive": ("Installed", "import_"),
    "dataset": ("Counts", "Dataset", "DatasetCard", "Fold", "Source"),
    "download": ("fetch",),
    "inventory": ("Listed", "Verified"),
    "loading": ("load_dataset",),
    "own.add": ("add",),
    "own.pictures": ("features",),
    "own.semantics": ("semantics",),
}
_MODULES = {name: f"zslbench.data.{module}" for module, names in _NAMES.items() for name in names}
# Those that return tables are above this room: only these names of theirs are here.
_ABOVE = {
    "card": "zslbench.studies.data_card:card",
    "list_": "zslbench.inspection:list_data",
    "verify": "zslbench.inspection:verify_data",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
        if isinstance(value, type) or ".own." in _MODULES[name]:  # which takes arrays and files of many kinds
            return value
        return arguments.plain(value)
    if name in _ABOVE:
        module, _, attribute = _ABOVE[name].partition(":")
        return arguments.plain(getattr(importlib.import_module(module), attribute))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_MODULES, *_ABOVE])
