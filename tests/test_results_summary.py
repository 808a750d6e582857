"""Rows over seeds, checked against the statistics module and naive loops; published numbers."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import record

from zslbench.errors import UnknownName
from zslbench.results.analysis import published
from zslbench.results.analysis.rows import summarise
from zslbench.results.records.record import Record

fractions = st.floats(0, 1)


@given(st.lists(fractions, min_size=1, max_size=8), st.randoms())
def test_mean_and_deviation_are_those_of_the_seeds(values: list[float], random) -> None:  # type: ignore[no-untyped-def]
    records = [record("lisgan", seed=seed, metrics={"T1": value}) for seed, value in enumerate(values)]
    shuffled = records[:]
    random.shuffle(shuffled)
    [row] = summarise(records)
    assert summarise(shuffled) == [row]
    assert row.seeds == tuple(range(len(values)))
    accuracy = row.metrics["T1"]
    assert accuracy.n == len(values)
    assert math.isclose(accuracy.mean, 100 * statistics.mean(values), rel_tol=1e-12, abs_tol=1e-12)
    spread = statistics.stdev(values) if len(values) > 1 else None
    assert accuracy.std == (spread if spread is None else pytest.approx(100 * spread, rel=1e-9, abs=1e-9))


def test_a_method_without_chance_has_no_deviation() -> None:
    [row] = summarise([record("eszsl", seed=seed, metrics={"T1": value}) for seed, value in enumerate([0.5, 0.5, 0.6])])
    accuracy = row.metrics["T1"]
    assert (row.stochastic, accuracy.std, accuracy.n) == (False, None, 3)
    assert math.isclose(accuracy.mean, 160 / 3)


settings = st.tuples(*map(st.sampled_from, (["eszsl", "sae"], ["cub", "sun"], ["zsl", "gzsl"], [1.0, 10.0])))
outcomes = st.tuples(fractions, st.sampled_from(["ok", "ok", "failed"]))


@given(st.dictionaries(st.tuples(settings, st.integers(0, 3)), outcomes, max_size=30))
def test_rows_are_the_groups_of_a_plain_loop(runs: dict[Any, tuple[float, str]]) -> None:
    records = [
        record(*names, seed, {"T1": value}, params={"gamma": gamma}, status=status)
        for ((*names, gamma), seed), (value, status) in runs.items()
    ]
    wanted: dict[tuple[object, ...], dict[int, float]] = {}
    for (setting, seed), (value, status) in runs.items():
        if status == "ok":
            wanted.setdefault(setting, {})[seed] = value
    rows = {(row.method, row.dataset, row.protocol, row.params["gamma"]): row for row in summarise(records)}
    assert rows.keys() == wanted.keys()
    for setting, values in wanted.items():
        assert rows[setting].seeds == tuple(sorted(values))
        assert math.isclose(rows[setting].metrics["T1"].mean, 100 * sum(values.values()) / len(values), abs_tol=1e-9)


DIFFERENT = {
    "method": {"method": "sae"},
    "params": {"params": {"gamma": 2}},
    "version": {"version": 2},
    "dataset": {"dataset": "sun"},
    "features": {"features": "res101"},
    "semantics": {"semantics": "sent"},
    "fingerprint": {"fingerprint": "f" * 16},
    "protocol": {"protocol": "gzsl"},
    "stage": {"stage": "dev", "fold": 1},
    "fold": {"fold": 2},
    "selection": {"selection": "oracle"},
}


@pytest.mark.parametrize("facts", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(facts: dict[str, object]) -> None:
    rows = summarise([record(seed=0), record(seed=1, **facts)])  # type: ignore[arg-type]
    assert [row.seeds for row in rows] in ([(0,), (1,)], [(1,), (0,)])


def test_one_run_typed_in_two_ways_is_one_row_under_the_shorter_label() -> None:
    same = {"gamma": 1000.0}
    [row] = summarise([record(seed=0, label="eszsl[gamma=1000]", params=same), record(seed=1, params=same)])
    assert (row.label, row.seeds) == ("eszsl", (0, 1))


@pytest.mark.parametrize("status", ["failed", "crashed", "timeout", "interrupted", "skipped"])
def test_only_finished_runs_count(status: str) -> None:
    [row] = summarise([record(seed=0), record(seed=1, status=status)])
    assert row.seeds == (0,)
    assert summarise([record(status=status)]) == []


def test_a_metric_that_some_seeds_lack_counts_those_that_have_it() -> None:
    [row] = summarise([record(seed=0, metrics={"U": 0.2, "S": 0.4}), record(seed=1, metrics={"U": 0.4})])
    assert (row.metrics["U"].n, row.metrics["S"].n) == (2, 1)


def test_rows_take_their_facts_from_the_record() -> None:
    one = record(title="ESZSL", setting="semantic", origin="own", params={"lam": 2.0})
    [row] = summarise([Record.from_json(one.to_json())])
    assert (row.title, row.setting, row.origin, row.params) == ("ESZSL", "semantic", "own", {"lam": 2.0})
    assert (row.features, row.semantics, row.fingerprint) == ("fc1000", "att", one.dataset["fingerprint"])


# --- published -----------------------------------------------------------------------------------------------------


def test_every_cited_number_is_loaded_and_plausible() -> None:
    path = Path(published.__file__).with_name("published.csv")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    entries = published.load()
    assert len(entries) == len(lines) == 500
    assert sum(entry.value for entry in entries) == pytest.approx(sum(float(line["value"]) for line in lines))
    assert all(0 <= entry.value <= 100 and entry.metric in published.PROTOCOL for entry in entries)
    assert len({(entry.source, entry.method, entry.dataset, entry.metric) for entry in entries}) == 500


def test_cited_harmonic_means_follow_from_their_parts() -> None:
    """H = 2US/(U+S) of the printed U and S, up to their rounding: a slip in copying would show."""
    parts: dict[tuple[str, str, str], dict[str, float]] = {}
    for entry in published.load():
        parts.setdefault((entry.source, entry.method, entry.dataset), {})[entry.metric] = entry.value
    assert len(parts) > 100
    for numbers in parts.values():
        if {"U", "S", "H"} <= numbers.keys():
            unseen, seen = numbers["U"], numbers["S"]
            assert numbers["H"] == pytest.approx(2 * unseen * seen / (unseen + seen or 1), abs=0.15)


def test_the_preferred_source_is_taken_and_another_can_be_asked_for() -> None:
    assert published.sources() == published.PREFERENCE
    asked = (None, "xian2018gbu", 21.0), ("li2019lisgan", "li2019lisgan", 4.6)
    for source, preferred, value in asked:
        entry = published.lookup(["eszsl"], "cub", "H", source)
        assert entry is not None
        assert (entry.source, entry.value) == (preferred, value)
        assert entry.note.startswith("erratum") == (preferred == "li2019lisgan")
    assert published.lookup(["lisgan"], "cub", "H", "xian2018gbu") is None
    assert published.lookup(["nothing"], "cub", "H") is None
    with pytest.raises(UnknownName, match="did you mean 'li2019lisgan'"):
        published.lookup(["eszsl"], "cub", "H", "li2019")


def beside(**facts: object) -> float | None:
    setting = facts.pop("setting", "transductive" if facts["method"] == "lisgan" else "inductive")
    [row] = summarise([record(setting=setting, **facts)])  # type: ignore[arg-type]
    entry = published.find_comparable_number(row, "T1", "best")
    return entry.value if entry else None


def test_only_what_was_published_stands_beside_what_was_measured() -> None:
    assert beside(method="lisgan", dataset="apy") == 43.1
    assert beside(method="lisgan", dataset="apy", label="lisgan@published[souls=3]") == 43.1
    ablations = {entry.method: entry.value for entry in published.load() if entry.method.startswith("lisgan:")}
    for name in ("S1", "S2", "S3", "S4"):
        setting = "transductive" if name == "S4" else "inductive"
        other = "inductive" if name == "S4" else "transductive"
        facts = {"method": "lisgan", "dataset": "apy", "label": f"lisgan@{name}"}
        assert beside(**facts, setting=setting) == ablations[f"lisgan:{name}"]
        assert beside(**facts, setting=other) is None
    assert beside(method="lisgan", dataset="cub", label="lisgan@S3", setting="inductive") is None
    assert beside(method="lisgan", dataset="cub", label="lisgan@S4") == 58.8
    assert beside(method="lisgan", dataset="cub", origin="own") is None
    assert beside(method="lisgan", dataset="cub", protocol="gzsl") is None
    assert beside(method="lisgan", dataset="cub", label="lisgan[cascade=off]", setting="inductive") is None
    assert beside(method="fclswgan", dataset="cub") == 57.3
    assert beside(method="fclswgan", dataset="cub", setting="transductive") is None


def test_numbers_of_code_that_picks_on_test_images_are_told_from_others() -> None:
    read = {(entry.source, entry.method) for entry in published.load() if entry.oracle}
    ablations = [f"lisgan:S{number}" for number in (1, 2, 3, 4)]
    sources = {"li2019lisgan": ["fclswgan", "gazsl", "lisgan", *ablations], "feng2022gasl": ["fclswgan", "lisgan"]}
    assert read == {(source, method) for source, methods in sources.items() for method in methods}
