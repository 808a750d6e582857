"""Nothing of the test reaches a method: a spy keeps all that it receives, and the world behind the test is changed.

Two worlds share their training rows and differ in everything else: how many test images there are, of which classes,
with which features and labels. Whatever `fit` and `checkpoint` receive must be the same, byte for byte, in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import spied
from data_folders import column, write_folder
from scipy.io import loadmat
from scipy.stats import kstest, mannwhitneyu
from spies import PryingSpy, SemanticSpy, Spy, ToldSpy, TransductiveSpy

import zslbench
from zslbench.data import array_store
from zslbench.data.dataset import Dataset, Fold
from zslbench.data.loading import load_dataset
from zslbench.data.splits import class_folds, split, unlabelled_rows
from zslbench.errors import BadValue
from zslbench.methods.base import Setting
from zslbench.registry import PROTOCOLS
from zslbench.results.records.store import ResultStore
from zslbench.task import ClassTable, Train

SEEN, UNSEEN, PER_CLASS, WIDTH, ATTRIBUTES = 8, 3, 6, 4, 5


def write_world(folder: Path, test_seed: int) -> Path:
    """Write a data set: the training rows are always the same, the test is drawn by `test_seed`.

    The first feature of a row tells who it is: 1 to n for training rows, and above 1000 for test rows.
    """
    same, drawn = np.random.default_rng(0), np.random.default_rng(test_seed)
    trained = np.repeat(np.arange(SEEN), PER_CLASS)
    test_seen = drawn.integers(0, SEEN, 10 + 4 * test_seed)
    test_unseen = np.r_[np.arange(SEEN, SEEN + UNSEEN), drawn.integers(SEEN, SEEN + UNSEEN, 7 + 3 * test_seed)]
    labels = np.r_[trained, test_seen, test_unseen]
    features = np.r_[same.normal(size=(len(trained), WIDTH)), drawn.normal(size=(len(labels) - len(trained), WIDTH))]
    features[:, 0] = np.r_[np.arange(1, len(trained) + 1), 1001 + np.arange(len(labels) - len(trained))]
    attributes = same.random((ATTRIBUTES, SEEN + UNSEEN))
    attributes[:, SEEN:] = drawn.random((ATTRIBUTES, UNSEEN))
    numbers = np.arange(1, len(labels) + 1)
    names = np.array([[f"class{number}"] for number in range(SEEN + UNSEEN)], dtype=object)
    ends = np.cumsum([len(trained), len(test_seen), len(test_unseen)])
    return write_folder(
        folder,
        {"features": features.T, "labels": labels[:, None] + 1.0, "image_files": names},
        {
            "att": attributes,
            "allclasses_names": names,
            "trainval_loc": column(numbers[: ends[0]]),
            "test_seen_loc": column(numbers[ends[0] : ends[1]]),
            "test_unseen_loc": column(numbers[ends[1] :]),
        },
        texts={},
    )


SPIES = (Spy, TransductiveSpy)


@pytest.fixture(autouse=True)
def fresh() -> Callable[[], None]:
    """Forget what spies received, now and when it is called."""

    def forget() -> None:
        for cls in (*SPIES, SemanticSpy, ToldSpy, PryingSpy):
            cls.fits, cls.received, cls.answered = [], [], []
        spied.NOWHERE.asked.clear()

    forget()
    return forget


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [write_world(tmp_path_factory.mktemp("world") / "world", number) for number in (1, 2)]


def observe(spies: Sequence[type[Spy]], folder: Path, runs: Path, **given: Any) -> Dataset:
    """Run spies on a world; return the data set."""
    outcome = zslbench.run([f"spies:{cls.__name__}" for cls in spies], str(folder), runs=runs, **given)
    assert outcome.records, "nothing was run"
    assert not outcome.failed, outcome.failed[0].error
    return load_dataset(str(folder))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"checkpoints": "every:1"},
        {"checkpoints": "every:1", "protocols": ["zsl"]},
        {"checkpoints": "every:1", "protocols": ["gzsl"]},
        {"checkpoints": "every:1", "oracle": True},
        {"calibrate": True},
        {"calibrate": True, "protocols": ["gzsl"]},
        {"stage": "dev", "checkpoints": "every:1"},
        {"stage": "dev", "checkpoints": "every:1", "protocols": ["gzsl"]},
    ],
    ids=str,
)
def test_what_fit_and_checkpoint_receive_does_not_depend_on_the_test(
    tmp_path: Path, worlds: list[Path], fresh: Callable[[], None], given: dict[str, Any]
) -> None:
    received = []
    for number, folder in enumerate(worlds):
        fresh()
        dataset = observe(SPIES, folder, tmp_path / str(number), seeds=2, **{"protocols": ["zsl", "gzsl"]} | given)
        received.append([cls.received for cls in SPIES])
        for cls in SPIES:
            assert set(cls.answered) == {None}, "log and checkpoint give nothing back"
            for train in cls.fits:
                who = train.features[:, 0]
                assert (who < 1000).all()
                rows = who.astype(int) - 1
                assert np.array_equal(train.features, dataset.features[rows])
                assert np.array_equal(train.labels, dataset.labels[rows])
                assert set(train.classes.ids) == set(train.labels)
                assert type(train.features) is np.ndarray
                assert not train.features.flags.writeable
    assert received[0] == received[1]
    assert all(received[0])


@pytest.mark.parametrize("stage", ["final", "dev"])
def test_unseen_classes_reach_the_fits_of_semantic_points_alone(tmp_path: Path, worlds: list[Path], stage: Any) -> None:
    """Their ids and semantics, and not those of the test classes while a method is validated."""
    asked = ["spies:Spy", "spies:TransductiveSpy", "spies:SemanticSpy[shift=[0,1,2]]"]
    assert not zslbench.run(asked, str(worlds[0]), runs=tmp_path, stage=stage).failed
    dataset = load_dataset(str(worlds[0]))
    chosen = [split(dataset, stage, fold) for fold in ([1, 2, 3] if stage == "dev" else [0])]
    for cls in (Spy, TransductiveSpy, SemanticSpy):
        tables = [train.unseen for train in cls.fits]
        assert {(train.unlabelled, train.class_prior) for train in cls.fits} == {(None, None)}
        if cls is not SemanticSpy:
            assert tables == [None] * len(chosen)
            continue
        assert len(tables) == 3 * len(chosen)
        assert [table is None for table in tables].count(True) == len(chosen)
        known = [table for table in tables if table is not None]
        assert {tuple(table.ids) for table in known} == {tuple(each.unseen) for each in chosen}
        for table in known:
            assert np.array_equal(table.semantics, dataset.semantics[table.ids])
            assert table.semantics.base is None


@pytest.mark.parametrize("stage", ["final", "dev"])
def test_unlabelled_rows_reach_the_fits_that_declare_them_alone(tmp_path: Path, worlds: list[Path], stage: Any) -> None:
    """They are those asked about of unseen classes, shuffled, never a test row in the dev stage, and without labels."""
    asked = ["spies:Spy", "spies:TransductiveSpy", "spies:ToldSpy[shift=[0,1,2]]"]
    assert not zslbench.run(asked, str(worlds[0]), runs=tmp_path, stage=stage, protocols=["zsl", "gzsl"]).failed
    dataset = load_dataset(str(worlds[0]))
    chosen = [split(dataset, stage, fold) for fold in ([1, 2, 3] if stage == "dev" else [0])]
    assert {train.unlabelled is None for cls in SPIES for train in cls.fits} == {True}
    by_classes = {tuple(each.unseen): each for each in chosen}
    given = []
    for train in ToldSpy.fits:
        assert set(vars(train)) == {"features", "labels", "classes", "unseen", "unlabelled", "class_prior"}
        assert train.unseen is not None
        rows = by_classes[tuple(train.unseen.ids)].asked_unseen
        given.append((train.unlabelled is not None, train.class_prior is not None))
        if train.unlabelled is not None:
            assert type(train.unlabelled) is np.ndarray
            assert train.unlabelled.base is None
            assert not train.unlabelled.flags.writeable
            who = train.unlabelled[:, 0]
            assert sorted(who) == sorted(dataset.features[rows, 0])
            assert (who > 1000).all() == (stage == "final")
            assert not (np.diff(who) > 0).all()
        if train.class_prior is not None:
            shares = [np.mean(dataset.labels[rows] == label) for label in train.unseen.ids]
            assert train.class_prior.tolist() == pytest.approx(shares)
    assert sorted(given) == sorted([(False, False), (True, False), (True, True)] * len(chosen))
    records = ResultStore(tmp_path).load()
    oracle = {
        (record.method["params"]["shift"], record.protocol["name"])
        for record in records
        if record.selection == "oracle"
    }
    assert oracle == ({(1.0, "gzsl"), (2.0, "gzsl"), (2.0, "zsl")} if stage == "final" else set())


def test_a_fit_is_told_what_was_planned_and_its_class_is_asked_where_no_labels_are(
    tmp_path: Path, worlds: list[Path]
) -> None:
    assert not zslbench.run("spies:PryingSpy", str(worlds[0]), runs=tmp_path, protocols="zsl").failed
    ((given, prior),) = [(train.unlabelled, train.class_prior) for train in PryingSpy.fits]
    assert given is not None
    assert prior is None, "its row has no †"
    assert PryingSpy.pried == []
    (record,) = ResultStore(tmp_path).load()
    assert (record.selection, record.provenance["told"]) == ("fixed", ["unseen", "unlabelled"])


@pytest.mark.parametrize(
    ("told", "setting", "sentence"),
    [
        (("unlabelled",), Setting.SEMANTIC, r"told unlabelled in fit, and its setting is semantic, .* it transductive"),
        (("unseen",), Setting.INDUCTIVE, r"told unseen in fit, and its setting is inductive, .* make it semantic\."),
        (("unlabeled",), Setting.TRANSDUCTIVE, r"\('unlabeled',\); return a tuple of 'unseen', 'unlabelled' and"),
        ("unseen", Setting.TRANSDUCTIVE, r"is told 'unseen'; return a tuple"),
    ],
)
def test_a_method_that_is_told_more_than_its_rows_would_be_marked_for_is_refused(
    worlds: list[Path], monkeypatch: pytest.MonkeyPatch, told: Any, setting: Setting, sentence: str
) -> None:
    monkeypatch.setattr(ToldSpy, "told", told)
    monkeypatch.setattr(ToldSpy, "setting", setting)
    for call in (zslbench.run, zslbench.fit):
        with pytest.raises(BadValue, match=sentence):
            call("spies:ToldSpy", str(worlds[0]))


def test_the_order_of_unlabelled_rows_says_nothing_of_their_classes(worlds: list[Path]) -> None:
    """Rows stand in files sorted by class. Over many data sets the place of a class is as if drawn."""
    chosen = split(load_dataset(str(worlds[0])))
    p_values = []
    for seed in range(300):
        rows = np.arange(40)
        labels = np.sort(np.random.default_rng(seed).integers(0, 9, 40))
        data: Any = SimpleNamespace(labels=labels)
        shown = labels[unlabelled_rows(data, dataclasses.replace(chosen, asked_unseen=rows))]
        later = shown > np.median(labels)
        p_values.append(mannwhitneyu(np.flatnonzero(later), np.flatnonzero(~later)).pvalue)
    assert kstest(p_values, "uniform").pvalue > 1e-3


def test_the_comparison_of_worlds_would_see_a_leak(
    tmp_path: Path, worlds: list[Path], fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle of the test above: hand over one count of test images, and the two worlds part."""
    from zslbench.runner.handout import OpenedHandout

    real = OpenedHandout.train

    def leaking(material: OpenedHandout, told: Sequence[str] = ()) -> Train:
        train = real(material, told)
        object.__setattr__(train, "count", len(array_store.load_array(material.folder, "test_unseen")))
        return train

    monkeypatch.setattr(OpenedHandout, "train", leaking)
    received = []
    for number, folder in enumerate(worlds):
        fresh()
        observe([Spy], folder, tmp_path / str(number))
        received.append(Spy.received)
    assert received[0] != received[1]


