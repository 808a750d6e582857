"""A folder of records at one moment: what runs, how long it will take, what ended and what is kept."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.files import json_text
from zslbench.results.records.live import Group, Running, Study
from zslbench.results.records.liveness import LiveFolder, Seen
from zslbench.results.records.tally import Kept, Tally

SCHEMA = 1
_BAD = ("failed", "crashed", "timeout")
_TOLD = 20
"""Fits that ended, of either kind, which the JSON document tells of."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """Records of one fit that ended alike, the latest file's time, and the metrics of all its protocols."""

    kept: Kept
    protocols: tuple[str, ...]
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What `watch` sees.

    Attributes:
        root: the folder of records.
        seen: the studies that run or were lost.
        kept: every record at a glance, in order of time.
        broken: a sentence on each file that is no record, and each folder that cannot be read.
        text: all of it, as asked for.
    """

    root: Path
    seen: tuple[Seen, ...] = ()
    kept: tuple[Kept, ...] = ()
    broken: tuple[str, ...] = ()
    text: str = ""

    @property
    def running(self) -> tuple[Seen, ...]:
        """The studies that run."""
        return tuple(one for one in self.seen if one.state == "running")

    @property
    def lost(self) -> tuple[Seen, ...]:
        """The studies that were killed, or not heard of for long."""
        return tuple(one for one in self.seen if one.state == "lost")

    def last(self, most: int) -> list[Ended]:
        """Return the fits that ended well last, the latest first."""
        return _fits((one for one in reversed(self.kept) if one.status == "ok"), most)

    def failed(self, most: int) -> list[Ended]:
        """Return the fits whose record tells of a bad end, the latest first."""
        return _fits((one for one in reversed(self.kept) if one.status in _BAD), most)

    def counts(self) -> dict[str, dict[str, Counter[str]]]:
        """Return how many records there are, by method, data set and status."""
        found: dict[str, dict[str, Counter[str]]] = {}
        for one in self.kept:
            found.setdefault(one.method, {}).setdefault(one.dataset, Counter())[one.status] += 1
        return {method: dict(sorted(by.items())) for method, by in sorted(found.items())}


def look(live: LiveFolder, tally: Tally, root: Path) -> Snapshot:
    """Return what is seen now.

    Raises:
        StoreError: the root is no folder.
    """
    kept = tally.read()
    return Snapshot(root, tuple(live.read()), kept, tally.broken)


def _fits(found: Iterable[Kept], most: int) -> list[Ended]:
    """Gather records of the same fit, as long as they come one after another or until there are enough."""
    groups: dict[tuple[Any, ...], list[Kept]] = {}
    for one in found:
        key = (*one.fit, one.status, one.why)
        if key not in groups and len(groups) == most:
            break
        groups.setdefault(key, []).append(one)
    return [_ended(sorted(group, key=lambda one: one.protocol, reverse=True)) for group in groups.values()]


def _ended(group: Sequence[Kept]) -> Ended:
    metrics = {name: value for one in group for name, value in one.metrics.items()}
    return Ended(max(group, key=lambda one: one.time), tuple(one.protocol for one in group), metrics)


def job_left(job: Running, since: float = 0.0) -> float | None:
    """Return the seconds that a fit still needs by its steps, `since` seconds after it was told of; None: unknown."""
    if not job.step or not job.total:
        return None
    return max(0.0, job.step_seconds / job.step * job.total - job.seconds - since)


def time_left(study: Study, since: float = 0.0) -> float | None:
    """Return the seconds that a study still needs, None where nothing tells.

    A fit that has not begun takes as long as the mean of those of its method, data set and stage that ended, else as
    one of them that runs seems to need, else as the mean of the others. Fits go on as many at a time as do now.
    """
    known = {_key(group): each for group in study.groups if (each := _each(group, study.running)) is not None}
    if not known:
        return None
    usual = math.fsum(known.values()) / len(known)
    waiting = Counter({_key(group): group.total - group.ended - group.elsewhere for group in study.groups})
    lefts = []
    for job in study.running:
        waiting[_key(job)] -= job.company
        own = job_left(job, since)
        expected = known.get(_key(job), usual) * job.company
        lefts.append(max(0.0, expected - job.seconds - since) if own is None else own)
    later = math.fsum(max(0, number) * known.get(key, usual) for key, number in waiting.items())
    return max([*lefts, (later + math.fsum(lefts)) / max(1, len(lefts))])


def merged(found: Sequence[Seen]) -> list[tuple[Study, float]]:
    """Return the studies that run, each with the seconds since it was heard of; those of one plan become one.

    Coordinators of one plan share its fits: the one that began first had all of them before it, and what each has done
    need not be done by the others, whether these know already or not.
    """
    plans: dict[object, list[Seen]] = {}
    for one in found:
        plans.setdefault(one.study.plan or one.path, []).append(one)
    return [(_one_study([one.study for one in same]), min(one.since for one in same)) for same in plans.values()]


def _one_study(same: Sequence[Study]) -> Study:
    if len(same) == 1:
        return same[0]
    by_key: dict[tuple[str, str, str], list[Group]] = {}
    for group in (group for study in same for group in study.groups):
        by_key.setdefault(_key(group), []).append(group)
    groups = []
    for several in by_key.values():
        ended = sum(group.ended for group in several)
        others = max(group.ended + group.elsewhere for group in several) - ended
        seconds = math.fsum(group.seconds for group in several)
        most = max(several, key=lambda group: group.total)
        groups.append(dataclasses.replace(most, ended=ended, seconds=seconds, elsewhere=max(0, others)))
    return dataclasses.replace(
        max(same, key=lambda study: study.seconds),
        **{name: sum(getattr(study, name) for study in same) for name in ("done", "failed", "skipped")},
        elsewhere=sum(group.elsewhere for group in groups),
        running=tuple(job for study in same for job in study.running),
        groups=tuple(groups),
    )


def _each(group: Group, running: Iterable[Running]) -> float | None:
    """Return the seconds that a fit of a group takes, as far as is known."""
    if group.ended:
        return group.seconds / group.ended
    seen = [
        job.step_seconds / job.step * job.total / max(1, job.company)
        for job in running
        if _key(job) == _key(group) and job.step and job.total
    ]
    return math.fsum(seen) / len(seen) if seen else None


def _key(one: Group | Running) -> tuple[str, str, str]:
    return one.method, one.dataset, one.stage


def as_json(shot: Snapshot) -> str:
    """Return what is seen as one JSON object; durations in seconds, metrics as fractions."""
    document = {
        "schema": SCHEMA,
        "runs": str(shot.root),
        "state": "running" if shot.running else "idle",
        "studies": [_study(seen) for seen in shot.seen],
        "last": [_told(one) for one in shot.last(_TOLD)],
        "failed": [_told(one) for one in shot.failed(_TOLD)],
        "records": [
            {"method": method, "dataset": dataset, **statuses}
            for method, by in shot.counts().items()
            for dataset, statuses in by.items()
        ],
        "broken": list(shot.broken),
    }
    return json_text(document)


def _study(seen: Seen) -> dict[str, Any]:
    facts = json.loads(seen.study.to_json())
    for told, job in zip(facts["running"], seen.study.running, strict=True):
        told["seconds_left"] = _rounded(job_left(job, seen.since))
    left = time_left(seen.study, seen.since) if seen.state == "running" else None
    return {"state": seen.state, "seconds_left": _rounded(left), "total": seen.study.total, **facts}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _told(one: Ended) -> dict[str, Any]:
    kept = one.kept
    return {
        "label": kept.label,
        "dataset": kept.dataset,
        "protocols": list(one.protocols),
        "stage": kept.stage,
        "fold": kept.fold,
        "seed": kept.seed,
        "status": kept.status,
        "metrics": dict(one.metrics),
        "seconds": kept.seconds,
        "error": kept.why,
    }
