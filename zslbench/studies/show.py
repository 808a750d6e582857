"""`show`: the whole record of one run in readable form, and the command that makes it again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench import params
from zslbench.errors import BadSpec, BadValue, RecordsLeftOut, ZslbenchError, warn
from zslbench.files import json_text
from zslbench.methods.base import Method, overlay
from zslbench.results.analysis.advice import rerun_command
from zslbench.results.analysis.gather import check_present, is_dataset, is_method
from zslbench.results.records.record import Record, name_runs
from zslbench.results.records.store import ResultStore, companions, find_run
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.results.tables.html import write_html
from zslbench.results.tables.result import Listing
from zslbench.results.tables.table import Table, text_table
from zslbench.runner.class_lookup import recorded_method
from zslbench.sources import SourceCheck, advise_on_folder, is_here
from zslbench.spec import brackets, parse
from zslbench.visible import describe_failure, format_losses, format_metrics, title_data, visible

MOST_POINTS = 10
"""How many points of a curve, or of losses, the text shows; a record may have 200."""
_MEGABYTE = 1e6
_Section = tuple[str, Sequence[tuple[str, str]]]


@dataclasses.dataclass(frozen=True, repr=False)
class ShownRecord:
    """A record, with facts on it that are not part of its content.

    Attributes:
        record: the run.
        path: its file.
        files: the files beside it.
        command: the command that makes it again.
        defaults: the default parameters of the method; None if its class cannot be imported.
        remarks: sentences on what has changed since.
    """

    record: Record
    path: Path
    files: tuple[Path, ...]
    command: str
    defaults: Mapping[str, Any] | None
    remarks: tuple[str, ...] = ()

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults; all parameters if the defaults are not known."""
        given = self.record.method["params"]
        defaults = self.defaults or {}
        return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}

    @property
    def text(self) -> str:
        """What the command line prints."""
        blocks = []
        for title, rows in self._sections():
            width = max((len(name) for name, _ in rows), default=0)
            lines = [f"  {name:<{width}}  {value}".rstrip() if width else f"  {value}" for name, value in rows]
            blocks.append("\n".join([title, *lines]))
        return visible("\n\n".join(blocks))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data: the record's fields, and beside them ``command``, ``files``, ``changed``."""
        return {
            "record": dataclasses.asdict(self.record),
            "changed": self.changed,
            "defaults": None if self.defaults is None else dict(self.defaults),
            "files": [str(path) for path in (self.path, *self.files)],
            "command": self.command,
            "remarks": list(self.remarks),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json_text(self.to_dict())

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return write_html(
            text_table(title, ["", ""], rows, words=[1])
            if any(name for name, _ in rows)
            else Table((), (), title=title, drawing="\n".join(value for _, value in rows))
            for title, rows in self._sections()
        )

    def _sections(self) -> list[_Section]:
        record = self.record
        sections = [self._what_was_run(), ("the command that makes it again", [("", self.command)])]
        if parameters := self._parameters():
            sections.append(("parameters", parameters))
        if record.metrics:
            sections.append(("metrics, in percent", [("", format_metrics(record.metrics))]))
        if record.curve:
            judged = [(f"step {point['step']}", format_metrics(point["metrics"])) for point in record.curve]
            sections.append((f"curve{_describe_thinning(judged)}", _thin(judged)))
        if losses := _loss_rows(record.losses):
            sections.append((f"losses{_describe_thinning(losses)}", _thin(losses)))
        if record.timings:
            seconds = [(name, f"{value:,.2f} s") for name, value in record.timings.items()]
            sections.append(("seconds", seconds))
        if record.memory:
            sizes = [(name, f"{value / _MEGABYTE:,.0f} MB") for name, value in record.memory.items()]
            sections.append(("memory", sizes))
        sections.append(("provenance", [(name, _value_text(value)) for name, value in record.provenance.items()]))
        sections.append(("files", [("", str(path)) for path in (self.path, *self.files)]))
        if record.error.strip():
            sections.append(("traceback", [("", line) for line in record.error.rstrip().splitlines()]))
        return sections

    def _what_was_run(self) -> _Section:
        record, data = self.record, self.record.dataset
        why = describe_failure(record.error)
        name, *stems = record.data_choice
        choices = ", ".join(filter(None, stems))
        rows = [
            ("run", record.name_run()),
            ("status", f"{record.status}: {why}" if why else record.status),
            ("method", f"{record.method.get('title') or record.method['name']}, version {record.method['version']}"),
            ("setting", str(record.method.get("setting", ""))),
            ("data", f"{title_data(name)} ({choices}), {data.get('origin', '')}, content {data['fingerprint']}"),
            ("protocol", record.protocol["name"] + brackets(record.protocol.get("params", {}))),
            ("stage", "final" if record.stage == "final" else f"dev, fold {record.fold}"),
            ("seed", str(record.seed)),
            ("selection", record.selection),
        ]
        return f"run {record.id}", rows + [("note", remark) for remark in self.remarks]

    def _parameters(self) -> list[tuple[str, str]]:
        """Return rows of parameters: first those that differ from their default, with the default beside them."""
        defaults, changed = self.defaults, self.changed
        given = self.record.method["params"]
        if defaults is None:
            return [(name, _value_text(value)) for name, value in given.items()]
        rows = []
        for name, value in changed.items():
            usual = f"default: {_value_text(defaults[name])}" if name in defaults else "the method has it no more"
            rows.append((f"* {name}", f"{_value_text(value)}  ({usual})"))
        return rows + [(f"  {name}", _value_text(value)) for name, value in given.items() if name not in changed]


def show_or_list(id: str | None, runs: Path | str) -> ShownRecord | Listing[Record]:
    """Return the run that a text identifies, as `show` does, or a list of those that it may mean; None: of all.

    They are those of this method or data set, as in `table`, or with an id that begins so.
    """
    if id is None:
        return _list_runs(runs, "")
    try:
        return show(id, runs=runs)
    except BadValue:
        listing = _list_runs(runs, id)
        if not listing:
            raise
        return listing if len(listing) > 1 else show(listing[0].id, runs=runs)


def _list_runs(runs: Path | str, name: str) -> Listing[Record]:
    """Return a list of runs, whatever their status, those that ended last first.

    Finished runs of the dev stage, of which a tuning makes hundreds, come after all others.
    """
    store = ResultStore(runs)
    records = store.load()
    if not name:
        check_present(store, records)
    for sentence in store.left_out:
        warn(sentence, RecordsLeftOut)
    records = [record for record in records if record.id.startswith(name.lower()) or _is_of(record, name)]
    records.sort(key=lambda record: str(record.provenance.get("finished", "")), reverse=True)
    records.sort(key=lambda record: record.ok and record.stage == "dev")
    facts = [_list_facts(record) for record in records]
    rows = [
        (record.id, name, record.status, str(fact["ended"] or "")[:16].replace("T", " "))
        for record, name, fact in zip(records, name_runs(records), facts, strict=True)
    ]
    return Listing(tuple(records), ("id", "run", "status", "ended (UTC)"), rows, facts)


def _list_facts(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "method": record.label,
        "dataset": record.dataset["name"],
        **{name: record.dataset.get(name) for name in ("features", "semantics")},
        "protocol": record.protocol["name"],
        **{name: getattr(record, name) for name in ("stage", "fold", "seed", "status")},
        "ended": record.provenance.get("finished"),
    }


def _is_of(record: Record, name: str) -> bool:
    try:
        return is_method(record, name) or is_dataset(record.dataset["name"], name)
    except BadSpec:
        return False


def show(id: str | Path, *, runs: Path | str = "runs") -> ShownRecord:
    """Return the whole record of one run in readable form, with the command that makes it again.

    Args:
        id: the id of the run, its first digits (four or more), or the path of its file.
        runs: the folder of records.

    Raises:
        BadValue: there is no such run, or there are several.
        StoreError: the record cannot be read.
    """
    store, path, record = find_run(id, runs)
    name = record.method["name"]
    try:
        cls = recorded_method(name)
    except ZslbenchError:  # a plugin that cannot be imported here
        cls = None
    return ShownRecord(
        record=record,
        path=path,
        files=tuple(companions(path)),
        command=rerun_command(record, spec_of(record, cls, PresetStore(store.root)), store.root),
        defaults=None if cls is None else params.resolve(cls, name, {}),
        remarks=_remarks(record, cls),
    )


def spec_of(record: Record, cls: type[Method] | None, tuned: PresetStore) -> str:
    """Return the spec that gives a record's parameters today.

    It is what was typed if the presets in it still have the same values, otherwise the method with every parameter that
    is not at its default. `cls` is the class of the method; without it (None), it is what was typed.
    """
    if cls is None:
        return record.label
    name, data, given = record.method["name"], record.dataset, dict(record.method["params"])
    rules = record.protocol["name"]
    defaults = params.resolve(cls, name, {})
    with contextlib.suppress(ZslbenchError):  # a preset or a parameter that is gone
        typed = parse(record.label)
        place = data["name"], data.get("features", ""), data.get("semantics", "")
        presets = {tag: tuned.find(tag, name, *place, rules) for tag in typed.presets if tag not in cls.presets}
        values = {tag: preset.values for tag, preset in presets.items() if preset is not None}
        meant = overlay(cls, name, typed.presets, data["name"], rules, values) | dict(typed.params)
        if params.resolve(cls, name, meant) == given:
            return record.label
    return str(name) + brackets({key: value for key, value in given.items() if defaults.get(key) != value})


def _remarks(record: Record, cls: type[Method] | None) -> tuple[str, ...]:
    remarks = []
    module, colon, _ = str(record.method["name"]).partition(":")
    if colon and module != "__main__" and not is_here(module):
        remarks.append(f"there is no module {module} here; {advise_on_folder(module)}")
    elif SourceCheck().state(record.method["name"], record.provenance) == "changed":
        remarks.append("the source of the method has changed since: its numbers may be others now")
    if cls is not None and cls.card.version != record.method["version"]:
        remarks.append(f"the method is version {cls.card.version} now, and a run of it has another id")
    if record.dataset.get("origin") == "own" and not record.provenance.get("own_folder"):
        remarks.append("the record does not say where the data lies; write its folder into the command")
    return tuple(remarks)


def _loss_rows(losses: Mapping[str, Any]) -> list[tuple[str, str]]:
    columns: Mapping[str, Sequence[float | None]] = losses.get("values", {})
    return [
        (f"step {step}", format_losses({name: values[at] for name, values in columns.items()}))
        for at, step in enumerate(losses.get("step", ()))
    ]


def _thin(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return at most `MOST_POINTS` rows: the first, the last, and evenly spaced ones between them."""
    if len(rows) <= MOST_POINTS:
        return list(rows)
    return [rows[round(at * (len(rows) - 1) / (MOST_POINTS - 1))] for at in range(MOST_POINTS)]


def _describe_thinning(rows: Sequence[object]) -> str:
    return f" ({MOST_POINTS} of {len(rows)} points)" if len(rows) > MOST_POINTS else ""


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value_text(inner)}".rstrip() for name, inner in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
