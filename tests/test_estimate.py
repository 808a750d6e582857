"""Dry runs: what they count, and how long they say that the rest takes."""

from __future__ import annotations

import dataclasses

import pytest
from result_records import record

import zslbench
from zslbench import params
from zslbench.commands import screen
from zslbench.data.loading import load_dataset
from zslbench.methods.base import Size
from zslbench.methods.closed_form.eszsl import ESZSL
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.networks.dem import DEM
from zslbench.runner.estimate import Estimate, estimate
from zslbench.runner.jobs import group_into_batches
from zslbench.runner.plan import RunOptions, plan

RIDGE = "toy_methods:Ridge"
DATA = load_dataset("digits")
SIZE = Size(len(DATA.trainval), DATA.features.shape[1], DATA.semantics.shape[1], len(DATA.seen))
GAN = "fclswgan[hidden=64]"
WGAN = {**params.current_values(FCLSWGAN()), "hidden": 64}
COST = FCLSWGAN(hidden=64).cost(SIZE)


def known(method: str, values: dict[str, object], fit: float, own: float, work: float | None = None, **facts: object):
    data = {"dataset": "digits", "fingerprint": DATA.fingerprint} | facts
    timings = {"data": 1.0, "fit": fit - 1.0, "scores": own / 4, "evaluation": own * 3 / 4, "total": fit + own}
    made = record(method, params=values, **data)
    provenance = {} if work is None else {"work": work}
    return dataclasses.replace(made, timings=timings | {"shared": 0.0}, provenance=provenance)


def ridge(value: float) -> dict[str, object]:
    return {"ridge": value, "epochs": 4}


def asked(*methods: str, seeds: tuple[int, ...] = (0,), together: bool = False):
    runs = plan(RunOptions(methods, ["digits"], ["zsl", "gzsl"], seeds=seeds)).runs
    return group_into_batches(runs, seeds_at_once=together)


def test_records_of_the_same_run_tell_and_a_fit_counts_once_for_both_protocols():
    same = [known(RIDGE, ridge(1.0), 10.0, 2.0, seed=seed, protocol=p) for seed in (1, 2) for p in ("zsl", "gzsl")]
    others = [
        known(RIDGE, ridge(9.0), 50.0, 4.0),
        known(RIDGE, ridge(1.0), 50.0, 4.0, fingerprint="0" * 16),
        known(RIDGE, ridge(1.0), 50.0, 4.0, stage="dev", fold=1),
        dataclasses.replace(same[0], status="failed", timings={"total": 1e9}),
    ]
    assert estimate(asked(RIDGE), [*others, *same]) == Estimate(10 + 2 * 2, 2, 0, {})
    assert estimate(asked(RIDGE), others).unknown == {RIDGE: 2}  # it declares no cost, so nothing is comparable
    assert estimate(asked(f"{RIDGE}[ridge=[1,2]]", "sae"), same, 2) == Estimate(7.0, 2, 0, {RIDGE: 2, "sae": 2}, 2)


@pytest.mark.parametrize(("hidden", "times"), [(64, 1), (4096, 64)])
def test_another_size_of_network_is_scaled_by_its_cost(hidden, times):
    small = known("fclswgan", WGAN | {"lr": 0.1}, 20.0, 1.0, COST)
    assert estimate(asked(f"fclswgan[hidden={hidden}]"), [small]) == Estimate(20 * times + 2 * 1, 0, 2, {})
    silent = dataclasses.replace(small, provenance={})  # of an earlier version: what it cost is not recorded
    assert estimate(asked(f"fclswgan[hidden={hidden}]"), [silent]).unknown == {"fclswgan": 2}


def test_other_data_is_scaled_too_and_the_same_data_goes_first():
    elsewhere = known("fclswgan", WGAN, 20.0, 1.0, 10 * COST, dataset="cub", fingerprint="0" * 16)
    assert estimate(asked(GAN), [elsewhere]).seconds == pytest.approx(2 + 2 * 0.1)
    here = known("fclswgan", WGAN | {"lr": 0.1}, 30.0, 1.0, COST)
    assert estimate(asked(GAN), [elsewhere, here]).seconds == pytest.approx(30 + 2)


