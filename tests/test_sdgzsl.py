"""SDGZSL: its losses against plain float64 loops, who learns when, its references, and the public code's departures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import A, D, problem

from zslbench.arrays import Array
from zslbench.methods.base import Context
from zslbench.methods.generative.disentangling import NARROW, Disentangler
from zslbench.methods.generative.sdgzsl import SDGZSL
from zslbench.methods.nn import random_stream
from zslbench.methods.preprocess import unit

SMALL: dict[str, Any] = {
    "hidden": 8,
    "latent": 3,
    "half_code": 4,
    "epochs": 2,
    "batch": 16,
    "per_class": 4,
    "final_epochs": 1,
}
DROPS = 0.3, 0.4, 0.2


def fitted(seed: int = 0, ctx: Context | None = None, **values: Any) -> SDGZSL:
    return SDGZSL(**{**SMALL, **values}).fit(problem()[0], ctx or Context(seed))


def disentangler(*sizes: int, **given: Any) -> Disentangler:
    names = "features", "semantics", "hidden", "latent", "half"
    return Disentangler(
        **dict(zip(names, sizes, strict=True)), **{"drops": DROPS, "squash": False, "stream": random_stream(0), **given}
    )


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


class Plain:
    """The formulas in numpy, with weights by name; the random numbers are given."""

    def __init__(self, networks: Disentangler, drawn: list[torch.Tensor]) -> None:
        self.given = {name: value.detach().numpy() for name, value in networks.named_parameters()}
        self.noise, self.orders, *uniform = (each.numpy() for each in drawn)
        self.uniform, self.squash = iter(uniform), networks.squash

    def layer(self, name: str, rows: Array) -> Array:
        return rows @ self.given[f"{name}.weight"].T + self.given[f"{name}.bias"]

    def drop(self, rows: Array, share: float) -> Array:
        return np.where(next(self.uniform) >= np.float32(share), rows / (1 - share), 0.0)

    def norm(self, name: str, rows: Array) -> Array:
        """Batch normalisation, with 0.8 added to the variance."""
        scaled = (rows - rows.mean(0)) / np.sqrt(((rows - rows.mean(0)) ** 2).mean(0) + 0.8)
        return scaled * self.given[f"{name}.weight"] + self.given[f"{name}.bias"]

    def losses(self, real: Array, labels: list[int], semantics: Array) -> dict[str, float]:
        own, (m, width) = semantics[labels], real.shape
        hidden = leaky(self.layer("encoder.layers.0", np.concatenate([real, own], 1)))
        hidden = self.drop(leaky(self.layer("encoder.layers.1", hidden)), DROPS[0])
        narrow = self.layer("narrow", hidden)
        assert narrow.shape[1] == NARROW == 128
        mean = self.layer("mean", narrow)
        variance = np.log1p(np.exp(self.drop(self.layer("variance", narrow), 0.2)))
        rows = np.concatenate([mean + np.sqrt(variance) * self.noise, own], 1)
        rows = self.drop(leaky(self.layer("first", rows)), DROPS[1])
        for number in range(2):
            rows = self.norm(f"norms.{number}", self.layer(f"inner.{number}", rows))
            rows = self.drop(rows, DROPS[1])
        made = leaky(self.layer("last", leaky(rows)))
        both = np.concatenate([made, real])
        codes = self.drop(leaky(self.layer("coder", both)), DROPS[2])
        again = codes
        for number in range(2):
            again = self.drop(leaky(self.layer(f"decoder.{number}", again)), DROPS[2])
        half = codes.shape[1] // 2
        present = sorted(set(labels))
        out = dict.fromkeys(("relation", "autoencoder", "correlation", "discriminator"), 0.0)
        out["reconstruction"] = sum((a - b) ** 2 for a, b in zip(made.flat, real.flat, strict=True))
        pairs = zip(mean.flat, variance.flat, strict=True)
        out["divergence"] = sum((mu * mu + var - math.log(var) - 1) / 2 for mu, var in pairs)
        for which in range(2):  # reconstructions, then real rows
            own_codes, own_again = (part[which * m : which * m + m] for part in (codes, again))
            for row in range(m):
                for label in present:
                    value = self.relation(own_codes[row, :half], semantics[label])
                    out["relation"] += (sigmoid(value) - (label == labels[row])) ** 2 / len(present)
                for a, b in zip(own_again[row], real[row], strict=True):
                    out["autoencoder"] += (a - b) ** 2 / width
                joint = self.judge(own_codes[row])
                out["correlation"] += joint[0] - joint[1]
                other = [
                    own_codes[self.orders[side, which, row, 0], side * half : side * half + half] for side in range(2)
                ]
                mixed = self.judge(np.concatenate(other))
                for values, right in ((joint, 0), (mixed, 1)):
                    out["discriminator"] += math.log(sum(math.exp(v - values[right]) for v in values)) / 4
        return out

    def relation(self, code: Array, semantics: Array) -> float:
        parts = (
            self.layer("comparator.from_features", code) + self.given["comparator.from_semantics.weight"] @ semantics
        )
        return float(self.layer("comparator.value", np.maximum(parts, 0))[0])

    def judge(self, code: Array) -> list[float]:
        values = self.layer("discriminator", code)
        return [sigmoid(value) if self.squash else float(value) for value in values]


def leaky(rows: Array) -> Array:
    return np.where(rows > 0, rows, 0.2 * rows)


def networks_and_batch(squash: bool = False) -> tuple[Disentangler, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    networks = disentangler(7, 5, 8, 3, 4, squash=squash).double()
    stream = random_stream(1)
    for parameter in networks.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=stream)
    real, semantics = (torch.randn(*shape, generator=stream, dtype=torch.float64) for shape in ((6, 7), (4, 5)))
    return networks, (real, torch.tensor([3, 0, 3, 1, 0, 3]), semantics)


@pytest.mark.parametrize("squash", [False, True])
def test_the_losses_are_the_formulas(squash: bool) -> None:
    networks, (real, labels, semantics) = networks_and_batch(squash)
    drawn = networks.draw(len(real), random_stream(2))
    losses = networks(real, labels, semantics[labels], *drawn)
    wanted = Plain(networks, drawn).losses(real.numpy(), labels.tolist(), semantics.numpy())
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(wanted, rel=1e-9)


def test_the_discriminator_learns_by_its_own_loss_and_nothing_else_does() -> None:
    networks, (real, labels, semantics) = networks_and_batch()
    drawn = networks.draw(len(real), random_stream(2))

    def moved(*names: str) -> set[str]:
        networks.zero_grad(set_to_none=True)
        losses = networks(real, labels, semantics[labels], *drawn)
        torch.stack([losses[name] for name in names]).sum().backward()
        return {name.split(".")[0] for name, value in networks.named_parameters() if value.grad is not None}

    vae = {"encoder", "narrow", "mean", "variance", "first", "inner", "norms", "last"}
    assert moved("discriminator") == {"discriminator"}
    assert moved("correlation") == {*vae, "coder"}  # the losses of codes reach the VAE
    assert moved("relation") == {*vae, "coder", "comparator"}
    assert moved("autoencoder") == {*vae, "coder", "decoder"}
    assert moved("reconstruction", "divergence") == vae


def test_layers_start_as_torchs_own() -> None:
    networks = disentangler(50, 20, 60, 30, 40)
    inputs = {"comparator.from_semantics": 60, "comparator.from_features": 60}
    for name, module in networks.named_modules():
        if isinstance(module, torch.nn.Linear):
            bound = inputs.get(name, module.in_features) ** -0.5
            assert 0.9 * bound < module.weight.detach().abs().max() <= bound


def test_weights_grow_with_epochs_up_to_their_limits() -> None:
    method = SDGZSL(divergence_rate=0.3, correlation_rate=0.4, correlation_weight=5.0, relation_weight=7.0)
    weights = [method._weights(epoch / method.epochs, 1) for epoch in range(5)]
    assert [each["divergence"] for each in weights] == pytest.approx([0.0, 0.3, 0.6, 0.9, 1.0])
    assert [each["correlation"] for each in weights] == pytest.approx([0.0, 2.0, 4.0, 5.0, 5.0])
    assert all((each["relation"], each["reconstruction"], each["autoencoder"]) == (7.0, 1.0, 1.0) for each in weights)


def test_training_is_adam_and_the_discriminator_has_a_turn_after_so_many_steps() -> None:
    """The weights after a fit are those of torch's plain Adams on the losses above, batch by batch."""
    given = {"correlation_weight": 2.0, "correlation_rate": 0.5, "divergence_rate": 0.2, "correlation_steps": 2}
    method, ctx = SDGZSL(**SMALL, **given, lr=0.01), Context(5)
    rows = method.fit(problem()[0], ctx).rows_
    drops = method.encoder_drop, method.decoder_drop, method.code_drop
    networks = disentangler(D, A, 8, 3, 4, drops=drops, stream=random_stream(ctx.stream_seed("init")))
    judge = list(networks.discriminator.parameters())
    others = [value for name, value in networks.named_parameters() if not name.startswith("discriminator")]
    of_judge, of_others = (torch.optim.Adam(held, lr=0.01) for held in (judge, others))
    batches, noises = (random_stream(ctx.stream_seed(name)) for name in ("batches", "noise"))
    for epoch in range(2):
        for step in range(math.ceil(len(rows.labels) / 16)):
            picked = torch.randperm(len(rows.labels), generator=batches)[:16]
            of_rows = rows.features[picked], rows.labels[picked], rows.semantics[rows.labels[picked]]
            losses = networks(*of_rows, *networks.draw(16, noises))
            loss = losses["reconstruction"] + losses["autoencoder"] + method.relation_weight * losses["relation"]
            loss = loss + 0.2 * epoch * losses["divergence"] + losses["discriminator"]
            if step % 3:
                loss = loss + 2 * 0.5 * epoch * losses["correlation"]
            networks.zero_grad()
            loss.backward()
            of_others.step()
            if not step % 3:
                of_judge.step()
    wanted = networks.state_dict()
    for name, mine in method.networks_.state_dict().items():
        if name not in ("inner.0.bias", "inner.1.bias") and not name.endswith("running_mean"):
            torch.testing.assert_close(mine, wanted[name], rtol=1e-3, atol=1e-5)
    # normalisation cancels the biases before it: their gradients are rounding, of which Adam makes full steps
    assert (method.networks_.norms[0].running_mean - networks.norms[0].running_mean).abs().max() < 0.05


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_seeds_that_train_together_are_those_that_train_alone(precision: str) -> None:
    train, _, every = problem()
    contexts = [Context(seed, precision=precision) for seed in (3, 8)]
    together = list(SDGZSL.fit_seeds([SDGZSL(**SMALL) for _ in contexts], train, contexts))
    near = 2e-3 if precision == "float32" else 0.1
    scores = [each.scores(every.features, every.classes) for each in together]
    assert not np.allclose(*scores)
    for found, ctx in zip(scores, contexts, strict=True):
        by_itself = Context(ctx.seed, precision=precision)
        np.testing.assert_allclose(found, fitted(ctx=by_itself).scores(every.features, every.classes), atol=near)
        for name, losses in by_itself.losses.to_dict()["values"].items():
            assert ctx.losses.to_dict()["values"][name] == pytest.approx(losses, rel=near, abs=near)


