"""A step of training that is repeated: on a CUDA device it is recorded once as a graph and replayed.

A recorded step costs one launch where a step of small matrices costs hundreds. Torch is imported at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

EAGER_CALLS = 3
"""Calls before the recording: optimisers, caches and sums make their tensors in them."""


class Repeated:
    """Calls a step again and again; on CUDA, from the fourth call on, as one recorded graph.

    The step is handed over at each call, and must be the same: kept here, it would tie whatever it belongs to, and its
    memory on the device, into a cycle.

    The step must take its inputs from tensors that stay where they are, ask nothing of the device (no size that depends
    on values), and draw from the given streams only: these are registered, so a replay draws the numbers that a call
    would. Where the recording fails, steps go on being called, and `recorded` stays false.

    Args:
        streams: the random generators that it draws from.
        device: where its tensors are.
    """

    def __init__(self, streams: Iterable[torch.Generator], device: torch.device) -> None:
        self.streams, self.device = tuple(streams), device
        self.calls, self.failed = 0, device.type != "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def recorded(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def __call__(self, step: Callable[[], object]) -> None:
        """Do one iteration: call `step`, or replay it."""
        self.calls += 1
        if self._graph is None and not self.failed and self.calls > EAGER_CALLS:
            self._record(step)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._eager(step)

    def _eager(self, step: Callable[[], object]) -> None:
        """Call the step; before a recording on a stream of its own, as recording asks."""
        if self.failed:
            step()
            return
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream(self.device).wait_stream(side)

    def _record(self, step: Callable[[], object]) -> None:
        """Record the step without doing it; random streams end where they were."""
        states = [stream.get_state() for stream in self.streams]
        graph = torch.cuda.CUDAGraph()
        try:
            for stream in self.streams:
                graph.register_generator_state(stream)
            with torch.cuda.graph(graph):
                step()
        except RuntimeError:
            torch.cuda.synchronize(self.device)
            self.failed = True
            for stream, state in zip(self.streams, states, strict=True):
                stream.set_state(state)
            return
        self._graph = graph
