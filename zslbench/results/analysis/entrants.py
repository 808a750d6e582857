"""Who is compared with whom: the runs that each name picks on each data set, under each protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.errors import BadValue
from zslbench.identity import canonical_json
from zslbench.results.analysis.naming import line_keys, natural, short_names
from zslbench.results.analysis.record_filter import is_method
from zslbench.results.analysis.rows import Row, summarise
from zslbench.results.records.record import Record
from zslbench.visible import one_line

MOST_UNNAMED = 20
"""More lines than these are compared only when they are named: 20 make 190 pairs."""


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One method as it ran on one data set under one protocol.

    Attributes:
        term: what picked it, the same on every data set; name: what is printed.
        row: its line of a table.
    """

    term: str
    name: str
    row: Row

    @property
    def records(self) -> tuple[Record, ...]:
        """Its finished runs, a seed each."""
        return self.row.records

    @property
    def stochastic(self) -> bool:
        """Whether seeds differ by more than their number."""
        return self.row.stochastic

    @property
    def marks(self) -> str:
        """Those of its row: †, ‡ and §."""
        return self.row.marks


@dataclasses.dataclass(frozen=True)
class Match:
    """What is compared on one data set under one protocol.

    Attributes:
        head: the data set, with what tells it from others of that name.
        dataset, features, semantics, fingerprint, fold, protocol: of its rows.
        entrants: at least two, in the order asked for.
        missing: terms that have no finished run here.
    """

    head: str
    dataset: str
    features: str
    semantics: str
    fingerprint: str
    fold: int
    protocol: str
    entrants: tuple[Entrant, ...]
    missing: tuple[str, ...]


Key = tuple[str, str, str, int, str, str]


def matches(records: Sequence[Record], terms: Sequence[str]) -> list[Match]:
    """Return who meets whom: one match a data set and protocol on which at least two entrants ran.

    Args:
        records: those chosen; runs that did not finish do not count.
        terms: names or specs, each of which must pick one line a data set and protocol; none: every line.

    Raises:
        BadValue: a term picks several lines, two terms the same, no two meet, or what should be one data set has
            different content.
    """
    if len(terms) == 1:
        raise BadValue(f"{terms[0]!r} is one method; name at least two, or none to compare all.")
    if twice := [term for place, term in enumerate(terms) if term in terms[:place]]:
        raise BadValue(f"{twice[0]!r} is named twice; name different methods.")
    groups = _groups(summarise(records))
    picked = {key: _picked(rows, terms, key) for key, rows in groups.items()} if terms else _all(groups)
    _check_number(picked, named=bool(terms))
    names = _names(picked)
    everyone = dict.fromkeys(term for rows in picked.values() for term in rows)
    order = list(terms) or sorted(everyone, key=lambda term: natural(names[term]))
    found = []
    for key, rows in picked.items():
        entrants = tuple(Entrant(term, names[term], rows[term]) for term in order if term in rows)
        if len(entrants) > 1:
            missing = tuple(term for term in order if term not in rows)
            first = entrants[0].row
            facts = (first.dataset, first.features, first.semantics, first.fingerprint, first.fold, first.protocol)
            found.append(Match(_head(key, groups), *facts, entrants, missing))
    if not found:
        raise BadValue(_never_met(picked, order))
    return found


