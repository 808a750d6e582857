"""Several fits at once: weights with a leading axis over fits, batched products, one process.

Each fit keeps its random streams, so it goes through the numbers that it would go through alone, up to the rounding of
batched products. On a GPU that a single fit leaves idle, eight cost little more than one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from zslbench.methods.generative.iterations import Iterations, Phase
from zslbench.methods.generative.wgan import (
    Batch,
    CriticObjective,
    Training,
    critic_gradients,
    critic_gradients_by_autograd,
)
from zslbench.methods.nn import adam

Weights = dict[str, Tensor]


class Together(Iterations[Batch]):
    """Trainings of the same shape that take their steps together.

    Args:
        members: as set up for training alone; they differ in weights, streams, and what their terms hold and draw.
    """

    def __init__(self, members: Sequence[Training]) -> None:
        self.members = tuple(members)
        first = self.first = members[0]
        self.critic = _stacked([member.critic for member in members])
        self.generator = _stacked([member.generator for member in members])
        self.critic_adam = adam(self.critic.values(), first.lr, first.betas)
        self.generator_adam = adam(self.generator.values(), first.lr, first.betas)
        self._held = [[torch.stack(each) for each in zip(*held, strict=True)] for held in self._of_terms("held")]
        super().__init__((stream for member in members for stream in member.drawing), first.device)

    def steps(self, count: int, phase: Phase, record: bool = True) -> list[dict[str, float]]:
        """Train for `count` generator steps; return, for each fit, the mean of every loss (see `Iterations.means`)."""
        means = {name: mean.tolist() for name, mean in self.means(count, phase, record).items()}
        return [{name: values[at] for name, values in means.items()} for at in range(len(self.members))]

    def write_back(self) -> None:
        """Copy the weights to the networks of the fits."""
        with torch.no_grad():
            for at, member in enumerate(self.members):
                for networks, weights in ((member.critic, self.critic), (member.generator, self.generator)):
                    for name, parameter in networks.named_parameters():
                        parameter.copy_(weights[name][at])

    def draw(self) -> list[Batch]:
        """Return the batches of the critic steps before one generator step, each with a leading axis over fits."""
        inputs = [torch.stack(each, dim=1) for each in zip(*(m.draw_inputs() for m in self.members), strict=True)]
        noise, picked, mix = inputs  # (k, fits, m, …)
        rows = self.first.rows
        labels = rows.labels[picked]
        semantics = rows.semantics[labels]
        with torch.no_grad():
            fake = vmap(self._generate, in_dims=(0, 1, 1), out_dims=1)(self.generator, noise, semantics)
        parts = zip(rows.features[picked], fake, labels, semantics, mix, strict=True)
        return [Batch(*part) for part in parts]

    def critic_step(self, batch: Batch) -> None:
        """Update the critics, each on its own batch."""
        first = self.first
        one: Callable[..., tuple[Tensor, Tensor, Weights]] = functools.partial(
            critic_gradients, slope=first.critic.slope, gp=first.gp, branch_weight=first.branch_weight
        )
        if first.critic.second is not None:
            objective = CriticObjective(first.critic, first.gp, first.branch_weight)
            one = functools.partial(critic_gradients_by_autograd, objective)
        weights = {name: value.detach() for name, value in self.critic.items()}
        parts = (batch.real, batch.fake, batch.labels, batch.semantics, batch.mix)
        with torch.no_grad():
            losses, penalties, found = vmap(one)(weights, *parts)
        for name, parameter in self.critic.items():
            parameter.grad = found[name].to(parameter.dtype)
        self.critic_adam.step()
        self._note("critic", losses)
        self._note("penalty", penalties)

    def generator_step(self, labels: Tensor) -> None:
        """Update the generators on fresh fakes of (fits, m) labels."""

        def one(
            weights: Weights, noise: Tensor, labels: Tensor, semantics: Tensor, *given: object
        ) -> tuple[Tensor, ...]:
            found: tuple[Tensor, ...] = functional_call(
                self.first.generator_objective, weights, (noise, labels, semantics, *given)
            )
            return found

        drawn = [[torch.stack(each) for each in zip(*drawn, strict=True)] for drawn in self._of_terms("draw")]
        given = [tuple(held + fresh) for held, fresh in zip(self._held, drawn, strict=True)]
        weights = _prefixed("networks.generator", self.generator)
        weights |= _prefixed("networks.critic", {name: value.detach() for name, value in self.critic.items()})
        noise = torch.stack([member.noise(labels.shape[1]) for member in self.members])
        losses, *values = vmap(one)(weights, noise, labels, self.first.rows.semantics[labels], *given)
        self.generator_adam.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self.generator_adam.step()
        self._note("generator", losses)
        for name, value in zip(self.first.generator_objective.names, values, strict=True):
            self._note(name, value)

    def _generate(self, weights: Weights, noise: Tensor, semantics: Tensor) -> Tensor:
        found: Tensor = functional_call(self.first.generator, weights, (noise, semantics))
        return found

    def _of_terms(self, what: str) -> list[list[tuple[Tensor, ...]]]:
        """Return, for each term, what each fit's term holds or draws."""
        by_term = zip(*(member.terms for member in self.members), strict=True)
        return [[term.held if what == "held" else term.draw() for term in terms] for terms in by_term]


def _stacked(networks: Sequence[torch.nn.Module]) -> Weights:
    """Return the weights of equal networks with a leading axis, as leaves of their own."""
    names = [name for name, _ in networks[0].named_parameters()]
    return {
        name: torch.stack([network.get_parameter(name).detach() for network in networks]).requires_grad_()
        for name in names
    }


def _prefixed(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    return {f"{prefix}.{name}": value for name, value in weights.items()}
