"""Conditional Wasserstein GAN with gradient penalty: its networks and its losses (Gulrajani et al., 2017).

The gradient of the critic's loss is written out: a few matrix products and no graph. For a critic of one hidden layer,
D(x, a) = w₂ᵀ φ(W_x x + W_a a + b₁) + b₂ with φ a leaky ReLU, every derivative of the loss (Eq. 2) is a product of
matrices that the forward pass computes; so is the second derivative that the penalty needs, since ∇ₓD = W_xᵀ(s ∘ w₂) is
linear in W_x and in w₂. Autograd through `CriticLoss` gives the same numbers; it is the oracle in tests, and it
computes the gradients of critics of two layers. Torch is imported at the top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from zslbench.methods.nn import INIT_STD, linear

SLOPE = 0.2
CHUNK_ROWS = 8192
"""Rows that are synthesised at once."""
BLOCK_ROWS = 4096
"""Rows of a block in bf16. Fewer: the sums of gradients take longer; more: activations leave the cache."""
Gradients = tuple[Tensor, Tensor, dict[str, Tensor]]
"""The critic's loss, its part the penalty, and the gradient of the loss by each of the weights."""
LARGEST = "from_features.weight"
"""The largest gradient, the only one for which it pays to write into an existing tensor."""


def _initial_std(inputs: int, outputs: int, xavier: bool) -> float:
    """Return the deviation of initial weights: √(2 / (inputs + outputs)) (Glorot's normal one), or 0.02."""
    return math.sqrt(2 / (inputs + outputs)) if xavier else INIT_STD


