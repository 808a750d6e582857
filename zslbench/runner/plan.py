"""Plans: which runs a request means, each named by its meaning."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from zslbench import params
from zslbench.data.splits import STAGES, Stage, class_folds, split
from zslbench.errors import BadValue, ZslbenchError
from zslbench.methods.base import Method, overlay
from zslbench.registry import METHODS, PROTOCOLS
from zslbench.results.records.presets import DEFAULT_NAME, PresetStore, TunedPreset, change_since, check_fits
from zslbench.results.records.record import Record
from zslbench.results.records.store import runs_option
from zslbench.runner.classes import built, method_class, protocol_class
from zslbench.runner.options import RunOptions, SeedsAtOnce, StudyPlan, texts
from zslbench.runner.resources import devices
from zslbench.runner.runs import Batch, DatasetRef, How, Run, batches, dataset_ref, jobs
from zslbench.runner.states import lacking
from zslbench.sources import source_of
from zslbench.spec import Spec, brackets, expand, parse

MOST_SEEDS = 10_000
_MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """Runs in order, without repetition, and remarks for the user."""

    runs: tuple[Run, ...]
    remarks: tuple[str, ...] = ()


def plan(options: RunOptions, tuned: PresetStore | None = None) -> Plan:
    """Return the runs of every method on every data set under every protocol with every seed.

    Grids in a spec stand for one method (or protocol) a point. A method that does not depend on the seed is planned
    with seed 0 only: any other would be the same run again. Everything that can be wrong with the request is found
    here, before any work.

    Args:
        tuned: where ``NAME@tuned`` finds its values.

    Raises:
        ZslbenchError: an unknown name, a value out of range, data that is missing or bad.
    """
    if isinstance(options.seeds, int) and options.seeds > MOST_SEEDS:
        raise BadValue(f"{options.seeds} seeds are not allowed; choose from 1 to {MOST_SEEDS}, or name them.")
    folds = [options.fold] if isinstance(options.fold, int) else options.fold
    if folds is not None and options.stage == "final" and not options.calibrate:
        names = ", ".join(map(str, folds))
        raise BadValue(f"fold {names} belongs to the dev stage; add --stage dev, or leave the fold out.")
    parts = [(options.stage, texts(options.protocols))]
    if options.calibrate:
        parts.append(("dev", [_generalized(texts(options.protocols))]))
    once: dict[str, Run] = {}
    remarks: dict[str, None] = {}
    for stage, protocols in parts:
        for run in _runs(options, stage, protocols, folds, tuned, remarks):
            if run.id not in once or run.selection == "validated":  # the same point typed by hand is validated, too
                once[run.id] = run
    return Plan(tuple(once.values()), tuple(remarks))


def _runs(
    options: RunOptions,
    stage: Stage,
    protocols: Sequence[str],
    folds: Sequence[int] | None,
    tuned: PresetStore | None,
    remarks: dict[str, None],
) -> Iterator[Run]:
    """Yield the runs of one stage; what the user should know is put into `remarks`."""
    seeds = list(range(options.seeds)) if isinstance(options.seeds, int) else list(options.seeds)
    methods, datasets = texts(options.methods), texts(options.datasets)
    _check_request(methods, datasets, protocols, seeds, stage)
    specs = [spec for text in methods for spec in expand(parse(text))]
    rules = [spec for text in protocols for spec in expand(parse(text))]
    for spec in specs:  # a misspelt method should not wait for data to load
        params.resolve(method_class(spec.name), spec.name, spec.params)
    root = Path(options.data_root) if options.data_root else None
    for point in [point for text in datasets for point in _points(text)]:
        ref = dataset_ref(str(point), options.features, options.semantics, root)
        used_folds = _folds(ref, folds) if stage == "dev" else (0,)
        for spec in specs:
            cls = method_class(spec.name)
            used = seeds if cls.card.stochastic else [0]
            if used != seeds:
                remarks[f"{spec.name} does not depend on the seed: it runs with seed 0 only."] = None
            runs = [_run(spec, cls, ref, protocol, stage, tuned, options.oracle, remarks) for protocol in rules]
            for fold in used_folds:
                for seed in used:
                    yield from (dataclasses.replace(run, fold=fold, seed=seed) for run in runs)


def _generalized(protocols: Sequence[str]) -> str:
    """Return the protocol among those asked for that has a seen–unseen curve to calibrate.

    Raises:
        BadValue: none of them has.
    """
    for text in protocols:
        if parse(text).name.casefold() == "gzsl":
            return text
    raise BadValue(
        f"--calibrate moves seen against unseen classes, which {', '.join(protocols)} never compares; add -p gzsl."
    )


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


def _points(text: str) -> list[Spec]:
    return [Spec(text)] if Path(text).is_dir() else expand(parse(text))


def _run(
    spec: Spec,
    cls: type[Method],
    ref: DatasetRef,
    rules: Spec,
    stage: Stage,
    tuned: PresetStore | None,
    oracle: bool,
    remarks: dict[str, None],
) -> Run:
    """Return the run of one point; `remarks` takes what is to be said of its presets."""
    protocol = protocol_class(rules.name)
    if rules.presets:
        raise BadValue(f"protocol {str(rules)!r} names a preset; protocols have none, write {rules.name!r}.")
    rules_name = PROTOCOLS.entry(rules.name).name
    name = METHODS.entry(spec.name).name
    presets = _tuned(spec, cls, name, ref, rules_name, tuned, remarks)
    values = {tag: preset.values for tag, preset in presets.items()}
    base = overlay(cls, spec.name, spec.presets, ref.name, rules_name, values)
    before = params.resolve(cls, spec.name, base)
    after = params.resolve(cls, spec.name, base | dict(spec.params))
    shown = {name: value for name, value in after.items() if value != before[name]}
    as_tuned = next((preset for preset in presets.values() if dict(preset.values) == after), None)
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
    store: PresetStore | None,
    remarks: dict[str, None],
) -> dict[str, TunedPreset]:
    """Return the tuned presets among those that a spec names.

    Raises:
        BadValue: ``NAME@tuned`` where nothing was tuned, or what was tuned does not fit this method or data.
    """
    presets = {}
    for preset in spec.presets:
        if preset in cls.presets or preset in cls.ablations:
            continue
        tuned = store.find(preset, name, ref.name, ref.features, ref.semantics, protocol) if store else None
        if tuned is not None:
            given = parse(tuned.given)  # what was tuned from an earlier preset of that name cannot start from it again
            anew = dataclasses.replace(given, presets=tuple(tag for tag in given.presets if tag != preset))
            again = _tune_command(str(anew), preset, ref, protocol, store)
            check_fits(tuned, cls.card.version, ref.fingerprint, again)
            if change := change_since(tuned, cls.card.version, source_of(cls).digest):
                remarks[f"§ {name}@{preset}: {change}; tune again: {again}"] = None
            presets[preset] = tuned
        elif preset == DEFAULT_NAME:
            where = f" in {store.root}" if store else ""
            raise BadValue(
                f"{spec.name}@{preset} has no values for {ref.name} ({ref.features}, {ref.semantics}) under "
                f"{protocol}{where}; make them: {_tune_command(spec.name, preset, ref, protocol, store)}"
            )
    return presets


def _tune_command(method: str, preset: str, ref: DatasetRef, protocol: str, store: PresetStore | None) -> str:
    """Return the command that makes a preset, as it is to be typed."""
    words = ["zslbench", "tune", method, "-d", ref.text, "--features", ref.features, "--semantics", ref.semantics]
    words += [] if ref.root is None else ["--data-root", str(ref.root)]
    words += ["-p", protocol] + ([] if preset == DEFAULT_NAME else ["--name", preset])
    words += [] if store is None else runs_option(store.root)
    return shlex.join(words)


@dataclasses.dataclass(frozen=True)
class Part:
    """Runs that are done in the same way.

    Attributes:
        how, seeds_at_once: the way.
        runs: in the order of the plan.
    """

    how: How
    seeds_at_once: SeedsAtOnce
    runs: tuple[Run, ...]

    def batches(self, ids: Container[str]) -> list[Batch]:
        """Return the batches in which those of the runs that have these ids are to be done."""
        todo = [run for run in self.runs if run.id in ids]
        return batches(jobs(todo, self.how), self.seeds_at_once == "always" or self._gains(todo))

    def _gains(self, todo: Sequence[Run]) -> bool:
        """Whether several seeds at once gain: there are some, their method offers it, and the device is a GPU."""
        if self.seeds_at_once != "auto" or self.how.device == "cpu":
            return False
        counts = Counter(run.seeds_key for run in todo if method_class(run.method).offers_seeds())
        return max(counts.values(), default=0) > 1 and any(name.startswith("cuda") for name in devices())

    def remarks(self, records: Mapping[str, Record | None]) -> list[str]:
        """Say in what the finished runs differ from how they would be done now."""
        return list(lacking([(run, records[run.id]) for run in self.runs], self.how))


@dataclasses.dataclass(frozen=True)
class Planned:
    """The runs of a whole study plan, without repetition, by the way they are done, and remarks for the user."""

    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Run]:
        """Every run."""
        return [run for part in self.parts for run in part.runs]


def plan_study(study: StudyPlan, runs: Path, device: str) -> Planned:
    """Return the runs of all studies of a plan; one that several mean is done in the way of the first.

    Args:
        runs: the folder of records, with its tuned presets.

    Raises:
        ZslbenchError: a request that cannot be met; that of a plan file is named.
    """
    by_way: dict[tuple[How, SeedsAtOnce], list[Run]] = {}
    seen: set[str] = set()
    remarks: dict[str, None] = {}
    for name, options in study.studies.items():
        try:
            way = options.how(device), options.seeds_at_once
            planned = plan(options, PresetStore(runs))
        except ZslbenchError as error:
            if study.path is None:
                raise
            where = f"{study.path}, {name}" if len(study.studies) > 1 else str(study.path)
            raise BadValue(f"{where}: {error}") from None
        by_way.setdefault(way, []).extend(run for run in planned.runs if run.id not in seen)
        seen |= {run.id for run in planned.runs}
        remarks |= dict.fromkeys(planned.remarks)
    return Planned(tuple(Part(*way, tuple(part)) for way, part in by_way.items()), tuple(remarks))
