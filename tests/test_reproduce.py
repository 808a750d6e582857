"""Reproductions: the verdict's logic, which run answers a number, and cells against naive loops over the records."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import statistics

import numpy as np
import pytest
import study_methods
from click.testing import CliRunner
from data_folders import small_cub, splits, write_folder
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

import zslbench
from zslbench.cli import cli
from zslbench.errors import BadValue, UnknownName
from zslbench.methods.base import Setting
from zslbench.registry import METHODS, Entry
from zslbench.results.analysis import published
from zslbench.results.analysis.published import Published
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import PresetStore, TunedPreset
from zslbench.runner.plan import RunOptions, plan
from zslbench.studies.reproduce import choose_entries, choose_spec, judge_interval

NOISY, STILL, BROKEN = "noisy", "still", "broken"
percent = st.floats(0, 100, allow_nan=False)


def number(method, metric, value, *, table="Table 1", dataset="cub", features="res101", note=""):
    return Published("mine", table, method, dataset, features, "att", metric, value, note)


@pytest.fixture
def cited(monkeypatch):
    """Let a source of our own be the published numbers, and the toys its methods."""
    targets = {NOISY: "study_methods:Noisy", STILL: "study_methods:Still", BROKEN: "toy_methods:Broken"}
    for name, target in targets.items():
        monkeypatch.setitem(METHODS.entries, name, Entry(name, target, "tests"))

    def forget():
        published._index.cache_clear()
        published.sources.cache_clear()

    def use(*entries):
        forget()
        monkeypatch.setattr(published, "load", lambda: tuple(entries))

    yield use
    forget()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return a folder of data sets that holds a small CUB with res101 features."""
    small_cub(monkeypatch, tmp_path / "home")
    labels = np.repeat(np.arange(1, 7), 6)
    att = splits()["att"]
    features = np.vstack([att, att[:2] * 0.5])[:, labels - 1] + np.random.default_rng(2).normal(0, 0.05, (5, 36))
    write_folder(tmp_path / "xlsa17" / "CUB", {"features": features})
    write_folder(tmp_path / "xlsa17" / "CUB", {"features": features}, stem="fc1000")
    return tmp_path / "xlsa17"


def measured(runs, label, metric):
    records = [one for one in ResultStore(runs).load() if one.method["label"] == label and metric in one.metrics]
    return [100 * one.metrics[metric] for one in sorted(records, key=lambda one: one.seed)]


@given(percent, percent, percent, st.floats(0, 50))
def test_a_verdict_says_where_the_interval_lies(a, b, value, tolerance):
    low, high = sorted((a, b))
    # an end that touches may fall to either side of rounding
    assume(all(abs(abs(end - value) - tolerance) >= 1e-6 for end in (low, high)))
    least, most = value - tolerance, value + tolerance
    inside, above, below = least <= low and high <= most, low > most, high < least
    verdict = judge_interval(low, high, value, tolerance)
    assert verdict == ("reproduced" if inside else "above" if above else "below" if below else "inconclusive")
    mirror = {"above": "below", "below": "above"}
    assert judge_interval(-high, -low, -value, tolerance) == mirror.get(verdict, verdict)


def test_without_an_interval_nothing_is_concluded_and_ends_count_as_within():
    assert judge_interval(None, None, 50, 10) == "inconclusive"
    assert judge_interval(48.0, 52.0, 50.0, 2.0) == "reproduced"
    assert judge_interval(57.8 + 2.0, 57.8 + 2.0, 57.8, 2.0) == "reproduced"  # the sum rounds up


