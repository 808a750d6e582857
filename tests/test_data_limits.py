"""Files that declare more than there is are refused by their headers, with the size, before anything is allocated."""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import own_data
import pytest
import torch
from data_folders import images, refusal, write_changed, write_folder
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

import zslbench
from zslbench import files
from zslbench.checks import check_dataset
from zslbench.data import load_dataset
from zslbench.data.own.add import add
from zslbench.data.own.image_order import find_pictures
from zslbench.data.own.pictures import FORMATS, open_picture
from zslbench.errors import DataMissing

HUGE = 1 << 45
"""Bytes that no machine has: a test that allocated them would fail at once."""
pytestmark = pytest.mark.usefixtures("own_home")


def sparse(rows: int, columns: int) -> Any:
    return csc_matrix((np.ones(1), ([0], [0])), shape=(rows, columns))


def npz(path: Path, **headers: tuple[int, ...]) -> Path:
    """Write an archive whose members declare float64 arrays of these shapes, as does its directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in headers.items():
            archive.writestr(f"{name}.npy", npy_header(shape))
            archive.filelist[-1].file_size += 8 * int(np.prod(shape))
    return path


def npy_header(shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return head.getvalue()


def write_h5(path: Path, shape: tuple[int, ...], kind: Any, chunks: tuple[int, ...]) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("features", shape=shape, dtype=kind, chunks=chunks)


def sparse_tensor() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (1 << 22, 1 << 22), check_invariants=True)


WRITERS: dict[str, Callable[[Path], object]] = {  # small files that declare terabytes
    "sparse.mat": lambda path: savemat(path, {"features": sparse(2**31 - 1, 4_000)}),
    "x.npz": lambda path: npz(path, features=(HUGE // 8, 1)),
    "x.h5": lambda path: write_h5(path, (1 << 21, 1 << 21), "f8", (1, 64)),
    "texts.h5": lambda path: write_h5(path, (HUGE // 64,), h5py.string_dtype(), (64,)),
    "view.pt": lambda path: torch.save(torch.ones(1).expand(1 << 22, 1 << 22), path),
    "sparse.pt": lambda path: torch.save(sparse_tensor(), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_small_file_that_declares_terabytes(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size < 100_000
    size = re.search(r"would unfold to ([\d,]+) bytes", own_data.refuse(features=tmp_path / name))
    assert size is not None
    assert int(size.group(1).replace(",", "")) >= HUGE


def test_npy_that_is_shorter_than_it_declares(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_header((HUGE // 8, 1)) + bytes(64))
    assert "cannot be read" in own_data.refuse(features=tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "tsv"])
def test_every_format_asks_for_memory_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The limit is injected where this process reads; the child's readers ask for the same, with what it has."""
    given = own_data.write(tmp_path, kind)
    monkeypatch.setattr(files, "free_memory", lambda: 100)
    assert "100 bytes of memory are free" in own_data.refuse(features=given["features"])
    assert "100 bytes of memory are free" in own_data.refuse(labels=given["labels"])


def test_an_archive_is_not_read_for_what_is_not_needed(tmp_path: Path) -> None:
    path = npz(tmp_path / "split.npz", unseen=(2,), extra=(HUGE // 8,))
    assert "key 'extra' is not known" in own_data.refuse(splits=path)
    both = tmp_path / "both.npz"
    np.savez(both, features=own_data.arrays()["features"])
    with zipfile.ZipFile(both, "a") as archive:
        archive.writestr("extra.npy", b"no array at all")
    assert own_data.make(features=f"{both}:features").added.counts.images == 40


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"features": sparse(60_000, 60_000)}, "60000 columns (images) but there are 36 labels"),
        ({"features": sparse(36, 60_000)}, "features look transposed"),
        ({"features": sparse(10**9, 36)}, "bomb"),
        ({"features": sparse(60_000, 60_000), "labels": sparse(60_000, 60_000)}, "labels must be a column"),
        ({"labels": sparse(10**9, 1)}, "36 columns (images) but there are 1000000000 labels"),
        ({"att": sparse(60_000, 60_000)}, "bomb"),
        ({"original_att": sparse(60_000, 60_000)}, "bomb"),
        ({"trainval_loc": sparse(60_000, 60_000)}, "bomb"),
    ],
)
def test_a_folder_is_refused_by_what_it_declares(
    tmp_path: Path, changed: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_memory", lambda: HUGE)  # a machine on which memory alone refuses nothing
    folder = write_changed(tmp_path / "mine", **changed)
    assert why in refusal(load_dataset, str(folder))
    assert why in refusal(check_dataset, str(folder))
    assert why in refusal(add, "mine", source=folder)
    assert why in refusal(zslbench.run, "eszsl", str(folder), runs=tmp_path / "runs")


def test_a_folder_asks_for_memory_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "mine")
    monkeypatch.setattr(files, "free_memory", lambda: 1000)
    assert "where 1,000 bytes of memory are free" in refusal(load_dataset, str(folder))


