"""Splits: the dev stage lies within trainval, shares nothing with the test, and is the same for everyone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.data.dataset import Dataset, Fold
from zslbench.data.loading import load_dataset
from zslbench.data.splits import class_folds, split
from zslbench.errors import BadValue
from zslbench.task import ClassTable


def made(seen: int, unseen: int, per_class: int, seed: int, folds: bool = False) -> Dataset:
    """Return a data set of random features whose rows are in random order."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(seen + unseen)
    labels = rng.permutation(np.repeat(classes, per_class))
    of_seen = np.flatnonzero(np.isin(labels, classes[:seen]))
    parts: dict[int, list[int]] = {}
    for row in of_seen:
        parts.setdefault(labels[row], []).append(row)
    test_seen = np.array([rows[0] for rows in parts.values()])
    trainval = np.setdiff1d(of_seen, test_seen)
    cut = max(1, seen // 3)
    return Dataset(
        name="made",
        features_name="random",
        semantics_name="random",
        features=rng.normal(size=(len(labels), 3)).astype(np.float32),
        labels=labels.astype(np.int64),
        semantics=rng.normal(size=(seen + unseen, 4)).astype(np.float32),
        class_names=tuple(f"c{number}" for number in range(seen + unseen)),
        trainval=rng.permutation(trainval),
        test_seen=test_seen,
        test_unseen=np.flatnonzero(np.isin(labels, classes[seen:])),
        folds=(Fold(np.sort(classes[cut:seen]), np.sort(classes[:cut])),) if folds else (),
    )


DATASETS = st.builds(
    made, st.integers(2, 12), st.integers(1, 6), st.integers(3, 8), st.integers(0, 10**6), st.booleans()
)


@settings(max_examples=50)
@given(DATASETS, st.integers(1, 3))
def test_dev_stays_within_trainval_and_keeps_its_sides_apart(dataset, fold):
    fold = 1 if dataset.folds else fold
    chosen = split(dataset, "dev", fold)
    parts = [chosen.train, chosen.asked_seen, chosen.asked_unseen]
    rows = np.concatenate(parts)
    assert len(np.unique(rows)) == len(rows)
    assert np.isin(rows, dataset.trainval).all()
    assert not np.isin(rows, np.r_[dataset.test_seen, dataset.test_unseen]).any()
    assert not np.intersect1d(chosen.seen, chosen.unseen).size
    assert np.array_equal(np.unique(dataset.labels[chosen.train]), chosen.seen)
    assert np.isin(dataset.labels[chosen.asked_seen], chosen.seen).all()
    assert np.array_equal(np.unique(dataset.labels[chosen.asked_unseen]), chosen.unseen)
    assert np.isin(np.r_[chosen.seen, chosen.unseen], dataset.seen).all()
    assert not np.isin(chosen.unseen, dataset.unseen).any()


@given(DATASETS)
def test_final_is_the_proposed_split(dataset):
    chosen = split(dataset)
    assert np.array_equal(chosen.train, dataset.trainval)
    assert np.array_equal(chosen.asked_seen, dataset.test_seen)
    assert np.array_equal(chosen.asked_unseen, dataset.test_unseen)


def test_fold_files_win_over_class_folds():
    dataset = made(9, 3, 4, 0, folds=True)
    assert np.array_equal(split(dataset, "dev").unseen, dataset.folds[0].val)
    bare = dataclasses.replace(dataset, folds=(), fingerprint="")
    assert len(class_folds(bare)) == 3
    assert all(len(fold.val) == round(9 * 3 / 12) for fold in class_folds(bare))
    with pytest.raises(BadValue, match=r"fold 2.*does not exist; choose 1 to 1"):
        split(dataset, "dev", 2)


def test_class_folds_are_the_same_for_everyone():
    dataset = load_dataset("digits")
    again = class_folds(load_dataset("digits"))
    for fold, same in zip(class_folds(dataset), again, strict=True):
        assert np.array_equal(fold.val, same.val)
    held = np.concatenate([fold.val for fold in again])
    assert len(np.unique(held)) == len(held)


@given(st.integers(1, 12), st.integers(0, 1000))
def test_class_tables_sort_and_look_up_whatever_the_ids_and_the_order(size, seed):
    rng = np.random.default_rng(seed)
    table = ClassTable(rng.permutation(100)[:size], rng.normal(size=(size, 3)).astype(np.float32))
    order = rng.permutation(size)
    other = ClassTable(rng.permutation(100)[:size], table.semantics[order])
    np.testing.assert_array_equal(table.semantics[table.canonical()], other.semantics[other.canonical()])
    labels = rng.choice(table.ids, 20)
    assert [list(table.ids).index(label) for label in labels] == table.positions(labels).tolist()
    with pytest.raises(KeyError):
        table.positions(np.array([100]))


def test_class_tables_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="do not match"):
        ClassTable(np.arange(3), np.zeros((2, 1), np.float32))
    with pytest.raises(ValueError, match="twice"):
        ClassTable(np.array([1, 1]), np.zeros((2, 1), np.float32))


def test_a_fold_without_a_row_to_hold_out_gets_a_sentence():
    dataset = made(4, 2, per_class=2, seed=0)
    assert len(split(dataset, "final").asked_seen) == 4
    with pytest.raises(BadValue, match="fold 1 of data set 'made' has one training image of each class"):
        split(dataset, "dev", 1)
