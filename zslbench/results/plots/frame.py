"""What all figures share: what is asked for, one style, panels with a legend below, and the files they become."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench import files
from zslbench.errors import BadValue
from zslbench.results.plots.series import Line
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import Remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#222222", "#8a8a8a"
# Okabe & Ito (2008) without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx")
FONT = 7.5
CHARACTER = 0.0078 * FONT
"""Inches that a letter takes on average."""
TICK_FONT = FONT - 1
STYLE: Mapping[str, Any] = {
    "font.size": FONT,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Arial Unicode MS"],
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.labelsize": TICK_FONT,
    "ytick.labelsize": TICK_FONT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": FONT - 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "hatch.linewidth": 0.5,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "zslbench",
}
"""Fonts stay text (Type 42 in PDF), and the same records give the same file."""
FILES = ("pdf", "svg", "png")
_LACKING = re.compile(r"Glyph (\d+) .*missing from")
# No date within, so that the same records give the same file.
_NO_DATE: Mapping[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
_HIGHEST_LABEL = 1.9


@dataclasses.dataclass(frozen=True)
class DeclaredFacts:
    """What records do not hold, asked of whoever draws.

    Attributes:
        class_names: of the data that a record is of, by class id; those unknown are left out.
        logarithmic: whether a method declares a parameter on a logarithmic scale.
        ablations: the named settings of a method, with the values of each.
        synthesises: whether a method makes features of classes.
    """

    class_names: Callable[[Record], Mapping[int, str]]
    logarithmic: Callable[[str, str], bool]
    ablations: Callable[[str], Mapping[str, Mapping[str, Any]]]
    synthesises: Callable[[str], bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """What is to be drawn.

    Attributes:
        store: whose predictions and features are read, and whose folder is named in the sentences that give commands.
        width: inches; known: what records do not hold; lines: what is drawn.
        methods: as they were asked for, of ``cd``; metrics: a panel each, None: T1 and H.
        parameter: of ``sensitivity``, None: the only one that was swept.
        classes: of ``confusion``, ``perclass`` and ``features``, by name or number, or how many; None: the kind's own.
        spread: ``std`` or ``ci``, None: what suits the kind.
        projection: of ``features``, ``pca`` or ``tsne``, None: PCA.
    """

    store: ResultStore
    width: float
    known: DeclaredFacts
    lines: Sequence[Line] = ()
    methods: Sequence[str] = ()
    metrics: Sequence[str] | None = None
    parameter: str | None = None
    classes: int | Sequence[str] | None = None
    spread: str | None = None
    projection: str | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DrawnFigure:
    """A figure: its axes, a row per number drawn, and what goes below it in a paper; `caption` has the sentences."""

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


class Frame:
    """A figure while it is drawn: panels, two or more side by side as the width has room for, and a legend below.

    Args:
        height: inches of a row of panels.
        legend: the text of each key of `handles`, in order; a text without a handle is left out.

    Attributes:
        panel_width: inches of each panel, what stands beside its axes included.
        rows: of the numbers drawn.
    """

    def __init__(self, width: float, count: int, height: float, legend: Mapping[Any, str] | None = None) -> None:
        self.width, self.legend = width, legend or {}
        longest = max(map(len, self.legend.values()), default=0) * CHARACTER + 0.5
        self.legend_columns = max(1, min(len(self.legend), int(width / longest)))
        below = 0.15 * math.ceil(len(self.legend) / self.legend_columns) + 0.08 if self.legend else 0.0
        columns = min(count, most_columns(width))
        self.panel_width = width / columns
        rows = math.ceil(count / columns)
        self.figure = new_figure((width, rows * height + below), 0.03)
        flat = list(self.figure.subplots(rows, columns, squeeze=False).ravel())
        for spare in flat[count:]:
            spare.remove()
        self.axes: list[Axes] = flat[:count]
        self.handles: dict[Hashable, Any] = {}
        self.rows: list[dict[str, Any]] = []

    def look(self, key: Hashable) -> dict[str, Any]:
        """Return how the line of a key of the legend looks."""
        return line_look(list(self.legend).index(key))

    def dress(
        self, axes: Axes, title: str, labels: tuple[str, str], grid: str = "y", room: float | None = None
    ) -> None:
        """Write the title and labels of a panel, and put a grid behind what is drawn.

        Args:
            labels: of the horizontal and the vertical axis, empty for none; grid: lines across ``x``, ``y``, ``both``.
            room: inches that a line of the title has; None: the width of a panel.
        """
        room = room or self.panel_width - 0.15
        axes.set_xlabel(wrap(labels[0], room))
        axes.set_ylabel(wrap(labels[1], _HIGHEST_LABEL))
        axes.set_title(wrap(title, room))
        axes.grid(axis=grid)  # type: ignore[arg-type]
        axes.set_axisbelow(True)

    def drawn(self, remarks: Sequence[Remark]) -> DrawnFigure:
        """Put the legend below all axes, where it hides nothing, and return the figure with its remarks."""
        keys = [key for key in self.legend if key in self.handles]
        if keys:
            texts = [wrap(self.legend[key], self.width - 0.5) for key in keys]
            handles = [self.handles[key] for key in keys]
            ncols = self.legend_columns
            self.figure.legend(handles, texts, loc="outside lower center", ncols=ncols, borderaxespad=0.2)
        return DrawnFigure(tuple(self.axes), tuple(self.rows), tuple(remarks))


def escape(text: str) -> str:
    """Return `text` such that it appears as it is, dollar signs and all."""
    return text.replace("$", r"\$")  # two bare ones would begin and end mathematics


def wrap(text: str, inches: float) -> str:
    """Return `text` in lines of about that many inches, as it is to appear."""
    lines = textwrap.wrap(text, max(8, int(inches / CHARACTER)), break_on_hyphens=False)
    return "\n".join(map(escape, lines))


def line_look(place: int) -> dict[str, Any]:
    """Return colour, dash and marker of one line of many; no two of the first 36 share dash and marker."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


