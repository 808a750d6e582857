"""`data features`: pictures become features in batches that outlive a kill; the real network gives what is known."""

from __future__ import annotations

import functools
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_folders import refusal
from PIL import Image
from scipy.io import loadmat

from zslbench.arrays import Array
from zslbench.data import add, load_dataset
from zslbench.data.own.pictures import Backbone, features, load_backbone
from zslbench.errors import BadValue, DataMissing, Unavailable, UnknownName, ZslbenchError

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

    def __init__(self, dies_at: int = -1) -> None:
        self.seen, self.dies_at = 0, dies_at
        self.backbone = Backbone("means", "0" * 64, "none", self.prepare, self.extract)

    def prepare(self, image: Any) -> Array:
        return np.asarray(image, dtype=np.float32).transpose(2, 0, 1)

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
    np.testing.assert_array_equal(out.features, expected)
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
    assert counts == [(3, 12), (6, 12), (9, 12), (12, 12)]
    whole = features(pictures, backbone=Means().backbone, output=tmp_path / "g.npz", batch=3)
    np.testing.assert_array_equal(out.features, whole.features)
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "g.npz").read_bytes()


def test_what_is_done_belongs_to_its_pictures(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        features(pictures, backbone=Means(dies_at=6).backbone, output=tmp_path / "f.npz", batch=3)
    Image.new("RGB", (9, 7), (1, 2, 3)).save(pictures / "1" / "b.png")
    again = Means()
    features(pictures, backbone=again.backbone, output=tmp_path / "f.npz", batch=3)
    assert again.seen == 13


def test_broken_pictures_are_told_and_left_out_only_when_asked(pictures: Path, tmp_path: Path) -> None:
    whole = (pictures / "9" / "a.png").read_bytes()
    (pictures / "9" / "a.png").write_bytes(whole[:45])
    extract = functools.partial(features, pictures, backbone=Means().backbone, output=tmp_path / "f.npz")
    assert re.search(r"a\.png cannot be read as a picture .*--skip-broken", refusal(extract))
    out = extract(skip_broken=True)
    assert len(out.features) == 11
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


def test_sentences(pictures: Path, tmp_path: Path) -> None:
    net, out = Means().backbone, tmp_path / "f.npz"
    cases: list[tuple[type[ZslbenchError], str, dict[str, Any]]] = [
        (BadValue, "does not end in .npz", {"output": tmp_path / "f.csv"}),
        (BadValue, "--batch 0", {"output": out, "batch": 0}),
        (UnknownName, "did you mean 'efficientnet-lite0'", {"output": out, "backbone": "efficientnet-lite1"}),
    ]
    for kind, why, given in cases:
        assert why in refusal(features, pictures, kind=kind, **{"backbone": net, **given})
    for folder, why in ((tmp_path / "nowhere", "not a folder"), (pictures / "1", "holds no folders")):
        assert why in refusal(features, folder, backbone=net, output=out, kind=DataMissing)
    (pictures / "empty").mkdir()
    assert "holds no picture" in refusal(features, pictures, backbone=net, output=out)


def stand_in(monkeypatch: pytest.MonkeyPatch, package: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(package)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, package, module)
    return module


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Dropout(0.5))
    network.fc = torch.nn.Linear(12, 1000)
    return network


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255)


def test_torchvision_through_its_public_interface(
    monkeypatch: pytest.MonkeyPatch, pictures: Path, tmp_path: Path
) -> None:
    """A stand-in: the models that are there, their default weights, and the transforms that belong to them."""

    def weights_of(name: str) -> Any:
        if name != "small18":
            raise ValueError(f"Unknown model {name}")
        return types.SimpleNamespace(DEFAULT=types.SimpleNamespace(transforms=lambda: as_tensor))

    def model_of(name: str, weights: Any) -> torch.nn.Module:
        assert weights.transforms() is as_tensor
        return small_network()

    models = stand_in(monkeypatch, "torchvision.models", get_model_weights=weights_of, get_model=model_of)
    stand_in(monkeypatch, "torchvision", models=models)
    out = features(pictures, backbone="torchvision:small18", output=tmp_path / "f.npz")
    assert out.features.shape == (12, 12)  # the classifier is gone, dropout is off
    np.testing.assert_allclose(out.features[0], np.repeat(np.array(COLOURS["1"]) / 255, 4), atol=1e-6)
    assert "has no model 'large'" in refusal(load_backbone, "torchvision:large", kind=BadValue)


def test_timm_through_its_public_interface(monkeypatch: pytest.MonkeyPatch, pictures: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def create(name: str, **options: Any) -> torch.nn.Module:
        asked.update(options)
        network = small_network()
        network.fc = torch.nn.Identity()  # as timm does where there are no classes
        return network

    resolve, transform = lambda network: {"input_size": (3, 7, 9)}, lambda input_size, is_training: as_tensor
    data = stand_in(monkeypatch, "timm.data", resolve_model_data_config=resolve, create_transform=transform)
    stand_in(monkeypatch, "timm", list_models=lambda: ["small"], create_model=create, data=data)
    assert features(pictures, backbone="timm:small", output=tmp_path / "f.npz").features.shape == (12, 12)
    assert asked == {"pretrained": True, "num_classes": 0}
    assert "has no model 'large'" in refusal(load_backbone, "timm:large", kind=BadValue)


@pytest.mark.parametrize("package", ["torchvision", "timm", "efficientnet_lite_pytorch"])
def test_a_package_that_does_not_import_is_one_sentence(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = "efficientnet-lite0" if package.startswith("eff") else f"{package}:resnet18"
    assert "unavailable" in refusal(load_backbone, name, kind=Unavailable)


@pytest.mark.realdata
def test_real_flowers_give_the_features_that_are_known(real_data: Path, tmp_path: Path) -> None:
    """FLO_PART's features were extracted elsewhere from the same network: these pictures must give the same rows."""
    for picture in sorted((real_data.parent / "images" / "flowers").glob("*/*"))[::4]:
        (tmp_path / "flowers" / picture.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / picture.parent.name / picture.name).symlink_to(picture)
    out = features(tmp_path / "flowers", output=tmp_path / "f.npz")
    known = loadmat(real_data / "FLO_PART" / "efflite0.mat")
    row = {str(np.ravel(name)[0]): at for at, name in enumerate(known["image_files"].ravel())}
    expected = known["features"].T[[row[Path(file).name] for file in out.files]]
    np.testing.assert_allclose(out.features, expected, atol=1e-4)
