"""Who is compared with whom: the row that each name picks on each data set, under each protocol."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.errors import BadValue
from zslbench.results.analysis.naming import natural, plain_names
from zslbench.results.analysis.record_filter import is_method
from zslbench.results.analysis.rows import Row, summarise
from zslbench.results.records.record import Record
from zslbench.visible import one_line

MOST_UNNAMED = 20
"""More rows than these are compared only when they are named: 20 make 190 pairs."""


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One method as it ran on one data set under one protocol.

    Attributes:
        term: what picked it, the same on every data set; name: what is printed.
        row: its row of a table.
    """

    term: str
    name: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Match:
    """What is compared on one data set under one protocol.

    Attributes:
        head: the data set, with what tells it from others of that name.
        entrants: at least two, in the order asked for.
        missing: terms that have no finished run here.
    """

    head: str
    entrants: tuple[Entrant, ...]
    missing: tuple[str, ...]

    @property
    def row(self) -> Row:
        """The first row: all are of the same data set, features, semantics, fold and protocol."""
        return self.entrants[0].row


Place = tuple[str, str, str, int, str, int, str]
"""Data set, features, semantics, fold, protocol, its version and parameters."""


def match_methods(records: Sequence[Record], terms: Sequence[str]) -> list[Match]:
    """Return who meets whom: a match for each data set and protocol on which at least two entrants ran.

    Args:
        records: those chosen; runs that did not finish do not count.
        terms: names or specs, each of which must pick one row per data set and protocol; none: every row.

    Raises:
        BadValue: a term picks several rows, two terms the same, no two meet, or what should be one data set has
            different content.
    """
    if len(terms) == 1:
        raise BadValue(f"{terms[0]!r} is one method; name at least two, or none to compare all.")
    if twice := [term for term, number in collections.Counter(terms).items() if number > 1]:
        raise BadValue(f"{twice[0]!r} is named twice; name different methods.")
    groups = _group_rows(summarise(records))
    picked = {place: _pick(rows, terms, place) for place, rows in groups.items()} if terms else _pick_all(groups)
    names = _names(picked)
    order = list(terms) or sorted(names, key=lambda term: natural(names[term]))
    matches = []
    for place, rows in picked.items():
        if len(rows) > 1:
            entrants = tuple(Entrant(term, names[term], rows[term]) for term in order if term in rows)
            matches.append(Match(_head(place, groups), entrants, tuple(term for term in order if term not in rows)))
    if not matches:
        raise BadValue(_never_met(picked, order))
    return matches


def _group_rows(rows: Sequence[Row]) -> dict[Place, list[Row]]:
    groups: dict[Place, list[Row]] = {}
    for row in rows:
        groups.setdefault((*row.data_key[:3], row.fold, *row.protocol_key), []).append(row)
    for (dataset, features, semantics, *_), members in groups.items():
        contents = {row.fingerprint: row for row in members}
        if len(contents) > 1:
            shown = "; ".join(f"{row.label} on {content}" for content, row in contents.items())
            raise BadValue(
                f"the runs on {dataset} ({features}, {semantics}) are of different content ({shown}), so they share no "
                "test images to be compared on; keep those of one content, or name another folder with --runs."
            )
    return dict(
        sorted(groups.items(), key=lambda item: (natural(item[0][0]), item[0][1:4], item[0][4] != "zsl", item[0]))
    )


def _pick(rows: Sequence[Row], terms: Sequence[str], place: Place) -> dict[str, Row]:
    """Return the one row that each term picks, for the terms that pick any."""
    picked: dict[str, Row] = {}
    for term in terms:
        fitting = [row for row in rows if is_method(row.lead, term)]
        exact = [row for row in fitting if row.label.casefold() == term.strip().casefold()]
        chosen = exact if len(exact) == 1 else fitting
        if len(chosen) > 1:
            raise BadValue(_several(term, chosen, place))
        if chosen:
            if other := next((other for other, row in picked.items() if row is chosen[0]), None):
                raise BadValue(f"{other!r} and {term!r} name the same runs on {place[0]}; name different methods.")
            picked[term] = chosen[0]
    return picked


def _several(term: str, rows: Sequence[Row], place: Place) -> str:
    labels = sorted({row.label for row in rows}, key=natural)
    where = f"on {place[0]} ({place[1]}, {place[2]}) under {place[4]}"
    if len(labels) < len(rows):
        kinds = ", ".join(f"{row.label} ({row.selection}, version {row.version})" for row in rows)
        return f"{term!r} picks {len(rows)} rows {where}: {kinds}; choose one with --selection, or keep other --runs."
    return f"{term!r} picks {len(rows)} rows {where}: {', '.join(labels)}; name one of them, such as '{labels[0]}'."


def _pick_all(groups: Mapping[Place, Sequence[Row]]) -> dict[Place, dict[str, Row]]:
    """Return every row by a term of its own: method and presets where that is enough, else the whole label."""
    most = max(map(len, groups.values()), default=0)
    if most > MOST_UNNAMED:
        raise BadValue(
            f"there are {most} rows to compare, more than the {MOST_UNNAMED} that are compared unnamed; "
            "name the methods, as in `zslbench compare lisgan eszsl`."
        )
    heads = {place: [row.label.partition("[")[0] for row in rows] for place, rows in groups.items()}
    plain = all(len(set(names)) == len(names) for names in heads.values())
    picked: dict[Place, dict[str, Row]] = {}
    for place, rows in groups.items():
        terms = heads[place] if plain else [row.label for row in rows]
        if len(set(terms)) < len(terms):
            terms = [f"{row.label} ({row.selection}, v{row.version})" for row in rows]
        picked[place] = dict(zip(terms, rows, strict=True))
    return picked


def _names(picked: Mapping[Place, Mapping[str, Row]]) -> dict[str, str]:
    """Return what is printed for each term: the name of its rows where no other has that name, else the term."""
    terms = [(place, term, row) for place, rows in picked.items() for term, row in rows.items()]
    places = {id(row): place for place, _, row in terms}
    _, plain = plain_names([row for *_, row in terms], lambda row: places[id(row)])
    by_term: dict[str, set[str]] = {}
    for (_, term, _), name in zip(terms, plain, strict=True):
        by_term.setdefault(term, set()).add(name)
    shared = collections.Counter(name for names in by_term.values() for name in names)
    return {
        term: min(names) if len(names) == 1 and shared[min(names)] == 1 else one_line(term)
        for term, names in by_term.items()
    }


def _head(place: Place, groups: Mapping[Place, object]) -> str:
    dataset, features, semantics, fold, protocol, version, params = place
    details = [features, semantics, *([f"fold {fold}"] if fold else [])]
    if sum(other[:5] == place[:5] for other in groups) > 1:
        details.append(f"{protocol} v{version} {params}".strip())
    return one_line(f"{dataset} ({', '.join(details)})")


def _never_met(picked: Mapping[Place, Mapping[str, Row]], terms: Sequence[str]) -> str:
    places = {
        term: [f"{place[0]} ({place[1]}, {place[2]}) {place[4]}" for place, rows in picked.items() if term in rows]
        for term in terms
    }
    ran = "; ".join(f"{term}: {', '.join(where) or 'nowhere'}" for term, where in places.items())
    return (
        f"no two of these methods finished on the same data set, features, semantics and protocol ({ran}); "
        "run what lacks with `zslbench run`."
    )
