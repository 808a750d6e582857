"""Hyper-parameters: ranges, types, choices, and the sentence for what is wrong."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslbench import params
from zslbench.errors import BadValue, UnknownName
from zslbench.params import other_default, param


@dataclasses.dataclass(kw_only=True)
class Knobs:
    count: int = param(3, low=1, high=9, help="how many")
    rate: float = param(0.1, low=0.0, high=1.0)
    mode: str = param("off", choices=("off", "nn"))
    deep: bool = param(False)
    text: str = param("none", validate=lambda given: None if given != "bad" else "it is bad.")

    def __post_init__(self) -> None:
        params.check_values(self)


@given(st.integers(-20, 20))
def test_ranges_include_both_ends(value):
    if 1 <= value <= 9:
        assert params.resolve(Knobs, "knobs", {"count": value})["count"] == value
    else:
        with pytest.raises(BadValue, match=f"count={value} is not allowed; count takes a whole number from 1 to 9"):
            params.resolve(Knobs, "knobs", {"count": value})


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"count": 2.5}, "count takes a whole number"),
        ({"count": True}, "count takes a whole number"),
        ({"rate": float("nan")}, "rate takes a number"),
        ({"rate": "x"}, "rate takes a number"),
        ({"mode": "svm"}, "mode takes one of: off, nn"),
        ({"deep": 1}, "deep takes true or false"),
        ({"text": "bad"}, "it is bad"),
        ({"text": 3}, "text takes a text"),
    ],
)
def test_wrong_values_get_a_sentence(given_, sentence):
    with pytest.raises(BadValue, match=sentence):
        params.resolve(Knobs, "knobs", given_)
    with pytest.raises(BadValue, match=sentence):
        Knobs(**given_)


def test_values_are_typed_so_that_identity_does_not_depend_on_how_they_were_written():
    assert repr(params.resolve(Knobs, "knobs", {"rate": 1, "count": 2.0})) == repr(
        {"count": 2, "rate": 1.0, "mode": "off", "deep": False, "text": "none"}
    )


def test_unknown_parameter_offers_the_nearest():
    with pytest.raises(UnknownName, match="unknown parameter of knobs 'cuont'; did you mean 'count'"):
        params.resolve(Knobs, "knobs", {"cuont": 1})


def test_another_default_keeps_type_range_and_place_and_needs_an_inherited_parameter():
    @dataclasses.dataclass(kw_only=True)
    class Fewer(Knobs):
        mode: str = other_default("nn")
        count: int = other_default(1, help="how few")

    inherited, mine = params.declared_params(Knobs), params.declared_params(Fewer)
    assert list(mine) == list(inherited)
    assert mine["mode"] == dataclasses.replace(inherited["mode"], default="nn")
    assert mine["count"] == dataclasses.replace(inherited["count"], default=1, help="how few")
    with pytest.raises((BadValue, RuntimeError)) as caught:  # Python 3.11 wraps what __set_name__ raises

        class _Lost(Knobs):
            depth: int = other_default(1)

    assert "no base class declares the parameter depth" in str(caught.value.__cause__ or caught.value)
