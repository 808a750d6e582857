"""Classifiers of synthesised features: softmax (LisGAN, Eq. 7, 8), nearest neighbours, SVM, LisGAN's cascade (3.4).

The logits of a softmax are linear, or cosines with prototypes that a network makes of the semantics (ZLAP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zslbench.arrays import Array, IntArray
from zslbench.methods.generative.wgan import SLOPE
from zslbench.methods.nn import adam, linear, random_stream, row_batches, take_steps, threads_for
from zslbench.step_reports import report_progress

BLOCK = 2**25
"""How many distances are in memory at once."""
BLOCK_ROWS = 512
ENTROPY_MARGIN = 0.2
"""m of `entropy_margin`, in nats, as in the public code."""


class PrototypeHead(torch.nn.Module):
    """Logits cos(x, P(a_c)) / τ with prototypes P(a) = W₂ LReLU(W₁ a + b₁) + b₂ of the classes (ZLAP).

    Args:
        semantics: (k, a) of the classes.
        features: dimensions of a row.
    """

    semantics: Tensor
    optimiser: ClassVar[Mapping[str, Any]] = {"decay": 1e-4, "halved_every": 30}
    """How the public code of ZLAP trains it; see `SoftmaxTraining`."""

    def __init__(
        self, semantics: Tensor, hidden: int, features: int, temperature: float, stream: torch.Generator
    ) -> None:
        super().__init__()
        self.register_buffer("semantics", semantics)
        self.first = linear(semantics.shape[1], hidden, stream)
        self.second = linear(hidden, features, stream)
        self.temperature = temperature

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, k) logits of (n, d) rows."""
        prototypes = self.second(functional.leaky_relu(self.first(self.semantics), SLOPE))
        return functional.normalize(features, dim=1) @ functional.normalize(prototypes, dim=1).T / self.temperature

    def operations(self, rows: int) -> int:
        """Return the multiplications and additions of a pass of so many rows."""
        classes, width = len(self.semantics), self.second.out_features
        return 2 * classes * (rows * width + self.first.weight.numel() + self.second.weight.numel())