def test_the_final_classifier_sees_semantic_halves_without_dropped_units() -> None:
    method = fitted()
    train, _, every = problem()
    order = every.classes.canonical()
    references, labels = method._references(every.classes.take(order))
    assert references.shape == (len(train.labels) + 3 * SMALL["per_class"], SMALL["half_code"])
    given = method.networks_.coder
    codes = torch.nn.functional.leaky_relu(given(method.rows_.features), 0.2)[:, : SMALL["half_code"]]
    torch.testing.assert_close(references[: len(train.labels)], codes)
    unseen = ~np.isin(every.classes.ids[order], train.classes.ids)
    assert np.bincount(labels.numpy())[unseen].tolist() == [SMALL["per_class"]] * 3


def test_synthesised_rows_are_decoded_noise() -> None:
    method, classes = fitted(), problem()[1].classes
    made = method.synthesise(classes, 6)
    assert made.shape == (len(classes), 6, D)
    assert np.unique(made.round(6), axis=1).shape == made.shape  # each row has noise of its own
    assert np.array_equal(made, method.synthesise(classes, 6))
    order = classes.canonical()
    noise = torch.randn(6, 3, generator=random_stream(method.seeds_["pictured synthesis"]))
    semantics = torch.from_numpy(unit(classes.semantics[order[:1]])).expand(6, -1)
    np.testing.assert_allclose(made[order[0]], method.networks_.decode(noise, semantics).numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"squash": True},
        {"relation_weight": 0.0},
        {"correlation_weight": 0.0},
        {"encoder_drop": 0.0},
        {"decoder_drop": 0.0},
        {"code_drop": 0.0},
        {"correlation_steps": 1},
    ],
)
def test_each_option_changes_the_training(changed: dict[str, Any]) -> None:
    given = {"correlation_rate": 1.0, "correlation_weight": 1.0, "epochs": 3}
    first, second = (fitted(**{**given, **each}).networks_.coder.weight for each in ({}, changed))
    assert not torch.equal(first, second)


