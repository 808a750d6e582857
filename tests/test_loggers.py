"""Tracking tools: TensorBoard for real, read back with its own reader; the calls that the others get, from a fake."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toy_methods
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typed_commands import run_here

import zslbench
from zslbench.errors import Unavailable, UnknownName
from zslbench.results.records.store import ResultStore
from zslbench.runner import loggers

RIDGE = "toy_methods:Ridge"
GAN = "fclswgan[hidden=8,epochs=3,pretrain_epochs=1,per_class=3,final_epochs=1]"


def events(runs: Path) -> dict[str, EventAccumulator]:
    """Return what TensorBoard reads, by the folder of each fit's name."""
    read = {}
    for folder in sorted((runs / ".logs" / "tensorboard").glob("*/*")):
        read[folder.parent.name] = EventAccumulator(str(folder))
        read[folder.parent.name].Reload()
    return read


def scalars(read: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read.Scalars(tag)]


@pytest.mark.parametrize("engine", [None, "process"])
def test_tensorboard_reads_losses_metrics_and_parameters(tmp_path, engine):
    outcome = zslbench.run(
        f"{RIDGE}[epochs=3]",
        "digits",
        seeds=2,
        runs=tmp_path,
        log="tensorboard",
        engine=engine and zslbench.engine(engine, workers=2),
    )
    assert any("tensorboard --logdir" in remark for remark in outcome.remarks)
    read = events(tmp_path)
    assert len(read) == 2
    by_run = {(record.protocol["name"], record.seed): record for record in outcome.records}
    for seed, of_fit in enumerate(read.values()):
        losses = by_run["zsl", seed].losses
        heard = scalars(of_fit, "loss/loss")
        assert heard[-1] == (losses["step"][-1], pytest.approx(losses["values"]["loss"][-1], rel=1e-5))  # of six digits
        assert [step for step, _ in heard] == ([1, 2, 3] if engine is None else [step for step, _ in heard])
        for protocol in ("zsl", "gzsl"):
            for name, value in by_run[protocol, seed].metrics.items():
                ((_, logged),) = scalars(of_fit, f"{protocol}/{name}")
                assert logged == pytest.approx(value)
        tags = of_fit.Tags()
        assert {"parameters/text_summary", "status/text_summary"} <= {*tags["tensors"]}
        text = of_fit.Tensors("parameters/text_summary")[0].tensor_proto.string_val[0].decode()
        assert f"| seed | {seed} |" in text
        assert "| epochs | 3 |" in text
        assert "| dataset.name | digits |" in text
        assert any("hparams" in name for name in of_fit.summary_metadata)
    assert len(ResultStore(tmp_path).load()) == 4  # nothing of the log is taken for a record
    assert not ResultStore(tmp_path).left_out


def test_seeds_that_are_trained_together_have_their_losses_each(tmp_path):
    records = zslbench.run(
        GAN, "digits", "zsl", seeds=2, runs=tmp_path, seeds_at_once="always", log=["tensorboard"]
    ).records
    for record, read in zip(records, events(tmp_path).values(), strict=True):
        logged = [value for _, value in scalars(read, "loss/critic")]
        assert logged == pytest.approx(record.losses["values"]["critic"], rel=1e-4)


class FakeTool(loggers.Logger):
    """Notes what it is told; fails at `fails_at`."""

    name = "fake"
    module = "json"
    told: ClassVar[list[tuple[Any, ...]]] = []
    fails_at = ""

    def _note(self, *what: Any) -> None:
        self.told.append(what)
        if what[0] == self.fails_at:
            raise ConnectionError("no network")

    def begin(self, name, parameters):
        self._note("begin", name)
        return name

    def send(self, fit, step, values):
        self._note("send", fit, step, dict(values))

    def end(self, fit, metrics, status):
        self._note("end", fit, sorted(metrics), status)

    def describe_location(self):
        return "it is there"


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(FakeTool, "told", [])
    monkeypatch.setattr(loggers, "LOGGERS", {"fake": FakeTool})
    return FakeTool


@pytest.mark.parametrize("fails_at", ["begin", "send", "end"])
def test_a_tool_that_fails_ends_nothing(tmp_path, fake, monkeypatch, fails_at):
    monkeypatch.setattr(fake, "fails_at", fails_at)
    outcome = zslbench.run(f"{RIDGE}[ridge=[1,2]]", "digits", "zsl", runs=tmp_path, log="fake")
    assert all(record.ok for record in outcome.records)
    assert "fake got no more of the log: ConnectionError: no network" in outcome.remarks
    assert [what for what, *_ in fake.told].count(fails_at) == 1
    assert fake.told[-1][0] == fails_at


