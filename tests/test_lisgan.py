"""LisGAN and f-CLSWGAN as methods: what each setting holds, determinism, checkpoints, cascade, presets."""

from __future__ import annotations

import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gan_data import problem
from scipy.stats import entropy
from sklearn.cluster import KMeans

import zslbench
from plain_lisgan import PlainClassifier, plain_cascade
from zslbench import params
from zslbench.arrays import read_only_view
from zslbench.errors import BadValue
from zslbench.methods import fit_cache
from zslbench.methods.base import Context, Method, Setting, overlay
from zslbench.methods.generative.fclswgan import FCLSWGAN, GenerativeMethod
from zslbench.methods.generative.lisgan import LisGAN
from zslbench.methods.generative.loss_terms import LossTerm
from zslbench.methods.generative.training import Networks, SeenRows
from zslbench.methods.generative.wgan import Critic, Generator
from zslbench.methods.nn import linear, random_stream
from zslbench.results.records.store import ResultStore
from zslbench.studies.status import verify_metrics
from zslbench.task import ClassTable, Train

SMALL: dict[str, Any] = {
    "hidden": 16,
    "epochs": 2,
    "batch": 16,
    "critic_steps": 2,
    "lr": 1e-3,
    "pretrain_epochs": 3,
    "per_class": 10,
    "final_epochs": 5,
    "final_lr": 0.01,
}


def lisgan(setting: str = "S4", **given: Any) -> LisGAN:
    return LisGAN(**(SMALL | dict(LisGAN.ablations[setting].values) | given))


def fitted(method: GenerativeMethod, seed: int = 0, **ctx: Any) -> GenerativeMethod:
    return method.fit(problem()[0], Context(seed=seed, **ctx))


def weights(method: GenerativeMethod) -> list[torch.Tensor]:
    return list(method.generator_.state_dict().values())


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("classifier", ["pretrained", "auxiliary"])
def test_settings_differ_in_exactly_the_terms_they_name(classifier: str) -> None:
    started = {
        name: lisgan(name, classifier=classifier)._begin(problem()[0], Context()) for name in ("S1", "S2", "S3", "S4")
    }
    terms = {name: {term.name: term.weight for term in training.terms} for name, training in started.items()}
    assert terms["S1"] == {}
    assert terms["S2"] == {"classification": 0.01}
    assert terms["S3"] == terms["S4"] == {"classification": 0.01, "l_r1": 0.01, "l_r2": 0.01}
    plain = started["S1"]
    (batch, *_) = plain.draw()
    plain_weights = {name: value.clone() for name, value in plain.critic.state_dict().items()}
    plain.critic_step(batch)
    for name in ("S2", "S3", "S4"):
        training = started[name]
        (drawn, *_) = training.draw()
        assert same(list(training.generator.state_dict().values()), list(plain.generator.state_dict().values()))
        critic = training.critic.state_dict()
        branch = {"branch.weight", "branch.bias"} if classifier == "auxiliary" else set()
        assert set(critic) - set(plain_weights) == branch
        assert all(torch.equal(critic[key], value) for key, value in plain_weights.items())
        assert torch.equal(drawn.real, batch.real)
        training.critic_step(drawn)
        assert training._sums["penalty"] == plain._sums["penalty"]
        assert (training._sums["critic"] == plain._sums["critic"]) is not bool(branch)


def test_s4_is_s3_and_a_cascade() -> None:
    third, fourth = fitted(lisgan("S3")), fitted(lisgan("S4"))
    assert same(weights(third), weights(fourth))
    query = problem()[1]
    one, two = third.scores(query.features, query.classes), fourth.scores(query.features, query.classes)
    ranked = np.argsort(entropy(np.exp(one.astype(np.float64)), axis=1), kind="stable")
    half = len(ranked) // 2
    assert np.array_equal(one[ranked[:half]], two[ranked[:half]])
    assert not np.isclose(one[ranked[half:]], two[ranked[half:]]).all(axis=1).any()


