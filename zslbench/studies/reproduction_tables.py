"""The tables of a reproduction: each published number, what was measured, and the verdict."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zslbench.results.tables.captions import TRANSDUCTIVE, TWO_SEEDS, describe_selections, spans
from zslbench.results.tables.data import round_number
from zslbench.results.tables.table import Cell as TableCell
from zslbench.results.tables.table import Table, remarks, signed, stat_cell, text_table
from zslbench.results.tables.terminal import MISSING
from zslbench.runner.run import Outcome
from zslbench.studies.values import describe_failures

if TYPE_CHECKING:
    from zslbench.studies.reproduce import Cell

SPLIT = "proposed split (PS) of Xian et al."
_HEADS = ("method", "metric", "published", "measured", "difference", "95 % interval", "verdict", "run")


def facts(cell: Cell, tolerance: float) -> dict[str, Any]:
    """Return a cell as plain facts, accuracies in percent."""
    entry, answer = cell.entry, cell.answer
    return {
        "source": entry.source,
        "table": entry.table,
        "dataset": entry.dataset,
        "method": entry.method,
        "metric": entry.metric,
        "published": entry.value,
        "published_features": entry.features,
        "published_semantics": entry.semantics,
        "published_oracle": bool(entry.oracle),
        "published_transductive": entry.transductive,
        "note": entry.note,
        "split": "proposed split (PS)",
        "features": answer.features,
        "semantics": answer.semantics,
        "run": answer.spec,
        "values_from": answer.how,
        "selection": cell.selection,
        "transductive": cell.transductive,
        "seeds": list(cell.seeds),
        "mean": round_number(cell.stat.mean if cell.stat else None),
        "std": round_number(cell.stat.std if cell.stat else None),
        "low": round_number(cell.low),
        "high": round_number(cell.high),
        "difference": round_number(cell.difference),
        "tolerance": tolerance,
        "verdict": cell.verdict,
        "reason": cell.reason,
    }


def reproduction_tables(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[Table]:
    """Return a table for each data set; sentences below the last say what numbers and verdicts are."""
    notes: dict[str, int] = {}
    tables = []
    for place in dict.fromkeys(_place(cell) for cell in cells):
        rows = [_row(cell, notes) for cell in cells if _place(cell) == place]
        tables.append(text_table(place, _HEADS, rows, words=[1, 6, 7]))
    below = tuple(remarks("note", _sentences(cells, tolerance, seeds, outcome)))
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


def _sentences(cells: Sequence[Cell], tolerance: float, seeds: int, outcome: Outcome) -> list[str]:
    counts = Counter(cell.verdict for cell in cells)
    total = len(cells)
    sentences = [f"{total} published {'number' if total == 1 else 'numbers'}: {_counted(counts)}."]
    measured = [cell for cell in cells if cell.stat]
    if any(cell.verdict in ("reproduced", "above", "below", "inconclusive") for cell in measured):
        sentences.append(
            f"Reproduced: the interval lies within the published number ± {tolerance:g} points; above, below: it lies "
            "wholly outside; inconclusive: it reaches over an end, or one seed gives none."
        )
    if any(cell.answer.other for cell in measured):
        sentences.append(
            "Other features or semantics: the published number was measured on other data, so the difference is no "
            "matter of reproduction."
        )
    if measured:
        sentences.append(
            "Accuracy in percent, mean ± sample standard deviation over seeds; the interval is Student's for the mean "
            "over seeds. A deterministic method has none: its one value is judged."
        )
        if any(cell.stochastic and len(cell.seeds) == 2 for cell in measured):
            sentences.append(TWO_SEEDS)
        sentences += _seeds(measured)
        sentences.append(_values_from(measured))
        selections = describe_selections(cell.selection for cell in measured)
        sentences.append(f"Selection of what was measured: {selections}.")
        short = [cell for cell in measured if cell.stochastic and len(cell.seeds) < 2]
        if short and seeds == 1:
            sentences.append("One seed says nothing of chance: give more with --seeds.")
    if any(cell.answer.lacks_data for cell in cells):
        sentences.append("What data is here: zslbench data list. Other features of the same images: --features STEM.")
    if any(cell.entry.oracle for cell in cells):
        sentences.append("† published code of this method picks the epoch on test images; ours is not picked there.")
    if any(cell.entry.transductive or cell.transductive for cell in cells):
        sentences.append(TRANSDUCTIVE.text)
    if counts["inconclusive"] and not any(cell.stochastic and len(cell.seeds) < 2 for cell in measured):
        sentences.append("What is inconclusive may be settled by more --seeds; finished ones are not run again.")
    sentences += describe_failures(outcome)
    if outcome.interrupted:
        sentences.append("Interrupted; the same command goes on from here.")
    return sentences


def _counted(counts: Counter[str]) -> str:
    words = {"absent": "cannot be run here"}
    shown = {name: words.get(name, f"on {name}" if name.startswith("other ") else name) for name in counts}
    return ", ".join(f"{number} {shown[name]}" for name, number in counts.most_common())


def _seeds(cells: Sequence[Cell]) -> list[str]:
    """Say which seeds the numbers of methods with chance are of, and whose are fewer."""
    drawn = [cell for cell in cells if cell.stochastic]
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
    found: dict[str, list[str]] = {}
    for cell in cells:
        names = found.setdefault(cell.answer.how, [])
        if cell.answer.spec not in names:
            names.append(cell.answer.spec)
    sentences = "; ".join(f"{how}: {', '.join(names)}" for how, names in found.items())
    return f"Hyper-parameters: {sentences}."
