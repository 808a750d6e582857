"""The history of a search: what Optuna keeps in a file of its own, so that a killed search goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zslbench.errors import StoreError, Unavailable
from zslbench.studies.objective import Trial

if TYPE_CHECKING:
    import optuna

_MEDIAN_OF = 5
"""Trials that must have finished before any is given up for being worse than their median."""
_TOLD = "trial"
"""The attribute under which a trial that came to its end is kept."""


@contextlib.contextmanager
def opened(path: Path, name: str, afresh: bool) -> Iterator[tuple[optuna.Study, int]]:
    """Open a search in its file, alone, and tell how many other searches the file holds.

    Raises:
        Unavailable: Optuna is not installed.
        StoreError: the file cannot be used, or another process uses it.
    """
    try:
        import optuna
    except ImportError:
        raise Unavailable(
            "the samplers tpe and random need Optuna; install it with: pip install 'zslbench[tune]', or list values "
            "and use --sampler grid."
        ) from None
    import sqlalchemy.exc
    from filelock import FileLock, Timeout

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=0):
            url = "sqlite:///" + urllib.parse.quote(str(path.absolute()), safe="/:\\")
            storage = optuna.storages.RDBStorage(url)
            names = optuna.get_all_study_names(storage)
            if afresh and name in names:
                optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(_MEDIAN_OF),
            )
            try:
                yield study, len(set(names) - {name})
            finally:
                storage.remove_session()
                storage.engine.dispose()
    except Timeout:
        raise StoreError(f"another process searches in {path}; wait for it, or choose another --name.") from None
    except (OSError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        why = str(error).splitlines()[0]
        raise StoreError(
            f"the search {path} cannot be read or written ({why}); mend that, or delete the file: finished runs are "
            "kept and not repeated."
        ) from None


def kept(study: optuna.Study) -> list[Trial]:
    """Return the trials of a search that came to their end, in order."""
    return [_trial(one) for one in study.trials if one.state.is_finished() and _TOLD in one.user_attrs]


def tell(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    """Keep how a trial ended; what is killed between the two steps is mended by `take_up`."""
    asked.set_user_attr(_TOLD, dataclasses.asdict(trial))
    _end(study, asked.number, trial)


def take_up(study: optuna.Study) -> None:
    """Put what was under way when a search was killed back in front; what had come to its end is told so."""
    import optuna

    for one in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if _TOLD in one.user_attrs:
            _end(study, one.number, _trial(one))
        else:
            study.tell(one.number, state=optuna.trial.TrialState.FAIL)  # samplers pass over such trials
            study.enqueue_trial(one.params)


def _end(study: optuna.Study, number: int, trial: Trial) -> None:
    from optuna.trial import TrialState

    state = {"ok": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.result]
    study.tell(number, trial.value if trial.result == "ok" else None, state=state)


def _trial(one: optuna.trial.FrozenTrial) -> Trial:
    facts = one.user_attrs[_TOLD]
    return Trial(**{**facts, "scores": {name: tuple(scores) for name, scores in facts["scores"].items()}})
