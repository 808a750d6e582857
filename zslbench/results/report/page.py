"""The page: what it holds, and the one HTML file that it becomes. Nothing leaves it, and nothing is fetched."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.metrics import order_metrics
from zslbench.results.analysis.advice import run_command
from zslbench.results.analysis.gather import RecordFilter
from zslbench.results.analysis.paired import PairedIntervals
from zslbench.results.analysis.published import Published
from zslbench.results.analysis.rows import Row, Stat
from zslbench.results.records.record import Record
from zslbench.results.report.figures import Figure
from zslbench.results.tables.layout import lay_out, sort_rows
from zslbench.results.tables.ranking import Ranking
from zslbench.results.tables.table import Block, Table, shorten
from zslbench.spec import parse_recorded
from zslbench.visible import one_line, title_data, visible

if TYPE_CHECKING:
    from jinja2 import Environment

SETTINGS = {
    "inductive": "inductive",
    "semantic": "semantic: the semantics of unseen classes are known in training",
    "transductive": "transductive: unlabelled test features are used ‡",
}
_STAGES = {"final": "", "dev": ", dev stage"}
_ERROR_HEAD, _ERROR_TAIL = 2_000, 18_000
"""Characters of an error text that the page holds: what it says last tells most."""
_SORTED = json.JSONEncoder(sort_keys=True)
_CODE, _LONGEST_WORD = re.compile(r"`([^`]+)`"), re.compile(r"[A-Za-z_]{26,}")
_LONG_WORD = 15
"""Letters of a part of a name that gets more places where a line may end."""
_INNER = re.compile(r"(?<=[=_])(?=.)|(?<=[A-Za-z])(?=[A-Z][a-z])")
FIELDS = ("id", "cell", "seed", "status", "metrics", "steps", "curve", "timings", "memory", "made", "finished", "error")


@dataclasses.dataclass(frozen=True)
class PublishedComparison:
    """A published number and what was measured: one metric of a row.

    `low` and `high` are the ends of the 95 % interval, if any; `verdict` is reproduced, above, below, inconclusive or
    ``other features`` (or semantics, or both).
    """

    row: Row
    metric: str
    entry: Published
    stat: Stat
    low: float | None
    high: float | None
    verdict: str


@dataclasses.dataclass(frozen=True)
class StageGaps:
    """What one stage lacks: a table of its runs per protocol, sentences on what failed or is stale, and what to type.

    `commands` are grouped by their purpose; `replace` advises on the words in them that stand for folders.
    """

    title: str
    complete: bool
    matrices: tuple[Table, ...]
    sentences: tuple[str, ...]
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    replace: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A whole study.

    Attributes:
        title: of the page; written: when the page was made, a time with its zone.
        folder: of the records; counts: how many runs of each status; facts: terms and what is said of them.
        tables: with a short name each; tolerance: of the verdicts of `beside`, in points.
        notes: sentences on rows that tables leave out; undrawn: on figures that were left out.
        runs: every run, as `runs_data` gives it; version: of zslbench.
    """

    title: str
    written: datetime.datetime
    folder: str
    counts: Mapping[str, int]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    tables: tuple[tuple[str, Table], ...]
    beside: tuple[PublishedComparison, ...]
    tolerance: float
    figures: tuple[Figure, ...]
    missing: tuple[StageGaps, ...]
    notes: tuple[str, ...]
    undrawn: tuple[str, ...]
    runs: Mapping[str, Any]
    version: str


def page_html(page: Page) -> str:
    """Return the page as one HTML document with a content security policy that lets nothing in or out."""
    from markupsafe import Markup

    files = importlib.resources.files("zslbench.results.report")
    template, css, script = (
        files.joinpath(f"report.{kind}").read_text(encoding="utf-8") for kind in ("html.jinja", "css", "js")
    )
    environment = make_environment()
    environment.filters["data_title"] = title_data
    environment.filters["short"] = lambda remarks: " ".join(remark.text for remark in shorten(remarks))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    rows = [row for _, table in page.tables for row in table.rows]
    text = environment.from_string(template).render(
        page=page,
        css=Markup(css),
        script=Markup(script),
        digest=digest,
        data=Markup(embedded(page.runs)),
        safe=Markup,
        settings={row.setting: SETTINGS.get(row.setting, row.setting).partition(":")[0] for row in rows},
        selections=list(dict.fromkeys(row.selection for row in rows)),
        datasets=list(dict.fromkeys(column.dataset for _, table in page.tables for column in table.columns)),
        total=sum(page.counts.values()),
    )
    return visible(text)


