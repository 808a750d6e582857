"""`data card`: duplicates and nearest classes against naive loops, real data, hostile data, and the page itself."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
from data_folders import refusal

import zslbench
from zslbench.data.dataset import Dataset
from zslbench.data.duplicates import PARTS, find_duplicates
from zslbench.errors import BadValue, UnknownName

HOSTILE = ("<script>alert(1)</script>", "a|b*c_d", "$x$", "&amp;", "x" * 300, "“é”", "</style><b>", "犬")
pytestmark = pytest.mark.usefixtures("own_home")


def dataset(seed: int = 0, **changed: Any) -> Dataset:
    """60 images of 6 classes, two unseen: some rows are copies or scaled copies of others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(6), 10)
    features = rng.normal(size=(60, 5)).astype(np.float32)
    features[rng.choice(60, 8, replace=False)] = features[rng.choice(60, 8, replace=False)]
    features[rng.choice(60, 5, replace=False)] = 2 * features[rng.choice(60, 5, replace=False)] + 0.01
    features[7] = 0
    rows = rng.permutation(40)
    content: dict[str, Any] = {
        "name": "copies",
        "features_name": "f",
        "semantics_name": "s",
        "features": features,
        "labels": labels,
        "semantics": rng.normal(1, 1, (6, 4)).astype(np.float32),
        "class_names": tuple("abcdef"),
        "trainval": np.sort(rows[:28]),
        "test_seen": np.sort(rows[28:]),
        "test_unseen": np.arange(40, 60),
    }
    return Dataset(**(content | changed))


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    lengths = math.hypot(*x.tolist()) * math.hypot(*y.tolist())
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / lengths if lengths else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_duplicates_are_those_of_a_naive_loop(seed: int) -> None:
    data = dataset(seed)
    found = find_duplicates(data, 0.97)
    alike = {
        (one, other): cosine(data.features[one], data.features[other])
        for one in range(60)
        for other in range(60)
        if one != other
    }
    for i, one in enumerate(PARTS):
        for j, other in enumerate(PARTS):
            held = set(getattr(data, other).tolist())
            equal, near = set[int](), set[int]()
            for row in getattr(data, one).tolist():
                for at in held - {row}:
                    equal |= {row} if (data.features[row] == data.features[at]).all() else set()
                    near |= {row} if alike[row, at] > 0.97 else set()
            assert found.exact[i, j] == len(equal)
            assert found.near[i, j] == len(near | equal)
    assert [len(getattr(data, part)) for part in PARTS] == found.images.tolist()
    for row, other, value in found.pairs:
        assert row not in data.trainval
        assert other in data.trainval
        assert value == pytest.approx(cosine(data.features[row], data.features[other]), abs=1e-5)
        assert value > 0.97
    strange = 0
    for row in range(60):
        of_row = {at: alike[row, at] for at in range(60) if at != row}
        top = max(of_row.values())
        classes = {int(data.labels[at]) for at, value in of_row.items() if value > top - 1e-6}
        if len(classes) > 1:  # of equals, which one is meant is open
            return
        strange += top > 0.97 and classes != {int(data.labels[row])}
    assert found.other_class == strange


def test_a_card_says_what_is_there_in_every_format(tmp_path: Path) -> None:
    content = own_data.arrays()
    content["features"][3] = content["features"][0]
    own_data.make(features=content["features"])
    card = zslbench.data.card("birds")
    data = card.dataset
    frame = card.to_frame().set_index("class")
    for number, name in enumerate(own_data.NAMES):
        assert frame.loc[name, "side"] == ("unseen" if name in ("crow", "gull") else "seen")
        for part in PARTS:
            assert frame.loc[name, part] == sum(data.labels[row] == number for row in getattr(data, part))
    table = data.semantics.astype(np.float64) - data.semantics.mean(axis=0, dtype=np.float64)
    for name in ("crow", "gull"):
        at = own_data.NAMES.index(name)
        best = max(data.seen.tolist(), key=lambda seen: cosine(table[at], table[seen]))
        assert frame.loc[name, "nearest_seen"] == own_data.NAMES[best]
        assert frame.loc[name, "cosine"] == pytest.approx(cosine(table[at], table[best]), abs=1e-6)
    assert card.duplicates.exact.sum() == 2
    sources = ("features", "semantics", "labels", "40 × 6")
    for suffix in ("html", "md", "txt", "json"):
        text = card.save(tmp_path / f"card.{suffix}").read_text(encoding="utf-8")
        assert data.fingerprint in text
        assert "2 given unseen classes" in text
        assert all(part in text for part in sources)
    facts = json.loads((tmp_path / "card.json").read_text())
    assert facts["duplicates"]["exact"] == card.duplicates.exact.tolist()
    assert [row["class"] for row in facts["classes"]] == list(own_data.NAMES)
    assert str(card).startswith("birds\n")
    assert "<table" in card._repr_html_()


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)


