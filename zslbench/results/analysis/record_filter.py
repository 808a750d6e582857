"""Which records a command is of."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zslbench.errors import BadValue, StoreError, nearest
from zslbench.identity import folder_name
from zslbench.results.records.record import STAGES, Record
from zslbench.spec import parse
from zslbench.visible import last_line

_Rule = tuple[str, Sequence[str], Callable[[Record, str], bool], Callable[[Record], str]]
"""A kind of name, the terms asked for, whether a record fits a term, and what a record has there."""


@dataclasses.dataclass(frozen=True)
class RecordFilter:
    """What was asked for; an empty sequence or None asks for everything.

    Attributes:
        methods: names or specs: ``lisgan`` takes every run of it, ``lisgan@S3[souls=5]`` those that were asked for
            with S3 and have five souls.
        datasets: names, or the folders that they were read from; protocols: names.
        features, semantics: as named in the runs; stage: ``final`` or ``dev``.
    """

    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    protocols: Sequence[str] = ()
    features: str | None = None
    semantics: str | None = None
    stage: str | None = "final"

    def select(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that were asked for, whatever their status."""
        rules = [(terms, accepts) for _, terms, accepts, _ in self._rules() if terms]
        return [record for record in records if all(any(accepts(record, t) for t in terms) for terms, accepts in rules)]

    def position(self, record: Record) -> tuple[int, int, int]:
        """Return which of the methods, data sets and protocols asked for a record is of; 0 is the first."""
        method, dataset, protocol = (
            next((number for number, term in enumerate(terms) if accepts(record, term)), len(terms))
            for _, terms, accepts, _ in self._rules()[:3]
        )
        return method, dataset, protocol

    def check_terms(self, records: Sequence[Record], runs: Path) -> None:
        """Refuse what no record has.

        Raises:
            BadValue: with the names that there are.
        """
        if self.stage not in (None, *STAGES):
            raise BadValue(f"stage {self.stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
        for kind, terms, accepts, name in self._rules():
            for term in terms:
                if not any(accepts(record, term) for record in records):
                    present = {name(record) for record in records}
                    if "[" not in term and "@" not in term:
                        present = {name.partition("[")[0] for name in present}
                    near = nearest(term, present)
                    first = f"name one of them, or run it first: zslbench run --{kind} {shlex.quote(term)} …"
                    raise BadValue(
                        f"no run in {runs} has {kind} {term!r}; there are: {_list(present)}; "
                        + (f"did you mean {near!r}?" if near else first)
                    )

    def check_finished(self, selected: Sequence[Record], records: Sequence[Record], runs: Path) -> None:
        """Refuse a selection of the records of which none finished.

        Raises:
            BadValue: no record has all that was asked for together. StoreError: none of them finished.
        """
        if any(record.ok for record in selected):
            return
        if selected:
            reason = last_line(selected[0].error)
            why = f" (the first, {selected[0].id}: {reason})" if reason else ""
            advice = "mend the cause and type `zslbench run … --rerun failed`"
            if all(record.status in ("interrupted", "skipped") for record in selected):
                advice = "type the same `zslbench run …` again"
            raise StoreError(f"no run asked for in {runs} finished, of {len(selected)}{why}; {advice}.")
        asked = ", ".join(f"{kind} {' or '.join(terms)}" for kind, terms, _, _ in self._rules() if terms)
        present = {
            f"{record.method['name']} on {_name_data(record)} under {record.protocol['name']} ({record.stage})"
            for record in records
        }
        raise BadValue(
            f"no run in {runs} is of {asked} together; there are: {_list(present)}; ask for less, or run it first."
        )

    def _rules(self) -> list[_Rule]:
        return [
            ("method", self.methods, is_method, lambda record: record.label),
            ("dataset", self.datasets, lambda record, term: is_dataset(record.dataset["name"], term), _fact("name")),
            ("protocol", self.protocols, _is_protocol, lambda record: str(record.protocol["name"])),
            _exact("features", self.features, _fact("features")),
            _exact("semantics", self.semantics, _fact("semantics")),
            _exact("stage", self.stage, lambda record: record.stage),
        ]


def _name_data(record: Record) -> str:
    """Name a record's data set with features and semantics, as the heads of tables do."""
    data = record.dataset
    return f"{data['name']} ({data.get('features', '')}, {data.get('semantics', '')})"


def is_method(record: Record, term: str) -> bool:
    """Return whether a term such as ``lisgan@S3[souls=5]`` asks for a record's method, presets and parameters."""
    wanted, params = parse(term), record.method.get("params", {})
    presets = record.label.partition("[")[0].split("@")[1:]
    return (
        wanted.name.casefold() == str(record.method["name"]).casefold()
        and {*wanted.presets} <= {*presets}
        and all(
            key in params and params[key] in (value if isinstance(value, tuple) else (value,))
            for key, value in wanted.params.items()
        )
    )


def is_dataset(name: str, term: str) -> bool:
    """Return whether `term` names this data set: by name, without its parameters, or by its folder."""
    names = {name.casefold(), name.partition("[")[0].casefold()}
    return term.casefold() in names or folder_name(Path(term)).casefold() in names


def _is_protocol(record: Record, term: str) -> bool:
    return parse(term).name.casefold() == str(record.protocol["name"]).casefold()


def _exact(kind: str, term: str | None, value: Callable[[Record], str]) -> _Rule:
    return kind, () if term is None else (term,), lambda record, wanted: value(record) == wanted, value


def _fact(key: str) -> Callable[[Record], str]:
    return lambda record: str(record.dataset.get(key, ""))


def _list(present: set[str], most: int = 12) -> str:
    names = sorted(present)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
