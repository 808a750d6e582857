"""The runner: plans, one fit for several protocols, records, repeats, faults, interruption."""

from __future__ import annotations

import numpy as np
import pytest
import spied
import torch
import toy_methods
from toy_methods import Grid, Ridge

import zslbench
from zslbench.data.loading import load_dataset
from zslbench.errors import BadValue, StoreError, UnknownName
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.protocols.gzsl import GZSL
from zslbench.results.records.store import ResultStore
from zslbench.runner import execute, resources
from zslbench.runner import plan as planning
from zslbench.runner.jobs import RunConditions, group_into_batches
from zslbench.runner.plan import RunGroup, RunOptions, plan

RIDGE = "toy_methods:Ridge"


@pytest.fixture(autouse=True)
def _fresh_toys(monkeypatch):
    monkeypatch.setattr(Ridge, "fits", [])
    monkeypatch.setattr(Ridge, "hook", None)
    monkeypatch.setattr(spied.NOWHERE, "asked", [])
    monkeypatch.setattr(Grid, "shared", [])


def plan_runs(*methods, protocols="zsl", datasets="digits", **options):
    return plan(RunOptions(methods, datasets, protocols, **options)).runs


BOTH = ("zsl", "gzsl")


def test_grids_seeds_and_protocols_multiply_and_repeats_vanish():
    planned = plan_runs(f"{RIDGE}[ridge=[1,2]]", RIDGE, protocols=BOTH, seeds=[0, 5])
    assert len(planned) == 2 * 2 * 2
    assert {run.label for run in planned} == {RIDGE, f"{RIDGE}[ridge=2]"}
    assert len(group_into_batches(planned)) == 4


def test_methods_without_randomness_are_planned_once():
    planned = plan(RunOptions(["toy_methods:Closed"], ["digits"], ["zsl"], seeds=[3, 4]))
    assert [run.seed for run in planned.runs] == [0]  # whichever seed is asked for, it is the same run
    assert planned.unseeded == ("toy_methods:Closed",)


def test_presets_lie_under_explicit_values_and_may_differ_by_protocol():
    planned = plan_runs(f"{RIDGE}@cells", protocols=BOTH)
    assert [run.params["ridge"] for run in planned] == [3.0, 4.0]
    assert len(group_into_batches(planned)) == 2
    assert {run.label for run in planned} == {f"{RIDGE}@cells"}
    (explicit,) = plan_runs(f"{RIDGE}@both@weak[ridge=7,epochs=4]")
    assert explicit.params == {"ridge": 7.0, "epochs": 4}
    assert explicit.label == f"{RIDGE}@both@weak[ridge=7]"


@pytest.mark.parametrize(
    ("method", "error", "sentence"),
    [
        (f"{RIDGE}@elsewhere", BadValue, "has no values for data set 'digits' under 'zsl'; it has: cub/zsl"),
        (f"{RIDGE}@nothing", BadValue, "unknown preset 'nothing'.*it has: both, cells, elsewhere, weak"),
        (f"{RIDGE}[rigde=1]", UnknownName, "did you mean 'ridge'"),
        (f"{RIDGE}[ridge=-1]", BadValue, "a number from 0 to 1e\\+06"),
        ("collections:Counter", BadValue, "is not a method"),
    ],
)
def test_wrong_methods_get_a_sentence(method, error, sentence):
    with pytest.raises(error, match=sentence):
        plan_runs(method)


def test_an_ablation_takes_away_from_a_preset_in_either_order():
    first, second, alone = (plan_runs(f"lisgan{tags}")[0] for tags in ("@S1@paper", "@paper@S1", "@paper"))
    assert first.id == second.id != alone.id
    assert first.label == second.label == "lisgan@paper@S1"
    assert first.params["cascade"] == "off"
    assert first.params["l_r1"] == first.params["cls_weight"] == 0


