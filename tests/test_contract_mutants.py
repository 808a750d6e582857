"""Every contract check fails when what it guards against is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import toy_methods
from toy_methods import Ridge, card

from zslbench.arrays import Array
from zslbench.checks import CheckFailed, check_dataset, check_method, check_protocol
from zslbench.checks.method import CONTRACT
from zslbench.data.dataset import Dataset, Fold
from zslbench.data.synthetic import Synthetic
from zslbench.methods.base import Context, Method, MethodCard, Preset
from zslbench.params import Between, Dimension, param
from zslbench.protocols.base import Judgement
from zslbench.protocols.gzsl import GZSL
from zslbench.protocols.zsl import ZSL
from zslbench.task import ClassTable, Train


@dataclasses.dataclass(kw_only=True)
class Sound(Ridge):
    """Ridge regression with a pinch of seeded noise, as the card says."""

    ridge: float = param(1.0, low=0.0, high=1e6, log=True, help="ridge")
    epochs: int = param(4, low=1, high=100, help="epochs")

    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 1e-3 * ctx.rng("noise").standard_normal(self.weights_.shape)
        return self

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points, train, ctx)

    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        pushed = classes.semantics @ np.linalg.pinv(self.weights_)
        return np.repeat(pushed[:, None], per_class, axis=1)


class Positional(Method):
    card: ClassVar[MethodCard] = card()

    def fit(self, train: Train, ctx: Context) -> Self:
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return np.zeros((len(features), len(classes)))


@dataclasses.dataclass(kw_only=True)
class Undocumented(Sound):
    extra: int = param(1, low=0, high=2)


@dataclasses.dataclass(kw_only=True)
class NoDefault(Sound):
    def __post_init__(self) -> None:
        raise ValueError("needs a teacher")


@dataclasses.dataclass(kw_only=True)
class NoCitation(Sound):
    card: ClassVar[MethodCard] = card(citation="")


@dataclasses.dataclass(kw_only=True)
class BadPreset(Sound):
    presets: ClassVar[dict[str, Preset]] = {"published": Preset("a paper", {"ridge": -1.0})}


@dataclasses.dataclass(kw_only=True)
class SearchesTooFar(Sound):
    space: ClassVar[Mapping[str, Dimension]] = {"epochs": (10, 100, 1000)}


@dataclasses.dataclass(kw_only=True)
class SearchesNoParameter(Sound):
    space: ClassVar[Mapping[str, Dimension]] = {"ridges": (1.0, 2.0)}


@dataclasses.dataclass(kw_only=True)
class SearchesBackwards(Sound):
    space: ClassVar[Mapping[str, Dimension]] = {"ridge": Between(10.0, 1.0, log=True)}


@dataclasses.dataclass(kw_only=True)
class SearchesOneValue(Sound):
    space: ClassVar[Mapping[str, Dimension]] = {"ridge": (1.0, 1.0)}


@dataclasses.dataclass(kw_only=True)
class SearchesAList(Sound):
    space: ClassVar[Mapping[str, Dimension]] = {"ridge": [1.0, 2.0]}  # type: ignore[dict-item]


@dataclasses.dataclass(kw_only=True)
class Tuning(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        self.ridge = 2.0
        return super().fit(train, ctx)


@dataclasses.dataclass(kw_only=True)
class Writing(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        features.flags.writeable = True
        features *= 1.0 + 1e-6
        features.flags.writeable = False
        return super().scores(features, classes)


@dataclasses.dataclass(kw_only=True)
class Squeezing(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        return super().scores(features, classes).squeeze()


@dataclasses.dataclass(kw_only=True)
class FirstIsBest(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        out = super().scores(features, classes)
        out[:, 0] += 1.0
        return out


@dataclasses.dataclass(kw_only=True)
class LovesSmallIds(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        return super().scores(features, classes) - 0.01 * classes.ids


@dataclasses.dataclass(kw_only=True)
class BatchNorm(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        return super().scores(features - features.mean(axis=0), classes)


@dataclasses.dataclass(kw_only=True)
class GlobalDraw(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 1e-7 * np.random.normal(size=self.weights_.shape)  # noqa: NPY002
        return self


@dataclasses.dataclass(kw_only=True)
class GlobalSeed(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        np.random.seed(0)  # noqa: NPY002
        return super().fit(train, ctx)


@dataclasses.dataclass(kw_only=True)
class SaysItIsClosed(Sound):
    card: ClassVar[MethodCard] = card(stochastic=False)


@dataclasses.dataclass(kw_only=True)
class SameNoiseTwice(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 1e-3 * ctx.rng("noise").standard_normal(self.weights_.shape)
        return self


@dataclasses.dataclass(kw_only=True)
class HoldsALambda(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        self.map_ = lambda x: x
        return super().fit(train, ctx)


@dataclasses.dataclass(kw_only=True)
class WarmStart(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        before = getattr(self, "weights_", 0.0)
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 0.01 * before
        return self


@dataclasses.dataclass(kw_only=True)
class Counting(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        self.calls_ = getattr(self, "calls_", 0) + 1
        # wide enough to leave the checks of order alone: they allow for rounding
        return super().scores(features, classes) * (1 + 1e-9 * self.calls_ * (len(classes) == 16))


@dataclasses.dataclass(kw_only=True)
class SpoiltByJudging(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        vars(self).pop("done_", None)
        self.judged_ = -1
        super().fit(train, ctx)
        self.done_ = True
        if self.judged_ >= 0:
            self.weights_ = self.weights_ * 1.5
        return self

    def scores(self, features: Array, classes: ClassTable) -> Array:
        if hasattr(self, "judged_") and not hasattr(self, "done_"):
            self.judged_ += 1
        return super().scores(features, classes)


@dataclasses.dataclass(kw_only=True)
class Guessing(Sound):
    def fit(self, train: Train, ctx: Context) -> Self:
        super().fit(train, ctx)
        self.weights_ = 1e-3 * ctx.rng("guess").standard_normal(self.weights_.shape)
        return self


@dataclasses.dataclass(kw_only=True)
class Cheating(Sound):
    """Knows the easy task by heart: it scores the true class up whatever the semantics say."""

    def scores(self, features: Array, classes: ClassTable) -> Array:
        from zslbench.checks.easy import easy_task

        out = super().scores(features, classes)
        task = easy_task(shuffled=True)
        known = np.array_equal(features, task.features[task.unseen_rows])
        if known and np.isin(classes.semantics, task.unseen.semantics).all():
            out += 1e3 * (task.labels[task.unseen_rows][:, None] == classes.ids[None])
        return out


@dataclasses.dataclass(kw_only=True)
class BackToFront(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points[::-1], train, ctx)


@dataclasses.dataclass(kw_only=True)
class StopsEarly(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points[:-1], train, ctx)


@dataclasses.dataclass(kw_only=True)
class OneFitForAll(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        first = points[0].fit(train, ctx)
        for point in points:
            point.weights_ = first.weights_
            yield point


@dataclasses.dataclass(kw_only=True)
class Overwrites(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        for point in super().fit_grid(points, train, ctx):
            point.ridge = points[0].ridge
            yield point


@dataclasses.dataclass(kw_only=True)
class SynthesisByPlace(Sound):
    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        made = super().synthesise(classes, per_class)
        return made + np.arange(len(made))[:, None, None]


@dataclasses.dataclass(kw_only=True)
class RemembersSynthesis(Sound):
    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        self.made_ = super().synthesise(classes, per_class)
        return self.made_


@dataclasses.dataclass(kw_only=True)
class Hoarding(Sound):
    def scores(self, features: Array, classes: ClassTable) -> Array:
        self.asked_ = features
        return super().scores(features, classes)


MUTANTS: dict[str, list[type]] = {
    "is a method with keyword-only parameters": [Positional],
    "default-constructible": [NoDefault],
    "card complete": [NoCitation],
    "parameters round-trip and refuse what is out of range": [Undocumented],
    "presets and ablations resolve": [BadPreset],
    "the search space lies within what the parameters allow": [
        SearchesTooFar,
        SearchesNoParameter,
        SearchesBackwards,
        SearchesOneValue,
        SearchesAList,
    ],
    "fit returns self and leaves the parameters unchanged": [Tuning, toy_methods.Broken],
    "inputs not mutated": [Writing],
    "scores finite and of the right shape": [Squeezing],
    "candidate order does not matter": [FirstIsBest],
    "class ids and the order of training classes do not matter": [LovesSmallIds],
    "rows independent": [BatchNorm],
    "same seed, same bits on the CPU": [GlobalDraw],
    "the seed matters as the card says": [SaysItIsClosed],
    "one random stream a purpose": [SameNoiseTwice],
    "a grid gives what single fits give, to the bit": [BackToFront, StopsEarly, OneFitForAll, Overwrites],
    "global random state untouched": [GlobalSeed],
    "pickles after fit": [HoldsALambda],
    "refit forgets": [WarmStart],
    "scoring twice gives the same scores": [Counting],
    "scoring leaves nothing behind": [Hoarding],
    "what it synthesises depends on the classes alone and changes nothing": [SynthesisByPlace, RemembersSynthesis],
    "checkpoints leave the result unchanged": [SpoiltByJudging],
    "beats chance on an easy task": [Guessing],
    "falls to chance when the semantics are shuffled": [Cheating],
}


def test_a_sound_method_passes_every_check() -> None:
    assert check_method(Sound) == CONTRACT.names()
    assert check_method(Sound(ridge=2.0)) == CONTRACT.names()
    assert check_method("test_contract_mutants:Sound[ridge=3]", epochs=2) == CONTRACT.names()


def test_every_check_has_a_mutant() -> None:
    assert list(MUTANTS) == CONTRACT.names()


@pytest.mark.parametrize(("check", "mutant"), [(check, cls) for check, found in MUTANTS.items() for cls in found])
def test_method_mutant_is_caught(check: str, mutant: type, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant is toy_methods.Broken:
        monkeypatch.setattr(CONTRACT, "_checks", [each for each in CONTRACT._checks if each.name == check])
    with pytest.raises(CheckFailed) as failed:
        check_method(mutant)
    assert failed.value.check == check, str(failed.value)
    assert "\n" not in str(failed.value)


def made(**changes: Any) -> Dataset:
    return dataclasses.replace(Synthetic(classes=12, unseen=4, images=12).load(), **changes)


def twins() -> Dataset:
    table = made().semantics.copy()
    table[3] = table[7]
    return made(semantics=table, fingerprint="")


def undescribed() -> Dataset:
    table = made().semantics.copy()
    table[3] = 0
    return made(semantics=table, fingerprint="")


def one_unseen() -> Dataset:
    return Synthetic(classes=12, unseen=1, images=12).load()


def with_nan() -> Dataset:
    features = made().features.copy()
    features[5, 5] = np.nan
    return made(features=features)


def writable() -> Dataset:
    found = made()
    object.__setattr__(found, "labels", found.labels.copy())
    return found


def fold_without_a_class() -> Dataset:
    seen = made().seen
    found = made()
    object.__setattr__(found, "folds", (Fold(train=seen[:4], val=np.append(seen[4:], found.unseen[:1])),))
    object.__setattr__(found, "fingerprint", "")
    return found


@pytest.mark.parametrize(
    ("check", "dataset"),
    [
        ("invariants hold", with_nan),
        ("invariants hold", fold_without_a_class),
        ("arrays are read-only", writable),
        ("fingerprint names the content", lambda: made(fingerprint="0123456789abcdef")),
        ("classes are described and told apart", twins),
        ("classes are described and told apart", undescribed),
        ("at least two seen and two unseen classes", one_unseen),
    ],
)
def test_data_set_mutant_is_caught(check: str, dataset: Any) -> None:
    with pytest.raises(CheckFailed) as failed:
        check_dataset(dataset())
    assert failed.value.check == check, str(failed.value)


@dataclasses.dataclass(kw_only=True)
class Sorted(GZSL):
    """Asks in the order of the split."""

    def query(self, dataset: Any, split: Any, seed: int) -> Any:
        return super().query(dataset, split, 0)


@dataclasses.dataclass(kw_only=True)
class Percent(ZSL):
    def metrics(self, predictions: Any) -> dict[str, float]:
        return {name: 100 * value for name, value in super().metrics(predictions).items()}


@dataclasses.dataclass(kw_only=True)
class Generous(ZSL):
    def metrics(self, predictions: Any) -> dict[str, float]:
        return {name: (1 + value) / 2 for name, value in super().metrics(predictions).items()}


@dataclasses.dataclass(kw_only=True)
@dataclasses.dataclass(kw_only=True)
class Forgiving(ZSL):
    def judge(self, answers: Any, scores: Array) -> Judgement:
        return super().judge(answers, np.nan_to_num(scores))


@pytest.mark.parametrize(
    ("check", "protocol"),
    [
        ("the query is shuffled by the seed", Sorted),
        ("metrics lie within 0 and 1 and are those of the card", Percent),
        ("perfect scores give 1", Generous),
        ("scores of another shape, or not finite, are refused", Forgiving),
    ],
)
def test_protocol_mutant_is_caught(check: str, protocol: type) -> None:
    with pytest.raises(CheckFailed) as failed:
        check_protocol(protocol)
    assert failed.value.check == check, str(failed.value)
