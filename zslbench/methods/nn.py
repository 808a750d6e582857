"""Devices, random streams, threads, layers and steps of gradient descent.

Torch is imported at the top: import this module only where training or synthesis happens.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import platform
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from zslbench.arrays import AnyArray
from zslbench.errors import BadValue

INIT_STD = 0.02
BETAS = (0.5, 0.999)
OPERATIONS_A_THREAD = 2**27
"""Multiplications and additions of a matrix product for which another thread pays: 64 rows through 512 × 2048
weights. Measured by `benchmarks/threads.py`."""


with torch.autograd.profiler.record_function("load"):
    pass  # its first use imports a module of torch; do this here, not while an optimiser's first step is timed


def resolve_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        BadValue: there is no such device, or it is not on this machine.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise BadValue(f"device {name!r} is not known; choose auto, cpu, cuda, cuda:N or mps.")
    if not {"cpu": True, "cuda": cuda, "mps": mps}[kind]:
        raise BadValue(f"device {name!r} was asked for, but this machine has no {kind}; choose auto or cpu.")
    if number and int(number) >= (count := torch.cuda.device_count()):
        raise BadValue(
            f"device {name!r} was asked for, but this machine has {count}; choose cuda:0 to cuda:{count - 1}."
        )
    return torch.device(name)


def random_stream(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a random generator on `device`; torch's global one is never used."""
    return torch.Generator(device=device).manual_seed(seed)


class EmptyLinear(torch.nn.Linear):
    """A linear layer whose weights are set by the code that makes it.

    `torch.nn.utils.skip_init` does the same, but it imports SymPy: 0.4 s in every process that trains.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they were allocated: torch would draw them from its global generator."""


def tensor_on(device: torch.device, array: AnyArray) -> Tensor:
    """Return a copy of an array on a device: a method's inputs are read-only and stay unchanged."""
    return torch.tensor(np.ascontiguousarray(array), device=device)


def linear(
    inputs: int, outputs: int, stream: torch.Generator, bias: bool = True, std: float = INIT_STD
) -> torch.nn.Linear:
    """Return a linear layer with weights from N(0, std²) and zero bias, on the CPU."""
    layer = EmptyLinear(inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.normal_(0.0, std, generator=stream)
        if bias:
            layer.bias.zero_()
    return layer


def uniform_linear(
    inputs: int, outputs: int, stream: torch.Generator, bias: bool = True, fan_in: int = 0
) -> torch.nn.Linear:
    """Return a linear layer with weights and bias from U(−1/√inputs, 1/√inputs), torch's own default, on the CPU.

    Args:
        fan_in: the number to take for `inputs` where the layer is a part of a wider one; 0: `inputs`.
    """
    layer = EmptyLinear(inputs, outputs, bias=bias)
    bound = (fan_in or inputs) ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=stream)
    return layer


class _Adam(torch.optim.Adam):
    """torch's Adam without the wrappers that only `torch.compile` needs.

    The wrappers import `torch._dynamo` at the first step: 1.7 s in every process that trains.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


def adam(
    parameters: Iterable[Tensor],
    lr: float,
    betas: tuple[float, float] = BETAS,
    decay: float = 0.0,
    *,
    amsgrad: bool = False,
) -> torch.optim.Adam:
    """Return Adam, by default with the betas of the public GANs around f-CLSWGAN; `decay` is Adam's own L2 term.

    It is fused if torch offers that: on a CPU the plain one takes as long as the rest of a critic step.
    """
    held = list(parameters)
    kind = held[0].device.type
    fused, capturable = kind in ("cpu", "cuda"), kind == "cuda"  # its counters stay on the device (see `recording`)
    return _Adam(held, lr=lr, betas=betas, weight_decay=decay, amsgrad=amsgrad, fused=fused, capturable=capturable)


def take_steps(
    count: int,
    each: int,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    batches: Iterator[Tensor],
    threads: int,
    advance: Callable[[int], bool],
    adjust: Callable[[], object] = lambda: None,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Take `count` steps of gradient descent on the next batches, in rounds of `each`.

    Yield, after each round, the number of steps taken so far, the sum of the losses of the round, and the last loss.

    Before each step `adjust` may change the gradients. After it, and after the caller is done with a round, `advance`
    is called with the number of steps taken; if it returns True, the loop ends.
    """
    for done in range(0, count, each):
        end = min(done + each, count)
        total = last = torch.zeros(())
        with in_threads(threads):
            for taken, rows in enumerate(itertools.islice(batches, end - done), start=done + 1):
                loss = loss_of(rows)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                adjust()
                optimiser.step()
                last = loss.detach()
                total = total.to(last.device) + last
                if advance(taken):
                    break
        yield end, total, last
        if advance(end):
            break


def describe_arithmetic(device: torch.device, precision: str, threads: int) -> dict[str, str]:
    """Return what decides how sums are rounded: device and processor, precision, threads."""
    on_gpu = device.type == "cuda"
    return {
        "device": str(device),
        "processor": torch.cuda.get_device_name(device)
        if on_gpu
        else f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "precision": precision,
        "number of threads": f"{threads} of {torch.get_num_threads()}",
    }


def threads_for(operations: float) -> int:
    """Return how many torch threads of this process a matrix product of so many operations can keep busy, at least 1.

    In smaller products threads wait for each other. If other processes compute too, a thread waits for one that has no
    processor, and training takes many times as long.
    """
    return max(1, min(torch.get_num_threads(), int(operations // OPERATIONS_A_THREAD)))


@contextlib.contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def at_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Compute the matrix products of this block at a precision: ``float32``, ``tf32`` (CUDA) or ``bf16`` (autocast)."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    low = torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if precision == "bf16" else None
    try:
        with low or contextlib.nullcontext():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def row_batches(rows: int, batch: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Yield, without end, the (m,) row numbers of a step, m = min(batch, rows), on the device of `stream`.

    Rows come in one random order after another, and a step may end one order and begin the next. All steps thus have m
    rows: with Adam, a short step at the end of a pass would move as far as any other, on the gradient of a few rows.
    """
    size, left = min(batch, rows), torch.empty(0, dtype=torch.int64, device=stream.device)
    while True:
        if len(left) < size:
            left = torch.cat([left, torch.randperm(rows, generator=stream, device=stream.device)])
        yield left[:size]
        left = left[size:]


def episodes(labels: Tensor, ways: int, shots: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Yield, without end, the row numbers of `shots` random rows for each of `ways` random classes.

    A class with fewer rows repeats them all in turn; if there are fewer classes, each is in every episode.

    Args:
        labels: (n,) positions of the rows' classes, every class at least once, on the device of `stream`.
    """
    order, counts = labels.argsort(stable=True), labels.bincount()
    starts = counts.cumsum(0) - counts
    shot = torch.arange(shots, device=labels.device)
    while True:
        classes = torch.randperm(len(counts), generator=stream, device=labels.device)[:ways]
        some = counts[classes, None]
        keys = torch.rand(len(classes), int(some.max()), generator=stream, device=labels.device)
        keys[torch.arange(keys.shape[1], device=labels.device) >= some] = 2.0  # after all of the class's own rows
        within = keys.argsort(dim=1).gather(1, shot % some)
        yield order[starts[classes, None] + within].flatten()
