"""Jobs of Slurm arrays, submitted by submitit."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, Struct, convert

from zslbench.documents import check_table, read_toml
from zslbench.errors import EngineError
from zslbench.results.records.leases import Holder, is_gone
from zslbench.runner.class_lookup import method_class
from zslbench.runner.executors.loop import BatchInFlight, Executor, WorkerLost, import_extra
from zslbench.runner.executors.worker import CoordinatorEnvironment, Mailbox, limit_threads, run_batch_in_worker
from zslbench.runner.handout import PackedHandout, pack
from zslbench.runner.jobs import Batch, Job
from zslbench.runner.resources import parse_bytes, parse_seconds
from zslbench.runner.run_records import Done, Message
from zslbench.sources import source_of

_LOOK_EVERY = {"slurm": 2.0, "local": 0.1}
_LATE = {"slurm": 10.0, "local": 0.2}
"""Seconds that a file system may take to show what a job wrote before it ended."""
_LIFE = "coordinator"
BEAT = 10.0
"""Seconds between two signs of life of the coordinator."""
GONE_AFTER = 300.0
"""Seconds without one after which a job ends by itself."""
KEPT = 14 * 86400.0
"""Seconds after which results that no study asked for again are removed."""
_AGAIN = "the same command tries again."
_MORE_TIME = "give it more time in the file of --engine-config, and add --rerun failed."
_Text = Annotated[str, Meta(description="a text")]
_Positive = Annotated[int, Meta(ge=1, description="a number of at least 1")]


class SlurmConfig(Struct, frozen=True, kw_only=True):
    """What each job of the array gets: the keys of the file of ``--engine-config``.

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

    partition: _Text = ""
    account: _Text = ""
    qos: _Text = ""
    constraint: _Text = ""
    time: _Text = "1h"
    memory: _Text = ""
    cpus: _Positive = 1
    gpus: Annotated[int, Meta(ge=0, description="a number of at least 0")] = 0
    array_parallelism: _Positive = 16
    setup: Annotated[tuple[str, ...], Meta(description='a list of texts, as in ["module load cuda"]')] = ()
    folder: _Text = "slurm-jobs"
    cluster: Annotated[Literal["slurm", "local"], Meta(description="slurm or local")] = "slurm"

    @classmethod
    def read(cls, path: Path | str | None) -> Self:
        """Read a TOML file; None: all as it is by default (BadValue, UnknownName: what is wrong with it)."""
        if path is None:
            return cls()
        table = read_toml(path, "Slurm configuration", "docs/how-to/cluster.md")
        check_table(table, (cls,), str(path))
        return convert(table, cls)

    def __post_init__(self) -> None:
        parse_seconds(self.time)
        parse_bytes(self.memory or None)

    def parameters(self) -> Mapping[str, Any]:
        """Return them as submitit names them."""
        parameters: dict[str, Any] = {
            "timeout_min": max(round((parse_seconds(self.time) or 0) / 60), 1),
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
            "tasks_per_node": 1,
            "nodes": 1,
            "slurm_array_parallelism": self.array_parallelism,
            "name": "zslbench",
        }
        if memory := parse_bytes(self.memory or None):
            parameters["mem_gb"] = memory / 2**30
        for name in ("partition", "account", "qos", "constraint"):
            if value := getattr(self, name):
                parameters[f"slurm_{name}"] = value
        if self.setup:
            parameters["slurm_setup"] = list(self.setup)
        return parameters


