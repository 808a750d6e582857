"""The shared trainer of DeViSE, SJE, ALE and LATEM against NumPy loops, and what follows from its formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.checks.easy_task import BOUND, easy_task
from zslbench.errors import BadValue
from zslbench.methods.base import Context
from zslbench.methods.ranking import BilinearMethod, descent
from zslbench.methods.ranking.ale import ALE
from zslbench.methods.ranking.descent import DescentOptions, RankingDescent, span
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
ALL = [DeViSE, SJE, ALE, LATEM]


def beta(k: int) -> float:
    return sum(1 / i for i in range(1, k + 1))


def wrong_weights(name: str, scores: np.ndarray, label: int, margin: float) -> dict[int, float]:
    """The violating classes that an image learns from, and their weights, by the definition of the loss."""
    hinge = {c: margin + s - scores[label] for c, s in enumerate(scores) if c != label}
    violators = [c for c, value in hinge.items() if value > 0]
    if name == "sje":
        return {max(violators, key=lambda c: hinge[c]): 1.0} if violators else {}
    share = beta(len(violators)) / len(violators) if name == "ale" and violators else 1.0
    return dict.fromkeys(violators, share)


def naive_epoch(
    name: str, w: np.ndarray, x: np.ndarray, y: np.ndarray, s: np.ndarray, order: np.ndarray, batch: int, lr: float
) -> np.ndarray:
    """One pass of mini-batch gradient descent on (K, d, a) matrices, image by image, class by class, in float64."""
    for start in range(0, len(order), batch):
        gradient = np.zeros_like(w)
        for i in order[start : start + batch]:
            each = np.einsum("d,kda,ca->kc", x[i], w, s)
            which, scores = each.argmax(axis=0), each.max(axis=0)
            for c, weight in wrong_weights(name, scores, y[i], 1.0).items():
                gradient[which[c]] += weight * np.outer(x[i], s[c])
                gradient[which[y[i]]] -= weight * np.outer(x[i], s[y[i]])
        w = w - lr * gradient
    return w


WEIGH = {
    "devise": lambda excess, labels: descent.every_violator(excess),
    "sje": lambda excess, labels: descent.worst_violator(excess),
    "ale": lambda excess, labels: descent.weighted_ranks(excess),
}


def training(name: str, s: np.ndarray, w: np.ndarray, batch: int, lr: float, average: bool = False) -> RankingDescent:
    """A trainer in float64 on (c, r) class vectors, from (K, d, r) matrices."""
    return RankingDescent(
        torch.tensor(FEATURES, dtype=torch.float64),
        torch.tensor(POSITIONS),
        torch.tensor(s),
        torch.tensor(w).mT.contiguous(),
        WEIGH[name],
        DescentOptions(1.0, lr, batch, average),
        torch.Generator().manual_seed(5),
    )


def random_orders(epochs: int) -> list[np.ndarray]:
    stream = torch.Generator().manual_seed(5)
    return [torch.randperm(N, generator=stream).numpy() for _ in range(epochs)]


@pytest.mark.parametrize("name", WEIGH)
@pytest.mark.parametrize("matrices", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, N])
def test_steps_are_those_of_a_loop(name: str, matrices: int, batch: int) -> None:
    """The trainer works in coordinates of the span of the class vectors, the loop in the space of semantics."""
    s = TRAIN.classes.semantics.astype(np.float64)
    coordinates, basis = span(s)
    w = np.random.default_rng(2).normal(0, 0.3, (matrices, D, C))
    trained = training(name, coordinates, w, batch, lr=0.02)
    wanted = w @ basis.T
    for order in random_orders(2):
        trained.epoch()
        wanted = naive_epoch(name, wanted, FEATURES.astype(np.float64), POSITIONS, s, order, batch, lr=0.02)
    found = trained.result.mT.numpy() @ basis.T
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)
    assert np.abs(found - w @ basis.T).max() > 0.1


def test_gradient_of_latent_matrices_is_that_of_autograd() -> None:
    s = TRAIN.classes.semantics.astype(np.float64)
    w = np.random.default_rng(2).normal(0, 0.3, (3, D, A))
    trained = training("devise", s, w, batch=N, lr=1.0)
    free = torch.tensor(w, requires_grad=True)
    scores = torch.einsum("nd,kda,ca->nkc", trained.features, free, trained.semantics).amax(dim=1)
    own = scores.gather(1, trained.labels[:, None])
    loss = (1 + scores - own).clamp(min=0).sum() - N  # the own class adds its margin of 1
    loss.backward()
    found = trained.step(torch.arange(N))
    assert float(found) == pytest.approx(float(loss.detach()))
    assert free.grad is not None
    torch.testing.assert_close(trained.weights.mT, torch.tensor(w) - free.grad)


def test_averaged_weights_are_the_mean_over_steps() -> None:
    s = TRAIN.classes.semantics.astype(np.float64)
    trained = training("ale", s, np.zeros((1, D, A)), batch=7, lr=0.1, average=True)
    last = training("ale", s, np.zeros((1, D, A)), batch=7, lr=0.1)
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
    s = TRAIN.classes.semantics.astype(np.float64)
    w = np.random.default_rng(0).normal(size=(4, D, A))
    trained = training("devise", s, w, batch=7, lr=0.1, average=True)
    trained.chosen = torch.tensor([50, 1, 45, 4])
    assert trained.prune(0.05) == 2
    torch.testing.assert_close(trained.weights.mT, torch.tensor(w[[0, 2]]))
    assert trained.result.shape == trained.weights.shape
    assert (trained.chosen == torch.zeros(2)).all()
    trained.chosen = torch.tensor([50, 49])
    assert trained.prune(1.0) == 1
    torch.testing.assert_close(trained.weights.mT, torch.tensor(w[[0]]))
    trained.step(torch.arange(N))  # goes on with a single matrix


def test_choices_of_a_matrix_are_counted() -> None:
    s = TRAIN.classes.semantics.astype(np.float64)
    w = np.random.default_rng(2).normal(0, 0.3, (3, D, A))
    trained = training("sje", s, w, batch=N, lr=0.01)
    wanted = np.zeros(3)
    for i in range(N):
        each = np.einsum("d,kda,ca->kc", FEATURES[i].astype(np.float64), w, s)
        which, scores = each.argmax(axis=0), each.max(axis=0)
        for c in wrong_weights("sje", scores, POSITIONS[i], 1.0):
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
        fitted = cls(epochs=5, lr=0.05, semantic_norm="none", batch=1).fit(
            Train(FEATURES, TRAIN.labels, classes), Context()
        )
        moved = ClassTable(CANDIDATES.ids, CANDIDATES.semantics + np.float32(shift))
        scores = fitted.scores(QUERY, moved)
        return scores - scores[:, :1]

    order = np.argsort(TRAIN.classes.canonical())
    assert (np.argsort(ClassTable(IDS, TRAIN.classes.semantics + np.float32(2)).canonical()) == order).all()
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
    short = cls(epochs=2).fit(TRAIN, Context())
    assert len(kept) == 4
    np.testing.assert_array_equal(kept[1], short.weights_)
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


def test_published_presets_hold_the_values_of_their_source() -> None:
    wanted = {
        DeViSE: {"cub": ("l2", 1.0, 1.0), "awa1": ("standard", 0.01, 200.0), "sun": ("none", 0.01, 3.0)},
        SJE: {"cub": ("standard", 0.1, 4.0), "awa2": ("l2", 1.0, 2.5), "apy": ("none", 0.01, 1.5)},
        ALE: {"cub": ("l2", 0.3, 1.0), "apy": ("l2", 0.04, 1.0), "sun": ("l2", 0.1, 1.0)},
    }
    for cls, rows in wanted.items():
        preset = cls.presets["published"]
        assert len(preset.cells) == 5
        for dataset, (chain, lr, margin) in rows.items():
            made = cls(**preset.resolve("x", dataset, "zsl"))
            assert (made.preprocess, made.lr, made.margin) == (chain, lr, margin)
            assert (made.batch, made.average) == (1, False)
            assert not isinstance(made, ALE) or made.ranks == "sampled"
        with pytest.raises(BadValue, match="has no values"):
            preset.resolve("x", "cub", "gzsl")


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
