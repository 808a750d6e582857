"""`check_dataset`: the contract of data sets, beyond the rules that `Dataset` itself enforces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zslbench.arrays import IntArray
from zslbench.contract import Contract, require
from zslbench.data.dataset import PARTS, Dataset
from zslbench.data.loading import load_dataset
from zslbench.data.splits import SEEDED_FOLDS, Split, split
from zslbench.identity import fingerprint


def check_dataset(
    dataset: Dataset | str, *, features: str | None = None, semantics: str | None = None, root: Path | None = None
) -> list[str]:
    """Return the names of the checks that a data set passes; raise an error at the first that fails.

    The data set may be given as text, as for `zslbench run`; it is then loaded (see `load_dataset` for the other
    arguments).

    Raises:
        CheckFailed: a check failed; the error says which, and why.
        ZslbenchError: the text names nothing that can be loaded.
    """
    if isinstance(dataset, str):
        dataset = load_dataset(dataset, features=features, semantics=semantics, root=root)
    return CONTRACT.run(dataset, f"data set {dataset.name!r}")


CONTRACT: Contract[Dataset] = Contract()


@CONTRACT.check("invariants hold")
def _invariants(dataset: Dataset) -> None:
    dataclasses.replace(dataset, fingerprint="")  # an empty fingerprint makes it check everything, NaN included


@CONTRACT.check("arrays are read-only")
def _read_only(dataset: Dataset) -> None:
    for name in ("features", "labels", "semantics", *PARTS, "original"):
        array = getattr(dataset, name)
        require(array is None or not array.flags.writeable, f"{name} can be written to.")


@CONTRACT.check("fingerprint names the content")
def _fingerprint(dataset: Dataset) -> None:
    arrays = dataset.arrays()
    require(dataset.fingerprint == fingerprint(arrays), "its fingerprint is not that of its arrays.")
    first = {name: array[:1000] for name, array in arrays.items()}  # turning all rows would copy them
    turned = {name: np.asfortranarray(array) for name, array in first.items()}
    require(fingerprint(first) == fingerprint(turned), "its fingerprint depends on the memory order of its arrays.")
    changed = dataset.semantics.copy()
    changed[0, 0] += 1
    require(
        dataset.fingerprint != fingerprint(arrays | {"semantics": changed}), "other content has the same fingerprint."
    )


@CONTRACT.check("classes have different descriptions")
def _semantics(dataset: Dataset) -> None:
    used = np.concatenate([dataset.seen, dataset.unseen])
    table = dataset.semantics[used]
    empty = used[~table.any(axis=1)]
    require(empty.size == 0, f"semantics of {_named(dataset, empty)} are all zero.")
    _, first, counts = np.unique(table, axis=0, return_index=True, return_counts=True)
    twins = used[first[counts > 1]]
    require(twins.size == 0, f"another class has the same semantics as {_named(dataset, twins)}.")


@CONTRACT.check("at least two seen and two unseen classes")
def _classes(dataset: Dataset) -> None:
    seen, unseen = len(dataset.seen), len(dataset.unseen)
    require(min(seen, unseen) >= 2, f"it has {seen} seen and {unseen} unseen classes; two of each are needed.")


@CONTRACT.check("no test row in the dev stage")
def _dev(dataset: Dataset) -> None:
    test = np.concatenate([dataset.test_seen, dataset.test_unseen])
    for fold, part in _dev_stages(dataset):
        used = np.concatenate([part.train, part.asked_seen, part.asked_unseen])
        require(not np.isin(used, test).any(), f"fold {fold} uses test rows.")
        require(np.isin(used, dataset.trainval).all(), f"fold {fold} uses rows outside trainval.")
        require(np.unique(used).size == used.size, f"fold {fold} uses a row twice.")


@CONTRACT.check("dev folds divide seen classes")
def _seen_folds(dataset: Dataset) -> None:
    for fold, part in _dev_stages(dataset):
        both = np.concatenate([part.seen, part.unseen])
        require(np.isin(both, dataset.seen).all(), f"fold {fold} has classes that are not seen classes.")
        require(np.unique(both).size == both.size, f"fold {fold} has classes on both sides.")
        for side, rows, classes in (
            ("training", part.train, part.seen),
            ("seen test", part.asked_seen, part.seen),
            ("validation", part.asked_unseen, part.unseen),
        ):
            held = np.unique(dataset.labels[rows])
            require(np.isin(held, classes).all(), f"fold {fold} has {side} rows of the other side's classes.")
        missing = np.setdiff1d(both, dataset.labels[np.concatenate([part.train, part.asked_unseen])])
        require(missing.size == 0, f"fold {fold} has no row of {_named(dataset, missing)}.")


def _dev_stages(dataset: Dataset) -> Iterator[tuple[int, Split]]:
    for fold in range(1, (len(dataset.folds) or SEEDED_FOLDS) + 1):
        yield fold, split(dataset, "dev", fold)


def _named(dataset: Dataset, classes: IntArray) -> str:
    names = [dataset.class_names[i] for i in classes[:3]]
    return ", ".join(map(repr, names)) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")
