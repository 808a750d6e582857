"""Rows over seeds, checked against the statistics module and naive loops; published numbers."""

from __future__ import annotations

import csv
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import record

from zslbench.errors import UnknownName
from zslbench.registry import METHODS
from zslbench.results.analysis import published
from zslbench.results.analysis.published import Published
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
    values = [line[metric] for line in lines for metric in published.PROTOCOL if line[metric]]
    entries = published.load()
    assert len(entries) == len(values) == 1974
    assert sum(entry.value for entry in entries) == pytest.approx(sum(map(float, values)))
    assert all(0 <= entry.value <= 100 and entry.kind in published.KINDS for entry in entries)
    assert len({entry._replace(value=0, note="") for entry in entries}) == len(entries)
    text = path.read_text(encoding="utf-8")
    assert "[mem]" not in text
    assert not re.search(r"unverified|secondary", text)


def test_names_of_cited_methods_are_those_of_the_package() -> None:
    """A method of the package is cited under its name, also where its title has hyphens or marks."""
    names = {entry.title: entry.method for entry in published.load()}
    assert {entry.method for entry in published.load()} >= {
        "lisgan", "lisgan:S3", "fclswgan", "devise", "cnzsl", "zla", "cadavae", "fvaegan", "tfvaegan", "cegzsl", "free",
        "relationnet", "dcn", "cvc", "lsrgan", "cyclewgan", "sdgzsl", "bivaegan",
    }  # fmt: skip
    assert (names["CVC-ZSL"], names["LisGAN@S3"], names["f-CLSWGAN+DSP"]) == ("cvc", "lisgan:S3", "fclswgan+dsp")
    for name in METHODS.builtin_names():
        titles = {title for title, method in names.items() if method == name}
        assert len(titles) < 2, "one title per method"


def test_cited_harmonic_means_follow_from_their_parts() -> None:
    """H = 2US/(U+S) of the printed U and S, up to their rounding, or the note says what it would be."""
    parts: dict[Published, dict[str, Published]] = {}
    for entry in published.load():
        parts.setdefault(entry._replace(metric="", value=0), {})[entry.metric] = entry
    assert len(parts) > 500
    told = 0
    for numbers in parts.values():
        if {"U", "S", "H"} <= numbers.keys():
            unseen, seen, harmonic = (numbers[name].value for name in "USH")
            follows = 2 * unseen * seen / (unseen + seen or 1)
            if harmonic != pytest.approx(follows, abs=0.15):
                assert f"H {follows:.1f}" in numbers["H"].note, numbers["H"]
                told += 1
    assert told == 10


def test_the_preferred_source_is_taken_and_another_can_be_asked_for() -> None:
    assert published.sources()[:3] == ("xian2018gbu", "zhang2017dem", "li2019lisgan")
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


@pytest.mark.parametrize(
    ("method", "dataset", "data", "chosen"),
    [
        # first-hand before quoted before re-run, on plain features before fine-tuned ones
        ("tfvaegan", "cub", ("res101", "att"), ("narayan2020tfvaegan", "measured", 58.1)),
        ("cadavae", "cub", ("res101", "att"), ("chen2021sdgzsl", "quoted", 52.4)),
        ("free", "flo", ("fc1000", "att"), ("scfagzsl2026", "quoted", 75.0)),
        ("gcmcf", "flo", ("res101", "att"), ("feng2022gasl", "rerun", 57.7)),
        ("tfvaegan", "cub", ("res101_ft", "att"), ("chen2021sdgzsl", "quoted", 70.7)),
        # sentences are no attributes
        ("zla", "cub", ("res101", "att"), ("chen2022zla", "measured", 55.0)),
        ("zla", "cub", ("res101", "sent"), ("chen2022zla", "measured", 68.7)),
        ("cyclewgan", "cub", ("res101", "att"), None),
        # a part of the training images, and methods of images
        ("zerodiff", "cub", ("res101_ft", "sent"), ("ye2025zerodiff", "measured", 81.6)),
        ("rezsl", "awa2", ("res101", "unknown"), None),
    ],
)
def test_only_numbers_that_compare_are_taken_without_a_source(
    method: str, dataset: str, data: tuple[str, str], chosen: tuple[str, str, float] | None
) -> None:
    entry = published.lookup([method], dataset, "H", data=data)
    assert (entry and (entry.source, entry.kind, entry.value)) == chosen


def test_what_other_sources_print_is_known_but_for_reruns() -> None:
    entry = published.lookup(["dem"], "cub", "H")
    assert entry is not None
    assert [(rival.source, rival.value) for rival in published.find_rivals(entry)] == [("li2019lisgan", 19.4)]
    entry = published.lookup(["tfvaegan"], "awa2", "H")
    assert entry is not None
    assert published.find_rivals(entry) == []


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
    of_lisgan = {"fclswgan", "gazsl", "lisgan", *(f"lisgan:S{number}" for number in (1, 2, 3, 4))}
    assert {method for source, method in read if source == "li2019lisgan"} == of_lisgan
    of_reruns = {"fclswgan", "lisgan", "lsrgan", "tfvaegan", "free", "gcmcf"}
    assert {method for source, method in read if source == "feng2022gasl"} == of_reruns
    first_hand = {(entry.method, bool(entry.oracle)) for entry in published.load() if entry.kind == "measured"}
    assert first_hand >= {("zla", True), ("tfvaegan", True), ("relationnet", True), ("cnzsl", False), ("dem", False)}
    assert {entry.table for entry in published.load() if entry.method == "relationnet" and not entry.oracle} == {
        "issue #2"
    }
    uses_test_features = {entry.method for entry in published.load() if entry.transductive}
    assert uses_test_features == {
        "lisgan", "lisgan:S4", "bivaegan", "fvaegan", "tfvaegan", "sabrt", "sdgn", "sthswgan", "lsa",
    }  # fmt: skip
    assert published.lookup(["fvaegan"], "awa2", "T1", transductive=True).value == 89.8  # type: ignore[union-attr]
    assert published.lookup(["fvaegan"], "awa2", "T1", transductive=False).value == 71.1  # type: ignore[union-attr]
