"""Small methods that go wrong as a study's runs do, for the tests of engines: ``fault_methods:Class``.

Each fit leaves a line in ``$FAULT_NOTES`` as it begins: a test then knows where a run is, and how often it was done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from toy_methods import Closed, Ridge, card

from zslbench.methods.base import Context, MethodCard
from zslbench.params import param
from zslbench.task import Train


def note(what: str) -> None:
    with Path(os.environ["FAULT_NOTES"]).open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


def first_time(name: str) -> bool:
    """Whether nobody has asked so before (in any process)."""
    try:
        (Path(os.environ["FAULT_NOTES"]).parent / f"first-{name}").open("x").close()
    except FileExistsError:
        return False
    return True


@dataclasses.dataclass(kw_only=True)
class Noted(Ridge):
    """Ridge disturbed by the seed that notes each fit; `wait` seconds go by in each of two epochs."""

    card: ClassVar[MethodCard] = card(title="Noted")
    wait: float = param(0.0, low=0.0, high=600.0)
    fault: str = param("none", help="what goes wrong, see `go_wrong`")

    def fit(self, train: Train, ctx: Context) -> Self:
        # two of the seeds stay, the first time: decided before the note, upon which a test may kill this process
        stays = self.fault == "stay" and ctx.seed in (2, 3) and first_time(f"stay-{ctx.seed}")
        note(f"{self.fault} {ctx.seed}")
        for epoch in (1, 2):
            time.sleep(600 if stays else self.wait)
            ctx.log(epoch, 2, loss=1 / epoch)
        go_wrong(self.fault)
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 0.1 * ctx.rng("noise").standard_normal(self.weights_.shape)
        return self


@dataclasses.dataclass(kw_only=True)
class Points(Closed):
    """A grid that is fitted at once; the point with `dies` kills its process, the first time only."""

    dies: bool = param(False)

    def fit(self, train: Train, ctx: Context) -> Self:
        note(f"point {self.ridge:g}")
        if self.dies and first_time("point"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(train, ctx)

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        note(f"grid of {len(points)}")
        for point in points:
            yield point.fit(train, ctx)


KEPT: list[np.ndarray] = []


def go_wrong(fault: str) -> None:  # noqa: C901  (a list of faults)
    match fault:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            faulthandler._sigsegv()
        case "raise":
            raise RuntimeError("no convergence")
        case "press":
            raise KeyboardInterrupt("of its own")
        case "leak":
            KEPT.append(np.ones(300_000_000 // 8))
        case "eat":
            eaten = []
            for _ in range(200):  # 4 GB at most, should nobody stop it
                eaten.append(np.ones(20_000_000 // 8))
                time.sleep(0.02)
        case "child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            time.sleep(600)
        case "hold":  # as long as there is a file of this name
            while Path(os.environ["FAULT_NOTES"]).with_name("hold").exists():
                time.sleep(0.02)
        case "print":
            print("noise of a method")
            os.write(2, b"noise of a library\n")
        case "fork":
            fork_and_die()


def fork_and_die() -> None:
    """Fork a child that stays, and die in the middle of a message."""
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    tracker = resource_tracker._resource_tracker._fd  # Python's own, which would complain
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # of an end that is read from
            if str(entry.readlink()).startswith("pipe:") and int(entry.name) != tracker:
                os.write(int(entry.name), (1000).to_bytes(4, "big") + b"the beginning")
    os.kill(os.getpid(), signal.SIGKILL)
