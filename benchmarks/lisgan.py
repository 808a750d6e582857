"""LisGAN's training steps against a plain implementation of the public algorithm, on the same random data.

    python benchmarks/lisgan.py                      # aPY, AWA1, CUB, FLO and SUN shapes, on the CPU
    python benchmarks/lisgan.py --shapes cub --json figures.json

Printed for each shape: processor seconds of a critic step, a generator step and an epoch of both implementations, their
ratios, and what part of the speed of one large matrix product of that precision (measured in the same run) the steps
reach. The plain implementation computes in float32. A step is the median of a few, taken in turn; an epoch is computed
from them, as ⌈n/64⌉ times five critic steps and a generator step. Networks have the published widths, and the loss is
that of the public code: pre-trained classifier, one fake soul per class.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from tabulate import tabulate

from plain_lisgan import PlainTraining
from zslbench.methods.generative import regularisers
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.methods.generative.training import GanOptions, GanTraining, Networks, SeenRows
from zslbench.methods.generative.wgan import Critic, Generator
from zslbench.methods.nn import at_precision, linear, random_stream
from zslbench.runner.resources import prepare_for_torch

FEATURES, HIDDEN, BATCH, CRITIC_STEPS, SOULS, SOUL_ROWS = 2048, 4096, 64, 5, 3, 20
WEIGHTS = {"cls_weight": 0.01, "l_r1": 1e-3, "l_r2": 1e-2}


@dataclasses.dataclass(frozen=True)
class Shape:
    """Training images, dimensions of the semantics (and of the noise), seen classes."""

    images: int
    semantics: int
    classes: int

    @property
    def steps(self) -> int:
        """Generator steps of an epoch."""
        return -(-self.images // BATCH)

    @property
    def critic_flops(self) -> float:
        """Multiplications and additions of a critic step in closed form, with its share of the fakes."""
        projections = (2 + 2) * FEATURES + (1 + 1) * self.semantics  # forward and weights' gradient, two and one rows
        penalty = 3 * FEATURES  # the gradient by x, and its two derivatives
        fakes = 2 * self.semantics + FEATURES
        return 2.0 * BATCH * HIDDEN * (projections + penalty + fakes)

    def generator_flops(self, drawn: int) -> float:
        """Multiplications and additions of a generator step with L_R2 over `drawn` classes."""
        fakes = drawn * SOUL_ROWS
        soul_pass = fakes * (3 * FEATURES + 2 * self.semantics) + drawn * 2 * self.semantics
        batch_pass = BATCH * (3 * FEATURES + 4 * self.semantics) + BATCH * (2 * FEATURES + self.semantics)
        return 2.0 * HIDDEN * (soul_pass + batch_pass)


SHAPES = {
    "apy": Shape(5932, 64, 20),
    "awa1": Shape(19832, 85, 40),
    "cub": Shape(7057, 312, 150),
    "flo": Shape(5631, 1024, 82),
    "sun": Shape(10320, 102, 645),
}
DRAWN = {"cub": (50,), "sun": (64,)}
"""Classes that ``soul_classes`` draws where it is measured."""


class Bench:
    """Both implementations with the same weights and data."""

    def __init__(self, shape: Shape) -> None:
        stream = random_stream(0)
        self.shape = shape
        self.features = torch.rand(shape.images, FEATURES, generator=stream)
        self.labels = torch.arange(shape.images) % shape.classes
        self.semantics = torch.rand(shape.classes, shape.semantics, generator=stream)
        self.souls = torch.rand(shape.classes, SOULS, FEATURES, generator=stream)
        self.classifier = linear(FEATURES, shape.classes, stream).requires_grad_(False)
        self.streams = {name: random_stream(at) for at, name in enumerate(("batches", "noise", "interpolation"))}

    def networks(self) -> tuple[Generator, Critic]:
        """Return fresh networks of the published widths."""
        size = self.shape.semantics
        return (
            Generator(size, size, HIDDEN, FEATURES, random_stream(1)),
            Critic(FEATURES, size, HIDDEN, random_stream(2)),
        )

    def plain(self) -> PlainTraining:
        """Return the plain implementation."""
        size = self.shape.semantics

        def draw(purpose: str, *rows: int) -> torch.Tensor:
            if purpose == "batches":
                return torch.randperm(self.shape.images, generator=self.streams["batches"])[:BATCH]
            if purpose == "interpolation":
                return torch.rand(*rows, 1, generator=self.streams["interpolation"])
            return torch.randn(*rows, size, generator=self.streams["noise"])

        return PlainTraining(
            *self.networks(),
            self.classifier,
            self.features,
            self.labels,
            self.semantics,
            self.souls,
            draw,
            lr=1e-4,
            gp=10.0,
            soul_rows=SOUL_ROWS,
            **WEIGHTS,
        )

    def fast(self, drawn: int) -> GanTraining:
        """Return this package's implementation, L_R2 over `drawn` classes."""
        generator, critic = self.networks()
        stream = random_stream(3)

        def second(nets: Networks, _fakes: torch.Tensor, _labels: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            fakes = nets.generator(noise, self.semantics[:drawn, None, :])
            return regularisers.l_r2(*regularisers.mean_fake_souls(fakes), self.souls[:drawn])

        cross_entropy = torch.nn.functional.cross_entropy
        terms = [
            LossTerm("classification", WEIGHTS["cls_weight"], lambda _, x, y: cross_entropy(self.classifier(x), y)),
            LossTerm("l_r1", WEIGHTS["l_r1"], lambda _, x, y: regularisers.l_r1(x, y, self.souls)),
            LossTerm(
                "l_r2",
                WEIGHTS["l_r2"],
                second,
                draw=lambda: (torch.randn(drawn, SOUL_ROWS, self.shape.semantics, generator=stream),),
            ),
        ]
        return GanTraining(
            generator,
            critic,
            SeenRows(self.features, self.labels, self.semantics),
            terms,
            GanOptions(batch=BATCH, critic_steps=CRITIC_STEPS, lr=1e-4, gp=10.0),
            self.streams,
        )


def seconds_of(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes of processors: other work on the machine is not counted."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_gflops(precision: str, size: int = 4096) -> float:
    """Return GFLOP/s of one large matrix product: the median of three after one that is not counted."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = torch.rand(size, size).to(kind), torch.rand(size, size).to(kind)
    return 2 * size**3 / statistics.median([seconds_of(lambda: one @ other) for _ in range(4)][1:]) / 1e9


def measure(shape: Shape, drawn: Sequence[int], precisions: Sequence[str], rounds: int) -> list[dict[str, float | str]]:
    """Return one row of figures for each precision and number of classes in L_R2.

    All implementations take their steps in turn in each round, so that load of other work falls on all of them.
    """
    bench = Bench(shape)
    labels = torch.arange(BATCH) % shape.classes
    plain = bench.plain()
    trainings = {(precision, count): bench.fast(count) for count in drawn for precision in precisions}
    steps: dict[object, Callable[[], object]] = {
        "critic": plain.critic_step,
        "generator": functools.partial(plain.generator_step, labels),
    }

    def take(key: tuple[str, int], part: str) -> None:
        training = trainings[key]
        with at_precision(key[0], torch.device("cpu")):
            if part == "generator":
                training.generator_step(labels)
            else:
                for batch in training.draw():
                    training.critic_step(batch)

    for key in trainings:
        steps |= {(*key, part): functools.partial(take, key, part) for part in ("critic", "generator")}
    each_round = [{key: seconds_of(call) for key, call in steps.items()} for _ in range(rounds + 1)][1:]
    median = {key: statistics.median(seconds[key] for seconds in each_round) for key in steps}
    plain_epoch = shape.steps * (CRITIC_STEPS * median["critic"] + median["generator"])
    rows: list[dict[str, float | str]] = []
    for precision, count in trainings:
        critic, generator = median[precision, count, "critic"] / CRITIC_STEPS, median[precision, count, "generator"]
        epoch = shape.steps * (CRITIC_STEPS * critic + generator)
        rows.append(
            {
                "precision": precision,
                "soul_classes": count,
                "critic_step": critic,
                "generator_step": generator,
                "epoch": epoch,
                "plain_critic_step": median["critic"],
                "plain_generator_step": median["generator"],
                "plain_epoch": plain_epoch,
                "critic_ratio": median["critic"] / critic,
                "generator_ratio": median["generator"] / generator,
                "epoch_ratio": plain_epoch / epoch,
                "critic_gflops": shape.critic_flops / critic / 1e9,
                "generator_gflops": shape.generator_flops(count) / generator / 1e9,
            }
        )
    return rows


def _line(name: str, row: dict[str, Any], peak: float) -> list[str]:
    def both(part: str, digits: str) -> str:
        return f"{row[f'plain_{part}']:{digits}} → {row[part]:{digits}}"

    ratios = [f"{row[f'{part}_ratio']:.2f}" for part in ("critic", "generator", "epoch")]
    shares = [f"{row[f'{part}_gflops'] / peak:.0%}" for part in ("critic", "generator")]
    steps = [both("critic_step", ".3g"), both("generator_step", ".3g"), both("epoch", ".0f")]
    return [name, row["precision"], str(row["soul_classes"]), *steps, *ratios, *shares]


@click.command()
@click.option("--shapes", default=",".join(SHAPES), show_default=True, help="Which data sets' shapes.")
@click.option("--precisions", default="float32,bf16", show_default=True, help="Of the package; plain is float32.")
@click.option("--rounds", default=4, show_default=True, help="Measured repetitions of a step.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a file.")
def main(shapes: str, precisions: str, rounds: int, json_file: Path | None) -> None:
    """Measure LisGAN's steps against a plain implementation, on the CPU."""
    prepare_for_torch()  # of which the plain implementation profits, too
    peaks = {precision: peak_gflops(precision) for precision in precisions.split(",")}
    figures: dict[str, object] = {"threads": torch.get_num_threads(), "matrix_product_gflops": peaks}
    reached = ", ".join(f"{peak:.0f} GFLOP/s in {precision}" for precision, peak in peaks.items())
    print(f"{torch.get_num_threads()} threads; one large matrix product reaches {reached}", flush=True)
    table = []
    for name in shapes.split(","):
        shape = SHAPES[name]
        figures[name] = rows = measure(shape, [shape.classes, *DRAWN.get(name, ())], list(peaks), rounds)
        table += [_line(name, row, peaks[str(row["precision"])]) for row in rows]
    heads = ["shape", "precision", "classes in L_R2", "critic step, s", "generator step, s", "epoch, s"]
    heads += ["critic ×", "generator ×", "epoch ×", "critic of peak", "generator of peak"]
    print(tabulate(table, heads, disable_numparse=True))
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
