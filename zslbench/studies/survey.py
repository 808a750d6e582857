"""Which runs are expected in a folder of records, what its rows mean, and which of the runs are done, missing or stale.

Expected is what commands and plans asked for and what has a record, not every row on every data set.

A row's *meaning* on a data set is the method, version and parameters that its text stands for there, and whether a
tuned preset gave them.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from zslbench import params
from zslbench.errors import BadSpec, BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.identity import canonical_json
from zslbench.methods.base import Method, overlay
from zslbench.registry import METHODS
from zslbench.results.records.live_studies import RunningFit
from zslbench.results.records.record import Record
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore, is_replaced
from zslbench.runner.class_lookup import recorded_method
from zslbench.sources import SourceCheck, advise_on_folder, is_here
from zslbench.spec import brackets, parse_recorded
from zslbench.visible import name_data, title_data

ExpectedRunState = Literal["done", "stale", "failed", "unfinished", "running", "missing"]


@dataclasses.dataclass(frozen=True, order=True)
class DataChoice:
    """A data set with its features and semantics.

    Where its name alone does not find it again, since the data are the user's own by `origin`, `content` is their
    fingerprint: two folders may have one name.
    """

    dataset: str
    features: str
    semantics: str
    origin: str
    content: str = ""

    def __str__(self) -> str:
        return title_data(name_data(self.dataset, self.features, self.semantics))


@dataclasses.dataclass(frozen=True)
class Untuned:
    """The meaning of a row where a preset of this name is yet to be tuned."""

    preset: str


Meaning = str | Untuned | None
"""A row's method, version, parameters and whether these are tuned, as one text; None where a preset has no values."""


@dataclasses.dataclass(frozen=True, order=True)
class ExpectedRun:
    """One run that is expected: a row (the method as typed) on a data set, under a protocol, in a fold, with a seed."""

    row: str
    place: DataChoice
    protocol: str
    fold: int
    seed: int

    @property
    def where(self) -> tuple[DataChoice, str]:
        """The data and the protocol."""
        return self.place, self.protocol

    def __str__(self) -> str:
        fold = f" dev{self.fold}" if self.fold else ""
        return f"{self.row} {self.place} {self.protocol}{fold} seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Survey:
    """The runs that are expected and the state of each.

    Attributes:
        rows, places, protocols: of these runs.
        states: of every run; records: of those that have one.
        untuned: the preset that is yet to be tuned, by row, place and protocol.
        outdated: records of another version of their method, of values that their label stands for no more, or of
            other content of the data than the newest; replaced: those of a tuned preset that was tuned again since.
        unimportable: rows whose method cannot be imported here, with the reason.
    """

    rows: tuple[str, ...]
    places: tuple[DataChoice, ...]
    protocols: tuple[str, ...]
    states: Mapping[ExpectedRun, ExpectedRunState]
    records: Mapping[ExpectedRun, Record]
    untuned: Mapping[tuple[str, DataChoice, str], str]
    outdated: tuple[Record, ...]
    replaced: tuple[Record, ...]
    unimportable: Mapping[str, str]

    @functools.cached_property
    def names(self) -> Mapping[DataChoice, str]:
        """What each place is called: with the start of its content where another has the same name."""
        shared = collections.Counter(map(str, self.places))
        return {
            place: f"{place} {place.content[:8]}" if shared[str(place)] > 1 else str(place) for place in self.places
        }

    def of(self, *wanted: ExpectedRunState) -> list[ExpectedRun]:
        """Return the runs in one of these states, in order."""
        return [slot for slot, state in self.states.items() if state in wanted]

    def with_running(self, fits: Iterable[RunningFit]) -> Survey:
        """Return the survey with the runs of these fits as running, where they are not done."""
        running = {
            (fit.label, title_data(fit.dataset), protocol, fit.fold, fit.seed)
            for fit in fits
            for protocol in fit.protocols
        }

        def is_running(slot: ExpectedRun) -> bool:
            name, protocol = title_data(slot.place.dataset), slot.protocol.partition("[")[0]
            return any((slot.row, data, protocol, slot.fold, slot.seed) in running for data in (name, str(slot.place)))

        states = {
            slot: "running" if state != "done" and is_running(slot) else state for slot, state in self.states.items()
        }
        return dataclasses.replace(self, states=states)


def method_in(label: str) -> str:
    """Return the name of the method that a recorded label begins with."""
    return parse_recorded(label).name


def is_of_session(label: str) -> bool:
    """Return whether a row's method was defined in a script or notebook, where alone it can be run."""
    return method_in(label).startswith("__main__:")


