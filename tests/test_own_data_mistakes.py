"""What users' files do by mistake: index columns, empty arrays, numbers that mean nothing, classes without names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import own_data
import pandas as pd
import pytest
from data_folders import column, images, refusal, splits, write_changed, write_folder
from own_data import NAMES, arrays, make, refuse
from scipy.io import savemat

import zslbench
from zslbench import seeding, spec
from zslbench.data import load_dataset
from zslbench.data.own.add import add
from zslbench.data.own.matrices import check_class_names
from zslbench.data.splits import FOLD_SEED, class_folds, seen_split, split
from zslbench.errors import BadData, BadSpec, BadValue

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("index", [True, "unnamed", False])
def test_an_index_that_pandas_writes_is_no_feature(tmp_path: Path, turned: bool, index: bool | str) -> None:
    """Written as pandas does by default, after a round trip, and turned without an index, where its header counts."""
    content = arrays()
    for role in ("features", "semantics"):
        frame = pd.DataFrame(content[role].T if turned else content[role])
        if index == "unnamed":
            frame = frame.rename(columns=str).reset_index(names="Unnamed: 0")
        frame.to_csv(tmp_path / f"{role}.csv", index=index is True)
    report = make(features=str(tmp_path / "features.csv"), semantics=str(tmp_path / "semantics.csv"))
    dataset = load_dataset("birds")
    np.testing.assert_allclose(dataset.features, content["features"], rtol=1e-6)
    np.testing.assert_allclose(dataset.semantics, content["semantics"], rtol=1e-6)
    assert "6-d features, 3-d semantics" in report.added.summary
    cut = [remark for remark in report.remarks if "only counts the others" in remark]
    assert len(cut) == 2


def test_names_of_classes_of_which_some_are_numbers(tmp_path: Path) -> None:
    table, names = arrays()["semantics"], ("7", "10", "rose", *NAMES[3:])
    rows = [f"{name},{','.join(map(repr, row.tolist()))}\n" for name, row in zip(names, table, strict=True)]
    (tmp_path / "s.csv").write_text("".join(rows))
    sentence = refuse(semantics=tmp_path / "s.csv", classes=list(names), unseen=3)
    assert "row 3, column 1 is 'rose', not a number; correct it, or if it is a name" in sentence
    (tmp_path / "s.csv").write_text("".join(reversed(rows)))
    make(semantics=tmp_path / "s.csv", classes=list(names), unseen=3)
    np.testing.assert_allclose(load_dataset("birds").semantics, table, rtol=1e-6)


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_is_no_feature(tmp_path: Path, first: int) -> None:
    content = arrays()
    counted = {
        role: np.column_stack([np.arange(first, len(content[role]) + first), content[role]])
        for role in ("features", "semantics")
    }
    expected = make("plain").added.fingerprints
    assert make("rows", **counted).added.fingerprints == expected
    assert make("columns", **{role: table.T for role, table in counted.items()}).added.fingerprints == expected
    np.savetxt(tmp_path / "x.csv", counted["features"], delimiter=",")
    assert list(make("text", features={"features": str(tmp_path / "x.csv")}).added.fingerprints) == list(expected)


def test_labels_and_names_with_an_index(tmp_path: Path) -> None:
    labels = arrays()["labels"]
    expected = make("plain").added.fingerprints
    pd.Series(labels, name="label").to_csv("numbers.csv")
    pd.Series([NAMES[label] for label in labels], name="label").to_csv("names.csv")
    pd.Series(labels).to_csv("bare.csv", header=False)
    pd.Series(NAMES, name="class").to_csv("classes.csv")
    for given in ("numbers.csv", "names.csv", "bare.csv"):
        added = make(given, labels=given, classes="classes.csv" if given == "names.csv" else NAMES).added
        assert (added.fingerprints, added.class_names) == (expected, NAMES)


def test_an_index_of_semantics_that_is_out_of_order_is_refused(tmp_path: Path) -> None:
    """Its numbers may name the classes, whose order then is not that of the rows."""
    pd.DataFrame(arrays()["semantics"], index=[3, 1, 0, 2, 7, 6, 5, 4]).to_csv(tmp_path / "att.csv")
    assert "no name in the header" in refuse(semantics=str(tmp_path / "att.csv"), classes=None)


@pytest.mark.parametrize(("shape", "kind"), [
    ((0,), "f8"), ((0, 3), "i8"), ((40, 0), "f8"), ((8, 0), "<U3"), ((0, 0), "i8"), ((0, 40, 1), "<U3"),
])  # fmt: skip
def test_every_empty_input_is_a_sentence(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    empty = np.zeros(shape, dtype=kind)
    np.save(tmp_path / "x.npy", empty)
    np.savez(tmp_path / "x.npz", x=empty)
    for role in ("features", "labels", "semantics", "classes"):
        for given in (empty, tmp_path / "x.npy", tmp_path / "x.npz"):
            assert "are empty" in refuse(**{role: given})
    for part in ("trainval", "test_seen", "test_unseen", "unseen"):
        lists = {"trainval": [0], "test_seen": [1], "test_unseen": [2]} if part != "unseen" else {}
        np.savez(tmp_path / "split.npz", **(lists | {part: empty}))
        for given in (lists | {part: empty}, tmp_path / "split.npz"):
            refuse(splits=given)
    refuse(unseen=empty)
    refuse(unseen=[], folds=1)


@pytest.mark.parametrize("key", ["features", "labels", "att", "original_att", "trainval_loc", "test_seen_loc"])
def test_every_empty_array_of_a_folder_is_a_sentence(tmp_path: Path, key: str) -> None:
    for shape in [(0, 0), (0, 1), (0, 36), (5, 0), (0, 6), (3, 0)]:
        refusal(load_dataset, str(write_changed(tmp_path / "mine", **{key: np.zeros(shape)})))


@pytest.mark.parametrize(("texts", "drop", "why"), [
    ({"trainclasses1.txt": "", "valclasses1.txt": ""}, (), "fold 1 has 0"),
    ({"allclasses.txt": "\n"}, ("allclasses_names",), "0 class names"),
])  # fmt: skip
def test_an_empty_list_of_classes_is_a_sentence(tmp_path: Path, texts: Any, drop: Any, why: str) -> None:
    assert why in refusal(load_dataset, str(write_folder(tmp_path / "mine", texts=texts, drop=drop)))


def test_an_empty_label_file_on_the_command_line(tmp_path: Path, typed: Any) -> None:
    files = own_data.write(tmp_path, "npy")
    np.save(files["labels"], np.zeros(0))
    sentence = f"Error: {files['labels']}: labels are empty (0); nothing can be made of them.\n"
    assert typed("data", "add", "birds", *own_data.options(files))[::2] == (2, sentence)


DIGITS = "9" * 5000


def test_numbers_of_thousands_of_digits_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join([f"{DIGITS} auk", *NAMES[1:]]), encoding="utf-8")
    assert make("long", classes=str(tmp_path / "names.txt")).added.class_names[0] == f"{DIGITS} auk"
    (tmp_path / "labels.txt").write_text("\n".join([DIGITS] * 40), encoding="utf-8")
    assert "not a class" in refuse(labels=str(tmp_path / "labels.txt"))
    (tmp_path / "x.csv").write_text("\n".join([f"{DIGITS},1"] * 40), encoding="utf-8")
    assert "infinity" in refuse(features=str(tmp_path / "x.csv"))
    for text in (f'{{"unseen": [{DIGITS}]}}', f'{{"base": {DIGITS}}}', f'{{"trainval": [{DIGITS}]}}'):
        (tmp_path / "split.json").write_text(text, encoding="utf-8")
        assert "cannot be read" in refuse(splits=tmp_path / "split.json")
    (tmp_path / "split.json").write_text('{"unseen": [1, 2], "unseen": [3, 4]}')
    assert "it has the key 'unseen' 2 times" in refuse(splits=tmp_path / "split.json")
    number = 10**5000
    assert "not a class" in refuse(splits={"unseen": [number, 1]})
    assert "whole numbers" in refuse(splits={"trainval": [number], "test_seen": [1], "test_unseen": [2]})
    for changed in ({"unseen": f"{DIGITS},1"}, {"unseen": [number, 1]}):
        assert "not a class" in refuse(**changed)
    for changed in ({"unseen": number}, {"seed": number}, {"folds": number}, {"unseen": f"{DIGITS}%"}):
        refuse(BadValue, **changed)


@pytest.mark.parametrize(
    "text", ["gamma={}", "gamma=-{}", "gamma=.{}", "gamma=[1,{}]", "gamma=[1..{}]", "gamma=[{}..1]"]
)
def test_numbers_of_thousands_of_digits_in_a_spec(text: str) -> None:
    sentence = refusal(spec.parse, f"eszsl[{text.format(DIGITS)}]", kind=BadSpec)
    assert "at most 300 digits" in sentence
    assert len(sentence) < 1000
    assert spec.parse("eszsl[gamma=0.00001234567890123456789]").params == {"gamma": 1.234567890123456789e-05}


def draw_by_loop(rows: np.ndarray, labels: np.ndarray, seed: int, purpose: str) -> list[int]:
    """Return a fifth of the rows of each class, the only row of a class excepted."""
    stream, drawn = seeding.stream(seed, purpose), []
    for label in np.unique(labels[rows]):
        members = stream.permutation(rows[labels[rows] == label])
        drawn += members[: min(max(round(0.2 * len(members)), 1), len(members) - 1)].tolist()
    return sorted(drawn)


def test_splits_are_those_of_a_loop_over_classes() -> None:
    digits = load_dataset("digits")
    rows = digits.trainval[np.isin(digits.labels[digits.trainval], class_folds(digits)[1].train)]
    chosen = split(digits, "dev", 2)
    assert chosen.asked_seen.tolist() == draw_by_loop(rows, digits.labels, FOLD_SEED, "held-out rows 2")
    assert chosen.train.tolist() == np.setdiff1d(rows, chosen.asked_seen).tolist()
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 40, 300)
    rows = np.sort(rng.choice(300, 250, replace=False))
    trainval, test_seen = seen_split(rows, labels, 5)
    assert test_seen.tolist() == draw_by_loop(rows, labels, 5, "split of seen images")
    assert sorted([*trainval, *test_seen]) == rows.tolist()


class Name(str):
    """A text that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_the_check_of_names_takes_time_by_their_number() -> None:
    names = [Name(f"name {number}") for number in range(5000)]
    assert len(check_class_names(names, "x")) == 5000
    assert Name.compared < 50_000  # each with each would be 12.5 million
    assert "'name 7' is listed 3 times" in refusal(check_class_names, [*names, names[7], names[7]], "x")


