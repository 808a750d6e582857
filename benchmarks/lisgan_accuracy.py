"""Accuracies of LisGAN as the public scripts compute them: `lisgan@public` against the plain implementation.

    python benchmarks/lisgan_accuracy.py ./xlsa17/FLO_PART --features efflite0 --seeds 10
    python benchmarks/lisgan_accuracy.py cub --data-root ./xlsa17 --features fc1000 --seeds 5 --hidden 512 --epochs 15 \
        --lr 3e-4 --json cub.json

Printed at some epochs of the GAN, for each of the three classifiers (First, 1-NN, FC) and each metric: the mean of both
with its 95 % t interval over seeds, and whether each mean lies in the other's interval. The last epoch of both
classifiers counts. Both draw their own random numbers and prepare the data on their own; in common are the functions
that draw initial weights. One thread per process: several processes with `--first-seed` and `--only` share the work,
each with a `--json` of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.preprocessing import MinMaxScaler
from tabulate import tabulate

from plain_lisgan import PlainClassifier, PlainTraining, plain_cascade
from zslbench.data.dataset import Dataset
from zslbench.data.loading import load_dataset
from zslbench.methods.base import Context, Method, fitted_state
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.generative.wgan import Critic, Generator
from zslbench.methods.nn import linear, random_stream
from zslbench.metrics import harmonic_mean, per_class_top1
from zslbench.task import Train

Results = dict[str, float]
"""Per cent, by ``epoch/classifier/metric``."""
CLASSIFIERS = {"First": "off", "1-NN": "nn", "FC": "softmax"}
SOUL_ROWS, FINAL_EPOCHS, RATIO = 20, 50, 0.6


def metrics_of(dataset: Dataset, zsl: np.ndarray, gzsl: np.ndarray) -> Results:
    """Return T1 of class ids predicted for unseen test rows, and U, S, H of those for unseen, then seen test rows."""
    unseen, seen = dataset.labels[dataset.test_unseen], dataset.labels[dataset.test_seen]
    values = {"T1": per_class_top1(unseen, zsl), "U": per_class_top1(unseen, gzsl[: len(unseen)])}
    values["S"] = per_class_top1(seen, gzsl[len(unseen) :])
    values["H"] = harmonic_mean(values["U"], values["S"])
    return {name: 100 * value for name, value in values.items()}


def named(step: int, classifier: str, metrics: Results) -> Results:
    """Return metrics under their full names."""
    return {f"{step}/{classifier}/{name}": value for name, value in metrics.items()}


def package_results(
    dataset: Dataset, seed: int, steps: list[int], values: dict[str, Any], device: str, precision: str
) -> Results:
    """Return what the package's method reaches."""
    rows = {"zsl": dataset.test_unseen, "gzsl": np.concatenate([dataset.test_unseen, dataset.test_seen])}
    classes = {"zsl": dataset.unseen, "gzsl": np.sort(np.concatenate([dataset.unseen, dataset.seen]))}
    results: Results = {}

    def judge(method: Method, step: int) -> None:
        if step not in steps:
            return
        for name, cascade in CLASSIFIERS.items():
            point = LisGAN(**values | {"cascade": cascade})
            vars(point).update(fitted_state(method))
            guesses = {
                rules: classes[rules][
                    point.scores(dataset.features[rows[rules]], dataset.class_table(classes[rules])).argmax(1)
                ]
                for rules in rows
            }
            results.update(named(step, name, metrics_of(dataset, guesses["zsl"], guesses["gzsl"])))

    labels = dataset.labels[dataset.trainval]
    train = Train(dataset.features[dataset.trainval], labels, dataset.class_table(dataset.seen))
    LisGAN(**values).fit(train, Context(seed, device, judge=judge, precision=precision))
    return results


