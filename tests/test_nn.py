"""Devices, initial weights, and threads: as many as the products can occupy, asleep while they wait."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import torch
from gan_data import problem

import zslbench
from zslbench.errors import BadValue
from zslbench.methods import nn
from zslbench.methods.base import Context, Method
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.training import GanTraining
from zslbench.methods.networks.cnzsl import CNZSL
from zslbench.methods.networks.cvc import CVC
from zslbench.methods.networks.dem import DEM
from zslbench.methods.nn import linear, random_stream, resolve_device
from zslbench.methods.ranking.sje import SJE
from zslbench.runner.resources import WAITING, prepare_for_torch

SMALL = {"hidden": 8, "epochs": 1, "pretrain_epochs": 1, "final_epochs": 2, "per_class": 3}


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "cuda:", "", "CPU"])
def test_unknown_devices_are_refused(name: str) -> None:
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("cuda is here")
    with pytest.raises(BadValue, match="device"):
        resolve_device(name)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_absent_devices_are_refused_with_advice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadValue, match=f"this machine has no {kind}; choose auto or cpu"):
        resolve_device(kind)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


def test_auto_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(BadValue, match="has 2"):
        resolve_device("cuda:2")


def test_initial_weights_are_normal_and_of_their_own_stream() -> None:
    before = torch.random.get_rng_state()
    layer = linear(300, 200, random_stream(0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(layer.weight, linear(300, 200, random_stream(0)).weight)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(layer.weight.mean().item()) < 5e-4
    assert not layer.bias.any()


def test_loading_the_methods_imports_neither_torch_nor_scipy_nor_sklearn() -> None:
    code = (
        "import sys; from zslbench.registry import METHODS; [entry.load()() for entry in METHODS];"
        "bad = {'scipy', 'sklearn', 'torch', 'pandas'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """As on a machine of two processors, whatever this one has; what a test changes is put back."""
    with nn.in_threads(2):
        yield
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("rows", "hidden", "features", "wanted"),
    [(64, 512, 64, 1), (64, 512, 1024, 1), (64, 1024, 2048, 2), (64, 4096, 2048, 8), (3000, 4096, 2048, 16)],
)
def test_threads_follow_the_size_of_the_products(
    monkeypatch: pytest.MonkeyPatch, rows: int, hidden: int, features: int, wanted: int
) -> None:
    for most in (1, 2, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda most=most: most)
        assert nn.threads_for(2 * rows * hidden * features) == min(wanted, most)


@pytest.mark.usefixtures("_two_threads")
def test_what_a_block_changes_is_put_back() -> None:
    def interrupted() -> None:
        with nn.in_threads(1):
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(("worth", "used"), [(nn.OPERATIONS_A_THREAD, 1), (1, 2)])
def test_a_gan_trains_in_the_threads_that_its_size_is_worth(
    monkeypatch: pytest.MonkeyPatch, worth: int, used: int
) -> None:
    monkeypatch.setattr(nn, "OPERATIONS_A_THREAD", worth)
    seen: list[int] = []
    iterate = GanTraining.iterate
    monkeypatch.setattr(
        GanTraining, "iterate", lambda *given: (seen.append(torch.get_num_threads()), iterate(*given))[1]
    )
    fitted = FCLSWGAN(**SMALL).fit(problem()[0], Context())
    assert set(seen) == {used} == {fitted.threads_}


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize(
    "method", [DEM(hidden=8, iterations=3), CNZSL(hidden=8, epochs=2), SJE(epochs=2), CVC(hidden=8, iterations=3)]
)
def test_other_networks_say_what_they_train_in(method: Method) -> None:
    assert method.fit(problem()[0], Context()).threads_ == 1  # type: ignore[attr-defined]


def test_small_networks_give_the_same_bits_whatever_threads_are_allowed() -> None:
    train, _, query = problem()
    scores = []
    for most in (1, 2):
        with nn.in_threads(most):
            scores.append(FCLSWGAN(**SMALL).fit(train, Context(3)).scores(query.features, query.classes))
    assert np.array_equal(*scores)


@pytest.mark.usefixtures("_two_threads")
def test_the_record_says_in_how_many_threads_was_trained(tmp_path) -> None:
    values = ",".join(f"{name}={value}" for name, value in SMALL.items())
    (record,) = zslbench.run(f"fclswgan[{values}]", "digits", "zsl", runs=tmp_path).records
    assert (record.provenance["torch_threads"], record.provenance["training_threads"]) == (2, 1)


def test_waiting_threads_sleep_in_the_library_that_torch_loads() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-m", "zslbench", "doctor"],
        env=plain | {"OMP_DISPLAY_ENV": "TRUE", "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,  # a package that doctor misses is no matter of threads
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("torch's OpenMP library does not show its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
    assert re.search(r"threads +at most 1;", done.stdout)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    prepare_for_torch()
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_for_torch()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    prepare_for_torch()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


@pytest.mark.parametrize(("load", "alone"), [(0.1, True), (999.0, False)])
def test_doctor_says_what_to_set_on_a_shared_machine(monkeypatch: pytest.MonkeyPatch, load: float, alone: bool) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (load, 0.0, 0.0))
    (threads,) = [one for one in zslbench.doctor() if one.what == "threads"]
    assert threads.ok
    assert ("others compute here: set OMP_NUM_THREADS to the number that is yours" not in threads.found) == alone
