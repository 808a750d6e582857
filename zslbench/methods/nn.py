"""Devices, random streams, threads, layers and steps of gradient descent; generator and critic of the GANs.

Torch is imported at the top: import this module only where training or synthesis happens.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zslbench.arrays import AnyArray
from zslbench.errors import BadValue

SLOPE = 0.2
INIT_STD = 0.02
BETAS = (0.5, 0.999)
CHUNK_ROWS = 8192
"""Rows that are synthesised at once."""
OPERATIONS_A_THREAD = 2**27
"""Multiplications and additions of a matrix product that are worth a thread of its own: 64 rows through 512 × 2048
weights. Measured by `benchmarks/threads.py`."""


with torch.autograd.profiler.record_function("load"):
    pass  # its first use imports a module of torch: here, not when an optimiser's first step is timed


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` means: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        BadValue: no such device, or not on this machine.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise BadValue(f"device {name!r} is not known; choose auto, cpu, cuda, cuda:N or mps.")
    if not {"cpu": True, "cuda": cuda, "mps": mps}[kind]:
        raise BadValue(f"device {name!r} was asked for, but this machine has no {kind}; choose auto or cpu.")
    if number and int(number) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise BadValue(
            f"device {name!r} was asked for, but this machine has {count}; choose cuda:0 to cuda:{count - 1}."
        )
    return torch.device(name)


def random_stream(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a random generator on `device`, so that torch's global one is never touched."""
    return torch.Generator(device=device).manual_seed(seed)


class EmptyLinear(torch.nn.Linear):
    """A linear layer whose weights its maker fills.

    `torch.nn.utils.skip_init` does the same, but imports SymPy for it: 0.4 s of every process that trains.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they were allocated: torch would draw them from its global generator."""


def tensor_on(device: torch.device, array: AnyArray) -> Tensor:
    """Return a copy of an array on a device: what a method is given is read-only and stays untouched."""
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


def _initial_std(inputs: int, outputs: int, xavier: bool) -> float:
    """Return the deviation of initial weights: √(2 / (inputs + outputs)) (Glorot's normal one), or 0.02."""
    return math.sqrt(2 / (inputs + outputs)) if xavier else INIT_STD


