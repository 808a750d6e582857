"""A step of training that is repeated: on a CUDA device it is recorded once as a graph and replayed.

A recorded step costs one launch where a step of small matrices costs hundreds. Torch is imported at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from zslbench.errors import ZslbenchError

EAGER_CALLS = 3
"""Calls before the recording: optimisers, caches and sums make their tensors in them."""


class RecordingFailed(ZslbenchError):
    """A CUDA graph could not be recorded."""


class Repeated:
    """Calls a step again and again; on CUDA, from the fourth call on, as one recorded graph.

    The step is handed over at each call, and must be the same: kept here, it would tie whatever it belongs to, and its
    memory on the device, into a cycle. It must take its inputs from tensors that stay where they are, ask nothing of
    the device (no size that depends on values), and draw from the given streams only: these are registered, so a
    replay draws the numbers that a call would.

    Args:
        streams: the random generators that it draws from.
        device: where its tensors are.
    """

    def __init__(self, streams: Iterable[torch.Generator], device: torch.device) -> None:
        self.streams, self.device = tuple(streams), device
        self.calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._side: torch.cuda.Stream | None = None

    @property
    def recorded(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def __call__(self, step: Callable[[], object]) -> None:
        """Do one iteration: call `step`, or replay it.

        Raises:
            RecordingFailed: the step does something that a graph cannot hold. The device is in no state to go on.
        """
        if self.device.type != "cuda":
            step()
            return
        self.calls += 1
        with torch.cuda.device(self.device):  # streams, recordings and replays belong to the current device
            if self._graph is None and self.calls > EAGER_CALLS:
                self._graph = self._record(step)
            if self._graph is not None:
                self._graph.replay()
            else:
                self._eager(step)

    def _eager(self, step: Callable[[], object]) -> None:
        """Call the step on a stream of its own, as is asked before a recording."""
        if self._side is None:
            self._side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._side):
            step()
        torch.cuda.current_stream(self.device).wait_stream(self._side)

    def _record(self, step: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """Record the step without doing it."""
        graph = torch.cuda.CUDAGraph()
        for stream in self.streams:
            graph.register_generator_state(stream)
        try:
            with torch.cuda.graph(graph, stream=self._side):
                step()
        except RuntimeError as error:
            why = str(error).strip().splitlines()[0]
            raise RecordingFailed(
                f"an iteration could not be recorded as a CUDA graph ({why}); --profile trains without one."
            ) from error
        return graph
