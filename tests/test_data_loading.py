"""From what a user types to a data set: names, parameters, plugins and folders; the catalogue's checks."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_folders import images, refusal, splits, write_changed, write_folder

import zslbench
from zslbench.data import Dataset, catalogue, load_dataset
from zslbench.data.array_store import home
from zslbench.data.catalogue import xlsa17_roots
from zslbench.data.dataset import Counts, DatasetCard, Source
from zslbench.data.loading import load_source
from zslbench.errors import BadData, BadSpec, BadValue, DataMissing, Unavailable, UnknownName, ZslbenchError
from zslbench.params import param


def refused(text: str, kind: type[ZslbenchError], **kwargs: Any) -> str:
    return refusal(load_dataset, text, kind=kind, **kwargs)


def test_info_describes_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "Birds", stem="net")
    write_folder(folder, semantics_stem="sent", stem="other")
    expected = load_dataset(str(folder), features="net")
    described = zslbench.info(str(folder))
    assert (described.kind, described.name, described.title) == ("dataset", "birds", "Birds")
    assert f"-d {shlex.quote(str(folder))}" in described.summary
    facts = described.facts
    assert (int(facts["seen"]), int(facts["unseen"])) == (len(expected.seen), len(expected.unseen))
    assert int(facts["images"]) == len(expected.features)
    assert facts["features net"] == f"{expected.features.shape[1]}-d"
    assert facts["semantics att"] == f"{expected.semantics.shape[1]}-d"
    assert facts["features other"] == "take them with --features other"
    assert facts["fingerprint net/att"] == expected.fingerprint
    assert "does not exist" in refusal(zslbench.info, "./nowhere", kind=DataMissing)


def test_the_parent_of_data_sets_is_no_data_set_and_names_them(tmp_path: Path) -> None:
    for name in ("SUN", "Birds"):
        write_folder(tmp_path / name)
    (tmp_path / "notes").mkdir()
    sentence = f"{tmp_path} holds Birds, SUN; name one of them, as in {tmp_path / 'Birds'}"
    assert f"{sentence}, or a data set with --data-root {tmp_path}." in refused(str(tmp_path), DataMissing)
    assert sentence in refusal(zslbench.info, str(tmp_path), kind=DataMissing)
    assert sentence in refusal(zslbench.table, layout="stats", datasets=[str(tmp_path)], kind=DataMissing)
    assert sentence in refusal(zslbench.data.add, "mine", source=tmp_path, kind=DataMissing)


def test_a_file_that_a_folder_lacks_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "SUN")
    (folder / "att_splits.mat").rename(tmp_path / "att_splits.mat")
    assert f"{folder} has no semantics file, such as att_splits.mat; put it" in refused(str(folder), DataMissing)
    (tmp_path / "att_splits.mat").rename(folder / "att_splits.mat")
    (folder / "res101.mat").unlink()
    assert f"{folder} has no features file, such as vgg19.mat" in refused(str(folder), DataMissing, features="vgg19")
    assert f"{folder} has no features file, such as res101.mat; put it" in refusal(
        zslbench.info, str(folder), kind=DataMissing
    )


def test_info_of_a_catalogued_folder_says_how_to_take_it_under_the_proposed_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zslbench.data.catalogue import CUB

    folder = write_folder(tmp_path / "CUB", stem="net")
    assert "--data-root" not in zslbench.info(str(folder)).summary, "its numbers are not those of CUB"
    counts = Counts.of(load_dataset(str(folder)))
    monkeypatch.setattr(CUB, "card", dataclasses.replace(CUB.card, counts=counts))
    assert zslbench.info(str(folder)).summary.endswith(
        f"-d {folder}; as CUB, under the proposed split: -d cub --data-root {tmp_path}."
    )


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("digits", "digits"),
        ("Digits", "digits"),
        ("synthetic", "synthetic"),
        ("synthetic[classes=20]", "synthetic"),
        ("synthetic[ noise=1, classes=12 ]", "synthetic[classes=12,noise=1]"),
        ("synthetic[noise=1.0,classes=12]", "synthetic[classes=12,noise=1]"),
    ],
)
def test_names_are_canonical(text: str, name: str) -> None:
    dataset = load_dataset(text)
    assert dataset.name == name
    assert load_dataset(name).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        *((BadValue, text, "choose awa1 or awa2") for text in ("awa", "AWA", "awa[x=1]")),
        (UnknownName, "cubb", "did you mean 'cub'"),
        (UnknownName, "synthetic[clases=3]", "did you mean 'classes'"),
        (UnknownName, "cub[x=1]", "parameter of cub"),
        (BadSpec, "cub@published", "no presets"),
        (BadSpec, "synthetic[classes=", "cannot read"),
        (BadValue, "synthetic[classes=[20,30]]", "classes"),
        (BadData, f"{__name__}:Broken", "load returned str"),
        (BadValue, "zslbench.spec:Spec", "not a data set"),
        (Unavailable, f"{__name__}:Nothing", "no Nothing"),
        (Unavailable, "nowhere.at_all:Mine", "nowhere"),
    ],
)
def test_texts_that_name_no_data_set(kind: type[ZslbenchError], text: str, why: str) -> None:
    assert why in refused(text, kind)


class Mine(Source):
    card = DatasetCard(title="Mine", summary="", citation="")

    def load(self, *, features: Any = None, semantics: Any = None, root: Any = None) -> Dataset:
        return load_dataset("digits")


class Broken(Mine):
    def load(self, *, features: Any = None, semantics: Any = None, root: Any = None) -> Any:
        return "a text"


def test_a_class_of_ones_own() -> None:
    assert load_dataset(f"{__name__}:Mine").name == f"{__name__}:Mine"


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "My Flowers")
    dataset = load_dataset(str(folder))
    assert (dataset.name, dataset.origin) == ("my-flowers", "own")
    assert (dataset.features_name, dataset.semantics_name) == ("res101", "att")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("My Flowers").fingerprint == dataset.fingerprint
    monkeypatch.chdir(folder)
    assert load_dataset(".").name == "my-flowers"


def test_a_bare_registered_name_is_never_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("digits").origin == "builtin"
    assert load_dataset("./digits").origin == "own"


def test_the_only_features_and_semantics_are_taken_and_several_ask_for_a_choice(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "x", stem="vgg19", semantics_stem="w2v"))
    dataset = load_dataset(folder)
    assert (dataset.features_name, dataset.semantics_name) == ("vgg19", "w2v")
    write_folder(tmp_path / "x", stem="effnet")
    assert "effnet, vgg19; choose one with --features" in refused(folder, BadValue)
    assert load_dataset(folder, features="vgg19").semantics_name == "att"
    assert "it has: att, w2v" in refused(folder, DataMissing, features="vgg19", semantics="sent")
    assert "it has: effnet, vgg19" in refused(folder, DataMissing, features="res101")


def test_paths_that_are_no_folders(tmp_path: Path) -> None:
    (tmp_path / "file.mat").write_text("x")
    assert "does not exist" in refused(str(tmp_path / "nowhere"), DataMissing)
    assert "does not exist" in refused("./nowhere", DataMissing)
    assert "is a file" in refused(str(tmp_path / "file.mat"), DataMissing)
    (tmp_path / "empty").mkdir()
    assert "has no features file, such as res101.mat; put it there" in refused(str(tmp_path / "empty"), DataMissing)


# --- roots ------------------------------------------------------------------------------------------------------------


def test_roots_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert xlsa17_roots() == [home() / "xlsa17"]
    (tmp_path / "a" / "xlsa17").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "a"))
    assert xlsa17_roots() == [tmp_path / "a", tmp_path / "a" / "xlsa17", home() / "xlsa17"]
    assert xlsa17_roots(tmp_path / "b") == [tmp_path / "b"]
    assert "--data-root names" in refusal(xlsa17_roots, tmp_path / "c", kind=DataMissing)
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "c"))
    assert "ZSLBENCH_DATA names" in refusal(xlsa17_roots, kind=DataMissing)


# --- the catalogue ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cub_home")
@pytest.mark.parametrize("folder", ["CUB", "cub", "xlsa17/CUB"])
def test_a_catalogued_set_is_found_and_counted(tmp_path: Path, folder: str) -> None:
    write_folder(tmp_path / folder)
    dataset = load_dataset("cub", root=tmp_path)
    assert (dataset.name, dataset.origin) == ("cub", "catalogue")


@pytest.mark.usefixtures("cub_home")
def test_the_second_root_serves_what_the_first_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "mine"))
    write_folder(tmp_path / "home" / "xlsa17" / "CUB")
    write_folder(tmp_path / "mine" / "CUB", stem="vgg19")
    assert load_dataset("cub").features_name == "res101"
    assert load_dataset("cub", features="vgg19").features_name == "vgg19"


@pytest.mark.usefixtures("cub_home")
def test_wrong_counts_name_both_numbers(tmp_path: Path) -> None:
    without = {key: np.setdiff1d(splits()[key], [36])[:, None] for key in ("trainval_loc", "test_seen_loc")}
    fewer = {"features": images()["features"][:, :-1], "labels": images()["labels"][:-1]}
    for number, (changed, why) in enumerate((
        ({"att": np.vstack([splits()["att"]] * 2)}, "6 attributes, but 3 are expected"),
        ({"features": np.vstack([images()["features"]] * 2)}, "10 feature dimensions, but 5 are expected"),
        ({"trainval_loc": splits()["trainval_loc"][:-1]}, "19 trainval images, but 20 are expected"),
        (fewer | without, "35 images, but 36 are expected"),
    )):  # fmt: skip
        folder = write_changed(tmp_path / str(number) / "CUB", **changed)
        assert why in refused("cub", BadData, root=folder.parent)
        assert load_dataset(str(folder)).origin == "own", "one's own data is not counted"


@pytest.mark.usefixtures("cub_home")
def test_other_semantics_and_features_may_have_other_sizes(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "CUB", semantics={"att": np.random.default_rng(0).random((9, 6))}, semantics_stem="sent"
    )
    write_folder(folder, {"features": np.random.default_rng(0).random((11, 36))}, stem="vgg19")
    dataset = load_dataset("cub", features="vgg19", semantics="sent", root=tmp_path)
    assert (dataset.features.shape[1], dataset.semantics.shape[1]) == (11, 9)


def test_what_is_not_here_says_what_there_is_and_what_to_do(tmp_path: Path) -> None:
    for name in ("apy", "awa1", "awa2", "cub", "flo", "sun"):
        message = refused(name, DataMissing, root=tmp_path)
        for part in (f"`zslbench data fetch {name}`", "parent folder", "--data-root", str(tmp_path)):
            assert part in message
    write_folder(tmp_path / "CUB", stem="fc1000")
    message = refused("cub", DataMissing, root=tmp_path, features="res101")
    for part in ("'res101'", "it has: fc1000; choose one with --features", "data fetch", "data import", "--data-root"):
        assert part in message
    message = refused("cub", DataMissing, root=tmp_path, features="fc1000", semantics="sent")
    assert "it has: att; choose one with --semantics" in message
    write_folder(tmp_path / "CUB", stem="vgg19")
    assert "it has: fc1000, vgg19; choose one with --features" in refused("cub", DataMissing, root=tmp_path)
    (tmp_path / "CUB" / "fc1000.mat").unlink()
    (tmp_path / "CUB" / "vgg19.mat").unlink()
    message = refused("cub", DataMissing, root=tmp_path)
    assert "has no features file, such as res101.mat; get it with `zslbench data fetch cub`" in message


def test_text_lists_changed_parameters_only() -> None:
    @dataclasses.dataclass(kw_only=True)
    class Local(Mine):
        size: int = param(3, low=1)
        word: str = param("a")

    assert Local().text("x") == "x"
    assert Local(word="a b").text("x") == "x[word='a b']"


def test_importing_the_data_package_stays_light() -> None:
    code = (
        "import sys, zslbench.data as data; data.load_dataset; data.list_; data.import_; data.fetch; data.verify; "
        "data.list_(); heavy = {'scipy', 'sklearn', 'pandas', 'torch', 'requests'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["apy", "awa1", "awa2", "cub", "flo", "sun"])
def test_a_data_set_that_is_not_here_is_refused_readably(name: str, typed: Any, own_home: Path) -> None:
    code, out, err = typed("run", "-m", "eszsl", "-d", name)
    first, *notes = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith(f"Error: data set '{name}' is not on this machine (looked in {own_home}")
    assert max(map(len, notes)) <= 80
    facts = {note[:14].strip(): note[14:].strip() for note in notes}
    archive = next(archive for archive in catalogue.ARCHIVES if name in archive.datasets)
    folder = load_source(name)[0].card.folder
    assert facts["download"] == f"zslbench data fetch {name}"
    assert facts["from"] == archive.addresses[0]
    assert facts["size"].startswith("not published")
    assert facts["checksum"] == "none is published"
    assert "ZSLBENCH_MIRROR" in facts["mirrors"]
    assert f"the parent folder of {folder}/: DIR/{folder}/res101.mat" in facts["have folders"]
    assert typed(*shlex.split(facts["works now"].partition("(")[0])[1:], "--dry-run", "-q")[0] == 0


def test_the_folder_of_the_data_set_itself_as_root_is_explained(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "CUB")
    message = refused("cub", DataMissing, root=folder)
    assert message == f"--data-root {folder} is the folder of CUB itself; give the folder that holds it: {tmp_path}."


@pytest.mark.usefixtures("cub_home")
def test_the_only_features_of_a_folder_are_taken_and_a_remark_says_so(tmp_path: Path, typed: Any) -> None:
    folder = write_folder(tmp_path / "CUB", stem="fc1000", semantics_stem="sent")
    dataset = load_dataset("cub", root=tmp_path)
    assert (dataset.features_name, dataset.semantics_name) == ("fc1000", "sent")
    for text in ("cub", str(folder)):
        code, out, _ = typed("run", "-m", "eszsl", "-d", text, "--data-root", str(tmp_path), "--dry-run")
        assert code == 0
        assert "cub has no features res101; its only features, fc1000, are used." in out
        assert "cub has no semantics att; its only semantics, sent, are used." in out
    asked = ["run", "-m", "eszsl", "-d", "cub", "--features", "fc1000", "--semantics", "sent", "--dry-run"]
    assert "its only" not in typed(*asked, "--data-root", str(tmp_path))[1]
    write_folder(folder, stem="res101")
    assert load_dataset("cub", root=tmp_path).features_name == "res101"


@pytest.mark.usefixtures("cub_home")
def test_semantics_side_by_side_each_scaled_to_unit_length(tmp_path: Path) -> None:
    sent = np.random.default_rng(0).random((9, 6))
    sent[:, 2] = 0  # a class that one of the choices does not describe
    folder = write_folder(tmp_path / "CUB", semantics={"att": sent}, semantics_stem="sent")
    write_folder(folder, semantics={"original_att": splits()["att"]})
    for text, options in ((str(folder), {}), ("cub", {"root": tmp_path})):
        dataset = load_dataset(text, semantics="att+sent", **options)
        assert (dataset.semantics_name, dataset.semantics.dtype, dataset.original) == ("att+sent", np.float32, None)
        for row, *blocks in zip(dataset.semantics, splits()["att"].T, sent.T, strict=True):
            expected = [value / max(sum(x * x for x in block) ** 0.5, 1e-9) for block in blocks for value in block]
            np.testing.assert_allclose(row, expected, rtol=1e-5)
        np.testing.assert_array_equal(dataset.features, load_dataset(text, **options).features)
    write_folder(folder, semantics={"att": sent + 0.5}, semantics_stem="sent")
    zslbench.data.add("birds", source=folder)
    joined = (load_dataset(text, semantics="att+sent").fingerprint for text in ("birds", str(folder)))
    assert len(set(joined)) == 1
    assert "has no semantics 'send'; it has: att, sent" in refused("birds", DataMissing, semantics="att+send")
    outcome = zslbench.run("eszsl", "birds", "zsl", semantics="att+sent", runs=tmp_path / "runs")
    assert outcome.records[0].dataset["semantics"] == "att+sent"
    write_folder(folder, semantics_stem="att+x")
    assert load_dataset(str(folder), semantics="att+x").semantics.shape == (6, 3)
    write_folder(folder, semantics={"trainval_loc": splits()["trainval_loc"][1:]}, semantics_stem="other")
    assert "its trainval are not those of semantics 'other'" in refused(str(folder), BadData, semantics="att+other")
