"""Lines of a screen that never break: cells of a width, bars, and sections that give way where room is short."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "
Cell = tuple[str, str]
"""A text and its style."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A title and things below it, each of one or more lines.

    Attributes:
        rank: those of the lowest rank give way first where the screen is low.
        least: things that stay as long as the section does.
    """

    title: str
    things: Sequence[Sequence[Text]]
    rank: int
    least: int = 1

    def lines(self, shown: int) -> list[Text]:
        """Return the title, so many things, and how many more there are."""
        found = [line([(self.title, "bold")], [0])]
        found += [one for thing in self.things[:shown] for one in thing]
        if hidden := len(self.things) - shown:
            found.append(line([(f"  and {hidden:,} more", "dim")], [0]))
        return found


def line(cells: Sequence[Cell], widths: Sequence[int]) -> Text:
    """Return one line of cells; a width of 0 means as wide as the text, below 0 to the right of that many columns."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    found = Text(no_wrap=True, overflow="ellipsis")
    for place, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
        size = abs(width)
        if size and cell_len(text) > size:
            text = set_cell_size(text, max(0, size - 1)) + "…"
        room = " " * max(0, size - cell_len(text))
        found.append(GAP if place else "")
        found.append(room + text if width < 0 else text + room, style)
    return found


def widths(rows: Sequence[Sequence[Cell]], total: int, giving: int, most: dict[int, int] | None = None) -> list[int]:
    """Return the widths of columns: of their longest cell, and of column `giving` what is left of `total`.

    `most` holds the greatest width of some columns.
    """
    from rich.cells import cell_len

    found = [max(cell_len(row[place][0]) for row in rows) for place in range(len(rows[0]))]
    found = [min(size, (most or {}).get(place, size)) for place, size in enumerate(found)]
    left = total - sum(found) + found[giving] - len(GAP) * (len(found) - 1)
    found[giving] = max(1, min(found[giving], left)) if left > 0 else 1
    return found


def bar(share: float, width: int) -> str:
    """Return a bar that is filled by a share from 0 to 1, legible without colour.

    >>> bar(0.5, 10)
    '━━━━━─────'
    """
    full = round(min(1.0, max(0.0, share)) * width)
    return "━" * full + "─" * (width - full)


def fitted(sections: Sequence[Section], room: int | None, gap: int) -> list[int | None]:
    """Return how many things each section shows in `room` lines (None: any number); None: it is not shown at all.

    What is of lowest rank shrinks first, down to its least; when all have shrunk, sections go in the same order.
    """
    shown: list[int | None] = [len(section.things) for section in sections]
    if room is None:
        return shown
    order = sorted(range(len(sections)), key=lambda place: sections[place].rank)

    def taken() -> int:
        return sum(gap + _height(sections[place], number) for place, number in enumerate(shown) if number is not None)

    for place in order:
        while taken() > room and (number := shown[place]) is not None and number > sections[place].least:
            shown[place] = number - 1
    for place in order:
        if taken() > room:
            shown[place] = None
    return shown


def _height(section: Section, shown: int) -> int:
    return 1 + sum(len(thing) for thing in section.things[:shown]) + (shown < len(section.things))
