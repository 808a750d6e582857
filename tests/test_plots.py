"""Figures: the numbers drawn against naive recomputation from records, files of every kind, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import struct
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from result_records import record
from scipy import stats

import zslbench
from zslbench.cli import cli
from zslbench.errors import BadValue, StoreError, UnknownName
from zslbench.metrics import per_class_top1, stacked
from zslbench.results.plots.pareto import on_front
from zslbench.results.plots.style import DASHES, MARKERS, line_look, settings
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import WIDTHS

KINDS = ("confusion", "sensitivity", "stability", "ablation", "curve", "perclass", "pareto", "cd", "souls", "features")
SIDES = ("seen_score", "seen_class", "unseen_score", "unseen_class")
# A name with all that mathtext takes for something else.
ODD = "ž_50%&co#$1$"
MADE = {"eszsl": "ESZSL", "toy": ODD}


def predictions(rng, classes=6, unseen=3, images=8, protocol="gzsl"):
    """Answers about `images` images of each class, rather good ones; the first `unseen` classes are unseen."""
    label = np.repeat(np.arange(classes if protocol == "gzsl" else unseen), images)
    scores = rng.normal(size=(len(label), classes))
    scores[np.arange(len(label)), label] += 1.5
    best_unseen = scores[:, :unseen].argmax(axis=1)
    best_seen = unseen + scores[:, unseen:].argmax(axis=1)
    rows = np.arange(len(label))
    only = protocol == "zsl"
    return {
        "row": rows,
        "label": label,
        "of_unseen": label < unseen,
        "seen_score": np.full(len(label), -np.inf) if only else scores[rows, best_seen],
        "seen_class": np.full(len(label), -1) if only else best_seen,
        "unseen_score": scores[rows, best_unseen],
        "unseen_class": best_unseen,
    }


def judged(there, protocol):
    taken = stacked(*(there[name] for name in SIDES), 0.0)
    accuracy = [
        float(np.mean([taken[i] == label for i in np.flatnonzero(there["label"] == label)]))
        for label in np.unique(there["label"])
    ]
    if protocol == "zsl":
        return {"T1": float(np.mean(accuracy))}
    unseen, seen = float(np.mean(accuracy[:3])), float(np.mean(accuracy[3:]))
    return {"U": unseen, "S": seen, "H": 2 * unseen * seen / (unseen + seen), "AUSUC": unseen * seen}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two methods on two data sets with predictions, timings and curves; a sweep with 0; ablations of lisgan."""
    store = ResultStore(tmp_path_factory.mktemp("plots") / "runs")
    rng = np.random.default_rng(3)
    for dataset in ("cub", "sun"):
        for method, title in MADE.items():
            for protocol in ("zsl", "gzsl"):
                for seed in range(1 if method == "eszsl" else 3):
                    there = predictions(rng, protocol=protocol)
                    curve = {step: {"T1" if protocol == "zsl" else "H": rng.random()} for step in (2, 4, 6)}
                    one = record(method, dataset, protocol, seed, judged(there, protocol), title=title, curve=curve)
                    spent = {"fit": 1.0 + seed + 10 * (method == "toy"), "scores": 0.5, "total": 99.0}
                    store.save(dataclasses.replace(one, timings=spent, provenance={"device": "cpu"}), there)
    for weight in (0.0, 0.001, 0.01, 0.1):
        for seed in range(3):
            params = {"cls_weight": weight, "l_r1": 0.01, "l_r2": 0.01, "cascade": "softmax"}
            label = "lisgan" if weight == 0.01 else f"lisgan[cls_weight={weight:g}]"
            facts = {"title": "LisGAN", "label": label, "params": params, "setting": "transductive"}
            store.save(record("lisgan", "cub", "zsl", seed, {"T1": rng.random()}, **facts))
    parts = {"S1": (0.0, 0.0), "S2": (0.01, 0.0), "S3": (0.01, 0.01)}
    for name, (weight, rest) in parts.items():
        for seed in range(3):
            params = {"cls_weight": weight, "l_r1": rest, "l_r2": rest, "cascade": "off"}
            facts = {"title": "LisGAN", "label": f"lisgan@{name}", "params": params}
            store.save(record("lisgan", "cub", "zsl", seed, {"T1": rng.random()}, **facts))
    store.save(record("sae", "cub", "zsl", 0, {"T1": 0.9}, title="SAE", selection="oracle"))
    for souls in (1, 2, 5):
        for seed in range(2):
            facts = {"title": "SoulGAN", "label": f"soulgan[souls={souls}]", "params": {"souls": souls}}
            store.save(record("soulgan", "cub", "zsl", seed, {"T1": souls / 10 + seed / 20}, **facts))
    for one in [one for one in store.load() if one.method["name"] in MADE and one.dataset["name"] == "cub"]:
        keep(store, one, rng)
    return store