class SoftmaxTraining:
    """The training of a classifier by Adam to minimise the negative log-likelihood (LisGAN, Eq. 7), a step at a time.

    Args:
        features: (n, d) rows.
        labels: (n,) positions of their classes, on the same device.
        layer: returns (n, k) logits of (n, d) rows; a fresh linear layer, or a `PrototypeHead`.
        batch: rows of every step (see `row_batches`).
        seed: of the order of the rows; nothing else is random.
        prior: (k,) logarithms that are added to the logits in the loss alone (ZLA).
        margin: the weight of `entropy_margin` in the loss, and the (k,) seen classes of it; None: without it.
        decay: of the weights, Adam's own L2 term.
        halved_every: epochs after which the learning rate is halved; 0: never.
        tol: stop after an epoch whose mean loss is not lower than that of the epoch before by at least this share.
        phase: the name under which progress is reported.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        layer: torch.nn.Linear | PrototypeHead,
        *,
        batch: int,
        lr: float,
        seed: int,
        prior: Tensor | None = None,
        margin: tuple[float, Tensor] | None = None,
        decay: float = 0.0,
        halved_every: int = 0,
        tol: float = 0.0,
        phase: str = "final classifier",
    ) -> None:
        self.batch, self.prior, self.margin, self.tol, self.phase = batch, prior, margin, tol, phase
        self.layer = layer.to(features.device)
        self._optimiser = adam(self.layer.parameters(), lr, decay=decay)
        step_lr = torch.optim.lr_scheduler.StepLR
        self._halving = step_lr(self._optimiser, halved_every, 0.5) if halved_every else None
        self._order = random_stream(seed + 1, features.device)
        self.use_rows(features, labels)

    def use_rows(self, features: Tensor, labels: Tensor) -> None:
        """Train on these rows from now on, with the weights and the state of Adam as they are."""
        self._features, self._labels = features, labels
        self._batches = row_batches(len(features), self.batch, self._order)
        self._before, self._ended = float("inf"), False

    def train(self, epochs: int) -> torch.nn.Linear | PrototypeHead:
        """Return the layer after so many more epochs of ⌈n / batch⌉ steps, fewer if `tol` ends the training."""
        steps = -(-len(self._features) // self.batch)
        layer, batch = self.layer, self.batch
        work = layer.operations(batch) if isinstance(layer, PrototypeHead) else 2 * batch * layer.weight.numel()
        threads = threads_for(work)

        def loss_of(rows: Tensor) -> Tensor:
            logits: Tensor = layer(self._features[rows])
            labels = self._labels[rows]
            loss = functional.cross_entropy(logits if self.prior is None else logits + self.prior, labels)
            if self.margin is None:
                return loss
            weight, seen = self.margin
            return loss + weight * entropy_margin(logits, labels, seen)

        def advance(taken: int) -> bool:
            return report_progress(self.phase, taken, epochs * steps)

        rounds = 0 if self._ended else epochs
        given = self._optimiser, loss_of, self._batches, threads, advance
        for _, total, _ in take_steps(rounds * steps, steps, *given):
            if self._halving:
                self._halving.step()
            if self.tol:
                now = float(total) / steps
                self._ended, self._before = now > (1 - self.tol) * self._before, now
            if self._ended:
                break
        return layer


def train_softmax(
    features: Tensor, labels: Tensor, classes: int, *, epochs: int, batch: int, lr: float, seed: int, **options: Any
) -> torch.nn.Linear:
    """Return a linear layer trained for so many epochs; `seed` is that of its initial weights as well."""
    layer = linear(features.shape[1], classes, random_stream(seed))
    SoftmaxTraining(features, labels, layer, batch=batch, lr=lr, seed=seed, **options).train(epochs)
    return layer.requires_grad_(False)


def log_probabilities(layer: torch.nn.Module, features: Tensor) -> Tensor:
    """Return (n, k) log P(y|x) of (n, d) rows."""
    with torch.no_grad():
        return functional.log_softmax(layer(features), dim=1)


def entropy_margin(logits: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Return relu(m + H̄_s(seen) − H̄_s(unseen)) + relu(m + H̄_u(unseen) − H̄_u(seen)) (Thong and Snoek, BMVC 2020).

    H̄_g of some rows is their mean of −Σ_{c∈g} p_c log p_c over the group g of seen or of unseen classes, with p the
    softmax over all. Without rows of both kinds it is 0.

    Args:
        logits: (n, k) of rows; labels: (n,) positions of their classes; seen: (k,) whether each class is a seen one.
    """
    logs = functional.log_softmax(logits, dim=1)
    groups = torch.stack([seen, ~seen]).to(logs.dtype)
    rows = groups[:, labels]
    counts = rows.sum(1)
    means = rows @ (-logs.exp() * logs) @ groups.T / counts.clamp(min=1)[:, None]  # (2 kinds of rows, 2 groups)
    loss: Tensor = functional.relu(ENTROPY_MARGIN + means.diagonal() - means.flip(0).diagonal()).sum()
    return loss * (counts.amin() > 0)


