"""Files of one's own for the tests of `data add`: 40 images of 8 classes, written in each format that is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from data_folders import refusal

from zslbench.data import added
from zslbench.data.own.add import AddOutcome, add
from zslbench.errors import BadData, ZslbenchError

CLASSES, IMAGES, FEATURES, ATTRIBUTES = 8, 5, 6, 3
NAMES = ("auk", "bunting", "crow", "dove", "eider", "finch", "gull", "hawk")


def arrays() -> dict[str, np.ndarray]:
    """Features (40, 6) and semantics (8, 3) float32, and 0-based labels in mixed order."""
    rng = np.random.default_rng(7)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), IMAGES))
    table = rng.random((CLASSES, ATTRIBUTES)).astype(np.float32)
    features = rng.random((labels.size, FEATURES)).astype(np.float32)
    return {"features": features, "labels": labels, "semantics": table}


def make(name: str = "birds", **changed: Any) -> AddOutcome:
    """Add the arrays, crow and gull unseen, some of the inputs changed; None leaves one out."""
    split = {} if "splits" in changed else {"unseen": "crow,gull"}
    given: dict[str, Any] = {**arrays(), "classes": list(NAMES)} | split | changed
    return add(name, **{key: value for key, value in given.items() if value is not None})


def refuse(kind: type[ZslbenchError] = BadData, **changed: Any) -> str:
    """Return the sentence with which the inputs are refused, nothing having been written."""
    before = added.names()
    sentence = refusal(make, kind=kind, **changed)
    assert added.names() == before
    return sentence


def options(files: dict[str, Any], **changed: Any) -> list[str]:
    """Return files as the command line takes them."""
    return [word for role, file in (files | changed).items() for word in (f"--{role}", str(file))]


def write(folder: Path, kind: str, turned: bool = False) -> dict[str, Any]:
    """Write the arrays as files of one kind and return the inputs of `add`; `turned` puts images into columns."""
    import h5py
    from scipy.io import savemat

    content = arrays()
    if turned:
        content |= {key: content[key].T for key in ("features", "semantics")}
    folder.mkdir(parents=True, exist_ok=True)
    if kind not in ("npz", "mat", "h5", "mat73"):
        return {key: str(_write_array(folder / f"{key}.{kind}", array)) for key, array in content.items()}
    path = folder / ("all.mat" if kind == "mat73" else f"all.{kind}")
    if kind == "npz":
        np.savez(path, **content)
    elif kind == "mat":
        savemat(path, content, do_compression=True)
    else:
        with h5py.File(path, "w", userblock_size=512 if kind == "mat73" else 0) as file:
            for key, array in content.items():
                # MATLAB counts columns first, so that HDF5 shows its matrices turned.
                file.create_dataset(key, data=array.T if kind == "mat73" else array, compression="gzip")
    if kind == "mat73":
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    end = {"npz": ":{}", "mat": ""}.get(kind, ":/{}")
    files = {key: f"{path}{end.format(key)}" for key in content}
    return {key: file if key == "labels" else {key: file} for key, file in files.items()}


def _write_array(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".pt":
        import torch

        torch.save(torch.from_numpy(np.ascontiguousarray(array)), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        rows = array.reshape(len(array), -1).tolist()
        path.write_text("\n".join(mark.join(map(repr, row)) for row in rows) + "\n", encoding="utf-8")
    return path
