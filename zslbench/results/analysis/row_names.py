"""The names that rows go by: title and presets, and in brackets what varies among rows of one title."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zslbench.identity import canonical_json
from zslbench.results.analysis.rows import Ranked, Row, group_values, natural
from zslbench.spec import brackets, parse_recorded, write_value
from zslbench.visible import one_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowKey(Ranked):
    """What makes rows of several data sets one row of a table.

    Attributes:
        name: the title and presets, ``LisGAN@S3``.
        varying: the parameters in which rows of this name differ, with their values: ``souls=5, cascade=off``.
        shared: those given that all rows of this name have alike.
        rule: the selection rule, where the same row stands under another one, too; else empty.
        order: sorts rows by title and by the values of what varies, numbers by size.
    """

    method: str
    name: str
    varying: str
    rule: str = ""
    shared: str = dataclasses.field(default="", compare=False)
    order: tuple[object, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @property
    def plain(self) -> str:
        """The name without parameters."""
        return " ".join(filter(None, (self.name, self.rule)))

    @property
    def short(self) -> str:
        """The name with the parameters that vary."""
        return " ".join(filter(None, (self.name + (f"[{self.varying}]" if self.varying else ""), self.rule)))

    def unnamed(self, name: str) -> str:
        """Return the parameters given that `name`, `plain` or `short`, leaves out."""
        return ", ".join(filter(None, ("" if name.startswith(self.short) else self.varying, self.shared)))


@dataclasses.dataclass(eq=False)
class _Entry:
    """The rows that one key stands for, and what is known of their parameters."""

    name: str
    label: str
    setting: str
    oracle: bool
    params: dict[str, Any]
    named: dict[str, None]

    def value(self, parameter: str) -> str | None:
        """Return the value as the spec grammar has it; None where it is not known, or not the same in all rows."""
        return one_line(write_value(self.params[parameter])) if parameter in self.params else None

    def write(self, parameters: Iterable[str]) -> str:
        """Return the parameters that are known with their values."""
        pairs = ((parameter, self.value(parameter)) for parameter in parameters)
        return ", ".join(f"{one_line(parameter)}={value}" for parameter, value in pairs if value is not None)


def row_keys(rows: Sequence[Row], column: Callable[[Row], object]) -> list[RowKey]:
    """Return the key of each row.

    Rows of one title and presets are named by the parameters that differ among them, defaults included. Rows with one
    label share a key, those of different selection rules excepted. Two of them in one `column` (a label whose meaning
    changed, or a preset that was edited) are told apart by the parameters in which they differ.
    """
    entries = _entries(rows, column)
    families: dict[str, dict[int, _Entry]] = {}
    for entry in entries:
        families.setdefault(entry.name, {})[id(entry)] = entry
    keys: dict[int, RowKey] = {}
    for family in families.values():
        keys |= _family_keys(list(family.values()))
    named = [
        dataclasses.replace(keys[id(entry)], method=row.method, setting=row.setting)
        for row, entry in zip(rows, entries, strict=True)
    ]
    rules = group_values((key, row.selection) for row, key in zip(rows, named, strict=True))
    several = {key for key, selections in rules.items() if len(selections) > 1}
    named = [
        dataclasses.replace(key, rule=row.selection if key in several else "")
        for row, key in zip(rows, named, strict=True)
    ]
    changed = {key for row, key in zip(rows, named, strict=True) if row.changed}
    return [dataclasses.replace(key, changed=key in changed) for key in named]


def _entries(rows: Sequence[Row], column: Callable[[Row], object]) -> list[_Entry]:
    """Return the entry of each row, one object for all rows of a key."""
    # What oracle selection picked goes by the method's name, whatever hyper-parameters it picked.
    meanings = [(row.method, canonical_json(dict(row.params)), row.oracle, row.selection) for row in rows]
    labels = group_values((meaning, row.label) for row, meaning in zip(rows, meanings, strict=True))
    methods = group_values((row.title, row.method) for row in rows)
    alike = [
        (row.method, min(labels[meaning], key=lambda label: (len(label), label)), row.setting, row.selection)
        for row, meaning in zip(rows, meanings, strict=True)
    ]
    facts = [{**row.params, "version": row.version} for row in rows]
    differing: dict[object, set[str]] = collections.defaultdict(set)
    first: dict[object, dict[str, Any]] = {}
    for row, kind, values in zip(rows, alike, facts, strict=True):
        other = first.setdefault((kind, column(row)), values)
        differing[kind] |= {name for name in {*values, *other} if values.get(name) != other.get(name)}
    entries: dict[str, _Entry] = {}
    out = []
    for row, kind, values in zip(rows, alike, facts, strict=True):
        extra = {parameter: values.get(parameter) for parameter in sorted(differing[kind])}
        spec = parse_recorded(kind[1])
        head = "@".join((spec.name, *spec.presets))
        title = row.title if len(methods[row.title]) == 1 else f"{row.title} ({row.method})"
        name = one_line(title + (head.removeprefix(row.method) if head.startswith(row.method) else ""))
        # What a selection rule chose may differ by data set: a remark of its own names it.
        chosen = row.selected.get("chosen", {})
        known = {parameter: value for parameter, value in {**spec.params, **values}.items() if parameter not in chosen}
        named = [parameter for parameter in values if parameter in spec.params or parameter in extra]
        entry = entries.setdefault(
            canonical_json([row.title, *kind[:3], row.oracle, extra]),
            _Entry(name, kind[1], row.setting, row.oracle, known, dict.fromkeys([*named, *spec.params, *extra])),
        )
        entry.params = {key: value for key, value in entry.params.items() if known.get(key, ...) == value}
        out.append(entry)
    return out


def _family_keys(family: Sequence[_Entry]) -> dict[int, RowKey]:
    """Return the key of each entry of one name, by its identity."""
    names = {parameter for entry in family for parameter in entry.named}
    every = dict.fromkeys(parameter for entry in family for parameter in (*entry.params, *entry.named))
    named = [parameter for parameter in every if parameter in names]  # in the order of their declaration
    varying = _varying(family, named)
    if _has_twins(family, varying):
        varying += [parameter for parameter in _varying(family, list(every)) if parameter not in varying]
    twins = _has_twins(family, varying)
    shared = [parameter for parameter in named if parameter not in varying]
    keys = {}
    for entry in family:
        text = entry.write(varying)
        if twins:  # records of other makes: the label is all that there is
            text = ", ".join(filter(None, (text, one_line(entry.label))))
        order = natural(entry.name), tuple(value_order(entry.params.get(parameter)) for parameter in varying)
        keys[id(entry)] = RowKey(
            method="",
            name=entry.name,
            varying=text,
            shared=entry.write(shared),
            setting=entry.setting,
            oracle=entry.oracle,
            order=(*order, natural(text)),
        )
    return keys


def _varying(family: Sequence[_Entry], parameters: Sequence[str]) -> list[str]:
    """Return the parameters whose values differ among entries, or are known of some alone."""
    values = {parameter: {entry.value(parameter) for entry in family} for parameter in parameters}
    return [parameter for parameter in parameters if len(values[parameter]) > 1]


def _has_twins(family: Sequence[_Entry], varying: Sequence[str]) -> bool:
    texts = {(entry.write(varying), entry.setting, entry.oracle) for entry in family}
    return len(texts) < len(family)


def value_order(value: object) -> tuple[int, float, object]:
    """Return a key that sorts values of hyper-parameters: what is not known, numbers by size, then names."""
    if value is None:
        return 0, 0.0, ()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), ()
    return 2, 0.0, natural(write_value(value))


def describe_shared(keys: Iterable[RowKey]) -> list[str]:
    """Return one sentence on the parameters given that names leave out, methods with the same ones together."""
    keys = list(dict.fromkeys(keys))
    several = {key.name for key in keys if key.varying}
    pairs = ((key.shared + (" in all rows" if key.name in several else ""), key.name) for key in keys if key.shared)
    texts = [f"{', '.join(names)}: {text}" for text, names in group_values(pairs).items()]
    return [f"Parameters: {'; '.join(texts)}."] if texts else []


def name_specs(rows: Sequence[Row]) -> list[str]:
    """Return the label of each row of one column; where several have it, with the parameters in which rows differ."""
    labels = [row.label for row in rows]

    def name_spec(row: Row) -> str:
        if labels.count(row.label) == 1:
            return row.label
        head, values = row.label.partition("[")[0], parse_recorded(row.label).params
        alike = [other.params for other in rows if other.label.partition("[")[0] == head]
        differing = {
            name: value
            for name, value in row.params.items()
            if len({write_value(params.get(name)) for params in alike}) > 1
        }
        return head + brackets({**values, **differing})

    return [name_spec(row) for row in rows]


def plain_names(rows: Sequence[Row], column: Callable[[Row], object]) -> tuple[list[RowKey], list[str]]:
    """Return the key and the name of each row: title and presets where those tell the rows of each column apart.

    Else with the parameters that vary.
    """
    keys = row_keys(rows, column)
    heads = collections.Counter((column(row), key.plain, key.oracle) for row, key in zip(rows, keys, strict=True))
    shared = {name for (_, name, _), number in heads.items() if number > 1}
    return keys, [key.short if key.plain in shared else key.plain for key in keys]
