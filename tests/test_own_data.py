"""`data add`: each format and each way to name classes gives the same data set; what breaks a rule gets a sentence."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import own_data
import pytest
from data_folders import refusal, splits, write_folder
from own_data import NAMES, arrays, make, refuse

import zslbench
from zslbench.checks import check_dataset
from zslbench.data import added as home
from zslbench.data import list_, load_dataset, verify
from zslbench.data.added import Added
from zslbench.data.own.add import add
from zslbench.data.splits import split
from zslbench.errors import BadData, BadSpec, BadValue, DataMissing, UnknownName, ZslbenchError

SPLIT = {"unseen": ["crow", "gull"]}
FOLDS = [{"train": ["auk", "dove"], "val": ["finch"]}]
_UNSEEN = np.isin(arrays()["labels"], [2, 6])
WHOLE = {
    "trainval": np.flatnonzero(~_UNSEEN)[6:],
    "test_seen": np.flatnonzero(~_UNSEEN)[:6],
    "test_unseen": np.flatnonzero(_UNSEEN),
}
pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "tsv", "mat", "mat73", "h5", "pt"])
def test_every_format_gives_the_same_content(tmp_path: Path, kind: str, turned: bool) -> None:
    given = own_data.write(tmp_path / kind, kind, turned)
    report = add("birds", **given, classes=list(NAMES), splits=SPLIT)
    dataset = load_dataset("birds")
    expected = arrays()
    for key in ("features", "labels", "semantics"):
        np.testing.assert_array_equal(getattr(dataset, key), expected[key])
    assert dataset.class_names == NAMES
    assert set(dataset.unseen) == {2, 6}
    assert dataset.fingerprint == make("again").added.fingerprints["features/semantics"]
    assert any("transposed" in remark for remark in report.remarks) == turned


def test_an_added_set_is_known_everywhere(own_home: Path) -> None:
    added = make().added
    (row,) = (row for row in list_() if row.name == "birds")
    assert (row.origin, row.features, row.semantics) == ("added", ("features",), ("semantics",))
    assert row.folders == (own_home / "added" / "birds",)
    assert "birds" in {listed.name for listed in zslbench.list("datasets")}
    info = zslbench.info("Birds")
    assert (info.name, info.facts["unseen classes"]) == ("birds", "crow, gull")
    assert info.facts["split"] == "seeded split (seed 0, 2 given unseen classes)"
    assert [row.ok for row in verify()] == [True]
    assert verify("birds")[0].fingerprints == dict(added.fingerprints)
    assert "did you mean 'birds'" in refusal(load_dataset, "brids", kind=UnknownName)
    assert "no parameters" in refusal(load_dataset, "birds[seed=1]", kind=BadSpec)
    assert "it has: features" in refusal(load_dataset, "birds", features="res101", kind=DataMissing)


def test_a_run_says_how_the_split_was_made(tmp_path: Path) -> None:
    make(splits=None, unseen="25%", seed=3)
    dataset = zslbench.run("eszsl", "birds", runs=tmp_path / "runs").records[0].dataset
    assert (dataset["origin"], dataset["split"]) == ("added", "seeded split (seed 3, 25 % unseen)")
    text = zslbench.table(tmp_path / "runs", caption="full").text
    assert "Split: seeded split (seed 3, 25 % unseen)." in text
    assert "proposed" not in text


def test_made_splits_are_seeded_and_sound() -> None:
    one, again, other = (make(name, splits=None, seed=seed).added for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one.fingerprints == again.fingerprints != other.fingerprints
    dataset = one.load()
    assert (len(dataset.unseen), len(dataset.seen)) == (2, 6)
    assert np.bincount(dataset.labels[dataset.test_seen], minlength=8).max() == 1  # a fifth of five images
    parts = np.concatenate([dataset.trainval, dataset.test_seen, dataset.test_unseen])
    assert sorted(parts) == list(range(40))
    half = make("d", splits=None, unseen=["auk", "hawk"], test_share=0.4, folds=4).added
    assert half.split == "seeded split (seed 0, 2 given unseen classes, 40 % of seen images test)"
    chosen = half.load()
    assert np.bincount(chosen.labels[chosen.test_seen], minlength=8).tolist() == [0, 2, 2, 2, 2, 2, 2, 0]
    assert len(chosen.folds) == 4
    assert set(split(chosen, "dev", 4).unseen) < set(chosen.seen)


def test_labels_of_every_kind_mean_the_same() -> None:
    content = arrays()
    labels = content["labels"]
    expected = make("plain").added.fingerprints
    by_name = [NAMES[label] for label in labels]
    for number, given in enumerate((labels + 1, labels[:, None] + 1.0, by_name, labels.astype(np.uint8))):
        assert make(f"kind{number}", labels=given).added.fingerprints == expected
    counted = [f"{number:03d}.{name}" for number, name in enumerate(NAMES, start=1)]
    added = make("xlsa17", classes=counted, labels=by_name, splits={"unseen": [2, 6]}).added
    assert (added.class_names, added.fingerprints) == (tuple(counted), expected)
    ids = [str(17 * label) for label in range(8)]
    numbered = make("ids", classes=ids, labels=17 * labels, splits={"unseen": ["34", "102"]}).added
    assert numbered.fingerprints == expected


def test_names_beside_the_semantics_are_the_classes(tmp_path: Path) -> None:
    table, labels = arrays()["semantics"], arrays()["labels"]
    path = tmp_path / "att.csv"
    rows = [f"{name}," + ",".join(map(repr, row.tolist())) for name, row in zip(NAMES, table, strict=True)]
    path.write_text("\n".join(["class,beak,wing,tail", *rows]), encoding="utf-8")
    expected = make("plain").added.fingerprints["features/semantics"]
    named = make(semantics=str(path), classes=None, labels=[NAMES[label] for label in labels]).added
    assert (named.class_names, named.fingerprints) == (NAMES, {"features/att": expected})
    path.write_text("\n".join(reversed(rows)), encoding="utf-8")
    report = make("turned", semantics=str(path))
    assert report.added.fingerprints == {"features/att": expected}
    assert any("put into the order" in remark for remark in report.remarks)


def test_labels_names_and_facts_beside_features_and_semantics(tmp_path: Path) -> None:
    """As `data features` and `data semantics` write them: labels from 0 into class_names, and facts as JSON."""
    content, words, order = arrays(), tmp_path / "words.npz", [3, 1, 7, 0, 2, 6, 5, 4]
    names, facts = np.array(NAMES), {"backbone": "net", "weights": "sha256 0f", "crop": {"of": 224}}

    def write(path: Path, **changed: Any) -> str:
        beside = {"labels": content["labels"], "class_names": names, "about": json.dumps(facts)}
        np.savez(path, **{"features": content["features"], **beside, **changed})
        return str(path)

    np.savez(words, semantics=content["semantics"][order], class_names=names[order], about='{"encoder": "tf-idf"}')
    given: dict[str, Any] = {"labels": None, "classes": None, "features": write(tmp_path / "net.npz")}
    report = make(**given, semantics=str(words))
    assert any("put into the order" in remark for remark in report.remarks)
    assert report.added.fingerprints == {"net/words": make("plain").added.fingerprints["features/semantics"]}
    added = home.find_added("birds")
    assert added is not None
    assert (added.features["net"]["about"], added.semantics["words"]["about"]) == (facts, {"encoder": "tf-idf"})
    told = json.loads(zslbench.info("birds").write_json())["facts"]
    assert "backbone net, weights sha256 0f" in told["features net"]
    assert "encoder tf-idf" in told["semantics words"]
    expected = report.added.fingerprints
    assert make("turned", **given | {"classes": names[order]}, semantics=str(words)).added.fingerprints != expected
    np.savez(tmp_path / "words.npz", semantics=content["semantics"].T, class_names=names)  # a column per class
    assert make("columns", **given, semantics=str(words)).added.fingerprints == expected
    other = write(tmp_path / "other.npz", labels=content["labels"][::-1])
    assert "labels beside features 'other' are not those" in refuse(
        name="new", **given | {"features": {"net": given["features"], "other": other}}, semantics=str(words)
    )
    assert "labels beside features 'other'" in refusal(add, "birds", features=other)
    add("birds", features=write(tmp_path / "again.npz"))
    np.savez(words, semantics=content["semantics"], class_names=[*NAMES[:6], "Gull", "kite"])
    assert "not in the list are 'Gull', 'kite', without semantics are 'gull', 'hawk'" in refuse(
        name="new", **given, semantics=str(words)
    )
    for changed, why in (
        ({"about": "[1]"}, "about is not a JSON object"),
        ({"about": "x" * 1_000_000}, "are allowed"),
        ({"labels": content["labels"] + 1}, "labels go from 1 to 8, but class_names are 8"),
    ):
        bad = given | {"features": write(tmp_path / "bad.npz", **changed)}
        assert why in refuse(name="new", **bad, semantics=content["semantics"])
    np.savez(words, semantics=content["semantics"], class_names=NAMES[:5])
    assert "class_names beside them are 5" in refuse(name="new", **given, semantics=str(words))
    bare = {"features": content["features"], "labels": None}
    assert "needs --labels" in refuse(kind=BadValue, name="new", **bare)


def test_class_names_as_matlab_7_3_writes_a_cell_array(tmp_path: Path) -> None:
    """A reference for each cell, to a matrix of its characters."""
    with h5py.File(tmp_path / "names.h5", "w") as file:
        for number, name in enumerate(NAMES):
            file[f"#refs#/{number}"] = np.array([[ord(letter)] for letter in name], np.uint16)
        cells = [[file[f"#refs#/{number}"].ref for number in range(len(NAMES))]]
        file.create_dataset("allclasses_names", data=cells, dtype=h5py.ref_dtype)
        file["long"] = np.zeros((1001, 1), np.uint16)
        file.create_dataset("no_text", data=[file["long"].ref], dtype=h5py.ref_dtype)
    assert "must be a cell array of texts" in refuse(classes=f"{tmp_path / 'names.h5'}:no_text")
    assert make(classes=f"{tmp_path / 'names.h5'}:allclasses_names").added.class_names == NAMES


@pytest.mark.parametrize("kind", ["json", "toml", "npz", "mapping", "1-based"])
def test_splits_of_every_kind(tmp_path: Path, kind: str) -> None:
    plain = make("plain", splits=None, seed=5, unseen=3).added.load()
    lists = {part: getattr(plain, part).tolist() for part in ("trainval", "test_seen", "test_unseen")}
    path = tmp_path / f"split.{kind}"
    if kind == "json":
        path.write_text(json.dumps({"base": 0, **lists}), encoding="utf-8")
    elif kind == "toml":
        path.write_text("".join(f"{part} = {rows}\n" for part, rows in lists.items()), encoding="utf-8")
    elif kind == "npz":
        np.savez(path, base=0, **lists)
    source: Any = lists if kind == "mapping" else path
    if kind == "1-based":
        source = {"base": 1} | {part: [row + 1 for row in rows] for part, rows in lists.items()}
    added = make(splits=source).added
    assert added.load().fingerprint == plain.fingerprint
    assert added.split == ""
    fold = {"train": [NAMES[label] for label in plain.seen[:3]], "val": [int(plain.seen[3])]}
    with_folds = {**lists, "folds": [fold]}
    assert [fold.val.tolist() for fold in make("folded", splits=with_folds).added.load().folds] == [[plain.seen[3]]]


def test_further_features_and_semantics(tmp_path: Path) -> None:
    make()
    content = arrays()
    more = np.hstack([content["features"], content["features"]])
    add("birds", features={"wide": more}, semantics={"twice": 2 * content["semantics"]})
    fingerprints = home.find_added("birds").fingerprints  # type: ignore[union-attr]
    assert set(fingerprints) == {"features/semantics", "features/twice", "wide/semantics", "wide/twice"}
    assert load_dataset("birds").features_name == "features"
    wide = load_dataset("birds", features="wide", semantics="twice")
    np.testing.assert_array_equal(wide.features, more)
    assert check_dataset(wide)
    assert verify("birds")[0].ok
    for given, why in (
        ({"features": {"wide": more}}, "already"),
        ({"labels": content["labels"]}, "was added before"),
        ({"features": {"x/y": more}}, "cannot be the name"),
        ({"features": {"z": more[:9]}}, "40 images"),
    ):
        with pytest.raises((BadValue, BadData), match=why):
            add("birds", **given)
    assert set(home.find_added("birds").features) == {"features", "wide"}  # type: ignore[union-attr]


def test_a_folder_keeps_its_fingerprint(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "XLSA", semantics={"original_att": 100 * splits()["att"]})
    write_folder(folder, stem="vgg19", semantics_stem="sent")
    added = add("mine", source=folder).added
    assert (list(added.features), list(added.semantics)) == (["res101", "vgg19"], ["att", "sent"])
    for features, semantics in itertools.product(added.features, added.semantics):
        direct = load_dataset(str(folder), features=features, semantics=semantics)
        assert load_dataset("mine", features=features, semantics=semantics).fingerprint == direct.fingerprint
    assert len(added.load().folds) == 1
    add("mine", features={"wide": np.hstack([added.load().features] * 2)})
    wide = load_dataset("mine", features="wide")
    np.testing.assert_array_equal(wide.original, added.load().original)
    assert wide.original is not None
    assert verify("mine")[0].ok
    assert "brings" in refusal(add, "other", source=folder, labels=[1], kind=BadValue)
    assert "is not a folder" in refusal(add, "other", source=tmp_path / "nowhere", kind=DataMissing)


def test_remove(own_home: Path) -> None:
    folder = make(splits={**SPLIT, "folds": FOLDS}).added.folder
    (folder / "about.json").unlink()  # as an interrupted removal leaves it, which is not taken up
    assert home.names() == []
    assert make().added.load().folds == ()
    assert not list(folder.glob("fold*"))
    assert zslbench.data.remove("birds") == folder == own_home / "added" / "birds"
    assert home.names() == []
    assert "no data set 'birds' was added" in refusal(zslbench.data.remove, "birds", kind=DataMissing)
    refusal(zslbench.data.remove, "../added", kind=DataMissing)


def test_damaged_files_are_told() -> None:
    added = make().added
    raw = bytearray((added.folder / "features-features.npy").read_bytes())
    raw[-2] ^= 1
    (added.folder / "features-features.npy").write_bytes(raw)
    assert "but" in verify("birds")[0].problems[0]
    (added.folder / "features-features.npy").write_bytes(raw[:-8])
    assert "missing or damaged" in refusal(load_dataset, "birds")
    (added.folder / "about.json").write_text("{")
    assert "is damaged" in refusal(load_dataset, "birds")
    assert "damaged" in {row.name: row for row in list_()}["birds"].problem


def test_tables_that_break_a_rule_name_the_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for text, why in (
        ("a,b\n1,2\n3,x\n", "row 3, column 2 is 'x'"),
        ("1,2\n3\n", "row 2 has 1 columns"),
        ("1,2\n3,\n", "column 2 is ''"),
        ("\n \n", "is empty"),
        ("1,2\n\0\n", "zero byte"),
    ):
        path.write_text(text, encoding="utf-8")
        assert why in refuse(features=str(path))
    path.write_bytes(b"\xff\xfe1")
    assert "UTF-8" in refuse(features=str(path))


def test_names_that_cannot_be() -> None:
    for name in (
        "cub",
        "Digits",
        "awa",
        "all",
        "sae",
        "zsl",
        "a/b",
        "..",
        "a b",
        "x[1]",
        "",
        "é",
        "a" * 65,
        "-x",
        "x.",
    ):
        refusal(make, name, kind=BadValue)
    assert make("Birds-2").added.name == "birds-2"


def spoil(key: str, at: Any, value: Any) -> dict[str, np.ndarray]:
    array = arrays()[key]
    array[at] = value
    return {key: array}


LABELS = arrays()["labels"]
TWINS = spoil("semantics", 1, arrays()["semantics"][0])
PARTS = {"trainval": [0], "test_seen": [1], "test_unseen": [2]}
BROKEN: list[tuple[type[ZslbenchError], dict[str, Any], str]] = [
    (ZslbenchError, TWINS, "same semantics"),  # the contract fails
    *((BadData, changed, why) for changed, why in (
        (spoil("features", (3, 1), np.nan), "NaN or infinity (first in image 4 of 40)"),
        (spoil("features", (0, 0), np.inf), "NaN or infinity"),
        (spoil("semantics", (1, 1), np.nan), "NaN or infinity (first in class 2 of 8)"),
        ({"features": arrays()["features"][:-1]}, "features has 39 images, labels 40 labels; give one"),
        ({"features": np.array([[object()] * 6] * 40)}, "hold object"),
        ({"features": np.zeros((0, 6))}, "empty"),
        ({"labels": LABELS[:-1]}, "features has 40 images, labels 39 labels; give one label per image"),
        ({"labels": np.eye(8)[LABELS]}, "one-hot"),
        ({"labels": LABELS + 2}, "run from 2 to 9"),
        ({"labels": LABELS + 0.5}, "whole numbers"),
        ({"labels": np.where(LABELS == 4, 5, LABELS)}, "1 class without an image (first: 'eider')"),
        ({"labels": ["owl"] * 40}, "'owl', which is not a class"),
        ({"labels": [NAMES[label] for label in LABELS], "classes": None}, "--classes"),
        ({"classes": [*NAMES[:7], "auk"]}, "'auk' is listed 2 times"),
        ({"classes": NAMES[:7]}, "but there are 7 classes"),
        ({"classes": [*NAMES[:7], " "]}, "class name '' is empty"),
    )),
    *((BadData, {"splits": splits}, why) for splits, why in (
        ({"unseen": ["auk", "owl"]}, "'owl', which is not a class"),
        ({"unseen": ["auk", "auk"]}, "more than once"),
        ({"unseen": []}, "not empty"),
        ({"trainval": [0]}, "test_seen is missing"),
        ({}, "says neither"),
        ({"train": [0]}, "'train' is not known"),
        ({"base": 2}, "base is '2'"),
        ({"base": np.array([0, 1])}, "it must be 0 or 1"),
        ({3: 4}, "'3' is not known"),
        (PARTS | {"trainval": [40]}, '"base": 1'),
        (PARTS | {"trainval": [0, 1]}, "share 1 row;"),
        (PARTS | {"trainval": [0, 0]}, "more than once"),
        (PARTS | {"trainval": ["a"]}, "whole numbers"),
    )),
    *((BadValue, changed, why) for changed, why in (
        ({"features": np.zeros((40, 40))}, "--orientation"),
        ({"features": None}, "needs --features"),
        ({"unseen": "0%"}, "above 0 %"),
        ({"unseen": "99%"}, "fewer than two"),
        ({"unseen": 7}, "fewer than two"),
        ({"unseen": 2.5}, "--unseen 2.5"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 1.5}, "--seed 1.5"),
        ({"seed": "one"}, "--seed 'one'"),
        ({"test_share": 1.5}, "--test-share 1.5"),
        ({"test_share": "half"}, "--test-share 'half'"),
        ({"folds": 99}, "--folds 99"),
        ({"folds": -1}, "from 0 to 20"),
        ({"splits": SPLIT, "unseen": "20%"}, "leave one out"),
        ({"splits": WHOLE, "seed": 3}, "nothing to draw for --seed"),
        ({"splits": WHOLE, "test_share": 0.3, "seed": 0}, "nothing to draw for --seed and --test-share"),
        ({"splits": WHOLE, "test_share": 0.3, "folds": 2}, "nothing to draw for --test-share"),
        ({"splits": {**SPLIT, "folds": FOLDS}, "folds": 2}, "nothing to draw for --folds"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changed", "why"), BROKEN)
def test_what_breaks_a_rule_gets_a_sentence(kind: type[ZslbenchError], changed: dict[str, Any], why: str) -> None:
    assert why in refuse(kind, **changed)


def test_what_a_split_leaves_open_is_drawn_as_asked(tmp_path: Path) -> None:
    one, other = (make(f"s{seed}", splits=WHOLE, folds=2, seed=seed).added.load().folds for seed in (0, 1))
    assert len(one) == len(other) == 2
    assert any(not np.array_equal(a.val, b.val) for a, b in zip(one, other, strict=True))
    half = make("half", seed=2, test_share=0.5).added.load()
    assert half.split == "seeded split (seed 2, 2 given unseen classes, 50 % of seen images test)"
    counted = make("numbers", splits=None, unseen=np.int64(3), seed=np.int64(2), folds=np.int64(2)).added
    assert counted.split == "seeded split (seed 2, 3 classes unseen)"
    path = tmp_path / "split.json"
    path.write_text(json.dumps(SPLIT), encoding="utf-8")
    assert "leave out :first" in refuse(BadValue, splits=f"{path}:first")


def test_the_command_line(tmp_path: Path, typed: Any) -> None:
    """What the golden files of `data` have not: names by ``STEM=FILE``, and what is added to a set."""

    def shown(*words: str, code: int = 0) -> str:
        ended, out, err = typed("data", "add", "birds", *words)
        assert ended == code, out + err
        return str(out + err)

    files = own_data.write(tmp_path, "npy", turned=True)
    words = own_data.options(files, features=f"res={files['features']}", unseen="1,3")
    text = shown(*words)
    for part in ("features: images are columns", "2 given unseen classes", "features: res; semantics: semantics"):
        assert part in text
    assert "was added before" in shown(*words, code=2)
    assert "wide" in shown("--features", f"wide={files['features']}")
    lacking = ["--features", "no.npy", "--labels", "x", "--semantics", "y"]
    assert "does not exist" in typed("data", "add", "fish", *lacking)[2]


@pytest.mark.parametrize(
    "words",
    [
        "data add x --features ~no-such-user/x.npy --labels y --semantics s",
        "data add x --from ~no-such-user/x",
        "data import ~no-such-user/x.zip",
        "data features --images ~no-such-user/x -o x.npz",
        "data list --data-root ~no-such-user/x",
        "run -m eszsl -d ~no-such-user/x",
    ],
)
def test_the_home_of_nobody_is_a_sentence(words: str, typed: Any) -> None:
    code, _, err = typed(*words.split())
    assert (code, len(err.splitlines())) == (2, 1)


def test_a_home_below_that_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLBENCH_HOME", "~no-such-user/zslbench")
    assert "set it to a folder" in refusal(make, kind=BadValue)
    monkeypatch.setenv("ZSLBENCH_DATA", "~no-such-user/data")
    assert "not a folder" in refusal(list_, kind=DataMissing)


@pytest.mark.parametrize("words", ["data import", "data add x --from", "table --runs", "results merge", "check"])
def test_a_path_that_cannot_be_is_named(words: str, typed: Any) -> None:
    code, _, err = typed(*words.split(), "long" * 2000)
    assert (code, "longlong" in err, "cannot be used" in err) == (2, True, True)
    assert len(err) < 500


@pytest.mark.realdata
def test_flo_part_by_folder_and_by_arrays(real_data: Path) -> None:
    folder = real_data / "FLO_PART"
    whole = add("whole", source=folder).added
    assert (whole.counts.images, whole.counts.seen + whole.counts.unseen, whole.counts.attributes) == (5544, 90, 1024)
    images, table = str(folder / "efflite0.mat"), str(folder / "att_splits.mat")
    parts = add("parts", features=images, labels=images, semantics=table, splits=table).added
    assert parts.fingerprints == whole.fingerprints == {"efflite0/att": load_dataset(str(folder)).fingerprint}
    assert isinstance(whole, Added)
    assert whole.split == parts.split == ""
