"""What a line of a study means at a place: the method, version and parameters that its text stands for there."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zslbench import params
from zslbench.errors import BadSpec, BadValue, Unavailable, UnknownName, ZslbenchError
from zslbench.identity import canonical_json
from zslbench.methods.base import Method, overlay
from zslbench.registry import METHODS
from zslbench.results.records.presets import DEFAULT_NAME, TunedStore
from zslbench.results.records.record import Record
from zslbench.runner.classes import recorded_method
from zslbench.sources import is_here
from zslbench.spec import brackets, parse_recorded


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


def label_of(record: Record) -> str:
    """Return a record's method as it was typed."""
    return str(record.method.get("label") or record.method["name"])


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
    label: str, cls: type[Method] | None, place: Place, rules: str, records: Sequence[Record], tuned: TunedStore
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
        if label_of(record) == label
        and place_of(record) == place
        and protocol_of(record) == rules
        and version in (None, record.method.get("version", 1))
    ]
    if not own:
        return None
    newest = max(own, key=age)
    return as_text(newest.method["name"], newest.method.get("version", 1), newest.method.get("params", {}))


def _unrecorded(label: str, place: Place, rules: str, records: Sequence[Record], tuned: TunedStore) -> Meaning:
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
