"""The handout: what is needed to fit and to score a batch, without a label of a test row.

The coordinator packs it; whoever does the batch, in this process or another, opens it. Where a method runs, it is kept
in an anonymous temporary file: no Python object reveals which rows will be asked about, or in which order.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from zslbench.arrays import AnyArray, Array, BoolArray, IntArray, copy_rows
from zslbench.data import array_store, splits
from zslbench.data.dataset import Dataset
from zslbench.errors import BadData, ZslbenchError
from zslbench.protocols.protocol import Protocol
from zslbench.runner.class_lookup import protocol_class
from zslbench.runner.jobs import Batch, DatasetRef, Run
from zslbench.runner.run_records import describe_error
from zslbench.task import Answers, ClassTable, Query, Train
from zslbench.visible import last_line

_PART = 8, 64
"""Rows of a query that are scored once more by themselves, at least and at most; else one in a hundred."""


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedQuery:
    """What one run is asked.

    Attributes:
        rows: (m,) rows of the data set, in the order of the query.
        classes: (k,) candidate ids, in the order of the query.
        unseen: (k,) which candidates are unseen classes.
        mixed: whether it mixes rows of seen and of unseen classes.
        part: (r,) random places among the rows.
    """

    rows: IntArray
    classes: IntArray
    unseen: BoolArray
    mixed: bool
    part: IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class _Handout:
    """The rows, labels and classes to train on, and what each run, by its id, is asked; more only if `fit` is told."""

    folder: Path
    rows: IntArray
    labels: IntArray
    seen: IntArray
    unseen: IntArray
    asked: Mapping[str, PreparedQuery]
    unlabelled: IntArray | None
    class_prior: Array | None


@dataclasses.dataclass(eq=False)
class PackedHandout:
    """A batch on its way with its packed handout, which can be opened once, and holds nothing afterwards.

    `error` says why nothing could be packed: all runs of the batch fail with it.
    """

    batch: Batch
    packed: bytes = b""
    error: str = ""


def pack(batch: Batch) -> PackedHandout:
    """Return the handout of a batch; data that is missing or bad becomes the parcel's `error`."""
    try:
        return PackedHandout(batch, pickle.dumps(_handout(batch)))
    except (Exception, SystemExit) as error:
        return PackedHandout(batch, error=describe_error(error))


def answers_of(runs: Sequence[Run]) -> list[Answers]:
    """Return the answers of runs of one batch. The caller lets go of them before a method's code runs again."""
    dataset, chosen = dataset_of(runs[0], narrow=True)
    return [protocol_of(run).query(dataset, chosen, run.seed)[1] for run in runs]


def dataset_of(run: Run, narrow: bool = False) -> tuple[Dataset, splits.Split]:
    """Return the data set of a run, `narrow` with one column of its features, and the split of its stage."""
    dataset = run.dataset.load(narrow)
    return dataset, splits.split(dataset, run.stage, max(run.fold, 1))


def protocol_of(run: Run) -> Protocol:
    """Return the protocol of a run."""
    return protocol_class(run.protocol)(**run.protocol_params)