@pytest.mark.parametrize("stage", ["final", "dev"])
@pytest.mark.parametrize("cls", [Spy, TransductiveSpy])
def test_scores_get_unlabelled_rows_in_one_batch(tmp_path: Path, cls: type[Spy], stage: Any) -> None:
    folder = write_world(tmp_path / "world", 3)
    dataset = observe([cls], folder, tmp_path / "runs", protocols=["zsl", "gzsl"], stage=stage, checkpoints="every:1")
    folds = range(1, len(class_folds(dataset)) + 1) if stage == "dev" else [0]
    asked = iter(spied.NOWHERE.asked)
    for fold in folds:
        chosen = split(dataset, stage, fold)
        sides = chosen.asked_seen, chosen.asked_unseen
        mixed, unseen = np.r_[sides], sides[1]
        for _ in range(Spy().epochs + 1):  # each checkpoint, and the end: first the mixed batch, then the unseen rows
            for rows, ids in ((mixed, np.r_[chosen.seen, chosen.unseen]), (unseen, chosen.unseen)):
                features, classes = next(asked)
                who = np.sort(features[:, 0])
                assert np.array_equal(who, np.sort(dataset.features[rows, 0]))
                assert np.array_equal(np.sort(classes.ids), np.sort(ids))
                assert features.base is None
                assert {type(one) for one in (features, classes)} == {np.ndarray, ClassTable}
                if cls is Spy:  # of an inductive method, a few rows are scored by themselves, too
                    part, same = next(asked)
                    assert same is classes
                    assert len(np.unique(part[:, 0])) == len(part) <= len(features)
                    assert np.isin(part, features).all()
                if stage == "dev":
                    assert (who < 1000).all(), "a test row was asked about in the dev stage"
    assert next(asked, None) is None, "scores was called once more"