def test_ablations_leave_everything_else_to_the_preset() -> None:
    published = overlay(LisGAN, "lisgan", ("published",), "cub", "zsl")
    for name, touched in {
        "S1": {"cls_weight", "l_r1", "l_r2", "cascade"},
        "S2": {"l_r1", "l_r2", "cascade"},
        "S3": {"cascade"},
        "S4": set(),
    }.items():
        both = overlay(LisGAN, "lisgan", ("published", name), "cub", "zsl")
        assert {key for key in both if both[key] != published.get(key)} == touched


def test_lisgan_without_souls_and_cascade_is_fclswgan() -> None:
    ours, theirs = fitted(lisgan("S2", classifier="pretrained")), fitted(FCLSWGAN(**SMALL))
    assert same(weights(ours), weights(theirs))
    query = problem()[2]
    assert np.array_equal(ours.scores(query.features, query.classes), theirs.scores(query.features, query.classes))


def networks() -> Networks:
    """Return a generator and a critic with a branch, of 12 features, 5 attributes and 6 classes."""
    generator, critic = Generator(5, 5, 8, 12, random_stream(0)), Critic(12, 5, 8, random_stream(1))
    critic.add_branch(6, random_stream(2))
    for parameter in critic.parameters():
        torch.nn.init.normal_(parameter, generator=random_stream(3))
    return Networks(generator, critic)


def terms_of(method: LisGAN) -> tuple[list[LossTerm], SeenRows]:
    rows = method._prepare(problem()[0], torch.device("cpu"))
    return method.terms(rows, 5, Context()), rows


def term_values(
    method: LisGAN, nets: Networks, labels: torch.Tensor
) -> tuple[dict[str, float], torch.Tensor, SeenRows]:
    """Return the value of each of a method's terms on fakes, these, and the seen rows."""
    terms, rows = terms_of(method)
    fakes = torch.rand(len(labels), 12, generator=random_stream(9))
    values: dict[str, float] = {}
    for term in terms:
        value = term.loss(nets, fakes, labels, *term.held, *term.draw())
        parts = value if isinstance(value, tuple) else (value,)
        values |= {name: part.item() for name, part in zip((term.name, *term.notes), parts, strict=True)}
    return values, fakes, rows


@pytest.mark.parametrize("fake_souls", ["mean", "clusters"])
def test_terms_of_the_method_match_loops(fake_souls: str) -> None:
    """The terms as LisGAN assembles them, from its own souls and noise, against the equations in float64."""
    method = lisgan("S4", fake_souls=fake_souls, souls=1, soul_rows=4)
    nets, labels = networks(), torch.tensor([0, 5, 2, 2, 1, 4, 3])
    found, fakes, rows = term_values(method, nets, labels)
    features, x = rows.features.double().numpy(), fakes.double().numpy()
    means = np.stack([features[rows.labels.numpy() == c].mean(axis=0) for c in range(6)])  # one soul: the class mean
    l_r1 = np.mean([((x[i] - means[labels[i]]) ** 2).sum() for i in range(7)])
    assert found["l_r1"] == pytest.approx(l_r1, rel=1e-5)
    noise = random_stream(Context().stream_seed("soul noise"))
    with torch.no_grad():
        drawn = nets.generator.synthesise(rows.semantics, 4, noise).double().numpy()
    l_r2 = np.mean([((drawn[c].mean(axis=0) - means[c]) ** 2).sum() for c in range(6)])
    assert found["l_r2"] == pytest.approx(l_r2, rel=1e-5)
    w = {name: value.detach().double().numpy() for name, value in nets.critic.named_parameters()}
    total = 0.0
    for i in range(7):
        hidden = w["from_features.weight"] @ x[i] + w["from_features.bias"]
        logits = w["branch.weight"] @ np.where(hidden > 0, hidden, 0.2 * hidden) + w["branch.bias"]
        total -= (logits[labels[i]] - np.log(np.exp(logits).sum())) / 7
    assert found["classification"] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(("given", "wanted"), [({}, 3.0), ({"soul_classes": 2}, 3.0), ({"soul_rows": 2}, 2.0)])