@pytest.mark.parametrize("first", [0, 1])
def test_classes_without_names_are_called_by_their_labels(tmp_path: Path, first: int) -> None:
    """One numbering, that of the user's file, in options, lists, records, figures and their data."""
    labels = arrays()["labels"] + first
    chosen = {first + 2, first + 5}
    text = ",".join(map(str, sorted(chosen)))
    named = ",".join(f"class {number}" for number in sorted(chosen))
    by_number, by_name, by_list, by_ids = (
        make(name, classes=None, labels=labels, unseen=given).added.load()
        for name, given in (("n", text), ("m", named), ("l", sorted(chosen)), ("i", np.array(sorted(chosen))))
    )
    assert set(labels[by_number.test_unseen]) == chosen
    for other in (by_name, by_list, by_ids):
        assert other.fingerprint == by_number.fingerprint
    assert zslbench.info("n").facts["unseen classes"] == named.replace(",", ", ")
    assert f"number from {first} to {first + 7}" in refuse(classes=None, labels=labels, unseen=f"{first + 8},{first}")
    zslbench.run("eszsl", "n", runs=tmp_path / "runs", protocols="zsl")
    there = zslbench.plot("perclass", runs=tmp_path / "runs")
    assert {(row["class"], row["class name"]) for row in there.rows} == {
        (number, f"class {number}") for number in chosen
    }
    assert "was not found" not in " ".join(map(str, there.caption))
    zslbench.data.remove("n")
    gone = zslbench.plot("perclass", runs=tmp_path / "runs")
    assert gone.rows == there.rows
    assert "classes are called by the numbers of its labels" in " ".join(map(str, gone.caption))
    for kind in ("perclass", "confusion"):
        only = zslbench.plot(kind, runs=tmp_path / "runs", classes=[str(first + 5)])
        assert {row["class name"] for row in only.rows} == {f"class {first + 5}"}