def test_cells_are_intervals_of_the_records_held_against_the_numbers(cited, data, runs):
    cited(number(NOISY, "T1", 50.0), number(STILL, "T1", 99.0), number(NOISY, "S", 1.0), number(BROKEN, "T1", 50.0))
    found = zslbench.reproduce("mine", 1, seeds=4, tolerance=3.0, data_root=data, runs=runs)
    cells = {(cell.entry.method, cell.entry.metric): cell for cell in found.cells}
    for metric in ("T1", "S"):
        cell, own = cells[NOISY, metric], measured(runs, NOISY, metric)
        low, high = stats.t.interval(0.95, 3, statistics.fmean(own), stats.sem(own))
        assert cell.stat.mean == pytest.approx(statistics.fmean(own))
        assert (cell.low, cell.high) == pytest.approx((low, high))
        assert cell.verdict == judge_interval(low, high, cell.entry.value, 3.0)
        assert cell.difference == pytest.approx(statistics.fmean(own) - cell.entry.value)
    still = cells[STILL, "T1"]
    assert (still.low, still.high) == tuple(measured(runs, STILL, "T1") * 2)
    assert still.verdict == judge_interval(still.low, still.high, 99.0, 3.0) != "inconclusive"
    assert cells[BROKEN, "T1"].verdict == "failed"
    assert all(part in found.text for part in ("failed: RuntimeError:", "no convergence"))  # the column wraps
    assert "(the first: RuntimeError: no convergence (toy_methods.py:" in found.text
    assert "res101, att" in found.text
    assert "proposed split" in found.text
    again = zslbench.reproduce("mine", 1, seeds=4, tolerance=3.0, data_root=data, runs=runs)
    assert [state for _, state in again.outcome.states_before].count("to run") == 0
    assert again.text == found.text


def test_what_is_measured_with_a_part_of_the_answer_is_marked(cited, data, runs, monkeypatch):
    monkeypatch.setattr(study_methods.Still, "told", ("unseen", "unlabelled", "class_prior"))
    monkeypatch.setattr(study_methods.Still, "setting", Setting.TRANSDUCTIVE)
    cited(number(STILL, "T1", 99.0))
    text = zslbench.reproduce("mine", 1, data_root=data, runs=runs).text
    assert f"{measured(runs, STILL, 'T1')[0]:.1f} †‡" in text
    assert "† oracle: chosen on the test images, or told a part of the answer in fit." in " ".join(text.split())


def test_a_seed_that_failed_is_said(cited, data, runs, monkeypatch):
    def unlucky(self, train, ctx, fit=study_methods.Noisy.fit):
        if ctx.seed == 1:
            raise RuntimeError("no convergence")
        return fit(self, train, ctx)

    cited(number(NOISY, "T1", 50.0), number(NOISY, "U", 50.0), number(STILL, "T1", 50.0))
    whole = zslbench.reproduce("mine", 1, seeds=3, data_root=data, runs=runs / "whole", caption="full")
    assert "Seeds of methods with chance: 0–2 (n = 3)." in re.sub(r"\s+", " ", whole.text)
    monkeypatch.setattr(study_methods.Noisy, "fit", unlucky)
    found = zslbench.reproduce("mine", 1, seeds=3, data_root=data, runs=runs, caption="full")
    text = re.sub(r"\s+", " ", found.text)
    assert "Seeds of methods with chance: 0, 2 (n = 2)." in text
    assert "2 of 7 runs failed and do not count (the first: RuntimeError: no convergence (test_reproduce.py:" in text


def test_methods_train_at_the_precision_asked_for(cited, data, runs, monkeypatch):
    def trained(self, train, ctx, fit=study_methods.Noisy.fit):
        self.precision_ = ctx.precision
        return fit(self, train, ctx)

    cited(number(NOISY, "T1", 50.0))
    monkeypatch.setattr(study_methods.Noisy, "fit", trained)
    words = ("--seeds", "1", "--data-root", str(data), "--runs", str(runs), "-q", "--precision", "bf16")
    assert CliRunner().invoke(cli, ["reproduce", "mine", *words]).exit_code == 0
    assert [record.provenance["precision"] for record in ResultStore(runs).load()] == ["bf16"]


def test_one_seed_is_inconclusive(cited, data, runs):
    cited(number(NOISY, "T1", 50.0))
    (cell,) = zslbench.reproduce("mine", 1, seeds=1, tolerance=100, data_root=data, runs=runs).cells
    assert (cell.verdict, cell.low) == ("inconclusive", None)


