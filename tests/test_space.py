"""The space that tuning searches: declarations, narrowing, samples, ends."""

from __future__ import annotations

import itertools
import math

import optuna
import pytest
import tuning_toys
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler

from zslbench.errors import BadValue, UnknownName
from zslbench.params import Between, Param, declared_params
from zslbench.registry import METHODS
from zslbench.runner.class_lookup import method_class
from zslbench.spec import parse
from zslbench.studies.search import _coded, _suggest, choose_sampler
from zslbench.studies.search_space import Space, at_edges, declared_space, narrow_space

BUILTIN = METHODS.builtin_names()
PEAK = tuning_toys.Peak.space
FLOAT = Param("w", float, 1.0, low=0.0, high=1e6)


@st.composite
def ranges(draw):
    kind = draw(st.sampled_from([int, float]))
    log, zero = draw(st.booleans()), draw(st.booleans())
    if kind is int:
        low = draw(st.integers(1 if log or zero else -50, 100))
        return Between(low, low + draw(st.integers(1, 1000)), log=log, zero=zero)
    low = draw(st.floats(1e-6 if log or zero else -100.0, 100.0, allow_subnormal=False))
    return Between(float(low), float(low) + draw(st.floats(0.01, 1000.0)), log=log, zero=zero)


@settings(deadline=None, max_examples=60)
@given(
    ranges(), st.integers(0, 2**32 - 1), st.sampled_from([optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
)
def test_samples_lie_in_their_range(one, seed, sampler):
    study = optuna.create_study(sampler=sampler(seed=seed))
    for _ in range(12):
        value = _suggest(study.ask(), "x", one)
        assert isinstance(value, type(one.low))
        assert one.low <= value <= one.high or (one.zero and value == 0)


def sample(among, number):
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [_suggest(study.ask(), "x", among) for _ in range(number)]


@pytest.mark.parametrize("zero", [False, True])
def test_zero_is_sampled_beside_a_range_and_not_otherwise(zero):
    values = sample(Between(0.01, 1.0, log=True, zero=zero), 40)
    assert (0 in values) is zero
    assert any(values)


def test_a_logarithmic_range_is_sampled_by_decades():
    values = sample(Between(1e-4, 1.0, log=True), 300)
    assert 0.4 < sum(value < 1e-2 for value in values) / 300 < 0.6  # half of the decades; on a linear scale it were 1 %


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6, unique=True), st.integers(0, 2**32 - 1))
def test_a_listed_number_comes_out_as_it_is(values, seed):
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    assert {_suggest(study.ask(), "x", tuple(values)) for _ in range(8)} <= set(values)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_method_declares_a_space_that_its_starting_point_encodes(name):
    cls = METHODS.load(name)
    assert cls.space, "say what is worth tuning"
    space = Space(declared_space(cls))
    assert space.size is None or space.size <= 300
    assert 0 < len(space.dimensions) <= 8
    defaults = {one.name: one.default for one in declared_params(cls).values()}
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(_coded(space, defaults))
    asked = study.ask()
    for key, one in space.dimensions.items():
        value = _suggest(asked, key, one, defaults[key])
        assert value == (defaults[key] if space.holds(key, defaults[key]) else value)
        assert space.holds(key, value)
    cls(**{key: _suggest(asked, key, one) for key, one in space.dimensions.items()})


def test_points_are_all_and_in_order():
    space = Space({"a": (1, 2), "b": ("x", "y", "z")})
    assert space.size == 6
    assert [tuple(point.values()) for point in space.points()] == list(itertools.product((1, 2), "xyz"))
    with pytest.raises(BadValue, match="c is searched in a range"):
        Space({"a": (1, 2), "c": Between(0.1, 1.0)}).points()


@pytest.mark.parametrize(
    ("text", "only", "start", "dimensions"),
    [
        (
            "eszsl[gamma=[1,10],preprocess=standard]",
            [],
            "eszsl[preprocess=standard]",
            {"gamma": (1.0, 10.0), "lam": (0.01, 0.1, 1.0, 10.0, 100.0), "targets": ("binary", "signed")},
        ),
        ("tuning_toys:Peak[epochs=[3,4]]", ["epochs"], "tuning_toys:Peak", {"epochs": (3, 4)}),
        ("tuning_toys:Peak@flat", [], None, {"x": PEAK["x"]}),
        ("tuning_toys:Peak@published", [], None, PEAK),
        ("tuning_toys:Peak", ["y", "epochs"], None, {"y": PEAK["y"], "epochs": Between(1, 100)}),
    ],
    ids=["fixed and listed", "listed outside the space", "an ablation fixes", "a preset does not", "only some"],
)
def test_what_a_spec_fixes_stays_and_what_it_lists_is_tried(text, only, start, dimensions):
    spec = parse(text)
    left, space = narrow_space(spec, method_class(spec.name), only)
    assert (str(left), space.dimensions) == (start or text, dimensions)