def test_a_folder_without_names_is_called_by_its_labels_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "nameless", drop=("allclasses_names",), texts={})
    zslbench.run("eszsl", "./nameless", "zsl", runs=tmp_path / "runs")
    beside = zslbench.plot("perclass", runs=tmp_path / "runs", datasets=["./nameless"])
    assert {(row["class"], row["class name"]) for row in beside.rows} == {(2, "class 2"), (5, "class 5")}
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    away = zslbench.plot("perclass", runs=tmp_path / "runs")
    assert away.rows == beside.rows
    assert "was not found" not in " ".join(map(str, beside.caption))
    assert "The data set was not found" in " ".join(map(str, away.caption))


def test_attributes_that_tell_nothing_are_told(tmp_path: Path) -> None:
    table = arrays()["semantics"]
    odd = np.column_stack([table, np.full(8, 0.5), table[:, 1], np.zeros(8)])
    report = make(semantics={"odd": odd})
    text = " ".join(report.remarks)
    assert "semantics odd: 2 of 6 columns are the same for every class (first: column 4)" in text
    assert "semantics odd: 1 of 6 columns repeat another one" in text
    assert "semantics semantics:" not in " ".join(make("plain").remarks)
    folder = write_folder(tmp_path / "mine", None, {"att": np.vstack([splits()["att"], np.ones(6)])})
    assert "1 of 4 columns are the same" in " ".join(add("folder", source=folder).remarks)