def test_a_fit_says_how_many_clusters_its_fakes_fill(given: dict[str, Any], wanted: float) -> None:
    logged: list[float] = []
    ctx = Context(on_log=lambda _step, _total, values: logged.append(values["clusters"]))
    lisgan("S3", **({"soul_rows": 12} | given)).fit(problem()[0], ctx)
    assert logged
    assert all(0.9 * wanted < value <= wanted for value in logged)
    kept = ctx.losses.to_dict()["values"]
    assert {"critic", "generator", "l_r2"} <= kept.keys()
    assert "clusters" not in kept, "it is no loss"


def test_l_r2_on_drawn_classes_is_an_unbiased_estimate() -> None:
    """Without noise, the mean over all pairs of classes is L_R2, and every pair is drawn as often as any other."""
    values: dict[frozenset[int], list[float]] = {}
    exact, nets = 0.0, networks()
    torch.nn.init.normal_(nets.generator.from_semantics.weight, generator=random_stream(2))
    torch.nn.init.zeros_(nets.generator.from_noise.weight)
    for drawn in (0, 6, 2):
        (term,), _ = terms_of(lisgan("S3", soul_classes=drawn, fake_souls="mean", cls_weight=0.0, l_r1=0.0))
        for _ in range(1 if drawn != 2 else 600):
            found = term.draw()
            value = term.loss(nets, torch.zeros(0), torch.zeros(0), *term.held, *found).item()
            if drawn == 2:
                values.setdefault(frozenset(found[1].tolist()), []).append(value)
            else:  # all six classes, drawn or not, are the whole
                assert len(found) == 1
                exact = exact or value
                assert value == exact
    assert len(values) == 15  # pairs of six classes
    assert np.mean([each[0] for each in values.values()]) == pytest.approx(exact, rel=1e-5)
    counts = np.array([len(each) for each in values.values()])
    assert ((counts - 40) ** 2 / 40).sum() < 36.1  # chi-squared with 14 degrees of freedom, one draw in a thousand


def test_pretrained_classifier_is_frozen_and_trained_on_real_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslbench.methods.generative import final_classifiers

    made: list[tuple[Any, torch.nn.Linear]] = []
    real = final_classifiers.train_softmax

    def spied(features: torch.Tensor, *args: Any, **given: Any) -> torch.nn.Linear:
        made.append((features, real(features, *args, **given)))
        return made[-1][1]

    monkeypatch.setattr(final_classifiers, "train_softmax", spied)
    fit_cache.clear_cache()
    labels = torch.arange(7) % 6
    found, fakes, rows = term_values(lisgan("S2", classifier="pretrained"), networks(), labels)
    ((features, layer),) = made
    assert features is rows.features
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    logits = fakes.double().numpy() @ layer.weight.double().numpy().T + layer.bias.double().numpy()
    wanted = -np.mean([logits[i, labels[i]] - np.log(np.exp(logits[i]).sum()) for i in range(7)])
    assert found["classification"] == pytest.approx(wanted, rel=1e-5)


def test_generator_loss_is_the_weighted_sum_of_its_terms() -> None:
    training = lisgan("S4", cls_weight=0.3, l_r1=0.5, l_r2=0.7)._begin(problem()[0], Context())
    made: list[torch.Tensor] = []
    training.generator.register_forward_hook(lambda _generator, _given, fakes: made.append(fakes.detach()))
    labels = torch.arange(6)
    training.generator_step(labels)
    wasserstein = -training.critic(made[0], training.rows.semantics[labels]).mean().item()
    noted = {name: value.item() for name, value in training._sums.items()}
    wanted = wasserstein + 0.3 * noted["classification"] + 0.5 * noted["l_r1"] + 0.7 * noted["l_r2"]
    assert noted["generator"] == pytest.approx(wanted, rel=1e-5)


