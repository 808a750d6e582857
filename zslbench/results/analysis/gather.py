"""What a table is of: the records asked for, under the selection rules asked for, calibrated, folds averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from zslbench.errors import BadValue, UnknownName
from zslbench.results.analysis import selection as rules
from zslbench.results.analysis.calibration import calibrate, is_generalized, without_curve
from zslbench.results.analysis.choice import Choice, choose
from zslbench.results.analysis.folds import averaged
from zslbench.results.analysis.matching import command, label, tune_command
from zslbench.results.analysis.selection import Lack, Selection
from zslbench.results.records.presets import DEFAULT_NAME, TunedStore
from zslbench.results.records.record import Record
from zslbench.results.records.store import ResultStore
from zslbench.results.records.wording import place

CALIBRATIONS = ("dev", "oracle")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """What a table is made of.

    Attributes:
        records: finished, their metrics those that a rule selected.
        chosen: the records asked for, whatever their status.
        notes: sentences on what could not be shown, and the command that mends it.
    """

    records: tuple[Record, ...]
    chosen: tuple[Record, ...]
    notes: tuple[str, ...] = ()


def gather(
    store: ResultStore,
    choice: Choice,
    selection: Sequence[str] = (),
    calibration: str | None = None,
    per_fold: bool = False,
) -> Gathered:
    """Return the records that a table is of.

    Args:
        store: the folder of records.
        choice: which records.
        selection: rules to apply, rows of each; none: records as they are, candidates of oracle selection left out.
        calibration: where the constant of calibrated stacking is chosen: ``dev``, ``oracle`` (on test), None: nowhere.
        per_fold: keep the folds of the dev stage apart; else each seed gets the mean over them.

    Raises:
        UnknownName: a rule that does not exist. BadValue: nothing that a rule could be applied to.
        StoreError: no records at all, none that finished, or predictions that are lost.
    """
    for name in selection:
        if name not in rules.RULES:
            raise UnknownName("selection rule", name, rules.RULES)
    if calibration not in (None, *CALIBRATIONS):
        raise UnknownName("place to calibrate on", str(calibration), CALIBRATIONS)
    everything = store.load()
    chosen = choose(everything, choice, store.root, store.left_out)
    finished = [record for record in chosen if record.ok]
    if choice.stage == "dev":
        if selection or calibration:
            asked = "--selection" if selection else "--calibrate"
            raise BadValue(f"{asked} is of the final stage and chooses on the dev stage; leave out --stage dev.")
        # What was run for oracle selection was not chosen yet, and in the dev stage never on test.
        records, notes = _dev([dataclasses.replace(one, selection="fixed") for one in finished], per_fold, store)
        return Gathered(tuple(records), tuple(chosen), (*notes, *store.left_out))
    dev = [record for record in everything if record.ok and record.stage == "dev"]
    records, notes = _selected(finished, dev, dict.fromkeys(selection), store)
    if calibration:
        records, more = _calibrated(records, dev, store, calibration)
        notes += more
    return Gathered(tuple(records), tuple(chosen), (*notes, *store.left_out))


def ordinary(records: Sequence[Record]) -> list[Record]:
    """Return the records that count as they are.

    Raises:
        BadValue: all are candidates of oracle selection.
    """
    kept = rules.recorded(records)
    if not kept:
        raise BadValue(
            f"every finished run asked for ({len(records)}) is a candidate of oracle selection; "
            "see the best of them, marked †: zslbench table --selection oracle."
        )
    return kept


def _dev(records: Sequence[Record], per_fold: bool, store: ResultStore) -> tuple[list[Record], list[str]]:
    if per_fold:
        return list(records), []
    kept, left = averaged(records)
    if not left:
        return kept, []
    names = ", ".join(dict.fromkeys(f"{place(one)} seed {one.seed} fold {one.fold}" for one in left[:4]))
    same = [one for one in left if place(one) == place(left[0])]
    more = f" and {len(left) - 4} more" if len(left) > 4 else ""
    return kept, [
        f"not averaged, since the other seeds have other folds: {names}{more}; "
        f"make the rest: `{command(same, store.root, '--stage', 'dev')}`, or see all of them with --per-fold."
    ]


def _selected(
    final: Sequence[Record], dev: Sequence[Record], selection: dict[str, None], store: ResultStore
) -> tuple[list[Record], list[str]]:
    if not selection:
        kept = ordinary(final)
        hidden = len(final) - len(kept)
        some = "1 run" if hidden == 1 else f"{hidden} runs"
        said = f"{some} for oracle selection not shown; --selection oracle shows the best on test, marked †."
        return kept, [said] if hidden else []
    tuned = {DEFAULT_NAME, *(one.name for one in TunedStore(store.root).load())}
    apply: dict[str, Callable[[], Selection]] = {
        "fixed": lambda: rules.fixed(final),
        "validated": lambda: rules.validated(final, dev, tuned),
        "oracle": lambda: rules.oracle(final, tuned),
    }
    records: list[Record] = []
    notes = []
    for rule in selection:
        found = apply[rule]()
        sentence = _lacking(rule, found.lacking, store)
        if not found.records:
            raise BadValue(
                sentence or f"no finished run asked for is of selection {rule!r}; leave out --selection {rule}."
            )
        records += found.records
        notes += [sentence] if sentence else []
    return records, notes


def _lacking(rule: str, lacking: Sequence[Lack], store: ResultStore) -> str:
    """Say what a rule could not be applied to, and what to type for the first of it."""
    if not lacking:
        return ""
    lack = min(lacking, key=lambda one: not _has_epochs(one))  # the first that a command mends
    more = f" ({len(lacking) - 1} more lack it, too)" if len(lacking) > 1 else ""
    return f"no {rule} row for {place(lack.records[0])}: {_advice(rule, lack, store)}{more}."


def _has_epochs(lack: Lack) -> bool:
    return lack.what != "curve" or "epochs" in lack.records[0].method.get("params", {})


def _advice(rule: str, lack: Lack, store: ResultStore) -> str:
    first = lack.records[0]
    every = f"every:{_every(first)}"
    dev = ("--stage", "dev", "--checkpoints", every)
    if lack.what == "dev":
        return f"it has no dev curves; make them: `{command(lack.records, store.root, *dev)}`"
    if lack.what in ("dev curve", "steps"):
        why = "its dev records have no curves" if lack.what == "dev curve" else "its dev curves share no step with it"
        return f"{why}; make them: `{command(lack.records, store.root, *dev, '--rerun', 'all')}`"
    if _has_epochs(lack):
        again = command(lack.records, store.root, "--checkpoints", every, "--rerun", "all")
        return f"it was judged at its last step only; make its curve: `{again}`" + (
            ", and the same with `--stage dev`" if rule == "validated" else ""
        )
    if rule == "validated":
        return f"it has no steps to choose among; choose its hyper-parameters: `{tune_command(first, store.root)}`"
    return "it was tried with these hyper-parameters only, without steps; try a grid with `zslbench run … --oracle`"


def _every(record: Record) -> int:
    if record.curve:
        return max(1, int(record.curve[0]["step"]))
    return max(1, int(record.method.get("params", {}).get("epochs", 10)) // 10)


def without_folds(lacking: Sequence[Record], store: ResultStore) -> str:
    """Say whose constant could not be chosen for want of dev folds, and what to type for the first of them."""
    first = [record for record in lacking if place(record) == place(lacking[0])]
    names = list(dict.fromkeys(map(place, lacking)))
    more = f"; {len(names) - 1} more lack folds as well" if len(names) > 1 else ""
    return (
        f"no constant of calibrated stacking for {names[0]}: not all of its dev folds were run; make them: "
        f"`{command(first, store.root, '--calibrate')}`{more}."
    )


def _calibrated(
    records: Sequence[Record], dev: Sequence[Record], store: ResultStore, calibration: str
) -> tuple[list[Record], list[str]]:
    if not any(is_generalized(record) for record in records):
        raise BadValue(
            without_curve(records)
            or "--calibrate moves seen against unseen classes: no run asked for compares them; ask for gzsl."
        )
    found = calibrate(records, dev, store.predictions, on_test=calibration == "oracle")
    notes = [note] if (note := without_curve(records)) else []
    if found.lacking:
        notes.append(without_folds(found.lacking, store))
    if found.other_step:
        names = list(dict.fromkeys(label(record) for record in found.other_step))
        notes.append(
            f"no calibrated stacking for rows of an earlier step ({', '.join(names)}): predictions are kept of the "
            "last step only."
        )
    if not any("calibrated" in record.provenance for record in found.records):
        raise BadValue(notes[0])
    return list(found.records), notes