class Generator(torch.nn.Module):
    """x̃ = g(W₂ LReLU(W_z z + W_a a + b₁) + b₂): noise and semantics in, features out; g is `output`, usually ReLU.

    The first layer on the concatenation [z, a] is kept as two layers, one of noise and one of semantics. The map is the
    same, and rows of one class share the second part.

    Args:
        stream: of the initial weights, from Glorot's normal distribution with `xavier`, otherwise from N(0, 0.02²).
        output: ``relu``, ``sigmoid``, ``tanh`` or ``linear``.
        slope: of the leaky ReLU below zero.
    """

    def __init__(
        self,
        noise: int,
        semantics: int,
        hidden: int,
        features: int,
        stream: torch.Generator,
        *,
        output: str = "relu",
        slope: float = SLOPE,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self.noise, self.output, self.slope = noise, output, slope
        first = _initial_std(noise + semantics, hidden, xavier)
        self.from_noise = linear(noise, hidden, stream, std=first)
        self.from_semantics = linear(semantics, hidden, stream, bias=False, std=first)
        self.out = linear(hidden, features, stream, std=_initial_std(hidden, features, xavier))

    def forward(self, noise: Tensor, semantics: Tensor, feedback: Tensor | None = None) -> Tensor:
        """Return (…, d) features of (…, z) noise and (…, a) semantics; leading axes broadcast.

        Args:
            feedback: (…, h), added to the activations of the hidden layer (TF-VAEGAN).
        """
        per_class = noise.dim() == semantics.dim() == 3 and semantics.shape[1] == 1
        if per_class and self.output == "relu" and self.out.weight.dtype == torch.bfloat16:  # as L_R2 does on a CPU
            layers = (self.from_noise.weight, self.from_noise.bias, self.out.weight, self.out.bias)
            made: Tensor = BlockwisePass.apply(  # type: ignore[no-untyped-call]
                noise.bfloat16(), self.from_semantics(semantics), *layers, self.slope
            )
            return made
        hidden = functional.leaky_relu(self.from_noise(noise) + self.from_semantics(semantics), self.slope)
        out: Tensor = self.out(hidden if feedback is None else hidden + feedback)
        if self.output == "linear":
            return out
        if self.output == "sigmoid":  # in bf16 many values would be exactly 1, where nothing is learned
            return out.to(torch.promote_types(out.dtype, torch.float32)).sigmoid()
        return out.tanh() if self.output == "tanh" else functional.relu(out)

    def synthesise(
        self,
        semantics: Tensor,
        rows: int,
        stream: torch.Generator,
        make: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return (c, rows, d) features of (c, a) classes from fresh noise, in chunks that limit the memory needed.

        Args:
            make: makes them of (c, rows, z) noise and (c, 1, a) semantics; None: the generator alone.
        """
        each = max(1, CHUNK_ROWS // rows)
        out = semantics.new_empty(len(semantics), rows, self.out.out_features)
        for start in range(0, len(semantics), each):
            some = semantics[start : start + each]
            noise = torch.randn(len(some), rows, self.noise, generator=stream, device=semantics.device)
            out[start : start + each] = (make or self)(noise, some[:, None, :])
        return out


class BlockwisePass(torch.autograd.Function):
    """The generator's pass over several rows per class in bf16: ReLU(W LReLU(W_z z + b₁ + s) + b₂), s per class.

    Forward and backward take a block of classes at a time, whose activations fit the processor's cache. Gradients of
    the weights are summed over blocks in float32.
    """

    @staticmethod
    def forward(ctx: Any, noise: Tensor, by_class: Tensor, *layers: Any) -> Tensor:
        """Return (c, r, d) features of (c, r, z) noise and the (c, 1, h) semantic parts s."""
        *weights, slope = layers
        from_noise, bias, out, out_bias = weights
        hidden = noise.new_empty(*noise.shape[:2], len(from_noise))
        made = noise.new_empty(*noise.shape[:2], len(out))
        for some in _blocks(noise):
            part = torch.addmm(bias, noise[some].flatten(0, 1), from_noise.T, out=hidden[some].flatten(0, 1))
            functional.leaky_relu_(hidden[some].add_(by_class[some]), slope)
            torch.addmm(out_bias, part, out.T, out=made[some].flatten(0, 1)).relu_()
        ctx.save_for_backward(noise, from_noise, out, hidden, made)
        ctx.slope = slope
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients by all inputs but the noise and the slope."""
        noise, from_noise, out, hidden, made = ctx.saved_tensors
        by_class = noise.new_empty(len(noise), 1, len(from_noise))
        sums: list[Tensor] = []
        exact = torch.promote_types(out.dtype, torch.float32)
        for some in _blocks(noise):
            active = hidden[some].flatten(0, 1)
            by_made = torch.ops.aten.threshold_backward(gradients[0][some], made[some], 0).flatten(0, 1)
            by_hidden = torch.ops.aten.leaky_relu_backward(by_made @ out, active, ctx.slope, True)
            by_class[some] = by_hidden.unflatten(0, (-1, noise.shape[1])).sum(1, keepdim=True)
            parts = [
                by_hidden.T @ noise[some].flatten(0, 1),
                by_hidden.sum(0),
                by_made.T.contiguous() @ active,  # twice as fast as with a transposed factor of this size
                by_made.sum(0),
            ]
            sums = [total.to(exact).add_(part) for total, part in zip(sums, parts, strict=True)] if sums else parts
        return None, by_class, *(total.to(out.dtype) for total in sums), None


def _blocks(rows: Tensor) -> list[slice]:
    """Return the blocks of classes of (c, r, …) rows."""
    each = max(1, BLOCK_ROWS // rows.shape[1])
    return [slice(start, start + each) for start in range(0, len(rows), each)]


class Critic(torch.nn.Module):
    """D(x, a) = w₂ᵀ LReLU(W_x x + W_a a + b₁) + b₂, optionally with a classifying branch.

    With two layers a second hidden one, ReLU(W h + b), comes before w₂ (LisGAN, section 4.2).

    The branch is the second head of LisGAN and GAZSL. It reads the hidden layers without their semantic part W_a a:
    P(y|x) is a function of x, and a branch that saw a could simply read the class from it.

    Args:
        semantics: units; 0 makes the critic unconditional, D(x) (GAZSL).
        layers: hidden ones, 1 or 2.
        stream, slope, xavier: as in `Generator`; slope 0 is ReLU.
    """

    def __init__(
        self,
        features: int,
        semantics: int,
        hidden: int,
        stream: torch.Generator,
        *,
        layers: int = 1,
        slope: float = SLOPE,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self.slope, self.xavier = slope, xavier
        first = _initial_std(features + semantics, hidden, xavier)
        self.from_features = linear(features, hidden, stream, std=first)
        self.from_semantics = linear(semantics, hidden, stream, bias=False, std=first) if semantics else None
        self.second = linear(hidden, hidden, stream, std=_initial_std(hidden, hidden, xavier)) if layers == 2 else None
        self.value = linear(hidden, 1, stream, std=_initial_std(hidden, 1, xavier))
        self.branch: torch.nn.Linear | None = None

    def add_branch(self, classes: int, stream: torch.Generator) -> None:
        """Give the critic its second head, over `classes` seen classes."""
        hidden = self.value.in_features
        self.branch = linear(hidden, classes, stream, std=_initial_std(hidden, classes, self.xavier))

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Return (m,) values of (m, d) features under (m, a) semantics."""
        return self.values(self.conditioned(self.from_features(features), semantics))

    def conditioned(self, projected: Tensor, semantics: Tensor) -> Tensor:
        """Return (…, h) pre-activations of projected features ``from_features(x)`` under (…, a) semantics."""
        return projected if self.from_semantics is None else projected + self.from_semantics(semantics)

    def values(self, hidden: Tensor) -> Tensor:
        """Return (…,) values of (…, h) pre-activations."""
        out: Tensor = self.value(self._top(hidden)).squeeze(-1)
        return out

    def logits(self, projected: Tensor) -> Tensor:
        """Return (…, c) class logits of (…, h) projected features ``from_features(x)``."""
        assert self.branch is not None
        out: Tensor = self.branch(self._top(projected))
        return out

    def _top(self, hidden: Tensor) -> Tensor:
        """Return (…, h) activations of the last hidden layer for (…, h) pre-activations of the first."""
        first = functional.leaky_relu(hidden, self.slope)
        return first if self.second is None else functional.relu(self.second(first))

    def input_gradient(self, hidden: Tensor) -> Tensor:
        """Return (m, d) gradients of D by x at (m, h) pre-activations `hidden`.

        D is piecewise linear, so ∇ₓD = W_xᵀ(s ∘ w₂) with s = 1 or the slope; its derivative by `hidden` is zero
        wherever it exists. With a second layer w₂ becomes Wᵀ(s′ ∘ w₂), s′ = 1 or 0. Because the gradient is written
        out, the penalty needs one backward pass instead of two.
        """
        hidden = hidden.detach()
        back = self.value.weight
        if self.second is not None:
            with torch.no_grad():
                passed = self.second(functional.leaky_relu(hidden, self.slope)) > 0
            back = (passed * back) @ self.second.weight
        return (_slopes(hidden, self.slope) * back) @ self.from_features.weight

    def losses(self, batch: CriticBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the parts of the loss of a batch from one forward pass over real and fake rows.

        They are E D(x̃) − E D(x), the penalty E(‖∇D‖₂ − 1)², and −E log P(y|x̃) − E log P(y|x) if there is a branch.
        The paper prints the penalty with the wrong sign: it is added.
        """
        projected = self.from_features(torch.cat([batch.real, batch.fake])).unflatten(0, (2, -1))
        hidden = self.conditioned(projected, batch.semantics)
        values = self.values(hidden)
        # x̂ shares its semantics with both ends, and the first layer is affine: its pre-activation lies between theirs.
        between = torch.lerp(hidden[1].detach(), hidden[0].detach(), batch.mix.to(hidden.dtype))
        classification = None
        if self.branch is not None:
            real, fake = (functional.cross_entropy(side, batch.labels) for side in self.logits(projected))
            classification = real + fake
        penalty = (torch.linalg.vector_norm(self.input_gradient(between), dim=1) - 1).square().mean()
        return values[1].mean() - values[0].mean(), penalty, classification


def _slopes(hidden: Tensor, slope: float) -> Tensor:
    """Return the derivative of the leaky ReLU at each entry, in the type of `hidden`."""
    return torch.where(hidden > 0, hidden.new_ones(()), slope)


class CriticBatch(NamedTuple):
    """The data of one critic step; if several fits are trained together, each tensor has a leading axis over them.

    Attributes:
        real, fake: (m, d) rows.
        labels: (m,) positions of their classes.
        semantics: (m, a) of these classes.
        mix: (m, 1) shares μ of the real row in x̂ = μx + (1 − μ)x̃.
    """

    real: Tensor
    fake: Tensor
    labels: Tensor
    semantics: Tensor
    mix: Tensor


class CriticLoss(torch.nn.Module):
    """The critic's loss of a batch (Eq. 2) and its gradient: written out for one hidden layer, by autograd for two."""

    def __init__(self, critic: Critic, gp: float, branch_weight: float) -> None:
        super().__init__()
        self.critic, self.gp, self.branch_weight = critic, gp, branch_weight
        self._largest = None if critic.second is not None else torch.empty_like(critic.from_features.weight)
        self._rounded = torch.empty_like(critic.from_features.weight, dtype=torch.bfloat16)

    def forward(self, batch: CriticBatch, gp: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss and the penalty, which is part of it."""
        wasserstein, penalty, classification = self.critic.losses(batch)
        loss = wasserstein + (self.gp if gp is None else gp) * penalty
        return loss if classification is None else loss + self.branch_weight * classification, penalty

    def set_gradients(self, batch: CriticBatch, gp: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Write the gradients into the critic's parameters, the largest one in place; return loss and penalty."""
        weights = {name: value.detach() for name, value in self.critic.named_parameters()}
        kind = batch.real.device.type
        autocast = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)  # products are of another type
        if autocast:  # once for all the products that take it
            weights[LARGEST] = self._rounded.copy_(weights[LARGEST])
        with torch.no_grad():
            loss, penalty, gradients = self.by_weights(weights, batch, gp, self._largest)
        for name, parameter in self.critic.named_parameters():
            parameter.grad = gradients[name].to(parameter.dtype)
        return loss, penalty

    def by_weights(
        self, weights: Mapping[str, Tensor], batch: CriticBatch, gp: Tensor | None = None, into: Tensor | None = None
    ) -> Gradients:
        """Return the loss, the penalty and the gradients for weights of the critic by name.

        Args:
            gp: a weight of the penalty other than that of this object.
            into: a tensor to write the gradient of `LARGEST` into.
        """
        if self.critic.second is not None:
            return self._by_autograd(weights, batch, gp)
        penalty_weight = self.gp if gp is None else gp
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
        by_lengths = (2 * penalty_weight / m) * (lengths - 1) * torch.where(lengths > 0, by_input / safe, 0.0)

        loss = (sign * values).sum() + penalty_weight * penalty
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
        if into is not None and into.dtype == w_x.dtype:
            gradients[LARGEST] = torch.mm(left, right, out=into)
        else:
            product = left @ right
            gradients[LARGEST] = product if into is None else into.copy_(product)
        return loss, penalty, gradients

    def _of_branch(self, weights: Mapping[str, Tensor], projected: Tensor, labels: Tensor) -> Gradients:
        """Return the branch's loss, and its weighted gradients by the projected rows and by the branch's weights."""
        m = len(labels)
        slopes = _slopes(projected, self.critic.slope)
        active = projected * slopes
        logits = functional.linear(active, weights["branch.weight"], weights["branch.bias"])
        logs = functional.log_softmax(logits, dim=1)
        both = labels.repeat(2)
        target = (both[:, None] == torch.arange(logs.shape[1], device=labels.device)).to(logs.dtype)
        loss = -(logs * target).sum() / m
        by_logits = (logs.exp() - target) * (self.branch_weight / m)
        by_projected = (by_logits @ weights["branch.weight"]) * slopes
        return loss, by_projected, {"branch.weight": by_logits.T @ active, "branch.bias": by_logits.sum(dim=0)}

    def _by_autograd(self, weights: Mapping[str, Tensor], batch: CriticBatch, gp: Tensor | None) -> Gradients:
        def loss_of(weights: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            named = {f"critic.{name}": value for name, value in weights.items()}
            loss, penalty = functional_call(self, named, (batch, gp))
            return loss, (loss, penalty)

        gradients, (loss, penalty) = torch.func.grad(loss_of, has_aux=True)(dict(weights))
        return loss.detach(), penalty.detach(), gradients
