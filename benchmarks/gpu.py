"""LisGAN on a CUDA device: whole runs, several seeds at once, and how near its steps come to the device's ceilings.

    python benchmarks/gpu.py                         # SUN and CUB shapes, published widths and schedules
    python benchmarks/gpu.py --precision tf32 --json figures.json
    python benchmarks/gpu.py --toy                   # runs to its end on a CPU; the figures mean nothing

Random data of the real shapes; published hyper-parameters of gzsl. Printed: the device's speed on one large matrix
product and on one large copy; seconds, FLOP/s and bytes/s of an iteration (five critic steps and a generator step),
recorded as a graph and not; seconds of a full run (souls, pre-training, training, final classifier, scores) and of
three epochs of eight seeds at once, set-up included, against one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import torch

from lisgan import BATCH, CRITIC_STEPS, FEATURES, HIDDEN, SHAPES, SOUL_ROWS, Shape
from zslbench.methods import fit_cache, nn
from zslbench.methods.base import Context, overlay
from zslbench.methods.generative.kept_training import Training
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.task import ClassTable, Train

UNSEEN = {"cub": 50, "sun": 72}
TEST_ROWS = {"cub": 4731, "sun": 4020}


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is done: on a GPU in earnest, on a CPU just enough to see that everything runs.

    Attributes:
        device: of everything.
        rows, classes: at most so many training and test rows, seen and unseen classes; features: dimensions.
        order: of the large product; iterations: that are timed; epochs: of eight seeds at once.
        changes: of LisGAN's published hyper-parameters.
    """

    device: str = "cuda"
    rows: int = 10**6
    classes: int = 10**4
    features: int = FEATURES
    order: int = 8192
    iterations: int = 30
    epochs: int = 3
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)


GPU = Scale()
TOY = Scale(
    "cpu",
    rows=40,
    classes=4,
    features=8,
    order=64,
    iterations=2,
    epochs=1,
    changes={"hidden": 8, "epochs": 1, "pretrain_epochs": 1, "final_epochs": 1, "per_class": 2, "soul_rows": 2},
)


def timed(call: Callable[[], object]) -> float:
    """Return seconds of a call, the device's work included."""
    _synchronise()
    start = time.perf_counter()
    call()
    _synchronise()
    return time.perf_counter() - start


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes() -> int | None:
    """Return the most memory of the device since the last call, and begin anew; None on a CPU."""
    if not torch.cuda.is_available():
        return None
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return int(most)


def ceilings(precision: str, scale: Scale = GPU) -> tuple[float, float]:
    """Return FLOP/s of a large matrix product and bytes/s of a large copy on the device."""
    device, order = torch.device(scale.device), scale.order
    one, other = torch.rand(order, order, device=device), torch.rand(order, order, device=device)
    if precision == "bf16":
        one, other = one.bfloat16(), other.bfloat16()
    with nn.at_precision(precision, device):
        timed(lambda: one @ other)
        product = min(timed(lambda: one @ other) for _ in range(5))
    target = torch.empty_like(one)
    copy = min(timed(lambda: target.copy_(one)) for _ in range(5))
    return 2 * order**3 / product, 2 * one.numel() * one.element_size() / copy


def iteration_flops(shape: Shape) -> float:
    """Multiplications and additions of an iteration."""
    return CRITIC_STEPS * shape.critic_flops + shape.generator_flops(shape.classes)


def iteration_bytes(shape: Shape) -> float:
    """Bytes that an iteration must move: weights with gradients and Adam's moments, and the fakes of L_R2 twice."""
    critic = (FEATURES + shape.semantics) * HIDDEN * 4
    generator = (2 * shape.semantics + FEATURES) * HIDDEN * 4
    passes = 7  # read forward and backward, gradient written and read, two moments and the weight written
    fakes = shape.classes * SOUL_ROWS * (HIDDEN + FEATURES) * 4
    rows = CRITIC_STEPS * 2 * BATCH * (HIDDEN + FEATURES) * 4
    return float(CRITIC_STEPS * passes * critic + passes * generator + 4 * fakes + 4 * rows)


