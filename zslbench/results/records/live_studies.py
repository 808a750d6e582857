"""Live files: ``<runs>/.live/<host>-<pid>-<token>.json``, one small file per coordinator, written as its work goes on.

A coordinator is a process that does the runs of a plan, by itself or through workers; it removes its file at the end.
Durations are in its own seconds: no two machines need agree on the time.
"""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from zslbench.documents import convert, decode_json
from zslbench.errors import StoreError
from zslbench.files import read_regular
from zslbench.results.records.leases import STALE_AFTER, Holder, SilenceClock, is_gone
from zslbench.step_reports import TRAINING
from zslbench.visible import name_run, one_line

SCHEMA = 1
FOLDER = ".live"
EVERY, BEAT = 1.0, 5.0
"""Seconds between two writings: at least, when there is news; at most, when there is none."""
SILENT = STALE_AFTER
"""Seconds after which a coordinator counts as lost that has not written, where its process cannot be asked for."""

_NAME = re.compile(r".+-\d+-[0-9a-f]+\.(json|tmp)")
_LARGEST_FILE = 2**20
_STEPS_TRUSTED = 0.05
"""Share of its training from which a fit's own steps, and no forecast, tell how long it takes."""
FitKey: TypeAlias = tuple[str, str, str]
"""The method, data set and stage of a group of fits."""
_Count = Annotated[int, Meta(ge=0, le=10**15)]
_Seconds = Annotated[float, Meta(ge=0, le=1e15)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunningFit:
    """A fit that is being done.

    Attributes:
        run: id of the first of its runs.
        phase: what it is doing: the numbered phase, and the part of it; with its steps where it is not the training.
        step, total: steps or epochs of training that are done, of how many; 0 of 0 while none was reported.
        values: losses; None for one that is not finite.
        seconds: since it began; step_seconds: from its beginning to that step; training_began: to the first one.
        company: fits that are trained together and wait for the same steps, this one included.
        phase_number, phase_count: which of how many phases it is in; 0 of 0 where that is not known.
        resumed_from: the step from which its training went on, since it was killed before; 0: it began anew.
        forecast: seconds that it was expected to take before it began, its company included; None: nothing was known.
    """

    run: str
    method: str
    label: str
    dataset: str
    protocols: tuple[str, ...]
    stage: str
    fold: _Count
    seed: _Count
    step: _Count
    total: _Count
    values: Mapping[str, float | None]
    seconds: _Seconds
    step_seconds: _Seconds
    training_began: _Seconds = 0.0
    phase: str = ""
    company: _Count = 1
    phase_number: _Count = 0
    phase_count: _Count = 0
    resumed_from: _Count = 0
    forecast: _Seconds | None = None

    def __str__(self) -> str:
        return name_run(self.label, self.dataset, self.protocols, self.stage, self.fold, self.seed)

    def say_phase(self) -> str:
        """Return what it is doing: which of its phases, and the step of it."""
        number = f"phase {self.phase_number} of {self.phase_count}: " if self.phase_number else ""
        steps = f" {self.step}/{self.total}" if self.total and self.phase.endswith(TRAINING) else ""
        resumed = f", resumed from step {self.resumed_from}" if self.resumed_from and steps else ""
        return f"{number}{self.phase or 'running'}{steps}{resumed}"

    @property
    def share(self) -> float:
        """Which part of its training is done."""
        return min(1.0, self.step / self.total) if self.total else 0.0

    @property
    def seconds_expected(self) -> float | None:
        """Seconds that it takes; None: unknown.

        At first that is the forecast. The first steps warm up, so what the steps tell of the end of the training takes
        its place little by little, while the first twentieth of them is done.
        """
        steps, still = self.step - self.resumed_from, self.total - self.resumed_from
        forecast = self.forecast
        if forecast is not None and self.total:
            forecast *= max(0, still) / self.total
        if steps <= 0 or not self.total:
            return forecast
        by_steps = self.training_began + (self.step_seconds - self.training_began) / steps * still
        if forecast is None:
            return by_steps
        weight = min(1.0, steps / still / _STEPS_TRUSTED) if still > 0 else 1.0
        return weight * by_steps + (1.0 - weight) * forecast

    def seconds_left(self, since: float = 0.0) -> float | None:
        """Return the seconds that it still needs, `since` seconds after it was heard of; None: unknown."""
        expected = self.seconds_expected
        return None if expected is None else max(0.0, expected - self.seconds - since)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitGroup:
    """The fits of one method on one data set in one stage.

    Attributes:
        total: how many; ended: of these, by this coordinator, in so many `seconds`; elsewhere: by another one.
        forecast: seconds per fit that were expected before it began; None: nothing was known.
    """

    method: str
    dataset: str
    stage: str
    total: _Count
    ended: _Count = 0
    seconds: _Seconds = 0.0
    elsewhere: _Count = 0
    forecast: _Seconds | None = None

    def seconds_per_fit(self, running: Iterable[RunningFit]) -> float | None:
        """Return the mean of the fits that ended, else of what those that run seem to need, else the forecast."""
        if self.ended:
            return self.seconds / self.ended
        alike = [(fit.seconds_expected, fit.company) for fit in running if _key(fit) == _key(self)]
        expected = [seconds / max(1, company) for seconds, company in alike if seconds is not None]
        return statistics.fmean(expected) if expected else self.forecast


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """The work of one coordinator.

    Attributes:
        command: what was typed; plan: digest of all runs that it asks for, empty where they are not known before.
        written: time of day by its own clock, to be shown only.
        seconds: since it began.
        beat: grows with each writing.
        growing: whether fits may be added, as a search does.
        done, failed, skipped: fits that ended, by how; those that were cut short are none of them.
        elsewhere: fits that another coordinator did meanwhile.
    """

    holder: Holder
    command: str
    plan: str
    written: str
    seconds: _Seconds
    beat: _Count
    growing: bool = False
    done: _Count = 0
    failed: _Count = 0
    skipped: _Count = 0
    elsewhere: _Count = 0
    running: tuple[RunningFit, ...] = ()
    groups: tuple[FitGroup, ...] = ()
    schema: _Count = SCHEMA

    @property
    def total(self) -> int:
        """Fits in all, as far as they are known."""
        return sum(group.total for group in self.groups)

    @property
    def ended(self) -> int:
        """Fits that need not be done any more."""
        return self.done + self.failed + self.skipped + self.elsewhere

    @property
    def begun(self) -> float:
        """How many fits the trainings of those that run add up to."""
        return math.fsum(fit.share * fit.company for fit in self.running)

    def to_json(self) -> str:
        """Return the document; a loss that is not finite is null."""
        return msgspec.json.encode(_clean_texts(dataclasses.asdict(self))).decode() + "\n"

    @classmethod
    def from_json(cls, content: bytes, where: str = "file") -> StudyProgress:
        """Read a document back. Texts are made fit for a terminal: no control characters, no endless lines.

        Raises:
            StoreError: it is no such document, or of a later schema.
        """
        try:
            document = decode_json(content)
            if document.get("schema") != SCHEMA:
                raise StoreError(f"{where} has schema {document.get('schema')!r:.20}, this zslbench reads {SCHEMA}.")
            return convert(_clean_texts(document), cls)
        except ValueError as error:
            raise StoreError(f"{where} does not tell of a running study ({error}).") from None

    def seconds_left(self, since: float = 0.0) -> float | None:
        """Return the seconds that it still needs, `since` seconds after it was heard of; None where nothing tells.

        A fit that has not begun takes as long as the mean of those of its method, data set and stage that ended, else
        as one of them that runs seems to need, else as was forecast, else as the mean of the others. Fits go on as many
        at a time as do now.
        """
        by_group = {_key(group): group.seconds_per_fit(self.running) for group in self.groups}
        known = {key: seconds for key, seconds in by_group.items() if seconds is not None}
        if not known:
            return None
        usual = statistics.fmean(known.values())
        waiting = Counter({_key(group): group.total - group.ended - group.elsewhere for group in self.groups})
        seconds_left = []
        for fit in self.running:
            waiting[_key(fit)] -= fit.company
            by_steps = fit.seconds_left(since)
            expected = known.get(_key(fit), usual) * fit.company
            seconds_left.append(max(0.0, expected - fit.seconds - since) if by_steps is None else by_steps)
        later = math.fsum(max(0, number) * known.get(key, usual) for key, number in waiting.items())
        return max([*seconds_left, (later + math.fsum(seconds_left)) / max(1, len(seconds_left))])


@dataclasses.dataclass(frozen=True)
class SeenStudy:
    """A study, whether it runs, and how many seconds ago it was heard of, as far as this reader knows.

    Attributes:
        undecided: whether it looks lost by the clocks of two machines, but was not watched for two beats yet.
    """

    path: Path
    study: StudyProgress
    state: Literal["running", "lost"]
    since: float = 0.0
    undecided: bool = False


def merge_plans(seen: Sequence[SeenStudy]) -> list[SeenStudy]:
    """Return studies, those of one plan as one.

    Coordinators of one plan share its fits: the one that began first had all of them before it, and what each has done
    need not be done by the others, whether these know already or not.
    """
    plans: dict[object, list[SeenStudy]] = {}
    for item in seen:
        plans.setdefault(item.study.plan or item.path, []).append(item)
    merged = []
    for items in plans.values():
        study, since = _merge_studies([item.study for item in items]), min(item.since for item in items)
        merged.append(dataclasses.replace(items[0], study=study, since=since))
    return merged


def _merge_studies(studies: Sequence[StudyProgress]) -> StudyProgress:
    by_key: dict[FitKey, list[FitGroup]] = {}
    for group in (group for study in studies for group in study.groups):
        by_key.setdefault(_key(group), []).append(group)
    groups = []
    for alike in by_key.values():
        ended = sum(group.ended for group in alike)
        elsewhere = max(group.ended + group.elsewhere for group in alike) - ended
        seconds = math.fsum(group.seconds for group in alike)
        largest = max(alike, key=lambda group: group.total)
        groups.append(dataclasses.replace(largest, ended=ended, seconds=seconds, elsewhere=max(0, elsewhere)))
    return dataclasses.replace(
        max(studies, key=lambda study: study.seconds),
        **{name: sum(getattr(study, name) for study in studies) for name in ("done", "failed", "skipped")},
        elsewhere=sum(group.elsewhere for group in groups),
        running=tuple(fit for study in studies for fit in study.running),
        groups=tuple(groups),
    )


def _key(fits: FitGroup | RunningFit) -> FitKey:
    return fits.method, fits.dataset, fits.stage


def live_folder(root: Path) -> Path:
    """Return where the coordinators of a folder of records keep their files."""
    return root / FOLDER


def list_live_files(root: Path) -> list[Path]:
    """Return the files that coordinators keep, whole or half written, in order."""
    return sorted(path for path in live_folder(root).glob("*") if _NAME.fullmatch(path.name))


def clean(text: str) -> str:
    """Return the beginning of a text as one line that a terminal can show."""
    return one_line(text[:2000])


def _clean_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean(key): _clean_texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_texts(inner) for inner in value]
    return clean(value) if isinstance(value, str) else value


