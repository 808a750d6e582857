"""`Run`: one cell of a study, named by its meaning, and the data set that it is on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zslbench.data.dataset import Dataset
from zslbench.data.loading import load_dataset
from zslbench.identity import canonical_json, digest
from zslbench.protocols.splits import Stage
from zslbench.results.record import SCHEMA
from zslbench.results.wording import named


@dataclasses.dataclass(frozen=True)
class DatasetRef:
    """A data set as a plan names it, and how to load it again (in another process, too).

    Attributes:
        text, root: what `load_dataset` is called with, beside features and semantics.
        name, features, semantics, fingerprint, origin, split: of the loaded data set.
    """

    text: str
    root: Path | None
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: str
    split: str = ""

    def load(self) -> Dataset:
        """Load the data set (the last two stay in memory)."""
        return loaded(self.text, self.features, self.semantics, self.root)


@functools.lru_cache(maxsize=2)
def loaded(text: str, features: str | None, semantics: str | None, root: Path | None) -> Dataset:
    """Load a data set; the last two stay in memory."""
    return load_dataset(text, features=features, semantics=semantics, root=root)


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of a study: a method on a data set under a protocol, in one stage, with one seed.

    How its hyper-parameters were selected (and which tuned preset says so) is recorded and is no part of its identity:
    it does not change its numbers.
    """

    method: str
    label: str
    params: Mapping[str, Any]
    version: int
    setting: str
    dataset: DatasetRef
    protocol: str
    protocol_params: Mapping[str, Any]
    protocol_version: int
    stage: Stage
    fold: int
    seed: int
    selection: str = "fixed"
    tuned: str = ""
    one_scale: bool = True

    def identity(self) -> dict[str, Any]:
        """Return what the run means: everything that may change its numbers, and nothing else."""
        return {
            "schema": SCHEMA,
            "method": {"name": self.method, "version": self.version, "params": dict(self.params)},
            "dataset": {
                "name": self.dataset.name,
                "features": self.dataset.features,
                "semantics": self.dataset.semantics,
                "fingerprint": self.dataset.fingerprint,
                "origin": self.dataset.origin,
            },
            "protocol": {
                "name": self.protocol,
                "version": self.protocol_version,
                "params": dict(self.protocol_params),
            },
            "stage": self.stage,
            "fold": self.fold,
            "seed": self.seed,
        }

    @functools.cached_property
    def id(self) -> str:
        """16 hex digits of the sha256 of the canonical JSON of `identity`."""
        return digest(self.identity())

    @property
    def fit_key(self) -> str:
        """Runs with equal keys differ in the protocol only, so one fit serves them all."""
        return canonical_json({key: value for key, value in self.identity().items() if key != "protocol"})

    @property
    def grid_key(self) -> str:
        """Runs with equal keys differ in protocol and hyper-parameters only: points of a grid on the same data."""
        kept = {key: value for key, value in self.identity().items() if key not in ("protocol", "method")}
        return canonical_json({**kept, "method": [self.method, self.version]})

    @property
    def seeds_key(self) -> str:
        """Runs with equal keys differ in protocol and seed only."""
        return canonical_json({key: value for key, value in self.identity().items() if key not in ("protocol", "seed")})

    def __str__(self) -> str:
        return named(self.label, self.dataset.name, [self.protocol], self.stage, self.fold, self.seed)