@pytest.mark.parametrize(
    ("text", "only", "error", "words"),
    [
        ("tuning_toys:Peak", ["z"], UnknownName, "unknown parameter of tuning_toys:Peak 'z'"),
        ("tuning_toys:Peak[z=1]", [], UnknownName, "unknown parameter"),
        ("tuning_toys:Peak[x=1]", ["x"], BadValue, "x=1 in the spec fixes"),
        ("tuning_toys:Peak@flat", ["y"], BadValue, "the ablation @flat fixes"),
        ("tuning_toys:Peak[x=1,y=2]", [], BadValue, "nothing of tuning_toys:Peak is left to tune"),
        ("tuning_toys:Peak[x=[1],y=2]", [], BadValue, "nothing"),
        ("tuning_toys:Peak[y=[1,99]]", [], BadValue, "y=99 is not allowed"),
        ("tuning_toys:Undeclared", ["open_end"], BadValue, "declares no end of values for open_end"),
    ],
)
def test_what_cannot_be_searched_is_refused(text, only, error, words):
    cls = getattr(tuning_toys, parse(text).name.partition(":")[2])
    with pytest.raises(error, match=words):
        narrow_space(parse(text), cls, only)


def test_a_method_that_declares_nothing_is_searched_where_its_parameters_end():
    assert declared_space(tuning_toys.Undeclared) == {
        "x": Between(0.01, 100.0, log=True, zero=True),
        "y": Between(0, 50),
        "unlucky": (False, True),
        "epochs": Between(1, 100),
        "rule": ("a", "b"),
    }


CHOICE = Param("p", str, "a", choices=("a", "b"))


@pytest.mark.parametrize(
    ("param", "values", "words"),
    [
        (FLOAT, (), "no values"),
        (FLOAT, (1.0, -1.0), "w=-1.0 is not allowed"),
        (FLOAT, Between(2.0, 1.0), "two ends in order"),
        (FLOAT, Between(0.0, 1.0, log=True), "the first above 0"),
        (FLOAT, Between(0.0, 2e6), "w=2000000.0 is not allowed"),
        (CHOICE, Between(0, 1), "has no range"),
        (Param("w", float, 1.0, low=0.5, high=2.0), Between(0.5, 1.0, zero=True), "w=0 is not allowed"),
    ],
)
def test_a_space_must_lie_in_what_is_allowed(param, values, words):
    with pytest.raises(BadValue, match=words):
        param.dimension(values, "m")


def test_ends_are_told_with_values_that_go_on():
    space = Space({"x": (0.01, 0.1, 1.0), "y": Between(1, 6), "epochs": (1, 2)})

    def edges(**point):
        return at_edges(space, point, tuning_toys.Peak)

    assert edges(x=1.0, y=3, epochs=2) == {"x": (0.01, 0.1, 1.0, 10.0, 100.0)}
    assert edges(x=0.01, y=6, epochs=1) == {"x": (0.0001, 0.001, 0.01, 0.1, 1.0), "y": (1, 3, 6, 7, 8)}
    assert edges(x=0.1, y=2, epochs=1) == {}
    space = Space({"x": (1.0, 10.0, 100.0)})
    assert edges(x=100.0) == {}, "x takes at most 100"
    space = Space({"x": (0.0, 0.123456, 1.0, 10.0)})
    assert edges(x=10.0) == {"x": (0.0, 0.123456, 1.0, 10.0, 100.0)}
    space = Space({"x": Between(0.01, 1.0, log=True, zero=True)})
    assert edges(x=0.0) == {}
    assert edges(x=1.0) == {"x": (0.0, 0.01, 0.1, 1.0, 3.0, 10.0)}


@given(st.floats(0.0, 1.0))
def test_only_the_outermost_part_of_a_range_is_its_end(place):
    space = Space({"x": Between(0.01, 1.0, log=True)})
    value = 0.01 * math.exp(place * math.log(100))
    assert bool(at_edges(space, {"x": value}, tuning_toys.Peak)) == (not 0.02 < place < 0.98) or math.isclose(
        min(place, 1 - place), 0.02, abs_tol=1e-9
    )


def test_the_sampler_is_the_grid_where_it_is_finite_small_and_fitted_at_once():
    small, large, endless = Space({"x": (1.0, 2.0)}), Space({"x": tuple(range(1001))}), Space({"x": Between(1.0, 2.0)})
    assert choose_sampler("auto", small, True) == "grid"
    for space, at_once in ((small, False), (large, True), (endless, True)):
        assert choose_sampler("auto", space, at_once) == "tpe"
    assert choose_sampler("grid", large, False) == "grid"
    with pytest.raises(BadValue, match="searched in a range"):
        choose_sampler("grid", endless, True)
    with pytest.raises(BadValue, match="sampler 'best' does not exist"):
        choose_sampler("best", small, True)
