"""Ablations and sweeps: which runs they mean, and their numbers against naive loops over the records and scipy."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import statistics

import pytest
import study_methods
import toy_methods
from click.testing import CliRunner
from scipy import stats

import zslbench
from zslbench.cli import cli
from zslbench.errors import BadSpec, BadValue, UnknownName
from zslbench.methods.generative import AdversarialMethod
from zslbench.results.records.store import ResultStore

NOISY, STAIRS, STILL = (f"study_methods:{name}" for name in ("Noisy", "Stairs", "Still"))


def values(runs, label, metric, protocol, dataset="digits", stage="final"):
    """Return percent by seed of one label, folds averaged, by a plain loop over the files."""
    out = {}
    for record in ResultStore(runs).load():
        same = (record.method["label"], record.protocol["name"], record.dataset["name"], record.stage)
        if same == (label, protocol, dataset, stage):
            out.setdefault(record.seed, []).append(100 * record.metrics[metric])
    return {seed: sum(of_folds) / len(of_folds) for seed, of_folds in sorted(out.items())}


def paired_interval(values, others):
    return stats.ttest_rel(list(values), list(others)).confidence_interval(0.95)


def test_lines_are_means_and_deviations_of_the_records_and_differences_are_paired(runs):
    found = zslbench.ablate(NOISY, "digits", seeds=4, runs=runs)
    assert [line.setting for line in found.lines if line.column.metric == "T1"] == ["full", "weak", "quiet"]
    for line in found.lines:
        label = NOISY if line.setting == "full" else f"{NOISY}@{line.setting}"
        own = list(values(runs, label, line.column.metric, line.column.protocol).values())
        assert line.seeds == (0, 1, 2, 3)
        assert line.stat.mean == pytest.approx(statistics.fmean(own))
        assert line.stat.std == pytest.approx(statistics.stdev(own))
        if line.setting == "full":
            assert line.difference is None
            continue
        full = list(values(runs, NOISY, line.column.metric, line.column.protocol).values())
        assert line.against == "full"
        assert line.difference.mean == pytest.approx(statistics.fmean(own) - statistics.fmean(full))
        assert (line.difference.low, line.difference.high) == pytest.approx(paired_interval(own, full))
        assert line.difference.excludes_zero == (stats.ttest_rel(own, full).pvalue < 0.05)


def pairs(found):
    return {line.setting: line.against for line in found.lines}


def test_ablations_that_build_up_are_compared_with_the_one_before(runs, monkeypatch):
    found = zslbench.ablate(STAIRS, "digits", "zsl", seeds=2, runs=runs)
    assert pairs(found) == {"A1": "", "A2": "A1", "A3": "A2"}
    assert [line.setting for line in found.lines if line.as_given] == ["A3"]
    assert "A3 is the method as given." in found.text
    assert "Careful: an interval from two seeds is computed from a single difference" in " ".join(found.text.split())
    for against, expected in (
        ("first", {"A1": "", "A2": "A1", "A3": "A1"}),
        ("A2", {"A1": "A2", "A2": "", "A3": "A2"}),
    ):
        assert pairs(zslbench.ablate(STAIRS, "digits", "zsl", seeds=2, runs=runs, against=against)) == expected
    fewer = {name: study_methods.Stairs.ablations[name] for name in ("A1", "A2")}
    monkeypatch.setattr(study_methods.Stairs, "ablations", fewer)
    found = zslbench.ablate(STAIRS, "digits", "zsl", seeds=2, runs=runs)
    assert list(pairs(found).items()) == [("A1", ""), ("A2", "A1"), ("full", "A2")]


def test_an_ablation_wins_over_given_parameters_and_presets(runs):
    spec = f"{NOISY}@loud[ridge=2,noise=1,epochs=3]"
    found = zslbench.ablate(spec, "digits", "zsl", seeds=1, runs=runs)
    params = {one.method["label"]: one.method["params"] for one in ResultStore(runs).load()}
    by_label = sorted((one["ridge"], one["noise"], one["epochs"]) for one in params.values())
    assert by_label == [(2.0, 0.0, 3), (2.0, 1.0, 3), (1e4, 1.0, 3)]
    assert "One seed: no interval" in found.text


def test_the_loss_that_s1_switches_off_stays_off_whatever_was_given(runs):
    given = "lisgan[hidden=512,epochs=20,cls_weight=0.1,l_r1=0.5]"
    found = zslbench.ablate(given, "digits", "zsl", seeds=1, runs=runs, dry_run=True)
    kept = [run.params for run, _ in found.outcome.states]
    assert {(params["hidden"], params["epochs"]) for params in kept} == {(512, 20)}
    weights = [(params["cls_weight"], params["l_r1"], params["cascade"]) for params in kept]
    assert weights == [(0, 0, "off"), (0.1, 0, "off"), (0.1, 0.5, "off"), (0.1, 0.5, "softmax")]


def test_one_training_serves_the_settings_that_differ_in_scoring_only(runs, monkeypatch):
    fits = []
    fit = AdversarialMethod.fit

    def counted(self, train, ctx):
        fits.append((self.cls_weight, self.l_r1, self.cascade))
        return fit(self, train, ctx)

    monkeypatch.setattr(AdversarialMethod, "fit", counted)
    tiny = "lisgan[hidden=8,epochs=1,critic_steps=1,per_class=4,final_epochs=1,soul_rows=3,batch=256]"
    found = zslbench.ablate(tiny, "digits", seeds=1, runs=runs)
    assert len(fits) == 3  # S1, S2, and one for S3 and S4
    assert len(found.outcome.records) == 8
    assert pairs(found) == {"S1": "", "S2": "S1", "S3": "S2", "S4": "S3"}
    assert {line.setting for line in found.lines if line.transductive} == {"S4"}
    assert "‡ transductive: S4 uses unlabelled test features" in found.text
    assert "Fewer" not in found.text  # S4 has no AUSUC, which no table shows
    again = zslbench.ablate(tiny, "digits", seeds=1, runs=runs)
    assert again.text == found.text
    assert len(fits) == 3


def test_settings_are_trained_and_recorded_at_the_precision_asked_for(runs):
    tiny = "fclswgan[hidden=8,epochs=1,pretrain_epochs=1,final_epochs=1,batch=256]"
    words = ("-d", "digits", "-p", "zsl", "--seeds", "1", "--sweep", "per_class=[3,4]", "--runs", str(runs), "-q")
    assert CliRunner().invoke(cli, ["ablate", tiny, *words, "--precision", "bf16"]).exit_code == 0
    assert {record.provenance["precision"] for record in ResultStore(runs).load()} == {"bf16"}


def test_a_method_without_chance_runs_once_and_has_no_interval(runs):
    found = zslbench.ablate(STILL, "digits", runs=runs, caption="full")
    assert len(found.outcome.records) == 4
    gaps = [line.difference for line in found.lines if line.setting == "weak"]
    assert all(gap.low is None and gap.excludes_zero is None for gap in gaps)
    assert "draws nothing at random" in found.text
    _, differences = found.tables  # exact: a row per pair, a column per metric, and nothing of intervals
    assert [column.head for column in differences.columns] == ["T1", "U", "S", "H"]
    (row,) = differences.rows
    assert row.name == "weak − full"
    for column, cell in zip(differences.columns, row.cells, strict=True):
        protocol = "zsl" if column.head == "T1" else "gzsl"
        weak, full = (values(runs, label, column.head, protocol)[0] for label in (f"{STILL}@weak", STILL))
        assert float(cell.text.replace("−", "-")) == pytest.approx(weak - full, abs=0.006)


def test_stochastic_methods_get_three_seeds(runs):
    found = zslbench.ablate(NOISY, "digits", "zsl", runs=runs, dry_run=True)
    assert {run.seed for run, _ in found.outcome.states} == {0, 1, 2}
    assert not runs.exists()


def test_every_format_marks_transductive_settings(runs):
    def text(format):
        return zslbench.ablate(STAIRS, "digits", seeds=2, runs=runs, format=format).text

    for name, mark in (("terminal", "A3 ‡"), ("markdown", "A3 ‡"), ("latex", r"A3 $^{\ddagger}$")):
        assert mark in text(name)
        assert "unlabelled test features" in text(name)
        assert "A2 ‡" not in text(name)
    rows, facts = list(csv.DictReader(io.StringIO(text("csv")))), json.loads(text("json"))
    assert len(rows) == len(facts) == 3 * 5  # settings times T1, U, S, H, AUSUC
    for row, fact in zip(rows, facts, strict=True):
        assert fact["transductive"] == (row["transductive"] == "true") == (row["setting"] == fact["setting"] == "A3")


SWEEPS = ["ridge=[1,10,100]", "noise=[0,1]"]


def test_a_sweep_moves_one_parameter_and_compares_with_the_given_value(runs):
    found = zslbench.ablate(NOISY, "digits", "zsl", seeds=3, runs=runs, sweep=SWEEPS, caption="full")
    by_name = {(line.swept, line.setting): line for line in found.lines}
    given = ("noise", "0.2")  # which is not among the values
    assert [*by_name] == [*(("ridge", value) for value in ("1", "10", "100")), given, ("noise", "0"), ("noise", "1")]
    assert [key for key, line in by_name.items() if line.as_given] == [("ridge", "1"), given]
    own, base = (values(runs, label, "T1", "zsl").values() for label in (f"{NOISY}[ridge=10]", NOISY))
    gap = by_name["ridge", "10"].difference
    assert (gap.low, gap.high) == pytest.approx(paired_interval(own, base))
    for swept in ("ridge", "noise"):
        lines = [line for line in found.lines if line.swept == swept]
        top = max(line.stat.mean for line in lines)
        assert [line.highest for line in lines] == [line.stat.mean == top for line in lines]
    assert "as measured on the test images: this shows sensitivity and selects nothing" in found.text


def test_the_dev_stage_averages_folds_within_a_seed(runs):
    found = zslbench.ablate(NOISY, "digits", "gzsl", seeds=2, runs=runs, stage="dev", sweep="ridge=[1,50]")
    folds = {record.fold for record in ResultStore(runs).load()}
    assert folds == {1, 2, 3}
    for line in found.lines:
        label = NOISY if line.setting == "1" else f"{NOISY}[ridge=50]"
        naive = values(runs, label, line.column.metric, "gzsl", stage="dev")
        assert line.stat.mean == pytest.approx(statistics.fmean(naive.values()))
        assert line.stat.std == pytest.approx(statistics.stdev(naive.values()))
    assert "validation classes" in found.text
    assert "test images" not in found.text


def test_a_failed_setting_leaves_a_gap_and_a_sentence(runs, monkeypatch):
    def hook(method):
        if method.ridge == 1e4:
            raise RuntimeError("unlucky")

    monkeypatch.setattr(toy_methods.Ridge, "hook", hook)
    found = zslbench.ablate(NOISY, "digits", "zsl", seeds=2, runs=runs)
    weak = [line for line in found.lines if line.setting == "weak"]
    assert [(line.stat, line.difference) for line in weak] == [(None, None)]
    assert "2 of 6 runs failed and do not count (the first: RuntimeError: unlucky (test_" in found.text
    words = ["ablate", NOISY, "-d", "digits", "-p", "zsl", "--seeds", "2", "--runs", str(runs)]
    assert CliRunner().invoke(cli, words).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"method": "eszsl", "sweep": "gamma=[1,1e9]"}, BadValue, "gamma takes a number"),
        ({"method": "eszsl", "sweep": "gamma"}, BadSpec, "write NAME=[1,2,5]"),
        ({"method": "eszsl", "sweep": "gamma=[1,2],lam=[1,2]"}, BadSpec, "one parameter each"),
        ({"method": "eszsl", "sweep": "gamma=3"}, BadValue, "names one value"),
        ({"method": "eszsl", "sweep": ["gamma=[1,2]", "gamma=[3,4]"]}, BadValue, "swept twice"),
        ({"method": "lisgan@S1"}, BadValue, "is an ablation itself"),
        ({"method": "lisgan[souls=[1,2]]"}, BadValue, "stands for several methods"),
        ({"method": "fclswgan", "against": "planr"}, UnknownName, "did you mean 'plain'"),
        ({"method": "fclswgan", "format": "html"}, UnknownName, "unknown format"),
    ],
)
def test_bad_requests_are_one_sentence_and_run_nothing(runs, arguments, kind, sentence):
    with pytest.raises(kind, match=re.escape(sentence)):
        zslbench.ablate(datasets="digits", runs=runs, **arguments)
    assert not runs.exists()


def test_the_command_that_a_refusal_names_works(runs):
    with pytest.raises(BadValue) as refused:
        zslbench.ablate("fclswgan@plain[hidden=8]", "digits", runs=runs)
    command = re.search(r"zslbench (ablate '.*') …", str(refused.value))[1]
    done = CliRunner().invoke(cli, [*shlex.split(command), "-d", "digits", "--dry-run", "--runs", str(runs)])
    assert done.exit_code == 0
    assert "nothing was run" in done.output
