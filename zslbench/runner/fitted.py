"""`fit` and `load_model`: a fitted method for interactive use, fitted now or kept earlier by ``run --save-model``."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import SupportsIndex

from zslbench.data.splits import Stage, build_train
from zslbench.errors import BadValue, StoreError
from zslbench.methods.base import Context, Method
from zslbench.methods.saved_state import unpack_state
from zslbench.results.records.store import find_run
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.runner.class_lookup import built, recorded_method
from zslbench.runner.execute import build_method
from zslbench.runner.handout import dataset_of
from zslbench.runner.plan import Precision, RunOptions, plan
from zslbench.runner.resources import prepare_for_torch
from zslbench.sources import SourceCheck


def fit(
    method: str | type,
    dataset: str | os.PathLike[str],
    *,
    protocol: str = "zsl",
    features: str | None = None,
    semantics: str | None = None,
    stage: Stage = "final",
    fold: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    device: str = "auto",
    precision: Precision = "float32",
    data_root: Path | str | None = None,
    runs: Path | str = "runs",
) -> Method:
    """Return a method fitted to the training part of a data set, as `run` fits it; no record is made.

    Get its scores with ``method.scores(features, classes)``, where features is an (n, d) array and classes is a class
    table such as ``load_dataset(…).class_table(ids)``. The data set holds the labels of test images: a number for which
    these labels were used to choose anything is not a result.

    Args:
        method: a class, or a spec with presets and parameters; not a grid.
        dataset: a name, or the path of a folder.
        features, semantics, data_root: as in `run`.
        protocol: ``zsl`` or ``gzsl``; for presets whose values differ between protocols.
        stage: ``final`` fits trainval, ``dev`` the training classes of a fold.
        fold: of the dev stage; None: the first.
        runs: the folder of records, for tuned presets.

    Raises:
        ZslbenchError: a request that cannot be met, with the same message as `run`. Exceptions of the method itself
            are passed on.
    """
    prepare_for_torch()
    fold = 1 if stage == "dev" and fold is None else fold
    name = str(method)  # `zslbench.arguments` has made a text of a class
    root = None if data_root is None else str(data_root)
    options = RunOptions(
        methods=[name],
        datasets=[os.fspath(dataset)],
        protocols=[protocol],
        features=features,
        semantics=semantics,
        seeds=[operator.index(seed)],
        stage=stage,
        fold=None if fold is None else operator.index(fold),
        data_root=root,
        precision=precision,
    )
    how = options.how(device)
    planned = plan(options, PresetStore(Path(runs))).runs
    if len(planned) > 1:
        raise BadValue(f"{name!r} on {dataset!r} means {len(planned)} fits; name one, without a grid.")
    (run,) = planned
    fitted = build_method(run)
    train = build_train(*dataset_of(run), run.told)
    fitted.fit(train, Context(run.seed, how.device, precision=how.precision))
    return fitted


def load_model(run: str | Path, runs: Path | str = "runs", device: str | None = None) -> Method:
    """Return the fitted method that ``run --save-model`` kept beside a record.

    On the same machine and device its scores equal those of the method that the run fitted, to the bit.

    Args:
        run: the id of the run, or its first digits (four or more), or the path of its record or of the model beside it.
        runs: the folder of records, for an id.
        device: where the method computes; None: the device of the run, or the CPU if this machine has no such device.

    Raises:
        BadValue: no such run; or a method of your own that was not imported, or that has changed since.
        StoreError: no model was kept, or the file is damaged.
    """
    store, path, record = find_run(run, runs)
    if store.path(record).absolute() != path.absolute():
        raise BadValue(f"{path} does not lie in a folder of records, <data set>/<protocol>/<method>; put it there.")
    name = str(record.method["name"])
    cls = recorded_method(name)
    if cls is None:  # nothing is imported for a name in a file
        module = name.partition(":")[0]
        first = "define that class here" if module == "__main__" else f"import {module}"
        raise BadValue(f"run {record.id} is of {name}; {first} first, then load it again.")
    changed = SourceCheck().state(name, record.provenance) == "changed"
    if cls.card.version != record.method["version"] or changed:
        raise BadValue(
            f"run {record.id} is of an earlier version of {name}, whose state may mean something else now; do it again "
            "with --save-model --rerun all."
        )
    arrays = dict(store.model(record))
    method = built(cls, name, record.method["params"])
    try:
        return unpack_state(method, arrays, device)
    except StoreError as error:
        raise StoreError(
            f"the kept model of run {record.id} is damaged: {error}; run it again with --save-model --rerun all."
        ) from None
