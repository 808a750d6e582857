"""What is to be run, and how: `RunOptions`, the same for `zslbench.run`, the command line and plan files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, structs

from zslbench.data.splits import STAGES, Stage
from zslbench.documents import check_table, read_toml
from zslbench.errors import BadValue
from zslbench.identity import expanded
from zslbench.runner.executors import Executor, choice
from zslbench.runner.resources import check_device, devices
from zslbench.runner.runs import How

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SeedsAtOnce = Literal["auto", "always", "never"]
DEFAULT_PROTOCOLS = ("zsl", "gzsl")
STUDY = "study"

_Text = Annotated[str, Meta(description="a text")]
_Words = Annotated[Sequence[str], Meta(min_length=1)]
_Texts = Annotated[str | _Words, Meta(description="a text or a list of texts")]
_Number = Annotated[int, Meta(ge=1)]
_Numbers = Annotated[Sequence[int], Meta(min_length=1)]
_Flag = Annotated[bool, Meta(description="true or false")]


class RunOptions(Struct, frozen=True):
    """What is run, and how: the arguments of `zslbench.run` of the same names, and the keys of a study in a plan."""

    methods: _Texts = ()
    datasets: _Texts = ()
    protocols: _Texts = DEFAULT_PROTOCOLS
    features: _Text | None = None
    semantics: _Text | None = None
    seeds: Annotated[_Number | _Numbers, Meta(description="how many seeds, or a list of them such as [0, 1, 2]")] = 1
    stage: Annotated[Stage, Meta(description=f"one of {', '.join(STAGES)}")] = "final"
    fold: Annotated[int | _Numbers | None, Meta(description="a fold, or a list of folds")] = None
    data_root: _Text | None = None
    checkpoints: Annotated[str, Meta(description='last or every:N, such as "every:10"')] = "last"
    seeds_at_once: Annotated[SeedsAtOnce, Meta(description="one of auto, always, never")] = "auto"
    precision: Annotated[Precision, Meta(description=f"one of {', '.join(PRECISIONS)}")] = "float32"
    profile: _Flag = False
    oracle: _Flag = False
    calibrate: _Flag = False
    keep_features: Annotated[int, Meta(ge=0, description="a number of rows per class, 0 for none")] = 0

    def how(self, device: str) -> How:
        """Return how the runs are to be done on a device.

        Raises:
            BadValue: checkpoints, a precision or a number that are not allowed, a device that is not there.
        """
        every = _checkpoint_every(self.checkpoints)
        check_device(device)
        if self.precision not in PRECISIONS:
            raise BadValue(f"precision {self.precision!r} is not allowed; choose one of: {', '.join(PRECISIONS)}.")
        if self.precision == "tf32" and not _may_be_cuda(device):
            raise BadValue("precision 'tf32' needs a CUDA device; choose float32 or bf16, or another device.")
        if self.keep_features < 0:
            raise BadValue(
                f"keep_features={self.keep_features} is not allowed; give a number of rows a class, or 0 for none."
            )
        return How(device, every, self.precision, self.profile, self.keep_features)

    def refuse_beside(self, plan: str) -> None:
        """Refuse anything asked for beside a plan file, which says what is run.

        Raises:
            BadValue: it names what was given.
        """
        usual = RunOptions()
        given = [name for name in self.__struct_fields__ if getattr(self, name) != getattr(usual, name)]
        if given:
            raise BadValue(
                f"{', '.join(given)} cannot be given beside the plan {plan}, which says what is run; "
                "write it there, or leave the plan out."
            )


def texts(given: str | Sequence[str]) -> list[str]:
    """Return one text or several as a list."""
    return [given] if isinstance(given, str) else list(given)


def _may_be_cuda(device: str) -> bool:
    return device not in ("cpu", "mps") and any(name.startswith("cuda") for name in devices())


def _checkpoint_every(text: str) -> int:
    if text == "last":
        return 0
    head, _, number = text.partition(":")
    if head != "every" or not number.isdecimal() or int(number) < 1:
        raise BadValue(f"checkpoints {text!r} is not allowed; write last, or every:N with N of at least 1.")
    return int(number)


class WholeFile(Struct, frozen=True):
    """What only the top of a plan file may say: where and by what everything is run."""

    runs: _Text | None = None
    device: _Text | None = None
    engine: _Text | None = None
    workers: Annotated[_Number | Literal["auto"] | None, Meta(description="a number, or auto")] = None
    time_limit: _Text | None = None
    memory_limit: _Text | None = None
    scheduler: _Text | None = None
    engine_config: _Text | None = None


class StudyPlan(Struct, frozen=True):
    """One or several studies that are run together: what a plan file says.

    Attributes:
        studies: by the name of each.
        path: the file; None where the study was typed.
        runs: the folder of records, device: where it is run; None where the plan does not say.
        engine: words for `zslbench.engine`, by the plan's keys; empty where the plan does not say.
    """

    studies: Mapping[str, RunOptions]
    path: Path | None = None
    runs: Path | None = None
    device: str | None = None
    engine: Mapping[str, Any] = {}

    def make_engine(self, device: str) -> Executor:
        """Return the engine that the plan names.

        Raises:
            ZslbenchError: see `zslbench.engine`.
        """
        words = dict(self.engine)
        return choice.engine(words.pop("engine", None), device=device, config=words.pop("engine_config", None), **words)


def read_plan(path: Path | str) -> StudyPlan:
    """Read a plan file. Paths in it are relative to the file.

    Raises:
        BadValue: a file that cannot be read, is not TOML, or says something that is not allowed.
        UnknownName: a key that does not exist.
    """
    path = Path(path)
    top = read_toml(path, "plan")
    tables = top.pop(STUDY, [{}])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BadValue(f"{path}: {STUDY} must be tables; write [[{STUDY}]] above the keys of each.")
    check_table(top, (RunOptions, WholeFile), str(path))
    shared = {key: value for key, value in top.items() if key in RunOptions.__struct_fields__}
    whole = {key: value for key, value in top.items() if key not in shared}
    folder = Path(os.path.abspath(path.parent))  # noqa: PTH100  (links stay as they were written)
    studies: dict[str, RunOptions] = {}
    for number, table in enumerate(tables, start=1):
        name = table.pop("name", f"study {number}")
        where = f"{path}, study {number}" if len(tables) > 1 else str(path)
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or name in studies:
            raise BadValue(f"{where}: name is {name!r}; write a text that no other study has.")
        for key in table:
            if key in WholeFile.__struct_fields__:
                raise BadValue(f"{where}: {key} holds for the whole file; write it above the first [[{STUDY}]].")
        check_table(table, (RunOptions,), where)
        studies[name] = _options(shared | table, folder, where)
    for key in ("runs", "engine_config"):
        if key in whole:
            whole[key] = str(_place(whole[key], folder))
    runs, device = whole.pop("runs", None), whole.pop("device", None)
    return StudyPlan(studies, path, Path(runs) if runs else None, device, whole)


def _options(table: Mapping[str, Any], folder: Path, where: str) -> RunOptions:
    for key in ("methods", "datasets"):
        if key not in table:
            raise BadValue(f'{where}: it names no {key}; write {key} = ["…"], there or at the top of the file.')
    options = RunOptions(**table)
    root = str(_place(options.data_root, folder)) if options.data_root else None
    datasets = [_placed(text, folder) for text in texts(options.datasets)]
    return structs.replace(options, datasets=datasets, data_root=root)


def _placed(text: str, folder: Path) -> str:
    """Return the text of a data set, a folder of the user's own found from where the plan lies."""
    head = text.partition("[")[0]
    if "/" in head or "\\" in head or head.strip() in (".", "..", "~"):
        return str(_place(text, folder))
    return text


def _place(text: str, folder: Path) -> Path:
    """Return the path that a text in a plan names, from where the plan lies."""
    return folder / expanded(text)
