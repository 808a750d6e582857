"""What `status` prints: the matrix, what went wrong, and what to type."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zslbench.files import json_text
from zslbench.results.tables.render import render
from zslbench.results.tables.table import Table, text_table
from zslbench.studies.survey import Place, Slot, Survey, method_in, of_session
from zslbench.visible import format_count, last_line

if TYPE_CHECKING:
    from zslbench.studies.status import Status, Verification

_MOST = 20


def as_text(status: Status, width: int | None = None) -> str:
    """Return the status as text for a terminal."""
    survey = status.survey
    parts = []
    if survey.lines:
        parts.append(render([matrix(survey, place) for place in survey.places], "terminal", width, piped=120))
    parts += [_paragraph(lines) for lines in (trouble(survey), remarks(status)) if lines]
    if status.commands:
        lines = []
        for purpose in dict.fromkeys(command.purpose for command in status.commands):
            lines.append(f"To {purpose}:")
            lines += [f"  {command.text}" for command in status.commands if command.purpose == purpose]
        parts.append("\n".join([*lines, *status.replace]) + "\n")
    if status.complete and survey.states:
        but = "; values differ by data set" if survey.varied else ""
        matrices = f"{format_count(len(survey.lines), 'row')} on {format_count(len(survey.places), 'data set')}"
        runs = format_count(len(survey.of("done")), "run")
        parts.append(f"complete: {matrices} under {', '.join(survey.protocols)}: {runs}{but}\n")
    if status.verification is not None:
        parts.append(_paragraph(_verified(status.verification)))
    return "\n".join(parts)


def _paragraph(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def matrix(survey: Survey, place: Place) -> Table:
    """Return the states of the runs at one place: rows down, protocols across."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for slot, state in survey.states.items():
        if slot.place == place:
            counts.setdefault((slot.line, slot.protocol), Counter())[state] += 1
    varied = {(slot.line, slot.protocol) for slot in survey.varied if slot.place == place}

    def cell(line: str, rules: str) -> str:
        if (line, place, rules) in survey.untuned:
            return "not tuned"
        if (line, rules) in varied:
            return "other values"
        numbers = counts.get((line, rules))
        if numbers is None:
            return "no values" if line not in survey.unimportable else "cannot be imported"
        return ", ".join(
            f"{numbers[state]} {state}"
            for state in ("done", "stale", "failed", "unfinished", "missing")
            if numbers[state]
        )

    rows = [(line, *(cell(line, rules) for rules in survey.protocols)) for line in survey.lines]
    heads = ("row", *survey.protocols)
    return text_table(survey.names[place], heads, rows, words=range(1, len(heads)))


def trouble(survey: Survey) -> list[str]:
    """Return a line for each run that failed or was cut short, the last line of its error in it."""
    groups: dict[tuple[str, str, Place, str], list[Slot]] = {}
    for slot in survey.of("failed", "unfinished"):
        record = survey.records[slot]
        why = last_line(record.error)
        groups.setdefault((record.status, slot.line, slot.place, textwrap.shorten(why, 200)), []).append(slot)
    lines = []
    for (state, line, place, why), slots in list(groups.items())[:_MOST]:
        rules = "+".join(dict.fromkeys(slot.protocol for slot in slots))
        folds = sorted({slot.fold for slot in slots} - {0})
        seeds = ", ".join(map(str, sorted({slot.seed for slot in slots})))
        where = f"{survey.names[place]} {rules}{' dev' + ','.join(map(str, folds)) if folds else ''}, seeds {seeds}"
        lines.append(f"{state}: {line} on {where}" + (f": {why}" if why else ""))
    if len(groups) > _MOST:
        lines.append(f"and {len(groups) - _MOST} more rows and data sets of which runs failed or were cut short")
    return lines


def remarks(status: Status) -> list[str]:
    """Return sentences on what is stale, outdated, of another version or stage, or no record."""
    survey = status.survey
    lines = []
    if stale := survey.of("stale"):
        names = _some(dict.fromkeys(method_in(slot.line) for slot in stale))
        lines.append(f"stale: the source of the method has changed since {format_count(len(stale), 'run')} of {names}")
    if survey.outdated:
        names = _some(sorted({record.label for record in survey.outdated}))
        lines.append(
            f"outdated: {format_count(len(survey.outdated), 'run')} of {names}, made by another version of the method, "
            "with values that the name no longer stands for, or on other content of the data"
        )
    lines += [
        f"{line} was defined in a script or notebook: what it lacks is done there, by running that again"
        for line in dict.fromkeys(slot.line for slot, state in survey.states.items() if state != "done")
        if of_session(line)
    ]
    lines += [f"not checked: {line}: {why}" for line, why in survey.unimportable.items()]
    for version, number in status.versions:
        lines.append(f"{format_count(number, 'run')} of zslbench {version}")
    other = "dev" if status.stage == "final" else "final"
    aside = [f"{format_count(status.others, f'{other} run')}"] if status.others else []
    aside += [f"{format_count(status.oracle, 'candidate')} of oracle selection (†)"] if status.oracle else []
    if aside:
        lines.append(f"not in this matrix: {' and '.join(aside)}")
    lines += list(status.broken)
    return lines


def _verified(verification: Verification) -> list[str]:
    lines = [f"verified: the metrics of {format_count(verification.verified, 'record')} follow from their predictions"]
    lines += [f"MISMATCH: run {name}: {why}" for name, why in verification.mismatches]
    if verification.lacking:
        lines.append(f"no predictions: {', '.join(verification.lacking)}; `zslbench run … --rerun all` makes them")
    lines += [f"not verified: run {name}: {why}" for name, why in verification.skipped]
    return lines


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def as_json(status: Status) -> str:
    """Return the status as one JSON object."""
    survey = status.survey
    document = {
        "complete": status.complete,
        "stage": status.stage,
        "rows": list(survey.lines),
        "datasets": [_place(place) for place in survey.places],
        "protocols": list(survey.protocols),
        "runs": [_slot(slot, survey) for slot in survey.states],
        "untuned": [
            {"row": line, "protocol": rules, "preset": name, **_place(place)}
            for (line, place, rules), name in survey.untuned.items()
        ],
        "outdated": [record.id for record in survey.outdated],
        "unimportable": dict(survey.unimportable),
        "other_versions": dict(status.versions),
        "other_stage": status.others,
        "oracle_candidates": status.oracle,
        "broken": list(status.broken),
        "commands": [{"purpose": command.purpose, "command": command.text} for command in status.commands],
        "replace": list(status.replace),
        "verification": _verification(status.verification),
    }
    return json_text(document)


def _place(place: Place) -> dict[str, str]:
    facts = {"dataset": place.dataset, "features": place.features, "semantics": place.semantics}
    return facts | ({"fingerprint": place.content} if place.content else {})


def _slot(slot: Slot, survey: Survey) -> dict[str, Any]:
    record = survey.records.get(slot)
    return {
        "row": slot.line,
        **_place(slot.place),
        "protocol": slot.protocol,
        "fold": slot.fold,
        "seed": slot.seed,
        "state": survey.states[slot],
        "other_values_there": slot in survey.varied,
        "id": record.id if record else None,
        "status": record.status if record else None,
        "error": last_line(record.error) if record else "",
    }


def _verification(verification: Verification | None) -> dict[str, Any] | None:
    if verification is None:
        return None
    return {
        "verified": verification.verified,
        "mismatches": [{"id": name, "problem": why} for name, why in verification.mismatches],
        "lacking": list(verification.lacking),
        "skipped": [{"id": name, "reason": why} for name, why in verification.skipped],
    }
