"""`plot features` and `plot souls`: the numbers drawn against known ones, and which classes, seeds and planes."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest
from result_records import record
from test_plots import keep, predictions

import zslbench
from zslbench.errors import BadValue
from zslbench.results.plots.features import MADE, REAL, project
from zslbench.results.records.store import ResultStore


def saved(store, method="lisgan", seed=0, right=(0.9, 0.5, 0.1), **more):
    """Save a zsl record of classes that are recognised with the accuracies `right`, ten images of each."""
    label = np.repeat(np.arange(len(right)), 10)
    taken = np.concatenate(
        [np.where(np.arange(10) < 10 * part, i, (i + 1) % len(right)) for i, part in enumerate(right)]
    )
    there = predictions(np.random.default_rng(0), protocol="zsl") | {"row": np.arange(len(label)), "label": label}
    there |= {
        "of_unseen": label >= 0,
        "seen_score": np.full(len(label), -np.inf),
        "seen_class": np.full(len(label), -1),
    }
    there |= {"unseen_score": np.ones(len(label)), "unseen_class": taken}
    one = record(method, "cub", "zsl", seed, {"T1": statistics.mean(right)}, **more)
    store.save(one, there)
    return one


FIRST = 1
"""What the labels of a catalogued data set number the first class; figures call classes by these numbers."""


def plane(rows):
    """The first two principal components by the eigenvectors of the covariance, signs apart."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, ::-1][:, :2], values[::-1][:2] / values.sum()


def of(found, kind, name=None):
    rows = [row for row in found.rows if row["kind"] == kind and name in (None, row["name"])]
    return np.array([[row["x"], row["y"]] for row in rows]), [row["class"] - FIRST for row in rows]