OTHERS: list[tuple[type[GenerativeMethod], dict[str, Any]]] = [
    (FCLSWGAN, {"cls_weight": 0.0, "preprocess": "none"}),
    (LisGAN, {"cascade": "nn", "entropy": "reference", "classifier": "pretrained"}),
    (LisGAN, {"cascade": "svm", "noise": 3, "fake_souls": "mean"}),
]
"""What the contract's checks, which try the defaults and S3, leave out."""


@pytest.mark.filterwarnings("error")  # torch warns of arrays that are read-only
@pytest.mark.parametrize(("cls", "given"), OTHERS)
def test_scores_are_probabilities_repeat_and_do_not_hang_on_ids(
    cls: type[GenerativeMethod], given: dict[str, Any]
) -> None:
    train, *queries = problem()
    rng = np.random.default_rng(1)
    renamed, mixed = rng.permutation(100), rng.permutation(len(train.classes))
    classes = ClassTable(renamed[train.classes.ids[mixed]], train.classes.semantics[mixed])
    method, other_seed = (fitted(cls(**(SMALL | given)), seed=seed) for seed in (0, 1))
    other_ids = cls(**(SMALL | given)).fit(Train(train.features, renamed[train.labels], classes), Context())
    for query in queries:
        first = method.scores(query.features, query.classes)
        assert first.shape == (len(query.features), len(query.classes))
        np.testing.assert_allclose(np.exp(first).sum(axis=1), 1, rtol=1e-5)
        assert np.array_equal(first, method.scores(query.features, query.classes))
        assert np.array_equal(first, pickle.loads(pickle.dumps(method)).scores(query.features, query.classes))
        assert not np.array_equal(first, other_seed.scores(query.features, query.classes))
        order = rng.permutation(len(query.classes))
        table = ClassTable(renamed[query.classes.ids[order]], query.classes.semantics[order])
        assert np.array_equal(other_ids.scores(query.features, table), first[:, order])


@pytest.mark.parametrize(("cls", "given"), [*OTHERS, (FCLSWGAN, {}), (LisGAN, {})])
def test_every_epoch_is_a_checkpoint_and_logs_its_losses(cls: type[GenerativeMethod], given: dict[str, Any]) -> None:
    train, query, _ = problem()
    judged: dict[int, np.ndarray] = {}
    logged: list[tuple[int, int, dict[str, float]]] = []

    def judge(method: Method, step: int) -> None:
        judged[step] = method.scores(query.features, query.classes)

    ctx = Context(judge=judge, on_log=lambda step, total, values: logged.append((step, total, dict(values))))
    watched = cls(**(SMALL | given)).fit(train, ctx)
    assert list(judged) == [1, 2]
    assert not np.array_equal(judged[1], judged[2])
    assert np.array_equal(judged[2], watched.scores(query.features, query.classes))
    assert [(step, total) for step, total, _ in logged] == [(1, 2), (2, 2)]
    assert {"critic", "penalty", "generator"} <= set(logged[0][2])
    assert {"critic", "generator"} <= set(ctx.seconds)
    assert ("souls" in ctx.seconds) is (cls is LisGAN)
    assert ("pretrain" in ctx.seconds) is (watched.cls_weight > 0 and not watched._branch_weight())


def test_features_and_semantics_that_cannot_be_trained_on_are_refused_in_a_sentence() -> None:
    train = problem()[0]
    shifted = dataclasses.replace(train, features=read_only_view(train.features - 1))
    with pytest.raises(BadValue, match=r"preprocess=none .* choose preprocess=minmax or standard\+clip\+minmax"):
        lisgan(preprocess="none").fit(shifted, Context())
    lisgan(preprocess="standard+clip+minmax", epochs=1).fit(shifted, Context())
    broken = dataclasses.replace(train, classes=ClassTable(train.classes.ids, train.classes.semantics * np.nan))
    with pytest.raises(BadValue, match="not finite in epoch 1; lower lr"):
        FCLSWGAN(**(SMALL | {"semantic_norm": "none"})).fit(broken, Context())