def test_hostile_names_are_text() -> None:
    own_data.make(classes=list(HOSTILE), unseen=2)
    card = zslbench.data.card("birds")
    page, tags = card.write("html"), _Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert tags.seen.count("b") == 3  # the numbers at the top
    assert "&lt;script&gt;alert(1)" in page
    markdown = card.write("markdown")
    assert re.search(r"a\\\|b\\\*c\\_d", markdown)


def test_constant_features_and_the_fewest_images() -> None:
    own_data.make(features=np.ones((40, 6)))
    card = zslbench.data.card("birds")
    assert card.duplicates.exact.tolist() == [[24] * 3, [6] * 3, [10] * 3]
    assert card.duplicates.near.tolist() == card.duplicates.exact.tolist()
    assert card.write("html")
    fewest = dataset(
        labels=np.array([0, 0, 1]),
        features=np.eye(3, dtype=np.float32),
        semantics=np.eye(2, dtype=np.float32),
        class_names=("class 0", "class 1"),
        trainval=np.array([0]),
        test_seen=np.array([1]),
        test_unseen=np.array([2]),
    )
    assert not find_duplicates(fewest).near.any()


def test_classes_without_names_or_images_are_told() -> None:
    labels = own_data.arrays()["labels"]
    held = {
        part: np.flatnonzero(np.isin(labels, ids)) for part, ids in (("trainval", [0, 1, 2]), ("test_unseen", [4, 5]))
    }
    rows = {**held, "test_seen": held["trainval"][:3], "trainval": held["trainval"][3:]}
    splits = {part: list(map(int, of_part)) for part, of_part in rows.items()}
    own_data.make(classes=None, splits=splits)
    card = zslbench.data.card("birds")
    assert card.imagenet is None
    assert "have no names" in card.text
    assert card.to_frame()["side"].tolist() == ["seen"] * 3 + ["in no part", "unseen", "unseen"] + ["in no part"] * 2
    assert "3 seen classes, then 2 unseen" in card.write("html")
    own_data.make("jays", classes=["auk", "moa", "rhea", "jay", "dodo", "emu", "kiwi", "smew"], splits=splits)
    text = " ".join(zslbench.data.card("jays").text.split())
    assert "0 of 2 unseen and 0 of 3 seen classes are among ImageNet's 1,000" in text
    assert "jay jay in no part" in text


def test_what_cannot_be_shown_gets_a_sentence(typed: Any) -> None:
    own_data.make()
    assert "--near 2 is not allowed" in refusal(zslbench.data.card, "birds", near=2.0, kind=BadValue)
    refusal(zslbench.data.card, "bird", kind=UnknownName)
    for words, why in ((["nothing"], "unknown"), (["birds", "-o", "x.tex"], "name a file that ends in")):
        code, _, err = typed("data", "card", *words)
        assert code == 2
        assert why in err


def test_the_command_line_writes_what_the_ending_says(tmp_path: Path, typed: Any) -> None:
    own_data.make()
    for suffix, part in (("html", "<!doctype html>"), ("md", "**Duplicates**"), ("json", '"fingerprint"')):
        code, _, err = typed("data", "card", "birds", "-o", str(tmp_path / f"c.{suffix}"))
        assert code == 0, err
        assert part in (tmp_path / f"c.{suffix}").read_text(encoding="utf-8")


@pytest.mark.realdata
def test_cub_has_photographs_twice_and_no_unseen_class_of_imagenet(real_data: Path) -> None:
    card = zslbench.data.card("cub", features="fc1000", data_root=real_data)
    assert card.duplicates.exact.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert card.duplicates.near.tolist() == [[10, 0, 0], [0, 0, 0], [0, 0, 2]]
    assert card.imagenet is not None
    assert len(card.imagenet) == 18
    assert not set(card.imagenet) & set(card.dataset.unseen.tolist())
    assert re.search(r"att_splits\.mat, sha256 [0-9a-f]{64}", card.sources["semantics att"])


@pytest.mark.realdata
def test_flo_part_has_a_training_picture_among_its_test_pictures(real_data: Path) -> None:
    card = zslbench.data.card(str(real_data / "FLO_PART"))
    assert card.duplicates.exact.tolist() == [[2, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert card.imagenet is None


def test_the_page_fits_a_phone_and_asks_for_nothing(tmp_path: Path, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    own_data.make(classes=[*own_data.NAMES[:-1], "x" * 300], unseen=2)
    path = zslbench.data.card("birds").save(tmp_path / "card.html")
    trouble: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800}).new_page()
            page.on("console", lambda message: trouble.append(message.text))
            page.on("request", lambda asked: trouble.append(asked.url) if asked.url != path.as_uri() else None)
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.locator(".drawing svg:visible").count() == 2
        browser.close()
    assert [text for text in trouble if not text.startswith("data:")] == []
