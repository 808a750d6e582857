"""What a method adds to a Wasserstein GAN: terms of its losses, further networks, another source of its fakes.

A method is the list of its terms, each with a name and a weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.generative.training import Networks


@dataclasses.dataclass(frozen=True, eq=False)
class FurtherNetwork:
    """A network that a method trains beside generator and critic, by an Adam of its own.

    The method returns it from `further_networks`, under a name; terms and sources of fakes call it by that name. A
    decoder that learns from real rows in the critic's steps, and shapes the fakes in the generator's::

        def further_networks(self, rows, noise, ctx):
            stream = nn.random_stream(ctx.stream_seed("decoder init"))
            return {"decoder": FurtherNetwork(Decoder(..., stream), lr=1e-4, steps=("critic",))}

        def terms(self, rows, noise, ctx):
            def error(networks, batch):
                return (networks["decoder"](batch.fake) - batch.semantics).abs().mean()

            def error_of_real(networks, batch):
                return (networks["decoder"](batch.real) - batch.semantics).abs().mean()

            return [
                LossTerm("decoded", 0.1, error, sees_batch=True),
                LossTerm("decoder", 1.0, error_of_real, step="critic"),
            ]

    Seeds at once, resuming and bf16 need nothing more. After `fit` the method finds it in ``further_["decoder"]``.

    Attributes:
        network: with its initial weights. If a step's loss does not depend on a weight, it does not change it.
        lr, betas: of its Adam.
        steps: in which it is updated, ``generator`` and ``critic``; in the others it is frozen.
        zeroed: when its gradient is set to 0: before each ``step``; in public code also ``never``, or once a ``round``,
            so that gradients add up (fault F9).
    """

    network: torch.nn.Module
    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    steps: tuple[str, ...] = ("generator",)
    zeroed: str = "step"


def generate(networks: Networks, noise: Tensor, _real: Tensor, semantics: Tensor) -> tuple[Tensor, ...]:
    """Return the generator's (…, d) fakes of (…, z) noise and (…, a) semantics."""
    return (networks.generator(noise, semantics),)


@dataclasses.dataclass(frozen=True, eq=False)
class FakeSource:
    """Where the fakes of a step come from: by default G(z, a), z drawn from N(0, 1).

    Attributes:
        make: ``make(networks, noise (…, z), real (…, d), semantics (…, a))`` returns the (…, d) fakes and any further
            tensors for terms that see the batch; a pure function. `real` are rows of the same classes, so an encoder
            can turn the noise into a code of theirs.
        make_for_critic: the same for the critic's batches, where only the fakes are used; None: `make`.
        noise: how wide the drawn noise is; 0: as wide as the generator's.
        remade: whether the fakes depend on networks that the critic's steps update, and are made anew in each. The
            terms of these steps then see no fakes, since they come before.
    """

    make: Callable[[Networks, Tensor, Tensor, Tensor], tuple[Tensor, ...]] = generate
    make_for_critic: Callable[[Networks, Tensor, Tensor, Tensor], tuple[Tensor, ...]] | None = None
    noise: int = 0
    remade: bool = False

    def for_critic(self, networks: Networks, noise: Tensor, real: Tensor, semantics: Tensor) -> tuple[Tensor, ...]:
        """Return the fakes of batches of the critic first."""
        return (self.make_for_critic or self.make)(networks, noise, real, semantics)


class GeneratorBatch(NamedTuple):
    """What a term of the generator's loss sees of its step: as in `CriticBatch`, and what else the source made."""

    real: Tensor
    fake: Tensor
    labels: Tensor
    semantics: Tensor
    made: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class LossTerm:
    """A weighted term of the generator's loss, or of what the critic's steps minimise besides the critic's loss.

    Attributes:
        loss: ``loss(networks, fakes (m, d), labels (m,), *held, *drawn)`` returns a scalar. It is a pure function:
            whatever differs between two fits is passed as an argument, so that fits can be trained together.
        held: tensors that stay the same while training (souls, a frozen classifier).
        draw: returns the tensors drawn anew for each step, from `streams`.
        notes: names of further values that `loss` returns after the loss; they are reported beside it.
        step: ``generator`` or ``critic``. A term of the critic's step moves the critic and the further networks of
            this step, by autograd.
        sees_batch: whether `loss` takes a `GeneratorBatch` in place of fakes and labels. A term of the critic's step
            always takes a `CriticBatch`.
        adapt: ``adapt(held, values)``, called after each step with the held tensors and with what `loss` returned;
            changes the held tensors in place. If several fits are trained together, each tensor has a leading axis.
    """

    name: str
    weight: float
    loss: Callable[..., Tensor | tuple[Tensor, ...]]
    held: tuple[Tensor, ...] = ()
    draw: Callable[[], tuple[Tensor, ...]] = tuple
    streams: tuple[torch.Generator, ...] = ()
    notes: tuple[str, ...] = ()
    step: str = "generator"
    sees_batch: bool = False
    adapt: Callable[[Sequence[Tensor], Sequence[Tensor]], None] | None = None
