"""What a running study tells of itself: ``<runs>/.live/<host>-<pid>-<token>.json``, one small file a coordinator.

A coordinator is a process that does the runs of a plan, by itself or through workers. It writes its file anew as its
work goes on, and removes it at the end. Durations are in its own seconds: no two machines need agree on the time.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zslbench.errors import StoreError
from zslbench.results.records import wording
from zslbench.results.records.leases import STALE_AFTER, Holder
from zslbench.visible import one_line

SCHEMA = 1
FOLDER = ".live"
EVERY, BEAT = 1.0, 5.0
"""Seconds between two writings: at least, when there is news; at most, when there is none."""
SILENT = STALE_AFTER
"""Seconds after which a coordinator counts as lost that has not written, where its process cannot be asked for."""

_LARGEST = 10**15
_LONGEST = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A fit that is being done.

    Attributes:
        run: id of the first of its runs.
        method, label, dataset, protocols, stage, fold, seed: what it is.
        step, total: epochs done, of how many; 0 of 0 while the method has logged none.
        values: losses at that step; NaN for one that is not finite.
        seconds: since it began; step_seconds: from its beginning to that step.
        company: fits that are trained together and wait for the same steps, this one included.
    """

    run: str
    method: str
    label: str
    dataset: str
    protocols: tuple[str, ...]
    stage: str
    fold: int
    seed: int
    step: int = 0
    total: int = 0
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    step_seconds: float = 0.0
    company: int = 1

    def __str__(self) -> str:
        return wording.named(self.label, self.dataset, self.protocols, self.stage, self.fold, self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """The fits of one method on one data set in one stage.

    Attributes:
        total: how many; ended: of these, by this coordinator, in so many `seconds`; elsewhere: by another one.
    """

    method: str
    dataset: str
    stage: str
    total: int
    ended: int = 0
    seconds: float = 0.0
    elsewhere: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What one coordinator tells of its work.

    Attributes:
        holder: the process.
        command: what was typed; plan: digest of all runs that it means, empty where it cannot be told.
        written: time of day by its own clock, to be shown only.
        seconds: since it began.
        beat: grows with each writing.
        growing: whether fits may be added, as a search does.
        done, failed, skipped: fits that ended, by how; those that were cut short are none of them.
        elsewhere: fits that another coordinator did meanwhile.
        running: fits that are being done.
        groups: all fits, by method, data set and stage.
    """

    holder: Holder
    command: str
    plan: str
    written: str
    seconds: float
    beat: int
    growing: bool = False
    done: int = 0
    failed: int = 0
    skipped: int = 0
    elsewhere: int = 0
    running: tuple[Running, ...] = ()
    groups: tuple[Group, ...] = ()
    schema: int = SCHEMA

    @property
    def total(self) -> int:
        """Fits in all, as far as they are known."""
        return sum(group.total for group in self.groups)

    @property
    def ended(self) -> int:
        """Fits that need not be done any more."""
        return self.done + self.failed + self.skipped + self.elsewhere

    def to_json(self) -> str:
        """Return the document; a loss that is not finite is null."""
        facts = dataclasses.asdict(self)
        for job in facts["running"]:
            job["values"] = {name: value if math.isfinite(value) else None for name, value in job["values"].items()}
        return json.dumps(facts, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes, where: str = "file") -> Study:
        """Read a document back. Texts are made fit for a terminal: no control characters, no endless lines.

        Raises:
            StoreError: it is no such document, or of a later schema.
        """
        try:
            found = json.loads(text)
            if found["schema"] != SCHEMA:
                raise StoreError(f"{where} has schema {found['schema']!r:.20}, this zslbench reads {SCHEMA}.")
            return cls(**_read(found, _STUDY))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise StoreError(f"{where} does not tell of a running study ({error!r:.80}).") from None


def live_folder(root: Path) -> Path:
    """Return where the coordinators of a folder of records keep their files."""
    return root / FOLDER


def clean(text: str) -> str:
    """Return the first 2,000 characters of a text as one line that a terminal can show."""
    return one_line(text[:_LONGEST])


_Reader = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return clean(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise TypeError("not a whole number")
    return value


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise TypeError("not seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _holder(value: Any) -> Holder:
    found = Holder.from_json(json.dumps(value))
    if found is None or not math.isfinite(found.born):
        raise TypeError("not a process")
    return dataclasses.replace(
        found, host=clean(found.host), machine=clean(found.machine), started=clean(found.started)
    )


def _loss(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError("not a loss")
    return float(value)


def _values(value: Any) -> dict[str, float]:
    return {_text(name): _loss(number) for name, number in value.items()}


def _list(of: _Reader) -> _Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError("not a list")
        return tuple(of(one) for one in value)

    return read


def _made(of: type, fields: Mapping[str, _Reader]) -> _Reader:
    return lambda value: of(**_read(value, fields))


def _read(found: Mapping[str, Any], fields: Mapping[str, _Reader]) -> dict[str, Any]:
    return {name: reader(found[name]) for name, reader in fields.items()}


_FIT: Mapping[str, _Reader] = {"method": _text, "dataset": _text, "stage": _text, "total": _whole, "seconds": _seconds}
_RUNNING: Mapping[str, _Reader] = {
    **_FIT,
    "run": _text,
    "label": _text,
    "protocols": _list(_text),
    "fold": _whole,
    "seed": _whole,
    "step": _whole,
    "values": _values,
    "step_seconds": _seconds,
    "company": _whole,
}
_STUDY: Mapping[str, _Reader] = {
    "holder": _holder,
    **dict.fromkeys(("command", "plan", "written"), _text),
    **dict.fromkeys(("beat", "done", "failed", "skipped", "elsewhere"), _whole),
    "seconds": _seconds,
    "growing": _flag,
    "running": _list(_made(Running, _RUNNING)),
    "groups": _list(_made(Group, {**_FIT, "ended": _whole, "elsewhere": _whole})),
}
