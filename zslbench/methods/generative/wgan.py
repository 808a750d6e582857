"""Conditional Wasserstein GAN with gradient penalty: its losses and its training (Gulrajani et al., 2017).

The generator's loss takes further terms, each with a name and a weight, so that a method is the list of its terms.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from zslbench.methods.generative.iterations import Iterations, Phase
from zslbench.methods.nn import BETAS, Critic, Generator, adam


@dataclasses.dataclass(frozen=True, eq=False)
class SeenRows:
    """Training data on the device.

    Attributes:
        features: (n, d) preprocessed rows; labels: (n,) positions of their classes in `semantics`.
        semantics: (c, a) seen classes in canonical order.
    """

    features: Tensor
    labels: Tensor
    semantics: Tensor


class Networks(torch.nn.Module):
    """Generator and critic together: what the terms of a loss may call."""

    def __init__(self, generator: Generator, critic: Critic) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """A weighted term of the generator's loss.

    Attributes:
        name, weight: of the term.
        loss: ``loss(networks, fakes (m, d), labels (m,), *held, *drawn)`` returns a scalar. A pure function: whatever
            differs between two fits reaches it as an argument, so that fits can be trained together.
        held: tensors that stay the same while training (souls, a frozen classifier).
        draw: returns the tensors drawn anew for each step, from `streams`.
        notes: names of further values that `loss` returns behind the loss, to be reported beside it.
    """

    name: str
    weight: float
    loss: Callable[..., Tensor | tuple[Tensor, ...]]
    held: tuple[Tensor, ...] = ()
    draw: Callable[[], tuple[Tensor, ...]] = tuple
    streams: tuple[torch.Generator, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that `loss` returns."""
        return self.name, *self.notes


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """What one critic step works on.

    Attributes:
        real, fake: (m, d) rows; labels: (m,) positions of their classes; semantics: (m, a) of these.
        mix: (m, 1) shares μ of the real row in x̂ = μx + (1 − μ)x̃.
    """

    real: Tensor
    fake: Tensor
    labels: Tensor
    semantics: Tensor
    mix: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class CriticLosses:
    """The parts of Eq. 2: E D(x̃) − E D(x), the penalty, and −E log P(y|x̃) − E log P(y|x) where there is a branch."""

    wasserstein: Tensor
    penalty: Tensor
    classification: Tensor | None


def gradient_penalty(gradients: Tensor) -> Tensor:
    """Return E(‖∇D‖₂ − 1)² of (m, d) gradients. The paper's Eq. 2 prints it with the wrong sign: it is added."""
    penalty: Tensor = (torch.linalg.vector_norm(gradients, dim=1) - 1).square().mean()
    return penalty


def critic_losses(
    critic: Critic, real: Tensor, fake: Tensor, labels: Tensor, semantics: Tensor, mix: Tensor
) -> CriticLosses:
    """Return the parts of the critic's loss (Eq. 2) from one forward pass over real and fake rows.

    Args:
        real, fake: (m, d) rows of the same (m,) labels and (m, a) semantics.
        mix: (m, 1) shares μ of the real row in x̂ = μx + (1 − μ)x̃.
    """
    projected = critic.from_features(torch.cat([real, fake])).unflatten(0, (2, -1))
    hidden = critic.conditioned(projected, semantics)
    values = critic.values(hidden)
    # x̂ shares its semantics with both ends, and the first layer is affine: its pre-activation lies between theirs.
    between = torch.lerp(hidden[1].detach(), hidden[0].detach(), mix.to(hidden.dtype))
    classification = None
    if critic.branch is not None:
        logits = critic.logits(projected)
        classification = functional.cross_entropy(logits[0], labels) + functional.cross_entropy(logits[1], labels)
    penalty = gradient_penalty(critic.input_gradient(between))
    return CriticLosses(values[1].mean() - values[0].mean(), penalty, classification)


