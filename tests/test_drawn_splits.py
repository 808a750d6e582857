"""Unseen classes drawn by the similarity of semantics, against naive loops, and the check on classes of ImageNet."""

from __future__ import annotations

import math
import operator
from pathlib import Path
from typing import Any

import numpy as np
import own_data
import pytest
from data_folders import refusal
from hypothesis import given, settings
from hypothesis import strategies as st

import zslbench
from zslbench.data import load_dataset
from zslbench.data.imagenet import find_in_imagenet
from zslbench.data.similarity import draw_unseen, find_nearest
from zslbench.data.splits import unseen_classes
from zslbench.errors import BadData, BadValue

CLASSES = 14
BIRDS = ("001.Crane", "002.Blue_Jay", "003.dodo", "004.Indigo_Bunting", "005.auk", "006.moa", "007.hoopoe", "008.rhea")
pytestmark = pytest.mark.usefixtures("own_home")


def semantics_of(seed: int, pairs: int = 0) -> np.ndarray:
    """Class vectors, the first `pairs` of which have a twin each at the end."""
    rows = np.random.default_rng(seed).normal(1, 1, (CLASSES, 5))
    if pairs:
        rows[-pairs:] = rows[:pairs] * 1.001
    return rows.astype(np.float32)


def cosines_of(semantics: np.ndarray) -> list[list[float]]:
    rows = [[float(x) for x in row] for row in semantics]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    rows = [[x - m for x, m in zip(row, mean, strict=True)] for row in rows]
    return [[sum(map(operator.mul, a, b)) / math.hypot(*a) / math.hypot(*b) for b in rows] for a in rows]


def nearness(cosines: list[list[float]], unseen: set[int]) -> list[float]:
    return [max(cosines[u][s] for s in range(CLASSES) if s not in unseen) for u in sorted(unseen)]


def test_the_nearest_seen_class_is_that_of_a_naive_loop() -> None:
    semantics = semantics_of(0)
    unseen, seen = np.array([1, 5, 9]), np.setdiff1d(np.arange(CLASSES), [1, 5, 9])
    nearest, values = find_nearest(semantics, unseen, seen)
    cosines = cosines_of(semantics)
    for at, u in enumerate(unseen):
        assert nearest[at] == max(seen, key=lambda s: cosines[u][s])
    np.testing.assert_allclose(values, nearness(cosines, {1, 5, 9}), atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(2, 7), st.sampled_from(["hard", "easy"]))
def test_classes_are_drawn_one_by_one_as_a_naive_loop_does(seed: int, count: int, draw: Any) -> None:
    semantics = semantics_of(seed)
    cosines, unseen, stays = cosines_of(semantics), set[int](), set[int]()
    drawn = set(draw_unseen(semantics, count, seed, draw, None).tolist())
    for _ in range(count):
        seen = [c for c in range(CLASSES) if c not in unseen]
        nearest = {c: max((s for s in seen if s != c), key=lambda s, c=c: cosines[c][s]) for c in seen}
        free = [c for c in seen if c not in stays] or seen
        best = (min if draw == "hard" else max)(cosines[c][nearest[c]] for c in free)
        equals = [c for c in free if abs(cosines[c][nearest[c]] - best) < 1e-9]
        chosen = next(c for c in equals if c in drawn)  # the seed decides between two that are nearest to each other
        unseen.add(chosen)
        stays |= {nearest[chosen]} if draw == "easy" else set()
    assert unseen == drawn


@settings(max_examples=30)
@given(st.integers(0, 99), st.sampled_from(["random", "hard", "easy"]))
def test_no_unseen_class_has_a_seen_synonym(seed: int, draw: Any) -> None:
    semantics = semantics_of(seed, pairs=4)
    unseen = draw_unseen(semantics, 5, seed, draw, 0.9)
    assert len(unseen) == 5
    assert max(nearness(cosines_of(semantics), set(unseen.tolist()))) <= 0.9
    np.testing.assert_array_equal(unseen, draw_unseen(semantics, 5, seed, draw, 0.9))


