"""What the methods have in common that make rows for classes without images: preparation, and final classifiers."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from zslbench import params
from zslbench.arrays import AnyArray, Array
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, fitted_state
from zslbench.methods.fit_cache import Shared, reuse_once
from zslbench.methods.preprocess import Preprocessor, check_chain, normed
from zslbench.params import param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.generative.final_classifiers import SoftmaxTraining
    from zslbench.methods.generative.training import SeenRows

PICTURED = "pictured synthesis"
"""The random stream of rows for figures, a separate one so that scores do not depend on whether such rows are made."""


@dataclasses.dataclass(kw_only=True)
class SynthesisMethod(Method):
    """A method that learns on rows of seen classes to make rows for any class from its semantics."""

    libraries: ClassVar[tuple[str, ...]] = (
        "zslbench.methods.generative.training",
        "zslbench.methods.generative.final_classifiers",
    )
    later: ClassVar[tuple[str, ...]] = ("synthesis",)
    """Purposes of the random streams that `scores` opens."""
    scoring: ClassVar[tuple[str, ...]] = ("per_class",)

    preprocess: str = param("minmax", validate=check_chain, help="none, minmax, standard, l2, clip, or a chain by '+'")
    semantic_norm: str = param("l2", choices=("l2", "none"), help="whether each class vector is scaled to length 1")

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        """Train once for all points that differ only in `scoring`, which never changes the trained networks."""

        def trained(point: Self, **_values: params.Scalar) -> dict[str, Any]:
            return fitted_state(point.fit(train, ctx))

        shared = Shared(points, ctx)
        training = [name for name in params.declared_params(cls) if name not in cls.scoring]
        for point in points:
            vars(point).update(shared.once(point, trained, point, by=training))
            yield point

    def _prepare(self, train: Train, device: torch.device) -> SeenRows:
        """Keep the preprocessed training rows on the device, and the classes that have rows in canonical order.

        In the semantic setting also keep the (u, a) semantics of the unseen classes, in canonical order.
        """
        from zslbench.methods.generative.training import SeenRows

        order = train.classes.canonical()
        self.classes_ = train.classes.take(order[np.isin(train.classes.ids[order], train.labels)])
        self.preprocessor_ = Preprocessor(self.preprocess)
        features = self.preprocessor_.fit_transform(train.features)
        self._refuse_features(features)
        self.device_ = device
        self.unseen_: Tensor | None = None
        if self.knows_unseen:
            if train.unseen is None:
                raise BadValue(
                    f"{type(self).__name__}: it learns from the semantics of unseen classes and was given none; give "
                    "fit a Train with `unseen`, as the runner does."
                )
            described = train.unseen.semantics[train.unseen.canonical()]
            self.unseen_ = self._tensor(normed(described, self.semantic_norm))
        self.rows_ = SeenRows(
            features=self._tensor(features),
            labels=self._tensor(self.classes_.positions(train.labels)),
            semantics=self._tensor(normed(self.classes_.semantics, self.semantic_norm)),
        )
        return self.rows_

    def _refuse_features(self, features: Array) -> None:
        """Raise BadValue if preprocessed training features are not what the method can learn; any are, by default."""

    def _keep_seeds(self, ctx: Context) -> None:
        """Keep the seeds of the random streams that are opened after `fit`."""
        self.seeds_ = {purpose: ctx.stream_seed(purpose) for purpose in (*self.later, PICTURED)}

    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        """Return (k, per_class, d) fakes of k classes, preprocessed as `preprocess` says; `scores` uses others."""
        import torch

        order = classes.canonical()
        with torch.no_grad():
            made = self._synthesise(classes.take(order), per_class, PICTURED)
        return made.cpu().numpy()[np.argsort(order)]

    @abc.abstractmethod
    def _synthesise(self, classes: ClassTable, rows: int, purpose: str = "synthesis") -> Tensor:
        """Return (k, rows, d) rows made for k classes; the same numbers at every call, made without gradients."""

    def _tensor(self, array: AnyArray) -> Tensor:
        from zslbench.methods.nn import tensor_on

        return tensor_on(self.device_, array)


@dataclasses.dataclass(kw_only=True)
class FinalClassifierMethod(SynthesisMethod):
    """A method whose scores are those of a classifier trained on rows of seen classes and on rows made for the others.

    The classifier's logits are linear in the rows, or cosines with prototypes that a network makes of the semantics.
    While it trains, the logarithm of a prior can be added to them; predictions are made without (Chen et al., IJCAI
    2022). A margin between the entropies of seen and of generated rows can be added to its loss (Thong and Snoek, BMVC
    2020).

    By default the rows are preprocessed features and fakes of them. A method that classifies another representation of
    rows overrides `_represent`; where the references are not what `_represent` makes of features, also
    `_seen_references` and `_unseen_references`.
    """

    later: ClassVar[tuple[str, ...]] = ("synthesis", "final classifier")
    scoring: ClassVar[tuple[str, ...]] = (
        *("per_class", "final_epochs", "final_batch", "final_tol", "final_lr"),
        *("classifier_head", "temperature", "prototype_hidden", "logit_prior", "prior_ratio", "entropy_margin"),
    )
    per_class: int = param(300, low=1, high=20000, log=True, help="rows synthesised for each unseen class")
    final_epochs: int = param(25, low=1, high=10000, log=True, help="epochs of the final classifier")
    final_batch: int = param(256, low=1, high=65536, log=True, help="rows per step of the final classifier")
    final_tol: float = param(
        0.0, low=0.0, high=1.0, help="stop a final classifier when an epoch lowers its loss by less than this share"
    )
    final_lr: float = param(1e-3, low=1e-6, high=1.0, log=True, help="learning rate of the final classifier")
    classifier_head: str = param(
        "softmax",
        choices=("softmax", "prototype"),
        help="logits of the final classifier: linear, or cosines with prototypes made of the semantics (ZLAP)",
    )
    temperature: float = param(
        0.04, low=1e-3, high=10.0, log=True, help="temperature τ that divides the cosines of classifier_head=prototype"
    )
    prototype_hidden: int = param(
        1024, low=1, high=16384, log=True, help="hidden units of the network of classifier_head=prototype"
    )
    logit_prior: str = param(
        "none",
        choices=("none", "ratio"),
        help="prior whose logarithm the logits get while the final classifier trains, and not in predictions; ratio: "
        "seen classes by their rows, unseen ones alike, with prior_ratio between both groups (ZLA)",
    )
    prior_ratio: float = param(
        50.0,
        low=1e-3,
        high=1e6,
        log=True,
        help="prior of all seen classes over that of all unseen ones; the higher, the likelier unseen classes become",
    )
    entropy_margin: float = param(
        0.0,
        low=0.0,
        high=100.0,
        log=True,
        help="weight in the final classifier's loss of the entropy margin between rows of seen and of unseen classes; "
        "0: none",
    )

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) log-probabilities of the final classifier.

        It is trained on real rows of the candidates that were seen in training, and on synthesised rows of the others.
        """
        import torch

        trained = self._with_seen(classes)
        trained = trained.take(trained.canonical())
        with torch.no_grad():
            rows = self._represent(self._tensor(self.preprocessor_.transform(features)))
            references = self._references(trained)
        logs = self.classify(rows, *references, trained)
        if len(trained) > len(classes):
            logs = logs[:, self._tensor(trained.positions(classes.ids))].log_softmax(dim=1)
            return np.asarray(logs.cpu().numpy())
        return np.take(logs.cpu().numpy(), trained.positions(classes.ids), axis=1)

    def _with_seen(self, classes: ClassTable) -> ClassTable:
        """Return the classes that the final classifier is trained on: the candidates, or also the other seen classes.

        The network of prototypes is one for all classes, so it learns from seen rows what it needs for unseen
        candidates. In a cascade, whose second classifier learns from the rows asked about, it has the candidates alone.
        """
        if self.classifier_head == "softmax" or self.batchwise:
            return classes
        others = self.classes_.take(np.flatnonzero(~np.isin(self.classes_.ids, classes.ids)))
        ids, semantics = (
            np.concatenate([getattr(table, name) for table in (classes, others)]) for name in ("ids", "semantics")
        )
        return ClassTable(ids, semantics)

    def classify(self, rows: Tensor, references: Tensor, labels: Tensor, classes: ClassTable) -> Tensor:
        """Return (n, k) log-probabilities of (n, d) rows, by a classifier of (r, d) references and their positions."""
        from zslbench.methods.generative import final_classifiers

        def make() -> torch.nn.Module:
            return self._classifier_training(references, labels, classes).train(self.final_epochs)

        if self.batchwise:  # its rows are never scored by themselves
            return final_classifiers.log_probabilities(make(), rows)
        arrays = {"references": references.cpu().numpy(), "labels": labels.cpu().numpy()}
        arrays |= {"ids": classes.ids, "semantics": classes.semantics}
        given = {name: getattr(self, name) for name in self.scoring}
        given |= {"device": str(references.device), "seed": self.seeds_["final classifier"]}
        layer = reuse_once(make, "final classifier", arrays, **given)
        return final_classifiers.log_probabilities(layer, rows)

    def _classifier_training(self, references: Tensor, labels: Tensor, classes: ClassTable) -> SoftmaxTraining:
        from zslbench.methods import nn
        from zslbench.methods.generative.final_classifiers import PrototypeHead, SoftmaxTraining

        given = {name: getattr(self, f"final_{name}") for name in ("batch", "lr", "tol")}
        given |= {"seed": self.seeds_["final classifier"], "prior": self._log_prior(classes)}
        if self.entropy_margin:  # among unseen candidates alone it is 0
            seen = self._tensor(np.isin(classes.ids, self.classes_.ids))
            given["margin"] = (self.entropy_margin, seen) if seen.any() else None
        stream, width = nn.random_stream(given["seed"]), references.shape[1]
        if self.classifier_head == "softmax":
            return SoftmaxTraining(references, labels, nn.linear(width, len(classes), stream), **given)
        semantics = self._tensor(normed(classes.semantics, self.semantic_norm))
        head = PrototypeHead(semantics, self.prototype_hidden, width, self.temperature, stream)
        return SoftmaxTraining(references, labels, head, **PrototypeHead.optimiser, **given)

    def _log_prior(self, classes: ClassTable) -> Tensor | None:
        """Return the (k,) logarithms of the candidates' prior; None if there is none.

        With ratio r, seen candidates have r / (1 + r) in proportion to their training rows, and unseen ones
        1 / (1 + r) in equal parts. Among unseen candidates alone the prior is uniform, which changes nothing.
        """
        seen = np.isin(classes.ids, self.classes_.ids) if self.logit_prior == "ratio" else np.zeros(0, dtype=bool)
        if not seen.any():
            return None
        counts = np.bincount(self.rows_.labels.cpu().numpy(), minlength=len(self.classes_))
        rows = counts[self.classes_.positions(classes.ids[seen])]
        logs = np.full(len(classes), -np.log1p(self.prior_ratio) - np.log(max(1, (~seen).sum())))
        logs[seen] = np.log(rows / rows.sum()) - np.log1p(1 / self.prior_ratio)
        return self._tensor(logs.astype(np.float32))

    def _references(self, classes: ClassTable) -> tuple[Tensor, Tensor]:
        """Return (r, d) rows and (r,) positions of candidates: real rows of seen ones, then fakes of the others."""
        import torch

        of_seen = np.full(len(self.classes_), -1, dtype=np.int64)
        seen = np.isin(classes.ids, self.classes_.ids)
        of_seen[self.classes_.positions(classes.ids[seen])] = np.flatnonzero(seen)
        rows, positions = self._seen_references()
        labels = self._tensor(of_seen)[positions]
        real = labels >= 0
        fakes = self._unseen_references(classes.take(np.flatnonzero(~seen))).flatten(0, 1)
        of_fakes = self._tensor(np.flatnonzero(~seen).repeat(self.per_class))
        return torch.cat([rows[real], fakes]), torch.cat([labels[real], of_fakes])

    def _seen_references(self) -> tuple[Tensor, Tensor]:
        """Return (r, e) references of seen classes and (r,) positions of their classes in `classes_`."""
        return self._represent(self.rows_.features), self.rows_.labels

    def _unseen_references(self, classes: ClassTable) -> Tensor:
        """Return (k, per_class, e) references of k other classes; the same numbers at every call."""
        return self._represent(self._synthesise(classes, self.per_class))

    def _represent(self, rows: Tensor) -> Tensor:
        """Return (…, e) representations of (…, d) preprocessed rows, which are classified: the rows themselves.

        It is called without gradients, as `_synthesise` is.
        """
        return rows