class PlainRun:
    """The plain implementation on a data set: training, and the three classifiers at some epochs."""

    def __init__(self, dataset: Dataset, seed: int, values: dict[str, Any], device: str) -> None:
        self.dataset, self.values, self.device = dataset, values, device
        self.stream, self.noise = random_stream(1000 + seed), random_stream(2000 + seed, device)
        scaler = MinMaxScaler().fit(dataset.features[dataset.trainval])

        def scaled(rows: np.ndarray) -> torch.Tensor:
            return torch.tensor(scaler.transform(dataset.features[rows]), dtype=torch.float32).to(device)

        self.train, self.unseen, self.seen = map(scaled, (dataset.trainval, dataset.test_unseen, dataset.test_seen))
        self.labels = torch.tensor(np.searchsorted(dataset.seen, dataset.labels[dataset.trainval])).to(device)
        self.semantics = torch.tensor(np.array(dataset.semantics)).to(device)
        self.attributes, self.width = self.semantics.shape[1], self.train.shape[1]
        souls = []
        for label in range(len(dataset.seen)):
            of_class = self.train[self.labels == label].cpu().numpy()
            souls.append(KMeans(3, n_init=10, random_state=3).fit(of_class).cluster_centers_)
        given = (self.train, self.labels, self.semantics[dataset.seen], torch.tensor(np.array(souls)).to(device))
        pretrained = self.classifier(len(dataset.seen), lr=1e-3, batch=100)
        pretrained.use_rows(self.train, self.labels)
        for _ in range(values["pretrain_epochs"]):
            pretrained.epoch()
        generator = Generator(self.attributes, self.attributes, values["hidden"], self.width, self.stream)
        critic = Critic(self.width, self.attributes, values["hidden"], self.stream)
        weights = {name: values[name] for name in ("lr", "gp", "cls_weight", "l_r1", "l_r2")}
        frozen = pretrained.layer.requires_grad_(False)
        self.training = PlainTraining(
            generator, critic, frozen, *given, self.draw, soul_rows=SOUL_ROWS, device=device, **weights
        )

    def draw(self, purpose: str, *rows: int) -> torch.Tensor:
        """Return the next random numbers."""
        if purpose == "batches":
            return self.permutation(len(self.train))[: self.values["batch"]]
        if purpose == "interpolation":
            return torch.rand(*rows, 1, generator=self.noise, device=self.device)
        return torch.randn(*rows, self.attributes, generator=self.noise, device=self.device)

    def permutation(self, rows: int) -> torch.Tensor:
        """Return the next order of rows."""
        return torch.randperm(rows, generator=self.noise, device=self.device)

    def classifier(self, classes: int, lr: float, batch: int) -> PlainClassifier:
        """Return a classifier with fresh weights."""
        layer = linear(self.width, classes, self.stream).to(self.device)
        return PlainClassifier(layer, lr=lr, batch=batch, permutation=self.permutation)

    def results(self, steps: list[int]) -> Results:
        """Train, and return what is reached after each of the steps."""
        results: Results = {}
        for step in range(1, self.values["epochs"] + 1):
            for _ in range(0, len(self.train), self.values["batch"]):
                for _ in range(self.values["critic_steps"]):
                    labels, _ = self.training.critic_step()
                self.training.generator_step(labels)
            if step in steps:
                results |= self.judged(step)
        return results

    def judged(self, step: int) -> Results:
        """Return the metrics of the three classifiers."""
        dataset, per_class = self.dataset, self.values["per_class"]
        semantics = self.semantics[dataset.unseen].repeat_interleave(per_class, dim=0)
        with torch.no_grad():
            fakes = self.training.generator(self.draw("noise", len(semantics)), semantics)
        of_fakes = torch.arange(len(dataset.unseen), device=self.device).repeat_interleave(per_class)
        classes = np.concatenate([dataset.unseen, dataset.seen])
        joined = torch.cat([fakes, self.train]), torch.cat([of_fakes, self.labels + len(dataset.unseen)])
        zsl = self.guesses((fakes, of_fakes), self.unseen, dataset.unseen)
        gzsl = self.guesses(joined, torch.cat([self.unseen, self.seen]), classes)
        results: Results = {}
        for name in CLASSIFIERS:
            results |= named(step, name, metrics_of(dataset, zsl[name], gzsl[name]))
        return results

    def guesses(
        self, references: tuple[torch.Tensor, torch.Tensor], rows: torch.Tensor, classes: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the (n,) class ids that each of the three classifiers predicts."""
        classifier = self.classifier(len(classes), self.values["final_lr"], self.values["final_batch"])
        given = {"epochs": FINAL_EPOCHS, "picked": FINAL_EPOCHS, "fraction": RATIO}
        firsts, easy, neighbours, seconds = plain_cascade(classifier, *references, rows, **given)
        hard = np.setdiff1d(np.arange(len(rows)), easy)
        first = firsts[-1].argmax(1)
        of_all = {"First": first, "1-NN": first.clone(), "FC": first.clone()}
        of_all["1-NN"][hard], of_all["FC"][hard] = neighbours, seconds[-1].argmax(1)
        return {name: classes[guess.cpu().numpy()] for name, guess in of_all.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % t interval."""
    half = (
        stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.inf
    )
    return float(np.mean(values)), float(half)


def compared(plain: list[Results], package: list[Results]) -> Iterator[list[str]]:
    """Yield, for each metric, both means with their intervals, and whether each mean lies in the other's interval."""
    for name in plain[0]:
        (first, wide), (second, broad) = (interval([run[name] for run in runs]) for runs in (plain, package))
        agree = abs(first - second) <= min(wide, broad)
        yield [name, f"{first:.1f} ± {wide:.1f}", f"{second:.1f} ± {broad:.1f}", "yes" if agree else "no"]


@click.command()
@click.argument("data")
@click.option("--features", help="The file stem of the features.")
@click.option("--data-root", type=click.Path(path_type=Path), help="The parent folder of CUB/, SUN/ and so on.")
@click.option("--seeds", default=5, show_default=True, help="How many.")
@click.option("--first-seed", default=0, show_default=True, help="The first of the seeds.")
@click.option("--hidden", default=256, show_default=True, help="Hidden units of generator and critic.")
@click.option("--epochs", default=10, show_default=True, help="Epochs of the GAN.")
@click.option("--judge", default="5,10", show_default=True, help="Epochs that are judged, beside the last one.")
@click.option("--lr", default=5e-4, show_default=True, help="Learning rate of the GAN.")
@click.option("--cls-weight", default=0.1, show_default=True, help="λ.")
@click.option("--per-class", default=100, show_default=True, help="Rows synthesised per unseen class.")
@click.option("--l-r1", default=0.01, show_default=True, help="Weight of L_R1.")
@click.option("--l-r2", default=0.01, show_default=True, help="Weight of L_R2.")
@click.option("--device", default="cpu", show_default=True, help="Of both: cpu or cuda.")
@click.option("--precision", default="float32", show_default=True, help="Of the package's training.")
@click.option("--only", type=click.Choice(["plain", "package"]), help="Run one of the two.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures of each seed to a file.")
def main(
    data: str,
    features: str | None,
    data_root: Path | None,
    seeds: int,
    first_seed: int,
    judge: str,
    device: str,
    precision: str,
    only: str | None,
    json_file: Path | None,
    **given: Any,
) -> None:
    """Compare the accuracies of both implementations."""
    torch.set_num_threads(1)
    dataset = load_dataset(data, features=features, root=data_root)
    steps = sorted({*(int(step) for step in judge.split(",") if int(step) <= given["epochs"]), given["epochs"]})
    values = dict(LisGAN.presets["public"].values) | given | {"confident": RATIO, "final_epochs": FINAL_EPOCHS}
    values |= {"final_batch": 2 * given["per_class"], "final_lr": 1e-3}
    runs: dict[str, list[Results]] = {"plain": [], "package": []}
    for seed in range(first_seed, first_seed + seeds):
        if only != "plain":
            runs["package"].append(package_results(dataset, seed, steps, values, device, precision))
        if only != "package":
            runs["plain"].append(PlainRun(dataset, seed, values, device).results(steps))
        print(f"seed {seed} done", flush=True)
        if json_file:
            json_file.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    if only is None:
        print(tabulate(compared(**runs), ["epoch/classifier/metric", "plain", "lisgan@public", "agree"]))


if __name__ == "__main__":
    main()
