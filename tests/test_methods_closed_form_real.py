"""Closed forms on real CUB features: what an independent solution of the same equations gives, or a floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zslbench.data.dataset import Dataset
from zslbench.data.loading import load_dataset
from zslbench.data.splits import split, training
from zslbench.methods.base import Context, Method
from zslbench.methods.closed_form import ClosedForm
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.gfzsl import GFZSL
from zslbench.methods.closed_form.prototype import Prototype
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.methods.closed_form.sae import SAE
from zslbench.protocols.gzsl import GZSL
from zslbench.protocols.zsl import ZSL

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def cub(real_data: Path) -> dict[str, Dataset]:
    return {name: load_dataset("cub", features="fc1000", semantics=name, root=real_data) for name in ("att", "sent")}


def judged(dataset: Dataset, method: Method, protocol: ZSL | GZSL) -> dict[str, float]:
    """Metrics of a fitted method in percent."""
    query, answers = protocol.query(dataset, split(dataset), 0)
    metrics = protocol.judge(answers, method.scores(query.features, query.classes)).metrics
    return {name: 100 * value for name, value in metrics.items()}


def test_eszsl_with_attributes_gives_what_an_independent_solution_gives(cub: dict[str, Dataset]) -> None:
    dataset = cub["att"]
    method = ESZSL(gamma=1000, lam=0.1, preprocess="standard").fit(training(dataset, split(dataset)), Context())
    found = judged(dataset, method, ZSL()) | judged(dataset, method, GZSL())
    wanted = {"T1": 55.6, "U": 15.6, "S": 67.4, "H": 25.3}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize(
    ("cls", "semantics", "points"),
    [  # points with a range of T1; γ, λ, … are those of the highest T1 on the three dev folds, never on test
        (ESZSL, "att", [({}, 52.0, 100)]),
        (ESZSL, "sent", [({"gamma": 1, "lam": 1.0, "targets": "signed", "preprocess": "l2"}, 69, 100),
                         ({"gamma": 1, "lam": 10.0, "preprocess": "l2"}, 69, 100), ({}, 68.5, 100)]),
        # 46.7 (features from semantics) is what the public re-implementation reports for CUB at λ = 0.2
        (SAE, "att", [({"lam": 0.2}, 46.7 - 4, 46.7 + 4), ({"direction": "f2s", "lam": 100}, 39.5 - 6, 39.5 + 6),
                      ({}, 45.5, 100)]),
        (SAE, "sent", [({}, 65.9, 100)]),
        (Ridge, "att", [({"lam": 0.1, "weighting": "classes", "metric": "cosine"}, 46, 100), ({}, 43.6, 100)]),
        (Ridge, "sent", [({}, 65.7, 100)]),
        (GFZSL, "att", [({"lam_mean": 0.3, "kernel": "poly2", "preprocess": "standard+l2"}, 48, 100), ({}, 45.3, 100)]),
        (GFZSL, "sent", [({}, 65.3, 100)]),
        (Prototype, "att", [({"lam": 0.3, "preprocess": "standard+l2"}, 41, 100), ({}, 38.3, 100)]),
        (Prototype, "sent", [({}, 58.5, 100)]),
    ],
)  # fmt: skip
def test_tuned_points_reach_their_floor_and_defaults_come_within_five_points(
    cub: dict[str, Dataset], cls: type[ClosedForm], semantics: str, points: list[tuple[dict[str, Any], float, float]]
) -> None:
    """The highest T1 of tuned points, with attributes and sentences, are five points above what {} is asked for."""
    dataset = cub[semantics]
    methods = [cls(**values) for values, _, _ in points]
    fitted = cls.fit_grid(methods, training(dataset, split(dataset)), Context())
    for method, (_, low, high) in zip(fitted, points, strict=True):
        assert low <= judged(dataset, method, ZSL())["T1"] <= high
