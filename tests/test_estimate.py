"""Dry runs: what they count, and how long they say that the rest takes."""

from __future__ import annotations

import dataclasses

import pytest
from result_records import record

import zslbench
from zslbench import screen
from zslbench.runner.estimate import Estimate, estimate
from zslbench.runner.jobs import batches, jobs
from zslbench.runner.plan import plan

RIDGE = "toy_methods:Ridge"


def known(ridge: float, dataset: str, fit: float, own: float, protocol: str = "zsl", **facts: object):
    timings = {"data": 1.0, "fit": fit - 1.0, "scores": own / 4, "evaluation": own * 3 / 4, "total": fit + own}
    made = record(RIDGE, dataset, protocol, params={"ridge": ridge, "epochs": 4}, **facts)
    return dataclasses.replace(made, timings=timings)


def asked(*methods: str):
    return batches(jobs(plan(methods, ["digits"], ["zsl", "gzsl"]).runs))


def test_the_nearest_records_tell_and_a_fit_counts_once_for_both_protocols():
    elsewhere = known(1.0, "cub", 100.0, 8.0)
    other = known(9.0, "digits", 50.0, 4.0)
    same = [known(1.0, "digits", 10.0, 2.0, seed=seed, protocol=p) for seed in (1, 2) for p in ("zsl", "gzsl")]
    failed = dataclasses.replace(same[0], status="failed", timings={"total": 1e9})
    assert estimate(asked(RIDGE), [elsewhere]) == Estimate(100 + 2 * 8, 0, 2, {})
    assert estimate(asked(RIDGE), [elsewhere, other]) == Estimate(50 + 2 * 4, 2, 0, {})
    assert estimate(asked(RIDGE), [elsewhere, other, *same, failed]) == Estimate(10 + 2 * 2, 2, 0, {})
    assert estimate(asked(f"{RIDGE}[ridge=[1,2]]"), [other, *same], workers=2) == Estimate(
        (10 + 2 * 2 + (50 + 4 * 10) / 5 + 2 * (4 + 4 * 2) / 5) / 2, 4, 0, {}, 2
    )
    assert estimate(asked(RIDGE, "sae"), same).unknown == {"sae": 2}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Estimate(0, 0, 0, {}), "nothing is left to do"),
        (Estimate(0, 0, 0, {"sae": 2}), "no earlier record tells how long they take (2 of sae)"),
        (Estimate(7260, 3, 0, {}), "about 2 h 1 min for 3 runs (3 by records of the same method and data set)"),
        (
            Estimate(600, 3, 4, {"sae": 2, "dem": 1}, 2),
            "about 10 min with 2 workers for 7 runs (3 by records of the same method and data set, 4 by those of the "
            "same method on other data); nothing is known of 2 of sae, 1 of dem",
        ),
    ],
)
def test_what_an_estimate_says(found, told):
    assert str(found) == told


def test_a_dry_run_learns_from_what_is_done(tmp_path, capsys):
    zslbench.run(RIDGE, "digits", "zsl", seeds=2, runs=tmp_path)
    outcome = zslbench.run(RIDGE, "digits", "zsl", seeds=5, runs=tmp_path, dry_run=True)
    assert (outcome.estimate.same, outcome.estimate.runs) == (3, 3)
    screen.show_outcome(outcome, True, tmp_path)
    out = capsys.readouterr().out
    assert "5 runs (2 done, 3 to run), 3 to do; nothing was run." in out
    assert "time: about a second for 3 runs (3 by records of the same method and data set)" in out
    again = zslbench.run(RIDGE, "digits", "zsl", seeds=5, runs=tmp_path, dry_run=True, rerun="all")
    assert again.estimate.runs == 5


def test_a_large_dry_run_is_told_by_method_and_data_set(tmp_path, capsys):
    outcome = zslbench.run([RIDGE, "sae"], ["digits", "synthetic"], seeds=30, runs=tmp_path, dry_run=True)
    screen.show_outcome(outcome, True, tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", "digits", "synthetic"] in lines
    assert [RIDGE, "60", "to", "run", "60", "to", "run"] in lines
    assert ["sae", "2", "to", "run", "2", "to", "run"] in lines
