"""What a second thread gains and costs, by the size of the networks and by how threads wait for each other.

    python benchmarks/threads.py                 # one thread against all, sleeping and spinning
    python benchmarks/threads.py --busy 2        # the same beside two busy loops

Printed for each shape: milliseconds of one iteration of a Wasserstein GAN (five critic steps and a generator step,
64 rows each), by the clock on the wall and by that of the processors, the least of some rounds in which one thread and
all of them take turns. `nn.OPERATIONS_A_THREAD` stands where all threads begin to gain.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time

import click
from tabulate import tabulate

SHAPES = {"digits, 512": (64, 7, 512), "CUB, 256": (2048, 312, 256), "CUB, 512": (2048, 312, 512)}
SHAPES |= {"CUB, 1024": (2048, 312, 1024), "CUB, 4096": (2048, 312, 4096)}
ROWS, CLASSES = 1000, 10


def measure(features: int, semantics: int, hidden: int, rounds: int) -> dict[int, tuple[float, float]]:
    """Return wall-clock and processor milliseconds of an iteration by the number of threads."""
    import torch

    from zslbench.methods.generative.training import GanOptions, GanTraining, SeenRows
    from zslbench.methods.generative.wgan import Critic, Generator
    from zslbench.methods.nn import in_threads, random_stream

    stream = random_stream(0)
    labels = torch.arange(ROWS) % CLASSES
    rows = SeenRows(
        torch.rand(ROWS, features, generator=stream), labels, torch.rand(CLASSES, semantics, generator=stream)
    )
    training = GanTraining(
        Generator(semantics, semantics, hidden, features, random_stream(1)),
        Critic(features, semantics, hidden, random_stream(2)),
        rows,
        [],
        GanOptions(batch=64, critic_steps=5, lr=1e-4, gp=10.0),
        {name: random_stream(at) for at, name in enumerate(("batches", "noise", "interpolation"))},
    )
    count = max(1, 2**25 // (hidden * features))
    spent: dict[int, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for threads in dict.fromkeys((1, torch.get_num_threads())):
            with in_threads(threads):
                training.steps(1, lambda _: contextlib.nullcontext())
                wall, processors = time.perf_counter(), time.process_time()
                training.steps(count, lambda _: contextlib.nullcontext())
                wall, processors = time.perf_counter() - wall, time.process_time() - processors
            spent.setdefault(threads, []).append((1e3 * wall / count, 1e3 * processors / count))
    return {
        threads: (min(wall for wall, _ in found), min(used for _, used in found)) for threads, found in spent.items()
    }


@click.command()
@click.option("--shapes", default=",".join(str(at) for at in range(len(SHAPES))), help="Numbers of the shapes.")
@click.option("--rounds", default=3, show_default=True, help="Measured turns of each number of threads.")
@click.option("--busy", default=0, show_default=True, help="Busy loops beside it.")
@click.option("--one", "only", hidden=True, help="Measure one shape in this process.")
def main(shapes: str, rounds: int, busy: int, only: str | None) -> None:
    """Measure one thread against all, where waiting threads sleep and where they spin."""
    if only:
        print(json.dumps(measure(*json.loads(only), rounds)))
        return
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    table = []
    try:
        for name in [list(SHAPES)[int(at)] for at in shapes.split(",")]:
            for policy in ("PASSIVE", "ACTIVE"):
                done = subprocess.run(
                    [sys.executable, __file__, "--rounds", str(rounds), "--one", json.dumps(SHAPES[name])],
                    env=os.environ | {"OMP_WAIT_POLICY": policy},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                for threads, (wall, used) in json.loads(done.stdout).items():
                    table.append([name, policy.lower(), threads, f"{wall:.1f}", f"{used:.1f}"])
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    print(tabulate(table, ["shape, hidden", "waiting", "threads", "wall, ms", "processors, ms"], disable_numparse=True))


if __name__ == "__main__":
    main()
