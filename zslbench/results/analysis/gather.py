"""The records that a command is of: asked for, under the selection rules asked for, calibrated, folds averaged."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

from zslbench.errors import BadValue, RecordsLeftOut, StoreError, UnknownName
from zslbench.results.analysis import selection as rules
from zslbench.results.analysis.advice import advise_on_folds, advise_on_rule, advise_on_uneven_folds
from zslbench.results.analysis.calibration import calibrate, is_generalized, without_curve
from zslbench.results.analysis.record_filter import RecordFilter
from zslbench.results.analysis.rows import average_folds
from zslbench.results.records.record import SELECTIONS, Record
from zslbench.results.records.store import ResultStore
from zslbench.results.records.tuned_presets import DEFAULT_NAME, PresetStore
from zslbench.sources import SourceCheck
from zslbench.visible import format_count

CALIBRATIONS = ("dev", "oracle")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Finished records with the metrics that a rule selected, the records asked for whatever their status (`chosen`).

    `notes` say what could not be shown, and the command that mends it.
    """

    records: tuple[Record, ...]
    chosen: tuple[Record, ...]
    notes: tuple[str, ...] = ()


def choose(store: ResultStore, records: Sequence[Record], record_filter: RecordFilter) -> list[Record]:
    """Return the records of a store that were asked for, whatever their status, marked as `mark_sources` does.

    Warns of what could not be read.

    Raises:
        BadValue: a name that no record has, or names that no record has together.
        StoreError: no records at all, or none that finished.
    """
    if not records:
        advice = "make some, for instance with `zslbench run --method eszsl --dataset digits`, or name their folder"
        raise StoreError(" ".join([f"there are no runs in {store.root}; {advice} with --runs.", *store.left_out]))
    record_filter.check_terms(records, store.root)
    for sentence in store.left_out:
        warnings.warn(sentence, RecordsLeftOut, stacklevel=3)
    chosen = record_filter.select(records)
    record_filter.check_finished(chosen, records, store.root)
    return mark_sources(chosen)


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
        calibration: where the constant of calibrated stacking is chosen: ``dev``, ``oracle`` (on test), None: nowhere.
        per_fold: keep the folds of the dev stage apart; else each seed gets the mean over them.

    Raises:
        UnknownName: a rule that does not exist. BadValue: nothing that a rule could be applied to.
        StoreError: no records at all, none that finished, or predictions that are lost.
    """
    for name in selection:
        if name not in SELECTIONS:
            raise UnknownName("selection rule", name, SELECTIONS)
    if calibration not in (None, *CALIBRATIONS):
        raise UnknownName("place to calibrate on", str(calibration), CALIBRATIONS)
    everything = store.load()
    chosen = choose(store, everything, record_filter)
    records = [record for record in chosen if record.ok]
    notes: list[str] = []
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
            records, notes = _apply_rules(records, dev, dict.fromkeys(selection), store)
        else:
            kept = drop_candidates(records)
            if hidden := len(records) - len(kept):
                runs = f"{format_count(hidden, 'run')} for oracle selection not shown"
                notes.append(f"{runs}; --selection oracle shows the best on test, marked †.")
            records = kept
        if calibration:
            records, further = _calibrate(records, dev, store, calibration)
            notes += further
    return Gathered(tuple(records), tuple(chosen), (*notes, *store.left_out))


def drop_candidates(records: Sequence[Record]) -> list[Record]:
    """Return the records that count as they are, candidates of oracle selection left out.

    Raises:
        BadValue: all are candidates.
    """
    kept = rules.drop_oracle_candidates(records)
    if not kept:
        raise BadValue(
            f"every finished run asked for ({len(records)}) is a candidate of oracle selection; "
            "see the best of them, marked †: zslbench table --selection oracle."
        )
    return kept


def _apply_rules(
    final: Sequence[Record], dev: Sequence[Record], selection: dict[str, None], store: ResultStore
) -> tuple[list[Record], list[str]]:
    tuned = {DEFAULT_NAME, *(preset.name for preset in PresetStore(store.root).load())}
    records: list[Record] = []
    notes = []
    for rule in selection:
        selected = rules.select(rule, final, dev, tuned)
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
    calibrated = calibrate(records, dev, store.predictions, on_test=calibration == "oracle")
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
