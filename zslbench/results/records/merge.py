"""`merge`: the records of several folders in one, none lost and none overwritten by a worse one."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from zslbench.errors import BadValue, StoreError
from zslbench.files import Writer, read_problem, write_atomically
from zslbench.results.records.record import Record
from zslbench.results.records.requests import list_requests
from zslbench.results.records.store import ResultStore, companions, write_run
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.visible import format_count

_SAME = 1e-9
"""Metrics that differ by less are equal: they were rounded differently."""


@dataclasses.dataclass
class Merged:
    """What a merge did.

    Attributes:
        added: records that were new; replaced: of those, instead of a run that had not come to a good end here.
        kept: runs of which the folder had as good a record.
        presets: tuned presets that were new.
        conflicts: a sentence on each run or preset that both sides have with other values; ours was kept.
        broken: a sentence on each file that could not be taken.
        empty: sources without a record or a preset, such as the folder above the one that was meant.
    """

    added: int = 0
    replaced: int = 0
    kept: int = 0
    presets: int = 0
    conflicts: list[str] = dataclasses.field(default_factory=list)
    broken: list[str] = dataclasses.field(default_factory=list)
    empty: list[Path] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything could be taken and agrees."""
        return not self.conflicts and not self.broken

    @property
    def text(self) -> str:
        """What was done, in a few lines."""
        presets = f", {format_count(self.presets, 'preset')} added" if self.presets else ""
        added = format_count(self.added, "record")
        done = f"{added} added, {self.replaced} replaced by better ones, {self.kept} kept{presets}"
        nothing = [f"{folder} holds no records; is another folder meant?" for folder in self.empty]
        return "\n".join([*self.conflicts, *self.broken, *nothing, done])


def merge(sources: str | Path | Sequence[str | Path], into: str | Path = "runs") -> Merged:
    """Copy the records of other folders, with what lies beside them, their tuned presets and requests into one folder.

    Of a run that both have, one that is ok counts more than one that is not, and else ours is kept. Nothing is removed
    from a source. Each file appears whole or not at all, a record after its predictions, so a merge that was cut short
    is done again.

    Args:
        sources: folders of records.
        into: the folder that they are copied into.

    Raises:
        BadValue: a source that is no folder, or the folder itself.
        StoreError: the folder cannot be written to.
    """
    folders = [Path(folder) for folder in ([sources] if isinstance(sources, str | Path) else sources)]
    target = ResultStore(into)
    for folder in folders:
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "does not exist"
            raise BadValue(f"{folder} {problem}; name folders of records to merge.")
        if folder.resolve() == target.root.resolve():
            raise BadValue(f"{folder} is the folder that is merged into; name another with --into, or leave it out.")
    if folders:
        target.check_writable()
    done = Merged()
    for folder in folders:
        records = _copy_records(ResultStore(folder), target, done)
        for path in list_requests(folder):
            write_atomically(target.root / path.relative_to(folder), _copy_of(path), "what was asked for")
        if not records + _copy_presets(PresetStore(folder), PresetStore(target.root), done):
            done.empty.append(folder)
    return done


def _copy_records(source: ResultStore, target: ResultStore, done: Merged) -> int:
    """Copy records, and return how many files of them there are."""
    read = 0
    for path, theirs in source.each():
        read += 1
        ours = target.find(theirs.dataset["name"], theirs.protocol["name"], theirs.method["name"], theirs.id)
        if ours is None or _rank(theirs) > _rank(ours):
            beside = {other.name.removeprefix(path.stem): _copy_of(other) for other in companions(path)}
            write_run(target.path(theirs), _copy_of(path), beside, path.name)
            done.added += ours is None
            done.replaced += ours is not None
            continue
        done.kept += 1
        if ours.ok and theirs.ok:
            if differing := _differing(ours, theirs):
                done.conflicts.append(
                    f"{ours.headline} has {differing} in {path}, unlike {target.path(ours)}, which was kept; "
                    "do the run again to see which holds."
                )
                continue
            for other in companions(path):  # theirs tells of the same numbers: what is lacking beside ours is made good
                beside_ours = target.path(ours).with_name(other.name)
                if not beside_ours.is_file():
                    write_atomically(beside_ours, _copy_of(other), other.name)
    done.broken += [why for _, why in source.broken]
    return read + len(source.broken)


def _rank(record: Record) -> int:
    return {"ok": 2, "interrupted": 0, "skipped": 0}.get(record.status, 1)


def _differing(ours: Record, theirs: Record) -> str:
    """Return the metrics that differ, theirs against ours; empty when all agree."""
    texts = []
    for name in {**ours.metrics, **theirs.metrics}:
        new, old = (record.metrics.get(name, math.nan) for record in (theirs, ours))
        if not abs(new - old) <= _SAME:
            texts.append(f"{name} {new:.6g} not {old:.6g}")
    return ", ".join(texts)


def _copy_of(path: Path) -> Writer:
    """Return what writes the content of a file into another; it raises a StoreError where that cannot be read."""

    def copy(to: BinaryIO) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            raise StoreError(read_problem(path, error)) from None
        with file:
            shutil.copyfileobj(file, to)

    return copy


def _copy_presets(source: PresetStore, target: PresetStore, done: Merged) -> int:
    """Copy tuned presets, and return how many files of them there are."""
    read = 0
    for path, theirs in source.each():
        read += 1
        kept = target.path_of(theirs)
        try:
            ours = target.read(kept) if kept.exists() else None
        except StoreError as error:
            done.broken.append(str(error))
            continue
        if ours is None:
            target.save(theirs)
            done.presets += 1
        elif ours.id != theirs.id:
            done.conflicts.append(
                f"the preset {path} is another than {kept}, which was kept; tune again, or delete one."
            )
    done.broken += [why for _, why in source.broken]
    return read + len(source.broken)
