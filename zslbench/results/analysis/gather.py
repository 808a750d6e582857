"""The records that a command is of: asked for, under the selection rules asked for, calibrated, folds averaged."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName, nearest, warn
from zslbench.identity import canonical_json, folder_name
from zslbench.results.analysis.advice import advise_on_folds, advise_on_rule, advise_on_uneven_folds
from zslbench.results.analysis.calibration import calibrate, is_generalized, without_curve
from zslbench.results.analysis.rows import average_folds, spec_head
from zslbench.results.analysis.selection import select
from zslbench.results.records.live_studies import list_running_fits
from zslbench.results.records.record import SELECTIONS, STAGES, Record
from zslbench.results.records.store import ResultStore, runs_option
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore, is_replaced
from zslbench.sources import SourceCheck
from zslbench.spec import parse, presets_in
from zslbench.visible import describe_failure, format_count, list_names

CALIBRATIONS = {"dev": ("dev",), "oracle": ("test",), "both": ("dev", "test")}
"""On what γ is chosen, by the name of the choice."""

_Rule = tuple[str, Sequence[str], Callable[[Record, str], bool], Callable[[Record], str]]
"""A kind of name, the terms asked for, whether a record fits a term, and what a record has there."""


@dataclasses.dataclass(frozen=True)
class RecordFilter:
    """What was asked for; an empty sequence or None asks for everything.

    Attributes:
        methods: names or specs: ``lisgan`` takes every run of it, ``lisgan@S3[souls=5]`` those that were asked for
            with S3 and have five souls.
        datasets: names, or the folders that they were read from; protocols: names.
        features, semantics: as named in the runs; stage: ``final`` or ``dev``.
    """

    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    protocols: Sequence[str] = ()
    features: Sequence[str] | None = None
    semantics: Sequence[str] | None = None
    stage: str | None = "final"

    def select(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that were asked for, whatever their status."""
        rules = [(terms, accepts) for _, terms, accepts, _ in self._rules() if terms]
        return [record for record in records if all(any(accepts(record, t) for t in terms) for terms, accepts in rules)]

    def position(self, record: Record) -> tuple[int, int, int]:
        """Return which of the methods, data sets and protocols asked for a record is of; 0 is the first."""
        method, dataset, protocol = (
            next((number for number, term in enumerate(terms) if accepts(record, term)), len(terms))
            for _, terms, accepts, _ in self._rules()[:3]
        )
        return method, dataset, protocol

    def check_terms(self, records: Sequence[Record], runs: Path) -> None:
        """Refuse what no record has, naming what there is (BadValue)."""
        if self.stage not in (None, *STAGES):
            raise BadValue(f"stage {self.stage!r} does not exist; choose one of: {', '.join(STAGES)}.")
        for kind, terms, accepts, name in self._rules():
            for term in terms:
                if not any(accepts(record, term) for record in records):
                    present = {name(record) for record in records}
                    if "[" not in term and "@" not in term:
                        present = {name.partition("[")[0] for name in present}
                    near = nearest(term, present)
                    first = f"name one of them, or run it first: zslbench run --{kind} {shlex.quote(term)} …"
                    raise BadValue(
                        f"no run in {runs} has {kind} {term!r}; there are: {list_names(sorted(present), 12)}; "
                        + (f"did you mean {near!r}?" if near else first)
                    )

    def check_finished(self, selected: Sequence[Record], records: Sequence[Record], runs: Path) -> None:
        """Refuse a selection that is empty (BadValue: nothing fits all terms together) or in which no run finished."""
        if any(record.ok for record in selected):
            return
        if selected:
            reason = describe_failure(selected[0].error)
            why = f" (the first, {selected[0].id}: {reason})" if reason else ""
            advice = "mend the cause and type `zslbench run … --rerun failed`"
            if all(record.status in ("interrupted", "skipped") for record in selected):
                advice = "to do what is left, type the same `zslbench run …` again"
            asked_for = format_count(len(selected), "run", "was") + f" asked for in {runs}"
            none_finished = "and did not finish" if len(selected) == 1 else "and none finished"
            raise StoreError(f"{asked_for} {none_finished}{why}; {advice}.")
        asked = ", ".join(f"{kind} {' or '.join(terms)}" for kind, terms, _, _ in self._rules() if terms)
        present = {
            f"{record.method['name']} on {data['name']} ({data.get('features', '')}, {data.get('semantics', '')}) "
            f"under {record.protocol['name']} ({record.stage})"
            for record in records
            for data in [record.dataset]
        }
        raise BadValue(
            f"no run in {runs} is of {asked} together; there are: {list_names(sorted(present), 12)}; ask for less, or "
            "run it first."
        )

    def _rules(self) -> list[_Rule]:
        def fact(key: str) -> Callable[[Record], str]:
            return lambda record: str(record.dataset.get(key, ""))

        def exact(kind: str, terms: Sequence[str] | None, value: Callable[[Record], str]) -> _Rule:
            return kind, terms or (), lambda record, wanted: value(record) == wanted, value

        return [
            ("method", self.methods, is_method, lambda record: record.label),
            ("dataset", self.datasets, lambda record, term: is_dataset(record.dataset["name"], term), fact("name")),
            ("protocol", self.protocols, _is_protocol, lambda record: str(record.protocol["name"])),
            exact("features", self.features, fact("features")),
            exact("semantics", self.semantics, fact("semantics")),
            exact("stage", None if self.stage is None else [self.stage], lambda record: record.stage),
        ]