def test_points_are_the_principal_components_of_all_rows_together(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(5)
    first = keep(store, saved(store, title="LisGAN"), rng)
    second = keep(store, saved(store, "gazsl", title="GAZSL"), rng)
    found = zslbench.plot("features", runs=tmp_path, classes="3,class 1", methods=["lisgan", "gazsl"], width="page")
    picked = [
        np.concatenate([np.flatnonzero(there[f"{kind}_label"] == label) for label in (2, 0)])
        for there, kind in ((first, REAL), (first, MADE), (second, MADE))
    ]
    rows = np.concatenate([first[REAL][picked[0]], first[MADE][picked[1]], second[MADE][picked[2]]])
    wanted, shares = plane(rows)
    real, labels = of(found, REAL, "LisGAN")
    drawn = np.concatenate([real, of(found, MADE, "LisGAN")[0], of(found, MADE, "GAZSL")[0]])
    np.testing.assert_allclose(np.abs(drawn), np.abs(wanted), atol=1e-8)
    np.testing.assert_allclose(of(found, REAL, "GAZSL")[0], real)  # one projection for both
    assert labels == [2] * 10 + [0] * 10
    assert [axes.get_title() for axes in found.axes] == ["LisGAN", "GAZSL"]
    assert found.axes[0].get_xlim() == found.axes[1].get_xlim()
    assert found.axes[0].get_xlabel() == f"PC 1 ({100 * shares[0]:.0f} % of variance)"
    text = " ".join(found.caption)
    assert "of every panel, together" in text
    assert "preprocess=minmax" in text
    assert "Classes as asked for; accuracy (zsl, mean over the methods): class 3 10 %, class 1 90 %." in text


def test_methods_in_different_spaces_have_planes_of_their_own(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(5)
    first = keep(store, saved(store, title="A"), rng)
    second = keep(store, saved(store, "gazsl", title="B"), rng, real=3 * first[REAL], space="standard")
    found = zslbench.plot("features", runs=tmp_path, classes="1,2,3", width="page")
    for name, there in (("A", first), ("B", second)):
        wanted, _ = plane(np.concatenate([there[REAL], there[MADE]]))
        drawn = np.concatenate([of(found, kind, name)[0] for kind in (REAL, MADE)])
        np.testing.assert_allclose(np.abs(drawn), np.abs(wanted), atol=1e-8)
    text = " ".join(found.caption)
    assert "each panel has a projection of its own" in text
    assert "A: minmax; B: standard" in text


def test_classes_go_evenly_from_the_best_to_the_least_recognised(tmp_path):
    store = ResultStore(tmp_path)
    right = (0.3, 1.0, 0.0, 0.7, 0.5, 0.9, 0.2, 0.6, 0.1)
    keep(store, saved(store, right=right), np.random.default_rng(0), classes=range(9))
    for asked, wanted in ((3, [1, 4, 2]), (1, [1]), (9, [1, 5, 3, 7, 4, 0, 6, 8, 2])):
        found = zslbench.plot("features", runs=tmp_path, classes=asked)
        assert list(dict.fromkeys(row["class"] - FIRST for row in found.rows)) == wanted
    assert "class 2 100 %, class 6 90 %" in " ".join(found.caption)
    assert len({row["class"] for row in zslbench.plot("features", runs=tmp_path).rows}) == 6


def test_the_lowest_seed_that_kept_features_is_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    saved(store, seed=0)
    for seed in (2, 1):
        keep(store, saved(store, seed=seed), rng)
    found = zslbench.plot("features", runs=tmp_path)
    assert {row["seeds"] for row in found.rows} == {"1"}
    assert "Seeds: 1 (n = 1)." in found.caption
    saved(store, "fclswgan", title="f-CLSWGAN")
    said = zslbench.plot("features", runs=tmp_path).caption[-1]
    assert "not drawn: f-CLSWGAN; make the first: `zslbench run -m fclswgan -d cub" in said


def test_a_method_that_kept_fewer_rows_sets_how_many_are_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    there = keep(store, saved(store), rng, rows=10)
    first = np.concatenate([np.flatnonzero(there["real_label"] == label)[:4] for label in range(3)])
    keep(store, saved(store, "gazsl"), rng, rows=4, real=there[REAL][first])
    found = zslbench.plot("features", runs=tmp_path)
    assert {len(of(found, kind, name)[0]) for kind in (REAL, MADE) for name in ("lisgan", "gazsl")} == {12}
    assert "of every panel, together" in found.caption[0]


def test_five_methods_are_too_many(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    for name in "abcde":
        keep(store, saved(store, name), rng)
    with pytest.raises(BadValue, match=r"up to 4 methods side by side, not 5 \(a, b, c, d, e\)"):
        zslbench.plot("features", runs=tmp_path)


@pytest.mark.parametrize("rows", [3, 8, 200])
def test_tsne_is_the_same_each_time_and_keeps_groups_apart(rows):
    rng = np.random.default_rng(0)
    group = np.arange(rows) % 2
    wide = rng.normal(size=(rows, 80)) + 20 * group[:, None]
    first, second = (project(wide, "tsne").points for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (rows, 2)
    if rows == 200:
        away = np.linalg.norm(first[:, None] - first[None], axis=2) + np.where(np.eye(rows), np.inf, 0)
        assert (group[away.argmin(axis=1)] == group).all()


def test_rows_that_span_no_plane_are_refused():
    for rows in (np.ones((9, 4)), np.ones((2, 4)), np.arange(9.0)[:, None]):
        with pytest.raises(BadValue, match="span no plane"):
            project(rows, "pca")


def test_souls_is_sensitivity_to_their_number(tmp_path):
    for souls in (1, 10, 3):
        for seed in range(3):
            facts = {"title": "LisGAN", "label": f"lisgan[souls={souls}]", "params": {"souls": souls}}
            metrics = {"T1": (souls + seed**2) / 20}
            ResultStore(tmp_path).save(record("lisgan", metrics=metrics, seed=seed, **facts))
    ResultStore(tmp_path).save(record("eszsl", metrics={"T1": 0.5}, params={"gamma": 1.0}))
    found = zslbench.plot("souls", runs=tmp_path)
    assert [(row["value"], row["n"]) for row in found.rows] == [("1", 3), ("3", 3), ("10", 3)]
    for row in found.rows:
        values = [5 * (int(row["value"]) + seed**2) for seed in range(3)]
        away = statistics.stdev(values)
        assert (row["mean"], row["low"]) == pytest.approx((statistics.mean(values), statistics.mean(values) - away))
    (axes,) = found.axes
    assert axes.get_xscale() == "linear"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "3", "10"]
    assert axes.get_xlabel() == "soul samples per class"
    same = zslbench.plot("sensitivity", runs=tmp_path, parameter="souls", methods=["lisgan"])
    assert [dict(row) for row in same.rows] == [dict(row) for row in found.rows]


def test_features_of_a_real_run(tmp_path):
    tiny = "hidden=8,epochs=1,pretrain_epochs=1,final_epochs=1,per_class=4"
    zslbench.run(f"fclswgan[{tiny}]", "digits", runs=tmp_path, keep_features=5)
    found = zslbench.plot("features", tmp_path / "f.svg", runs=tmp_path)
    assert {row["class name"] for row in found.rows} == {"three", "five", "seven"}
    assert len(found.rows) == 2 * 3 * 5
    assert {row["protocol"] for row in found.rows} == {"zsl"}
    one = next(one for one in ResultStore(tmp_path).load() if one.protocol["name"] == "zsl")
    ResultStore(tmp_path).save(dataclasses.replace(one, provenance={}), ResultStore(tmp_path).predictions(one))
    with pytest.raises(BadValue, match=r"zslbench run -m 'fclswgan\[.*--keep-features 50 --rerun all"):
        zslbench.plot("features", runs=tmp_path, protocols=["zsl"])
