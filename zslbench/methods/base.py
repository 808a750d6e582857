"""`Method`: the interface of every ZSL method, with its card, presets and ablations."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import enum
import math
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np

from zslbench import params, seeding
from zslbench.arrays import AnyArray, Array
from zslbench.errors import BadValue, ZslbenchError, nearest
from zslbench.loss_curve import LossCurve
from zslbench.registry import METHODS
from zslbench.step_reports import TRAINING, report_progress
from zslbench.task import ClassTable, Train


class Setting(enum.StrEnum):
    """What a method uses of the unseen classes before it predicts."""

    INDUCTIVE = "inductive"
    """No semantics of unseen classes in fit."""
    SEMANTIC = "semantic"
    """Semantics of unseen classes known in fit, as `train.unseen`."""
    TRANSDUCTIVE = "transductive"
    """Unlabelled test features are used (marked ‡)."""


@dataclasses.dataclass(frozen=True)
class MethodCard:
    """What lists, pages and records show of a method.

    Attributes:
        title: the name in print (``LisGAN``).
        citation: the key of the paper.
        reference: authors, venue, year.
        version: 1 unless given; raise it when a change alters results. It is part of a run's identity.
        setting: with the default parameters, inductive unless given; `Method.setting` gives that of an instance.
        stochastic: whether results depend on the seed, as they do unless given. Others are run with one seed only.
        formula: the model in one line of plain text.
        differences: sentences, each on one difference from the paper or its public code.
    """

    title: str
    summary: str
    citation: str
    reference: str
    version: int = 1
    setting: Setting = Setting.INDUCTIVE
    stochastic: bool = True
    formula: str = ""
    differences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Preset:
    """Hyper-parameters with their source, such as a paper: for every data set and protocol, or by (dataset, protocol).

    If there are `cells`, the preset exists only for their pairs.
    """

    source: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cells: Mapping[tuple[str, str], Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def resolve(self, label: str, dataset: str, protocol: str) -> dict[str, Any]:
        """Return the values for one data set and protocol.

        Raises:
            BadValue: the preset says nothing about this pair.
        """
        if self.cells and (dataset, protocol) not in self.cells:
            pairs = ", ".join(sorted({f"{name}/{rules}" for name, rules in self.cells}))
            raise BadValue(
                f"{label} has no values for data set {dataset!r} under {protocol!r}; it has: {pairs}; "
                "choose one of these, or another preset."
            )
        return dict(self.values) | dict(self.cells.get((dataset, protocol), {}))


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a training set: rows, dimensions of features and of semantics, classes in the table."""

    images: int
    features: int
    semantics: int
    classes: int

    @classmethod
    def of(cls, train: Train) -> Self:
        """Return the size of a training set."""
        return cls(len(train.features), train.features.shape[1], train.classes.semantics.shape[1], len(train.classes))


@dataclasses.dataclass
class Cost:
    """The seconds that a piece of work took, in all and by phase, and the losses that it logged."""

    seconds: float = 0.0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    losses: LossCurve = dataclasses.field(default_factory=LossCurve)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A named choice of parameter values, for instance one of LisGAN's S1 to S4."""

    values: Mapping[str, Any]
    help: str


class StateKeeper(Protocol):
    """Keeps the state of a training, so that a fit that was killed can go on from it; the runner passes one."""

    def begin(self, conditions: Mapping[str, str]) -> tuple[Mapping[str, AnyArray], Mapping[str, Any]] | None:
        """Return the arrays and notes that were kept last; None: the training begins anew.

        Args:
            conditions: what the numbers depend on besides the method and its data. A state of others is not used.
        """

    def refuse(self, why: str) -> None:
        """Forget what `begin` returned, which cannot be used, and tell the user."""

    def due(self) -> bool:
        """Return whether it is time to keep a state."""

    def keep(self, arrays: Mapping[str, AnyArray], notes: Mapping[str, Any], step: int, total: int) -> None:
        """Keep a state in place of the one before: arrays, and notes that JSON can hold."""


Judge: TypeAlias = "Callable[[Method, int], None]"
"""Called by `Context.checkpoint` with the method and the step, so that the runner can judge it while it trains."""


