"""The page: what it holds, and the one HTML file that it becomes. Nothing leaves it, and nothing is fetched."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.files import write_text
from zslbench.metrics import order_metrics
from zslbench.results.analysis.published import Published
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import Row, Stat
from zslbench.results.report.figures import Figure
from zslbench.results.tables.layout import lay_out, sort_rows
from zslbench.results.tables.table import Block, Table
from zslbench.visible import one_line, visible

SETTINGS = {
    "inductive": "inductive",
    "semantic": "semantic: the semantics of unseen classes are known in training",
    "transductive": "transductive: unlabelled test features are used ‡",
}
_STAGES = {"final": "", "dev": ", dev stage"}


@dataclasses.dataclass(frozen=True)
class Beside:
    """A published number and what was measured: the line, its data, the interval, and the verdict.

    Attributes:
        name, full: of the line, in short and as run; marks: † and ‡.
        dataset, features, semantics, metric: what was measured.
        entry: the number; stat: mean, deviation and n in percent; low, high: ends of the 95 % interval, if any.
        verdict: reproduced, above, below, inconclusive or ``other features`` (or semantics, or both).
    """

    name: str
    full: str
    marks: str
    dataset: str
    features: str
    semantics: str
    metric: str
    entry: Published
    stat: Stat
    low: float | None
    high: float | None
    verdict: str

    @property
    def difference(self) -> float:
        """Measured − published, in points."""
        return self.stat.mean - self.entry.value


@dataclasses.dataclass(frozen=True)
class Missing:
    """What one stage lacks.

    Attributes:
        title: the stage; complete: whether nothing lacks.
        matrices: lines by protocol, one a data set; sentences: what failed or is stale.
        commands: a purpose each, and what to type; replace: words in them that stand for folders.
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
        title: of the page; folder: of the records.
        counts: how many runs of each status; facts: terms and what is said of them.
        tables: with a short name each; beside, figures, missing: see there; tolerance: of verdicts, in points.
        notes: sentences on rows that tables leave out; undrawn: on figures that were left out.
        runs: every run, as `runs_data` gives it; version: of zslbench.
    """

    title: str
    folder: str
    counts: Mapping[str, int]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    tables: tuple[tuple[str, Table], ...]
    beside: tuple[Beside, ...]
    tolerance: float
    figures: tuple[Figure, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    undrawn: tuple[str, ...]
    runs: Mapping[str, Any]
    version: str


def html(page: Page) -> str:
    """Return the page as one HTML document with a content security policy that lets nothing in or out."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    files = importlib.resources.files("zslbench.results.report")
    template, css, script = (
        files.joinpath(f"report.{kind}").read_text(encoding="utf-8") for kind in ("html.jinja", "css", "js")
    )
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    lines = [line for _, table in page.tables for line in table.rows]
    text = environment.from_string(template).render(
        page=page,
        css=Markup(css),
        script=Markup(script),
        digest=digest,
        data=Markup(embedded(page.runs)),
        safe=Markup,
        settings={line.setting: SETTINGS.get(line.setting, line.setting).partition(":")[0] for line in lines},
        selections=list(dict.fromkeys(line.selection for line in lines)),
        datasets=list(dict.fromkeys(column.dataset for _, table in page.tables for column in table.columns)),
        total=sum(page.counts.values()),
    )
    return visible(text)


def embedded(value: Any) -> str:
    """Return a value as JSON that may stand in a script element of a page: nothing in it can end the element.

    >>> embedded({"a": "</script>\\u2028"})
    '{"a":"\\\\u003c/script\\\\u003e\\\\u2028"}'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def write(text: str, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        StoreError: the file cannot be written.
    """
    write_text(path, text, f"the report {path.name}")


def accuracy_tables(rows: Sequence[Row], record_filter: RecordFilter) -> list[tuple[str, Table]]:
    """Return a short name and a table for each protocol (its version and parameters included), of rows of one stage."""
    groups: dict[tuple[bool, str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.protocol != "zsl", *row.protocol_key), []).append(row)
    protocols = [protocol for _, protocol, *_ in groups]
    out = []
    for _, same_protocol in sorted(groups.items()):
        by_method, by_data = sort_rows(same_protocol, record_filter)
        table = lay_out(by_method, by_data, order_metrics(name for row in by_data for name in row.metrics))
        blocks = table.blocks
        if len(blocks) > 1:
            blocks = tuple(dataclasses.replace(block, title=_heading(block)) for block in blocks)
        first = by_method[0]
        named = dataclasses.replace(table, title=_title(first, protocols), blocks=blocks)
        out.append((first.protocol + (" dev" if first.stage == "dev" else ""), named))
    return out


def _title(row: Row, protocols: Sequence[str]) -> str:
    """Name a table by its protocol, with version and parameters where there are several of that name."""
    rules = ""
    if protocols.count(row.protocol) > 1:
        _, version, params = row.protocol_key
        rules = f" v{version}" + (f" [{params}]" if params else "")
    known = {"zsl": "Zero-shot learning", "gzsl": "Generalized zero-shot learning"}
    return one_line(known.get(row.protocol, row.protocol) + rules + _STAGES.get(row.stage, f", {row.stage}"))


def _heading(block: Block) -> str:
    first = block.rows[0]
    text = SETTINGS.get(first.setting, first.setting)
    return f"{text}; oracle selection †" if first.selection == "oracle" else text
