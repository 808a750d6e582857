"""Which records belong together, and the command that makes what one lacks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zslbench.identity import canonical_json
from zslbench.results.records.record import Record
from zslbench.results.records.wording import runs_option
from zslbench.spec import brackets


def cell(record: Record) -> str:
    """Return the key of what was run: method with every parameter, data, protocol; whatever stage, fold and seed."""
    method = record.method
    made_of = [method["name"], method.get("version"), dict(method.get("params", {}))]
    return canonical_json([*_where(record), made_of, record.schema])


def family(record: Record, tuned: Iterable[str] = ()) -> str:
    """Return the key of all hyper-parameters of one method and presets on the same data and protocol.

    Args:
        record: of any stage, fold and seed.
        tuned: names of tuned presets: ``ale@tuned`` is of the family of ``ale``.
    """
    method = record.method
    of = [method["name"], method.get("version"), head(record, tuned), method.get("setting")]
    return canonical_json([*_where(record), of, record.schema])


def _where(record: Record) -> list[object]:
    data, rules = record.dataset, record.protocol
    return [
        [data["name"], data.get("features"), data.get("semantics"), data.get("fingerprint")],
        [rules["name"], rules.get("version"), dict(rules.get("params", {}))],
    ]


def worst_state(records: Iterable[Record]) -> str:
    """Return ``changed`` where the source of any has changed, else ``unknown`` where that of any is, else current."""
    states = {str(record.provenance.get("source_state", "current")) for record in records}
    return next((state for state in ("changed", "unknown") if state in states), "current")


def label(record: Record) -> str:
    """Return the text that names the method in the spec grammar."""
    return str(record.method.get("label") or record.method["name"])


def head(record: Record, tuned: Iterable[str] = ()) -> str:
    """Return name and presets of a record's label, those of tuned presets left out."""
    name, *presets = label(record).partition("[")[0].split("@")
    return "@".join([name, *(preset for preset in presets if preset not in set(tuned))])


def grouped(records: Iterable[Record], key: Callable[[Record], str]) -> list[list[Record]]:
    """Return the groups of equal keys, in the order of the keys; each in order of fold, seed and id."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return [
        sorted(group, key=lambda record: (record.fold, record.seed, record.id)) for _, group in sorted(found.items())
    ]


def command(records: Sequence[Record], runs: Path, *extra: str) -> str:
    """Return the ``zslbench run …`` that asks for these records (of one cell) again, `extra` options added."""
    first = records[0]
    selected = first.provenance.get("selected", {})
    seeds = sorted({record.seed for record in records})
    separate = [] if seeds == list(range(len(seeds))) else [word for seed in seeds for word in ("--seed", str(seed))]
    words = [
        "zslbench",
        "run",
        "-m",
        selected.get("label", label(first)),
        *_data(first),
        *(separate or _seeds(records)),
    ]
    return shlex.join([*words, *_candidate(first), *extra, *runs_option(runs)])


def study_words(records: Sequence[Record], runs: Path) -> list[str]:
    """Return the words of a command that say what records of one cell are of, the method and single seeds apart."""
    return [*_data(records[0]), *_seeds(records), *_candidate(records[0]), *runs_option(runs)]


def _seeds(records: Sequence[Record]) -> list[str]:
    seeds = {record.seed for record in records}
    return ["--seeds", str(len(seeds))] if len(seeds) > 1 and seeds == set(range(len(seeds))) else []


def _candidate(record: Record) -> list[str]:
    candidate = record.provenance.get("selected", {}).get("candidate", record.selection == "oracle")
    return ["--oracle"] if candidate else []


def tune_command(record: Record, runs: Path) -> str:
    """Return the ``zslbench tune …`` that chooses the hyper-parameters of a record's method on the dev folds."""
    return shlex.join(["zslbench", "tune", head(record), *_data(record), *runs_option(runs)])


def _data(record: Record) -> list[str]:
    # Where data of the user's own lies is not recorded; the folder is the one word left to the user.
    data, rules = record.dataset, record.protocol
    name = f"PATH/TO/{data['name']}" if data.get("origin") == "own" else data["name"]
    words = ["-d", name]
    if data.get("origin") != "builtin":
        words += ["--features", str(data.get("features", "")), "--semantics", str(data.get("semantics", ""))]
    return [*words, "-p", rules["name"] + brackets(rules.get("params", {}))]
