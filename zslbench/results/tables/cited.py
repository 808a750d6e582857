"""Published numbers as rows of their own, below the measured ones of a table, in blocks ranked by themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from zslbench.results.analysis.published import PROTOCOL, Published, cited_names, load, lookup, sources
from zslbench.results.analysis.rows import Row
from zslbench.results.tables.captions import TRANSDUCTIVE, footnote, nothing_cited
from zslbench.results.tables.layout import ColumnKey, group_heads, podium, sentences_on_placed
from zslbench.results.tables.table import Block, Cell, Emphasis, Remark, Table, TableRow, remarks, with_blocks
from zslbench.spec import parse


@dataclasses.dataclass(frozen=True)
class CitedRow:
    """One method's numbers in one source, by data set and metric."""

    source: str
    title: str
    entries: Mapping[tuple[str, str], Published]

    @property
    def oracle(self) -> bool:
        """Whether the numbers are read as those of the best epoch on test images."""
        return any(entry.oracle for entry in self.entries.values())

    @property
    def transductive(self) -> bool:
        """Whether the method uses unlabelled test features."""
        return any(entry.transductive for entry in self.entries.values())

    @property
    def marks(self) -> str:
        """† for numbers picked on test images, ‡ for a transductive method."""
        return ("†" if self.oracle else "") + ("‡" if self.transductive else "")


def cited_rows(rows: Sequence[Row], metrics: Sequence[str], source: str, methods: Sequence[str]) -> list[CitedRow]:
    """Return what is published on the catalogued data sets of `rows`, the preferred source first.

    Args:
        rows: what was measured; on a user's own data nothing is published, whatever its name.
        metrics: which.
        source: a citation key, or ``best``: of each number the most preferred source alone.
        methods: specs; none: every method that a source has, its named ablations left out.
    """
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.origin == "catalogue"))
    wanted = [(dataset, metric) for dataset in datasets for metric in metrics if metric in PROTOCOL]
    specs = map(parse, methods)
    names = [cited_names(spec.name.casefold(), spec.presets) for spec in specs] if methods else _all_methods()
    taken: set[tuple[tuple[str, ...], tuple[str, str]]] = set()
    out = []
    for key in sources() if source == "best" else (source,):
        for names_of_one in dict.fromkeys(names):
            entries = {
                place: entry
                for place in wanted
                if (names_of_one, place) not in taken and (entry := _first(names_of_one, *place, key))
            }
            if entries:
                out.append(CitedRow(key, next(iter(entries.values())).title, entries))
            taken |= {(names_of_one, place) for place in entries}
    return out


def _all_methods() -> list[tuple[str, ...]]:
    return [(entry.method,) for entry in load() if ":" not in entry.method]


def _first(names: Sequence[str], dataset: str, metric: str, source: str) -> Published | None:
    return next(filter(None, (lookup(name, dataset, metric, source) for name in names)), None)


def with_cited(
    table: Table, columns: Sequence[ColumnKey], cited: Sequence[CitedRow], source: str, rank_together: bool
) -> Table:
    """Return the table with published rows below the measured ones, and what has to be said of them.

    Args:
        table: of what was measured; columns: its columns.
        cited: the rows, those of a source one after the other.
        source: as it was asked for: a citation key or ``best``.
        rank_together: rank the inductive, transductive and oracle rows of a source with each other.
    """
    if not cited:
        return dataclasses.replace(table, remarks=(*table.remarks, *remarks("published", [nothing_cited(source)])))
    notes = {text: number for number, text in enumerate(table.notes, start=1)}
    blocks = list(table.blocks)
    for key in dict.fromkeys(row.source for row in cited):
        rows = [row for row in cited if row.source == key]
        kinds = [None] if rank_together else sorted({_kind(row) for row in rows})
        for number, kind in enumerate(kinds):
            lines = _lines([row for row in rows if kind in (None, _kind(row))], columns, notes)
            blocks.append(Block(lines, "" if number else f"published: {key}"))
    below = (*table.remarks, *_remarks(table, columns, cited, rank_together))
    return dataclasses.replace(with_blocks(table, blocks), remarks=below, notes=tuple(notes))


def _kind(row: CitedRow) -> tuple[bool, bool]:
    return row.oracle, row.transductive


def _lines(rows: Sequence[CitedRow], columns: Sequence[ColumnKey], notes: dict[str, int]) -> tuple[TableRow, ...]:
    """Return the lines of rows that are ranked with each other; `notes` receives their footnotes."""
    placed = {
        (number, _column(columns, entry)): entry for number, row in enumerate(rows) for entry in row.entries.values()
    }
    places: dict[tuple[int, ColumnKey], Emphasis] = {}
    for column in columns:
        places |= podium({key: f"{entry.value:.1f}" for key, entry in placed.items() if key[1] == column})

    def cell(number: int, column: ColumnKey) -> Cell | None:
        entry = placed.get((number, column))
        if entry is None:
            return None
        return Cell(f"{entry.value:.1f}", emphasis=places[number, column], note=footnote(entry, notes))

    return tuple(
        TableRow(row.title, row.marks, tuple(cell(number, column) for column in columns))
        for number, row in enumerate(rows)
    )


def _column(columns: Sequence[ColumnKey], entry: Published) -> ColumnKey:
    """Return the column that a published number belongs to: on its features and semantics, where they were measured."""
    wanted = entry.dataset, entry.metric, PROTOCOL[entry.metric]
    fitting = [column for column in columns if (column.group[0], column.metric, column.protocol[0]) == wanted]
    alike = [column for column in fitting if column.group[1:3] == (entry.features, entry.semantics)]
    described = [column for column in fitting if column.group[2] == entry.semantics]
    return (alike or described or fitting)[0]


def _remarks(
    table: Table, columns: Sequence[ColumnKey], cited: Sequence[CitedRow], rank_together: bool
) -> list[Remark]:
    kinds = len({_kind(row) for row in cited}) > 1 and not rank_together
    ranked = "each block ranked by itself" if kinds else "ranked by themselves"
    below = remarks("published", [f"Rows below “published” are cited, not measured here, and {ranked}."])
    if any(row.transductive for row in cited) and all(remark.kind != "transductive" for remark in table.remarks):
        below.append(TRANSDUCTIVE)
    placed = [(entry, _column(columns, entry).group) for row in cited for entry in row.entries.values()]
    return below + remarks("published", sentences_on_placed(placed, group_heads([column.group for column in columns])))
