"""What a figure shows, and how it becomes files: PDF, SVG or PNG, and its numbers as CSV."""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench import files
from zslbench.errors import BadValue
from zslbench.files import write_atomically, write_text
from zslbench.results.plots.style import settings
from zslbench.results.tables.table import Remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILES = ("pdf", "svg", "png")
_DIGITS = 6
_LACKING = re.compile(r"Glyph (\d+) .*missing from")
# No date within, so that the same records give the same file.
_NO_DATE: Mapping[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Drawn:
    """A figure: its axes, a row a number drawn, and what goes below it in a paper; `caption` has the sentences."""

    axes: tuple[Axes, ...]
    rows: tuple[Mapping[str, Any], ...]
    remarks: tuple[Remark, ...]

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences of the remarks."""
        return tuple(remark.text for remark in self.remarks)

    def __repr__(self) -> str:
        return f"<Drawn: {len(self.axes)} panels of {len(self.rows)} numbers>"

    @property
    def figure(self) -> Figure:
        """The figure of the axes."""
        return self.axes[0].get_figure()  # type: ignore[return-value]


def file_kind(path: Path, what: str = "figure") -> str:
    """Return the kind of file that a name asks for.

    Raises:
        BadValue: another than PDF, SVG or PNG.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FILES:
        example = "ranks.pdf" if what == "diagram" else "figure.pdf"
        raise BadValue(f"a {what} is a .pdf, .svg or .png file, not {path.name!r}; name it so, as in {example}.")
    return kind


def write_figure(drawn: Drawn, path: Path, dpi: int = 300) -> list[str]:
    """Write a figure, and return remarks on what its fonts lack.

    Raises:
        BadValue: another kind of file. StoreError: it cannot be written.
    """
    kind = file_kind(path)
    with settings(), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        content = figure_bytes(drawn.figure, kind, dpi)
    write_atomically(path, lambda file: file.write(content), f"the figure {path.name}")
    lacking = sorted({chr(int(glyph[1])) for one in raised if (glyph := _LACKING.match(str(one.message)))})
    if not lacking or kind == "svg":
        return []
    many = "s" if len(lacking) > 1 else ""
    return [f"No font here has the sign{many} {' '.join(lacking)}; a .svg keeps the text."]


def svg_text(drawn: Drawn) -> str:
    """Return a figure as the text of an SVG, its fonts kept as text."""
    with settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that no font here has is text, which the reader's fonts may have
        return figure_bytes(drawn.figure, "svg").decode("utf-8")


def figure_bytes(figure: Figure, kind: str, dpi: int = 300) -> bytes:
    """Return what the file of a figure holds, in the current settings."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dpi, metadata=_NO_DATE.get(kind))
    return content.getvalue()


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as CSV, the heads of all rows in order of first appearance, numbers to six digits after the point."""
    return files.csv_text(
        [
            {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in row.items()}
            for row in rows
        ]
    )


def write_data(drawn: Drawn, path: Path) -> None:
    """Write the numbers that a figure shows.

    Raises:
        StoreError: the file cannot be written.
    """
    text = csv_text(drawn.rows)
    write_text(path, text, f"the numbers {path.name}")
