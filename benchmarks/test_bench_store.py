"""Plan, claim, record: what a run costs beside its method. The issue asks for less than 50 ms a run."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import zslbench
from zslbench.methods.base import Array, Context, Method, MethodCard, Setting
from zslbench.params import param
from zslbench.results.records.leases import Leases
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.task import ClassTable, Train

POINTS, MOST_SECONDS = 50, 0.05
GRID = f"test_bench_store:Instant[point=[1..{POINTS}]]"


@dataclasses.dataclass(kw_only=True)
class Instant(Method):
    """Learns nothing, at once."""

    card: ClassVar[MethodCard] = MethodCard(
        title="Instant",
        summary="learns nothing",
        citation="none",
        reference="none",
        version=1,
        setting=Setting.INDUCTIVE,
        stochastic=False,
    )
    point: int = param(0, low=0, high=10**6)

    def fit(self, train: Train, ctx: Context) -> Self:
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return np.zeros((len(features), len(classes)), np.float32)


@pytest.mark.benchmark(group="beside the method, a run")
@pytest.mark.parametrize("what", ["planned, claimed, judged and recorded", "found to be done"])
def test_overhead_of_a_run(benchmark: BenchmarkFixture, tmp_path: Path, what: str) -> None:
    folders = iter(range(1000))
    zslbench.run(GRID, "digits", runs=tmp_path / "done")

    def study() -> float:
        folder = tmp_path / (f"runs{next(folders)}" if what.startswith("planned") else "done")
        began = time.perf_counter()
        outcome = zslbench.run(GRID, "digits", runs=folder)
        spent = time.perf_counter() - began
        assert len(outcome.records) == 2 * POINTS
        return spent / len(outcome.records)

    spent = benchmark.pedantic(study, rounds=3, warmup_rounds=1)
    benchmark.extra_info["ms a run"] = round(1000 * spent, 2)
    assert spent < MOST_SECONDS


@pytest.mark.benchmark(group="claims")
def test_claiming_and_releasing_many_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    ids = [f"{number:016x}" for number in range(1000)]

    def claim_all() -> None:
        with Leases(tmp_path) as claims:
            assert all(claims.take(one) for one in ids)
            claims.release(ids)

    benchmark.pedantic(claim_all, rounds=5)


@pytest.mark.benchmark(group="merge")
def test_merging_a_thousand_records(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    (made, *_) = zslbench.run("test_bench_store:Instant", "digits", runs=tmp_path / "one").records
    source = ResultStore(tmp_path / "source")
    for number in range(1000):
        one: Record = dataclasses.replace(made, id=f"{number:016x}")
        source.path(one).parent.mkdir(parents=True, exist_ok=True)
        source.path(one).write_text(one.to_json(), encoding="utf-8")
    targets = iter(range(1000))
    done = benchmark.pedantic(
        lambda: zslbench.results.merge(source.root, tmp_path / f"target{next(targets)}"), rounds=2
    )
    assert done.added == 1000
