"""Loggers for tracking tools (`run --log`): TensorBoard, Weights & Biases, MLflow, each through its own package.

Logging happens in the coordinator. A fit is one run of the tool: losses are sent as they arrive, and at the end the
metrics under each protocol, as ``zsl/T1``. If a tool fails, the study goes on: the tool gets nothing more, and a remark
says why.
"""

from __future__ import annotations

import abc
import contextlib
import datetime
import functools
import importlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from zslbench.errors import Unavailable, UnknownName, first_line
from zslbench.loss_curve import read_losses
from zslbench.results.records.store import safe_folder_name
from zslbench.runner.executors import Listener
from zslbench.runner.jobs import Job
from zslbench.runner.run_records import RunResult

FOLDER = ".logs"
"""Below the folder of records, one folder per tool; hidden, so that nothing in it is taken for a record."""
PROJECT = "zslbench"
"""The project or experiment, unless the tool's own environment variable names one."""


class Logger(Listener, abc.ABC):
    """Sends the progress of jobs to a tool until the tool fails.

    Attributes:
        name: the tool, and the extra that installs it; module: the module that is imported.
        remark: a sentence for the user: where the log is, or why it ended.
    """

    name: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, runs: Path) -> None:
        self.package = self.import_module(self.module)
        self.folder = runs.absolute() / FOLDER / self.name
        self.remark = ""
        self._fits: dict[str, Any] = {}
        self._with_losses: set[str] = set()
        self._failed = False

    def import_module(self, module: str) -> Any:
        """Return a module of the tool (Unavailable: it cannot be imported, for whatever reason)."""
        try:
            return importlib.import_module(module)
        except Exception as error:  # versions that do not fit raise all kinds of errors
            raise Unavailable(
                f"--log {self.name} needs {module}, which cannot be imported ({first_line(error)}); "
                f"pip install 'zslbench[{self.name}]'"
            ) from None

    @abc.abstractmethod
    def begin(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Begin a run of the tool, and return its handle."""

    @abc.abstractmethod
    def send(self, fit: Any, step: int, values: Mapping[str, float]) -> None:
        """Send the losses of a step; all are finite."""

    @abc.abstractmethod
    def end(self, fit: Any, metrics: Mapping[str, float], status: str) -> None:
        """Send the metrics and end the run; status: ok, or why there are no metrics."""

    @abc.abstractmethod
    def describe_location(self) -> str:
        """Return where the log is, and how to view it."""

    def started(self, job: Job) -> None:
        """Begin a run; end an earlier run of the same job, whose worker was lost."""
        self._guard(lambda: self._begin(job))

    def logged(self, job: Job, step: int, total: int, values: Mapping[str, float]) -> None:
        """Send losses."""
        self._guard(lambda: self._send(job.first.id, step, values))

    def finished(self, job: Job, results: Sequence[RunResult]) -> None:
        """Send the metrics of all protocols, and the losses if none were sent yet (a seed trained with others)."""
        self._guard(lambda: self._end(job, results))

    def close(self) -> None:
        """End the runs that did not finish."""
        for key in list(self._fits):
            self._guard(functools.partial(self.end, self._fits.pop(key), {}, "interrupted"))

    def _begin(self, job: Job) -> None:
        run = job.first
        if (earlier := self._fits.pop(run.id, None)) is not None:
            self.end(earlier, {}, "crashed")
        facts = {
            "method": run.label,
            **{f"dataset.{name}": getattr(run.dataset, name) for name in ("name", "features", "semantics")},
            "protocols": "+".join(served.protocol for served in job.runs),
            "stage": run.stage,
            "fold": run.fold,
            "seed": run.seed,
            "ids": " ".join(served.id for served in job.runs),
        }
        self._with_losses.discard(run.id)
        self._fits[run.id] = self.begin(str(job), facts | dict(run.params))
        self.remark = self.describe_location()

    def _send(self, key: str, step: int, values: Mapping[str, Any]) -> None:
        losses = read_losses(values).items()
        finite = {f"loss/{name}": value for name, value in losses if math.isfinite(value)}
        if finite and key in self._fits:
            self._with_losses.add(key)
            self.send(self._fits[key], int(step), finite)

    def _end(self, job: Job, results: Sequence[RunResult]) -> None:
        key = job.first.id
        if key not in self._fits:
            return
        records = [result.record for result in results]
        if records and key not in self._with_losses:
            losses = records[0].losses
            for at, step in enumerate(losses.get("step", ())):
                self._send(key, step, {name: values[at] for name, values in losses["values"].items()})
        metrics = {
            f"{record.protocol['name']}/{name}": value for record in records for name, value in record.metrics.items()
        }
        bad = [record.status for record in records if not record.ok]
        self.end(self._fits.pop(key), metrics, bad[0] if bad else "ok" if records else "interrupted")

    def _guard(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # whatever it is, the study goes on
            self._failed = True
            self._fits.clear()
            self.remark = f"{self.name} got no more of the log: {type(error).__name__}: {error}"


class TensorBoard(Logger):
    """Writes event files, one folder per fit."""

    name = "tensorboard"
    module = "tensorboard"

    def __init__(self, runs: Path) -> None:
        super().__init__(runs)
        self.writer_module = self.import_module("torch.utils.tensorboard")

    def begin(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Open a writer in a new folder."""
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        writer = self.writer_module.SummaryWriter(str(self.folder / safe_folder_name(name) / now))
        rows = [f"| {key} | {value} |" for key, value in parameters.items()]
        writer.add_text("parameters", "\n".join(["| parameter | value |", "|---|---|", *rows]))
        return writer, dict(parameters)

    def send(self, fit: Any, step: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            fit[0].add_scalar(name, value, step)

    def end(self, fit: Any, metrics: Mapping[str, float], status: str) -> None:
        """Write the metrics, as scalars and beside the parameters (its page HPARAMS)."""
        writer, parameters = fit
        plain = {name: x if isinstance(x, bool | int | float | str) else str(x) for name, x in parameters.items()}
        writer.add_text("status", status)
        writer.add_hparams(plain, dict(metrics), run_name=".")
        writer.close()

    def describe_location(self) -> str:
        """Return where the log is, and the command that shows it."""
        return f"the log for TensorBoard is in {self.folder}; see it with: tensorboard --logdir {self.folder}"


class WeightsAndBiases(Logger):
    """Runs of Weights & Biases, as its own environment variables say (``WANDB_MODE``, ``WANDB_PROJECT``, …)."""

    name = "wandb"
    module = "wandb"

    def begin(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Open a run; others may be open at the same time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.package.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            config=dict(parameters),
            dir=os.environ.get("WANDB_DIR", str(self.folder)),
            reinit="create_new",
            settings=self.package.Settings(console="off"),
        )

    def send(self, fit: Any, step: int, values: Mapping[str, float]) -> None:
        """Log losses beside their step."""
        fit.log({**values, "step": step})

    def end(self, fit: Any, metrics: Mapping[str, float], status: str) -> None:
        """Put the metrics into the summary."""
        fit.summary.update({**metrics, "status": status})
        fit.finish(exit_code=0 if status in ("ok", "skipped") else 1)

    def describe_location(self) -> str:
        """Return where the log went, and where its local files are."""
        return f"the log went to Weights & Biases; its files are in {os.environ.get('WANDB_DIR', self.folder)}"


class MLflow(Logger):
    """Runs of MLflow, in the store of ``MLFLOW_TRACKING_URI``, or in a database file (files are deprecated)."""

    name = "mlflow"
    module = "mlflow"

    def __init__(self, runs: Path) -> None:
        super().__init__(runs)
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder / 'mlflow.db'}"
        self._client: Any = None
        self._experiment = ""

    def begin(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """Create a run, and first the experiment if it does not exist."""
        if self._client is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._client = self.package.MlflowClient(tracking_uri=self.uri)
            title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = self._client.get_experiment_by_name(title)
            self._experiment = known.experiment_id if known else self._create(title)
        run = self._client.create_run(self._experiment, run_name=name)
        for key, value in parameters.items():
            self._client.log_param(run.info.run_id, _mlflow_name(key), value)
        return run.info.run_id

    def _create(self, title: str) -> str:
        """Create an experiment; in the default store its artifacts lie beside the store, not in the working folder."""
        is_ours = "MLFLOW_TRACKING_URI" not in os.environ
        place = {"artifact_location": (self.folder / "artifacts").as_uri()} if is_ours else {}
        return str(self._client.create_experiment(title, **place))

    def send(self, fit: Any, step: int, values: Mapping[str, float]) -> None:
        """Log losses."""
        for name, value in values.items():
            self._client.log_metric(fit, _mlflow_name(name), value, step=step)

    def end(self, fit: Any, metrics: Mapping[str, float], status: str) -> None:
        """Log the metrics."""
        for name, value in metrics.items():
            self._client.log_metric(fit, _mlflow_name(name), value)
        ends = {"ok": "FINISHED", "skipped": "FINISHED", "interrupted": "KILLED"}
        self._client.set_terminated(fit, ends.get(status, "FAILED"))

    def describe_location(self) -> str:
        """Return where the log is, and the command that shows it."""
        return f"the log for MLflow is in {self.uri}; see it with: mlflow ui --backend-store-uri {self.uri}"


def _mlflow_name(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


LOGGERS: Mapping[str, type[Logger]] = {cls.name: cls for cls in (TensorBoard, WeightsAndBiases, MLflow)}


def make_loggers(names: Sequence[str], runs: Path) -> list[Logger]:
    """Return the loggers of these names.

    Raises:
        UnknownName: there is no such. Unavailable: its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise UnknownName("logger", name, LOGGERS)
    return [LOGGERS[name](runs) for name in dict.fromkeys(names)]


@contextlib.contextmanager
def close_loggers(loggers: Sequence[Logger]) -> Iterator[None]:
    """Close loggers after a block, however it ends."""
    try:
        yield
    finally:
        for logger in loggers:
            logger.close()
