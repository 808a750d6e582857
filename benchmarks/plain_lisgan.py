"""LisGAN's training steps and its classifiers as the public algorithm has them, for comparison and not for speed.

It keeps what makes the public code slow: features, souls and class tables wait on the host and are copied at every
step, the fakes of critic steps carry a graph, the gradient penalty takes a double backward pass, L_R1 and L_R2 compute
the distances to the souls of every class and pick the own class in Python loops, and class means are one dense matrix
product. Random numbers are handed in, so that the steps can be held against the package's, number by number.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.generative.wgan import SLOPE
from zslbench.methods.generative.wgan import Critic as FastCritic
from zslbench.methods.generative.wgan import Generator as FastGenerator
from zslbench.methods.nn import BETAS


def joined(first: torch.nn.Linear, second: torch.nn.Linear, bias: Tensor) -> torch.nn.Linear:
    """Return one layer on the concatenation of two inputs from the two halves that the package keeps."""
    weight = torch.cat([first.weight, second.weight], dim=1).detach()
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0]).to(weight)
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias.detach())
    return layer


class PlainGenerator(torch.nn.Module):
    """Linear, LeakyReLU, Linear, ReLU on [z, a]."""

    def __init__(self, like: FastGenerator) -> None:
        super().__init__()
        self.first = joined(like.from_noise, like.from_semantics, like.from_noise.bias)
        self.second = copy.deepcopy(like.out)

    def forward(self, noise: Tensor, semantics: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.first(torch.cat([noise, semantics], 1)), SLOPE)
        return torch.relu(self.second(hidden))


class PlainCritic(torch.nn.Module):
    """Linear, LeakyReLU, Linear on [x, a]."""

    def __init__(self, like: FastCritic) -> None:
        super().__init__()
        self.first = joined(like.from_features, like.from_semantics, like.from_features.bias)
        self.second = copy.deepcopy(like.value)

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        hidden = functional.leaky_relu(self.first(torch.cat([features, semantics], 1)), SLOPE)
        return self.second(hidden).squeeze(1)


class PlainTraining:
    """Critic and generator steps on host data.

    Args:
        generator, critic: the package's networks, whose weights are copied.
        classifier: the frozen classifier of seen classes.
        features, labels, semantics: (n, d), (n,), (c, a) on the host.
        souls: (c, k, d) on the host.
        draw: ``draw(purpose, *shape)`` returns the next random numbers: rows of a batch, noise, shares of the real row.
    """

    def __init__(
        self,
        generator: FastGenerator,
        critic: FastCritic,
        classifier: torch.nn.Module,
        features: Tensor,
        labels: Tensor,
        semantics: Tensor,
        souls: Tensor,
        draw: Callable[..., Tensor],
        *,
        lr: float,
        gp: float,
        cls_weight: float,
        l_r1: float,
        l_r2: float,
        soul_rows: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.generator, self.critic = PlainGenerator(generator).to(device), PlainCritic(critic).to(device)
        self.classifier = classifier
        self.features, self.labels, self.semantics, self.souls = features, labels, semantics, souls
        self.draw, self.device = draw, device
        self.gp, self.cls_weight, self.l_r1, self.l_r2, self.soul_rows = gp, cls_weight, l_r1, l_r2, soul_rows
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=BETAS)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=lr, betas=BETAS)

    def critic_step(self) -> tuple[Tensor, float]:
        """Update the critic; return the batch's labels and the loss."""
        picked = self.draw("batches")
        real = self.features[picked].to(self.device)
        semantics = self.semantics[self.labels[picked]].to(self.device)
        self.critic.zero_grad()
        fake = self.generator(self.draw("noise", len(picked)), semantics)
        wasserstein = self.critic(fake.detach(), semantics).mean() - self.critic(real, semantics).mean()
        mix = self.draw("interpolation", len(picked))
        between = (mix * real + (1 - mix) * fake.detach()).requires_grad_(True)
        value = self.critic(between, semantics)
        (gradient,) = torch.autograd.grad(value, between, torch.ones_like(value), create_graph=True, retain_graph=True)
        loss = wasserstein + self.gp * ((gradient.norm(2, dim=1) - 1) ** 2).mean()
        loss.backward()
        self.critic_adam.step()
        return self.labels[picked], float(loss.detach())

    def generator_step(self, labels: Tensor) -> dict[str, float]:
        """Update the generator on fakes of (m,) labels; return its losses by name."""
        classes, clusters, width = self.souls.shape
        for parameter in self.critic.parameters():
            parameter.requires_grad_(False)
        self.generator.zero_grad()
        semantics = self.semantics[labels].to(self.device)
        fake = self.generator(self.draw("noise", len(labels)), semantics)
        adversarial = -self.critic(fake, semantics).mean()
        classification = functional.cross_entropy(self.classifier(fake), labels.to(self.device))

        souls = self.souls.reshape(classes * clusters, width).to(self.device)
        distances = self._distances(fake, souls)
        nearest = torch.zeros(len(labels), dtype=torch.int64)
        for i, label in enumerate(labels.tolist()):
            own = distances[i, label * clusters : (label + 1) * clusters]
            nearest[i] = label * clusters + int(own.argmin())
        first = distances.gather(1, nearest[:, None].to(self.device)).mean()

        rows = torch.zeros(classes * self.soul_rows, self.semantics.shape[1], dtype=self.semantics.dtype)
        for label in range(classes):
            block = slice(label * self.soul_rows, (label + 1) * self.soul_rows)
            rows[block] = self.semantics[label].repeat(self.soul_rows, 1)
        made = self.generator(self.draw("soul noise", classes, self.soul_rows).flatten(0, 1), rows.to(self.device))
        averaging = torch.zeros(classes, len(rows), dtype=made.dtype)
        for label in range(classes):
            averaging[label, label * self.soul_rows : (label + 1) * self.soul_rows] = 1 / self.soul_rows
        means = averaging.to(self.device) @ made
        distances = self._distances(means, self.souls.reshape(classes * clusters, width).to(self.device))
        nearest = torch.zeros(classes, dtype=torch.int64)
        for label in range(classes):
            own = distances[label, label * clusters : (label + 1) * clusters]
            nearest[label] = label * clusters + int(own.argmin())
        second = distances.gather(1, nearest[:, None].to(self.device)).mean()

        loss = adversarial + self.cls_weight * classification + self.l_r1 * first + self.l_r2 * second
        loss.backward()
        self.generator_adam.step()
        for parameter in self.critic.parameters():
            parameter.requires_grad_(True)
        return {
            "classification": float(classification.detach()),
            "l_r1": float(first.detach()),
            "l_r2": float(second.detach()),
            "generator": float(loss.detach()),
        }

    @staticmethod
    def _distances(points: Tensor, souls: Tensor) -> Tensor:
        """Return (m, c·k) squared distances by the expansion of the square, clamped at zero."""
        squares = (points**2).sum(1, keepdim=True) + (souls**2).sum(1)
        return (squares - 2 * points @ souls.T).clamp(min=0)