def test_other_features_are_no_reproduction_but_the_difference_is_shown(cited, data, runs):
    cited(number(STILL, "T1", 50.0, note="a remark"))
    found = zslbench.reproduce("mine", features="fc1000", tolerance=100, data_root=data, runs=runs, caption="full")
    (cell,) = found.cells
    assert cell.verdict == "other features"
    assert dataclasses.replace(cell, semantics="sent").other == "features and semantics"
    assert "1 published number: 1 on other features." in found.text
    assert cell.difference == pytest.approx(measured(runs, STILL, "T1")[0] - 50.0)
    assert "here fc1000, att" in found.text
    assert "says nothing about reproduction" in re.sub(r"\s+", " ", found.text)
    assert "[1] a remark." in found.text


def test_absent_data_is_said_and_stops_nothing(cited, data, runs):
    cited(number(STILL, "T1", 50.0), number(STILL, "T1", 50.0, dataset="sun"), number("nosuch", "T1", 1.0))
    words = ["reproduce", "mine", "--data-root", str(data), "--runs", str(runs), "-q"]
    ahead = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert "1 to do; nothing was run." in ahead.output
    assert f"time: unknown, nothing comparable was run (1 of {STILL})" in ahead.output
    found = zslbench.reproduce("mine", data_root=data, runs=runs)
    by_cell = {(cell.entry.dataset, cell.entry.method): cell for cell in found.cells}
    assert by_cell["sun", STILL].reason == "no res101 features of SUN on this machine"
    assert "unknown method 'nosuch'" in by_cell["cub", "nosuch"].reason
    assert by_cell["cub", STILL].stat is not None
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0
    dry = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert "no res101 features of SUN on this machine" in dry.output
    assert "nothing was run" in dry.output


def test_other_data_that_is_here_is_named(cited, data, runs):
    (data / "CUB" / "res101.mat").unlink()
    cited(number(STILL, "T1", 50.0))
    words = ["reproduce", "mine", "--data-root", str(data), "--runs", str(runs), "-q"]
    for dry in ([], ["--dry-run"]):
        text = CliRunner().invoke(cli, [*words, *dry]).output
        assert "published on res101, att, not here;" in text or dry
        assert "CUB can be run here with --features fc1000; the verdict then says so." in text
    assert "can be run here with" not in CliRunner().invoke(cli, [*words, "--features", "fc1000"]).output


def test_published_presets_answer_first_then_tuned_ones_then_defaults(cited, data, runs, monkeypatch):
    entries = (number(NOISY, "T1", 50.0), number(NOISY, "H", 50.0), number(STILL, "T1", 50.0))
    cited(*entries, number(f"{NOISY}:weak", "T1", 50.0))
    published_preset = dataclasses.replace(
        study_methods.Noisy.presets["loud"], values={}, cells={("cub", "zsl"): {"ridge": 7.0}}
    )
    monkeypatch.setattr(study_methods.Noisy, "presets", {"published": published_preset})
    (run,) = plan(RunOptions([STILL], ["cub"], ["zsl"], data_root=str(data))).runs
    data_facts = {"dataset": "cub", "features": "res101", "semantics": "att", "fingerprint": run.dataset.fingerprint}
    scores = {"protocol": "zsl", "metric": "T1", "score": 0.5, "folds": (1,), "fold_scores": (0.5,)}
    search = {"given": STILL, "space": {}, "at_edge": (), "sampler": "grid", "seed": 0, "trials": {"ok": 1}}
    values = {**run.params, "ridge": 9.0}
    facts = data_facts | scores | search
    tuned = TunedPreset(name="tuned", method=STILL, version=1, source="", values=values, **facts)
    PresetStore(runs).save(tuned)
    found = zslbench.reproduce("mine", "Table 1", seeds=2, data_root=data, runs=runs)
    used = {(cell.entry.method, cell.entry.metric): cell for cell in found.cells}
    assert used[NOISY, "T1"].spec == f"{NOISY}@published"
    assert {one.params["ridge"] for one in used[NOISY, "T1"].runs} == {7.0}
    assert used[NOISY, "H"].spec == NOISY  # the preset is silent on gzsl
    assert used[f"{NOISY}:weak", "T1"].spec == f"{NOISY}@published@weak"
    assert {one.params["ridge"] for one in used[f"{NOISY}:weak", "T1"].runs} == {1e4}
    assert used[STILL, "T1"].spec == f"{STILL}@tuned"
    assert used[STILL, "T1"].selection == "validated"
    assert "tuned on validation classes" in found.text


