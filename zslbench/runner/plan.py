"""Plans: which runs a request means, each named by its meaning."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from zslbench import params
from zslbench.errors import BadValue
from zslbench.methods.base import Method, overlay
from zslbench.protocols.splits import STAGES, Stage, class_folds, split
from zslbench.registry import METHODS, PROTOCOLS
from zslbench.results.records.presets import DEFAULT_NAME, Tuned, TunedStore, change_since, check_fits
from zslbench.runner.cells import DatasetRef, Run, dataset_ref
from zslbench.runner.classes import built, method_class, protocol_class
from zslbench.sources import source_of
from zslbench.spec import Spec, brackets, expand, parse

DEFAULT_PROTOCOLS = ("zsl", "gzsl")
_MAX_SEED = 2**32 - 1


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
    folds: Sequence[int] | None = None,
    data_root: Path | None = None,
    tuned: TunedStore | None = None,
    oracle: bool = False,
) -> Plan:
    """Return the runs of every method on every data set under every protocol with every seed.

    Grids in a spec stand for one method (or protocol) a point. A method that does not depend on the seed is planned
    with seed 0 only: any other would be the same run again. Everything that can be wrong with the request is found
    here, before any work.

    Args:
        folds: of the dev stage; None: all.
        tuned: where ``NAME@tuned`` finds its values.
        oracle: mark the runs as candidates of oracle selection.

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
        used_folds = _folds(ref, folds) if stage == "dev" else (0,)
        for spec in chosen_methods:
            found = method_class(spec.name)
            used = seeds if found.card.stochastic else (0,)
            if list(used) != list(seeds):
                once[f"{spec.name} does not depend on the seed: it runs with seed 0 only."] = None
            points = [_run(spec, found, ref, rules, stage, tuned, oracle, once) for rules in chosen_protocols]
            runs += [
                dataclasses.replace(point, fold=fold, seed=seed)
                for fold in used_folds
                for seed in used
                for point in points
            ]
    once_each: dict[str, Run] = {}
    for run in runs:
        if run.id not in once_each or run.selection == "validated":  # the same point typed by hand is validated, too
            once_each[run.id] = run
    return Plan(tuple(once_each.values()), tuple(once))


def _folds(ref: DatasetRef, asked: Sequence[int] | None) -> tuple[int, ...]:
    dataset = ref.load()
    chosen = range(1, len(class_folds(dataset)) + 1) if asked is None else asked
    for fold in chosen:
        split(dataset, "dev", fold)
    return tuple(chosen)


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
    return [dataset_ref(text, features, semantics, root) for text in texts]


def _points(text: str) -> list[Spec]:
    return [Spec(text)] if Path(text).is_dir() else expand(parse(text))


def _checked(spec: Spec) -> None:
    params.resolve(method_class(spec.name), spec.name, spec.params)


def _run(
    spec: Spec,
    cls: type[Method],
    ref: DatasetRef,
    rules: Spec,
    stage: Stage,
    tuned: TunedStore | None,
    oracle: bool,
    remarks: dict[str, None],
) -> Run:
    """Return the run of one point; `remarks` takes what is to be said of its presets."""
    protocol = protocol_class(rules.name)
    if rules.presets:
        raise BadValue(f"protocol {str(rules)!r} names a preset; protocols have none, write {rules.name!r}.")
    rules_name = PROTOCOLS.entry(rules.name).name
    name = METHODS.entry(spec.name).name
    found = _tuned(spec, cls, name, ref, rules_name, tuned, remarks)
    values = {preset: one.values for preset, one in found.items()}
    base = overlay(cls, spec.name, spec.presets, ref.name, rules_name, values)
    before = params.resolve(cls, spec.name, base)
    after = params.resolve(cls, spec.name, base | dict(spec.params))
    shown = {name: value for name, value in after.items() if value != before[name]}
    as_tuned = next((one for one in found.values() if dict(one.values) == after), None)
    tags = sorted(spec.presets, key=lambda tag: tag in cls.ablations)  # as they are laid over each other
    label = name + "".join(f"@{tag}" for tag in tags) + brackets(shown)
    method = built(cls, name, after)
    return Run(
        method=name,
        label=label,
        params=after,
        version=cls.card.version,
        setting=str(method.setting),
        dataset=ref,
        protocol=rules_name,
        protocol_params=params.resolve(protocol, rules.name, rules.params),
        protocol_version=protocol.card.version,
        stage=stage,
        fold=0,
        seed=0,
        selection="oracle" if oracle else "validated" if as_tuned and stage == "final" else "fixed",
        tuned=as_tuned.id if as_tuned else "",
        one_scale=method.one_scale,
    )


def _tuned(
    spec: Spec,
    cls: type[Method],
    name: str,
    ref: DatasetRef,
    protocol: str,
    store: TunedStore | None,
    remarks: dict[str, None],
) -> dict[str, Tuned]:
    """Return the tuned presets among those that a spec names.

    Raises:
        BadValue: ``NAME@tuned`` where nothing was tuned, or what was tuned does not fit this method or data.
    """
    found = {}
    for preset in spec.presets:
        if preset in cls.presets or preset in cls.ablations:
            continue
        one = store.find(preset, name, ref.name, ref.features, ref.semantics, protocol) if store else None
        if one is not None:
            given = parse(one.given)  # what was tuned from an earlier preset of that name cannot start from it again
            anew = dataclasses.replace(given, presets=tuple(tag for tag in given.presets if tag != preset))
            again = _tune_command(str(anew), preset, ref, protocol, store)
            check_fits(one, cls.card.version, ref.fingerprint, again)
            if change := change_since(one, cls.card.version, source_of(cls).digest):
                remarks[f"§ {name}@{preset}: {change}; tune again: {again}"] = None
            found[preset] = one
        elif preset == DEFAULT_NAME:
            where = f" in {store.root}" if store else ""
            raise BadValue(
                f"{spec.name}@{preset} has no values for {ref.name} ({ref.features}, {ref.semantics}) under "
                f"{protocol}{where}; make them: {_tune_command(spec.name, preset, ref, protocol, store)}"
            )
    return found


def _tune_command(method: str, preset: str, ref: DatasetRef, protocol: str, store: TunedStore | None) -> str:
    """Return the command that makes a preset, as it is to be typed."""
    words = ["zslbench", "tune", method, "-d", ref.text, "--features", ref.features, "--semantics", ref.semantics]
    words += [] if ref.root is None else ["--data-root", str(ref.root)]
    words += ["-p", protocol] + ([] if preset == DEFAULT_NAME else ["--name", preset])
    words += [] if store is None or store.root == Path("runs") else ["--runs", str(store.root)]
    return shlex.join(words)
