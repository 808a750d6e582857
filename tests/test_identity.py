"""Identity: canonical JSON, fingerprints and random streams."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zslbench.identity import canonical_json, digest, fingerprint
from zslbench.seeding import stream, stream_seed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_canonical_json_is_json_and_stable(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2))
def test_order_of_keys_does_not_matter(mapping):
    items = list(mapping.items())
    random.Random(0).shuffle(items)
    assert digest(dict(items)) == digest(mapping)


def test_nan_has_no_identity():
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": float("nan")})


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2), elements=st.floats(-5, 5, width=32)))
def test_fingerprint_names_content_not_memory(array):
    same = [np.asfortranarray(array), array.copy(), array.astype(array.dtype.newbyteorder(">"))]
    assert {fingerprint({"x": other}) for other in same} == {fingerprint({"x": array})}
    changed = array.copy()
    changed.flat[-1] += 1
    assert fingerprint({"x": changed}) != fingerprint({"x": array})
    assert fingerprint({"y": array}) != fingerprint({"x": array})
    assert fingerprint({"x": array.astype(np.float64)}) != fingerprint({"x": array})
    assert fingerprint({"x": array[None]}) != fingerprint({"x": array})


def test_fingerprint_of_many_rows_sees_every_chunk():
    rows = np.zeros((10_000, 2), np.float32)
    seen = {fingerprint({"x": rows})}
    for row in (0, 4095, 4096, 9_999):
        changed = rows.copy()
        changed[row, 1] = 1
        seen.add(fingerprint({"x": changed}))
    assert len(seen) == 5


@given(st.integers(0, 2**32 - 1), st.text(max_size=10), st.text(max_size=10))
def test_streams_depend_on_seed_and_purpose_only(seed, first, second):
    assert stream(seed, first).random() == stream(seed, first).random()
    assert 0 <= stream_seed(seed, first) < 2**63
    if first != second:
        assert stream(seed, first).random() != stream(seed, second).random()
        assert stream_seed(seed, first) != stream_seed(seed, second)
    assert stream(seed, first).random() != stream(seed + 1, first).random()