def survey(
    records: Sequence[Record], tuned: PresetStore, seeds: int | None = None, beside: Sequence[Record] = ()
) -> Survey:
    """Return the runs that are expected of a stage, and the state of each.

    Expected are the runs of `records`, whatever their status, and of records `beside`, which do not count as done:
    runs that were asked for, and damaged records. With `seeds` each row is expected with as many seeds where it is
    expected at all; one with that many is complete, whatever their numbers.
    """
    asked: dict[tuple[str, DataChoice, str, int], set[int]] = collections.defaultdict(set)
    for record in (*records, *beside):
        asked[record.label, place_of(record), protocol_text(record), record.fold].add(record.seed)
    labels = sorted({label for label, *_ in asked}, key=lambda label: (len(label), label))
    places = sorted({place for _, place, _, _ in asked})
    protocols = sorted({protocol for _, _, protocol, _ in asked}, reverse=True)
    loaded, broken = load_classes(labels)
    newest = _index_newest_records(records, beside)
    final = any(record.stage == "final" for record in (*records, *beside))
    meanings = {
        (label, place, protocol): _meaning(label, loaded.get(label), place, protocol, newest, tuned, final)
        for label, place, protocol in itertools.product(labels, places, protocols)
    }
    kinds: dict[tuple[Meaning, ...], str] = {}
    row_of: dict[str, str] = {}
    for label in labels:  # the shortest of those that mean the same everywhere
        kind = tuple(meanings[label, *where] for where in itertools.product(places, protocols))
        if any(meaning is not None for meaning in kind):
            row_of[label] = kinds.setdefault(kind, label)
    rows = sorted(kinds.values())
    drawing = {record.label for record in (*records, *beside) if record.method.get("stochastic", True)}
    stochastic = {row: loaded[row].card.stochastic if row in loaded else row in drawing for row in rows}
    expected: dict[tuple[str, DataChoice, str, int], set[int]] = collections.defaultdict(set)
    for (label, place, protocol, fold), numbers in sorted(asked.items()):
        if label in row_of and meanings[label, place, protocol] is not None:
            expected[row_of[label], place, protocol, fold] |= numbers
    by_run = _index_newest_content(records)
    states: dict[ExpectedRun, ExpectedRunState] = {}
    kept: dict[ExpectedRun, Record] = {}
    check = SourceCheck()
    for (row, place, protocol, fold), numbers in sorted(expected.items()):
        done = by_run.get((meanings[row, place, protocol], place, protocol, fold), {})
        if not stochastic[row]:
            numbers = set(done) or {0}
        elif seeds is not None:
            numbers = numbers if len(done) >= seeds else numbers | set(range(seeds))
        for seed in sorted(done.keys() | numbers):
            slot = ExpectedRun(row, place, protocol, fold, seed)
            states[slot] = _state(done.get(seed), check)
            if seed in done:
                kept[slot] = done[seed]
    used, presets = {record.id for record in kept.values()}, tuned.load()
    unused = [record for record in records if record.id not in used]
    replaced = {record.id: record for record in unused if is_replaced(record, presets)}
    return Survey(
        rows=tuple(rows),
        places=tuple(places),
        protocols=tuple(protocols),
        states=states,
        records=kept,
        untuned={
            (row, place, protocol): meaning.preset
            for row, place, protocol, _ in expected
            if isinstance(meaning := meanings[row, place, protocol], Untuned)
        },
        outdated=tuple(record for record in unused if record.id not in replaced),
        replaced=tuple(replaced.values()),
        unimportable=broken,
    )


def _index_newest_records(records: Sequence[Record], beside: Sequence[Record]) -> Mapping[tuple[object, ...], Record]:
    """Return the newest record by label; by label, place and protocol; and by these and the version of the method.

    Of a label that only records `beside` have, what was asked for is all that is known.
    """
    newest: dict[tuple[object, ...], Record] = {}
    for record in sorted(records, key=finishing_time):
        made_at = record.label, place_of(record), protocol_text(record)
        newest |= dict.fromkeys([(record.label,), made_at, (*made_at, record.method.get("version", 1))], record)
    known = {record.label for record in records}
    for record in beside:
        if record.label not in known:
            newest |= dict.fromkeys([(record.label,), (record.label, place_of(record), protocol_text(record))], record)
    return newest


