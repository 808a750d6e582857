"""`status`: what the records lack, what is failed or stale, and the commands that fill it."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import zslbench
from zslbench.data.inventory import list_
from zslbench.errors import BadValue, StoreError
from zslbench.protocols.splits import STAGES, Stage
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.records.presets import TunedStore
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import check_format
from zslbench.runner.classes import import_typed
from zslbench.studies import fill
from zslbench.studies.folders import Folders
from zslbench.studies.meaning import Place
from zslbench.studies.survey import Survey, of_session, survey
from zslbench.studies.verify import Verification
from zslbench.studies.verify import verify as verified

FORMATS = ("terminal", "json")
VARIED = "run the same values where a method has others (only where they are meant to be the same)"


@dataclasses.dataclass(frozen=True)
class Command:
    """A shell command and what it is for."""

    purpose: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Status:
    """What `status` found.

    Attributes:
        survey: the span of the records and the state of each of its runs.
        commands: what to type, in order; replace: words in them that stand for what no record holds, with advice.
        stage: which is told of; others, oracle: records of the other stage, and oracle candidates: not in the span.
        versions: other versions of zslbench and how many records they made.
        broken: files that are no records, as sentences; altered: those that were changed by hand, so that their
            content is not that of their id. unread: whether a folder could not be read, whatever it holds.
        verification: of the metrics, where it was asked for.
        text: all of it, as asked for.
    """

    survey: Survey
    commands: tuple[Command, ...]
    replace: tuple[str, ...]
    others: int
    oracle: int
    stage: str
    versions: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    altered: tuple[Record, ...]
    unread: bool
    verification: Verification | None
    text: str = ""

    def __repr__(self) -> str:
        counts = Counter(self.survey.states.values())
        return f"<Status: {', '.join(f'{many} {state}' for state, many in counts.items()) or 'no runs'}>"

    @property
    def complete(self) -> bool:
        """Whether nothing lacks, failed or is stale; a method that has other values there does not lack."""
        states = (state for slot, state in self.survey.states.items() if slot not in self.survey.varied)
        return all(state == "done" for state in states) and not (self.survey.untuned or self.altered or self.unread)


def status(
    runs: Path | str = "runs",
    *,
    methods: str | Sequence[str] = (),
    datasets: str | Sequence[str] = (),
    protocols: str | Sequence[str] = (),
    stage: Stage = "final",
    seeds: int | None = None,
    verify: bool = False,
    format: str = "terminal",
    data_root: Path | str | None = None,
    width: int | None = None,
) -> Status:
    """Say what the records of a folder lack: every line on every data set under every protocol that they span.

    Args:
        runs: the folder of records.
        methods, datasets, protocols: which; a data set of your own may be given as its folder, which the commands
            then name.
        stage: final or dev; seeds: how many each method should have; None: as many as the one with the most.
        verify: recompute every metric from the stored predictions, of all stages.
        format: terminal or json.
        data_root: a folder of data sets, for the commands.
        width: characters of a line; None: the terminal's.

    Raises:
        BadValue: a name that no record has.
        StoreError: no records.
    """
    check_format(format, FORMATS)
    if stage not in STAGES:
        raise BadValue(f"stage {stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
    store = ResultStore(runs)
    every = store.load()
    if not every and not store.altered:
        raise StoreError(
            f"there are no runs in {store.root}; make some, for instance with "
            "`zslbench run --method eszsl --dataset digits`, or name their folder with --runs."
        )
    import_typed(_texts(methods), _texts(protocols))
    result = examine(
        store,
        every,
        _texts(methods),
        _texts(datasets),
        _texts(protocols),
        stage=stage,
        seeds=seeds,
        verify=verify,
        data_root=Path(data_root) if data_root else None,
    )
    from zslbench.studies import status_text

    text = status_text.as_json(result) if format == "json" else status_text.as_text(result, width)
    return dataclasses.replace(result, text=text)


def examine(
    store: ResultStore,
    every: Sequence[Record],
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    *,
    stage: Stage = "final",
    seeds: int | None = None,
    verify: bool = False,
    data_root: Path | None = None,
) -> Status:
    """Return what records that were read already lack, without the text; arguments as in `status`.

    Raises:
        BadValue: a name that no record has.
    """
    wanted = RecordFilter(methods, datasets, protocols, stage=None)
    wanted.check_terms(every, store.root)
    chosen = wanted.select(every)
    counted = [record for record in chosen if record.stage == stage and record.selection != "oracle"]
    tuned = TunedStore(store.root)
    altered = [record for record in store.altered if record.stage == stage and record.selection != "oracle"]
    folders = Folders(datasets)
    counted, beside = folders.on_their_content(counted)
    found = survey(counted, tuned, seeds, [*altered, *beside])
    commands, replace = _commands(found, tuned, store.root, stage, folders, data_root)
    return Status(
        survey=found,
        commands=commands,
        replace=replace,
        others=sum(record.stage != stage and record.selection != "oracle" for record in chosen),
        oracle=sum(record.selection == "oracle" for record in chosen),
        stage=stage,
        versions=_versions(counted),
        broken=tuple(reason for _, reason in store.broken),
        altered=tuple(altered),
        unread=any(path.is_dir() for path, _ in store.broken),
        verification=verified(store, chosen) if verify else None,
    )


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _versions(records: Sequence[Record]) -> tuple[tuple[str, int], ...]:
    found = Counter(str(record.provenance.get("zslbench", zslbench.__version__)) for record in records)
    return tuple(sorted((version, number) for version, number in found.items() if version != zslbench.__version__))


def _commands(
    found: Survey, tuned: TunedStore, runs: Path, stage: str, asked: Folders, root: Path | None
) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """Return what to type, and advice on the words in it that stand for folders."""
    here = functools.cache(lambda: {row.name: (row.features, row.semantics) for row in list_(root)})

    def elsewhere(place: Place) -> bool:
        features, semantics = here().get(place.dataset, ((), ()))
        return place.features not in features or place.semantics not in semantics

    words_for = {place: fill.placeholder(place, found.places) for place in found.places if place.origin == "own"}
    folders = {place: asked.of(place) or word for place, word in words_for.items()}
    where = fill.Where(runs, root, stage, folders, elsewhere)
    given = {(one.method, one.name): one.given for one in (tuned.load() if found.untuned else ())}
    said = [Command("tune first", text) for text in fill.tune_commands(found, where, given)]
    missing = [slot for slot in found.of("missing", "unfinished") if slot not in found.varied]
    for purpose, slots, rerun in (
        ("do what is missing", missing, ""),
        ("try again what failed", found.of("failed"), "failed"),
        ("do again what is stale", found.of("stale"), "stale"),
        (VARIED, [slot for slot in found.states if slot in found.varied], ""),
    ):
        known = [slot for slot in slots if slot.line not in found.unimportable and not of_session(slot.line)]
        said += [Command(purpose, text) for text in fill.commands(found, known, where, rerun)]
    words = " ".join(command.text for command in said)
    replace = [
        f"{word} stands for the folder of {found.names[place]}: records do not hold where your own data "
        "is. status writes it where it is named: -d FOLDER, beside a -d for each other data set."
        for place, word in words_for.items()
        if folders[place] == word and word in words
    ]
    if fill.DATA_ROOT_PLACEHOLDER in words:
        replace.append(
            f"{fill.DATA_ROOT_PLACEHOLDER} stands for the folder of xlsa17 folders that was read: a data set is not "
            "where zslbench looks by itself. With --data-root DIR, status writes it into the commands."
        )
    return tuple(said), tuple(replace)