def keep(store, one, rng, rows=10, classes=(0, 1, 2), real=None, space="minmax"):
    """Keep features beside a record: `rows` of each class of both kinds, around a centre a class."""
    labels = np.repeat(classes, rows)
    centres = np.random.default_rng(0).normal(size=(9, 6))
    shown = real if real is not None else centres[labels] + 0.3 * np.random.default_rng(1).normal(size=(len(labels), 6))
    made = centres[labels] + 0.3 * rng.normal(size=(len(labels), 6))
    about = {"kept_features": {"per_class": rows, "space": space, "dtype": "float32"}}
    arrays = {"synthesised": made, "synthesised_label": labels, "real": shown, "real_label": labels}
    kept = dataclasses.replace(one, provenance={**one.provenance, **about})
    store.save(kept, store.predictions(one), arrays)
    return arrays


OPTIONS = {
    "confusion": {"methods": ("toy", "eszsl"), "datasets": ("cub",)},
    "sensitivity": {"methods": ("lisgan",), "parameter": "cls_weight"},
    "stability": {"methods": ("toy", "eszsl")},
    "ablation": {"methods": ("lisgan",)},
    "curve": {"methods": ("toy", "eszsl"), "datasets": ("cub",)},
    "perclass": {"methods": ("toy", "eszsl"), "datasets": ("cub",), "protocols": ("gzsl",)},
    "pareto": {"methods": ("toy", "eszsl"), "datasets": ("cub",)},
    "cd": {"methods": ("toy", "eszsl")},
    "souls": {"methods": ("soulgan",)},
    "features": {"methods": ("toy", "eszsl"), "datasets": ("cub",)},
}


def drawn(runs, kind, output=None, **more):
    return zslbench.plot(kind, output, runs=runs.root, **{**OPTIONS[kind], **more})


def of(runs, method, dataset, protocol, **params):
    return [
        one
        for one in runs.load()
        if (one.method["name"], one.dataset["name"], one.protocol["name"]) == (method, dataset, protocol)
        and all(one.method["params"].get(name) == value for name, value in params.items())
    ]


def taken_for(runs, one):
    there = runs.predictions(one)
    answers = [
        int(seen) if high - low >= 0 else int(unseen)
        for high, seen, low, unseen in zip(*(there[name] for name in SIDES), strict=True)
    ]
    return list(map(int, there["label"])), answers


FIRST = 1
"""What the labels of a catalogued data set number the first class; figures call classes by these numbers."""


@pytest.mark.parametrize("protocol", ["zsl", "gzsl"])
def test_confusions_are_counted(runs, protocol):
    found = drawn(runs, "confusion", protocols=(protocol,))
    expected = {}
    for method, title in MADE.items():
        own = of(runs, method, "cub", protocol)
        for one in own:
            labels, answers = taken_for(runs, one)
            sizes = Counter(labels)
            for pair, count in Counter(zip(labels, answers, strict=True)).items():
                key = (title, *(label + FIRST for label in pair))
                expected[key] = expected.get(key, 0) + 100 * count / sizes[pair[0]] / len(own)
    rows = {(row["name"], row["class"], row["taken for"]): row["percent"] for row in found.rows}
    assert rows == pytest.approx(expected)
    assert [axes.get_title() for axes in found.axes] == [ODD.replace("$", r"\$"), "ESZSL"]  # in the order asked for
    picture = found.axes[0].images[0].get_array()
    for at, label in enumerate(range(6 if protocol == "gzsl" else 3)):  # few classes keep the order of their ids
        assert picture[at, at] == pytest.approx(expected.get((ODD, label + FIRST, label + FIRST), 0))


