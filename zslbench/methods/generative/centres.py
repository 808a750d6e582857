"""A control of generators: one predicted feature per class, replicated in place of synthesised rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Self

from zslbench.methods.base import Context, MethodCard, Size, report_losses
from zslbench.methods.generative.synthesis import FinalClassifierMethod
from zslbench.methods.preprocess import normed
from zslbench.params import Between, param
from zslbench.step_reports import TRAINING
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    from torch import Tensor

JUDGED_EVERY = 50


@dataclasses.dataclass(kw_only=True)
class Centres(FinalClassifierMethod):
    """A network from semantics to the mean feature of a class; unseen classes are copies of the predicted mean.

    It is a generator without a spread of its own, in front of the same final classifiers. What a generator scores above
    it comes from the rows that it makes around the mean.
    """

    card = MethodCard(
        title="Centres",
        summary="control: the predicted mean feature of an unseen class, replicated, and a final classifier",
        citation="chen2022zla",
        reference="Chen, Shen, Zhang, Torr: Zero-Shot Logit Adjustment, IJCAI 2022 (a control in the supplement)",
        formula="f = argmin (1/C) Σ_c ‖μ_c − f(a_c)‖² / d + decay/2 ‖W‖²;  rows of an unseen class: f(a), n times",
        differences=(
            "The supplement names the control and its rows per class, 4000. The network's width, its optimiser and its "
            "steps are choices made here.",
            "Without a spread around the mean it is below generators: on CUB (fc1000, attributes, seed 0) T1 was 44.5 "
            "with the defaults, and 49.1 for f-CLSWGAN of 256 hidden units after 10 epochs.",
        ),
    )
    space = {
        "lr": Between(1e-4, 1e-2, log=True),
        "iterations": Between(100, 2000, log=True),
        "decay": Between(1e-7, 1e-2, log=True, zero=True),
        "per_class": (10, 50, 300),
        "final_lr": (3e-4, 1e-3, 3e-3),
    }
    libraries = (*FinalClassifierMethod.libraries, "zslbench.methods.networks.embedding")
    slow_from = 1e11
    check_params = {"hidden": 128, "iterations": 200, "lr": 5e-3, "decay": 1e-5, "per_class": 20, "final_lr": 2e-2}

    hidden: int = param(1024, low=1, high=16384, log=True, help="units of the hidden layer")
    iterations: int = param(500, low=1, high=1_000_000, log=True, help="steps of Adam, each on all seen classes")
    lr: float = param(1e-3, low=1e-6, high=1e-1, log=True, help="learning rate of Adam")
    decay: float = param(1e-5, low=0.0, high=10.0, log=True, help="weight of the squared weights; 0: none")

    def cost(self, size: Size) -> float:
        """Return the classes that pass through the network in all steps, times the weights that they meet."""
        return float(self.iterations * size.classes * self.hidden * (size.features + size.semantics))

    def phases(self) -> tuple[str, ...]:
        """Return the phases of `fit`."""
        return (TRAINING,)

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train the network on the mean rows of seen classes."""
        import torch

        from zslbench.methods import nn
        from zslbench.methods.generative.regularisers import class_means
        from zslbench.methods.networks.embedding import DeepEmbedding

        rows = self._prepare(train, nn.resolve_device(ctx.device))
        self._keep_seeds(ctx)
        (classes, attributes), width = rows.semantics.shape, rows.features.shape[1]
        means, labels = class_means(rows.features, rows.labels, classes), torch.arange(classes, device=self.device_)
        network = self.network_ = DeepEmbedding(
            attributes, self.hidden, width, std=0.0, positive=False, stream=nn.random_stream(ctx.stream_seed("init"))
        ).to(self.device_)
        self.threads_ = nn.threads_for(2 * classes * self.hidden * (attributes + width))
        self.precision_ = ctx.precision
        batches = nn.row_batches(classes, classes, nn.random_stream(ctx.stream_seed("batches"), self.device_))
        adam = nn.adam(network.parameters(), self.lr, betas=(0.9, 0.999))

        def loss_of(picked: Tensor) -> Tensor:
            with nn.at_precision(ctx.precision, self.device_):
                return network.loss(means[picked], labels[picked], rows.semantics, self.decay)

        def advance(taken: int) -> bool:
            return ctx.progress(taken, self.iterations)

        given = adam, loss_of, batches, self.threads_, advance
        for taken, _, last in nn.take_steps(self.iterations, JUDGED_EVERY, *given):
            at = taken, self.iterations
            report_losses(self, ctx, at, {"loss": float(last)}, f"lower lr={self.lr:g}", "at iteration")
        network.requires_grad_(False)
        return self

    def _synthesise(self, classes: ClassTable, rows: int, purpose: str = "synthesis") -> Tensor:
        """Return (k, rows, d): the predicted mean of each class, as often as asked."""
        made: Tensor = self.network_(self._tensor(normed(classes.semantics, self.semantic_norm)))
        return made[:, None].expand(-1, rows, -1)
