"""Executors: where runs are done, all by one loop, so that records are the same whichever it was."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from zslbench.errors import BadValue
from zslbench.runner.executors.loop import Executor, Listener, SerialExecutor
from zslbench.runner.resources import Limits, parse_bytes, parse_seconds, places

__all__ = ["Executor", "Listener", "SerialExecutor", "engine"]

EngineName = Literal["serial", "process", "dask", "slurm"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def engine(
    name: EngineName | None = None,
    *,
    workers: int | str | None = None,
    device: str = "auto",
    time_limit: str | float | None = None,
    memory_limit: str | int | None = None,
    scheduler: str | None = None,
    config: Path | str | None = None,
) -> Executor:
    """Return an engine, which computes runs; pass it to `zslbench.run` and other functions that run methods.

    Args:
        name: ``serial``, ``process``, ``dask`` or ``slurm``. None: dask if `scheduler` is given, slurm if `config` is,
            process if workers or limits are, otherwise serial.
        workers: how many, or ``auto`` (process, dask).
        device: of the runs. If it is a GPU, each worker of the process engine sees only its own GPU.
        time_limit: of a run, such as ``90s`` or ``2h``; a run that takes longer is recorded as timeout (process).
        memory_limit: of a run's worker, such as ``4GiB``; a run that needs more is recorded as crashed (process).
        scheduler: the address of a running Dask cluster.
        config: a TOML file with options for Slurm.

    Raises:
        ZslbenchError: arguments that do not go together, or an extra that is not installed.
    """
    limits = Limits(parse_seconds(time_limit), parse_bytes(memory_limit))
    limited = limits != Limits()
    if name is None:
        name = "dask" if scheduler else "slurm" if config else "process" if workers or limited else "serial"
    if name not in ENGINES:
        raise BadValue(f"engine {name!r} does not exist; choose one of: {', '.join(ENGINES)}.")
    for given, option, takers in (
        (workers, "--workers", ("process", "dask")),
        (limited, "--time-limit and --memory-limit", ("process",)),
        (scheduler, "--scheduler", ("dask",)),
        (config, "--engine-config", ("slurm",)),
    ):
        if given and name not in takers:
            raise BadValue(
                f"{option} means nothing to the {name} engine; leave it out, or use --engine {' or '.join(takers)}."
            )
    if scheduler and workers:
        raise BadValue("--workers and --scheduler were both given; a cluster that runs already has its own workers.")
    if name == "process":
        from zslbench.runner.executors.processes import ProcessExecutor

        return ProcessExecutor(places(workers, device), limits)
    if name == "dask":
        from zslbench.runner.executors.dask import DaskExecutor

        return DaskExecutor(scheduler, () if scheduler else places(workers, "cpu"))
    if name == "slurm":
        from zslbench.runner.executors.slurm import SlurmConfig, SlurmExecutor

        return SlurmExecutor(SlurmConfig.read(config))
    return SerialExecutor()