def test_one_thing_has_one_id_however_it_is_written():
    protocols = ["gzsl", "GZSL", "zslbench.protocols.gzsl:GZSL"]
    (run,) = plan_runs(
        "eszsl", "ESZSL", "zslbench.methods.closed_form.eszsl:ESZSL", "eszsl[gamma=1e3]", protocols=protocols
    )
    assert (run.method, run.label, run.protocol) == ("eszsl", "eszsl", "gzsl")
    assert len(plan_runs(*(f"lisgan[cls_weight={zero}]" for zero in ("0.0", "-0.0")))) == 1
    assert len(plan_runs(RIDGE, f"{RIDGE}[ridge=1.0]", f"{RIDGE}[ridge=2]", seeds=[0, 1])) == 4
    assert {run.id for run in plan_runs(RIDGE, stage="dev")}.isdisjoint(run.id for run in plan_runs(RIDGE))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Abstract", "cannot be made with these parameters"),
        ("Odd", "parameter when is declared as"),
        ("Moody", "cannot be made with these parameters .I do not like digits"),
    ],
)
def test_a_method_that_is_not_finished_is_refused_before_any_work(runs, name, sentence):
    with pytest.raises(BadValue, match=sentence):
        zslbench.run([f"toy_methods:{name}", RIDGE], "digits", runs=runs)
    assert Ridge.fits == []


def test_a_method_that_exits_is_a_failed_run(runs):
    outcome = zslbench.run(["toy_methods:Quitter", RIDGE], "digits", "zsl", runs=runs)
    assert [record.status for record in outcome.records] == ["failed", "ok"]


def test_one_fit_serves_both_protocols_and_is_not_repeated(runs):
    outcome = zslbench.run(RIDGE, "digits", runs=runs)
    assert Ridge.fits == [0]
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    again = zslbench.run(RIDGE, "digits", runs=runs)
    assert Ridge.fits == [0]
    assert again.records == outcome.records
    zslbench.run(RIDGE, "digits", runs=runs, rerun="all")
    assert Ridge.fits == [0, 0]


def test_a_new_protocol_of_a_finished_fit_is_run_alone(runs):
    dry = zslbench.run(RIDGE, "digits", runs=runs, dry_run=True)
    assert (dry.count("to run"), runs.exists()) == (2, False)
    zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    outcome = zslbench.run(RIDGE, "digits", runs=runs)
    assert [state for _, state in outcome.states_before].count("done") == 1
    assert Ridge.fits == [0, 0]


def test_kept_predictions_give_the_recorded_metrics_again(runs):
    outcome = zslbench.run(RIDGE, "digits", "gzsl", runs=runs)
    (record,) = outcome.records
    predictions = ResultStore(runs).predictions(record)
    assert GZSL().metrics(predictions) == dict(record.metrics)
    dataset = load_dataset("digits")
    np.testing.assert_array_equal(predictions["label"], dataset.labels[predictions["row"]])
    assert set(predictions["row"]) == set(dataset.test_seen) | set(dataset.test_unseen)


def test_a_method_that_raises_makes_a_failed_record_and_the_rest_go_on(runs, monkeypatch):
    methods = ["toy_methods:Broken", RIDGE]
    outcome = zslbench.run(methods, "digits", runs=runs)
    assert [record.status for record in outcome.records] == ["failed", "failed", "ok", "ok"]
    assert "RuntimeError: no convergence" in outcome.failed[0].error
    assert "Traceback" in outcome.failed[0].error
    again = zslbench.run(methods, "digits", runs=runs)
    before = [state for _, state in again.states_before]
    assert (before.count("failed"), before.count("done")) == (2, 2)
    assert Ridge.fits == [0]
    monkeypatch.setattr(toy_methods.Broken, "fit", Ridge.fit)
    assert not zslbench.run(methods, "digits", runs=runs, rerun="failed").failed
    assert Ridge.fits == [0, 0]  # those, and no others


def test_a_fault_in_one_protocol_spares_the_other(runs):
    outcome = zslbench.run("toy_methods:HalfBroken", "digits", runs=runs)
    assert [record.status for record in outcome.records] == ["ok", "failed"]
    assert "1 scores that are NaN" in outcome.failed[0].error


@pytest.fixture
def interrupted(monkeypatch):
    """The second fit of a Ridge is interrupted."""

    def hook(method):
        if len(Ridge.fits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ridge, "hook", staticmethod(hook))