def make_environment() -> Environment:
    """Return what makes a page of a template: texts are escaped, and lines end at the parts of names."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    # What is typed stands between backticks in sentences.
    environment.filters["prose"] = lambda text: Markup(
        _LONGEST_WORD.sub(
            lambda word: "<wbr>".join(_INNER.split(word[0])), _CODE.sub(r"<code>\1</code>", str(escape(text)))
        )
    )
    environment.filters["breakable"] = lambda text: Markup(break_name(text))
    return environment


def break_name(text: str) -> str:
    """Return a name as HTML in which a line ends at its parts: after signs between parameters, never after a hyphen.

    In long words it may also end after ``=`` or ``_``, and before a capital.

    >>> break_name("f-CLSWGAN[lr=1,mix=a+b]")
    '<span class="whole">f-CLSWGAN[</span><wbr>lr=1,<wbr>mix=a+<wbr>b]'
    >>> break_name("ESZSL[gamma=0.1, lam=1]")
    'ESZSL[<wbr>gamma=0.1, lam=1]'
    >>> break_name("my_zoo:LongNameWithManyCapitals")
    'my_zoo:<wbr>Long<wbr>Name<wbr>With<wbr>Many<wbr>Capitals'
    """
    parts = []
    for part in re.split(r"(?<=[,\[+:])(?=\S)|(?<= )", text):
        pieces = _INNER.split(part) if len(part) > _LONG_WORD else [part]
        parts += [f'<span class="whole">{html.escape(p)}</span>' if "-" in p else html.escape(p) for p in pieces]
    return "<wbr>".join(parts).replace(" <wbr>", " ")  # a line ends at a blank anyway


def embedded(value: Any) -> str:
    """Return a value as JSON that may stand in a script element of a page: nothing in it can end the element.

    >>> embedded({"a": "</script>\\u2028"})
    '{"a":"\\\\u003c/script\\\\u003e\\\\u2028"}'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def accuracy_tables(
    rows: Sequence[Row], record_filter: RecordFilter, intervals: PairedIntervals
) -> list[tuple[str, Table]]:
    """Return a short name and a table for each protocol (its version and parameters included), of rows of one stage."""
    groups: dict[tuple[bool, str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.protocol != "zsl", *row.protocol_key), []).append(row)
    protocols = [protocol for _, protocol, *_ in groups]
    tables = []
    for _, same_protocol in sorted(groups.items()):
        by_method, by_data = sort_rows(same_protocol, record_filter)
        metrics = order_metrics(name for row in by_data for name in row.metrics)
        table = lay_out(by_method, by_data, metrics, ranking=Ranking(intervals=intervals))
        blocks = table.blocks
        if len(blocks) > 1:
            blocks = tuple(dataclasses.replace(block, title=_heading(block)) for block in blocks)
        first = by_method[0]
        named = dataclasses.replace(table, title=_title(first, protocols), blocks=blocks)
        tables.append((first.protocol + (" dev" if first.stage == "dev" else ""), named))
    return tables


def _title(row: Row, protocols: Sequence[str]) -> str:
    """Name a table by its protocol, with version and parameters where there are several of that name."""
    name, version, params = row.protocol_key
    rules = f" v{version}" + (f" [{params}]" if params else "") if protocols.count(name) > 1 else ""
    known = {"zsl": "Zero-shot learning", "gzsl": "Generalized zero-shot learning"}
    return one_line(known.get(name, name) + rules + _STAGES.get(row.stage, f", {row.stage}"))


def _heading(block: Block) -> str:
    first = block.rows[0]
    text = SETTINGS.get(first.setting, first.setting)
    return f"{text}; oracle selection †" if first.selection == "oracle" else text