def test_numbers_that_float32_turns_into_zero_are_refused(tmp_path: Path) -> None:
    tiny, table = (arrays()[key].astype(np.float64) for key in ("features", "semantics"))
    tiny[3] *= 1e-60
    assert "1 rows (first: 4) hold numbers so small" in refuse(features=tiny)
    table[:, 1] = 1e-50 * np.arange(1, 9)
    assert "1 columns (first: 2) hold numbers so small" in refuse(semantics=table)
    for changed in ({"features": images()["features"] * 1e-50}, {"att": splits()["att"] * 1e-50}):
        sentence = refusal(load_dataset, str(write_changed(tmp_path / "mine", **changed)))
        assert "hold numbers so small that float32 rounds them to 0" in sentence
    some = arrays()["features"].astype(np.float64)
    some[0, 0] = 1e-60  # one of many is a zero as others are
    some[5] = 0.0
    assert make("some", features=some).added.load().features[0, 0] == 0


def test_transposed_semantics_are_refused(tmp_path: Path) -> None:
    """With as many attributes as classes, or more, every label has a column of the turned table."""
    rng = np.random.default_rng(0)
    for drop, why in (((), "class names for 9|looks transposed"), (("allclasses_names",), "looks transposed")):
        square = write_folder(tmp_path / "square", None, {"att": rng.random((6, 6))}, texts={}, drop=drop)
        load_dataset(str(square))  # nothing tells
        with pytest.raises(BadData, match=why):
            load_dataset(str(write_folder(tmp_path / "turned", None, {"att": rng.random((6, 9))}, texts={}, drop=drop)))


@pytest.mark.parametrize(("left", "end"), [(0, "first"), (35, "last")])
def test_a_split_that_misses_one_end_is_refused(tmp_path: Path, left: int, end: str) -> None:
    given = splits()
    for key in ("trainval_loc", "test_seen_loc", "test_unseen_loc"):
        given[key] = column([number for number in given[key].ravel() if number != left + 1])
    folder = write_folder(tmp_path / "mine", None, given)
    assert f"of 36 images only the {end} is in no part" in refusal(load_dataset, str(folder))
    whole = make("whole", splits={"unseen": [0, 1]}).added.load()

    def without(image: int) -> dict[str, list[int]]:
        parts = ("trainval", "test_seen", "test_unseen")
        return {part: [row for row in getattr(whole, part).tolist() if row != image] for part in parts}

    (tmp_path / "s.json").write_text(json.dumps(without(0)), encoding="utf-8")
    assert "only the first is in no part" in refuse(splits=tmp_path / "s.json")
    assert any("1 of 40 images" in remark for remark in make("mid", splits=without(20)).remarks)


def test_a_data_set_that_is_made_anew_is_not_taken_from_memory(tmp_path: Path) -> None:
    """One process, as a notebook is: the second run is of what was added last."""
    fingerprints = set()
    for seed in (0, 1):
        added = make("again", seed=seed).added
        outcome = zslbench.run("eszsl", "again", runs=tmp_path / "runs")
        assert outcome.records[0].dataset["fingerprint"] in added.fingerprints.values()
        fingerprints |= set(added.fingerprints.values())
        zslbench.data.remove("again")
    assert len(fingerprints) == 2


@pytest.mark.parametrize("kind", ["npz", "h5", "mat"])
def test_names_of_arrays_cannot_steer_a_terminal(tmp_path: Path, kind: str, typed: Any) -> None:
    names = ("a\x1b[31mRED", "b\x1b]0;title\x07", "c\x9b2J\u202e")
    path = tmp_path / f"x.{kind}"
    if kind == "npz":
        np.savez(path, **dict.fromkeys(names, np.zeros(3)))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            for name in names:
                file.create_dataset(name, data=np.zeros(3))
    else:
        savemat(path, {name.replace("\u202e", ""): np.zeros(3) for name in names})
    files = own_data.write(tmp_path, "npy")
    for given in (str(path), f"{path}:{names[0]}x"):
        code, out, err = typed("data", "add", "birds", *own_data.options(files, features=given))
        assert code == 2
        assert [mark for mark in out + err if not mark.isprintable() and mark != "\n"] == []
        assert len(err.splitlines()) == 1
