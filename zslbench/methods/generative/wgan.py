"""Conditional Wasserstein GAN with gradient penalty: its losses and its training (Gulrajani et al., 2017).

The generator's loss takes further terms, each with a name and a weight, so that a method is the list of its terms.

The gradient of the critic's loss is written out, a few matrix products and no graph. For a critic of one hidden layer,
D(x, a) = w₂ᵀ φ(W_x x + W_a a + b₁) + b₂ with φ a leaky ReLU, every derivative of the loss (Eq. 2) is a product of
matrices that the forward pass has at hand; the second derivative that the penalty needs is one of them, since
∇ₓD = W_xᵀ(s ∘ w₂) is linear in W_x and in w₂. Autograd through `CriticObjective` gives the same numbers; it remains the
oracle, and the way for critics of two layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from zslbench.methods.generative.iterations import CriticBatch, Iterations, SeenRows
from zslbench.methods.nn import BETAS, Critic, Generator, adam

Gradients = tuple[Tensor, Tensor, dict[str, Tensor]]
"""The critic's loss, of it the penalty, and the loss's gradient by each of the weights."""
LARGEST = "from_features.weight"
"""The largest gradient: the one that is worth writing into a tensor that is there already."""


class Networks(torch.nn.Module):
    """Generator and critic together: what the terms of a loss may call."""

    def __init__(self, generator: Generator, critic: Critic) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic


@dataclasses.dataclass(frozen=True, eq=False)
class LossTerm:
    """A weighted term of the generator's loss.

    Attributes:
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanOptions:
    """How a GAN is trained.

    Attributes:
        batch: rows per step; critic_steps: before each generator step; lr, betas: of both Adams.
        gp, branch_weight: weights of the penalty and of the branch's classification loss in the critic's loss.
    """

    batch: int
    critic_steps: int
    lr: float
    gp: float
    branch_weight: float = 0.0
    betas: tuple[float, float] = BETAS


