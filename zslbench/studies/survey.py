"""What the records of a folder span, and which runs of that span are done, lacking, failed or stale."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from zslbench.methods.base import Method
from zslbench.results.records.presets import TunedStore
from zslbench.results.records.record import Record
from zslbench.sources import SourceCheck
from zslbench.spec import parse_recorded
from zslbench.studies.meaning import (
    NO_VALUES,
    Meaning,
    Nothing,
    Place,
    age,
    as_text,
    classes,
    label_of,
    meaning,
    method_in,
    place_of,
    protocol_of,
)

SlotState = Literal["done", "stale", "failed", "unfinished", "missing"]


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
    records: Sequence[Record], tuned: TunedStore, seeds: int | None = None, beside: Sequence[Record] = ()
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
        of_label.setdefault(label_of(record), []).append(record)
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
        found.setdefault((label_of(record), place_of(record), protocol_of(record)), []).append(record)
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
    return any(bool(record.method.get("stochastic", True)) for record in records if label_of(record) == line)


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
