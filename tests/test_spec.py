"""The spec grammar: what is written is read back, and what is wrong gets one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslbench.errors import BadSpec
from zslbench.spec import Spec, expand, parse

NAMES = st.from_regex(r"[a-z][a-z0-9_.:/-]{0,8}", fullmatch=True)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
SCALARS = st.one_of(
    st.integers(-(10**9), 10**9), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=3).map(tuple))


@given(NAMES, st.lists(NAMES, max_size=2).map(tuple), st.dictionaries(KEYS, VALUES, max_size=3))
def test_what_is_written_is_read_back(name, presets, params):
    spec = Spec(name, presets, params)
    again = parse(str(spec))
    assert again == spec
    for key, value in params.items():
        pairs = zip(value, again.params[key], strict=True) if isinstance(value, tuple) else [(value, again.params[key])]
        assert all(isinstance(new, bool) == isinstance(old, bool) for old, new in pairs)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    refusal = ""
    try:
        spec = parse(text)
    except BadSpec as error:
        refusal = str(error)
    assert "write name" in refusal or parse(str(spec)) == spec


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_a_grid_has_the_product_of_its_axes(params):
    points = expand(Spec("m", (), params))
    size = 1
    for value in params.values():
        size *= len(value) if isinstance(value, tuple) else 1
    assert len(points) == size
    assert all(not isinstance(value, tuple) for point in points for value in point.params.values())


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("a[]x", None),
        ("a[x]", None),
        ("a[x=]", None),
        ("a[x=1,x=2]", None),
        ("a[x=1", None),
        ("a[x='1]", None),
        ("a@[x=1]", None),
        ("[x=1]", None),
        ("a[x=[9..3]]", None),
        ("a[x=[1..99999999]]", None),
        ("a[x=1]]", None),
        ("a[ x = 1 , y = 'p q' ]", {"x": 1, "y": "p q"}),
        ("a[x=[1..3,9]]", {"x": (1, 2, 3, 9)}),
        ("a[x=['1..3']]", {"x": ("1..3",)}),
        ("a[x=1e3,y=True,z=.5,w=s+c]", {"x": 1000.0, "y": True, "z": 0.5, "w": "s+c"}),
    ],
)
def test_cases(text, params):
    if params is None:
        with pytest.raises(BadSpec, match="cannot read"):
            parse(text)
    else:
        assert parse(text).params == params


@pytest.mark.parametrize("text", ["a[k=%s]", "a[k=-%s]", "a[k=%s.5]", "a[k=[1,%s]]", "a[k=[1..%s]]", "a[k=%s..3]"])
def test_numbers_of_thousands_of_digits_are_refused(text):
    with pytest.raises(BadSpec, match="at most 300 digits"):
        parse(text % ("1" * 5000))
