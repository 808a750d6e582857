"""`table --layout stats`: counts of real and written data against counts from scipy.io and the text files alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_folders import images, splits, write_folder
from scipy.io import loadmat

import zslbench
from zslbench.errors import BadData, DataMissing, UnknownName


def stats(root, *names, **options):
    text = zslbench.table(layout="stats", format="json", data_root=root, datasets=names, **options).text
    return {row["dataset"]: row for row in json.loads(text)}


def lines(path):
    return len(path.read_text().split())


@pytest.mark.realdata
@pytest.mark.parametrize(("folder", "features"), [("CUB", "fc1000"), ("FLO_PART", "efflite0")])
def test_counts_are_those_of_the_real_files(real_data, folder, features):
    found = stats(real_data)[folder.lower()]
    split, data = loadmat(real_data / folder / "att_splits.mat"), loadmat(real_data / folder / f"{features}.mat")
    labels = data["labels"].ravel()
    parts = {key: split[f"{key}_loc"].ravel().astype(int) for key in ("trainval", "test_seen", "test_unseen")}
    assert found["images"] == labels.size
    assert (found["features"], found["feature_dimension"]) == (features, data["features"].shape[0])
    assert (found["semantics"], found["semantic_dimension"]) == ("att", split["att"].shape[0])
    assert found["seen"] == len({labels[row - 1] for row in parts["trainval"]})
    assert found["unseen"] == len({labels[row - 1] for row in parts["test_unseen"]})
    assert {key: found[key] for key in parts} == {key: rows.size for key, rows in parts.items()}
    files = [real_data / folder / f"{part}classes1.txt" for part in ("train", "val")]
    assert found["folds"][:1] == (["+".join(str(lines(file)) for file in files)] if files[0].is_file() else [])


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "folder"), [("apy", "APY"), ("sun", "SUN"), ("flo", "FLO")])
def test_without_features_the_split_and_the_lists_are_counted(real_data, name, folder):
    found = stats(real_data, name)[name]
    split = loadmat(real_data / folder / "att_splits.mat")
    parts = {key: split[f"{key}_loc"].ravel() for key in ("trainval", "test_seen", "test_unseen")}
    assert {key: found[key] for key in parts} == {key: rows.size for key, rows in parts.items()}
    assert found["images"] == len({row for rows in parts.values() for row in rows.tolist()})
    assert found["semantic_dimension"] == split["att"].shape[0]
    assert (found["features"], found["feature_dimension"], found["fingerprint"]) == (None, None, None)
    for key, file in (("seen", "trainvalclasses.txt"), ("unseen", "testclasses.txt")):
        path = real_data / folder / file
        assert found[key] == (lines(path) if path.is_file() else None)
    text = zslbench.table(layout="stats", data_root=real_data, datasets=[name], width=200).text
    assert "[1] No features here: images are those that the split names, classes those of its lists" in text


@pytest.mark.realdata
def test_the_papers_table_1_comes_out(real_data):
    found = stats(real_data)
    paper = {
        "apy": (15339, 64, 20, 12),
        "awa1": (30475, 85, 40, 10),
        "cub": (11788, 312, 150, 50),
        "sun": (14340, 102, 645, 72),
    }
    for name, numbers in paper.items():
        row = found[name]
        assert (row["images"], row["semantic_dimension"], row["seen"], row["unseen"]) == numbers
    assert list(found) == ["apy", "awa1", "awa2", "cub", "flo", "sun", "flo_part"]


@pytest.fixture
def root(tmp_path):
    """Two folders of one's own (one without features), and a CUB whose counts are not the authors'."""
    root = tmp_path / "data"
    write_folder(root / "Mine_1")
    write_folder(root / "bare")
    (root / "bare" / "res101.mat").unlink()
    write_folder(root / "CUB", stem="fc1000")
    return root


def test_folds_of_different_sizes_are_all_shown(root):
    (root / "Mine_1" / "trainclasses2.txt").write_text("a_class\nc_class\n")
    (root / "Mine_1" / "valclasses2.txt").write_text("d_class\nf_class\n")
    assert stats(root, str(root / "Mine_1"))["mine_1"]["folds"] == ["3+1", "2+2"]
    assert "3 + 1, 2 + 2" in zslbench.table(layout="stats", data_root=root, width=200).text


def test_features_and_semantics_can_be_chosen(root):
    fewer = {"features": images()["features"][:4]}, {"att": splits()["att"][:2]}
    write_folder(root / "CUB", *fewer, stem="vgg19", semantics_stem="sent")
    assert stats(root, "cub")["cub"]["features"] == "fc1000"
    chosen = stats(root, "cub", features="vgg19", semantics="sent")["cub"]
    assert (chosen["feature_dimension"], chosen["semantic_dimension"]) == (4, 2)
    everything = stats(root, features="vgg19")
    assert {name: row["features"] for name, row in everything.items()} == {"cub": "vgg19", "bare": None, "mine_1": None}
    with pytest.raises(DataMissing, match="fc1000, vgg19; choose one with --features"):
        stats(root, "cub", features="res50")
    with pytest.raises(DataMissing, match="choose one with --semantics"):
        stats(root, str(root / "Mine_1"), semantics="sent")


def test_a_broken_folder_is_named_and_the_others_are_counted(root):
    (root / "bare" / "att_splits.mat").write_bytes(b"no")
    text = zslbench.table(layout="stats", data_root=root, width=300).text
    assert "bare is left out: " in text
    assert "mine_1" in text  # as in every table
    with pytest.raises(BadData, match="not a MATLAB file"):
        stats(root, str(root / "bare"))


def test_no_data_and_unknown_names_are_sentences(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    with pytest.raises(DataMissing, match=r"no data set is on this machine.*data fetch.*-d digits"):
        zslbench.table(layout="stats")
    with pytest.raises(UnknownName, match="did you mean 'cub'"):
        zslbench.table(layout="stats", datasets=["cup"])
    with pytest.raises(DataMissing, match="zslbench data fetch cub"):
        zslbench.table(layout="stats", datasets=["cub"], data_root=tmp_path)


def test_it_is_written_where_it_is_asked_for(root, tmp_path):
    path = zslbench.table(layout="stats", data_root=root).save(tmp_path / "t" / "stats.tex")
    text = path.read_text(encoding="utf-8")
    assert np.all([word in text for word in (r"\toprule", r"mine\_1", r"\multicolumn{3}{c}{classes}")])
