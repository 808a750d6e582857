"""Threads: as many as the products can occupy, never more than the user allows, asleep while they wait."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from gan_data import problem

import zslbench
from zslbench.methods import nn
from zslbench.methods.base import Context
from zslbench.methods.generative import training as gan
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.networks.cnzsl import CNZSL
from zslbench.methods.networks.dem import DEM
from zslbench.methods.ranking.sje import SJE
from zslbench.runner.resources import WAITING, let_threads_sleep

SMALL = {"hidden": 8, "epochs": 1, "pretrain_epochs": 1, "final_epochs": 2, "per_class": 3}


@pytest.fixture
def two_threads():
    """As on a machine of two processors, whatever this one has."""
    with nn.in_threads(2):
        yield


@pytest.mark.parametrize(
    ("rows", "hidden", "features", "wanted"),
    [(64, 512, 64, 1), (64, 512, 1024, 1), (64, 1024, 2048, 2), (64, 4096, 2048, 8), (3000, 4096, 2048, 16)],
)
def test_threads_follow_the_size_of_the_products(monkeypatch, rows, hidden, features, wanted):
    for most in (1, 2, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda most=most: most)
        assert nn.threads_for(2 * rows * hidden * features) == min(wanted, most)


def test_what_a_block_changes_is_put_back(two_threads):
    def interrupted() -> None:
        with nn.in_threads(1):
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("worth", "used"), [(nn.OPERATIONS_A_THREAD, 1), (1, 2)])
def test_a_gan_trains_in_the_threads_that_its_size_is_worth(two_threads, monkeypatch, worth, used):
    monkeypatch.setattr(nn, "OPERATIONS_A_THREAD", worth)
    seen = []
    step = gan.GanTraining.iterate

    def noted(self, *phase):
        seen.append(torch.get_num_threads())
        step(self, *phase)

    monkeypatch.setattr(gan.GanTraining, "iterate", noted)
    train, _, _ = problem()
    fitted = FCLSWGAN(**SMALL).fit(train, Context())
    assert set(seen) == {used} == {fitted.threads_}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("method", [DEM(hidden=8, iterations=3), CNZSL(hidden=8, epochs=2), SJE(epochs=2)])
def test_other_networks_say_what_they_train_in(two_threads, method):
    train, _, _ = problem()
    assert method.fit(train, Context()).threads_ == 1
    assert torch.get_num_threads() == 2


def test_small_networks_give_the_same_bits_whatever_threads_are_allowed():
    train, _, query = problem()
    found = []
    for most in (1, 2):
        with nn.in_threads(most):
            fitted = FCLSWGAN(**SMALL).fit(train, Context(3))
            found.append(fitted.scores(query.features, query.classes))
    assert np.array_equal(*found)


def test_the_record_says_in_how_many_threads_was_trained(tmp_path, two_threads):
    values = ",".join(f"{name}={value}" for name, value in SMALL.items())
    (one,) = zslbench.run(f"fclswgan[{values}]", "digits", "zsl", runs=tmp_path).records
    assert (one.provenance["torch_threads"], one.provenance["training_threads"]) == (2, 1)


def doctor(**environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in WAITING}
    return subprocess.run(
        [sys.executable, "-m", "zslbench", "doctor"],
        env=plain | {"OMP_DISPLAY_ENV": "TRUE", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,  # a package that doctor misses is no matter of threads
    )


def test_waiting_threads_sleep_in_the_library_that_torch_loads():
    done = doctor(OMP_NUM_THREADS="1")
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("torch's OpenMP library does not show its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
    assert "at most OMP_NUM_THREADS=1" in done.stdout


def test_what_the_user_set_stays(monkeypatch):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    let_threads_sleep()
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(("load", "alone"), [(0.1, True), (999.0, False)])
def test_doctor_says_what_to_set_on_a_shared_machine(monkeypatch, load, alone):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(psutil, "getloadavg", lambda: (load, 0.0, 0.0))
    (threads,) = [one for one in zslbench.doctor() if one.what == "threads"]
    assert threads.ok
    assert "set OMP_NUM_THREADS to the number of processors that are yours" in threads.found
    assert ("others compute here" not in threads.found) == alone
