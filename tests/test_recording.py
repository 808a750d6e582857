"""Steps that are repeated, their precision, and what a profile keeps; the recording itself needs a GPU."""

from __future__ import annotations

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch
from gan_data import problem

from zslbench.methods import nn
from zslbench.methods.base import Context
from zslbench.methods.fit_cache import clear_cache
from zslbench.methods.generative.fclswgan import FCLSWGAN
from zslbench.methods.generative.recording import EAGER_CALLS, RecordedIteration, RecordingFailed

SMALL = {"hidden": 16, "noise": 3, "batch": 16, "epochs": 3, "pretrain_epochs": 2, "per_class": 6, "final_epochs": 2}
CPU = torch.device("cpu")


def test_on_the_cpu_every_call_is_a_step() -> None:
    calls: list[int] = []
    repeated = RecordedIteration([], CPU)
    for _ in range(EAGER_CALLS + 3):
        repeated(lambda: calls.append(1))
    assert len(calls) == EAGER_CALLS + 3
    assert not repeated.recorded


class FakeGraph:
    """Stands in for CUDA's graph: runs the step that was recorded."""

    broken = False

    def __init__(self) -> None:
        self.registered: list[torch.Generator] = []
        self.replays = 0

    def register_generator_state(self, stream: torch.Generator) -> None:
        self.registered.append(stream)

    def replay(self) -> None:
        self.replays += 1


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def recording(_graph: FakeGraph, stream: object):  # type: ignore[no-untyped-def]
        assert stream is not None
        if FakeGraph.broken:
            raise RuntimeError("operation not permitted when stream is capturing")
        yield

    class Stream:
        def wait_stream(self, _other: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(FakeGraph, "broken", False)


@pytest.mark.usefixtures("fake_cuda")
def test_the_fourth_call_records_and_replays() -> None:
    stream, calls = torch.Generator(), []
    repeated = RecordedIteration([stream], torch.device("cuda"))
    for _ in range(10):
        repeated(lambda: calls.append(1))
    assert repeated.recorded
    assert len(calls) == EAGER_CALLS + 1  # the last of them while recording, which does nothing on a device
    assert repeated._graph.registered == [stream]  # type: ignore[union-attr]
    assert repeated._graph.replays == 10 - EAGER_CALLS  # type: ignore[union-attr]


@pytest.mark.usefixtures("fake_cuda")
def test_where_recording_fails_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGraph, "broken", True)
    repeated = RecordedIteration([], torch.device("cuda"))
    for _ in range(EAGER_CALLS):
        repeated(lambda: None)
    with pytest.raises(RecordingFailed, match=r"operation not permitted .* --profile trains without one"):
        repeated(lambda: None)


def test_bf16_trains_close_to_float32_and_restores_the_flags() -> None:
    train, _, query = problem()
    assert not torch.backends.cuda.matmul.allow_tf32
    plain, low, tf32 = (FCLSWGAN(**SMALL).fit(train, Context(0, precision=p)) for p in ("float32", "bf16", "tf32"))
    with nn.at_precision("tf32", CPU):
        assert torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.is_autocast_enabled("cpu")
    wanted = plain.generator_.out.weight
    assert not torch.equal(low.generator_.out.weight, wanted)  # it was at work
    torch.testing.assert_close(low.generator_.out.weight, wanted, atol=0.01, rtol=0.1)
    assert torch.equal(tf32.generator_.out.weight, wanted)  # TF32 is CUDA's
    assert np.isfinite(low.scores(query.features, query.classes)).all()


def test_a_profile_changes_nothing() -> None:
    train, _, _ = problem()
    clear_cache()  # what an earlier fit shares is charged
    ctx, plain = Context(0, profile=True), Context(0)
    first, second = FCLSWGAN(**SMALL).fit(train, ctx), FCLSWGAN(**SMALL).fit(train, plain)
    assert torch.equal(first.generator_.out.weight, second.generator_.out.weight)
    assert ctx.seconds.keys() == plain.seconds.keys() >= {"critic", "generator"}


def test_a_training_that_is_over_is_freed_at_once() -> None:
    train, _, _ = problem()
    training = FCLSWGAN(**SMALL)._begin(train, Context(0))
    training.steps(2, lambda _name: contextlib.nullcontext())
    gone = weakref.ref(training)
    gc.disable()  # counting references must do
    try:
        del training
        assert gone() is None
    finally:
        gc.enable()


def test_losses_are_summed_in_float32_whatever_the_products_are() -> None:
    train, _, _ = problem()
    training = FCLSWGAN(**SMALL)._begin(train, Context(0))
    with nn.at_precision("bf16", CPU):
        training.steps(2, lambda _name: contextlib.nullcontext())
    assert {total.dtype for total in training._sums.values()} == {torch.float32}
    training._sums["critic"] = torch.zeros(())
    for _ in range(1000):
        training._note("critic", torch.ones((), dtype=torch.bfloat16))
    assert float(training._sums["critic"]) == 1000