def test_hard_is_farther_from_seen_classes_than_random_and_easy_is_nearer() -> None:
    means: dict[str, list[float]] = {"easy": [], "random": [], "hard": []}
    for seed in range(20):
        semantics = semantics_of(seed)
        for draw, of_draw in means.items():
            unseen: Any = draw_unseen(semantics, 4, seed, draw, None)  # type: ignore[arg-type]
            of_draw.append(np.mean(nearness(cosines_of(semantics), set(unseen.tolist()))))
    for hard, drawn, easy in zip(means["hard"], means["random"], means["easy"], strict=True):
        assert hard < easy
        assert hard < drawn + 0.05
    assert np.mean(means["hard"]) + 0.1 < np.mean(means["random"]) < np.mean(means["easy"]) - 0.1


def test_a_random_draw_without_further_wishes_is_the_one_of_before() -> None:
    for words in ({}, {"draw": "random"}):
        added = own_data.make(f"birds{len(words)}", unseen=3, seed=5, **words).added
        np.testing.assert_array_equal(added.load().unseen, unseen_classes(8, 3, 5))
        assert added.split == "seeded split (seed 5, 3 classes unseen)"


def test_a_draw_says_what_it_did_and_keeps_it() -> None:
    outcome = own_data.make(unseen=3, draw="hard", classes=list(BIRDS), avoid_imagenet=True)
    added = outcome.added
    assert (
        added.split == "seeded split (seed 0, 3 classes unseen, hard, synonyms above 0.95 together, none of ImageNet, "
        "dev folds at random)"
    )
    assert not any("--seed" in remark for remark in outcome.remarks)
    assert {added.facts["split"][name] for name in ("draw", "synonyms")} == {"hard", 0.95}
    assert not set(BIRDS[:2] + BIRDS[3:4]) & set(added.facts["split"]["unseen"])
    (sentence,) = [remark for remark in outcome.remarks if remark.startswith("cosine of")]
    assert sentence.endswith("none above 0.95")
    (record,) = zslbench.run("eszsl", "birds", "zsl").records
    assert record.dataset["split"] == added.split


def test_a_seed_that_draws_no_classes_is_told() -> None:
    drawn = [own_data.make(f"birds{seed}", unseen=3, draw="hard", seed=seed) for seed in (1, 2)]
    assert drawn[0].added.facts["split"]["unseen"] == drawn[1].added.facts["split"]["unseen"]
    assert not np.array_equal(*(outcome.added.load().test_seen for outcome in drawn))
    told = "--draw hard takes the unseen classes by their semantics: --seed decides between equals only"
    assert all(any(remark.startswith(told) for remark in outcome.remarks) for outcome in drawn)
    assert not any("--seed" in remark for remark in own_data.make("others", unseen=3, seed=1).remarks)


@pytest.mark.parametrize(("classes", "split"), [(4, "2 classes unseen"), (6, "2 classes unseen"), (8, "20 % unseen")])
def test_a_share_that_nobody_asked_for_is_two_classes_at_least(classes: int, split: str) -> None:
    labels, rng = np.repeat(np.arange(classes), 3), np.random.default_rng(0)
    given: dict[str, Any] = {
        "features": rng.random((3 * classes, 5)),
        "labels": labels,
        "semantics": rng.random((classes, 2)),
    }
    added = zslbench.data.add("few", **given).added
    assert (added.counts.unseen, added.split) == (2, f"seeded split (seed 0, {split})")
    if classes < 8:
        assert "choose another --unseen" in refusal(zslbench.data.add, "less", **given, unseen="20%", kind=BadValue)
    given |= {"labels": labels[:9], "features": rng.random((9, 5)), "semantics": rng.random((3, 2))}
    assert "give 4 classes or more." in refusal(zslbench.data.add, "less", **given, kind=BadValue)


def test_synonyms_that_a_random_draw_parts_are_told() -> None:
    table = own_data.arrays()["semantics"]
    table[6] = table[0] * 1.001
    remarks = own_data.make(semantics=table).remarks
    assert any("1 above 0.95, which --synonyms 0.95 avoids: gull (auk, 1.00)" in remark for remark in remarks)


