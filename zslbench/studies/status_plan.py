"""The plan file of what the records lack, and the commands that tune presets which it needs first."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from zslbench.data.inventory import list_
from zslbench.data.loading import folder_of, load_dataset
from zslbench.data.splits import Stage
from zslbench.errors import BadValue, ZslbenchError
from zslbench.files import write_text
from zslbench.identity import expand_home
from zslbench.results.analysis.gather import is_dataset
from zslbench.results.records.record import Record
from zslbench.results.records.store import data_options, runs_option
from zslbench.results.records.training_states import StateHeader
from zslbench.results.records.tuned_presets import PresetStore
from zslbench.runner.plan import RunOptions
from zslbench.studies.survey import DataChoice, ExpectedRun, Survey, finishing_time, is_of_session, method_in, place_of

DATA_ROOT_PLACEHOLDER = "FOLDER_OF_DATA_SETS"
_FIRST_LINE = "# Written by `zslbench status`: what the records lack."


class DataPlaces:
    """Finds what to type for a data set in a command: its name, or the folder of a user's own data set.

    Known folders are those named for the command, and those that `records` name, the newest first.
    """

    def __init__(self, terms: Sequence[str], root: Path | None, records: Iterable[Record] = ()) -> None:
        self.root = root
        self._recorded: dict[DataChoice, list[Mapping[str, Any]]] = {}
        for record in sorted(records, key=finishing_time, reverse=True):
            self._recorded.setdefault(place_of(record), []).append(record.provenance)
        self.folders: list[str] = []
        for term in terms:
            with contextlib.suppress(ZslbenchError):  # a path that does not exist: its last part still serves as a name
                self.folders += [term] if folder_of(term) is not None else []
        self._names = [term for term in terms if term not in self.folders]
        self._content = functools.cache(_read_content)

    def match_content(self, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Return the records that count, and records that stand for runs that are to be done.

        Records of a folder count if they are of its present content. For a folder without such records, the second list
        holds the records of its earlier content with the present one in its place: a user would do these runs again.
        """
        if not self.folders:
            return list(records), []
        kept, others = [], []
        for record in records:
            data = record.dataset
            name, stems = str(data["name"]), (str(data.get("features", "")), str(data.get("semantics", "")))
            if any(is_dataset(name, term) for term in self._names):
                kept.append(record)
                continue
            contents = [self._content(term, *stems) for term in self.folders if is_dataset(name, term)]
            if data.get("fingerprint") in contents:
                kept.append(record)
            others += [dataclasses.replace(record, dataset={**data, "fingerprint": now}) for now in contents if now]
        present = {(record.dataset["name"], record.dataset.get("fingerprint")) for record in kept}
        return kept, [
            record for record in others if (record.dataset["name"], record.dataset["fingerprint"]) not in present
        ]

    def folder(self, place: DataChoice) -> str | None:
        """Return a folder with the content of a place, as it was typed or else recorded; None if there is none."""
        named = (term for term in self.folders if is_dataset(place.dataset, term))
        stems = place.features, place.semantics
        known = (term for term in (*named, *self._paths(place, "own_folder")) if term)
        return next((term for term in known if place.content == self._content(term, *stems)), None)

    def _paths(self, place: DataChoice, key: str) -> list[str]:
        """Return the folders that records at a place name, each once."""
        return list(dict.fromkeys(str(facts.get(key) or "") for facts in self._recorded.get(place, ())))

    def text(self, place: DataChoice, places: Iterable[DataChoice], absolute: bool = False) -> str:
        """Return what to type for a data set: its name, the user's folder, or a placeholder for the folder.

        If `places` has other contents under the same name, their placeholders differ.
        """
        if place.origin != "own":
            return place.dataset
        folder = self.folder(place)
        if folder is None:
            return placeholder(place, places)
        return os.path.abspath(expand_home(folder)) if absolute else folder  # noqa: PTH100  (links stay as written)

    def find_root(self, places: Iterable[DataChoice]) -> str:
        """Return the folder of data sets that places need; a placeholder if it is unknown, empty if none is needed."""
        catalogued = [place for place in places if place.origin == "catalogue"]
        if catalogued and self.root is not None:
            return str(self.root)
        lacking = [
            place for place in catalogued if (place.dataset, place.features, place.semantics) not in self._present
        ]
        roots = {next(filter(None, self._paths(place, "data_root")), "") for place in lacking}
        if not lacking:
            return ""
        (root,) = roots if len(roots) == 1 else ("",)
        return root if root and Path(root).is_dir() else DATA_ROOT_PLACEHOLDER

    @functools.cached_property
    def _present(self) -> set[tuple[str, str, str]]:
        return {(row.name, *stems) for row in list_() for stems in itertools.product(row.features, row.semantics)}


