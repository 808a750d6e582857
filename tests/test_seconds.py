"""Seconds of a record: what its result takes alone, shared work charged in full, by a clock that the tests move."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from result_records import record
from rich.console import Console

import zslbench
from zslbench.errors import BadValue
from zslbench.methods import fit_cache
from zslbench.methods.base import Context
from zslbench.methods.closed_form import eszsl
from zslbench.methods.generative import AdversarialMethod, final_classifiers, regularisers
from zslbench.results.records.watch import OK, Watcher
from zslbench.runner import progress_display as progress
from zslbench.runner.run_records import RunResult

TINY = "hidden=8,epochs=1,pretrain_epochs=1,per_class=3,final_epochs=1,soul_rows=2"
GAN = f"fclswgan[{TINY.removesuffix(',soul_rows=2')}]"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still unless a test moves it; nothing is remembered from earlier tests."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    fit_cache.clear_cache()
    return now


def slow(clock: list[float], seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes so long, and does what `call` does."""

    @functools.wraps(call)
    def slowly(*args: Any, **given: Any) -> Any:
        clock[0] += seconds
        return call(*args, **given)

    return slowly


def spent(records: Any) -> float:
    return sum(one.timings["total"] - one.timings["shared"] for one in records)


def test_each_point_of_a_grid_is_charged_with_the_factorization(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(eszsl, "feature_side", slow(clock, 10, eszsl.feature_side))
    monkeypatch.setattr(eszsl, "_feature_solution", slow(clock, 2, eszsl._feature_solution))
    grid = "eszsl[gamma=[1,10,100],lam=[1,2],preprocess=[none,standard]]"
    records = zslbench.run(grid, "digits", ["zsl", "gzsl"], runs=tmp_path).records
    assert len(records) == 24
    for one in records:
        assert (one.timings["factorize"], one.timings["fit"], one.timings["total"]) == (12, 12, 12)
        assert one.seconds_known
    assert spent(records) == clock[0] == 2 * (10 + 3 * 2)  # twice, by preprocess: one factorization, three solutions
    (alone,) = zslbench.run("eszsl[gamma=10,preprocess=standard]", "digits", "gzsl", runs=tmp_path / "alone").records
    assert (alone.timings["total"], alone.timings["shared"]) == (12, 0)


def test_a_method_that_rides_on_anothers_training_is_charged_with_it(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(AdversarialMethod, "fit", slow(clock, 30, AdversarialMethod.fit))
    monkeypatch.setattr(regularisers, "soul_samples", slow(clock, 5, regularisers.soul_samples))
    methods = [f"lisgan[{TINY}]", f"lisgan@S3[{TINY}]", f"lisgan@S3[{TINY},l_r1=0.02]"]
    records = zslbench.run(methods, "digits", "gzsl", runs=tmp_path).records
    assert [one.timings["fit"] for one in records] == [35, 35, 35]
    assert [one.timings["souls"] for one in records] == [5, 5, 5]
    assert [one.timings["shared"] for one in records] == [0, 35, 5]  # the last one trained, on souls that were there
    assert spent(records) == clock[0] == 65
    shown = zslbench.plot("pareto", runs=tmp_path).rows
    assert {row["seconds"] for row in shown} == {35}


@pytest.mark.parametrize("protocols", [("zsl", "gzsl"), ("gzsl", "zsl")], ids="+".join)
def test_the_line_of_a_fit_shows_its_seconds_once_whichever_query_came_first(tmp_path, clock, monkeypatch, protocols):
    monkeypatch.setattr(eszsl, "feature_side", slow(clock, 10, eszsl.feature_side))
    console = Console(file=io.StringIO(), width=200)
    records = zslbench.run("eszsl", "digits", protocols, runs=tmp_path, console=console).records
    shown = [line for line in console.file.getvalue().splitlines() if "(10.0 s" in line]
    assert [line.partition("(")[2] for line in shown] == ["10.0 s)"]
    assert [one.timings["shared"] for one in records] == [0, 10]
    assert spent(records) == clock[0]


def test_what_is_remembered_carries_the_seconds_that_it_took(clock):
    def ask(ctx: Context, number: float) -> None:
        with ctx.phase("souls"):
            fit_cache.cache_result(slow(clock, 4, lambda: None), "thing", {"x": np.full(2, number)}, ctx)

    contexts = [Context() for _ in range(3)]
    for ctx, number in zip(contexts, (1.0, 1.0, 2.0), strict=True):
        ask(ctx, number)
    assert [(ctx.seconds["souls"], ctx.shared) for ctx in contexts] == [(4, 0), (4, 4), (4, 0)]
    ask(contexts[2], 1.0)  # within one fit it adds up
    assert (contexts[2].seconds["souls"], contexts[2].shared) == (8, 4)


def test_seconds_of_seeds_at_once_are_no_ones_and_stay_out_of_comparisons(tmp_path):
    zslbench.run(GAN, "digits", "gzsl", seeds=2, runs=tmp_path, seeds_at_once="always")
    with pytest.raises(BadValue, match="several seeds at once have none"):
        zslbench.plot("pareto", runs=tmp_path)
    zslbench.run("eszsl", "digits", "gzsl", runs=tmp_path)
    shown = zslbench.plot("pareto", runs=tmp_path)
    assert {row["method"] for row in shown.rows} == {"eszsl"}
    assert "1 without timings of their own not drawn." in " ".join(shown.caption)
    known = {fit.label: fit.seconds is not None for fit in Watcher(tmp_path).look().find_ended(OK, 9)}
    assert known == {GAN: False, "eszsl": True}


def test_the_fit_of_seeds_at_once_holds_what_each_of_them_is_charged_with(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(final_classifiers, "train_softmax", slow(clock, 6, final_classifiers.train_softmax))
    zslbench.run(GAN, "digits", "gzsl", seeds=2, runs=tmp_path / "alone")
    together = zslbench.run(GAN, "digits", "gzsl", seeds=2, runs=tmp_path / "together", seeds_at_once="always").records
    assert [(one.timings["pretrain"], one.timings["fit"]) for one in together] == [(6, 6), (6, 6)]  # remembered


def test_a_grid_that_measures_nothing_tells_no_seconds_of_its_points(tmp_path):
    records = zslbench.run("toy_methods:Grid[ridge=[1,2]]", "digits", "zsl", runs=tmp_path).records
    assert [one.seconds_known for one in records] == [False, False]
    old = dataclasses.replace(record(), timings={"fit": 1.0, "total": 2.0}, provenance={"grid_points": 3})
    assert not old.seconds_known  # of an earlier version, which charged the first point with everything
    assert dataclasses.replace(old, provenance={}).seconds_known


def test_loading_a_library_is_no_part_of_the_first_fit(tmp_path, clock, monkeypatch):
    (tmp_path / "slowly_loaded.py").write_text("import builtins\nbuiltins.load_slowly()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.load_slowly", lambda: clock.__setitem__(0, clock[0] + 100), raising=False)
    monkeypatch.setattr("toy_methods.Ridge.libraries", ("slowly_loaded",))
    (one,) = zslbench.run("toy_methods:Ridge", "digits", "zsl", runs=tmp_path / "runs").records
    assert (clock[0], one.timings["total"]) == (100, 0)


def test_progress_says_how_much_was_shared():
    done = dataclasses.replace(record(metrics={"T1": 0.5}), timings={"total": 35.21, "shared": 35.1})
    assert progress.result_line([RunResult(done)]).endswith("(35.2 s, 35.1 s of them shared)")
    alone = dataclasses.replace(done, timings={"total": 35.21, "shared": 0.01})
    assert progress.result_line([RunResult(alone)]).endswith("(35.2 s)")


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="os.fork is missing: each method is to start without the others' libraries"
)
def test_no_library_is_loaded_while_the_clock_runs(tmp_path):
    """A fresh process forks one for a method of each family; only the clusters of LisGAN take scikit-learn."""
    script = tmp_path / "loads.py"
    script.write_text(LOADS, encoding="utf-8")
    families = ["eszsl", "sync", "dem[hidden=8,iterations=2]", f"lisgan[{TINY}]"]
    command = [sys.executable, str(script), str(tmp_path / "runs"), *families]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout or "{}") == {family: [] for family in families}, done.stderr


LOADS = """
import json, os, sys
import zslbench
from zslbench.runner import execute

def loaded_by(name):
    at_start = set()
    build, score = execute.build_method, execute.score_query
    def built(run):
        method = build(run)
        at_start.update(sys.modules)
        return method
    late = []
    def scored(*given):
        result = score(*given)
        late.extend(set(sys.modules) - at_start)
        return result
    execute.build_method, execute.score_query = built, scored
    (record,) = zslbench.run(name, "digits", "zsl", runs=sys.argv[1]).records
    assert record.status == "ok" and at_start, record.error
    late = sorted(name for name in late if name.split(".")[0] in ("sklearn", "scipy", "torch"))
    assert ("sklearn" in sys.modules) == name.startswith("lisgan"), "scikit-learn takes longer to load than most fits"
    return late if len(late) > 3 else []  # torch's optimiser imports a module of a few lines anyway

results = {}
for name in sys.argv[2:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "w") as file:
            json.dump(loaded_by(name), file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        results[name] = json.loads(file.read() or '["failed"]')
    os.wait()
print(json.dumps(results))
"""