def test_interruption_keeps_what_is_done_and_the_next_run_completes(runs, interrupted, monkeypatch):
    outcome = zslbench.run(RIDGE, "digits", "zsl", seeds=3, runs=runs)
    assert outcome.interrupted
    assert [record.status for record in outcome.records] == ["ok", "interrupted"]
    monkeypatch.setattr(Ridge, "hook", None)
    outcome = zslbench.run(RIDGE, "digits", "zsl", seeds=3, runs=runs)
    assert [record.status for record in outcome.records] == ["ok"] * 3
    assert Ridge.fits == [0, 1, 1, 2]


def test_an_interrupted_repeat_does_not_lose_the_finished_run(runs, interrupted):
    (before,) = zslbench.run(RIDGE, "digits", "zsl", runs=runs).records
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs, rerun="all")
    assert outcome.interrupted
    assert outcome.records == (before,)
    assert ResultStore(runs).load() == [before]


def test_records_that_cannot_be_written_stop_the_run_and_what_was_finished_stays(runs, monkeypatch):
    def full_from_second_fit(method):
        if len(Ridge.fits) == 2:
            monkeypatch.setattr("os.replace", no_space)

    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ridge, "hook", staticmethod(full_from_second_fit))
    with pytest.raises(StoreError, match="No space left"):
        zslbench.run(RIDGE, "digits", "zsl", seeds=3, runs=runs)
    assert [record.seed for record in ResultStore(runs).load()] == [0]


def test_an_unwritable_folder_is_found_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        zslbench.run(RIDGE, "digits", runs=tmp_path / "file" / "runs")
    assert Ridge.fits == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_of_a_job_is_kept_when_its_fit_is_cut_short(runs, monkeypatch, error):
    def stop(method):
        assert execute.JOBS_IN_PROGRESS
        raise error

    monkeypatch.setattr(Ridge, "hook", staticmethod(stop))
    zslbench.run(RIDGE, "digits", runs=runs, checkpoints="every:1")
    assert execute.JOBS_IN_PROGRESS == {}


def test_finished_runs_without_the_curve_that_is_asked_for_are_named(runs):
    zslbench.run(RIDGE, "digits", "zsl", runs=runs)
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=runs, checkpoints="every:2")
    assert "--rerun all" in outcome.remarks[-1]
    for _ in range(2):  # a method that offers no checkpoint has been asked, and needs no repeat
        assert not zslbench.run("eszsl", "digits", "zsl", runs=runs, checkpoints="every:2").remarks


def test_totals_do_not_count_the_other_protocol(runs, monkeypatch):
    monkeypatch.setattr(spied.NOWHERE, "clock", 0.0)
    monkeypatch.setattr("time.perf_counter", lambda: spied.NOWHERE.clock)
    score = Ridge.scores

    def slow(self, features, classes):
        spied.NOWHERE.clock += 7
        return score(self, features, classes)

    monkeypatch.setattr(Ridge, "scores", slow)
    records = zslbench.run(RIDGE, "digits", ["zsl", "gzsl"], runs=runs).records
    assert [record.timings["total"] for record in records] == [7, 7]
    records = zslbench.run(RIDGE, "digits", ["zsl", "gzsl"], runs=runs, rerun="all", checkpoints="every:4").records
    assert [record.timings["judge"] for record in records] == [14, 14]
    assert [record.timings["fit"] for record in records] == [0, 0]
    assert [record.timings["checks"] for record in records] == [21, 21]  # at its checkpoint for both, and at its end


def test_checkpoints_make_a_curve_that_ends_at_the_recorded_metrics(runs):
    (record,) = zslbench.run(RIDGE, "digits", "zsl", runs=runs, checkpoints="every:2").records
    assert [point["step"] for point in record.curve] == [2, 4]
    assert record.curve[-1]["metrics"] == record.metrics
    for wrong in ("every:0", "every:²", "often"):
        with pytest.raises(BadValue, match="every:N"):
            zslbench.run(RIDGE, "digits", "zsl", runs=runs, checkpoints=wrong)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "cuda:x"])
