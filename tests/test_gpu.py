"""The same code on CUDA: ``pytest -m gpu`` on a machine that has it. The contract suite runs it on the CPU."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import zslbench
from zslbench.checks.easy_task import easy_task
from zslbench.methods.base import Context
from zslbench.runner.class_lookup import method_class

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")


CASES = [
    ("fclswgan", {}),
    ("gazsl", {}),
    ("rff", {}),
    ("free", {}),
    ("cegzsl", {}),
    ("fvaegan", {"gp_adapt": "tf"}),
    ("tfvaegan", {}),
    ("bivaegan", {"gp_adapt": "tf"}),
    ("cadavae", {}),
    ("sdgzsl", {}),
    ("cnzsl", {}),
    ("dem", {}),
    ("relationnet", {}),
    ("cvc", {}),
    ("dcn", {"entropy": 0.0}),
    ("lisgan", {"soul_classes": 8, "cascade": "off"}),
    *(("lisgan", {"cascade": cascade}) for cascade in ("off", "softmax", "nn", "svm")),
]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_trained_methods_learn_on_cuda_and_repeat_within_tolerance(name, changes):
    cls, task = method_class(name), easy_task()
    values = dict(cls.check_params) | changes
    first, second = (cls(**values).fit(task.train_for(cls(**values)), Context(0, "cuda")) for _ in range(2))
    assert first.device_.type == "cuda"
    scores = first.scores(task.features, task.candidates)
    assert np.isfinite(scores).all()
    again = second.scores(task.features, task.candidates)
    assert np.mean(scores.argmax(1) == again.argmax(1)) > 0.98
    accuracy = np.mean(task.candidates.ids[scores.argmax(1)] == task.labels)
    assert accuracy > 2 / len(task.candidates)


@pytest.mark.parametrize("together", [False, True])
def test_a_recorded_iteration_trains_as_an_eager_one(together):
    from zslbench.methods.generative.training import JointTraining

    cls, task = method_class("lisgan"), easy_task()
    found = []
    for recorded in (False, True):
        points = [cls(**cls.check_params) for _ in range(2)]
        trainings = [point._begin(task.train, Context(seed, "cuda")) for seed, point in enumerate(points)]
        training = JointTraining(trainings) if together else trainings[0]
        for _ in range(3):
            losses = training.steps(5, lambda _name: contextlib.nullcontext(), record=recorded)
        if together:
            training.write_back()
        assert training._repeated.recorded is recorded
        found.append((losses, points[0].generator_.out.weight.detach().cpu()))
    (eager, weights), (graph, recorded_weights) = found
    assert graph[0] == pytest.approx(eager[0], rel=1e-2)
    np.testing.assert_allclose(recorded_weights, weights, rtol=1e-2, atol=1e-3)


def test_several_seeds_at_once_end_near_single_fits():
    cls, task = method_class("fclswgan"), easy_task()
    points = [cls(**cls.check_params) for _ in range(3)]
    together = list(cls.fit_seeds(points, task.train, [Context(seed, "cuda") for seed in range(3)]))
    for seed, point in enumerate(together):
        alone = cls(**cls.check_params).fit(task.train, Context(seed, "cuda"))
        ours, theirs = (one.scores(task.features, task.candidates).argmax(1) for one in (point, alone))
        assert np.mean(ours == theirs) > 0.9


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precision_trains(precision):
    cls, task = method_class("lisgan"), easy_task()
    method = cls(**cls.check_params).fit(task.train, Context(0, "cuda", precision=precision))
    accuracy = np.mean(task.candidates.ids[method.scores(task.features, task.candidates).argmax(1)] == task.labels)
    assert accuracy > 2 / len(task.candidates)


def test_device_and_flags_are_recorded(tmp_path):
    quick = "lisgan[hidden=32,epochs=2,per_class=20,final_epochs=2]"
    (record,) = zslbench.run(quick, "digits", "zsl", runs=tmp_path, device="cuda").records
    assert record.ok
    assert record.provenance["device"].startswith("cuda")
    assert {"gpu", "cuda", "tf32", "deterministic"} <= set(record.provenance)
    assert record.memory["cuda_peak"] > 0
