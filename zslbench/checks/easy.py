"""An easy task: classes far apart, features an affine map of semantics. Any method should be far above chance on it."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array, IntArray, taken
from zslbench.task import ClassTable, Train

SEEN, UNSEEN = 32, 16
ATTRIBUTES, FEATURES = 8, 48
TRAIN_ROWS, TEST_ROWS = 20, 6
OFFSET = 1.0
NOISE = 0.2
CHANCE = 1 / UNSEEN
BOUND = 5 * CHANCE
"""What accuracy on unseen classes stays below without a link from features to semantics.

Rows of one class are predicted alike, so the number of classes hit by chance is about Poisson(1): five or more of the
16 would come up once in 270 draws, and the draw here is fixed.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class EasyTask:
    """A training set, test rows of seen and unseen classes mixed, and their labels. All arrays are read-only."""

    train: Train
    unseen: ClassTable
    features: Array
    labels: IntArray

    @property
    def candidates(self) -> ClassTable:
        """Seen and unseen classes, mixed."""
        seen = self.train.classes
        order = seeding.stream(0, "easy candidates").permutation(len(seen) + len(self.unseen))
        return _taken(_joined(seen, self.unseen), order)

    @property
    def unseen_rows(self) -> IntArray:
        """Test rows of unseen classes."""
        return np.flatnonzero(np.isin(self.labels, self.unseen.ids))


def easy_task(seed: int = 0, shuffled: bool = False) -> EasyTask:
    """Return the task drawn from `seed`; `shuffled` hands the semantics to the wrong classes, with no fixed point."""
    rng = seeding.stream(seed, "easy task")
    classes = SEEN + UNSEEN
    ids = rng.permutation(10 * classes)[:classes].astype(np.int64)
    semantics = rng.standard_normal((classes, ATTRIBUTES))
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    original = semantics * seeding.stream(seed, "easy lengths").uniform(2, 3, (classes, 1))  # as in xlsa17
    means = OFFSET + semantics @ rng.standard_normal((ATTRIBUTES, FEATURES))
    told = _derangement(seeding.stream(seed, "easy shuffle"), classes) if shuffled else np.arange(classes)
    table = ClassTable(ids, semantics[told].astype(np.float32), original[told].astype(np.float32))

    def rows(positions: IntArray) -> tuple[Array, IntArray]:
        order = rng.permutation(positions)
        noise = NOISE * rng.standard_normal((len(order), FEATURES))
        features = np.maximum(means[order] + noise, 0.0).astype(np.float32)
        return taken(features, np.arange(len(order))), taken(ids, order)

    seen, unseen = np.arange(SEEN), np.arange(SEEN, classes)
    features, labels = rows(np.repeat(seen, TRAIN_ROWS))
    train = Train(features, labels, _taken(table, seen))
    features, labels = rows(np.repeat(np.arange(classes), TEST_ROWS))
    return EasyTask(train, _taken(table, unseen), features, labels)


def relabelled(task: EasyTask, seed: int) -> EasyTask:
    """Return the same task with other class ids and the class tables in another order."""
    rng = seeding.stream(seed, "easy relabelling")
    old = _joined(task.train.classes, task.unseen).ids
    new = rng.permutation(100 * len(old))[: len(old)].astype(np.int64)
    sorted_old, sorted_new = np.sort(old), new[np.argsort(old)]

    def mapped(labels: IntArray) -> IntArray:
        return taken(sorted_new, np.searchsorted(sorted_old, labels))

    def table(classes: ClassTable) -> ClassTable:
        order = rng.permutation(len(classes))
        return _taken(dataclasses.replace(classes, ids=mapped(classes.ids)), order)

    train = Train(task.train.features, mapped(task.train.labels), table(task.train.classes))
    return EasyTask(train, table(task.unseen), task.features, mapped(task.labels))


def _joined(first: ClassTable, second: ClassTable) -> ClassTable:
    assert first.original is not None
    assert second.original is not None
    return ClassTable(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.semantics, second.semantics]),
        np.concatenate([first.original, second.original]),
    )


def _taken(classes: ClassTable, rows: IntArray) -> ClassTable:
    """Return some rows of a table as read-only copies."""
    assert classes.original is not None
    return ClassTable(taken(classes.ids, rows), taken(classes.semantics, rows), taken(classes.original, rows))


def _derangement(rng: np.random.Generator, size: int) -> IntArray:
    """Return a random permutation without a fixed point: a shuffle of a cycle."""
    order = rng.permutation(size)
    out = np.empty(size, dtype=np.int64)
    out[order] = np.roll(order, 1)
    return out
