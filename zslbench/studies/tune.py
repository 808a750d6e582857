"""`tune`: choose a method's hyper-parameters in the dev stage, and keep them as a preset ``NAME@tuned``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zslbench.errors import BadValue, StoreError
from zslbench.methods.base import Method
from zslbench.results.records.presets import DEFAULT_NAME, PresetStore, TunedPreset
from zslbench.results.records.store import ResultStore
from zslbench.runner.classes import method_class, protocol_class
from zslbench.runner.executors import Executor, SerialExecutor
from zslbench.runner.jobs import Run
from zslbench.runner.live_file import keep_live_file
from zslbench.runner.plan import DEFAULT_PROTOCOLS, RunOptions, plan, texts
from zslbench.runner.resources import seconds
from zslbench.runner.states import Rerun
from zslbench.spec import parse
from zslbench.studies.search import (
    Clock,
    Interrupted,
    Objective,
    Sampler,
    Search,
    Trial,
    choose,
    open_study,
    try_grid,
    try_suggestions,
)
from zslbench.studies.space import at_edges, narrowed
from zslbench.studies.tuning import Tuning, best_of, make_preset

if TYPE_CHECKING:
    from rich.console import Console

TRIALS = 30
"""Trials of a sampler when neither their number nor a time limit is given."""
_NAME = re.compile(r"\w[\w.-]*")


def tune(
    method: str,
    dataset: str,
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS,
    *,
    features: str | None = None,
    semantics: str | None = None,
    only: str | Sequence[str] = (),
    sampler: Sampler = "auto",
    trials: int | None = None,
    time_limit: str | float | None = None,
    checkpoints: str = "last",
    prune: bool = True,
    fold: int | Sequence[int] | None = None,
    seed: int = 0,
    name: str = DEFAULT_NAME,
    runs: Path | str = "runs",
    data_root: Path | str | None = None,
    device: str = "auto",
    engine: Executor | None = None,
    rerun: Rerun | None = None,
    oracle: bool = False,
    console: Console | None = None,
) -> Tuning:
    """Choose a method's hyper-parameters in the dev stage, and keep them as a preset that ``NAME@tuned`` names.

    Points of the method's space are fitted on training classes and judged on validation classes, in every fold; the
    best mean over the folds wins, under each protocol for itself. Test images have no part in it. Every run is kept as
    a record, so the same command goes on with a search that was cut short.

    Args:
        method: text in the spec grammar: what it fixes stays, a grid in it is what is tried of that hyper-parameter.
        dataset, features, semantics, data_root: the data.
        protocols: those that get a preset; a sampler is guided by the mean of their metrics (T1, H).
        only: hyper-parameters to tune; all others stay.
        sampler: ``grid`` (every point), ``tpe``, ``random``, or ``auto``: the grid where it is finite, of at most 1,000
            points and fitted at once by the method; TPE elsewhere.
        trials: how many points a sampler tries in all, earlier calls included.
        time_limit: begin no trial after so many seconds, or a text such as ``30m``.
        checkpoints: ``every:N`` judges each fit every N epochs; with `prune`, one that is worse than the median of
            earlier trials is given up.
        fold: of the dev stage; None: all.
        seed: of the sampler and of every fit.
        name: of the preset.
        runs, device, rerun, console: see `zslbench.run`.
        engine: where fits of a grid are done, see `zslbench.engine`; a sampler has its own in this process, one by one.
        oracle: afterwards, also run every point on the test images (†), to show what picking on them would have added.
            The preset does not depend on it.

    Raises:
        ZslbenchError: a request that cannot be met; nothing was run. Or files that cannot be written any more.
    """
    spec = parse(method)
    cls = method_class(spec.name)
    _check_name(name, cls, spec.name)
    if trials is not None and trials < 1:
        raise BadValue(f"trials {trials} is not allowed; choose a whole number of at least 1.")
    clock = Clock(seconds(time_limit))
    start, space = narrowed(spec, cls, texts(only))
    sampler = choose(sampler, space, cls.offers_grid())
    if sampler != "grid" and engine is not None and not isinstance(engine, SerialExecutor):
        raise BadValue(
            f"the sampler {sampler} suggests each trial from those before and may stop a fit, so its fits are done one "
            "by one in this process; leave --engine and --workers out, or use --sampler grid."
        )
    options = RunOptions(
        [str(start)],
        [dataset],
        texts(protocols),
        features=features,
        semantics=semantics,
        seeds=[seed] if cls.card.stochastic else [0],
        stage="dev",
        fold=fold,
        data_root=str(data_root) if data_root else None,
        checkpoints=checkpoints,
    )
    planned = plan(options, PresetStore(runs)).runs
    ref, metrics = planned[0].dataset, _metrics(planned)
    objective = Objective(
        options=options,
        spec=start,
        start=[run for run in planned if run.fold == planned[0].fold],
        metrics=metrics,
        folds=tuple(dict.fromkeys(run.fold for run in planned)),
        runs=Path(runs),
        device=device,
        engine=engine,
        rerun=rerun,
        console=console,
    )
    search = Search(
        objective=objective,
        space=space,
        sampler=sampler,
        seed=seed,
        most=TRIALS if trials is None and time_limit is None else trials,
        clock=clock,
        prune=prune and checkpoints != "last",
    )
    ResultStore(runs).check_writable()
    with keep_live_file(Path(runs), growing=True):
        tried, remarks, interrupted = _search(search, name)
    remarks += _remarks(search, len(tried), trials, interrupted)
    best = {} if interrupted else best_of(tried, metrics)
    edges = {protocol: at_edges(space, trial.values, cls) for protocol, trial in best.items()}
    presets = tuple(
        make_preset(search, protocol, trial, tried, name=name, given=method, at_edge=edges[protocol])
        for protocol, trial in best.items()
    )
    remarks += dict.fromkeys(_replaced(PresetStore(runs), preset) for preset in presets)
    for preset in presets:
        PresetStore(runs).save(preset)
    finished = [trial.values for trial in tried if trial.result == "ok"]
    return Tuning(
        method=planned[0].method,
        given=method,
        dataset=ref,
        folds=objective.folds,
        metrics=metrics,
        space=space,
        sampler=sampler,
        trials=tuple(tried),
        presets=presets,
        wider=edges,
        stochastic=cls.card.stochastic,
        runs=Path(runs),
        oracle=objective.in_the_final_stage(finished) if oracle and presets else None,
        remarks=tuple(filter(None, remarks)),
        interrupted=interrupted,
    )


def _search(search: Search, name: str) -> tuple[list[Trial], list[str], bool]:
    """Try points; return the trials, remarks, and whether it was interrupted."""
    tried: list[Trial] = []
    remarks: list[str] = []
    objective = search.objective
    first, protocols = objective.start[0], "+".join(objective.metrics)
    data = first.dataset
    try:
        if search.sampler == "grid":
            tried.extend(try_grid(search))
            return tried, remarks, False
        path = PresetStore(objective.runs).path(
            name, first.method, data.name, data.features, data.semantics, protocols, ".db"
        )
        with open_study(path, search.id, afresh=objective.rerun not in (None, "none")) as (study, others):
            if others and not study.trials:
                remarks.append(
                    f"{path.name} holds {others} earlier {'search' if others == 1 else 'searches'} of another space, "
                    "seed, sampler or other folds; this one starts anew, and runs that are done are not repeated."
                )
            tried.extend(try_suggestions(search, study))
    except Interrupted:
        return tried, remarks, True
    return tried, remarks, False


def _remarks(search: Search, tried: int, trials: int | None, interrupted: bool) -> list[str]:
    """Return sentences on what the search left aside, took as it was, did again or had no time for."""
    objective, remarks = search.objective, []
    if search.sampler == "grid" and trials is not None:
        remarks.append(f"a grid tries each of its {search.space.size} points; --trials has no part in it.")
    if objective.stale:
        remarks.append(
            f"{len(objective.stale)} runs were made by an earlier source of the method and taken as they are; "
            "--rerun stale does them again."
        )
    if objective.remade:
        remarks.append(
            f"{len(objective.remade)} runs were made by an earlier source of the method and done again "
            "(--rerun none keeps such)."
        )
    wanted = search.space.size if search.sampler == "grid" else search.most
    if search.clock.over and wanted is not None and tried < wanted and not interrupted:
        remarks.append(f"the time was up after {tried} of {wanted} trials; the same command goes on.")
    return remarks


def _replaced(store: PresetStore, new: TunedPreset) -> str:
    """Say that a preset of another search gives way, or nothing."""
    try:
        old = store.find(new.name, new.method, new.dataset, new.features, new.semantics, new.protocol)
    except StoreError:
        return ""  # a damaged one gives way in silence
    if old is None or _asked(old) == _asked(new):
        return ""
    where = f"fold{'s' if len(old.folds) > 1 else ''} {', '.join(map(str, old.folds))}"
    other = "" if old.fingerprint == new.fingerprint else " of other content of the data"
    return (
        f"{new.method}@{new.name} under {new.protocol} was tuned from {old.given} before ({old.metric} "
        f"{100 * old.score:.1f} on {where}{other}) and is replaced; choose another --name to keep both."
    )


def _asked(one: TunedPreset) -> tuple[object, ...]:
    return one.given, dict(one.space), one.folds, one.fingerprint


def _metrics(planned: Sequence[Run]) -> dict[str, str]:
    """Return what is maximised under each protocol: H where there is one, else the first of its metrics.

    Raises:
        BadValue: the plan is of several data sets, or of one protocol twice.
    """
    if len({one.dataset for one in planned}) > 1:
        raise BadValue("tune takes one data set at a time; name one, and type the command again for the next.")
    first = [one for one in planned if one.fold == planned[0].fold]
    names = [one.protocol for one in first]
    if len(set(names)) < len(names):
        raise BadValue("tune keeps one preset a protocol; name each protocol once.")
    metrics = {name: protocol_class(name).card.metrics for name in names}
    return {name: "H" if "H" in of_protocol else of_protocol[0] for name, of_protocol in metrics.items()}


def _check_name(name: str, cls: type[Method], method: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadValue(f"a preset cannot be named {name!r}; use letters, digits, '.', '-' and '_'.")
    if name in cls.presets or name in cls.ablations:
        raise BadValue(f"{method}@{name} is a preset that the method brings; choose another --name.")