class SlurmExecutor(Executor):
    """Tasks as Slurm jobs. As places become free, the next ones are submitted as one more array.

    Jobs write what they finish into the folder of the configuration at once; only the coordinator writes records. It
    runs until the study is done (in `tmux` on a login node, say); jobs whose coordinator is gone end within minutes.
    What they finished is read when the study is started again.
    """

    name = "slurm"

    def __init__(self, config: SlurmConfig | None = None) -> None:
        import_extra("submitit", self.name)
        self.config = config or SlurmConfig()
        self.workers = self.config.array_parallelism

    def __enter__(self) -> Self:
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        try:
            self._submitit = submitit.AutoExecutor(folder=self.config.folder, cluster=self.config.cluster)
            self._submitit.update_parameters(**self.config.parameters())
        except (RuntimeError, OSError) as error:
            raise EngineError(
                f"Slurm cannot be used from here ({error}); run on a node that has sbatch, or use another --engine."
            ) from None
        self._spool = Spool(Path(self.config.folder))
        self._leftovers = Leftovers(self._spool)
        self._under_way: list[_Submitted] = []
        return self

    def __exit__(self, *raised: object) -> None:
        for submitted in self._under_way:
            submitted.job.cancel()
        self._spool.remove()

    def room(self) -> int:
        """Return how many more jobs may be in the queue."""
        return self.config.array_parallelism - len(self._under_way)

    def submit(self, tasks: Sequence[BatchInFlight]) -> None:
        """Submit what no job of a killed coordinator finished as one array."""
        if not (left := [task for task in tasks if not self._read_leftovers(task)]):
            return
        try:
            with self._submitit.batch():
                submitted = []
                for task in left:
                    parcel, mailbox = pack(Batch(tuple(task.waiting.values()))), self._spool.open_mailbox()
                    work = parcel, str(mailbox.folder), CoordinatorEnvironment.here(), self.config.cpus
                    submitted.append(_Submitted(task, self._submitit.submit(_do_in_job, *work), mailbox))
        except Exception as error:  # whatever sbatch says
            raise EngineError(f"Slurm refuses the jobs ({error}); mend the file of --engine-config.") from None
        self._under_way += submitted

    def _read_leftovers(self, task: BatchInFlight) -> bool:
        """Let a task hear what is left of its jobs; return whether that is all of it."""
        for job in task.batch.jobs:
            messages = self._leftovers.take(job)
            if messages and _still_holds(job, messages):
                for message in messages:
                    task.hear(message)
        if not task.waiting:
            task.future.set_result(None)
        return not task.waiting

    def look(self) -> None:
        """Read what jobs wrote, and find those that ended."""
        self._spool.beat()
        for submitted in list(self._under_way):
            over = submitted.job.done()
            submitted.read()
            task, now = submitted.task, time.monotonic()
            submitted.ended = submitted.ended or (now if over else 0.0)
            if not task.waiting:
                task.future.set_result(None)
            elif over and now - submitted.ended > _LATE[self.config.cluster]:
                job, state = submitted.job, str(submitted.job.state)
                late = state.startswith("TIMEOUT")
                advice = _MORE_TIME if late else _AGAIN
                error = f"its Slurm job {job.job_id} ended as {state}, see {job.paths.stderr}; {advice}"
                task.future.set_exception(WorkerLost("timeout" if late else "crashed", error))
            if task.future.done():
                self._under_way.remove(submitted)
        if self._under_way:
            time.sleep(_LOOK_EVERY[self.config.cluster])

    def cancel(self) -> None:
        """Cancel all jobs."""
        for submitted in self._under_way:
            submitted.job.cancel()
        for submitted in self._under_way:
            submitted.read()


class _Submitted(Struct):
    """A task, its job, where that writes, and when it was first seen to be over (monotonic seconds; 0: it is not)."""

    task: BatchInFlight
    job: Any
    mailbox: Mailbox
    ended: float = 0.0

    def read(self) -> None:
        for message in self.mailbox.take():
            self.task.hear(message)


def _still_holds(job: Job, messages: Sequence[Message]) -> bool:
    """Return whether results of an earlier study count as those of this: their source is the same as now."""
    digest = source_of(method_class(job.first.method)).digest
    results = [scored for message in messages if isinstance(message, Done) for scored in message.results]
    return all(
        scored.status == "failed"
        or (scored.status == "ok" and digest and scored.facts["provenance"]["method_source"] == digest)
        for scored in results
    )


