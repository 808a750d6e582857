"""`check_method`: what every method must hold to, tried on an easy task."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np

from zslbench import params, spec
from zslbench.arrays import IntArray
from zslbench.checks.easy import BOUND, EasyTask, easy_task, relabelled
from zslbench.checks.subject import SEED, Subject
from zslbench.contract import Contract, require, require_parameters, require_text
from zslbench.errors import BadValue
from zslbench.methods.base import Context, Method, MethodCard, Setting, overlay
from zslbench.registry import METHODS
from zslbench.task import ClassTable


def check_method(method: type[Method] | Method | str, **given: Any) -> list[str]:
    """Return the names of the checks that a method passes; raise at the first that it does not.

    Args:
        method: a class, an instance, or text as `zslbench run` takes it: ``eszsl``, ``eszsl[gamma=10]``,
            ``my_pkg.my_module:MyMethod``. A class and a text start from what the class declares as ``quick``.
        given: parameters to set, for instance fewer epochs.

    Raises:
        CheckFailed: the check that failed, and why.
        UnknownName, Unavailable, BadSpec, BadValue: no such method or parameter.
    """
    values: dict[str, Any] = {}
    if isinstance(method, str):
        parsed = spec.parse(method)
        cls: type[Method] = METHODS.load(parsed.name)
        values = dict(getattr(cls, "quick", {})) | overlay(cls, parsed.name, parsed.presets, "", "")
        values |= dict(parsed.params)
    elif isinstance(method, type):
        cls, values = method, dict(getattr(method, "quick", {}))
    else:
        cls, values = type(method), dict(params.values(method))
    return CONTRACT.run(Subject(cls, values | given), f"method {cls.__name__}")


def _is_stochastic(subject: Subject) -> bool:
    return subject.cls.card.stochastic


def _is_rowwise(subject: Subject) -> bool:
    return not subject.new().batchwise


def _offers_grid(subject: Subject) -> bool:
    return subject.cls.offers_grid()


def _offers_synthesis(subject: Subject) -> bool:
    return subject.cls.offers_synthesis()


def _columns(wanted: ClassTable, held: ClassTable) -> IntArray:
    return held.positions(wanted.ids)


def _reversed(classes: ClassTable) -> ClassTable:
    return classes.take(slice(None, None, -1))


def _unseen_accuracy(method: Method, task: EasyTask) -> float:
    rows = task.unseen_rows
    scores = method.scores(task.features[rows], task.unseen)
    return float((task.unseen.ids[scores.argmax(axis=1)] == task.labels[rows]).mean())


CONTRACT: Contract[Subject] = Contract()


@CONTRACT.check("is a method with keyword-only parameters")
def _class(subject: Subject) -> None:
    cls = subject.cls
    require(issubclass(cls, Method), "it is not a subclass of zslbench.methods.base.Method.")
    require("__dataclass_params__" in cls.__dict__, "it is not a dataclass; decorate it with dataclass(kw_only=True).")
    fields = [field.name for field in dataclasses.fields(cls) if not field.kw_only]
    require(not fields, f"{fields} are positional; decorate the class with dataclass(kw_only=True).")
    bare = [field.name for field in dataclasses.fields(cls) if "param" not in field.metadata]
    require(not bare, f"{bare} are fields without param(...): they would be missing from the identity of a run.")


@CONTRACT.check("default-constructible")
def _default(subject: Subject) -> None:
    require(isinstance(subject.cls(), Method), "calling it without arguments gives no method.")


@CONTRACT.check("card complete")
def _card(subject: Subject) -> None:
    card = getattr(subject.cls, "card", None)
    if not isinstance(card, MethodCard):
        require(False, "it has no card = MethodCard(...).")
        return
    require_text("card", title=card.title, summary=card.summary, citation=card.citation, reference=card.reference)
    require(isinstance(card.version, int) and card.version >= 1, f"its version is {card.version!r}, not 1 or more.")
    require(isinstance(card.setting, Setting), f"its setting is {card.setting!r}, not a Setting.")
    require(isinstance(card.stochastic, bool), f"stochastic is {card.stochastic!r}, not a bool.")
    agreed = subject.cls().setting is card.setting
    require(agreed, "its card names another setting than an instance with default parameters has.")


@CONTRACT.check("parameters round-trip and refuse what is out of range")
def _parameters(subject: Subject) -> None:
    require_parameters(subject.cls)


@CONTRACT.check("presets and ablations resolve")
def _presets(subject: Subject) -> None:
    cls = subject.cls
    for name, preset in cls.presets.items():
        require_text(f"preset {name!r}", source=preset.source)
        for pair in preset.cells or [("", "")]:
            cls(**preset.resolve(name, *pair))
    for name, ablation in cls.ablations.items():
        require_text(f"ablation {name!r}", help=ablation.help)
        cls(**ablation.values)
    clash = set(cls.presets) & set(cls.ablations)
    require(not clash, f"{sorted(clash)} name both a preset and an ablation.")


@CONTRACT.check("the search space lies within what the parameters allow")
def _space(subject: Subject) -> None:
    cls, known = subject.cls, params.declared(subject.cls)
    for name, dimension in cls.space.items():
        require(name in known, f"its space names {name!r}, which is no parameter.")
        require(
            isinstance(dimension, tuple | params.Between),
            f"its space of {name} is a {type(dimension).__name__}, not a tuple of values or a Between.",
        )
        try:
            found = known[name].dimension(dimension, cls.__name__)
        except BadValue as error:
            require(False, str(error))
        same = found == dimension and (isinstance(found, params.Between) or len(found) > 1)
        require(same, f"its space of {name} repeats a value, or has but one; list different values.")


@CONTRACT.check("fit returns self and leaves the parameters unchanged")
def _fit(subject: Subject) -> None:
    require(subject.fitted, "the fitted method is false in a condition; do not define its length.")


@CONTRACT.check("inputs not mutated")
def _inputs(subject: Subject) -> None:
    task, again = subject.task, easy_task()
    candidates = task.candidates
    subject.fitted.scores(task.features, candidates)
    for name, found, wanted in (
        ("training features", task.train.features, again.train.features),
        ("training labels", task.train.labels, again.train.labels),
        ("class ids", task.train.classes.ids, again.train.classes.ids),
        ("semantics", task.train.classes.semantics, again.train.classes.semantics),
        ("test features", task.features, again.features),
        ("original attributes", task.train.classes.original, again.train.classes.original),
        ("candidates", candidates.semantics, again.candidates.semantics),
        ("original attributes of candidates", candidates.original, again.candidates.original),
    ):
        assert found is not None
        assert wanted is not None
        require(np.array_equal(found, wanted) and not found.flags.writeable, f"it changes the {name}.")


@CONTRACT.check("scores finite and of the right shape")
def _shape(subject: Subject) -> None:
    task = subject.task
    single = task.unseen.take(slice(1))
    for name, classes in (
        ("all", task.candidates),
        ("unseen", task.unseen),
        ("seen", task.train.classes),
        ("one", single),
    ):
        for features in (task.features, task.features[:1]):
            scores = subject.fitted.scores(features, classes)
            wanted = (len(features), len(classes))
            kind = type(scores).__name__
            require(isinstance(scores, np.ndarray), f"scores are a {kind}, not a NumPy array ({name} candidates).")
            require(scores.shape == wanted, f"scores have shape {scores.shape}, not {wanted} ({name} candidates).")
            require(np.issubdtype(scores.dtype, np.floating), f"scores are {scores.dtype}, not floating point.")
            require(np.isfinite(scores).all(), f"scores are not all finite ({name} candidates).")


@CONTRACT.check("candidate order does not matter")
def _order(subject: Subject) -> None:
    task = subject.task
    turned = _reversed(task.candidates)
    found = subject.fitted.scores(task.features, turned)
    back = found[:, _columns(task.candidates, turned)]
    require(subject.close(back, subject.scored), "reversing the candidates changes the scores.")


@CONTRACT.check("class ids and the order of training classes do not matter")
def _ids(subject: Subject) -> None:
    task, other = subject.task, relabelled(subject.task, seed=1)
    rows = task.unseen_rows
    wanted = subject.fitted.scores(task.features[rows], task.unseen)
    found = subject.fit(other).scores(other.features[rows], other.unseen)
    # a class is found in the other table by its semantics, which relabelling keeps
    same = (task.unseen.semantics[:, None] == other.unseen.semantics[None]).all(axis=2).argmax(axis=1)
    require(subject.close(found[:, same], wanted), "renaming and reordering the classes changes the scores.")


@CONTRACT.check("rows independent", applies=_is_rowwise)
def _rows(subject: Subject) -> None:
    features, candidates = subject.task.features, subject.task.candidates
    order = np.arange(len(features))[::-1]
    half = len(features) // 2
    for name, rows in (("a row alone", order[:1]), ("half of the rows", order[:half]), ("the rows reversed", order)):
        found = subject.fitted.scores(features[rows], candidates)
        require(
            subject.close(found, subject.scored[rows]),
            f"scoring {name} gives other scores than scoring all rows; is `setting` transductive?",
        )


@CONTRACT.check("same seed, same bits on the CPU")
def _seed(subject: Subject) -> None:
    require(
        np.array_equal(subject.again[0], subject.scored),
        "two fits with one seed score differently; draw from ctx only.",
    )


@CONTRACT.check("the seed matters as the card says")
def _other_seed(subject: Subject) -> None:
    method = subject.fit(subject.task, Context(SEED + 1))
    other = method.scores(subject.task.features, subject.task.candidates)
    equal = np.array_equal(other, subject.scored)
    if _is_stochastic(subject):
        require(not equal, "its card says stochastic, but another seed gives the same scores.")
    else:
        require(equal, "its card says that it is not stochastic, but another seed gives other scores.")


@CONTRACT.check("one random stream a purpose", applies=_is_stochastic)
def _streams(subject: Subject) -> None:
    assert subject.fitted is not None
    twice = sorted({purpose for purpose in subject.opened if subject.opened.count(purpose) > 1})
    require(not twice, f"it opens {twice} more than once and draws the same numbers again; keep the stream.")


@CONTRACT.check("a grid gives what single fits give, to the bit", applies=_offers_grid)
def _grid(subject: Subject) -> None:
    task, values = subject.task, subject.grid_points
    points = [subject.cls(**point) for point in values]
    count = 0
    for wanted, point in zip(points, subject.cls.fit_grid(points, task.train, Context(SEED)), strict=False):
        require(point is wanted, "fit_grid yields something else than its points, in order.")
        alone = subject.cls(**values[count])
        require(params.values(point) == params.values(alone), "fit_grid changes the parameters of a point.")
        found = point.scores(task.features, task.candidates)
        wanted_scores = (
            subject.scored  # the same fit
            if values[count] == subject.values
            else alone.fit(task.train, Context(SEED)).scores(task.features, task.candidates)
        )
        same = np.array_equal(found, wanted_scores)
        require(same, f"the point {values[count]} scores differently in a grid than alone.")
        count += 1
    require(count == len(points), f"fit_grid yields {count} of {len(points)} points.")


@CONTRACT.check("global random state untouched")
def _global(subject: Subject) -> None:
    touched = subject.again[1]
    require(not touched, f"it draws from or seeds the global generator of {', '.join(touched)}; draw from ctx.")


@CONTRACT.check("pickles after fit")
def _pickle(subject: Subject) -> None:
    again = pickle.loads(pickle.dumps(subject.fitted))
    found = again.scores(subject.task.features, subject.task.candidates)
    require(np.array_equal(found, subject.scored), "it scores differently after pickling.")


@CONTRACT.check("refit forgets")
def _refit(subject: Subject) -> None:
    method = subject.fit(easy_task(seed=1))
    method.fit(subject.task.train, Context(SEED))
    found = method.scores(subject.task.features, subject.task.candidates)
    require(np.array_equal(found, subject.scored), "an earlier fit on other data changes the scores.")


@CONTRACT.check("scoring twice gives the same scores")
def _idempotent(subject: Subject) -> None:
    first = np.array(subject.fitted.scores(subject.task.features, subject.task.unseen))
    subject.fitted.scores(subject.task.features[:3], subject.task.train.classes)
    again = subject.fitted.scores(subject.task.features, subject.task.unseen)
    require(np.array_equal(first, again), "the second call of scores returns something else than the first.")


@CONTRACT.check("scoring leaves nothing behind")
def _stateless(subject: Subject) -> None:
    method = subject.fresh
    before = pickle.dumps(method)
    method.scores(subject.task.features[:3], subject.task.unseen)
    require(
        pickle.dumps(method) == before,
        "scores changes the method; one fit answers several queries, and none may learn from another.",
    )


@CONTRACT.check("what it synthesises depends on the classes alone and changes nothing", applies=_offers_synthesis)
def _synthesis(subject: Subject) -> None:
    task, method = subject.task, subject.fresh  # the check before this one has found it unchanged
    before = pickle.dumps(method)
    made = method.synthesise(task.unseen, 3)
    wanted = (len(task.unseen), 3, task.features.shape[1])
    require(isinstance(made, np.ndarray), f"what it synthesises is a {type(made).__name__}, not a NumPy array.")
    require(made.shape == wanted, f"what it synthesises has shape {made.shape}, not {wanted}.")
    require(np.isfinite(made).all(), "what it synthesises is not all finite.")
    turned = method.synthesise(_reversed(task.unseen), 3)
    require(np.array_equal(turned[::-1], made), "a second call, classes reversed, synthesises other rows.")
    require(pickle.dumps(method) == before, "synthesise changes the method.")


@CONTRACT.check("checkpoints leave the result unchanged")
def _checkpoints(subject: Subject) -> None:
    task = subject.task

    judged: list[int] = []

    def judge(method: Method, step: int) -> None:
        judged.append(step)
        if len(judged) > 2:
            return
        scores = method.scores(task.features, task.candidates)
        require(np.isfinite(scores).all(), f"scores at checkpoint {step} are not all finite.")

    found = subject.fit(task, Context(SEED, judge=judge)).scores(task.features, task.candidates)
    require(np.array_equal(found, subject.scored), "being judged while it trains changes the final scores.")


@CONTRACT.check("beats chance on an easy task")
def _easy(subject: Subject) -> None:
    found = _unseen_accuracy(subject.fitted, subject.task)
    require(
        found > BOUND,
        f"it recognises {found:.0%} of unseen rows, and {BOUND:.0%} is within chance; give it parameters that suffice.",
    )


@CONTRACT.check("falls to chance when the semantics are shuffled")
def _canary(subject: Subject) -> None:
    task = easy_task(shuffled=True)
    found = _unseen_accuracy(subject.fit(task), task)
    require(found <= BOUND, f"it recognises {found:.0%} of unseen rows although semantics say nothing of them: a leak.")