def is_method(record: Record, term: str) -> bool:
    """Return whether a term such as ``lisgan@S3[souls=5]`` asks for a record's method, presets and parameters."""
    wanted, params = parse(term), record.method.get("params", {})
    presets = presets_in(record.label)
    return (
        wanted.name.casefold() == str(record.method["name"]).casefold()
        and {*wanted.presets} <= {*presets}
        and all(
            key in params and params[key] in (value if isinstance(value, tuple) else (value,))
            for key, value in wanted.params.items()
        )
    )


def is_dataset(name: str, term: str) -> bool:
    """Return whether `term` names this data set: by name, without its parameters, or by its folder."""
    names = {name.casefold(), name.partition("[")[0].casefold()}
    return term.casefold() in names or folder_name(Path(term)).casefold() in names


def _is_protocol(record: Record, term: str) -> bool:
    return parse(term).name.casefold() == str(record.protocol["name"]).casefold()


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Finished records with the metrics that a rule selected, the records asked for whatever their status (`chosen`).

    `notes` say what could not be shown, and the command that mends it.
    """

    records: tuple[Record, ...]
    chosen: tuple[Record, ...]
    notes: tuple[str, ...] = ()


def choose(store: ResultStore, records: Sequence[Record], record_filter: RecordFilter) -> list[Record]:
    """Return the records of a store that were asked for, whatever their status.

    They are marked as `mark_sources` does, and with ``replaced`` where `is_replaced` says so.

    Warns of what could not be read. BadValue is raised where nothing fits, StoreError where nothing finished.
    """
    check_present(store, records)
    record_filter.check_terms(records, store.root)
    for sentence in store.left_out:
        warn(sentence, RecordsLeftOut)
    chosen = record_filter.select(records)
    record_filter.check_finished(chosen, records, store.root)
    presets = PresetStore(store.root).load()
    return [
        dataclasses.replace(record, provenance={**record.provenance, "replaced": True})
        if is_replaced(record, presets)
        else record
        for record in mark_sources(chosen)
    ]


def prefer_current(records: Sequence[Record], terms: Sequence[str]) -> list[Record]:
    """Return records without those of replaced presets where the same term also takes finished runs of the current one.

    They are marked as `choose` does. ``eszsl@tuned`` means what the preset is now; typed values may pick what it was.
    """

    def places(record: Record) -> set[tuple[object, ...]]:
        """Return which terms take a record, each with the method, presets, data and protocol."""
        data = [record.dataset.get(part) for part in ("name", "features", "semantics")]
        where = spec_head(record), *data, canonical_json(record.protocol), record.stage
        return {(term, *where) for term in terms or [""] if not term or is_method(record, term)}

    replaced = {record.id: places(record) for record in records if "replaced" in record.provenance}
    if not replaced:
        return list(records)
    current = set[tuple[object, ...]]().union(
        *(places(record) for record in records if record.ok and record.id not in replaced)
    )
    return [record for record in records if record.id not in replaced or replaced[record.id] - current]


def check_present(store: ResultStore, records: Sequence[Record]) -> None:
    """Refuse a store without records (StoreError: what makes some, or that runs are under way)."""
    if not records:
        if running := len(list_running_fits(store.root)):
            see = shlex.join(["zslbench", "watch", *runs_option(store.root)])
            raise StoreError(
                f"nothing in {store.root} has finished yet, but {format_count(running, 'fit', 'is')} under way; "
                f"see how far with `{see}`."
            )
        advice = "make some, for instance with `zslbench run --method eszsl --dataset digits`, or name their folder"
        raise StoreError(" ".join([f"there are no runs in {store.root}; {advice} with --runs.", *store.left_out]))


def mark_sources(records: Sequence[Record]) -> list[Record]:
    """Return records that hold as ``source_state`` whether their method's source is what it was (`SourceCheck`)."""
    check = SourceCheck()
    marked = []
    for record in records:
        state = check.state(str(record.method["name"]), record.provenance)
        if state != record.provenance.get("source_state", "current"):
            record = dataclasses.replace(record, provenance={**record.provenance, "source_state": state})
        marked.append(record)
    return marked