def _index_newest_content(records: Sequence[Record]) -> dict[tuple[Meaning, DataChoice, str, int], dict[int, Record]]:
    """Return the records by meaning, place, protocol and fold, then seed; of several the finished, then the newest.

    Left out are those on other content of the data than the newest record at the same place.
    """
    content = {place_of(record): record.dataset.get("fingerprint") for record in sorted(records, key=finishing_time)}
    by_run: dict[tuple[Meaning, DataChoice, str, int], dict[int, Record]] = collections.defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.ok, finishing_time(record))):
        place = place_of(record)
        if record.dataset.get("fingerprint") == content[place]:
            by_run[_recorded_meaning(record), place, protocol_text(record), record.fold][record.seed] = record
    return by_run


def _state(record: Record | None, check: SourceCheck) -> ExpectedRunState:
    if record is None:
        return "missing"
    if record.status in ("interrupted", "skipped"):
        return "unfinished"
    if not record.ok:
        return "failed"
    return "stale" if check.state(str(record.method["name"]), record.provenance) == "changed" else "done"


def place_of(record: Record) -> DataChoice:
    """Return where a record was made."""
    data = record.dataset
    origin = str(data.get("origin") or "own")
    content = data.get("fingerprint", "") if origin == "own" else ""
    return _place(*map(str, (data["name"], data.get("features", ""), data.get("semantics", ""), origin, content)))


_place = functools.lru_cache(1024)(DataChoice)
"""One object a place: it is asked for several times a record, and there are thousands."""


def protocol_text(record: Record) -> str:
    """Return a record's protocol as it is typed."""
    return str(record.protocol["name"]) + brackets(record.protocol.get("params") or {})


def finishing_time(record: Record) -> str:
    """Return when a record was made; later ones sort after."""
    return str(record.provenance.get("finished", ""))


def load_classes(labels: Iterable[str]) -> tuple[dict[str, type[Method]], dict[str, str]]:
    """Return the classes of labels as far as no import is needed for them, and why those that are not here cannot run.

    A label was read from a record, and to import a module for it would run whatever a stranger's record names.
    """
    loaded, broken = {}, {}
    for label in labels:
        try:
            name = method_in(label)
            cls = recorded_method(name)
            if cls is not None:
                loaded[label] = cls
            elif METHODS.entry(name) and not is_here(name.partition(":")[0]):
                module = name.partition(":")[0]
                broken[label] = f"there is no module {module!r} here; {advise_on_folder(module)}."
        except ZslbenchError as error:
            broken[label] = str(error)
    return loaded, broken


def _meaning(
    label: str,
    cls: type[Method] | None,
    place: DataChoice,
    rules: str,
    newest: Mapping[tuple[object, ...], Record],
    tuned: PresetStore,
    final: bool,
) -> Meaning:
    """Return what a label stands for at a place; without its class what its `newest` records say is all that is known.

    These are by label; by label, place and protocol; and by these and the method's version. `final`: in that stage,
    where values of a tuned preset count as validated.
    """
    spec, protocol = parse_recorded(label), parse_recorded(rules).name
    declared = () if cls is None else (*cls.presets, *cls.ablations)
    made = {
        preset: tuned.find(preset, spec.name, place.dataset, place.features, place.semantics, protocol)
        for preset in spec.presets
        if preset not in declared
    }
    if cls is not None:
        for name, preset in made.items():
            if preset is None or preset.version != cls.card.version:
                record = newest.get((label, place, rules, cls.card.version))
                return _recorded_meaning(record) if record else Untuned(name)
        values = {name: preset.values for name, preset in made.items() if preset}
        try:
            base = overlay(cls, spec.name, spec.presets, place.dataset, protocol, values)
            resolved = params.resolve(cls, spec.name, base | dict(spec.params))
            validated = final and any(dict(preset_values) == resolved for preset_values in values.values())
            return _as_text(spec.name, cls.card.version, resolved, validated)
        except (BadValue, BadSpec, UnknownName, Unavailable):
            return None
    if record := newest.get((label, place, rules)):
        return _recorded_meaning(record)
    for name, preset in made.items():
        if preset is None and name in {DEFAULT_NAME, *(kept.name for kept in tuned.load() if kept.method == spec.name)}:
            return Untuned(name)
    if (record := newest.get((label,))) is None:
        return None
    if spec.presets:  # its values may differ by data set; no record has this meaning, so the run is missing
        return _as_text(record.method["name"], record.method.get("version", 1), {"preset": label})
    return _recorded_meaning(record)


def _recorded_meaning(record: Record) -> str:
    method = record.method
    validated = record.selection == "validated"
    return _as_text(method["name"], method.get("version", 1), method.get("params", {}), validated)


def _as_text(name: str, version: int, values: Mapping[str, Any], validated: bool = False) -> str:
    return canonical_json([name, version, dict(values), validated])