class PlainClassifier:
    """The softmax classifier of the public scripts: Adam on batches that wrap through permutations.

    Args:
        layer: the initial weights, which are copied.
        permutation: ``permutation(n)`` returns the next order of n rows.
    """

    def __init__(self, layer: torch.nn.Linear, *, lr: float, batch: int, permutation: Callable[[int], Tensor]) -> None:
        self.layer = copy.deepcopy(layer)
        self.adam = torch.optim.Adam(self.layer.parameters(), lr=lr, betas=BETAS)
        self.batch, self.permutation = batch, permutation

    def use_rows(self, features: Tensor, labels: Tensor) -> None:
        """Begin with a permutation of other rows; weights and Adam stay."""
        self.features, self.labels = features, labels
        self.order, self.at = self.permutation(len(features)).tolist(), 0

    def next_batch(self) -> list[int]:
        """Return the next rows: the rest of a permutation is joined with the start of the next."""
        rest = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        missing = self.batch - len(rest)
        if missing > 0:
            self.order, self.at = self.permutation(len(self.features)).tolist(), missing
            rest += self.order[:missing]
        return rest

    def epoch(self) -> None:
        """Take a step for every batch that begins within the number of rows."""
        for _ in range(0, len(self.features), self.batch):
            rows = self.next_batch()
            self.layer.zero_grad()
            functional.nll_loss(self.log_probabilities(self.features[rows]), self.labels[rows]).backward()
            self.adam.step()

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Return (n, k) log P(y|x)."""
        return functional.log_softmax(self.layer(features), dim=1)


def plain_cascade(
    classifier: PlainClassifier,
    references: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    epochs: int,
    picked: int,
    fraction: float,
) -> tuple[list[Tensor], list[int], Tensor, list[Tensor]]:
    """Return what the public scripts print of one generator: first classifier, nearest neighbour, second classifier.

    They are the (n, k) log-probabilities of the first after each epoch; the confident rows; (m,) labels of the nearest
    neighbours of the m other rows, ascending; and the (m, k) log-probabilities of the second after each epoch.

    Args:
        picked: the epoch of the first classifier, from 1, that picks and labels the confident rows.
        fraction: share of the rows that are confident.
    """
    firsts, seconds = [], []
    classifier.use_rows(references, labels)
    for _ in range(epochs):
        classifier.epoch()
        firsts.append(classifier.log_probabilities(rows).detach())
    logs = firsts[picked - 1].tolist()
    entropies = []
    for row in logs:
        total = sum(row)
        entropies.append(-sum(log / total * math.log(log / total) for log in row))
    ranked = sorted(range(len(rows)), key=lambda at: -entropies[at])
    easy, hard = ranked[: int(fraction * len(rows))], sorted(ranked[int(fraction * len(rows)) :])
    guesses = torch.tensor([logs[at].index(max(logs[at])) for at in easy]).to(labels)
    joined, joined_labels = torch.cat([references, rows[easy]]), torch.cat([labels, guesses])
    nearest = [int((joined - rows[at]).square().sum(1).argmin()) for at in hard]
    classifier.use_rows(joined, joined_labels)
    for _ in range(epochs):
        classifier.epoch()
        seconds.append(classifier.log_probabilities(rows[hard]).detach())
    return firsts, easy, joined_labels[nearest], seconds