def test_a_choice_of_classes_adds_up_the_others(runs):
    found = drawn(runs, "confusion", protocols=("gzsl",), classes="4,class 1")
    assert {row["class"] for row in found.rows} == {1, 4}
    for name in MADE.values():
        for label in (1, 4):
            shares = [row["percent"] for row in found.rows if (row["name"], row["class"]) == (name, label)]
            assert sum(shares) == pytest.approx(100)
    hardest = drawn(runs, "confusion", protocols=("gzsl",), classes=2)
    mean = per_class_mean(runs, "gzsl")
    assert {row["class"] - FIRST for row in hardest.rows} == set(sorted(mean, key=mean.__getitem__)[:2])


def per_class_mean(runs, protocol, methods=tuple(MADE)):
    """Mean accuracy of each class over the methods, each its mean over seeds."""
    out = {}
    for method in methods:
        own = of(runs, method, "cub", protocol)
        for one in own:
            labels, answers = taken_for(runs, one)
            for label in set(labels):
                right = [answer == label for true, answer in zip(labels, answers, strict=True) if true == label]
                out[label] = out.get(label, 0) + sum(right) / len(right) / len(own) / len(methods)
    return out


def test_many_classes_are_clustered_so_that_confused_ones_are_neighbours(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    label = np.repeat(np.arange(40), 10)
    partner = (label + 20) % 40  # class i is confused with class i + 20
    taken = np.where(rng.random(len(label)) < 0.4, partner, label)
    there = predictions(rng, protocol="zsl") | {"row": np.arange(400), "label": label, "of_unseen": label >= 0}
    there |= {"seen_score": np.full(400, -np.inf), "seen_class": np.full(400, -1)}
    there |= {"unseen_score": np.ones(400), "unseen_class": taken}
    store.save(record(metrics={"T1": 0.6}), there)
    found = zslbench.plot("confusion", runs=tmp_path)
    order = list(dict.fromkeys(row["class"] - FIRST for row in found.rows))
    assert sorted(order) == list(range(40))
    places = {label: place for place, label in enumerate(order)}
    assert all(abs(places[label] - places[label + 20]) == 1 for label in range(20))
    assert "clustering" in " ".join(found.caption)
    assert "--data FILE" in " ".join(found.caption)  # 40 names do not fit into a column
    assert [text.get_text() for text in found.axes[0].get_yticklabels()] == ["40 unseen"]


def test_names_of_classes_come_from_the_data(tmp_path):
    zslbench.run("eszsl", "digits", "zsl", runs=tmp_path)
    found = zslbench.plot("confusion", runs=tmp_path)
    assert {row["class name"] for row in found.rows} == {"three", "five", "seven"}
    assert [text.get_text() for text in found.axes[0].get_yticklabels()] == ["three", "five", "seven"]
    one, *_ = ResultStore(tmp_path).load()
    other = dataclasses.replace(one, dataset={**one.dataset, "fingerprint": "0" * 16})
    assert zslbench.studies.plot.class_names(other) == {}  # of other content: its ids may mean other classes


@pytest.mark.parametrize("spread", ["std", "ci"])
def test_sensitivity_is_mean_and_spread_by_value(runs, spread):
    found = drawn(runs, "sensitivity", spread=spread)
    assert [float(row["value"]) for row in found.rows] == [0, 0.001, 0.01, 0.1]
    for row in found.rows:
        own = of(runs, "lisgan", "cub", "zsl", cls_weight=float(row["value"]), cascade="softmax")
        values = [100 * one.metrics["T1"] for one in own]
        away = statistics.stdev(values)
        away *= stats.t.ppf(0.975, 2) / 3**0.5 if spread == "ci" else 1
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(
            (statistics.mean(values), statistics.mean(values) - away, statistics.mean(values) + away)
        )
        assert row["name"] == "LisGAN‡"
        assert row["n"] == 3
    (axes,) = found.axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.001", "0.01", "0.1"]
    joined = axes.lines[0]  # 0 stands apart
    assert list(joined.get_xdata()) == [0.001, 0.01, 0.1]
    assert list(joined.get_ydata()) == pytest.approx([row["mean"] for row in found.rows[1:]])
    text = " ".join(found.caption)
    assert "0 stands apart" in text
    assert "no way to choose" in text


def test_a_sweep_of_choices_has_no_line(tmp_path):
    for value in ("off", "nn"):
        ResultStore(tmp_path).save(
            record("lisgan", metrics={"T1": 0.5}, label=f"lisgan[cascade={value}]", params={"cascade": value})
        )
    found = zslbench.plot("sensitivity", runs=tmp_path)
    assert [text.get_text() for text in found.axes[0].get_xticklabels()] == ["nn", "off"]
    assert found.axes[0].lines[0].get_linestyle() == "None"


def test_a_sweep_has_a_legend_only_where_there_are_lines_to_tell_apart(tmp_path):
    for value in (0.1, 1.0):
        ResultStore(tmp_path).save(record("eszsl", metrics={"T1": 0.5}, params={"gamma": value}))
    assert zslbench.plot("sensitivity", runs=tmp_path).figure.legends == []
    for value in (0.1, 1.0):
        ResultStore(tmp_path).save(record("sae", metrics={"T1": 0.5}, params={"gamma": value}))
    (legend,) = zslbench.plot("sensitivity", runs=tmp_path).figure.legends
    assert len(legend.get_texts()) == 2


def test_stability_is_error_by_step_where_all_seeds_were_judged(runs):
    found = drawn(runs, "stability", datasets=("cub",), protocols=("zsl",))
    for method, title in MADE.items():
        own = of(runs, method, "cub", "zsl")
        for row in (row for row in found.rows if row["name"] == title):
            errors = [
                100 - 100 * point["metrics"]["T1"] for one in own for point in one.curve if point["step"] == row["step"]
            ]
            away = statistics.stdev(errors) if len(errors) > 1 else 0
            assert len(errors) == row["n"]
            assert (row["error"], row["low"]) == pytest.approx(
                (statistics.mean(errors), statistics.mean(errors) - away)
            )
    assert [row["step"] for row in found.rows] == [2, 4, 6, 2, 4, 6]


def test_a_seed_that_was_judged_less_often_leaves_the_common_steps(tmp_path):
    for seed, steps in enumerate([(1, 2, 3, 4), (2, 4)]):
        curve = {step: {"T1": step / 10} for step in steps}
        ResultStore(tmp_path).save(record("gazsl", seed=seed, metrics={"T1": 0.4}, curve=curve))
    found = zslbench.plot("stability", runs=tmp_path)
    assert [(row["step"], round(row["error"], 6)) for row in found.rows] == [(2, 80), (4, 60)]


def test_the_dev_stage_has_a_panel_a_fold(tmp_path):
    for fold in (1, 2):
        curve = {1: {"T1": fold / 10}}
        ResultStore(tmp_path).save(record("gazsl", metrics={"T1": 0.4}, curve=curve, stage="dev", fold=fold))
    found = zslbench.plot("stability", runs=tmp_path, stage="dev", width="page")
    assert [axes.get_title() for axes in found.axes] == ["cub (fc1000, att), fold 1", "cub (fc1000, att), fold 2"]
    assert [row["error"] for row in found.rows] == [90, 80]


def test_one_seed_has_no_band_and_is_told(tmp_path):
    for weight in (0.1, 1.0):
        facts = {"label": f"gazsl[batch=7,lr={weight:g}]", "params": {"lr": weight, "batch": 7}, "title": "GAZSL"}
        ResultStore(tmp_path).save(record("gazsl", metrics={"T1": weight / 4}, **facts))
    found = zslbench.plot("sensitivity", runs=tmp_path)
    assert [(row["low"], row["mean"], row["high"]) for row in found.rows] == [(2.5,) * 3, (25.0,) * 3]
    assert "Given besides: GAZSL: batch=7." in found.caption
    assert "A single seed, so nothing is known of the spread: GAZSL." in found.caption
    assert not any(sentence.startswith("Bands") for sentence in found.caption)


def test_ablation_has_a_bar_a_setting_and_the_whole_method_is_s4(runs):
    found = drawn(runs, "ablation")
    assert [row["ablation"] for row in found.rows] == ["S1", "S2", "S3", "S4"]
    own = of(runs, "lisgan", "cub", "zsl", cls_weight=0.01, cascade="softmax")
    values = [100 * one.metrics["T1"] for one in own]
    half = stats.t.ppf(0.975, 2) * statistics.stdev(values) / 3**0.5
    last = found.rows[-1]
    assert (last["mean"], last["low"]) == pytest.approx((statistics.mean(values), statistics.mean(values) - half))
    assert [bar.get_height() for bar in found.axes[0].patches] == pytest.approx([row["mean"] for row in found.rows])
    assert [text.get_text() for text in found.axes[0].get_xticklabels()] == ["S1", "S2", "S3", "S4‡"]
    assert "transductive" in " ".join(found.caption)


def test_a_setting_that_was_run_in_several_ways_is_no_bar_by_chance(tmp_path):
    store = ResultStore(tmp_path / "runs")
    off = {"cls_weight": 0.01, "l_r1": 0.01, "l_r2": 0.01, "souls": 3, "cascade": "off"}
    settings = {
        "lisgan@S1": off | {"cls_weight": 0.0, "l_r1": 0.0, "l_r2": 0.0},
        "lisgan@S2": off | {"l_r1": 0.0, "l_r2": 0.0},
        "lisgan[cascade=off]": off,
        "lisgan": off | {"cascade": "softmax"},
        "lisgan[cascade=nn]": off | {"cascade": "nn"},
    }
    for place, (label, params) in enumerate(settings.items()):
        store.save(record("lisgan", label=label, params=params, metrics={"T1": 0.1 * (place + 1)}))
    with pytest.raises(BadValue, match=r"several ways \(lisgan; lisgan\[cascade=nn\]\).*-m lisgan@S1 -m lisgan@S2 -m"):
        drawn(store, "ablation")
    chosen = ("lisgan@S1", "lisgan@S2", "lisgan[cascade=off]", "lisgan[cascade=nn]")
    found = zslbench.plot("ablation", runs=store.root, methods=chosen)
    assert [(row["ablation"], row["mean"]) for row in found.rows] == [
        (name, pytest.approx(10.0 * place)) for name, place in zip(("S1", "S2", "S3", "S4"), (1, 2, 3, 5), strict=True)
    ]


def test_points_of_the_curve_are_reached_by_a_constant(runs):
    found = drawn(runs, "curve")
    (own,) = of(runs, "eszsl", "cub", "gzsl")
    there = runs.predictions(own)
    margins = np.unique(there["seen_score"] - there["unseen_score"])
    reached = []
    for gamma in [*margins, np.inf]:
        answers = stacked(*(there[name] for name in SIDES), gamma)
        side = there["of_unseen"]
        reached.append([100 * per_class_top1(there["label"][part], answers[part]) for part in (side, ~side)])
    unseen, seen = np.array(reached).T
    rows = [row for row in found.rows if row["name"] == "ESZSL" and row["what"] == "curve"]
    for row in rows[:-1]:
        # The highest U at a level of S, neighbouring points joined by straight lines.
        high = max(place for place in range(len(seen)) if seen[place] >= row["S"] - 1e-9)
        low = min(high + 1, len(seen) - 1)
        part = 0 if seen[high] == seen[low] else (seen[high] - row["S"]) / (seen[high] - seen[low])
        assert row["U"] == pytest.approx(unseen[high] + part * (unseen[low] - unseen[high]))
    (point,) = [row for row in found.rows if row["name"] == "ESZSL" and row["what"] == "γ=0"]
    assert (point["U"], point["S"]) == pytest.approx((100 * own.metrics["U"], 100 * own.metrics["S"]))
    texts = [text.get_text() for text in found.figure.legends[0].get_texts()]
    assert f"ESZSL: {100 * own.metrics['AUSUC']:.1f}" in texts
    assert "--calibrate" in " ".join(found.caption)  # there are no dev folds here


def test_the_legend_has_an_area_a_data_set_and_a_dash_where_there_is_none(tmp_path):
    rng = np.random.default_rng(2)
    for method, dataset in (("ale", "cub"), ("ale", "sun"), ("sje", "sun")):
        there = predictions(rng)
        metrics = judged(there, "gzsl") | {"AUSUC": 0.25 if dataset == "cub" else 0.5}
        ResultStore(tmp_path).save(record(method, dataset, "gzsl", metrics=metrics), there)
    found = zslbench.plot("curve", runs=tmp_path, width="page")
    assert [text.get_text() for text in found.figure.legends[0].get_texts()] == ["ale: 25.0 / 50.0", "sje: – / 50.0"]
    assert "Numbers in the legend: AUSUC in percent, on cub (fc1000, att) / sun (fc1000, att)." in found.caption


def test_the_constant_from_dev_folds_is_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(1)
    for stage, folds in (("final", (0,)), ("dev", (1, 2, 3))):
        for fold in folds:
            there = predictions(rng)
            store.save(record("ale", protocol="gzsl", metrics=judged(there, "gzsl"), stage=stage, fold=fold), there)
    (row,) = [row for row in zslbench.plot("curve", runs=tmp_path).rows if row["what"] == "γ from dev folds"]
    text = zslbench.curve(tmp_path, format="json")
    (one,) = json.loads(text)
    assert row["U"] * row["S"] * 2 / (row["U"] + row["S"]) == pytest.approx(one["metrics"]["H cs"], abs=1e-5)


def test_perclass_is_a_difference_of_means_over_seeds(runs):
    found = drawn(runs, "perclass")
    first, second = (per_class_mean(runs, "gzsl", (method,)) for method in ("toy", "eszsl"))
    assert {row["class"] - FIRST: row["difference"] for row in found.rows} == pytest.approx(
        {label: 100 * (first[label] - second[label]) for label in first}
    )
    values = [row["difference"] for row in found.rows]
    assert values == sorted(values, reverse=True)
    alone = drawn(runs, "perclass", methods=("toy",))
    assert {row["class"] - FIRST: row[ODD] for row in alone.rows} == pytest.approx(
        {k: 100 * v for k, v in first.items()}
    )


def test_pareto_has_seconds_of_fitting_and_scoring(runs):
    found = drawn(runs, "pareto", protocols=("zsl",))
    assert {row["name"]: row["seconds"] for row in found.rows} == pytest.approx({"ESZSL": 1.5, ODD: 12.5})
    assert found.axes[0].get_xscale() == "log"


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in rng.integers(1, 9, size=(60, 2))]
    kept = {points[place] for place in on_front(points)}
    beaten = {one for one in points if any(o != one and o[0] <= one[0] and o[1] >= one[1] for o in points)}
    assert kept == set(points) - beaten


