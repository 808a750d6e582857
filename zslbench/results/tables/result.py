"""What the verbs return: text as the command line prints it, tables for notebooks, numbers as a data frame."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from zslbench.errors import BadValue, RecordsLeftOut, warn
from zslbench.files import csv_text, json_text, name_file, write_text
from zslbench.results.tables.html import write_html
from zslbench.results.tables.render import (
    FORMATS,
    MORE,
    MORE_IN_PYTHON,
    ONE_LINE,
    SHORT_CAPTION,
    Caption,
    check_format,
    columns_of,
    reduce_captions,
    render,
    write_columns,
)
from zslbench.results.tables.table import Table, text_table
from zslbench.visible import join_words

if TYPE_CHECKING:
    import pandas as pd

Item = TypeVar("Item")

WITH_NOTES = ("terminal", "html")
"""Formats that show all notes; for other formats, notes become warnings."""
SUFFIXES: Mapping[str, str] = {
    ".tex": "latex",
    ".md": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".html": "html",
    ".txt": "terminal",
}
"""The format for each file extension."""


class VerbResult(abc.ABC):
    """What a verb returns.

    ``print`` shows what the command line prints, with options as Python writes them; a notebook shows tables or a
    picture.
    """

    noun: ClassVar[str] = "result"
    """What errors on unwritable files call it."""

    caption: Caption = SHORT_CAPTION
    """The caption below its tables, unless another one is asked for."""

    @property
    @abc.abstractmethod
    def text(self) -> str:
        """What the command line prints."""

    @abc.abstractmethod
    def lay_out(self, format: str, room: int) -> Sequence[Table]:
        """Return the tables to show in a format, for lines of `room` characters."""

    @abc.abstractmethod
    def list_facts(self) -> Sequence[Mapping[str, Any]]:
        """Return the numbers as flat rows."""

    def notes_below(self) -> Sequence[str]:
        """Return sentences that stand below all tables."""
        return ()

    def heads(self) -> Sequence[str] | None:
        """Return the column heads of csv; None: the keys of the rows."""
        return None

    def write_json(self) -> str:
        """Return the text of json: an object per row."""
        return json_text([dict(row) for row in self.list_facts()])

    def __str__(self) -> str:
        return self.text.replace(MORE, MORE_IN_PYTHON)

    def _repr_html_(self) -> str:
        return self.write("html")

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers as a tidy pandas data frame, with the rows that ``.save("x.csv")`` writes."""
        import pandas as pd

        self._warn_of_notes()
        return pd.DataFrame([dict(row) for row in self.list_facts()])

    def to_latex(self, **options: Any) -> str:
        """Return the tables as LaTeX for the package booktabs.

        Args:
            options: ``width`` in inches, or ``column``, ``page``, ``eccv``, ``neurips``; ``standalone=True`` for a
                whole document; ``caption``, ``caption_text`` and ``label`` as in `zslbench.table`.
        """
        return self.write("latex", **options)

    def save(self, path: Path | str, **options: Any) -> Path:
        """Write a file in the format that its name ends in, and return its path.

        Args:
            path: ends in .tex, .md, .csv, .json, .html or .txt; options: as in `to_latex`.

        Raises:
            BadValue: another ending. StoreError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            ends = join_words([*SUFFIXES], "or")
            raise BadValue(f"cannot save a {self.noun} as {name_file(path)}; name a file that ends in {ends}.")
        self.write_file(path, self.write(SUFFIXES[path.suffix.lower()], **options))
        return path

    def write_file(self, path: Path, text: str) -> None:
        """Write a text of the result to a file (StoreError: it cannot be written)."""
        write_text(path, text, f"the {self.noun} {path.name}".rstrip())

    def write(
        self,
        format: str,
        width: int | str | float | None = None,
        piped: int = 100,
        standalone: bool = False,
        **below: str | None,
    ) -> str:
        """Return the result in a format: terminal, markdown, latex, html, csv or json.

        Args:
            width: characters per line, in LaTeX as in `to_latex`; None: the terminal's, or `piped` if there is no
                terminal.
            standalone, below: as in `to_latex`.
        """
        caption = self._choose_caption(**below)
        if below:
            check_format(format, (*FORMATS, "html"), standalone, caption)
        has_notes = format in WITH_NOTES and caption.length != "none"
        if not has_notes:
            self._warn_of_notes()
        if format == "csv":
            return csv_text(self.list_facts(), self.heads())
        if format == "json":
            return self.write_json()
        tables = self.lay_out(format, columns_of(width, piped) if format == "terminal" else piped)
        notes = self.notes_below() if has_notes else ()
        if format == "html":
            reduced = reduce_captions(tables, caption, format)
            shortened = any(short.remarks != table.remarks for short, table in zip(reduced, tables, strict=True))
            return write_html(reduced, [*notes, *([MORE_IN_PYTHON] if shortened and caption.length == "short" else [])])
        text = render(tables, format, width, piped, standalone, caption)
        return text + "".join(f"\n{note}\n" for note in notes)

    def _choose_caption(
        self, caption: str | None = None, caption_text: str | None = None, label: str | None = None
    ) -> Caption:
        usual = self.caption
        return Caption(
            usual.length if caption is None else caption,
            usual.text if caption_text is None else caption_text,
            usual.label if label is None else label,
        )

    def _warn_of_notes(self) -> None:
        for note in self._notes_to_warn_of():
            warn(note, RecordsLeftOut)

    def _notes_to_warn_of(self) -> Sequence[str]:
        return self.notes_below()


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TableResult(VerbResult):
    """Tables that a verb made of records, with their numbers; each format is written when it is asked for.

    Attributes:
        make_tables: returns them for a format and characters of a line.
        make_rows: returns tidy rows, those of csv and `to_frame`; columns: their heads; None: the keys of the rows.
        make_json: returns the text of json; None: one object per row.
        notes: sentences below all tables on the terminal and in HTML; warned: those already given as warnings.
        format, options: the format of `text`, and the options of `write` for it; caption: the caption below.
        instead: the text of a dry run, which has no numbers yet.
    """

    noun: ClassVar[str] = "table"

    make_tables: Callable[[str, int], Sequence[Table]]
    make_rows: Callable[[], Sequence[Mapping[str, Any]]]
    columns: Sequence[str] | None = None
    make_json: Callable[[], str] | None = None
    notes: Sequence[str] = ()
    warned: Sequence[str] = ()
    format: str = "terminal"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    caption: Caption = SHORT_CAPTION
    instead: str = ""

    def __post_init__(self) -> None:
        _ = self.text  # what cannot be shown as it was asked for is refused now

    @functools.cached_property
    def text(self) -> str:
        """What the command line prints in the format that was asked for."""
        return self.instead or self.write(self.format, **self.options)

    @functools.cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables, as a notebook shows them."""
        return tuple(self.make_tables("html", 100))

    def lay_out(self, format: str, room: int) -> Sequence[Table]:
        """Return the tables to show in a format, for lines of `room` characters."""
        return self.make_tables(format, room)

    def list_facts(self) -> Sequence[Mapping[str, Any]]:
        """Return the numbers as flat rows."""
        return self.make_rows()

    def notes_below(self) -> Sequence[str]:
        """Return sentences that stand below all tables."""
        return self.notes

    def heads(self) -> Sequence[str] | None:
        """Return the column heads of csv; None: the keys of the rows."""
        return self.columns

    def write_json(self) -> str:
        """Return the text of json."""
        return super().write_json() if self.make_json is None else self.make_json()

    def _notes_to_warn_of(self) -> Sequence[str]:
        return [note for note in self.notes if note not in self.warned]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{len(table.rows)} × {len(table.columns)}" for table in self.tables[:3])
        cut = ", …" if len(self.tables) > 3 else ""
        return f"<{type(self).__name__}: {shapes}{cut}; print it, or use .to_frame(), .to_latex(), .save(path)>"


@dataclasses.dataclass(frozen=True, repr=False)
class Listing(VerbResult, Sequence[Item]):
    """Items that a verb lists, one row per item; a sequence of these items.

    Attributes:
        heads_of_columns: None: no heads; rows: the texts to show, usually one row per item.
        facts: a flat row per item; None: the attributes of each item.
    """

    noun: ClassVar[str] = "list"

    items: tuple[Item, ...]
    heads_of_columns: Sequence[str] | None
    rows: Sequence[Sequence[str]]
    facts: Sequence[Mapping[str, Any]] | None = None

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        return self.items[place]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}; print it, or use .to_frame()>"

    @property
    def text(self) -> str:
        """What the command line prints."""
        return write_columns(self.heads_of_columns, self.rows, ONE_LINE)

    def lay_out(self, format: str, room: int) -> Sequence[Table]:
        """Return one table of all items."""
        width = max(map(len, self.rows), default=1)
        return [text_table("", self.heads_of_columns or [""] * width, self.rows, words=range(1, width))]

    def list_facts(self) -> Sequence[Mapping[str, Any]]:
        """Return what is known of each item."""
        return self.facts or [dataclasses.asdict(item) for item in self.items]  # type: ignore[call-overload]
