"""The tables of a reproduction: each published number, what was measured, and the verdict."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.results.tables.captions import TRANSDUCTIVE, TWO_SEEDS, describe_selections, spans
from zslbench.results.tables.data import pick_facts, round_numbers
from zslbench.results.tables.table import Cell as TableCell
from zslbench.results.tables.table import Remark, Table, remarks, signed, stat_cell, text_table
from zslbench.results.tables.terminal import MISSING
from zslbench.runner.run import Outcome
from zslbench.studies.values import describe_failures
from zslbench.visible import format_count

if TYPE_CHECKING:
    from zslbench.studies.reproduce import Cell

SPLIT = "proposed split (PS) of Xian et al."
_HEADS = ("method", "metric", "published", "measured", "difference", "95 % interval", "verdict", "run")


def facts(cell: Cell, tolerance: float) -> dict[str, Any]:
    """Return a cell as plain facts, accuracies in percent."""
    entry, answer = cell.entry, cell.answer
    mean, std = (cell.stat.mean, cell.stat.std) if cell.stat else (None, None)
    return {
        **pick_facts(entry, "source", "table", "dataset", "method", "metric"),
        "published": entry.value,
        "published_features": entry.features,
        "published_semantics": entry.semantics,
        "published_oracle": bool(entry.oracle),
        "published_transductive": entry.transductive,
        "note": entry.note,
        "split": "proposed split (PS)",
        **pick_facts(answer, "features", "semantics"),
        "run": answer.spec,
        "values_from": answer.how,
        **pick_facts(cell, "selection", "transductive", "seeds"),
        **round_numbers({"mean": mean, "std": std} | pick_facts(cell, "low", "high", "difference")),
        "tolerance": tolerance,
        **pick_facts(cell, "verdict", "reason"),
    }


def reproduction_tables(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[Table]:
    """Return a table for each data set; sentences below the last say what numbers and verdicts are."""
    notes: dict[str, int] = {}
    tables = []
    for place in dict.fromkeys(_place(cell) for cell in cells):
        rows = [_row(cell, notes) for cell in cells if _place(cell) == place]
        tables.append(text_table(place, _HEADS, rows, words=[1, 6, 7]))
    below = tuple(_remarks(cells, tolerance, seeds, outcome))
    return [*tables[:-1], dataclasses.replace(tables[-1], remarks=below, notes=tuple(f"{text}." for text in notes))]


def _place(cell: Cell) -> str:
    entry, answer = cell.entry, cell.answer
    used = "here too" if not answer.other else f"here {answer.features}, {answer.semantics}"
    return (
        f"{entry.source}, {entry.table}, {entry.dataset}: published on {entry.features}, {entry.semantics}, "
        f"{used}; {SPLIT}"
    )


def _row(cell: Cell, notes: dict[str, int]) -> list[str | TableCell | None]:
    entry = cell.entry
    marks = ("†" if entry.oracle else "") + ("‡" if entry.transductive else "")
    note = notes.setdefault(entry.note, len(notes) + 1) if entry.note else 0
    published = TableCell(f"{entry.value:.1f}", marks=marks, note=note)
    verdict, interval = cell.verdict, MISSING
    if cell.stat is None:
        verdict = cell.reason if cell.verdict == "absent" else f"{cell.verdict}: {cell.reason}"
    elif cell.low is not None and cell.high is not None:
        interval = f"{cell.low:.1f} to {cell.high:.1f}" if cell.stochastic else "deterministic"
    difference = None if cell.difference is None else TableCell(signed(cell.difference, 2))
    stat = stat_cell(cell.stat, " ‡" if cell.transductive else "")
    return [entry.method, entry.metric, published, stat, difference, interval, verdict, cell.answer.spec or MISSING]


def _remarks(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[Remark]:
    counts = Counter(cell.verdict for cell in cells)
    measured = [cell for cell in cells if cell.stat]
    total = format_count(len(cells), "published number")
    below = remarks("note", [f"{total}: {_counted(counts)}."])
    if any(cell.verdict in ("reproduced", "above", "below", "inconclusive") for cell in measured):
        sentence = (
            f"Reproduced: the interval lies within the published number ± {tolerance:g} points; above, below: it lies "
            "wholly outside; inconclusive: it reaches over an end, or one seed gives none."
        )
        below += remarks("published", [sentence])
    if any(cell.answer.other for cell in measured):
        sentence = (
            "Other features or semantics: the published number was measured on other data, so the difference is no "
            "matter of reproduction."
        )
        below += remarks("published", [sentence])
    if measured:
        sentence = (
            "Accuracy in percent, mean ± sample standard deviation over seeds; the interval is Student's for the mean "
            "over seeds. A deterministic method has none: its one value is judged."
        )
        drawn = [cell for cell in measured if cell.stochastic]
        below += remarks("spread", [sentence, *([TWO_SEEDS] if any(len(cell.seeds) == 2 for cell in drawn) else [])])
        below += remarks("seeds", _seeds(drawn))
        below += remarks("parameters", [_values_from(measured)])
        selections = describe_selections(cell.selection for cell in measured)
        below += remarks("selection", [f"Selection of what was measured: {selections}."])
        if seeds == 1 and any(len(cell.seeds) < 2 for cell in drawn):
            below += remarks("single seed", ["One seed says nothing of chance: give more with --seeds."])
    if any(cell.answer.lacks_data for cell in cells):
        sentence = "What data is here: zslbench data list. Other features of the same images: --features STEM."
        below += remarks("data", [sentence])
    if any(cell.entry.oracle for cell in cells):
        sentence = "† published code of this method picks the epoch on test images; ours is not picked there."
        below += remarks("oracle", [sentence])
    if any(cell.entry.transductive or cell.transductive for cell in cells):
        below.append(TRANSDUCTIVE)
    if counts["inconclusive"] and not any(cell.stochastic and len(cell.seeds) < 2 for cell in measured):
        sentence = "What is inconclusive may be settled by more --seeds; finished ones are not run again."
        below += remarks("seeds", [sentence])
    below += remarks("note", describe_failures(outcome))
    interrupted = ["Interrupted; the same command goes on from here."] if outcome.interrupted else []
    return below + remarks("note", interrupted)


def _counted(counts: Counter[str]) -> str:
    words = {"absent": "cannot be run here"}
    shown = {name: words.get(name, f"on {name}" if name.startswith("other ") else name) for name in counts}
    return ", ".join(f"{number} {shown[name]}" for name, number in counts.most_common())


def _seeds(drawn: Sequence[Cell]) -> list[str]:
    """Say which seeds the numbers of methods with chance are of, and whose are fewer."""
    if not drawn:
        return []
    most = max((cell.seeds for cell in drawn), key=len)
    fewer = dict.fromkeys(
        f"{cell.entry.method} {cell.entry.metric} on {cell.entry.dataset} ({spans(cell.seeds)})"
        for cell in drawn
        if cell.seeds != most
    )
    text = f"Seeds of methods with chance: {spans(most)} (n = {len(most)})"
    return [text + (f"; fewer for {', '.join(fewer)}." if fewer else ".")]


def _values_from(cells: Sequence[Cell]) -> str:
    specs: dict[str, dict[str, None]] = {}
    for cell in cells:
        specs.setdefault(cell.answer.how, {})[cell.answer.spec] = None
    parts = (f"{how}: {', '.join(names)}" for how, names in specs.items())
    return f"Hyper-parameters: {'; '.join(parts)}."
