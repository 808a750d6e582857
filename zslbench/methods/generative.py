"""What the feature-generating methods share: train a conditional WGAN on seen classes, synthesise, classify.

Torch is imported inside the functions: the classes can be listed and described without it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zslbench.arrays import Array
from zslbench.methods.adversarial import AdversarialMethod
from zslbench.methods.base import Context
from zslbench.methods.remembered import once_more, remembered
from zslbench.params import param
from zslbench.task import ClassTable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.wgan import Networks, SeenRows, Term


@dataclasses.dataclass(kw_only=True)
class GenerativeMethod(AdversarialMethod):
    """A conditional WGAN on seen classes; a softmax classifier on what it makes of unseen ones (Xian et al., 2018)."""

    later: ClassVar[tuple[str, ...]] = ("synthesis", "final classifier")
    scoring: ClassVar[tuple[str, ...]] = ("per_class", "final_epochs", "final_batch", "final_tol", "final_lr")
    quick: ClassVar[Mapping[str, Any]] = {
        "hidden": 64,
        "noise": 4,
        "epochs": 8,
        "batch": 128,
        "critic_steps": 1,
        "lr": 1e-2,
        "cls_weight": 10.0,
        "pretrain_epochs": 10,
        "per_class": 20,
        "final_epochs": 5,
        "final_batch": 64,
        "final_lr": 2e-2,
    }

    epochs: int = param(30, low=1, high=10000, log=True, help="epochs of ⌈n/batch⌉ generator steps")
    pretrain_epochs: int = param(50, low=1, high=10000, log=True, help="epochs of the pre-trained seen classifier")
    per_class: int = param(300, low=1, high=20000, log=True, help="rows synthesised for each unseen class")
    final_epochs: int = param(25, low=1, high=10000, log=True, help="epochs of the final softmax classifier")
    final_batch: int = param(256, low=1, high=65536, log=True, help="rows a step of the final softmax classifier")
    final_tol: float = param(
        0.0, low=0.0, high=1.0, help="stop a final classifier when an epoch lowers its loss by less than this share"
    )
    final_lr: float = param(1e-3, low=1e-6, high=1.0, log=True, help="learning rate of the final softmax classifier")

    def _rounds(self, epoch_steps: int) -> Iterator[tuple[int, int, int]]:
        for epoch in range(1, self.epochs + 1):
            yield epoch_steps, epoch, self.epochs

    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[Term]:
        """Return the terms of the generator's loss besides the Wasserstein one; a weight of 0 means no term."""
        if self.cls_weight == 0:
            return []
        return [self._classification(rows, ctx)]

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

    def _classification(self, rows: SeenRows, ctx: Context) -> Term:
        """Return −E log P(y|x̃) by a frozen classifier, trained on the real rows of seen classes."""
        import torch
        from torch.nn import functional

        from zslbench.methods.softmax import train_softmax
        from zslbench.methods.wgan import Term

        def train(seed: int, epochs: int) -> torch.nn.Linear:
            return train_softmax(
                rows.features, rows.labels, len(rows.semantics), epochs=epochs, batch=100, lr=1e-3, seed=seed
            )

        with ctx.phase("pretrain"):
            given = {"seed": ctx.stream_seed("pretrain"), "epochs": self.pretrain_epochs}
            arrays = {"features": rows.features.cpu().numpy(), "labels": rows.labels.cpu().numpy()}
            machine = f"{rows.features.device} {torch.__version__} {torch.get_num_threads()} threads"
            make = functools.partial(train, **given)
            classes = len(rows.semantics)
            classifier = remembered(make, "seen classifier 2", arrays, ctx, classes=classes, machine=machine, **given)

        def loss(_networks: Networks, fakes: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return functional.cross_entropy(functional.linear(fakes, weight, bias), labels)

        return Term("classification", self.cls_weight, loss, (classifier.weight, classifier.bias))

    def _final_classifier(self, references: Tensor, labels: Tensor, classes: int) -> torch.nn.Linear:
        from zslbench.methods.softmax import train_softmax

        given: dict[str, Any] = {
            "epochs": self.final_epochs,
            "batch": self.final_batch,
            "lr": self.final_lr,
            "tol": self.final_tol,
            "seed": self.seeds_["final classifier"],
        }
        make = functools.partial(train_softmax, references, labels, classes, **given)
        if self.batchwise:  # its rows are never scored by themselves
            return make()
        arrays = {"references": references.cpu().numpy(), "labels": labels.cpu().numpy()}
        return once_more(make, "final classifier", arrays, classes=classes, device=str(references.device), **given)

    def _references(self, classes: ClassTable) -> tuple[Tensor, Tensor]:
        """Return (r, d) rows and (r,) positions of candidates: real rows of seen ones, then fakes of the others."""
        import torch

        of_seen = np.full(len(self.classes_), -1, dtype=np.int64)
        seen = np.isin(classes.ids, self.classes_.ids)
        of_seen[self.classes_.positions(classes.ids[seen])] = np.flatnonzero(seen)
        labels = self._tensor(of_seen)[self.rows_.labels]
        real = labels >= 0
        fakes = self._synthesise(classes.take(np.flatnonzero(~seen)), self.per_class).flatten(0, 1)
        of_fakes = self._tensor(np.flatnonzero(~seen).repeat(self.per_class))
        return torch.cat([self.rows_.features[real], fakes]), torch.cat([labels[real], of_fakes])
