"""What the records of a folder span, what its rows mean, and which runs of the span are done, lacking or stale.

A row's *meaning* at a place is the method, version and parameters that its text stands for there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from zslbench import params
from zslbench.errors import BadSpec, BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.identity import canonical_json
from zslbench.methods.base import Method, overlay
from zslbench.registry import METHODS
from zslbench.results.records.presets import DEFAULT_NAME, PresetStore
from zslbench.results.records.record import Record
from zslbench.runner.classes import recorded_method
from zslbench.sources import SourceCheck, is_here
from zslbench.spec import brackets, parse_recorded

SlotState = Literal["done", "stale", "failed", "unfinished", "missing"]


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """A data set with its features and semantics.

    `origin` says whether its name alone finds it again. Where it does not, since the data are the user's own,
    `content` is their fingerprint: two folders may have one name.
    """

    dataset: str
    features: str
    semantics: str
    origin: str
    content: str = ""

    def __str__(self) -> str:
        return f"{self.dataset} ({self.features}, {self.semantics})"


@dataclasses.dataclass(frozen=True)
class Nothing:
    """A line that means nothing at a place: a preset has no values there, or (named here) is yet to be tuned."""

    untuned: str = ""


NO_VALUES = Nothing()
Meaning = str | Nothing
"""A line's method, version and parameters at a place, as one text."""


@dataclasses.dataclass(frozen=True, order=True)
class Slot:
    """One run of the span: a line (the method as it is typed) at a place, under a protocol, in a fold, with a seed."""

    line: str
    place: Place
    protocol: str
    fold: int
    seed: int

    def __str__(self) -> str:
        fold = f" dev{self.fold}" if self.fold else ""
        return f"{self.line} {self.place} {self.protocol}{fold} seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Survey:
    """The span of the records and the state of each of its runs.

    Attributes:
        lines, places, protocols: what it spans.
        states: of every run; records: of those that have one.
        untuned: the preset that is yet to be tuned, by line, place and protocol.
        stochastic: whether a line depends on the seed.
        outdated: records of another version of their method, of values that their label stands for no more, or of
            other content of the data than the newest.
        unimportable: lines whose method cannot be imported here, with the reason.
    """

    lines: tuple[str, ...]
    places: tuple[Place, ...]
    protocols: tuple[str, ...]
    states: Mapping[Slot, SlotState]
    records: Mapping[Slot, Record]
    untuned: Mapping[tuple[str, Place, str], str]
    stochastic: Mapping[str, bool]
    outdated: tuple[Record, ...]
    unimportable: Mapping[str, str]

    @functools.cached_property
    def names(self) -> Mapping[Place, str]:
        """What each place is called: with the start of its content where another has the same name."""
        shared = Counter(map(str, self.places))
        return {
            place: f"{place} {place.content[:8]}" if shared[str(place)] > 1 else str(place) for place in self.places
        }

    @functools.cached_property
    def varied(self) -> frozenset[Slot]:
        """Missing runs of a line with parameters of its own, where the same method has runs with other values.

        Values chosen for each data set by hand look like that, and so does a sweep that was cut short.
        """
        there = {
            (method_in(slot.line), slot.place, slot.protocol)
            for slot, state in self.states.items()
            if state != "missing"
        }
        begun = {(slot.line, slot.place, slot.protocol) for slot, state in self.states.items() if state != "missing"}
        return frozenset(
            slot
            for slot, state in self.states.items()
            if state == "missing"
            and (slot.line, slot.place, slot.protocol) not in begun
            and (method_in(slot.line), slot.place, slot.protocol) in there
            and any(parse_recorded(line).params for line in self.lines if method_in(line) == method_in(slot.line))
        )

    def of(self, *wanted: SlotState) -> list[Slot]:
        """Return the runs in one of these states, in order."""
        return [slot for slot, state in self.states.items() if state in wanted]


def of_session(line: str) -> bool:
    """Return whether a line's method was defined in a script or notebook, where alone it can be run."""
    return method_in(line).startswith("__main__:")


