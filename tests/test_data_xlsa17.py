"""The xlsa17 reader: every variant is read, every kind of bad file is refused in one sentence."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from data_folders import FOLDS, column, images, refusal, splits, write_changed, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from zslbench.data import Dataset, load_dataset
from zslbench.data.splits import build_train, split
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import BadData, BadValue, DataMissing, ZslbenchError


def read(folder: Path, features: str = "res101", semantics: str = "att") -> Dataset:
    return read_folder(folder, name="mine", features=features, semantics=semantics)


def refused(folder: Path, kind: type[ZslbenchError] = BadData, **kwargs: str) -> str:
    return refusal(read, folder, kind=kind, **kwargs)


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    dataset = read(write_folder(tmp_path))
    first, second = images(), splits()
    assert dataset.features.dtype == np.float32
    assert dataset.features.flags.c_contiguous
    for row, number in ((0, 1), (17, 18), (35, 36)):
        np.testing.assert_array_equal(dataset.features[row], first["features"][:, number - 1].astype(np.float32))
        assert dataset.labels[row] + 1 == first["labels"][number - 1, 0]
    np.testing.assert_array_equal(dataset.semantics, second["att"].T.astype(np.float32))
    for key in ("trainval", "test_seen", "test_unseen"):
        written = [int(number) - 1 for number in second[f"{key}_loc"].ravel()]
        assert getattr(dataset, key).tolist() == written
        assert getattr(dataset, key).dtype == np.int64
    assert dataset.class_names == ("a_class", "b_class", "c_class", "d_class", "e_class", "f_class")
    assert dataset.seen.tolist() == [0, 2, 3, 5]
    assert dataset.unseen.tolist() == [1, 4]
    assert [(fold.train.tolist(), fold.val.tolist()) for fold in dataset.folds] == [([0, 2, 3], [5])]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_random_folders_round_trip(data: st.DataObject) -> None:
    seen, unseen = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    each, width, attributes = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    kind = data.draw(st.sampled_from([np.float32, np.float64]))
    order = rng.permutation(seen + unseen) + 1
    labels = rng.permutation(np.repeat(order, each))
    number = np.arange(1, labels.size + 1)
    is_seen = np.isin(labels, order[:seen])
    test_seen = np.array([number[labels == label][0] for label in order[:seen]])
    trainval = np.setdiff1d(number[is_seen], test_seen)
    matrix = rng.standard_normal((width, labels.size)).astype(kind)
    att = rng.standard_normal((attributes, seen + unseen)).astype(kind)
    parts = {"trainval": trainval, "test_seen": test_seen, "test_unseen": number[~is_seen]}
    locs = {f"{part}_loc": column(rows) for part, rows in parts.items()}
    with tempfile.TemporaryDirectory() as name:
        content = {"features": matrix, "labels": column(labels, np.uint8)}
        savemat(Path(name) / "f.mat", content, do_compression=bool(each % 2))
        savemat(Path(name) / "s_splits.mat", {"att": att, **locs})
        dataset = read(Path(name), "f", "s")
    np.testing.assert_array_equal(dataset.features.T, matrix.astype(np.float32))
    np.testing.assert_array_equal(dataset.semantics.T, att.astype(np.float32))
    np.testing.assert_array_equal(dataset.labels + 1, labels)
    assert set(dataset.seen + 1) == set(order[:seen])
    assert set(dataset.unseen + 1) == set(order[seen:])
    rows = np.concatenate([dataset.trainval, dataset.test_seen, dataset.test_unseen])
    assert sorted(rows) == list(range(labels.size))


def test_train_loc_and_val_loc_change_nothing(tmp_path: Path) -> None:
    plain = read(write_folder(tmp_path / "v2"))
    extra = {"train_loc": splits()["test_seen_loc"], "val_loc": splits()["test_unseen_loc"]}
    assert read(write_folder(tmp_path / "v1", semantics=extra)).fingerprint == plain.fingerprint


def test_original_attributes_are_kept_and_are_part_of_the_content(tmp_path: Path) -> None:
    att = splits()["att"]
    plain = read(write_folder(tmp_path / "plain"))
    first, second = (
        read(write_folder(tmp_path / f"times {k}", semantics={"original_att": att * k})) for k in (100, 10)
    )
    assert plain.original is None
    assert first.original is not None
    np.testing.assert_array_equal(first.original.T, (att * 100).astype(np.float32))
    assert len({plain.fingerprint, first.fingerprint, second.fingerprint}) == 3
    train = build_train(first, split(first, "final"))
    assert train.classes.original is not None
    np.testing.assert_array_equal(train.classes.original, first.original[first.seen])
    assert not np.shares_memory(train.classes.original, first.original)


def test_float32_float64_and_sparse_files_are_one_content(tmp_path: Path) -> None:
    matrix = images()["features"].astype(np.float32)
    double = matrix.astype(np.float64)
    variants = [{"features": given} for given in (matrix, double, csc_matrix(double))]
    variants.append({"features": matrix, "labels": images()["labels"].T})
    assert len({read(write_folder(tmp_path, variant)).fingerprint for variant in variants}) == 1


def test_large_locs_do_not_wrap(tmp_path: Path) -> None:
    count = 65535
    labels = np.repeat([1.0, 2.0], [count - 2, 2])
    parts = {"trainval": np.arange(1, count - 2), "test_seen": [count - 2], "test_unseen": [count, count - 1]}
    content = {f"{part}_loc": column(rows) for part, rows in parts.items()}
    content |= {"features": np.zeros((1, count), np.float32), "labels": labels[:, None], "att": np.eye(2)}
    folder = write_changed(tmp_path, **content, texts={}, drop=("allclasses_names",))
    assert read(folder).test_unseen.tolist() == [count - 1, count - 2]


def test_without_names_classes_are_numbered_or_named_by_allclasses_txt(tmp_path: Path) -> None:
    bare = write_folder(tmp_path / "bare", drop=("allclasses_names",), texts={})
    assert read(bare).class_names[:2] == ("class 1", "class 2")
    assert read(bare).folds == ()
    listed = FOLDS | {"allclasses.txt": "\n".join(f"{letter}_class" for letter in "abcdef")}
    named = read(write_folder(tmp_path / "named", drop=("allclasses_names",), texts=listed))
    assert named.class_names[5] == "f_class"
    assert len(named.folds) == 1


def test_names_saved_as_a_character_matrix_are_read(tmp_path: Path) -> None:
    names = np.array([f"{letter}_class{' ' * number}" for number, letter in enumerate("abcdef")])
    assert read(write_folder(tmp_path, semantics={"allclasses_names": names})).class_names[0] == "a_class"


# --- broken files and content -----------------------------------------------------------------------------------------


def test_missing_file_or_variable(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert "vgg19.mat" in refused(tmp_path, DataMissing, features="vgg19")
    assert "w2v_splits.mat" in refused(tmp_path, DataMissing, semantics="w2v")
    for stem in ("", "..", "a/b", "/etc/x", "a\\b"):
        assert "--features" in refused(tmp_path, BadValue, features=stem)
    for key in ("features", "labels", "att", "trainval_loc", "test_seen_loc", "test_unseen_loc"):
        message = refused(write_folder(tmp_path, drop=(key,)))
        assert f"lacks '{key}'" in message
        assert "it holds: " in message


@pytest.mark.parametrize(
    ("file", "why"), [("res101.mat", "cannot be read"), ("att_splits.mat", "an element of type 0")]
)
def test_a_file_that_is_cut_damaged_or_not_matlab(tmp_path: Path, file: str, why: str) -> None:
    path = write_folder(tmp_path) / file
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert str(path) in refused(tmp_path)
    path.write_bytes(whole[:200] + bytes(200) + whole[400:])
    assert why in refused(tmp_path)
    for content in (b"", b"hello", b"PK\x03\x04" + bytes(500), "Märchen".encode() * 100, bytes(4096)):
        path.write_bytes(content)
        assert "not a MATLAB file" in refused(tmp_path)


@pytest.mark.parametrize("block", [512, 0])
def test_matlab_7_3_file(tmp_path: Path, block: int) -> None:
    path = write_folder(tmp_path) / "res101.mat"
    path.unlink()
    with h5py.File(path, "w", userblock_size=block) as file:
        file["features"] = images()["features"]
    if block:
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    message = refused(tmp_path)
    assert "'-v7'" in message
    assert "savemat" in message


def change_loc(key: str, change: Any) -> dict[str, Any]:
    return {key: column(change(splits()[key].ravel().astype(np.int64)), np.int32)}


def spoil(array: np.ndarray, at: tuple[int, int], value: float) -> np.ndarray:
    array[at] = value
    return array


FEATURES, LABELS, ATT, NAMES = images()["features"], images()["labels"], splits()["att"], splits()["allclasses_names"]
TEST_SEEN = splits()["test_seen_loc"].ravel().astype(np.int64)
MOVED = int(splits()["test_unseen_loc"][0, 0])
SAME_CLASS = np.flatnonzero(LABELS.ravel() == LABELS[MOVED - 1, 0]) + 1
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"features": FEATURES[:, :-1]}, "35 columns (images) but there are 36 labels"),
    ({"features": FEATURES.T}, "transposed"),
    *(({"features": spoil(images()["features"], (2, 7), value)}, "first in row 7")
      for value in (np.nan, np.inf, -np.inf, 1e300)),
    ({"labels": LABELS - 1}, "labels must be 1-based, so add 1"),
    ({"labels": np.array([["x"]] * 36, dtype=object)}, "whole numbers"),
    ({"att": ATT[:, :5], "allclasses_names": NAMES[:5], "texts": {}}, "go up to 6 but att_splits.mat describes 5"),
    *(({"att": spoil(splits()["att"], (1, 4), value)}, "'e_class'") for value in (np.nan, np.inf)),
    ({"original_att": ATT[:, 1:]}, "original_att is (3, 5) where att is (3, 6)"),
    ({"original_att": np.where(ATT.max() == ATT, np.nan, ATT)}, "original attributes of class"),
    (change_loc("trainval_loc", lambda loc: np.append(loc, TEST_SEEN[:2])), "trainval and test_seen share 2 rows"),
    (change_loc("trainval_loc", lambda loc: np.append(loc, MOVED))
     | change_loc("test_unseen_loc", lambda loc: loc[loc != MOVED]), "1 unseen class has training images"),
    (change_loc("test_seen_loc", lambda loc: np.append(loc, SAME_CLASS))
     | change_loc("test_unseen_loc", lambda loc: np.setdiff1d(loc, SAME_CLASS)), "may hold seen classes only"),
    ({"allclasses_names": NAMES[:4]}, "att_splits.mat: 4 class names for 6"),
    ({"drop": ("allclasses_names",), "texts": {"allclasses.txt": "x\ny\nz\n"}}, "allclasses.txt: 3 class names for 6"),
    ({"allclasses_names": np.arange(6)[:, None]}, "allclasses_names"),
    ({"drop": ("allclasses_names",)}, "add allclasses.txt"),
    *(({"allclasses_names": np.array([[name], *([f"{n}"] for n in range(5))], dtype=object), "texts": {}},
       "cannot be printed") for name in ("\x1b[31mred", "a\u202eb", "a\x9bb")),
    *(({"texts": texts}, why) for texts, why in (
        (FOLDS | {"valclasses1.txt": "f_class\nzebra\n"}, "'zebra'"),
        ({"trainclasses2.txt": "a_class\n"}, "without valclasses2.txt"),
        (FOLDS | {"valclasses1.txt": "f_class\nf_class\n"}, "more than once"),
        (FOLDS | {"valclasses1.txt": "a_class\n"}, "both training and validation"),
        (FOLDS | {"valclasses1.txt": "b_class\n"}, "not among the seen classes"),
        (FOLDS | {"valclasses1.txt": "\n"}, "0 validation classes"),
    )),
    *(row for key in ("trainval_loc", "test_seen_loc", "test_unseen_loc") for row in (
        (change_loc(key, lambda loc: np.append(loc, 37)), f"{key} goes up to image 37 but there are 36"),
        (change_loc(key, lambda loc: np.append(loc, 0)), "1-based, so add 1"),
        (change_loc(key, lambda loc: np.append(loc, loc[0])), "more than once"),
        ({key: np.zeros((0, 1), np.uint16)}, key),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_content_that_breaks_a_rule(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    assert why in refused(write_changed(tmp_path, **changed))


def test_a_fold_file_that_is_not_text(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "valclasses1.txt").write_bytes(b"\xff\xfe\x00")
    assert "valclasses1.txt" in refused(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("key", "unit", "file"), [
    ("labels", "class", "res101.mat"), ("trainval_loc", "row", "att_splits.mat"),
    ("test_unseen_loc", "row", "att_splits.mat"),
])  # fmt: skip
def test_numbers_that_a_cast_would_change(tmp_path: Path, key: str, unit: str, file: str) -> None:
    for number, kind, why in (
        (np.nan, np.float64, " NaN or infinity;"),
        (np.inf, np.float64, " NaN or infinity;"),
        (-np.inf, np.float32, " NaN or infinity;"),
        (1e300, np.float64, f" a number that cannot be a {unit} number;"),
        (2.0**53, np.float64, f" a number that cannot be a {unit} number;"),
        (2**63 + 5, np.uint64, f" a number that cannot be a {unit} number;"),
        (-(2**63), np.int64, f" a number that cannot be a {unit} number;"),
        (2.5, np.float64, " 2.5;"),
        (2**53 - 1, np.int64, " up to "),  # exact, but there are 36 images of 6 classes
    ):
        values = (images() | splits())[key].astype(kind)
        values[3] = number
        message = refused(write_changed(tmp_path, **{key: values}))
        assert why in message
        assert f"{file}: {key} " in message


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_cub(real_data: Path) -> None:
    """Its counts are verified as it is loaded."""
    choose = functools.partial(load_dataset, "cub", features="fc1000", root=real_data)
    dataset, sent = (choose(semantics=semantics) for semantics in ("att", "sent"))
    assert dataset.fingerprint == choose(semantics="att").fingerprint != sent.fingerprint
    raw = loadmat(real_data / "CUB" / "fc1000.mat", variable_names=["features", "labels", "image_files"])
    assert (dataset.features.shape, dataset.semantics.shape, sent.semantics.shape) == (
        (11788, 1000), (200, 312), (200, 1024)
    )  # fmt: skip
    for name in ("features", "labels", "trainval", "test_seen", "test_unseen"):
        np.testing.assert_array_equal(getattr(dataset, name), getattr(sent, name))
    np.testing.assert_array_equal(dataset.features[[0, 5000, -1]], raw["features"].T[[0, 5000, -1]])
    for row in range(0, 11788, 97):  # the folder of each image is the name of its class
        assert dataset.class_names[dataset.labels[row]][:3] == str(raw["image_files"][row, 0][0])[:3]
    tested = (real_data / "CUB" / "testclasses.txt").read_text().split()
    assert {dataset.class_names[label] for label in dataset.unseen} == set(tested)
    assert [(len(fold.train), len(fold.val)) for fold in dataset.folds] == [(100, 50)] * 3
    shared = [np.intersect1d(a.val, b.val).size for a, b in itertools.combinations(dataset.folds, 2)]
    assert shared == [21, 14, 16]


@pytest.mark.realdata
def test_real_flowers_part(real_data: Path) -> None:
    dataset = load_dataset(str(real_data / "FLO_PART"))
    assert (dataset.name, dataset.origin, dataset.features_name) == ("flo_part", "own", "efflite0")
    assert (dataset.features.shape, dataset.semantics.shape) == ((5544, 1280), (90, 1024))
    assert (len(dataset.trainval), len(dataset.test_seen), len(dataset.test_unseen)) == (3782, 925, 837)
    assert dataset.folds == ()


REAL = {"APY": (15, 5), "AWA1": (27, 13), "AWA2": (27, 13), "SUN": (580, 65), "FLO": None}
"""The training and validation classes of each fold."""


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_splits_are_read_and_counted_with_made_up_features(real_data: Path, tmp_path: Path, name: str) -> None:
    """The features of these are not at hand: zeros stand in, with labels that agree with the real locs."""
    source, fold = real_data / name, REAL[name]
    raw = loadmat(source / "att_splits.mat")
    if fold is not None:
        names = [str(item[0]) for item in raw["allclasses_names"].ravel()]
        unseen_ids = np.array([names.index(tested) + 1 for tested in (source / "testclasses.txt").read_text().split()])
    else:
        unseen_ids = np.arange(1, 21)
    seen_ids = np.setdiff1d(np.arange(1, raw["att"].shape[1] + 1), unseen_ids)
    locs = {key: raw[key].ravel().astype(np.int64) for key in ("trainval_loc", "test_seen_loc", "test_unseen_loc")}
    numbers = np.concatenate(list(locs.values()))
    assert sorted(numbers) == list(range(1, numbers.size + 1)), "the three locs cover every image"
    labels = np.zeros((numbers.size, 1))
    for key, loc in locs.items():
        labels[loc - 1, 0] = np.resize(unseen_ids if key == "test_unseen_loc" else seen_ids, len(loc))
    folder = tmp_path / name
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    savemat(folder / "zeros.mat", {"features": np.zeros((1, numbers.size), np.float32), "labels": labels})
    dataset = load_dataset(name.lower(), features="zeros", root=tmp_path)
    np.testing.assert_array_equal(dataset.unseen + 1, np.sort(unseen_ids))
    assert [(len(held.train), len(held.val)) for held in dataset.folds] == ([fold] * 3 if fold else [])
    if fold:
        listed = {dataset.class_names[label] for label in dataset.seen}
        assert listed == set((source / "trainvalclasses.txt").read_text().split())