def _do_in_job(parcel: PackedHandout, mailbox: str, home: CoordinatorEnvironment, threads: int) -> None:
    end_without_coordinator(Path(mailbox).parent)
    limit_threads(threads)
    with home.entered():
        run_batch_in_worker(parcel, Mailbox(Path(mailbox)).send)


class Spool:
    """A folder with a mailbox for each job of a cluster, on a file system that jobs and coordinator both see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute() / f"spool-{secrets.token_hex(8)}"
        self.folder.mkdir(parents=True)
        self._holder = Holder.here().to_json()
        self._beaten, self._boxes = -math.inf, 0
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, if it is time for one."""
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is told of when a record is written
                (self.folder / _LIFE).write_text(f"{secrets.token_hex(8)}\n{self._holder}")

    def open_mailbox(self) -> Mailbox:
        """Make one more mailbox."""
        self._boxes += 1
        folder = self.folder / str(self._boxes)
        folder.mkdir()
        return Mailbox(folder)

    def remove(self) -> None:
        """Remove the folder: a job that still runs finds no sign of life, and ends."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Leftovers:
    """What jobs finished for coordinators that are gone, by the key of the job.

    Only folders of this user are read: a message is a pickle. Folders without results are removed once their jobs must
    have ended, too.
    """

    def __init__(self, spool: Spool) -> None:
        self._results: dict[Path, set[Path]] = {}
        self._messages: dict[str, list[tuple[Path, list[Message]]]] = {}
        now = (spool.folder / _LIFE).stat().st_mtime  # by the clock of the file system
        for folder in sorted(spool.folder.parent.glob("spool-*")):
            with contextlib.suppress(OSError):
                age = now - (folder / _LIFE).stat().st_mtime
                if not _abandoned(folder, age):
                    continue
                results = {path for box in folder.iterdir() if box.is_dir() for path in self._read(box)}
                if results and age < KEPT:
                    self._results[folder] = results
                elif age > GONE_AFTER:
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, box: Path) -> Iterator[Path]:
        """Take note of the messages on each job of a mailbox that came to its end; yield the files with the ends."""
        try:
            heard: dict[str, list[Message]] = {}
            for path in sorted(box.glob("*.message")):
                message: Message = pickle.loads(path.read_bytes())
                heard.setdefault(message.job, []).append(message)
                if isinstance(message, Done):
                    self._messages.setdefault(message.job, []).append((path, heard.pop(message.job)))
                    yield path
        except Exception:  # whatever a job that was cut short, or another version, left there: it is done again
            return

    def take(self, job: Job) -> list[Message]:
        """Return what was said of a job, up to its end; nothing where it did not come to that. It is asked for once."""
        if not (ended := self._messages.get(job.key)):
            return []
        path, messages = ended.pop()
        path.unlink(missing_ok=True)
        for folder, results in list(self._results.items()):
            results.discard(path)
            if not results:
                shutil.rmtree(folder, ignore_errors=True)
                del self._results[folder]
        return messages


def _abandoned(folder: Path, age: float) -> bool:
    """Return whether the coordinator of a spool of ours is gone, `age` seconds after its last sign of life."""
    if folder.stat().st_uid != os.getuid():
        return False
    holder = Holder.from_json((folder / _LIFE).read_text().partition("\n")[2])
    return is_gone(holder, age > GONE_AFTER)


def end_without_coordinator(folder: Path) -> None:
    """Let this process end when no sign of life has come to a spool's folder for `GONE_AFTER` seconds.

    ``$ZSLBENCH_COORDINATOR_GONE_AFTER`` says another number.
    """
    patience = float(os.environ.get("ZSLBENCH_COORDINATOR_GONE_AFTER", GONE_AFTER))

    def watch() -> None:
        sign, since = "", time.monotonic()
        while time.monotonic() - since < patience:
            time.sleep(patience / 20)
            with contextlib.suppress(OSError):
                if (now := (folder / _LIFE).read_text()) != sign:
                    sign, since = now, time.monotonic()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
