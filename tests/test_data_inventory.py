"""List what is on this machine, and verify it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folders import refusal, splits, write_folder

from zslbench.data import list_, load_dataset, verify
from zslbench.data.inventory import Listed
from zslbench.errors import DataMissing, UnknownName

pytestmark = pytest.mark.usefixtures("cub_home")


def listed(root: Path | None = None) -> dict[str, Listed]:
    return {row.name: row for row in list_(root)}


def test_list_names_every_registered_set(tree: Path) -> None:
    rows = listed()
    assert {"apy", "awa1", "awa2", "cub", "digits", "flo", "sun", "synthetic"} <= set(rows)
    assert (rows["cub"].features, rows["cub"].folders) == ((), ())
    assert (rows["digits"].features, rows["digits"].origin) == (("pixels",), "builtin")
    write_folder(tree / "CUB", stem="vgg19", semantics_stem="sent")
    row = listed(tree)["cub"]
    assert (row.features, row.semantics, row.folders) == (("res101", "vgg19"), ("att", "sent"), (tree / "CUB",))
    assert row.counts is not None
    assert row.counts.images == 36


def test_list_shows_a_broken_plugin_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslbench.registry import DATASETS, Entry

    broken = {"lost": Entry("lost", "nowhere.at_all:X", "theirs"), "odd": Entry("odd", "zslbench.spec:Spec", "theirs")}
    monkeypatch.setitem(DATASETS.__dict__, "entries", dict(DATASETS.entries) | broken)
    rows = listed()
    assert "unavailable" in rows["lost"].problem
    assert "not a Source" in rows["odd"].problem


def test_verify_reads_every_choice(tree: Path) -> None:
    write_folder(tree / "CUB", semantics_stem="sent")
    (row,) = verify("cub", tree)
    assert row.ok
    expected = load_dataset("cub", root=tree).fingerprint
    assert row.fingerprints == {"res101/att": expected, "res101/sent": expected}
    assert [row.name for row in verify(None, tree)] == ["cub", "sun"]


def test_verify_reports_wrong_counts_and_broken_files(tree: Path) -> None:
    (sun,) = verify("sun", tree)
    assert "36 images, but 14340 are expected" in sun.problems[0]
    write_folder(tree / "CUB", semantics={"att": np.vstack([splits()["att"]] * 2)})
    (tree / "CUB" / "vgg19.mat").write_bytes(b"broken")
    (cub,) = verify("cub", tree)
    assert len(cub.problems) == 2
    assert any("vgg19.mat" in problem for problem in cub.problems)
    (tree / "CUB" / "att_splits.mat").unlink()
    (cub,) = verify("cub", tree)
    assert "has no semantics file" in cub.problems[0]


def test_verify_finds_a_silently_changed_copy_and_heals_it(tree: Path, cub_home: Path) -> None:
    dataset = load_dataset("cub", root=tree)
    path = cub_home / "store" / "content" / dataset.fingerprint / "features.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    (row,) = verify("cub", tree)
    assert dataset.fingerprint in row.problems[0]
    assert "incomplete" in verify("cub", tree)[0].problems[0]
    load_dataset("cub", root=tree)
    assert verify("cub", tree)[0].ok


def test_verify_of_what_is_not_here(tmp_path: Path) -> None:
    assert list(verify(None)) == []
    assert "data fetch cub" in refusal(verify, "cub", tmp_path, kind=DataMissing)
    assert "did you mean 'cub'" in refusal(verify, "cubb", kind=UnknownName)
