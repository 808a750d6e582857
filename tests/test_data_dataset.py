"""`Dataset` and its fingerprint: content decides, nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc

import numpy as np
import pytest
from data_folders import refusal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zslbench.data import load_dataset
from zslbench.data.dataset import Dataset
from zslbench.identity import fingerprint

arrays = hnp.arrays(
    dtype=st.sampled_from([np.float32, np.int64]),
    shape=hnp.array_shapes(min_dims=1, max_dims=2, max_side=6),
    elements={"min_value": -4, "max_value": 4},
)


@given(arrays, st.data())
def test_fingerprint_is_that_of_values_name_and_shape(array: np.ndarray, data: st.DataObject) -> None:
    expected = fingerprint({"x": array})
    swapped = array.astype(array.dtype.newbyteorder(">"))
    for same in (np.asfortranarray(array), swapped, np.repeat(array, 2, axis=0)[::2]):
        assert fingerprint({"x": same}) == expected
    changed = array.copy()
    changed.flat[data.draw(st.integers(0, array.size - 1))] += 1
    for other in ({"x": changed}, {"y": array}, {"x": array[None]}):
        assert fingerprint(other) != expected


@pytest.mark.parametrize("block", [1 << 18, 4])
def test_fingerprint_is_the_sha256_of_little_endian_bytes(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zslbench.identity.HASHED", block)
    arrays = {"b": np.arange(6, dtype=">i4").reshape(2, 3).T, "a": np.array(["auk", "é"]), "e": np.zeros((0, 3))}
    text = b"".join(
        f"{name}:{kind}:{arrays[name].shape};".encode() + arrays[name].astype(kind).tobytes("C")
        for name, kind in (("a", "<U3"), ("b", "<i4"), ("e", "<f8"))
    )
    assert fingerprint(arrays) == hashlib.sha256(text).hexdigest()[:16]


@pytest.mark.parametrize("shape", [(1, 1 << 21), (1 << 21, 1), (1 << 10, 1 << 11)])
def test_fingerprint_copies_no_array_whole(shape: tuple[int, int]) -> None:
    arrays = {"x": np.asfortranarray(np.ones(shape)), "y": np.ones(shape[::-1])}
    tracemalloc.start()
    try:
        fingerprint(arrays)
        assert tracemalloc.get_traced_memory()[1] < arrays["x"].nbytes / 4
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.mark.parametrize("name", ["features", "labels", "semantics", "trainval", "test_seen", "test_unseen"])
def test_every_array_is_read_only_and_enters_the_fingerprint(digits: Dataset, name: str) -> None:
    with pytest.raises(ValueError, match="read-only"):
        getattr(digits, name)[0] = 0
    array = np.array(getattr(digits, name))
    if array.ndim == 1:
        array[:2] = array[1::-1]
    else:
        array[0, 0] += 1
    assert dataclasses.replace(digits, **{name: array}, fingerprint="").fingerprint != digits.fingerprint


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"features": np.zeros((3, 4, 2), np.float32)}, "must be matrices"),
        ({"semantics": np.float32(0)}, "must be matrices"),
        ({"features": np.zeros((0, 4), np.float32)}, "must not be empty"),
        ({"features": np.zeros((1797, 2))}, "must be float32"),
        ({"labels": np.zeros(3, np.int64)}, "3 labels"),
        ({"labels": np.full(1797, -1)}, "labels run from -1"),
        ({"class_names": ("a",)}, "1 class name for 10"),
        ({"trainval": np.array([-1])}, "names rows -1"),
        ({"trainval": np.zeros(0, np.int64)}, "non-empty"),
        ({"trainval": np.array([1.0])}, "int64"),
    ],
)
def test_broken_invariants_are_one_sentence(digits: Dataset, change: dict[str, object], why: str) -> None:
    assert why in refusal(dataclasses.replace, digits, **change, fingerprint="")