def test_semantics_of_any_length_count_alike() -> None:
    train, query, _ = problem()
    doubled = dataclasses.replace(train, classes=ClassTable(train.classes.ids, train.classes.semantics * 4))
    table = ClassTable(query.classes.ids, query.classes.semantics * 4)
    found = FCLSWGAN(**SMALL).fit(doubled, Context()).scores(query.features, table)
    np.testing.assert_allclose(found, fitted(FCLSWGAN(**SMALL)).scores(query.features, query.classes), rtol=1e-4)


def test_the_cascade_makes_it_transductive() -> None:
    one_stage, two_stages = LisGAN(cascade="off"), LisGAN(cascade="nn")
    assert (one_stage.setting, one_stage.batchwise) == (Setting.INDUCTIVE, False)
    assert (two_stages.setting, two_stages.batchwise) == (Setting.TRANSDUCTIVE, True)


def test_real_rows_of_seen_candidates_are_used() -> None:
    """Seen candidates are classified from their training rows: well-separated ones are recognised in GZSL."""
    train, _, query = problem()
    method = fitted(lisgan("S3", final_epochs=200))
    predicted = query.classes.ids[method.scores(train.features, query.classes).argmax(axis=1)]
    assert np.mean(predicted == train.labels) > 0.9


@pytest.mark.parametrize(
    ("cls", "rules", "wanted"),
    [
        (LisGAN, "zsl", {"epochs": 200, "cascade": "nn"}),
        (LisGAN, "gzsl", {"epochs": 200, "confident": 0.6}),
        (FCLSWGAN, "gzsl", {"epochs": 300, "per_class": 4000, "preprocess": "none"}),
    ],
)
def test_awa2_has_the_values_of_a_reimplementation_under_its_name(
    cls: type[GenerativeMethod], rules: str, wanted: dict[str, Any]
) -> None:
    values = overlay(cls, "x", ("gasl",), "awa2", rules)
    params.resolve(cls, "x", values)
    assert values | wanted == values
    with pytest.raises(BadValue, match="awa2/gzsl; choose"):
        overlay(FCLSWGAN, "fclswgan", ("gasl",), "awa2", "zsl")


def test_published_values_stand_where_the_table_has_them() -> None:
    pairs = {(name, rules) for name in ("apy", "awa1", "cub", "flo", "sun") for rules in ("zsl", "gzsl")}
    for cls, dataset, rules, wanted in (
        # l_r2 is their proto_param1, l_r1 their proto_param2
        (LisGAN, "flo", "gzsl", {"l_r2": 1e-1, "l_r1": 3e-2, "epochs": 80, "per_class": 1200, "cls_weight": 0.1}),
        (LisGAN, "flo", "gzsl", {"confident": 0.6, "pretrain_epochs": 100, "semantic_norm": "none"}),
        (LisGAN, "sun", "zsl", {"lr": 2e-4, "final_lr": 5e-4, "confident": 0.5, "entropy": "reference"}),
        (FCLSWGAN, "awa1", "gzsl", {"per_class": 1800, "pretrain_epochs": 50, "semantic_norm": "none"}),
    ):
        assert set(cls.presets["published"].cells) == pairs
        values = overlay(cls, "x", ("published",), dataset, rules)
        assert values | wanted == values


def test_defaults_are_the_papers_method_on_the_networks_of_the_public_code() -> None:
    paper = LisGAN.presets["paper"].values
    published = LisGAN.presets["published"].values
    networks = ("critic_layers", "generator_slope")
    assert {name: getattr(LisGAN(), name) for name in paper} == paper | {name: published[name] for name in networks}


def test_the_papers_networks_are_those_of_section_4_2() -> None:
    """FC, LeakyReLU, FC, ReLU in the critic, ReLU in the generator; the public code's have one hidden LeakyReLU."""
    kinds = {}
    for preset in ("paper", "published"):
        values = overlay(LisGAN, "lisgan", (preset,), "cub", "zsl") | SMALL
        training = LisGAN(**values)._begin(problem()[0], Context())
        kinds[preset] = training.critic.second is not None, training.generator.slope, training.critic.slope
    assert kinds == {"paper": (True, 0.0, 0.2), "published": (False, 0.2, 0.2)}


