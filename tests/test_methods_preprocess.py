"""Preprocessing chains against scikit-learn's scalers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler

from zslbench.errors import BadValue
from zslbench.methods.preprocess import STEPS, Preprocessor, check_chain

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(1.0, 3.0, (40, 6)).astype(np.float32)
TRAIN[:, 2] = 7.0
TEST = RNG.normal(0.0, 5.0, (15, 6)).astype(np.float32)
TEST[3] = 0.0


@pytest.mark.parametrize(
    "chain", ["none", "minmax", "standard", "l2", "clip", "standard+clip+minmax", "l2+standard", "clip+l2", "minmax+l2"]
)
def test_chain_has_the_bits_of_scikit_learns(chain: str) -> None:
    makers = {"minmax": MinMaxScaler, "standard": StandardScaler, "l2": Normalizer}
    far = TRAIN * 1e-3 + 1e4  # spread near the rounding of its mean
    for train in (TRAIN, np.asfortranarray(TRAIN), far, TRAIN[:, :1], TRAIN[:1], np.repeat(TRAIN, 300, axis=0)):
        train, test = train.copy(order="K"), TEST[:, : train.shape[1]].copy()
        train.flags.writeable = test.flags.writeable = False
        fitted, rows = Preprocessor(chain).fit(train), train
        out, again = fitted.transform(test), Preprocessor(chain).fit_transform(train)
        for step in chain.split("+") if chain != "none" else ():
            theirs = makers[step]() if step in makers else FunctionTransformer(lambda x: np.maximum(x, 0))
            rows, test = theirs.fit_transform(rows), theirs.transform(test)
        assert out.dtype == np.float32
        np.testing.assert_array_equal(fitted.transform(train), rows)
        np.testing.assert_array_equal(again, rows)
        np.testing.assert_array_equal(out, test)


def test_writable_input_is_not_changed_either() -> None:
    for chain in ("minmax", "standard", "l2", "clip", "l2+minmax", "clip+standard"):
        train, test = TRAIN.copy(), TEST.copy()
        Preprocessor(chain).fit(train).transform(test)
        np.testing.assert_array_equal(train, TRAIN)
        np.testing.assert_array_equal(test, TEST)


def test_fitted_pickles_and_refit_forgets() -> None:
    fitted = Preprocessor("standard+clip+minmax").fit(TRAIN)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(TEST), fitted.transform(TEST))
    np.testing.assert_array_equal(
        fitted.fit(TEST).transform(TRAIN), Preprocessor("standard+clip+minmax").fit(TEST).transform(TRAIN)
    )


def test_statistics_come_from_the_training_rows_alone() -> None:
    fitted = Preprocessor("minmax").fit(TRAIN)
    np.testing.assert_array_equal(fitted.transform(TEST)[:1], fitted.transform(TEST[:1]))


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
def test_every_chain_of_known_steps_is_allowed_unless_none_is_among_others(steps: list[str]) -> None:
    assert (check_chain("+".join(steps)) is None) == ("none" not in steps or steps == ["none"])


@given(st.text(max_size=12).filter(lambda text: text not in STEPS and "+" not in text))
def test_unknown_steps_are_refused_with_what_is_allowed(text: str) -> None:
    for chain in (text, f"minmax+{text}", f"{text}+l2"):
        problem = check_chain(chain)
        assert problem is not None
        assert "minmax, standard, l2, clip" in problem
    with pytest.raises(BadValue):
        Preprocessor(text)


def test_nearest_step_is_offered() -> None:
    assert "'standard'" in str(check_chain("standart"))


@pytest.mark.parametrize("chain", ["none", "minmax", "standard+l2", "standard+clip+minmax"])
def test_no_rows_stay_no_rows(chain: str) -> None:
    fitted = Preprocessor(chain).fit(np.arange(12, dtype=np.float32).reshape(4, 3))
    assert fitted.transform(np.empty((0, 3), dtype=np.float32)).shape == (0, 3)
