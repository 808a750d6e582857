"""Several fits at once: weights with a leading axis over fits, batched products, one process.

Each fit keeps its random streams, so it goes through the numbers that it would go through alone, up to the rounding of
batched products. On a GPU that a single fit leaves idle, eight cost little more than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from zslbench.methods.generative.iterations import CriticBatch, Iterations
from zslbench.methods.generative.wgan import GanTraining
from zslbench.methods.nn import adam

Weights = dict[str, Tensor]


class JointTraining(Iterations):
    """Trainings of the same shape that take their steps together.

    Args:
        members: as set up for training alone; they differ in weights, streams, and what their terms hold and draw.
    """

    def __init__(self, members: Sequence[GanTraining]) -> None:
        self.members = tuple(members)
        first = self.first = members[0]
        self.critic = _stacked([member.critic for member in members])
        self.generator = _stacked([member.generator for member in members])
        self.critic_adam = adam(self.critic.values(), first.options.lr, first.options.betas)
        self.generator_adam = adam(self.generator.values(), first.options.lr, first.options.betas)
        terms = zip(*(member.terms for member in members), strict=True)
        self._held = [_stacked_tensors([term.held for term in each]) for each in terms]
        drawing = (stream for member in members for stream in member.drawing)
        super().__init__(first.rows, first.batch, first.generator_objective.names, drawing)

    def write_back(self) -> None:
        """Copy the weights to the networks of the fits."""
        with torch.no_grad():
            for at, member in enumerate(self.members):
                for networks, weights in ((member.critic, self.critic), (member.generator, self.generator)):
                    for name, parameter in networks.named_parameters():
                        parameter.copy_(weights[name][at])

    def draw_inputs(self) -> tuple[Tensor, ...]:
        """Draw what each fit draws, with a second axis over fits."""
        drawn = zip(*(member.draw_inputs() for member in self.members), strict=True)
        return tuple(torch.stack(each, dim=1) for each in drawn)

    def generate(self, noise: Tensor, semantics: Tensor) -> Tensor:
        """Return fakes by each generator."""

        def generate(weights: Weights, noise: Tensor, semantics: Tensor) -> Tensor:
            fakes: Tensor = functional_call(self.first.generator, weights, (noise, semantics))
            return fakes

        made: Tensor = vmap(generate, in_dims=(0, 1, 1), out_dims=1)(self.generator, noise, semantics)
        return made

    def set_critic_gradient(self, batch: CriticBatch) -> tuple[Tensor, Tensor]:
        """Set the gradients of the critics, each for its own batch; return their losses and penalties."""
        weights = {name: value.detach() for name, value in self.critic.items()}
        with torch.no_grad():
            losses, penalties, gradients = vmap(self.first.critic_gradient.by_weights)(weights, batch)
        for name, parameter in self.critic.items():
            parameter.grad = gradients[name].to(parameter.dtype)
        return losses, penalties

    def generator_losses(self, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the generators' losses on fresh fakes of (fits, m) labels, and the values of their terms."""

        def losses_of(weights: Weights, *inputs: object) -> tuple[Tensor, ...]:
            values: tuple[Tensor, ...] = functional_call(self.first.generator_objective, weights, inputs)
            return values

        terms = zip(*(member.terms for member in self.members), strict=True)
        drawn = [_stacked_tensors([term.draw() for term in each]) for each in terms]
        given = [(*held, *fresh) for held, fresh in zip(self._held, drawn, strict=True)]
        weights = _prefixed("networks.generator", self.generator)
        weights |= _prefixed("networks.critic", {name: value.detach() for name, value in self.critic.items()})
        noise = torch.stack([member.noise(labels.shape[1]) for member in self.members])
        values: tuple[Tensor, ...] = vmap(losses_of)(weights, noise, labels, self.rows.semantics[labels], *given)
        return values


def _stacked(networks: Sequence[torch.nn.Module]) -> Weights:
    """Return the weights of equal networks with a leading axis, as leaves of their own."""
    return {
        name: torch.stack([network.get_parameter(name).detach() for network in networks]).requires_grad_()
        for name, _ in networks[0].named_parameters()
    }


def _stacked_tensors(tensors: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.stack(each) for each in zip(*tensors, strict=True)]


def _prefixed(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    return {f"{prefix}.{name}": value for name, value in weights.items()}
