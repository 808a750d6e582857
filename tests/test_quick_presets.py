"""The preset `@quick` of the generative methods: much less work, on data of any size, and said below a table."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gan_data import problem

import zslbench
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Size
from zslbench.results.tables.captions import NARROWER
from zslbench.runner.class_lookup import method_class
from zslbench.runner.plan import RunOptions, plan

NAMES = ("lisgan", "fclswgan", "gazsl", "rff", "cegzsl", "fvaegan", "tfvaegan", "free", "zla", "cyclewgan", "lsrgan")
NAMES += ("bivaegan",)
CUB = Size(images=7057, features=2048, semantics=312, classes=150)
FEW_STEPS = {"epochs": 1, "pretrain_epochs": 1, "final_epochs": 1, "iterations": 2, "per_class": 4, "batch": 64}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_small_part_of_the_work_and_leaves_the_method_as_it_is(name):
    cls = method_class(name)
    quick, usual = cls(**cls.presets["quick"].values), cls()
    assert usual.cost(CUB) / quick.cost(CUB) > 10
    assert quick.setting is usual.setting
    kept = {"lisgan": ("l_r1", "l_r2", "souls", "cascade", "entropy"), "gazsl": ("pivot", "decay")}
    for parameter in ("gp", "critic_steps", *kept.get(name, ())):
        assert getattr(quick, parameter) == getattr(usual, parameter)


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_data_of_a_few_classes(name):
    cls = method_class(name)
    few = {key: value for key, value in FEW_STEPS.items() if key in vars(cls())}
    train, unseen, every = problem()
    method = cls(**{**cls.presets["quick"].values, **few})
    further = {"unseen": unseen.classes, "unlabelled": unseen.features}
    train = dataclasses.replace(train, **{name: further[name] for name in method.told})
    fitted = method.fit(train, Context(0))
    for query in (unseen, every):
        assert np.isfinite(fitted.scores(query.features, query.classes)).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_has_values_for_every_data_set_and_protocol(name):
    runs = plan(RunOptions(methods=[f"{name}@quick"], datasets=["digits", "synthetic"])).runs
    assert {(run.dataset.name, run.protocol) for run in runs} == {
        (data, rules) for data in ("digits", "synthetic") for rules in ("zsl", "gzsl")
    }


def test_the_caption_names_it(tmp_path):
    for method in ("fclswgan@quick[epochs=1,pretrain_epochs=1]", "eszsl"):
        assert not zslbench.run(method, "digits", "zsl", runs=tmp_path / method[0]).failed
    assert NARROWER.text in " ".join(str(zslbench.table(tmp_path / "f", width=200)).split())
    assert "@quick" not in str(zslbench.table(tmp_path / "e"))


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (
            "eszsl@quick",
            "unknown preset 'quick' of method 'eszsl'; it has: published, .*; methods that have quick: .*fclswgan, ",
        ),
        ("eszsl@publishd", "unknown preset 'publishd' of method 'eszsl'; did you mean 'published'"),
        ("lisgan@Quick", "unknown preset 'Quick' of method 'lisgan'; did you mean 'quick'"),
    ],
)
def test_a_method_without_it_is_told_who_has_it(method, sentence, tmp_path):
    with pytest.raises(BadValue, match=sentence):
        zslbench.run(method, "digits", runs=tmp_path, dry_run=True)
