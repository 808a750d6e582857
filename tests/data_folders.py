"""Xlsa17-like folders for the tests of the data layer, and the sentence with which a call is refused."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslbench.data import catalogue
from zslbench.data.dataset import Counts
from zslbench.errors import BadData, ZslbenchError

CLASSES, UNSEEN, IMAGES, FEATURES, ATTRIBUTES = 6, 2, 6, 5, 3


def refusal(call: Callable[..., object], *given: Any, kind: type[ZslbenchError] = BadData, **options: Any) -> str:
    """Return the one sentence with which a call is refused."""
    with pytest.raises(kind) as caught:
        call(*given, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?", "…"))
    return sentence


def images() -> dict[str, Any]:
    """Return the variables of a features file: 36 images of 6 classes, 5 features."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, CLASSES + 1), IMAGES)
    return {
        "features": rng.random((FEATURES, labels.size)),
        "labels": labels[:, None].astype(np.float64),
        "image_files": np.array([[f"{number}.jpg"] for number in range(labels.size)], dtype=object),
    }


def splits() -> dict[str, Any]:
    """Return the variables of a splits file: classes 2 and 5 unseen, locs unsorted uint16 as in the real ones."""
    rng = np.random.default_rng(1)
    labels = images()["labels"].ravel()
    numbers = np.arange(1, labels.size + 1)
    unseen = numbers[np.isin(labels, (2, 5))]
    seen = rng.permutation(numbers[~np.isin(labels, (2, 5))])
    test_seen = np.concatenate([seen[labels[seen - 1] == label][:1] for label in (1, 3, 4, 6)])
    trainval = np.setdiff1d(seen, test_seen)
    names = [f"{chr(ord('a') + number)}_class" for number in range(CLASSES)]
    return {
        "att": rng.random((ATTRIBUTES, CLASSES)),
        "allclasses_names": np.array([[name] for name in names], dtype=object),
        "trainval_loc": column(rng.permutation(trainval)),
        "test_seen_loc": column(test_seen),
        "test_unseen_loc": column(rng.permutation(unseen)),
    }


FOLDS = {"trainclasses1.txt": "a_class\nc_class\nd_class\n", "valclasses1.txt": "f_class\n"}


def column(numbers: Any, kind: Any = np.uint16) -> np.ndarray:
    return np.asarray(numbers).astype(kind)[:, None]


def write_folder(
    folder: Path,
    features: dict[str, Any] | None = None,
    semantics: dict[str, Any] | None = None,
    *,
    texts: dict[str, str] | None = None,
    stem: str = "res101",
    semantics_stem: str = "att",
    drop: tuple[str, ...] = (),
) -> Path:
    """Write one folder; `features` and `semantics` replace variables, `drop` leaves some out."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    files = {stem: images() | (features or {}), f"{semantics_stem}_splits": splits() | (semantics or {})}
    for name, content in files.items():
        kept = {key: value for key, value in content.items() if key not in drop}
        savemat(folder / f"{name}.mat", kept, do_compression=True)
    for name, text in (texts if texts is not None else FOLDS).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_changed(folder: Path, **changed: Any) -> Path:
    """Write one folder with some variables changed, whichever file they stand in, or options of `write_folder`."""
    options = {key: changed.pop(key) for key in ("texts", "drop") if key in changed}
    first = {key: changed.pop(key) for key in ("features", "labels") if key in changed}
    return write_folder(folder, first, changed, **options)


def write_tree(root: Path) -> Path:
    """Write an xlsa17 tree with CUB and SUN and things that do not matter."""
    for name in ("CUB", "SUN"):
        write_folder(root / name)
    (root / "CUB" / "evaluate.m").write_text("% code")
    (root / "README.txt").write_text("about")
    (root / "code").mkdir()
    (root / "code" / "score.mat").write_text("no data")
    return root


def zipped(path: Path, tree: Path, prefix: str = "xlsa17/data/") -> Path:
    """Write a zip of a tree, as the official archive lays it out."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, prefix + str(file.relative_to(tree)))
    return path


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ZSLBENCH_HOME of this test alone, beside nothing in the working folder."""
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def cub_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`own_home`, with the counts of CUB those of the small folder that is written here."""
    small_cub(monkeypatch, own_home)
    return own_home


def small_cub(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Use `home` as ZSLBENCH_HOME, and make the counts of CUB those of the small folder that is written here."""
    monkeypatch.setenv("ZSLBENCH_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    counts = Counts(36, ATTRIBUTES, CLASSES - UNSEEN, UNSEEN, 20, 4, UNSEEN * IMAGES)
    monkeypatch.setattr(catalogue.CUB, "card", dataclasses.replace(catalogue.CUB.card, counts=counts))
    monkeypatch.setattr(catalogue, "DIMENSIONS", {"res101": FEATURES})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An xlsa17 tree with CUB and SUN."""
    return write_tree(tmp_path / "xlsa17")


def installed_files(home: Path) -> set[str]:
    """Return the files of the data sets under the folder of installed data, relative to it."""
    root = home / "xlsa17"
    return {str(path.relative_to(root)) for path in root.rglob("*/*") if path.is_file()} if root.is_dir() else set()
