"""`Request`: one study as it was asked for, and what it plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from zslbench.errors import BadValue
from zslbench.protocols.splits import Stage
from zslbench.results.records.presets import TunedStore
from zslbench.runner.jobs import How
from zslbench.runner.plan import DEFAULT_PROTOCOLS, Plan, plan
from zslbench.runner.resources import check_device, devices
from zslbench.spec import parse

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SeedsAtOnce = Literal["auto", "always", "never"]
MOST_SEEDS = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be run, and how: the arguments of `zslbench.run` of the same names."""

    methods: str | Sequence[str] = ()
    datasets: str | Sequence[str] = ()
    protocols: str | Sequence[str] = DEFAULT_PROTOCOLS
    features: str | None = None
    semantics: str | None = None
    seeds: int | Sequence[int] = 1
    stage: Stage = "final"
    fold: int | Sequence[int] | None = None
    data_root: Path | str | None = None
    checkpoints: str = "last"
    seeds_at_once: SeedsAtOnce = "auto"
    precision: Precision = "float32"
    profile: bool = False
    oracle: bool = False
    calibrate: bool = False
    keep_features: int = 0

    def how(self, device: str) -> How:
        """Return how the runs are to be done on a device.

        Raises:
            BadValue: checkpoints, a precision or a number that are not allowed, a device that is not there.
        """
        every = _checkpoint_every(self.checkpoints)
        check_device(device)
        if self.precision not in PRECISIONS:
            raise BadValue(f"precision {self.precision!r} is not allowed; choose one of: {', '.join(PRECISIONS)}.")
        if self.precision == "tf32" and (
            device in ("cpu", "mps") or not any(one.startswith("cuda") for one in devices())
        ):
            raise BadValue("precision 'tf32' needs a CUDA device; choose float32 or bf16, or another device.")
        if self.keep_features < 0:
            raise BadValue(
                f"keep_features={self.keep_features} is not allowed; give a number of rows a class, or 0 for none."
            )
        return How(device, every, self.precision, self.profile, self.keep_features)

    def plan(self, runs: Path) -> Plan:
        """Return the runs that are meant; `runs` is the folder of records, with its tuned presets.

        Raises:
            ZslbenchError: see `zslbench.runner.plan.plan`.
        """
        if isinstance(self.seeds, int) and self.seeds > MOST_SEEDS:
            raise BadValue(f"{self.seeds} seeds are not allowed; choose from 1 to {MOST_SEEDS}, or name them.")
        if self.fold is not None and self.stage == "final" and not self.calibrate:
            folds = ", ".join(map(str, [self.fold] if isinstance(self.fold, int) else self.fold))
            raise BadValue(f"fold {folds} belongs to the dev stage; add --stage dev, or leave the fold out.")
        found = self._plan(_texts(self.protocols), self.stage, runs)
        if not self.calibrate:
            return found
        dev = self._plan([self._generalized()], "dev", runs)
        return Plan(found.runs + dev.runs, tuple(dict.fromkeys(found.remarks + dev.remarks)))

    def _plan(self, protocols: Sequence[str], stage: Stage, runs: Path) -> Plan:
        return plan(
            _texts(self.methods),
            _texts(self.datasets),
            protocols,
            features=self.features,
            semantics=self.semantics,
            seeds=list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds),
            stage=stage,
            folds=[self.fold] if isinstance(self.fold, int) else self.fold,
            data_root=Path(self.data_root) if self.data_root else None,
            tuned=TunedStore(runs),
            oracle=self.oracle,
        )

    def refuse_beside(self, plan: str) -> None:
        """Refuse anything asked for beside a plan file, which says what is run.

        Raises:
            BadValue: it names what was given.
        """
        usual = Request()
        names = [field.name for field in dataclasses.fields(self)]
        given = [name for name in names if getattr(self, name) != getattr(usual, name)]
        if given:
            raise BadValue(
                f"{', '.join(given)} cannot be given beside the plan {plan}, which says what is run; "
                "write it there, or leave the plan out."
            )

    def _generalized(self) -> str:
        """Return the protocol among those asked for that has a seen–unseen curve to calibrate.

        Raises:
            BadValue: none of them has.
        """
        found = [text for text in _texts(self.protocols) if parse(text).name.casefold() == "gzsl"]
        if not found:
            raise BadValue(
                f"--calibrate moves seen against unseen classes, which {', '.join(_texts(self.protocols))} never "
                "compares; add -p gzsl."
            )
        return found[0]


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _checkpoint_every(text: str) -> int:
    if text == "last":
        return 0
    head, _, number = text.partition(":")
    if head != "every" or not number.isdecimal() or int(number) < 1:
        raise BadValue(f"checkpoints {text!r} is not allowed; write last, or every:N with N of at least 1.")
    return int(number)