def _handout(batch: Batch) -> _Handout:
    first = batch.first.first
    dataset, chosen = dataset_of(first, narrow=True)  # a query that is made for its answers copies no features
    asked: dict[str, PreparedQuery] = {}
    alike: dict[str, PreparedQuery] = {}
    for run in (run for job in batch.jobs for run in job.runs):
        key = f"{run.protocol} {sorted(run.protocol_params.items())} {run.seed}"
        if key not in alike:
            _, answers = protocol_of(run).query(dataset, chosen, run.seed)
            order = splits.drawn_order(dataset, run.seed, f"part {run.protocol}", np.arange(len(answers.rows)))
            part = order[: min(max(len(order) // 100, _PART[0]), _PART[1])]
            of_unseen = np.isin(answers.labels, answers.classes[answers.unseen])
            mixed = bool(of_unseen.any() and not of_unseen.all())
            alike[key] = PreparedQuery(answers.rows, answers.classes, answers.unseen, mixed, part)
        asked[run.id] = alike[key]
    labels = copy_rows(dataset.labels, chosen.train)
    unlabelled = splits.unlabelled_rows(dataset, chosen) if "unlabelled" in first.told else None
    prior = splits.class_frequencies(dataset, chosen) if "class_prior" in first.told else None
    return _Handout(first.dataset.folder(), chosen.train, labels, chosen.seen, chosen.unseen, asked, unlabelled, prior)


class OpenedHandout:
    """An opened handout: training data, and queries made when they are put; the parcel is empty afterwards.

    BadData says that the arrays of the data set cannot be had on this machine.
    """

    def __init__(self, parcel: PackedHandout) -> None:
        if parcel.error:
            raise BadData(parcel.error)
        self._sealed = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `__exit__`)
        self._sealed.write(parcel.packed)
        parcel.packed = b""
        self.folder = _folder(parcel.batch.first.first.dataset, self._handout().folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._sealed.close()

    def train(self, told: Container[str] = ()) -> Train:
        """Return what `Method.fit` receives: training rows, the seen classes, and what the method is `told`."""
        handout = self._handout()
        unlabelled, prior = (getattr(handout, name) if name in told else None for name in ("unlabelled", "class_prior"))
        return Train(
            self._features(handout.rows),
            copy_rows(handout.labels),
            self._classes(handout.seen),
            self._classes(handout.unseen) if "unseen" in told else None,
            None if unlabelled is None else self._features(unlabelled),
            None if prior is None else copy_rows(prior),
        )

    def query(self, run: Run) -> Query:
        """Return what `Method.scores` receives for a run."""
        return Query(features=self._features(self._handout().asked[run.id].rows), classes=self.candidates(run))

    def candidates(self, run: Run) -> ClassTable:
        """Return the candidates of a run, in the order of its query."""
        return self._classes(self._handout().asked[run.id].classes)

    def in_order(self, runs: Sequence[Run]) -> list[Run]:
        """Return runs in the order in which they are asked: those whose queries mix seen and unseen rows first.

        One fit answers all: a query of unseen rows alone must not come before one in which they are to be told apart.
        """
        asked = self._handout().asked
        return sorted(runs, key=lambda run: not asked[run.id].mixed)

    def part(self, run: Run) -> IntArray:
        """Return (r,) random places in a run's query, of which the scores are looked at once more."""
        return self._handout().asked[run.id].part

    def unseen_candidates(self, run: Run) -> BoolArray:
        """Return (k,) which candidates of a run are unseen classes."""
        return self._handout().asked[run.id].unseen

    def condensed(self, run: Run, scores: Array) -> Mapping[str, AnyArray]:
        """Return what of (m, k) scores is judged (see `Protocol.condense`)."""
        of_run = self._handout().asked[run.id]
        shown = len(of_run.rows), of_run.classes, of_run.unseen
        del of_run  # a traceback shows no rows
        return protocol_of(run).condense(*shown, scores)

    def unseen(self) -> ClassTable:
        """Return the unseen classes, ascending."""
        return self._classes(self._handout().unseen)

    def _handout(self) -> _Handout:
        self._sealed.seek(0)
        handout: _Handout = pickle.load(self._sealed)
        return handout

    def _features(self, rows: IntArray) -> Array:
        features = array_store.load_array(self.folder, "features")
        assert features is not None
        return copy_rows(features, rows)

    def _classes(self, ids: IntArray) -> ClassTable:
        semantics, original = (array_store.load_array(self.folder, name) for name in ("semantics", "original"))
        assert semantics is not None
        return ClassTable(
            copy_rows(ids), copy_rows(semantics, ids), None if original is None else copy_rows(original, ids)
        )


def _folder(ref: DatasetRef, of_coordinator: Path) -> Path:
    """Return the folder of the data set's arrays on this machine.

    A machine that does not have it reads the source in a process of its own, since that reads the labels, too.
    """
    if (folder := array_store.find_arrays(ref.fingerprint)) is not None:
        return folder
    if array_store.is_intact(of_coordinator):
        return of_coordinator
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.curdir for entry in sys.path)}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=pickle.dumps(ref), capture_output=True, env=environment, check=False)
    if done.returncode:
        raise BadData(last_line(done.stderr.decode("utf-8", "replace")) or f"{ref.text} cannot be read here.")
    return ref.folder()  # reads the source only where the store cannot be written


if __name__ == "__main__":  # the process that `_folder` starts: it reads a data set into the store of this machine
    try:
        pickle.load(sys.stdin.buffer).folder()
    except ZslbenchError as error:
        sys.exit(str(error))