def survey(
    records: Sequence[Record], tuned: PresetStore, seeds: int | None = None, beside: Sequence[Record] = ()
) -> Survey:
    """Return what the records span and what of it is not done.

    The span is every line at every place under every protocol; its seeds are those of the line with the most, or
    0 to `seeds` − 1. A line with as many seeds as that lacks none, whichever they are.

    Args:
        records: of one stage, whatever their status.
        tuned: the presets that tuning made.
        beside: records that do not count as done, but whose methods, data and protocols belong to the span: these runs
            are missing.
    """
    cells_of = _by_cell([*records, *beside])
    of_label: dict[str, list[Record]] = {}
    for record in records:
        of_label.setdefault(record.label, []).append(record)
    labels = sorted({label for label, _, _ in cells_of}, key=lambda label: (len(label), label))
    places = sorted({place for _, place, _ in cells_of})
    protocols = sorted({rules for _, _, rules in cells_of}, reverse=True)
    loaded, broken = classes(labels)
    meant = {
        (label, place, rules): meaning(label, loaded.get(label), place, rules, of_label.get(label, ()), tuned)
        for label in labels
        for place in places
        for rules in protocols
    }
    lines = _distinct(labels, places, protocols, meant)
    index = _index(_of_newest_content(records))
    stochastic = {line: _stochastic(line, loaded.get(line), records) for line in lines}
    folds = {
        place: sorted({one.fold for (_, there, _), own in cells_of.items() if there == place for one in own})
        for place in places
    }
    cells = {
        (line, place, rules, fold): index.get((meant[line, place, rules], place, rules, fold), {})
        for line in lines
        for place in places
        for rules in protocols
        for fold in folds[place]
        if meant[line, place, rules] != NO_VALUES
    }
    target = _target(cells, stochastic, seeds)
    states: dict[Slot, SlotState] = {}
    found: dict[Slot, Record] = {}
    check = SourceCheck()
    for (line, place, rules, fold), there in cells.items():
        wanted = target if stochastic[line] else {0}
        lacking = wanted - there.keys() if seeds is not None or len(there) < len(wanted) else set()
        for seed in sorted(there.keys() | lacking):
            slot = Slot(line, place, rules, fold, seed)
            states[slot] = _state(there.get(seed), check)
            if seed in there:
                found[slot] = there[seed]
    used = {record.id for record in found.values()}
    return Survey(
        tuple(lines),
        tuple(places),
        tuple(protocols),
        states,
        found,
        {key: what.untuned for key, what in meant.items() if isinstance(what, Nothing) and what.untuned},
        stochastic,
        tuple(record for record in records if record.id not in used),
        {line: broken[line] for line in labels if line in broken},
    )


def _by_cell(records: Sequence[Record]) -> dict[tuple[str, Place, str], list[Record]]:
    """Return the records of each label, place and protocol: found once, however many of them there are."""
    found: dict[tuple[str, Place, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.label, place_of(record), protocol_of(record)), []).append(record)
    return found


def _distinct(
    labels: Sequence[str],
    places: Sequence[Place],
    protocols: Sequence[str],
    meant: Mapping[tuple[str, Place, str], Meaning],
) -> list[str]:
    """Return the labels that differ somewhere in what they stand for, the shortest of each kind, by name."""
    kinds: dict[tuple[Meaning, ...], str] = {}
    for label in labels:
        kind = tuple(meant[label, place, rules] for place in places for rules in protocols)
        if any(what != NO_VALUES for what in kind):
            kinds.setdefault(kind, label)
    return sorted(kinds.values())


def _of_newest_content(records: Sequence[Record]) -> list[Record]:
    """Return the records whose data had the content of the newest record at the same place."""
    newest: dict[Place, object] = {}
    for record in sorted(records, key=age):
        newest[place_of(record)] = record.dataset.get("fingerprint")
    return [record for record in records if record.dataset.get("fingerprint") == newest[place_of(record)]]


_Cells = dict[tuple[Meaning, Place, str, int], dict[int, Record]]


def _index(records: Sequence[Record]) -> _Cells:
    """Return the records by meaning, place, protocol and fold, then seed; of several the finished, then the newest."""
    out: _Cells = {}
    for record in sorted(records, key=lambda record: (record.ok, age(record))):
        means = as_text(record.method["name"], record.method.get("version", 1), record.method.get("params", {}))
        out.setdefault((means, place_of(record), protocol_of(record), record.fold), {})[record.seed] = record
    return out


def _stochastic(line: str, cls: type[Method] | None, records: Sequence[Record]) -> bool:
    if cls is not None:
        return cls.card.stochastic
    return any(bool(record.method.get("stochastic", True)) for record in records if record.label == line)


def _target(
    cells: Mapping[tuple[str, Place, str, int], Mapping[int, Record]],
    stochastic: Mapping[str, bool],
    seeds: int | None,
) -> set[int]:
    if seeds is not None:
        return set(range(seeds))
    sets: list[list[int]] = [sorted(there) for (line, *_), there in cells.items() if stochastic[line] and there]
    most = max(map(len, sets), default=0)
    return set(min(found for found in sets if len(found) == most)) if sets else {0}


def _state(record: Record | None, check: SourceCheck) -> SlotState:
    if record is None:
        return "missing"
    if record.status in ("interrupted", "skipped"):
        return "unfinished"
    if not record.ok:
        return "failed"
    return "stale" if check.state(str(record.method["name"]), record.provenance) == "changed" else "done"


