"""`Run`: a method on a data set under a protocol, named by its meaning; runs that share a fit form a `Job`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zslbench.data import array_store
from zslbench.data.dataset import Dataset, Origin
from zslbench.data.loading import file_stamps, load_dataset, locate
from zslbench.data.splits import Stage
from zslbench.errors import BadData
from zslbench.identity import canonical_json, digest
from zslbench.results.records.record import SCHEMA, validation
from zslbench.runner.class_lookup import method_class
from zslbench.visible import name_data, name_run

MOST_AT_ONCE = 8
"""Fits that are trained at once: their weights and both of their Adams are in memory together."""
KEEP_EVERY = 300.0
"""Seconds of training after which its state is kept: writing one takes up to a second or two."""
_DATASET_KEYS = ("name", "features", "semantics", "fingerprint", "origin")


@dataclasses.dataclass(frozen=True)
class DatasetRef:
    """A data set as a plan names it, and how to load it again (in another process, too).

    Attributes:
        text, root: what `load_dataset` is called with, beside features and semantics.
        name, features, semantics, fingerprint, origin, split, first_class: of the loaded data set.
        own_folder, data_root: absolute paths of where it was read from (see `data.loading.locate`).
        with_stems: whether progress names its features and semantics: a plan has several of the data set.
    """

    text: str
    root: Path | None
    name: str
    features: str
    semantics: str
    fingerprint: str
    origin: Origin
    split: str = ""
    first_class: int = 0
    own_folder: str = ""
    data_root: str = ""
    with_stems: bool = False

    @property
    def shown_name(self) -> str:
        """The name in listings and progress, where needed with features and semantics."""
        return name_data(self.name, self.features, self.semantics) if self.with_stems else self.name

    def load(self, narrow: bool = False) -> Dataset:
        """Return the data set as it was when the plan was made, from the store of arrays.

        The caller lets go of it as soon as it can: it holds the labels of the test. `narrow`: with one column of its
        features, for what needs none. BadData says that its content is another by now, or on this machine.
        """
        kept = {name: getattr(self, name) for name in ("name", "features", "semantics", "origin", "split")}
        return array_store.load_arrays(self.folder(), narrow=narrow, **kept)

    def folder(self) -> Path:
        """Return the folder of its arrays in the store; the source is read only where they are not there yet."""
        if (folder := array_store.find_arrays(self.fingerprint)) is not None:
            return folder
        dataset = load_dataset(self.text, features=self.features, semantics=self.semantics, root=self.root)
        if dataset.fingerprint != self.fingerprint:
            raise BadData(
                f"{self.text} has the content {dataset.fingerprint} here, and {self.fingerprint} where the run was "
                "planned; give both the same files."
            )
        return array_store.store_arrays(dataset)


def dataset_ref(text: str, features: str | None, semantics: str | None, root: Path | None) -> DatasetRef:
    """Return what a plan keeps of the data set that a text names; its arrays are in the store afterwards.

    The last two are remembered while their files do not change: a search plans again for each trial.
    """
    return _dataset_ref(text, features, semantics, root, (Path.cwd(), file_stamps(text, root)))


@functools.lru_cache(maxsize=32)
def _dataset_ref(text: str, features: str | None, semantics: str | None, root: Path | None, _: object) -> DatasetRef:
    dataset = load_dataset(text, features=features, semantics=semantics, root=root)
    array_store.store_arrays(dataset)
    choice = dataset.name, dataset.features_name, dataset.semantics_name
    own_folder, data_root = locate(text, dataset, root)
    return DatasetRef(
        text,
        root,
        *choice,
        dataset.fingerprint,
        dataset.origin,
        dataset.split,
        dataset.first_class,
        own_folder,
        data_root,
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """A method on a data set under a protocol, in one stage, with one seed.

    That a tuned preset gave its hyper-parameters (`selection` is validated) is part of its identity: the same values
    typed by hand are another run, since nothing chose them. Which preset it was is recorded only, and so is what its
    `fit` is `told`: it receives that and no more, since a mark may depend on it.
    """

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
    selection: str = "fixed"
    tuned: str = ""
    one_scale: bool = True
    told: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Return what the run means: everything that may change its numbers, and whether its values were validated."""
        return {
            "schema": SCHEMA,
            "method": {"name": self.method, "version": self.version, "params": dict(self.params)},
            "dataset": {key: getattr(self.dataset, key) for key in _DATASET_KEYS},
            "protocol": {
                "name": self.protocol,
                "version": self.protocol_version,
                "params": dict(self.protocol_params),
            },
            "stage": self.stage,
            "fold": self.fold,
            "seed": self.seed,
            **validation(self.selection),
        }

    @functools.cached_property
    def id(self) -> str:
        """16 hex digits of the sha256 of the canonical JSON of `identity`."""
        return digest(self.identity())

    def key_without(self, *varying: str) -> str:
        """Return a text that is equal for runs that differ in some of protocol, params and seed only."""
        identity = self.identity()
        flat = {**identity, **identity["method"]}
        return canonical_json({key: value for key, value in flat.items() if key not in ("method", *varying)})

    def __str__(self) -> str:
        return str(Job((self,)))


