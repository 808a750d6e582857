"""The same code on CUDA: ``pytest -m gpu`` on a machine that has it. The contract suite runs it on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import zslbench
from zslbench.checks.easy import easy_task
from zslbench.methods.base import Context
from zslbench.runner.plan import method_class

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")


@pytest.mark.parametrize("name", ["fclswgan", "lisgan"])
@pytest.mark.parametrize("cascade", ["off", "softmax", "nn", "svm"])
def test_generative_methods_learn_on_cuda_and_repeat_within_tolerance(name, cascade):
    cls, task = method_class(name), easy_task()
    values = dict(cls.quick) | ({"cascade": cascade} if name == "lisgan" else {})
    first, second = (cls(**values).fit(task.train, Context(0, "cuda")) for _ in range(2))
    assert first.device_.type == "cuda"
    scores = first.scores(task.features, task.candidates)
    assert np.isfinite(scores).all()
    again = second.scores(task.features, task.candidates)
    assert np.mean(scores.argmax(1) == again.argmax(1)) > 0.98
    accuracy = np.mean(task.candidates.ids[scores.argmax(1)] == task.labels)
    assert accuracy > 2 / len(task.candidates)


def test_device_and_flags_are_recorded(tmp_path):
    quick = "lisgan[hidden=32,epochs=2,per_class=20,final_epochs=2]"
    (record,) = zslbench.run(quick, "digits", "zsl", runs=tmp_path, device="cuda").records
    assert record.ok
    assert record.provenance["device"].startswith("cuda")
    assert {"gpu", "cuda", "tf32", "deterministic"} <= set(record.provenance)
    assert record.memory["cuda_peak"] > 0
