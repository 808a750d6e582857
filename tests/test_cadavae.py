"""CADA-VAE: its losses against plain float64 loops, its schedule, its references, and the public code's departures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import SEEN, problem

from zslbench.arrays import Array
from zslbench.methods import nn
from zslbench.methods.base import Context
from zslbench.methods.generative.aligned_vaes import GAIN, AlignedVaes, HiddenUnits, pick_rows
from zslbench.methods.generative.cadavae import CADAVAE
from zslbench.methods.nn import random_stream
from zslbench.methods.preprocess import unit

SMALL: dict[str, Any] = {
    "latent": 3,
    "feature_encoder": 8,
    "feature_decoder": 7,
    "semantic_encoder": 6,
    "semantic_decoder": 5,
    "epochs": 2,
    "batch": 16,
    "per_class": 4,
    "per_seen_class": 3,
    "final_epochs": 1,
}


def fitted(seed: int = 0, **values: Any) -> CADAVAE:
    return CADAVAE(**{**SMALL, **values}).fit(problem()[0], Context(seed))


def mlp(given: dict[str, Array], names: tuple[str, str], row: Array) -> Array:
    """W₂ ReLU(W₁ x + b₁) + b₂ of one row."""
    first, second = names
    hidden = np.maximum(given[f"{first}.weight"] @ row + given[f"{first}.bias"], 0)
    return given[f"{second}.weight"] @ hidden + given[f"{second}.bias"]


@pytest.mark.parametrize("std_mode", ["logvar_half", "logvar"])
@pytest.mark.parametrize("dimensions", [3, 1])  # noise per dimension, or one number per row
def test_the_losses_are_the_formulas_summed_over_rows_and_dimensions(std_mode: str, dimensions: int) -> None:
    vaes = AlignedVaes(7, 4, 3, HiddenUnits(8, 6, 5, 9), random_stream(0)).double()
    stream = random_stream(1)
    for parameter in vaes.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=stream)
    features, semantics, noise = (
        torch.randn(*shape, generator=stream, dtype=torch.float64) for shape in ((6, 7), (6, 4), (2, 6, dimensions))
    )
    vaes.std_mode = std_mode
    losses = vaes(features, semantics, noise)
    given = {name: value.detach().numpy() for name, value in vaes.named_parameters()}
    wanted = dict.fromkeys(losses, 0.0)
    for row, (x, a) in enumerate(zip(features.numpy(), semantics.numpy(), strict=True)):
        means, logs, codes = [], [], []
        for which, (name, values) in enumerate((("feature_encoder", x), ("semantic_encoder", a))):
            means.append(mlp(given, (f"{name}.body.layers.0", f"{name}.mean"), values))
            logs.append(mlp(given, (f"{name}.body.layers.0", f"{name}.log_variance"), values))
            drawn = noise.numpy()[which, row] * np.ones(3)
            power = 0.5 if std_mode == "logvar_half" else 1.0
            codes.append(
                [m + math.exp(power * v) * e for m, v, e in zip(means[which], logs[which], drawn, strict=True)]
            )
            pairs = zip(means[which], logs[which], strict=True)
            wanted["divergence"] += sum((m * m + math.exp(v) - v - 1) / 2 for m, v in pairs)
        for kind, pair in (("reconstruction", codes), ("cross", codes[::-1])):
            for name, values, code in (("feature_decoder", x, pair[0]), ("semantic_decoder", a, pair[1])):
                decoded = mlp(given, (f"{name}.layers.0", f"{name}.layers.1"), np.array(code))
                wanted[kind] += sum(abs(v - w) for v, w in zip(values, decoded, strict=True))
        apart = sum((m - n) ** 2 for m, n in zip(*means, strict=True))
        apart += sum((math.exp(v / 2) - math.exp(w / 2)) ** 2 for v, w in zip(*logs, strict=True))
        wanted["alignment"] += math.sqrt(apart)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(wanted, rel=1e-10)


def test_every_network_starts_from_glorots_weights_of_gain_one_half() -> None:
    vaes = AlignedVaes(50, 20, 30, HiddenUnits(60, 70, 80, 90), random_stream(0))
    for name, value in vaes.named_parameters():
        if name.endswith("bias"):
            assert not value.detach().any()
        else:
            bound = GAIN * math.sqrt(6 / sum(value.shape))
            assert 0.9 * bound < value.detach().abs().max() <= bound
    assert GAIN == 0.5


def test_the_weights_grow_between_the_papers_epochs() -> None:
    method = CADAVAE(**CADAVAE.presets["published"].values)
    weights = {epoch: method._weights(epoch / method.epochs) for epoch in range(100)}
    for name, start, end, full in (
        ("divergence", 0, 93, 0.25),
        ("cross", 21, 75, 2.37),
        ("alignment", 6, 22, 8.13),
        ("reconstruction", -1, 0, 1.0),
    ):
        wanted = [full * min(max((epoch - start) / (end - start), 0.0), 1.0) for epoch in weights]
        assert [each[name] for each in weights.values()] == pytest.approx(wanted)


def test_training_is_adam_with_amsgrad_on_the_weighted_losses_of_random_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weights after a fit are those of torch's plain Adam on the losses above, batch by batch."""
    method = CADAVAE(**{**SMALL, "epochs": 3, "lr": 0.01})
    train, ctx = problem()[0], Context(5)
    start: list[AlignedVaes] = []
    init = AlignedVaes.__init__

    def noted(self: AlignedVaes, *args: Any) -> None:
        init(self, *args)
        if not start:
            start.append(self)
            start.append(AlignedVaes(*args[:-1], random_stream(ctx.stream_seed("init"))))

    monkeypatch.setattr(AlignedVaes, "__init__", noted)
    method.fit(train, ctx)
    vaes, rows = start[1], method.rows_
    adam = torch.optim.Adam(vaes.parameters(), lr=0.01, betas=(0.9, 0.999), amsgrad=True)
    batches, noises = (random_stream(ctx.stream_seed(name)) for name in ("batches", "noise"))
    for epoch in range(3):
        for _ in range(math.ceil(len(train.labels) / 16)):
            picked = torch.randperm(len(train.labels), generator=batches)[:16]
            noise = torch.randn(2, 16, 3, generator=noises)
            of_rows = rows.features[picked], rows.semantics[rows.labels[picked]]
            losses = vaes(*of_rows, noise)
            weights = method._weights(epoch / 3)
            adam.zero_grad()
            sum(weights[name] * value for name, value in losses.items()).backward()
            adam.step()
    for mine, theirs in zip(method.vaes_.parameters(), vaes.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-4, atol=1e-6)
    assert any((a != b).any() for a, b in zip(vaes.parameters(), start[0].parameters(), strict=True))