class _Adam(torch.optim.Adam):
    """torch's Adam without the wrappers that only `torch.compile` needs.

    They import `torch._dynamo` at the first step, which takes 1.7 s of every process that trains.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


def adam(
    parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = BETAS, decay: float = 0.0
) -> torch.optim.Adam:
    """Return Adam, by default with the betas that the public GANs around f-CLSWGAN use; `decay` is Adam's own L2.

    Fused where torch has it: the plain one costs as much as the rest of a critic step on a CPU.
    """
    held = list(parameters)
    kind = held[0].device.type
    fused, capturable = kind in ("cpu", "cuda"), kind == "cuda"  # its counters stay on the device (see `recording`)
    return _Adam(held, lr=lr, betas=betas, weight_decay=decay, fused=fused, capturable=capturable)


def take_steps(
    optimiser: torch.optim.Optimizer, loss_of: Callable[[Tensor], Tensor], batches: Iterable[Tensor], threads: int
) -> tuple[Tensor, Tensor]:
    """Take a step of gradient descent for each batch; return the sum of the losses, and the last one."""
    total = last = torch.zeros(())
    with in_threads(threads):
        for rows in batches:
            loss = loss_of(rows)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            last = loss.detach()
            total = total.to(last.device) + last
    return total, last


def threads_for(operations: float) -> int:
    """Return how many of this process's torch threads a matrix product of so many operations can occupy, at least 1.

    In smaller products threads wait for each other; beside other processes, for one that has no processor, and training
    takes many times as long.
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
    """Multiply matrices in this block at a precision: ``float32``, ``tf32`` (CUDA) or ``bf16`` (autocast)."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    low = torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if precision == "bf16" else None
    try:
        with low or contextlib.nullcontext():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class Generator(torch.nn.Module):
    """x̃ = g(W₂ LReLU(W_z z + W_a a + b₁) + b₂): noise and semantics in, features out; g is ReLU unless said otherwise.

    The first layer on the concatenation [z, a] is kept as two, one of noise and one of semantics: the same map, and
    rows that share a class share its part.

    Args:
        stream: of the initial weights, from Glorot's normal distribution with `xavier`, else from N(0, 0.02²).
        output: ``relu``, ``tanh`` or ``linear``; slope: of the leaky ReLU below zero.
    """

    def __init__(
        self,
        noise: int,
        semantics: int,
        hidden: int,
        features: int,
        stream: torch.Generator,
        *,
        output: str = "relu",
        slope: float = SLOPE,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self.noise, self.output, self.slope = noise, output, slope
        first = _initial_std(noise + semantics, hidden, xavier)
        self.from_noise = linear(noise, hidden, stream, std=first)
        self.from_semantics = linear(semantics, hidden, stream, bias=False, std=first)
        self.out = linear(hidden, features, stream, std=_initial_std(hidden, features, xavier))

    def forward(self, noise: Tensor, semantics: Tensor) -> Tensor:
        """Return (…, d) features of (…, z) noise and (…, a) semantics; leading axes broadcast."""
        hidden = functional.leaky_relu(self.from_noise(noise) + self.from_semantics(semantics), self.slope)
        out: Tensor = self.out(hidden)
        if self.output == "linear":
            return out
        return out.tanh() if self.output == "tanh" else functional.relu(out)

    def synthesise(self, semantics: Tensor, rows: int, stream: torch.Generator) -> Tensor:
        """Return (c, rows, d) features of (c, a) classes from fresh noise; chunks bound the hidden units in memory."""
        each = max(1, CHUNK_ROWS // rows)
        out = semantics.new_empty(len(semantics), rows, self.out.out_features)
        for start in range(0, len(semantics), each):
            some = semantics[start : start + each]
            noise = torch.randn(len(some), rows, self.noise, generator=stream, device=semantics.device)
            out[start : start + each] = self(noise, some[:, None, :])
        return out


class Critic(torch.nn.Module):
    """D(x, a) = w₂ᵀ LReLU(W_x x + W_a a + b₁) + b₂, with a classifying branch on demand.

    With two layers a second hidden one, ReLU(W h + b), comes before w₂ (LisGAN, section 4.2).

    The branch is the second head of LisGAN and GAZSL. It reads the hidden layers without their semantic part W_a a:
    P(y|x) is a function of x, and a branch that saw a could read the class off it.

    Args:
        semantics: units; none make the critic unconditional, D(x) (GAZSL).
        layers: hidden ones, 1 or 2; stream, slope (0: ReLU), xavier: as of `Generator`.
    """

    def __init__(
        self,
        features: int,
        semantics: int,
        hidden: int,
        stream: torch.Generator,
        *,
        layers: int = 1,
        slope: float = SLOPE,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self.slope, self.xavier = slope, xavier
        first = _initial_std(features + semantics, hidden, xavier)
        self.from_features = linear(features, hidden, stream, std=first)
        self.from_semantics = linear(semantics, hidden, stream, bias=False, std=first) if semantics else None
        self.second = linear(hidden, hidden, stream, std=_initial_std(hidden, hidden, xavier)) if layers == 2 else None
        self.value = linear(hidden, 1, stream, std=_initial_std(hidden, 1, xavier))
        self.branch: torch.nn.Linear | None = None

    def add_branch(self, classes: int, stream: torch.Generator) -> None:
        """Give the critic its second head, over `classes` seen classes."""
        hidden = self.value.in_features
        self.branch = linear(hidden, classes, stream, std=_initial_std(hidden, classes, self.xavier))

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Return (m,) values of (m, d) features under (m, a) semantics."""
        return self.values(self.conditioned(self.from_features(features), semantics))

    def conditioned(self, projected: Tensor, semantics: Tensor) -> Tensor:
        """Return (…, h) pre-activations of projected features ``from_features(x)`` under (…, a) semantics."""
        if self.from_semantics is None:
            return projected
        out: Tensor = projected + self.from_semantics(semantics)
        return out

    def values(self, hidden: Tensor) -> Tensor:
        """Return (…,) values of (…, h) pre-activations."""
        out: Tensor = self.value(self._top(hidden)).squeeze(-1)
        return out

    def logits(self, projected: Tensor) -> Tensor:
        """Return (…, c) class logits of (…, h) projected features ``from_features(x)``."""
        assert self.branch is not None
        out: Tensor = self.branch(self._top(projected))
        return out

    def _top(self, hidden: Tensor) -> Tensor:
        """Return (…, h) activations of the last hidden layer for (…, h) pre-activations of the first."""
        first = functional.leaky_relu(hidden, self.slope)
        return first if self.second is None else functional.relu(self.second(first))

    def input_gradient(self, hidden: Tensor) -> Tensor:
        """Return (m, d) gradients of D by x where the pre-activations are (m, h) `hidden`.

        D is piecewise linear, so ∇ₓD = W_xᵀ(s ∘ w₂) with s = 1 or the slope; its derivative by `hidden` is zero
        wherever it exists. With a second layer w₂ becomes Wᵀ(s′ ∘ w₂), s′ = 1 or 0. Written out, the penalty needs one
        backward pass and not two.
        """
        hidden = hidden.detach()
        slopes = torch.where(hidden > 0, hidden.new_ones(()), self.slope)
        back = self.value.weight
        if self.second is not None:
            with torch.no_grad():
                passed = self.second(functional.leaky_relu(hidden, self.slope)) > 0
            back = (passed * back) @ self.second.weight
        return (slopes * back) @ self.from_features.weight


def row_batches(rows: int, batch: int, stream: torch.Generator) -> Iterator[Tensor]:
    """Yield, without end, the (m,) row numbers of a step, m = min(batch, rows), on the device of `stream`.

    Rows come in one random order after the other, and a step may end one and begin the next: a short step at the end
    of a pass would move Adam as far as any other, on the gradient of a few rows.
    """
    size, left = min(batch, rows), torch.empty(0, dtype=torch.int64, device=stream.device)
    while True:
        if len(left) < size:
            left = torch.cat([left, torch.randperm(rows, generator=stream, device=stream.device)])
        yield left[:size]
        left = left[size:]
