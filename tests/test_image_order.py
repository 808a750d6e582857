"""`data features --layout --order`: rows in the order of xlsa17, so that features fit the split of `att_splits.mat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import images, refusal, splits
from PIL import Image
from scipy.io import loadmat, savemat

import zslbench
from zslbench.arrays import Array
from zslbench.data import add, load_dataset
from zslbench.data.own.backbones import Backbone
from zslbench.data.own.image_order import order_pictures
from zslbench.data.own.pictures import features
from zslbench.errors import BadData, BadValue, DataMissing, UnknownName

NAMES = ("002.gull", "001.auk", "010.crow")  # xlsa17 does not sort them either
FILES = ("001.auk/b.jpg", "010.crow/a.jpg", "001.auk/a.jpg", "002.gull/c.jpg")
pytestmark = pytest.mark.usefixtures("own_home")


def cells(texts: Any) -> np.ndarray:
    return np.array(list(texts), dtype=object)[:, None]


def paint(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Pictures as in CUB_200_2011; each is grey of a level of its own, 10 times its place in `FILES`."""
    for place, file in enumerate(FILES):
        paint(tmp_path / "CUB_200_2011" / "images" / file, 10 * place)
    lines = "".join(f"{number} {file}\n" for number, file in enumerate(FILES, start=1))
    (tmp_path / "CUB_200_2011" / "images.txt").write_text(lines)
    return tmp_path / "CUB_200_2011"


def level() -> Backbone:
    def prepare(image: Image.Image) -> list[Array]:
        return [np.asarray(image, dtype=np.float32).transpose(2, 0, 1)]

    return Backbone("level", "0", "none", prepare, lambda images: images.mean(axis=(2, 3))[:, :1])


def test_rows_in_the_order_of_image_files(archive: Path, tmp_path: Path) -> None:
    order = (3, 0, 2, 1)
    labels = [1 + NAMES.index(FILES[place].partition("/")[0]) for place in order]
    folder = tmp_path / "xlsa17" / "CUB"
    folder.mkdir(parents=True)
    paths = cells(f"/home/them/CUB/images/{FILES[place]}" for place in order)
    savemat(folder / "res101.mat", {"features": np.zeros((2, 4)), "labels": labels, "image_files": paths})
    savemat(folder / "att_splits.mat", {"att": np.eye(3), "allclasses_names": cells(NAMES)})
    given: dict[str, Any] = {"order": folder / "res101.mat", "backbone": level()}
    out = features(archive, **given, output=folder / "level.mat")
    assert out.features["level"].ravel().tolist() == [30, 0, 20, 10]
    assert (out.class_names, out.labels.tolist()) == (NAMES, [0, 1, 1, 2])
    assert (out.files[0], out.facts["level"]["order"], out.skipped) == ("images/002.gull/c.jpg", "res101.mat", ())
    held = loadmat(folder / "level.mat")
    assert held["features"].ravel().tolist() == [30, 0, 20, 10]
    assert held["labels"].ravel().tolist() == labels
    again = features(archive, layout="cub", **given | {"order": folder / "level.mat"}, output=tmp_path / "f.npz")
    assert again.features["level"].ravel().tolist() == [30, 0, 20, 10]
    listed = features(archive, layout="cub", **given | {"order": folder / "att_splits.mat"}, output=tmp_path / "f.npz")
    assert (listed.features["level"].ravel().tolist(), listed.labels.tolist()) == ([0, 10, 20, 30], [1, 2, 1, 0])
    assert listed.facts["level"]["order"] == "images.txt"
    for name in ("d.jpg", "._a.jpg"):  # macOS puts the second beside pictures of other systems
        paint(archive / "images" / "001.auk" / name, 9)
    (told,) = features(archive, **given, output=folder / "level.mat").skipped
    assert told == f"1 picture of {archive} that res101.mat does not list: images/001.auk/d.jpg"
    why = refusal(features, archive, **given, skip_broken=True, output=tmp_path / "f.npz", kind=BadValue)
    assert "--skip-broken would leave rows out" in why
    paint(archive / "old" / "images" / "002.gull" / "c.jpg", 9)
    assert "which may be" in refusal(features, archive, **given, output=tmp_path / "f.npz")
    (archive / "images" / "001.auk" / "a.jpg").unlink()
    why = refusal(features, archive, layout="cub", output=tmp_path / "f.npz", backbone=level(), kind=DataMissing)
    assert "1 picture of 4 in images.txt not found under" in why
    savemat(folder / "bare.mat", {"features": np.zeros((2, 4))})
    assert "has no image_files" in refusal(order_pictures, archive, None, folder / "bare.mat")
    assert "did you mean 'cub'" in refusal(order_pictures, archive, "cbu", None, kind=UnknownName)
    savemat(folder / "att_splits.mat", {"att": np.eye(2), "allclasses_names": cells(NAMES[:2])})
    assert "does not name '010.crow'" in refusal(order_pictures, archive, "cub", folder / "att_splits.mat")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([0, 1, 1, 2], "number 1 of them is 0"),
        ([-1, 1, 1, 2], "number 1 of them is -1"),
        ([1, 1.5, 2, 3], "number 2 of them is 1.5"),
        ([1, 2, 2, 10**9], "number 3 of them is 1e+09"),
        ([1, 2, np.nan, 3], "number 4 of them is nan"),
        (list("abca"), "there are no numbers"),
        ([1, 2, 2, 1], "images of 2 classes, but the semantics beside it have 3"),
    ],
)
def test_impossible_labels_are_refused(labels: list[Any], why: str, archive: Path, tmp_path: Path) -> None:
    order = {"image_files": cells(FILES), "labels": cells(labels) if "a" in labels else np.array(labels)}
    savemat(tmp_path / "res101.mat", order)
    savemat(tmp_path / "att_splits.mat", {"att": np.eye(3), "allclasses_names": cells(NAMES)})
    assert why in refusal(order_pictures, archive, None, tmp_path / "res101.mat")


