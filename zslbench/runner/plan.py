"""Plans: which runs a request means, each named by its meaning."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench import params
from zslbench.data.dataset import Dataset
from zslbench.data.loading import load_dataset
from zslbench.errors import BadValue, ZslbenchError
from zslbench.identity import canonical_json, digest
from zslbench.methods.base import Method, MethodCard, overlay
from zslbench.protocols.base import Protocol
from zslbench.protocols.splits import STAGES, Stage, split
from zslbench.registry import METHODS, PROTOCOLS
from zslbench.results.record import SCHEMA
from zslbench.spec import Spec, brackets, expand, parse

DEFAULT_PROTOCOLS = ("zsl", "gzsl")
_MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class DatasetRef:
    """A data set as a plan names it, and how to load it again (in another process, too).

    Attributes:
        text, root: what `load_dataset` is called with, beside features and semantics.
        name, features, semantics, fingerprint, origin: of the loaded data set.
    """

    text: str
    root: Path | None
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: str

    def load(self) -> Dataset:
        """Load the data set (the last two stay in memory)."""
        return _loaded(self.text, self.features, self.semantics, self.root)


@functools.lru_cache(maxsize=2)
def _loaded(text: str, features: str | None, semantics: str | None, root: Path | None) -> Dataset:
    return load_dataset(text, features=features, semantics=semantics, root=root)


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of a study: a method on a data set under a protocol, in one stage, with one seed."""

    method: str
    label: str
    params: Mapping[str, Any]
    version: int
    setting: str
    dataset: DatasetRef
    protocol: str
    protocol_params: Mapping[str, Any]
    protocol_version: int
    stage: Stage
    fold: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """Return what the run means: everything that may change its numbers, and nothing else."""
        return {
            "schema": SCHEMA,
            "method": {"name": self.method, "version": self.version, "params": dict(self.params)},
            "dataset": {
                "name": self.dataset.name,
                "features": self.dataset.features,
                "semantics": self.dataset.semantics,
                "fingerprint": self.dataset.fingerprint,
                "origin": self.dataset.origin,
            },
            "protocol": {
                "name": self.protocol,
                "version": self.protocol_version,
                "params": dict(self.protocol_params),
            },
            "stage": self.stage,
            "fold": self.fold,
            "seed": self.seed,
        }

    @functools.cached_property
    def id(self) -> str:
        """16 hex digits of the sha256 of the canonical JSON of `identity`."""
        return digest(self.identity())

    @property
    def fit_key(self) -> str:
        """Runs with equal keys differ in the protocol only, so one fit serves them all."""
        return canonical_json({key: value for key, value in self.identity().items() if key != "protocol"})

    @property
    def grid_key(self) -> str:
        """Runs with equal keys differ in protocol and hyper-parameters only: points of a grid on the same data."""
        kept = {key: value for key, value in self.identity().items() if key not in ("protocol", "method")}
        return canonical_json({**kept, "method": [self.method, self.version]})

    @property
    def seeds_key(self) -> str:
        """Runs with equal keys differ in protocol and seed only."""
        return canonical_json({key: value for key, value in self.identity().items() if key not in ("protocol", "seed")})

    def __str__(self) -> str:
        stage = "" if self.stage == "final" else f" dev{self.fold}"
        return f"{self.label} {self.dataset.name} {self.protocol}{stage} seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Runs in order, without repetition, and remarks for the user."""

    runs: tuple[Run, ...]
    remarks: tuple[str, ...] = ()


def plan(
    methods: Sequence[str],
    datasets: Sequence[str],
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    features: str | None = None,
    semantics: str | None = None,
    seeds: Sequence[int] = (0,),
    stage: Stage = "final",
    fold: int = 1,
    data_root: Path | None = None,
) -> Plan:
    """Return the runs of every method on every data set under every protocol with every seed.

    Grids in a spec stand for one method (or protocol) a point. A method that does not depend on the seed is planned
    with seed 0 only: any other would be the same run again. Everything that can be wrong with the request is found
    here, before any work.

    Raises:
        ZslbenchError: an unknown name, a value out of range, data that is missing or bad.
    """
    _check_request(methods, datasets, protocols, seeds, stage)
    chosen_methods = [spec for text in methods for spec in expand(parse(text))]
    chosen_protocols = [spec for text in protocols for spec in expand(parse(text))]
    for spec in chosen_methods:
        _checked(spec)  # a misspelt method should not wait for data to load
    runs: list[Run] = []
    once: dict[str, None] = {}
    for ref in _dataset_refs(datasets, features, semantics, data_root):
        if stage == "dev":
            split(ref.load(), stage, fold)
        for spec in chosen_methods:
            found = method_class(spec.name)
            used = seeds if found.card.stochastic else (0,)
            if list(used) != list(seeds):
                once[f"{spec.name} does not depend on the seed: it runs with seed 0 only."] = None
            for seed in used:
                runs += [_run(spec, found, ref, rules, stage, fold, seed) for rules in chosen_protocols]
    return Plan(tuple({run.id: run for run in runs}.values()), tuple(once))