def uncertainty(log_probabilities: Array, rule: str) -> Array:
    """Return (n,) values that rank the rows; the most confident row has the lowest.

    ``paper``: the entropy −Σ p log p of each row (Eq. 9). ``reference``: the public code passes log-probabilities to an
    entropy function that renormalises, and takes the largest first; that is minus the entropy of |log p| / Σ|log p|.
    """
    logs = log_probabilities.astype(np.float64)
    if rule == "paper":
        entropy: Array = -(np.exp(logs) * logs).sum(axis=1)
        return entropy
    size = np.abs(logs)
    total = size.sum(axis=1, keepdims=True)
    share = np.divide(size, total, out=np.full_like(size, 1 / size.shape[1]), where=total > 0)
    negated: Array = (share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return negated


def confident_rows(log_probabilities: Array, rule: str, fraction: float) -> IntArray:
    """Return the ⌊fraction · n⌋ rows of lowest `uncertainty`, the most confident first."""
    values = uncertainty(log_probabilities, rule)
    return np.argsort(values, kind="stable")[: int(fraction * len(values))].astype(np.int64)


def nearest_neighbour(references: Tensor, labels: Tensor, rows: Tensor, classes: int) -> Tensor:
    """Return (m, k) log-softmax of minus the squared distance to the nearest of (r, d) references of each class."""
    centre = references.mean(0)  # squares of rows far from 0 leave nothing of their difference in float32
    references, rows = references - centre, rows - centre
    lengths = references.square().sum(1)
    logs = []
    for block in torch.split(rows, max(1, BLOCK // len(references))):
        squared = (block.square().sum(1, keepdim=True) + lengths - 2 * block @ references.T).clamp(min=0)
        nearest = torch.full((len(block), classes), torch.inf, dtype=squared.dtype, device=squared.device)
        nearest.scatter_reduce_(1, labels.expand(len(block), -1), squared, "amin")
        logs.append(functional.log_softmax(-nearest, dim=1))
    return torch.cat(logs)


def support_vectors(references: Tensor, labels: Tensor, rows: Tensor, classes: int, seed: int) -> Tensor:
    """Return (m, k) log-softmax of the margins of linear SVMs, one per class against the rest (scikit-learn)."""
    from sklearn.svm import LinearSVC

    if classes == 1:
        return torch.zeros(len(rows), 1, device=rows.device)
    svm = LinearSVC(dual="auto", random_state=seed % 2**32).fit(references.cpu().numpy(), labels.cpu().numpy())
    margins = torch.tensor(svm.decision_function(rows.cpu().numpy()), dtype=rows.dtype, device=rows.device)
    if classes == 2:
        margins = torch.stack([-margins, margins], dim=1)
    return functional.log_softmax(margins, dim=1)


def cascade(
    first: Tensor,
    rows: Tensor,
    references: Tensor,
    labels: Tensor,
    *,
    rule: str,
    fraction: float,
    second: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Return (n, k) log-probabilities: the first classifier's for confident rows, the second's for the others.

    Args:
        first: (n, k) log-probabilities of the first classifier on (n, d) rows.
        references, labels: (r, d) and (r,): the training data of the first classifier.
        second: called with references, labels and rows; the confident rows are among the references.
    """
    picked = torch.from_numpy(confident_rows(first.cpu().numpy(), rule, fraction)).to(rows.device)
    others = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    others[picked] = False
    if len(picked) == 0 or len(picked) == len(rows):
        return first
    joined = torch.cat([references, rows[picked]])
    out = first.clone()
    out[others] = second(joined, torch.cat([labels, first[picked].argmax(1)]), rows[others])
    return out


def neighbour_votes(references: Tensor, rows: Tensor, neighbours: int) -> Tensor:
    """Return (n, k) shares of the votes of each row's nearest references by cosine, with ties broken.

    A class with more votes always ranks higher. Among classes with equal votes, the class with the nearer nearest
    reference ranks higher: at most half a vote is added to its votes, (1 + the largest cosine with its references) / 4.

    Args:
        references: (k, r, d), r rows per class.
        rows: (n, d).
        neighbours: how many references vote; all of them if there are fewer.
    """
    classes, per_class, _ = references.shape
    exact = torch.float32 if references.device.type == "mps" else torch.float64  # a vote hangs on the last digits
    units = functional.normalize(references.flatten(0, 1).to(exact), dim=1)
    voters = min(neighbours, len(units))
    shares = []
    for block in torch.split(rows, BLOCK_ROWS):
        cosines = functional.normalize(block.to(exact), dim=1) @ units.T
        chosen = cosines.topk(voters, dim=1).indices // per_class
        votes = torch.zeros(len(block), classes, dtype=exact, device=rows.device)
        votes.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=exact))
        best = cosines.view(len(block), classes, per_class).amax(dim=2).clamp(-1, 1)
        shares.append((votes + (1 + best) / 4) / voters)
    return torch.cat(shares)
