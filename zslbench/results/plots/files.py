"""What a figure shows, and how it becomes files: PDF, SVG, PNG or PGF, and its numbers as CSV."""

from __future__ import annotations

import dataclasses
import io
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench import files
from zslbench.errors import BadValue, StoreError
from zslbench.files import write_atomically, write_text
from zslbench.results.plots.style import settings
from zslbench.results.tables.table import Remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILES = ("pdf", "svg", "png", "pgf")
_DIGITS = 6
_LACKING = re.compile(r"Glyph (\d+) .*missing from")
# No date within, so that the same records give the same file.
_ABOUT: Mapping[str, Any] = {"pdf": {"metadata": {"CreationDate": None}}, "svg": {"metadata": {"Date": None}}}


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


def file_kind(path: Path) -> str:
    """Return the kind of file that a name asks for.

    Raises:
        BadValue: another than PDF, SVG, PNG or PGF.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FILES:
        raise BadValue(f"a figure is a .pdf, .svg, .png or .pgf file, not {path.name!r}; name it so, as in figure.pdf.")
    return kind


def write_figure(drawn: Drawn, path: Path, dpi: int = 300) -> list[str]:
    """Write a figure, and return remarks on what its fonts lack.

    A PGF with a picture in it (a confusion matrix) puts that beside itself as ``<name>-img0.png``.

    Raises:
        BadValue: another kind of file. StoreError: it cannot be written, or PGF without a LaTeX that works.
    """
    kind, what = file_kind(path), f"the figure {path.name}"
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = Path(folder) / path.name
        try:
            with settings():
                drawn.figure.savefig(made, format=kind, dpi=dpi, **_ABOUT.get(kind, {}))
        except (FileNotFoundError, RuntimeError) as error:
            if kind != "pgf":
                raise
            why = (str(error).splitlines() or ["no output"])[0].partition(";")[0]
            raise StoreError(
                f"cannot write {what}: LaTeX, which measures its texts, did not work ({why}); install pdflatex with "
                "pgf, or write a .pdf."
            ) from None
        for one in sorted(Path(folder).iterdir(), key=lambda one: one.name == path.name):
            content = one.read_bytes()
            write_atomically(path.with_name(one.name), lambda file, content=content: file.write(content), what)  # type: ignore[misc]
    lacking = sorted({chr(int(found[1])) for one in told if (found := _LACKING.match(str(one.message)))})
    if not lacking or kind == "svg":
        return []
    many = "s" if len(lacking) > 1 else ""
    return [f"No font here has the sign{many} {' '.join(lacking)}; a .svg keeps the text."]


def svg_text(drawn: Drawn) -> str:
    """Return a figure as the text of an SVG, its fonts kept as text."""
    made = io.BytesIO()
    with settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that no font here has is text, which the reader's fonts may have
        drawn.figure.savefig(made, format="svg", **_ABOUT["svg"])
    return made.getvalue().decode("utf-8")


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