def test_what_fails_or_is_cut_short_is_ended_as_such(tmp_path, fake, monkeypatch):
    zslbench.run(["toy_methods:Broken", RIDGE], "digits", "zsl", runs=tmp_path, log="fake")
    ends = [told for told in fake.told if told[0] == "end"]
    assert [(fit, status) for _, fit, _, status in ends] == [
        ("toy_methods:Broken digits zsl seed 0", "failed"),
        ("toy_methods:Ridge digits zsl seed 0", "ok"),
    ]
    fake.told.clear()

    def stop(method: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_methods.Ridge, "hook", stop)
    assert zslbench.run(f"{RIDGE}[ridge=7]", "digits", "zsl", runs=tmp_path, log="fake").interrupted
    assert fake.told[-1] == ("end", "toy_methods:Ridge[ridge=7] digits zsl seed 0", [], "interrupted")


@pytest.mark.parametrize("name", [*loggers.LOGGERS])
def test_a_missing_package_is_named_before_anything_is_run(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, loggers.LOGGERS[name].module, None)
    with pytest.raises(Unavailable, match=rf"--log {name} needs {name}, .*; pip install 'zslbench\[{name}\]'"):
        zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path / "runs", log=name)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("module", ["tensorboard", "torch.utils.tensorboard"])
def test_a_package_that_is_there_and_breaks_is_named_too(tmp_path, monkeypatch, module):
    usual = importlib.import_module

    def broken(name: str) -> Any:
        if name == module:
            raise TypeError("Descriptors cannot be created directly.\nDowngrade protobuf.")
        return usual(name)

    monkeypatch.setattr(loggers.importlib, "import_module", broken)
    with pytest.raises(
        Unavailable, match=rf"needs {module}, which cannot be imported \(Descriptors .* directly\); pip"
    ):
        zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path / "runs", log="tensorboard")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / ".logs").write_text("a file where the folder should be")
    outcome = zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path, log="tensorboard")
    assert [record.ok for record in outcome.records] == [True]
    assert any(remark.startswith("tensorboard got no more of the log: ") for remark in outcome.remarks)


def test_a_tool_that_does_not_exist(tmp_path):
    with pytest.raises(UnknownName, match="tensorboard"):
        zslbench.run(RIDGE, "digits", "zsl", runs=tmp_path, log="tensorbord")


def test_the_calls_that_wandb_gets(tmp_path, monkeypatch):
    calls: list[tuple[Any, ...]] = []

    class WandbRun:
        def __init__(self, **options: Any) -> None:
            calls.append(("init", options))
            self.summary = types.SimpleNamespace(update=lambda values: calls.append(("summary", values)))

        def log(self, values: dict[str, float]) -> None:
            calls.append(("log", values))

        def finish(self, exit_code: int) -> None:
            calls.append(("finish", exit_code))

    fake = types.ModuleType("wandb")
    fake.init, fake.Settings = WandbRun, dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    (record,) = zslbench.run(f"{RIDGE}[epochs=2]", "digits", "zsl", runs=tmp_path, log="wandb").records
    (_, options), *logged, (_, summary), finish = calls
    assert (options["project"], options["dir"]) == ("mine", str(tmp_path / ".logs" / "wandb"))
    assert (options["config"]["epochs"], options["config"]["dataset.name"]) == (2, "digits")
    assert logged == [("log", {"loss/loss": 1.0, "step": 1}), ("log", {"loss/loss": 0.5, "step": 2})]
    assert summary == {"zsl/T1": record.metrics["T1"], "status": "ok"}
    assert finish == ("finish", 0)


def test_the_calls_that_mlflow_gets(tmp_path, monkeypatch):
    calls: list[tuple[Any, ...]] = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            calls.append(("uri", tracking_uri))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str, artifact_location: str) -> str:
            calls.append(("experiment", name, artifact_location))
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            calls.append(("run", experiment, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))

        def log_param(self, run: str, key: str, value: Any) -> None:
            calls.append(("param", key, value))

        def log_metric(self, run: str, key: str, value: float, step: int | None = None) -> None:
            calls.append(("metric", key, value, step))

        def set_terminated(self, run: str, status: str) -> None:
            calls.append(("terminated", run, status))

    fake = types.ModuleType("mlflow")
    fake.MlflowClient = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    (record,) = zslbench.run(f"{RIDGE}[epochs=2]", "digits", "zsl", runs=tmp_path, log="mlflow").records
    assert calls[:3] == [
        ("uri", f"sqlite:///{tmp_path / '.logs' / 'mlflow' / 'mlflow.db'}"),
        ("experiment", "zslbench", (tmp_path / ".logs" / "mlflow" / "artifacts").as_uri()),
        ("run", "7", f"{RIDGE}[epochs=2] digits zsl seed 0"),
    ]
    assert ("param", "epochs", 2) in calls
    assert [call for call in calls if call[0] == "metric"] == [
        ("metric", "loss/loss", 1.0, 1),
        ("metric", "loss/loss", 0.5, 2),
        ("metric", "zsl/T1", record.metrics["T1"], None),
    ]
    assert calls[-1] == ("terminated", "r", "FINISHED")


def test_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = run_here(["zslbench", "run", "-m", RIDGE, "-d", "digits", "-q", "--log", "tensorboard"])
    assert code == 0, errors
    assert f"tensorboard --logdir {tmp_path / 'runs' / '.logs' / 'tensorboard'}" in out
    assert events(tmp_path / "runs")