class Context:
    """What a method receives besides data: random streams, the device, a log, and checkpoints.

    Args:
        seed: of all random streams.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        on_log: receives (step, total, values) from `log`.
        judge: receives the method at each checkpoint. It must not lead to the test labels: the runner passes an object
            that holds a number, not the answers.
        precision: of matrix products while a generative method trains: ``float32``, ``tf32`` or ``bf16``.
        profile: whether phases wait for the device, so that each is charged with its own work.
        keeper: keeps the state of the training; None: nobody does.

    Attributes:
        seconds: wall-clock seconds by phase, including those charged.
        shared: seconds that were charged for work that another fit had already done.
        apart: whether work that can be shared was measured, so that each fit of a grid can be charged with it.
        losses: what was logged, thinned, including the losses of charged work.
    """

    def __init__(
        self,
        seed: int = 0,
        device: str = "cpu",
        on_log: Callable[[int, int, Mapping[str, float]], None] | None = None,
        judge: Judge | None = None,
        *,
        precision: str = "float32",
        profile: bool = False,
        keeper: StateKeeper | None = None,
    ) -> None:
        self.keeper = keeper
        self.seed, self.device, self.precision, self.profile = seed, device, precision, profile
        self._on_log, self._judge = on_log, judge
        self.seconds: dict[str, float] = {}
        self.shared, self.apart = 0.0, False
        self._steps_reported = False
        self.losses = LossCurve()

    @property
    def judged(self) -> bool:
        """Whether checkpoints are judged."""
        return self._judge is not None

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the NumPy random stream for one purpose (``init``, ``batches``, ``noise``, ``classifier``, …)."""
        return seeding.stream(self.seed, purpose)

    def stream_seed(self, purpose: str) -> int:
        """Return a 63-bit seed for one purpose, for torch or scikit-learn."""
        return seeding.stream_seed(self.seed, purpose)

    def log(self, step: int, total: int, beside: Mapping[str, float] | None = None, **values: float) -> None:
        """Report that `step` of `total` epochs (or iterations) are done, with the losses to show.

        The values in `beside` are shown too, but are not losses: the record does not keep them.
        """
        self.losses.add(step, values)
        if self._on_log:
            self._on_log(step, total, values | dict(beside or {}))

    def progress(self, step: int, total: int, phase: str = TRAINING) -> bool:
        """Report that `step` of `total` training steps (batches, not epochs) are done; see `report_progress`.

        If it returns True, the fit is only being timed: end the loop.
        """
        self._steps_reported = True
        return report_progress(phase, step, total)

    def checkpoint(self, method: Method, step: int) -> None:
        """Offer the runner a moment at which `method` may be judged. Nothing is returned."""
        if self._judge:
            self._judge(method, step)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall-clock seconds of the enclosed block to phase `name` of the record."""
        if name not in self.seconds and not self._steps_reported:
            report_progress(name)
        start, shared = self._now(self.profile), self.shared
        try:
            yield
        finally:
            spent = self._now(self.profile) - start + self.shared - shared
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    @contextlib.contextmanager
    def measured(self) -> Iterator[Cost]:
        """Yield the cost of the enclosed block, complete after it, to charge other fits that use the result."""
        cost, before, shared, start = Cost(), dict(self.seconds), self.shared, self._now(wait=True)
        outer, self.losses = self.losses, cost.losses
        try:
            yield cost
        finally:
            outer.extend(cost.losses)
            self.losses = outer
        cost.seconds = self._now(wait=True) - start + self.shared - shared
        cost.phases = {
            name: value - before.get(name, 0.0) for name, value in self.seconds.items() if value != before.get(name)
        }
        self.apart = True

    def charge(self, cost: Cost) -> None:
        """Count work of another fit as if this one had done it: a run's seconds are those that it takes alone."""
        self.shared += cost.seconds
        self.losses.extend(cost.losses)
        for name, seconds in cost.phases.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _now(self, wait: bool) -> float:
        """Return the time; with `wait`, after the device has finished its work."""
        torch = sys.modules.get("torch")
        if wait and torch is not None:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize(self.device if self.device.startswith("cuda") else None)
            elif self.device in ("auto", "mps") and torch.backends.mps.is_available():
                torch.mps.synchronize()
        return time.perf_counter()


