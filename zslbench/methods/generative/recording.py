"""CUDA graphs of a training step. Torch is imported at the top."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from zslbench.errors import ZslbenchError

EAGER_CALLS = 3
"""Calls before the recording, in which optimisers, caches and sums make their tensors."""


class RecordingFailed(ZslbenchError):
    """A CUDA graph could not be recorded."""


class RecordedIteration:
    """Calls a step again and again; on CUDA, from the fourth call on, as one recorded graph.

    The step is passed at each call, and must be the same. If it were kept here, it would tie its owner, and the owner's
    memory on the device, into a reference cycle. The step must take its inputs from tensors that stay where they are,
    must ask nothing of the device (no size that depends on values), and must draw only from the given streams. These
    are registered, so that a replay draws the numbers that a call would draw.
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
            RecordingFailed: the step does something that a graph cannot hold. The device cannot be used any more.
        """
        if self.device.type != "cuda":
            step()
            return
        self.calls += 1
        with torch.cuda.device(self.device):  # streams, recordings and replays belong to the current device
            if self._side is None:
                self._side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            if self.calls <= EAGER_CALLS:  # on a stream of its own, as is asked before a recording
                self._side.wait_stream(torch.cuda.current_stream(self.device))
                with torch.cuda.stream(self._side):
                    step()
                torch.cuda.current_stream(self.device).wait_stream(self._side)
                return
            if self._graph is None:
                self._graph = self._record(step)
            self._graph.replay()

    def _record(self, step: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """Record the step without executing it."""
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
