"""Every contract check fails when what it guards against is done."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from toy_methods import Cardless, Ridge, card

from zslbench.arrays import Array
from zslbench.checks import CheckFailed, check_dataset, check_method, check_protocol
from zslbench.checks.easy_task import easy_task
from zslbench.checks.method_checks import CONTRACT
from zslbench.data.builtin import Synthetic
from zslbench.data.dataset import Dataset, Fold
from zslbench.methods.base import Context, MethodCard, Preset
from zslbench.params import Between, param
from zslbench.protocols.gzsl import GZSL
from zslbench.protocols.protocol import Judgement
from zslbench.protocols.zsl import ZSL
from zslbench.task import ClassTable, Train

MUTANTS: list[tuple[str, type]] = []
SYNTHESIS = "synthesised features depend only on the classes, and making them changes nothing"
GRID = "a grid gives what single fits give, to the bit"


@dataclasses.dataclass(kw_only=True)
class Sound(Ridge):
    """Ridge regression with a pinch of seeded noise, as the card says; mutants change what is done before and after."""

    ridge: float = param(1.0, low=0.0, high=1e6, log=True, help="ridge")
    epochs: int = param(4, low=1, high=100, help="epochs")

    def fit(self, train: Train, ctx: Context) -> Self:
        self.before_fit()
        super().fit(train, ctx)
        self.weights_ = self.weights_ + 1e-3 * self.noise(ctx)
        self.after_fit(ctx)
        return self

    def before_fit(self) -> None: ...

    def after_fit(self, ctx: Context) -> None: ...

    def noise(self, ctx: Context) -> Array:
        return ctx.rng("noise").standard_normal(self.weights_.shape)

    def scores(self, features: Array, classes: ClassTable) -> Array:
        return self.after_scores(super().scores(self.before_scores(features), classes), features, classes)

    def before_scores(self, features: Array) -> Array:
        return features

    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        return scores

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points, train, ctx)

    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        pushed = classes.semantics @ np.linalg.pinv(self.weights_)
        return np.repeat(pushed[:, None], per_class, axis=1)


def caught_by(check: str) -> Callable[[type], type]:
    """Make a class a keyword-only dataclass, unless it is to be none, and note which check must catch it."""

    def note(cls: type) -> type:
        made = cls if cls.__name__ == "Positional" else dataclasses.dataclass(kw_only=True)(cls)
        MUTANTS.append((check, made))
        return made

    return note


@caught_by("is a method with keyword-only parameters")
class Positional(Cardless):
    card: ClassVar[MethodCard] = card()


@caught_by("parameters round-trip and refuse what is out of range")
class Undocumented(Sound):
    extra: int = param(1, low=0, high=2)


@caught_by("default-constructible")
class NoDefault(Sound):
    def __post_init__(self) -> None:
        raise ValueError("needs a teacher")


@caught_by("card complete")
class NoCitation(Sound):
    card: ClassVar[MethodCard] = card(citation="")


@caught_by("presets and ablations resolve")
class BadPreset(Sound):
    presets: ClassVar[dict[str, Preset]] = {"published": Preset("a paper", {"ridge": -1.0})}


for space in (
    {"epochs": (10, 100, 1000)},  # too far
    {"ridges": (1.0, 2.0)},  # no parameter
    {"ridge": Between(10.0, 1.0, log=True)},  # backwards
    {"ridge": (1.0, 1.0)},  # one value
    {"ridge": [1.0, 2.0]},  # a list
):
    caught_by("the search space lies within what the parameters allow")(type("Searching", (Sound,), {"space": space}))


@caught_by("fit returns self and leaves the parameters unchanged")
class Tuning(Sound):
    def before_fit(self) -> None:
        self.ridge = 2.0


@caught_by("fit returns self and leaves the parameters unchanged")
class Raising(Sound):
    def before_fit(self) -> None:
        raise RuntimeError("no convergence")


@caught_by("inputs not mutated")
class Writing(Sound):
    def before_scores(self, features: Array) -> Array:
        features.flags.writeable = True
        features *= 1.0 + 1e-6
        features.flags.writeable = False
        return features


@caught_by("scores finite and of the right shape")
class Squeezing(Sound):
    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        return scores.squeeze()


@caught_by("candidate order does not matter")
class FirstIsBest(Sound):
    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        return scores + (np.arange(len(classes)) == 0)


@caught_by("class ids and the order of training classes do not matter")
class LovesSmallIds(Sound):
    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        return scores - 0.01 * classes.ids


@caught_by("rows independent")
class BatchNorm(Sound):
    def before_scores(self, features: Array) -> Array:
        return features - features.mean(axis=0)


@caught_by("same seed, same bits on the CPU")
class GlobalDraw(Sound):
    def after_fit(self, ctx: Context) -> None:
        self.weights_ = self.weights_ + 1e-7 * np.random.normal(size=self.weights_.shape)  # noqa: NPY002


@caught_by("global random state untouched")
class GlobalSeed(Sound):
    def before_fit(self) -> None:
        np.random.seed(0)  # noqa: NPY002


@caught_by("the seed matters as the card says")
class SaysItIsClosed(Sound):
    card: ClassVar[MethodCard] = card(stochastic=False)


@caught_by("one random stream per purpose")
class SameNoiseTwice(Sound):
    def after_fit(self, ctx: Context) -> None:
        self.weights_ = self.weights_ + 1e-3 * self.noise(ctx)


@caught_by("pickles after fit")
class HoldsALambda(Sound):
    def before_fit(self) -> None:
        self.map_ = lambda x: x


@caught_by("refit forgets")
class WarmStart(Sound):
    def before_fit(self) -> None:
        self.before_ = getattr(self, "weights_", 0.0)

    def after_fit(self, ctx: Context) -> None:
        self.weights_ = self.weights_ + 0.01 * self.before_


@caught_by("scoring twice gives the same scores")
class Counting(Sound):
    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        self.calls_ = getattr(self, "calls_", 0) + 1
        # wide enough to leave the checks of order alone: they allow for rounding
        return scores * (1 + 1e-9 * self.calls_ * (len(classes) == 16))


@caught_by("checkpoints leave the result unchanged")
class SpoiltByJudging(Sound):
    def before_fit(self) -> None:
        vars(self).pop("done_", None)
        self.judged_ = -1

    def after_fit(self, ctx: Context) -> None:
        self.done_ = True
        if self.judged_ >= 0:
            self.weights_ = self.weights_ * 1.5

    def before_scores(self, features: Array) -> Array:
        if hasattr(self, "judged_") and not hasattr(self, "done_"):
            self.judged_ += 1
        return features


@caught_by("beats chance on an easy task")
class Guessing(Sound):
    def after_fit(self, ctx: Context) -> None:
        self.weights_ = 1e-3 * ctx.rng("guess").standard_normal(self.weights_.shape)


@caught_by("falls to chance when the semantics are shuffled")
class Cheating(Sound):
    """Knows the easy task by heart: it scores the true class up whatever the semantics say."""

    def after_scores(self, scores: Array, features: Array, classes: ClassTable) -> Array:
        task = easy_task(seed=1, shuffled=True)
        known = np.array_equal(features, task.features[task.unseen_rows])
        if known and np.isin(classes.semantics, task.unseen.semantics).all():
            scores += 1e3 * (task.labels[task.unseen_rows][:, None] == classes.ids[None])
        return scores


@caught_by("scoring does not change the method")
class Hoarding(Sound):
    def before_scores(self, features: Array) -> Array:
        self.asked_ = features
        return features


@caught_by(GRID)
class BackToFront(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points[::-1], train, ctx)


@caught_by(GRID)
class StopsEarly(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        yield from super().fit_grid(points[:-1], train, ctx)


@caught_by(GRID)
class OneFitForAll(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        first = points[0].fit(train, ctx)
        for point in points:
            point.weights_ = first.weights_
            yield point


@caught_by(GRID)
class Overwrites(Sound):
    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        for point in super().fit_grid(points, train, ctx):
            point.ridge = points[0].ridge
            yield point


@caught_by(SYNTHESIS)
class SynthesisByPlace(Sound):
    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        return super().synthesise(classes, per_class) + np.arange(len(classes))[:, None, None]


@caught_by(SYNTHESIS)
class RemembersSynthesis(Sound):
    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        self.made_ = super().synthesise(classes, per_class)
        return self.made_


def test_a_sound_method_passes_every_check() -> None:
    every = list(CONTRACT.checks)
    assert check_method(Sound) == every
    assert check_method(Sound(ridge=2.0)) == every
    assert check_method("test_contract_mutants:Sound[ridge=3]", epochs=2) == every


def test_the_checks_use_the_parameters_that_a_class_declares_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(CONTRACT, "run", lambda checked, _: seen.append(checked.values))
    fast = type("Fast", (Sound,), {"check_params": {"epochs": 2, "ridge": 3.0}})
    check_method(fast, ridge=4.0)
    assert seen == [{"epochs": 2, "ridge": 4.0}]
    minimal = {"fit": Sound.fit, "scores": Sound.scores, "check_params": {"epochs": 1}}
    check_method(type("Minimal", (), minimal))
    assert seen[1:] == [{"epochs": 1}]


def test_every_check_has_a_mutant() -> None:
    assert {check for check, _ in MUTANTS} == set(CONTRACT.checks)


@pytest.mark.parametrize(("check", "mutant"), MUTANTS)
def test_method_mutant_is_caught(check: str, mutant: type) -> None:
    with pytest.raises(CheckFailed) as failed:
        check_method(mutant)
    assert failed.value.check == check, str(failed.value)
    assert "\n" not in str(failed.value)
    assert set(failed.value.passed) <= set(itertools.takewhile(lambda name: name != check, CONTRACT.checks))


def test_an_exception_of_the_method_names_the_line_that_raised_it() -> None:
    with pytest.raises(
        CheckFailed, match=r"RuntimeError: no convergence \(test_contract_mutants.py:\d+, in before_fit\)"
    ):
        check_method(Raising)


def made(**changes: Any) -> Dataset:
    return dataclasses.replace(Synthetic(classes=12, unseen=4, images=12).load(), **changes)


def changed(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    copy = array.copy()
    copy[place] = value
    return copy


def forced(**changes: Any) -> Dataset:
    """Return a data set with attributes that its constructor would refuse or freeze."""
    dataset = made()
    for name, value in changes.items():
        object.__setattr__(dataset, name, value)
    return dataset


PLAIN = made()
UNSEEN_IN_A_FOLD = Fold(train=PLAIN.seen[:4], val=np.append(PLAIN.seen[4:], PLAIN.unseen[:1]))
DESCRIBED = "classes have different descriptions"


@pytest.mark.parametrize(
    ("check", "make"),
    [
        ("invariants hold", lambda: made(features=changed(PLAIN.features, (5, 5), np.nan))),
        ("invariants hold", lambda: forced(folds=(UNSEEN_IN_A_FOLD,), fingerprint="")),
        ("arrays are read-only", lambda: forced(labels=PLAIN.labels.copy())),
        ("fingerprint names the content", lambda: made(fingerprint="0123456789abcdef")),
        (DESCRIBED, lambda: made(semantics=changed(PLAIN.semantics, 3, PLAIN.semantics[7]), fingerprint="")),
        (DESCRIBED, lambda: made(semantics=changed(PLAIN.semantics, 3, 0), fingerprint="")),
        ("at least two seen and two unseen classes", Synthetic(classes=12, unseen=1, images=12).load),
    ],
)
def test_data_set_mutant_is_caught(check: str, make: Callable[[], Dataset]) -> None:
    with pytest.raises(CheckFailed) as failed:
        check_dataset(make())
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