def test_presets_hold_the_published_values() -> None:
    preset = SDGZSL.presets["published"]
    assert set(preset.cells) == {
        (data, rules) for data in ("awa2", "apy", "cub", "flo", "sun") for rules in ("zsl", "gzsl")
    }
    for values in preset.cells.values():
        SDGZSL(**preset.values, **values)
    cub = SDGZSL(**preset.resolve("sdgzsl@published", "cub", "gzsl"))
    assert (cub.relation_weight, cub.correlation_weight, cub.half_code, cub.epochs) == (5, 0.003, 2048, 600)
    assert (cub.per_class, cub.final_batch, cub.final_epochs, cub.final_lr) == (1000, 1000, 50, 2e-3)
    assert (cub.encoder_drop, cub.decoder_drop, cub.code_drop, cub.squash) == (0.1, 0.1, 0.0, True)
    sun = SDGZSL(**preset.resolve("sdgzsl@published", "sun", "zsl"))
    assert (sun.relation_weight, sun.divergence_rate, sun.correlation_steps, sun.final_epochs) == (15, 0.01, 2, 20)


def test_bf16_gives_nearly_the_losses_of_float32() -> None:
    curves: dict[str, dict[str, list[float]]] = {}
    for precision in ("float32", "bf16"):
        ctx = Context(0, precision=precision)
        assert fitted(ctx=ctx).precision_ == precision
        curves[precision] = ctx.losses.to_dict()["values"]
    for name, values in curves["bf16"].items():
        assert values == pytest.approx(curves["float32"][name], rel=0.02, abs=0.01)
    assert curves["bf16"] != curves["float32"]
