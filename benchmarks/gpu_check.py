"""What one GPU does, in a few minutes and one JSON: tests, iterations of LisGAN and of every other method, `gpu.py`.

    benchmarks/gpu_check.sh figures.json          # finds Python; at most 8 minutes
    python benchmarks/gpu_check.py figures.json   # the same with this Python

Without a GPU everything runs at toy size on the CPU, and the figures mean nothing. The JSON is written after every
part; what was left out for lack of time, or failed, is named in it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from gpu import GPU, TOY, Scale, data, method, peak_bytes, seconds_an_iteration
from zslbench.methods.base import Context, overlay
from zslbench.methods.generative.training import JointTraining
from zslbench.runner.class_lookup import method_class

ROOT = Path(__file__).resolve().parent.parent
SEEDS = 8
OTHERS = (
    *("fclswgan", "gazsl", "cyclewgan", "lsrgan", "fvaegan", "tfvaegan", "rff", "free", "cegzsl", "bivaegan", "zla"),
    *("cadavae", "sdgzsl"),
)
"""Methods besides LisGAN that train in steps."""
TESTS_SHARE, FIGURES_SHARE = 0.3, 0.6
"""Of the time that is left, the most that the tests, and each call of gpu.py, may take."""


class LeftOut(Exception):
    """A part was not done; says why."""


class Check:
    """Does parts as long as there is time, and writes what came out after each."""

    def __init__(self, output: Path, seconds: float, toy: bool) -> None:
        self.output, self.ends, self.toy = output, time.monotonic() + seconds, toy
        self.found: dict[str, Any] = {
            "device": "cpu, toy size: the figures mean nothing" if toy else torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
            "limit_s": seconds,
            "seconds": {},
            "left_out": {},
        }

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    def part(self, name: str, work: Callable[[], object], needs: float = 0.0) -> float:
        """Do one part, unless fewer seconds are left than it needs; return the seconds it took."""
        start = time.monotonic()
        try:
            if self.left < needs:
                raise LeftOut(f"no time: {max(self.left, 0):.0f} s were left, and it needs about {needs:.0f}")
            self.found[name] = work()
        except LeftOut as why:
            self.found["left_out"][name] = str(why)
        except Exception as error:
            self.found["left_out"][name] = f"failed: {type(error).__name__}: {error}"
        spent = time.monotonic() - start
        self.found["seconds"][name] = round(spent, 1)
        print(f"{name}: {self.found['left_out'].get(name, f'{spent:.1f} s')}", flush=True)
        self.write()
        return spent

    def write(self) -> None:
        """Write everything so far, in one step."""
        part = self.output.with_name(f"{self.output.name}.part")
        part.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        part.replace(self.output)

    def command(self, share: float, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python with some words in the checkout, for at most a share of the time that is left."""
        limit = max(share * self.left, 1.0)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        try:
            return subprocess.run(
                [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise LeftOut(f"it took more than the {limit:.0f} s that it had") from None

    def tests(self) -> dict[str, Any]:
        """Run the tests that need a GPU; return how many passed, failed and were skipped, and which failed."""
        report = self.output.with_name(f"{self.output.name}.xml").absolute()
        # only files with such tests: the others may import packages that a machine with a GPU lacks
        marked = [str(file) for file in (ROOT / "tests").glob("test_*.py") if "mark.gpu" in file.read_text("utf-8")]
        files = ["tests/test_gpu.py"] if self.toy else sorted(marked)
        words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        done = self.command(TESTS_SHARE, *words)
        try:
            cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError):
            raise LeftOut(f"pytest: {(done.stdout + done.stderr)[-500:]}") from None
        finally:
            report.unlink(missing_ok=True)
        bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        skipped = sum(case.find("skipped") is not None for case in cases)
        return {
            "passed": len(cases) - len(bad) - skipped,
            "skipped": skipped,
            "failed": [f"{case.get('classname')}::{case.get('name')}" for case in bad],
        }

    def figures(self, shape: str) -> dict[str, Any]:
        """Return what `gpu.py` measures of one shape."""
        file = self.output.with_name(f"{self.output.name}.{shape}").absolute()
        words = ["benchmarks/gpu.py", "--shapes", shape, "--json", str(file), *(["--toy"] if self.toy else [])]
        done = self.command(FIGURES_SHARE, *words)
        try:
            if done.returncode:
                raise LeftOut(f"gpu.py: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
            figures: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return figures
        finally:
            file.unlink(missing_ok=True)


def published_iterations(name: str, scale: Scale) -> dict[str, Any]:
    """Return the seconds of an iteration of a method with its published values on CUB's shape, in several ways.

    ``iterations`` says how many a published fit has; methods without a critic have steps instead.
    """
    cls = method_class(name)
    protocol = "zsl" if name == "bivaegan" else "gzsl"  # all that it has published
    published = cls(**overlay(cls, name, ("published",), "cub", protocol))
    changes = dict(cls.check_params) if scale is TOY else {}
    if any(field.name == "pretrain_epochs" for field in dataclasses.fields(cls)):
        changes["pretrain_epochs"] = 1  # no part of an iteration
    train, rows, candidates = data("cub", scale)
    unseen = candidates.take(np.arange(len(train.classes), len(candidates)))
    prior = np.full(len(unseen), 1 / len(unseen), dtype=np.float32)
    told = {"unseen": unseen, "unlabelled": rows, "class_prior": prior}
    train = dataclasses.replace(train, **{field: told[field] for field in published.told})
    found: dict[str, Any] = {}
    measured = dataclasses.replace(published, **changes)
    for precision, graph in (("float32", True), ("bf16", True), ("bf16", False)):
        training = measured._begin(train, Context(0, scale.device, precision=precision))
        way = f"{precision}, {'graph' if graph else 'no graph'}"
        found[way] = seconds_an_iteration(training, scale, precision, graph)
    return found | {"iterations": sum(count for count, _, _ in published._rounds(training.epoch_steps))}


def iterations(scale: Scale, precision: str, graph: bool, seeds: int) -> dict[str, float | int | bool | None]:
    """Return the seconds of an iteration of LisGAN on CUB's shape, and the most memory, set-up included.

    All fits have the same seed: what they train takes as long, and k-means is done once.
    """
    peak_bytes()
    train, _, _ = data("cub", scale)
    contexts = [Context(0, scale.device, precision=precision) for _ in range(seeds)]
    first = method("cub", scale)
    trainings = [first._begin(train, contexts[0])]
    trainings += [method("cub", scale)._begin(train, ctx, first) for ctx in contexts[1:]]
    training = trainings[0] if seeds == 1 else JointTraining(trainings)
    seconds = seconds_an_iteration(training, scale, precision, graph)
    return {
        "iteration_s": seconds,
        "iteration_s_a_seed": seconds / seeds,
        "recorded": training._repeated.recorded,
        "peak_bytes": peak_bytes(),
    }


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--seconds", default=460.0, show_default=True, help="Begin no part that would end after this time.")
def main(output: Path, seconds: float) -> None:
    """Write what one GPU does to OUTPUT."""
    toy = not torch.cuda.is_available()
    scale = TOY if toy else GPU
    check = Check(output, seconds, toy)
    check.part("pytest", check.tests)
    longest = 0.0
    precisions = ("float32", "bf16") if toy else ("float32", "tf32", "bf16")  # tf32 is CUDA's
    for seeds, precision, graph in itertools.product((1, SEEDS), precisions, (True, False)):
        name = f"cub {precision}, {'graph' if graph else 'no graph'}, {seeds} seed{'s' if seeds > 1 else ''}"
        # eight seeds take at most eight times as long as one
        needs = longest * (SEEDS if seeds > 1 and "8 seeds" not in " ".join(check.found["seconds"]) else 1)
        spent = check.part(name, lambda p=precision, g=graph, s=seeds: iterations(scale, p, g, s), needs)
        longest = max(longest, spent)
    for name in OTHERS:
        check.part(f"{name}@published", lambda name=name: published_iterations(name, scale))
    for shape in ("cub",) if toy else ("cub", "sun"):
        check.part(f"gpu.py {shape}", lambda shape=shape: check.figures(shape), needs=longest)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
