"""What a job leaves of each of its runs, from messages of its worker to a record, and how that came about."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import zslbench
from zslbench.arrays import AnyArray, Array
from zslbench.errors import ZslbenchError
from zslbench.methods.base import Method
from zslbench.methods.preprocess import Preprocessor
from zslbench.metrics import NEEDS_ONE_SCALE
from zslbench.results.records.record import Record, Status
from zslbench.runner.class_lookup import method_class
from zslbench.runner.jobs import Job, Run
from zslbench.sources import source_of

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")


@dataclasses.dataclass(frozen=True, eq=False)
class RunResult:
    """A record, the predictions to keep beside it (none when the run failed), features and model where asked for."""

    record: Record
    predictions: Mapping[str, AnyArray] | None = None
    features: Mapping[str, AnyArray] | None = None
    model: Mapping[str, AnyArray] | None = None

    def stamped(self, **facts: Any) -> RunResult:
        """Return it with more facts in the provenance of its record."""
        record = dataclasses.replace(self.record, provenance={**self.record.provenance, **facts})
        return dataclasses.replace(self, record=record)


@dataclasses.dataclass(frozen=True, eq=False)
class UnjudgedResult:
    """What a fit leaves of one run before it is judged: no answer is needed for it, and it holds none.

    Attributes:
        status: ok, failed or skipped.
        error: why not ok.
        facts: losses, seconds by phase, memory, provenance (see `facts_of`).
        condensed: what is judged of the scores (see `Protocol.condense`).
        made: rows that the method synthesised of each unseen class, where they were asked for.
        model: the state of the fitted method, where it was asked for.
    """

    status: Status
    error: str
    facts: Mapping[str, Any]
    condensed: Mapping[str, AnyArray] | None = None
    made: Synthesis | None = None
    model: KeptState | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Synthesis:
    """(k, per_class, d) synthesised rows, k unseen classes ascending, and what brings real rows into their space.

    `error` says why there are none.
    """

    rows: Array | None
    scaling: Preprocessor
    error: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class KeptState:
    """The state of a fitted method as arrays; `error` says why there are none."""

    arrays: Mapping[str, AnyArray] | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Started:
    """A message of a worker to its coordinator: the job of this key began."""

    job: str


@dataclasses.dataclass(frozen=True)
class Logged:
    """A job finished `step` of `total` epochs, with losses."""

    job: str
    step: int
    total: int
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Progressed:
    """A job did `step` of `total` steps of a phase; 0 of 0: a phase began that has no steps."""

    job: str
    phase: str
    step: int
    total: int


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint of a job was scored: what is judged of each of its runs, in their order."""

    job: str
    step: int
    condensed: Sequence[Mapping[str, AnyArray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Done:
    """A job ended: what is left to be judged of each of its runs, in their order."""

    job: str
    results: Sequence[UnjudgedResult]


Message: TypeAlias = Started | Progressed | Logged | Checkpoint | Done


class Stopped(Exception):
    """Raised by whoever hears of a judged checkpoint: the fit need not go on. Its runs are recorded as skipped."""


def unfinished(job: Job, status: Status, error: str = "") -> list[RunResult]:
    """Return the records of a job that did not come to its end (interrupted, crashed, timeout)."""
    return [RunResult(record_of(run, status, error=error, **facts_of(job, None, {}))) for run in job.runs]


def facts_of(
    job: Job,
    method: Method | None,
    seconds: Mapping[str, float],
    group_facts: Mapping[str, Any] | None = None,
    losses: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return how a job came about, for its records: losses, seconds by phase, memory, provenance."""
    device = str(getattr(method, "device_", "cpu"))
    return {
        "losses": losses or {},
        "timings": {phase: round(value, 4) for phase, value in seconds.items()},
        "memory": _peak_memory(device),
        "provenance": _provenance(method_class(job.first.method), device)
        | _drop_empty(
            training_threads=getattr(method, "threads_", None),
            precision=getattr(method, "precision_", None),
            checkpoint_every=job.how.checkpoint_every,
        )
        | dict(group_facts or {}),
    }


def _drop_empty(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value}


def record_of(run: Run, status: Status, **facts: Any) -> Record:
    """Return the record of a run, without metrics that have no meaning for its scores."""
    identity = run.identity()
    if not run.one_scale:
        curve = facts.get("curve", ())
        facts["metrics"] = _without_swept(facts.get("metrics", {}))
        facts["curve"] = tuple({**point, "metrics": _without_swept(point["metrics"])} for point in curve)
    facts["provenance"] = facts["provenance"] | _drop_empty(
        tuned=run.tuned, told=[*run.told], own_folder=run.dataset.own_folder, data_root=run.dataset.data_root
    )
    card = method_class(run.method).card
    return Record(
        id=run.id,
        status=status,
        method=identity["method"]
        | {"title": card.title, "label": run.label, "setting": run.setting, "stochastic": card.stochastic},
        dataset=identity["dataset"] | _drop_empty(split=run.dataset.split, first_class=run.dataset.first_class),
        protocol=identity["protocol"],
        stage=run.stage,
        fold=run.fold,
        seed=run.seed,
        selection=run.selection,
        **facts,
    )


def _without_swept(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in NEEDS_ONE_SCALE}


def describe_error(error: BaseException) -> str:
    """Return a user error as its sentence, and any other with its traceback."""
    if isinstance(error, ZslbenchError):
        return str(error)
    return "".join(traceback.format_exception(error))


def _provenance(cls: type, device: str) -> dict[str, Any]:
    """Return what is known of the software, the machine and the method's source."""
    source = source_of(cls)
    return {
        "zslbench": zslbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processors": os.cpu_count(),
        "packages": dict(library_versions()),
        "device": device,
        "blas_threads": max((int(pool["num_threads"]) for pool in _pools(len(sys.modules)).info()), default=1),
        **_torch_flags(device),
        "method_source": source.digest,
        "method_files": dict(source.files),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _peak_memory(device: str) -> dict[str, int]:
    """Return the peak resident bytes of the process up to now and, where CUDA was used, of this job on the device."""
    if sys.platform == "win32":
        import psutil

        memory = {"process_peak_so_far": int(psutil.Process().memory_info().peak_wset)}
    else:
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        memory = {"process_peak_so_far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        memory["cuda_peak"] = int(torch.cuda.max_memory_allocated(device if device.startswith("cuda") else None))
    return memory


def reset_peaks() -> None:
    """Let CUDA's peak start anew, so that it belongs to one job."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


@functools.cache  # reading the metadata of four packages takes longer than a small fit
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries on which numbers rest."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _torch_flags(device: str) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    flags: dict[str, Any] = {"torch_threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        flags |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            # of what is not training, which has a precision of its own
            "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
            "deterministic": bool(torch.are_deterministic_algorithms_enabled()),
        }
    return flags


@functools.lru_cache(maxsize=1)  # finding the libraries takes longer than a small fit; their threads are read each time
def _pools(modules: int) -> ThreadpoolController:
    """Return the thread pools of this process; a module that was imported meanwhile may have brought another."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