@pytest.mark.parametrize("stage", ["final", "dev"])
@pytest.mark.parametrize("protocol", PROTOCOLS.builtin_names())
def test_neither_place_nor_order_tells_seen_from_unseen(tmp_path: Path, protocol: str, stage: Any) -> None:
    """Over many seeds, where unseen rows (and candidates) stand in a query is as if drawn: p-values are uniform."""
    from zslbench.protocols.protocol import Protocol

    dataset = load_dataset(str(write_world(tmp_path / "world", 20)))
    chosen = split(dataset, stage, 1)
    rules: Protocol = PROTOCOLS.load(protocol)()
    rows_p, classes_p, labels_p = [], [], []
    for seed in range(300):
        query, answers = rules.query(dataset, chosen, seed)
        assert query.features.shape == (len(answers.labels), WIDTH)
        of_unseen = np.isin(answers.labels, chosen.unseen)
        place = np.arange(len(of_unseen))
        if 0 < of_unseen.mean() < 1:
            rows_p.append(mannwhitneyu(place[of_unseen], place[~of_unseen]).pvalue)
        if 0 < answers.unseen.mean() < 1:
            at = np.arange(len(answers.unseen))
            classes_p.append(mannwhitneyu(at[answers.unseen], at[~answers.unseen]).pvalue)
        labels_p.append(mannwhitneyu(place[answers.labels > np.median(answers.labels)], place).pvalue)
    if protocol == "gzsl":
        assert kstest(rows_p, "uniform").pvalue > 1e-3
        assert np.mean(np.array(classes_p) < 0.05) < 0.12  # few candidates: discrete p-values, no uniform law
    assert np.mean(np.array(labels_p) < 0.01) < 0.06