@dataclasses.dataclass(frozen=True)
class _File:
    """A live file as it was last read.

    Attributes:
        study: None where it holds none.
        old: whether it was changed long ago by the clocks, when it was first seen.
    """

    stamp: tuple[int, int, int]
    study: StudyProgress | None
    old: bool


class LiveFolder:
    """Reads the files of coordinators again and again, each only when it has changed.

    On this machine a study is lost when its process is gone. Elsewhere its file tells: it runs as long as that changes.
    Only where it has not been watched long enough are the two machines' clocks compared.
    """

    def __init__(
        self, root: Path, clock: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time
    ) -> None:
        self.folder = live_folder(root)
        self._silence, self._today = SilenceClock(clock), today
        self._files: dict[Path, _File] = {}

    def read(self) -> list[SeenStudy]:
        """Return the studies, those that began first before others; a file that is no study is left out."""
        try:
            paths = list(self.folder.glob("*.json"))
        except OSError:
            paths = []
        files = {path: self._read_file(path) for path in paths}
        self._files = {path: file for path, file in files.items() if file}
        seen = [self._judge(path, file.study, file) for path, file in self._files.items() if file.study]
        return sorted(seen, key=lambda item: (-item.study.seconds, item.path))

    def _read_file(self, path: Path) -> _File | None:
        before = self._files.get(path)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if before and before.stamp == stamp:
                return before
            study = StudyProgress.from_json(read_regular(path), str(path)) if stat.st_size <= _LARGEST_FILE else None
        except StoreError:
            study = None
        except OSError:
            return None  # removed meanwhile, or not ours to read
        return _File(stamp, study, old=before is None and abs(self._today() - stat.st_mtime) > SILENT)

    def _judge(self, path: Path, study: StudyProgress, file: _File) -> SeenStudy:
        since = self._silence.seconds(path, file.stamp)
        if is_gone(study.holder, file.old or since > SILENT):
            return SeenStudy(path, study, "lost", undecided=study.holder.alive() is None and since < 2 * BEAT)
        return SeenStudy(path, study, "running", 0.0 if file.old else since)


def list_running_fits(root: Path) -> list[RunningFit]:
    """Return the fits that run now, according to the files of the coordinators of a folder of records."""
    return [fit for seen in LiveFolder(root).read() if seen.state == "running" for fit in seen.study.running]
