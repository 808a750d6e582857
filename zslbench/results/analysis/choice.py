"""Which records a table is of."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zslbench.errors import BadValue, RecordsLeftOut, StoreError, nearest
from zslbench.identity import folder_name
from zslbench.results.records.record import STAGES, Record
from zslbench.sources import SourceCheck
from zslbench.spec import parse


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was asked for; an empty tuple or None asks for everything.

    Attributes:
        methods: names or specs: ``lisgan`` takes every run of it, ``lisgan@S3[souls=5]`` those that were asked for
            with S3 and have five souls.
        datasets: names, or the folders that they were read from; protocols: names.
        features, semantics: as named in the runs; stage: ``final`` or ``dev``.
    """

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    features: str | None = None
    semantics: str | None = None
    stage: str = "final"


def choose(records: Sequence[Record], choice: Choice, runs: Path, left_out: Sequence[str] = ()) -> list[Record]:
    """Return the records asked for, whatever their status; warn of what `left_out` says was not read.

    Raises:
        BadValue: a name that no record has, or names that no record has together.
        StoreError: no records at all, or none that finished.
    """
    if choice.stage not in STAGES:
        raise BadValue(f"stage {choice.stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
    if not records:
        advice = "make some, for instance with `zslbench run --method eszsl --dataset digits`, or name their folder"
        raise StoreError(" ".join([f"there are no runs in {runs}; {advice} with --runs.", *left_out]))
    for kind, terms, has, value in _rules(choice):
        for term in terms:
            if not any(has(record, term) for record in records):
                there = {value(record) for record in records}
                names = there if "[" in term or "@" in term else {name.partition("[")[0] for name in there}
                _refuse(kind, term, names, runs)
    for sentence in left_out:
        warnings.warn(sentence, RecordsLeftOut, stacklevel=3)
    found = fitting(records, choice)
    if not any(record.ok for record in found):
        _explain(found, records, choice, runs)
    return with_sources(found)


def with_sources(records: Sequence[Record]) -> list[Record]:
    """Return records that hold as ``source_state`` whether their method's source is what it was (`SourceCheck`)."""
    check = SourceCheck()
    marked = []
    for record in records:
        state = check.state(str(record.method["name"]), record.provenance)
        if state != record.provenance.get("source_state", "current"):
            record = dataclasses.replace(record, provenance={**record.provenance, "source_state": state})
        marked.append(record)
    return marked


def fitting(records: Sequence[Record], choice: Choice) -> list[Record]:
    """Return the records that fit a choice, whatever their status; none where nothing does."""
    found = list(records)
    for _, terms, has, _ in _rules(choice):
        found = [record for record in found if not terms or any(has(record, term) for term in terms)]
    return found


def position(value: Callable[[str], bool], terms: Sequence[str]) -> int:
    """Return the place of the first term that `value` accepts, or the number of terms."""
    return next((place for place, term in enumerate(terms) if value(term)), len(terms))


def is_method(name: str, label: str, params: object, term: str) -> bool:
    """Return whether a run with this name, label and parameters is one that `term` asks for."""
    wanted = parse(term)
    own = params if isinstance(params, dict) else {}
    return (
        wanted.name.casefold() == name.casefold()
        and set(wanted.presets) <= set(_presets(label))
        and all(key in own and own[key] in _points(value) for key, value in wanted.params.items())
    )


def is_dataset(name: str, term: str) -> bool:
    """Return whether `term` names this data set: by name, without its parameters, or by its folder."""
    names = {name.casefold(), name.partition("[")[0].casefold()}
    return term.casefold() in names or folder_name(Path(term)).casefold() in names


def is_protocol(name: str, term: str) -> bool:
    """Return whether `term` names this protocol, whatever its parameters."""
    return parse(term).name.casefold() == name.casefold()


_Rule = tuple[str, tuple[str, ...], Callable[[Record, str], bool], Callable[[Record], str]]


def _rules(choice: Choice) -> list[_Rule]:
    def method(record: Record, term: str) -> bool:
        facts = record.method
        return is_method(facts["name"], str(facts.get("label", "")), facts.get("params"), term)

    return [
        ("method", choice.methods, method, lambda record: str(record.method.get("label") or record.method["name"])),
        (
            "dataset",
            choice.datasets,
            lambda record, term: is_dataset(record.dataset["name"], term),
            lambda record: str(record.dataset["name"]),
        ),
        (
            "protocol",
            choice.protocols,
            lambda record, term: is_protocol(record.protocol["name"], term),
            lambda record: str(record.protocol["name"]),
        ),
        _exactly("features", choice.features),
        _exactly("semantics", choice.semantics),
        ("stage", (choice.stage,), lambda record, term: record.stage == term, lambda record: record.stage),
    ]


def _exactly(part: str, term: str | None) -> _Rule:
    def value(record: Record) -> str:
        return str(record.dataset.get(part, ""))

    return part, () if term is None else (term,), lambda record, wanted: value(record) == wanted, value


def _presets(label: str) -> Iterable[str]:
    return label.partition("[")[0].split("@")[1:]


def _points(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple) else (value,)


def _refuse(kind: str, term: str, there: set[str], runs: Path) -> None:
    near = nearest(term, there)
    first = f"name one of them, or run it first: zslbench run --{kind} {shlex.quote(term)} …"
    hint = f"did you mean {near!r}?" if near else first
    raise BadValue(f"no run in {runs} has {kind} {term!r}; there are: {_listed(there)}; {hint}")


def _explain(found: Sequence[Record], records: Sequence[Record], choice: Choice, runs: Path) -> None:
    if found:
        first = found[0]
        lines = first.error.strip().splitlines()
        why = f" (the first, {first.id}: {lines[-1]})" if lines else ""
        cut = all(record.status in ("interrupted", "skipped") for record in found)
        advice = (
            "type the same `zslbench run …` again" if cut else "mend the cause and type `zslbench run … --rerun failed`"
        )
        raise StoreError(f"no run asked for in {runs} finished, of {len(found)}{why}; {advice}.")
    asked = {
        "method": choice.methods,
        "dataset": choice.datasets,
        "protocol": choice.protocols,
        "features": [choice.features] if choice.features else (),
        "semantics": [choice.semantics] if choice.semantics else (),
        "stage": [choice.stage],
    }
    said = ", ".join(f"{kind} {' or '.join(terms)}" for kind, terms in asked.items() if terms)
    there = {
        f"{record.method['name']} on {record.dataset['name']} under {record.protocol['name']} ({record.stage})"
        for record in records
    }
    raise BadValue(
        f"no run in {runs} is of {said} together; there are: {_listed(there)}; ask for less, or run it first."
    )


def _listed(there: set[str], most: int = 12) -> str:
    names = sorted(there)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
