"""Terms of the generator's loss: LisGAN's soul samples (Eq. 3 to 6), GAZSL's visual pivots, classification.

Also cycle-WGAN's reconstruction of the semantics, and LsrGAN's similarities between classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zslbench.arrays import AnyArray, Array, IntArray
from zslbench.methods.base import Context
from zslbench.methods.generative.loss_terms import GeneratorBatch, LossTerm
from zslbench.methods.generative.training import Networks
from zslbench.methods.nn import adam, linear, random_stream, row_batches, take_steps, threads_for
from zslbench.step_reports import report_progress

LLOYD_STEPS = 10


def soul_samples(features: Array, labels: IntArray, classes: int, k: int, seed: int) -> AnyArray:
    """Return (c, k, d) float32 soul samples: the means of k clusters of every class (Eq. 3).

    A class with fewer distinct images than k has fewer clusters; its souls are repeated to fill the row, which changes
    no minimum over them.

    Args:
        features: (n, d) rows.
        labels: (n,) positions from 0 to classes − 1, every class at least once.
        seed: of k-means, the same for each class.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    souls = np.empty((classes, k, features.shape[1]), dtype=np.float32)
    for label in range(classes):
        rows = features[labels == label]
        clusters = min(k, len(rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters is fine here
            member = KMeans(clusters, n_init=10, random_state=seed % 2**32).fit_predict(rows)
        means = [rows[member == cluster].mean(axis=0, dtype=np.float64) for cluster in np.unique(member)]
        souls[label] = np.stack(means)[np.arange(k) % len(means)]
    return souls


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return (…, p, q) squared Euclidean distances of (…, p, d) and (…, q, d) points, not divided by d."""
    return (first.unsqueeze(-2) - second.unsqueeze(-3)).square().sum(-1)


def l_r1(fakes: Tensor, labels: Tensor, souls: Tensor) -> Tensor:
    """Return L_R1 (Eq. 5): the mean over (m, d) fakes of the squared distance to the nearest of their class's souls."""
    return squared_distances(fakes.unsqueeze(1), souls[labels]).squeeze(1).amin(1).mean()


def l_r2(fake_souls: Tensor, filled: Tensor, souls: Tensor) -> Tensor:
    """Return L_R2 (Eq. 6): the squared distance of each fake soul to the nearest real soul of its class.

    It is averaged over those of the (c, j, d) fake souls of a class that are `filled`, then over classes.
    """
    nearest = squared_distances(fake_souls, souls).amin(2)
    weights = filled.to(nearest.dtype)
    return ((nearest * weights).sum(1) / weights.sum(1)).mean()


def l_r2_numbered(fake_souls: Tensor, filled: Tensor, souls: Tensor) -> Tensor:
    """Return L_R2 exactly as Eq. 6 is printed, where one j numbers a fake and a real soul: the smallest of k distances.

    The paper does not say how clusters of fakes are numbered; here the number is the one that k-means++ gives. A single
    fake soul has every number.
    """
    distances = (fake_souls - souls).square().sum(-1)
    return torch.where(filled, distances, torch.inf).amin(1).mean()


def mean_fake_souls(fakes: Tensor) -> tuple[Tensor, Tensor]:
    """Return (c, 1, d) fake souls, one per class: the mean of its (c, r, d) fakes, as in the public code."""
    return fakes.mean(1, keepdim=True), torch.ones(len(fakes), 1, dtype=torch.bool, device=fakes.device)


def cluster_fake_souls(fakes: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Return (c, k, d) fake souls, the means of k clusters of (c, r, d) fakes (Eq. 4), and which are not empty.

    Lloyd's algorithm runs for all classes at once, on detached values, started by k-means++ on the fakes themselves;
    gradients flow through the means, not through the grouping. A centre is kept as its weights on the fakes of its
    class, so that every step works on their inner products and not on d columns.

    Args:
        fakes: independent and alike in each class, so the first of them serves as a centre drawn at random.
        draws: (c, k − 1) uniform numbers from 0 to 1, which pick the other centres.
    """
    away = fakes.detach() - fakes.detach().mean(1, keepdim=True)
    products = away @ away.transpose(1, 2)
    products = products.to(torch.promote_types(products.dtype, torch.float32))
    centres = _first_centres(products, draws)
    for _ in range(LLOYD_STEPS):
        share, filled = _shares(products, centres)
        centres = torch.where(filled.unsqueeze(-1), share, centres)
    share, filled = _shares(products, centres)
    return share.to(fakes.dtype) @ fakes, filled


def _first_centres(products: Tensor, draws: Tensor) -> Tensor:
    """Return (c, k, r) weights of the centres of k-means++ for (c, r, r) inner products of fakes.

    Each further centre is drawn with probability proportional to its squared distance.
    """
    squares = products.diagonal(dim1=1, dim2=2)
    distances = (squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * products).clamp(min=0)
    numbers = torch.arange(products.shape[1], device=products.device)
    picked = [(numbers == 0).expand(len(products), -1)]
    away = distances[:, 0]
    for number in range(draws.shape[1]):
        total = away.cumsum(1)
        at = (total <= draws[:, number : number + 1] * total[:, -1:]).sum(1, keepdim=True)
        picked.append(numbers == at.clamp(max=len(numbers) - 1))
        away = torch.minimum(away, (distances * picked[-1].unsqueeze(2)).sum(1))
    return torch.stack(picked, dim=1).to(products.dtype)


def _shares(products: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (c, k, r) weight of each fake in its nearest centre's mean, and which centres have any fake."""
    inner = centres @ products
    # ‖p − s‖² up to ‖p‖², which does not change which centre is nearest
    score = (inner * centres).sum(-1, keepdim=True) - 2 * inner
    numbers = torch.arange(centres.shape[1], device=centres.device).unsqueeze(1)
    member = (score.argmin(1, keepdim=True) == numbers).to(products.dtype)
    count = member.sum(2, keepdim=True)
    return member / count.clamp(min=1), (count > 0).squeeze(2)


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return (c, d) means of the (n, d) rows of each class: the visual pivots; 0 for a class without rows."""
    counts = torch.bincount(labels, minlength=classes)
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    return sums / counts.clamp(min=1)[:, None]


def batch_means(fakes: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return (C, d) means of the (m, d) rows of each class, and (C,) whether it has any; means of no rows are 0."""
    numbers = torch.arange(classes, device=labels.device)
    member = (labels[:, None] == numbers).to(fakes.dtype)  # of a size that does not depend on the draw
    counts = member.sum(dim=0)
    return (member.T @ fakes) / counts.clamp(min=1)[:, None], counts > 0


def pivot_loss(fakes: Tensor, labels: Tensor, pivots: Tensor) -> Tensor:
    """Return (1/C) Σ_c ‖mean_{i: y_i = c} x̃_i − μ_c‖₂ over the classes of the batch; the others add nothing.

    The (C, d) pivots are the means μ_c of the real rows of all seen classes.
    """
    means, present = batch_means(fakes, labels, len(pivots))
    out: Tensor = (torch.linalg.vector_norm(means - pivots, dim=1) * present).sum() / len(pivots)
    return out


def binary_cross_entropy(made: Tensor, real: Tensor) -> Tensor:
    """Return −x log x̂ − (1 − x) log(1 − x̂) of (…, d) rows x̂ and x from 0 to 1.

    Logarithms are cut off at 10⁻¹², below the smallest float32 distance of a sigmoid from 1.
    """
    return -(real * made.clamp(min=1e-12).log() + (1 - real) * (1 - made).clamp(min=1e-12).log())


def weighted_l1(predicted: Tensor, given: Tensor) -> Tensor:
    """Return the mean over (m, a) rows of Σ_j (e_j² / ‖e‖₂) |e_j|, e = predicted − given (TF-VAEGAN); 0 if e = 0."""
    exact = torch.promote_types(predicted.dtype, torch.float32)
    error = (predicted.to(exact) - given).abs()
    length = torch.linalg.vector_norm(error, dim=-1)
    safe = torch.where(length > 0, length, 1.0)
    return (error.pow(3).sum(-1) / safe).mean()


def nearest_classes(semantics: Tensor, seen: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return (k, q) positions of the seen classes nearest to each of (k, a) classes by cosine, and these cosines."""
    cosines = functional.normalize(semantics, dim=1) @ functional.normalize(seen, dim=1).T
    found = cosines.topk(min(neighbours, len(seen)), dim=1)
    return found.indices, found.values


def similarity_loss(
    fakes: Tensor, labels: Tensor, centres: Tensor, nearest: Tensor, wanted: Tensor, *, margin: float, gradient: bool
) -> Tensor:
    """Return (1/q) Σ_c Σ_n max(0, |cos(mean_c x̃, μ_n) − cos(a_c, a_n)| − ε)² (LsrGAN) over the classes of the batch.

    Args:
        labels: (m,) positions from 0 to k − 1 of the classes of (m, d) fakes.
        centres: (c, d) means μ of the real rows of seen classes.
        nearest, wanted: (k, q) of `nearest_classes`.
        margin: ε.
        gradient: whether the cosines have one; in the public code they have not.
    """
    means, present = batch_means(fakes, labels, len(nearest))
    cosines = (functional.normalize(means, dim=1) @ functional.normalize(centres, dim=1).T).gather(1, nearest)
    away = (cosines if gradient else cosines.detach()) - wanted
    out: Tensor = ((away.abs() - margin).clamp(min=0).square().sum(dim=1) * present).sum() / nearest.shape[1]
    return out


def train_regressor(features: Tensor, targets: Tensor, *, epochs: int, seed: int) -> torch.nn.Linear:
    """Return a linear layer from (n, d) rows to (n, a) targets, trained on squared errors by Adam (cycle-WGAN's R)."""
    layer = linear(features.shape[1], targets.shape[1], random_stream(seed)).to(features.device)
    batches = row_batches(len(features), 100, random_stream(seed + 1, features.device))
    steps = epochs * -(-len(features) // 100)

    def loss_of(rows: Tensor) -> Tensor:
        return functional.mse_loss(layer(features[rows]), targets[rows])

    def advance(taken: int) -> bool:
        return report_progress("pretrain", taken, steps)

    threads = threads_for(200 * layer.weight.numel())
    for _ in take_steps(steps, steps, adam(layer.parameters(), 1e-3), loss_of, batches, threads, advance):
        pass
    return layer.requires_grad_(False)


def classification_term(weight: float, classifier: torch.nn.Linear | None = None) -> LossTerm:
    """Return −E log P(y|x̃) by a frozen classifier, or by the critic's branch."""

    def by_branch(networks: Networks, fakes: Tensor, labels: Tensor) -> Tensor:
        critic = networks.critic
        return functional.cross_entropy(critic.logits(critic.from_features(fakes)), labels)

    def by_classifier(_networks: Networks, fakes: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.cross_entropy(functional.linear(fakes, weight, bias), labels)

    if classifier is None:
        return LossTerm("classification", weight, by_branch)
    return LossTerm("classification", weight, by_classifier, (classifier.weight, classifier.bias))


def cycle_term(weight: float, regressor: torch.nn.Linear) -> LossTerm:
    """Return the mean squared error of the semantics that a frozen regressor reads from the fakes (cycle-WGAN)."""

    def error(_networks: Networks, batch: GeneratorBatch, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.mse_loss(functional.linear(batch.fake, weight, bias), batch.semantics)

    return LossTerm("cycle", weight, error, (regressor.weight, regressor.bias), sees_batch=True)


def unseen_draw(
    rows: int, classes: int, noise: int, ctx: Context, device: torch.device
) -> tuple[Callable[[], tuple[Tensor, Tensor]], tuple[torch.Generator, ...]]:
    """Return what draws (m,) positions of unseen classes, each as likely, and (m, z) noise, with its streams."""
    seeds = [ctx.stream_seed(purpose) for purpose in ("unseen classes", "unseen noise")]
    of_classes, of_noise = (random_stream(seed, device) for seed in seeds)

    def draw() -> tuple[Tensor, Tensor]:
        picked = torch.randint(classes, (rows,), generator=of_classes, device=device)
        return picked, torch.randn(rows, noise, generator=of_noise, device=device)

    return draw, (of_classes, of_noise)


def decay_term(weight: float) -> LossTerm:
    """Return the sum of the generator's squared weights, biases left out."""

    def squared_weights(networks: Networks, _fakes: Tensor, _labels: Tensor) -> Tensor:
        weights = [p for name, p in networks.generator.named_parameters() if name.endswith("weight")]
        exact = torch.promote_types(weights[0].dtype, torch.float32)  # of sums, where products are in bf16
        return torch.stack([p.to(exact).square().sum() for p in weights]).sum()

    return LossTerm("decay", weight, squared_weights)
