"""What records lack or seem to have wrong, in sentences, and the commands that mend it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from zslbench.errors import StoreError
from zslbench.identity import canonical_json
from zslbench.metrics import Predictions
from zslbench.results.analysis.rows import spec_head
from zslbench.results.analysis.selection import UnselectableRecords
from zslbench.results.records.record import Record
from zslbench.results.records.store import data_options, runs_option
from zslbench.spec import brackets
from zslbench.visible import list_names, title_data

FEWEST_CLASSES = 10
"""Unseen classes below which nothing is said of chance: among few, twice chance is no sign of a fault."""


def run_command(records: Sequence[Record], runs: Path, *extra: str) -> str:
    """Return the ``zslbench run …`` that asks for these records (of one setup) again, `extra` options added."""
    method = str(records[0].provenance.get("selected", {}).get("label", records[0].label))
    words = _data_words(records[0]) + _seed_words(records, each=True)
    return shlex.join(["zslbench", "run", "-m", method, *words, *extra, *runs_option(runs)])


def rerun_command(record: Record, method: str, runs: Path) -> str:
    """Return the ``zslbench run …`` that does one run again as it was done, `method` as its spec.

    What its record does not say (where the data of an earlier version's record lies) is left to the user.
    """
    words = ["--stage", "dev", "--fold", str(record.fold)] if record.stage == "dev" else []
    facts = record.provenance
    if (precision := facts.get("precision", "float32")) != "float32":
        words += ["--precision", str(precision)]
    if every := facts.get("checkpoint_every", 0):
        words += ["--checkpoints", f"every:{every}"]
    if kept := (facts.get("kept_features") or {}).get("per_class", 0):
        words += ["--keep-features", str(kept)]
    words += ["--save-model"] if "kept_model" in facts else []
    chosen = dataclasses.replace(record, provenance={**facts, "selected": {"label": method}})
    return run_command([chosen], runs, *words, "--rerun", "all")


def tune_command(record: Record, runs: Path) -> str:
    """Return the ``zslbench tune …`` that chooses the hyper-parameters of a record's method on the dev folds."""
    return shlex.join(["zslbench", "tune", spec_head(record), *_data_words(record), *runs_option(runs)])


def ablate_command(records: Sequence[Record], method: str, runs: Path, *extra: str) -> str:
    """Return the ``zslbench ablate …`` of a method on the data of records of one setup, under its protocol."""
    words = _data_words(records[0]) + _seed_words(records, each=False)
    return shlex.join(["zslbench", "ablate", method, *words, *runs_option(runs), *extra])


def _data_words(record: Record) -> list[str]:
    data, rules, facts = record.dataset, record.protocol, record.provenance
    folder = facts.get("own_folder") or f"PATH/TO/{data['name']}"  # which records of earlier versions do not hold
    origin = str(data.get("origin", ""))
    text = folder if origin == "own" else data["name"]
    features, semantics = str(data.get("features", "")), str(data.get("semantics", ""))
    words = data_options(text, origin, features, semantics, facts.get("data_root"))
    return [*words, "-p", rules["name"] + brackets(rules.get("params", {}))]


def _seed_words(records: Sequence[Record], each: bool) -> list[str]:
    """Return the seeds' number where they count from 0, others one by one where `each` asks for them; and --oracle."""
    seeds = sorted({record.seed for record in records})
    if seeds == list(range(len(seeds))):
        words = ["--seeds", str(len(seeds))] if len(seeds) > 1 else []
    else:
        words = [word for seed in seeds for word in ("--seed", str(seed))] if each else []
    selected = records[0].provenance.get("selected", {})
    return words + (["--oracle"] if selected.get("candidate", records[0].selection == "oracle") else [])


def advise_on_rule(rule: str, lacking: Sequence[UnselectableRecords], runs: Path) -> str:
    """Say what a selection rule could not be applied to, and what to type for the first of it; empty for nothing."""
    if not lacking:
        return ""
    lack = min(lacking, key=lambda lack: not _has_epochs(lack))  # the first that a command mends
    others = f" ({len(lacking) - 1} more have the same problem)" if len(lacking) > 1 else ""
    return f"no {rule} row for {lack.records[0].headline}: {_remedy(rule, lack, runs)}{others}."


def _has_epochs(lack: UnselectableRecords) -> bool:
    return lack.missing != "curve" or "epochs" in lack.records[0].method.get("params", {})


def _remedy(rule: str, lack: UnselectableRecords, runs: Path) -> str:
    first = lack.records[0]
    epochs = int(first.method.get("params", {}).get("epochs", 10)) // 10
    checkpoints = "--checkpoints", f"every:{max(1, int(first.curve[0]['step']) if first.curve else epochs)}"
    again = *checkpoints, "--rerun", "all"
    if lack.missing != "curve":
        why = {"dev": "it has no dev curves", "dev curve": "its dev records have no curves"}
        reason = why.get(lack.missing, "its dev curves share no step with it")
        words = checkpoints if lack.missing == "dev" else again
        return f"{reason}; make them: `{run_command(lack.records, runs, '--stage', 'dev', *words)}`"
    if _has_epochs(lack):
        on_dev = ", and the same with `--stage dev`" if rule == "validated" else ""
        command = run_command(lack.records, runs, *again)
        return f"it was judged at its last step only; make its curve: `{command}`{on_dev}"
    if rule == "validated":
        return f"it has no steps to choose among; choose its hyper-parameters: `{tune_command(first, runs)}`"
    return "it was tried with these hyper-parameters only, without steps; try a grid with `zslbench run … --oracle`"


def advise_on_folds(lacking: Sequence[Record], runs: Path) -> str:
    """Say whose constant could not be chosen for want of dev folds, and what to type for the first of them."""
    names = list(dict.fromkeys(record.headline for record in lacking))
    command = run_command([record for record in lacking if record.headline == names[0]], runs, "--calibrate")
    others = f"; {len(names) - 1} more need folds, too" if len(names) > 1 else ""
    return (
        f"no constant of calibrated stacking for {names[0]}: not all of its dev folds were run; make them: "
        f"`{command}`{others}."
    )


def advise_on_uneven_folds(left_out: Sequence[Record], runs: Path) -> str:
    """Say which dev records were not averaged, since the other seeds of their setup have other folds."""
    names = list_names((f"{record.headline} seed {record.seed} fold {record.fold}" for record in left_out), 4)
    same = [record for record in left_out if record.headline == left_out[0].headline]
    return (
        f"not averaged, since the other seeds have other folds: {names}; "
        f"make the rest: `{run_command(same, runs, '--stage', 'dev')}`, or see all of them with --per-fold."
    )


def advise_near_chance(records: Iterable[Record], predictions: Callable[[Record], Predictions]) -> list[str]:
    """Return a sentence for each method and data set with a final run whose T1 or U is under twice chance.

    Chance is 100 % over the number of candidates, counted as the classes that have test images: the unseen ones for T1,
    all for U. U is left out where T1 is named. Candidates of oracle selection do not count, nor do runs on data of
    which no predictions can be read.
    """
    weak: dict[tuple[str, str, str], list[tuple[float, int, Record]]] = {}
    counts: dict[tuple[str, str], tuple[int, int]] = {}  # all runs on the same data have the same test images
    for record in records:
        metric = next((name for name in ("T1", "U") if name in record.metrics), "")
        if not metric or record.stage == "dev" or record.selection == "oracle":
            continue
        if record.metrics[metric] >= 2 / FEWEST_CLASSES:
            continue
        data = record.dataset["fingerprint"], canonical_json(dict(record.protocol))
        if data not in counts:
            try:
                arrays = predictions(record)
            except StoreError:
                continue
            labels, of_unseen = arrays["label"], arrays["of_unseen"]
            counts[data] = len(np.unique(labels)), len(np.unique(labels[of_unseen]))
        candidates, unseen = counts[data]
        if unseen >= FEWEST_CLASSES and record.metrics[metric] < 2 / candidates:
            key = (str(record.method["name"]), str(record.dataset["name"]), metric)
            weak.setdefault(key, []).append((record.metrics[metric], candidates, record))
    sentences = []
    for (method, dataset, metric), runs in weak.items():
        if metric == "U" and (method, dataset, "T1") in weak:
            continue
        accuracy, candidates, record = min(runs, key=lambda run: run[0])
        params = record.method.get("params", {})
        tries = [f"`zslbench tune {method} -d …`"]
        tries += [f"another preprocess than {params['preprocess']}"] if "preprocess" in params else []
        tries += ["targets=binary"] if params.get("targets") == "signed" else []
        tries += ["`run --calibrate`, as seen classes may take all"] if metric == "U" else []
        others = f" (and {len(runs) - 1} more)" if len(runs) > 1 else ""
        sentences.append(
            f"{record.label}{others} on {title_data(dataset)}: {metric} {100 * accuracy:.1f} is under twice chance, "
            f"{200 / candidates:.1f} among {candidates} candidates; try {', or '.join(tries)}."
        )
    return sentences