def test_a_device_that_is_not_there_gets_a_sentence(runs, device):
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(BadValue, match="choose"):
        zslbench.run(RIDGE, "digits", runs=runs, device=device)


GRID = "toy_methods:Grid"


def test_points_of_a_grid_are_fitted_together_and_each_has_its_records(runs):
    outcome = zslbench.run([f"{GRID}[ridge=[1,2,3]]", RIDGE, f"{GRID}[ridge=9]"], "digits", runs=runs)
    assert Grid.shared == [[1.0, 2.0, 3.0, 9.0]]
    assert [record.method["params"]["ridge"] for record in outcome.records] == [1, 1, 2, 2, 3, 3, 1, 1, 9, 9]
    together = [record for record in outcome.records if record.method["name"] == GRID]
    assert {record.provenance["grid_points"] for record in together} == {4}
    assert "grid_points" not in outcome.records[6].provenance
    alone = zslbench.run(f"{GRID}[ridge=2]", "digits", runs=runs.with_name("alone"))
    assert [record.metrics for record in alone.records] == [record.metrics for record in together[2:4]]
    assert [record.id for record in alone.records] == [record.id for record in together[2:4]]


def test_data_sets_stages_and_seeds_are_not_mixed_in_a_grid():
    sets = ["digits", "synthetic"]
    runs = plan_runs(f"{GRID}[ridge=[1,2]]", RIDGE, datasets=sets, protocols=BOTH, seeds=[0, 1])
    batches = group_into_batches(runs)
    assert [len(batch.jobs) for batch in batches if batch.first.first.method == GRID] == [2] * 4
    assert [len(batch.jobs) for batch in batches if batch.first.first.method != GRID] == [1] * 4
    assert sum(len(job.runs) for batch in batches for job in batch.jobs) == len(runs)
    judged = group_into_batches(runs, RunConditions(checkpoint_every=2))
    assert {len(batch.jobs) for batch in judged} == {1}


def test_points_that_share_a_training_are_judged_at_its_checkpoints(runs, monkeypatch):
    """Each has the curve and the numbers that it has alone. Its seconds hold the judging of others and do not count."""
    quick = dict(LisGAN.check_params) | {"epochs": 3, "cascade": "off"}
    given = [quick, quick | {"cascade": "nn"}, quick | {"final_epochs": 2}, quick | {"lr": 1e-3}]
    specs = [f"lisgan[{','.join(f'{name}={value}' for name, value in point.items())}]" for point in given]
    trained: list[float] = []
    monkeypatch.setattr(
        LisGAN, "fit", lambda self, train, ctx, fit=LisGAN.fit: (trained.append(self.lr), fit(self, train, ctx))[1]
    )
    together = zslbench.run(specs, "digits", BOTH, runs=runs, checkpoints="every:2").records
    assert trained == [1e-2, 1e-3]
    assert len(together) == 8
    assert [record.provenance.get("grid_points", 1) for record in together] == [3] * 6 + [1] * 2
    assert [record.seconds_known for record in together] == [False] * 6 + [True] * 2
    assert {tuple(point["step"] for point in record.curve) for record in together} == {(2,)}
    assert min(record.timings["fit"] for record in together) >= 0
    alone = zslbench.run(specs[1], "digits", BOTH, runs=runs.with_name("alone"), checkpoints="every:2").records
    for record, other in zip(together[2:4], alone, strict=True):
        assert (record.id, record.curve, record.metrics) == (other.id, other.curve, other.metrics)


def test_a_point_that_fails_at_a_checkpoint_of_others_leaves_them_their_curves(runs, monkeypatch):
    quick = ",".join(f"{name}={value}" for name, value in (dict(LisGAN.check_params) | {"epochs": 2}).items())

    def scores(self, features, classes, scores=LisGAN.scores):
        if self.cascade == "svm":
            raise RuntimeError("unlucky")
        return scores(self, features, classes)

    monkeypatch.setattr(LisGAN, "scores", scores)
    spec = f"lisgan[{quick},cascade=[off,nn,svm]]"
    records = zslbench.run(spec, "digits", "zsl", runs=runs, checkpoints="every:1").records
    assert [record.status for record in records] == ["ok", "ok", "failed"]
    assert [[point["step"] for point in record.curve] for record in records] == [[1, 2], [1, 2], []]


