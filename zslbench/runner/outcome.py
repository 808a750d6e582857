"""`Outcome`: the result of a call of `run`, as text, table and data frame."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.metrics import order_metrics
from zslbench.results.records.record import Record
from zslbench.results.records.store import runs_option
from zslbench.results.records.training_states import StateHeader
from zslbench.results.tables.render import write_columns
from zslbench.results.tables.result import VerbResult
from zslbench.results.tables.table import Cell, Table, remarks, text_table
from zslbench.results.tables.table_data import pick_facts
from zslbench.runner.class_lookup import method_class
from zslbench.runner.estimate import Estimate
from zslbench.runner.jobs import Run
from zslbench.runner.live_file_writer import typed_command
from zslbench.runner.run_states import UNFINISHED, State
from zslbench.visible import describe_failure, format_count, join_words, title_data

_REASONS = 3
"""How many different reasons of failed runs are shown at the end."""
_NUMBER = re.compile(r"(?<![:\d])\d+")
"""A number in a reason, but for that of a line of code."""
_LISTED = 40
"""How many runs a dry run lists one by one; more are counted per method and data set."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Outcome(VerbResult):
    """What a call of `run` planned and what it did.

    Attributes:
        states_before: every planned run and its state before the call.
        states: every planned run and its state now.
        records: the record of every planned run that has one now, in the order of the plan.
        remarks: sentences for the user.
        interrupted: whether it was stopped early (Ctrl-C).
        estimate: how long the runs may take; only for a dry run.
        root: the folder of records.
        untried: how many runs had failed before and were not tried again.
        cut_short: ids of the runs that this call began and did not finish, each with the state from which its training
            goes on; None: it begins anew.
    """

    states_before: tuple[tuple[Run, State], ...]
    states: tuple[tuple[Run, State], ...]
    records: tuple[Record, ...] = ()
    remarks: tuple[str, ...] = ()
    interrupted: bool = False
    estimate: Estimate | None = None
    root: Path = Path("runs")
    untried: int = 0
    cut_short: Mapping[str, StateHeader | None] = dataclasses.field(default_factory=dict)

    def count(self, *states: State) -> int:
        """Return how many planned runs have one of these states now."""
        return sum(state in states for _, state in self.states)

    def __repr__(self) -> str:
        counts = ", ".join(f"{many} {state}" for state, many in Counter(state for _, state in self.states).items())
        return f"<Outcome of {format_count(len(self.states), 'run')}: {counts or 'none'}>"

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of planned runs that failed, crashed or reached a limit; interrupted runs are not among them."""
        return tuple(record for record in self.records if not record.ok and record.status not in UNFINISHED)

    def describe_failures(self) -> list[str]:
        """Say how many runs failed and why the first did, and how many were made by an earlier source of the method."""
        sentences = []
        if self.failed:
            reasons = [describe_failure(record.error) for record in self.failed if record.error.strip()]
            why = f" (the first: {reasons[0]})" if reasons else ""
            count = "do" if len(self.failed) > 1 else "does"
            runs = format_count(len(self.states), "run")
            sentences.append(f"{len(self.failed)} of {runs} failed and {count} not count{why}.")
        if stale := self.count("stale"):
            sentences.append(
                f"{format_count(stale, 'run', 'was')} made by an earlier source of the method; "
                "zslbench status says how to redo what is stale."
            )
        return sentences

    @property
    def text(self) -> str:
        """What the command line prints."""
        listed = "" if self.estimate is None else write_columns(*self.planned_table())
        return "".join([*(f"{text}\n" for text in self.remarks), listed, *(f"{text}\n" for text in self.sentences())])

    def planned_table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return column heads and rows of the plan: each run, or how many of each method on each data set."""
        if len(self.states) <= _LISTED:
            return ("id", "run", "state"), [(run.id, str(run), state) for run, state in self.states]
        datasets = list(dict.fromkeys(run.dataset.shown_name for run, _ in self.states))
        counts: dict[str, dict[str, Counter[str]]] = {}
        for run, state in self.states:
            counts.setdefault(run.method, {name: Counter() for name in datasets})[run.dataset.shown_name][state] += 1
        rows = [(method, *map(_count_states, by_data.values())) for method, by_data in counts.items()]
        return ("method", *map(title_data, datasets)), rows

    def sentences(self) -> list[str]:
        """Say what was done, or would be done, and what to type next."""
        if self.estimate is not None:
            states = Counter(state for _, state in self.states)
            by_state = f" ({_count_states(states)})" if len(states) > 1 else ""
            runs = format_count(len(self.states), "run")
            sentences = [f"{runs}{by_state}, {self.estimate.runs} to do; nothing was run."]
            if self.estimate.runs:
                sentences.append(f"time: {self.estimate}")
            if slow := [name for name in self.estimate.unknown if method_class(name).slow_from is not None]:
                sentences.append(
                    f"without --dry-run, a few steps of {', '.join(slow)} are measured first where the training is "
                    "long, and how long it takes is shown before it begins"
                )
            return sentences
        ok = sum(record.ok for record in self.records)
        see = shlex.join(["zslbench", "table", *runs_option(self.root)])
        shown = f"; records in {self.root}; see them with: {see}" if ok or self.failed else ""
        sentences = [f"{ok} of {format_count(len(self.states), 'run', 'is')} done, {len(self.failed)} failed{shown}"]
        if self.untried:
            sentences.append(f"{format_count(self.untried, 'failed run', 'was')} not tried again; --rerun failed does")
        reasons: dict[str, str] = {}
        for record in self.failed:
            if record.error.strip():  # the same error in other numbers, as under each protocol, is one reason
                reason = describe_failure(record.error)
                reasons.setdefault(_NUMBER.sub("", reason), reason)
        sentences += [f"why: {reason}" for reason in [*reasons.values()][:_REASONS]]
        if len(reasons) > _REASONS:
            sentences.append(f"and {len(reasons) - _REASONS} more reasons, each in its record")
        if self.failed:
            show = shlex.join(["zslbench", "show", self.failed[0].id[:8], *runs_option(self.root)])
            again = "" if self.untried else "; try again with --rerun failed"
            sentences.append(f"a failed run keeps its traceback, which `{show}` prints{again}")
        if self.interrupted:
            sentences.append(self._describe_interruption(ok + len(self.failed)))
        return sentences

    def _describe_interruption(self, kept: int) -> str:
        cut = len(self.cut_short)
        if not kept + cut:
            return f"interrupted before any run began; {say_how_to_go_on()}"
        sentence = f"interrupted: {format_count(kept, 'run')} finished and kept"
        if not cut:
            return f"{sentence}; {say_how_to_go_on()}"
        headers = [header for header in self.cut_short.values() if header is not None]
        fate, verbs, anew = " and not kept", [], cut - len(headers)
        if headers:
            steps = dict.fromkeys(f"step {header.step} of {header.total}" for header in headers)
            fate = f", {f'{len(headers)} of them ' if anew else ''}kept up to {join_words([*steps])}"
            verbs.append("goes on from there")
        if anew:
            pronoun, others = ("it", "the other") if anew == 1 else ("them", "the others")
            verbs.append(f"begins {others if headers else pronoun} anew")
        if len(self.states) > kept + cut:
            verbs.append("does the rest")
        return f"{sentence}, {format_count(cut, 'run')} cut short{fate}; {say_how_to_go_on(join_words(verbs))}"

    def lay_out(self, format: str, room: int) -> Sequence[Table]:
        """Return a table with one row per run, and the text of `sentences`."""
        records = {record.id: record for record in self.records}
        metrics = order_metrics(name for record in self.records for name in record.metrics)
        rows = []
        for run, state in self.states:
            values = records[run.id].metrics if run.id in records else {}
            numbers = (Cell(f"{100 * values[name]:.1f}") if name in values else None for name in metrics)
            rows.append((run.label, title_data(run.dataset.shown_name), run.protocol, str(run.seed), state, *numbers))
        heads = ("method", "data set", "protocol", "seed", "state", *metrics)
        below = remarks("note", [*self.remarks, *self.sentences()])
        return [text_table("", heads, rows, words=(1, 2, 4), remarks=tuple(below))]

    def list_facts(self) -> list[dict[str, Any]]:
        """Return one row per run: what it is, its state, its metrics in percent, and seconds."""
        records = {record.id: record for record in self.records}
        return [_describe_run(run, state, records.get(run.id)) for run, state in self.states]


def say_how_to_go_on(verb: str = "does the rest") -> str:
    """Return words on what does the work that was interrupted, with what it does."""
    command = typed_command()
    return f"the same command {verb}: {command}" if command else f"the same call {verb}"


def _describe_run(run: Run, state: State, record: Record | None) -> dict[str, Any]:
    return {
        "id": run.id,
        **pick_facts(run, "method", "label"),
        "dataset": run.dataset.name,
        **pick_facts(run.dataset, "features", "semantics"),
        **pick_facts(run, "protocol", "stage", "fold", "seed"),
        "state": state,
        **({name: 100 * value for name, value in record.metrics.items()} if record else {}),
        "seconds": record.timings.get("total") if record else None,
    }


def _count_states(states: Counter[Any]) -> str:
    return ", ".join(f"{number} {state}" for state, number in states.items())
