"""The xlsa17 reader: every variant is read, every kind of bad file is refused in one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from data_folders import FOLDS, column, images, splits, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from zslbench.data.dataset import Dataset
from zslbench.data.splits import split, training
from zslbench.data.xlsa17 import read_folder
from zslbench.errors import BadData, BadValue, DataMissing


def read(folder: Path, features: str = "res101", semantics: str = "att") -> Dataset:
    return read_folder(folder, name="mine", features=features, semantics=semantics)


def refused(folder: Path, kind: type[Exception] = BadData, **kwargs: str) -> str:
    """Return the message of the error that reading raises, after checking that it is one sentence."""
    with pytest.raises(kind) as caught:
        read(folder, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        savemat(
            folder / "f.mat", {"features": matrix, "labels": column(labels, np.uint8)}, do_compression=bool(each % 2)
        )
        locs = {
            "trainval_loc": column(trainval),
            "test_seen_loc": column(test_seen),
            "test_unseen_loc": column(number[~is_seen]),
        }
        savemat(folder / "s_splits.mat", {"att": att, **locs})
        dataset = read(folder, "f", "s")
    np.testing.assert_array_equal(dataset.features.T, matrix.astype(np.float32))
    np.testing.assert_array_equal(dataset.semantics.T, att.astype(np.float32))
    np.testing.assert_array_equal(dataset.labels + 1, labels)
    assert set(dataset.seen + 1) == set(order[:seen])
    assert set(dataset.unseen + 1) == set(order[seen:])
    rows = np.concatenate([dataset.trainval, dataset.test_seen, dataset.test_unseen])
    assert sorted(rows) == list(range(labels.size))


def test_train_loc_and_val_loc_change_nothing(tmp_path: Path) -> None:
    plain = read(write_folder(tmp_path / "v2"))
    leaky = splits()
    extra = {
        "train_loc": leaky["test_seen_loc"],
        "val_loc": leaky["test_unseen_loc"],
    }
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
    chosen = split(first, "final")
    train = training(first, chosen)
    assert train.classes.original is not None
    np.testing.assert_array_equal(train.classes.original, first.original[first.seen])
    assert not np.shares_memory(train.classes.original, first.original)


@pytest.mark.parametrize("bad", ["shape", "nan"])
def test_original_attributes_that_do_not_fit_are_refused(tmp_path: Path, bad: str) -> None:
    att = splits()["att"]
    wrong = att[:, 1:] if bad == "shape" else np.where(att == att.max(), np.nan, att)
    with pytest.raises(BadData, match="original"):
        read(write_folder(tmp_path, semantics={"original_att": wrong}))


def test_float32_float64_and_sparse_files_are_one_content(tmp_path: Path) -> None:
    matrix = images()["features"].astype(np.float32)
    plain = read(write_folder(tmp_path / "a", {"features": matrix}))
    double = read(write_folder(tmp_path / "b", {"features": matrix.astype(np.float64)}))
    sparse = read(write_folder(tmp_path / "c", {"features": csc_matrix(matrix.astype(np.float64))}))
    row = read(write_folder(tmp_path / "d", {"features": matrix, "labels": images()["labels"].T}))
    assert plain.fingerprint == double.fingerprint == sparse.fingerprint == row.fingerprint


def test_large_locs_do_not_wrap(tmp_path: Path) -> None:
    count = 65535
    labels = np.ones(count)
    labels[-2:] = 2
    locs = {
        "trainval_loc": column(np.arange(1, count - 2)),
        "test_seen_loc": column([count - 2]),
        "test_unseen_loc": column([count, count - 1]),
    }
    names = {"allclasses_names": np.array([["a"], ["b"]], dtype=object), "att": np.eye(2)}
    folder = write_folder(
        tmp_path, {"features": np.zeros((1, count), np.float32), "labels": labels[:, None]}, locs | names, texts={}
    )
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


# --- broken files -----------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert "vgg19.mat" in refused(tmp_path, DataMissing, features="vgg19")
    assert "w2v_splits.mat" in refused(tmp_path, DataMissing, semantics="w2v")


@pytest.mark.parametrize("stem", ["", "..", "a/b", "/etc/x", "a\\b"])
def test_a_stem_that_is_a_path(tmp_path: Path, stem: str) -> None:
    assert "--features" in refused(write_folder(tmp_path), BadValue, features=stem)


@pytest.mark.parametrize("file", ["res101.mat", "att_splits.mat"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_file(tmp_path: Path, file: str, share: float) -> None:
    path = write_folder(tmp_path) / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert str(path) in refused(tmp_path)


def test_damaged_bytes_inside_a_file(tmp_path: Path) -> None:
    path = write_folder(tmp_path) / "res101.mat"
    whole = bytearray(path.read_bytes())
    whole[200:400] = bytes(200)
    path.write_bytes(whole)
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(500), "Märchen".encode() * 100, bytes(4096)])
def test_file_that_is_not_matlab(tmp_path: Path, content: bytes) -> None:
    path = write_folder(tmp_path) / "res101.mat"
    path.write_bytes(content)
    assert "not a MATLAB file" in refused(tmp_path)


def test_matlab_7_3_file(tmp_path: Path) -> None:
    path = write_folder(tmp_path) / "res101.mat"
    path.unlink()
    with h5py.File(path, "w", userblock_size=512) as file:
        file["features"] = images()["features"]
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    assert "'-v7'" in refused(tmp_path)
    path.unlink()
    with h5py.File(path, "w") as file:
        file["features"] = images()["features"]
    assert "savemat" in refused(tmp_path)


@pytest.mark.parametrize("key", ["features", "labels", "att", "trainval_loc", "test_seen_loc", "test_unseen_loc"])
def test_missing_variable(tmp_path: Path, key: str) -> None:
    message = refused(write_folder(tmp_path, drop=(key,)))
    assert f"lacks '{key}'" in message
    assert "it holds: " in message


# --- broken content ---------------------------------------------------------------------------------------------------


def with_loc(key: str, change: Any) -> dict[str, Any]:
    return {key: column(change(splits()[key].ravel().astype(np.int64)), np.int32)}


def test_features_and_labels_of_unequal_length(tmp_path: Path) -> None:
    message = refused(write_folder(tmp_path / "a", {"features": images()["features"][:, :-1]}))
    assert "35 columns" in message
    assert "36 labels" in message
    assert "transposed" in refused(write_folder(tmp_path / "b", {"features": images()["features"].T}))


def test_labels_that_are_0_based(tmp_path: Path) -> None:
    message = refused(write_folder(tmp_path, {"labels": images()["labels"] - 1}))
    assert "labels are 1-based, add 1" in message


@pytest.mark.parametrize(
    "labels", [np.full((36, 1), 1.5), np.full((36, 1), np.nan), np.array([["x"]] * 36, dtype=object)]
)
def test_labels_that_are_not_whole_numbers(tmp_path: Path, labels: np.ndarray) -> None:
    assert "whole numbers" in refused(write_folder(tmp_path, {"labels": labels}))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["labels", "trainval_loc", "test_unseen_loc"])
@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (np.nan, np.float64, " NaN or infinity;"),
        (np.inf, np.float64, " NaN or infinity;"),
        (-np.inf, np.float32, " NaN or infinity;"),
        (1e300, np.float64, " a number that is no {} number;"),
        (2.0**53, np.float64, " a number that is no {} number;"),
        (2**63 + 5, np.uint64, " a number that is no {} number;"),
        (-(2**63), np.int64, " a number that is no {} number;"),
        (2.5, np.float64, " 2.5;"),
        (2**53 - 1, np.int64, " up to "),  # exact, but there are 36 images of 6 classes
    ],
)
def test_numbers_that_a_cast_would_change(tmp_path: Path, key: str, number: float, kind: type, said: str) -> None:
    values = (images() | splits())[key].astype(kind)
    values[3] = number
    changed = {key: values}
    folder = write_folder(tmp_path, *([changed] if key == "labels" else [None, changed]))
    what, file = ("class", "res101.mat") if key == "labels" else ("row", "att_splits.mat")
    message = refused(folder)
    assert said.format(what) in message
    assert f"{file}: {key} " in message


def test_classes_without_semantics(tmp_path: Path) -> None:
    names = {"allclasses_names": splits()["allclasses_names"][:5]}
    message = refused(write_folder(tmp_path, semantics={"att": splits()["att"][:, :5]} | names, texts={}))
    assert "labels go up to 6" in message
    assert "describes 5 classes" in message


def test_semantics_with_nan_or_infinity(tmp_path: Path) -> None:
    for number, value in enumerate((np.nan, np.inf)):
        att = splits()["att"]
        att[1, 4] = value
        assert "'e_class'" in refused(write_folder(tmp_path / str(number), semantics={"att": att}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_features_with_nan_or_infinity(tmp_path: Path, value: float) -> None:
    matrix = images()["features"]
    matrix[2, 7] = value
    assert "first in row 7" in refused(write_folder(tmp_path, {"features": matrix}))


@pytest.mark.parametrize("key", ["trainval_loc", "test_seen_loc", "test_unseen_loc"])
def test_locs_out_of_range_0_based_or_repeated(tmp_path: Path, key: str) -> None:
    high = refused(write_folder(tmp_path / "a", semantics=with_loc(key, lambda loc: np.append(loc, 37))))
    assert f"{key} goes up to image 37 but there are 36" in high
    low = refused(write_folder(tmp_path / "b", semantics=with_loc(key, lambda loc: np.append(loc, 0))))
    assert "1-based, add 1" in low
    again = refused(write_folder(tmp_path / "c", semantics=with_loc(key, lambda loc: np.append(loc, loc[0]))))
    assert "more than once" in again
    empty = refused(write_folder(tmp_path / "d", semantics={key: np.zeros((0, 1), np.uint16)}))
    assert key in empty


def test_overlapping_locs(tmp_path: Path) -> None:
    test_seen = splits()["test_seen_loc"].ravel().astype(np.int64)
    message = refused(
        write_folder(tmp_path, semantics=with_loc("trainval_loc", lambda loc: np.append(loc, test_seen[:2])))
    )
    assert "trainval and test_seen share 2 rows" in message


def test_unseen_classes_in_training(tmp_path: Path) -> None:
    moved = int(splits()["test_unseen_loc"][0, 0])
    changed = with_loc("trainval_loc", lambda loc: np.append(loc, moved))
    changed |= with_loc("test_unseen_loc", lambda loc: loc[loc != moved])
    assert "1 unseen classes have training images" in refused(write_folder(tmp_path, semantics=changed))


def test_test_seen_classes_without_training_images(tmp_path: Path) -> None:
    moved = int(splits()["test_unseen_loc"][0, 0])
    label = images()["labels"].ravel()[moved - 1]
    same = np.flatnonzero(images()["labels"].ravel() == label) + 1
    changed = with_loc("test_seen_loc", lambda loc: np.append(loc, same))
    changed |= with_loc("test_unseen_loc", lambda loc: np.setdiff1d(loc, same))
    assert "test_seen may hold seen classes only" in refused(write_folder(tmp_path, semantics=changed))


def test_names_that_do_not_match(tmp_path: Path) -> None:
    few = {"allclasses_names": splits()["allclasses_names"][:4]}
    assert "4 class names for 6" in refused(write_folder(tmp_path / "a", semantics=few))
    listed = write_folder(tmp_path / "c", drop=("allclasses_names",), texts={"allclasses.txt": "x\ny\nz\n"})
    message = refused(listed)
    assert "allclasses.txt: 3 class names for 6" in message
    assert "att_splits" not in message
    numbers = {"allclasses_names": np.arange(6)[:, None]}
    assert "allclasses_names" in refused(write_folder(tmp_path / "b", semantics=numbers))


@pytest.mark.parametrize(
    ("texts", "needle"),
    [
        (FOLDS | {"valclasses1.txt": "f_class\nzebra\n"}, "'zebra'"),
        ({"trainclasses2.txt": "a_class\n"}, "without valclasses2.txt"),
        (FOLDS | {"valclasses1.txt": "f_class\nf_class\n"}, "more than once"),
        (FOLDS | {"valclasses1.txt": "a_class\n"}, "both training and validation"),
        (FOLDS | {"valclasses1.txt": "b_class\n"}, "not seen classes"),
        (FOLDS | {"valclasses1.txt": "\n"}, "0 validation classes"),
    ],
)
def test_fold_files_that_do_not_fit(tmp_path: Path, texts: dict[str, str], needle: str) -> None:
    assert needle in refused(write_folder(tmp_path, texts=texts))


def test_fold_files_without_class_names(tmp_path: Path) -> None:
    assert "allclasses.txt" in refused(write_folder(tmp_path, drop=("allclasses_names",)))


def test_a_fold_file_that_is_not_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "valclasses1.txt").write_bytes(b"\xff\xfe\x00")
    assert "valclasses1.txt" in refused(folder)


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(("semantics", "width"), [("att", 312), ("sent", 1024)])
def test_real_cub(real_data: Path, semantics: str, width: int) -> None:
    dataset = read(real_data / "CUB", "fc1000", semantics)
    raw = loadmat(real_data / "CUB" / "fc1000.mat", variable_names=["features", "labels", "image_files"])
    assert dataset.features.shape == (11788, 1000)
    assert dataset.semantics.shape == (200, width)
    np.testing.assert_array_equal(dataset.features[[0, 5000, -1]], raw["features"].T[[0, 5000, -1]])
    for row in range(0, 11788, 97):  # the folder of each image is the name of its class
        assert dataset.class_names[dataset.labels[row]][:3] == str(raw["image_files"][row, 0][0])[:3]
    tested = (real_data / "CUB" / "testclasses.txt").read_text().split()
    assert {dataset.class_names[label] for label in dataset.unseen} == set(tested)
    assert [(len(fold.train), len(fold.val)) for fold in dataset.folds] == [(100, 50)] * 3
    shared = [np.intersect1d(dataset.folds[a].val, dataset.folds[b].val).size for a, b in ((0, 1), (0, 2), (1, 2))]
    assert shared == [21, 14, 16]


@pytest.mark.realdata
def test_real_flowers_part(real_data: Path) -> None:
    dataset = read(real_data / "FLO_PART", "efflite0")
    assert dataset.features.shape == (5544, 1280)
    assert dataset.semantics.shape == (90, 1024)
    assert (len(dataset.trainval), len(dataset.test_seen), len(dataset.test_unseen)) == (3782, 925, 837)
    assert dataset.folds == ()


REAL = {  # name, classes, unseen, images, folds' training and validation classes
    "APY": (32, 12, 15339, (15, 5)),
    "AWA1": (50, 10, 30475, (27, 13)),
    "AWA2": (50, 10, 37322, (27, 13)),
    "SUN": (717, 72, 14340, (580, 65)),
    "FLO": (102, 20, 8189, None),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_splits_are_read_with_made_up_features(real_data: Path, tmp_path: Path, name: str) -> None:
    """The features of these are not at hand: zeros stand in, with labels that agree with the real locs."""
    classes, unseen, count, fold = REAL[name]
    source = real_data / name
    raw = loadmat(source / "att_splits.mat")
    if fold is not None:
        names = [str(item[0]) for item in raw["allclasses_names"].ravel()]
        tested = (source / "testclasses.txt").read_text().split()
        unseen_ids = np.array([names.index(one) + 1 for one in tested])
    else:
        unseen_ids = np.arange(1, unseen + 1)
    seen_ids = np.setdiff1d(np.arange(1, classes + 1), unseen_ids)
    labels = np.zeros(count)
    for key, ids in (("trainval_loc", seen_ids), ("test_seen_loc", seen_ids), ("test_unseen_loc", unseen_ids)):
        rows = raw[key].ravel().astype(np.int64) - 1
        labels[rows] = np.resize(ids, len(rows))
    assert labels.min() == 1, "the three locs cover every image"
    folder = tmp_path / name
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    savemat(folder / "res101.mat", {"features": np.zeros((1, count), np.float32), "labels": labels[:, None]})
    dataset = read(folder)
    np.testing.assert_array_equal(dataset.unseen + 1, np.sort(unseen_ids))
    if fold is not None:
        assert [(len(one.train), len(one.val)) for one in dataset.folds] == [fold] * 3
        listed = {dataset.class_names[label] for label in dataset.seen}
        assert listed == set((source / "trainvalclasses.txt").read_text().split())
    else:
        assert dataset.folds == ()


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\u202eb", "a\x9bb"])
def test_names_that_steer_a_terminal_are_refused(tmp_path: Path, name: str) -> None:
    names = np.array([[name], *([f"{number}"] for number in range(5))], dtype=object)
    with pytest.raises(BadData, match="cannot be printed"):
        read(write_folder(tmp_path, None, {"allclasses_names": names}, texts={}))
