"""Import from zips and folders: what matters is installed, what is unsafe or broken is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_folders import installed_files, small_cub, write_folder, write_tree, zipped
from mutations import mutated

from zslbench.data import import_, load_dataset
from zslbench.errors import BadData, DataMissing, StoreError, ZslbenchError

MATTER = {"res101.mat", "att_splits.mat", "trainclasses1.txt", "valclasses1.txt"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return small_cub(monkeypatch, tmp_path / "home")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "xlsa17")


def refused(source: Path, kind: type[ZslbenchError] = BadData) -> str:
    with pytest.raises(kind) as caught:
        import_(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_import_a_zip(tree: Path, tmp_path: Path, home: Path) -> None:
    path = zipped(tmp_path / "any.zip", tree)
    found = import_(path)
    assert [one.name for one in found] == ["cub", "sun"]
    assert set(found[0].files) == MATTER
    assert found[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads((home / "xlsa17" / "CUB" / "origin.json").read_text())["sha256"] == found[0].sha256
    assert installed_files(home) == {f"{name}/{file}" for name in ("CUB", "SUN") for file in MATTER | {"origin.json"}}
    direct = load_dataset(str(tree / "CUB"))
    assert load_dataset("cub").fingerprint == direct.fingerprint


def test_import_a_tree_a_folder_and_a_zip_of_one_folder_agree(tree: Path, tmp_path: Path, home: Path) -> None:
    assert [one.name for one in import_(tree)] == ["cub", "sun"]
    whole = installed_files(home)
    outer = tmp_path / "outer"
    (outer).mkdir()
    tree.rename(outer / "xlsa17")
    assert [one.name for one in import_(outer)] == ["cub", "sun"]
    assert [one.name for one in import_(str(outer / "xlsa17" / "CUB"))] == ["cub"]
    flat = zipped(tmp_path / "CUB.zip", outer / "xlsa17" / "CUB", prefix="")
    assert [one.name for one in import_(flat)] == ["cub"]
    assert installed_files(home) == whole


def test_import_adds_to_what_is_installed(tree: Path, tmp_path: Path, home: Path) -> None:
    import_(tree / "CUB")
    more = tmp_path / "more" / "cub"
    write_folder(more, stem="vgg19")
    (more / "att_splits.mat").unlink()
    assert set(import_(more)[0].files) == {"vgg19.mat", "trainclasses1.txt", "valclasses1.txt"}
    assert {"CUB/res101.mat", "CUB/vgg19.mat", "CUB/att_splits.mat"} <= installed_files(home)


def test_import_of_what_is_not_there_or_not_a_zip(tmp_path: Path, home: Path) -> None:
    assert "there is no file" in refused(tmp_path / "nothing.zip", DataMissing)
    for number, content in enumerate((b"", b"hello", b"PK\x03\x04 no more")):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert "cannot be unpacked as a zip" in refused(path)
    assert installed_files(home) == set()


def test_import_of_empty_or_unrelated_things(tmp_path: Path, home: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no .mat file of APY" in refused(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "holds no .mat file" in refused(tmp_path / "empty.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("holiday/photo.mat", "x")
        archive.writestr("CUB/readme.txt", "x")
        archive.writestr("__MACOSX/CUB/res101.mat", "x")
        archive.writestr("CUB/._res101.mat", "x")
    assert "holds no .mat file" in refused(tmp_path / "other.zip")
    assert installed_files(home) == set()


@pytest.mark.parametrize(
    "name", ["../CUB/res101.mat", "CUB/../../res101.mat", "/CUB/res101.mat", "\\CUB\\res101.mat", "C:\\CUB\\res101.mat"]
)
def test_import_refuses_names_outside_the_archive(tmp_path: Path, home: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("CUB/att_splits.mat", "x")
        archive.writestr(zipfile.ZipInfo(name), "x")
    assert "not safe" in refused(tmp_path / "evil.zip")
    assert installed_files(home) == set()


def test_import_refuses_links_in_an_archive(tmp_path: Path, home: Path) -> None:
    link = zipfile.ZipInfo("CUB/res101.mat")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "holds a link" in refused(tmp_path / "evil.zip")
    assert installed_files(home) == set()


def test_a_broken_archive_leaves_what_was_installed(tree: Path, tmp_path: Path, home: Path) -> None:
    import_(tree)
    before = {path: (home / "xlsa17" / path).read_bytes() for path in installed_files(home)}
    path = zipped(tmp_path / "x.zip", tree)
    with zipfile.ZipFile(path) as archive:
        last = archive.getinfo("xlsa17/data/SUN/res101.mat")
    raw = bytearray(path.read_bytes())
    start = last.header_offset + 30 + len(last.filename)
    raw[start : start + last.compress_size] = bytes(last.compress_size)
    path.write_bytes(raw)
    assert "cannot be unpacked" in refused(path)
    assert {path: (home / "xlsa17" / path).read_bytes() for path in installed_files(home)} == before


def test_an_encrypted_archive_is_refused(tree: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", tree)
    raw = path.read_bytes()
    locked = raw.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    path.write_bytes(locked.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"))
    assert "encrypted" in refused(path)


def test_an_unwritable_home_is_one_sentence(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "file"))
    assert "ZSLBENCH_HOME" in refused(tree, StoreError)


def packed(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, content in members:
            archive.writestr(member, content, compress_type=method)
    return path


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, home: Path) -> None:
    path = packed(tmp_path / "bomb.zip", ("CUB/res101.mat", bytes(4 << 20)))
    assert path.stat().st_size < 10_000
    assert "more than 200 times its size" in refused(path)
    assert not home.exists()
    packed(path, ("CUB/readme.txt", bytes(1 << 20)))  # small enough at any ratio
    assert "holds no .mat file" in refused(path)


def test_size_and_number_of_entries_are_limited(
    tmp_path: Path, tree: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = packed(tmp_path / "many.zip", *((f"CUB/{number}.txt", b"") for number in range(10_001)))
    assert "10,001 entries where 10,000 are allowed" in refused(many)
    monkeypatch.setattr("zslbench.data.archive.MAX_BYTES", 1000)
    assert "bytes where 1,000 are allowed" in refused(zipped(tmp_path / "big.zip", tree))
    assert not home.exists()


def test_sizes_that_lie_give_no_more_than_they_declare(tmp_path: Path, home: Path) -> None:
    path = packed(tmp_path / "lie.zip", ("CUB/res101.mat", bytes(3 << 20)))
    raw = path.read_bytes()
    path.write_bytes(raw.replace((3 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert "cannot be unpacked" in refused(path)
    assert installed_files(home) == set()


@pytest.mark.parametrize(
    "name",
    ["..\\CUB\\res101.mat", "\\\\host\\share\\res101.mat", "CUB/nul.mat", "CUB/Com1 .mat", "CUB/res101.mat:x",
     "C:res101.mat", "CUB/\x1b[31m.mat", "CUB/a\nb.mat"],
)  # fmt: skip
def test_names_that_harm_on_some_system_are_refused(tmp_path: Path, home: Path, name: str) -> None:
    assert "not safe" in refused(packed(tmp_path / "evil.zip", (zipfile.ZipInfo(name), b"x")))
    assert not home.exists()


@pytest.mark.parametrize("mode", [0o020666, 0o060666, 0o010666, 0o140666], ids=["character", "block", "pipe", "socket"])
def test_devices_in_an_archive_are_refused(tmp_path: Path, home: Path, mode: int) -> None:
    member = zipfile.ZipInfo("CUB/res101.mat")
    member.external_attr = mode << 16
    assert "neither file nor folder" in refused(packed(tmp_path / "evil.zip", (member, b"")))
    assert not home.exists()


@pytest.mark.parametrize("second", ["CUB/res101.mat", "cub/RES101.mat", "inner/CUB/res101.mat"])
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path, home: Path, second: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate") if second == "CUB/res101.mat" else contextlib.nullcontext():
        path = packed(tmp_path / "two.zip", ("CUB/res101.mat", b"1"), (second, b"2"))
    assert "twice" in refused(path)
    assert not home.exists()


def test_archives_in_archives_and_other_archives_are_not_opened(tree: Path, tmp_path: Path, home: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", tree)
    outer = packed(tmp_path / "outer.zip", ("CUB/inner.zip", inner.read_bytes()), method=zipfile.ZIP_STORED)
    assert "holds no .mat file" in refused(outer)
    with tarfile.open(tmp_path / "device.tar", "w") as archive:
        device = tarfile.TarInfo("CUB/res101.mat")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    assert "cannot be unpacked as a zip" in refused(tmp_path / "device.tar")
    packed(tmp_path / "odd.zip", ("CUB/res101.mat", b"x"), method=zipfile.ZIP_LZMA)
    assert "packed by method 14" in refused(tmp_path / "odd.zip")
    assert not home.exists()


def test_damaged_archives_are_read_or_refused(tree: Path, tmp_path: Path, home: Path) -> None:
    raw = zipped(tmp_path / "x.zip", tree).read_bytes()
    fates = set()
    for number in range(60):
        (tmp_path / "x.zip").write_bytes(mutated(raw, np.random.default_rng([30, number])))
        try:
            fates.add("taken" if import_(tmp_path / "x.zip") else "nothing")
        except ZslbenchError as error:
            fates.add("many lines" if "\n" in str(error) else "refused")
    assert fates == {"taken", "refused"}
    assert not any(path.name.startswith(".incoming") for path in (home / "xlsa17").iterdir())