@dataclasses.dataclass(kw_only=True)
class Method(abc.ABC):
    """A ZSL method: keyword-only hyper-parameters as fields, `fit`, `scores`; names of fitted state end in ``_``."""

    card: ClassVar[MethodCard]
    presets: ClassVar[Mapping[str, Preset]] = {}
    ablations: ClassVar[Mapping[str, Ablation]] = {}
    ablations_build_up: ClassVar[bool] = False
    """Whether each ablation adds a part to the one before it; otherwise each removes a part of the method."""
    scoring: ClassVar[tuple[str, ...]] = ()
    """Hyper-parameters that only `scores` reads; `fit_grid` shares one fit among points that differ only in these, and
    all of them are judged at its checkpoints."""
    space: ClassVar[Mapping[str, params.Dimension]] = {}
    """What `zslbench tune` searches, by hyper-parameter: values to try, or a range. Where it is empty, every declared
    range and choice is searched."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules that `fit` or `scores` import: loaded before times are measured, since only the first fit loads them."""
    slow_from: ClassVar[float | None] = None
    """The `cost` from which a fit is worth the two seconds in which `run` measures some of its steps to say how long it
    takes; None: never. Its `fit` must call `Context.progress`, and end its loop where that says so."""
    shared_space: ClassVar[bool] = False
    """Whether it compares features with semantics as they are, so that both must be vectors of one space."""
    check_params: ClassVar[Mapping[str, Any]] = {}
    """Parameters with which `zslbench.checks.check_method` tries the method; a fit should take about a second."""

    def __post_init__(self) -> None:
        params.check_values(self)

    @property
    def setting(self) -> Setting:
        """The setting of this instance; override it if a parameter decides."""
        return self.card.setting

    @property
    def batchwise(self) -> bool:
        """Whether a row's scores may depend on the other rows of the batch."""
        return self.setting is Setting.TRANSDUCTIVE

    @property
    def told(self) -> tuple[str, ...]:
        """What `fit` receives besides seen classes: fields of `Train`.

        By default ``unseen`` in the semantic setting. A transductive method that learns from test images in `fit`
        overrides it and adds ``unlabelled``; with ``class_prior``, which is made of test labels, its results on the
        test images count as oracle (†).
        """
        return ("unseen",) if self.setting is Setting.SEMANTIC else ()

    @property
    def knows_unseen(self) -> bool:
        """Whether `fit` receives the unseen classes with their semantics."""
        return "unseen" in self.told

    @property
    def one_scale(self) -> bool:
        """Whether the scores of all rows are on one scale, which calibrated stacking and AUSUC require."""
        return True

    def phases(self) -> tuple[str, ...]:
        """Return the names of the phases that `fit` reports, in order: `run` shows which of how many it is in."""
        return ("fit",)

    def cost(self, size: Size) -> float | None:
        """Return a number to which the seconds of a fit are proportional; None: nothing is known of them.

        Estimates of time use it to scale from one training set, or one value of a hyper-parameter, to another. Only
        ratios matter: units times rows times epochs will do.
        """
        return None

    @abc.abstractmethod
    def fit(self, train: Train, ctx: Context) -> Self:
        """Learn from labelled images of seen classes and return self. Forget any earlier fit."""

    @classmethod
    def fit_grid(cls, points: Sequence[Self], train: Train, ctx: Context) -> Iterator[Self]:
        """Fit unfitted instances of this class to one training set; yield each, in order, as soon as it is fitted.

        Override it if points can share work, for instance a factorization: the runner then passes all points of a grid
        at once. Each point must be, to the bit, what its own `fit` makes it: a run must give the same number alone and
        in a grid. Keep no reference to a yielded point, so that one fit at a time is in memory. Do shared work in
        ``with ctx.measured() as cost:`` and call ``ctx.charge(cost)`` for each later point that uses it; the seconds of
        a grid that measures nothing are left out of comparisons.
        """
        for point in points:
            yield point.fit(train, ctx)

    @classmethod
    def fit_seeds(cls, points: Sequence[Self], train: Train, contexts: Sequence[Context]) -> Iterator[Self]:
        """Fit unfitted instances with equal parameters, each with its own context (seed); yield each, in order.

        Override it if a device can do several fits together: the runner then passes several seeds at once. Each point
        must be what its own `fit` makes it, up to rounding.
        """
        for point, ctx in zip(points, contexts, strict=True):
            yield point.fit(train, ctx)

    @classmethod
    def offers_seeds(cls) -> bool:
        """Return whether the class overrides `fit_seeds`, so that several seeds are best fitted together."""
        return cls.fit_seeds.__func__ is not Method.fit_seeds.__func__  # type: ignore[attr-defined]

    @classmethod
    def offers_grid(cls) -> bool:
        """Return whether the class overrides `fit_grid`, so that points of a grid are best fitted together."""
        return cls.fit_grid.__func__ is not Method.fit_grid.__func__  # type: ignore[attr-defined]

    @abc.abstractmethod
    def scores(self, features: Array, classes: ClassTable) -> Array:
        """Return (n, k) scores of (n, d) features for k candidate classes; a higher score means a likelier class.

        It is called any number of times after `fit`, with any candidates; equal arguments must give equal scores.
        """

    def synthesise(self, classes: ClassTable, per_class: int) -> Array:
        """Return (k, per_class, d) features that the fitted method generates for k classes; only figures use them.

        Optional: override it in a method that generates features. If the method keeps a
        `zslbench.methods.preprocess.Preprocessor` in `preprocessor_`, the features are preprocessed ones, otherwise
        they are in the space of the data set's features; real features are brought into the same space before both are
        drawn. Use a random stream that `scores` does not use. Equal arguments must give equal features, independent of
        the order of the classes, and the call must change nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} synthesises no features")

    @classmethod
    def offers_synthesis(cls) -> bool:
        """Return whether the class overrides `synthesise`, that is, generates features."""
        return cls.synthesise is not Method.synthesise


def fitted_state(method: Method) -> dict[str, Any]:
    """Return what `fit` has set on a method: the attributes whose names end in an underscore."""
    return {name: value for name, value in vars(method).items() if name.endswith("_")}


def report_losses(
    method: Method,
    ctx: Context,
    at: tuple[int, int],
    losses: Mapping[str, float],
    advice: str,
    unit: str = "in epoch",
    beside: Collection[str] = (),
) -> None:
    """Log the losses of a round of training and offer a checkpoint.

    Args:
        at: the round's number and how many there are.
        unit: the name of a round.
        advice: what to try if the loss diverges.
        beside: which of the values are not losses; they are shown and not kept.

    Raises:
        BadValue: a loss is not finite.
    """
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        loss = "the loss" if bad == ["loss"] else f"the loss {bad[0]!r}"
        raise BadValue(f"{type(method).__name__}: {loss} is not finite {unit} {at[0]}; {advice}.")
    step, total = at
    further = {name: losses[name] for name in losses if name in beside}
    ctx.log(step, total, further, **{name: value for name, value in losses.items() if name not in further})
    ctx.checkpoint(method, step)


def overlay(
    cls: type[Method],
    name: str,
    presets: tuple[str, ...],
    dataset: str,
    protocol: str,
    tuned: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the values of presets and ablations combined: first presets in order, then ablations in order.

    An ablation removes something from what the presets say, so ``lisgan@S1@paper`` means ``lisgan@paper@S1``. `tuned`
    holds the values of presets that are not part of the class.

    Raises:
        BadValue: a name that `cls` does not have, or a preset without values for this data set and protocol.
    """
    values: dict[str, Any] = {}
    for preset in presets:
        if preset in cls.presets:
            values |= cls.presets[preset].resolve(f"{name}@{preset}", dataset, protocol)
        elif tuned and preset in tuned:
            values |= tuned[preset]
        elif preset not in cls.ablations:
            raise _refuse_preset(cls, name, preset, tunable=bool(dataset), tuned=tuned or ())
    for preset in presets:
        if preset in cls.ablations:
            values |= cls.ablations[preset].values
    return values


def _refuse_preset(cls: type[Method], name: str, preset: str, tunable: bool, tuned: Iterable[str]) -> BadValue:
    """Return what to say of a preset that a method lacks: the nearest one, or those it has and who has this one."""
    given, known = f"unknown preset {preset!r} of method {name!r}", [*cls.presets, *cls.ablations, *tuned]
    if near := nearest(preset, known):
        return BadValue(f"{given}; did you mean {near!r}?")
    others = []
    for entry in METHODS:
        with contextlib.suppress(ZslbenchError):  # a plugin that cannot be imported has none to offer
            other: Any = entry.load()
            if preset in (*getattr(other, "presets", ()), *getattr(other, "ablations", ())):
                others.append(entry.name)
    choices = f"it has: {', '.join(known) or 'none'}"
    choices += f", and what `zslbench tune {name} … --name {preset}` would make" if tunable else ""
    of_others = f"; methods that have {preset}: {', '.join(others)}" if others else ""
    return BadValue(f"{given}; {choices}{of_others}.")