@contextlib.contextmanager
def settings(style: Mapping[str, Any] = STYLE) -> Iterator[None]:
    """Draw and write within: matplotlib's own defaults and `style`, whatever the user's files and environment say.

    Neither a matplotlibrc, nor a back end of another environment's notebook, nor a date has a part in a figure. All of
    it is as before afterwards.
    """
    hidden = {name: os.environ.pop(name) for name in ("MPLBACKEND", "SOURCE_DATE_EPOCH") if name in os.environ}
    try:
        first = "matplotlib" not in sys.modules
        import matplotlib

        if first and "MPLBACKEND" in hidden:
            with contextlib.suppress(ValueError):  # that back end is not installed here
                matplotlib.rcParams["backend"] = hidden["MPLBACKEND"]
        # The back end is left alone: to set it would close the figures of a notebook that draws some itself.
        plain: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
        with matplotlib.rc_context(plain | dict(style)):
            yield
    finally:
        os.environ.update(hidden)


def new_figure(size: tuple[float, float], padding: float | None = None) -> Figure:
    """Return an empty figure of (width, height) inches that no window shows; with `padding` its layout is found."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=None if padding is None else "constrained")
    FigureCanvasAgg(figure)
    if padding is not None:
        figure.get_layout_engine().set(w_pad=padding, h_pad=padding)  # type: ignore[union-attr,call-arg]
    return figure


def most_columns(width: float) -> int:
    """Return how many panels stand side by side at most."""
    return max(1, round(width / 1.7))


def keep_percent(axes: Axes) -> None:
    """Let the vertical axis end where percentages do, and span two points at least: noise must not look steep."""
    low, high = axes.get_ylim()
    if (short := 2.0 - (high - low)) > 0:
        low = min(max(low - short / 2, -0.1), 98.1)
        high = low + 2.0
    axes.set_ylim(max(low, -2.0), min(high, 102.0))


def file_kind(path: Path, name: str = "figure") -> str:
    """Return the kind of file that a name asks for; BadValue for another than PDF, SVG or PNG."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FILES:
        example = "ranks.pdf" if name == "diagram" else "figure.pdf"
        raise BadValue(f"a {name} is a .pdf, .svg or .png file, not {path.name!r}; name it so, as in {example}.")
    return kind


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return what the file of a figure holds, in the current settings."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=300, metadata=_NO_DATE.get(kind))
    return content.getvalue()


def write_figure(drawn: DrawnFigure, path: Path) -> list[str]:
    """Write a figure, and return sentences on what its fonts lack; StoreError where it cannot be written."""
    kind = file_kind(path)
    with settings(), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        content = figure_bytes(drawn.figure, kind)
    files.write_atomically(path, lambda file: file.write(content), f"the figure {path.name}")
    glyphs = [_LACKING.match(str(warning.message)) for warning in raised]
    lacking = sorted({chr(int(glyph[1])) for glyph in glyphs if glyph})
    if not lacking or kind == "svg":
        return []
    many = "s" if len(lacking) > 1 else ""
    return [f"No font here has the sign{many} {' '.join(lacking)}; a .svg keeps the text."]


def svg_text(drawn: DrawnFigure) -> str:
    """Return a figure as the text of an SVG, its fonts kept as text."""
    with settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that no font here has is text, which the reader's fonts may have
        return figure_bytes(drawn.figure, "svg").decode("utf-8")
