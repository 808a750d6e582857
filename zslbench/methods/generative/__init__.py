"""What generative methods share that train in rounds of steps, and those built on autoencoders or a Wasserstein GAN.

Torch is imported inside the functions, so that the classes can be listed and described without it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from zslbench.arrays import Array
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Size, report_losses
from zslbench.methods.generative.loss_terms import FakeSource, FurtherNetwork, LossTerm
from zslbench.methods.generative.synthesis import FinalClassifierMethod, SynthesisMethod
from zslbench.methods.preprocess import normed
from zslbench.params import param
from zslbench.step_reports import TRAINING
from zslbench.task import ClassTable, Train

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zslbench.methods.generative.kept_training import Training
    from zslbench.methods.generative.training import GanOptions, GanTraining, SeenRows

REACH = {"relu": (0.0, math.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "linear": (-math.inf, math.inf)}
"""What the output of a generator may be, by its last activation."""
ROUNDING = 1e-5


@dataclasses.dataclass(kw_only=True)
class SteppedMethod(SynthesisMethod):
    """A method that trains in rounds of steps: seeds together if asked for, and on from a state that was kept."""

    slow_from = 1e11
    round_name: ClassVar[str] = "epoch"
    """The name of a round of training in error messages."""
    passes: ClassVar[int] = 1
    """Through the rows per epoch."""

    def fit(self, train: Train, ctx: Context) -> Self:
        """Train the networks on rows of seen classes."""
        (fitted,) = self.fit_seeds([self], train, [ctx])
        return fitted

    @classmethod
    def fit_seeds(cls, points: Sequence[Self], train: Train, contexts: Sequence[Context]) -> Iterator[Self]:
        """Train all points, several in batched products; each result equals that of its own `fit`, up to rounding."""
        from zslbench.methods import nn
        from zslbench.methods.generative.kept_training import KeptTraining

        first, ctx = points[0], contexts[0]
        trainings = [first._begin(train, ctx)]
        trainings += [point._begin(train, each, first) for point, each in zip(points[1:], contexts[1:], strict=True)]
        training = trainings[0] if len(points) == 1 else trainings[0].join(trainings)
        del trainings
        threads = nn.threads_for(len(points) * first._operations(Size.of(train)))
        for point in points:
            vars(point).update(threads_=threads, precision_=ctx.precision)
        judged = any(each.judged for each in contexts)
        unit, advice = f"in {first.round_name}", f"lower lr={vars(first)['lr']:g}"
        rounds = list(first._rounds(training.epoch_steps))
        kept = KeptTraining(training, ctx, [count for count, _, _ in rounds])
        kept.resume(nn.describe_arithmetic(first.device_, ctx.precision, threads))
        ctx.progress(kept.step, kept.total)
        for number, (count, step, total) in enumerate(rounds):
            resumed = number < len(kept.losses)  # the losses and checkpoints of these rounds are reported once more
            if not resumed:
                training.share = (step - 1) / total
                with nn.at_precision(ctx.precision, first.device_), nn.in_threads(threads):
                    losses = training.steps(count, ctx.phase, not ctx.profile, kept.advance, kept.taken)
                kept.end_round(losses)
            if judged or step == total:
                training.write_back()
            for point, values, each in zip(points, kept.losses[number], contexts, strict=True):
                report_losses(point, each, (step, total), values, advice, unit, training.beside)
            if not resumed and kept.advance(0):
                break
        for point, networks in zip(points, training.fits, strict=True):
            networks.requires_grad_(False).zero_grad(set_to_none=True)
            yield point

    def phases(self) -> tuple[str, ...]:
        """Return the phases of `fit`."""
        return (TRAINING,)

    @abc.abstractmethod
    def _operations(self, size: Size) -> float:
        """Return the multiplications and additions of one product of rows and weights, averaged over the steps."""

    @abc.abstractmethod
    def _begin(self, train: Train, ctx: Context, like: Self | None = None) -> Training:
        """Prepare the data, make the networks, and return their training before its first step.

        Args:
            like: a method with the same parameters that has prepared the same data; its data is used.
        """

    def _rounds(self, epoch_steps: int) -> Iterator[tuple[int, int, int]]:
        """Yield, for each round of training, its steps, its number, and how many there will be; here epochs."""
        epochs = vars(self)["epochs"]
        for epoch in range(1, epochs + 1):
            yield self.passes * epoch_steps, epoch, epochs

    def _take_rows(self, train: Train, ctx: Context, like: SynthesisMethod | None) -> SeenRows:
        """Prepare the data, or take over what `like` has prepared; keep the seeds for later."""
        from zslbench.methods.nn import resolve_device

        if like is None:
            self._prepare(train, resolve_device(ctx.device))
        else:
            shared = ("classes_", "preprocessor_", "device_", "rows_", "unseen_")
            vars(self).update({name: vars(like)[name] for name in shared})
        self._keep_seeds(ctx)
        return self.rows_


class AutoencoderMethod(SteppedMethod, FinalClassifierMethod):
    """A method with parameters `epochs` and `batch`, whose steps move autoencoders by the weighted sum of losses."""

    products: ClassVar[int]
    """Of rows and weights in a step."""
    epochs: int
    batch: int

    def cost(self, size: Size) -> float:
        """Return the rows that pass through the networks in all steps, times the weights that they meet."""
        return self.epochs * -(-size.images // self.batch) * self.batch * self._weights_met(size)

    def _operations(self, size: Size) -> float:
        return 2 * min(self.batch, size.images) * self._weights_met(size) / self.products

    @abc.abstractmethod
    def _weights_met(self, size: Size) -> float:
        """Return the weights that a row of a step meets."""


@dataclasses.dataclass(kw_only=True)
class AdversarialMethod(SteppedMethod):
    """A method that trains a generator of features from semantics against a Wasserstein critic.

    Random numbers that are drawn per class use the order of `ClassTable.canonical`, so neither ids nor the order of
    classes matter. Every purpose has its own random stream: settings that differ in a loss term share initial weights
    and batches.
    """

    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)
    """Of both Adams."""
    conditional: ClassVar[bool] = True
    """Whether the critic sees the semantics as well."""

    hidden: int = param(4096, low=1, high=16384, log=True, help="hidden units of generator and critic")
    noise: int = param(0, low=0, high=4096, help="dimensions of the noise; 0: as many as the semantics have")
    batch: int = param(64, low=1, high=65536, log=True, help="rows per step of critic and generator")
    critic_steps: int = param(5, low=1, high=100, help="critic steps before each generator step")
    lr: float = param(1e-4, low=1e-6, high=1e-1, log=True, help="learning rate of generator and critic")
    gp: float = param(10.0, low=0.0, high=1000.0, help="weight β of the gradient penalty")
    cls_weight: float = param(0.01, low=0.0, high=10.0, log=True, help="weight λ of the classification loss; 0: none")

    def cost(self, size: Size) -> float:
        """Return the rows that pass through the networks in all steps, times the weights that they meet."""
        batch = min(self.batch, size.images)
        steps = sum(count for count, _, _ in self._rounds(-(-size.images // batch)))
        return steps * (self.critic_steps + 1) * self._operations(size) / 2

    def _operations(self, size: Size) -> float:
        rows = min(self.batch, size.images) + self._further_fakes(size) / (self.critic_steps + 1)
        return 2 * rows * self.hidden * (size.features + size.semantics)

    def _further_fakes(self, size: Size) -> int:
        """Return how many fakes a generator step makes besides its batch."""
        return 0

    def _begin(self, train: Train, ctx: Context, like: AdversarialMethod | None = None) -> GanTraining:
        from zslbench.methods import nn
        from zslbench.methods.generative.training import GanTraining
        from zslbench.methods.generative.wgan import Generator

        rows = self._take_rows(train, ctx, like)
        device = self.device_

        def stream(purpose: str, where: torch.device | str = "cpu") -> torch.Generator:
            return nn.random_stream(ctx.stream_seed(purpose), where)

        generator_options, _ = self._networks()
        attributes, width = rows.semantics.shape[1], rows.features.shape[1]
        self.generator_ = Generator(
            self.noise or attributes, attributes, self.hidden, width, stream("generator init"), **generator_options
        ).to(device)
        critic = self._make_critic(rows, ctx)
        critic.to(device)
        streams = {purpose: stream(purpose, device) for purpose in ("batches", "noise", "interpolation")}
        given = rows, self.generator_.noise, ctx
        further = self.further_networks(*given)
        self.further_ = {name: each.network.to(device) for name, each in further.items()}
        networks = self.generator_, critic
        return GanTraining(*networks, rows, self.terms(*given), self._options(), streams, further, self._sources())

    @abc.abstractmethod
    def terms(self, rows: SeenRows, noise: int, ctx: Context) -> list[LossTerm]:
        """Return the terms of the generator's loss besides the Wasserstein one, and those of the critic's steps.

        A weight of 0 means no term.

        Args:
            rows: the seen rows; noise: dimensions of the generator's noise.
        """

    def further_networks(self, rows: SeenRows, noise: int, ctx: Context) -> dict[str, FurtherNetwork]:
        """Return the networks that are trained besides, by name (see `FurtherNetwork`); arguments as of `terms`."""
        return {}

    def _sources(self) -> Sequence[FakeSource]:
        """Return where the fakes come from, in each of the equal parts of a round."""
        return (FakeSource(),)

    def _options(self) -> GanOptions:
        """Return how generator and critic are trained."""
        from zslbench.methods.generative.training import GanOptions

        given = {name: getattr(self, name) for name in ("batch", "critic_steps", "lr", "gp", "betas")}
        return GanOptions(**given, branch_weight=self._branch_weight())

    def _branch_weight(self) -> float:
        """Return the weight of the critic's classifying branch in the critic's loss; 0: no branch."""
        return 0.0

    def _make_critic(self, rows: SeenRows, ctx: Context) -> Any:
        """Return the critic with its initial weights: a `Critic`, or a network whose loss are terms (`GanOptions`)."""
        from zslbench.methods.generative.wgan import Critic
        from zslbench.methods.nn import random_stream

        conditions, width = rows.semantics.shape[1] if self.conditional else 0, rows.features.shape[1]
        stream = random_stream(ctx.stream_seed("critic init"))
        critic = Critic(width, conditions, self.hidden, stream, **self._networks()[1])
        if self._branch_weight():
            critic.add_branch(len(rows.semantics), random_stream(ctx.stream_seed("branch init")))
        return critic

    def _networks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the options for `wgan.Generator` and `wgan.Critic`."""
        return {}, {}

    def _refuse_features(self, features: Array) -> None:
        """Raise BadValue if the generator's output cannot reach the preprocessed training features."""
        output, low, high = self._networks()[0].get("output", "relu"), float(features.min()), float(features.max())
        lowest, highest = REACH[output]
        if low < lowest - ROUNDING or high > highest + ROUNDING:
            raise BadValue(
                f"{type(self).__name__}: preprocess={self.preprocess} leaves training features from {low:.3g} to "
                f"{high:.3g}, which a generator that ends in {output} does not reach; choose preprocess=minmax or "
                f"standard+clip+minmax{', or output=linear' if 'output' in vars(self) else ''}."
            )

    def _synthesise(self, classes: ClassTable, rows: int, purpose: str = "synthesis") -> Tensor:
        """Return (k, rows, d) fakes of k classes; the same numbers at every call."""
        import torch

        from zslbench.methods.nn import random_stream

        semantics = self._tensor(normed(classes.semantics, self.semantic_norm))
        stream = random_stream(self.seeds_[purpose], self.device_)
        with torch.no_grad():
            return self.generator_.synthesise(semantics, rows, stream, self._make_fakes)

    def _make_fakes(self, noise: Tensor, semantics: Tensor) -> Tensor:
        """Return the (c, r, d) fakes of (c, r, z) noise and (c, 1, a) semantics that are synthesised after `fit`."""
        made: Tensor = self.generator_(noise, semantics)
        return made
