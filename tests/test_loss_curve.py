"""Losses in the record: thinned by a rule, each run's its own, the same from every engine."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_methods import Ridge

import zslbench
from zslbench.errors import StoreError
from zslbench.loss_curve import MOST_NAMES, MOST_POINTS, LossCurve
from zslbench.methods.base import Context
from zslbench.params import param
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.runner.executors import worker
from zslbench.runner.run_records import Logged
from zslbench.task import Train

SMALL_GAN = "fclswgan[hidden=8,epochs=3,pretrain_epochs=1,per_class=3,final_epochs=1]"


@dataclasses.dataclass(kw_only=True)
class Logging(Ridge):
    """Logs `rounds` losses of 1 / round, and fails at the end where `fails`."""

    rounds: int = param(3, low=1, high=100_000, help="how often")
    fails: bool = param(False, help="at the end")

    def fit(self, train: Train, ctx: Context) -> Self:
        for step in range(1, self.rounds + 1):
            ctx.log(step, self.rounds, loss=1 / step, other=math.nan if step == 2 else float(step))
        if self.fails:
            raise RuntimeError("at the end")
        return super().fit(train, Context(ctx.seed))


@given(st.integers(1, 5000))
def test_first_and_last_stay_and_those_between_are_evenly_spaced(count: int) -> None:
    curve = LossCurve()
    for step in range(1, count + 1):
        curve.add(step, {"loss": step / 8})
    kept = curve.to_dict()
    steps = kept["step"]
    assert (steps[0], steps[-1]) == (1, count)
    assert kept["values"] == {"loss": [float(f"{step / 8:.6g}") for step in steps]}
    assert len(steps) <= MOST_POINTS
    assert len(steps) >= min(count, MOST_POINTS // 2)
    gaps = [after - before for before, after in itertools.pairwise(steps)]
    assert len(set(gaps[:-1])) <= 1
    assert not gaps or gaps[-1] <= gaps[0]


def test_whatever_a_method_logs_there_are_numbers_and_none() -> None:
    curve = LossCurve()
    curve.add(1, {"a": 1, "b": math.inf})
    curve.add(1, {"c": "0.5"})  # the same step: the same point
    curve.add("two", {"a": 2.0})  # type: ignore[arg-type]
    curve.add(-1, {"a": 2.0})
    curve.add(2, {"a": object(), "b": 1 / 3})
    assert curve.to_dict() == {
        "step": [1, 2],
        "values": {"a": [1.0, None], "b": [None, 0.333333], "c": [0.5, None]},
    }
    for number in range(MOST_NAMES * 2):
        curve.add(3, {f"loss {number}": 1.0})
    assert len(curve.to_dict()["values"]) == MOST_NAMES
    assert LossCurve().to_dict() == {}


def test_shared_work_brings_its_losses_to_each_that_is_charged() -> None:
    first, second = Context(), Context()
    with first.measured() as cost:
        first.log(1, 2, loss=0.5)
    first.log(2, 2, loss=0.25)
    second.charge(cost)
    assert first.losses.to_dict() == {"step": [1, 2], "values": {"loss": [0.5, 0.25]}}
    assert second.losses.to_dict() == {"step": [1], "values": {"loss": [0.5]}}


def test_the_record_has_them_and_so_has_its_file(tmp_path):
    outcome = zslbench.run("test_loss_curve:Logging[fails=[false,true]]", "digits", "zsl", runs=tmp_path)
    expected = {"step": [1, 2, 3], "values": {"loss": [1.0, 0.5, 0.333333], "other": [1.0, None, 3.0]}}
    assert {record.status: record.losses for record in outcome.records} == {"ok": expected, "failed": expected}
    assert {record.status: record.losses for record in ResultStore(tmp_path).load()} == {
        "ok": expected,
        "failed": expected,
    }


@pytest.mark.parametrize("engine", [None, "process"])
def test_every_engine_keeps_the_same_though_workers_pass_on_few(tmp_path, engine):
    engine = engine and zslbench.engine(engine, workers=1)
    (record,) = zslbench.run(
        "test_loss_curve:Logging[rounds=1000]", "digits", "zsl", runs=tmp_path, engine=engine
    ).records
    assert record.losses["step"] == [*range(1, 1000, 8), 1000]


def test_each_seed_that_was_trained_with_others_has_its_own(tmp_path):
    alone = zslbench.run(SMALL_GAN, "digits", "zsl", seeds=2, runs=tmp_path / "alone").records
    together = zslbench.run(SMALL_GAN, "digits", "zsl", seeds=2, runs=tmp_path / "both", seeds_at_once="always").records
    assert alone[0].losses != alone[1].losses
    for single, joint in zip(alone, together, strict=True):
        assert single.losses["step"] == joint.losses["step"] == [1, 2, 3]
        assert {"critic", "penalty", "generator"} <= single.losses["values"].keys()
        for name, values in single.losses["values"].items():
            assert joint.losses["values"][name] == pytest.approx(values, rel=0.02, abs=0.02)


def test_points_of_a_grid_that_share_a_training_share_its_losses(tmp_path):
    points = SMALL_GAN.replace("per_class=3", "per_class=[3,4],lr=[0.0001,0.001]")
    records = zslbench.run(points, "digits", "zsl", runs=tmp_path / "grid").records
    by_rate = {(record.method["params"]["lr"], json.dumps(record.losses)) for record in records}
    assert len(records) == 4
    assert sorted(rate for rate, _ in by_rate) == [0.0001, 0.001]
    (alone,) = zslbench.run(SMALL_GAN, "digits", "zsl", runs=tmp_path / "alone").records
    assert (0.0001, json.dumps(alone.losses)) in by_rate


def test_a_document_whose_losses_are_wrong_is_refused_and_an_old_one_is_read(tmp_path):
    (record,) = zslbench.run("eszsl", "digits", "zsl", runs=tmp_path).records
    document = json.loads(record.to_json())
    assert document.pop("losses") == {}
    assert Record.from_json(json.dumps(document)) == record
    for losses, why in (
        ({"step": [1], "values": {"loss": [1.0, 2.0]}}, "losses.values.loss has 2 values for 1 steps"),
        ({"step": [1] * 201}, "not a list of at most 200"),
        ({"step": [0.5]}, r"losses.step\[0\] is 0.5, not a whole number"),
        ({"step": [1], "values": {"loss": ["x"]}}, r"losses.values.loss\[0\] is \"x\", not a number"),
        ([], "losses is .*, not an object"),
    ):
        with pytest.raises(StoreError, match=why):
            Record.from_json(json.dumps(document | {"losses": losses}))


def test_what_is_no_number_fails_no_run_in_a_worker(monkeypatch):
    logged = {"loss": np.float32(0.5), "note": "warming up", "image": np.zeros(2)}
    monkeypatch.setattr(worker, "execute", lambda parcel, send, every: send(Logged("job", 1, 2, logged)))
    sent = []
    worker.run_batch_in_worker(None, sent.append)
    assert sent == [Logged("job", 1, 2, {"loss": 0.5})]
