"""`check_method`: the contract of methods, tried on an easy task."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import random
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from zslbench import params, spec
from zslbench.arrays import Array
from zslbench.checks.easy_task import BOUND, EasyTask, easy_task, relabelled
from zslbench.contract import Contract, require, require_card, require_parameters, require_text
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, MethodCard, Setting, overlay
from zslbench.methods.minimal import as_method, says_stochastic
from zslbench.registry import METHODS

SEED = 3
_CLOSE = 1e-4
_BACKWARDS = slice(None, None, -1)


def check_method(method: type | Method | str, **given: Any) -> list[str]:
    """Return the names of the checks that a method passes; raise an error at the first that fails.

    Args:
        method: a class, an instance, or text as for `zslbench run`: ``eszsl``, ``eszsl[gamma=10]``,
            ``my_pkg.my_module:MyMethod``. A class or a text starts with the class's `check_params`.
        given: parameters to set, for instance fewer epochs.

    Raises:
        CheckFailed: a check failed; the error says which, and why.
        UnknownName, Unavailable, BadSpec, BadValue: no such method or parameter.
    """
    values: dict[str, Any] = {}
    if isinstance(method, str):
        parsed = spec.parse(method)
        cls = as_method(METHODS.load(parsed.name))
        values = overlay(cls, parsed.name, parsed.presets, "", "") | dict(parsed.params)
    elif isinstance(method, type):
        cls = as_method(method)
    else:
        cls, values = type(method), params.current_values(method)
    return CONTRACT.run(CheckedMethod(cls, {**cls.check_params, **values, **given}), f"method {cls.__name__}")


class _StreamRecorder(Context):
    """A context that notes the purposes of the random streams that are opened."""

    def __init__(self) -> None:
        super().__init__(SEED)
        self.opened: list[str] = []

    def rng(self, purpose: str) -> np.random.Generator:
        self.opened.append(purpose)
        return super().rng(purpose)

    def stream_seed(self, purpose: str) -> int:
        self.opened.append(purpose)
        return super().stream_seed(purpose)


@dataclasses.dataclass(eq=False)
class CheckedMethod:
    """A method class with the parameters to try; a result that several checks need is computed once."""

    cls: type[Method]
    values: dict[str, Any]

    def fit(self, task: EasyTask, ctx: Context | None = None) -> Method:
        """Return a fresh instance fitted to a task."""
        method = self.cls(**self.values)
        method.fit(task.train_for(method), ctx or Context(SEED))
        return method

    def score(self, method: Method) -> Array:
        """Return the (n, k) scores of all rows of the easy task over all candidates."""
        return np.array(method.scores(self.task.features, self.task.candidates))

    @cached_property
    def task(self) -> EasyTask:
        """The easy task."""
        return easy_task(shared_space=self.cls.shared_space)

    @cached_property
    def first_fit(self) -> tuple[Method, list[str]]:
        """An instance fitted to the easy task, and the purposes of the random streams that this opened."""
        ear = _StreamRecorder()
        method = self.cls(**self.values)
        before = params.current_values(method)
        require(method.fit(self.task.train_for(method), ear) is method, "fit does not return self.")
        after = params.current_values(method)
        require(before == after, f"fit changes the parameters from {before} to {after}.")
        return method, ear.opened

    @property
    def fitted(self) -> Method:
        """An instance fitted to the easy task; checks may only call its `scores`."""
        return self.first_fit[0]

    @cached_property
    def scored(self) -> Array:
        """The scores of `fitted`."""
        return self.score(self.fitted)

    @cached_property
    def scored_unseen(self) -> Array:
        """The scores of `fitted` for the rows of unseen classes, with these classes as candidates."""
        return _score_unseen(self.fitted, self.task)

    @cached_property
    def again(self) -> tuple[Array, list[str]]:
        """Scores of a second fit with the same seed and other global random states, and the generators it changed."""
        assert self.scored is not None  # whatever fit imports is imported by now, torch for one
        with _global_generators_elsewhere():
            before = _global_state()
            scores = self.score(self.fit(self.task))
            after = _global_state()
        return scores, [name for name, state in before.items() if after[name] != state]

    @cached_property
    def of_shuffled(self) -> tuple[Method, float]:
        """An instance fitted to another easy task with shuffled semantics, and its accuracy on unseen classes there."""
        task = easy_task(seed=1, shuffled=True, shared_space=self.cls.shared_space)
        method = self.fit(task)
        return method, _unseen_accuracy(_score_unseen(method, task), task)

    @cached_property
    def refitted(self) -> Method:
        """An instance fitted to the easy task after another task, and not asked for scores since."""
        method = self.of_shuffled[0]
        method.fit(self.task.train_for(method), Context(SEED))
        return method

    def require_close(self, scores: Array, wanted: Array, why: str) -> None:
        """Require that two arrays of scores agree up to rounding."""
        require(np.allclose(scores, wanted, rtol=_CLOSE, atol=_CLOSE * float(np.abs(wanted).max())), why)

    def require_same(self, method: Method, why: str) -> None:
        """Require that a method gives the scores of the first fit, to the bit."""
        require(np.array_equal(self.score(method), self.scored), why)

    @property
    def grid_points(self) -> list[dict[str, Any]]:
        """Points that differ from the subject's in one parameter each; the subject's own is first and last.

        If points that differ only in scoring share a fit, one point differs in all of these parameters, and another in
        one other parameter: there are few fits, since each takes long.
        """
        scoring, base = self.cls.scoring, dict(self.values)
        others = {name: self._other_values(param) for name, param in params.declared_params(self.cls).items()}
        if not scoring:
            return [base, *(base | {name: other} for name, values in others.items() for other in values), base]
        fitted = next(name for name in ("lr", *others) if others.get(name) and name not in scoring)
        rescored = {name: others[name][0] for name in scoring if others[name]}
        return [base, base | rescored, base | {fitted: others[fitted][0]}, base]

    def _other_values(self, param: params.Param) -> list[Any]:
        value = self.values.get(param.name, param.default)
        values: list[Any] = []
        if param.choices:
            values = list(param.choices)
        elif param.kind is bool:
            values = [not value]
        elif param.kind in (int, float):
            low, high = (value if end is None else end for end in (param.low, param.high))
            values = [param.kind(min(max(other, low), high)) for other in (2 * value, value / 3)]
        elif param.name == "preprocess":
            values = ["standard", "none"]
        return [other for other in values if other != value]


def _global_state() -> dict[str, object]:
    state: dict[str, object] = {
        "numpy.random": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002 - the state that must not move
        "random": random.getstate(),
    }
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state().numpy().tobytes()
    return state


@contextlib.contextmanager
def _global_generators_elsewhere() -> Iterator[None]:
    torch = sys.modules.get("torch")
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    of_torch = torch.get_rng_state() if torch else None
    np.random.seed(12345)  # noqa: NPY002
    random.seed(12345)
    if torch:
        torch.manual_seed(12345)
    try:
        yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
        if torch:
            torch.set_rng_state(of_torch)


def _score_unseen(method: Method, task: EasyTask) -> Array:
    """Return the scores of the rows of unseen classes, with these classes as candidates."""
    return np.array(method.scores(task.features[task.unseen_rows], task.unseen))


def _unseen_accuracy(scores: Array, task: EasyTask) -> float:
    return float((task.unseen.ids[scores.argmax(axis=1)] == task.labels[task.unseen_rows]).mean())


CONTRACT: Contract[CheckedMethod] = Contract()


@CONTRACT.check("is a method with keyword-only parameters")
def _class(subject: CheckedMethod) -> None:
    cls = subject.cls
    require(issubclass(cls, Method), "it is not a subclass of zslbench.methods.base.Method.")
    require("__dataclass_params__" in cls.__dict__, "it is not a dataclass; decorate it with dataclass(kw_only=True).")
    positional = [field.name for field in dataclasses.fields(cls) if not field.kw_only]
    require(not positional, f"{positional} are positional; decorate the class with dataclass(kw_only=True).")
    bare = [field.name for field in dataclasses.fields(cls) if "param" not in field.metadata]
    require(not bare, f"{bare} are fields without param(...): they would be missing from the identity of a run.")


@CONTRACT.check("default-constructible")
def _default(subject: CheckedMethod) -> None:
    require(isinstance(subject.cls(), Method), "the class cannot be called without arguments.")


@CONTRACT.check("card complete")
def _card(subject: CheckedMethod) -> None:
    card = getattr(subject.cls, "card", None)
    require_card(card, MethodCard, "title", "summary", "citation", "reference")
    assert card is not None
    require(isinstance(card.setting, Setting), f"its setting is {card.setting!r}, not a Setting.")
    require(isinstance(card.stochastic, bool), f"stochastic is {card.stochastic!r}, not a bool.")
    agreed = subject.cls().setting is card.setting
    require(agreed, "its card and an instance with default parameters have different settings.")


@CONTRACT.check("parameters round-trip and refuse what is out of range")
def _parameters(subject: CheckedMethod) -> None:
    require_parameters(subject.cls)


@CONTRACT.check("presets and ablations resolve")
def _presets(subject: CheckedMethod) -> None:
    cls = subject.cls
    for name, preset in cls.presets.items():
        require_text(f"preset {name!r}", source=preset.source)
        for pair in preset.cells or [("", "")]:
            cls(**preset.resolve(name, *pair))
    for name, ablation in cls.ablations.items():
        require_text(f"ablation {name!r}", help=ablation.help)
        cls(**ablation.values)
    clash = set(cls.presets) & set(cls.ablations)
    require(not clash, f"{sorted(clash)} are names of both a preset and an ablation.")


@CONTRACT.check("the search space lies within what the parameters allow")
def _space(subject: CheckedMethod) -> None:
    cls, known = subject.cls, params.declared_params(subject.cls)
    for name, given in cls.space.items():
        require(name in known, f"its space names {name!r}, which is not a parameter.")
        kind = type(given).__name__
        held = isinstance(given, tuple | params.Between)
        require(held, f"its space of {name} is a {kind}, not a tuple of values or a Between.")
        try:
            dimension = known[name].dimension(given, cls.__name__)
        except BadValue as error:
            require(False, str(error))
        same = dimension == given and (isinstance(given, params.Between) or len(given) > 1)
        require(same, f"its space of {name} repeats a value, or has only one; list different values.")


@CONTRACT.check("fit returns self and leaves the parameters unchanged")
def _fit(subject: CheckedMethod) -> None:
    require(subject.fitted, "a fitted method must be true in a condition; do not define its length.")


@CONTRACT.check("inputs not mutated")
def _inputs(subject: CheckedMethod) -> None:
    task, untouched = subject.task, easy_task(shared_space=subject.cls.shared_space)
    candidates = task.candidates
    subject.fitted.scores(task.features, candidates)
    for name, array, wanted in (
        ("training features", task.train.features, untouched.train.features),
        ("training labels", task.train.labels, untouched.train.labels),
        ("class ids", task.train.classes.ids, untouched.train.classes.ids),
        ("semantics", task.train.classes.semantics, untouched.train.classes.semantics),
        ("test features", task.features, untouched.features),
        ("original attributes", task.train.classes.original, untouched.train.classes.original),
        ("candidates", candidates.semantics, untouched.candidates.semantics),
        ("original attributes of candidates", candidates.original, untouched.candidates.original),
    ):
        assert array is not None
        assert wanted is not None
        require(np.array_equal(array, wanted) and not array.flags.writeable, f"it changes the {name}.")


@CONTRACT.check("scores finite and of the right shape")
def _shape(subject: CheckedMethod) -> None:
    task = subject.task
    tables = {"all": task.candidates, "unseen": task.unseen, "seen": task.train.classes}
    cases = [(task.features, name, table) for name, table in tables.items()]
    cases += [(task.features, "one", task.unseen.take(slice(1))), (task.features[:1], "all", task.candidates)]
    for features, name, classes in cases:
        scores = subject.fitted.scores(features, classes)
        wanted = (len(features), len(classes))
        kind = type(scores).__name__
        require(isinstance(scores, np.ndarray), f"scores are a {kind}, not a NumPy array ({name} candidates).")
        require(scores.shape == wanted, f"scores have shape {scores.shape}, not {wanted} ({name} candidates).")
        require(np.issubdtype(scores.dtype, np.floating), f"scores are {scores.dtype}, not floating point.")
        require(np.isfinite(scores).all(), f"scores are not all finite ({name} candidates).")


@CONTRACT.check("candidate order does not matter")
def _order(subject: CheckedMethod) -> None:
    task = subject.task
    scores = subject.fitted.scores(task.features, task.candidates.take(_BACKWARDS))
    subject.require_close(scores[:, ::-1], subject.scored, "reversing the candidates changes the scores.")


@CONTRACT.check("class ids and the order of training classes do not matter")
def _ids(subject: CheckedMethod) -> None:
    task, other = subject.task, relabelled(subject.task, seed=1)
    scores = _score_unseen(subject.fit(other), other)
    # classes of the two tables are matched by their semantics, which relabelling keeps
    same = (task.unseen.semantics[:, None] == other.unseen.semantics[None]).all(axis=2).argmax(axis=1)
    subject.require_close(
        scores[:, same], subject.scored_unseen, "renaming and reordering the classes changes the scores."
    )


@CONTRACT.check("rows independent", applies=lambda subject: not subject.cls(**subject.values).batchwise)
def _rows(subject: CheckedMethod) -> None:
    features, candidates = subject.task.features, subject.task.candidates
    order = np.arange(len(features))[::-1]
    half = len(features) // 2
    for name, rows in (("a row alone", order[:1]), ("half of the rows", order[:half]), ("the rows reversed", order)):
        scores = subject.fitted.scores(features[rows], candidates)
        why = f"scoring {name} gives other scores than scoring all rows; is `setting` transductive?"
        subject.require_close(scores, subject.scored[rows], why)


@CONTRACT.check("same seed, same bits on the CPU")
def _seed(subject: CheckedMethod) -> None:
    same = np.array_equal(subject.again[0], subject.scored)
    require(same, "two fits with the same seed give different scores; draw random numbers only from ctx.")


@CONTRACT.check("the seed matters as the card says")
def _other_seed(subject: CheckedMethod) -> None:
    equal = np.array_equal(subject.score(subject.fit(subject.task, Context(SEED + 1))), subject.scored)
    if subject.cls.card.stochastic:
        differs = not equal or not says_stochastic(subject.cls)
        require(differs, "its card says that it is stochastic, but another seed gives the same scores.")
    else:
        require(equal, "its card says that it is not stochastic, but another seed gives other scores.")


@CONTRACT.check("one random stream per purpose", applies=lambda subject: subject.cls.card.stochastic)
def _streams(subject: CheckedMethod) -> None:
    opened = subject.first_fit[1]
    twice = sorted({purpose for purpose in opened if opened.count(purpose) > 1})
    require(not twice, f"it opens {twice} more than once and draws the same numbers again; keep the stream.")


@CONTRACT.check("a grid gives what single fits give, to the bit", applies=lambda subject: subject.cls.offers_grid())
def _grid(subject: CheckedMethod) -> None:
    first = subject.cls(**subject.values)
    train = subject.task.train_for(first)
    values = [point for point in subject.grid_points if subject.cls(**point).told == first.told]
    points = [subject.cls(**point) for point in values]
    count = 0
    for count, point in enumerate(subject.cls.fit_grid(points, train, Context(SEED)), 1):
        given = values[count - 1]
        require(point is points[count - 1], "fit_grid must yield its points, in order.")
        alone = subject.cls(**given)
        same = params.current_values(point) == params.current_values(alone)
        require(same, "fit_grid changes the parameters of a point.")
        scores = subject.scored if given == subject.values else subject.score(alone.fit(train, Context(SEED)))
        same = np.array_equal(subject.score(point), scores)
        require(same, f"the point {given} scores differently in a grid than alone.")
    require(count == len(points), f"fit_grid yields {count} of {len(points)} points.")


@CONTRACT.check("global random state untouched")
def _global(subject: CheckedMethod) -> None:
    touched = subject.again[1]
    require(not touched, f"it draws from or seeds the global generator of {', '.join(touched)}; draw from ctx.")


@CONTRACT.check("pickles after fit")
def _pickle(subject: CheckedMethod) -> None:
    subject.require_same(pickle.loads(pickle.dumps(subject.fitted)), "its scores differ after pickling.")


@CONTRACT.check("refit forgets")
def _refit(subject: CheckedMethod) -> None:
    copy = pickle.loads(pickle.dumps(subject.refitted))
    subject.require_same(copy, "an earlier fit on other data changes the scores.")


@CONTRACT.check("scoring twice gives the same scores")
def _idempotent(subject: CheckedMethod) -> None:
    subject.fitted.scores(subject.task.features[:3], subject.task.train.classes)
    again = _score_unseen(subject.fitted, subject.task)
    require(
        np.array_equal(subject.scored_unseen, again), "the second call of scores does not return the same as the first."
    )


@CONTRACT.check("scoring does not change the method")
def _stateless(subject: CheckedMethod) -> None:
    before = pickle.dumps(subject.refitted)
    subject.refitted.scores(subject.task.features[:3], subject.task.unseen)
    same = pickle.dumps(subject.refitted) == before
    require(
        same,
        "scores changes the method; one fit answers several queries, and no answer may depend on an earlier query.",
    )


@CONTRACT.check(
    "synthesised features depend only on the classes, and making them changes nothing",
    applies=lambda subject: subject.cls.offers_synthesis(),
)
def _synthesis(subject: CheckedMethod) -> None:
    task, method = subject.task, subject.refitted  # the check before this one made sure that it is unchanged
    before = pickle.dumps(method)
    synthesised = method.synthesise(task.unseen, 3)
    wanted = (len(task.unseen), 3, task.features.shape[1])
    require(
        isinstance(synthesised, np.ndarray),
        f"its synthesised features are a {type(synthesised).__name__}, not a NumPy array.",
    )
    require(synthesised.shape == wanted, f"its synthesised features have shape {synthesised.shape}, not {wanted}.")
    require(np.isfinite(synthesised).all(), "its synthesised features are not all finite.")
    reversed_ = method.synthesise(task.unseen.take(_BACKWARDS), 3)
    require(
        np.array_equal(reversed_[::-1], synthesised),
        "a second call, with the classes reversed, synthesises different features.",
    )
    require(pickle.dumps(method) == before, "synthesise changes the method.")


@CONTRACT.check("checkpoints leave the result unchanged")
def _checkpoints(subject: CheckedMethod) -> None:
    judged: list[int] = []

    def judge(method: Method, step: int) -> None:
        judged.append(step)
        if len(judged) <= 2:
            require(np.isfinite(subject.score(method)).all(), f"scores at checkpoint {step} are not all finite.")

    method = subject.fit(subject.task, Context(SEED, judge=judge))
    subject.require_same(method, "judging it during training changes the final scores.")


@CONTRACT.check("beats chance on an easy task")
def _easy(subject: CheckedMethod) -> None:
    accuracy = _unseen_accuracy(subject.scored_unseen, subject.task)
    why = f"it recognises {accuracy:.0%} of unseen rows, but up to {BOUND:.0%} can be chance"
    require(
        accuracy > BOUND,
        f"{why}; a higher score must mean a likelier class; else give it parameters with which it learns the task.",
    )


@CONTRACT.check("falls to chance when the semantics are shuffled")
def _canary(subject: CheckedMethod) -> None:
    accuracy = subject.of_shuffled[1]
    why = f"it recognises {accuracy:.0%} of unseen rows although the semantics are unrelated to them: a leak."
    require(accuracy <= BOUND, why)
