"""Figures: the numbers drawn against naive recomputation from records, files of every kind, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import statistics
import struct
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from result_records import record, saved
from scipy import stats

import zslbench
from zslbench.errors import BadValue, StoreError, UnknownName
from zslbench.metrics import per_class_top1, predict_classes
from zslbench.results.plots.curves import find_front
from zslbench.results.plots.frame import DASHES, MARKERS, line_look, settings, write_figure
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import WIDTHS

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


def judged(arrays, protocol):
    taken = predict_classes(arrays)
    accuracy = [
        float(np.mean([taken[i] == label for i in np.flatnonzero(arrays["label"] == label)]))
        for label in np.unique(arrays["label"])
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
    for dataset, (method, title), protocol in itertools.product(("cub", "sun"), MADE.items(), ("zsl", "gzsl")):
        for seed in range(1 if method == "eszsl" else 3):
            arrays = predictions(rng, protocol=protocol)
            curve = {step: {"T1" if protocol == "zsl" else "H": rng.random()} for step in (2, 4, 6)}
            entry = record(method, dataset, protocol, seed, judged(arrays, protocol), title=title, curve=curve)
            spent = {"fit": 1.0 + seed + 10 * (method == "toy"), "scores": 0.5, "total": 99.0}
            entry = dataclasses.replace(entry, timings=spent, provenance={"device": "cpu"})
            store.save(entry, arrays)
            if dataset == "cub":
                keep(store, entry, rng)

    def save(method, title, label, params, seeds, setting="inductive"):
        facts = {"title": title, "label": label, "params": params, "setting": setting}
        for seed in range(seeds):
            store.save(record(method, "cub", "zsl", seed, {"T1": rng.random()}, **facts))

    for weight in (0.0, 0.001, 0.01, 0.1):
        params = {"cls_weight": weight, "l_r1": 0.01, "l_r2": 0.01, "cascade": "softmax"}
        label = "lisgan" if weight == 0.01 else f"lisgan[cls_weight={weight:g}]"
        save("lisgan", "LisGAN", label, params, 3, "transductive")
    for name, (weight, rest) in {"S1": (0.0, 0.0), "S2": (0.01, 0.0), "S3": (0.01, 0.01)}.items():
        params = {"cls_weight": weight, "l_r1": rest, "l_r2": rest, "cascade": "off"}
        save("lisgan", "LisGAN", f"lisgan@{name}", params, 3)
    for souls in (1, 2, 5):
        save("soulgan", "SoulGAN", f"soulgan[souls={souls}]", {"souls": souls}, 2)
    store.save(record("sae", "cub", "zsl", 0, {"T1": 0.9}, title="SAE", selection="oracle"))
    return store


def keep(store, entry, rng, rows=10, classes=(0, 1, 2), real=None, space="minmax"):
    """Keep features beside a record: `rows` of each class of both kinds, around a centre per class."""
    labels = np.repeat(classes, rows)
    centres = np.random.default_rng(0).normal(size=(30, 6))
    shown = real if real is not None else centres[labels] + 0.3 * np.random.default_rng(1).normal(size=(len(labels), 6))
    made = centres[labels] + 0.3 * rng.normal(size=(len(labels), 6))
    about = {"kept_features": {"per_class": rows, "space": space, "dtype": "float32"}}
    arrays = {"synthesised": made, "synthesised_label": labels, "real": shown, "real_label": labels}
    kept = dataclasses.replace(entry, provenance={**entry.provenance, **about})
    store.save(kept, store.predictions(entry), arrays)
    return arrays


BOTH = {"methods": ("toy", "eszsl")}
OPTIONS = {
    "confusion": BOTH | {"datasets": ("cub",)},
    "sensitivity": {"methods": ("lisgan",), "parameter": "cls_weight"},
    "stability": BOTH,
    "ablation": {"methods": ("lisgan",)},
    "curve": BOTH | {"datasets": ("cub",)},
    "perclass": BOTH | {"datasets": ("cub",), "protocols": ("gzsl",)},
    "pareto": BOTH | {"datasets": ("cub",)},
    "cd": BOTH,
    "souls": {"methods": ("soulgan",)},
    "features": BOTH | {"datasets": ("cub",)},
}
FIRST = 1
"""What the labels of a catalogued data set number the first class; figures call classes by these numbers."""


def draw(runs, kind, output=None, **options):
    return zslbench.plot(kind, output, runs=runs.root, **{**OPTIONS[kind], **options})


def select(runs, method, dataset, protocol, **params):
    return [
        entry
        for entry in runs.load()
        if (entry.method["name"], entry.dataset["name"], entry.protocol["name"]) == (method, dataset, protocol)
        and all(entry.method["params"].get(name) == value for name, value in params.items())
    ]


def count_confusions(runs, method, protocol):
    """The percent of the images of a label that were taken for a class, by a plain loop, mean over seeds."""
    shares, records = Counter(), select(runs, method, "cub", protocol)
    for arrays in map(runs.predictions, records):
        sizes = Counter(arrays["label"].tolist())
        for label, high, seen, low, unseen in zip(*(arrays[name].tolist() for name in ("label", *SIDES)), strict=True):
            shares[label, seen if high >= low else unseen] += 100 / sizes[label] / len(records)
    return shares


def class_accuracies(runs, method, protocol="gzsl"):
    shares = count_confusions(runs, method, protocol)
    return {label: shares[label, label] for label, _ in shares}


def legend_of(figure):
    return [text.get_text() for text in figure.figure.legends[0].get_texts()]


def names_of_ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


@pytest.mark.parametrize("protocol", ["zsl", "gzsl"])
def test_confusions_are_counted(runs, protocol):
    figure = draw(runs, "confusion", protocols=(protocol,))
    expected = {
        (title, label + FIRST, answer + FIRST): share
        for method, title in MADE.items()
        for (label, answer), share in count_confusions(runs, method, protocol).items()
    }
    rows = {(row["name"], row["class"], row["taken for"]): row["percent"] for row in figure.rows}
    assert rows == pytest.approx(expected)
    assert [axes.get_title() for axes in figure.axes] == [ODD.replace("$", r"\$"), "ESZSL"]  # in the order asked for
    picture = figure.axes[0].images[0].get_array()
    for place in range(6 if protocol == "gzsl" else 3):  # few classes keep the order of their ids
        assert picture[place, place] == pytest.approx(expected[ODD, place + FIRST, place + FIRST])


def test_a_choice_of_classes_adds_up_the_others(runs):
    figure = draw(runs, "confusion", protocols=("gzsl",), classes="4,class 1")
    shares = Counter()
    for row in figure.rows:
        shares[row["name"], row["class"]] += row["percent"]
    assert shares == pytest.approx({(name, label): 100 for name in MADE.values() for label in (1, 4)})
    hardest = draw(runs, "confusion", protocols=("gzsl",), classes=2)
    first, second = (class_accuracies(runs, method) for method in MADE)
    assert {row["class"] - FIRST for row in hardest.rows} == {*sorted(first, key=lambda c: first[c] + second[c])[:2]}


def test_many_classes_are_clustered_so_that_confused_ones_are_neighbours(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    label = np.repeat(np.arange(40), 10)
    taken = np.where(rng.random(len(label)) < 0.4, (label + 20) % 40, label)  # class i is confused with class i + 20
    store.save(record(metrics={"T1": 0.6}), unseen_only(label, taken))
    figure = zslbench.plot("confusion", runs=tmp_path)
    order = list(dict.fromkeys(row["class"] - FIRST for row in figure.rows))
    assert sorted(order) == list(range(40))
    places = {label: place for place, label in enumerate(order)}
    assert all(abs(places[label] - places[label + 20]) == 1 for label in range(20))
    assert "clustering" in " ".join(figure.caption)
    # 40 names do not fit into a column: those of the hardest classes stand at rows, and columns have their order.
    shown = names_of_ticks(figure.axes[0].yaxis)
    accuracy = {row["class name"]: row["percent"] for row in figure.rows if row["class"] == row["taken for"]}
    assert shown == [f"class {label}" for label in (place + FIRST for place in order) if f"class {label}" in shown]
    assert min(accuracy, key=lambda name: accuracy[name]) in shown
    assert 15 <= len(shown) < 40
    assert f"Named are {len(shown)} of 40 classes, the hardest first where names have room; --data FILE lists all" in (
        " ".join(figure.caption)
    )
    assert "Columns are in the order of the rows." in figure.caption
    assert names_of_ticks(figure.axes[0].xaxis) == ["40 unseen"]


@pytest.mark.parametrize("methods", [["eszsl"], ["eszsl", "sae"]])
@pytest.mark.parametrize("classes", [16, 28, 90])
def test_rows_of_a_confusion_figure_are_named_at_the_width_of_a_column(tmp_path, monkeypatch, methods, classes):
    label = np.arange(classes)
    for method in methods:
        ResultStore(tmp_path).save(record(method, metrics={"T1": 1.0}), unseen_only(label, label))
    names = {place: f"{place:03} Yellow-bellied Flycatcher" for place in label.tolist()}
    monkeypatch.setattr("zslbench.studies.plot.class_names", lambda *_: names)
    figure = zslbench.plot("confusion", runs=tmp_path)
    with settings():
        figure.figure.draw_without_rendering()
    for axes in figure.axes:
        shown = axes.get_yticklabels()
        boxes = [text.get_window_extent() for text in shown]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
        assert len(shown) == classes if classes < 30 else 16 <= len(shown) < 90
        assert shown[0].get_fontsize() >= 6
    assert names_of_ticks(figure.axes[-1].xaxis) == [f"{classes} unseen"]


def unseen_only(label, taken):
    """Predictions of images of unseen classes alone, among which `taken` were the answers."""
    nothing = np.full(len(label), -1)
    arrays = {"row": np.arange(len(label)), "label": label, "of_unseen": label >= 0}
    arrays |= {"seen_score": np.full(len(label), -np.inf), "seen_class": nothing}
    return arrays | {"unseen_score": np.ones(len(label)), "unseen_class": taken}


@pytest.mark.parametrize("letters", [4, 30])
def test_names_beside_a_matrix_do_not_overlap(tmp_path, monkeypatch, letters):
    label = np.arange(12)
    ResultStore(tmp_path).save(record(metrics={"T1": 1.0}), unseen_only(label, label))
    names = {int(entry): f"{entry:02}".ljust(letters, "x") for entry in label}
    monkeypatch.setattr("zslbench.studies.plot.class_names", lambda *_: names)
    (axes,) = zslbench.plot("confusion", runs=tmp_path).axes
    with settings():
        axes.get_figure().draw_without_rendering()
    texts = axes.get_yticklabels()
    assert [text.get_text() for text in texts] == list(names.values())
    row_height = axes.get_window_extent().height / 12 / axes.get_figure().dpi * 72
    assert texts[0].get_fontsize() <= row_height


def test_names_of_classes_come_from_the_data(tmp_path):
    zslbench.run("eszsl", "digits", "zsl", runs=tmp_path)
    figure = zslbench.plot("confusion", runs=tmp_path)
    assert {row["class name"] for row in figure.rows} == {"three", "five", "seven"}
    assert names_of_ticks(figure.axes[0].yaxis) == ["three", "five", "seven"]
    entry, *_ = ResultStore(tmp_path).load()
    other = dataclasses.replace(entry, dataset={**entry.dataset, "fingerprint": "0" * 16})
    assert zslbench.studies.plot.class_names(other) == {}  # of other content: its ids may mean other classes


@pytest.mark.parametrize("spread", ["std", "ci"])
def test_sensitivity_is_mean_and_spread_by_value(runs, spread):
    figure = draw(runs, "sensitivity", spread=spread)
    assert [float(row["value"]) for row in figure.rows] == [0, 0.001, 0.01, 0.1]
    for row in figure.rows:
        records = select(runs, "lisgan", "cub", "zsl", cls_weight=float(row["value"]), cascade="softmax")
        values = [100 * entry.metrics["T1"] for entry in records]
        mean, away = statistics.mean(values), statistics.stdev(values)
        away *= stats.t.ppf(0.975, 2) / 3**0.5 if spread == "ci" else 1
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean, mean - away, mean + away))
        assert (row["name"], row["n"]) == ("LisGAN‡", 3)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert names_of_ticks(axes.xaxis) == ["0", "0.001", "0.01", "0.1"]
    joined = axes.lines[0]  # 0 stands apart
    assert list(joined.get_xdata()) == [0.001, 0.01, 0.1]
    assert list(joined.get_ydata()) == pytest.approx([row["mean"] for row in figure.rows[1:]])


def test_souls_is_sensitivity_to_their_number_of_methods_that_have_them(runs):
    figure = draw(runs, "souls", methods=())
    same = draw(runs, "sensitivity", methods=("soulgan",), parameter="souls")
    assert figure.rows == same.rows
    assert [(row["value"], row["n"]) for row in figure.rows] == [("1", 2), ("2", 2), ("5", 2)]
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel()) == ("linear", "soul samples per class")
    assert names_of_ticks(axes.xaxis) == ["1", "2", "5"]


def test_a_sweep_of_choices_has_no_line_and_zeros_have_an_axis_of_percent(tmp_path):
    records = [
        record("lisgan", metrics={"T1": 0.0}, label=f"lisgan[cascade={value}]", params={"cascade": value})
        for value in ("off", "nn")
    ]
    saved(tmp_path, records)
    (axes,) = zslbench.plot("sensitivity", runs=tmp_path).axes
    assert names_of_ticks(axes.xaxis) == ["nn", "off"]
    assert axes.lines[0].get_linestyle() == "None"
    assert axes.get_ylim() == pytest.approx((-0.1, 1.9))


def test_a_sweep_has_a_legend_only_where_there_are_lines_to_tell_apart(tmp_path):
    def sweep(method):
        records = [record(method, metrics={"T1": 0.5}, params={"gamma": gamma}) for gamma in (0.1, 1.0)]
        return zslbench.plot("sensitivity", runs=saved(tmp_path, records)).figure.legends

    assert sweep("eszsl") == []
    (legend,) = sweep("sae")
    assert len(legend.get_texts()) == 2


def test_stability_is_error_by_step_where_all_seeds_were_judged(runs):
    figure = draw(runs, "stability", datasets=("cub",), protocols=("zsl",))
    steps = [(title, step) for title in (ODD, "ESZSL") for step in (2, 4, 6)]
    assert [(row["name"], row["step"]) for row in figure.rows] == steps
    methods = {title: method for method, title in MADE.items()}
    for row in figure.rows:
        curves = [entry.curve for entry in select(runs, methods[row["name"]], "cub", "zsl")]
        errors = [100 - 100 * at["metrics"]["T1"] for curve in curves for at in curve if at["step"] == row["step"]]
        low = statistics.mean(errors) - (statistics.stdev(errors) if len(errors) > 1 else 0)
        assert (row["error"], row["low"], row["n"]) == pytest.approx((statistics.mean(errors), low, len(errors)))


def test_a_seed_that_was_judged_less_often_leaves_the_common_steps(tmp_path):
    records = [
        record("gazsl", seed=seed, metrics={"T1": 0.4}, curve={step: {"T1": step / 10} for step in steps})
        for seed, steps in enumerate([(1, 2, 3, 4), (2, 4)])
    ]
    figure = zslbench.plot("stability", runs=saved(tmp_path, records))
    assert [(row["step"], round(row["error"], 6)) for row in figure.rows] == [(2, 80), (4, 60)]


def test_the_dev_stage_has_a_panel_per_fold(tmp_path):
    records = [
        record("gazsl", metrics={"T1": 0.4}, curve={1: {"T1": fold / 10}}, stage="dev", fold=fold) for fold in (1, 2)
    ]
    figure = zslbench.plot("stability", runs=saved(tmp_path, records), stage="dev", width="page")
    assert [axes.get_title() for axes in figure.axes] == ["CUB (fc1000, att), fold 1", "CUB (fc1000, att), fold 2"]
    assert [row["error"] for row in figure.rows] == [90, 80]


def test_one_seed_has_no_band_and_the_caption_says_so(tmp_path):
    records = [
        record("gazsl", metrics={"T1": lr / 4}, label=f"gazsl[batch=7,lr={lr:g}]", params={"lr": lr, "batch": 7})
        for lr in (0.1, 1.0)
    ]
    saved(tmp_path, records)
    figure = zslbench.plot("sensitivity", runs=tmp_path)
    assert [(row["low"], row["mean"], row["high"]) for row in figure.rows] == [(2.5,) * 3, (25.0,) * 3]
    assert "Given besides: gazsl: batch=7." in figure.caption
    assert "A single seed, so nothing is known of the spread: gazsl." in figure.caption
    assert not any(sentence.startswith("Bands") for sentence in figure.caption)


def test_ablation_has_a_bar_per_setting_and_the_whole_method_is_s4(runs):
    figure = draw(runs, "ablation")
    assert [row["ablation"] for row in figure.rows] == ["S1", "S2", "S3", "S4"]
    records = select(runs, "lisgan", "cub", "zsl", cls_weight=0.01, cascade="softmax")
    values = [100 * entry.metrics["T1"] for entry in records]
    half = stats.t.ppf(0.975, 2) * statistics.stdev(values) / 3**0.5
    last = figure.rows[-1]
    assert (last["mean"], last["low"]) == pytest.approx((statistics.mean(values), statistics.mean(values) - half))
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([row["mean"] for row in figure.rows])
    assert names_of_ticks(axes.xaxis) == ["S1", "S2", "S3", "S4‡"]
    assert "transductive" in " ".join(figure.caption)


def test_the_ablation_to_run_first_has_the_settings_and_seeds_of_the_runs_of_its_method(tmp_path):
    tuned = {"label": "lisgan@S3[hidden=64]", "params": {"hidden": 64}}
    saved(tmp_path, [record("eszsl"), *(record("lisgan", seed=seed, **tuned) for seed in range(2))])
    with pytest.raises(BadValue, match=r"ablate 'lisgan\[hidden=64\]' -d cub .*--seeds 2"):
        zslbench.plot("ablation", runs=tmp_path)


def test_a_setting_that_was_run_in_several_ways_is_no_bar_by_chance(tmp_path):
    off = {"cls_weight": 0.01, "l_r1": 0.01, "l_r2": 0.01, "souls": 3, "cascade": "off"}
    params_of = {
        "lisgan@S1": off | {"cls_weight": 0.0, "l_r1": 0.0, "l_r2": 0.0},
        "lisgan@S2": off | {"l_r1": 0.0, "l_r2": 0.0},
        "lisgan[cascade=off]": off,
        "lisgan": off | {"cascade": "softmax"},
        "lisgan[cascade=nn]": off | {"cascade": "nn"},
    }
    records = [
        record("lisgan", label=label, params=params, metrics={"T1": 0.1 * place})
        for place, (label, params) in enumerate(params_of.items(), start=1)
    ]
    saved(tmp_path, records)
    with pytest.raises(BadValue, match=r"several ways \(lisgan\[cascade=nn\]; lisgan\).*-m lisgan@S1 -m lisgan@S2 -m"):
        zslbench.plot("ablation", runs=tmp_path, methods=["lisgan"])
    figure = zslbench.plot("ablation", runs=tmp_path, methods=[label for label in params_of if label != "lisgan"])
    means = {row["ablation"]: row["mean"] for row in figure.rows}
    assert means == pytest.approx({"S1": 10, "S2": 20, "S3": 30, "S4": 50})


def test_points_of_the_curve_are_reached_by_a_constant(runs):
    figure = draw(runs, "curve")
    (entry,) = select(runs, "eszsl", "cub", "gzsl")
    arrays = runs.predictions(entry)
    reached, side = [], arrays["of_unseen"]
    for gamma in [*np.unique(arrays["seen_score"] - arrays["unseen_score"]), np.inf]:
        answers = predict_classes(arrays, gamma)
        reached.append([100 * per_class_top1(arrays["label"][part], answers[part]) for part in (side, ~side)])
    unseen, seen = np.array(reached).T
    rows = [row for row in figure.rows if row["name"] == "ESZSL" and row["what"] == "curve"]
    for row in rows[:-1]:
        # The highest U at a level of S, neighbouring points joined by straight lines.
        high = max(place for place in range(len(seen)) if seen[place] >= row["S"] - 1e-9)
        low = min(high + 1, len(seen) - 1)
        part = 0 if seen[high] == seen[low] else (seen[high] - row["S"]) / (seen[high] - seen[low])
        assert row["U"] == pytest.approx(unseen[high] + part * (unseen[low] - unseen[high]))
    (point,) = [row for row in figure.rows if row["name"] == "ESZSL" and row["what"] == "γ=0"]
    assert (point["U"], point["S"]) == pytest.approx((100 * entry.metrics["U"], 100 * entry.metrics["S"]))
    assert f"ESZSL: {100 * entry.metrics['AUSUC']:.1f}" in legend_of(figure)
    assert "--calibrate" in " ".join(figure.caption)  # there are no dev folds here


def test_areas_in_the_legend_are_in_the_order_of_the_panels_with_a_dash_where_there_is_none(tmp_path):
    rng = np.random.default_rng(2)
    for method, dataset in (("ale", "sun"), ("sje", "cub"), ("sje", "sun")):
        arrays = predictions(rng)
        metrics = judged(arrays, "gzsl") | {"AUSUC": 0.25 if dataset == "cub" else 0.5}
        ResultStore(tmp_path).save(record(method, dataset, "gzsl", metrics=metrics), arrays)
    figure = zslbench.plot("curve", runs=tmp_path, width="page")
    assert [axes.get_title() for axes in figure.axes] == ["CUB (fc1000, att)", "SUN (fc1000, att)"]
    assert legend_of(figure) == ["ale: – / 50.0", "sje: 25.0 / 50.0"]
    assert figure.figure.legends[0].get_title().get_text() == "AUSUC (%) on CUB / SUN"


def test_the_constant_from_dev_folds_is_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(1)
    for stage, fold in (("final", 0), ("dev", 1), ("dev", 2), ("dev", 3)):
        arrays = predictions(rng)
        entry = record("ale", protocol="gzsl", metrics=judged(arrays, "gzsl"), stage=stage, fold=fold)
        store.save(entry, arrays)
    figure = zslbench.plot("curve", runs=tmp_path)
    (row,) = [row for row in figure.rows if row["what"] == "γ from dev folds"]
    assert "Hollow: " in " ".join(figure.caption)
    assert "γ" not in " ".join(figure.caption), "that letter stands for the gamma of a method in legends"
    (entry,) = json.loads(zslbench.curve(tmp_path, format="json").text)
    assert row["U"] * row["S"] * 2 / (row["U"] + row["S"]) == pytest.approx(entry["metrics"]["H cs"], abs=1e-5)


def test_perclass_is_a_difference_of_means_over_seeds(runs):
    figure = draw(runs, "perclass")
    first, second = (class_accuracies(runs, method) for method in ("toy", "eszsl"))
    differences = {row["class"] - FIRST: row["difference"] for row in figure.rows}
    assert differences == pytest.approx({label: first[label] - second[label] for label in first})
    assert list(differences.values()) == sorted(differences.values(), reverse=True)
    alone = draw(runs, "perclass", methods=("toy",))
    values = {row["class"] - FIRST: row[ODD] for row in alone.rows}
    assert values == pytest.approx(first)


def test_a_difference_in_one_class_is_one_class(tmp_path):
    label = np.arange(3)
    ResultStore(tmp_path).save(record("eszsl", metrics={"T1": 1.0}), unseen_only(label, label))
    ResultStore(tmp_path).save(record("sae", metrics={"T1": 0.7}), unseen_only(label, np.array([0, 1, 1])))
    caption = " ".join(zslbench.plot("perclass", runs=tmp_path).caption)
    assert "higher in 1 class, lower in 0, equal in 2." in caption


def test_more_classes_than_have_room_for_names_stand_side_by_side(tmp_path):
    arrays = predictions(np.random.default_rng(0), classes=70, unseen=30)
    ResultStore(tmp_path).save(record(protocol="gzsl", metrics=judged(arrays, "gzsl")), arrays)
    figure = zslbench.plot("perclass", runs=tmp_path)
    assert [axes.get_xlabel() for axes in figure.axes] == ["70 classes, sorted"]
    assert legend_of(figure) == ["unseen classes", "seen classes"]
    first, last = (f"{figure.rows[at]['class name']} {figure.rows[at]['eszsl']:.0f}" for at in (0, -1))
    assert re.search(f"Highest: {first}, .*; lowest: .*, {last}; --classes 20 draws", " ".join(figure.caption))
    assert len(zslbench.plot("perclass", runs=tmp_path, classes=5).rows) == 5


def test_methods_that_were_judged_on_different_images_are_refused(tmp_path):
    for method, label in (("eszsl", np.arange(4)), ("sae", np.arange(4)[::-1])):
        ResultStore(tmp_path).save(record(method), unseen_only(label, label))
    with pytest.raises(BadValue, match=r"sae was judged on other test images than eszsl; run both again"):
        zslbench.plot("confusion", runs=tmp_path)


def test_pareto_has_seconds_of_fitting_and_scoring(runs):
    figure = draw(runs, "pareto", protocols=("zsl",))
    assert {row["name"]: row["seconds"] for row in figure.rows} == pytest.approx({"ESZSL": 1.5, ODD: 12.5})
    assert figure.axes[0].get_xscale() == "log"


def test_the_front_is_what_nothing_beats():
    points = [(float(x), float(y)) for x, y in np.random.default_rng(0).integers(1, 9, size=(60, 2))]
    kept = {points[place] for place in find_front(points)}
    beaten = {entry for entry in points if any(o != entry and o[0] <= entry[0] and o[1] >= entry[1] for o in points)}
    assert kept == set(points) - beaten


def test_cd_holds_the_ranks_over_data_sets(runs):
    ranks = Counter()
    for dataset in ("cub", "sun"):
        means = [statistics.mean(entry.metrics["T1"] for entry in select(runs, m, dataset, "zsl")) for m in MADE]
        for title, mean in zip(MADE.values(), means, strict=True):
            ranks[title] += (1 + sum(other > mean for other in means)) / 2
    figure = draw(runs, "cd", metrics=("T1",))
    assert {row["name"]: row["mean rank"] for row in figure.rows} == dict(ranks)


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_kind_has_its_width_and_keeps_texts_as_text(runs, kind, tmp_path):
    path = tmp_path / "figure.svg"
    figure = draw(runs, kind, path)
    inches = figure.figure.get_size_inches()[0]
    assert inches >= WIDTHS["column"] if kind == "cd" else inches == WIDTHS["column"]  # names of cd may ask for more
    texts = " ".join("".join(entry.itertext()) for entry in ElementTree.fromstring(path.read_bytes()).iter())
    assert kind in ("sensitivity", "ablation", "souls") or ODD in texts
    if kind in ("pareto", "cd"):  # with a layout that is found, and without
        for ending in ("pdf", "png"):
            write_figure(figure, tmp_path / f"figure.{ending}")
        content = (tmp_path / "figure.pdf").read_bytes()
        assert b"/FontFile2" in content
        assert b"/Subtype /Type3" not in content
        assert struct.unpack(">I", (tmp_path / "figure.png").read_bytes()[16:20])[0] == int(300 * inches)


def test_candidates_of_oracle_selection_are_drawn_only_when_asked_for_and_marked(runs, tmp_path):
    with pytest.raises(BadValue, match="candidate of oracle selection"):
        zslbench.plot("pareto", runs=runs.root, methods=["sae"])
    with pytest.raises(BadValue, match="no timings"):
        zslbench.plot("pareto", runs=runs.root, methods=["sae"], selection="oracle")
    entry = record("sae", metrics={"T1": 0.9}, title="SAE", selection="oracle")
    ResultStore(tmp_path).save(dataclasses.replace(entry, timings={"fit": 1.0}))
    figure = zslbench.plot("pareto", runs=tmp_path, selection="oracle")
    assert figure.rows[0]["name"] == "SAE†"
    assert [text.get_text() for text in figure.figure.legends[0].texts] == ["SAE†"]
    assert "† oracle selection" in " ".join(figure.caption)


def test_lines_are_told_apart_without_colour():
    looks = [(DASHES.index(entry["linestyle"]), entry["marker"]) for entry in map(line_look, range(36))]
    assert len(set(looks)) == 36 == len(DASHES) * len(MARKERS)


@pytest.mark.parametrize(
    ("kind", "options", "error", "sentence"),
    [
        ("confusoin", {}, UnknownName, "unknown kind of figure 'confusoin'; did you mean 'confusion'?"),
        ("confusion", {"methods": ()}, BadValue, "one or two methods side by side, not 12"),
        ("confusion", {"methods": ()}, BadValue, r"NAME\[KEY=VALUE\]"),
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
        ("stability", {"methods": ("lisgan",)}, BadValue, "-m lisgan@S1 .*--checkpoints every:1 --rerun all"),
        ("sensitivity", {"parameter": "l_r1", "methods": ("eszsl",)}, UnknownName, "hyper-parameter"),
        (
            "sensitivity",
            {"parameter": None, "methods": ("eszsl",)},
            BadValue,
            "ablate eszsl -d cub --features fc1000 .*-p gzsl",
        ),
        ("ablation", {"methods": ("eszsl",)}, BadValue, "no method asked for declares ablations"),
        ("ablation", {"methods": ("lisgan@S1",)}, BadValue, "zslbench ablate lisgan -d cub"),
        ("curve", {"protocols": ("zsl",)}, BadValue, "ask for gzsl runs"),
        ("cd", {"datasets": ("cub",)}, BadValue, "needs two data sets"),
        ("souls", {"parameter": "souls"}, BadValue, "no use for --param"),
        ("souls", {"methods": ("eszsl", "toy")}, UnknownName, "unknown hyper-parameter 'souls'"),
        ("souls", {"methods": ("soulgan[souls=2]", "toy")}, BadValue, r"souls has one .*--sweep 'souls=\[…,…\]'"),
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
        zslbench.plot("confusion", tmp_path / "f.pdf", runs=tmp_path)
    assert not (tmp_path / "f.pdf").exists()


def test_figures_are_the_same_whatever_the_environment_says(runs, tmp_path):
    """A notebook's back end that is not installed here, a user's matplotlibrc, a date that is none.

    In that process pyplot, which opens windows, and torch are not imported, for a report neither.
    """
    drawn = {"cd": "cd.pdf", "perclass": "perclass.svg"}
    script = (
        "import sys, zslbench\n"
        f"for kind, file, options in {[(kind, file, OPTIONS[kind]) for kind, file in drawn.items()]}:\n"
        f"    zslbench.plot(kind, 'odd-' + file, runs={str(runs.root)!r}, **options)\n"
        f"zslbench.report('page.html', runs={str(runs.root)!r}, methods=['lisgan'])\n"
        "print([name for name in ('matplotlib.pyplot', 'torch') if name in sys.modules])"
    )
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\nfont.size: 30\n")
    odd = {"MPLBACKEND": "module://no_such.backend", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "x"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | odd, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    for kind, file in drawn.items():
        draw(runs, kind, tmp_path / file)
        assert (tmp_path / f"odd-{file}").read_bytes() == (tmp_path / file).read_bytes()


def test_the_users_own_settings_of_matplotlib_are_as_before():
    import matplotlib

    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        with settings():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert matplotlib.rcParams["axes.facecolor"] == "red"
        assert matplotlib.rcParams["font.size"] == 30