def gather(
    store: ResultStore,
    record_filter: RecordFilter,
    selection: Sequence[str] = (),
    calibration: str | None = None,
    per_fold: bool = False,
) -> Gathered:
    """Return the records that a table is of.

    Args:
        selection: rules to apply, rows of each; none: records as they are, candidates of oracle selection left out.
        calibration: where the constant of calibrated stacking is chosen: ``dev``, ``oracle`` (on test), ``both`` (a
            constant on each), None: nowhere.
        per_fold: keep the folds of the dev stage apart; else each seed gets the mean over them.

    Raises:
        UnknownName: a rule that does not exist. BadValue: nothing that a rule could be applied to.
        StoreError: no records at all, none that finished, or predictions that are lost.
    """
    for name in selection:
        if name not in SELECTIONS:
            raise UnknownName("selection rule", name, SELECTIONS)
    if calibration is not None and calibration not in CALIBRATIONS:
        raise UnknownName("place to calibrate on", str(calibration), CALIBRATIONS)
    everything = store.load()
    every = choose(store, everything, record_filter)
    chosen = prefer_current(every, record_filter.methods)
    records = [record for record in chosen if record.ok]
    notes: list[str] = []
    if hidden := len(every) - len(chosen):
        runs = f"{format_count(hidden, 'run')} of replaced presets not shown"
        notes.append(f"{runs}; ask for their values, as in --method 'NAME@tuned[KEY=VALUE]', to see them.")
    if record_filter.stage == "dev":
        if selection or calibration:
            asked = "--selection" if selection else "--calibrate"
            raise BadValue(f"{asked} is of the final stage and chooses on the dev stage; leave out --stage dev.")
        # What was run for oracle selection was not chosen yet, and in the dev stage never on test.
        records = [dataclasses.replace(record, selection="fixed") for record in records]
        if not per_fold:
            records, left_out = average_folds(records)
            notes += [advise_on_uneven_folds(left_out, store.root)] if left_out else []
    else:
        dev = [record for record in everything if record.ok and record.stage == "dev"]
        if selection:
            records, further = _apply_rules(records, dev, dict.fromkeys(selection), store)
            notes += further
        else:
            records, further = drop_candidates(records)
            notes += further
        if calibration:
            records, further = _calibrate(records, dev, store, calibration)
            notes += further
    return Gathered(tuple(records), tuple(chosen), (*notes, *store.left_out))


def drop_candidates(records: Sequence[Record], verb: str = "") -> tuple[list[Record], list[str]]:
    """Return the records that are no candidates of oracle selection, and a sentence on how to see those left out.

    `verb` is the command that shows them, if it is another one than was typed. BadValue is raised where all are.
    """
    kept = [record for record in records if record.selection != "oracle"]
    if not kept:
        raise BadValue(
            f"every finished run asked for ({len(records)}) is a candidate of oracle selection; "
            f"see the best of them, marked †: zslbench {verb or 'table'} --selection oracle."
        )
    if len(kept) == len(records):
        return kept, []
    runs = f"{format_count(len(records) - len(kept), 'run')} for oracle selection not shown"
    return kept, [f"{runs}; {verb and f'zslbench {verb} '}--selection oracle shows the best on test, marked †."]


def _apply_rules(
    final: Sequence[Record], dev: Sequence[Record], selection: dict[str, None], store: ResultStore
) -> tuple[list[Record], list[str]]:
    tuned = {DEFAULT_NAME, *(preset.name for preset in PresetStore(store.root).load())}
    records: list[Record] = []
    notes = []
    for rule in selection:
        selected = select(rule, final, dev, tuned)
        sentence = advise_on_rule(rule, selected.lacking, store.root)
        if not selected.records:
            raise BadValue(
                sentence or f"no finished run asked for is of selection {rule!r}; leave out --selection {rule}."
            )
        records += selected.records
        notes += [sentence] if sentence else []
    return records, notes


def _calibrate(
    records: Sequence[Record], dev: Sequence[Record], store: ResultStore, calibration: str
) -> tuple[list[Record], list[str]]:
    notes = [note] if (note := without_curve(records)) else []
    if not any(is_generalized(record) for record in records):
        refusal = "--calibrate moves seen against unseen classes: no run asked for compares them; ask for gzsl."
        raise BadValue(note or refusal)
    calibrated = calibrate(records, dev, store.predictions, on=CALIBRATIONS[calibration])
    if calibrated.lacking:
        notes.append(advise_on_folds(calibrated.lacking, store.root))
    if calibrated.other_step:
        names = ", ".join(dict.fromkeys(record.label for record in calibrated.other_step))
        notes.append(
            f"no calibrated stacking for rows of an earlier step ({names}): predictions are kept of the last step only."
        )
    if not any("calibrated" in record.provenance for record in calibrated.records):
        raise BadValue(notes[0])
    return list(calibrated.records), notes