def test_what_fits_is_read_whatever_its_ratio(tmp_path: Path) -> None:
    matrix = np.zeros((5, 36))
    matrix[0] = images()["labels"].ravel()
    dataset = load_dataset(str(write_folder(tmp_path / "mine", {"features": csc_matrix(matrix)})))
    np.testing.assert_array_equal(dataset.features, matrix.T.astype(np.float32))


def png(width: int, height: int, rows: int = 1) -> bytes:
    """Return a grey PNG that declares a size and holds few rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(rows * (1 + min(width, 1 << 20))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((30_000, 1), "is 30,000 × 1 pixels"),
        ((1, 30_000), "is 1 × 30,000 pixels"),
        ((12_000, 12_000), "is 12,000 × 12,000 pixels, but 100,000,000 are allowed"),
        ((40_000, 25_000), "more than 100,000,000 pixels"),
        ((1, 10**9), "more than 100,000,000 pixels"),
        ((2**31 - 1, 2**31 - 1), "more than 100,000,000 pixels"),
    ],
)
def test_pictures_are_judged_by_their_declared_size(tmp_path: Path, size: tuple[int, int], why: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(*size))
    assert why in refusal(open_picture, path)
    Image.new("L", (300, 3), 7).save(path)
    assert open_picture(path).size == (300, 3)  # the longest that is read


def test_formats_are_told_by_content_and_start_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript for EPS; a stand-in on the PATH tells whether it did."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    path = tmp_path / "x.jpg"
    Image.new("RGB", (9, 7)).save(path, format="EPS")
    with Image.open(path) as image:
        assert image.format == "EPS"  # Pillow would take it
    assert "its content is none of JPEG" in refusal(open_picture, path)
    assert not (tmp_path / "started").exists()
    for kind in ("PPM", "TGA", "ICO", "PCX", "PDF"):
        Image.new("RGB", (9, 7)).save(path, format=kind)
        assert "cannot be read" in refusal(open_picture, path)
    for kind in FORMATS:
        Image.new("RGB", (9, 7), (255, 0, 0)).save(path, format=kind)
        assert open_picture(path).size == (9, 7)


def test_pipes_and_devices_are_refused_unopened(tmp_path: Path) -> None:
    """Opening a pipe waits for its writer, for ever; the test's own time limit would end it."""
    (tmp_path / "p" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "p" / "a" / "x.jpg")
    (tmp_path / "p" / "a" / "y.jpg").symlink_to("/dev/zero")
    (tmp_path / "p" / "a" / "z.jpg").symlink_to(tmp_path / "nowhere")
    pictures = find_pictures(tmp_path / "p").files
    assert len(pictures) == 3
    for path in pictures:
        assert "not a regular file" in refusal(open_picture, path)
    for suffix in ("npy", "npz", "csv", "mat", "h5", "pt", "json"):
        pipe = tmp_path / f"x.{suffix}"
        os.mkfifo(pipe)
        for role in ("features", "labels", "semantics", "classes", "splits"):
            assert "is not a regular file" in own_data.refuse(DataMissing, **{role: pipe})
    folder = write_folder(tmp_path / "mine")
    (folder / "res101.mat").unlink()
    os.mkfifo(folder / "res101.mat")
    assert "has no features" in refusal(load_dataset, str(folder), kind=DataMissing)
    assert "no file or folder" in refusal(zslbench.data.import_, tmp_path / "x.npz", kind=DataMissing)