def test_points_that_are_done_are_left_out_of_a_grid(runs):
    zslbench.run(f"{GRID}[ridge=2]", "digits", "zsl", runs=runs)
    outcome = zslbench.run(f"{GRID}[ridge=[1,2,3]]", "digits", runs=runs)
    assert Grid.shared == [[1.0, 2.0, 3.0]]  # of 2, gzsl is still to do
    assert [state for _, state in outcome.states_before].count("done") == 1
    assert len(outcome.records) == 6


def test_a_fault_stays_with_its_point(runs):
    outcome = zslbench.run(f"{GRID}[ridge=[1,13,3]]", "digits", runs=runs)
    assert [record.status for record in outcome.records] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    assert "unlucky" in outcome.records[2].error
    assert all("grid_points" not in record.provenance for record in outcome.records[2:])  # done one by one


def test_an_interrupted_grid_keeps_the_points_that_are_done(runs, monkeypatch):
    def stop(method):
        if method.ridge == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Grid, "hook", staticmethod(stop))
    outcome = zslbench.run(f"{GRID}[ridge=[1,2,3]]", "digits", "zsl", runs=runs)
    assert outcome.interrupted
    assert [record.status for record in outcome.records] == ["ok", "interrupted", "interrupted"]
    monkeypatch.setattr(Grid, "hook", None)
    again = zslbench.run(f"{GRID}[ridge=[1,2,3]]", "digits", "zsl", runs=runs)
    assert [state for _, state in again.states_before] == ["done", "to run", "to run"]
    assert [state for _, state in again.states] == ["done", "done", "done"]
    assert repr(again) == "<Outcome of 3 runs: 3 done>"


SMALL_GAN = "fclswgan[hidden=8,epochs=2,pretrain_epochs=1,per_class=3,final_epochs=1]"


def test_seeds_at_once_give_the_records_of_single_runs(runs):
    alone = zslbench.run(SMALL_GAN, "digits", seeds=3, runs=runs / "alone").records
    together = zslbench.run(SMALL_GAN, "digits", seeds=3, runs=runs / "together", seeds_at_once="always").records
    assert [record.id for record in together] == [record.id for record in alone]
    assert all("seeds_at_once" not in record.provenance for record in alone)
    for one, other in zip(alone, together, strict=True):
        assert other.ok
        assert other.provenance["seeds_at_once"] == 3
        assert other.metrics == pytest.approx(one.metrics, abs=0.02)
        assert other.timings.keys() == one.timings.keys() - {"shared"}
        assert (one.seconds_known, other.seconds_known) == (True, False)  # steps of three seeds at once are no one's
    assert len({record.timings["fit"] for record in together}) == 1  # divided among them
    parts = sum(together[0].timings[phase] for phase in ("pretrain", "critic", "generator"))
    assert 0 < parts <= together[0].timings["fit"] * 1.01


@pytest.mark.parametrize(("instructions", "used"), [(["AMX"], "bf16"), ([], "float32")])
def test_precision_auto_is_recorded_and_captioned_as_what_was_used(runs, monkeypatch, instructions, used):
    monkeypatch.setattr(resources, "list_bf16_instructions", lambda: instructions)
    asked = {"precision": "auto", "device": "cpu"}
    (record,) = zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs, **asked).records
    assert record.provenance["precision"] == used
    again = zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs, precision=used, device="cpu")
    assert (again.records[0].id, again.remarks) == (record.id, ())
    caption = [text for text in str(zslbench.table(runs=runs)).splitlines() if "Matrix products" in text]
    assert [line.split(":")[0] for line in caption] == ["Matrix products of the training in bf16"] * (used == "bf16")
    zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs, seeds=2)
    mixed = " in bf16: f-CLSWGAN (some of its runs)." in str(zslbench.table(runs=runs))
    assert mixed == (used == "bf16")


@pytest.mark.parametrize(("has", "used"), [(True, "bf16"), (False, "float32")])
def test_precision_auto_takes_bf16_where_the_gpu_has_it(monkeypatch, has, used):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert resources.choose_precision("auto") == used