def test_l_r2_over_the_batch_takes_the_classes_of_its_rows() -> None:
    """Each row's class counts once: against a loop over the rows."""
    method = lisgan("S3", soul_over="batch", fake_souls="mean", cls_weight=0.0, l_r1=0.0, batch=7)
    ((term,), rows), nets = terms_of(method), networks()
    labels = torch.tensor([0, 3, 3, 5, 0, 0, 2])
    (noise,), (souls,) = term.draw(), term.held
    assert noise.shape[0] == 7
    found = term.loss(nets, torch.zeros(0), labels, *term.held, noise).item()
    wanted = 0.0
    for row, label in enumerate(labels.tolist()):
        with torch.no_grad():
            fakes = nets.generator(noise[row], rows.semantics[label].expand(method.soul_rows, -1))
        mean = fakes.double().mean(0)
        wanted += min(((mean - soul.double()) ** 2).sum().item() for soul in souls[label]) / 7
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("picked", [1, 3, 4])
def test_the_classifiers_of_the_public_preset_are_those_of_the_plain_algorithm(picked: int) -> None:
    """First, nearest neighbour and second classifier, each epoch, in float64 from equal draws."""
    torch.set_default_dtype(torch.float64)
    try:
        stream = random_stream(1)
        labels = torch.arange(37) % 5
        references = torch.rand(37, 6, generator=stream) + torch.eye(5, 6)[labels]
        rows = torch.rand(23, 6, generator=stream) + torch.eye(5, 6)[torch.arange(23) % 5]
        epochs, batch, lr, seed = 4, 8, 0.05, 11
        order = random_stream(seed + 1)
        plain = PlainClassifier(
            linear(6, 5, random_stream(seed)),
            lr=lr,
            batch=batch,
            permutation=lambda n: torch.randperm(n, generator=order),
        )
        given = {"epochs": epochs, "picked": picked, "fraction": 0.6}
        firsts, easy, neighbours, seconds = plain_cascade(plain, references, labels, rows, **given)
        hard = sorted(set(range(23)) - set(easy))
        values = overlay(LisGAN, "lisgan", ("public",), "cub", "gzsl")

        def ours(**other: Any) -> torch.Tensor:
            method = LisGAN(**values | {"final_epochs": epochs, "final_batch": batch, "final_lr": lr} | other)
            method.seeds_ = {"final classifier": seed}
            classes = ClassTable(np.arange(5), np.eye(5, dtype=np.float32))
            return method.classify(rows, references, labels, classes)

        def same_values(found: torch.Tensor, wanted: torch.Tensor) -> None:
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)

        for epoch, wanted in enumerate(firsts, start=1):
            same_values(ours(cascade="off", final_epochs=epoch), wanted)
        for epoch, wanted in enumerate(seconds, start=1):
            found = ours(confident_epoch=picked, second_epochs=epoch)
            same_values(found[hard], wanted)
            same_values(found[easy], firsts[picked - 1][easy])
        if picked == epochs:
            same_values(ours(), ours(confident_epoch=picked, second_epochs=epochs))
        assert torch.equal(ours(cascade="nn", confident_epoch=picked)[hard].argmax(1), neighbours)
        assert not torch.allclose(ours(second_start="anew")[hard], seconds[-1], atol=1e-3)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_public_preset_is_the_published_one_with_the_behaviour_of_the_scripts() -> None:
    assert LisGAN.presets["public"].cells == LisGAN.presets["published"].cells
    for dataset, rules in LisGAN.presets["public"].cells:
        published = overlay(LisGAN, "lisgan", ("published",), dataset, rules)
        further = {"second_start": "first", "soul_seed": "fixed"}
        assert overlay(LisGAN, "lisgan", ("public",), dataset, rules) == published | further


