"""Several fits at once end where single fits end, up to the rounding of batched products."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem

from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.generative import AdversarialMethod
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.gazsl import GAZSL
from zslbench.methods.generative.lisgan import LisGAN

SMALL: dict[str, Any] = {"hidden": 16, "noise": 3, "critic_steps": 2, "batch": 16, "lr": 1e-3, "per_class": 6}
EPOCHS: dict[str, Any] = {"epochs": 3, "pretrain_epochs": 3, "final_epochs": 3}
SOULS: dict[str, Any] = {"soul_rows": 4, "l_r1": 0.3, "l_r2": 0.5, "cls_weight": 0.3, "cascade": "off"}
CASES: list[tuple[type[AdversarialMethod], dict[str, Any]]] = [
    (FCLSWGAN, EPOCHS | {"cls_weight": 0.5}),
    (LisGAN, EPOCHS | SOULS),
    (LisGAN, EPOCHS | SOULS | {"classifier": "pretrained", "fake_souls": "mean"}),
    (LisGAN, EPOCHS | SOULS | {"soul_classes": 3}),
    (LisGAN, EPOCHS | SOULS | {"critic_layers": 2, "generator_slope": 0.0, "soul_pairs": "numbered"}),
    (GAZSL, {"iterations": 42, "neighbours": 4}),
]
SEEDS = (0, 7)


@pytest.mark.parametrize(("cls", "given"), CASES)
def test_several_fits_at_once_are_the_single_fits(cls: type[AdversarialMethod], given: dict[str, Any]) -> None:
    train, _, query = problem()
    values = SMALL | given
    logs: dict[int, list[dict[str, float]]] = {seed: [] for seed in SEEDS}
    contexts = [
        Context(seed, on_log=lambda _step, _total, found, seed=seed: logs[seed].append(dict(found))) for seed in SEEDS
    ]
    points = [cls(**values) for _ in SEEDS]
    found = list(cls.fit_seeds(points, train, contexts))
    assert all(one is point for one, point in zip(found, points, strict=True))
    scores = []
    for seed, point in zip(SEEDS, found, strict=True):
        alone_logs: list[dict[str, float]] = []
        ctx = Context(seed, on_log=lambda _step, _total, values, into=alone_logs: into.append(dict(values)))
        alone = cls(**values).fit(train, ctx)
        for name, weight in alone.generator_.state_dict().items():
            torch.testing.assert_close(point.generator_.state_dict()[name], weight, rtol=1e-3, atol=2e-5)
        assert not any(parameter.requires_grad for parameter in point.generator_.parameters())
        assert len(logs[seed]) == len(alone_logs)
        for ours, theirs in zip(logs[seed], alone_logs, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
        scores.append(point.scores(query.features, query.classes))
    assert not np.allclose(scores[0], scores[1])


def test_checkpoints_see_the_weights_of_the_moment() -> None:
    train, _, query = problem()
    values = SMALL | EPOCHS
    judged: dict[int, list[np.ndarray]] = {}

    def judge(method: Method, step: int) -> None:
        judged.setdefault(step, []).append(method.scores(query.features, query.classes))

    alone = FCLSWGAN(**values)
    alone.fit(train, Context(5, judge=judge))
    points = [FCLSWGAN(**values), FCLSWGAN(**values)]
    list(FCLSWGAN.fit_seeds(points, train, [Context(5, judge=judge), Context(6)]))
    assert sorted(judged) == [1, 2, 3]
    for single, together in judged.values():
        np.testing.assert_allclose(together, single, rtol=1e-2, atol=1e-3)


def test_divergence_of_one_fit_is_named() -> None:
    train, _, _ = problem()
    points = [FCLSWGAN(**(SMALL | EPOCHS), gp=1000.0) for _ in range(2)]
    for point in points:
        point.lr = 1e30  # past what the parameter allows
    with pytest.raises(BadValue, match="not finite in epoch"):
        list(FCLSWGAN.fit_seeds(points, train, [Context(0), Context(1)]))


def test_who_offers_several_seeds() -> None:
    assert LisGAN.offers_seeds()
    assert GAZSL.offers_seeds()
    assert not ESZSL.offers_seeds()
    train, _, _ = problem()
    points = [ESZSL(), ESZSL()]
    assert list(ESZSL.fit_seeds(points, train, [Context(0), Context(1)])) == points


@pytest.mark.parametrize(("cls", "given"), [CASES[0], CASES[1], CASES[-1]])
def test_a_seen_class_without_images_is_as_if_it_were_not_there(
    cls: type[AdversarialMethod], given: dict[str, Any]
) -> None:
    train, _, query = problem()
    values = SMALL | given
    empty = train.classes.ids[0]
    kept = train.labels != empty
    listed = dataclasses.replace(train, features=train.features[kept], labels=train.labels[kept])
    absent = dataclasses.replace(listed, classes=train.classes.take(np.flatnonzero(train.classes.ids != empty)))
    scores = [cls(**values).fit(each, Context(2)).scores(query.features, query.classes) for each in (listed, absent)]
    assert empty in query.classes.ids  # a candidate like an unseen one
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all()
