"""What is to be run, and how (`RunOptions`, the same for all verbs); plan files; and the runs that these mean."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct, structs

from zslbench import params
from zslbench.data.splits import STAGES, Stage, class_folds, split
from zslbench.data.xlsa17 import FEATURES, SEMANTICS
from zslbench.documents import check_table, read_toml
from zslbench.errors import BadValue, ZslbenchError
from zslbench.identity import expand_home
from zslbench.methods.base import Method, overlay
from zslbench.registry import METHODS, PROTOCOLS
from zslbench.results.records.store import ResultStore, data_options, runs_option
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore, TunedPreset, change_since, check_fits
from zslbench.runner.class_lookup import built, checked_told, method_class, protocol_class
from zslbench.runner.executors import Executor, engine
from zslbench.runner.jobs import Batch, DatasetRef, Run, RunConditions, dataset_ref, group_into_batches
from zslbench.runner.resources import check_device, choose_precision, devices
from zslbench.runner.run_states import reuse_finished_run
from zslbench.sources import source_of
from zslbench.spec import Spec, brackets, expand, parse
from zslbench.visible import join_words, name_data, names_of_several

Precision = Literal["float32", "tf32", "bf16", "auto"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SeedsAtOnce = Literal["auto", "always", "never"]
DEFAULT_PROTOCOLS = ("zsl", "gzsl")
STUDY = "study"
MOST_SEEDS = 10_000
_MAX_SEED = 2**32 - 1

_Text = Annotated[str, Meta(description="a text")]
_Words = Annotated[Sequence[str], Meta(min_length=1)]
_Texts = Annotated[str | _Words, Meta(description="a text or a list of texts")]
_Number = Annotated[int, Meta(ge=1)]
_Numbers = Annotated[Sequence[int], Meta(min_length=1)]
_Way: TypeAlias = tuple[RunConditions, SeedsAtOnce]
_Flag = Annotated[bool, Meta(description="true or false")]


class RunOptions(Struct, frozen=True):
    """What is run, and how: the arguments of `zslbench.run` of the same names, and the keys of a study in a plan."""

    methods: _Texts = ()
    datasets: _Texts = ()
    protocols: _Texts = DEFAULT_PROTOCOLS
    features: _Texts | None = None
    semantics: _Texts | None = None
    seeds: Annotated[_Number | _Numbers, Meta(description="how many seeds, or a list of them such as [0, 1, 2]")] = 1
    stage: Annotated[Stage, Meta(description=f"one of {', '.join(STAGES)}")] = "final"
    fold: Annotated[int | _Numbers | None, Meta(description="a fold, or a list of folds")] = None
    data_root: _Text | None = None
    checkpoints: Annotated[str, Meta(description='last or every:N, such as "every:10"')] = "last"
    seeds_at_once: Annotated[SeedsAtOnce, Meta(description="one of auto, always, never")] = "auto"
    precision: Annotated[Precision, Meta(description=f"one of {', '.join(PRECISIONS)}")] = "float32"
    profile: _Flag = False
    oracle: _Flag = False
    calibrate: _Flag = False
    keep_features: Annotated[int, Meta(ge=0, description="a number of rows per class, 0 for none")] = 0
    save_model: _Flag = False

    def how(self, device: str) -> RunConditions:
        """Return how the runs are to be done on a device (BadValue: one of the options is not allowed)."""
        every = re.fullmatch(r"last|every:0*([1-9][0-9]*)", self.checkpoints)
        if every is None:
            raise BadValue(
                f"checkpoints {self.checkpoints!r} is not allowed; write last, or every:N with N of at least 1."
            )
        check_device(device)
        for name, allowed in (("precision", PRECISIONS), ("seeds_at_once", get_args(SeedsAtOnce))):
            if getattr(self, name) not in allowed:
                raise BadValue(f"{name} {getattr(self, name)!r} is not allowed; choose one of: {', '.join(allowed)}.")
        precision = choose_precision(device) if self.precision == "auto" else self.precision
        if self.precision == "tf32" and (device in ("cpu", "mps") or not _has_gpu()):
            raise BadValue("precision 'tf32' needs a CUDA device; choose float32 or bf16, or another device.")
        if self.keep_features < 0:
            raise BadValue(
                f"keep_features={self.keep_features} is not allowed; give a number of rows a class, or 0 for none."
            )
        kept = self.keep_features, self.save_model
        return RunConditions(device, int(every[1] or 0), precision, self.profile, *kept)

    def refuse_beside(self, plan: str) -> None:
        """Refuse anything asked for beside a plan file, which says what is run (BadValue: it names what was given)."""
        usual = RunOptions()
        given = [name for name in self.__struct_fields__ if getattr(self, name) != getattr(usual, name)]
        if given:
            raise BadValue(
                f"{', '.join(given)} cannot be combined with the plan {plan}, which says what is run; write it "
                "into the plan, or leave the plan out."
            )


def as_text_list(given: str | Sequence[str]) -> list[str]:
    """Return one text or several as a list."""
    return [given] if isinstance(given, str) else list(given)


def _has_gpu() -> bool:
    return any(name.startswith("cuda") for name in devices())


class PlanFileKeys(Struct, frozen=True):
    """What only the top of a plan file may say: where and by what everything is run."""

    runs: _Text | None = None
    device: _Text | None = None
    engine: _Text | None = None
    workers: Annotated[_Number | Literal["auto"] | None, Meta(description="a number, or auto")] = None
    time_limit: _Text | None = None
    memory_limit: _Text | None = None
    scheduler: _Text | None = None
    engine_config: _Text | None = None


class StudyPlan(Struct, frozen=True):
    """One or several studies that are run together: what a plan file says.

    Attributes:
        studies: by the name of each.
        path: the file; None where the study was typed.
        runs: the folder of records, device: where it is run; None where the plan does not say.
        engine: words for `zslbench.engine`, by the plan's keys; empty where the plan does not say.
    """

    studies: Mapping[str, RunOptions]
    path: Path | None = None
    runs: Path | None = None
    device: str | None = None
    engine: Mapping[str, Any] = {}

    def make_engine(self, device: str) -> Executor:
        """Return the engine that the plan names (see `zslbench.engine` for what is raised)."""
        words = dict(self.engine)
        return engine(words.pop("engine", None), device=device, config=words.pop("engine_config", None), **words)


def read_plan(path: Path | str) -> StudyPlan:
    """Read a plan file. Paths in it are relative to the file.

    Raises:
        BadValue: the file cannot be read, is not TOML, or has a value that is not allowed.
        UnknownName: a key that does not exist.
    """
    path = Path(path)
    top = read_toml(path, "plan", "docs/how-to/plans.md")
    tables = top.pop(STUDY, [{}])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BadValue(f"{path}: {STUDY} must be tables; write [[{STUDY}]] above the keys of each.")
    check_table(top, (RunOptions, PlanFileKeys), str(path))
    shared = {key: value for key, value in top.items() if key in RunOptions.__struct_fields__}
    whole = {key: value for key, value in top.items() if key not in shared}
    folder = Path(os.path.abspath(path.parent))  # noqa: PTH100  (links stay as they were written)
    studies: dict[str, RunOptions] = {}
    for number, table in enumerate(tables, start=1):
        name = table.pop("name", f"study {number}")
        where = f"{path}, study {number}" if len(tables) > 1 else str(path)
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name in studies:
            raise BadValue(f"{where}: name is {name!r}; write a text that no other study has.")
        for key in table:
            if key in PlanFileKeys.__struct_fields__:
                raise BadValue(f"{where}: {key} holds for the whole file; write it above the first [[{STUDY}]].")
        check_table(table, (RunOptions,), where)
        for key in ("methods", "datasets"):
            if key not in shared | table:
                raise BadValue(f'{where}: it names no {key}; write {key} = ["…"], there or at the top of the file.')
        options = RunOptions(**shared | table)
        root = str(folder / expand_home(options.data_root)) if options.data_root else None
        datasets = [_locate_dataset(text, folder) for text in as_text_list(options.datasets)]
        studies[name] = structs.replace(options, datasets=datasets, data_root=root)
    for key in ("runs", "engine_config"):
        if key in whole:
            whole[key] = str(folder / expand_home(whole[key]))
    runs, device = whole.pop("runs", None), whole.pop("device", None)
    return StudyPlan(studies, path, Path(runs) if runs else None, device, whole)


def _locate_dataset(text: str, folder: Path) -> str:
    head = text.partition("[")[0]
    is_path = "/" in head or "\\" in head or head.strip() in (".", "..", "~")
    return str(folder / expand_home(text)) if is_path else text


@dataclasses.dataclass(frozen=True)
class Plan:
    """Runs in order, without repetition, remarks for the user, and methods of which seeds were asked in vain."""

    runs: tuple[Run, ...]
    remarks: tuple[str, ...] = ()
    unseeded: tuple[str, ...] = ()


def plan(options: RunOptions, tuned: PresetStore | None = None) -> Plan:
    """Return the runs of every method on every data set under every protocol with every seed.

    Grids in a spec stand for one method (or protocol) a point. A method that does not depend on the seed is planned
    with seed 0 only. ``NAME@tuned`` has its values in `tuned`. A ZslbenchError says what is wrong, before any work.
    """
    if isinstance(options.seeds, int) and options.seeds > MOST_SEEDS:
        raise BadValue(f"{options.seeds} seeds are not allowed; choose from 1 to {MOST_SEEDS}, or name them.")
    protocols = as_text_list(options.protocols)
    planner = _Planner(options, tuned)
    if planner.folds is not None and options.stage == "final" and not options.calibrate:
        names = ", ".join(map(str, planner.folds))
        raise BadValue(f"fold {names} belongs to the dev stage; add --stage dev, or leave the fold out.")
    parts: list[tuple[Stage, Sequence[str]]] = [(options.stage, protocols)]
    if options.calibrate:
        generalized = [text for text in protocols if parse(text).name.casefold() == "gzsl"]
        if not generalized:
            raise BadValue(
                "--calibrate moves seen against unseen classes, which "
                f"{', '.join(protocols)} never compares; add -p gzsl."
            )
        parts.append(("dev", generalized[:1]))
    once: dict[str, Run] = {}
    store = None if tuned is None else ResultStore(tuned.root)
    for stage, rules in parts:
        for run in planner.runs(stage, rules):
            again = run if store is None else reuse_finished_run(run, store)
            once.setdefault(again.id, again)
    return Plan(tuple(once.values()), tuple(planner.remarks), tuple(planner.unseeded))


class _Planner:
    """Makes the runs of one request.

    Attributes:
        remarks: what the user should know, as keys; unseeded: the methods of which other seeds than 0 were asked for.
    """

    def __init__(self, options: RunOptions, tuned: PresetStore | None) -> None:
        self.options, self.tuned = options, tuned
        self.folds = [options.fold] if isinstance(options.fold, int) else options.fold
        self.seeds = list(range(options.seeds)) if isinstance(options.seeds, int) else list(options.seeds)
        self.remarks: dict[str, None] = {}
        self.unseeded: dict[str, None] = {}
        for seed in self.seeds:
            if not 0 <= seed <= _MAX_SEED:
                raise BadValue(f"seed {seed} is not allowed; choose a whole number from 0 to {_MAX_SEED}.")
        if options.stage not in STAGES:
            raise BadValue(f"stage {options.stage!r} does not exist; choose one of: {', '.join(STAGES)}.")

    def runs(self, stage: Stage, protocols: Sequence[str]) -> Iterator[Run]:
        options = self.options
        methods, datasets = as_text_list(options.methods), as_text_list(options.datasets)
        features: list[str | None] = [None] if options.features is None else [*as_text_list(options.features)]
        semantics: list[str | None] = [None] if options.semantics is None else [*as_text_list(options.semantics)]
        asked = {
            "method": methods, "dataset": datasets, "features": features, "semantics": semantics,
            "protocol": protocols, "seed": self.seeds, "fold": self.folds,
        }  # fmt: skip
        for kind, values in asked.items():
            if values is not None and not values:
                raise BadValue(f"no {kind} was given; name at least one with --{kind}.")
        specs = [spec for text in methods for spec in expand(parse(text))]
        rules = [spec for text in protocols for spec in expand(parse(text))]
        for spec in specs:  # a misspelt method should not wait for data to load
            params.resolve(method_class(spec.name), spec.name, spec.params)
        root = Path(options.data_root) if options.data_root else None
        for text in datasets:
            points = [Spec(text)] if Path(text).is_dir() else expand(parse(text))
            for point, of_images, of_classes in itertools.product(points, features, semantics):
                ref = dataset_ref(str(point), of_images, of_classes, root)
                self._remark_on_files(ref)
                folds = self._dev_folds(ref) if stage == "dev" else (0,)
                for spec in specs:
                    seeds = self.seeds if method_class(spec.name).card.stochastic else [0]
                    if seeds != self.seeds:
                        self.unseeded[spec.name] = None
                    runs = [self._run(spec, ref, protocol, stage) for protocol in rules]
                    for fold in folds:
                        for seed in seeds:
                            yield from (dataclasses.replace(run, fold=fold, seed=seed) for run in runs)

    def _remark_on_files(self, ref: DatasetRef) -> None:
        """Say so where a folder's only features or semantics, which are not the usual ones, were taken unasked."""
        for option, given, taken, usual in (
            ("features", self.options.features, ref.features, FEATURES),
            ("semantics", self.options.semantics, ref.semantics, SEMANTICS),
        ):
            if given is None and taken != usual and ref.origin in ("catalogue", "own"):
                self.remarks[f"{ref.name} has no {option} {usual}; its only {option}, {taken}, are used."] = None

    def _dev_folds(self, ref: DatasetRef) -> Sequence[int]:
        dataset = ref.load()
        folds = range(1, len(class_folds(dataset)) + 1) if self.folds is None else self.folds
        for fold in folds:
            split(dataset, "dev", fold)
        return folds

    def _run(self, spec: Spec, ref: DatasetRef, rules: Spec, stage: Stage) -> Run:
        cls, protocol = method_class(spec.name), protocol_class(rules.name)
        if rules.presets:
            raise BadValue(f"protocol {str(rules)!r} names a preset; protocols have none, write {rules.name!r}.")
        name, rules_name = METHODS.entry(spec.name).name, PROTOCOLS.entry(rules.name).name
        presets = self._tuned_presets(spec, cls, name, ref, rules_name)
        values = {tag: preset.values for tag, preset in presets.items()}
        base = overlay(cls, spec.name, spec.presets, ref.name, rules_name, values)
        before = params.resolve(cls, spec.name, base)
        after = params.resolve(cls, spec.name, base | dict(spec.params))
        shown = {key: value for key, value in after.items() if value != before[key]}
        as_tuned = next((preset for preset in presets.values() if dict(preset.values) == after), None)
        tags = sorted(spec.presets, key=lambda tag: tag in cls.ablations)  # as they are laid over each other
        method = built(cls, name, after)
        told = checked_told(method, name)
        validated = as_tuned is not None and stage == "final"
        # true frequencies are made of test labels; and except under zsl the answer has which rows are of unseen classes
        answered = "class_prior" in told or ("unlabelled" in told and rules_name != "zsl")
        oracle = self.options.oracle or (answered and stage == "final")
        return Run(
            method=name,
            label=name + "".join(f"@{tag}" for tag in tags) + brackets(shown),
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
            selection="oracle" if oracle else "validated" if validated else "fixed",
            tuned=as_tuned.id if as_tuned else "",
            one_scale=method.one_scale,
            told=told,
        )

    def _tuned_presets(
        self, spec: Spec, cls: type[Method], name: str, ref: DatasetRef, protocol: str
    ) -> dict[str, TunedPreset]:
        """Return the tuned presets among those that a spec names; what was tuned must fit this method and data."""
        presets, store = {}, self.tuned
        here = name, ref.name, ref.features, ref.semantics, protocol

        def tune_command(method: str, preset: str) -> str:
            words = ["zslbench", "tune", method]
            words += data_options(ref.text, ref.origin, ref.features, ref.semantics, ref.root)
            words += ["-p", protocol] + ([] if preset == DEFAULT_NAME else ["--name", preset])
            return shlex.join(words + ([] if store is None else runs_option(store.root)))

        for preset in spec.presets:
            if preset in cls.presets or preset in cls.ablations:
                continue
            tuned = store.find(preset, *here) if store else None
            if tuned is not None:
                given = parse(tuned.given)
                # what was tuned from an earlier preset of that name cannot start from it again
                anew = dataclasses.replace(given, presets=tuple(tag for tag in given.presets if tag != preset))
                again = tune_command(str(anew), preset)
                check_fits(tuned, cls.card.version, ref.fingerprint, again)
                if change := change_since(tuned, cls.card.version, source_of(cls).digest):
                    self.remarks[f"§ {name}@{preset}: {change}; tune again: {again}"] = None
                presets[preset] = tuned
            elif preset == DEFAULT_NAME:
                where = f" in {store.root}" if store else ""
                raise BadValue(
                    f"{spec.name}@{preset} has no values for {name_data(ref.name, ref.features, ref.semantics)} "
                    f"under {protocol}{where}; make them: {tune_command(spec.name, preset)}"
                )
            elif store:  # none is of this name: `overlay` names the others
                presets |= {other.name: other for other in store.load() if store.find(other.name, *here) == other}
        return presets