def _read_content(term: str, features: str, semantics: str) -> str:
    """Return the fingerprint of a folder's data; empty if it lacks these features or semantics."""
    try:
        return load_dataset(term, features=features, semantics=semantics).fingerprint
    except ZslbenchError:
        return ""


def placeholder(place: DataChoice, places: Iterable[DataChoice] = ()) -> str:
    """Return the placeholder for the folder of a data set that no record names.

    Its content is part of it where other `places` of that name have another.

    >>> placeholder(DataChoice("flo-part", "a", "b", "own"))
    'FOLDER_OF_FLO_PART'
    """
    several = len({other.content for other in places if other.dataset == place.dataset and other.origin == "own"}) > 1
    name = f"{place.dataset} {place.content[:8]}" if several else place.dataset
    return "FOLDER_OF_" + "".join(sign if sign.isalnum() else "_" for sign in name).upper()


def runs_to_do(survey: Survey) -> list[ExpectedRun]:
    """Return the runs that a plan file can do."""
    return [
        slot
        for slot in survey.of("missing", "unfinished", "failed", "stale")
        if slot.row not in survey.unimportable and not is_of_session(slot.row)
    ]


def plan_text(
    survey: Survey, data: DataPlaces, runs: Path, stage: Stage, folder: Path, half_trained: Sequence[StateHeader] = ()
) -> str:
    """Return a plan file, to be kept in `folder`, for the missing runs and no others; empty if none is missing."""
    to_do = runs_to_do(survey)
    if not to_do:
        return ""

    def path_text(path: Path | str) -> str:
        """Return a path as the plan names it: relative if it lies in the plan's folder."""
        absolute = Path(os.path.abspath(expand_home(path)))  # noqa: PTH100  (links stay as they were written)
        return _write_toml((absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix())

    head = [_FIRST_LINE, f"runs = {path_text(runs)}"]
    if root := data.find_root(slot.place for slot in to_do):
        head.append(f"data_root = {_write_toml(root) if root == DATA_ROOT_PLACEHOLDER else path_text(root)}")
    head += _write_conditions(half_trained)
    blocks = ["\n".join(lines) for lines in (head, *_write_studies(to_do, survey, data, stage))]
    return "\n\n".join(blocks) + "\n"


def _write_conditions(half_trained: Iterable[StateHeader]) -> list[str]:
    """Return the keys, as lines of TOML, without which these trainings would begin anew; none where they differ."""
    values: dict[str, set[str]] = {}
    for state in half_trained:
        for key, name, usual in (
            ("precision", "precision", "float32"),
            ("checkpoints", "value of checkpoints", "last"),
        ):
            values.setdefault(key, set()).add(state.conditions.get(name, usual))
    return [
        f"{key} = {_write_toml(*each)}"
        for key, each in values.items()
        if len(each) == 1 and not each & {"float32", "last"}
    ]


def _write_studies(slots: Iterable[ExpectedRun], survey: Survey, data: DataPlaces, stage: Stage) -> list[list[str]]:
    """Return studies, as lines of TOML, for these runs and no others: studies that differ in one key are joined."""
    studies = [
        RunOptions(
            methods=(slot.row,),
            datasets=(data.text(slot.place, survey.places, absolute=True),),
            protocols=(slot.protocol,),
            features=slot.place.features,
            semantics=slot.place.semantics,
            seeds=(slot.seed,),
            stage=stage,
            fold=(slot.fold,) if stage == "dev" else None,
        )
        for slot in slots
    ]
    dev_keys = ["fold"] if stage == "dev" else []
    for key in ("seeds", *dev_keys, "protocols", "methods", "datasets"):
        alike: dict[RunOptions, list[RunOptions]] = {}
        for study in studies:
            alike.setdefault(structs.replace(study, **{key: ()}), []).append(study)
        studies = [
            structs.replace(rest, **{key: tuple(value for study in group for value in getattr(study, key))})
            for rest, group in alike.items()
        ]
    texts = []
    for study in studies:
        if isinstance(study.seeds, Sequence) and list(study.seeds) == list(range(len(study.seeds))):
            study = structs.replace(study, seeds=len(study.seeds))
        keys = ["methods", "datasets", "protocols", "features", "semantics", "seeds"]
        keys += ["stage", *dev_keys] if dev_keys else []
        texts.append(["[[study]]", *(f"{key} = {_write_toml(getattr(study, key))}" for key in keys)])
    return texts


def _write_toml(value: object) -> str:
    """Return a text, number or list as TOML, which is as JSON has it but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def tune_commands(survey: Survey, data: DataPlaces, tuned: PresetStore) -> list[str]:
    """Return the commands that make the tuned presets that rows need and that do not exist yet."""
    protocols: dict[tuple[str, str, DataChoice], dict[str, None]] = {}
    given = {(preset.method, preset.name): preset.given for preset in (tuned.load() if survey.untuned else ())}
    for (row, place, protocol), name in survey.untuned.items():
        if row in survey.rows:
            method = method_in(row)
            protocols.setdefault((given.get((method, name), method), name, place), {})[protocol] = None
    commands = []
    for (method, name, place), names in protocols.items():
        where = data.text(place, survey.places)
        words = ["zslbench", "tune", method]
        words += data_options(where, place.origin, place.features, place.semantics, data.find_root([place]))
        words += [word for rules in names for word in ("-p", rules)] if names.keys() != {"gzsl", "zsl"} else []
        words += ["--name", name] if name != "tuned" else []
        commands.append(shlex.join([*words, *runs_option(tuned.root)]))
    return commands


def advice_on_placeholders(survey: Survey, data: DataPlaces, written: str) -> list[str]:
    """Return a sentence on each placeholder for a folder in the text `written`."""
    words = {
        placeholder(place, survey.places): place
        for place in survey.places
        if place.origin == "own" and data.folder(place) is None
    }
    sentences = [
        f"{word} stands for the folder of {survey.names[place]}: where the records say that it is, it is not, or has "
        "other content by now. status writes it where it is named: -d FOLDER, beside a -d for each other data set."
        for word, place in words.items()
        if word in written
    ]
    if DATA_ROOT_PLACEHOLDER in written:
        sentences.append(
            f"{DATA_ROOT_PLACEHOLDER} stands for the folder of xlsa17 folders that was read: a data set is not "
            "where zslbench looks by itself. With --data-root DIR, status writes it into the plan and the commands."
        )
    return sentences


def write_plan(text: str, path: Path) -> None:
    """Write a plan file (BadValue: there is one that `status` did not write)."""
    if path.exists():
        first_line = ""
        with contextlib.suppress(OSError, UnicodeDecodeError), path.open(encoding="utf-8") as file:
            first_line = file.readline(len(_FIRST_LINE) + 1).rstrip("\n")
        if first_line != _FIRST_LINE:
            raise BadValue(f"{path} exists and is not a plan that `zslbench status` wrote; name another file.")
    write_text(path, text, f"the plan {path.name}")
