"""The gradient of the critic's loss, written out: a few matrix products and no graph.

For a critic of one hidden layer, D(x, a) = w₂ᵀ φ(W_x x + W_a a + b₁) + b₂ with φ a leaky ReLU, every derivative of the
loss (Eq. 2) is a product of matrices that the forward pass has at hand; the second derivative that the penalty needs
is one of them, since ∇ₓD = W_xᵀ(s ∘ w₂) is linear in W_x and in w₂. Autograd through `wgan.CriticObjective` gives the
same numbers; it remains the oracle, and the way for critics of two layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from zslbench.methods.nn import Critic

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