def test_souls_of_a_fixed_seed_are_those_of_k_means_with_seed_3() -> None:
    train = problem()[0]
    souls = {}
    for soul_seed in ("fixed", "run"):
        for seed in (0, 1):
            method = lisgan("S3", soul_seed=soul_seed, classifier="pretrained", cls_weight=0.0)
            training = method._begin(train, Context(seed))
            souls[soul_seed, seed] = training.generator_loss.terms[0].held[0]
    rows = method.rows_
    for label in range(len(rows.semantics)):
        of_class = rows.features[rows.labels == label].numpy()
        means = KMeans(3, n_init=10, random_state=3).fit(of_class).cluster_centers_
        np.testing.assert_allclose(souls["fixed", 0][label], means, rtol=1e-4, atol=1e-6)
    assert torch.equal(souls["fixed", 0], souls["fixed", 1])
    assert not torch.equal(souls["run", 0], souls["run", 1])


def test_an_epoch_past_the_first_classifiers_last_is_refused() -> None:
    with pytest.raises(BadValue, match=r"confident_epoch=6 .* choose 0 .the last. to 5"):
        lisgan(confident_epoch=6)


@pytest.mark.parametrize(("confident", "what"), [(0, "learn from"), (1, "classify")])
def test_a_share_that_would_switch_the_cascade_off_in_silence_is_refused(confident: int, what: str) -> None:
    sentence = f"LisGAN: confident={confident} leaves the cascade no row to {what}; choose a share between 0 and 1, or"
    with pytest.raises(BadValue, match=sentence):
        lisgan(confident=confident)
    lisgan("S3", confident=confident)  # which has no cascade; records of earlier versions can be made again


def test_classes_drawn_and_classes_of_the_batch_exclude_each_other() -> None:
    with pytest.raises(BadValue, match="exclude each other; draw classes"):
        LisGAN(soul_over="batch", soul_classes=5)


def test_points_that_differ_in_scoring_alone_share_one_training(monkeypatch: pytest.MonkeyPatch) -> None:
    train, *_ = problem()
    fits: list[LisGAN] = []
    monkeypatch.setattr(
        LisGAN, "fit", lambda self, train, ctx, fit=LisGAN.fit: (fits.append(self), fit(self, train, ctx))[1]
    )
    quick = dict(LisGAN.check_params) | {"epochs": 2}
    points = [
        LisGAN(**quick | given)
        for given in ({}, {"cascade": "off"}, {"lr": 1e-3}, {"cascade": "nn"}, {"lr": 1e-3, "entropy": "reference"})
    ]
    assert list(LisGAN.fit_grid(points, train, Context())) == points
    assert fits == [points[0], points[2]]
    assert points[1].generator_ is points[0].generator_
    assert points[4].generator_ is points[2].generator_


def test_a_cascade_has_no_metric_that_shifts_scores_of_two_scales(tmp_path: Path) -> None:
    quick = "".join(f",{name}={value}" for name, value in {**LisGAN.check_params, "epochs": 2}.items())
    runs = tmp_path / "runs"
    names = [f"lisgan[cascade={kind}{quick}]" for kind in ("softmax", "off")]
    zslbench.run(names, "digits", "gzsl", runs=runs, checkpoints="every:1")
    store = ResultStore(runs)
    by_cascade = {record.method["params"]["cascade"]: record for record in store.load()}
    for kind, wanted in (("softmax", {"U", "S", "H"}), ("off", {"U", "S", "H", "AUSUC"})):
        assert set(by_cascade[kind].metrics) == wanted
        assert {frozenset(point["metrics"]) for point in by_cascade[kind].curve} == {frozenset(wanted)}
    assert verify_metrics(store, store.load()).verified == 2
    text = zslbench.table(runs=runs, metrics=["AUSUC", "H"], width=200, caption="full").text
    assert "on different scales" in text
    assert re.search(r"^LisGAN\[cascade=softmax.*‡ +– ", text, re.MULTILINE)
    with pytest.raises(BadValue, match=r"lisgan.*on different scales"):
        zslbench.curve(runs, methods=["lisgan[cascade=softmax]"])
    assert "no AUSUC, curve or calibrated stacking for lisgan[" in zslbench.curve(runs).text