def runs_data(records: Sequence[Record], root: Path, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Return the runs as one JSON value, a list of `FIELDS` per run; what many runs share stands once.

    Accuracies are whole numbers, hundredths of a percent; times are seconds after ``since``.

    Args:
        records: of all stages and states.
        root: the folder of records; extra: words that commands end with, as ``--data-root DIR``.
    """
    kinds = ("methods", "datasets", "protocols", "steps", "made", "errors")
    shared: dict[str, dict[str, tuple[int, Any]]] = {kind: {} for kind in kinds}

    def place(kind: str, value: Any, key: str | None = None) -> int:
        """Return the number of a value among those of its kind; `key` tells it from others."""
        of_kind = shared[kind]
        return of_kind.setdefault(_SORTED.encode(value) if key is None else key, (len(of_kind), value))[0]

    judged = [metrics for record in records for metrics in (record.metrics, *(at["metrics"] for at in record.curve))]
    names = {
        "metrics": order_metrics(name for metrics in judged for name in metrics),
        "timings": list(dict.fromkeys(name for record in records for name in record.timings)),
        "memory": list(dict.fromkeys(name for record in records for name in record.memory)),
    }
    titles = {name: title_data(name) for record in records for name in [record.dataset["name"]]}
    cells: dict[str, int] = {}
    values: list[list[Any]] = []
    commands: list[str] = []
    since = min((time for record in records if (time := _time(record)) is not None), default=0)
    runs = []
    for record in records:
        # One text tells what the seeds of a run share: to ask for each part by itself takes four times as long.
        parts = [record.method, record.dataset, record.protocol, record.stage, record.fold, record.selection]
        key = json.dumps([*parts, record.ok, record.curve[0]["step"] if record.curve else 0])
        if key not in cells:
            cells[key] = len(values)
            given = list(parse_recorded(record.label).params)  # all others are the method's own or a preset's
            method = place("methods", {**record.method, "given": given})
            data = place("datasets", dict(record.dataset)), place("protocols", dict(record.protocol))
            values.append([method, *data, record.stage, record.fold, record.selection])
            commands.append(_command_again(record, root, extra))
        steps, finished = [point["step"] for point in record.curve], _time(record)
        made = {name: value for name, value in record.provenance.items() if name != "finished"}
        # What seeds that were fitted together took in all is no seed's own.
        timings = {name: value for name, value in record.timings.items() if name != "total" or record.seconds_known}
        runs.append(
            [
                record.id,
                cells[key],
                record.seed,
                record.status,
                _hundredths(record.metrics, names["metrics"]),
                place("steps", steps, str(steps)) if steps else -1,
                [value for point in record.curve for value in _hundredths(point["metrics"], names["metrics"])],
                [timings.get(name) for name in names["timings"]],
                [record.memory.get(name) for name in names["memory"]],
                place("made", made),
                None if finished is None else finished - since,
                place("errors", _shorten(record.error), record.error) if record.error else -1,
            ]
        )
    return {kind: [value for _, value in of_kind.values()] for kind, of_kind in shared.items()} | {
        "cells": values,
        "commands": commands,
        "names": names,
        "titles": titles,
        "since": since,
        "fields": FIELDS,
        "runs": runs,
    }


def _command_again(record: Record, root: Path, extra: Sequence[str]) -> str:
    """Return the command that repeats a run with seed 0; another seed is one more option at its end."""
    options = ["--stage", "dev", "--fold", str(record.fold)] if record.stage == "dev" else []
    if record.curve:
        options += ["--checkpoints", f"every:{max(1, int(record.curve[0]['step']))}"]
    options += ["--rerun", "all" if record.ok else "failed"]
    return run_command([dataclasses.replace(record, seed=0)], root, *options, *extra)


def _hundredths(metrics: Mapping[str, float], names: Sequence[str]) -> list[int | None]:
    return [round(10_000 * metrics[name]) if name in metrics else None for name in names]


def _shorten(error: str) -> str:
    left_out = len(error) - _ERROR_HEAD - _ERROR_TAIL
    if left_out <= 0:
        return error
    return f"{error[:_ERROR_HEAD]}\n… {left_out:,} characters, which the record holds …\n{error[-_ERROR_TAIL:]}"


def _time(record: Record) -> int | None:
    try:
        return int(datetime.datetime.fromisoformat(str(record.provenance["finished"])).timestamp())
    except (KeyError, ValueError, OverflowError):
        return None