def test_who_is_fitted_with_whom():
    runs = plan_runs(SMALL_GAN, "fclswgan[hidden=9]", "eszsl[gamma=[1,2]]", protocols=BOTH, seeds=10)
    assert [len(batch.jobs) for batch in group_into_batches(runs, seeds_at_once=True)] == [8, 2, 8, 2, 2]
    alone = group_into_batches(runs)
    assert {len(batch.jobs) for batch in alone if batch.first.first.method == "fclswgan"} == {2}  # points of a grid
    assert {len({job.first.seed for job in batch.jobs}) for batch in alone} == {1}


def test_a_fault_of_one_seed_stays_with_it(runs, monkeypatch):
    from zslbench.methods.generative.fclswgan import FCLSWGAN

    real = FCLSWGAN.terms

    def unlucky(self, rows, noise, ctx):
        if ctx.seed == 1:
            raise RuntimeError("unlucky")
        return real(self, rows, noise, ctx)

    monkeypatch.setattr(FCLSWGAN, "terms", unlucky)
    outcome = zslbench.run(SMALL_GAN, "digits", "zsl", seeds=3, runs=runs, seeds_at_once="always")
    assert [record.status for record in outcome.records] == ["ok", "failed", "ok"]
    assert {record.provenance["failed_together"] for record in outcome.records} == {"RuntimeError: unlucky"}


@pytest.mark.parametrize(("found", "gains"), [(["cpu"], False), (["cpu", "cuda:0"], True)])
def test_seeds_go_together_by_themselves_where_there_is_a_gpu(monkeypatch, found, gains):
    monkeypatch.setattr(planning, "devices", lambda: found)
    several, toys = plan_runs(SMALL_GAN, seeds=[0, 1]), plan_runs(RIDGE, seeds=[0, 1])

    def fits_at_once(runs, device, seeds_at_once):
        (first, *_) = RunGroup(RunConditions(device), seeds_at_once, runs).batches({run.id for run in runs})
        return len(first.jobs)

    assert fits_at_once(several, "auto", "auto") == 1 + gains
    assert fits_at_once(several, "cpu", "auto") == 1
    assert fits_at_once(several, "auto", "never") == 1
    assert fits_at_once(several[:1], "auto", "auto") == 1
    assert fits_at_once(toys, "auto", "auto") == 1


def test_precision_is_recorded_and_changes_no_identity(runs):
    (plain,) = zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs / "a").records
    (low,) = zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs / "b", precision="bf16").records
    assert (plain.provenance["precision"], low.provenance["precision"]) == ("float32", "bf16")
    assert plain.id == low.id
    (closed,) = zslbench.run("eszsl", "digits", "zsl", runs=runs / "b", precision="bf16").records
    assert "precision" not in closed.provenance  # it does not train at one
    again = zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs / "b")
    assert again.remarks == ("1 finished run was trained at another precision; --rerun all repeats what is finished.",)
    with pytest.raises(BadValue, match="'tf32' needs a CUDA device"):
        zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs, precision="tf32", device="cpu")
    with pytest.raises(BadValue, match="choose one of: float32, tf32, bf16"):
        zslbench.run(SMALL_GAN, "digits", "zsl", runs=runs, precision="fp8")


def test_a_profile_has_the_seconds_of_each_phase_in_the_record(runs):
    for record in zslbench.run(SMALL_GAN, "digits", runs=runs, profile=True).records:
        assert {"data", "fit", "critic", "generator", "pretrain", "scores", "evaluation"} <= record.timings.keys()
    assert not list(runs.rglob("*.trace.json.gz"))


def test_methods_that_do_not_depend_on_the_seed_are_named_in_one_sentence(tmp_path):
    outcome = zslbench.run(["eszsl", "sae", "ridge"], "digits", "zsl", seeds=2, runs=tmp_path, dry_run=True)
    assert outcome.remarks == ("eszsl, sae and ridge do not depend on the seed: they run with seed 0 only.",)
    assert str(len(outcome.states)) == outcome.text.splitlines()[-2].split()[0] == "3"
