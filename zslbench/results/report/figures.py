"""The figures of the page: those that the records have data for, as SVG that stands in the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from zslbench.errors import ZslbenchError
from zslbench.results.analysis.calibration import is_generalized
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.plots import KINDS
from zslbench.results.plots.backbones import BESIDE, find_crossed
from zslbench.results.plots.curves import timed_alone
from zslbench.results.plots.frame import DeclaredFacts, FigureRequest, settings, svg_text, symbol
from zslbench.results.plots.sensitivity import swept_parameters
from zslbench.results.plots.series import Line, group_by_data, lines_of, study_keys
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import Remark
from zslbench.spec import parse_recorded

WIDE, NARROW = 8.0, 3.4
"""Inches of a figure for desks and for phones; the page shows the one that its window has room for."""
MOST_PANELS = 12
MOST_READ = 200
"""Files of predictions that are read for a seen–unseen curve."""
MOST_FIGURES = 12
MOST_RUNS = 4_000
"""That figures are drawn from: more would take longer than all else on the page."""

_INK = {
    "#222222": "ink",
    "#000000": "ink",
    "#8a8a8a": "faint",
    "#b8b8b8": "strong",
    "#dddddd": "line",
    "#ffffff": "card",
}
_COLOUR = re.compile("|".join(_INK))
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r'(href="#|url\(#)([^")]*)')
_FONT = re.compile(r"(font: [^;\"]*?px|font-family:) '[^;\"]*")
_PATH = re.compile(r'\bd="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of the page: its kind and title, as SVG for wide and for narrow windows, and the remarks below it."""

    kind: str
    title: str
    svg: str
    narrow: str
    remarks: tuple[Remark, ...]


def draw_figures(
    records: Sequence[Record], store: ResultStore, known: DeclaredFacts, record_filter: RecordFilter
) -> tuple[list[Figure], list[str]]:
    """Return the figures that finished records of one stage have data for, and a sentence for each left out.

    `records` are those that a table takes; of `store` predictions, the dev stage and all rows are read; lines have
    the order that `record_filter` gives the rows of a table.
    """
    if len(records) > MOST_RUNS:
        advice = "draw those that you want with `zslbench plot KIND -m … -d … -o FILE`"
        return [], [f"{len(records):,} runs are more than the {MOST_RUNS:,} that this page draws from; {advice}."]
    drawn_figures: list[Figure] = []
    notes: list[str] = []
    lines = lines_of([record for record in records if record.metrics], record_filter)
    study = study_keys(store.load())
    for kind, title, request in _plans(lines, FigureRequest(store=store, width=WIDE, known=known, study=study)):
        if too_many := _say_too_many(kind, request.lines):
            notes.append(f"{title}: {too_many}; choose fewer with `zslbench plot {kind} -m … -d … -o FILE`.")
            continue
        if len(drawn_figures) == MOST_FIGURES:
            notes.append(f"{title}: the page holds {MOST_FIGURES} figures; draw it with `zslbench plot`.")
            continue
        try:
            with settings():
                drawn = KINDS[kind](request)
                narrow = KINDS[kind](dataclasses.replace(request, width=NARROW))
        except ZslbenchError as error:
            notes.append(f"{title}: {error}")
            continue
        number = len(drawn_figures) + 1
        svg, small = inline(svg_text(drawn), f"f{number}-"), inline(svg_text(narrow), f"n{number}-")
        drawn_figures.append(Figure(kind, title, svg, small, drawn.remarks))
    return drawn_figures, notes


def _plans(lines: Sequence[Line], request: FigureRequest) -> Iterator[tuple[str, str, FigureRequest]]:
    """Yield kind, title and request of what the lines have data for, in the order of the page."""

    def ask(lines: Sequence[Line], parameter: str | None = None) -> FigureRequest:
        return dataclasses.replace(request, lines=lines, parameter=parameter)

    kept = [line for line in lines if line.row.stage == "final" and _has_predictions(request.store, line)]
    if generalized := [line for line in kept if all(map(is_generalized, line.records))]:
        yield "curve", "Seen–unseen accuracy", ask(generalized)
    timed = [line for line in lines if timed_alone(line)]
    if any(len(group) > 1 for group in group_by_data(timed)):
        yield "pareto", "Accuracy against time", ask(timed)
    groups = group_by_data(lines)
    if len({group[0].row.dataset for group in groups if len(group) > 1}) > 1:
        yield "cd", "Ranks over data sets", ask(lines)
    yield from (
        (
            "backbones",
            f"Methods by {axis}, {crossed[0].row.data_name} ({getattr(crossed[0].row, BESIDE[axis])})",
            ask(crossed, axis),
        )
        for axis, crossed in find_crossed(lines)
    )
    if judged := [line for line in lines if all(len(record.curve) > 1 for record in line.records)]:
        yield "stability", "Error by epoch", ask(judged)
    logged = [line for line in lines if line.losses]
    if logged := [line for line in logged if line.row.protocol == "zsl"] or logged:
        yield "losses", "Training losses", ask(logged)
    for method in dict.fromkeys(line.row.method for line in lines):
        of_method = [line for line in lines if line.row.method == method]
        title, declared = of_method[0].row.title, request.known.ablations(method)
        if any(preset in declared for line in of_method for preset in parse_recorded(line.row.label).presets):
            yield "ablation", f"Ablations of {title}", ask(of_method)
        for name in swept_parameters(of_method):
            yield "sensitivity", f"{title} against {symbol(name)}", ask(of_method, name)
    for group in groups:
        if group[0].row.protocol == "zsl" and len(group) <= 2 and all(line in kept for line in group):
            yield "perclass", f"Accuracy by class, {group[0].row.data_name}", ask(group)


def _has_predictions(store: ResultStore, line: Line) -> bool:
    return all(
        record.provenance.get("selected", {}).get("last", True) and store.path(record).with_suffix(".npz").exists()
        for record in line.records
    )


def _say_too_many(kind: str, lines: Sequence[Line]) -> str:
    groups = group_by_data(lines)
    reads = sum(len(line.records) for line in lines)
    if kind not in ("cd", "backbones") and len(groups) > MOST_PANELS:
        return f"{len(groups)} panels are more than the {MOST_PANELS} that a page has room for"
    if kind in ("curve", "perclass") and reads > MOST_READ:
        return f"{reads} files of predictions are more than the {MOST_READ} that are read for it"
    return ""


def inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element of a page: ids of its own, ink in the page's colours, fonts of the page.

    >>> inline('<?xml?><svg><path id="a" style="stroke: #222222"/><use href="#a"/></svg>', "f1-")
    '<svg><path id="f1-a" style="stroke: var(--ink)"/><use href="#f1-a"/></svg>'
    """
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    used = {name for _, name in _USED.findall(body)}
    body = _ID.sub(lambda match: f' id="{prefix}{match[1]}"' if match[1] in used else "", body)
    body = _USED.sub(rf"\1{prefix}\2", body)
    body = _PATH.sub(lambda match: _DIGITS.sub(r"\1", match[0]).replace("\n", ""), body)
    body = _FONT.sub(r"\1 var(--sans)", body)
    body = _COLOUR.sub(lambda match: f"var(--{_INK[match[0]]})", body)
    return re.sub(r"\n\s*", "\n", body).strip()