def _check_request(
    methods: Sequence[str], datasets: Sequence[str], protocols: Sequence[str], seeds: Sequence[int], stage: str
) -> None:
    for what, given in (("method", methods), ("dataset", datasets), ("protocol", protocols), ("seed", seeds)):
        if not given:
            raise BadValue(f"no {what} was given; name at least one with --{what}.")
    for seed in seeds:
        if not 0 <= seed <= _MAX_SEED:
            raise BadValue(f"seed {seed} is not allowed; choose a whole number from 0 to {_MAX_SEED}.")
    if stage not in STAGES:
        raise BadValue(f"stage {stage!r} does not exist; choose one of: {', '.join(STAGES)}.")


def _dataset_refs(
    datasets: Sequence[str], features: str | None, semantics: str | None, root: Path | None
) -> list[DatasetRef]:
    texts = [str(point) for text in datasets for point in _points(text)]
    refs = []
    for text in texts:
        found = _loaded(text, features, semantics, root)
        refs.append(
            DatasetRef(
                text, root, found.name, found.features_name, found.semantics_name, found.fingerprint, found.origin
            )
        )
    return refs


def _points(text: str) -> list[Spec]:
    return [Spec(text)] if Path(text).is_dir() else expand(parse(text))


def method_class(name: str) -> type[Method]:
    """Return the class of a method by registered name or ``pkg.module:Class``.

    Raises:
        ZslbenchError: an unknown or unavailable name, or something that is not a method.
    """
    found = METHODS.load(name)
    if not issubclass(found, Method):
        raise BadValue(f"{name!r} is not a method; name a subclass of zslbench.methods.base.Method.")
    if not isinstance(getattr(found, "card", None), MethodCard) or not dataclasses.is_dataclass(found):
        raise BadValue(
            f"method {name!r} is not complete: it must be a dataclass with card = MethodCard(…); "
            "zslbench.checks.check_method says what else is asked of it."
        )
    return found


def protocol_class(name: str) -> type[Protocol]:
    """Return the class of a protocol by registered name or ``pkg.module:Class`` (raises like `method_class`)."""
    found = PROTOCOLS.load(name)
    if not issubclass(found, Protocol):
        raise BadValue(f"{name!r} is not a protocol; name a subclass of zslbench.protocols.base.Protocol.")
    return found


def _built(cls: type[Method], name: str, values: Mapping[str, Any]) -> Method:
    """Build the method once, so that a constructor that raises is found before any work."""
    try:
        return cls(**values)
    except ZslbenchError:
        raise
    except Exception as error:
        raise BadValue(f"method {name!r} cannot be made with these parameters ({error}); mend it or them.") from error


def _checked(spec: Spec) -> None:
    params.resolve(method_class(spec.name), spec.name, spec.params)


def _run(
    spec: Spec,
    cls: type[Method],
    ref: DatasetRef,
    rules: Spec,
    stage: Stage,
    fold: int,
    seed: int,
) -> Run:
    protocol = protocol_class(rules.name)
    if rules.presets:
        raise BadValue(f"protocol {str(rules)!r} names a preset; protocols have none, write {rules.name!r}.")
    rules_name = PROTOCOLS.entry(rules.name).name
    base = overlay(cls, spec.name, spec.presets, ref.name, rules_name)
    before = params.resolve(cls, spec.name, base)
    after = params.resolve(cls, spec.name, base | dict(spec.params))
    shown = {name: value for name, value in after.items() if value != before[name]}
    name = METHODS.entry(spec.name).name
    tags = sorted(spec.presets, key=lambda tag: tag in cls.ablations)  # as they are laid over each other
    label = name + "".join(f"@{tag}" for tag in tags) + brackets(shown)
    return Run(
        method=name,
        label=label,
        params=after,
        version=cls.card.version,
        setting=str(_built(cls, name, after).setting),
        dataset=ref,
        protocol=rules_name,
        protocol_params=params.resolve(protocol, rules.name, rules.params),
        protocol_version=protocol.card.version,
        stage=stage,
        fold=0 if stage == "final" else fold,
        seed=seed,
    )
