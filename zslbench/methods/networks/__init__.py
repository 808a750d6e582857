"""Networks from semantics to features, or to both from one space; the class that fits best is predicted.

Torch is imported inside the functions, so that the classes can be listed and described without it.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from zslbench.arrays import Array
from zslbench.methods.base import Context, Method, Size, report_losses
from zslbench.methods.preprocess import attribute_values, check_chain, prepare, scaled_to_root
from zslbench.params import param
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    import torch
    from torch import Tensor

JUDGED_EVERY = 100
"""Iterations between two reports and checkpoints."""
LossOf: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""The loss of (m, d) rows, (m,) positions of their classes and (c, a) semantics of all seen classes."""


@dataclasses.dataclass(kw_only=True)
class IteratedNetwork(Method):
    """A network trained on seen classes by iterations of Adam, one batch each.

    Fitted: ``network_``. Unless a method overrides `scores`, ``network_(rows, semantics)`` returns them.
    """

    libraries = ("zslbench.methods.networks.embedding",)
    slow_from = 1e11

    hidden: int = param(1600, low=1, high=16384, log=True, help="units of the hidden layer")
    iterations: int = param(1500, low=1, high=10_000_000, log=True, help="steps of Adam, one batch each")
    batch: int = param(100, low=1, high=65536, log=True, help="rows per step")
    lr: float = param(1e-3, low=1e-6, high=1e-1, log=True, help="learning rate of Adam")
    attributes: str = param(
        "scaled",
        choices=("original", "scaled"),
        help="semantics before or after scaling to unit length; the same if there are no original attributes",
    )
    preprocess: str = param("none", validate=check_chain, help="chain of none, minmax, standard, l2, clip")

    @abc.abstractmethod
    def operations(self, size: Size) -> int:
        """Return the multiplications of a step's forward pass."""

    @abc.abstractmethod
    def make_network(self, semantics: int, features: Array, stream: torch.Generator) -> torch.nn.Module:
        """Return the untrained network for vectors of `semantics` numbers and (n, d) training rows."""

    def make_loss(self, network: Any, train: Train, ctx: Context) -> LossOf:
        """Return the loss that `network` is trained on."""
        loss: LossOf = network.loss
        return loss

    def make_optimiser(self, network: Any) -> torch.optim.Optimizer:
        """Return the optimiser with the learning rates of the first step."""
        from zslbench.methods import nn

        return nn.adam(network.parameters(), self.lr, betas=(0.9, 0.999))

    def make_batches(self, labels: Tensor, stream: torch.Generator) -> Iterator[Tensor]:
        """Return, without end, the rows of each step; `labels` are the (n,) positions of their classes."""
        from zslbench.methods import nn

        return nn.row_batches(len(labels), self.batch, stream)

    def shrink(self, taken: int) -> float:
        """Return what the learning rate is multiplied by after so many steps."""
        return 1.0

    def adjust_gradients(self) -> None:
        """Change the gradients before a step."""

    def vectors(self, semantics: Array) -> Array:
        """Return what the network reads of (k, a) semantics."""
        return semantics

    def cost(self, size: Size) -> float:
        """Return the multiplications of all iterations."""
        return float(self.iterations * self.operations(size))

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train the network on the rows of seen classes."""
        from zslbench.methods import nn

        self.device_ = nn.resolve_device(ctx.device)
        classes, self.preprocessor_, features, positions = prepare(train, self.preprocess)
        self.original_ = self.attributes == "original" and classes.original is not None
        arrays = features, positions, self.class_vectors(classes)
        rows, labels, semantics = (nn.tensor_on(self.device_, array) for array in arrays)
        network = self.make_network(semantics.shape[1], features, nn.random_stream(ctx.stream_seed("init")))
        self.network_ = network.to(self.device_)
        batches = self.make_batches(labels, nn.random_stream(ctx.stream_seed("batches"), self.device_))
        optimiser, loss = self.make_optimiser(network), self.make_loss(network, train, ctx)
        self.threads_ = nn.threads_for(2 * self.operations(Size.of(train)))

        def loss_of(picked: Tensor) -> Tensor:
            return loss(rows[picked], labels[picked], semantics)

        def advance(taken: int) -> bool:
            for group in optimiser.param_groups:
                group["lr"] = self.lr * self.shrink(taken)
            return ctx.progress(taken, self.iterations)

        given = optimiser, loss_of, batches, self.threads_, advance, self.adjust_gradients
        for taken, _, last in nn.take_steps(self.iterations, JUDGED_EVERY, *given):
            at = taken, self.iterations
            report_losses(self, ctx, at, {"loss": float(last)}, f"lower lr={self.lr:g}", "at iteration")
        network.requires_grad_(False)
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return the (n, k) float64 scores of the network."""
        import torch

        from zslbench.methods import nn

        rows = nn.tensor_on(self.device_, self.preprocessor_.transform(features))
        with torch.no_grad():
            made = self.network_(rows, nn.tensor_on(self.device_, self.class_vectors(classes)))
        out: Array = made.cpu().double().numpy()
        return out

    def class_vectors(self, classes: ClassTable) -> Array:
        """Return what the network reads of classes; BadValue if it was fitted on originals, which they lack."""
        values = attribute_values(classes, self.original_, self.card.title, ", or choose attributes=scaled")
        return self.vectors(values)


@dataclasses.dataclass(kw_only=True)
class SteppedNetwork(IteratedNetwork):
    """A network whose learning rate drops in steps; semantics that are no original attributes have length √a."""

    drop_every: int = param(
        1_000_000, low=1, high=10_000_000, log=True, help="iterations after which the learning rate drops"
    )
    drop: float = param(0.5, low=1e-3, high=1.0, log=True, help="factor by which the learning rate drops; 1: never")

    def shrink(self, taken: int) -> float:
        """Return the factor of a step schedule."""
        return self.drop ** (taken // self.drop_every)

    def vectors(self, semantics: Array) -> Array:
        """Return original attributes as they are, other semantics scaled to length √a."""
        return semantics if self.original_ else scaled_to_root(semantics)