def test_cd_holds_the_ranks_over_data_sets(runs):
    found = drawn(runs, "cd", metrics=("T1",))
    expected = Counter()
    for dataset in ("cub", "sun"):
        means = {
            title: statistics.mean(one.metrics["T1"] for one in of(runs, method, dataset, "zsl"))
            for method, title in MADE.items()
        }
        for place, name in enumerate(sorted(means, key=means.__getitem__, reverse=True), start=1):
            expected[name] += place / 2
    assert {row["name"]: row["mean rank"] for row in found.rows} == dict(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_every_file(runs, kind, tmp_path):
    for ending in ("pdf", "svg", "png"):
        path = tmp_path / f"figure.{ending}"
        found = drawn(runs, kind, path, width="column")
        content = path.read_bytes()
        inches = found.figure.get_size_inches()[0]
        assert inches >= WIDTHS["column"]
        if kind != "cd":  # whose names may ask for more
            assert inches == WIDTHS["column"]
        if ending == "png":
            assert struct.unpack(">I", content[16:20])[0] == int(300 * inches)
        if ending == "pdf":
            assert content.startswith(b"%PDF")
            assert b"/Type42" not in content or b"/FontFile2" in content
            assert b"/Subtype /Type3" not in content
        if ending == "svg":
            texts = " ".join("".join(one.itertext()) for one in ElementTree.fromstring(content).iter())
            assert kind in ("sensitivity", "ablation", "souls") or ODD in texts
    assert found.caption
    assert {"cub"} <= set(" ".join(found.caption).replace(",", " ").replace(".", " ").split())


def test_the_same_records_give_the_same_file(runs, tmp_path):
    for ending in ("pdf", "svg"):
        first, second = (tmp_path / f"{name}.{ending}" for name in ("one", "two"))
        drawn(runs, "ablation", first)
        drawn(runs, "ablation", second)
        assert first.read_bytes() == second.read_bytes()


def test_candidates_of_oracle_selection_are_drawn_only_when_asked_for(runs):
    with pytest.raises(BadValue, match="candidate of oracle selection"):
        zslbench.plot("pareto", runs=runs.root, methods=["sae"])
    with pytest.raises(BadValue, match="no timings"):
        zslbench.plot("pareto", runs=runs.root, methods=["sae"], selection="oracle")


def test_an_oracle_line_is_marked(tmp_path):
    one = record("sae", metrics={"T1": 0.9}, title="SAE", selection="oracle")
    ResultStore(tmp_path).save(dataclasses.replace(one, timings={"fit": 1.0}))
    found = zslbench.plot("pareto", runs=tmp_path, selection="oracle")
    assert found.rows[0]["name"] == "SAE†"
    assert [text.get_text() for text in found.figure.legends[0].get_texts()] == ["SAE†"]
    assert "† oracle selection" in " ".join(found.caption)


def test_lines_are_told_apart_without_colour():
    looks = [(DASHES.index(one["linestyle"]), one["marker"]) for one in map(line_look, range(36))]
    assert len(set(looks)) == 36 == len(DASHES) * len(MARKERS)


def test_pyplot_is_never_imported(runs, tmp_path):
    code = (
        "import sys, zslbench\n"
        f"zslbench.plot('pareto', {str(tmp_path / 'f.pdf')!r}, runs={str(runs.root)!r}, methods=['toy'])\n"
        "print([name for name in ('matplotlib.pyplot', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "options", "error", "sentence"),
    [
        ("confusoin", {}, UnknownName, "unknown kind of figure 'confusoin'; did you mean 'confusion'?"),
        ("confusion", {"methods": ()}, BadValue, "one or two methods side by side, not 12"),
        ("confusion", {"datasets": ()}, BadValue, "of one data set and protocol"),
        ("confusion", {"classes": "robin"}, UnknownName, "unknown class 'robin'"),
        ("confusion", {"classes": 99}, BadValue, "3 can be drawn; give a number"),
        ("confusion", {"classes": " , "}, BadValue, "names no class"),
        ("confusion", {"stage": "dev"}, BadValue, "no use for --stage dev"),
        ("pareto", {"parameter": "gamma"}, BadValue, "no use for --param"),
        ("pareto", {"metrics": ["T2"]}, UnknownName, "unknown metric 'T2'"),
        ("pareto", {"width": "wide"}, BadValue, "width 'wide' is not known; give one of column, page"),
        ("pareto", {"spread": "sd"}, UnknownName, "did you mean 'std'"),
        ("pareto", {"output": "figure.pgf"}, BadValue, "a .pdf, .svg or .png file, not 'figure.pgf'"),
        ("pareto", {"output": "a.svg", "data": "a.svg"}, BadValue, "name two files"),
        (
            "stability",
            {"methods": ("lisgan",)},
            BadValue,
            "zslbench run -m lisgan@S1 .*--checkpoints every:1 --rerun all",
        ),
        ("sensitivity", {"parameter": "l_r1", "methods": ("eszsl",)}, UnknownName, "hyper-parameter"),
        (
            "sensitivity",
            {"parameter": None, "methods": ("eszsl",)},
            BadValue,
            "zslbench ablate eszsl -d cub --features fc1000 --semantics att -p gzsl",
        ),
        ("ablation", {"methods": ("eszsl",)}, BadValue, "no method asked for declares ablations"),
        ("ablation", {"methods": ("lisgan@S1",)}, BadValue, "zslbench ablate lisgan -d cub"),
        ("curve", {"protocols": ("zsl",)}, BadValue, "ask for gzsl runs"),
        ("cd", {"datasets": ("cub",)}, BadValue, "needs two data sets"),
        ("souls", {"parameter": "souls"}, BadValue, "no use for --param"),
        (
            "souls",
            {"methods": ("eszsl", "toy")},
            BadValue,
            r"no method asked for has soul samples .*runs of eszsl, toy",
        ),
        ("souls", {"methods": ("soulgan[souls=2]", "toy")}, BadValue, r"souls has one .*--sweep 'souls=\[1..10\]'"),
        ("pareto", {"projection": "pca"}, BadValue, "no use for --projection"),
        ("features", {"projection": "umap"}, UnknownName, "unknown projection 'umap'; choose one of: pca, tsne"),
        ("features", {"projection": "pac"}, UnknownName, "unknown projection 'pac'; did you mean 'pca'"),
        ("features", {"methods": ("sae",), "selection": "oracle"}, BadValue, "no method asked for synthesises"),
        ("features", {"methods": ("lisgan",)}, BadValue, "lisgan@S1 .*--seeds 3 --keep-features 50 --rerun all"),
        ("features", {"classes": 4}, BadValue, "3 can be drawn; give a number from 1"),
        ("features", {"classes": "robin"}, UnknownName, "unknown class 'robin'"),
        ("features", {"metrics": ["T1"]}, BadValue, "no use for --metric"),
        ("features", {"datasets": ()}, BadValue, "of one data set and protocol"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(runs, kind, options, error, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        zslbench.plot(kind, runs=runs.root, **{**OPTIONS.get(kind, {}), **options})
    assert not list(tmp_path.iterdir())


def test_no_runs_and_lost_predictions(tmp_path):
    with pytest.raises(StoreError, match="there are no runs"):
        zslbench.plot("pareto", runs=tmp_path / "none")
    ResultStore(tmp_path).save(record())
    with pytest.raises(StoreError, match="has no predictions"):
        zslbench.plot("confusion", runs=tmp_path)
    done = CliRunner().invoke(cli, ["plot", "confusion", "--runs", str(tmp_path), "-o", str(tmp_path / "f.pdf")])
    assert isinstance(done.exception, StoreError)
    assert not (tmp_path / "f.pdf").exists()


def test_figures_are_the_same_whatever_the_environment_says(tmp_path, monkeypatch):
    """A notebook's back end that is not installed here, a user's matplotlibrc, a date that is none."""
    store = ResultStore(tmp_path / "runs")
    for name in ("eszsl", "sae"):
        for dataset in ("cub", "sun"):
            store.save(
                record(name, dataset, metrics={"T1": 0.5 + 0.1 * (name == "sae")}),
                predictions(rng=np.random.default_rng(1)),
            )
    script = (
        "import zslbench; zslbench.plot('cd', runs='runs', output='{0}.pdf');"
        "zslbench.plot('perclass', runs='runs', methods=['sae'], datasets=['cub'], output='{0}.svg')"
    )
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\nfont.size: 30\n")
    odd = {"MPLBACKEND": "module://no_such.backend", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "x"}
    for name, environment in (("plain", {}), ("odd", odd)):
        subprocess.run(
            [sys.executable, "-c", script.format(name)], cwd=tmp_path, check=True, env=os.environ | environment
        )
    for kind in ("pdf", "svg"):
        assert (tmp_path / f"odd.{kind}").read_bytes() == (tmp_path / f"plain.{kind}").read_bytes()


def test_the_users_own_settings_of_matplotlib_are_as_before():
    import matplotlib

    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        with settings():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert matplotlib.rcParams["axes.facecolor"] == "red"
        assert matplotlib.rcParams["font.size"] == 30
