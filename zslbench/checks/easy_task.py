"""An easy task: classes are far apart and features are an affine map of semantics. Every method should solve it."""

from __future__ import annotations

import dataclasses

import numpy as np

from zslbench import seeding
from zslbench.arrays import Array, IntArray, copy_rows
from zslbench.methods.base import Method
from zslbench.task import ClassTable, Train

SEEN, UNSEEN = 32, 16
ATTRIBUTES, FEATURES = 8, 48
TRAIN_ROWS, TEST_ROWS = 20, 6
OFFSET = 1.0
NOISE = 0.2
CHANCE = 1 / UNSEEN
BOUND = 5 * CHANCE
"""Without a link from features to semantics, accuracy on unseen classes stays below this.

Rows of one class are predicted alike, so the number of classes hit by chance is about Poisson(1): five or more of the
16 would come up once in 270 draws, and the draw here is fixed.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class EasyTask:
    """A training set, test rows of seen and unseen classes mixed, and their labels. All arrays are read-only.

    Attributes:
        classes: all classes, seen ones first.
    """

    train: Train
    unseen: ClassTable
    features: Array
    labels: IntArray
    classes: ClassTable

    @property
    def candidates(self) -> ClassTable:
        """Seen and unseen classes in mixed order."""
        return _copy(self.classes, seeding.stream(0, "easy candidates").permutation(len(self.classes)))

    def train_for(self, method: Method) -> Train:
        """Return what a method is fitted on: with the unseen classes, their rows and shares if it is told them."""
        told = method.told
        return dataclasses.replace(
            self.train,
            unseen=self.unseen if "unseen" in told else None,
            unlabelled=copy_rows(self.features, self.unseen_rows) if "unlabelled" in told else None,
            class_prior=np.full(UNSEEN, 1 / UNSEEN, dtype=np.float32) if "class_prior" in told else None,
        )

    @property
    def unseen_rows(self) -> IntArray:
        """Test rows of unseen classes."""
        return np.flatnonzero(np.isin(self.labels, self.unseen.ids))


def easy_task(seed: int = 0, shuffled: bool = False, shared_space: bool = False) -> EasyTask:
    """Return the task drawn from `seed`; with `shuffled`, every class gets the semantics of another class.

    With `shared_space`, the semantics are as long as the features, which are noisy copies of them.
    """
    rng = seeding.stream(seed, "easy task")
    count = SEEN + UNSEEN
    ids = rng.permutation(10 * count)[:count].astype(np.int64)
    semantics = rng.standard_normal((count, FEATURES if shared_space else ATTRIBUTES))
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    original = semantics * seeding.stream(seed, "easy lengths").uniform(2, 3, (count, 1))  # as in xlsa17
    means = semantics if shared_space else OFFSET + semantics @ rng.standard_normal((ATTRIBUTES, FEATURES))
    described = np.arange(count)
    if shuffled:  # a cycle through all classes in random order, so no class keeps its semantics
        cycle = seeding.stream(seed, "easy shuffle").permutation(count)
        described[cycle] = np.roll(cycle, 1)
    classes = ClassTable(ids, semantics[described].astype(np.float32), original[described].astype(np.float32))

    def draw_rows(positions: IntArray) -> tuple[Array, IntArray]:
        order = rng.permutation(positions)
        noise = NOISE * rng.standard_normal((len(order), FEATURES))
        return copy_rows(np.maximum(means[order] + noise, 0.0).astype(np.float32)), copy_rows(ids, order)

    features, labels = draw_rows(np.repeat(np.arange(SEEN), TRAIN_ROWS))
    train = Train(features, labels, _copy(classes, np.arange(SEEN)))
    features, labels = draw_rows(np.repeat(np.arange(count), TEST_ROWS))
    return EasyTask(train, _copy(classes, np.arange(SEEN, count)), features, labels, classes)


def relabelled(task: EasyTask, seed: int) -> EasyTask:
    """Return the same task with other class ids and with the class tables in another order."""
    rng = seeding.stream(seed, "easy relabelling")
    ids = rng.permutation(100 * len(task.classes))[: len(task.classes)].astype(np.int64)
    classes = dataclasses.replace(task.classes, ids=ids)
    labels, asked = (copy_rows(ids, task.classes.positions(given)) for given in (task.train.labels, task.labels))
    train = Train(task.train.features, labels, _copy(classes, rng.permutation(SEEN)))
    unseen = _copy(classes, SEEN + rng.permutation(UNSEEN))
    return EasyTask(train, unseen, task.features, asked, classes)


def _copy(classes: ClassTable, rows: IntArray) -> ClassTable:
    """Return some rows of a table as read-only copies."""
    assert classes.original is not None
    return ClassTable(
        copy_rows(classes.ids, rows), copy_rows(classes.semantics, rows), copy_rows(classes.original, rows)
    )
