"""What the feature-generating methods share: train a conditional WGAN on seen classes, synthesise, classify.

Torch is imported inside the functions: the classes can be listed and described without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method
from zslbench.methods.preprocess import check_chain, preprocessor
from zslbench.params import param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.nn import Critic, Generator
    from zslbench.methods.wgan import SeenRows, Term


@dataclasses.dataclass(kw_only=True)
class GenerativeMethod(Method):
    """A method that learns to generate features of a class from its semantics (Xian et al., 2018).

    Whatever is drawn a class goes through `ClassTable.canonical`, so neither ids nor order of classes matter. Every
    purpose has a random stream of its own: settings that differ in a loss term share initial weights and batches.
    """

    quick: ClassVar[Mapping[str, Any]] = {
        "hidden": 64,
        "noise": 4,
        "epochs": 12,
        "critic_steps": 1,
        "lr": 3e-3,
        "cls_weight": 10.0,
        "pretrain_epochs": 10,
        "per_class": 20,
        "final_epochs": 10,
        "final_batch": 64,
        "final_lr": 1e-2,
    }

    hidden: int = param(4096, low=1, high=16384, log=True, help="hidden units of generator and critic")
    noise: int = param(0, low=0, high=4096, help="dimensions of the noise; 0: as many as the semantics have")
    epochs: int = param(30, low=1, high=10000, log=True, help="epochs of ⌈n/batch⌉ generator steps")
    batch: int = param(64, low=1, high=65536, log=True, help="rows a step of critic and generator")
    critic_steps: int = param(5, low=1, high=100, help="critic steps before each generator step")
    lr: float = param(1e-4, low=1e-6, high=1e-1, log=True, help="learning rate of generator and critic")
    gp: float = param(10.0, low=0.0, high=1000.0, help="weight β of the gradient penalty")
    cls_weight: float = param(0.01, low=0.0, high=10.0, log=True, help="weight λ of the classification loss; 0: none")
    pretrain_epochs: int = param(50, low=1, high=10000, log=True, help="epochs of the pre-trained seen classifier")
    per_class: int = param(300, low=1, high=20000, log=True, help="rows synthesised for each unseen class")
    final_epochs: int = param(25, low=1, high=10000, log=True, help="epochs of the final softmax classifier")
    final_batch: int = param(256, low=1, high=65536, log=True, help="rows a step of the final softmax classifier")
    final_lr: float = param(1e-3, low=1e-6, high=1.0, log=True, help="learning rate of the final softmax classifier")
    preprocess: str = param("minmax", validate=check_chain, help="none, minmax, standard, l2, clip, or a chain by '+'")
    semantic_norm: str = param("l2", choices=("l2", "none"), help="whether each class vector is scaled to length 1")

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train generator and critic on seen classes; the semantics of unseen classes are not needed."""
        from zslbench.methods import nn, wgan

        device = nn.resolve_device(ctx.device)
        rows = self._prepare(train, device)
        noise, attributes = self.noise or rows.semantics.shape[1], rows.semantics.shape[1]
        width = rows.features.shape[1]

        def stream(purpose: str, where: torch.device | str = "cpu") -> torch.Generator:
            return nn.random_stream(ctx.stream_seed(purpose), where)

        self.generator_ = nn.Generator(noise, attributes, self.hidden, width, stream("generator init")).to(device)
        critic = nn.Critic(width, attributes, self.hidden, stream("critic init"))
        if self._uses_branch:
            critic.add_branch(len(rows.semantics), stream("branch init"))
        critic.to(device)
        self.seeds_ = {purpose: ctx.stream_seed(purpose) for purpose in ("synthesis", "final classifier")}
        training = wgan.Training(
            self.generator_,
            critic,
            rows,
            self.terms(rows, self.generator_, critic, ctx),
            batch=self.batch,
            critic_steps=self.critic_steps,
            lr=self.lr,
            gp=self.gp,
            branch_weight=self.cls_weight,
            streams={purpose: stream(purpose, device) for purpose in ("batches", "noise", "interpolation")},
        )
        for epoch in range(1, self.epochs + 1):
            losses = training.epoch(ctx.phase)
            self._refuse_divergence(epoch, losses)
            ctx.log(epoch, self.epochs, **losses)
            ctx.checkpoint(self, epoch)
        self.generator_.requires_grad_(False)
        return self

    def terms(self, rows: SeenRows, generator: Generator, critic: Critic, ctx: Context) -> list[Term]:
        """Return the terms of the generator's loss besides the Wasserstein one; a weight of 0 means no term."""
        if self.cls_weight == 0:
            return []
        return [self._classification(rows, critic, ctx)]

    def refine(self, first: Tensor, rows: Tensor, references: Tensor, labels: Tensor) -> Tensor:
        """Return what becomes of the (n, k) log-probabilities of the final softmax classifier: here, nothing."""
        return first

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) log-probabilities of a linear softmax classifier.

        It is trained on real rows of the candidates that were seen in training, and on synthesised rows of the others.
        """
        from zslbench.methods import softmax

        order = classes.canonical()
        references, labels = self._references(classes.take(order))
        rows = self._tensor(self.preprocessor_.transform(features))
        first = softmax.log_probabilities(self._final_classifier(references, labels, len(classes)), rows)
        logs = self.refine(first, rows, references, labels).cpu().numpy()
        out = np.empty_like(logs)
        out[:, order] = logs
        return out

    @property
    def _uses_branch(self) -> bool:
        """Whether the critic has a classifying branch."""
        return False

    def _prepare(self, train: Train, device: torch.device) -> SeenRows:
        """Keep the training rows on the device, preprocessed, their classes in canonical order."""
        from zslbench.methods.wgan import SeenRows

        order = train.classes.canonical()
        self.classes_ = train.classes.take(order)
        self.preprocessor_ = preprocessor(self.preprocess)
        features = self.preprocessor_.fit_transform(train.features)
        if features.min() < 0:
            raise BadValue(
                f"{type(self).__name__}: preprocess={self.preprocess} leaves training features down to "
                f"{features.min():.3g}, and a ReLU generator makes none below 0; "
                "choose minmax or standard+clip+minmax."
            )
        self.device_ = device
        self.rows_ = SeenRows(
            features=self._tensor(features),
            labels=self._tensor(self.classes_.positions(train.labels)),
            semantics=self._tensor(self._normed(self.classes_.semantics)),
        )
        return self.rows_

    def _classification(self, rows: SeenRows, critic: Critic, ctx: Context) -> Term:
        """Return −E log P(y|x̃) by a frozen classifier, trained on the real rows of seen classes."""
        from torch.nn import functional

        from zslbench.methods.softmax import train_softmax
        from zslbench.methods.wgan import Term

        with ctx.phase("pretrain"):
            classifier = train_softmax(
                rows.features,
                rows.labels,
                len(rows.semantics),
                epochs=self.pretrain_epochs,
                batch=100,
                lr=1e-3,
                seed=ctx.stream_seed("pretrain"),
            )
        return Term(
            "classification", self.cls_weight, lambda fakes, labels: functional.cross_entropy(classifier(fakes), labels)
        )

    def _final_classifier(self, references: Tensor, labels: Tensor, classes: int) -> torch.nn.Linear:
        from zslbench.methods.softmax import train_softmax

        return train_softmax(
            references,
            labels,
            classes,
            epochs=self.final_epochs,
            batch=self.final_batch,
            lr=self.final_lr,
            seed=self.seeds_["final classifier"],
        )

    def _references(self, classes: ClassTable) -> tuple[Tensor, Tensor]:
        """Return (r, d) rows and (r,) positions of candidates: real rows of seen ones, then fakes of the others."""
        import torch

        from zslbench.methods.nn import random_stream

        of_seen = np.full(len(self.classes_), -1, dtype=np.int64)
        seen = np.isin(classes.ids, self.classes_.ids)
        of_seen[self.classes_.positions(classes.ids[seen])] = np.flatnonzero(seen)
        labels = self._tensor(of_seen)[self.rows_.labels]
        real = labels >= 0
        semantics = self._tensor(self._normed(classes.semantics[~seen]))
        with torch.no_grad():
            stream = random_stream(self.seeds_["synthesis"], self.device_)
            fakes = self.generator_.synthesise(semantics, self.per_class, stream).flatten(0, 1)
        of_fakes = self._tensor(np.flatnonzero(~seen).repeat(self.per_class))
        return torch.cat([self.rows_.features[real], fakes]), torch.cat([labels[real], of_fakes])

    def _normed(self, semantics: Array) -> Array:
        if self.semantic_norm == "none":
            return semantics
        lengths = np.linalg.norm(semantics, axis=1, keepdims=True)
        out: Array = semantics / np.where(lengths > 0, lengths, 1)
        return out

    def _tensor(self, array: AnyArray | IntArray) -> Tensor:
        """Return a copy of `array` on the device; inputs are read-only and stay untouched."""
        import torch

        return torch.tensor(array, device=self.device_)

    def _refuse_divergence(self, epoch: int, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise BadValue(
                f"{type(self).__name__}: the loss {bad[0]!r} is not finite in epoch {epoch}; lower lr={self.lr:g}."
            )
