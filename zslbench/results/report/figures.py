"""The figures of the page: those that the records have data for, as SVG that stands in the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from zslbench.errors import ZslbenchError
from zslbench.results.analysis.calibration import is_generalized
from zslbench.results.plots.ablation import draw_ablation
from zslbench.results.plots.curves import draw_curves
from zslbench.results.plots.draw import Knowledge
from zslbench.results.plots.files import Drawn, svg_text
from zslbench.results.plots.lines import Line, group_by_data, lines_of
from zslbench.results.plots.pareto import draw_pareto, timed_alone
from zslbench.results.plots.perclass import draw_perclass
from zslbench.results.plots.ranks import draw_ranks
from zslbench.results.plots.sensitivity import draw_sensitivity, swept_parameters
from zslbench.results.plots.stability import draw_stability
from zslbench.results.plots.style import Style, settings
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.tables.table import Remark
from zslbench.spec import parse_recorded

WIDTH = 8.0
MOST_LINES = 16
"""In one panel; more cannot be told apart."""
MOST_PANELS = 12
MOST_READ = 200
"""Files of predictions that are read for a seen–unseen curve."""
MOST_FIGURES = 12
MOST_RUNS = 4_000
"""That figures are drawn from: more would take longer than all else on the page."""

_INK = {"#222222": "ink", "#000000": "ink", "#8a8a8a": "faint", "#dddddd": "line", "#ffffff": "card"}
_COLOUR = re.compile("|".join(_INK))
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r'(href="#|url\(#)([^")]*)')
_FONT = re.compile(r"(font: [^;\"]*?px|font-family:) '[^;\"]*")
_PATH = re.compile(r'\bd="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of the page: its kind, title and SVG, and the remarks below it."""

    kind: str
    title: str
    svg: str
    remarks: tuple[Remark, ...]

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences below it."""
        return tuple(remark.text for remark in self.remarks)

    @property
    def parted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The sentences of this kind of figure, and those that say what any number is: data, split, seeds, …."""
        own = tuple(remark.text for remark in self.remarks if remark.kind == "figure")
        return own, tuple(remark.text for remark in self.remarks if remark.kind != "figure")


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A figure that may be drawn: of which lines, and by what."""

    kind: str
    title: str
    lines: Sequence[Line]
    draw: Callable[[], Drawn]
    reads: int = 0


def figures(
    records: Sequence[Record], dev: Sequence[Record], store: ResultStore, known: Knowledge
) -> tuple[list[Figure], list[str]]:
    """Return the figures that finished records of one stage have data for, and a sentence for each left out for size.

    Args:
        records: as a table takes them; dev: those of the dev stage, for points of calibrated stacking.
        store: whose predictions are read; known: what records do not hold.
    """
    if len(records) > MOST_RUNS:
        advice = "draw those that you want with `zslbench plot KIND -m … -d … -o FILE`"
        return [], [f"{len(records):,} runs are more than the {MOST_RUNS:,} that this page draws from; {advice}."]
    found: list[Figure] = []
    notes: list[str] = []
    for plan in _plans(lines_of([record for record in records if record.metrics]), dev, store, known):
        if too := _too_many(plan):
            notes.append(f"{plan.title}: {too}; choose fewer with `zslbench plot {plan.kind} -m … -d … -o FILE`.")
            continue
        if len(found) == MOST_FIGURES:
            notes.append(f"{plan.title}: the page holds {MOST_FIGURES} figures; draw it with `zslbench plot`.")
            continue
        try:
            with settings():
                drawn = plan.draw()
        except ZslbenchError as error:
            notes.append(f"{plan.title}: {error}")
            continue
        svg = inline(svg_text(drawn), f"f{len(found) + 1}-")
        found.append(Figure(plan.kind, plan.title, svg, drawn.remarks))
    return found, notes


def _plans(lines: Sequence[Line], dev: Sequence[Record], store: ResultStore, known: Knowledge) -> Iterator[_Plan]:
    """Yield what the lines have data for, in the order of the page."""
    style = Style(WIDTH)
    general = [line for line in lines if all(map(is_generalized, line.records)) and line.row.stage == "final"]
    kept = [line for line in general if all(_has_predictions(store, record) for record in line.records)]
    if kept:
        reads = sum(len(line.records) for line in kept)
        yield _Plan(
            "curve",
            "Seen–unseen accuracy",
            kept,
            lambda: draw_curves(kept, dev, store.predictions, style),
            reads,
        )
    timed = [line for line in lines if timed_alone(line)]
    if any(len(own) > 1 for own in group_by_data(timed)):
        yield _Plan("pareto", "Accuracy against time", timed, lambda: draw_pareto(timed, style))
    by_data = group_by_data(lines)
    if len({own[0].row.dataset for own in by_data if len(own) > 1}) > 1:
        yield _Plan("cd", "Ranks over data sets", [], lambda: draw_ranks(lines, style))
    judged = [line for line in lines if all(len(record.curve) > 1 for record in line.records)]
    if judged:
        yield _Plan("stability", "Error by epoch", judged, lambda: draw_stability(judged, style, runs=store.root))
    for method in dict.fromkeys(line.row.method for line in lines):
        yield from _of_method([line for line in lines if line.row.method == method], style, store, known)
    alone = [own for own in by_data if own[0].row.protocol == "zsl" and len(own) <= 2 and own[0].row.stage == "final"]
    for own in alone:
        if all(_has_predictions(store, record) for line in own for record in line.records):
            names = known.class_names(own[0].records[0])
            yield _Plan(
                "perclass",
                f"Accuracy by class, {own[0].row.dataset}",
                own,
                lambda own=own, names=names: draw_perclass(own, store.predictions, style, names),  # type: ignore[misc]
                sum(len(line.records) for line in own),
            )


def _of_method(own: Sequence[Line], style: Style, store: ResultStore, known: Knowledge) -> Iterator[_Plan]:
    method, title = own[0].row.method, own[0].row.title
    declared = known.ablations(method)
    if any(preset in declared for line in own for preset in parse_recorded(line.row.label).presets):
        yield _Plan(
            "ablation",
            f"Ablations of {title}",
            own,
            lambda: draw_ablation(own, style, known.ablations, runs=store.root),
        )
    if len(own) < 2:
        return
    for name in swept_parameters(own):
        yield _Plan(
            "sensitivity",
            f"{title} against {name}",
            own,
            lambda name=name: draw_sensitivity(  # type: ignore[misc]
                own, style, name, logarithmic=known.logarithmic, runs=store.root
            ),
        )


def _has_predictions(store: ResultStore, record: Record) -> bool:
    last = record.provenance.get("selected", {}).get("last", True)
    return bool(last) and store.path(record).with_suffix(".npz").exists()


def _too_many(plan: _Plan) -> str:
    groups = group_by_data(plan.lines)
    most = max(map(len, groups), default=0)
    if plan.kind != "sensitivity" and most > MOST_LINES:
        return f"{most} lines in one panel are more than the {MOST_LINES} that can be told apart"
    if len(groups) > MOST_PANELS:
        return f"{len(groups)} panels are more than the {MOST_PANELS} that a page has room for"
    if plan.reads > MOST_READ:
        return f"{plan.reads} files of predictions are more than the {MOST_READ} that are read for it"
    return ""


def inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element of a page: ids of its own, ink in the page's colours, fonts of the page.

    >>> inline('<?xml?><svg><path id="a" style="stroke: #222222"/><use href="#a"/></svg>', "f1-")
    '<svg><path id="f1-a" style="stroke: var(--ink)"/><use href="#f1-a"/></svg>'
    """
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    used = {name for _, name in _USED.findall(body)}
    body = _ID.sub(lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", body)
    body = _USED.sub(rf"\1{prefix}\2", body)
    body = _PATH.sub(lambda found: _DIGITS.sub(r"\1", found[0]).replace("\n", ""), body)
    body = _FONT.sub(r"\1 var(--sans)", body)
    body = _COLOUR.sub(lambda found: f"var(--{_INK[found[0]]})", body)
    return re.sub(r"\n\s*", "\n", body).strip()
