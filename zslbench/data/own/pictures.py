"""`features`: turn pictures into features, labels and class names: the verb ``zslbench data features``.

Networks are those of `zslbench.data.own.backbones`; several share one pass over the pictures, of which each is decoded
once. Each batch is written as soon as it is done. If the process is killed, the same command continues with the first
missing batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.arrays import Array, IntArray
from zslbench.data.array_store import file_states, home
from zslbench.data.dataset import find_not_finite
from zslbench.data.own.backbones import INSTALL, Backbone, Crop, OnBatch, Precision, load_backbone
from zslbench.data.own.image_order import Pictures, find_pictures, order_pictures
from zslbench.data.own.reading import read_output, write_output
from zslbench.data.parsers import read_variables, refuse_broken
from zslbench.errors import BadData, BadValue, StoreError, Unavailable
from zslbench.files import remove_temporary, staged
from zslbench.identity import digest, expand_home
from zslbench.visible import visible

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats that are decoded, recognised by content, not by name; Pillow passes others, such as EPS, to programs."""
MAX_PIXELS = 100_000_000
MAX_ASPECT = 100
"""Greatest ratio of the longer to the shorter side: networks scale the shorter one to about 256 pixels."""
BATCH = 32
READERS = 4
"""Threads that decode pictures; Pillow leaves the interpreter to others meanwhile."""
_LEVELS = 65_535
"""The highest level of a pixel of 16 bits."""