def test_selection_reads_records_and_does_not_depend_on_the_test(tmp_path: Path, worlds: list[Path]) -> None:
    """Selection happens after all fits, from records: no fit, no checkpoint and no score comes of it."""
    chosen = []
    for number, folder in enumerate(worlds):
        runs = tmp_path / str(number)
        for stage in ("dev", "final"):
            observe([Spy], folder, runs, protocols=["zsl", "gzsl"], checkpoints="every:1", seeds=2, stage=stage)
        before = len(Spy.fits), len(Spy.received), len(spied.NOWHERE.asked)
        for rule in ("fixed", "validated", "oracle"):
            assert rule in zslbench.table(runs, selection=[rule], format="csv").text
        assert (len(Spy.fits), len(Spy.received), len(spied.NOWHERE.asked)) == before
        records = [record for record in ResultStore(runs).load() if record.stage == "dev"]
        facts = [(run.seed, run.fold, run.protocol["name"], dict(run.metrics), run.curve) for run in records]
        chosen.append(facts)
    assert chosen[0] == chosen[1]
    assert chosen[0]


def names_in(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def read_split(folder: Path) -> Dataset:
    """Read a real split by hand. Where there are no features (and so no labels), rows get classes of their own part."""
    raw = loadmat(folder / "att_splits.mat")
    rows = {key: raw[f"{key}_loc"].ravel().astype(np.int64) - 1 for key in ("trainval", "test_seen", "test_unseen")}
    classes, count = raw["att"].shape[1], max(map(np.max, rows.values())) + 1
    names = [str(name.item()) for name in raw["allclasses_names"].ravel()] if "allclasses_names" in raw else []
    features = [folder / file for file in ("fc1000.mat", "efflite0.mat") if (folder / file).exists()]
    if features:
        labels = loadmat(features[0], variable_names=["labels"])["labels"].ravel().astype(np.int64) - 1
        listed = np.unique(labels[rows["test_unseen"]])
    else:
        test = folder / "testclasses.txt"
        listed = np.array(
            [names.index(name) for name in names_in(test)] if test.exists() else range(classes - 20, classes)
        )
        labels = np.zeros(count, dtype=np.int64)
        for part, unseen in (("trainval", False), ("test_seen", False), ("test_unseen", True)):
            of_part = np.flatnonzero(np.isin(np.arange(classes), listed) == unseen)
            labels[rows[part]] = np.resize(of_part, len(rows[part]))
    folds = [
        Fold(*(np.sort([names.index(name) for name in names_in(file)]) for file in files))
        for files in ([folder / f"{kind}classes{n}.txt" for kind in ("train", "val")] for n in (1, 2, 3))
        if files[0].exists()
    ]
    assert set(np.unique(labels[rows["test_unseen"]])) <= set(listed.tolist())
    return Dataset(
        name=folder.name.lower(),
        features_name="rows",
        semantics_name="att",
        features=np.arange(len(labels), dtype=np.float32)[:, None],
        labels=labels,
        semantics=raw["att"].T.astype(np.float32),
        class_names=tuple(names) or tuple(f"class {number}" for number in range(classes)),
        folds=tuple(folds),
        **rows,
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["APY", "AWA1", "AWA2", "CUB", "FLO", "FLO_PART", "SUN"])
def test_real_dev_folds_share_no_class_and_no_row_with_the_test(real_data: Path, name: str) -> None:
    """From the split files themselves, read here by hand."""
    dataset = read_split(real_data / name)
    test_rows = np.r_[dataset.test_seen, dataset.test_unseen]
    test_classes = np.unique(dataset.labels[dataset.test_unseen])
    assert len(class_folds(dataset)) == 3
    for fold in range(1, 4):
        chosen = split(dataset, "dev", fold)
        used = np.r_[chosen.train, chosen.asked_seen, chosen.asked_unseen]
        assert not np.intersect1d(used, test_rows).size
        assert not np.intersect1d(np.r_[chosen.seen, chosen.unseen], test_classes).size
        assert not np.intersect1d(chosen.seen, chosen.unseen).size
        assert len(np.unique(used)) == len(used)
        if name == "CUB":
            assert (len(chosen.seen), len(chosen.unseen)) == (100, 50)
