"""`plot features` and `plot souls`: the numbers drawn against known ones, and which classes, seeds and planes."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest
from result_records import record
from test_plots import FIRST, keep, unseen_only

import zslbench
from zslbench.errors import BadValue
from zslbench.results.plots.features import MADE, REAL, project
from zslbench.results.records.store import ResultStore


def save(store, method="lisgan", seed=0, right=(0.9, 0.5, 0.1), **facts):
    """Save a zsl record of classes that are recognised with the accuracies `right`, ten images of each."""
    label = np.repeat(np.arange(len(right)), 10)
    wrong = np.tile(np.arange(10), len(right)) >= 10 * np.repeat(right, 10)
    entry = record(method, "cub", "zsl", seed, {"T1": statistics.mean(right)}, **facts)
    store.save(entry, unseen_only(label, (label + wrong) % len(right)))
    return entry


def plane(rows):
    """The first two principal components by the eigenvectors of the covariance, signs apart."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, ::-1][:, :2], values[::-1][:2] / values.sum()


def points_of(figure, kind, name=None):
    rows = [row for row in figure.rows if row["kind"] == kind and name in (None, row["name"])]
    return np.array([[row["x"], row["y"]] for row in rows])


def test_points_are_the_principal_components_of_all_rows_together(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(5)
    first = keep(store, save(store, title="LisGAN"), rng)
    second = keep(store, save(store, "gazsl", title="GAZSL"), rng)
    figure = zslbench.plot("features", runs=tmp_path, classes="3,class 1", methods=["lisgan", "gazsl"], width="page")
    picked = [
        np.concatenate([np.flatnonzero(kept[f"{kind}_label"] == label) for label in (2, 0)])
        for kept, kind in ((first, REAL), (first, MADE), (second, MADE))
    ]
    rows = np.concatenate([first[REAL][picked[0]], first[MADE][picked[1]], second[MADE][picked[2]]])
    wanted, shares = plane(rows)
    real = points_of(figure, REAL, "LisGAN")
    drawn = np.concatenate([real, points_of(figure, MADE, "LisGAN"), points_of(figure, MADE, "GAZSL")])
    np.testing.assert_allclose(np.abs(drawn), np.abs(wanted), atol=1e-8)
    np.testing.assert_allclose(points_of(figure, REAL, "GAZSL"), real)  # one projection for both
    classes = [row["class"] for row in figure.rows if (row["kind"], row["name"]) == (REAL, "LisGAN")]
    assert classes == [3] * 10 + [1] * 10
    assert [axes.get_title() for axes in figure.axes] == ["LisGAN", "GAZSL"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_xlabel() == f"PC 1 ({100 * shares[0]:.0f} % of variance)"
    text = " ".join(figure.caption)
    assert "of every panel, together" in text
    assert "preprocess=minmax" in text
    assert "Classes as asked for; accuracy (zsl, mean over the methods): class 3 10 %, class 1 90 %." in text


def test_methods_in_different_spaces_have_planes_of_their_own(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(5)
    first = keep(store, save(store, title="A"), rng)
    second = keep(store, save(store, "gazsl", title="B"), rng, real=3 * first[REAL], space="standard")
    figure = zslbench.plot("features", runs=tmp_path, classes="1,2,3", width="page")
    for name, kept in (("A", first), ("B", second)):
        wanted, _ = plane(np.concatenate([kept[REAL], kept[MADE]]))
        drawn = np.concatenate([points_of(figure, kind, name) for kind in (REAL, MADE)])
        np.testing.assert_allclose(np.abs(drawn), np.abs(wanted), atol=1e-8)
    text = " ".join(figure.caption)
    assert "each panel has a projection of its own" in text
    assert "A: minmax; B: standard" in text


def test_classes_go_evenly_from_the_best_to_the_least_recognised(tmp_path):
    store = ResultStore(tmp_path)
    right = (0.3, 1.0, 0.0, 0.7, 0.5, 0.9, 0.2, 0.6, 0.1)
    keep(store, save(store, right=right), np.random.default_rng(0), classes=range(9))
    for asked, wanted in ((3, [1, 4, 2]), (1, [1]), (8, [1, 5, 3, 7, 4, 0, 6, 2])):
        figure = zslbench.plot("features", runs=tmp_path, classes=asked)
        assert list(dict.fromkeys(row["class"] - FIRST for row in figure.rows)) == wanted
    assert "class 2 100 %, class 6 90 %" in " ".join(figure.caption)
    assert len({row["class"] for row in zslbench.plot("features", runs=tmp_path).rows}) == 6


def test_the_lowest_seed_that_kept_features_is_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    save(store, seed=0)
    for seed in (2, 1):
        keep(store, save(store, seed=seed), rng)
    figure = zslbench.plot("features", runs=tmp_path)
    assert {row["seeds"] for row in figure.rows} == {"1"}
    assert "Seeds: 1 (n = 1)." in figure.caption
    save(store, "fclswgan", title="f-CLSWGAN")
    sentence = zslbench.plot("features", runs=tmp_path).caption[-1]
    assert "not drawn: f-CLSWGAN; make the first: `zslbench run -m fclswgan -d cub" in sentence


def test_a_method_that_kept_fewer_rows_sets_how_many_are_drawn(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    kept = keep(store, save(store), rng, rows=10)
    first = np.concatenate([np.flatnonzero(kept["real_label"] == label)[:4] for label in range(3)])
    keep(store, save(store, "gazsl"), rng, rows=4, real=kept[REAL][first])
    figure = zslbench.plot("features", runs=tmp_path)
    assert {len(points_of(figure, kind, name)) for kind in (REAL, MADE) for name in ("lisgan", "gazsl")} == {12}
    assert "of every panel, together" in figure.caption[0]


def test_five_methods_are_too_many(tmp_path):
    store, rng = ResultStore(tmp_path), np.random.default_rng(0)
    for name in "abcde":
        keep(store, save(store, name), rng)
    with pytest.raises(BadValue, match=r"up to 4 methods side by side, not 5 \(a, b, c, d, e\)"):
        zslbench.plot("features", runs=tmp_path)


@pytest.mark.parametrize("rows", [3, 60])
def test_tsne_is_the_same_each_time_and_keeps_groups_apart(rows):
    rng = np.random.default_rng(0)
    group = np.arange(rows) % 2
    wide = rng.normal(size=(rows, 80)) + 20 * group[:, None]
    first, second = (project(wide, "tsne").points for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (rows, 2)
    if rows == 60:
        away = np.linalg.norm(first[:, None] - first[None], axis=2) + np.where(np.eye(rows), np.inf, 0)
        assert (group[away.argmin(axis=1)] == group).all()


def test_rows_that_span_no_plane_are_refused():
    for rows in (np.ones((9, 4)), np.ones((2, 4)), np.arange(9.0)[:, None]):
        with pytest.raises(BadValue, match="span no plane"):
            project(rows, "pca")


def test_features_of_a_real_run(tmp_path):
    maker = "test_keep_features:Maker"
    zslbench.run(maker, "digits", "zsl", runs=tmp_path, keep_features=5)
    figure = zslbench.plot("features", tmp_path / "f.svg", runs=tmp_path)
    assert {row["class name"] for row in figure.rows} == {"three", "five", "seven"}
    assert len(figure.rows) == 2 * 3 * 5
    (entry,) = ResultStore(tmp_path).load()
    ResultStore(tmp_path).save(dataclasses.replace(entry, provenance={}), ResultStore(tmp_path).predictions(entry))
    with pytest.raises(BadValue, match=rf"zslbench run -m '?{maker}.*--keep-features 50 --rerun all"):
        zslbench.plot("features", runs=tmp_path)