def _groups(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """Return the rows by data set and protocol."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        rules = canonical_json([row.protocol_version, dict(row.protocol_params)])
        key = (row.dataset, row.features, row.semantics, row.fold, row.protocol, rules)
        groups.setdefault(key, []).append(row)
    for (dataset, features, semantics, *_), members in groups.items():
        marks = {row.fingerprint: row for row in members}
        if len(marks) > 1:
            shown = "; ".join(f"{row.label} on {mark}" for mark, row in marks.items())
            raise BadValue(
                f"the runs on {dataset} ({features}, {semantics}) are of different content ({shown}), so they share no "
                "test images to be compared on; keep those of one content, or name another folder with --runs."
            )
    return dict(sorted(groups.items(), key=lambda item: (natural(item[0][0]), item[0][1:4], _protocol_order(item[0]))))


def _protocol_order(key: Key) -> tuple[bool, str, str]:
    return key[4] != "zsl", key[4], key[5]


def _picked(rows: Sequence[Row], terms: Sequence[str], key: Key) -> dict[str, Row]:
    """Return the one row that each term picks, for the terms that pick any."""
    found: dict[str, Row] = {}
    for term in terms:
        fitting = [row for row in rows if is_method(row.lead, term)]
        exact = [row for row in fitting if row.label.casefold() == term.strip().casefold()]
        chosen = exact if len(exact) == 1 else fitting
        if len(chosen) > 1:
            raise BadValue(_several(term, chosen, key))
        for other, row in found.items():
            if chosen and row is chosen[0]:
                raise BadValue(f"{other!r} and {term!r} name the same runs on {key[0]}; name different methods.")
        found |= {term: chosen[0]} if chosen else {}
    return found


def _several(term: str, rows: Sequence[Row], key: Key) -> str:
    labels = sorted({row.label for row in rows}, key=natural)
    where = f"on {key[0]} ({key[1]}, {key[2]}) under {key[4]}"
    if len(labels) < len(rows):
        kinds = ", ".join(f"{row.label} ({row.selection}, version {row.version})" for row in rows)
        return f"{term!r} picks {len(rows)} rows {where}: {kinds}; choose one with --selection, or keep other --runs."
    return f"{term!r} picks {len(rows)} rows {where}: {', '.join(labels)}; name one of them, such as '{labels[0]}'."


def _all(groups: Mapping[Key, Sequence[Row]]) -> dict[Key, dict[str, Row]]:
    """Return every row by a term of its own: method and presets where that is enough, else the whole label."""
    heads = {
        key: [row.label.partition("[")[0] if not row.label.startswith("[") else row.label for row in rows]
        for key, rows in groups.items()
    }
    plain = all(len(set(names)) == len(names) for names in heads.values())
    out: dict[Key, dict[str, Row]] = {}
    for key, rows in groups.items():
        names = heads[key] if plain else [row.label for row in rows]
        if len(set(names)) < len(names):
            names = [f"{row.label} ({row.selection}, v{row.version})" for row in rows]
        out[key] = dict(zip(names, rows, strict=True))
    return out


def _check_number(picked: Mapping[Key, Mapping[str, Row]], named: bool) -> None:
    most = max((len(rows) for rows in picked.values()), default=0)
    if not named and most > MOST_UNNAMED:
        raise BadValue(
            f"there are {most} rows to compare, more than the {MOST_UNNAMED} that are compared unnamed; "
            "name the methods, as in `zslbench compare lisgan eszsl`."
        )


def _names(picked: Mapping[Key, Mapping[str, Row]]) -> dict[str, str]:
    """Return what is printed for each term: title and presets where those tell it apart, else the term or a letter."""
    plain: dict[str, set[str]] = {}
    full = {}
    for rows in picked.values():
        for term, key in zip(rows, line_keys(list(rows.values()), id), strict=True):
            plain.setdefault(term, set()).add(key.name)
            full[term] = key
    shared = [name for names in plain.values() for name in names]
    letters, _ = short_names(dict.fromkeys(full.values()))
    out: dict[str, str] = {}
    for term, names in plain.items():
        name = min(names)
        if shared.count(name) > 1 or len(names) > 1:
            name = one_line(term) if len(term) <= 28 else letters[full[term]]
        out[term] = name if name not in out.values() else one_line(term)
    return out


def _head(key: Key, groups: Mapping[Key, object]) -> str:
    dataset, features, semantics, fold, *_ = key
    details = [features, semantics, *([f"fold {fold}"] if fold else [])]
    rules = {other[5] for other in groups if other[:5] == key[:5]}
    details += [f"{key[4]} {key[5]}"] if len(rules) > 1 else []
    return one_line(f"{dataset} ({', '.join(details)})")


def _never_met(picked: Mapping[Key, Mapping[str, Row]], terms: Sequence[str]) -> str:
    where = {term: [f"{key[0]} ({key[1]}, {key[2]}) {key[4]}" for key, rows in picked.items() if term in rows]
             for term in terms}  # fmt: skip
    said = "; ".join(f"{term}: {', '.join(places) or 'nowhere'}" for term, places in where.items())
    return (
        f"no two of these methods finished on the same data set, features, semantics and protocol ({said}); "
        "run what lacks with `zslbench run`."
    )