def test_unseen_classes_of_imagenet_are_told() -> None:
    remarks = own_data.make(classes=list(BIRDS), unseen="002.Blue_Jay,003.dodo,004.Indigo_Bunting").remarks
    (told,) = [remark for remark in remarks if "ImageNet" in remark]
    assert told.startswith(
        "2 unseen classes are among ImageNet's 1,000, by name: 002.Blue_Jay (jay), 004.Indigo_Bunting"
    )
    assert not any("ImageNet" in remark for remark in own_data.make("others", unseen="dove,finch").remarks)


def test_names_of_imagenet_are_found_as_they_are_written() -> None:
    names = [
        "n/a",
        "Siamese+cat",
        "GIANT_PANDA",
        "7 tench",
        "Tinca tinca",
        "jaywalker",
        "class 3",
        "",
        "rooster",
        "<jay>",
    ]
    assert find_in_imagenet(names) == {
        1: "Siamese cat",
        2: "giant panda",
        3: "tench",
        4: "Tinca tinca",
        8: "rooster",
        9: "jay",
    }


@pytest.mark.realdata
def test_no_unseen_class_of_a_proposed_split_is_of_imagenet(real_data: Path) -> None:
    """As its authors made it, which shows that names are compared as closely as they must be."""
    for folder, seen in (("APY", 2), ("AWA1", 26), ("AWA2", 26), ("CUB", 18)):
        parts = [(real_data / folder / f"{part}classes.txt").read_text().split() for part in ("test", "trainval")]
        assert find_in_imagenet(parts[0]) == {}
        assert len(find_in_imagenet(parts[1])) == seen


@pytest.mark.realdata
def test_cub_has_easy_and_hard_splits(real_data: Path) -> None:
    cub = load_dataset("cub", features="fc1000", root=real_data)
    medians = {}
    for draw in ("easy", "random", "hard"):
        unseen = draw_unseen(cub.semantics, 50, 0, draw, 0.95)  # type: ignore[arg-type]
        _, cosines = find_nearest(cub.semantics, unseen, np.setdiff1d(np.arange(200), unseen))
        assert cosines.max() <= 0.95
        medians[draw] = float(np.median(cosines))
    assert medians["hard"] < 0.6 < 0.7 < medians["random"] < 0.8 < 0.85 < medians["easy"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"draw": "harder"}, "choose one of random, easy, hard"),
        ({"synonyms": 1.5}, "--synonyms 1.5 is not allowed"),
        ({"synonyms": "x"}, "--synonyms 'x' is not allowed"),
        ({"synonyms": float("nan")}, "--synonyms nan is not allowed"),
        ({"unseen": "crow,gull", "draw": "hard"}, "leaves nothing to --draw"),
        ({"unseen": "crow,gull", "avoid_imagenet": True}, "leaves nothing to --avoid-imagenet"),
        ({"unseen": None, "splits": {"unseen": [1, 2]}, "synonyms": 0.9}, "--synonyms and --splits"),
        ({"semantics": np.ones((8, 3)) * np.arange(8)[:, None], "synonyms": 0.9}, "3 unseen classes cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn_gets_a_sentence(changed: dict[str, Any], why: str) -> None:
    assert why in own_data.refuse(BadValue, **{"unseen": 3, **changed})


@pytest.mark.parametrize("draw", ["random", "hard", "easy"])
def test_constant_semantics_and_holes_in_them(draw: Any) -> None:
    assert len(draw_unseen(np.full((6, 3), 0.1, np.float32), 3, 0, draw, 0.95)) == 3
    table = own_data.arrays()["semantics"]
    table[2, 1] = np.nan
    assert "NaN or infinity" in own_data.refuse(BadData, semantics=table, unseen=3, draw=draw)


def test_the_command_line(tmp_path: Path, typed: Any) -> None:
    files = own_data.write(tmp_path, "npy")
    words = own_data.options(files, unseen="3", draw="easy", synonyms="0.8")
    code, out, err = typed("data", "add", "birds", *words, "--avoid-imagenet")
    assert code == 0, err
    assert "cosine of the semantics of each unseen class and its nearest seen one" in out
    assert "3 classes unseen, easy, synonyms above 0.8 together, none of ImageNet, dev folds at random" in out
