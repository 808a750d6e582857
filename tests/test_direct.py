"""`direct`: cosines in one space against a naive loop, its refusal, and a whole study with calibration."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import zslbench
from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.closed_form.direct import Direct
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(4)
TABLE = ClassTable(np.array([7, 2, 9]), RNG.normal(1, 1, (3, 5)).astype(np.float32))
TRAIN = Train(RNG.normal(2, 1, (12, 5)).astype(np.float32), np.repeat(TABLE.ids, 4), TABLE)
QUERY = RNG.normal(2, 1, (6, 5)).astype(np.float32)
CANDIDATES = ClassTable(np.array([1, 7]), np.vstack([RNG.normal(size=5), TABLE.semantics[0]]).astype(np.float32))


def scaled(vector: np.ndarray) -> list[float]:
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return [float(x) / length for x in vector]


def mean(vectors: np.ndarray) -> list[float]:
    rows = [scaled(vector) for vector in vectors]
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("centre", [False, True])
def test_scores_are_cosines_of_vectors_from_which_the_means_of_what_is_seen_are_subtracted(centre: bool) -> None:
    scores = Direct(centre=centre).fit(TRAIN, Context()).scores(QUERY, CANDIDATES)
    shifts = [[c * centre for c in mean(vectors)] for vectors in (TRAIN.features, TABLE.semantics)]
    for i, x in enumerate(QUERY):
        for j, a in enumerate(CANDIDATES.semantics):
            left, right = (
                [p - q for p, q in zip(scaled(v), s, strict=True)] for v, s in zip((x, a), shifts, strict=True)
            )
            product = sum(p * q for p, q in zip(left, right, strict=True))
            assert scores[i, j] == pytest.approx(product / math.hypot(*left) / math.hypot(*right), abs=1e-6)


def test_vectors_of_zeros_give_zeros() -> None:
    fitted = Direct().fit(TRAIN, Context())
    assert not fitted.scores(np.zeros_like(QUERY), CANDIDATES).any()


def test_features_and_semantics_of_unequal_length_are_refused() -> None:
    narrow = ClassTable(TABLE.ids, TABLE.semantics[:, :4])
    with pytest.raises(BadValue, match=r"features have 5 numbers and semantics 4.*--semantics") as raised:
        Direct().fit(Train(TRAIN.features, TRAIN.labels, narrow), Context())
    assert str(raised.value).count(".") == 1


@pytest.mark.usefixtures("own_home")
def test_a_whole_study_with_calibration_on_vectors_of_one_space(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = rng.normal(size=(12, 16))
    labels = np.repeat(np.arange(12), 20)
    pictures = words[labels] + rng.normal(0, 1.5, (240, 16)) + 3
    zslbench.data.add("towers", features=pictures, labels=labels, semantics=words, unseen=3)
    runs = tmp_path / "runs"
    outcome = zslbench.run(["direct", "direct[centre=true]"], "towers", "gzsl", runs=runs, calibrate=True)
    assert {record.status for record in outcome.records} == {"ok"}
    rows = zslbench.table(runs=runs, protocols=["gzsl"], calibrate="both").to_frame()
    assert {"H", "H cs"} <= set(rows["metric"])
    best = rows[rows["metric"] == "H"].set_index("method")["mean"]
    assert best.max() > 50
