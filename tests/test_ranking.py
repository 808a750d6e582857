"""DeViSE, SJE, ALE and LATEM: losses, gradients and descent against loops over images and classes in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zslbench.checks.easy_task import BOUND, easy_task
from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.ranking import BilinearMethod, descent
from zslbench.methods.ranking.ale import ALE
from zslbench.methods.ranking.descent import RankingDescent, span
from zslbench.methods.ranking.devise import DeViSE
from zslbench.methods.ranking.latem import LATEM
from zslbench.methods.ranking.sje import SJE
from zslbench.task import ClassTable, Train

RNG = np.random.default_rng(11)
N, D, A, C = 60, 9, 12, 6
IDS = np.array([11, 3, 8, 40, 5, 29])
POSITIONS = np.concatenate([np.arange(C), RNG.integers(0, C, N - C)])
FEATURES = RNG.normal(0.3, 1.0, (N, D)).astype(np.float32)
TRAIN = Train(FEATURES, IDS[POSITIONS], ClassTable(IDS, RNG.normal(size=(C, A)).astype(np.float32)))
QUERY = RNG.normal(size=(17, D)).astype(np.float32)
CANDIDATES = ClassTable(np.array([2, 90, 11, 7]), RNG.normal(size=(4, A)).astype(np.float32))
SEMANTICS = TRAIN.classes.semantics.astype(np.float64)
ALL = [DeViSE, SJE, ALE, LATEM]
BY_RANK = ("every violator", "worst violator", "weighted ranks")


def beta(k: int) -> float:
    return sum(1 / i for i in range(1, k + 1))


def wrong_weights(name: str, scores: np.ndarray, label: int, margin: float, keys: np.ndarray) -> dict[int, float]:
    """The violating classes that an image learns from, with their weights, by the definition of the loss.

    `keys` give the order in which classes are drawn.
    """
    wrong = [c for c in range(len(scores)) if c != label]
    violators = [c for c in wrong if margin + scores[c] - scores[label] > 0]
    if name == "sampled ranks":  # WARP: draws with replacement, as many as there are wrong classes at most
        draws = enumerate((wrong[int(key * len(wrong))] for key in keys[: len(wrong)]), start=1)
        return next(({c: beta(len(wrong) // draw)} for draw, c in draws if c in violators), {})
    drawn = sorted(wrong, key=lambda c: -keys[c])
    chosen = {
        "worst violator": sorted(violators, key=lambda c: -scores[c])[:1],
        "first violator": [c for c in drawn if c in violators][:1],
        "random class": [c for c in drawn[:1] if c in violators],
    }.get(name, violators)
    return dict.fromkeys(chosen, beta(len(violators)) / len(violators) if name == "weighted ranks" and violators else 1)


def naive(name: str, scores: np.ndarray, label: int, margin: float, keys: np.ndarray) -> float:
    weights = wrong_weights(name, scores, label, margin, keys)
    return sum(weight * (margin + scores[c] - scores[label]) for c, weight in weights.items())


def ranked(name: str, scores: Tensor, labels: Tensor, margin: float, keys: Tensor) -> tuple[Tensor, Tensor]:
    excess = descent.excess(scores, labels, margin)
    weights = descent.LOSSES[name](excess, labels, lambda _excess: keys)
    return descent.sum_violations(excess, labels, weights.detach())


def batch(rows: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, classes, generator=stream, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=stream)
    return scores, labels, torch.rand(rows, classes, generator=stream, dtype=torch.float64)


@pytest.mark.parametrize("name", descent.LOSSES)
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.0, 0.1, 1.0, 30.0]), st.integers(0, 2**32))
def test_losses_are_those_of_a_loop(name: str, rows: int, classes: int, margin: float, seed: int) -> None:
    scores, labels, keys = batch(rows, classes, seed)
    losses, _ = ranked(name, scores, labels, margin, keys)
    wanted = [naive(name, scores[i].numpy(), int(labels[i]), margin, keys[i].numpy()) for i in range(rows)]
    np.testing.assert_allclose(losses, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", descent.LOSSES)
@pytest.mark.parametrize("margin", [0.1, 1.0, 30.0])
def test_gradients_are_those_of_autograd_and_of_finite_differences(name: str, margin: float) -> None:
    scores, labels, keys = batch(7, 9, seed=3)
    scores.requires_grad_(True)
    losses, gradient = ranked(name, scores, labels, margin, keys)
    (wanted,) = torch.autograd.grad(losses.sum(), scores)
    torch.testing.assert_close(gradient.detach(), wanted)
    assert (wanted != 0).any()
    step = 1e-6
    for i, c in ((0, 0), (2, 5), (4, int(labels[4])), (6, 8)):
        moved = scores.detach().numpy().repeat(2, axis=0).reshape(7, 2, 9)
        moved[i, :, c] += [step, -step]
        up, down = (naive(name, moved[i, s], int(labels[i]), margin, keys[i].numpy()) for s in (0, 1))
        assert (up - down) / (2 * step) == pytest.approx(float(gradient[i, c]), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(descent.LOSSES)), st.floats(0.1, 10.0), st.floats(-5, 5), st.integers(0, 2**32))
def test_losses_scale_with_scores_and_margin_and_ignore_a_shift(
    name: str, factor: float, shift: float, seed: int
) -> None:
    scores, labels, keys = batch(5, 8, seed)
    plain, gradient = ranked(name, scores, labels, 1.0, keys)
    scaled, _ = ranked(name, factor * scores + shift, labels, factor, keys)
    torch.testing.assert_close(scaled, factor * plain, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(5, dtype=torch.float64))


def test_harmonic_numbers() -> None:
    for count, dtype, error in ((200, torch.float64, 1e-12), (717, torch.float32, 2e-7)):
        found = descent.harmonic_numbers(count, dtype, torch.device("cpu"))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, [beta(k) for k in range(count)], rtol=error)


def test_drawn_classes_are_uniform_among_those_allowed() -> None:
    """χ² of 20,000 draws over five violators (first) and seven wrong classes (random) below its 99.99 % quantile."""
    rows = 20_000
    scores = torch.tensor([0.0, 1, 1, 1, 1, 1, -5, -5]).repeat(rows, 1)
    labels = torch.zeros(rows, dtype=torch.int64)
    keys = torch.rand(rows, 8, generator=torch.Generator().manual_seed(1))
    excess = descent.excess(scores, labels, 0.5)
    for weights, count in (
        (descent.first_violator(excess, keys), rows / 5),
        (descent.random_class(excess, labels, keys), rows / 7),  # the last two are drawn, but they violate nothing
    ):
        drawn = weights.sum(dim=0)
        assert drawn[[0, 6, 7]].sum() == 0
        assert float(((drawn[1:6] - count) ** 2 / count).sum()) < 23.5


def test_sampled_ranks_follow_the_geometric_law_of_draws_with_replacement() -> None:
    """χ² over the draw k at which one of 2 violators among 7 wrong classes turns up, and over none in 7 draws."""
    rows, p = 50_000, 2 / 7
    scores = torch.tensor([0.0, 1, 1, -5, -5, -5, -5, -5], dtype=torch.float64).repeat(rows, 1)
    keys = torch.rand(rows, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.zeros(rows, dtype=torch.int64)
    weights = descent.sampled_ranks(descent.excess(scores, labels, 0.5), labels, keys)
    assert weights[:, [0, 3, 4, 5, 6, 7]].sum() == 0
    expected = dict.fromkeys((7 // k for k in range(1, 8)), 0.0) | {0: rows * (1 - p) ** 7}
    for k in range(1, 8):
        expected[7 // k] += rows * p * (1 - p) ** (k - 1)
    found = {r: int((weights.sum(dim=1) - beta(r)).abs().lt(1e-6).sum()) for r in expected}
    assert sum(found.values()) == rows
    assert sum((found[r] - wanted) ** 2 / wanted for r, wanted in expected.items()) < 23.5
    assert abs(int((weights[:, 1] > 0).sum()) - int((weights[:, 2] > 0).sum())) < 4 * rows**0.5


def naive_epoch(name: str, w: np.ndarray, order: np.ndarray, size: int, lr: float) -> np.ndarray:
    """One pass of mini-batch gradient descent on (K, d, a) matrices, image by image, class by class, in float64."""
    x = FEATURES.astype(np.float64)
    for start in range(0, len(order), size):
        gradient = np.zeros_like(w)
        for i in order[start : start + size]:
            each = np.einsum("d,kda,ca->kc", x[i], w, SEMANTICS)
            which, scores, own = each.argmax(axis=0), each.max(axis=0), POSITIONS[i]
            for c, weight in wrong_weights(name, scores, own, 1.0, np.zeros(C)).items():
                gradient[which[c]] += weight * np.outer(x[i], SEMANTICS[c])
                gradient[which[own]] -= weight * np.outer(x[i], SEMANTICS[own])
        w = w - lr * gradient
    return w


def training(name: str, s: np.ndarray, w: np.ndarray, lr: float, average: bool = False) -> RankingDescent:
    """A trainer in float64 on (c, r) class vectors, from (K, d, r) matrices."""
    return RankingDescent(
        torch.tensor(FEATURES, dtype=torch.float64),
        torch.tensor(POSITIONS),
        torch.tensor(s),
        torch.tensor(w).mT.contiguous(),
        lambda excess, labels: descent.LOSSES[name](excess, labels, torch.zeros_like),
        margin=1.0,
        lr=lr,
        average=average,
    )


def matrices(count: int, width: int = A) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.3, (count, D, width))


@pytest.mark.parametrize("name", BY_RANK)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [1, 7, N])
def test_steps_are_those_of_a_loop(name: str, count: int, size: int) -> None:
    """The trainer works in coordinates of the span of the class vectors, the loop in the space of semantics."""
    coordinates, basis = span(SEMANTICS)
    w = matrices(count, C)
    trained, wanted = training(name, coordinates, w, lr=0.02), w @ basis.T
    order, again = (torch.Generator().manual_seed(5) for _ in range(2))
    for _ in range(2):
        trained.epoch(size, order)
        wanted = naive_epoch(name, wanted, torch.randperm(N, generator=again).numpy(), size, lr=0.02)
    found = trained.result.mT.numpy() @ basis.T
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)
    assert np.abs(found - w @ basis.T).max() > 0.1


def test_gradient_of_latent_matrices_is_that_of_autograd() -> None:
    w = matrices(3)
    trained = training("every violator", SEMANTICS, w, lr=1.0)
    free = torch.tensor(w, requires_grad=True)
    scores = torch.einsum("nd,kda,ca->nkc", trained.features, free, trained.semantics).amax(dim=1)
    own = scores.gather(1, trained.labels[:, None])
    loss = (1 + scores - own).clamp(min=0).sum() - N  # the own class adds its margin of 1
    loss.backward()
    assert float(trained.step(torch.arange(N))) == pytest.approx(float(loss.detach()))
    torch.testing.assert_close(trained.weights.mT, torch.tensor(w) - free.grad)


def test_averaged_weights_are_the_mean_over_steps() -> None:
    trained, last = (
        training("weighted ranks", SEMANTICS, np.zeros((1, D, A)), lr=0.1, average=average) for average in (True, False)
    )
    seen = []
    for rows in torch.split(torch.randperm(N, generator=torch.Generator().manual_seed(9)), 7):
        trained.step(rows)
        last.step(rows)
        seen.append(last.weights.clone())
    torch.testing.assert_close(trained.result, torch.stack(seen).mean(dim=0))
    torch.testing.assert_close(trained.weights, seen[-1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 4), st.integers(0, 2**32))
def test_span_keeps_class_vectors_in_the_fewest_coordinates(c: int, a: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    semantics = rng.normal(size=(c, rank)) @ rng.normal(size=(rank, a))
    coordinates, basis = span(semantics)
    assert coordinates.shape == (c, min(c, a))
    np.testing.assert_allclose(coordinates @ basis.T, semantics, atol=1e-12)
    np.testing.assert_allclose(basis.T @ basis, np.eye(min(c, a)), atol=1e-12)


def test_pruning_drops_what_is_rarely_updated_and_never_all() -> None:
    w = matrices(4)
    trained = training("every violator", SEMANTICS, w, lr=0.1, average=True)
    for chosen, share, left in (([50, 1, 45, 4], 0.05, [0, 2]), ([50, 49], 1.0, [0])):
        trained.chosen = torch.tensor(chosen)
        assert trained.prune(share) == len(chosen) - len(left)
        torch.testing.assert_close(trained.weights.mT, torch.tensor(w[left]))
        assert trained.result.shape == trained.weights.shape
        assert not trained.chosen.any()
    trained.step(torch.arange(N))  # goes on with a single matrix


def test_choices_of_a_matrix_are_counted() -> None:
    w, wanted = matrices(3), np.zeros(3)
    trained = training("worst violator", SEMANTICS, w, lr=0.01)
    for i in range(N):
        each = np.einsum("d,kda,ca->kc", FEATURES[i].astype(np.float64), w, SEMANTICS)
        which = each.argmax(axis=0)
        for c in wrong_weights("worst violator", each.max(axis=0), POSITIONS[i], 1.0, np.zeros(C)):
            wanted[which[c]] += 1
            wanted[which[POSITIONS[i]]] += 1
    trained.step(torch.arange(N))
    assert trained.chosen.tolist() == wanted.tolist()
    assert (wanted > 0).sum() > 1


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("norm", ["l2", "none"])
def test_scores_are_the_best_of_bilinear_forms(cls: type[BilinearMethod], norm: str) -> None:
    fitted = cls(epochs=3, semantic_norm=norm, preprocess="standard").fit(TRAIN, Context())
    x = fitted.preprocessor_.transform(QUERY).astype(np.float64)
    a = CANDIDATES.semantics.astype(np.float64)
    if norm == "l2":
        a = a / np.sqrt((a**2).sum(axis=1, keepdims=True))
    wanted = np.max([x @ w.astype(np.float64) @ a.T for w in fitted.weights_], axis=0)
    np.testing.assert_allclose(fitted.scores(QUERY, CANDIDATES), wanted, rtol=1e-4, atol=1e-5)
    assert len(fitted.weights_) == (2 if cls is LATEM else 1)


@pytest.mark.parametrize("cls", [DeViSE, SJE, ALE])
def test_only_the_ratio_of_learning_rate_and_margin_matters(cls: type[BilinearMethod]) -> None:
    one = cls(epochs=3, lr=0.1, margin=1.0).fit(TRAIN, Context())
    two = cls(epochs=3, lr=0.4, margin=4.0).fit(TRAIN, Context())
    np.testing.assert_allclose(two.weights_, 4 * one.weights_, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [DeViSE, SJE, ALE])
def test_a_shift_of_all_class_vectors_changes_no_decision(cls: type[BilinearMethod]) -> None:
    def differences(shift: float) -> np.ndarray:
        classes = ClassTable(IDS, TRAIN.classes.semantics + np.float32(shift))
        method = cls(epochs=5, lr=0.05, semantic_norm="none", batch=1)
        moved = ClassTable(CANDIDATES.ids, CANDIDATES.semantics + np.float32(shift))
        scores = method.fit(Train(FEATURES, TRAIN.labels, classes), Context()).scores(QUERY, moved)
        return scores - scores[:, :1]

    np.testing.assert_allclose(differences(2.0), differences(0.0), rtol=1e-3, atol=2e-3)


def test_latem_with_one_matrix_is_devise_on_the_first_violator() -> None:
    """From the same start: W = 0 is all but reached by a tiny initial scale."""
    latent = LATEM(k=1, init=1e-6, lr=0.1, epochs=5).fit(TRAIN, Context())
    linear = DeViSE(lr=0.1, epochs=5).fit(TRAIN, Context())
    np.testing.assert_allclose(latent.weights_, linear.weights_, atol=1e-4)
    assert np.abs(linear.weights_).max() > 0.1


@pytest.mark.parametrize(
    ("epochs", "prune_every", "wanted"),
    [(5, 2, [3, 1, 1, 1, 1]), (2, 2, [3, 3]), (5, 0, [3] * 5)],  # after the last epoch nothing would be trained
)
def test_latem_prunes_between_epochs(epochs: int, prune_every: int, wanted: list[int]) -> None:
    """A share above a half is reached by one matrix at most. What is logged is K, not the rank of the class vectors."""
    judged, logged = [], []
    ctx = Context(
        judge=lambda method, _step: judged.append(len(method.weights_)),  # type: ignore[attr-defined]
        on_log=lambda _step, _total, values: logged.append(values["matrices"]),
    )
    LATEM(k=3, epochs=epochs, prune_every=prune_every, prune_below=0.6).fit(TRAIN, ctx)
    assert judged == logged == wanted


@pytest.mark.parametrize("cls", ALL)
def test_every_epoch_is_a_checkpoint_of_the_weights_so_far(cls: type[BilinearMethod]) -> None:
    kept: list[np.ndarray] = []
    cls(epochs=4).fit(TRAIN, Context(judge=lambda method, step: kept.append(method.weights_)))  # type: ignore[attr-defined]
    assert len(kept) == 4
    np.testing.assert_array_equal(kept[1], cls(epochs=2).fit(TRAIN, Context()).weights_)
    assert not np.array_equal(kept[2], kept[3])


@pytest.mark.parametrize("cls", ALL)
def test_odd_data_are_survived(cls: type[BilinearMethod]) -> None:
    """Constant and zero columns, fewer rows than features, a class of zeros, more attributes than classes and fewer."""
    for attributes in (2, 30):
        features = np.concatenate([FEATURES[:5], np.zeros((5, 3), np.float32), np.ones((5, 4), np.float32)], axis=1)
        semantics = RNG.normal(size=(C, attributes)).astype(np.float32)
        semantics[1], semantics[:, 0] = 0, 1
        train = Train(features, IDS[np.arange(5)], ClassTable(IDS, semantics))
        scores = cls(epochs=2, preprocess="standard+l2").fit(train, Context()).scores(features, train.classes)
        assert np.isfinite(scores).all()
    single = Train(FEATURES, np.full(N, 11), TRAIN.classes.take(np.array([0])))
    assert cls(epochs=2).fit(single, Context()).scores(QUERY, CANDIDATES).shape == (17, 4)


def test_divergence_is_told_in_a_sentence() -> None:
    huge = Train(FEATURES * np.float32(1e18), TRAIN.labels, TRAIN.classes)
    with pytest.raises(BadValue, match=r"SJE: the loss is not finite in epoch \d; lower lr=1000, or choose preprocess"):
        SJE(lr=1e3, preprocess="none").fit(huge, Context())


@pytest.mark.parametrize(
    ("cls", "dataset", "chain", "lr", "margin"),
    [
        (DeViSE, "cub", "l2", 1.0, 1.0),
        (DeViSE, "awa1", "standard", 0.01, 200.0),
        (DeViSE, "sun", "none", 0.01, 3.0),
        (SJE, "cub", "standard", 0.1, 4.0),
        (SJE, "awa2", "l2", 1.0, 2.5),
        (SJE, "apy", "none", 0.01, 1.5),
        (ALE, "cub", "l2", 0.3, 1.0),
        (ALE, "apy", "l2", 0.04, 1.0),
        (ALE, "sun", "l2", 0.1, 1.0),
    ],
)
def test_published_presets_hold_the_values_of_their_source(
    cls: type[BilinearMethod], dataset: str, chain: str, lr: float, margin: float
) -> None:
    preset = cls.presets["published"]
    assert len(preset.cells) == 5
    made = cls(**preset.resolve("x", dataset, "zsl"))
    assert (made.preprocess, made.lr, made.margin, made.batch, made.average) == (chain, lr, margin, 1, False)
    assert not isinstance(made, ALE) or made.ranks == "sampled"


def test_authors_preset_of_latem_starts_wide_draws_any_wrong_class_and_prunes_nothing() -> None:
    made = LATEM(**LATEM.presets["authors"].resolve("latem@authors", "cub", "zsl"))
    assert (made.k, made.init, made.negative, made.prune_every, made.batch) == (10, 1.0, "random", 0, 1)
    start = made.initial(400, 300, Context())
    assert float(start.std()) == pytest.approx(400**-0.5, rel=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("cls", ALL)
def test_methods_learn_on_cuda(cls: type[BilinearMethod]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    task = easy_task()
    fitted = cls().fit(task.train, Context(0, "cuda"))
    assert fitted.device_.type == "cuda"
    rows = task.unseen_rows
    best = fitted.scores(task.features[rows], task.unseen).argmax(axis=1)
    assert np.mean(task.unseen.ids[best] == task.labels[rows]) > BOUND
