"""`plot losses`: what is drawn of the losses in records, against plain recomputation."""

from __future__ import annotations

import csv
import dataclasses
import statistics

import pytest
from result_records import record, saved
from test_plots import legend_of

import zslbench
from zslbench.errors import BadValue, UnknownName
from zslbench.results.plots.frame import settings


def with_losses(method, seed, values, steps=(1, 2, 4), protocol="zsl", **facts):
    entry = record(method, protocol=protocol, seed=seed, metrics={"T1": 0.4 + seed / 10}, **facts)
    return dataclasses.replace(entry, losses={"step": [*steps], "values": values})


LOSSES = {
    ("gazsl", 0): {"critic": [3.0, 1.0, -1.0], "l_r1": [0.5, None, 0.25]},
    ("gazsl", 1): {"critic": [5.0, 2.0, -2.0], "l_r1": [0.75, 0.5, 0.5]},
    ("lisgan", 0): {"critic": [4.0, 2.5, 1.5]},
}


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path, [with_losses(method, seed, values) for (method, seed), values in LOSSES.items()])


def test_a_panel_per_loss_has_mean_and_spread_over_seeds_where_every_seed_has_a_number(folder, tmp_path):
    figure = zslbench.plot("losses", runs=folder, data=tmp_path / "losses.csv")
    assert [axes.get_ylabel() for axes in figure.axes] == ["critic", "L_R1"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert legend_of(figure) == ["gazsl", "lisgan"]
    rows = {(row["name"], row["loss"], row["step"]): row for row in figure.rows}
    assert [key[2] for key in rows if key[:2] == ("gazsl", "l_r1")] == [1, 4]  # at 2 one seed has none
    for (name, loss, step), row in rows.items():
        values = [of[loss][(1, 2, 4).index(step)] for (method, _), of in LOSSES.items() if method == name]
        away = statistics.stdev(values) if len(values) > 1 else 0.0
        mean = statistics.mean(values)
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean, mean - away, mean + away))
        assert row["n"] == len(values)
    line = figure.axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 4], [4.0, 1.5, -1.5])
    with (tmp_path / "losses.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["mean"]) for row in written] == [row["mean"] for row in figure.rows]


@pytest.mark.parametrize("width", ["column", "page"])
def test_losses_stand_in_two_columns_their_legend_below_all_axes(tmp_path, width):
    losses = {name: [3.0, 2.0, 1.0] for name in ("critic", "penalty", "generator", "l_r1", "l_r2")}
    runs = saved(tmp_path, [with_losses("lisgan", 0, losses)])
    figure = zslbench.plot("losses", runs=runs, width=width)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 2)
    assert [axes.get_ylabel() for axes in figure.axes][-2:] == ["L_R1", "L_R2"]
    with settings():
        figure.figure.draw_without_rendering()
    (legend,) = figure.figure.legends
    lowest = min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert legend.get_window_extent().y1 <= lowest


def test_losses_are_chosen_by_name_whatever_its_case(folder):
    figure = zslbench.plot("losses", runs=folder, metrics=["Critic"])
    assert {row["loss"] for row in figure.rows} == {"critic"}
    with pytest.raises(UnknownName, match="unknown loss 'critik'; did you mean 'critic'"):
        zslbench.plot("losses", runs=folder, metrics=["critik"])


def test_a_positive_loss_that_falls_a_hundredfold_has_a_logarithmic_axis(tmp_path):
    runs = saved(tmp_path, [with_losses("sje", 0, {"loss": [9.0, 1.0, 0.01], "other": [9.0, 1.0, -0.01]})])
    figure = zslbench.plot("losses", runs=runs)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]


def test_iterations_and_epochs_have_panels_of_their_own_and_zsl_is_taken_where_both_protocols_ran(tmp_path):
    records = [
        with_losses(method, 0, {"loss": [3.0, 2.0, 1.0]}, protocol=protocol, params={unit: 4})
        for method, unit in (("dem", "iterations"), ("sje", "epochs"))
        for protocol in ("zsl", "gzsl")
    ]
    figure = zslbench.plot("losses", runs=saved(tmp_path, records))
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "iteration"]
    assert {row["protocol"] for row in figure.rows} == {"zsl"}


def test_without_losses_one_sentence_says_what_to_do(tmp_path):
    runs = saved(tmp_path, [record("eszsl"), record("lisgan", params={"epochs": 3})])
    with pytest.raises(
        BadValue, match=r"kept losses.*run such a method again, as in `zslbench run -m lisgan .* --rerun all"
    ):
        zslbench.plot("losses", runs=runs)


def test_methods_without_losses_are_named_below(folder):
    saved(folder, [record("eszsl", title="ESZSL")])
    figure = zslbench.plot("losses", runs=folder)
    assert "Without losses, and not drawn: ESZSL." in figure.caption


def test_the_report_draws_losses(folder, tmp_path):
    zslbench.report(tmp_path / "page.html", runs=folder)
    assert "Training losses" in (tmp_path / "page.html").read_text()