def test_rows_are_picked_in_order_and_again_where_a_class_has_too_few() -> None:
    labels, order = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([4, 3, 2, 1, 0])
    assert pick_rows(labels, torch.arange(5), 2, 2).tolist() == [1, 4, 0, 2]
    assert pick_rows(labels, order, 2, 4).tolist() == [4, 1, 4, 1, 3, 2, 0, 3]


@pytest.mark.parametrize("seen_rows", ["random", "first"])
def test_references_are_codes_of_seen_images_and_of_unseen_semantics(seen_rows: str) -> None:
    method = fitted(seen_rows=seen_rows)
    with torch.no_grad():  # a deviation of almost nothing: the codes are means
        for encoder in (method.vaes_.feature_encoder, method.vaes_.semantic_encoder):
            encoder.log_variance.weight.zero_()
            encoder.log_variance.bias.fill_(-60.0)
        means = method.vaes_.feature_encoder(method.rows_.features).mean
    train, _, every = problem()
    order = every.classes.canonical()
    codes, labels = method._references(every.classes.take(order))
    unseen = ~np.isin(every.classes.ids[order], train.classes.ids)
    counts = np.where(unseen, SMALL["per_class"], SMALL["per_seen_class"])
    assert np.bincount(labels.numpy()).tolist() == counts.tolist()
    first = torch.cat([torch.nonzero(method.rows_.labels == label)[:3, 0] for label in range(SEEN)])
    of_seen = codes[: 3 * SEEN]
    assert torch.allclose(of_seen, means[first], atol=1e-6) == (seen_rows == "first")
    apart = (of_seen[:, None] - means).norm(dim=2)
    assert (apart.amin(1) < 1e-5).all()
    nearest = method.rows_.labels[apart.argmin(1)]
    assert torch.equal(nearest, torch.arange(SEEN).repeat_interleave(3))
    of_unseen = every.classes.take(order[unseen]).semantics
    of_class = method.vaes_.semantic_encoder(torch.from_numpy(unit(of_unseen))).mean
    assert torch.allclose(codes[3 * SEEN :], of_class.repeat_interleave(4, 0), atol=1e-5)