def test_the_papers_ablation_maps_to_published_ablations():
    entries = choose_entries("li2019lisgan", "Figure 7(b)")
    assert [entry.method for entry in entries] == ["lisgan:S1", "lisgan:S2", "lisgan:S3", "lisgan:S4"]
    specs = [choose_spec(entry, ("apy", "res101", "att"), PresetStore("nowhere"))[0] for entry in entries]
    assert specs == [f"lisgan@published@S{number}" for number in (1, 2, 3, 4)]


def test_marks_and_errata_of_real_tables_are_in_every_format(runs):
    def text(name, **choice):
        return zslbench.reproduce("li2019lisgan", runs=runs, format=name, **choice).text

    for name in ("terminal", "markdown"):
        assert "58.8†‡" in text(name, table=2, datasets="cub", methods="lisgan")
        assert "57.3†" in text(name, table=2, datasets="cub", methods="fclswgan")
        assert "erratum: the paper repeats" in text(name, table=4, datasets="cub", methods="eszsl")
    (row,) = csv.DictReader(io.StringIO(text("csv", table=2, datasets="cub", methods="lisgan")))
    assert (row["published_oracle"], row["published_transductive"], row["verdict"]) == ("true", "true", "absent")
    (fact,) = json.loads(text("json", table=2, datasets="cub", methods="lisgan"))
    assert (fact["published"], fact["published_oracle"], fact["published_transductive"]) == (58.8, True, True)
    assert fact["reason"] == "no res101 features of CUB on this machine"


def test_a_number_that_compares_with_no_run_is_not_judged(cited, data, runs):
    """Fewer training images or another split: whatever a run gives, it neither reproduces the number nor fails to."""
    cited(number(STILL, "T1", 50.0, note="a part of the training images only")._replace(kind="other"))
    (row,) = zslbench.reproduce("mine", features="fc1000", data_root=data, runs=runs).cells
    assert (row.verdict, row.runs) == ("absent", ())
    assert row.reason == "not comparable: a part of the training images only"


def test_cells_of_a_table_are_those_of_the_file():
    rows = [entry for entry in published.load() if (entry.source, entry.table) == ("li2019lisgan", "Table 4")]
    assert sorted(map(repr, choose_entries("li2019lisgan", "4", (), ()))) == sorted(map(repr, rows))
    some = choose_entries("li2019lisgan", "table 4", ["SUN", "cub"], ["ESZSL"])
    wanted = [row for row in rows if row.method == "eszsl" and row.dataset in ("sun", "cub")]
    assert {id(row) for row in some} == {id(row) for row in wanted}
    assert some[0].dataset == "sun"


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"source": "li2019lisgan", "table": 9}, UnknownName, "choose one of: Figure 7(b), Table 2"),
        ({"source": "li2019lisgan", "table": 2, "datasets": "digits"}, UnknownName, "data set of Table 2"),
        ({"source": "li2019lisgan", "table": 2, "methods": "eszl"}, UnknownName, "did you mean 'eszsl'"),
        ({"source": "li2019lisgan", "table": 2, "tolerance": -1.0}, BadValue, "from 0 to 100"),
        ({"source": "li2019lisgan", "table": 2, "seeds": 0}, BadValue, "at least 1"),
        ({"source": "li2019lisgan", "table": 2, "format": "latex"}, UnknownName, "unknown format"),
    ],
)
def test_bad_requests_are_one_sentence(runs, arguments, kind, sentence):
    with pytest.raises(kind, match=re.escape(sentence)):
        zslbench.reproduce(runs=runs, **arguments)
    assert not runs.exists()
