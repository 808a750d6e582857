"""Grids of closed forms: the bits of single fits, work done once, nothing shared afterwards."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench import params
from zslbench.methods import closed_form
from zslbench.methods.base import Context
from zslbench.methods.closed_form import ClosedForm, Shared, depends_on
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.closed_form.gfzsl import GFZSL
from zslbench.methods.closed_form.prototype import Prototype
from zslbench.methods.closed_form.ridge import Ridge
from zslbench.methods.closed_form.sae import SAE
from zslbench.methods.closed_form.spectrum import ClassRidge, ShiftedGram
from zslbench.registry import METHODS
from zslbench.task import ClassTable, Train

CLOSED: list[type[ClosedForm]] = [ESZSL, SAE, Ridge, GFZSL, Prototype]
CHAINS = ("none", "minmax", "standard", "l2", "standard+l2")


def task(rows: int, seed: int) -> Train:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(5), rng.integers(0, 5, rows - 5)])
    table = ClassTable(np.arange(6), rng.normal(size=(6, 4)).astype(np.float32))
    return Train(rng.normal(size=(rows, 9)).astype(np.float32), labels, table)


@st.composite
def grids(draw: st.DrawFn) -> tuple[type[ClosedForm], list[dict[str, Any]]]:
    """A closed form and points that take each parameter from one or two values, in any order, some twice."""
    cls = draw(st.sampled_from(CLOSED))
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, one in params.declared_params(cls).items():
        if name == "preprocess":
            some: st.SearchStrategy[Any] = st.sampled_from(CHAINS)
        elif one.choices:
            some = st.sampled_from(one.choices)
        elif one.kind is bool:
            some = st.booleans()
        else:
            assert one.low is not None
            assert one.high is not None
            low, high = np.log10(one.low), np.log10(one.high)
            some = st.floats(low, high).map(lambda e, a=one.low, b=one.high: float(min(max(10.0**e, a), b)))
        values[name] = st.sampled_from(draw(st.lists(some, min_size=1, max_size=2)))
    return cls, draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=6))


def state(method: ClosedForm) -> dict[str, bytes]:
    return {name: pickle.dumps(value) for name, value in sorted(vars(method).items())}


@settings(max_examples=60, deadline=None)
@given(grids(), st.sampled_from([7, 40]), st.integers(0, 99))
def test_a_point_of_a_grid_has_the_bits_of_a_single_fit(
    grid: tuple[type[ClosedForm], list[dict[str, Any]]], rows: int, seed: int
) -> None:
    cls, points = grid
    train = task(rows, seed)
    fitted = list(cls.fit_grid([cls(**point) for point in points], train, Context()))
    assert len(fitted) == len(points)
    query = np.random.default_rng(seed).normal(size=(6, 9)).astype(np.float32)
    for found, point in zip(fitted, points, strict=True):
        alone = cls(**point).fit(train, Context())
        assert state(found) == state(alone)
        np.testing.assert_array_equal(found.scores(query, train.classes), alone.scores(query, train.classes))


def test_every_closed_form_is_tried() -> None:
    loaded = [METHODS.load(name) for name in ("eszsl", "sae", "ridge", "gfzsl", "prototype")]
    assert loaded == CLOSED
    assert all(cls.offers_grid() for cls in CLOSED)


@pytest.mark.parametrize("cls", CLOSED)
def test_a_grid_factorizes_once_for_each_preprocessing(cls: type[ClosedForm], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = closed_form.Preprocessor
    monkeypatch.setattr(closed_form, "Preprocessor", lambda chain: (seen.append(1), real(chain))[1])
    grams: list[tuple[int, ...]] = []
    of = ShiftedGram.of.__func__  # type: ignore[attr-defined]

    def counted(owner: type[ShiftedGram], gram: np.ndarray, terms: int) -> ShiftedGram:
        grams.append(gram.shape)
        return of(owner, gram, terms)

    monkeypatch.setattr(ShiftedGram, "of", classmethod(counted))
    strength = {ESZSL: "gamma", GFZSL: "lam_mean"}.get(cls, "lam")
    chains = ("none", "l2")
    points = [cls(**{strength: lam, "preprocess": chain}) for lam in (0.1, 1.0, 10.0) for chain in chains]
    assert len(list(cls.fit_grid(points, task(40, 0), Context()))) == 6
    assert len(seen) == 2
    by_features = cls in (ESZSL, SAE, Prototype)
    by_semantics = cls in (ESZSL, Ridge, GFZSL)
    assert len(grams) == 2 * by_features + by_semantics


@pytest.mark.parametrize("cls", CLOSED)
def test_points_share_no_array_and_keep_no_factorization(cls: type[ClosedForm]) -> None:
    train = task(40, 1)
    first, second = cls.fit_grid([cls(), cls()], train, Context())
    own = _arrays(first)
    for array in own:
        assert not any(np.shares_memory(array, other) for other in _arrays(second))
        assert not np.shares_memory(array, train.features)
        assert not np.shares_memory(array, train.classes.semantics)
    scores = second.scores(train.features, train.classes)
    for array in own:
        if array.flags.writeable:
            array[...] = 0
    np.testing.assert_array_equal(second.scores(train.features, train.classes), scores)


def _arrays(root: object) -> list[np.ndarray]:
    """Every array that can be reached from an object, and the buffers that they are views of."""
    found: list[np.ndarray] = []
    ahead, known = [root], set()
    while ahead:
        one = ahead.pop()
        if id(one) in known or isinstance(one, type | str | bytes | int | float):
            continue
        known.add(id(one))
        if isinstance(one, ShiftedGram | ClassRidge):
            raise AssertionError(f"a fitted point leads to a {type(one).__name__}")
        if isinstance(one, np.ndarray):
            found.append(one)
            ahead.append(one.base)
        elif isinstance(one, dict):
            ahead += list(one.values())
        elif isinstance(one, list | tuple):
            ahead += list(one)
        else:
            ahead += list(getattr(one, "__dict__", {}).values())
    return found


class _Thing:
    """Something to be shared, that can be watched."""


@depends_on("lam")
def _thing(log: list[float], lam: float) -> _Thing:
    log.append(lam)
    return _Thing()


def test_shared_computes_once_and_drops_after_the_last_user() -> None:
    points = [Ridge(lam=lam) for lam in (1.0, 2.0, 1.0, 2.0, 1.0)]
    shared, log = Shared(points, Context()), []
    first = weakref.ref(shared.once(points[0], _thing, log))
    second = weakref.ref(shared.once(points[1], _thing, log))
    assert shared.once(points[2], _thing, log) is first()
    assert shared.once(points[3], _thing, log) is second()
    gc.collect()
    assert second() is None
    assert shared.once(points[4], _thing, log) is first()
    gc.collect()
    assert first() is None
    assert log == [1.0, 2.0]