def critic_losses(critic: Critic, batch: CriticBatch) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the parts of the critic's loss (Eq. 2) from one forward pass over real and fake rows.

    They are E D(x̃) − E D(x), the penalty E(‖∇D‖₂ − 1)², which the paper prints with the wrong sign: it is added, and
    −E log P(y|x̃) − E log P(y|x) where there is a branch.
    """
    projected = critic.from_features(torch.cat([batch.real, batch.fake])).unflatten(0, (2, -1))
    hidden = critic.conditioned(projected, batch.semantics)
    values = critic.values(hidden)
    # x̂ shares its semantics with both ends, and the first layer is affine: its pre-activation lies between theirs.
    between = torch.lerp(hidden[1].detach(), hidden[0].detach(), batch.mix.to(hidden.dtype))
    classification = None
    if critic.branch is not None:
        logits = critic.logits(projected)
        real, fake = (functional.cross_entropy(side, batch.labels) for side in logits)
        classification = real + fake
    penalty = (torch.linalg.vector_norm(critic.input_gradient(between), dim=1) - 1).square().mean()
    return values[1].mean() - values[0].mean(), penalty, classification


class CriticObjective(torch.nn.Module):
    """The critic's loss as a function of its weights and a batch."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        super().__init__()
        self.critic, self.gp, self.branch_weight = critic, gp, branch_weight

    def forward(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Return the loss and, of it, the penalty."""
        wasserstein, penalty, classification = critic_losses(self.critic, batch)
        loss = wasserstein + self.gp * penalty
        if classification is not None:
            loss = loss + self.branch_weight * classification
        return loss, penalty


class CriticGradient:
    """Leaves the gradient of the critic's loss in the critic's parameters, in tensors that stay where they are."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        self.critic, self.gp, self.branch_weight = critic, gp, branch_weight
        self._objective = CriticObjective(critic, gp, branch_weight)
        self._largest = None if critic.second is not None else torch.empty_like(critic.from_features.weight)

    def __call__(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients for a batch; return the loss and, of it, the penalty."""
        weights = {name: value.detach() for name, value in self.critic.named_parameters()}
        kind = batch.real.device.type
        autocast = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)  # products are of another type
        with torch.no_grad():
            loss, penalty, gradients = self.by_weights(weights, batch, None if autocast else self._largest)
        for name, parameter in self.critic.named_parameters():
            parameter.grad = gradients[name].to(parameter.dtype)
        return loss, penalty

    def by_weights(self, weights: Mapping[str, Tensor], batch: CriticBatch, into: Tensor | None = None) -> Gradients:
        """Return the loss, the penalty and the gradients for weights of the critic by name.

        Args:
            into: a tensor to write the gradient of `LARGEST` into.
        """
        if self.critic.second is not None:
            return self._by_autograd(weights, batch)
        real, fake, labels, semantics, mix = batch
        m, slope = len(real), self.critic.slope
        w_x, w_2 = weights[LARGEST], weights["value.weight"]
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
        by_input = (passed @ w_x).to(exact)
        lengths = torch.linalg.vector_norm(by_input, dim=1, keepdim=True)
        penalty = (lengths - 1).square().mean()
        safe = torch.where(lengths > 0, lengths, 1.0)
        by_lengths = (2 * self.gp / m) * (lengths - 1) * torch.where(lengths > 0, by_input / safe, 0.0)

        loss = (sign * values).sum() + self.gp * penalty
        gradients = {
            "value.weight": sign[None] @ active + (kinks * (by_lengths @ w_x.T)).sum(dim=0, keepdim=True),
            "value.bias": sign.sum(dim=0, keepdim=True),
        }
        by_projected = by_hidden
        if "branch.weight" in weights:
            classified, by_branch, of_branch = self._of_branch(weights, projected, labels)
            loss, by_projected = loss + self.branch_weight * classified, by_hidden + by_branch
            gradients |= of_branch
        if "from_semantics.weight" in weights:
            gradients["from_semantics.weight"] = (by_hidden[:m] + by_hidden[m:]).T @ semantics
        gradients["from_features.bias"] = by_projected.sum(dim=0)
        left, right = torch.cat([by_projected, passed]).T, torch.cat([rows, by_lengths])
        gradients[LARGEST] = left @ right if into is None else torch.mm(left, right, out=into)
        return loss, penalty, gradients

    def _of_branch(self, weights: Mapping[str, Tensor], projected: Tensor, labels: Tensor) -> Gradients:
        """Return the branch's loss, and its weighted gradients by the projected rows and by the branch's weights."""
        m = len(labels)
        slopes = _slopes(projected, self.critic.slope)
        active = projected * slopes
        logs = functional.log_softmax(
            functional.linear(active, weights["branch.weight"], weights["branch.bias"]), dim=1
        )
        both = labels.repeat(2)
        target = (both[:, None] == torch.arange(logs.shape[1], device=labels.device)).to(logs.dtype)
        loss = -(logs * target).sum() / m
        by_logits = (logs.exp() - target) * (self.branch_weight / m)
        by_projected = (by_logits @ weights["branch.weight"]) * slopes
        return loss, by_projected, {"branch.weight": by_logits.T @ active, "branch.bias": by_logits.sum(dim=0)}

    def _by_autograd(self, weights: Mapping[str, Tensor], batch: CriticBatch) -> Gradients:
        def loss_of(weights: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            named = {f"critic.{name}": value for name, value in weights.items()}
            loss, penalty = functional_call(self._objective, named, (batch,))
            return loss, (loss, penalty)

        gradients, (loss, penalty) = torch.func.grad(loss_of, has_aux=True)(dict(weights))
        return loss.detach(), penalty.detach(), gradients


def _slopes(hidden: Tensor, slope: float) -> Tensor:
    """Return the derivative of the leaky ReLU at each entry, in the type of `hidden`."""
    return torch.where(hidden > 0, hidden.new_ones(()), slope)


class GeneratorObjective(torch.nn.Module):
    """The generator's loss (Eq. 1 with the method's terms) as a function of the weights and what is drawn."""

    def __init__(self, networks: Networks, terms: Sequence[LossTerm]) -> None:
        super().__init__()
        self.networks, self.terms = networks, tuple(terms)
        self.names = tuple(name for term in terms for name in (term.name, *term.notes))

    def forward(
        self, noise: Tensor, labels: Tensor, semantics: Tensor, *given: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Return the loss, and the values of `names`; `given` are each term's held and drawn tensors."""
        fake = self.networks.generator(noise, semantics)
        loss = -self.networks.critic(fake, semantics).mean()
        values: list[Tensor] = []
        for term, tensors in zip(self.terms, given, strict=True):
            value = term.loss(self.networks, fake, labels, *tensors)
            parts = value if isinstance(value, tuple) else (value,)
            loss = loss + term.weight * parts[0]
            values += parts
        return loss, *values


class GanTraining(Iterations):
    """Alternates critic and generator steps (both by Adam); tensors stay on the device and nothing waits for them.

    Args:
        rows: the seen rows; batches are drawn from them without replacement, anew for every critic step.
        terms: what the generator's loss holds besides −E D(x̃, a).
        streams: generators ``batches``, ``noise`` and ``interpolation``.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        rows: SeenRows,
        terms: Sequence[LossTerm],
        options: GanOptions,
        streams: Mapping[str, torch.Generator],
    ) -> None:
        self.generator, self.critic, self.terms = generator, critic, tuple(terms)
        self.options, self.streams = options, streams
        self.critic_gradient = CriticGradient(critic, options.gp, options.branch_weight)
        self.generator_objective = GeneratorObjective(Networks(generator, critic), terms)
        self.generator_adam = adam(generator.parameters(), options.lr, options.betas)
        self.critic_adam = adam(critic.parameters(), options.lr, options.betas)
        self.drawing = [*streams.values(), *(stream for term in terms for stream in term.streams)]
        super().__init__(rows, options.batch, self.generator_objective.names, self.drawing)

    def write_back(self) -> None:
        """Do nothing: the weights that are trained are those of the networks."""

    def draw_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw, for each of k critic steps, (k, m, z) noise, (k, m) rows of the batch and (k, m, 1) shares."""
        shape = self.options.critic_steps, self.batch
        # the largest of uniform numbers are rows drawn without replacement, for all batches in one operation
        keys = torch.rand(shape[0], len(self.rows.features), generator=self.streams["batches"], device=self.device)
        mix = torch.rand(*shape, 1, generator=self.streams["interpolation"], device=self.device)
        return self.noise(*shape), keys.topk(self.batch).indices, mix

    def generate(self, noise: Tensor, semantics: Tensor) -> Tensor:
        """Return fakes by the generator."""
        fakes: Tensor = self.generator(noise, semantics)
        return fakes

    def set_critic_gradient(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients of the critic's weights; return the loss and, of it, the penalty."""
        return self.critic_gradient(batch)

    def generator_losses(self, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the generator's loss on fresh fakes of (m,) labels, and the values of its terms."""
        given = [(*term.held, *term.draw()) for term in self.terms]
        self.critic.requires_grad_(False)
        semantics = self.rows.semantics[labels]
        values: tuple[Tensor, ...] = self.generator_objective(self.noise(len(labels)), labels, semantics, *given)
        self.critic.requires_grad_(True)
        return values

    def noise(self, *rows: int) -> Tensor:
        """Return (*rows, z) fresh noise."""
        return torch.randn(*rows, self.generator.noise, generator=self.streams["noise"], device=self.device)
