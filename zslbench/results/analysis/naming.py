"""Short names for the lines of a table, and the settings that the letters in them stand for."""

from __future__ import annotations

import collections
import dataclasses
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence

from zslbench.identity import canonical_json
from zslbench.results.analysis.rows import Row, join_marks
from zslbench.spec import brackets
from zslbench.visible import one_line

MAX_INLINE = 28
"""The longest name that shows its parameters itself; a longer one gets a letter instead."""

SETTINGS = ("inductive", "semantic", "transductive")


@dataclasses.dataclass(frozen=True)
class LineKey:
    """What makes two rows one line of a table.

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
        return (f"{self.name}[{self.given}]" if self.given else self.name) + self.told

    @property
    def told(self) -> str:
        """What tells the line from one of the same name under another selection rule."""
        return f" {self.rule}" if self.rule else ""

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
    labels: dict[tuple[str, str, bool], str] = {}
    for row in rows:
        key = _meaning(row)
        labels[key] = min(labels.get(key, row.label), row.label, key=lambda label: (len(label), label))
    named = [labels[_meaning(row)] for row in rows]
    titles: dict[str, set[str]] = {}
    for row in rows:
        titles.setdefault(row.title, set()).add(row.method)
    clashes = _clashes(rows, named, column)
    keys = []
    for row, label in zip(rows, named, strict=True):
        head, _, given = label.removesuffix("]").partition("[")
        title = row.title if len(titles[row.title]) == 1 else f"{row.title} ({row.method})"
        name = title + (head.removeprefix(row.method) if head.startswith(row.method) else "")
        facts = {**row.params, "version": row.version}
        extra = brackets({key: facts.get(key) for key in clashes[row.method, label, row.setting, row.selection]})[1:-1]
        parts = ",".join(part for part in (given, extra) if part)
        keys.append(LineKey(row.method, one_line(name), one_line(parts), row.setting, row.selection == "oracle"))
    rules: dict[LineKey, set[str]] = {}
    for row, line in zip(rows, keys, strict=True):
        rules.setdefault(line, set()).add(row.selection)
    ruled = [
        dataclasses.replace(line, rule=row.selection) if len(rules[line]) > 1 else line
        for row, line in zip(rows, keys, strict=True)
    ]
    changed = {line for row, line in zip(rows, ruled, strict=True) if row.source_state == "changed"}
    return [dataclasses.replace(line, changed=line in changed) for line in ruled]


def _meaning(row: Row) -> tuple[str, str, bool]:
    # What oracle selection picked goes by the method's name, whatever hyper-parameters it picked.
    return row.method, canonical_json(dict(row.params)), row.selection == "oracle"


def _clashes(
    rows: Sequence[Row], labels: Sequence[str], column: Callable[[Row], object]
) -> Mapping[tuple[str, str, str, str], list[str]]:
    """Return, for each label, the parameters in which rows of one column differ."""
    cells: dict[tuple[str, str, str, str], dict[object, list[Row]]] = {}
    for row, label in zip(rows, labels, strict=True):
        line = cells.setdefault((row.method, label, row.setting, row.selection), {})
        line.setdefault(column(row), []).append(row)
    return {
        line: sorted({key for group in columns.values() for key in _differing(group)})
        for line, columns in cells.items()
    }


def _differing(rows: Sequence[Row]) -> Iterable[str]:
    facts = [{**row.params, "version": row.version} for row in rows]
    keys = {key for fact in facts for key in fact}
    return [key for key in keys if any(fact.get(key) != facts[0].get(key) for fact in facts)]


def short_names(keys: Iterable[LineKey]) -> tuple[dict[LineKey, str], tuple[tuple[str, str], ...]]:
    """Return a short name for each line, and what the letters in them stand for.

    Lines with the same parameters share a letter.
    """
    letters: dict[str, str] = {}
    names = {}
    for key in keys:
        if len(key.full) <= MAX_INLINE or not key.given:
            names[key] = key.full
        else:
            letter = letters.setdefault(key.given, _letter(len(letters)))
            names[key] = f"{key.name} ({letter}){key.told}"
    return names, tuple((letter, given.replace(",", ", ")) for given, letter in letters.items())


def plain_names(rows: Sequence[Row], column: Callable[[Row], object]) -> tuple[list[LineKey], list[str]]:
    """Return the line and the name of each row: title and presets where those tell the rows of each column apart.

    Else with parameters, or a letter.
    """
    keys = line_keys(rows, column)
    lettered, _ = short_names(dict.fromkeys(keys))
    plain = [key.name + key.told for key in keys]
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