def data(name: str, scale: Scale = GPU) -> tuple[Train, np.ndarray, ClassTable]:
    """Return random training data of a shape, test rows, and all candidates."""
    shape, rng = SHAPES[name], np.random.default_rng(0)
    images, asked = min(shape.images, scale.rows), min(TEST_ROWS[name], scale.rows)
    classes, unseen = min(shape.classes, scale.classes), min(UNSEEN[name], scale.classes)
    count = classes + unseen
    table = ClassTable(np.arange(count), rng.random((count, shape.semantics), dtype=np.float32))
    seen = table.take(np.arange(classes))
    features = rng.random((images, scale.features), dtype=np.float32)
    train = Train(features, np.arange(images) % classes, seen)
    return train, rng.random((asked, scale.features), dtype=np.float32), table


def method(name: str, scale: Scale = GPU, **changes: object) -> LisGAN:
    """Return LisGAN with the published values of a data set's gzsl commands."""
    published = overlay(LisGAN, "lisgan", ("published",), name, "gzsl")
    return LisGAN(**(published | dict(scale.changes) | changes))


def seconds_an_iteration(training: Training, scale: Scale, precision: str, record: bool) -> float:
    """Return the seconds of an iteration of a training, recorded as a graph or not."""

    def steps(count: int) -> object:
        return training.steps(count, lambda _phase: contextlib.nullcontext(), record=record)

    with nn.at_precision(precision, torch.device(scale.device)):
        steps(8)  # the first ones are not recorded
        return timed(lambda: steps(scale.iterations)) / scale.iterations


def measure(name: str, precision: str, peak: tuple[float, float], scale: Scale = GPU) -> dict[str, float | None]:
    """Return the figures of one shape."""
    shape = SHAPES[name]
    train, rows, candidates = data(name, scale)

    def context(seed: int = 0) -> Context:
        return Context(seed, scale.device, precision=precision)

    training = method(name, scale)._begin(train, context())
    found: dict[str, float | None] = {}
    for recorded in (False, True):
        seconds = seconds_an_iteration(training, scale, precision, recorded)
        kind = "recorded" if recorded else "eager"
        found |= {
            f"{kind}_iteration_s": seconds,
            f"{kind}_flops_share": iteration_flops(shape) / seconds / peak[0],
            f"{kind}_bytes_share": iteration_bytes(shape) / seconds / peak[1],
        }
    found["graph"] = float(training._repeated.recorded)
    del training
    fit_cache.clear_cache()  # souls and the pre-trained classifier are part of a run
    peak_bytes()
    fitted = method(name, scale)
    fit = timed(lambda: fitted.fit(train, context()))
    scores = timed(lambda: fitted.scores(rows, candidates))
    found |= {"fit_s": fit, "scores_s": scores, "run_s": fit + scores, "peak_bytes": peak_bytes()}
    epochs = scale.epochs
    several = [method(name, scale, epochs=epochs) for _ in range(8)]
    together = timed(lambda: list(LisGAN.fit_seeds(several, train, [context(seed) for seed in range(8)])))
    fit_cache.clear_cache()
    single = timed(lambda: method(name, scale, epochs=epochs).fit(train, context(9)))
    found |= {"eight_seeds_s": together, "one_seed_s": single, "eight_over_one": together / single}
    return found


@click.command()
@click.option("--shapes", default="cub,sun", show_default=True, help="Which data sets' shapes.")
@click.option("--precision", type=click.Choice(["float32", "tf32", "bf16"]), default="float32", show_default=True)
@click.option("--toy", is_flag=True, help="On the CPU, as small as can be: only to see that everything runs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a file.")
def main(shapes: str, precision: str, toy: bool, json_file: Path | None) -> None:
    """Measure LisGAN on a CUDA device."""
    if not toy and not torch.cuda.is_available():
        sys.exit("this machine has no CUDA device; benchmarks/lisgan.py measures on the CPU, and --toy tries this one")
    scale = TOY if toy else GPU
    peak = ceilings(precision, scale)
    print(f"{'toy size, CPU' if toy else torch.cuda.get_device_name()}, torch {torch.__version__}, {precision}")
    print(f"one large matrix product: {peak[0] / 1e12:.1f} TFLOP/s; one large copy: {peak[1] / 1e12:.2f} TB/s")
    figures: dict[str, object] = {"flops": peak[0], "bytes": peak[1], "precision": precision}
    for name in shapes.split(","):
        found = measure(name, precision, peak, scale)
        figures[name] = found
        print(f"\n{name}")
        for what, value in found.items():
            print(f"  {what:24} {'–' if value is None else format(value, '.4g')}")
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
