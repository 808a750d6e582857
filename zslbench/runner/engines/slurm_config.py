"""The file of ``--engine-config``: what the slurm engine asks the scheduler for."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from zslbench.errors import BadValue, UnknownName
from zslbench.runner.limits import seconds, size


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlurmConfig:
    """What each job of the array gets; keys of the file are these names.

    Attributes:
        partition, account, qos, constraint: as sbatch's options of these names; empty: the cluster's own.
        time: of a job, such as ``30m`` or ``2h``.
        memory: of a job, such as ``8GiB``; empty: the cluster's own.
        cpus: of a job; also the threads of BLAS and torch.
        gpus: of a job.
        array_parallelism: jobs at once.
        setup: shell commands before Python starts (``module load …``).
        folder: for scripts and logs; coordinator and jobs must both see it.
        cluster: ``slurm``, or ``local``: plain processes on this machine, to try a configuration.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = "1h"
    memory: str = ""
    cpus: int = 1
    gpus: int = 0
    array_parallelism: int = 16
    setup: tuple[str, ...] = ()
    folder: str = "slurm-jobs"
    cluster: Literal["slurm", "local"] = "slurm"

    @classmethod
    def read(cls, path: Path | str | None) -> Self:
        """Read a TOML file; None: all as it is by default.

        Raises:
            BadValue: a file that cannot be read, a value of the wrong kind.
            UnknownName: a key that does not exist.
        """
        if path is None:
            return cls()
        try:
            found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise BadValue(
                f"{path} cannot be read as TOML ({why}); name a file such as the documentation shows."
            ) from None
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in found:
            if key not in fields:
                raise UnknownName(f"key in {path}", key, fields)
        return cls(**{key: _checked(key, value, fields[key].default, path) for key, value in found.items()})

    def __post_init__(self) -> None:
        seconds(self.time)
        if self.memory:
            size(self.memory)
        for name, least in (("cpus", 1), ("gpus", 0), ("array_parallelism", 1)):
            if getattr(self, name) < least:
                raise BadValue(f"{name} {getattr(self, name)} is not allowed; choose a number of at least {least}.")
        if self.cluster not in ("slurm", "local"):
            raise BadValue(f"cluster {self.cluster!r} does not exist; choose slurm or local.")

    def parameters(self) -> Mapping[str, Any]:
        """Return them as submitit names them."""
        found: dict[str, Any] = {
            "timeout_min": max(round((seconds(self.time) or 0) / 60), 1),
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
            "tasks_per_node": 1,
            "nodes": 1,
            "slurm_array_parallelism": self.array_parallelism,
            "name": "zslbench",
        }
        if self.memory:
            found["mem_gb"] = (size(self.memory) or 0) / 2**30
        for name in ("partition", "account", "qos", "constraint"):
            if value := getattr(self, name):
                found[f"slurm_{name}"] = value
        if self.setup:
            found["slurm_setup"] = list(self.setup)
        return found


def _checked(key: str, value: Any, default: Any, path: Path | str) -> Any:
    kind = (
        "a list of texts" if isinstance(default, tuple) else "a whole number" if isinstance(default, int) else "a text"
    )
    if isinstance(default, tuple):
        fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
        value = tuple(value) if fits else value
    else:
        fits = type(value) is type(default)
    if not fits:
        raise BadValue(f"{path}: {key} = {value!r} is not allowed; write {kind}, as in {key} = {_example(default)}.")
    return value


def _example(default: Any) -> str:
    if isinstance(default, tuple):
        return '["module load cuda"]'
    return str(default) if isinstance(default, int) else f'"{default}"'