def open_picture(path: Path) -> Image:
    """Return a whole picture as a Pillow image in RGB: of an animation the first frame, without transparency.

    It is not turned as its EXIF data ask: the readers of torchvision, timm and open_clip do not turn it either.
    The format is recognised by content and must be one of `FORMATS`. The size is checked before a pixel is decoded.

    Raises:
        BadData: it is empty, damaged, not a picture or not a regular file, or larger than allowed.
        Unavailable: Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise Unavailable(f"pictures are read by Pillow; {INSTALL}.") from error
    problem = "cannot be read as a picture"
    if not path.is_file():  # opening a pipe would wait forever, and a device may never end
        raise BadData(f"{path} {problem} (it is not a regular file).")
    if not path.stat().st_size:
        raise BadData(f"{path} {problem} (it is empty).")
    with refuse_broken(path, problem), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning of Pillow; sizes are checked here
        try:
            image = Image.open(path, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadData(f"{path} {problem} (its content is none of {', '.join(FORMATS)}).") from error
        except Image.DecompressionBombError as error:  # far above what is allowed here
            raise BadData(
                f"{path} has more than {MAX_PIXELS:,} pixels, which is not allowed; scale it down."
            ) from error
        with image:
            width, height = image.size
            size = f"{path} is {width:,} × {height:,} pixels"
            if width * height > MAX_PIXELS:
                raise BadData(f"{size}, but {MAX_PIXELS:,} are allowed; scale it down.")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise BadData(f"{size}; one side may be at most {MAX_ASPECT} times the other; crop it.")
            if image.mode[0] not in "IF":
                return image.convert("RGB")
            levels = np.asarray(image)  # Pillow would cut off what is above 255
            if levels.dtype.kind == "f" or levels.min() < 0 or levels.max() > _LEVELS:
                raise BadData(f"{path} {problem} (its pixels are not levels of 8 or 16 bits); convert it.")
            return Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")


@dataclasses.dataclass(frozen=True, eq=False)
class ExtractedFeatures:
    """Features of pictures.

    Attributes:
        features: (n, d) float32 by backbone.
        labels: (n,) 0-based class ids.
        files: (n,) paths relative to the folder of pictures.
        facts: by backbone: its weights' sha256, preprocessing, precision …, and where the pictures were.
        written: the file of each backbone.
        skipped: sentences on what was left out: one per picture that cannot be read, and one on what is no picture of a
            class or is not in the order that was given.
        done_before: how many pictures an earlier call had done.
        unchanged: the backbones whose file was there already, made of the same pictures in the same way.
    """

    features: Mapping[str, Array]
    labels: IntArray
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    facts: Mapping[str, Mapping[str, Any]]
    written: Mapping[str, Path]
    skipped: tuple[str, ...] = ()
    done_before: int = 0
    unchanged: tuple[str, ...] = ()


def features(
    images: Path | str,
    *,
    output: Path | str,
    backbone: str | Backbone | Sequence[str | Backbone] = "efficientnet-lite0",
    crop: Crop = "center",
    precision: Precision = "float32",
    weights: Path | str | None = None,
    layout: str | None = None,
    order: Path | str | None = None,
    batch: int = BATCH,
    device: str = "cpu",
    skip_broken: bool = False,
    on_batch: OnBatch = lambda done, total: None,
) -> ExtractedFeatures:
    """Extract features from a folder with one folder of pictures per class, and write them to files.

    `zslbench.data.add` makes a data set of a ``.npz``. A ``.mat`` is features of the xlsa17 format.

    Args:
        images: the folder.
        output: a ``.npz`` to write: ``features``, ``labels``, ``class_names``, ``files`` and ``about`` (JSON); or a
            ``.mat``: ``features`` (d, n), ``labels`` from 1 on, ``image_files`` and ``about``. With several backbones
            ``{}`` in the name stands for the name of each. A file that another program has written is never replaced.
        backbone, crop, precision, weights, device: see `zslbench.data.own.backbones.load_backbone`; one or several.
        layout, order: see `zslbench.data.own.image_order.order_pictures`; both None: folders are classes, and pictures
            are in the order of their names.
        batch: pictures per batch; it may change the last bits of features.
        skip_broken: leave out pictures that cannot be read; otherwise the first of them is an error.

    Raises:
        DataMissing, BadData, BadValue: pictures or options are missing or break a rule.
        Unavailable: the network or Pillow is not installed, or weights cannot be loaded.
        StoreError: results cannot be written.
    """
    chosen = [backbone] if isinstance(backbone, str | Backbone) else list(backbone)
    written = _name_outputs(output, [each if isinstance(each, str) else each.name for each in chosen])
    abouts = {name: read_output(path) for name, path in written.items()}
    if batch < 1:
        raise BadValue(f"--batch {batch} is not allowed; choose at least 1.")
    if weights is not None and len(chosen) > 1:
        raise BadValue("--weights is for one backbone; extract the others in a command of their own.")
    if layout is None and order is None:
        pictures = find_pictures(Path(images))
    else:
        if skip_broken:
            raise BadValue("--skip-broken would leave rows out of the order of --order or --layout; leave it out.")
        pictures = order_pictures(Path(images), layout, None if order is None else Path(order))
    networks = [
        load_backbone(each, device, crop=crop, precision=precision, weights=weights) if isinstance(each, str) else each
        for each in chosen
    ]
    facts = _list_facts(pictures, networks, batch)
    works = [home() / "features" / digest(of_network) for of_network in facts.values()]
    finished = {name: _read_features(written[name]) for name, about in abouts.items() if about == facts[name]}
    finished = {name: matrix for name, matrix in finished.items() if len(matrix) == len(pictures.files)}
    try:
        matrices, kept, skipped, before = _extract(pictures, networks, batch, skip_broken, works, finished, on_batch)
        extracted = ExtractedFeatures(
            features=matrices,
            labels=np.array(pictures.labels, dtype=np.int64)[kept],
            class_names=pictures.class_names,
            files=tuple(visible(pictures.files[row].relative_to(pictures.folder).as_posix()) for row in kept),
            facts=facts,
            written=written,
            skipped=tuple(filter(None, [pictures.left_out, *skipped])),
            done_before=before,
            unchanged=() if skipped else tuple(finished),
        )
        for name, path in written.items():
            if name not in extracted.unchanged:
                remove_temporary([path.resolve().parent], time.time())
                _write_features(path, extracted, name)
        for work in works:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"cannot write features ({error.strerror or error}); free some space; what is done is kept."
        ) from error
    return extracted


def _name_outputs(output: Path | str, names: Sequence[str]) -> dict[str, Path]:
    """Return the file of each backbone, in whose name ``{}`` stands for the backbone's."""
    path = expand_home(output)
    if path.suffix.lower() not in (".npz", ".mat") and not path.is_dir():
        raise BadValue(
            f"{str(output)!r} does not end in .npz or .mat; features, labels and names are written into one file, "
            "-o FILE.npz."
        )
    if not names or len(set(names)) < len(names):
        raise BadValue("--backbone names no network, or one of them twice; name each once.")
    if len(names) > 1 and "{}" not in path.name:
        raise BadValue(
            f"{str(output)!r} is one file for {len(names)} backbones; write {{}} where the name of each goes, as in "
            f"-o '{path.stem}-{{}}{path.suffix}'."
        )
    stems = {name: re.sub(r"[^A-Za-z0-9._+-]+", "-", name) for name in names}
    return {name: path.with_name(path.name.replace("{}", stem)) for name, stem in stems.items()}


def _list_facts(pictures: Pictures, networks: Sequence[Backbone], batch: int) -> dict[str, dict[str, Any]]:
    """Return, by network, everything that its features depend on."""
    # Rows are kept by position, so the state has the name of every entry, also of one that is no file.
    states = file_states(path for path in pictures.files if path.is_file())
    state = digest([list(map(str, pictures.files)), states, pictures.labels, pictures.class_names])
    before = {"pictures": str(pictures.folder), "pictures_state": state, "order": pictures.order}
    return {
        network.name: before
        | {
            "backbone": network.name,
            "weights": f"sha256 {network.weights}",
            "preprocessing": network.preprocessing,
            **network.facts,
            "batch": batch,
        }
        for network in networks
    }


