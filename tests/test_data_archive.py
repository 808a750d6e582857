"""Import from zips and folders: what matters is installed, what is unsafe or broken is refused."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import installed_files, refusal, write_folder, zipped
from mutations import mutated

from zslbench.data import import_, load_dataset
from zslbench.errors import DataMissing, StoreError, ZslbenchError

pytestmark = pytest.mark.usefixtures("cub_home")
MATTER = {"res101.mat", "att_splits.mat", "trainclasses1.txt", "valclasses1.txt"}
CUB = "CUB/res101.mat"


def imported(source: Path) -> list[str]:
    return [row.name for row in import_(source)]


def packed(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, content in members:
            archive.writestr(member, content, compress_type=method)
    return path


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_import_a_zip(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    path = zipped(tmp_path / "any.zip", tree)
    cub, sun = import_(path)
    assert (cub.name, sun.name, set(cub.files)) == ("cub", "sun", MATTER)
    origin = json.loads((cub_home / "xlsa17" / "CUB" / "origin.json").read_text())
    assert cub.sha256 == origin["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert installed_files(cub_home) == {
        f"{name}/{file}" for name in ("CUB", "SUN") for file in {*MATTER, "origin.json"}
    }
    assert load_dataset("cub").fingerprint == load_dataset(str(tree / "CUB")).fingerprint


def test_import_a_tree_a_folder_and_a_zip_of_one_folder_agree(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    assert imported(tree) == ["cub", "sun"]
    whole = installed_files(cub_home)
    outer = tmp_path / "outer"
    outer.mkdir()
    tree.rename(outer / "xlsa17")
    assert imported(outer) == ["cub", "sun"]
    assert imported(outer / "xlsa17" / "CUB") == ["cub"]
    assert imported(zipped(tmp_path / "CUB.zip", outer / "xlsa17" / "CUB", prefix="")) == ["cub"]
    assert installed_files(cub_home) == whole


def test_import_adds_to_what_is_installed(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    import_(tree / "CUB")
    more = write_folder(tmp_path / "more" / "cub", stem="vgg19")
    (more / "att_splits.mat").unlink()
    assert set(import_(more)[0].files) == {"vgg19.mat", "trainclasses1.txt", "valclasses1.txt"}
    assert {CUB, "CUB/vgg19.mat", "CUB/att_splits.mat"} <= installed_files(cub_home)


def test_import_of_what_is_not_there_or_holds_no_data_set(tmp_path: Path, cub_home: Path) -> None:
    assert "there is no file" in refusal(import_, tmp_path / "nothing.zip", kind=DataMissing)
    (tmp_path / "empty").mkdir()
    assert "holds no .mat file of APY" in refusal(import_, tmp_path / "empty")
    path = tmp_path / "x.zip"
    for content in (b"", b"hello", b"PK\x03\x04 no more"):
        path.write_bytes(content)
        assert "cannot be unpacked as a zip" in refusal(import_, path)
    others = ("holiday/photo.mat", "CUB/readme.txt", "__MACOSX/CUB/res101.mat", "CUB/._res101.mat")
    for members in ((), [(name, b"x") for name in others]):
        assert "holds no .mat file" in refusal(import_, packed(path, *members))
    assert installed_files(cub_home) == set()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        *(([(member(name), b"x"), ("CUB/att_splits.mat", b"x")], "not safe") for name in (
            "../CUB/res101.mat", "CUB/../../res101.mat", "/CUB/res101.mat", "\\CUB\\res101.mat", "C:\\CUB\\res101.mat",
            "..\\CUB\\res101.mat", "\\\\host\\share\\res101.mat", "CUB/nul.mat", "CUB/Com1 .mat", "CUB/res101.mat:x",
            "C:res101.mat", "CUB/\x1b[31m.mat", "CUB/a\nb.mat",
        )),
        ([(member(CUB, 0o120777), b"/etc/passwd")], "holds a link"),
        *(([(member(CUB, mode), b"")], "neither file nor folder")
          for mode in (0o020666, 0o060666, 0o010666, 0o140666)),  # character, block, pipe, socket
        *(([(CUB, b"1"), (name, b"2")], "twice") for name in ("cub/RES101.mat", "inner/CUB/res101.mat")),
        ([(CUB, bytes(4 << 20))], "more than 200 times its size"),
        ([("CUB/readme.txt", bytes(1 << 20))], "holds no .mat file"),  # small enough at any ratio
        ([(f"CUB/{number}.txt", b"") for number in range(10_001)], "10,001 entries, but 10,000 are allowed"),
    ],
)  # fmt: skip
def test_what_an_archive_must_not_hold(tmp_path: Path, cub_home: Path, members: Any, why: str) -> None:
    assert why in refusal(import_, packed(tmp_path / "evil.zip", *members))
    assert not cub_home.exists()


def test_a_file_that_is_there_twice_under_one_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = packed(tmp_path / "two.zip", (CUB, b"1"), (CUB, b"2"))
    assert "twice" in refusal(import_, path)


def test_a_broken_archive_leaves_what_was_installed(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path: (cub_home / "xlsa17" / path).read_bytes() for path in installed_files(cub_home)}

    import_(tree)
    before = contents()
    path = zipped(tmp_path / "x.zip", tree)
    with zipfile.ZipFile(path) as archive:
        last = archive.getinfo("xlsa17/data/SUN/res101.mat")
    raw = bytearray(path.read_bytes())
    start = last.header_offset + 30 + len(last.filename)
    raw[start : start + last.compress_size] = bytes(last.compress_size)
    path.write_bytes(raw)
    assert "cannot be unpacked" in refusal(import_, path)
    assert contents() == before


def test_encrypted_archives_and_sizes_that_lie(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    path = zipped(tmp_path / "x.zip", tree)
    raw = path.read_bytes().replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    path.write_bytes(raw.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))
    assert "encrypted" in refusal(import_, path)
    raw = packed(path, (CUB, bytes(3 << 20))).read_bytes()
    path.write_bytes(raw.replace((3 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert "cannot be unpacked" in refusal(import_, path)
    assert installed_files(cub_home) == set()


def test_an_unwritable_home_is_one_sentence(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file"))
    assert "ZSLBENCH_HOME" in refusal(import_, tree, kind=StoreError)


def test_the_size_of_all_entries_is_limited(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zslbench.data.import_archive.MAX_BYTES", 1000)
    assert "bytes, but 1,000 are allowed" in refusal(import_, zipped(tmp_path / "big.zip", tree))


def test_archives_in_archives_and_other_archives_are_not_opened(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", tree).read_bytes()
    outer = packed(tmp_path / "outer.zip", ("CUB/inner.zip", inner), method=zipfile.ZIP_STORED)
    assert "holds no .mat file" in refusal(import_, outer)
    with tarfile.open(tmp_path / "device.tar", "w") as archive:
        device = tarfile.TarInfo(CUB)
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    assert "cannot be unpacked as a zip" in refusal(import_, tmp_path / "device.tar")
    odd = packed(tmp_path / "odd.zip", (CUB, b"x"), method=zipfile.ZIP_LZMA)
    assert "compressed with method 14" in refusal(import_, odd)
    assert not cub_home.exists()


def test_damaged_archives_are_read_or_refused(tree: Path, tmp_path: Path, cub_home: Path) -> None:
    raw = zipped(tmp_path / "x.zip", tree).read_bytes()
    fates = set()
    for number in range(60):
        (tmp_path / "x.zip").write_bytes(mutated(raw, np.random.default_rng([30, number])))
        try:
            fates.add("taken" if import_(tmp_path / "x.zip") else "nothing")
        except ZslbenchError as error:
            fates.add("many lines" if "\n" in str(error) else "refused")
    assert fates == {"taken", "refused"}
    assert not any(path.name.startswith(".incoming") for path in (cub_home / "xlsa17").iterdir())