class CriticObjective(torch.nn.Module):
    """The critic's loss as a function of its weights and a batch."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        super().__init__()
        self.critic, self.gp, self.branch_weight = critic, gp, branch_weight

    def forward(
        self, real: Tensor, fake: Tensor, labels: Tensor, semantics: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and, of it, the penalty (see `Batch`)."""
        parts = critic_losses(self.critic, real, fake, labels, semantics, mix)
        loss = parts.wasserstein + self.gp * parts.penalty
        if parts.classification is not None:
            loss = loss + self.branch_weight * parts.classification
        return loss, parts.penalty


def critic_gradients_by_autograd(
    objective: CriticObjective, weights: Mapping[str, Tensor], *batch: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the critic's loss, of it the penalty, and the loss's gradient by each of the weights.

    Args:
        weights: of the critic, by name; batch: see `CriticObjective.forward`.
    """

    def loss_of(weights: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        named = {f"critic.{name}": value for name, value in weights.items()}
        loss, penalty = functional_call(objective, named, batch)
        return loss, (loss, penalty)

    gradients, (loss, penalty) = torch.func.grad(loss_of, has_aux=True)(dict(weights))
    return loss.detach(), penalty.detach(), gradients


class CriticGradientByAutograd:
    """Leaves the gradient of the critic's loss in its parameters, whatever its layers (see `CriticGradient`)."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        self.objective = CriticObjective(critic, gp, branch_weight)

    def __call__(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients for a batch; return the loss and, of it, the penalty."""
        parameters = dict(self.objective.critic.named_parameters())
        loss, penalty, gradients = critic_gradients_by_autograd(self.objective, parameters, *batch)
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]
        return loss, penalty


class GeneratorObjective(torch.nn.Module):
    """The generator's loss (Eq. 1 with the method's terms) as a function of the weights and what is drawn."""

    def __init__(self, networks: Networks, terms: Sequence[Term]) -> None:
        super().__init__()
        self.networks, self.terms = networks, tuple(terms)

    def forward(
        self, noise: Tensor, labels: Tensor, semantics: Tensor, *given: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Return the loss, and each term's value and notes; `given` are each term's held and drawn tensors."""
        fake = self.networks.generator(noise, semantics)
        loss = -self.networks.critic(fake, semantics).mean()
        values: list[Tensor] = []
        for term, tensors in zip(self.terms, given, strict=True):
            value = term.loss(self.networks, fake, labels, *tensors)
            parts = value if isinstance(value, tuple) else (value,)
            loss = loss + term.weight * parts[0]
            values += parts
        return loss, *values

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is returned behind the loss."""
        return tuple(name for term in self.terms for name in term.names)


class Training(Iterations[Batch]):
    """Alternates critic and generator steps (both by Adam); tensors stay on the device and nothing waits for them.

    Args:
        rows: the seen rows; batches are drawn from them without replacement, anew for every critic step.
        terms: what the generator's loss holds besides −E D(x̃, a).
        gp, branch_weight: weights of the penalty and of the critic's classification loss.
        streams: generators ``batches``, ``noise`` and ``interpolation``.
        betas: of both Adams.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        rows: SeenRows,
        terms: Sequence[Term],
        *,
        batch: int,
        critic_steps: int,
        lr: float,
        gp: float,
        branch_weight: float,
        streams: Mapping[str, torch.Generator],
        betas: tuple[float, float] = BETAS,
    ) -> None:
        self.generator, self.critic, self.rows, self.terms = generator, critic, rows, tuple(terms)
        of_layers = CriticGradient if critic.second is None else CriticGradientByAutograd
        self.critic_gradient = of_layers(critic, gp, branch_weight)
        self.generator_objective = GeneratorObjective(Networks(generator, critic), terms)
        self.batch, self.critic_steps = min(batch, len(rows.features)), critic_steps
        self.gp, self.branch_weight, self.streams = gp, branch_weight, streams
        self.lr, self.betas = lr, betas
        self.generator_adam = adam(generator.parameters(), lr, betas)
        self.critic_adam = adam(critic.parameters(), lr, betas)
        self.drawing = [*streams.values(), *(stream for term in terms for stream in term.streams)]
        super().__init__(self.drawing, rows.features.device)

    @property
    def epoch_steps(self) -> int:
        """Generator steps of an epoch: ⌈n / batch⌉."""
        return -(-len(self.rows.features) // self.batch)

    def steps(self, count: int, phase: Phase, record: bool = True) -> dict[str, float]:
        """Train for `count` generator steps and return the mean of every loss by name (see `Iterations.means`)."""
        return {name: float(mean) for name, mean in self.means(count, phase, record).items()}

    def draw(self) -> list[Batch]:
        """Return the batches of the critic steps before one generator step; their fakes are made in one pass.

        The generator does not move between these steps, so one pass over all batches is what a pass for each would be.
        """
        noise, picked, mix = self.draw_inputs()
        labels = self.rows.labels[picked]
        semantics = self.rows.semantics[labels]
        with torch.no_grad():
            fake = self.generator(noise, semantics)
        parts = zip(self.rows.features[picked], fake, labels, semantics, mix, strict=True)
        return [Batch(*part) for part in parts]

    def draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw, for each of k critic steps, (k, m, z) noise, (k, m) rows of the batch and (k, m, 1) shares."""
        shape = self.critic_steps, self.batch
        # the largest of uniform numbers are rows drawn without replacement, for all batches in one operation
        keys = torch.rand(shape[0], len(self.rows.features), generator=self.streams["batches"], device=self.device)
        mix = torch.rand(*shape, 1, generator=self.streams["interpolation"], device=self.device)
        return self.noise(*shape), keys.topk(self.batch).indices, mix

    def critic_step(self, batch: Batch) -> None:
        """Update the critic on one batch."""
        loss, penalty = self.critic_gradient(batch.real, batch.fake, batch.labels, batch.semantics, batch.mix)
        self.critic_adam.step()
        self._note("critic", loss)
        self._note("penalty", penalty)

    def generator_step(self, labels: Tensor) -> None:
        """Update the generator on fresh fakes of (m,) labels."""
        given = [(*term.held, *term.draw()) for term in self.terms]
        self.critic.requires_grad_(False)
        loss, *values = self.generator_objective(self.noise(len(labels)), labels, self.rows.semantics[labels], *given)
        self.generator_adam.zero_grad()
        loss.backward()
        self.generator_adam.step()
        self.critic.requires_grad_(True)
        self._note("generator", loss)
        for name, value in zip(self.generator_objective.names, values, strict=True):
            self._note(name, value)

    def noise(self, *rows: int) -> Tensor:
        """Return (*rows, z) fresh noise."""
        return torch.randn(*rows, self.generator.noise, generator=self.streams["noise"], device=self.device)


WEIGHT = "from_features.weight"
"""The largest gradient: the one that is worth writing into a tensor that is there already."""


def critic_gradients(
    weights: Mapping[str, Tensor],
    real: Tensor,
    fake: Tensor,
    labels: Tensor,
    semantics: Tensor,
    mix: Tensor,
    *,
    slope: float,
    gp: float,
    branch_weight: float,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the critic's loss, of it the penalty, and the loss's gradient by each of the weights.

    Args:
        weights: those of an `nn.Critic`, by name.
        real, fake, labels, semantics, mix: see `wgan.Batch`.
        slope: of the leaky ReLU; gp, branch_weight: weights of the penalty and of the branch's classification loss.
        into: a tensor to write the gradient of `WEIGHT` into.
    """
    m = len(real)
    w_x, w_2 = weights[WEIGHT], weights["value.weight"]
    exact = torch.promote_types(w_x.dtype, torch.float32)  # of sums, where products are in bf16
    rows = torch.cat([real, fake])
    projected = functional.linear(rows, w_x, weights["from_features.bias"])
    hidden = projected
    if "from_semantics.weight" in weights:
        hidden = projected + functional.linear(semantics, weights["from_semantics.weight"]).repeat(2, 1)

    slopes = _slopes(hidden, slope)
    active = hidden * slopes
    values = functional.linear(active, w_2, weights["value.bias"]).squeeze(-1).to(exact)
    sign = torch.cat([values.new_full((m,), -1 / m), values.new_full((m,), 1 / m)])  # E D(x̃) − E D(x)
    by_hidden = sign[:, None] * slopes * w_2

    between = torch.lerp(hidden[m:], hidden[:m], mix.to(hidden.dtype))
    kinks = _slopes(between, slope)
    passed = kinks * w_2
    gradients = (passed @ w_x).to(exact)
    lengths = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    penalty = (lengths - 1).square().mean()
    safe = torch.where(lengths > 0, lengths, 1.0)
    by_gradients = (2 * gp / m) * (lengths - 1) * torch.where(lengths > 0, gradients / safe, 0.0)

    loss = (sign * values).sum() + gp * penalty
    found = {
        "value.weight": sign[None] @ active + (kinks * (by_gradients @ w_x.T)).sum(dim=0, keepdim=True),
        "value.bias": sign.sum(dim=0, keepdim=True),
    }
    by_projected = by_hidden
    if "branch.weight" in weights:
        classified, by_branch, of_branch = _branch(weights, projected, labels, slope, branch_weight)
        loss, by_projected = loss + branch_weight * classified, by_hidden + by_branch
        found |= of_branch
    if "from_semantics.weight" in weights:
        found["from_semantics.weight"] = (by_hidden[:m] + by_hidden[m:]).T @ semantics
    found["from_features.bias"] = by_projected.sum(dim=0)
    left, right = torch.cat([by_projected, passed]).T, torch.cat([rows, by_gradients])
    found[WEIGHT] = left @ right if into is None else torch.mm(left, right, out=into)
    return loss, penalty, found


def _branch(
    weights: Mapping[str, Tensor], projected: Tensor, labels: Tensor, slope: float, weight: float
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the branch's loss, and `weight` times its gradients by the projected rows and by the branch's weights."""
    m = len(labels)
    slopes = _slopes(projected, slope)
    active = projected * slopes
    logs = functional.log_softmax(functional.linear(active, weights["branch.weight"], weights["branch.bias"]), dim=1)
    both = labels.repeat(2)
    own = (both[:, None] == torch.arange(logs.shape[1], device=labels.device)).to(logs.dtype)
    loss = -(logs * own).sum() / m
    by_logits = (logs.exp() - own) * (weight / m)
    by_projected = (by_logits @ weights["branch.weight"]) * slopes
    return loss, by_projected, {"branch.weight": by_logits.T @ active, "branch.bias": by_logits.sum(dim=0)}


def _autocast(kind: str) -> bool:
    """Whether products on a kind of device are in another type than what is multiplied."""
    return kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)


def _slopes(hidden: Tensor, slope: float) -> Tensor:
    """Return the derivative of the leaky ReLU at each entry, in the type of `hidden`."""
    return torch.where(hidden > 0, hidden.new_ones(()), slope)


class CriticGradient:
    """Leaves the gradient of the critic's loss in the critic's parameters, in tensors that stay where they are."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        self.critic, self.gp, self.branch_weight = critic, gp, branch_weight
        self._largest = torch.empty_like(critic.from_features.weight)

    def __call__(
        self, real: Tensor, fake: Tensor, labels: Tensor, semantics: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Set the gradients for a batch; return the loss and, of it, the penalty."""
        weights = {name: value.detach() for name, value in self.critic.named_parameters()}
        with torch.no_grad():
            loss, penalty, found = critic_gradients(
                weights,
                real,
                fake,
                labels,
                semantics,
                mix,
                slope=self.critic.slope,
                gp=self.gp,
                branch_weight=self.branch_weight,
                into=None if _autocast(real.device.type) else self._largest,
            )
        for name, parameter in self.critic.named_parameters():
            parameter.grad = found[name].to(parameter.dtype)
        return loss, penalty