def test_declared_costs_follow_units_rows_and_epochs():
    size = Size(images=7057, features=2048, semantics=312, classes=150)
    gan = FCLSWGAN(hidden=512, epochs=10).cost(size)
    assert FCLSWGAN(hidden=1024, epochs=10).cost(size) == 2 * gan
    assert FCLSWGAN(hidden=512, epochs=30).cost(size) == 3 * gan
    assert FCLSWGAN(hidden=512, epochs=10, lr=0.01, per_class=7).cost(size) == gan
    souls = [LisGAN(hidden=512, epochs=10, soul_classes=some).cost(size) for some in (0, 50)]
    rows = 6 * 64  # five critic steps and a generator step; L_R2 makes 20 fakes of each class besides
    assert [value / gan for value in souls] == pytest.approx([(rows + 20 * 150) / rows, (rows + 20 * 50) / rows])
    deep = LisGAN(hidden=512, epochs=10, l_r2=0.0, critic_layers=2).cost(size)
    assert deep / gan == pytest.approx((2048 + 312 + 512) / (2048 + 312))  # a batch meets 512 × 512 weights more
    assert DEM(iterations=3000).cost(size) == 2 * DEM(iterations=1500).cost(size)
    wide = dataclasses.replace(size, images=1000)  # then the Gram matrix is of the images
    assert ESZSL().cost(wide) == 1000 * 2048 * 1000 + 1000**3
    assert ESZSL().cost(size) == 7057 * 2048**2 + 2048**3


def test_points_of_a_grid_after_the_first_take_what_they_did_not_share():
    records = []
    for gamma, shared in enumerate((0.0, 8.0, 8.0)):
        plain = known("eszsl", {"gamma": float(gamma)}, 10.0, 0.0, ESZSL().cost(SIZE), protocol="zsl")
        facts = plain.provenance | {"grid_points": 3}
        records.append(dataclasses.replace(plain, timings=plain.timings | {"shared": shared}, provenance=facts))
    assert estimate(asked("eszsl"), records).seconds == pytest.approx(10)
    assert estimate(asked("eszsl[gamma=[1,10,100]]"), records).seconds == pytest.approx(10 + 2 * (10 + 2 + 2) / 3)


def test_seeds_at_once_and_single_fits_tell_nothing_of_each_other():
    single = known("fclswgan", WGAN, 20.0, 1.0, COST)
    timings = {"fit": 3.0, "scores": 1.0, "total": 4.0}
    batched = dataclasses.replace(single, timings=timings, provenance={"work": COST, "seeds_at_once": 2})
    apart, together = (asked(GAN, seeds=(0, 1), together=flag) for flag in (False, True))
    assert estimate(apart, [single, batched]).seconds == 2 * (20 + 2)
    assert estimate(together, [single, batched]).seconds == 2 * (3 + 2)
    assert estimate(apart, [batched]).unknown == {"fclswgan": 4}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Estimate(), "nothing is left to do"),
        (Estimate(unknown={"sae": 2}), "unknown, nothing comparable was run (2 of sae)"),
        (Estimate(7260, 3), "about 2 h 1 min for 3 runs (3 by records of the same method, parameters and data)"),
        (
            Estimate(600, 3, 4, {"sae": 2, "dem": 1}, 2),
            "about 10 min with 2 workers for 7 runs (3 by records of the same method, parameters and data, 4 scaled "
            "from other records of the method); unknown for 2 of sae, 1 of dem, nothing comparable was run",
        ),
    ],
)
def test_what_an_estimate_says(found, told):
    assert str(found) == told


def test_a_dry_run_learns_from_what_is_done(tmp_path, capsys):
    zslbench.run(RIDGE, "digits", "zsl", seeds=2, runs=tmp_path)
    dry = {"runs": tmp_path, "dry_run": True}
    outcome = zslbench.run(RIDGE, "digits", "zsl", seeds=5, **dry)
    assert (outcome.estimate.same, outcome.estimate.runs) == (3, 3)
    screen.show_outcome(outcome)
    out = capsys.readouterr().out
    assert "5 runs (2 done, 3 to run), 3 to do; nothing was run." in out
    assert "time: about 1 s for 3 runs (3 by records of the same method, parameters and data)" in out
    assert zslbench.run(RIDGE, "digits", "zsl", seeds=5, rerun="all", **dry).estimate.runs == 5
    zslbench.run("eszsl", "digits", "zsl", runs=tmp_path)
    other = zslbench.run("eszsl[gamma=[1,10]]", "digits", "zsl", **dry).estimate
    assert (other.same, other.scaled, other.unknown) == (0, 2, {})


def test_a_large_dry_run_is_told_by_method_and_data_set(tmp_path, capsys):
    outcome = zslbench.run([RIDGE, "sae"], ["digits", "synthetic"], seeds=30, runs=tmp_path, dry_run=True)
    screen.show_outcome(outcome)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", "digits", "synthetic"] in lines
    assert [RIDGE, "60", "to", "run", "60", "to", "run"] in lines
    assert ["sae", "2", "to", "run", "2", "to", "run"] in lines
