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
from zslbench.errors import BadValue, warn
from zslbench.results.plots.series import Line, MeanWithEnds
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.render import columns_of, wrap_sentences
from zslbench.results.tables.table import WARNINGS, Remark, shorten
from zslbench.visible import format_count

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GREY = "#222222", "#8a8a8a", "#b8b8b8"
# Okabe & Ito (2008), with a brown for the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B5A2B")
BAND = 0.13
"""How opaque a band over seeds is: several may overlap."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx")
FONT = 7.5
CHARACTER = 0.0078 * FONT
"""Inches that a letter takes on average."""
LEGEND_CHARACTER = 0.0078 * (FONT - 0.5)
TICK_FONT = FONT - 1
TICK_CHARACTER = CHARACTER * TICK_FONT / FONT
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
    "legend.title_fontsize": FONT - 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.35,
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
_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lam": "λ", "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ",
}  # fmt: skip
_ASSIGNED = re.compile(r"\w+(?= ?=)")
MOST_COLOURED = len(COLOURS)
"""Rows in colour; more cannot be told apart."""
_GREY_LOOK: Mapping[str, Any] = {"color": GREY, "linestyle": "-", "marker": ""}
_OTHERS = object()
"""The key of the legend that all rows in grey share."""


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
        methods: as they were asked for; metrics: a panel each, None: T1 and H.
        study: keys of all rows of the study, in the order of their looks; see `study_keys`.
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
    study: Sequence[str] = ()
    metrics: Sequence[str] | None = None
    parameter: str | None = None
    classes: int | Sequence[str] | None = None
    spread: str | None = None
    projection: str | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DrawnFigure:
    """A figure: its axes, one row per number drawn, and remarks for its caption; `caption` has their sentences."""

    axes: tuple[Axes, ...]
    rows: tuple[Mapping[str, Any], ...]
    remarks: tuple[Remark, ...]

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences of the remarks."""
        return tuple(remark.text for remark in self.remarks)

    def describe(self, length: str) -> tuple[str, ...]:
        """Return the sentences of a ``full`` or ``short`` caption; for ``none``, only the warnings."""
        if length == "full":
            return self.caption
        if length == "none":
            return tuple(remark.text for remark in self.remarks if remark.kind in WARNINGS)
        shown = [remark for remark in self.remarks if remark.kind == "figure"]
        return tuple(remark.text for remark in [*shown, *shorten(self.remarks)])

    def __repr__(self) -> str:
        drawn = f"{format_count(len(self.axes), 'panel')}, {format_count(len(self.rows), 'row')} of numbers"
        return f"<Figure: {drawn}; use .save(path) or .to_frame()>"

    def __str__(self) -> str:
        return "\n".join(wrap_sentences(self.describe("short"), columns_of(None)))

    def _repr_png_(self) -> bytes:
        with settings(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a sign that no font here has
            return figure_bytes(self.figure, "png", dots=160)

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers drawn as a pandas data frame, one row each."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def save(self, path: Path | str) -> Path:
        """Write a .pdf, .svg or .png file and return its path.

        A warning names characters that no font on this machine has.

        Raises:
            BadValue: the name ends differently.
            StoreError: the file cannot be written.
        """
        for sentence in write_figure(self, Path(path)):
            warn(sentence)
        return Path(path)

    @property
    def figure(self) -> Figure:
        """The figure of the axes."""
        return self.axes[0].get_figure()  # type: ignore[return-value]


class Frame:
    """A figure while it is drawn: panels, two or more side by side as the width has room for, and a legend below.

    Args:
        height: inches of a row of panels.
        legend: the text of each key, in order; a text without a handle is left out.
        looks: of the keys in colour, see `choose_looks`; the others are grey, with one text for all of them. None: a
            look of its own for each key.
        heading: over the legend; only_markers: whether there are no lines in it.
        most_columns: panels side by side at most, None: as many as the width has room for.

    Attributes:
        panel_width: inches of each panel, what stands beside its axes included.
        rows: of the numbers drawn.
    """

    def __init__(
        self,
        width: float,
        count: int,
        height: float,
        legend: Mapping[Any, str] | None = None,
        looks: Mapping[Any, Mapping[str, Any]] | None = None,
        heading: str = "",
        only_markers: bool = False,
        most_columns: int | None = None,
    ) -> None:
        texts = {key: with_symbols(text) for key, text in (legend or {}).items()}
        self.looks = {key: line_look(place) for place, key in enumerate(texts)} if looks is None else looks
        grey = len([key for key in texts if key not in self.looks])
        self.legend: dict[Any, str] = {key: text for key, text in texts.items() if key in self.looks}
        if grey:
            self.legend[_OTHERS] = "1 other" if grey == 1 else f"{grey} others"
        self.width, self.heading, self.handle_length = width, heading, 0.8 if only_markers else 2.2
        longest = max(map(len, self.legend.values()), default=0) * LEGEND_CHARACTER
        longest += 0.28 if only_markers else 0.42
        self.legend_columns = max(1, min(len(self.legend), int(width / longest)))
        lines = math.ceil(len(self.legend) / self.legend_columns) + bool(heading)
        below = 0.135 * lines + 0.08 if self.legend else 0.0
        columns = min(count, fitting_columns(width), most_columns or count)
        rows = math.ceil(count / columns)
        columns = math.ceil(count / rows)  # six panels are three above three, not five above one
        self.panel_width = width / columns
        self.figure = new_figure((width, rows * height + below), 0.03)
        flat = list(self.figure.subplots(rows, columns, squeeze=False).ravel())
        for spare in flat[count:]:
            spare.remove()
        self.axes: list[Axes] = flat[:count]
        self.rows: list[dict[str, Any]] = []
        self._handles: dict[Hashable, Any] = {}

    def look(self, key: Hashable) -> dict[str, Any]:
        """Return how the line of a key of the legend looks."""
        return dict(self.looks.get(key, _GREY_LOOK))

    def is_grey(self, key: Hashable) -> bool:
        """Return whether a key is among the others."""
        return key not in self.looks

    def add_handle(self, key: Hashable, handle: Any) -> None:
        """Show in the legend what stands for a key."""
        self._handles[_OTHERS if self.is_grey(key) else key] = handle

    def layer(self, key: Hashable) -> dict[str, Any]:
        """Return how thick a line is drawn, and above what: the others are thin, and below those in colour."""
        return {"lw": 0.7, "zorder": 1.5} if self.is_grey(key) else {"zorder": 2.5}

    def draw_line(self, axes: Axes, key: Hashable, xs: Sequence[float], points: Sequence[MeanWithEnds]) -> None:
        """Draw means joined by a line, a marker for one in ten where they are many, and a band if it is in colour."""
        look = self.look(key)
        means, lows, highs, _ = zip(*points, strict=True)
        (handle,) = axes.plot(xs, means, markevery=max(1, len(xs) // 10), **look, **self.layer(key))
        self.add_handle(key, handle)
        if not self.is_grey(key):
            axes.fill_between(xs, lows, highs, color=look["color"], alpha=BAND, lw=0)

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
        """Return the figure with its legend and remarks."""
        self._add_legend()
        self.figure.align_ylabels()
        return DrawnFigure(tuple(self.axes), tuple(self.rows), tuple(remarks))

    def _add_legend(self) -> None:
        """Put the legend below all axes, where it hides nothing."""
        keys = [key for key in self.legend if key in self._handles]
        if keys:
            texts = [wrap(self.legend[key], self.width - 0.5) for key in keys]
            handles = [self._handles[key] for key in keys]
            legend = self.figure.legend(
                handles,
                texts,
                loc="outside lower center",
                ncols=self.legend_columns,
                borderaxespad=0.2,
                handlelength=self.handle_length,
            )
            if self.heading:
                legend.set_title(wrap(self.heading, self.width - 0.2))


def escape(text: str) -> str:
    """Return `text` such that it appears as it is, dollar signs and all."""
    return text.replace("$", r"\$")  # two bare ones would begin and end mathematics


def wrap(text: str, inches: float) -> str:
    """Return `text` in lines of about that many inches, as it is to appear."""
    lines = textwrap.wrap(text, max(8, int(inches / CHARACTER)), break_on_hyphens=False)
    return "\n".join(map(escape, lines))


def text_width(text: str, size: float = FONT) -> float:
    """Return the inches that a text takes, its letters `size` points high."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / 72


def symbol(parameter: str) -> str:
    """Return a parameter as papers write it: γ for ``gamma``; a name that is no Greek letter stays."""
    return _GREEK.get(parameter, parameter)


def with_symbols(text: str) -> str:
    """Return a text with the symbols of parameters that it gives values of.

    >>> with_symbols("ESZSL (gamma=10, lam=1)")
    'ESZSL (γ=10, λ=1)'
    """
    return _ASSIGNED.sub(lambda match: symbol(match[0]), text)


def choose_looks(
    request: FigureRequest, labels: Mapping[str, str], scores: Mapping[str, float] | None = None
) -> dict[str, dict[str, Any]]:
    """Return how the rows in colour look, by name: each as in every figure of the study.

    Of more rows than there are colours, those of the highest scores are coloured; without scores, the first. A row of
    the study keeps its look, even where two of one colour meet: they differ in dash and marker. What is no row of the
    study, such as a sweep over many, takes a colour that the figure has left.

    Args:
        labels: the key in `FigureRequest.study` of each row by its name.
    """
    names = [*labels]
    if scores is not None:
        best = sorted(names, key=lambda name: -scores[name])[:MOST_COLOURED]
        names = [name for name in names if name in best]
    names = names[:MOST_COLOURED]
    ranks = {label: place for place, label in enumerate(request.study)}
    looks: dict[str, dict[str, Any]] = {}
    for name in sorted(names, key=lambda name: ranks.get(labels[name], len(ranks))):
        look = line_look(ranks[labels[name]]) if labels[name] in ranks else None
        if look is None or look in looks.values():
            used = [taken["color"] for taken in looks.values()]
            look = next(free for free in map(line_look, range(MOST_COLOURED)) if free["color"] not in used)
        looks[name] = look
    return {name: looks[name] for name in names}


def describe_colours(
    looks: Mapping[str, Any], names: Sequence[str], score: str, panels: int, first: str = ""
) -> list[str]:
    """Say which rows are in colour where not all are: those of the highest scores of a panel, and which come first."""
    grey = len({*names} - {*looks})
    where = " of a panel" if panels > 1 else ""
    return [f"In colour: the {len(looks)} with the highest {score}{where}{first}; {grey} in grey."] if grey else []


def line_look(place: int) -> dict[str, Any]:
    """Return colour, dash and marker of one line of many.

    No two of the first 36 share dash and marker, and no two of the first 28 colour and dash.
    """
    return {
        "color": COLOURS[(place + place // len(COLOURS)) % len(COLOURS)],
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


def fitting_columns(width: float) -> int:
    """Return how many panels stand side by side at most."""
    return max(1, round(width / 1.7))


def keep_percent(axes: Axes) -> None:
    """Let the vertical axis end where percentages do, and span two points at least: noise must not look steep."""
    low, high = axes.get_ylim()
    if (short := 2.0 - (high - low)) > 0:
        low = min(max(low - short / 2, -0.1), 98.1)
        high = low + 2.0
    axes.set_ylim(max(low, -2.0), min(high, 102.0))


def set_log_axis(axes: Axes) -> None:
    """Make the vertical axis logarithmic, its ticks plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def set_whole_ticks(axes: Axes) -> None:
    """Let the horizontal axis, of epochs, have whole numbers at its ticks."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def file_kind(path: Path) -> str:
    """Return the kind of file that a name asks for; BadValue for another than PDF, SVG or PNG."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FILES:
        name = files.name_file(path)
        raise BadValue(f"a figure is a .pdf, .svg or .png file, not {name}; name it so, as in figure.pdf.")
    return kind


def figure_bytes(figure: Figure, kind: str, dots: int = 300) -> bytes:
    """Return what the file of a figure holds, in the current settings; a .png has so many `dots` per inch."""
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dots, metadata=_NO_DATE.get(kind))
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