def test_queries_are_classified_by_their_means() -> None:
    method = fitted(final_epochs=2)
    _, unseen, _ = problem()
    rows = torch.from_numpy(method.preprocessor_.transform(unseen.features))
    order = unseen.classes.canonical()
    references, labels = method._references(unseen.classes.take(order))
    means = method.vaes_.feature_encoder(rows).mean
    logs = method.classify(means, references, labels, unseen.classes.take(order)).numpy()[:, np.argsort(order)]
    np.testing.assert_allclose(method.scores(unseen.features, unseen.classes), logs, rtol=1e-5)


@pytest.mark.parametrize(
    ("quirk", "shared"), [({"std_mode": "logvar"}, False), ({"noise": "scalar"}, False), ({"seen_rows": "first"}, True)]
)
def test_each_departure_of_the_public_code_changes_the_result(quirk: dict[str, str], shared: bool) -> None:
    """The first two change the training, the third only the references."""
    _, _, every = problem()
    plain, changed = fitted(), fitted(**quirk)
    weights = [each.vaes_.feature_encoder.mean.weight for each in (plain, changed)]
    assert torch.equal(*weights) == shared
    scores = [each.scores(every.features, every.classes) for each in (plain, changed)]
    assert not np.array_equal(*scores)


def test_synthesised_features_are_decoded_codes() -> None:
    method = fitted()
    classes = problem()[1].classes
    made = method.synthesise(classes, 6)
    assert made.shape == (len(classes), 6, method.rows_.features.shape[1])
    assert np.unique(made.round(6), axis=1).shape == made.shape  # each row has noise of its own


def test_presets_hold_the_published_values() -> None:
    for name in ("published", "public"):
        preset = CADAVAE.presets[name]
        assert set(preset.cells) == {
            (data, rules) for data in ("sun", "awa1", "cub", "awa2") for rules in ("zsl", "gzsl")
        }
        for (_, rules), values in preset.cells.items():
            assert values["per_class"] == (400 if rules == "gzsl" else 200)
            CADAVAE(**preset.values, **values)
    cub = CADAVAE(**CADAVAE.presets["public"].resolve("cadavae@public", "cub", "zsl"))
    assert (cub.final_epochs, cub.std_mode, cub.noise, cub.seen_rows) == (22, "logvar", "scalar", "first")


def test_bf16_gives_nearly_the_losses_of_float32() -> None:
    curves: dict[str, list[float]] = {}
    for precision in ("float32", "bf16"):
        ctx = Context(0, precision=precision)
        method = CADAVAE(**SMALL).fit(problem()[0], ctx)
        assert method.precision_ == precision
        curves[precision] = ctx.losses.to_dict()["values"]["reconstruction"]
    assert curves["bf16"] == pytest.approx(curves["float32"], rel=0.02)
    assert curves["bf16"] != curves["float32"]


def test_points_that_differ_in_scoring_share_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    make = nn.adam
    monkeypatch.setattr(nn, "adam", lambda *args, **given: trained.append(1) or make(*args, **given))
    points = [CADAVAE(**{**SMALL, "per_seen_class": count}) for count in (2, 5)]
    train, _, every = problem()
    scores = [point.scores(every.features, every.classes) for point in CADAVAE.fit_grid(points, train, Context(0))]
    alone = dataclasses.replace(points[1]).fit(train, Context(0)).scores(every.features, every.classes)
    assert np.array_equal(scores[1], alone)
    assert not np.array_equal(*scores)


@pytest.mark.parametrize("quirks", [{}, {"std_mode": "logvar", "noise": "scalar", "batch": 1000}])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_seeds_that_train_together_are_those_that_train_alone(quirks: dict[str, Any], precision: str) -> None:
    train, _, every = problem()
    methods, contexts = (
        [CADAVAE(**{**SMALL, **quirks}) for _ in "ab"],
        [Context(s, precision=precision) for s in (3, 8)],
    )
    together = list(CADAVAE.fit_seeds(methods, train, contexts))
    scores = [each.scores(every.features, every.classes) for each in together]
    assert not np.allclose(*scores)
    near = 2e-3 if precision == "float32" else 0.1
    for each, ctx, found in zip(together, contexts, scores, strict=True):
        alone, by_itself = fitted(ctx.seed, **quirks), Context(ctx.seed, precision=precision)
        alone.fit(train, by_itself)
        np.testing.assert_allclose(found, alone.scores(every.features, every.classes), atol=near)
        for name, losses in by_itself.losses.to_dict()["values"].items():
            assert ctx.losses.to_dict()["values"][name] == pytest.approx(losses, rel=near)
        assert not any(parameter.requires_grad for parameter in each.vaes_.parameters())
