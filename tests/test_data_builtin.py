"""The built-in sets: digits and their attribute table, and the synthetic set."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from zslbench.data import Counts, Dataset, builtin, load_dataset
from zslbench.data.builtin import Synthetic
from zslbench.errors import BadValue, DataMissing


def nearest_class_accuracy(dataset: Dataset) -> float:
    """Return the mean per-class accuracy on unseen classes of ridge regression to semantics (scikit-learn's)."""
    train, test = dataset.trainval, dataset.test_unseen
    centre, spread = dataset.features[train].mean(0), dataset.features[train].std(0) + 1e-6
    scaled = (dataset.features - centre) / spread
    model = Ridge(alpha=10.0).fit(scaled[train], dataset.semantics[dataset.labels[train]])
    described = dataset.semantics[dataset.unseen]
    distance = ((model.predict(scaled[test])[:, None] - described[None]) ** 2).sum(2)
    hit = dataset.unseen[distance.argmin(1)] == dataset.labels[test]
    return float(np.mean([hit[dataset.labels[test] == label].mean() for label in dataset.unseen]))


@pytest.mark.parametrize("where", ["in its file", "elsewhere"])
def test_digits_are_scikit_learns_in_a_fixed_split(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "elsewhere":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    dataset, raw = builtin.Digits().load(), load_digits()
    np.testing.assert_array_equal(dataset.features * 16, raw.data)
    np.testing.assert_array_equal(dataset.labels, raw.target)
    assert (dataset.features_name, dataset.semantics_name, dataset.origin) == ("pixels", "strokes", "builtin")
    assert Counts.of(dataset) == builtin.Digits.card.counts
    assert load_dataset("digits").fingerprint == dataset.fingerprint
    sizes, tested = (np.bincount(labels) for labels in (raw.target, dataset.labels[dataset.test_seen]))
    np.testing.assert_array_equal(tested[dataset.seen], np.round(0.2 * sizes[dataset.seen]))


def test_digit_attributes_are_distinct_documented_and_varied() -> None:
    table, doc = builtin.semantics_table(), builtin.__doc__ or ""
    assert table.shape == (10, len(builtin.ATTRIBUTES))
    assert len(np.unique(table, axis=0)) == 10
    seen = np.setdiff1d(np.arange(10), builtin.UNSEEN)
    assert (table[seen].min(0) < table[seen].max(0)).all(), "no attribute is constant on the seen classes"
    for attribute, column in zip(builtin.ATTRIBUTES, table.T, strict=True):
        line = next(line for line in doc.splitlines() if line.startswith(f"{attribute} "))
        documented = line + "".join(doc.split(line, 1)[1].splitlines()[1:2])
        for digit in np.flatnonzero(column == 1):
            assert str(digit) in documented, f"{attribute}: {digit} is not documented"


def test_unseen_digits_follow_from_the_table_by_the_documented_rule() -> None:
    table = builtin.semantics_table().astype(np.float64)
    has = table >= 0.5
    allowed = {}
    for triple in itertools.combinations(range(10), 3):
        seen = [digit for digit in range(10) if digit not in triple]
        alike = [(has[seen] == has[digit]).sum(0).min() for digit in triple]
        if min(alike) >= 2 and (table[seen].min(0) < table[seen].max(0)).all():
            basis = (table[seen[1:]] - table[seen[0]]).T
            offset = (table[list(triple)] - table[seen[0]]).T
            allowed[triple] = np.linalg.norm(offset - basis @ np.linalg.lstsq(basis, offset, rcond=None)[0])
    assert sorted(allowed) == [(3, 4, 5), (3, 5, 7)]
    assert min(allowed, key=lambda triple: allowed[triple]) == builtin.UNSEEN


@pytest.mark.parametrize("option", ["features", "semantics"])
@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_builtin_sets_have_one_choice(name: str, option: str) -> None:
    dataset = load_dataset(name)
    choice = getattr(dataset, f"{option}_name")
    assert load_dataset(name, **{option: choice}).fingerprint == dataset.fingerprint
    with pytest.raises(DataMissing, match=f"leave out --{option}"):
        load_dataset(name, **{option: "res101"})


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {"classes": st.integers(3, 12), "unseen": st.integers(1, 5), "attributes": st.integers(1, 9),
         "features": st.integers(1, 20), "modes": st.integers(1, 4), "noise": st.floats(0, 3),
         "images": st.integers(3, 9), "seed": st.integers(0, 99)}
    )
)  # fmt: skip
def test_synthetic_is_what_its_parameters_say(values: dict[str, Any]) -> None:
    unseen = min(values["unseen"], values["classes"] - 2)
    source = Synthetic(**(values | {"unseen": unseen}))
    dataset = source.load()
    assert dataset.features.shape == (values["classes"] * values["images"], values["features"])
    assert dataset.features.min() >= 0
    assert dataset.semantics.shape == (values["classes"], values["attributes"])
    assert (len(dataset.seen), len(dataset.unseen)) == (values["classes"] - unseen, unseen)
    np.testing.assert_array_equal(np.bincount(dataset.labels), values["images"])
    assert source.load().fingerprint == dataset.fingerprint


def test_synthetic_without_noise_has_as_many_points_a_class_as_modes() -> None:
    dataset = load_dataset("synthetic[modes=3,noise=0,images=60]")
    for label in range(20):
        assert len(np.unique(dataset.features[dataset.labels == label], axis=0)) == 3


@pytest.mark.parametrize(
    ("text", "least"),
    [("digits", 0.45), *((f"synthetic[seed={seed}]", 0.5) for seed in (0, 1, 2))],  # chance: a third, and a fifth
)
def test_unseen_classes_can_be_told_apart(text: str, least: float) -> None:
    assert nearest_class_accuracy(load_dataset(text)) > least


def test_synthetic_seeds_differ_and_its_card_says_what_it_is() -> None:
    assert load_dataset("synthetic[seed=1]").fingerprint != load_dataset("synthetic").fingerprint
    assert "SYNTHETIC" in Synthetic.card.summary


@pytest.mark.parametrize("params", ["classes=2", "unseen=19", "noise=-1", "modes=0"])
def test_synthetic_refuses_what_cannot_be(params: str) -> None:
    with pytest.raises(BadValue, match="synthetic"):
        load_dataset(f"synthetic[{params}]")