@dataclasses.dataclass(frozen=True)
class RunGroup:
    """Runs, in the order of the plan, that are done in the same way."""

    how: RunConditions
    seeds_at_once: SeedsAtOnce
    runs: tuple[Run, ...]

    def batches(self, ids: Container[str]) -> list[Batch]:
        """Return the batches in which those of the runs that have these ids are to be done.

        ``auto`` does several seeds at once where there are some, their method offers it, and the device is a GPU.
        """
        todo = [run for run in self.runs if run.id in ids]
        together = self.seeds_at_once == "always"
        if self.seeds_at_once == "auto" and self.how.device != "cpu":
            counts = Counter(
                run.key_without("protocol", "seed") for run in todo if method_class(run.method).offers_seeds()
            )
            together = max(counts.values(), default=0) > 1 and _has_gpu()
        return group_into_batches(todo, self.how, together)


def plan_study(study: StudyPlan, runs: Path, device: str) -> tuple[list[RunGroup], list[str]]:
    """Return the runs of all studies of a plan by the way they are done, and remarks for the user.

    A run that several studies mean is done in the way of the first. `runs` is the folder of records, with its tuned
    presets. An error names the plan file, and the study in it, that asks for what cannot be.
    """
    by_way: dict[_Way, list[Run]] = {}
    seen: set[str] = set()
    remarks: dict[str, None] = {}
    unseeded: dict[str, None] = {}
    for name, options in study.studies.items():
        try:
            way = options.how(device), options.seeds_at_once
            planned = plan(options, PresetStore(runs))
        except ZslbenchError as error:
            if study.path is None:
                raise
            where = f"{study.path}, {name}" if len(study.studies) > 1 else str(study.path)
            refused = BadValue(f"{where}: {error}")
            for note in getattr(error, "__notes__", ()):
                refused.add_note(note)
            raise refused from None
        by_way.setdefault(way, []).extend(run for run in planned.runs if run.id not in seen)
        seen |= {run.id for run in planned.runs}
        remarks |= dict.fromkeys(planned.remarks)
        unseeded |= dict.fromkeys(planned.unseeded)
    if unseeded:
        does, it_runs = ("does", "it runs") if len(unseeded) == 1 else ("do", "they run")
        remarks[f"{join_words([*unseeded])} {does} not depend on the seed: {it_runs} with seed 0 only."] = None
    return [RunGroup(*way, tuple(part)) for way, part in _name_stems(by_way).items()], list(remarks)


def _name_stems(by_way: Mapping[_Way, Sequence[Run]]) -> dict[_Way, list[Run]]:
    """Return the runs such that names of data sets contain features and semantics where a plan has several of one."""
    refs = dict.fromkeys(run.dataset for part in by_way.values() for run in part)
    several = names_of_several((ref.name, ref.features, ref.semantics) for ref in refs)
    named = {ref: dataclasses.replace(ref, with_stems=ref.name in several) for ref in refs}
    return {way: [dataclasses.replace(run, dataset=named[run.dataset]) for run in part] for way, part in by_way.items()}
