"""How figures look: one colour per row and class, eight at most, names that do not overlap, words of papers."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.text import Text
from result_records import record, saved
from test_plots import judged, keep, legend_of, names_of_ticks, predictions, unseen_only

import zslbench
from zslbench.cli import cli
from zslbench.errors import UnknownName
from zslbench.results.plots.by_class import write_class_names
from zslbench.results.plots.frame import COLOURS, GREY, settings
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import wrap_sentences


def save_generalized(folder: Path, methods: int, dataset: str = "cub") -> dict[str, float]:
    """Save a gzsl run of each of so many methods, and return the AUSUC of each title."""
    store, rng, areas = ResultStore(folder), np.random.default_rng(4), {}
    for number in rng.permutation(methods).tolist():
        arrays = predictions(rng)
        title = f"Method {number:02}"
        areas[title] = 0.1 + 0.01 * number
        metrics = judged(arrays, "gzsl") | {"AUSUC": areas[title]}
        entry = record(f"m{number:02}", dataset, "gzsl", metrics=metrics, title=title)
        store.save(dataclasses.replace(entry, timings={"fit": 1.0 + number}), arrays)
    return areas


def colours_of(figure) -> dict[str, str]:
    """Return the colour of each text of the legend, without what follows a colon."""
    (legend,) = figure.figure.legends
    texts = (text.partition(":")[0] for text in legend_of(figure))
    return dict(zip(texts, (handle.get_color() for handle in legend.legend_handles), strict=True))


def test_a_method_has_one_colour_in_every_figure_of_a_study(tmp_path):
    for dataset in ("cub", "sun"):
        save_generalized(tmp_path, 6, dataset)
    whole = colours_of(zslbench.plot("curve", runs=tmp_path))
    assert len({*whole.values()}) == 6
    some = colours_of(zslbench.plot("curve", runs=tmp_path, methods=["m05", "m02"], datasets=["sun"]))
    assert some == {title: whole[title] for title in ("Method 05", "Method 02")}
    pareto = zslbench.plot("pareto", runs=tmp_path, datasets=["cub"], methods=["m04", "m01"])
    points = [line for line in pareto.axes[0].lines if line.get_marker() not in ("None", "", None)]
    assert [point.get_color() for point in points] == [whole["Method 04"], whole["Method 01"]]


def looks_of(figure) -> dict[str, tuple[str, str, str]]:
    """Return colour, dash and marker of each text of the legend that is not grey."""
    handles = zip(legend_of(figure), figure.figure.legends[0].legend_handles, strict=True)
    looks = {
        text.partition(":")[0]: (line.get_color(), line.get_linestyle(), line.get_marker()) for text, line in handles
    }
    return {name: look for name, look in looks.items() if look[0] != GREY}


def test_a_row_of_a_large_study_looks_the_same_in_every_figure_that_colours_it(tmp_path):
    for dataset, methods in (("cub", 20), ("sun", 13)):
        save_generalized(tmp_path, methods, dataset)
    chosen = [["m19", "m11", "m03"], ["m18", "m10", "m02"], [f"m{number:02}" for number in range(9, 17)]]
    asked = [{}, {"datasets": ["sun"]}, {"datasets": ["cub"]}, *({"methods": names} for names in chosen)]
    seen: dict[str, tuple[str, str, str]] = {}
    for options in asked:
        looks = looks_of(zslbench.plot("curve", runs=tmp_path, **options))
        assert len({*looks.values()}) == len(looks)
        for name, look in looks.items():
            assert seen.setdefault(name, look) == look
    assert len(seen) > 12
    pareto = zslbench.plot("pareto", runs=tmp_path, datasets=["cub"])
    points = [line for line in pareto.axes[0].lines if len(line.get_xdata()) == 1]
    same = 0
    for row, point in zip(pareto.rows, points, strict=True):
        if point.get_color() != GREY and row["name"] in seen:
            same += 1
            assert (point.get_color(), point.get_marker()) == (seen[row["name"]][0], seen[row["name"]][2])
    assert same > 2
    (curve,) = (figure for figure in zslbench.report(None, runs=tmp_path).page.figures if figure.kind == "curve")
    drawn = {colour.lower() for colour, _, _ in looks_of(zslbench.plot("curve", runs=tmp_path)).values()}
    assert all(colour in curve.svg for colour in drawn - {"#000000"})


def test_legends_are_in_the_order_of_the_table(tmp_path):
    facts = {"curve": {1: {"T1": 0.1}, 2: {"T1": 0.2}}, "params": {"epochs": 2}}
    records = [record("sae", "awa1", metrics={"T1": 0.5}, title="SAE", **facts)]
    records += [record(name, "cub", metrics={"T1": 0.4}, title=name.upper(), **facts) for name in ("sae", "ale", "dap")]
    runs = saved(tmp_path, [dataclasses.replace(entry, timings={"fit": 1.0}) for entry in records])
    for methods in ((), ("dap", "ale", "sae")):
        table = zslbench.table(runs, methods=methods)
        rows = list(dict.fromkeys(row["method"].upper() for row in table.list_facts()))
        assert legend_of(zslbench.plot("stability", runs=runs, methods=methods)) == rows
    rng = np.random.default_rng(0)
    for method, dataset in (("sae", "awa1"), ("sae", "cub"), ("ale", "cub"), ("dap", "cub")):
        arrays = predictions(rng)
        entry = record(method, dataset, "gzsl", metrics=judged(arrays, "gzsl"), title=method.upper())
        ResultStore(runs).save(entry, arrays)
    curve = zslbench.plot("curve", runs=runs, methods=["dap", "ale", "sae"])
    assert [text.partition(":")[0] for text in legend_of(curve)] == ["DAP", "ALE", "SAE"]


def test_eight_rows_at_most_are_in_colour_those_of_the_highest_areas_and_the_others_share_an_entry(tmp_path):
    areas = save_generalized(tmp_path, 11)
    figure = zslbench.plot("curve", runs=tmp_path)
    drawn = {line.get_color() for line in figure.axes[0].lines}
    assert drawn == {*COLOURS, GREY}
    assert len(COLOURS) == 8
    best = sorted(sorted(areas, key=areas.__getitem__)[-8:])
    colours = colours_of(figure)
    assert [*colours] == [*best, "3 others"]
    assert colours["3 others"] == GREY
    assert len({row["name"] for row in figure.rows}) == 11  # the numbers of all are there
    assert "In colour: the 8 with the highest AUSUC; 3 in grey." in figure.caption


def test_the_best_row_of_each_panel_is_in_colour_however_low_its_numbers_are(tmp_path):
    save_generalized(tmp_path, 10, "sun")
    arrays = predictions(np.random.default_rng(5))
    poor = record("poor", "cub", "gzsl", metrics=judged(arrays, "gzsl") | {"AUSUC": 0.01}, title="Poor")
    ResultStore(tmp_path).save(poor, arrays)
    figure = zslbench.plot("curve", runs=tmp_path, width="page")
    assert "Poor" in colours_of(figure)
    assert "In colour: the 8 with the highest AUSUC of a panel; 3 in grey." in figure.caption


def test_a_setting_of_an_ablation_has_one_colour_in_all_panels_however_it_was_written(tmp_path):
    whole: dict[str, Any] = {"cls_weight": 0.01, "l_r1": 0.01, "l_r2": 0.01, "cascade": "softmax"}
    for protocol, name, metric in (("zsl", "lisgan", "T1"), ("gzsl", "lisgan@S4", "H")):
        for seed, value in enumerate((0.1, 0.9)):
            for label, params in ((name, whole), ("lisgan@S3", whole | {"cascade": "off"})):
                entry = record("lisgan", "cub", protocol, seed, {metric: value}, label=label, params=params)
                ResultStore(tmp_path).save(entry)
    figure = zslbench.plot("ablation", runs=tmp_path)
    first, second = ([bar.get_facecolor() for bar in axes.patches] for axes in figure.axes)
    assert first == second
    assert len({*first}) == 2
    assert "Intervals are drawn from 0 to 100 % at most." in figure.caption
    bars = [lines for axes in figure.axes for lines in axes.collections]
    ends = [y for lines in bars for path in lines.get_paths() for y in path.vertices[:, 1]]
    assert (min(ends), max(ends)) == (0.0, 100.0)
    assert all(row["low"] < 0 and row["high"] > 100 for row in figure.rows)  # the numbers are as computed


def test_panels_are_spread_over_the_rows(tmp_path):
    save_generalized(tmp_path, 1)
    for dataset in ("awa1", "awa2", "apy", "flo", "sun"):
        save_generalized(tmp_path, 1, dataset)
    figure = zslbench.plot("curve", runs=tmp_path, width=8)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 3)


def test_sentences_below_a_figure_are_wrapped_to_the_terminal_and_long_names_stay_whole(tmp_path):
    save_generalized(tmp_path / "runs", 3)
    words = ["plot", "curve", "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "a.svg"), "--caption", "full"]
    texts = {}
    for columns in ("60", "120"):
        done = CliRunner(env={"COLUMNS": columns}).invoke(cli, words, catch_exceptions=False)
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        texts[columns] = " ".join(done.stdout.split())
    assert texts["60"] == texts["120"]
    assert wrap_sentences(["see " + "x" * 70], 40) == ["see\n  " + "x" * 70]


def test_the_areas_are_labelled_in_the_legend(tmp_path):
    areas = save_generalized(tmp_path, 2)
    figure = zslbench.plot("curve", runs=tmp_path)
    assert figure.figure.legends[0].get_title().get_text() == "AUSUC (%)"
    assert legend_of(figure) == [f"{title}: {100 * area:.1f}" for title, area in sorted(areas.items())]


def boxes_of(figure, texts):
    with settings():
        figure.figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in texts]  # of the letters alone, without a line to the point


def overlapping(boxes):
    return [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_names_of_points_stand_in_a_legend(tmp_path):
    for number in range(8):
        title = f"A method of a long name, number {number}"
        entry = record(f"m{number}", metrics={"T1": 0.5 + number / 1e4}, title=title)
        ResultStore(tmp_path).save(dataclasses.replace(entry, timings={"fit": 1.0}))
    figure = zslbench.plot("pareto", runs=tmp_path)
    assert not figure.axes[0].texts
    assert [text.replace("\n", " ") for text in legend_of(figure)] == [row["name"] for row in figure.rows]


@pytest.mark.parametrize("letters", [4, 14, 40])
def test_names_of_a_critical_difference_diagram_do_not_overlap_and_stand_within_it(tmp_path, letters):
    titles = [f"{number}".ljust(letters, "w") for number in range(7)]
    records = [
        record(f"m{number}", dataset, metrics={"T1": 0.2 + 0.1 * number}, title=titles[number])
        for number in range(7)
        for dataset in ("cub", "sun", "apy")
    ]
    figure = zslbench.plot("cd", runs=saved(tmp_path, records))
    (axes,) = figure.axes
    boxes = boxes_of(figure, axes.texts)
    assert len(boxes) > 7
    assert overlapping(boxes) == []
    assert all(box.x0 >= 0 and box.x1 <= figure.figure.bbox.x1 for box in boxes)
    assert min(text.get_fontsize() for text in axes.texts) >= 6
    if letters == 4:
        assert figure.figure.get_size_inches()[0] == 3.25


def test_a_class_has_one_colour_and_marker_in_every_figure(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(5)
    for method in ("gazsl", "fclswgan"):
        arrays = predictions(rng, classes=24, unseen=20, protocol="gzsl")
        entry = record(method, protocol="gzsl", metrics=judged(arrays, "gzsl"), title=method)
        store.save(entry, arrays)
        keep(store, entry, rng, classes=tuple(range(20)))

    def looks(**options):
        figure = zslbench.plot("features", runs=tmp_path, **options)
        handles = figure.figure.legends[0].legend_handles
        entries = zip(legend_of(figure)[:-2], handles, strict=False)  # real and synthesised come last
        return {name: (handle.get_markerfacecolor(), handle.get_marker()) for name, handle in entries}

    seen: dict[str, tuple[str, str]] = {}
    asked = [{}, {"methods": ["gazsl"]}, {"methods": ["fclswgan"], "classes": 8}, {"classes": "3,11,class 19"}]
    for options in asked:
        for name, look in looks(**options).items():
            assert seen.setdefault(name, look) == look
    assert len(seen) > 8
    for options in asked[:3]:  # those that the figure chooses differ in colour
        colours = [colour for colour, _ in looks(**options).values()]
        assert len({*colours}) == len(colours)


def test_names_of_classes_are_written_as_in_a_text():
    names = {
        "001.Black_footed_Albatross": "Black-footed Albatross",
        "013.Bobolink": "Bobolink",
        "141.Artic_Tern": "Artic Tern",
        "150.Sage_Thrasher": "Sage Thrasher",
        "118.Nelson_Sharp_tailed_Sparrow": "Nelson Sharp-tailed Sparrow",
        "158.Black_and_white_Warbler": "Black-and-white Warbler",
        "killer+whale": "killer whale",
        "access_road": "access road",
        "tv_monitor": "tv monitor",
        "three": "three",
        "2.5": "2.5",
        "17": "17",
    }
    assert write_class_names([*names]) == [*names.values()]
    assert write_class_names(["1.cat", "2.cat", "3.dog"]) == ["1.cat", "2.cat", "dog"]


def test_axes_of_a_confusion_figure_are_true_and_predicted_class_by_names_without_numbers(tmp_path, monkeypatch):
    ResultStore(tmp_path).save(record(metrics={"T1": 1.0}), unseen_only(np.arange(3), np.array([0, 2, 2])))
    known = {0: "001.Black_footed_Albatross", 1: "002.Laysan_Albatross", 2: "004.Groove_billed_Ani"}
    monkeypatch.setattr("zslbench.studies.plot.class_names", lambda *_: known)
    figure = zslbench.plot("confusion", runs=tmp_path)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    titles = ["Black-footed Albatross", "Laysan Albatross", "Groove-billed Ani"]
    assert names_of_ticks(axes.yaxis) == names_of_ticks(axes.xaxis) == titles
    assert min(text.get_fontsize() for text in axes.get_yticklabels()) >= 6
    for asked in ("004.Groove_billed_Ani,laysan albatross", "3,2"):
        chosen = zslbench.plot("confusion", runs=tmp_path, classes=asked)
        assert {row["class"] for row in chosen.rows} == {2, 3}
    with pytest.raises(UnknownName, match="did you mean 'Groove-billed Ani'"):
        zslbench.plot("confusion", runs=tmp_path, classes="Groove-billed Any")


def test_two_matrices_whose_names_have_no_room_side_by_side_stand_below_each_other(tmp_path, monkeypatch):
    label = np.arange(12)
    for method in ("eszsl", "sae"):
        ResultStore(tmp_path).save(record(method, metrics={"T1": 1.0}), unseen_only(label, label))
    monkeypatch.setattr("zslbench.studies.plot.class_names", lambda *_: {c: f"A Long Name {c}" for c in range(12)})
    figure = zslbench.plot("confusion", runs=tmp_path)
    above, below = (axes.get_position() for axes in figure.axes)
    with settings():
        figure.figure.draw_without_rendering()
    above, below = (axes.get_position() for axes in figure.axes)
    assert above.y0 > below.y1
    assert all(names_of_ticks(axes.yaxis)[0] == "A Long Name 0" for axes in figure.axes)


def test_parameters_are_greek_on_axes_and_in_legends(tmp_path):
    records = [
        record(metrics={"T1": 0.5}, label=f"eszsl[gamma={g:g},lam={lam:g}]", params={"gamma": g, "lam": lam})
        for g in (0.1, 1.0)
        for lam in (2.0, 3.0)
    ]
    figure = zslbench.plot("sensitivity", runs=saved(tmp_path, records), parameter="gamma")
    assert figure.axes[0].get_xlabel() == "γ"
    assert all("λ=" in text and "lam" not in text for text in legend_of(figure))


def test_methods_that_count_epochs_and_iterations_have_axes_of_their_own(tmp_path):
    records = [
        record(method, metrics={"T1": 0.4}, curve={1: {"T1": 0.1}, 2: {"T1": 0.2}}, params={unit: 9})
        for method, unit in (("gazsl", "iterations"), ("lisgan", "epochs"))
    ]
    figure = zslbench.plot("stability", runs=saved(tmp_path, records))
    assert sorted(axes.get_xlabel() for axes in figure.axes) == ["epoch", "iteration"]