@dataclasses.dataclass(frozen=True)
class StateKeeping:
    """Where the states of trainings are kept, so that a fit that was killed can go on.

    Attributes:
        root: the folder of records, absolute; states are kept below it while it exists.
        every: seconds of training after which a state is written.
        resume: whether a fit goes on from a state; else the state is removed.
    """

    root: Path
    every: float
    resume: bool = True


@dataclasses.dataclass(frozen=True)
class RunConditions:
    """How runs are done (see `zslbench.run`): nothing of it is part of what they mean.

    Attributes:
        checkpoint_every: judge a method while it trains, every so many epochs; 0: never.
        states: where the states of trainings are kept; None: nowhere.
    """

    device: str = "auto"
    checkpoint_every: int = 0
    precision: str = "float32"
    profile: bool = False
    keep_features: int = 0
    save_model: bool = False
    states: StateKeeping | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One fit and the runs that it serves."""

    runs: tuple[Run, ...]
    how: RunConditions = dataclasses.field(default_factory=RunConditions)

    @property
    def first(self) -> Run:
        """The run that stands for what all runs of the job share."""
        return self.runs[0]

    @property
    def key(self) -> str:
        """What names it: the ids of its runs, in their order."""
        return " ".join(run.id for run in self.runs)

    @functools.cached_property
    def training_key(self) -> str:
        """What its training means: of its hyper-parameters, those that only scoring reads are left out."""
        run = self.first
        read_later = method_class(run.method).scoring
        trained = {name: value for name, value in run.params.items() if name not in read_later}
        return run.key_without("protocol", "params") + canonical_json(trained)

    def __str__(self) -> str:
        run = self.first
        rules = [served.protocol for served in self.runs]
        return name_run(run.label, run.dataset.shown_name, rules, run.stage, run.fold, run.seed)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Jobs to be done together: points of a grid, or seeds, whose method fits them all at once; else a single one."""

    jobs: tuple[Job, ...]

    @property
    def first(self) -> Job:
        """The job that stands for what all of the batch share: method, data, stage, seed, device."""
        return self.jobs[0]

    def keeping(self, states: StateKeeping) -> Batch:
        """Return it with the states of its trainings kept."""
        how = dataclasses.replace(self.first.how, states=states)
        return Batch(tuple(dataclasses.replace(job, how=how) for job in self.jobs))

    def trained_with(self, job: Job) -> list[Job]:
        """Return the jobs that the training of one of them serves, in order.

        These are all seeds that train at once; of a grid, the points that differ only in what scoring reads.
        """
        if len({each.first.seed for each in self.jobs}) > 1:
            return list(self.jobs)
        return [each for each in self.jobs if each.training_key == job.training_key]


def group_into_batches(
    runs: Iterable[Run], how: RunConditions | None = None, seeds_at_once: bool = False
) -> list[Batch]:
    """Return the fits that runs need, in batches, in order of first appearance.

    Jobs of a method that offers a grid go together when they differ in hyper-parameters only, and with `seeds_at_once`
    those of a method that offers several seeds when they differ in the seed only, up to eight. Of those that are judged
    while they train only such go together as share one training, because they differ in what `scores` alone reads.
    """
    how = how or RunConditions()
    by_fit: dict[str, list[Run]] = {}
    for run in runs:
        by_fit.setdefault(run.key_without("protocol"), []).append(run)
    grouped: dict[str, list[Job]] = {}
    for served in by_fit.values():
        job, cls = Job(tuple(served), how), method_class(served[0].method)
        if not how.checkpoint_every and seeds_at_once and cls.offers_seeds():
            key = job.first.key_without("protocol", "seed")
        elif cls.offers_grid():
            key = job.training_key if how.checkpoint_every else job.first.key_without("protocol", "params")
            key += f" {job.first.told}"  # a point must not be handed what only others are told
        else:
            key = job.first.key_without("protocol")
        grouped.setdefault(key, []).append(job)
    batches = []
    for jobs in grouped.values():
        most = MOST_AT_ONCE if len({job.first.seed for job in jobs}) > 1 else len(jobs)
        batches += [Batch(tuple(jobs[start : start + most])) for start in range(0, len(jobs), most)]
    return batches
