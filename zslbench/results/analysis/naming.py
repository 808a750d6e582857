"""Short names for the lines of a table, and the settings that the letters in them stand for."""

from __future__ import annotations

import collections
import dataclasses
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zslbench.identity import canonical_json
from zslbench.results.analysis.rows import Row, join_marks
from zslbench.spec import brackets
from zslbench.visible import one_line

MAX_INLINE = 28
"""The longest name that shows its parameters itself; a longer one gets a letter instead."""

SETTINGS = ("inductive", "semantic", "transductive")


@dataclasses.dataclass(frozen=True)
class LineKey:
    """What makes rows of several data sets one line of a table.

    Attributes:
        method: registered name; name: the title and presets, ``LisGAN@S3``; given: ``souls=5,cascade=off``.
        setting, oracle: what may be compared with what.
        rule: the selection rule, where the same line stands under another one, too; else empty.
        changed: whether the source of the method has changed since any of its runs was made.
    """

    method: str
    name: str
    given: str
    setting: str
    oracle: bool
    rule: str = ""
    changed: bool = False

    @property
    def full(self) -> str:
        """The name with its parameters."""
        return self.name_with(f"[{self.given}]" if self.given else "")

    def name_with(self, parameters: str) -> str:
        """Return the name with a text for its parameters, and the selection rule where it tells lines apart."""
        return self.name + parameters + (f" {self.rule}" if self.rule else "")

    @property
    def marks(self) -> str:
        """† for oracle selection, ‡ for a transductive method, § where its source has changed since."""
        return join_marks(self.oracle, self.setting == "transductive", self.changed)

    @property
    def block(self) -> tuple[bool, int, str]:
        """What this line may be ranked with (see `rank_block`)."""
        return rank_block(self.oracle, self.setting)


def rank_block(oracle: bool, setting: str) -> tuple[bool, int, str]:
    """Return the block of rows that a row may be ranked with; sorts inductive first, oracle last."""
    return oracle, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS), setting


def line_keys(rows: Sequence[Row], column: Callable[[Row], object]) -> list[LineKey]:
    """Return the line that each row belongs to.

    Rows with one label share a line, those of different selection rules excepted. Two of them in one column (a label
    whose meaning changed, or a preset that was edited) are told apart by the parameters in which they differ.
    """
    labels: dict[object, set[str]] = collections.defaultdict(set)
    titles: dict[str, set[str]] = collections.defaultdict(set)
    for row in rows:
        labels[_meaning(row)].add(row.label)
        titles[row.title].add(row.method)
    shortest = {meaning: min(of, key=lambda label: (len(label), label)) for meaning, of in labels.items()}
    alike = [(row.method, shortest[_meaning(row)], row.setting, row.selection) for row in rows]
    differing = _differing(rows, alike, column)
    keys = []
    for row, line in zip(rows, alike, strict=True):
        head, _, given = line[1].removesuffix("]").partition("[")
        title = row.title if len(titles[row.title]) == 1 else f"{row.title} ({row.method})"
        name = title + (head.removeprefix(row.method) if head.startswith(row.method) else "")
        extra = brackets({key: _facts(row).get(key) for key in sorted(differing[line])})[1:-1]
        parts = ",".join(filter(None, (given, extra)))
        keys.append(LineKey(row.method, one_line(name), one_line(parts), row.setting, row.selection == "oracle"))
    rules: dict[LineKey, set[str]] = collections.defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        rules[key].add(row.selection)
    ruled = [(key, row.selection if len(rules[key]) > 1 else "") for row, key in zip(rows, keys, strict=True)]
    changed = {line for row, line in zip(rows, ruled, strict=True) if row.source_state == "changed"}
    return [dataclasses.replace(key, rule=rule, changed=(key, rule) in changed) for key, rule in ruled]


def _meaning(row: Row) -> object:
    # What oracle selection picked goes by the method's name, whatever hyper-parameters it picked.
    return row.method, canonical_json(dict(row.params)), row.selection == "oracle"


def _facts(row: Row) -> dict[str, Any]:
    return {**row.params, "version": row.version}


def _differing(
    rows: Sequence[Row], alike: Sequence[object], column: Callable[[Row], object]
) -> Mapping[object, set[str]]:
    """Return, for each kind of rows that are `alike`, the parameters in which those of one column differ."""
    facts: dict[tuple[object, object], list[dict[str, Any]]] = collections.defaultdict(list)
    for row, line in zip(rows, alike, strict=True):
        facts[line, column(row)].append(_facts(row))
    differing: dict[object, set[str]] = collections.defaultdict(set)
    for (line, _), of in facts.items():
        names = {name for fact in of for name in fact}
        differing[line] |= {name for name in names if any(fact.get(name) != of[0].get(name) for fact in of)}
    return differing


def short_names(keys: Iterable[LineKey]) -> tuple[dict[LineKey, str], tuple[tuple[str, str], ...]]:
    """Return a short name for each line, and what the letters in them stand for.

    Lines with the same parameters share a letter.
    """
    letters: dict[str, str] = {}
    names = {}
    for key in keys:
        names[key] = key.full
        if len(key.full) > MAX_INLINE and key.given:
            names[key] = key.name_with(f" ({letters.setdefault(key.given, _letter(len(letters)))})")
    return names, tuple((letter, given.replace(",", ", ")) for given, letter in letters.items())


def plain_names(rows: Sequence[Row], column: Callable[[Row], object]) -> tuple[list[LineKey], list[str]]:
    """Return the line and the name of each row: title and presets where those tell the rows of each column apart.

    Else with parameters, or a letter.
    """
    keys = line_keys(rows, column)
    lettered, _ = short_names(dict.fromkeys(keys))
    plain = [key.name_with("") for key in keys]
    heads = collections.Counter(
        (column(row), name, key.oracle) for row, name, key in zip(rows, plain, keys, strict=True)
    )
    shared = {name for (_, name, _), number in heads.items() if number > 1}
    return keys, [lettered[key] if name in shared else name for name, key in zip(plain, keys, strict=True)]


def _letter(number: int) -> str:
    more, place = divmod(number, 26)
    return (_letter(more - 1) if more else "") + string.ascii_lowercase[place]


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Return a sort key that puts ``k=3`` before ``k=10``.

    >>> sorted(["k=10", "k=3", "a"], key=natural)
    ['a', 'k=3', 'k=10']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", text.casefold())
    return tuple((1, float(part), "") if place % 2 else (0, 0.0, part) for place, part in enumerate(parts))
