"""`Run`: one cell of a study, named by its meaning, and the data set that it is on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zslbench.data import store
from zslbench.data.dataset import Dataset, Origin
from zslbench.data.loading import file_stamps, load_dataset
from zslbench.errors import BadData
from zslbench.identity import canonical_json, digest
from zslbench.protocols.splits import Stage
from zslbench.results.records.record import SCHEMA
from zslbench.results.records.wording import name_run


@dataclasses.dataclass(frozen=True)
class DatasetRef:
    """A data set as a plan names it, and how to load it again (in another process, too).

    Attributes:
        text, root: what `load_dataset` is called with, beside features and semantics.
        name, features, semantics, fingerprint, origin, split, first_class: of the loaded data set.
    """

    text: str
    root: Path | None
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: Origin
    split: str = ""
    first_class: int = 0

    def load(self, narrow: bool = False) -> Dataset:
        """Return the data set as it was when the plan was made, from the store of arrays.

        The caller lets go of it as soon as it can: it holds the labels of the test.

        Args:
            narrow: with one column of its features, for what needs none.

        Raises:
            BadData: its content is another by now, or on this machine.
        """
        return store.load_arrays(
            self.folder(),
            name=self.name,
            features=self.features,
            semantics=self.semantics,
            origin=self.origin,
            split=self.split,
            narrow=narrow,
        )

    def folder(self) -> Path:
        """Return the folder of its arrays in the store; the source is read only where they are not there yet.

        Raises:
            BadData: see `load`.
        """
        if (folder := store.find_arrays(self.fingerprint)) is not None:
            return folder
        dataset = load_dataset(self.text, features=self.features, semantics=self.semantics, root=self.root)
        if dataset.fingerprint != self.fingerprint:
            raise BadData(
                f"{self.text} has the content {dataset.fingerprint} here, and {self.fingerprint} where the run was "
                "planned; give both the same files."
            )
        return store.store_arrays(dataset)


def dataset_ref(text: str, features: str | None, semantics: str | None, root: Path | None) -> DatasetRef:
    """Return what a plan keeps of the data set that a text names; its arrays are in the store afterwards.

    The last two are remembered while their files do not change: a search plans again for each trial.
    """
    return _dataset_ref(text, features, semantics, root, (Path.cwd(), file_stamps(text, root)))


@functools.lru_cache(maxsize=2)
def _dataset_ref(text: str, features: str | None, semantics: str | None, root: Path | None, _: object) -> DatasetRef:
    dataset = load_dataset(text, features=features, semantics=semantics, root=root)
    store.store_arrays(dataset)
    choice = dataset.name, dataset.features_name, dataset.semantics_name
    return DatasetRef(text, root, *choice, dataset.fingerprint, dataset.origin, dataset.split, dataset.first_class)


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
        return name_run(self.label, self.dataset.name, [self.protocol], self.stage, self.fold, self.seed)