def place_of(record: Record) -> Place:
    """Return where a record was made."""
    data = record.dataset
    features, semantics, origin = str(data.get("features", "")), str(data.get("semantics", "")), data.get("origin")
    origin = str(origin or "own")
    content = str(data.get("fingerprint", "")) if origin == "own" else ""
    return _place(str(data["name"]), features, semantics, origin, content)


_place = functools.lru_cache(1024)(Place)
"""One object a place: it is asked for several times a record, and there are thousands."""


def protocol_of(record: Record) -> str:
    """Return a record's protocol as it is typed."""
    return str(record.protocol["name"]) + brackets(record.protocol.get("params") or {})


def method_in(label: str) -> str:
    """Return the name of the method that a recorded label begins with."""
    return parse_recorded(label).name


def classes(labels: Iterable[str]) -> tuple[dict[str, type[Method]], dict[str, str]]:
    """Return the classes of labels as far as no import is needed for them, and why those that are not here cannot run.

    A label was read from a record, and to import a module for it would run whatever a stranger's record names.
    """
    found, broken = {}, {}
    for label in labels:
        try:
            name = method_in(label)
            cls = recorded_method(name)
            if cls is not None:
                found[label] = cls
            elif METHODS.entry(name) and not is_here(name.partition(":")[0]):
                broken[label] = f"there is no module {name.partition(':')[0]!r} here; type it where its file is."
        except ZslbenchError as error:
            broken[label] = str(error)
    return found, broken


def meaning(
    label: str, cls: type[Method] | None, place: Place, rules: str, records: Sequence[Record], tuned: PresetStore
) -> Meaning:
    """Return what a label stands for at a place: the method, version and parameters as one text.

    Args:
        label, place, rules: the method as it is typed, the data set, the protocol.
        cls: the class; None where it is not to be imported, and what records of the label say is all that is known.
        records: those of the label, of any place and protocol.
        tuned: the presets that tuning made.
    """
    if cls is None:
        return _recorded(label, place, rules, records) or _unrecorded(label, place, rules, records, tuned)
    try:
        spec = parse_recorded(label)
        protocol = parse_recorded(rules).name
        values: dict[str, Mapping[str, Any]] = {}
        for preset in spec.presets:
            if preset in cls.presets or preset in cls.ablations:
                continue
            one = tuned.find(preset, spec.name, place.dataset, place.features, place.semantics, protocol)
            if one is None or one.version != cls.card.version:
                return _recorded(label, place, rules, records, cls.card.version) or Nothing(preset)
            values[preset] = one.values
        base = overlay(cls, spec.name, spec.presets, place.dataset, protocol, values)
        return as_text(spec.name, cls.card.version, params.resolve(cls, spec.name, base | dict(spec.params)))
    except (BadValue, BadSpec, UnknownName, Unavailable):
        return NO_VALUES


def _recorded(
    label: str, place: Place, rules: str, records: Sequence[Record], version: int | None = None
) -> Meaning | None:
    """Return what the newest record of a label says that it stands for; None without one."""
    own = [
        record
        for record in records
        if record.label == label
        and place_of(record) == place
        and protocol_of(record) == rules
        and version in (None, record.method.get("version", 1))
    ]
    if not own:
        return None
    newest = max(own, key=age)
    return as_text(newest.method["name"], newest.method.get("version", 1), newest.method.get("params", {}))


def _unrecorded(label: str, place: Place, rules: str, records: Sequence[Record], tuned: PresetStore) -> Meaning:
    """Return what a label without a record at a place stands for there, as far as records elsewhere tell."""
    spec, protocol = parse_recorded(label), parse_recorded(rules).name
    for preset in spec.presets:
        one = tuned.find(preset, spec.name, place.dataset, place.features, place.semantics, protocol)
        if one is None and preset in {DEFAULT_NAME, *(made.name for made in tuned.load() if made.method == spec.name)}:
            return Nothing(preset)
    if not records:
        return NO_VALUES
    newest = max(records, key=age).method
    if spec.presets:  # its values may differ by data set; no record has this meaning, so the run is missing
        return as_text(newest["name"], newest.get("version", 1), {"preset": label})
    return as_text(newest["name"], newest.get("version", 1), newest.get("params", {}))


def as_text(name: str, version: int, values: Mapping[str, Any]) -> str:
    """Return a method with its version and parameters as one text."""
    return canonical_json([name, version, dict(values)])


def age(record: Record) -> str:
    """Return when a record was made; later ones sort after."""
    return str(record.provenance.get("finished", ""))
