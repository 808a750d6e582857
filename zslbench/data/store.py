"""placeholder until next commit"""

from __future__ import annotations

from pathlib import Path

from zslbench.data.dataset import Dataset, Origin
from zslbench.data.xlsa17 import read_folder


def load_stored(folder: Path, *, name: str, features: str, semantics: str, origin: Origin = "own") -> Dataset:
    """Return one choice of features and semantics of a folder."""
    return read_folder(folder, name=name, features=features, semantics=semantics, origin=origin)