def test_a_mat_is_features_of_the_data_sets_own_split(tmp_path: Path) -> None:
    """Pictures of a folder in the xlsa17 format become another choice of --features, with its split."""
    folder, content, labels = tmp_path / "mine", splits(), images()["labels"].ravel().astype(int) - 1
    folder.mkdir()
    paths = [f"{label}/{row:03d}.png" for row, label in enumerate(labels)]
    for row, path in enumerate(paths):
        paint(tmp_path / "pictures" / path, row % 250)
    savemat(folder / "att_splits.mat", content)
    order = {"image_files": cells(paths), "labels": labels[:, None] + 1}
    savemat(tmp_path / "order.mat", order)
    features(tmp_path / "pictures", order=tmp_path / "order.mat", output=folder / "level.mat", backbone=level())
    dataset = load_dataset(str(folder), features="level")
    assert dataset.features.ravel().tolist() == [row % 250 for row in range(len(labels))]
    np.testing.assert_array_equal(dataset.labels, labels)
    assert "backbone level, weights sha256 0" in zslbench.info(str(folder)).facts["level made of"]
    assert add("mine", source=folder).added.features["level"]["about"]["order"] == "order.mat"


def test_lists_of_the_other_archives(tmp_path: Path) -> None:
    awa2, sun, flo = (tmp_path / name for name in ("awa2", "sun", "flo"))
    for file in ("grizzly+bear/g_10001.jpg", "bat/b_10002.jpg", "bat/b_10001.jpg"):
        paint(awa2 / "JPEGImages" / file, 1)
    (awa2 / "classes.txt").write_text("\t1\tgrizzly+bear\n\t2\tbat\n")
    found = order_pictures(awa2, "awa2", None)
    assert [file.name for file in found.files] == ["b_10001.jpg", "b_10002.jpg", "g_10001.jpg"]
    assert (found.class_names, found.labels) == (("bat", "grizzly+bear"), (0, 0, 1))
    scenes = ["a/abbey/x.jpg", "a/arena/hockey/x.jpg", "a/arena/x.jpg"]
    for file in scenes:
        paint(sun / "images" / file, 1)
    savemat(sun / "images.mat", {"images": cells(scenes)})
    found = order_pictures(sun, "sun", None)
    assert [file.relative_to(sun / "images").as_posix() for file in found.files] == scenes
    assert found.class_names == ("abbey", "arena", "arena_hockey")
    for number in range(1, 5):
        paint(flo / "jpg" / f"image_{number:05d}.jpg", 1)
    savemat(flo / "imagelabels.mat", {"labels": [[10, 2, 2, 10]]})
    savemat(flo / "setid.mat", {"trnid": [[4]], "valid": [[2]], "tstid": [[1, 3]]})
    found = order_pictures(flo, "flo", None)
    assert [file.name[10] for file in found.files] == ["4", "2", "1", "3"]
    assert (found.class_names, found.labels) == (("class 2", "class 10"), (1, 0, 1, 0))
    savemat(flo / "setid.mat", {"trnid": [[5]], "valid": [[2]], "tstid": [[1, 3]]})
    assert "goes up to picture 5" in refusal(order_pictures, flo, "flo", None, kind=BadData)
    assert "imagelabels" not in refusal(order_pictures, flo, "cub", None, kind=DataMissing)


@pytest.mark.realdata
def test_real_flowers_are_found_by_the_names_of_their_features(real_data: Path) -> None:
    held = loadmat(real_data / "FLO_PART" / "efflite0.mat", variable_names=["image_files", "labels"])
    names = [str(np.ravel(name)[0]) for name in held["image_files"].ravel()]
    flowers = real_data.parent / "images" / "flowers"
    assert "pictures of 5,544 in efflite0.mat not found under" in refusal(
        order_pictures, flowers, None, real_data / "FLO_PART" / "efflite0.mat", kind=DataMissing
    )
    assert {path.name for path in flowers.glob("*/*")} <= set(names)