def _read_features(path: Path) -> Array:
    """Return the (n, d) features of a file that `_write_features` wrote."""
    if path.suffix.lower() == ".mat":
        return read_variables(path, ("features",))["features"].T
    with refuse_broken(path, "cannot be read", "; remove it"), np.load(path, allow_pickle=False) as held:
        matrix: Array = held["features"]
        return matrix


def _write_features(path: Path, extracted: ExtractedFeatures, name: str) -> None:
    names, files = (np.array(texts, dtype=np.str_) for texts in (extracted.class_names, extracted.files))
    matrix, labels = extracted.features[name], extracted.labels
    if path.suffix.lower() == ".npz":
        arrays = {"features": matrix, "labels": labels, "class_names": names, "files": files}
    else:
        arrays = {"features": matrix.T, "labels": labels[:, None] + 1, "image_files": files.astype(object)[:, None]}
    write_output(path, arrays, extracted.facts[name], "features")


def _extract(
    pictures: Pictures,
    networks: Sequence[Backbone],
    batch: int,
    skip_broken: bool,
    works: Sequence[Path],
    finished: Mapping[str, Array],
    on_batch: OnBatch,
) -> tuple[dict[str, Array], list[int], list[str], int]:
    """Return the features of each network, the rows of the pictures, what was left out, and how many were done."""
    for work in works:
        work.mkdir(parents=True, exist_ok=True)
    on_batch(0, len(pictures.files))
    matrices: dict[str, list[Array]] = {network.name: [] for network in networks}
    kept, skipped, before = [], [], 0
    for start in range(0, len(pictures.files), batch):
        files = pictures.files[start : start + batch]
        paths = {
            work / f"batch-{start // batch:06d}.npz": network for work, network in zip(works, networks, strict=True)
        }
        done: dict[Path, _Batch] = {}
        for path, network in paths.items():
            whole = finished.get(network.name)
            held = _read_batch(path) if whole is None else (whole[start : start + batch], [*range(len(files))], [])
            done |= {} if held is None else {path: held}
        before += len(files) if len(done) == len(paths) else 0
        done |= _extract_batch(files, {path: network for path, network in paths.items() if path not in done})
        if len({len(good) for _, good, _ in done.values()}) > 1:  # a picture broke since a network has read it
            done = _extract_batch(files, paths)
        good, problems = done[next(iter(paths))][1:]
        if problems and not skip_broken:
            raise BadData(f"{problems[0]} Correct or remove it, or leave such pictures out with --skip-broken.")
        for path, network in paths.items():
            matrices[network.name] += [done[path][0]] if good else []
        kept += [start + position for position in good]
        skipped += problems
        on_batch(start + len(files), len(pictures.files))
    if not kept:
        raise BadData(f"{pictures.folder}: no picture can be read.")
    empty = np.setdiff1d(pictures.labels, np.array(pictures.labels)[kept])
    if empty.size:
        raise BadData(
            f"{pictures.folder / pictures.class_names[empty[0]]} holds no picture that can be read; remove the folder."
        )
    return {name: np.concatenate(parts) for name, parts in matrices.items()}, kept, skipped, before


_Batch = tuple[Array, list[int], list[str]]
"""Features, the positions of their pictures in the batch, and sentences on the pictures that cannot be read."""


def _extract_batch(files: Sequence[Path], networks: Mapping[Path, Backbone]) -> dict[Path, _Batch]:
    """Return the features of each network by the file that keeps them; each picture is decoded once for all."""
    if not networks:
        return {}

    def prepare(file: Path) -> list[Sequence[Array]] | str:
        try:
            image = open_picture(file)
        except BadData as error:
            return str(error)
        return [network.prepare(image) for network in networks.values()]

    with ThreadPool(READERS) as pool:
        outcomes = pool.map(prepare, files, chunksize=1)
    good = [position for position, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    done = {}
    for at, (path, network) in enumerate(networks.items()):
        crops = zip(*(outcome[at] for outcome in outcomes if not isinstance(outcome, str)), strict=True)
        each = [network.extract(np.stack(pictures)) for pictures in crops]
        matrix = np.mean(each, axis=0) if each else np.empty((0, 0), dtype=np.float32)
        if (row := find_not_finite(matrix)) is not None:
            raise BadData(
                f"{network.name} returned NaN or infinity for {files[good[row]]}; use other weights, or --precision "
                "float32."
            )
        done[path] = (matrix, good, problems)
        if not problems:  # what was wrong may be mended, for instance by chmod, which no state shows
            _keep_batch(path, matrix)
    return done


def _keep_batch(path: Path, matrix: Array) -> None:
    # If the folder is gone, another call on the same pictures has finished and removed it.
    with (
        contextlib.suppress(FileNotFoundError),
        staged(path, lambda out: np.savez(out, features=matrix)) as temporary,
    ):
        os.replace(temporary, path)  # noqa: PTH105


def _read_batch(path: Path) -> _Batch | None:
    try:
        with np.load(path, allow_pickle=False) as held:
            matrix: Array = held["features"]
            return matrix, list(range(len(matrix))), []
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # absent or damaged: extract it again
        return None
